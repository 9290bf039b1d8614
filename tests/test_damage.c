/* test_damage.c - damage is noticed, named, kept to its page, never laundered; foreign files are refused, each with its own text.
 *
 * Proven, on files changed behind the library's back:
 * - a flipped bit in a page's bytes or in its record's header: the engine's access is a plain SIGSEGV, or the trap hook's call with
 *   ECORRUPT; memory_read says ECORRUPT and names instance, memory, page and version; other pages are readable; commit says the
 *   cause, rollback clears it;
 * - a commit over another block of a page that was damaged after it was loaded keeps the damage noticed; one over the damaged
 *   block mends it;
 * - a flipped bit in a catalog record is ECORRUPT, and other instances can be opened;
 * - an instance, or a snapshot, whose layer is not there is ECORRUPT, for writers and for readers;
 * - a stale meta page whose transaction id was raised is refused at open;
 * - truncated, empty, foreign, newer and differently paged files each have their own status and text, and are left as they are;
 * - a file that is cut under an open store gives errors and traps, and no crash.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <fcntl.h>

#include "storage/catalog.h"
#include "storage/record.h"

enum { PAGES = 8, RECORD_HEADER = 4080, BAD = 3, META_TXN_ID = 144, META_VERSION = 20, META_PAGE_SIZE = 40 };

/* ---- the file ---------------------------------------------------------------------------------------------------------------- */

static uint64_t word_at(int fd, off_t at) {
  uint64_t word;
  assert_int_equal(pread(fd, &word, sizeof word, at), sizeof word);
  return word;
}

/* The newest record of a page, by its magic: LMDB puts 16 bytes before it. */
static off_t find_record(const host *h, uint64_t page) {
  int fd = open(h->file, O_RDONLY);
  off_t size = lseek(fd, 0, SEEK_END), found = 0;
  uint64_t magic, newest = 0;
  memcpy(&magic, "PGSTPAGE", 8);
  for (off_t at = 16; at + 69616 <= size; at += 4096) {
    if (word_at(fd, at) != magic || word_at(fd, at + 8) >> 32 != 1 || (uint32_t)word_at(fd, at + 8) == 0) continue;
    if (word_at(fd, at + 24) != page || word_at(fd, at + 32) < newest) continue;
    newest = word_at(fd, at + 32);
    found = at;
  }
  close(fd);
  assert_true(found > 0);
  return found;
}

static void flip(const host *h, off_t at) {
  uint8_t byte;
  int fd = open(h->file, O_RDWR);
  assert_int_equal(pread(fd, &byte, 1, at), 1);
  byte ^= 4;
  assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  close(fd);
}

static void overwrite(const host *h, off_t at, uint64_t value, size_t bytes) {
  int fd = open(h->file, O_RDWR);
  assert_int_equal(pwrite(fd, &value, bytes, at), bytes);
  close(fd);
}

/* Version 1: tag 1 in all pages; version 2: tag 2 in page BAD. */
static void stored(host *h) {
  folder_make(h);
  host_open(h, PAGES);
  for (uint64_t p = 0; p < PAGES; p++) put(h, p, 1);
  host_commit(h);
  put(h, BAD, 2);
  host_commit(h);
  assert_ok(host_close(h));
}

static void finished(host *h) {
  assert_ok(host_close(h));
  folder_remove(h);
}

/* ---- a damaged page ------------------------------------------------------------------------------------------------------------ */

static void assert_named(const char *text) {
  assert_non_null(strstr(text, "'i'"));
  assert_non_null(strstr(text, "'m'"));
  assert_non_null(strstr(text, "page 3"));
  assert_non_null(strstr(text, "version 2"));
}

static void others_are_fine(host *h) {
  for (uint64_t p = 0; p < PAGES; p++)
    if (p != BAD) assert_page(h, p, 1);
}

static void damaged_page(pagestore_tracker tracker, off_t in_record) {
  host h = { .options.tracker = tracker };
  uint8_t byte, bytes[64];
  stored(&h);
  flip(&h, find_record(&h, BAD) + in_record);
  assert_ok(host_open_store(&h));
  engine_install();
  host_open_instance(&h, 0);
  uint8_t *bad = h.base + BAD * PAGESTORE_PAGE;

  assert_status(pagestore_memory_read(h.memory, BAD * PAGESTORE_PAGE + 5, bytes, sizeof bytes), PAGESTORE_ECORRUPT);
  assert_named(pagestore_detail());
  assert_status(pagestore_memory_write(h.memory, BAD * PAGESTORE_PAGE + 5, bytes, sizeof bytes), PAGESTORE_ECORRUPT);
  assert_status(pagestore_memory_prepare(h.memory, 0, PAGES * PAGESTORE_PAGE, true), PAGESTORE_ECORRUPT);
  others_are_fine(&h);
  assert_ok(pagestore_rollback(h.instance));

  guest_signal = 0;
  assert_false(guest_load(bad + 100, &byte));
  assert_int_equal(guest_signal, SIGSEGV);
  assert_false(guest_store(bad + 40000, 1));
  others_are_fine(&h);
  put(&h, 0, 9);
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_ECORRUPT);
  assert_named(pagestore_detail());
  assert_int_equal(pagestore_committed_version(h.instance), 2);
  assert_ok(pagestore_rollback(h.instance));
  assert_page(&h, 0, 1);
  h.base[0] ^= 1;
  host_commit(&h);
  h.base[0] ^= 1;
  host_commit(&h);
  others_are_fine(&h);
  finished(&h);
}

static void damaged_pages(void **state) {
  (void)state;
  unsigned runs = 0;
  for (pagestore_tracker t = PAGESTORE_TRACK_AUTO; t <= PAGESTORE_TRACK_MPROTECT; t++) {
    host h = { .options.tracker = t };
    folder_make(&h);
    int status = host_open_store(&h);
    if (status == 0) assert_ok(pagestore_close(h.store));
    folder_remove(&h);
    if (status == PAGESTORE_EUNSUPPORTED) continue;
    /* bytes: first, middle, last; header: magic, page, version, own checksum, a block's, reserved */
    off_t places[] = { RECORD_HEADER, RECORD_HEADER + 40001, RECORD_HEADER + 65535, 1, 24, 57, 70, 300, 2000 };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++, runs++) damaged_page(t, places[i]);
  }
  print_message("damaged pages: %u runs\n", runs);
  fault_row_count(ROW_PAGE_BITS, runs);
}

static int hook_status;
static uint8_t *hook_address;
static sigjmp_buf hook_back;

static bool hook(void *env, int status, void *address, void *ucontext) {
  (void)ucontext;
  hook_status = status;
  hook_address = address;
  if (*(bool *)env) siglongjmp(hook_back, 1);
  return false;
}

static void trap_hook(void **state) {
  (void)state;
  host h = {0};
  bool jumps = true;
  stored(&h);
  flip(&h, find_record(&h, BAD) + RECORD_HEADER + 9);
  assert_ok(host_open_store(&h));
  assert_ok(pagestore_instance_open(h.store, "i", NULL, &h.instance));
  assert_ok(pagestore_memory_open(h.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .trap = hook, .env = &jumps), &h.memory));
  h.base = pagestore_memory_base(h.memory);
  volatile uint8_t *bad = h.base + BAD * PAGESTORE_PAGE + 77;
  if (sigsetjmp(hook_back, 1) == 0) {
    assert_int_equal(*bad, 0);
    fail_msg("the hook was not called");
  }
  assert_int_equal(hook_status, PAGESTORE_ECORRUPT);
  assert_ptr_equal(hook_address, (uint8_t *)bad);
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_ECORRUPT);
  assert_ok(pagestore_rollback(h.instance));
  jumps = false; /* host code without a trap: zeros, and the message cannot commit */
  hook_status = 0;
  assert_int_equal(*bad, 0);
  assert_int_equal(hook_status, PAGESTORE_ECORRUPT);
  *bad = 1;
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_ECORRUPT);
  assert_ok(pagestore_rollback(h.instance));
  others_are_fine(&h);
  finished(&h);
}

/* Damage after the page was loaded: the commit builds its record from the damaged one. */
static void no_laundering(void **state) {
  (void)state;
  off_t places[] = { RECORD_HEADER + 7 * PAGESTORE_BLOCK + 5, 64 + 7 * 8, 200 };
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    host h = {0};
    uint8_t bytes[8];
    stored(&h);
    host_open(&h, 0);
    assert_page(&h, BAD, 2);
    flip(&h, find_record(&h, BAD) + places[i]);
    memset(h.base + BAD * PAGESTORE_PAGE, 0x55, PAGESTORE_BLOCK);
    host_commit(&h);
    memset(h.base + BAD * PAGESTORE_PAGE + 2 * PAGESTORE_BLOCK, 0x66, PAGESTORE_BLOCK);
    host_commit(&h);
    assert_ok(host_close(&h));
    host_open(&h, 0);
    assert_int_equal(pagestore_committed_version(h.instance), 4);
    assert_status(pagestore_memory_read(h.memory, BAD * PAGESTORE_PAGE, bytes, sizeof bytes), PAGESTORE_ECORRUPT);
    assert_ok(pagestore_rollback(h.instance));
    others_are_fine(&h);
    finished(&h);
  }
}

static void writing_mends(void **state) {
  (void)state;
  host h = {0};
  stored(&h);
  host_open(&h, 0);
  assert_page(&h, BAD, 2);
  flip(&h, find_record(&h, BAD) + RECORD_HEADER + 7 * PAGESTORE_BLOCK + 5);
  put(&h, BAD, 5);
  host_commit(&h);
  assert_ok(host_close(&h));
  host_open(&h, 0);
  assert_page(&h, BAD, 5);
  finished(&h);
}

/* ---- the catalog ------------------------------------------------------------------------------------------------------------------ */

/* Every copy of a text in the file: the live one is among them. */
static unsigned flip_text(const host *h, const char *text) {
  FILE *f = fopen(h->file, "rb");
  assert_non_null(f);
  fseek(f, 0, SEEK_END);
  size_t size = (size_t)ftell(f);
  uint8_t *all = malloc(size);
  rewind(f);
  assert_int_equal(fread(all, 1, size, f), size);
  fclose(f);
  unsigned found = 0;
  for (uint8_t *at = all; (at = memmem(at, size - (size_t)(at - all), text, strlen(text))) != NULL; at++, found++) flip(h, at - all);
  free(all);
  return found;
}

static void damaged_catalog(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  assert_ok(host_open_store(&h));
  pagestore_instance_options create = { .size = sizeof create, .flags = PAGESTORE_CREATE };
  pagestore_instance *other;
  assert_ok(pagestore_instance_open(h.store, "other", &create, &other));
  assert_ok(pagestore_metadata_set(other, "key", "right", 5));
  assert_ok(pagestore_commit(other, 0, NULL));
  pagestore_instance_close(other);
  host_open_instance(&h, 1);
  assert_ok(pagestore_metadata_set(h.instance, "key", "recognisable", 12));
  host_commit(&h);
  assert_ok(host_close(&h));
  assert_true(flip_text(&h, "recognisable") > 0);
  assert_ok(host_open_store(&h));
  assert_status(pagestore_instance_open(h.store, "i", NULL, &h.instance), PAGESTORE_ECORRUPT);
  assert_status(pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &h.instance), PAGESTORE_ECORRUPT);
  assert_status(pagestore_instance_open(h.store, "i", &create, &h.instance), PAGESTORE_ECORRUPT);
  char have[5];
  assert_ok(pagestore_instance_open(h.store, "other", NULL, &other));
  assert_ok(pagestore_metadata_get(other, "key", have, sizeof have, NULL));
  assert_memory_equal(have, "right", 5);
  pagestore_instance_close(other);
  assert_ok(pagestore_close(h.store));
  folder_remove(&h);
}

/* ---- whole files -------------------------------------------------------------------------------------------------------------------- */

static char seen_texts[16][500];
static unsigned seen_count;

/* Refused with one of two statuses, with a text of its own, and the file is as it was. */
static void assert_refused(host *h, int status, int or_status) {
  struct stat before, after;
  bool there = stat(h->file, &before) == 0;
  int got = host_open_store(h);
  if (got != status && got != or_status) fail_msg("%d (%s), expected %d or %d", got, pagestore_detail(), status, or_status);
  const char *text = strstr(pagestore_detail(), h->path) ? strstr(pagestore_detail(), h->path) + strlen(h->path) : pagestore_detail();
  assert_true(strlen(text) > 10);
  for (unsigned i = 0; i < seen_count; i++) assert_string_not_equal(seen_texts[i], text);
  snprintf(seen_texts[seen_count++], sizeof seen_texts[0], "%s", text);
  assert_int_equal(stat(h->file, &after) == 0, there);
  if (there) assert_int_equal(before.st_size, after.st_size);
}

static off_t newer_meta(const host *h) {
  int fd = open(h->file, O_RDONLY);
  uint64_t first = word_at(fd, META_TXN_ID), second = word_at(fd, 4096 + META_TXN_ID);
  close(fd);
  return first > second ? 0 : 4096;
}

static void stale_meta_raised(void **state) {
  (void)state;
  host h = {0};
  stored(&h);
  off_t newer = newer_meta(&h), stale = 4096 - newer;
  int fd = open(h.file, O_RDONLY);
  uint64_t id = word_at(fd, newer + META_TXN_ID), old = word_at(fd, stale + META_TXN_ID);
  close(fd);
  unsigned tried = 0;
  for (unsigned bit = 0; bit < 64; bit++) {
    uint64_t raised = old ^ 1ull << bit;
    if (raised <= id) continue;
    tried++;
    overwrite(&h, stale + META_TXN_ID, raised, 8);
    int status = host_open_store(&h);
    if (status == 0) fail_msg("bit %u of the stale meta page's id: opened", bit);
    assert_int_equal(status, PAGESTORE_ECORRUPT);
    assert_non_null(strstr(pagestore_detail(), "meta"));
  }
  fault_row_count(ROW_TREE_BITS, tried);
  overwrite(&h, stale + META_TXN_ID, old, 8);
  host_open(&h, 0);
  assert_page(&h, BAD, 2);
  finished(&h);
}

/* A store record of a newer format, or with an unknown feature, written with LMDB itself. */
static void change_record(host *h, uint32_t format, uint64_t incompatible) {
  db *d;
  db_txn *txn;
  store_record record;
  assert_ok(db_open(h->path, &(db_options){ .map_bytes = 1ull << 32 }, &d));
  assert_ok(db_begin(d, &txn));
  assert_ok(catalog_store((db_reader){ .txn = txn }, &record));
  record.flush_txn_id = db_txn_id(txn);
  record.format_version = format;
  record.incompatible = incompatible;
  assert_ok(catalog_put_store(txn, &record));
  assert_ok(db_commit(txn));
  db_close(d);
}

/* Ids that the store record would give away again: nothing is written over. Readers look at what there is. */
static void ids_given_again(void **state) {
  (void)state;
  for (int which = 0; which < 4; which++) {
    host h = {0};
    db *d;
    db_txn *txn;
    store_record record;
    stored(&h);
    assert_ok(db_open(h.path, &(db_options){ .map_bytes = 1ull << 32 }, &d));
    assert_ok(db_begin(d, &txn));
    assert_ok(catalog_store((db_reader){ .txn = txn }, &record));
    record.flush_txn_id = db_txn_id(txn);
    if (which == 0) record.next_layer = 0;
    else if (which == 1) record.next_layer = 1;
    else if (which == 2) record.next_instance = 1;
    else record.next_trash = 0;
    assert_ok(catalog_put_store(txn, &record));
    assert_ok(db_commit(txn));
    db_close(d);
    pagestore_store *store;
    assert_status(pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .map_bytes = 1ull << 32), &store), PAGESTORE_ECORRUPT);
    assert_non_null(strstr(pagestore_detail(), "give id"));
    assert_ok(pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ, .map_bytes = 1ull << 32), &store));
    assert_ok(pagestore_close(store));
    folder_remove(&h);
  }
}

static int ignore_snapshot(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  (void)env, (void)name, (void)version, (void)retained_bytes;
  return 0;
}

/* What the library would have done at its commit. */
static void end_edit(db *d, db_txn *txn) {
  store_record store_is;
  assert_ok(catalog_store((db_reader){ .txn = txn }, &store_is));
  store_is.flush_txn_id = db_txn_id(txn);
  assert_ok(catalog_put_store(txn, &store_is));
  assert_ok(db_commit(txn));
  db_close(d);
}

/* A record of a state, right by itself, from now on names a layer that is not there. */
static void name_layer_77(const host *h, catalog_key key) {
  db *d;
  db_txn *txn;
  state_record record;
  catalog_record bytes_of;
  assert_ok(db_open(h->path, &(db_options){ .map_bytes = 1ull << 32 }, &d));
  assert_ok(db_begin(d, &txn));
  assert_ok(record_get((db_reader){ .txn = txn }, &key, &bytes_of));
  assert_ok(state_record_decode(record_bytes(&bytes_of), &record));
  record.layer = 77;
  state_record_encode(&record, &bytes_of);
  assert_ok(record_put(txn, &key, &bytes_of));
  end_edit(d, txn);
  state_release(record.state);
}

static int open_to(const host *h, uint32_t flags, pagestore_store **out) {
  return pagestore_open(h->path, PAGESTORE_WITH(pagestore_options, .flags = flags, .map_bytes = 1ull << 32), out);
}

static void a_snapshot_without_its_layer(void **state) {
  (void)state;
  host h = {0};
  pagestore_store *store;
  pagestore_instance *i;
  stored(&h);
  host_open(&h, 0);
  assert_ok(pagestore_snapshot_create(h.instance, "kept", 0));
  assert_ok(host_close(&h));
  name_layer_77(&h, catalog_key_snapshot(1, "kept"));
  assert_status(open_to(&h, 0, &store), PAGESTORE_ECORRUPT);
  assert_non_null(strstr(pagestore_detail(), "'kept' lies in layer 77"));
  assert_ok(open_to(&h, PAGESTORE_READ, &store));
  assert_status(pagestore_snapshot_each(store, "i", ignore_snapshot, NULL), PAGESTORE_ECORRUPT);
  assert_non_null(strstr(pagestore_detail(), "'kept' lies in layer 77"));
  assert_status(pagestore_instance_open(store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = "kept"), &i),
                PAGESTORE_ECORRUPT);
  assert_non_null(strstr(pagestore_detail(), "'kept' lies in layer 77"));
  assert_ok(pagestore_close(store));
  folder_remove(&h);
}

/* The store can be opened, for others' sake. */
static void an_instance_without_its_layer(void **state) {
  (void)state;
  host h = {0};
  pagestore_store *store;
  pagestore_instance *i;
  stored(&h);
  name_layer_77(&h, catalog_key_id(CATALOG_INSTANCE, 1));
  for (int reads = 0; reads < 2; reads++) {
    assert_ok(open_to(&h, reads ? PAGESTORE_READ : 0, &store));
    assert_status(pagestore_instance_open(store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = reads ? PAGESTORE_READ : 0), &i),
                  PAGESTORE_ECORRUPT);
    assert_non_null(strstr(pagestore_detail(), "'i' names layer 77, which is not there: run recover"));
    assert_ok(pagestore_close(store));
  }
  folder_remove(&h);
}

static void foreign_environment(host *h) {
  db *d;
  assert_int_equal(mkdir(h->path, 0700), 0);
  assert_ok(db_open(h->path, &(db_options){ .create_tables = true, .map_bytes = 1ull << 32 }, &d));
  db_close(d);
}

static void overwrite_metas(const host *h, off_t at, uint32_t value) {
  overwrite(h, at, value, sizeof value);
  overwrite(h, 4096 + at, value, sizeof value);
}

static void other_files(void **state) {
  (void)state;
  host h = {0};
  stored(&h);
  int fd = open(h.file, O_RDONLY);
  uint64_t version = word_at(fd, META_VERSION), psize = word_at(fd, META_PAGE_SIZE);
  close(fd);
  overwrite_metas(&h, META_VERSION, 999);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  overwrite_metas(&h, META_VERSION, version);
  overwrite_metas(&h, META_PAGE_SIZE, 16384);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EUNSUPPORTED);
  overwrite_metas(&h, META_PAGE_SIZE, 0);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_ECORRUPT);
  overwrite_metas(&h, META_PAGE_SIZE, psize);
  change_record(&h, 2, 0);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  folder_remove(&h);

  stored(&h);
  change_record(&h, 1, 1ull << 40);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  assert_int_equal(truncate(h.file, 5 * 4096), 0);
  assert_refused(&h, PAGESTORE_ECORRUPT, PAGESTORE_EFORMAT);
  assert_int_equal(truncate(h.file, 4096 + 10), 0);
  assert_refused(&h, PAGESTORE_ECORRUPT, PAGESTORE_EFORMAT);
  assert_int_equal(truncate(h.file, 0), 0);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_ECORRUPT);
  FILE *f = fopen(h.file, "w");
  for (int i = 0; i < 3000; i++) fprintf(f, "this is a text and not a store\n");
  fclose(f);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  unlink(h.file);
  assert_int_equal(mkdir(h.file, 0700), 0);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EIO);
  folder_remove(&h);

  folder_make(&h);
  foreign_environment(&h);
  assert_refused(&h, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  folder_remove(&h);
  print_message("%u files were refused, each with its own text\n", seen_count);
  fault_row_count(ROW_OTHER_FILE, seen_count);
}

/* ---- a file that is cut while it is open ----------------------------------------------------------------------------------------------- */

/* An environment that was cut in mid-change is abandoned, with what LMDB had allocated for the change. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:mdb_cursor_open\nleak:mdb_txn_begin\nleak:mdb_page_malloc\n"; }

static void cut_under_a_live_store(void **state) {
  (void)state;
  host h = {0};
  uint8_t byte, bytes[64];
  stored(&h);
  assert_ok(host_open_store(&h));
  engine_install();
  host_open_instance(&h, 0);
  assert_page(&h, 0, 1); /* loaded, with some behind it */
  assert_ok(pagestore_instance_trim(h.instance, 0));
  assert_int_equal(truncate(h.file, 8192), 0);
  assert_status(pagestore_memory_read(h.memory, BAD * PAGESTORE_PAGE, bytes, sizeof bytes), PAGESTORE_EIO);
  assert_false(guest_load(h.base + BAD * PAGESTORE_PAGE, &byte));
  assert_int_equal(guest_signal, SIGSEGV);
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_EIO);
  assert_ok(pagestore_rollback(h.instance));
  pagestore_instance *view;
  assert_true(pagestore_instance_open(h.store, "other", NULL, &view) < 0);
  assert_true(strlen(pagestore_detail()) > 10);
  assert_true(pagestore_instance_each(h.store, NULL, (pagestore_instance_fn)abort, NULL) < 0);
  assert_ok(pagestore_metadata_set(h.instance, "key", "value", 5));
  assert_true(pagestore_commit(h.instance, 0, NULL) < 0);
  assert_true(strlen(pagestore_detail()) > 10);
  assert_int_equal(pagestore_durable_version(h.instance), 2);
  (void)pagestore_rollback(h.instance);
  pagestore_instance_close(h.instance);
  pagestore_close(h.store);
  folder_remove(&h);
}

/* A table of memories, right by itself, with limits that the library never writes: no maximum for a size, or one that a
 * 32-bit memory cannot have. Opened, or refused with a text. */
static void limits_that_cannot_be(void **state) {
  (void)state;
  static const struct { uint64_t pages, max_pages; } limits[] = {
    { PAGES, 0 }, { 8826115, 0 }, { 1ull << 48, 0 }, { PAGES, 8826115 }, { 8826115, 8826115 }, { 0, 1ull << 48 },
  };
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    host h = {0};
    db *d;
    db_txn *txn;
    state_record record;
    catalog_record bytes_of;
    catalog_key key = catalog_key_id(CATALOG_INSTANCE, 1);
    pagestore_instance *instance;
    pagestore_memory *m;
    stored(&h);
    assert_ok(db_open(h.path, &(db_options){ .map_bytes = 1ull << 32 }, &d));
    assert_ok(db_begin(d, &txn));
    assert_ok(record_get((db_reader){ .txn = txn }, &key, &bytes_of));
    assert_ok(state_record_decode(record_bytes(&bytes_of), &record));
    record.state->memories[0].pages = limits[i].pages;
    record.state->memories[0].max_pages = limits[i].max_pages;
    state_record_encode(&record, &bytes_of);
    assert_ok(record_put(txn, &key, &bytes_of));
    end_edit(d, txn);
    state_release(record.state);
    assert_ok(pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .map_bytes = 1ull << 32), &h.store));
    int status = pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &instance);
    if (status == 0) {
      status = pagestore_memory_open(instance, "m", NULL, &m);
      pagestore_instance_close(instance);
    }
    if (i == 0) assert_ok(status);
    else if (status) assert_true(strlen(pagestore_detail()) > 20);
    assert_ok(pagestore_close(h.store));
    folder_remove(&h);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(damaged_pages),     cmocka_unit_test(trap_hook),       cmocka_unit_test(no_laundering),
    cmocka_unit_test(writing_mends),     cmocka_unit_test(damaged_catalog), cmocka_unit_test(stale_meta_raised),
    cmocka_unit_test(ids_given_again),  cmocka_unit_test(a_snapshot_without_its_layer), cmocka_unit_test(an_instance_without_its_layer),
    cmocka_unit_test(limits_that_cannot_be),
    cmocka_unit_test(other_files),       cmocka_unit_test(cut_under_a_live_store),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
