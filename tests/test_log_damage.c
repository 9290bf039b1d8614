/* test_log_damage.c - damage to records of the log: check says so, or nobody looks there; a reader gets an error that names the page, or
 * the right bytes; other pages stay readable.
 *
 * A small store with records in all states: counting, superseded, merged, of a layer that was left, of an instance and a memory that are
 * gone, below the log's beginning. Its bytes are changed one by one, its records one by another.
 *
 * ctest: PROGRAM_OF_ITS_OWN TIMEOUT 300
 */
#include <fcntl.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "check_audit.h"
#include "log_damage_store.h"
#include "storage/catalog.h"
#include "storage/record.h"

enum { VERSIONS_MAX = 12, PLACES_MAX = 40 };

static int data_fd;

/* ---- changing records ------------------------------------------------------------------------------------------------------- */

static db *open_db;
static db_txn *txn;
static store_record store;

static void change_begin(void) {
  assert_ok(db_open(h.path, &(db_options){0}, &open_db));
  assert_ok(db_begin(open_db, &txn));
  assert_ok(catalog_store((db_reader){.txn = txn}, &store));
}

static void change_end(void) {
  store.flush_txn_id = db_txn_id(txn);
  assert_ok(catalog_put_store(txn, &store));
  assert_ok(db_commit(txn));
  db_close(open_db);
}

static void put_addresses(const log_addresses *a) {
  catalog_key key = catalog_key_id(CATALOG_LOG, a->sequence);
  catalog_record encoded;
  log_addresses_encode(a, &encoded);
  assert_ok(record_put(txn, &key, &encoded));
}

static void put_beginning(uint64_t sequence) {
  catalog_key key = catalog_key_id(CATALOG_LOG, LOG_BEGINNING);
  catalog_record encoded;
  log_beginning_encode(sequence, &encoded);
  assert_ok(record_put(txn, &key, &encoded));
}

static void get_row(uint64_t sequence, uint8_t record[PAGE_RECORD_BYTES], log_addresses *a) {
  uint8_t key[LOG_KEY_BYTES];
  bytes value;
  log_key_encode(sequence, key);
  assert_ok(db_get(txn, DB_LOG, (bytes){key, sizeof key}, &value));
  memcpy(record, value.data, PAGE_RECORD_BYTES);
  *a = (log_addresses){.sequence = sequence, .count = log_record_count(record)};
  for (unsigned i = 0; i < a->count; i++) a->at[i] = log_record_address(record, i);
}

/* The row with other addresses and the same bytes. */
static void put_row(const uint8_t *from, const log_addresses *a) {
  static uint8_t record[PAGE_RECORD_BYTES];
  uint8_t key[LOG_KEY_BYTES];
  log_record_init(record, a->sequence, store.id);
  for (unsigned i = 0; i < a->count; i++) {
    const uint8_t *block = log_record_block(from, i);
    log_record_add(record, i, &a->at[i], block, block_checksum(block, a->at[i].page, a->at[i].number));
  }
  log_record_seal(record, a->count);
  log_record_zero_rest(record, a->count);
  log_key_encode(a->sequence, key);
  assert_ok(db_put(txn, DB_LOG, (bytes){key, sizeof key}, (bytes){record, sizeof record}));
}

static void delete_row(uint64_t sequence) {
  uint8_t key[LOG_KEY_BYTES];
  log_key_encode(sequence, key);
  assert_ok(db_delete(txn, DB_LOG, (bytes){key, sizeof key}));
}

static void delete_addresses(uint64_t sequence) {
  catalog_key key = catalog_key_id(CATALOG_LOG, sequence);
  assert_ok(db_delete(txn, DB_CATALOG, (bytes){key.byte, key.size}));
}

static void make_store(void) {
  make_instances();
  change_begin();
  put_beginning(2);
  change_end();
  data_fd = open(h.file, O_RDWR | O_CLOEXEC);
  assert_true(data_fd >= 0);
}

/* ---- what the library reads -------------------------------------------------------------------------------------------------- */

typedef struct {
  char instance[40], snapshot[40], memory[40];
  uint64_t hash[PAGES];
  int status[PAGES];
  char text[PAGES][200];
} version_read;
typedef struct { int status; unsigned count; version_read version[VERSIONS_MAX]; } reading;

static pagestore_instance *view;
static version_read *filling;
static reading *filled;

static int read_memory(void *env, const pagestore_memory_info *info) {
  static uint8_t page[PAGESTORE_PAGE];
  pagestore_memory *m;
  (void)env;
  assert_true(filled->count < VERSIONS_MAX);
  version_read *v = &filled->version[filled->count++];
  *v = *filling;
  snprintf(v->memory, sizeof v->memory, "%s", info->name);
  assert_ok(pagestore_memory_open(view, v->memory, PAGESTORE_WITH(pagestore_memory_options, .max_pages = PAGES, .guard_bytes = PAGESTORE_PAGE), &m));
  for (uint64_t p = 0; p < PAGES; p++) {
    v->status[p] = pagestore_memory_read(m, p * PAGESTORE_PAGE, page, sizeof page);
    v->hash[p] = v->status[p] ? 0 : XXH3_64bits(page, sizeof page);
    snprintf(v->text[p], sizeof v->text[p], "%s", v->status[p] ? pagestore_detail() : "");
  }
  return 0;
}

static int read_version(void *env, const pagestore_history_info *info) {
  static version_read template;
  snprintf(template.instance, sizeof template.instance, "%s", (const char *)env);
  snprintf(template.snapshot, sizeof template.snapshot, "%s", info->snapshot ? info->snapshot : "");
  filling = &template;
  int status = pagestore_instance_open(h.store, template.instance, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = info->snapshot), &view);
  if (status) return status;
  status = pagestore_memory_each(view, read_memory, NULL);
  pagestore_instance_close(view);
  return status;
}

static void read_store(reading *r, uint32_t flags) {
  static const char *const names[] = {"alive", "fork", "left", "merged"};
  *r = (reading){0};
  filled = r;
  r->status = pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .flags = flags), &h.store);
  if (r->status) return;
  for (unsigned i = 0; i < 4 && !r->status; i++) {
    r->status = pagestore_history_each(h.store, names[i], read_version, (void *)(uintptr_t)names[i]);
    if (r->status) assert_true(strlen(pagestore_detail()) > 20);
  }
  assert_ok(pagestore_close(h.store));
}

/* ---- what check says --------------------------------------------------------------------------------------------------------- */

static audit said;

static void check(bool deep) {
  static walker_metas metas;
  audit_free(&said);
  assert_int_equal(walker_check_meta(data_fd, "store", &metas), 0);
  said = (audit){.fd = data_fd, .metas = &metas, .meta = metas.newest, .deep = deep, .other = true, .explain = NO_OFFSET};
  assert_int_equal(audit_run(&said), 0);
}

static bool names(const finding *f, const version_read *v, uint64_t page) {
  return f->level == FINDING_DAMAGE && f->has_page && f->page == page && strcmp(f->instance, v->instance) == 0 && strcmp(f->memory, v->memory) == 0;
}

static bool check_names(const version_read *v, uint64_t page) {
  for (size_t i = 0; i < said.found.count; i++)
    if (names(&said.found.at[i], v, page)) return true;
  return false;
}

static void assert_says(const char *text) {
  for (size_t i = 0; i < said.found.count; i++) {
    assert_true(said.found.at[i].next && said.found.at[i].next[0]);
    if (strstr(said.found.at[i].text, text)) return;
  }
  fail_msg("no finding says '%s'; the first of %zu: %s", text, said.found.count, said.found.count ? said.found.at[0].text : "");
}

/* ---- bytes --------------------------------------------------------------------------------------------------------------------- */

static reading before;
static uint64_t flips, damaged, noted, unreadable;

static void judge(uint64_t at) {
  static reading now;
  read_store(&now, PAGESTORE_READ);
  if (now.status) {
    if (!said.found.damages) fail_msg("byte %llu: the store cannot be read, check says nothing", (unsigned long long)at);
    return;
  }
  assert_int_equal(now.count, before.count);
  for (unsigned i = 0; i < now.count; i++)
    for (uint64_t page = 0; page < PAGES; page++) {
      const version_read *is = &now.version[i], *was = &before.version[i];
      bool named = !is->snapshot[0] && check_names(is, page);
      if (is->status[page] == 0 && is->hash[page] != was->hash[page]) fail_msg("byte %llu: page %llu of '%s' reads as something else", (unsigned long long)at, (unsigned long long)page, is->instance);
      if ((is->status[page] != 0) != named) fail_msg("byte %llu: page %llu of '%s' '%s': read: %d %s; named by check: %d", (unsigned long long)at, (unsigned long long)page, is->instance, is->snapshot, is->status[page], is->text[page], named);
      if (is->status[page] == 0) continue;
      unreadable++;
      char text[40];
      snprintf(text, sizeof text, "page %llu", (unsigned long long)page);
      assert_int_equal(is->status[page], PAGESTORE_ECORRUPT);
      assert_true(strstr(is->text[page], text) && strstr(is->text[page], is->instance));
    }
}

/* Changes a byte, asks both, and takes the change back. true: check says damage. */
static bool flip(uint64_t at, bool deep, bool read) {
  uint8_t byte, other;
  assert_int_equal(pread(data_fd, &byte, 1, (off_t)at), 1);
  other = byte ^ (uint8_t)(1u << at % 8);
  assert_int_equal(pwrite(data_fd, &other, 1, (off_t)at), 1);
  check(deep);
  flips++;
  damaged += said.found.damages != 0;
  noted += said.found.damages == 0 && said.found.notes != 0;
  bool is = said.found.damages != 0;
  if (read || (!is && !said.found.notes)) judge(at);
  assert_int_equal(pwrite(data_fd, &byte, 1, (off_t)at), 1);
  return is;
}

static kept_log rows[PLACES_MAX];
static uint16_t counts[PLACES_MAX];
static size_t row_count;

static void find_rows(void) {
  check(true);
  if (said.found.count) fail_msg("a whole store: %s", said.found.at[0].text);
  row_count = said.kept.log_rows.count;
  assert_true(row_count > 5 && row_count < PLACES_MAX);
  for (size_t i = 0; i < row_count; i++) {
    rows[i] = said.kept.log_rows.at[i];
    counts[i] = kept_log_of(&said.kept, rows[i].sequence)->counts;
  }
}

/* Each byte of a record's header: damage where a reader takes a block from it, else a note. */
static void each_byte_of_headers(void **state) {
  (void)state;
  for (size_t i = 0; i < row_count; i++) {
    unsigned step = i < 6 ? 1 : 37;
    for (uint64_t at = i % step; at < PAGE_HEADER_BYTES; at += step)
      assert_int_equal(flip(rows[i].at + at, false, at % 61 == 0), counts[i] != 0);
  }
  assert_true(damaged > 5000 && noted > 2000 && unreadable > 100);
}

/* Bytes of blocks: as far as they count. Behind the last block nobody looks. */
static void bytes_of_blocks(void **state) {
  (void)state;
  for (size_t i = 0; i < row_count; i++)
    for (uint64_t at = 3 * i; at < PAGE_BYTES; at += 577) {
      unsigned slot = (unsigned)(at / BLOCK_BYTES);
      bool is = flip(rows[i].at + PAGE_HEADER_BYTES + at, true, true);
      assert_int_equal(is, counts[i] >> slot & 1);
      if (!is) assert_int_equal(said.found.notes, 1);
    }
}

typedef struct { uint64_t at[PLACES_MAX], size[PLACES_MAX], sequence[PLACES_MAX]; unsigned count; } places;

static int take_place(void *env, const char *table, bytes key, walker_place place) {
  places *p = env;
  catalog_kind kind;
  uint64_t id;
  char name[256];
  if (strcmp(table, "catalog") != 0 || catalog_key_decode(key, &kind, &id, name) != 0 || kind != CATALOG_LOG) return 0;
  assert_true(p->count < PLACES_MAX);
  p->at[p->count] = place.at;
  p->size[p->count] = place.size;
  p->sequence[p->count++] = id;
  return 0;
}

static int no_finding(void *env, uint64_t page, const char *text) {
  (void)env, (void)page;
  fail_msg("%s", text);
  return 0;
}

static void find_places(places *p) {
  walker_metas metas;
  walker_summary summary;
  *p = (places){0};
  assert_int_equal(walker_check_meta(data_fd, "store", &metas), 0);
  assert_int_equal(walker_walk(data_fd, &metas, metas.newest, &(walker_callbacks){.env = p, .finding = no_finding, .row = take_place}, &summary), 0);
}

/* Each byte of what the catalog says: always damage; the pages are read by the headers. */
static void each_byte_of_the_catalog(void **state) {
  (void)state;
  places p;
  find_places(&p);
  assert_int_equal(p.count, row_count + 1);
  for (unsigned i = 0; i < p.count; i++)
    for (uint64_t at = 0; at < p.size[i]; at++) assert_true(flip(p.at[i] + at, false, at % 5 == 0));
}

/* Where both are damaged nobody knows what was there: the store is not opened. */
static void both_are_damaged(void **state) {
  (void)state;
  places p;
  uint8_t byte;
  find_places(&p);
  for (unsigned i = 0; i < p.count; i++) {
    if (p.sequence[i] == LOG_BEGINNING) continue;
    uint64_t at = p.at[i] + 20;
    assert_int_equal(pread(data_fd, &byte, 1, (off_t)at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(data_fd, &byte, 1, (off_t)at), 1);
    assert_true(flip(rows[p.sequence[i] - rows[0].sequence].at + 70, false, true));
    assert_says("the store cannot be opened");
    byte ^= 4;
    assert_int_equal(pwrite(data_fd, &byte, 1, (off_t)at), 1);
  }
}

/* ---- records ---------------------------------------------------------------------------------------------------------------------- */

static uint8_t record[PAGE_RECORD_BYTES];
static log_addresses addresses;

/* A record of which something counts. */
static uint64_t living(void) {
  size_t i = 0;
  while (!counts[i]) i++;
  return rows[i].sequence;
}

static void put_back(void) {
  change_begin();
  put_row(record, &addresses);
  put_addresses(&addresses);
  store.incompatible |= FEATURE_INCOMPATIBLE_LOG;
  change_end();
  check(true);
  if (said.found.count) fail_msg("not as it was: %s", said.found.at[0].text);
}

static void take_out(uint64_t sequence) {
  change_begin();
  get_row(sequence, record, &addresses);
}

static void a_row_or_a_record_is_missing(void **state) {
  (void)state;
  take_out(living());
  delete_row(addresses.sequence);
  change_end();
  check(false);
  assert_says("of the log, which is gone");
  judge(0);
  put_back();
  take_out(living());
  delete_addresses(addresses.sequence);
  change_end();
  check(false);
  assert_says("is not in the catalog: its blocks are not read");
  assert_true(said.found.damages > 0);
  put_back();
  take_out(1);
  delete_addresses(1);
  change_end();
  check(false);
  assert_says("is not in the catalog");
  assert_int_equal(said.found.damages, 0);
  judge(0);
  put_back();
}

static void change_both(void (*change)(log_addresses *), const char *text) {
  take_out(living());
  log_addresses changed = addresses;
  change(&changed);
  put_row(record, &changed);
  put_addresses(&changed);
  change_end();
  check(true);
  assert_says(text);
  assert_true(said.found.damages > 0);
  put_back();
}

static void newer(log_addresses *a) { a->at[0].version += 100; }
static void of_no_version(log_addresses *a) { a->at[a->count - 1].version = 0; }
static void of_no_layer(log_addresses *a) { a->at[0].layer = 1000; }
static void elsewhere(log_addresses *a) { a->at[0].page = 4; }

static void records_that_cannot_be(void **state) {
  (void)state;
  change_both(newer, "has a block of that version, the present is");
  change_both(of_no_version, "has a block of that version, the present is");
  change_both(of_no_layer, "of layer 1000, which was never given");
  change_both(elsewhere, "pages are stored, its record says");
  take_out(living());
  log_addresses changed = addresses;
  elsewhere(&changed);
  put_addresses(&changed);
  change_end();
  check(true);
  assert_says("name different pages");
  put_back();
  take_out(living());
  changed = addresses;
  changed.count--;
  put_addresses(&changed);
  change_end();
  check(true);
  assert_says("name different pages");
  put_back();
}

static void the_store_record_and_the_beginning(void **state) {
  (void)state;
  take_out(living());
  store.incompatible = 0;
  change_end();
  check(false);
  assert_says("does not say that the store has a log");
  put_back();
  take_out(living());
  put_beginning(500);
  change_end();
  check(false);
  assert_says("the log begins with record 500, but its last one is");
  change_begin();
  put_beginning(2);
  change_end();
  put_back();
}

/* A snapshot relies on rows. */
static void a_snapshot_with_logged_blocks(void **state) {
  (void)state;
  uint64_t sequence = 0;
  take_out(living());
  for (size_t i = 0; i < said.kept.states.count; i++) {
    const kept_state *s = &said.kept.states.at[i], *present = kept_state_of(&said.kept, s->instance, "");
    const kept_name *name = kept_name_of(&said.kept, s->instance);
    if (!s->snapshot[0] || strcmp(name->name, "merged") != 0) continue;
    log_addresses added = {.sequence = said.kept.log_rows.at[row_count - 1].sequence + 1, .count = 1};
    added.at[0] = (log_address){.layer = s->record.layer, .page = 5, .version = s->record.version, .memory = present->record.state->memories[0].id, .number = 1};
    put_row(record, &added);
    put_addresses(&added);
    sequence = added.sequence;
  }
  assert_true(sequence != 0);
  change_end();
  check(true);
  assert_says("that are in the log alone");
  take_out(living());
  delete_row(sequence);
  delete_addresses(sequence);
  change_end();
  put_back();
}

/* ---- going on ------------------------------------------------------------------------------------------------------------------- */

/* The last test: merging carries damage along as damage. */
static void merging_launders_nothing(void **state) {
  (void)state;
  static reading now;
  uint8_t byte;
  size_t i = 0;
  while (!counts[i]) i++;
  unsigned slot = (unsigned)__builtin_ctz(counts[i]);
  uint64_t at = rows[i].at + PAGE_HEADER_BYTES + (uint64_t)slot * BLOCK_BYTES + 200;
  check(true);
  assert_int_equal(said.found.count, 0);
  uint64_t page = kept_log_of(&said.kept, rows[i].sequence)->addresses.at[slot].page;
  at = kept_log_row_of(&said.kept, rows[i].sequence)->at + PAGE_HEADER_BYTES + (uint64_t)slot * BLOCK_BYTES + 200;
  assert_int_equal(pread(data_fd, &byte, 1, (off_t)at), 1);
  byte ^= 1;
  assert_int_equal(pwrite(data_fd, &byte, 1, (off_t)at), 1);
  assert_ok(host_open_store(&h));
  assert_ok(pagestore_drain(h.store, 60000));
  assert_ok(pagestore_close(h.store));
  check(true);
  assert_int_equal(said.kept.log_rows.count, 0);
  assert_int_equal(said.found.damages, 1);
  assert_true(said.found.at[0].has_page && said.found.at[0].page == page);
  read_store(&now, PAGESTORE_READ);
  unsigned lost = 0;
  for (unsigned v = 0; v < now.count; v++)
    for (uint64_t p = 0; p < PAGES; p++) {
      lost += now.version[v].status[p] != 0;
      assert_true(now.version[v].status[p] != 0 ? p == page : now.version[v].hash[p] == before.version[v].hash[p]);
    }
  assert_int_equal(lost, 1);
}

static int setup(void **state) {
  (void)state;
  make_store();
  find_rows();
  read_store(&before, PAGESTORE_READ);
  assert_int_equal(before.status, 0);
  assert_true(before.count >= 6);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  print_message("%llu bytes changed: %llu damage, %llu notes; %llu pages could not be read\n", (unsigned long long)flips, (unsigned long long)damaged, (unsigned long long)noted, (unsigned long long)unreadable);
  audit_free(&said);
  close(data_fd);
  folder_remove(&h);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_byte_of_headers),
      cmocka_unit_test(bytes_of_blocks),
      cmocka_unit_test(each_byte_of_the_catalog),
      cmocka_unit_test(both_are_damaged),
      cmocka_unit_test(a_row_or_a_record_is_missing),
      cmocka_unit_test(records_that_cannot_be),
      cmocka_unit_test(the_store_record_and_the_beginning),
      cmocka_unit_test(a_snapshot_with_logged_blocks),
      cmocka_unit_test(merging_launders_nothing),
  };
  return cmocka_run_group_tests_name("log_damage", tests, setup, teardown);
}
