/* storage_fixture.h - for tests of storage/: a temporary environment, pages of recognisable bytes, a small generator.
 *
 * A block's content is named by a tag: 0 is zeros, every other tag its own pattern. Models keep tags instead of bytes.
 */
#ifndef PAGESTORE_TESTS_STORAGE_FIXTURE_H
#define PAGESTORE_TESTS_STORAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <pagestore.h>

#include "base/units.h"
#include "storage/catalog.h"
#include "storage/rows.h"
#include "storage/trash.h"

static const id128 store_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

/* ---- a generator: splitmix64 --------------------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline uint64_t below(uint64_t *state, uint64_t limit) { return mix(state) % limit; }

/* From the environment or the clock; printed, so that a failure can be had again. */
static inline uint64_t test_seed(const char *test) {
  const char *given = getenv("PAGESTORE_SEED");
  uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 2654435761u ^ (uint64_t)time(NULL);
  printf("%s: PAGESTORE_SEED=%llu\n", test, (unsigned long long)seed);
  return seed;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------ */

static inline void fill_block(uint8_t *to, uint64_t tag) {
  if (tag == 0) {
    memset(to, 0, BLOCK_BYTES);
    return;
  }
  uint64_t word = tag * 0x9e3779b97f4a7c15u | 1;
  for (size_t i = 0; i < BLOCK_BYTES; i += sizeof word, word += 0x0101010101010101u) memcpy(to + i, &word, sizeof word);
}

static inline void fill_page(uint8_t *to, const uint64_t tags[PAGE_BLOCKS]) {
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) fill_block(to + (size_t)i * BLOCK_BYTES, tags[i]);
}

static inline void assert_page(const uint8_t *bytes, const uint64_t tags[PAGE_BLOCKS]) {
  static _Thread_local uint8_t expected[BLOCK_BYTES];
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    fill_block(expected, tags[i]);
    static const uint8_t zeros[BLOCK_BYTES];
    assert_memory_equal(bytes == NULL ? zeros : bytes + (size_t)i * BLOCK_BYTES, expected, BLOCK_BYTES);
  }
}

/* A delta of one page whose blocks of `mask` all have one tag. */
static inline delta *one_page_delta(uint32_t memory, uint64_t page, uint16_t mask, uint64_t tag) {
  static _Thread_local uint8_t bytes[PAGE_BYTES];
  uint64_t tags[PAGE_BLOCKS];
  delta *d;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) tags[i] = tag;
  fill_page(bytes, tags);
  assert_int_equal(delta_new(1, PAGE_BLOCKS, &d), 0);
  delta_add(d, memory, page, mask, bytes);
  return d;
}

/* ---- an environment ---------------------------------------------------------------------------------------------------- */

typedef struct {
  char path[256];
  db *db;
} fixture;

static inline void fixture_open(fixture *f) {
  const char *where = getenv("TMPDIR");
  snprintf(f->path, sizeof f->path, "%s/pagestore-test-XXXXXX", where != NULL ? where : "/tmp");
  assert_non_null(mkdtemp(f->path));
  assert_int_equal(db_open(f->path, &(db_options){.create_tables = true, .map_bytes = 1ull << 32}, &f->db), 0);
}

static inline void fixture_reopen(fixture *f) {
  db_close(f->db);
  assert_int_equal(db_open(f->path, &(db_options){.map_bytes = 1ull << 32}, &f->db), 0);
}

static inline void fixture_close(fixture *f) {
  char file[300];
  db_close(f->db);
  snprintf(file, sizeof file, "%s/data.mdb", f->path);
  unlink(file);
  snprintf(file, sizeof file, "%s/lock.mdb", f->path);
  unlink(file);
  rmdir(f->path);
}

static inline db_txn *begin(fixture *f) {
  db_txn *txn;
  assert_int_equal(db_begin(f->db, &txn), 0);
  return txn;
}

static inline void commit(db_txn *txn) {
  store_record record = {.format_version = FORMAT_VERSION, .id = store_id, .flush_txn_id = db_txn_id(txn)};
  assert_int_equal(catalog_put_store(txn, &record), 0);
  assert_int_equal(db_commit(txn), 0);
}

/* A slot that reads the newest state. */
static inline db_slot *reading(fixture *f) {
  db_slot *slot = db_slot_take(f->db);
  assert_int_equal(db_slot_renew(slot), 0);
  return slot;
}

/* How many rows the table of pages has in a layer (0: in all). */
static inline uint64_t count_rows(fixture *f, uint64_t layer) {
  db_slot *slot = reading(f);
  db_reader reader = {.slot = slot};
  page_key found;
  bytes value;
  uint64_t count = 0;
  int err = row_seek(reader, (page_key){.version = UINT64_MAX}, &found, &value);
  for (; err == 0; err = row_next(reader, &found, &value)) count += layer == 0 || found.layer == layer;
  assert_int_equal(err, PAGESTORE_ENOTFOUND);
  db_slot_release(slot);
  return count;
}

/* Flips a bit of a stored row, `at` bytes into its value. */
static inline void damage_row(fixture *f, page_key k, size_t at) {
  uint8_t key[PAGE_KEY_BYTES];
  static uint8_t copy[PAGE_RECORD_BYTES];
  bytes value;
  db_txn *txn = begin(f);
  page_key_encode(k, key);
  assert_int_equal(db_get(txn, DB_PAGES, (bytes){key, sizeof key}, &value), 0);
  memcpy(copy, value.data, value.size);
  copy[at] ^= 1;
  assert_int_equal(db_put(txn, DB_PAGES, (bytes){key, sizeof key}, (bytes){copy, value.size}), 0);
  commit(txn);
}

#endif
