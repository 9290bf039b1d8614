/* rows.c - see rows.h. */
#include "storage/rows.h"

typedef struct { bytes key; page_key decoded; } decode_job;

static int decode_guarded(void *env) {
  decode_job *job = env;
  return page_key_decode(job->key, &job->decoded);
}

static int decode_key(db_reader reader, bytes key, page_key *found) {
  decode_job job = {.key = key};
  int err = db_read_guarded(reader, decode_guarded, &job);
  if (err == 0) *found = job.decoded;
  return err;
}

int row_seek(db_reader reader, page_key from, page_key *found, bytes *value) {
  uint8_t key[PAGE_KEY_BYTES];
  bytes found_key;
  page_key_encode(from, key);
  int err = db_read_seek(reader, DB_PAGES, (bytes){key, sizeof key}, &found_key, value);
  return err != 0 ? err : decode_key(reader, found_key, found);
}

int row_next(db_reader reader, page_key *found, bytes *value) {
  bytes found_key;
  int err = db_read_next(reader, DB_PAGES, &found_key, value);
  return err != 0 ? err : decode_key(reader, found_key, found);
}

int row_delete(db_txn *txn, page_key k) {
  uint8_t key[PAGE_KEY_BYTES];
  page_key_encode(k, key);
  return db_delete(txn, DB_PAGES, (bytes){key, sizeof key});
}
