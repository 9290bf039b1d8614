/* format.h - the bytes on disk, format version 1. The one file that knows them; golden files under
 * tests/golden pin them.
 *
 * Keys are big-endian, so that byte order is numeric order; values are little-endian. Decoding never trusts:
 * a wrong length, magic, checksum, count or reserved byte is PAGESTORE_ECORRUPT (without text: the caller
 * knows the place).
 *
 * Page record, 69,616 bytes: LMDB puts 16 bytes before a large value, so the page's data starts on a multiple
 * of 4,096 in the file
 *
 *   at    bytes  what
 *   0     8      magic "PGSTPAGE"
 *   8     4      memory id
 *   12    4      kind (1: page record)
 *   16    8      layer
 *   24    8      page index
 *   32    8      version
 *   40    16     store id
 *   56    8      XXH3-64 of the header with these eight bytes zero
 *   64    128    sixteen XXH3-64 of the blocks, seeded by page index * 16 + block: by nothing that changes
 *                when a block is carried on
 *   192   512    reserved: sixteen 32-byte hashes or tags; zero
 *   704   512    reserved: nonces; zero
 *   1216  2864   zero
 *   4080  65536  the page
 *
 * Zero marker, 32 bytes: magic "PGZ1", memory id, layer, page index, XXH3-64 of the first 24 bytes seeded by
 * the version. Catalog records: see format_catalog.c, a table at its head. Block records, of the log (feature bit
 * "log"): see format_log.c, likewise; same length as page records.
 * Thread: any; no state. Async-signal-safe: everything about pages.
 */
#ifndef PAGESTORE_STORAGE_FORMAT_H
#define PAGESTORE_STORAGE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/units.h"
#include "storage/db.h"
#include "storage/state.h"

enum {
  FORMAT_VERSION = 1,
  PAGE_HEADER_BYTES = 4080,
  PAGE_RECORD_BYTES = PAGE_HEADER_BYTES + PAGE_BYTES,
  ZERO_MARKER_BYTES = 32,
  PAGE_KEY_BYTES = 28,
  CATALOG_KEY_BYTES_MAX = 1 + 8 + 255,
  CATALOG_RECORD_BYTES_MAX = 1700,
  METADATA_INLINE_BYTES_MAX = 1000,
  METADATA_BYTES_MAX = 1 << 20,
  LAYER_DEPTH_MAX = 32,
};

/* Memory 0 of every instance is the library's own: what a catalog record has no room for. */
#define SYSTEM_MEMORY 0u
/* Of a 64-bit memory; keeps pages * PAGE_BYTES from wrapping, but for the limit itself. */
#define PAGES_LIMIT (1ull << 48)
#define SYSTEM_METADATA_PAGE 0ull           /* metadata, from this page on */
#define SYSTEM_TABLE_PAGE (1ull << 32)      /* the table of memories, from this page on */

typedef struct { uint8_t byte[16]; } id128;

/* ---- keys ------------------------------------------------------------------------------------ */

typedef struct { uint64_t layer; uint32_t memory; uint64_t page, version; } page_key;
void page_key_encode(page_key, uint8_t out[PAGE_KEY_BYTES]);
int page_key_decode(bytes, page_key *);

typedef enum {
  CATALOG_STORE = 1, CATALOG_NAME = 2, CATALOG_INSTANCE = 3, CATALOG_SNAPSHOT = 4, CATALOG_LAYER = 5, CATALOG_TRASH = 6,
  CATALOG_LOG = 7,
} catalog_kind;
typedef struct { uint8_t byte[CATALOG_KEY_BYTES_MAX]; size_t size; } catalog_key;
catalog_key catalog_key_store(void);
catalog_key catalog_key_name(const char *instance_name);
catalog_key catalog_key_id(catalog_kind, uint64_t id);                            /* INSTANCE LAYER TRASH LOG */
catalog_key catalog_key_snapshot(uint64_t instance, const char *name);           /* name "": before the first */
/* Takes a key apart: the id (0 for STORE and NAME) and the name ("" where none), which needs 256 bytes. ECORRUPT. */
int catalog_key_decode(bytes, catalog_kind *, uint64_t *id, char name[256]);

/* ---- pages ----------------------------------------------------------------------------------- */

uint64_t block_checksum(const uint8_t block[BLOCK_BYTES], uint64_t page, unsigned number);

/* A header with no checksums yet; then set them; then seal it. */
void page_header_init(uint8_t header[PAGE_HEADER_BYTES], page_key, id128 store);
void page_header_set_checksum(uint8_t header[PAGE_HEADER_BYTES], unsigned block, uint64_t checksum);
uint64_t page_header_checksum(const uint8_t header[PAGE_HEADER_BYTES], unsigned block);
void page_header_seal(uint8_t header[PAGE_HEADER_BYTES]);

typedef enum { ROW_PAGE, ROW_ZERO } row_kind;
/* Length, magic, header checksum, reserved zeros, identity against the key that was looked up and the store.
 * Not the blocks. */
int row_check(bytes value, page_key, id128 store, row_kind *);
/* The blocks of `mask` against the header's checksums: the mask of those that are damaged. */
uint16_t page_damaged_blocks(bytes page_record, uint64_t page, uint16_t mask);
/* For rows whose key is lost: what a header in order says of itself, and its seal. ECORRUPT */
int page_header_identity(const uint8_t header[PAGE_HEADER_BYTES], page_key *, id128 *store);
/* Where a scan of damaged pages finds rows: whether a marker, or a catalog record of *size bytes, may begin here. */
bool zero_marker_begins(const uint8_t at[ZERO_MARKER_BYTES]);
bool catalog_record_begins(const uint8_t *at, size_t room, size_t *size);
uint64_t page_header_seal_of(const uint8_t header[PAGE_HEADER_BYTES]);
static inline const uint8_t *page_record_bytes(bytes record) {
  return (const uint8_t *)record.data + PAGE_HEADER_BYTES;
}
void zero_marker_encode(page_key, uint8_t out[ZERO_MARKER_BYTES]);

/* ---- block records ----------------------------------------------------------------------------- */

/* Up to sixteen blocks of any memories, in the table `log` under a sequence number, and under the same number in the
 * catalog where they belong: so that an index is made without touching the records, and damage to either names what it
 * hit. A block counts while no page row of its layer has its version or a newer one; among several the newest version
 * does, among equal ones the highest sequence number. */
enum { LOG_KEY_BYTES = 8 };
typedef struct { uint64_t layer, page, version; uint32_t memory; uint8_t number; } log_address;
typedef struct { uint64_t sequence; uint32_t count; log_address at[PAGE_BLOCKS]; } log_addresses;
/* Number 0 of the catalog's: where the log begins. Records below it count no more, and are on their way out. */
#define LOG_BEGINNING 0ull
#define LOG_SEQUENCE_MAX (1ull << 62)   /* more than anybody writes: a larger one is damage */
#define LOG_VERSION_LIMIT (1ull << 60)  /* likewise; a slot's number goes beside a version */
/* Whether anybody writes a block for that place. */
bool log_address_is_possible(const log_address *);
void log_key_encode(uint64_t sequence, uint8_t out[LOG_KEY_BYTES]);
int log_key_decode(bytes, uint64_t *sequence);
/* An empty one; then blocks, one after the other, sealed whenever it is to be read; at the end what is left is
 * zeroed. */
void log_record_init(uint8_t record[PAGE_RECORD_BYTES], uint64_t sequence, id128 store);
void log_record_add(uint8_t record[PAGE_RECORD_BYTES], unsigned slot, const log_address *, const uint8_t *block,
                    uint64_t checksum);
void log_record_seal(uint8_t record[PAGE_RECORD_BYTES], unsigned count);
void log_record_zero_rest(uint8_t record[PAGE_RECORD_BYTES], unsigned count);
/* Length, magic, header checksum, reserved zeros, sequence number and store. Not the blocks. */
int log_record_check(bytes value, uint64_t sequence, id128 store);
/* The same for one whose key is lost. */
int log_record_identity(const uint8_t header[PAGE_HEADER_BYTES], uint64_t *sequence, id128 *store);
unsigned log_record_count(const uint8_t *record);
log_address log_record_address(const uint8_t *record, unsigned slot);
uint64_t log_record_checksum(const uint8_t *record, unsigned slot);
static inline const uint8_t *log_record_block(const uint8_t *record, unsigned slot) {
  return record + PAGE_HEADER_BYTES + (size_t)slot * BLOCK_BYTES;
}
/* Of a record that passed log_record_check: whether the block in the slot is that one, undamaged. */
int log_block_check(const uint8_t *record, unsigned slot, const log_address *);

/* ---- catalog records ------------------------------------------------------------------------- */

typedef struct { uint8_t byte[CATALOG_RECORD_BYTES_MAX]; size_t size; } catalog_record;

/* On disk a record is bound to its key: names are in keys alone, and nothing else would tell a damaged one. Binds
 * what was encoded; once more: takes it back, before decoding. */
void catalog_record_bind(catalog_record *, bytes key);

/* Unknown incompatible bits: the store is refused; unknown read-only bits: opened for reading only; unknown
 * compatible: ignored. */
#define FEATURE_INCOMPATIBLE_LOG 1ull
typedef struct {
  uint32_t format_version;
  uint64_t incompatible, read_only, compatible;
  id128 id;
  uint64_t next_layer, next_instance, next_trash;
  uint64_t flush_txn_id;      /* LMDB's, of the transaction that wrote this record */
  uint64_t created_ns;
} store_record;

/* parent 0: none; depth 1: no parent */
typedef struct { uint64_t parent, parent_version; uint32_t depth; uint64_t instance; } layer_record;

#define TRASH_ALL_MEMORIES UINT32_MAX
/* Rows of a layer (of one memory, or all) that may have lost their last retained point. died_at: the version
 * from which the memory is gone (UINT64_MAX: it is not, the keep rule alone decides). resume: where the next
 * step goes on. */
typedef struct { uint64_t layer; uint32_t memory; uint64_t died_at; uint8_t resume[PAGE_KEY_BYTES]; } trash_record;

/* A committed state where it is on disk: an instance's present, or a snapshot. `state` is decoded whole
 * except what lies in memory 0: then metadata_paged / table_paged are set with the lengths, and catalog.c
 * loads them. stored: per memory of the table, in its order. */
typedef struct {
  uint64_t layer, version, time_ns;
  id128 snapshot;             /* zero for an instance */
  bool metadata_paged, table_paged;
  uint32_t metadata_bytes, table_bytes;
  state *state;
} state_record;

void log_addresses_encode(const log_addresses *, catalog_record *);
int log_addresses_decode(bytes, log_addresses *);             /* sequence: the key's, not set */
void log_beginning_encode(uint64_t sequence, catalog_record *);
int log_beginning_decode(bytes, uint64_t *sequence);
void store_record_encode(const store_record *, catalog_record *);
/* EFORMAT: another format version or not a store record; ECORRUPT */
int store_record_decode(bytes, store_record *);
void name_record_encode(uint64_t instance, catalog_record *);
int name_record_decode(bytes, uint64_t *instance);
void layer_record_encode(const layer_record *, catalog_record *);
int layer_record_decode(bytes, layer_record *);
void trash_record_encode(const trash_record *, catalog_record *);
int trash_record_decode(bytes, trash_record *);
/* Decides what is inline: metadata up to METADATA_INLINE_BYTES_MAX, the table if it then fits; tells through
 * *_paged and *_bytes. */
void state_record_encode(state_record *, catalog_record *);
int state_record_decode(bytes, state_record *);       /* out->state is new, with one reference */

#endif
