/* check_agree.c - see check_agree.h.
 *
 * What agrees in a sound store: the store record's transaction is the meta page's; every name has an instance and
 * every instance one name; every instance and snapshot stands on a layer, every layer on its parent, rows on their
 * layer; no id has been given that is not below the next one; a present is the newest of its layer; each memory has as
 * many stored pages as its table says, those with blocks in the log among them.
 */
#include "check_agree.h"

#include <pagestore.h>
#include <stdio.h>
#include <string.h>

#include "check_log.h"

static const char next_recover[] = "`pagestore recover STORE DST` saves what is intact";

#define DAMAGE(a, ...) findings_add(&(a)->found, FINDING_DAMAGE, next_recover, __VA_ARGS__)
typedef unsigned long long number;

static void put_instance(const kept *k, finding *f, uint64_t instance) {
  const kept_name *name = kept_name_of(k, instance);
  if (f && name) snprintf(f->instance, sizeof f->instance, "%s", name->name);
}

/* ---- the store record ------------------------------------------------------------------------ */

static int check_store(audit *a) {
  const store_record *r = &a->kept.store;
  uint64_t txn_id = a->metas->meta[a->meta].txn_id;
  if (!a->kept.has_store) {
    DAMAGE(a, "the store record is missing or damaged");
    return 0;
  }
  if (r->incompatible & ~FEATURE_INCOMPATIBLE_LOG) return PAGESTORE_EFORMAT;
  if (r->flush_txn_id != txn_id)
    DAMAGE(a, "the meta page says transaction %llu, the store's last flush was %llu: a meta page is damaged",
           (number)txn_id, (number)r->flush_txn_id);
  return 0;
}

static void check_id(audit *a, const char *what, uint64_t id, uint64_t next) {
  if (a->kept.has_store && id >= next)
    DAMAGE(a, "%s %llu was never given: the next one is %llu", what, (number)id, (number)next);
}

/* ---- names, instances, layers ---------------------------------------------------------------- */

static void check_names(audit *a) {
  const kept *k = &a->kept;
  for (size_t i = 0; i < k->names.count; i++) {
    const kept_name *n = &k->names.at[i];
    finding *f = NULL;
    if (i && k->names.at[i - 1].instance == n->instance)
      f = DAMAGE(a, "the name is one of two for instance %llu", (number)n->instance);
    else if (!kept_state_of(k, n->instance, ""))
      f = DAMAGE(a, "the name has no instance: record %llu is missing", (number)n->instance);
    if (f) snprintf(f->instance, sizeof f->instance, "%s", n->name);
  }
}

static void check_layers(audit *a) {
  const kept *k = &a->kept;
  for (size_t i = 0; i < k->layers.count; i++) {
    const kept_layer *l = &k->layers.at[i];
    kept_line line;
    check_id(a, "layer", l->id, k->store.next_layer);
    if (!kept_line_of(k, l->id, BOUND_OPEN, &line) || line.depth > LAYER_DEPTH_MAX)
      DAMAGE(a, "layer %llu stands on one that is missing, on too many, or on itself", (number)l->id);
  }
  for (size_t i = 0; i < k->trash.count; i++) check_id(a, "trash record", k->trash.at[i].id, k->store.next_trash);
}

/* ---- states ---------------------------------------------------------------------------------- */

/* A damaged marker may stand for a page that was lost: it counts as either. */
static void check_stored(audit *a, const kept_state *s, const kept_line *line, const memory_entry *m) {
  uint64_t pages = 0, unsure = 0, page = 0;
  bool logged;
  for (uint64_t from = 0; kept_next_shown(&a->kept, s, line, m->id, from, &page, &logged); from = page + 1) {
    const kept_row *row = kept_lookup(&a->kept, line, m->id, page);
    bool stored = logged || (row && row->size == PAGE_RECORD_BYTES);
    pages += stored;
    unsure += !stored && row && row->health != KEPT_ROW_GOOD;
    if (page == UINT64_MAX) break;
  }
  if (pages <= m->stored_pages && m->stored_pages <= pages + unsure) return;
  finding *f = DAMAGE(a, "%llu pages are stored, its record says %llu", (number)pages, (number)m->stored_pages);
  put_instance(&a->kept, f, s->instance);
  if (!f) return;
  snprintf(f->memory, sizeof f->memory, "%s", m->name);
  f->version = s->record.version;
  f->has_version = true;
}

static int load_state(audit *a, kept_state *s) {
  const kept_row *damage;
  int err = kept_load(&a->kept, a->fd, s, &damage);
  if (err != PAGESTORE_ECORRUPT) return err;
  finding *f = DAMAGE(a, "its table of memories or its metadata, stored as pages, cannot be read");
  put_instance(&a->kept, f, s->instance);
  if (!f) return 0;
  f->version = s->record.version;
  f->has_version = true;
  return 0;
}

static void check_state(audit *a, const kept_state *s) {
  const kept *k = &a->kept;
  const kept_state *present = kept_state_of(k, s->instance, "");
  kept_line line;
  finding *f = NULL;
  if (!kept_layer_of(k, s->record.layer))
    f = DAMAGE(a, "stands on layer %llu, which is missing", (number)s->record.layer);
  put_instance(&a->kept, f, s->instance);
  f = NULL;
  if (!present)
    f = DAMAGE(a, "snapshot '%.100s' is of instance %llu, which is missing", s->snapshot, (number)s->instance);
  else if (present->record.version < s->record.version)
    f = DAMAGE(a, "snapshot '%.100s' is newer than the present", s->snapshot);
  else if (!s->snapshot[0] && !kept_name_of(k, s->instance))
    f = DAMAGE(a, "instance %llu has no name", (number)s->instance);
  put_instance(&a->kept, f, s->instance);
  if (!s->snapshot[0]) check_id(a, "instance", s->instance, k->store.next_instance);
  bool countable = s->whole && !a->summary.findings && !(k->log_unsure && !s->snapshot[0]);
  if (!countable || !kept_line_of(k, s->record.layer, s->record.version, &line)) return;
  for (uint32_t i = 0; i < s->record.state->memory_count; i++) check_stored(a, s, &line, &s->record.state->memories[i]);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Rows come by layer: what is wrong with one is told once. */
static void check_rows(audit *a) {
  const kept *k = &a->kept;
  const kept_state *present = NULL;
  bool told = false;
  for (size_t i = 0; i < k->rows.count; i++) {
    const page_key *key = &k->rows.at[i].key;
    if (i == 0 || k->rows.at[i - 1].key.layer != key->layer) {
      told = false;
      present = kept_present_in(k, key->layer);
      if (!kept_layer_of(k, key->layer))
        DAMAGE(a, "there are pages of layer %llu, which is missing", (number)key->layer), told = true;
    }
    if (told || !present || key->version <= present->record.version) continue;
    finding *f = DAMAGE(a, "there are pages of version %llu, the present is %llu", (number)key->version,
                        (number)present->record.version);
    put_instance(&a->kept, f, present->instance);
    told = true;
  }
}

static const kept_row *row_of(const kept *k, const finding *f) {
  for (size_t i = 0; i < k->rows.count; i++) {
    const page_key *key = &k->rows.at[i].key;
    if (key->page == f->page && key->version == f->version && key->layer == f->layer && key->memory == f->memory_id)
      return &k->rows.at[i];
  }
  return NULL;
}

/* The present comes first in each instance's states, the layer's own instance before others. */
void agree_name(const kept *k, finding *f) {
  const kept_row *row = row_of(k, f);
  const kept_layer *layer = kept_layer_of(k, f->layer);
  const kept_state *s = row ? kept_seen_by(k, row) : NULL;
  if (s || layer) put_instance(k, f, s ? s->instance : layer->record.instance);
  const memory_entry *m = s ? state_memory_by_id(s->record.state, f->memory_id) : NULL;
  if (m) snprintf(f->memory, sizeof f->memory, "%s", m->name);
  else if (f->memory_id == SYSTEM_MEMORY) snprintf(f->memory, sizeof f->memory, "(metadata and table)");
  size_t used = strlen(f->text);
  if (!s) snprintf(f->text + used, sizeof f->text - used, " (no kept version shows it)");
}

int agree_check(audit *a) {
  int err = check_store(a);
  if (err) return err;
  check_names(a);
  check_layers(a);
  for (size_t i = 0; i < a->kept.states.count && !err; i++) err = load_state(a, &a->kept.states.at[i]);
  if (!err) err = kept_resolve_log(&a->kept);
  if (err) return err;
  for (size_t i = 0; i < a->kept.states.count; i++) check_state(a, &a->kept.states.at[i]);
  check_rows(a);
  for (size_t i = 0; i < a->found.count; i++)
    if (a->found.at[i].has_page) agree_name(&a->kept, &a->found.at[i]);
  log_check(a);
  return 0;
}

/* ---- the superseded meta page ---------------------------------------------------------------- */

typedef struct {
  int fd;
  bool found;
  store_record record;
} store_search;

static int ignore(void *env, uint64_t page, const char *text) {
  (void)env, (void)page, (void)text;
  return 0;
}

/* It is the first row of the first table. */
static int take_store(void *env, const char *table, bytes key, walker_place place) {
  store_search *s = env;
  catalog_record record = {.size = place.size};
  catalog_key wanted = catalog_key_store();
  if (strcmp(table, "catalog") != 0 || key.size != wanted.size || memcmp(key.data, wanted.byte, key.size) != 0)
    return 1;
  if (place.size > sizeof record.byte || walker_read(s->fd, place, record.byte) != 0) return 1;
  catalog_record_bind(&record, key);
  s->found = store_record_decode((bytes){record.byte, record.size}, &s->record) == 0;
  return 1;
}

bool agree_store(int fd, const walker_metas *metas, unsigned meta, store_record *out) {
  store_search search = {.fd = fd};
  walker_callbacks callbacks = {.env = &search, .finding = ignore, .row = take_store};
  walker_summary summary;
  if (metas->meta[meta].usable) (void)walker_walk(fd, metas, meta, &callbacks, &summary);
  if (search.found) *out = search.record;
  return search.found;
}

/* LMDB reads it only to compare transaction ids. If the newest one's id has become smaller than its own, LMDB goes back
 * by a commit without a word; then the trees under it still say which transaction wrote them. A meta write that failed
 * leaves the same picture. */
void agree_check_other(audit *a) {
  unsigned other = !a->meta;
  uint64_t newest = a->metas->meta[a->meta].txn_id, its = a->metas->meta[other].txn_id;
  const char *harmless = "nothing need be done; the next commit writes it anew";
  store_record record;
  bool found = agree_store(a->fd, a->metas, other, &record);
  finding *f = NULL;
  if (found && record.flush_txn_id > newest)
    f = findings_add(
        &a->found, FINDING_DAMAGE,
        "`pagestore recover STORE DST` takes the newer state; or open the store and go on from the older one",
        "meta page %u says transaction %llu, but leads to what transaction %llu wrote: it is damaged, or its write "
        "failed",
        other, (number)its, (number)record.flush_txn_id);
  else if (!a->metas->meta[other].usable)
    f = findings_add(&a->found, FINDING_NOTE, harmless, "the superseded meta page %u contradicts itself", other);
  else if (its >= 2 && (!found || record.flush_txn_id != its))
    f = findings_add(&a->found, FINDING_NOTE, harmless, "the superseded meta page %u does not lead to transaction %llu",
                     other, (number)its);
  if (f) f->lmdb_page = other, f->offset = other * (uint64_t)LMDB_PAGE_BYTES;
}
