/* format.c - keys, page records and zero markers as bytes; the contract and the offsets are in format.h.
 *
 * The layouts below are structs of byte arrays, so they cannot have padding; the assertions tie each field to the
 * offset that format.h documents.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "storage/format.h"

#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "storage/wire.h"

enum { ROW_KIND_PAGE = 1 };
static const char page_magic[8] = {'P', 'G', 'S', 'T', 'P', 'A', 'G', 'E'};
static const char zero_magic[4] = {'P', 'G', 'Z', '1'};

typedef struct {
  uint8_t magic[8], memory[4], kind[4], layer[8], page[8], version[8], store[16], checksum[8];
  uint8_t block_checksums[PAGE_BLOCKS * 8], hashes[512], nonces[512], zero[2864];
} page_header;

typedef struct {
  uint8_t magic[4], memory[4], layer[8], page[8], checksum[8];
} zero_marker;

typedef struct {
  uint8_t layer[8], memory[4], page[8], version_inverted[8];
} page_key_bytes;

#define AT(layout, field, at) _Static_assert(offsetof(layout, field) == (at), "the layout has a hole")
AT(page_header, memory, 8);
AT(page_header, kind, 12);
AT(page_header, layer, 16);
AT(page_header, page, 24);
AT(page_header, version, 32);
AT(page_header, store, 40);
AT(page_header, checksum, 56);
AT(page_header, block_checksums, 64);
AT(page_header, hashes, 192);
AT(page_header, nonces, 704);
AT(page_header, zero, 1216);
_Static_assert(sizeof(page_header) == PAGE_HEADER_BYTES, "the header ends before the page");
_Static_assert((PAGE_HEADER_BYTES + 16) % 4096 == 0, "the page is aligned in the file");
_Static_assert(PAGE_RECORD_BYTES == 69616, "a record fills 17 LMDB pages");
AT(zero_marker, checksum, 24);
_Static_assert(sizeof(zero_marker) == ZERO_MARKER_BYTES, "a marker has no hole");
AT(page_key_bytes, memory, 8);
AT(page_key_bytes, page, 12);
AT(page_key_bytes, version_inverted, 20);
_Static_assert(sizeof(page_key_bytes) == PAGE_KEY_BYTES, "a key has no hole");

/* ---- page keys ------------------------------------------------------------------------------- */

void page_key_encode(page_key key, uint8_t out[PAGE_KEY_BYTES]) {
  page_key_bytes *k = (page_key_bytes *)out;
  put_be64(k->layer, key.layer);
  put_be32(k->memory, key.memory);
  put_be64(k->page, key.page);
  put_be64(k->version_inverted, ~key.version);
}

int page_key_decode(bytes from, page_key *out) {
  if (from.size != PAGE_KEY_BYTES) return PAGESTORE_ECORRUPT;
  const page_key_bytes *k = from.data;
  *out = (page_key){
      .layer = get_be64(k->layer),
      .memory = get_be32(k->memory),
      .page = get_be64(k->page),
      .version = ~get_be64(k->version_inverted),
  };
  return 0;
}

/* ---- catalog keys ---------------------------------------------------------------------------- */

static catalog_key catalog_key_begin(catalog_kind kind) {
  return (catalog_key){.byte = {(uint8_t)kind}, .size = 1};
}

static void catalog_key_add_id(catalog_key *key, uint64_t id) {
  put_be64(key->byte + key->size, id);
  key->size += 8;
}

static void catalog_key_add_name(catalog_key *key, const char *name) {
  size_t length = strlen(name);
  ASSERT(length <= 255);
  memcpy(key->byte + key->size, name, length);
  key->size += length;
}

catalog_key catalog_key_store(void) { return catalog_key_begin(CATALOG_STORE); }

catalog_key catalog_key_name(const char *instance_name) {
  catalog_key key = catalog_key_begin(CATALOG_NAME);
  catalog_key_add_name(&key, instance_name);
  return key;
}

catalog_key catalog_key_id(catalog_kind kind, uint64_t id) {
  ASSERT(kind == CATALOG_INSTANCE || kind == CATALOG_LAYER || kind == CATALOG_TRASH || kind == CATALOG_LOG);
  catalog_key key = catalog_key_begin(kind);
  catalog_key_add_id(&key, id);
  return key;
}

catalog_key catalog_key_snapshot(uint64_t instance, const char *name) {
  catalog_key key = catalog_key_begin(CATALOG_SNAPSHOT);
  catalog_key_add_id(&key, instance);
  catalog_key_add_name(&key, name);
  return key;
}

typedef struct {
  bool id, name;
} catalog_key_parts;

static bool catalog_key_parts_of(uint8_t kind, catalog_key_parts *out) {
  switch (kind) {
    case CATALOG_STORE: *out = (catalog_key_parts){false, false}; return true;
    case CATALOG_NAME: *out = (catalog_key_parts){.name = true}; return true;
    case CATALOG_INSTANCE:
    case CATALOG_LAYER:
    case CATALOG_TRASH:
    case CATALOG_LOG: *out = (catalog_key_parts){.id = true}; return true;
    case CATALOG_SNAPSHOT: *out = (catalog_key_parts){true, true}; return true;
    default: return false;
  }
}

int catalog_key_decode(bytes from, catalog_kind *kind, uint64_t *id, char name[256]) {
  const uint8_t *at = from.data;
  catalog_key_parts has;
  if (from.size < 1 || !catalog_key_parts_of(at[0], &has)) return PAGESTORE_ECORRUPT;
  size_t id_bytes = has.id ? 8 : 0;
  if (from.size < 1 + id_bytes) return PAGESTORE_ECORRUPT;
  size_t name_bytes = from.size - 1 - id_bytes;
  if (has.name ? name_bytes < 1 || name_bytes > 255 : name_bytes != 0) return PAGESTORE_ECORRUPT;
  const uint8_t *name_at = at + 1 + id_bytes;
  if (name_bytes && memchr(name_at, 0, name_bytes)) return PAGESTORE_ECORRUPT;
  *kind = (catalog_kind)at[0];
  *id = has.id ? get_be64(at + 1) : 0;
  memcpy(name, name_at, name_bytes);
  name[name_bytes] = 0;
  return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

uint64_t block_checksum(const uint8_t block[BLOCK_BYTES], uint64_t page, unsigned number) {
  ASSERT(number < PAGE_BLOCKS);
  return XXH3_64bits_withSeed(block, BLOCK_BYTES, page * PAGE_BLOCKS + number);
}

/* In pieces, since the header may lie in a read-only mapping and a copy would be a stack page in the fault handler. */
static uint64_t header_checksum(const page_header *h) {
  static const uint8_t zero[8];
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, h, offsetof(page_header, checksum));
  XXH3_64bits_update(&state, zero, sizeof zero);
  XXH3_64bits_update(&state, h->block_checksums, sizeof *h - offsetof(page_header, block_checksums));
  return XXH3_64bits_digest(&state);
}

void page_header_init(uint8_t header[PAGE_HEADER_BYTES], page_key key, id128 store) {
  page_header *h = (page_header *)header;
  memset(h, 0, sizeof *h);
  memcpy(h->magic, page_magic, sizeof page_magic);
  put_le32(h->memory, key.memory);
  put_le32(h->kind, ROW_KIND_PAGE);
  put_le64(h->layer, key.layer);
  put_le64(h->page, key.page);
  put_le64(h->version, key.version);
  memcpy(h->store, store.byte, sizeof store.byte);
}

void page_header_set_checksum(uint8_t header[PAGE_HEADER_BYTES], unsigned block, uint64_t checksum) {
  ASSERT(block < PAGE_BLOCKS);
  put_le64(((page_header *)header)->block_checksums + 8 * block, checksum);
}

uint64_t page_header_checksum(const uint8_t header[PAGE_HEADER_BYTES], unsigned block) {
  ASSERT(block < PAGE_BLOCKS);
  return get_le64(((const page_header *)header)->block_checksums + 8 * block);
}

void page_header_seal(uint8_t header[PAGE_HEADER_BYTES]) {
  page_header *h = (page_header *)header;
  put_le64(h->checksum, header_checksum(h));
}

static bool all_zero(const uint8_t *at, size_t count) {
  return at[0] == 0 && memcmp(at, at + 1, count - 1) == 0;
}

int page_header_identity(const uint8_t header[PAGE_HEADER_BYTES], page_key *key, id128 *store) {
  const page_header *h = (const page_header *)header;
  if (memcmp(h->magic, page_magic, sizeof page_magic) != 0) return PAGESTORE_ECORRUPT;
  if (get_le32(h->kind) != ROW_KIND_PAGE) return PAGESTORE_ECORRUPT;
  if (get_le64(h->checksum) != header_checksum(h)) return PAGESTORE_ECORRUPT;
  if (!all_zero(h->hashes, sizeof *h - offsetof(page_header, hashes))) return PAGESTORE_ECORRUPT;
  *key = (page_key){
      .layer = get_le64(h->layer),
      .memory = get_le32(h->memory),
      .page = get_le64(h->page),
      .version = get_le64(h->version),
  };
  memcpy(store->byte, h->store, sizeof store->byte);
  return 0;
}

uint64_t page_header_seal_of(const uint8_t header[PAGE_HEADER_BYTES]) {
  return get_le64(((const page_header *)header)->checksum);
}

/* The identity is compared last: it is only worth something once the checksum holds. */
static int page_record_check(const page_header *h, page_key key, id128 store) {
  page_key found;
  id128 found_store;
  if (page_header_identity((const uint8_t *)h, &found, &found_store) != 0) return PAGESTORE_ECORRUPT;
  bool same = found.layer == key.layer && found.memory == key.memory && found.page == key.page &&
              found.version == key.version && memcmp(found_store.byte, store.byte, sizeof store.byte) == 0;
  return same ? 0 : PAGESTORE_ECORRUPT;
}

bool zero_marker_begins(const uint8_t at[ZERO_MARKER_BYTES]) { return memcmp(at, zero_magic, sizeof zero_magic) == 0; }

static uint64_t zero_marker_checksum(const zero_marker *z, uint64_t version) {
  return XXH3_64bits_withSeed(z, offsetof(zero_marker, checksum), version);
}

static int zero_marker_check(const zero_marker *z, page_key key) {
  if (memcmp(z->magic, zero_magic, sizeof zero_magic) != 0) return PAGESTORE_ECORRUPT;
  if (get_le64(z->checksum) != zero_marker_checksum(z, key.version)) return PAGESTORE_ECORRUPT;
  bool same = get_le64(z->layer) == key.layer && get_le32(z->memory) == key.memory &&
              get_le64(z->page) == key.page;
  return same ? 0 : PAGESTORE_ECORRUPT;
}

int row_check(bytes value, page_key key, id128 store, row_kind *kind) {
  row_kind found = value.size == ZERO_MARKER_BYTES ? ROW_ZERO : ROW_PAGE;
  if (found == ROW_PAGE && value.size != PAGE_RECORD_BYTES) return PAGESTORE_ECORRUPT;
  int err = found == ROW_ZERO ? zero_marker_check(value.data, key) : page_record_check(value.data, key, store);
  if (err) return err;
  *kind = found;
  return 0;
}

uint16_t page_damaged_blocks(bytes page_record, uint64_t page, uint16_t mask) {
  ASSERT(page_record.size == PAGE_RECORD_BYTES);
  const uint8_t *header = page_record.data, *page_bytes = page_record_bytes(page_record);
  uint16_t damaged = 0;
  for (unsigned b = 0; b < PAGE_BLOCKS; b++) {
    if (!(mask >> b & 1)) continue;
    uint64_t sum = block_checksum(page_bytes + b * BLOCK_BYTES, page, b);
    if (sum != page_header_checksum(header, b)) damaged |= (uint16_t)(1u << b);
  }
  return damaged;
}

void zero_marker_encode(page_key key, uint8_t out[ZERO_MARKER_BYTES]) {
  zero_marker *z = (zero_marker *)out;
  memcpy(z->magic, zero_magic, sizeof zero_magic);
  put_le32(z->memory, key.memory);
  put_le64(z->layer, key.layer);
  put_le64(z->page, key.page);
  put_le64(z->checksum, zero_marker_checksum(z, key.version));
}
