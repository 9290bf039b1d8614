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

/* Among the first `sorted` rows: marks are put behind them and sorted in later. */
static bool has_row(kept *k, size_t sorted, const kept_line *line, uint32_t memory, uint64_t page) {
  size_t count = k->rows.count;
  k->rows.count = sorted;
  bool found = kept_lookup(k, line, memory, page) != NULL;
  k->rows.count = count;
  return found;
}

/* In the layer at this step of the line, for pages of unmet ranges that have no row there and none above. */
static int mark_gap(salvage *s, const salvage_gap *g, const kept_line *line, unsigned step, const memory_entry *m,
                    uint64_t *marks) {
  kept *k = &s->audit.kept;
  uint64_t layer = line->steps[step].layer;
  page_key from = {layer, m->id, 0, UINT64_MAX}, to = {layer, m->id, m->pages, 0};
  bool before = g->low.layer < from.layer || (g->low.layer == from.layer && g->low.memory < from.memory);
  bool after = g->low.layer > from.layer || (g->low.layer == from.layer && g->low.memory > from.memory);
  if (after) return 0;
  if (!before) from.page = g->low.page;
  bool ends_later = g->high.layer > to.layer || (g->high.layer == to.layer && g->high.memory > to.memory);
  bool ends_before = g->high.layer < to.layer || (g->high.layer == to.layer && g->high.memory < to.memory);
  if (ends_before) return 0;
  if (!ends_later && g->high.page < to.page) to.page = g->high.page + 1;
  kept_line above = *line;
  above.depth = step + 1;
  size_t sorted = k->rows.count;
  for (uint64_t page = from.page; page < to.page; page++) {
    if (has_row(k, sorted, &above, m->id, page)) continue;
    if (++*marks > MARKS_MAX)
      return findings_add(&s->lost, FINDING_DAMAGE, "--zero leaves them as they are",
                          "more than %d pages would have to be marked as lost", MARKS_MAX),
             PAGESTORE_EUNSUPPORTED;
    kept_row row = {.key = {layer, m->id, page, line->steps[step].bound}, .size = ZERO_MARKER_BYTES};
    row.health = KEPT_ROW_UNREADABLE;
    row.origin = ORIGIN_MARK;
    int err = kept_add_row(k, row);
    if (err) return err;
  }
  return 0;
}

static uint64_t stored_pages(const kept *k, const kept_line *line, uint32_t memory) {
  uint64_t pages = 0, page = 0;
  for (uint64_t from = 0; kept_next(k, line, memory, from, &page); from = page + 1) {
    pages += kept_lookup(k, line, memory, page)->size == PAGE_RECORD_BYTES;
    if (page == UINT64_MAX) break;
  }
  return pages;
}

static int account_memory(salvage *s, const kept_state *state, const memory_entry *m, uint64_t *marks) {
  kept *k = &s->audit.kept;
  kept_line line;
  size_t sorted = k->rows.count;
  kept_line_of(k, state->record.layer, state->record.version, &line);
  uint64_t stored = stored_pages(k, &line, m->id);
  if (stored == m->stored_pages) return 0;
  const kept_name *name = kept_name_of(k, state->instance);
  uint64_t unknown = stored < m->stored_pages ? m->stored_pages - stored : stored - m->stored_pages;
  salvage_loss *loss = with_version(loss_named(s, name ? name->name : "", m->name), state->record.version);
  if (loss) loss->unknown = max_u64(loss->unknown, unknown);
  finding *f = findings_add(&s->lost, FINDING_DAMAGE,
                            s->flags & RECOVER_ZERO ? "what is lost reads as zeros or older bytes, as --zero asked for"
                                                    : "reads of every page that may be one of them fail",
                            "%llu pages are lost, and it is not known which", (number)unknown);
  if (f) {
    snprintf(f->instance, sizeof f->instance, "%s", name ? name->name : "");
    snprintf(f->memory, sizeof f->memory, "%s", m->name);
    f->version = state->record.version;
    f->has_version = true;
  }
  if (s->flags & RECOVER_ZERO) return 0;
  int err = 0;
  for (unsigned step = 0; step < line.depth && !err; step++)
    for (size_t i = 0; i < s->gaps.count && !err; i++) {
      err = mark_gap(s, &s->gaps.at[i], &line, step, m, marks);
      if (k->rows.count != sorted) kept_sort(k);
      sorted = k->rows.count;
    }
  return err;
}

int salvage_account(salvage *s) {
  kept *k = &s->audit.kept;
  uint64_t marks = 0, rows = k->rows.count;
  int err = 0;
  if (s->gaps.count == 0) return 0;
  if (s->rows_wanted != UINT64_MAX && rows < s->rows_wanted)
    findings_add(&s->lost, FINDING_DAMAGE, "compare with a backup", "%llu rows of the table of pages are lost",
                 (number)(s->rows_wanted - rows));
  for (size_t i = 0; i < k->states.count && !err; i++) {
    const kept_state *state = &k->states.at[i];
    for (uint32_t n = 0; state->whole && n < state->record.state->memory_count && !err; n++)
      err = account_memory(s, state, &state->record.state->memories[n], &marks);
  }
  return err;
}
