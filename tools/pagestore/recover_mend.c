/* recover_mend.c - what checksums allow to put right. One wrong byte among at most two thousand is found by trying:
 * a wrong try passes once in 2^44. */
#include "recover_salvage.h"

#include <string.h>

/* ---- catalog records ------------------------------------------------------------------------- */

static bool record_is_good(const catalog_key *key, const catalog_record *value) {
  kept trial = {0};
  char text[KEPT_TEXT];
  size_t size;
  if (!catalog_record_begins(value->byte, value->size, &size) || size != value->size) return false;
  bool good = kept_add_catalog(&trial, (bytes){key->byte, key->size}, (bytes){value->byte, value->size}, text) == 0;
  kept_free(&trial);
  return good;
}

/* Tries each byte of `at`. */
#define TRY_BYTES(at, size, good)                                                                                      \
  for (size_t i_ = 0; i_ < (size); i_++) {                                                                             \
    uint8_t was_ = (at)[i_];                                                                                           \
    for (unsigned x_ = 1; x_ < 256; x_++) {                                                                            \
      (at)[i_] = was_ ^ (uint8_t)x_;                                                                                   \
      if (good) return true;                                                                                           \
    }                                                                                                                  \
    (at)[i_] = was_;                                                                                                   \
  }

bool mend_record(catalog_key *key, catalog_record *value, unsigned *tries) {
  if (record_is_good(key, value)) return true;
  if (*tries == 0) return false;
  --*tries;
  TRY_BYTES(value->byte, value->size, record_is_good(key, value))
  TRY_BYTES(key->byte, key->size, record_is_good(key, value))
  return false;
}

/* ---- zero markers ---------------------------------------------------------------------------- */

static bool marker_is_good(const uint8_t encoded[PAGE_KEY_BYTES], const uint8_t value[ZERO_MARKER_BYTES]) {
  page_key key;
  row_kind kind;
  (void)page_key_decode((bytes){encoded, PAGE_KEY_BYTES}, &key);
  return row_check((bytes){value, ZERO_MARKER_BYTES}, key, (id128){0}, &kind) == 0;
}

static bool marker_is_near(page_key key, const uint8_t value[ZERO_MARKER_BYTES]) {
  uint8_t right[ZERO_MARKER_BYTES];
  unsigned differ = 0;
  zero_marker_encode(key, right);
  for (unsigned i = 0; i < sizeof right; i++) differ += right[i] != value[i];
  return differ <= 1;
}

static bool mend_marker_key(uint8_t encoded[PAGE_KEY_BYTES], const uint8_t value[ZERO_MARKER_BYTES]) {
  TRY_BYTES(encoded, (size_t)PAGE_KEY_BYTES, marker_is_good(encoded, value))
  return false;
}

bool mend_marker(page_key *key, uint8_t value[ZERO_MARKER_BYTES]) {
  uint8_t encoded[PAGE_KEY_BYTES];
  page_key_encode(*key, encoded);
  if (!marker_is_near(*key, value)) {
    if (!mend_marker_key(encoded, value)) return false;
    (void)page_key_decode((bytes){encoded, sizeof encoded}, key);
  }
  zero_marker_encode(*key, value);
  return true;
}

void mend_make_unreadable(page_key key, uint8_t marker[ZERO_MARKER_BYTES]) {
  zero_marker_encode(key, marker);
  for (unsigned i = ZERO_MARKER_BYTES - 8; i < ZERO_MARKER_BYTES; i++) marker[i] ^= 0xff;
}

/* ---- pages ----------------------------------------------------------------------------------- */

void mend_make_page(page_key key, id128 store, uint8_t value[PAGE_RECORD_BYTES]) {
  page_header_init(value, key, store);
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    page_header_set_checksum(value, b, block_checksum(value + PAGE_HEADER_BYTES + b * BLOCK_BYTES, key.page, b));
  page_header_seal(value);
}

/* The header that these bytes should have is theirs if its seal is the stored one, or all its checksums are. */
mend_result mend_page(page_key key, id128 store, uint8_t value[PAGE_RECORD_BYTES], uint16_t *blocks) {
  uint8_t was[PAGE_HEADER_BYTES];
  row_kind kind;
  if (row_check((bytes){value, PAGE_RECORD_BYTES}, key, store, &kind) == 0) {
    *blocks = page_damaged_blocks((bytes){value, PAGE_RECORD_BYTES}, key.page, ALL_BLOCKS);
    return *blocks ? MEND_DAMAGED : MEND_GOOD;
  }
  memcpy(was, value, sizeof was);
  mend_make_page(key, store, value);
  *blocks = 0;
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    if (page_header_checksum(was, b) != page_header_checksum(value, b)) *blocks |= (uint16_t)(1u << b);
  if (*blocks == 0 || page_header_seal_of(was) == page_header_seal_of(value)) {
    *blocks = 0;
    return MEND_MENDED;
  }
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    if (*blocks >> b & 1) page_header_set_checksum(value, b, ~page_header_checksum(value, b));
  page_header_seal(value);
  return MEND_DAMAGED;
}
