/* record.c - see record.h. */
#include "storage/record.h"

#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"

typedef struct {
  bytes key, value;           /* in the mapping; the key of an exact read is the caller's */
  catalog_key *key_copy;      /* NULL: not wanted */
  catalog_record *copy;
} copy_job;

static int copy_guarded(void *env) {
  const copy_job *job = env;
  if (job->value.size > CATALOG_RECORD_BYTES_MAX) return PAGESTORE_ECORRUPT;
  memcpy(job->copy->byte, job->value.data, job->value.size);
  job->copy->size = job->value.size;
  catalog_record_bind(job->copy, job->key);
  if (job->key_copy == NULL) return 0;
  if (job->key.size > CATALOG_KEY_BYTES_MAX) return PAGESTORE_ECORRUPT;
  memcpy(job->key_copy->byte, job->key.data, job->key.size);
  job->key_copy->size = job->key.size;
  return 0;
}

/* Of one record that is damaged or absent, the caller can say more. */
static int unread(int err) {
  if (err == PAGESTORE_EIO) return fail(err, "the catalog could not be read: check the disk");
  if (err == PAGESTORE_ECORRUPT) return fail(err, "the catalog is damaged: run `pagestore check`");
  return err;
}

int record_get(db_reader reader, const catalog_key *key, catalog_record *out) {
  copy_job job = {.key = {key->byte, key->size}, .copy = out};
  int err = db_read_get(reader, DB_CATALOG, job.key, &job.value);
  return unread(err != 0 ? err : db_read_guarded(reader, copy_guarded, &job));
}

static bool same_key(const catalog_key *a, const catalog_key *b) {
  return a->size == b->size && memcmp(a->byte, b->byte, a->size) == 0;
}

int record_seek(db_reader reader, const catalog_key *from, record_from where, catalog_key *found, catalog_record *out) {
  ASSERT(found != from);
  copy_job job = {.key_copy = found, .copy = out};
  int err = db_read_seek(reader, DB_CATALOG, (bytes){from->byte, from->size}, &job.key, &job.value);
  if (err != 0 || (err = db_read_guarded(reader, copy_guarded, &job)) != 0) return unread(err);
  if (where == RECORD_AT || !same_key(from, found)) return 0;
  err = db_read_next(reader, DB_CATALOG, &job.key, &job.value);
  return unread(err != 0 ? err : db_read_guarded(reader, copy_guarded, &job));
}

int record_next_layer(db_reader reader, uint64_t from, uint64_t *id, layer_record *out) {
  catalog_key at = catalog_key_id(CATALOG_LAYER, from), found;
  catalog_record copy;
  catalog_kind kind;
  char name[256];
  int err = record_seek(reader, &at, RECORD_AT, &found, &copy);
  if (err != 0) return err;
  if (catalog_key_decode((bytes){found.byte, found.size}, &kind, id, name) != 0)
    return fail(PAGESTORE_ECORRUPT, "the catalog has a key that is none: run `pagestore check`");
  if (kind != CATALOG_LAYER) return PAGESTORE_ENOTFOUND;
  if (layer_record_decode(record_bytes(&copy), out) != 0)
    return fail(PAGESTORE_ECORRUPT, "the record of layer %llu is damaged: run `pagestore check`",
                (unsigned long long)*id);
  return 0;
}

int record_put(db_txn *txn, const catalog_key *key, const catalog_record *r) {
  bytes at = {key->byte, key->size};
  catalog_record bound = *r;
  catalog_record_bind(&bound, at);
  return db_put(txn, DB_CATALOG, at, record_bytes(&bound));
}
