/* catalog.c - see catalog.h.
 *
 * A state whose metadata or table does not fit its record has them as pages of memory 0, at the record's
 * layer and version, kept by the same rule as every other page: wherever the record can be read, they can.
 * Thread: the reader's rule.
 */
#include "storage/catalog.h"

#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/record.h"

static int damaged(int err, const char *what, uint64_t id, const char *name) {
  if (err == PAGESTORE_ENOMEM)
    return fail(err, "no memory to read the record of %s %llu %s", what, (unsigned long long)id, name);
  return fail(err, "the record of %s %llu %s is damaged: run `pagestore check`", what, (unsigned long long)id, name);
}

static int delete_key(db_txn *txn, const catalog_key *key) {
  return db_delete(txn, DB_CATALOG, (bytes){key->byte, key->size});
}

/* The first record behind `after` that is of this kind, and its key taken apart. ENOTFOUND: no more. */
static int next_of_kind(db_reader reader, const catalog_key *after, catalog_kind wanted, uint64_t *id, char name[256],
                        catalog_record *copy) {
  catalog_key found;
  catalog_kind kind;
  uint64_t found_id;
  char found_name[256];
  int err = record_seek(reader, after, RECORD_AFTER, &found, copy);
  if (err != 0) return err;
  if (catalog_key_decode((bytes){found.byte, found.size}, &kind, &found_id, found_name) != 0)
    return fail(PAGESTORE_ECORRUPT, "the catalog has a key that is none: run `pagestore check`");
  if (kind != wanted) return PAGESTORE_ENOTFOUND;
  *id = found_id;
  memcpy(name, found_name, sizeof found_name);
  return 0;
}

/* ---- store ----------------------------------------------------------------------------------- */

int catalog_store(db_reader reader, store_record *out) {
  catalog_key key = catalog_key_store();
  catalog_record copy;
  int err = record_get(reader, &key, &copy);
  if (err == 0) err = store_record_decode(record_bytes(&copy), out);
  if (err == PAGESTORE_ENOTFOUND)
    return fail(PAGESTORE_EFORMAT, "this LMDB environment has no store record: it is no pagestore");
  if (err == PAGESTORE_EFORMAT)
    return fail(err,
                "this is no pagestore, or one of a newer format: open it with the version of pagestore that wrote it");
  if (err == PAGESTORE_ECORRUPT) return fail(err, "the store record is damaged: run `pagestore recover`");
  return err;
}

int catalog_put_store(db_txn *txn, const store_record *record) {
  catalog_key key = catalog_key_store();
  catalog_record encoded;
  store_record_encode(record, &encoded);
  return record_put(txn, &key, &encoded);
}

/* ---- names ----------------------------------------------------------------------------------- */

int catalog_find(db_reader reader, const char *name, uint64_t *instance) {
  catalog_key key = catalog_key_name(name);
  catalog_record copy;
  int err = record_get(reader, &key, &copy);
  if (err == PAGESTORE_ENOTFOUND) return fail(err, "no instance is called \"%s\"", name);
  if (err == 0) err = name_record_decode(record_bytes(&copy), instance);
  return err == PAGESTORE_ECORRUPT ? damaged(err, "name", 0, name) : err;
}

int catalog_put_name(db_txn *txn, const char *name, uint64_t instance) {
  catalog_key key = catalog_key_name(name);
  catalog_record encoded;
  name_record_encode(instance, &encoded);
  return record_put(txn, &key, &encoded);
}

int catalog_delete_name(db_txn *txn, const char *name) {
  catalog_key key = catalog_key_name(name);
  return delete_key(txn, &key);
}

int catalog_next_name(db_reader reader, const char *after, char name[256], uint64_t *instance) {
  catalog_key key = catalog_key_name(after);
  catalog_record copy;
  uint64_t none;
  int err = next_of_kind(reader, &key, CATALOG_NAME, &none, name, &copy);
  if (err != 0) return err;
  err = name_record_decode(record_bytes(&copy), instance);
  return err != 0 ? damaged(err, "name", 0, name) : 0;
}

int catalog_check_ids(db_reader reader, const store_record *r) {
  const struct {
    catalog_kind kind;
    uint64_t next;
  } ids[] = {{CATALOG_LAYER, r->next_layer}, {CATALOG_INSTANCE, r->next_instance}, {CATALOG_TRASH, r->next_trash}};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    catalog_key last = catalog_key_id(ids[i].kind, ids[i].next - 1);
    catalog_record copy;
    char name[256];
    uint64_t taken = 0;
    int err = ids[i].next ? next_of_kind(reader, &last, ids[i].kind, &taken, name, &copy) : 0;
    if (err == 0)
      return fail(PAGESTORE_ECORRUPT, "the store record would give id %llu away again: run `pagestore recover`",
                  (unsigned long long)taken);
    if (err != PAGESTORE_ENOTFOUND) return err;
  }
  return 0;
}

/* ---- what lies in memory 0 ------------------------------------------------------------------- */

typedef struct { const uint8_t *from; uint8_t *to; size_t size; } copy_job;

static int copy_guarded(void *env) {
  const copy_job *job = env;
  if (job->from == NULL) memset(job->to, 0, job->size);
  else memcpy(job->to, job->from, job->size);
  return 0;
}

static int read_system_pages(const pagemap *m, uint64_t page, uint8_t *scratch, uint8_t *to, size_t length) {
  for (size_t at = 0; at < length; at += PAGE_BYTES, page++) {
    row_place damage;
    copy_job job = {.to = to + at, .size = length - at < PAGE_BYTES ? length - at : PAGE_BYTES};
    int err = pagemap_read(m, SYSTEM_MEMORY, page, scratch, &job.from, &damage);
    if (err == 0) err = db_read_guarded(m->reader, copy_guarded, &job);
    if (err == PAGESTORE_ECORRUPT)
      return fail(err, "page %llu of memory 0 is damaged in layer %llu, version %llu: run `pagestore recover`",
                  (unsigned long long)page, (unsigned long long)damage.layer, (unsigned long long)damage.version);
    if (err != 0) return fail(err, "page %llu of memory 0 could not be read: check the disk", (unsigned long long)page);
  }
  return 0;
}

typedef int (*part_decode)(state *, const uint8_t *, size_t length);

static int load_part(const pagemap *m, uint64_t first_page, size_t length, part_decode decode, state *into) {
  uint8_t *room = malloc(PAGE_BYTES + length);  /* scratch, then the bytes */
  if (room == NULL) return fail(PAGESTORE_ENOMEM, "no memory to load %zu bytes of an instance's record", length);
  int err = read_system_pages(m, first_page, room, room + PAGE_BYTES, length);
  if (err == 0 && (err = decode(into, room + PAGE_BYTES, length)) == PAGESTORE_ECORRUPT)
    fail(err, "metadata or table of memories in memory 0 are damaged: run `pagestore recover`");
  else if (err == PAGESTORE_ENOMEM) fail(err, "no memory for an instance's metadata or table of memories");
  free(room);
  return err;
}

static int load_paged(db_reader, layers *, id128 store, state_record *);

static int load_layers_and_paged(db_reader reader, id128 store, state_record *r) {
  layers *layers;
  int err = layers_load(reader, &layers);
  if (err != 0) return err;
  err = load_paged(reader, layers, store, r);
  layers_free(layers);
  return err;
}

static int load_paged(db_reader reader, layers *layers, id128 store, state_record *r) {
  if (!r->metadata_paged && !r->table_paged) return 0;
  if (layers == NULL) return load_layers_and_paged(reader, store, r);
  line *line;
  int err = layers_line(layers, r->layer, r->version, &line);
  if (err == PAGESTORE_ENOTFOUND)
    return fail(PAGESTORE_ECORRUPT, "layer %llu is missing: run `pagestore check`", (unsigned long long)r->layer);
  if (err != 0) return fail(err, "no memory to load an instance's record");
  pagemap map = {.reader = reader, .line = line, .store = store};
  if (r->table_paged) err = load_part(&map, SYSTEM_TABLE_PAGE, r->table_bytes, state_table_decode, r->state);
  if (err == 0 && r->metadata_paged)
    err = load_part(&map, SYSTEM_METADATA_PAGE, r->metadata_bytes, state_metadata_decode, r->state);
  line_release(line);
  return err;
}

/* ---- states ---------------------------------------------------------------------------------- */

static catalog_key key_of_state(uint64_t instance, const char *snapshot) {
  return snapshot == NULL ? catalog_key_id(CATALOG_INSTANCE, instance) : catalog_key_snapshot(instance, snapshot);
}

static int get_state(db_reader reader, layers *layers, id128 store, uint64_t instance, const char *snapshot,
                     state_record *out) {
  catalog_key key = key_of_state(instance, snapshot);
  catalog_record copy;
  state_record r;
  int err = record_get(reader, &key, &copy);
  if (err != 0) return err;
  const char *what = snapshot == NULL ? "instance" : "snapshot of instance", *name = snapshot == NULL ? "" : snapshot;
  if ((err = state_record_decode(record_bytes(&copy), &r)) != 0) return damaged(err, what, instance, name);
  if ((err = load_paged(reader, layers, store, &r)) != 0) {
    state_release(r.state);
    return err;
  }
  *out = r;
  return 0;
}

int catalog_instance(db_reader reader, layers *layers, id128 store, uint64_t instance, state_record *out) {
  return get_state(reader, layers, store, instance, NULL, out);
}

int catalog_snapshot(db_reader reader, layers *layers, id128 store, uint64_t instance, const char *name,
                     state_record *out) {
  return get_state(reader, layers, store, instance, name, out);
}

/* The first snapshot behind (instance, after), of whatever instance. */
static int next_snapshot(db_reader reader, uint64_t instance, const char *after, uint64_t *found, char name[256],
                         state_record *out) {
  catalog_key key = catalog_key_snapshot(instance, after);
  catalog_record copy;
  int err = next_of_kind(reader, &key, CATALOG_SNAPSHOT, found, name, &copy);
  if (err != 0) return err;
  err = state_record_decode(record_bytes(&copy), out);
  return err != 0 ? damaged(err, "snapshot of instance", *found, name) : 0;
}

int catalog_next_snapshot(db_reader reader, uint64_t instance, const char *after, char name[256], state_record *out) {
  uint64_t found = 0;
  char found_name[256] = "";
  state_record r;
  int err = next_snapshot(reader, instance, after, &found, found_name, &r);
  if (err != 0) return err;
  if (found != instance) {
    state_release(r.state);
    return PAGESTORE_ENOTFOUND;
  }
  memcpy(name, found_name, sizeof found_name);
  *out = r;
  return 0;
}

int catalog_each_snapshot(db_reader reader,
                          int (*each)(void *env, uint64_t instance, const char *name, const state_record *),
                          void *env) {
  uint64_t instance = 0;
  char name[256] = "";
  for (;;) {
    state_record r;
    int err = next_snapshot(reader, instance, name, &instance, name, &r);
    if (err == PAGESTORE_ENOTFOUND) return 0;
    if (err != 0) return err;
    err = each(env, instance, name, &r);
    state_release(r.state);
    if (err != 0) return err;
  }
}

/* ---- putting states -------------------------------------------------------------------------- */

static int put_table_pages(writer *w, const line *line, const state_record *r) {
  uint8_t *table = malloc(r->table_bytes);
  if (table == NULL) return fail(PAGESTORE_ENOMEM, "no memory to write an instance's table of memories");
  state_table_encode(r->state, table);
  int err = writer_system_pages(w, line, r->version, SYSTEM_TABLE_PAGE, table, r->table_bytes);
  free(table);
  return err;
}

/* What is inline now may have been paged before: those pages give their storage back. A snapshot's are its
 * instance's of that version, and only looked at. */
static int put_paged(writer *w, const line *line, const char *snapshot, const state_record *r) {
  size_t metadata = r->metadata_paged ? r->metadata_bytes : 0;
  int err = 0;
  if (r->metadata_paged || snapshot == NULL)
    err = writer_system_pages(w, line, r->version, SYSTEM_METADATA_PAGE, r->state->metadata, metadata);
  if (err != 0) return err;
  if (r->table_paged) return put_table_pages(w, line, r);
  return snapshot == NULL ? writer_system_pages(w, line, r->version, SYSTEM_TABLE_PAGE, NULL, 0) : 0;
}

int catalog_put_state(writer *w, const line *line, uint64_t instance, const char *snapshot, state_record *r) {
  ASSERT(r->version != 0 && r->state != NULL);
  catalog_key key = key_of_state(instance, snapshot);
  catalog_record encoded;
  state_record_encode(r, &encoded);  /* decides what is paged */
  int err = put_paged(w, line, snapshot, r);
  return err != 0 ? err : record_put(w->txn, &key, &encoded);
}

int catalog_delete_instance(db_txn *txn, uint64_t instance) {
  catalog_key key = catalog_key_id(CATALOG_INSTANCE, instance);
  return delete_key(txn, &key);
}

int catalog_delete_snapshot(db_txn *txn, uint64_t instance, const char *name) {
  catalog_key key = catalog_key_snapshot(instance, name);
  return delete_key(txn, &key);
}

/* ---- layers ---------------------------------------------------------------------------------- */

int catalog_put_layer(db_txn *txn, uint64_t id, const layer_record *record) {
  catalog_key key = catalog_key_id(CATALOG_LAYER, id);
  catalog_record encoded;
  layer_record_encode(record, &encoded);
  return record_put(txn, &key, &encoded);
}

int catalog_delete_layer(db_txn *txn, uint64_t id) {
  catalog_key key = catalog_key_id(CATALOG_LAYER, id);
  return delete_key(txn, &key);
}
