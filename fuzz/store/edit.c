/* edit.c - damage to a store's file, and checksums made right again; see edit.h. */
#include "edit.h"

#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "fuzz/fuzz.h"
#include "storage/format.h"
#include "storage/walker.h"
#include "storage/wire.h"

enum { LOWER_AT = 12, UPPER_AT = 14 };
typedef enum { ANY_PAGE, TREE_PAGE, RECORD, OVERFLOW_PAGE } place_kind; /* bits 6 and 7 of an edit */

/* ---- edits ------------------------------------------------------------------------------------ */

static size_t page_of(const base *b, const uint8_t *edit, size_t size) {
  size_t pages = size / LMDB_PAGE_BYTES, page;
  switch ((place_kind)(edit[0] >> 6)) {
  case ANY_PAGE: page = (size_t)edit[1] * pages / 256; break;
  case RECORD: page = b->records[edit[1] % b->record_count] / LMDB_PAGE_BYTES; break;
  case OVERFLOW_PAGE: page = b->overflow_count ? b->overflow[edit[1] % b->overflow_count] : 0; break;
  default: page = b->tree[edit[1] % b->tree_count];
  }
  return page < pages ? page : 0;
}

/* The middle of a tree page is nobody's. */
static size_t offset_of(const base *b, const uint8_t *edit, const uint8_t *page) {
  size_t at = get_le16(edit + 2), lower = get_le16(page + LOWER_AT), upper = get_le16(page + UPPER_AT);
  bool is_tree = edit[0] >> 6 == TREE_PAGE;
  size_t record = edit[1] % b->record_count;
  if (edit[0] >> 6 == RECORD) return b->records[record] % LMDB_PAGE_BYTES + at % b->record_bytes[record];
  if (!is_tree || lower < 16 || upper < lower || upper >= LMDB_PAGE_BYTES) return at % LMDB_PAGE_BYTES;
  return at & 0x8000 ? at % lower : upper + at % (LMDB_PAGE_BYTES - upper);
}

static void put_number(uint8_t *at, size_t room, const uint8_t with[4]) {
  static const uint64_t values[] = {0,
                                    1,
                                    2,
                                    15,
                                    16,
                                    255,
                                    256,
                                    4095,
                                    4096,
                                    32767,
                                    32768,
                                    65535,
                                    UINT32_MAX,
                                    0x7fffffff,
                                    0x80000000,
                                    INT64_MAX,
                                    UINT64_MAX,
                                    UINT64_MAX - 1,
                                    17,
                                    1700,
                                    69616,
                                    1u << 20,
                                    1ull << 40,
                                    1ull << 48,
                                    (1ull << 32) - 2,
                                    0xffffffff00000000};
  size_t width = (size_t)1 << with[0] % 4;
  uint64_t value = with[1] & 1 ? get_le16(with + 2) : values[with[2] % (sizeof values / sizeof *values)];
  if (with[1] & 2) value = __builtin_bswap64(value) >> (64 - 8 * width);
  if (width <= room) memcpy(at, &value, width);
}

static void random_block(uint8_t *to, uint64_t state) {
  for (size_t i = 0; i < LMDB_PAGE_BYTES; i += 8) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    put_le64(to + i, state ^ state >> 29);
  }
}

static void swap_pages(uint8_t *a, uint8_t *b) {
  uint8_t kept[LMDB_PAGE_BYTES];
  memcpy(kept, a, sizeof kept);
  memmove(a, b, sizeof kept);
  memcpy(b, kept, sizeof kept);
}

static void change_size(edit_kind kind, const uint8_t *edit, uint8_t *image, size_t *size) {
  size_t bytes = get_le16(edit + 4), whole = edit[6] & 1 ? bytes % 32 * LMDB_PAGE_BYTES : bytes;
  if (kind == EDIT_TRUNCATE) {
    *size -= whole < *size ? whole : *size;
  } else {
    whole %= (GROW_PAGES_MAX / EDITS_COUNT_MAX) * LMDB_PAGE_BYTES + 1;
    memset(image + *size, edit[7], whole);
    *size += whole;
  }
}

void edit_apply(const base *b, const uint8_t edit[EDIT_BYTES], uint8_t *image, size_t *size) {
  edit_kind kind = (edit[0] & 0x3f) % EDITS;
  const uint8_t *with = edit + 4;
  if (kind == EDIT_TRUNCATE || kind == EDIT_GROW) {
    change_size(kind, edit, image, size);
    return;
  }
  if (*size < LMDB_PAGE_BYTES) return;
  uint8_t *page = image + page_of(b, edit, *size) * LMDB_PAGE_BYTES;
  size_t offset = offset_of(b, edit, page), room = LMDB_PAGE_BYTES - offset;
  uint8_t other[EDIT_BYTES] = {(uint8_t)(with[0] & 0xc0), with[1]};
  uint8_t *from = image + page_of(b, other, *size) * LMDB_PAGE_BYTES;
  switch (kind) {
  case EDIT_FLIP: page[offset] ^= (uint8_t)(1u << with[0] % 8); break;
  case EDIT_BYTE: page[offset] = with[0]; break;
  case EDIT_NUMBER: put_number(page + offset, room, with); break;
  case EDIT_ADD: page[offset] += (uint8_t)(with[0] % 9 - 4); break;
  case EDIT_RANDOM_BLOCK: random_block(page, XXH3_64bits(edit, EDIT_BYTES)); break;
  case EDIT_ZERO_BLOCK: memset(page + offset, 0, with[0] & 1 ? room : with[1] % room); break;
  case EDIT_SPLICE:
    memmove(page + (with[2] & 1 ? 16 : 0), from + (with[2] & 1 ? 16 : 0), LMDB_PAGE_BYTES - (with[2] & 1 ? 16 : 0));
    break;
  case EDIT_SWAP: swap_pages(page, from); break;
  default: memmove(page + offset, from + with[2] * 8, with[3] < room ? with[3] : room);
  }
}

/* ---- repairing -------------------------------------------------------------------------------- */

static int ignore_finding(void *env, uint64_t page, const char *text) {
  (void)env, (void)page, (void)text;
  return 0;
}

static void repair_record(int fd, bytes key, walker_place value) {
  catalog_record r = {.size = value.size};
  if (value.size < 16 || value.size > sizeof r.byte || walker_read(fd, value, r.byte) != 0) return;
  put_le16(r.byte + 6, (uint16_t)r.size);
  put_le64(r.byte + r.size - 8, base_record_checksum(key.data, key.size, r.byte, r.size - 8));
  MUST(pwrite(fd, r.byte, r.size, (off_t)value.at) == (ssize_t)r.size);
}

static void repair_page(int fd, page_key key, walker_place value) {
  static uint8_t record[PAGE_RECORD_BYTES];
  if (walker_read(fd, value, record) != 0) return;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    page_header_set_checksum(record, i,
                             block_checksum(record + PAGE_HEADER_BYTES + i * (size_t)BLOCK_BYTES, key.page, i));
  page_header_seal(record);
  MUST(pwrite(fd, record, PAGE_HEADER_BYTES, (off_t)value.at) == PAGE_HEADER_BYTES);
}

static void repair_marker(int fd, page_key key, walker_place value) {
  uint8_t marker[ZERO_MARKER_BYTES];
  if (walker_read(fd, value, marker) != 0) return;
  put_le64(marker + 24, XXH3_64bits_withSeed(marker, 24, key.version));
  MUST(pwrite(fd, marker, sizeof marker, (off_t)value.at) == sizeof marker);
}

/* The header says which block lies where; without a count that can be one, one of all sixteen. */
static void repair_blocks(int fd, walker_place value) {
  static uint8_t record[PAGE_RECORD_BYTES];
  enum { COUNT_AT = 8 };
  if (walker_read(fd, value, record) != 0) return;
  uint32_t count = get_le32(record + COUNT_AT);
  if (count == 0 || count > PAGE_BLOCKS) count = PAGE_BLOCKS;
  for (unsigned i = 0; i < count; i++) {
    log_address at = log_record_address(record, i);
    static uint8_t block[BLOCK_BYTES];
    memcpy(block, log_record_block(record, i), sizeof block);
    at.number %= PAGE_BLOCKS;
    log_record_add(record, i, &at, block, block_checksum(block, at.page, at.number));
  }
  log_record_seal(record, count);
  MUST(pwrite(fd, record, PAGE_HEADER_BYTES, (off_t)value.at) == PAGE_HEADER_BYTES);
}

static int repair_row(void *env, const char *table, bytes key, walker_place value) {
  int fd = *(int *)env;
  page_key at;
  if (strcmp(table, "catalog") == 0) repair_record(fd, key, value);
  if (strcmp(table, "log") == 0 && value.size == PAGE_RECORD_BYTES) repair_blocks(fd, value);
  if (strcmp(table, "pages") != 0 || page_key_decode(key, &at) != 0) return 0;
  if (value.size == PAGE_RECORD_BYTES) repair_page(fd, at, value);
  if (value.size == ZERO_MARKER_BYTES) repair_marker(fd, at, value);
  return 0;
}

void edit_repair(int fd) {
  walker_metas metas;
  walker_summary summary;
  walker_callbacks callbacks = {.env = &fd, .finding = ignore_finding, .row = repair_row};
  (void)walker_check_meta(fd, "data.mdb", &metas);
  if (metas.file_bytes > 0 && metas.meta[metas.newest].usable)
    (void)walker_walk(fd, &metas, metas.newest, &callbacks, &summary);
}
