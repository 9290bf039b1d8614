/* byteflip_rows.h - the page rows that recover emits, each with a hash of every block, to be looked up by key. In one test program.
 *
 * Invariant: hash and bad are of good page records alone; row_of wants the rows sorted by order_rows.
 * Owner:     whoever has the rows frees `at`.
 */
#ifndef TESTS_BYTEFLIP_ROWS_H
#define TESTS_BYTEFLIP_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "recover_salvage.h"
#include "storage/record.h"

typedef struct {
  page_key key;
  uint64_t at;
  uint32_t size;
  uint64_t hash[1 + PAGE_BLOCKS];
  uint16_t bad;
  bool good;
} row;
typedef struct {
  row *at;
  size_t count, room;
  id128 store;
} rows;

static inline int take_row(void *env, db_table table, bytes key, bytes value) {
  rows *r = env;
  row_kind kind;
  if (table != DB_PAGES) return 0;
  if (r->count == r->room) r->at = realloc(r->at, (r->room = r->room ? r->room * 2 : 64) * sizeof *r->at);
  row *made = &r->at[r->count++];
  *made = (row){.size = (uint32_t)value.size};
  assert_int_equal(page_key_decode(key, &made->key), 0);
  made->good = row_check(value, made->key, r->store, &kind) == 0;
  if (value.size != PAGE_RECORD_BYTES || !made->good) return 0;
  made->bad = page_damaged_blocks(value, made->key.page, ALL_BLOCKS);
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    made->hash[b] = XXH3_64bits(page_record_bytes(value) + b * BLOCK_BYTES, BLOCK_BYTES);
  return 0;
}

static inline int order_rows(const void *a, const void *b) {
  uint8_t x[PAGE_KEY_BYTES], y[PAGE_KEY_BYTES];
  page_key_encode(((const row *)a)->key, x);
  page_key_encode(((const row *)b)->key, y);
  return memcmp(x, y, sizeof x);
}

static inline const row *row_of(const rows *r, page_key key) {
  row wanted = {.key = key};
  return r->count ? bsearch(&wanted, r->at, r->count, sizeof wanted, order_rows) : NULL;
}

#endif
