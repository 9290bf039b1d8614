/* test_format.c - keys and records: golden bytes, round trips, and every flipped bit refused. `--regenerate` writes the golden files. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fault_rows.h"
#include "storage_support.h"

#include "storage/wire.h"

static bool regenerate;

/* ---- golden files ---------------------------------------------------------------------------------------------------- */

static void golden_write(const char *path, const uint8_t *at, size_t size) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  for (size_t i = 0; i < size; i++) fprintf(f, "%02x%s", at[i], i % 32 == 31 || i + 1 == size ? "\n" : "");
  fclose(f);
}

static void assert_golden(const char *name, const void *at, size_t size) {
  char path[512];
  const char *slash = strrchr(__FILE__, '/'); /* beside this file, whatever the working directory */
  snprintf(path, sizeof path, "%.*sgolden/%s.hex", slash ? (int)(slash + 1 - __FILE__) : 0, __FILE__, name);
  if (regenerate) golden_write(path, at, size);
  FILE *f = fopen(path, "r");
  if (!f) fail_msg("%s is missing: run with --regenerate", path);
  const uint8_t *expected_at = at;
  unsigned byte;
  for (size_t i = 0; i < size; i++) {
    assert_int_equal(fscanf(f, "%2x", &byte), 1);
    if (byte != expected_at[i]) fail_msg("%s differs at %zu", name, i);
  }
  assert_int_equal(fscanf(f, "%2x", &byte), EOF);
  fclose(f);
}

/* ---- keys ------------------------------------------------------------------------------------------------------------ */

static const page_key key_example = {.layer = 0x0102030405060708, .memory = 0x11121314, .page = 0x2122232425262728, .version = 0x3132333435363738};

static void test_page_key(void **state) {
  (void)state;
  uint8_t encoded[PAGE_KEY_BYTES];
  page_key decoded;
  page_key_encode(key_example, encoded);
  assert_golden("key_page", encoded, sizeof encoded);
  assert_ok(page_key_decode((bytes){encoded, sizeof encoded}, &decoded));
  assert_int_equal(decoded.layer, key_example.layer);
  assert_int_equal(decoded.memory, key_example.memory);
  assert_int_equal(decoded.page, key_example.page);
  assert_int_equal(decoded.version, key_example.version);
  assert_int_equal(page_key_decode((bytes){encoded, sizeof encoded - 1}, &decoded), PAGESTORE_ECORRUPT);
}

/* Layer, memory and page ascend, versions descend: the newest row of a page is met first. */
static void test_page_key_order(void **state) {
  (void)state;
  const page_key ascending[] = {{1, 1, 1, 9}, {1, 1, 1, 2}, {1, 1, 2, 7}, {1, 1, 256, 1}, {1, 2, 0, 1}, {1, 256, 0, 1}, {2, 0, 0, 1}, {256, 0, 0, 1}};
  uint8_t a[PAGE_KEY_BYTES], b[PAGE_KEY_BYTES];
  for (size_t i = 1; i < sizeof ascending / sizeof *ascending; i++) {
    page_key_encode(ascending[i - 1], a);
    page_key_encode(ascending[i], b);
    assert_true(memcmp(a, b, sizeof a) < 0);
  }
}

static void check_catalog_key(catalog_key key, catalog_kind kind, uint64_t id, const char *name, const char *golden) {
  catalog_kind found_kind;
  uint64_t found_id;
  char found_name[256];
  assert_golden(golden, key.byte, key.size);
  assert_ok(catalog_key_decode((bytes){key.byte, key.size}, &found_kind, &found_id, found_name));
  assert_int_equal(found_kind, kind);
  assert_int_equal(found_id, id);
  assert_string_equal(found_name, name);
}

static void test_catalog_keys(void **state) {
  (void)state;
  check_catalog_key(catalog_key_store(), CATALOG_STORE, 0, "", "key_store");
  check_catalog_key(catalog_key_name("canister"), CATALOG_NAME, 0, "canister", "key_name");
  check_catalog_key(catalog_key_id(CATALOG_INSTANCE, 0x0102030405060708), CATALOG_INSTANCE, 0x0102030405060708, "", "key_instance");
  check_catalog_key(catalog_key_id(CATALOG_LAYER, 7), CATALOG_LAYER, 7, "", "key_layer");
  check_catalog_key(catalog_key_id(CATALOG_TRASH, 8), CATALOG_TRASH, 8, "", "key_trash");
  check_catalog_key(catalog_key_id(CATALOG_LOG, 0x0a0b0c0d0e0f1011), CATALOG_LOG, 0x0a0b0c0d0e0f1011, "", "key_catalog_log");
  check_catalog_key(catalog_key_snapshot(9, "before"), CATALOG_SNAPSHOT, 9, "before", "key_snapshot");
}

static void test_catalog_keys_hostile(void **state) {
  (void)state;
  catalog_kind kind;
  uint64_t id;
  char name[256];
  uint8_t raw[300];
  memset(raw, 'a', sizeof raw);
  const struct { uint8_t kind; size_t size; } bad[] = {{0, 0}, {0, 1}, {8, 9}, {CATALOG_STORE, 2}, {CATALOG_NAME, 1}, {CATALOG_NAME, 257},
      {CATALOG_INSTANCE, 8}, {CATALOG_INSTANCE, 10}, {CATALOG_SNAPSHOT, 9}, {CATALOG_SNAPSHOT, 265}, {CATALOG_LAYER, 1}, {CATALOG_TRASH, 12},
      {CATALOG_LOG, 1}, {CATALOG_LOG, 8}, {CATALOG_LOG, 10}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    raw[0] = bad[i].kind;
    assert_int_equal(catalog_key_decode((bytes){raw, bad[i].size}, &kind, &id, name), PAGESTORE_ECORRUPT);
  }
  catalog_key with_nul = catalog_key_name("ab");
  with_nul.byte[1] = 0;
  assert_int_equal(catalog_key_decode((bytes){with_nul.byte, with_nul.size}, &kind, &id, name), PAGESTORE_ECORRUPT);
  memset(raw, 'a', sizeof raw);
  raw[255] = 0;
  assert_int_equal(catalog_key_name((char *)raw).size, CATALOG_KEY_BYTES_MAX - 8);
}

/* ---- pages ----------------------------------------------------------------------------------------------------------- */

static uint8_t record[PAGE_RECORD_BYTES];

static void make_golden_record(void) {
  make_page_record(key_example, 0, record);
  for (size_t i = 0; i < PAGE_BYTES; i++) record[PAGE_HEADER_BYTES + i] = (uint8_t)(i * 7 + i / 256);
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    page_header_set_checksum(record, b, block_checksum(record + PAGE_HEADER_BYTES + b * BLOCK_BYTES, key_example.page, b));
  page_header_seal(record);
}

static bytes record_value(void) { return (bytes){record, sizeof record}; }

static void test_page_record(void **state) {
  (void)state;
  row_kind kind = ROW_ZERO;
  make_golden_record();
  assert_golden("page_header", record, PAGE_HEADER_BYTES);
  assert_ok(row_check(record_value(), key_example, test_store_id, &kind));
  assert_int_equal(kind, ROW_PAGE);
  assert_int_equal(page_damaged_blocks(record_value(), key_example.page, ALL_BLOCKS), 0);
  assert_ptr_equal(page_record_bytes(record_value()), record + PAGE_HEADER_BYTES);
}

static void test_page_header_every_bit(void **state) {
  (void)state;
  row_kind kind;
  make_golden_record();
  for (size_t bit = 0; bit < 8 * PAGE_HEADER_BYTES; bit++) {
    record[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(row_check(record_value(), key_example, test_store_id, &kind), PAGESTORE_ECORRUPT);
    record[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  fault_row_count(ROW_PAGE_BITS, 8 * PAGE_HEADER_BYTES);
}

/* Reserved bytes that are not zero are refused even under a right checksum, and so is another identity. */
static void test_page_header_sealed_lies(void **state) {
  (void)state;
  row_kind kind;
  make_golden_record();
  for (size_t at = 192; at < PAGE_HEADER_BYTES; at += 97) {
    record[at] = 1;
    page_header_seal(record);
    assert_int_equal(row_check(record_value(), key_example, test_store_id, &kind), PAGESTORE_ECORRUPT);
    record[at] = 0;
  }
  page_header_seal(record);
  for (int field = 0; field < 4; field++) {
    page_key other = key_example;
    if (field == 0) other.layer++;
    if (field == 1) other.memory++;
    if (field == 2) other.page++;
    if (field == 3) other.version++;
    assert_int_equal(row_check(record_value(), other, test_store_id, &kind), PAGESTORE_ECORRUPT);
  }
  assert_int_equal(row_check(record_value(), key_example, (id128){{9}}, &kind), PAGESTORE_ECORRUPT);
  assert_int_equal(row_check((bytes){record, sizeof record - 1}, key_example, test_store_id, &kind), PAGESTORE_ECORRUPT);
  assert_int_equal(row_check((bytes){record, 0}, key_example, test_store_id, &kind), PAGESTORE_ECORRUPT);
}

static void test_damaged_blocks(void **state) {
  (void)state;
  make_golden_record();
  record[PAGE_HEADER_BYTES + 3 * BLOCK_BYTES] ^= 1;
  record[PAGE_HEADER_BYTES + 16 * BLOCK_BYTES - 1] ^= 128;
  assert_int_equal(page_damaged_blocks(record_value(), key_example.page, ALL_BLOCKS), 1 << 3 | 1 << 15);
  assert_int_equal(page_damaged_blocks(record_value(), key_example.page, 1 << 3), 1 << 3);
  assert_int_equal(page_damaged_blocks(record_value(), key_example.page, (uint16_t)~(1 << 3 | 1 << 15)), 0);
  assert_int_equal(page_damaged_blocks(record_value(), key_example.page + 1, ALL_BLOCKS), ALL_BLOCKS);
}

static void test_zero_marker(void **state) {
  (void)state;
  uint8_t marker[ZERO_MARKER_BYTES];
  bytes value = {marker, sizeof marker};
  row_kind kind = ROW_PAGE;
  zero_marker_encode(key_example, marker);
  assert_golden("zero_marker", marker, sizeof marker);
  assert_ok(row_check(value, key_example, test_store_id, &kind));
  assert_int_equal(kind, ROW_ZERO);
  for (size_t bit = 0; bit < 8 * sizeof marker; bit++) {
    marker[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(row_check(value, key_example, test_store_id, &kind), PAGESTORE_ECORRUPT);
    marker[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  page_key later = key_example;
  later.version++;
  assert_int_equal(row_check(value, later, test_store_id, &kind), PAGESTORE_ECORRUPT);
}

/* ---- block records ----------------------------------------------------------------------------------------------------- */

enum { LOG_EXAMPLE = 3 };
static const uint64_t sequence_example = 0x0a0b0c0d0e0f1011;
static const log_address log_example[LOG_EXAMPLE] = {
    {.layer = 0x0102030405060708, .page = 0x212223242526, .version = 0x0132333435363738, .memory = 0x11121314, .number = 5},
    {.layer = 1, .page = 2, .version = 3, .memory = 4, .number = 15},
    {.layer = 1, .page = 2, .version = 3, .memory = 4, .number = 0}};

static void make_log_record(unsigned count) {
  memset(record, 0xee, sizeof record); /* what was there before leaves no trace */
  log_record_init(record, sequence_example, test_store_id);
  for (unsigned i = 0; i < count; i++) {
    log_address at = log_example[i % LOG_EXAMPLE];
    uint8_t block[BLOCK_BYTES];
    for (size_t b = 0; b < sizeof block; b++) block[b] = (uint8_t)(b * 11 + i + b / 256);
    log_record_add(record, i, &at, block, block_checksum(block, at.page, at.number));
  }
  log_record_seal(record, count);
  log_record_zero_rest(record, count);
}

static void assert_address(log_address found, unsigned i) {
  const log_address *at = &log_example[i % LOG_EXAMPLE];
  assert_int_equal(found.layer, at->layer);
  assert_int_equal(found.page, at->page);
  assert_int_equal(found.version, at->version);
  assert_int_equal(found.memory, at->memory);
  assert_int_equal(found.number, at->number);
}

static void test_log_key(void **state) {
  (void)state;
  uint8_t key[LOG_KEY_BYTES + 1] = {0};
  uint64_t found;
  log_key_encode(sequence_example, key);
  assert_golden("key_log", key, LOG_KEY_BYTES);
  assert_ok(log_key_decode((bytes){key, LOG_KEY_BYTES}, &found));
  assert_int_equal(found, sequence_example);
  assert_int_equal(log_key_decode((bytes){key, LOG_KEY_BYTES - 1}, &found), PAGESTORE_ECORRUPT);
  assert_int_equal(log_key_decode((bytes){key, LOG_KEY_BYTES + 1}, &found), PAGESTORE_ECORRUPT);
}

static void test_log_record(void **state) {
  (void)state;
  uint64_t sequence;
  id128 store;
  make_log_record(LOG_EXAMPLE);
  assert_golden("log_header", record, PAGE_HEADER_BYTES);
  for (unsigned count = 1; count <= PAGE_BLOCKS; count++) {
    make_log_record(count);
    assert_ok(log_record_check(record_value(), sequence_example, test_store_id));
    assert_ok(log_record_identity(record, &sequence, &store));
    assert_int_equal(sequence, sequence_example);
    assert_memory_equal(&store, &test_store_id, sizeof store);
    assert_int_equal(log_record_count(record), count);
    for (unsigned i = 0; i < count; i++) {
      assert_address(log_record_address(record, i), i);
      assert_ok(log_block_check(record, i, &log_example[i % LOG_EXAMPLE]));
    }
    assert_int_equal(log_block_check(record, count, &log_example[0]), PAGESTORE_ECORRUPT);
    for (size_t at = PAGE_HEADER_BYTES + (size_t)count * BLOCK_BYTES; at < sizeof record; at++) assert_int_equal(record[at], 0);
  }
}

static void test_log_header_every_bit(void **state) {
  (void)state;
  make_log_record(LOG_EXAMPLE);
  for (size_t bit = 0; bit < 8 * PAGE_HEADER_BYTES; bit++) {
    record[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(log_record_check(record_value(), sequence_example, test_store_id), PAGESTORE_ECORRUPT);
    record[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  fault_row_count(ROW_PAGE_BITS, 8 * PAGE_HEADER_BYTES);
}

/* Under a right checksum: reserved bytes, counts and block numbers that cannot be; another key, store or length. */
static void test_log_header_sealed_lies(void **state) {
  (void)state;
  for (size_t at = 24; at < PAGE_HEADER_BYTES; at += at < 40 ? 1 : 97) {
    if (at >= 40 && at < 64 + 40 * LOG_EXAMPLE) continue;
    make_log_record(LOG_EXAMPLE);
    record[at] = 1;
    log_record_seal(record, LOG_EXAMPLE);
    assert_int_equal(log_record_check(record_value(), sequence_example, test_store_id), PAGESTORE_ECORRUPT);
  }
  make_log_record(LOG_EXAMPLE);
  log_record_seal(record, LOG_EXAMPLE - 1); /* an entry behind the count */
  assert_int_equal(log_record_check(record_value(), sequence_example, test_store_id), PAGESTORE_ECORRUPT);
  static const struct { size_t at; unsigned bytes; uint64_t lie; } lies[] = {
      {36, 4, PAGE_BLOCKS}, {32, 4, SYSTEM_MEMORY}, {32, 4, UINT32_MAX}, {8, 8, PAGES_LIMIT}, {8, 8, UINT64_MAX}, {16, 8, LOG_VERSION_LIMIT}};
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    make_log_record(LOG_EXAMPLE);
    uint8_t *at = record + 64 + lies[i].at;
    if (lies[i].bytes == 4) put_le32(at, (uint32_t)lies[i].lie);
    else put_le64(at, lies[i].lie);
    log_record_seal(record, LOG_EXAMPLE);
    assert_int_equal(log_record_check(record_value(), sequence_example, test_store_id), PAGESTORE_ECORRUPT);
  }
  for (uint32_t count = 0; count <= PAGE_BLOCKS + 1; count += PAGE_BLOCKS + 1) {
    make_log_record(LOG_EXAMPLE);
    put_le32(record + 8, count);
    memset(record + 56, 0, 8);
    put_le64(record + 56, XXH3_64bits(record, PAGE_HEADER_BYTES));
    assert_int_equal(log_record_check(record_value(), sequence_example, test_store_id), PAGESTORE_ECORRUPT);
  }
  make_log_record(LOG_EXAMPLE);
  assert_int_equal(log_record_check(record_value(), sequence_example + 1, test_store_id), PAGESTORE_ECORRUPT);
  assert_int_equal(log_record_check(record_value(), sequence_example, (id128){{9}}), PAGESTORE_ECORRUPT);
  assert_int_equal(log_record_check((bytes){record, sizeof record - 1}, sequence_example, test_store_id), PAGESTORE_ECORRUPT);
  assert_int_equal(log_record_check((bytes){record, 0}, sequence_example, test_store_id), PAGESTORE_ECORRUPT);
  make_page_record(key_example, 0, record);
  assert_int_equal(log_record_check(record_value(), sequence_example, test_store_id), PAGESTORE_ECORRUPT);
}

static void test_log_blocks(void **state) {
  (void)state;
  make_log_record(LOG_EXAMPLE);
  for (int field = 0; field < 5; field++) {
    log_address other = log_example[1];
    if (field == 0) other.layer++;
    if (field == 1) other.page++;
    if (field == 2) other.version++;
    if (field == 3) other.memory++;
    if (field == 4) other.number--;
    assert_int_equal(log_block_check(record, 1, &other), PAGESTORE_ECORRUPT);
  }
  for (size_t bit = 0; bit < 8 * BLOCK_BYTES; bit += 7) {
    record[PAGE_HEADER_BYTES + BLOCK_BYTES + bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(log_block_check(record, 1, &log_example[1]), PAGESTORE_ECORRUPT);
    assert_ok(log_block_check(record, 0, &log_example[0]));
    record[PAGE_HEADER_BYTES + BLOCK_BYTES + bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  assert_ok(log_block_check(record, 1, &log_example[1]));
}

/* ---- catalog records --------------------------------------------------------------------------------------------------- */

static bytes of(const catalog_record *r) { return (bytes){r->byte, r->size}; }

/* Whether one of the decoders takes it for a record of its kind. */
static bool decodes(bytes from) {
  store_record store;
  layer_record layer;
  trash_record trash;
  log_addresses log;
  uint64_t instance;
  state_record with_state;
  if (!store_record_decode(from, &store) || !name_record_decode(from, &instance)) return true;
  if (!layer_record_decode(from, &layer) || !trash_record_decode(from, &trash)) return true;
  if (!log_addresses_decode(from, &log) || !log_beginning_decode(from, &instance)) return true;
  if (state_record_decode(from, &with_state)) return false;
  state_release(with_state.state);
  return true;
}

/* Bytes that end where the record ends, so that the sanitizers see a step too far. */
static bool decodes_exact(const uint8_t *from, size_t size) {
  uint8_t *copy = malloc(size ? size : 1);
  memcpy(copy, from, size);
  bool good = decodes((bytes){copy, size});
  free(copy);
  return good;
}

static void check_catalog_record(const catalog_record *r, const char *golden) {
  catalog_record copy = *r;
  assert_true(r->size <= CATALOG_RECORD_BYTES_MAX);
  assert_golden(golden, r->byte, r->size);
  assert_true(decodes_exact(r->byte, r->size));
  for (size_t bit = 0; bit < 8 * r->size; bit++) {
    copy.byte[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_false(decodes_exact(copy.byte, copy.size));
    copy.byte[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  for (size_t size = 0; size < r->size; size++) assert_false(decodes_exact(r->byte, size));
}

static const store_record store_example = {
    .format_version = FORMAT_VERSION, .incompatible = 1, .read_only = 2, .compatible = 3, .id = {{0xa0, 0xa1, 0xa2}},
    .next_layer = 11, .next_instance = 12, .next_trash = 13, .flush_txn_id = 0x1122334455667788, .created_ns = 15};

static void test_store_record(void **state) {
  (void)state;
  catalog_record r;
  store_record found;
  store_record_encode(&store_example, &r);
  check_catalog_record(&r, "record_store");
  assert_ok(store_record_decode(of(&r), &found));
  assert_int_equal(found.incompatible, 1);
  assert_int_equal(found.read_only, 2);
  assert_int_equal(found.compatible, 3);
  assert_memory_equal(&found.id, &store_example.id, sizeof found.id);
  assert_int_equal(found.next_layer, 11);
  assert_int_equal(found.next_instance, 12);
  assert_int_equal(found.next_trash, 13);
  assert_int_equal(found.flush_txn_id, 0x1122334455667788);
  assert_int_equal(found.created_ns, 15);
  store_record newer = store_example;
  newer.format_version = FORMAT_VERSION + 1;
  store_record_encode(&newer, &r);
  assert_int_equal(store_record_decode(of(&r), &found), PAGESTORE_EFORMAT);
  name_record_encode(1, &r);
  assert_int_equal(store_record_decode(of(&r), &found), PAGESTORE_EFORMAT);
  assert_int_equal(store_record_decode((bytes){"x", 1}, &found), PAGESTORE_EFORMAT);
  store_record_encode(&store_example, &r);
  r.byte[40] ^= 1;
  assert_int_equal(store_record_decode(of(&r), &found), PAGESTORE_ECORRUPT);
}

static void test_small_records(void **state) {
  (void)state;
  catalog_record r;
  uint64_t instance;
  name_record_encode(0x0102030405060708, &r);
  check_catalog_record(&r, "record_name");
  assert_ok(name_record_decode(of(&r), &instance));
  assert_int_equal(instance, 0x0102030405060708);

  layer_record layer = {.parent = 5, .parent_version = 6, .depth = 2, .instance = 7}, found_layer;
  layer_record_encode(&layer, &r);
  check_catalog_record(&r, "record_layer");
  assert_ok(layer_record_decode(of(&r), &found_layer));
  assert_int_equal(found_layer.parent, 5);
  assert_int_equal(found_layer.parent_version, 6);
  assert_int_equal(found_layer.depth, 2);
  assert_int_equal(found_layer.instance, 7);

  trash_record trash = {.layer = 8, .memory = TRASH_ALL_MEMORIES, .died_at = 9, .resume = {1, 2, 3}}, found_trash;
  trash_record_encode(&trash, &r);
  check_catalog_record(&r, "record_trash");
  memset(&found_trash, 0, sizeof found_trash);
  assert_ok(trash_record_decode(of(&r), &found_trash));
  assert_int_equal(found_trash.layer, 8);
  assert_int_equal(found_trash.memory, TRASH_ALL_MEMORIES);
  assert_int_equal(found_trash.died_at, 9);
  assert_memory_equal(found_trash.resume, trash.resume, sizeof trash.resume);
}

static void test_log_addresses(void **state) {
  (void)state;
  catalog_record r;
  log_addresses log = {.sequence = 9, .count = LOG_EXAMPLE}, found;
  uint64_t beginning;
  memcpy(log.at, log_example, sizeof log_example);
  log_addresses_encode(&log, &r);
  check_catalog_record(&r, "record_log");
  assert_ok(log_addresses_decode(of(&r), &found));
  assert_int_equal(found.count, LOG_EXAMPLE);
  for (unsigned i = 0; i < LOG_EXAMPLE; i++) assert_address(found.at[i], i);
  assert_int_equal(log_beginning_decode(of(&r), &beginning), PAGESTORE_ECORRUPT);
  for (log.count = 1; log.count <= PAGE_BLOCKS; log.count++) {
    for (unsigned i = 0; i < log.count; i++) log.at[i] = log_example[i % LOG_EXAMPLE];
    log_addresses_encode(&log, &r);
    assert_ok(log_addresses_decode(of(&r), &found));
    assert_int_equal(found.count, log.count);
  }
  log_beginning_encode(0x0102030405060708, &r);
  check_catalog_record(&r, "record_log_beginning");
  assert_ok(log_beginning_decode(of(&r), &beginning));
  assert_int_equal(beginning, 0x0102030405060708);
  assert_int_equal(log_addresses_decode(of(&r), &found), PAGESTORE_ECORRUPT);
  log_beginning_encode(0, &r); /* no record has that number */
  assert_int_equal(log_beginning_decode(of(&r), &beginning), PAGESTORE_ECORRUPT);
}

/* Under a right checksum. */
static void test_log_addresses_hostile(void **state) {
  (void)state;
  log_addresses log = {.count = 2}, found;
  memcpy(log.at, log_example, 2 * sizeof *log_example);
  const struct { size_t at; uint32_t value; } bad[] = {{8, 0}, {8, 1}, {8, 3}, {8, 17}, {8, UINT32_MAX}, {12, 1}, {16 + 28, 16}, {16 + 32 + 28, UINT32_MAX}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    catalog_record r;
    log_addresses_encode(&log, &r);
    put_le32(r.byte + bad[i].at, bad[i].value);
    put_le64(r.byte + r.size - 8, XXH3_64bits(r.byte, r.size - 8));
    assert_int_equal(log_addresses_decode(of(&r), &found), PAGESTORE_ECORRUPT);
  }
}

static void test_layer_record_contradictions(void **state) {
  (void)state;
  const layer_record bad[] = {{0, 0, 0, 1}, {0, 0, 2, 1}, {5, 1, 1, 1}, {5, 1, LAYER_DEPTH_MAX + 2, 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    catalog_record r;
    layer_record found;
    layer_record_encode(&bad[i], &r);
    assert_int_equal(layer_record_decode(of(&r), &found), PAGESTORE_ECORRUPT);
  }
}

/* ---- state records ----------------------------------------------------------------------------------------------------- */

static state *make_state(unsigned memories, size_t metadata) {
  state *s;
  memory_entry *m;
  assert_ok(state_new(&s));
  memset(s->module_hash, 0xab, sizeof s->module_hash);
  for (unsigned i = 0; i < memories; i++) {
    char name[32];
    snprintf(name, sizeof name, "memory%u", i);
    assert_ok(state_memory_add(s, name, &m));
    m->flags = i % 4;
    m->pages = 10 + i;
    m->max_pages = 65536;
    m->stored_pages = 3 + i;
  }
  uint8_t *value = calloc(1, metadata + 1);
  if (metadata) assert_ok(state_metadata_set(s, "global.counter", value, metadata - 6 - strlen("global.counter")));
  free(value);
  return s;
}

static void check_state_record(unsigned memories, size_t metadata, id128 snapshot, bool metadata_paged, bool table_paged, const char *golden) {
  state_record from = {.layer = 21, .version = 22, .time_ns = 23, .snapshot = snapshot, .state = make_state(memories, metadata)}, found;
  catalog_record r;
  state_record_encode(&from, &r);
  assert_int_equal(from.metadata_paged, metadata_paged);
  assert_int_equal(from.table_paged, table_paged);
  check_catalog_record(&r, golden);
  assert_ok(state_record_decode(of(&r), &found));
  assert_int_equal(found.layer, 21);
  assert_int_equal(found.version, 22);
  assert_int_equal(found.time_ns, 23);
  assert_memory_equal(&found.snapshot, &snapshot, sizeof snapshot);
  assert_int_equal(found.metadata_paged, metadata_paged);
  assert_int_equal(found.table_paged, table_paged);
  assert_int_equal(found.metadata_bytes, metadata);
  assert_int_equal(found.table_bytes, state_table_bytes(from.state));
  assert_memory_equal(found.state->module_hash, from.state->module_hash, 32);
  assert_int_equal(found.state->metadata_bytes, metadata_paged ? 0 : metadata);
  assert_int_equal(found.state->memory_count, table_paged ? 0 : memories);
  assert_true(state_is_valid(found.state));
  state_release(from.state);
  state_release(found.state);
}

static void test_state_records(void **state) {
  (void)state;
  const id128 none = {{0}}, snapshot = {{0xc0, 0xc1}};
  check_state_record(0, 0, none, false, false, "record_instance_empty");
  check_state_record(2, 100, none, false, false, "record_instance");
  check_state_record(2, 100, snapshot, false, false, "record_snapshot");
  check_state_record(3, 1000, none, false, false, "record_instance_full");
  check_state_record(3, 1001, none, true, false, "record_instance_metadata_paged");
  check_state_record(40, 1000, none, false, true, "record_instance_table_paged");
  check_state_record(40, 2000, none, true, true, "record_instance_paged");
}

static void test_random_records(void **state) {
  (void)state;
  uint64_t seed = 20261122;
  print_message("seed %llu\n", (unsigned long long)seed);
  for (int i = 0; i < 20000; i++) {
    uint8_t raw[200];
    size_t size = next_random(&seed) % sizeof raw;
    for (size_t b = 0; b < size; b++) raw[b] = (uint8_t)next_random(&seed);
    if (size >= 8) memcpy(raw, "PGSR", 4), raw[4] = (uint8_t)(1 + raw[4] % 7), raw[5] = 1, put_le16(raw + 6, (uint16_t)size);
    assert_false(decodes_exact(raw, size));
  }
}

int main(int argc, char **argv) {
  regenerate = argc > 1 && strcmp(argv[1], "--regenerate") == 0;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_page_key),
      cmocka_unit_test(test_page_key_order),
      cmocka_unit_test(test_catalog_keys),
      cmocka_unit_test(test_catalog_keys_hostile),
      cmocka_unit_test(test_page_record),
      cmocka_unit_test(test_page_header_every_bit),
      cmocka_unit_test(test_page_header_sealed_lies),
      cmocka_unit_test(test_damaged_blocks),
      cmocka_unit_test(test_zero_marker),
      cmocka_unit_test(test_log_key),
      cmocka_unit_test(test_log_record),
      cmocka_unit_test(test_log_header_every_bit),
      cmocka_unit_test(test_log_header_sealed_lies),
      cmocka_unit_test(test_log_blocks),
      cmocka_unit_test(test_log_addresses),
      cmocka_unit_test(test_log_addresses_hostile),
      cmocka_unit_test(test_store_record),
      cmocka_unit_test(test_small_records),
      cmocka_unit_test(test_layer_record_contradictions),
      cmocka_unit_test(test_state_records),
      cmocka_unit_test(test_random_records),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
