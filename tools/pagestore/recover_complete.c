/* recover_complete.c - records that other records ask for: from older copies in the file, else put together. The
 * contract is in recover_salvage.h. */
#include "recover_salvage.h"

#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/units.h"

typedef unsigned long long number;
static const char next_look[] = "look at it with `pagestore stat`, and compare with a backup";

static int put(salvage *s, const catalog_key *key, catalog_record *value) {
  bytes k = {key->byte, key->size};
  catalog_record_bind(value, k);
  int err = salvage_take_record(s, k, (bytes){value->byte, value->size});
  kept_sort(&s->audit.kept);
  return err;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static int make_layer(salvage *s, uint64_t id, uint64_t instance) {
  catalog_key key = catalog_key_id(CATALOG_LAYER, id);
  catalog_record value;
  layer_record_encode(&(layer_record){.depth = 1, .instance = instance}, &value);
  findings_add(&s->lost, FINDING_DAMAGE, next_look, "the record of layer %llu is lost: it stands on nothing now",
               (number)id);
  int err = salvage_add_gap(s, (salvage_gap){{.layer = id}, {id, UINT32_MAX, UINT64_MAX, 0}});
  return err ? err : put(s, &key, &value);
}

/* Each round adds one, so it ends. */
static uint64_t missing_layer(const kept *k, uint64_t *instance) {
  for (size_t i = 0; i < k->states.count; i++) {
    *instance = k->states.at[i].instance;
    if (!kept_layer_of(k, k->states.at[i].record.layer)) return k->states.at[i].record.layer;
  }
  for (size_t i = 0; i < k->layers.count; i++) {
    *instance = k->layers.at[i].record.instance;
    uint64_t parent = k->layers.at[i].record.parent;
    if (parent && !kept_layer_of(k, parent)) return parent;
  }
  return 0;
}

/* ---- instances ------------------------------------------------------------------------------- */

/* The layer of an instance whose record is lost: its newest. */
static uint64_t layer_of(const kept *k, uint64_t instance) {
  uint64_t newest = 0;
  for (size_t i = 0; i < k->layers.count; i++)
    if (k->layers.at[i].record.instance == instance) newest = max_u64(newest, k->layers.at[i].id);
  return newest;
}

static bool is_in_line(const kept_line *line, uint64_t layer) {
  for (unsigned i = 0; i < line->depth; i++)
    if (line->steps[i].layer == layer) return true;
  return false;
}

/* With the id that its rows have. */
static int add_memory(state *s, uint32_t id, memory_entry **out) {
  char name[32];
  uint32_t next = s->next_memory;
  snprintf(name, sizeof name, "memory-%u", id);
  s->next_memory = id;
  int err = state_memory_add(s, name, out);
  if (s->next_memory < next) s->next_memory = next;
  return err;
}

static int add_page(const kept_line *line, state_record *r, page_key key) {
  if (!is_in_line(line, key.layer)) return 0;
  if (key.layer == r->layer) r->version = max_u64(r->version, key.version);
  if (key.memory == SYSTEM_MEMORY || key.memory == UINT32_MAX || key.page >= 1ull << 47) return 0;
  memory_entry *m = state_memory_by_id(r->state, key.memory);
  if (!m && add_memory(r->state, key.memory, &m) != 0) return PAGESTORE_ENOMEM;
  m->pages = max_u64(m->pages, key.page + 1);
  m->max_pages = max_u64(m->max_pages, max_u64(m->pages, 65536));
  if (m->max_pages > 65536) m->flags |= PAGESTORE_MEMORY64;
  return 0;
}

/* Memories by their ids, where no table names them; as large as their rows, and for a present the log, reach. */
static int add_memories(const kept *k, const kept_line *line, state_record *r, bool is_present) {
  int err = 0;
  for (size_t i = 0; i < k->rows.count && !err; i++) err = add_page(line, r, k->rows.at[i].key);
  for (size_t i = 0; i < k->log_catalog.count && !err && is_present; i++) {
    const kept_log *l = &k->log_catalog.at[i];
    for (unsigned slot = 0; slot < l->addresses.count && !err; slot++) {
      const log_address *at = &l->addresses.at[slot];
      if (l->sequence < k->log_beginning || at->layer != r->layer) continue;
      err = add_page(line, r, (page_key){at->layer, at->memory, at->page, at->version});
    }
  }
  return err;
}

static void count_stored(const kept *k, const kept_line *line, state *s) {
  for (uint32_t i = 0; i < s->memory_count; i++) {
    memory_entry *m = &s->memories[i];
    uint64_t page = 0;
    m->stored_pages = 0;
    for (uint64_t from = 0; kept_next(k, line, m->id, from, &page); from = page + 1)
      m->stored_pages += kept_lookup(k, line, m->id, page)->size == PAGE_RECORD_BYTES;
  }
}

/* An older copy of the record lends its table and metadata, if they are all in it; it cannot stand as it is, for rows
 * that it would need have been replaced by newer ones. */
static int begin_state(const salvage_record *older, state_record *r) {
  catalog_record copy;
  state_record found;
  if (older) {
    copy = older->value;
    catalog_record_bind(&copy, (bytes){older->key.byte, older->key.size});
    if (state_record_decode((bytes){copy.byte, copy.size}, &found) == 0) {
      bool whole = !found.metadata_paged && !found.table_paged;
      *r = (state_record){.layer = found.layer,
                          .version = found.version,
                          .time_ns = found.time_ns,
                          .state = found.state};
      if (whole) return 0;
      state_release(found.state);
    }
  }
  *r = (state_record){.version = 1};
  return state_new(&r->state);
}

static int put_state(salvage *s, uint64_t id, state_record *r) {
  catalog_key key = catalog_key_id(CATALOG_INSTANCE, id);
  catalog_record value;
  state_record_encode(r, &value);
  if (r->table_paged) return PAGESTORE_ENOMEM; /* thousands of memories, and no table of them */
  int err = put(s, &key, &value);
  kept_state *made = kept_state_of(&s->audit.kept, id, "");
  if (made) made->guessed = true;
  return err;
}

static int make_instance(salvage *s, uint64_t id, const salvage_record *older) {
  kept *k = &s->audit.kept;
  state_record r;
  kept_line line;
  int err = begin_state(older, &r);
  if (err) return err;
  uint64_t layer = layer_of(k, id);
  if (layer) r.layer = layer;
  if (r.layer == 0) r.layer = k->store.next_layer++;
  for (size_t i = 0; i < k->states.count; i++)
    if (k->states.at[i].instance == id) r.version = max_u64(r.version, k->states.at[i].record.version);
  kept_line_of(k, r.layer, BOUND_OPEN, &line);
  err = add_memories(k, &line, &r, true);
  if (!err) count_stored(k, &line, r.state);
  finding *f = findings_add(
      &s->lost, FINDING_DAMAGE, next_look,
      r.state->metadata_bytes || older
          ? "its record is lost: pages are of the newest version there is, names, sizes and metadata "
            "may be older"
          : "its record is lost: memories are named by number, metadata is gone, pages are of the "
            "newest version there is");
  const kept_name *name = kept_name_of(k, id);
  if (f && name) snprintf(f->instance, sizeof f->instance, "%s", name->name);
  if (!err) err = put_state(s, id, &r);
  state_release(r.state);
  return err;
}

static int make_name(salvage *s, uint64_t id) {
  char name[48];
  catalog_record value;
  snprintf(name, sizeof name, "recovered-%llu", (number)id);
  catalog_key key = catalog_key_name(name);
  for (unsigned n = 2; salvage_has_record(s, &key); n++) {
    snprintf(name, sizeof name, "recovered-%llu-%u", (number)id, n);
    key = catalog_key_name(name);
  }
  name_record_encode(id, &value);
  finding *f = findings_add(&s->lost, FINDING_DAMAGE, next_look, "the name of instance %llu is lost", (number)id);
  if (f) snprintf(f->instance, sizeof f->instance, "%s", name);
  return put(s, &key, &value);
}

/* ---- states whose pages of memory 0 are lost -------------------------------------------------- */

static void replace_record(salvage *s, const catalog_key *key, const catalog_record *value) {
  for (size_t i = 0; i < s->records.count; i++) {
    salvage_record *r = &s->records.at[i];
    if (r->key.size == key->size && memcmp(r->key.byte, key->byte, key->size) == 0) r->value = *value;
  }
}

int salvage_mend_state(salvage *s, kept_state *state) {
  const kept *k = &s->audit.kept;
  state_record *r = &state->record;
  bool is_present = state->snapshot[0] == 0, table_lost = r->table_paged && r->state->memory_count == 0;
  catalog_key key = is_present ? catalog_key_id(CATALOG_INSTANCE, state->instance)
                               : catalog_key_snapshot(state->instance, state->snapshot);
  catalog_record value;
  kept_line line;
  uint64_t version = r->version;
  kept_line_of(k, r->layer, r->version, &line);
  int err = table_lost ? add_memories(k, &line, r, is_present) : 0;
  if (err) return err;
  r->version = version;
  if (table_lost) count_stored(k, &line, r->state);
  state_record_encode(r, &value);
  if (table_lost && r->table_paged) return PAGESTORE_ENOMEM; /* thousands of memories, and no table of them */
  catalog_record_bind(&value, (bytes){key.byte, key.size});
  replace_record(s, &key, &value);
  state->whole = true;
  state->guessed = table_lost;
  finding *f = findings_add(&s->lost, FINDING_DAMAGE, next_look,
                            table_lost ? "its table of memories is lost: they are named by number, metadata is gone"
                                       : "its metadata is lost");
  const kept_name *name = kept_name_of(k, state->instance);
  if (!f) return 0;
  if (name) snprintf(f->instance, sizeof f->instance, "%s", name->name);
  f->version = version;
  f->has_version = true;
  return 0;
}

int salvage_recount(salvage *s) {
  kept *k = &s->audit.kept;
  for (size_t i = 0; i < k->states.count; i++) {
    kept_state *state = &k->states.at[i];
    catalog_key key = catalog_key_id(CATALOG_INSTANCE, state->instance);
    catalog_record value;
    kept_line line;
    if (!state->guessed || state->snapshot[0]) continue;
    kept_line_of(k, state->record.layer, state->record.version, &line);
    count_stored(k, &line, state->record.state);
    state_record_encode(&state->record, &value);
    if (state->record.table_paged) return PAGESTORE_ENOMEM;
    catalog_record_bind(&value, (bytes){key.byte, key.size});
    replace_record(s, &key, &value);
  }
  return 0;
}

/* ---- what asks for what ---------------------------------------------------------------------- */

typedef enum { NOTHING_MISSING, NAME_MISSING, INSTANCE_MISSING, LAYER_MISSING } missing;

static missing what_is_missing(const kept *k, uint64_t *id, uint64_t *instance) {
  for (size_t i = 0; i < k->names.count; i++)
    if (!kept_state_of(k, *id = k->names.at[i].instance, "")) return INSTANCE_MISSING;
  for (size_t i = 0; i < k->states.count; i++) {
    *id = k->states.at[i].instance;
    if (!kept_state_of(k, *id, "")) return INSTANCE_MISSING;
    if (!kept_name_of(k, *id)) return NAME_MISSING;
  }
  *id = missing_layer(k, instance);
  return *id ? LAYER_MISSING : NOTHING_MISSING;
}

/* A key that the records ask for, from what a scan of the whole file has found. */
static bool is_asked_for(const salvage_record *r, missing what, uint64_t id) {
  catalog_kind kind;
  uint64_t its;
  char name[256];
  catalog_record copy = r->value;
  if (catalog_key_decode((bytes){r->key.byte, r->key.size}, &kind, &its, name) != 0) return false;
  if (what == LAYER_MISSING) return kind == CATALOG_LAYER && its == id;
  if (what == INSTANCE_MISSING) return kind == CATALOG_INSTANCE && its == id;
  catalog_record_bind(&copy, (bytes){r->key.byte, r->key.size});
  return kind == CATALOG_NAME && name_record_decode((bytes){copy.byte, copy.size}, &its) == 0 && its == id;
}

static uint64_t version_of(const salvage_record *r) {
  state_record found;
  catalog_record copy = r->value;
  catalog_record_bind(&copy, (bytes){r->key.byte, r->key.size});
  if (state_record_decode((bytes){copy.byte, copy.size}, &found) != 0) return 0;
  state_release(found.state);
  return found.version;
}

/* What has its key already helps nobody: a damaged name may be another instance's now. */
static const salvage_record *older_copy(const salvage *s, const salvage *old, missing what, uint64_t id) {
  const salvage_record *best = NULL;
  for (size_t i = 0; i < old->records.count; i++) {
    const salvage_record *r = &old->records.at[i];
    if (!is_asked_for(r, what, id) || salvage_has_record(s, &r->key)) continue;
    if (!best || version_of(r) > version_of(best)) best = r;
  }
  return best;
}

static int fill_in(salvage *s, const salvage *old, missing what, uint64_t id, uint64_t instance) {
  const salvage_record *r = older_copy(s, old, what, id);
  if (what == INSTANCE_MISSING) return make_instance(s, id, r);
  if (!r) return what == LAYER_MISSING ? make_layer(s, id, instance) : make_name(s, id);
  findings_add(&s->lost, FINDING_NOTE, "nothing need be done", "a lost record was found in an older copy");
  int err = salvage_take_record(s, (bytes){r->key.byte, r->key.size}, (bytes){r->value.byte, r->value.size});
  kept_sort(&s->audit.kept);
  return err;
}

static void complete_store(salvage *s) {
  kept *k = &s->audit.kept;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  store_record *r = &k->store;
  if (!k->has_store && s->has_older_store) {
    k->store = s->older_store;
    findings_add(&s->lost, FINDING_NOTE, "nothing need be done", "the store record was taken from an older copy");
  } else if (!k->has_store) {
    *r = (store_record){
        .id = r->id, .format_version = FORMAT_VERSION, .next_layer = 1, .next_instance = 1, .next_trash = 1};
    r->created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    findings_add(&s->lost, FINDING_NOTE, "nothing need be done", "the store record was lost and made anew");
  }
  for (size_t i = 0; i < k->layers.count; i++) r->next_layer = max_u64(r->next_layer, k->layers.at[i].id + 1);
  for (size_t i = 0; i < k->rows.count; i++) r->next_layer = max_u64(r->next_layer, k->rows.at[i].key.layer + 1);
  for (size_t i = 0; i < k->states.count; i++)
    r->next_instance = max_u64(r->next_instance, k->states.at[i].instance + 1);
  for (size_t i = 0; i < k->trash.count; i++) r->next_trash = max_u64(r->next_trash, k->trash.at[i].id + 1);
}

/* Each round adds a record that was not there, so it ends. */
int salvage_complete(salvage *s) {
  uint64_t id, instance = 0;
  complete_store(s);
  if (what_is_missing(&s->audit.kept, &id, &instance) == NOTHING_MISSING) return 0;
  salvage old = {.fd = s->fd, .file_pages = s->file_pages, .every_copy = true};
  int err = salvage_scan(&old, SCAN_RECORDS, true);
  missing what;
  while (!err && (what = what_is_missing(&s->audit.kept, &id, &instance)) != NOTHING_MISSING)
    err = fill_in(s, &old, what, id, instance);
  salvage_free(&old);
  return err;
}
