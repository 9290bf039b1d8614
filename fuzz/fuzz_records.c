/* fuzz_records.c - every decoder of small things: catalog records, keys, table of memories,
 * metadata, rows of pages and of the log.
 *
 *   input: one byte that chooses (kinds below; 0x80: checksums are repaired first), then the bytes
 *
 * What decodes must encode to the same bytes, where the encoding is the only one.
 *
 * ctest: runs=50000
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <pagestore.h>

#include "fuzz/fuzz.h"
#include "storage/format.h"
#include "storage/wire.h"

enum {
  STORE,
  NAME,
  LAYER,
  TRASH,
  STATE,
  CATALOG_KEY,
  PAGE_KEY,
  TABLE,
  METADATA,
  ROW,
  LOG_KEY,
  LOG_ADDRESSES,
  LOG_BEGINS,
  LOG_ROW,
  KINDS,
  REPAIR = 0x80
};
static const id128 store_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
enum { LOG_SEQUENCE = 9, LOG_COUNT_AT = 8 };
static const page_key row_key = {.layer = 3, .memory = 2, .page = 5, .version = 7};

/* ---- seeds --------------------------------------------------------------------------------- */

static void add_kind(fuzz_add add, void *env, const char *name, uint8_t kind, const void *bytes,
                     size_t size) {
  uint8_t *input = malloc(size + 1);
  MUST(input);
  input[0] = kind;
  memcpy(input + 1, bytes, size);
  add(env, name, input, size + 1);
  free(input);
}

static state *sample_state(void) {
  state *s;
  memory_entry *m;
  MUST(state_new(&s) == 0 && state_memory_add(s, "heap", &m) == 0);
  m->pages = 3;
  m->max_pages = 65536;
  MUST(state_memory_add(s, "stable", &m) == 0);
  m->flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP;
  m->max_pages = 1 << 20;
  MUST(state_metadata_set(s, "counter", "12", 2) == 0 &&
       state_metadata_set(s, "empty", "", 0) == 0);
  return s;
}

static void seed_state(fuzz_add add, void *env) {
  state *s = sample_state();
  catalog_record r;
  uint8_t table[256];
  state_record instance = {.layer = 1, .version = 9, .time_ns = 5, .state = s}, snapshot = instance;
  snapshot.snapshot = store_id;
  state_record_encode(&instance, &r);
  add_kind(add, env, "instance", STATE | REPAIR, r.byte, r.size);
  state_record_encode(&snapshot, &r);
  add_kind(add, env, "snapshot", STATE | REPAIR, r.byte, r.size);
  state_table_encode(s, table);
  add_kind(add, env, "table", TABLE, table, state_table_bytes(s));
  add_kind(add, env, "metadata", METADATA, s->metadata, s->metadata_bytes);
  state_release(s);
}

static void seed_keys(fuzz_add add, void *env) {
  uint8_t page[PAGE_KEY_BYTES];
  catalog_key name = catalog_key_name("instance"), snapshot = catalog_key_snapshot(3, "monday"),
              layer = catalog_key_id(CATALOG_LAYER, 4);
  add_kind(add, env, "key-name", CATALOG_KEY, name.byte, name.size);
  add_kind(add, env, "key-snapshot", CATALOG_KEY, snapshot.byte, snapshot.size);
  add_kind(add, env, "key-layer", CATALOG_KEY, layer.byte, layer.size);
  page_key_encode(row_key, page);
  add_kind(add, env, "key-page", PAGE_KEY, page, sizeof page);
}

static void seed_log(fuzz_add add, void *env) {
  static const uint8_t block[BLOCK_BYTES] = {1};
  static uint8_t record[PAGE_RECORD_BYTES];
  uint8_t key[LOG_KEY_BYTES];
  catalog_record r;
  log_addresses addresses = {.count = 2,
                             .at = {{.layer = 3, .page = 5, .version = 7, .memory = 2, .number = 4},
                                    {.layer = 4, .page = 1, .version = 2, .memory = 1, .number = 15}}};
  log_addresses_encode(&addresses, &r);
  add_kind(add, env, "log-addresses", LOG_ADDRESSES | REPAIR, r.byte, r.size);
  log_beginning_encode(LOG_SEQUENCE, &r);
  add_kind(add, env, "log-beginning", LOG_BEGINS | REPAIR, r.byte, r.size);
  log_key_encode(LOG_SEQUENCE, key);
  add_kind(add, env, "log-key", LOG_KEY, key, sizeof key);
  log_record_init(record, LOG_SEQUENCE, store_id);
  for (unsigned i = 0; i < addresses.count; i++)
    log_record_add(record, i, &addresses.at[i], block, block_checksum(block, addresses.at[i].page, addresses.at[i].number));
  log_record_seal(record, addresses.count);
  add_kind(add, env, "log-row", LOG_ROW | REPAIR, record, 200);
}

void fuzz_seeds(fuzz_add add, void *env) {
  catalog_record r;
  uint8_t header[PAGE_HEADER_BYTES], marker[ZERO_MARKER_BYTES];
  store_record_encode(&(store_record){.format_version = FORMAT_VERSION,
                                      .id = store_id,
                                      .next_layer = 2,
                                      .next_instance = 3,
                                      .next_trash = 4},
                      &r);
  add_kind(add, env, "store", STORE | REPAIR, r.byte, r.size);
  name_record_encode(7, &r);
  add_kind(add, env, "name", NAME | REPAIR, r.byte, r.size);
  layer_record_encode(&(layer_record){.parent = 1, .parent_version = 3, .depth = 2, .instance = 1},
                      &r);
  add_kind(add, env, "layer", LAYER | REPAIR, r.byte, r.size);
  trash_record_encode(
      &(trash_record){.layer = 1, .memory = TRASH_ALL_MEMORIES, .died_at = UINT64_MAX}, &r);
  add_kind(add, env, "trash", TRASH | REPAIR, r.byte, r.size);
  seed_state(add, env);
  seed_keys(add, env);
  page_header_init(header, row_key, store_id);
  add_kind(add, env, "row-page", ROW | REPAIR, header, 256);
  zero_marker_encode(row_key, marker);
  add_kind(add, env, "row-zero", ROW, marker, sizeof marker);
  seed_log(add, env);
}

static bool is_catalog_record(unsigned kind) { return kind <= STATE || kind == LOG_ADDRESSES || kind == LOG_BEGINS; }

/* ---- catalog records ----------------------------------------------------------------------- */

static void repair_record(uint8_t *bytes, size_t size) {
  if (size < 16 || size > UINT16_MAX) return;
  put_le16(bytes + 6, (uint16_t)size);
  put_le64(bytes + size - 8, XXH3_64bits(bytes, size - 8));
}

static void must_be(bytes from, const catalog_record *again) {
  MUST(from.size == again->size && memcmp(from.data, again->byte, from.size) == 0);
}

static void try_state(bytes from) {
  state_record r;
  catalog_record again;
  if (state_record_decode(from, &r) != 0) return;
  if (!r.table_paged && !r.metadata_paged && r.metadata_bytes <= METADATA_INLINE_BYTES_MAX) {
    MUST(state_is_valid(r.state));
    state_record_encode(&r, &again);
    must_be(from, &again);
  }
  state_release(r.state);
}

static void try_record(unsigned kind, bytes from) {
  catalog_record again;
  store_record store;
  layer_record layer;
  trash_record trash;
  log_addresses addresses;
  uint64_t instance, sequence;
  if (kind == STORE && store_record_decode(from, &store) == 0) {
    store_record_encode(&store, &again);
    must_be(from, &again);
  } else if (kind == NAME && name_record_decode(from, &instance) == 0) {
    name_record_encode(instance, &again);
    must_be(from, &again);
  } else if (kind == LAYER && layer_record_decode(from, &layer) == 0) {
    layer_record_encode(&layer, &again);
    must_be(from, &again);
  } else if (kind == TRASH && trash_record_decode(from, &trash) == 0) {
    trash_record_encode(&trash, &again);
    must_be(from, &again);
  } else if (kind == LOG_ADDRESSES && log_addresses_decode(from, &addresses) == 0) {
    log_addresses_encode(&addresses, &again);
    must_be(from, &again);
  } else if (kind == LOG_BEGINS && log_beginning_decode(from, &sequence) == 0) {
    MUST(sequence != LOG_BEGINNING);
    log_beginning_encode(sequence, &again);
    must_be(from, &again);
  } else if (kind == STATE) {
    try_state(from);
  }
}

/* ---- keys, parts of states ----------------------------------------------------------------- */

static void try_catalog_key(bytes from) {
  catalog_kind kind;
  uint64_t id;
  char name[256];
  if (catalog_key_decode(from, &kind, &id, name) != 0) return;
  catalog_key again = kind == CATALOG_STORE      ? catalog_key_store()
                      : kind == CATALOG_NAME     ? catalog_key_name(name)
                      : kind == CATALOG_SNAPSHOT ? catalog_key_snapshot(id, name)
                                                 : catalog_key_id(kind, id);
  MUST(again.size == from.size && memcmp(again.byte, from.data, from.size) == 0);
}

static void try_page_key(bytes from) {
  page_key key;
  uint8_t again[PAGE_KEY_BYTES];
  if (page_key_decode(from, &key) != 0) return;
  page_key_encode(key, again);
  MUST(memcmp(again, from.data, sizeof again) == 0);
}

/* What was decoded is worked on as a message would. */
static void use_state(state *s) {
  memory_entry *m;
  const void *value;
  size_t length;
  MUST(state_is_valid(s));
  if (s->next_memory < UINT32_MAX - 2 && !state_memory(s, "another")) {
    MUST(state_memory_add(s, "another", &m) == 0);
    state_memory_renew(s, m);
  }
  if (s->memory_count) state_memory_remove(s, s->memories[0].id);
  int status = state_metadata_set(s, "module.key", "value", 5);
  MUST(status == 0 || status == PAGESTORE_EQUOTA);
  MUST(status || (state_metadata_get(s, "module.key", &value, &length) && length == 5));
  state_metadata_remove_prefix(s, "module.");
  MUST(state_is_valid(s) && !state_metadata_get(s, "module.key", &value, &length));
}

static void try_state_part(unsigned kind, bytes from) {
  state *s;
  MUST(state_new(&s) == 0);
  int status = kind == TABLE ? state_table_decode(s, from.data, from.size)
                             : state_metadata_decode(s, from.data, from.size);
  if (status == 0 && kind == TABLE) {
    uint8_t *again = malloc(from.size);
    MUST(again && state_table_bytes(s) == from.size);
    state_table_encode(s, again);
    MUST(memcmp(again, from.data, from.size) == 0);
    free(again);
  }
  if (status == 0) use_state(s);
  state_release(s);
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The bytes lie over the head of a row that is right: a marker if there are as many as it has, else
 * a page. */
static void try_row(bytes from, bool repair) {
  row_kind kind;
  if (from.size == ZERO_MARKER_BYTES) {
    (void)row_check(from, row_key, store_id, &kind);
    return;
  }
  uint8_t *record = calloc(1, PAGE_RECORD_BYTES);
  MUST(record);
  page_header_init(record, row_key, store_id);
  memcpy(record, from.data, from.size < PAGE_RECORD_BYTES ? from.size : PAGE_RECORD_BYTES);
  if (repair) page_header_seal(record);
  bytes row = {record, PAGE_RECORD_BYTES};
  if (row_check(row, row_key, store_id, &kind) == 0)
    (void)page_damaged_blocks(row, row_key.page, ALL_BLOCKS);
  (void)row_check((bytes){record, from.size < PAGE_RECORD_BYTES ? from.size : PAGE_RECORD_BYTES},
                  row_key, store_id, &kind);
  free(record);
}

static void try_log_key(bytes from) {
  uint64_t sequence;
  uint8_t again[LOG_KEY_BYTES];
  if (log_key_decode(from, &sequence) != 0) return;
  log_key_encode(sequence, again);
  MUST(memcmp(again, from.data, sizeof again) == 0);
}

/* Where it says that a block belongs, that block is, or it is damaged. */
static void look_at_blocks(const uint8_t *record) {
  unsigned count = log_record_count(record);
  MUST(count >= 1 && count <= PAGE_BLOCKS);
  for (unsigned i = 0; i < count; i++) {
    log_address at = log_record_address(record, i);
    MUST(at.number < PAGE_BLOCKS);
    (void)log_block_check(record, i, &at);
    at.version ^= 1;
    MUST(log_block_check(record, i, &at) == PAGESTORE_ECORRUPT);
  }
}

/* As with rows of pages: over the head of one that is empty. */
static void try_log_row(bytes from, bool repair) {
  size_t size = from.size < PAGE_RECORD_BYTES ? from.size : PAGE_RECORD_BYTES;
  uint64_t sequence;
  id128 store;
  uint8_t *record = calloc(1, PAGE_RECORD_BYTES);
  MUST(record);
  log_record_init(record, LOG_SEQUENCE, store_id);
  memcpy(record, from.data, size);
  if (repair) log_record_seal(record, get_le32(record + LOG_COUNT_AT) % PAGE_BLOCKS + 1);
  if (log_record_identity(record, &sequence, &store) == 0) look_at_blocks(record);
  if (log_record_check((bytes){record, PAGE_RECORD_BYTES}, LOG_SEQUENCE, store_id) == 0) look_at_blocks(record);
  MUST(size == PAGE_RECORD_BYTES || log_record_check((bytes){record, size}, LOG_SEQUENCE, store_id) == PAGESTORE_ECORRUPT);
  free(record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  unsigned kind = (data[0] & ~(unsigned)REPAIR) % KINDS;
  bool repair = data[0] & REPAIR;
  uint8_t *copy = malloc(size > 1 ? size - 1 : 1);
  MUST(copy);
  memcpy(copy, data + 1, size - 1);
  bytes from = {copy, size - 1};
  if (is_catalog_record(kind) && repair) repair_record(copy, from.size);
  if (is_catalog_record(kind)) try_record(kind, from);
  else if (kind == CATALOG_KEY) try_catalog_key(from);
  else if (kind == PAGE_KEY) try_page_key(from);
  else if (kind == TABLE || kind == METADATA) try_state_part(kind, from);
  else if (kind == LOG_KEY) try_log_key(from);
  else if (kind == LOG_ROW) try_log_row(from, repair);
  else try_row(from, repair);
  free(copy);
  return 0;
}
