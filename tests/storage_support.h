/* storage_support.h - what the tests of the storage stack share: temporary directories, rows, a seeded random generator. */
#ifndef PAGESTORE_TESTS_STORAGE_SUPPORT_H
#define PAGESTORE_TESTS_STORAGE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagestore.h>

#include "storage/db.h"
#include "storage/format.h"

#define assert_ok(call)                                                      \
  do {                                                                       \
    int result_ = (call);                                                    \
    if (result_ != 0) fail_msg("%s: %d: %s", #call, result_, pagestore_detail()); \
  } while (0)

/* The code, and a text that says something. */
#define assert_fails(code, call)                                             \
  do {                                                                       \
    int result_ = (call);                                                    \
    if (result_ != (code)) fail_msg("%s: %d instead of %d: %s", #call, result_, (code), pagestore_detail()); \
    assert_true(strlen(pagestore_detail()) > 10);                            \
  } while (0)

static inline char *make_temp_directory(char path[256]) {
  const char *base = getenv("TMPDIR");
  snprintf(path, 256, "%s/pagestore-test-XXXXXX", base ? base : "/tmp");
  assert_non_null(mkdtemp(path));
  return path;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st;
  (void)type;
  (void)at;
  return remove(path);
}

static inline void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static inline uint64_t next_random(uint64_t *seed) { /* splitmix64 */
  uint64_t z = *seed += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static const id128 test_store_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

/* A page record whose page is filled with `fill`. */
static inline void make_page_record(page_key key, int fill, uint8_t record[PAGE_RECORD_BYTES]) {
  memset(record + PAGE_HEADER_BYTES, fill, PAGE_BYTES);
  page_header_init(record, key, test_store_id);
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    page_header_set_checksum(record, b, block_checksum(record + PAGE_HEADER_BYTES + b * BLOCK_BYTES, key.page, b));
  page_header_seal(record);
}

static inline int put_page(db_txn *txn, page_key key, int fill) {
  static uint8_t record[PAGE_RECORD_BYTES];
  uint8_t encoded[PAGE_KEY_BYTES];
  make_page_record(key, fill, record);
  page_key_encode(key, encoded);
  return db_put(txn, DB_PAGES, (bytes){encoded, sizeof encoded}, (bytes){record, sizeof record});
}

static inline int delete_page(db_txn *txn, page_key key) {
  uint8_t encoded[PAGE_KEY_BYTES];
  page_key_encode(key, encoded);
  return db_delete(txn, DB_PAGES, (bytes){encoded, sizeof encoded});
}

/* A new environment in an existing directory. */
static inline void make_environment(const char *path) {
  db *d;
  assert_ok(db_open(path, &(db_options){.create_tables = true}, &d));
  db_close(d);
}

/* `count` page records from page `first` on, in one transaction. */
static inline int commit_pages(db *d, uint64_t first, uint64_t count, uint64_t version) {
  db_txn *txn;
  int err = db_begin(d, &txn);
  if (err) return err;
  for (uint64_t i = 0; i < count; i++)
    if ((err = put_page(txn, (page_key){1, 1, first + i, version}, (int)(i + 1))) != 0) {
      db_abort(txn);
      return err;
    }
  return db_commit(txn);
}

#endif
