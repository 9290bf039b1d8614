/* format_log.c - block records as bytes. All little-endian, the key big-endian.
 *
 *   at    bytes  what
 *   0     8      magic "PGSTBLKS"
 *   8     4      number of blocks, 1 to 16
 *   12    4      kind (2: block record)
 *   16    8      sequence number, as in the key
 *   24    16     zero
 *   40    16     store id
 *   56    8      XXH3-64 of the header with these eight bytes zero
 *   64    640    for each block 40: layer 8, page 8, version 8, XXH3-64 of the block 8 (seeded as in a page
 *                record, so that it can be carried there), memory 4, number of the block in its page 4
 *   704   512    reserved: nonces; zero
 *   1216  2864   zero
 *   4080  65536  the blocks, 4 KiB each; zero behind the last
 *
 * The last record may be written again by a later transaction, under its number, with more blocks behind those that it
 * had; the catalog's record of it likewise. One address may be in it more than once, at different versions.
 *
 * Thread: any; no state. Async-signal-safe.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "storage/format.h"
#include "storage/wire.h"

enum { ROW_KIND_BLOCKS = 2 };
static const char log_magic[8] = {'P', 'G', 'S', 'T', 'B', 'L', 'K', 'S'};

typedef struct {
  uint8_t layer[8], page[8], version[8], checksum[8], memory[4], number[4];
} log_entry;

typedef struct {
  uint8_t magic[8], count[4], kind[4], sequence[8], zero[16], store[16], checksum[8];
  log_entry entries[PAGE_BLOCKS];
  uint8_t nonces[512], zero_end[2864];
} log_header;

#define AT(field, at) _Static_assert(offsetof(log_header, field) == (at), "the layout has a hole")
AT(kind, 12);
AT(sequence, 16);
AT(store, 40);
AT(checksum, 56);
AT(entries, 64);
AT(nonces, 704);
AT(zero_end, 1216);
_Static_assert(sizeof(log_entry) == 40, "an entry has no hole");
_Static_assert(sizeof(log_header) == PAGE_HEADER_BYTES, "the header ends before the blocks");

void log_key_encode(uint64_t sequence, uint8_t out[LOG_KEY_BYTES]) { put_be64(out, sequence); }

int log_key_decode(bytes from, uint64_t *sequence) {
  if (from.size != LOG_KEY_BYTES) return PAGESTORE_ECORRUPT;
  *sequence = get_be64(from.data);
  return 0;
}

/* In pieces, since the header may lie in a read-only mapping. */
static uint64_t header_checksum(const log_header *h) {
  static const uint8_t zero[8];
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, h, offsetof(log_header, checksum));
  XXH3_64bits_update(&state, zero, sizeof zero);
  XXH3_64bits_update(&state, h->entries, sizeof *h - offsetof(log_header, entries));
  return XXH3_64bits_digest(&state);
}

void log_record_init(uint8_t record[PAGE_RECORD_BYTES], uint64_t sequence, id128 store) {
  log_header *h = (log_header *)record;
  memset(h, 0, sizeof *h);
  memcpy(h->magic, log_magic, sizeof log_magic);
  put_le32(h->kind, ROW_KIND_BLOCKS);
  put_le64(h->sequence, sequence);
  memcpy(h->store, store.byte, sizeof store.byte);
}

void log_record_add(uint8_t record[PAGE_RECORD_BYTES], unsigned slot, const log_address *at, const uint8_t *block,
                    uint64_t checksum) {
  ASSERT(slot < PAGE_BLOCKS && at->number < PAGE_BLOCKS);
  log_entry *e = &((log_header *)record)->entries[slot];
  put_le64(e->layer, at->layer);
  put_le64(e->page, at->page);
  put_le64(e->version, at->version);
  put_le64(e->checksum, checksum);
  put_le32(e->memory, at->memory);
  put_le32(e->number, at->number);
  memcpy(record + PAGE_HEADER_BYTES + (size_t)slot * BLOCK_BYTES, block, BLOCK_BYTES);
}

void log_record_seal(uint8_t record[PAGE_RECORD_BYTES], unsigned count) {
  ASSERT(count >= 1 && count <= PAGE_BLOCKS);
  log_header *h = (log_header *)record;
  put_le32(h->count, count);
  put_le64(h->checksum, header_checksum(h));
}

void log_record_zero_rest(uint8_t record[PAGE_RECORD_BYTES], unsigned count) {
  memset(record + PAGE_HEADER_BYTES + (size_t)count * BLOCK_BYTES, 0, (size_t)(PAGE_BLOCKS - count) * BLOCK_BYTES);
}

static bool all_zero(const uint8_t *at, size_t count) {
  return at[0] == 0 && memcmp(at, at + 1, count - 1) == 0;
}

bool log_address_is_possible(const log_address *at) {
  return at->memory != SYSTEM_MEMORY && at->memory != UINT32_MAX && at->page < PAGES_LIMIT &&
         at->version < LOG_VERSION_LIMIT;
}

static log_address address_of(const log_entry *e) {
  return (log_address){.layer = get_le64(e->layer),
                       .page = get_le64(e->page),
                       .version = get_le64(e->version),
                       .memory = get_le32(e->memory),
                       .number = (uint8_t)get_le32(e->number)};
}

static bool entries_are_valid(const log_header *h, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    log_address at = address_of(&h->entries[i]);
    if (get_le32(h->entries[i].number) >= PAGE_BLOCKS || !log_address_is_possible(&at)) return false;
  }
  return all_zero((const uint8_t *)&h->entries[count], sizeof *h - offsetof(log_header, entries) -
                                                             count * sizeof *h->entries);
}

int log_record_identity(const uint8_t header[PAGE_HEADER_BYTES], uint64_t *sequence, id128 *store) {
  const log_header *h = (const log_header *)header;
  if (memcmp(h->magic, log_magic, sizeof log_magic) != 0 || get_le32(h->kind) != ROW_KIND_BLOCKS)
    return PAGESTORE_ECORRUPT;
  if (get_le64(h->checksum) != header_checksum(h)) return PAGESTORE_ECORRUPT;
  unsigned count = get_le32(h->count);
  if (count < 1 || count > PAGE_BLOCKS || !all_zero(h->zero, sizeof h->zero) || !entries_are_valid(h, count))
    return PAGESTORE_ECORRUPT;
  *sequence = get_le64(h->sequence);
  memcpy(store->byte, h->store, sizeof store->byte);
  return 0;
}

int log_record_check(bytes value, uint64_t sequence, id128 store) {
  uint64_t found;
  id128 found_store;
  if (value.size != PAGE_RECORD_BYTES || log_record_identity(value.data, &found, &found_store) != 0)
    return PAGESTORE_ECORRUPT;
  bool same = found == sequence && memcmp(&found_store, &store, sizeof store) == 0;
  return same ? 0 : PAGESTORE_ECORRUPT;
}

unsigned log_record_count(const uint8_t *record) { return get_le32(((const log_header *)record)->count); }

log_address log_record_address(const uint8_t *record, unsigned slot) {
  return address_of(&((const log_header *)record)->entries[slot]);
}

uint64_t log_record_checksum(const uint8_t *record, unsigned slot) {
  return get_le64(((const log_header *)record)->entries[slot].checksum);
}

int log_block_check(const uint8_t *record, unsigned slot, const log_address *at) {
  if (slot >= log_record_count(record)) return PAGESTORE_ECORRUPT;
  log_address found = log_record_address(record, slot);
  bool same = found.layer == at->layer && found.page == at->page && found.version == at->version &&
              found.memory == at->memory && found.number == at->number;
  if (!same) return PAGESTORE_ECORRUPT;
  uint64_t sum = block_checksum(log_record_block(record, slot), at->page, at->number);
  return sum == log_record_checksum(record, slot) ? 0 : PAGESTORE_ECORRUPT;
}
