/* recover_scan.c - rows out of LMDB pages that the walk could not use. The contract is in recover_salvage.h.
 *
 * A page record tells its key itself. Markers and catalog records lie in leaf pages, right behind their key: a leaf's
 * nodes are packed from `upper` to its end, and what lies before is of rows that were deleted. */
#include "recover_salvage.h"

#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "storage/walker_page.h"

static void bit_set(uint64_t *bits, uint64_t i) { bits[i / 64] |= 1ull << i % 64; }
static bool bit_get(const uint64_t *bits, uint64_t i) { return bits && bits[i / 64] >> i % 64 & 1; }

/* ---- records --------------------------------------------------------------------------------- */

/* Where the key's record is noted, or would be. */
static uint32_t *place_of(const salvage *s, const catalog_key *key) {
  uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
  for (size_t i = 0; i < key->size; i++) hash = (hash ^ key->byte[i]) * 0x100000001b3u;
  for (size_t at = hash >> 16;; at++) {
    uint32_t *place = &s->places[at & (s->place_room - 1)];
    const catalog_key *there = *place ? &s->records.at[*place - 1].key : NULL;
    if (!there || (there->size == key->size && memcmp(there->byte, key->byte, key->size) == 0)) return place;
  }
}

bool salvage_has_record(const salvage *s, const catalog_key *key) { return s->place_room && *place_of(s, key); }

static int make_places(salvage *s) {
  size_t room = s->place_room ? s->place_room * 2 : 128;
  uint32_t *places = calloc(room, sizeof *places);
  if (!places) return PAGESTORE_ENOMEM;
  free(s->places);
  s->places = places;
  s->place_room = room;
  for (size_t i = 0; i < s->records.count; i++) *place_of(s, &s->records.at[i].key) = (uint32_t)i + 1;
  return 0;
}

static int keep_record(salvage *s, const catalog_key *key, const catalog_record *value) {
  char text[KEPT_TEXT];
  if (s->records.count * 2 >= s->place_room && make_places(s) != 0) return PAGESTORE_ENOMEM;
  uint32_t *place = place_of(s, key);
  if (!s->every_copy && *place) return 0;
  if (s->records.count == s->records.room) {
    size_t room = s->records.room ? s->records.room * 2 : 64;
    salvage_record *grown = realloc(s->records.at, room * sizeof *grown);
    if (!grown) return PAGESTORE_ENOMEM;
    s->records.at = grown;
    s->records.room = room;
  }
  int err = kept_add_catalog(&s->audit.kept, (bytes){key->byte, key->size}, (bytes){value->byte, value->size}, text);
  if (err) return err;
  s->records.at[s->records.count++] = (salvage_record){*key, *value};
  *place = (uint32_t)s->records.count;
  return 0;
}

int salvage_take_record(salvage *s, bytes key, bytes value) {
  salvage_record r = {.key.size = key.size, .value.size = value.size};
  if (key.size > sizeof r.key.byte || value.size > sizeof r.value.byte) return PAGESTORE_ECORRUPT;
  memcpy(r.key.byte, key.data, key.size);
  memcpy(r.value.byte, value.data, value.size);
  salvage_record was = r;
  if (!mend_record(&r.key, &r.value, &s->mends_left)) return PAGESTORE_ECORRUPT;
  if (memcmp(&was, &r, sizeof r) != 0)
    findings_add(&s->lost, FINDING_NOTE, "nothing need be done", "a catalog record had one wrong byte and was mended");
  return keep_record(s, &r.key, &r.value);
}

/* In a page that the walk met, the node's own word for the key's length tells where a damaged key begins. */
static int scan_damaged_record(salvage *s, const uint8_t *page, unsigned at, size_t value_bytes) {
  for (unsigned size = 1; size <= CATALOG_KEY_BYTES_MAX && size + LMDB_NODE_HEADER_BYTES <= at; size++) {
    if (get_le16(page + at - size - 2) != size) continue;
    int err = salvage_take_record(s, (bytes){page + at - size, size}, (bytes){page + at, value_bytes});
    if (err != PAGESTORE_ECORRUPT) return err;
  }
  return 0;
}

/* A record that is good with one of the keys that may stand before it. Elsewhere it is not mended: noise must not
 * become a record. */
static int scan_record(salvage *s, const uint8_t *page, unsigned at, bool met) {
  salvage_record r;
  char text[KEPT_TEXT];
  if (!catalog_record_begins(page + at, LMDB_PAGE_BYTES - at, &r.value.size)) return 0;
  memcpy(r.value.byte, page + at, r.value.size);
  for (unsigned size = 1; size <= CATALOG_KEY_BYTES_MAX && size <= at; size++) {
    kept trial = {0};
    memcpy(r.key.byte, page + at - size, size);
    r.key.size = size;
    int err = kept_add_catalog(&trial, (bytes){r.key.byte, size}, (bytes){r.value.byte, r.value.size}, text);
    kept_free(&trial);
    if (err == 0) return keep_record(s, &r.key, &r.value);
    if (err == PAGESTORE_ENOMEM) return err;
  }
  return met ? scan_damaged_record(s, page, at, r.value.size) : 0;
}

/* ---- markers --------------------------------------------------------------------------------- */

static int scan_marker(salvage *s, const uint8_t *page, uint64_t number, unsigned at) {
  kept_row row = {.at = number * LMDB_PAGE_BYTES + at, .size = ZERO_MARKER_BYTES, .origin = ORIGIN_SCAN};
  uint8_t value[ZERO_MARKER_BYTES];
  if (at < PAGE_KEY_BYTES || at + ZERO_MARKER_BYTES > LMDB_PAGE_BYTES || !zero_marker_begins(page + at)) return 0;
  memcpy(value, page + at, sizeof value);
  (void)page_key_decode((bytes){page + at - PAGE_KEY_BYTES, PAGE_KEY_BYTES}, &row.key);
  return mend_marker(&row.key, value) ? kept_add_row(&s->audit.kept, row) : 0;
}

enum { SCAN_MET = 4 }; /* the page is one that the walk met */

/* ---- pages ----------------------------------------------------------------------------------- */

/* Of a leaf's nodes from `at` to the page's end, one behind the other; 0: they do not end there. */
static unsigned chain_nodes(const uint8_t page[LMDB_PAGE_BYTES], unsigned at) {
  unsigned count = 0;
  for (; at >= LMDB_PAGE_HEADER_BYTES && at + LMDB_NODE_HEADER_BYTES <= LMDB_PAGE_BYTES; count++) {
    uint64_t value = get_le16(page + at + 4) & NODE_LARGE ? sizeof(uint64_t) : get_le32(page + at);
    uint64_t size = align_up(LMDB_NODE_HEADER_BYTES + get_le16(page + at + 6) + value, 2);
    if (size > LMDB_PAGE_BYTES) return 0;
    at += (unsigned)size;
  }
  return at == LMDB_PAGE_BYTES ? count : 0;
}

static unsigned lowest_offset(const uint8_t page[LMDB_PAGE_BYTES]) {
  unsigned lower = get_le16(page + LMDB_LOWER_AT), lowest = LMDB_PAGE_BYTES;
  for (unsigned i = LMDB_PAGE_HEADER_BYTES; i + 2 <= lower && lower <= LMDB_PAGE_BYTES; i += 2) {
    unsigned offset = get_le16(page + i);
    if (offset >= lower && offset < lowest) lowest = offset;
  }
  return lowest == LMDB_PAGE_BYTES ? LMDB_PAGE_HEADER_BYTES : lowest;
}

/* Whether the first offsets are the places of these nodes and of no others. */
static bool is_listed(const uint8_t page[LMDB_PAGE_BYTES], unsigned at, unsigned nodes) {
  uint64_t places[LMDB_PAGE_BYTES / 64] = {0};
  if (nodes == 0) return false;
  for (unsigned i = 0; i < nodes; i++) {
    unsigned offset = get_le16(page + LMDB_PAGE_HEADER_BYTES + 2 * i);
    if (offset < at || offset >= LMDB_PAGE_BYTES || bit_get(places, offset)) return false;
    bit_set(places, offset);
  }
  for (unsigned i = 0; i < nodes; i++) {
    if (!bit_get(places, at)) return false;
    uint64_t value = get_le16(page + at + 4) & NODE_LARGE ? sizeof(uint64_t) : get_le32(page + at);
    at += (unsigned)align_up(LMDB_NODE_HEADER_BYTES + get_le16(page + at + 6) + value, 2);
  }
  return true;
}

static bool is_one_byte_off(unsigned a, unsigned b) { return ((a ^ b) & 0xff) == 0 || (a ^ b) >> 8 == 0; }

/* From where on nodes lie. Upper and the lowest offset are the same place; where they are not, either upper is damaged
 * or the number of offsets, which `lower` tells. Each may be so far off that the other seems to be right: at another
 * node's place, or where the offsets of rows once deleted are. If both seem right: rather a row too many. */
static unsigned nodes_begin(const uint8_t page[LMDB_PAGE_BYTES]) {
  unsigned lower = get_le16(page + LMDB_LOWER_AT), upper = get_le16(page + LMDB_UPPER_AT), lowest = lowest_offset(page);
  unsigned from_upper = chain_nodes(page, upper), from_lowest = chain_nodes(page, lowest);
  bool is_upper = is_listed(page, upper, from_upper) && is_one_byte_off(lower, LMDB_PAGE_HEADER_BYTES + 2 * from_upper);
  bool is_lowest = is_listed(page, lowest, from_lowest) && is_one_byte_off(upper, lowest) &&
                   lower == LMDB_PAGE_HEADER_BYTES + 2 * from_lowest;
  if (is_upper && is_lowest) return (unsigned)min_u64(upper, lowest);
  return is_upper || (!is_lowest && from_upper) ? upper : lowest;
}

static int scan_leaf(salvage *s, const uint8_t page[LMDB_PAGE_BYTES], uint64_t number, unsigned what) {
  int err = 0;
  for (unsigned at = nodes_begin(page); at < LMDB_PAGE_BYTES && !err; at++) {
    if (what & SCAN_ROWS) err = scan_marker(s, page, number, at);
    if (!err && what & SCAN_RECORDS) err = scan_record(s, page, at, what & SCAN_MET);
  }
  return err;
}

static bool is_whole(const salvage *s, const kept_row *row) {
  static uint8_t value[PAGE_RECORD_BYTES];
  if (walker_read(s->fd, (walker_place){row->at, row->size}, value) != 0) return false;
  return page_damaged_blocks((bytes){value, row->size}, row->key.page, ALL_BLOCKS) == 0;
}

static bool is_whole_record(const salvage *s, const kept_log *row) {
  static uint8_t value[PAGE_RECORD_BYTES];
  if (walker_read(s->fd, (walker_place){row->at, PAGE_RECORD_BYTES}, value) != 0) return false;
  for (unsigned slot = 0; slot < log_record_count(value); slot++) {
    log_address at = log_record_address(value, slot);
    if (log_block_check(value, slot, &at) != 0) return false;
  }
  return true;
}

/* A record of the log, likewise. false: none begins here. */
static bool scan_log(salvage *s, const uint8_t *page, uint64_t number, uint64_t *pages, int *err) {
  id128 store;
  kept_log row = {.at = number * LMDB_PAGE_BYTES + LMDB_PAGE_HEADER_BYTES, .strayed = true};
  if (log_record_identity(page + LMDB_PAGE_HEADER_BYTES, &row.sequence, &store) != 0) return false;
  if (!s->audit.kept.has_store && !s->audit.pages_checked) s->audit.kept.store.id = store;
  if (memcmp(&store, &s->audit.kept.store.id, sizeof store) != 0) return false;
  uint64_t run = walker_run_pages(PAGE_RECORD_BYTES);
  if (is_whole_record(s, &row)) *pages = run;
  for (uint64_t i = 0; s->exact && i < run && number + i < s->file_pages; i++) bit_set(s->reached, number + i);
  *err = kept_add_log_row(&s->audit.kept, row);
  return true;
}

/* The pages of the run that begins here; 0: none does, or not all of it is there: an old one may have been written over
 * in its middle, unless what is free is known. */
static int scan_run(salvage *s, const uint8_t page[LMDB_PAGE_BYTES], uint64_t number, unsigned what, uint64_t *pages) {
  id128 store;
  int err = 0;
  kept_row row = {.at = number * LMDB_PAGE_BYTES + LMDB_PAGE_HEADER_BYTES,
                  .size = PAGE_RECORD_BYTES,
                  .origin = ORIGIN_SCAN};
  *pages = 0;
  if (what & SCAN_LOG && scan_log(s, page, number, pages, &err)) return err;
  if (!(what & SCAN_ROWS)) return 0;
  if (page_header_identity(page + LMDB_PAGE_HEADER_BYTES, &row.key, &store) != 0) return 0;
  if (!s->audit.kept.has_store && !s->audit.pages_checked) s->audit.kept.store.id = store;
  if (memcmp(&store, &s->audit.kept.store.id, sizeof store) != 0) return 0;
  s->audit.pages_checked++;
  uint64_t run = walker_run_pages(PAGE_RECORD_BYTES);
  if (is_whole(s, &row)) *pages = run;
  for (uint64_t i = 0; s->exact && i < run && number + i < s->file_pages; i++) bit_set(s->reached, number + i);
  return kept_add_row(&s->audit.kept, row);
}

static int scan_page(salvage *s, uint64_t number, unsigned what, bool everything, uint64_t *skip) {
  uint8_t page[LMDB_PAGE_BYTES];
  bool met = bit_get(s->reached, number), suspect = bit_get(s->suspect, number);
  *skip = 1;
  if (walker_read(s->fd, (walker_place){number * LMDB_PAGE_BYTES, sizeof page}, page) != 0) return 0;
  bool leaf = get_le64(page) == number && get_le16(page + LMDB_FLAGS_AT) == LMDB_LEAF;
  if (everything) return leaf ? scan_leaf(s, page, number, SCAN_RECORDS) : 0;
  if ((met && !suspect) || (s->exact && !met && bit_get(s->freed, number))) return 0;
  if ((!met || suspect) && what & (SCAN_ROWS | SCAN_LOG)) {
    uint64_t pages;
    int err = scan_run(s, page, number, what, &pages);
    if (err || pages) {
      *skip = max_u64(pages, 1);
      return err;
    }
  }
  /* Where a branch page lies there was a leaf once, and parts of its rows are left. */
  if (bit_get(s->branches, number) && !(leaf && chain_nodes(page, get_le16(page + LMDB_UPPER_AT)))) return 0;
  return suspect || leaf ? scan_leaf(s, page, number, what | (met ? SCAN_MET : 0)) : 0;
}

/* A tree's page that nothing led to; its rows have been looked for. */
static bool is_tree_page(const salvage *s, uint64_t number) {
  uint8_t head[LMDB_PAGE_HEADER_BYTES];
  if (walker_read(s->fd, (walker_place){number * LMDB_PAGE_BYTES, sizeof head}, head) != 0) return false;
  uint16_t flags = get_le16(head + LMDB_FLAGS_AT);
  return get_le64(head) == number && (flags == LMDB_LEAF || flags == LMDB_BRANCH);
}

uint64_t salvage_unaccounted(const salvage *s) {
  uint64_t numbered = s->metas.meta[s->meta].last_page + 1, count = 0;
  for (unsigned i = 0; i < LMDB_METAS; i++)
    if (s->given.meta[i].main.root == s->metas.meta[s->meta].main.root) numbered = s->given.meta[i].last_page + 1;
  for (uint64_t p = LMDB_METAS; p < s->file_pages && p < numbered; p++)
    count += !bit_get(s->reached, p) && !bit_get(s->freed, p) && !is_tree_page(s, p);
  uint64_t beyond = numbered > s->file_pages ? numbered - s->file_pages : 0;
  return count + beyond - min_u64(beyond, s->freed_beyond);
}

int salvage_scan(salvage *s, unsigned what, bool everything) {
  int err = 0;
  uint64_t skip = 1;
  for (uint64_t p = LMDB_METAS; p < s->file_pages && !err; p += skip) {
    err = scan_page(s, p, what, everything, &skip);
    if (s->progress) s->progress(s->progress_env, skip * LMDB_PAGE_BYTES);
  }
  return err;
}
