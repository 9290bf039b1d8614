/* recover_account.c - what is lost of each memory, and the marks for it. The contract is in recover_salvage.h. */
#include "recover_salvage.h"

#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

enum { MARKS_MAX = 1 << 22 };
typedef unsigned long long number;

/* ---- losses ---------------------------------------------------------------------------------- */

static salvage_loss *loss_named(salvage *s, const char *instance, const char *memory) {
  for (size_t i = 0; i < s->losses.count; i++)
    if (strcmp(s->losses.at[i].instance, instance) == 0 && strcmp(s->losses.at[i].memory, memory) == 0)
      return &s->losses.at[i];
  if (s->losses.count == s->losses.room) {
    size_t room = s->losses.room ? s->losses.room * 2 : 8;
    salvage_loss *grown = realloc(s->losses.at, room * sizeof *grown);
    if (!grown) return NULL;
    s->losses.at = grown;
    s->losses.room = room;
  }
  salvage_loss *made = &s->losses.at[s->losses.count++];
  *made = (salvage_loss){.version_min = UINT64_MAX};
  snprintf(made->instance, sizeof made->instance, "%s", instance);
  snprintf(made->memory, sizeof made->memory, "%s", memory);
  return made;
}

static salvage_loss *with_version(salvage_loss *l, uint64_t version) {
  if (!l) return NULL;
  l->version_min = min_u64(l->version_min, version);
  l->version_max = max_u64(l->version_max, version);
  return l;
}

salvage_loss *salvage_loss_of(salvage *s, const page_key *key, const kept_row *row) {
  const kept *k = &s->audit.kept;
  const kept_state *state = kept_seen_by(k, row);
  const kept_layer *layer = kept_layer_of(k, key->layer);
  const kept_name *name = state   ? kept_name_of(k, state->instance)
                          : layer ? kept_name_of(k, layer->record.instance)
                                  : NULL;
  const memory_entry *m = state ? state_memory_by_id(state->record.state, key->memory) : NULL;
  return with_version(loss_named(s, name ? name->name : "", m ? m->name : ""), key->version);
}

/* ---- marks ----------------------------------------------------------------------------------- */

/* Pages of the memory in the range, [*from, *to) of that layer. false: none. */
static bool pages_in_gap(const salvage_gap *g, uint64_t layer, const memory_entry *m, uint64_t *from, uint64_t *to) {
  bool begins_before = g->low.layer < layer || (g->low.layer == layer && g->low.memory < m->id);
  bool begins_after = g->low.layer > layer || (g->low.layer == layer && g->low.memory > m->id);
  bool ends_after = g->high.layer > layer || (g->high.layer == layer && g->high.memory > m->id);
  bool ends_before = g->high.layer < layer || (g->high.layer == layer && g->high.memory < m->id);
  *from = begins_before ? 0 : g->low.page;
  *to = ends_after || g->high.page >= m->pages ? m->pages : g->high.page + 1;
  return !begins_after && !ends_before && *from < *to;
}

/* Among the first `sorted` rows: marks are put behind them and sorted in later. */
static const kept_row *row_among(kept *k, size_t sorted, const kept_line *line, uint32_t memory, uint64_t page) {
  size_t count = k->rows.count;
  k->rows.count = sorted;
  const kept_row *found = kept_lookup(k, line, memory, page);
  k->rows.count = count;
  return found;
}

static int add_mark(salvage *s, page_key key, uint64_t *marks) {
  kept_row row = {.key = key, .size = ZERO_MARKER_BYTES, .health = KEPT_ROW_UNREADABLE, .origin = ORIGIN_MARK};
  return ++*marks > MARKS_MAX ? PAGESTORE_EUNSUPPORTED : kept_add_row(&s->audit.kept, row);
}

/* Whether a row of this version may have been kept for an older version although a newer row of the page, which is
 * lost, replaced it: the keep rule (storage/layers.h) wants a point in between. */
bool salvage_is_needed(const kept *k, uint64_t layer, uint64_t version, uint64_t bound) {
  for (size_t i = 0; i < k->states.count; i++) {
    const state_record *r = &k->states.at[i].record;
    if (r->layer == layer && r->version >= version && r->version < bound) return true;
  }
  for (size_t i = 0; i < k->layers.count; i++) {
    const layer_record *r = &k->layers.at[i].record;
    if (r->parent == layer && r->parent_version >= version && r->parent_version < bound) return true;
  }
  return false;
}

typedef struct {
  const salvage_gap *gap;
  const kept_line *line;
  unsigned step;
  const memory_entry *memory;
  bool older_show; /* any row that is not of the very version may have been replaced */
  uint64_t *marks;
} marking;

static bool is_sure(const salvage *s, const marking *g, const kept_row *row) {
  line_step at = g->line->steps[g->step];
  if (!row) return false;
  if (row->key.layer != at.layer || row->key.version == at.bound) return true;
  return !g->older_show && !(s->exact && salvage_is_needed(&s->audit.kept, at.layer, row->key.version, at.bound));
}

/* In the layer at this step of the line, for pages of an unmet range of which nothing sure is known there or above. */
static int mark_gap(salvage *s, const marking *g) {
  kept *k = &s->audit.kept;
  line_step at = g->line->steps[g->step];
  uint64_t page, to;
  size_t sorted = k->rows.count;
  kept_line above = *g->line;
  above.depth = g->step + 1;
  int err = 0;
  if (!pages_in_gap(g->gap, at.layer, g->memory, &page, &to)) return 0;
  for (; page < to && !err; page++)
    if (!is_sure(s, g, row_among(k, sorted, &above, g->memory->id, page)))
      err = add_mark(s, (page_key){at.layer, g->memory->id, page, at.bound}, g->marks);
  if (k->rows.count != sorted) kept_sort(k);
  return err;
}

static uint64_t stored_pages(const kept *k, const kept_state *state, const kept_line *line, uint32_t memory) {
  uint64_t pages = 0, page = 0;
  bool logged;
  for (uint64_t from = 0; kept_next_shown(k, state, line, memory, from, &page, &logged); from = page + 1) {
    pages += logged || kept_lookup(k, line, memory, page)->size == PAGE_RECORD_BYTES;
    if (page == UINT64_MAX) break;
  }
  return pages;
}

/* Told once; what is marked may be more. */
static void tell_unknown(salvage *s, const kept_state *state, const memory_entry *m, uint64_t stored) {
  const kept_name *name = kept_name_of(&s->audit.kept, state->instance);
  uint64_t unknown = stored < m->stored_pages ? m->stored_pages - stored : stored - m->stored_pages;
  salvage_loss *loss = with_version(loss_named(s, name ? name->name : "", m->name), state->record.version);
  if (loss) loss->unknown = max_u64(loss->unknown, unknown);
  const char *next = s->flags & RECOVER_ZERO ? "what is lost reads as zeros or older bytes, as --zero asked for"
                     : s->gaps.count ? "reads of every page that may be one of them fail"
                                     : "compare with a backup: pages may be older";
  finding *f = state->guessed ? findings_add(&s->lost, FINDING_DAMAGE, next, "it is not known which pages are lost")
                              : findings_add(&s->lost, FINDING_DAMAGE, next,
                                             "%llu pages are lost, and it is not known which", (number)unknown);
  if (!f) return;
  snprintf(f->instance, sizeof f->instance, "%s", name ? name->name : "");
  snprintf(f->memory, sizeof f->memory, "%s", m->name);
  f->version = state->record.version;
  f->has_version = true;
}

/* rows_lost: so many of the table, in the ranges. Where what is free is known, nothing in them is believed then but
 * what the keep rule proves; else the count of stored pages has to do. */
static int account_memory(salvage *s, const kept_state *state, const memory_entry *m, uint64_t rows_lost,
                          uint64_t *marks) {
  kept *k = &s->audit.kept;
  kept_line line;
  kept_line_of(k, state->record.layer, state->record.version, &line);
  uint64_t stored = stored_pages(k, state, &line, m->id);
  bool differ = stored != m->stored_pages || state->guessed;
  if (differ) tell_unknown(s, state, m, stored);
  else if (!s->exact || !rows_lost) return 0;
  if (s->flags & RECOVER_ZERO) return 0;
  int err = 0;
  for (unsigned step = 0; step < line.depth && !err; step++)
    for (size_t i = 0; i < s->gaps.count && !err; i++) {
      bool older_show = state->guessed || stored > m->stored_pages;
      err = mark_gap(s, &(marking){&s->gaps.at[i], &line, step, m, older_show, marks});
    }
  return err;
}

int salvage_account(salvage *s) {
  kept *k = &s->audit.kept;
  uint64_t marks = 0, rows = k->rows.count;
  int err = 0;
  if (s->gaps.count == 0 && !s->log_missing) return 0;
  uint64_t lost = s->rows_wanted != UINT64_MAX && rows < s->rows_wanted ? s->rows_wanted - rows : 0;
  if (s->gaps.count == 0) lost = 0;
  else if (lost)
    findings_add(&s->lost, FINDING_DAMAGE, "compare with a backup", "%llu rows of the table of pages are lost",
                 (number)lost);
  else if (s->unaccounted)
    findings_add(&s->lost, FINDING_DAMAGE, "compare with a backup",
                 "rows of the table of pages may be lost: %llu LMDB pages that were in use are nowhere",
                 (number)s->unaccounted);
  for (size_t i = 0; i < k->states.count && !err; i++) {
    const kept_state *state = &k->states.at[i];
    for (uint32_t n = 0; state->whole && n < state->record.state->memory_count && !err; n++)
      err = account_memory(s, state, &state->record.state->memories[n], lost + s->unaccounted, &marks);
  }
  return err;
}
