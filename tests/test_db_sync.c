/* test_db_sync.c - what a failed write, sync or meta write of a commit means: taken back, or unknown and the end.
 *
 * ctest: WRAP pwrite write writev fdatasync fsync ftruncate fstatvfs
 * ctest: LIBS -l:liblmdb.a
 *
 * Proven for each call of a commit: a full disk is taken back and tried again; a failed sync or meta write, whether or not it reached the
 * disk, makes the environment FAILED for good; opened again it holds the state before or the one after, whole; it takes commits again.
 * And the file grows ahead of commits only where that is little, never beyond its limit, and may fail to.
 */
#include "db_support.h"
#include "fault_rows.h"
#include "io_faults.h"

#include "storage/walker.h"

static int ignore(void *env, uint64_t page, const char *what) {
  (void)env;
  (void)page;
  print_message("%s\n", what);
  return 0;
}

enum {
  ROWS = 7,  /* too few to have the file grown ahead of the commit: then every failed write counts */
  ROWS_GROWING = 40,
};

/* Version 1, then deletions and version 2 over it. */
static int second_commit(db *d) {
  db_txn *txn;
  int err = db_begin(d, &txn);
  if (err) return err;
  for (uint64_t i = 0; i < ROWS && !err; i++) {
    err = put_page(txn, (page_key){1, 1, i, 2}, 2);
    if (!err) err = delete_page(txn, (page_key){1, 1, i, 1});
  }
  if (!err) return db_commit(txn);
  db_abort(txn);
  return err;
}

static uint64_t version_seen(db *d) {
  db_slot *slot = db_slot_take(d);
  bytes key, value;
  page_key first, k;
  row_kind kind;
  int rows = 0;
  assert_ok(db_slot_renew(slot));
  int err = db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value);
  for (; !err; rows++, err = db_slot_next(slot, DB_PAGES, &key, &value)) {
    assert_ok(page_key_decode(key, rows ? &k : &first));
    if (rows) assert_int_equal(k.version, first.version);
    assert_ok(row_check(value, rows ? k : first, test_store_id, &kind));
    assert_int_equal(page_damaged_blocks(value, (rows ? k : first).page, ALL_BLOCKS), 0);
  }
  assert_int_equal(rows, ROWS);
  db_slot_release(slot);
  return first.version;
}

static void check_structure(void) {
  char path[300];
  walker_metas metas;
  walker_summary summary;
  walker_callbacks callbacks = {.finding = ignore};
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  int fd = open(path, O_RDONLY);
  assert_ok(walker_check_meta(fd, path, &metas));
  assert_ok(walker_walk(fd, &metas, metas.newest, &callbacks, &summary));
  assert_int_equal(summary.findings, 0);
  close(fd);
}

static void start(db **d) {
  setup(NULL);
  *d = open_with(&(db_options){0});
  assert_ok(commit_pages(*d, 0, ROWS, 1));
}

static uint64_t calls_of(unsigned kinds) {
  db *d;
  start(&d);
  io_arm(kinds, 0, 0, false);
  assert_ok(second_commit(d));
  uint64_t calls = io_disarm();
  db_close(d);
  teardown(NULL);
  return calls;
}

static void check_retried(uint64_t at, int error, bool lasting) {
  db *d;
  start(&d);
  io_arm(IO_DATA, at, error, lasting);
  io_plan.full = true;
  assert_fails(PAGESTORE_ENOSPC, second_commit(d));
  assert_int_equal(version_seen(d), 1);
  io_disarm();
  assert_ok(second_commit(d));
  assert_int_equal(version_seen(d), 2);
  db_close(d);
  check_structure();
  teardown(NULL);
}

static void test_full_disk_at_each_write(void **state) {
  (void)state;
  uint64_t calls = calls_of(IO_DATA);
  assert_true(calls > 0);
  for (uint64_t at = 1; at <= calls; at++)
    for (int lasting = 0; lasting < 2; lasting++) {
      check_retried(at, ENOSPC, lasting);
      check_retried(at, EDQUOT, lasting);
      check_retried(at, 0, lasting);
    }
  fault_row_count(ROW_WRITE, calls * 2 * 3);
}

/* Nothing may be written afterwards, and what is there is whole: before, or after. */
static void check_failed(unsigned kinds, uint64_t at, int error, bool lasting, bool reached) {
  db *d;
  db_txn *txn;
  start(&d);
  io_arm(kinds, at, error, lasting);
  io_plan.reached = reached;
  assert_fails(PAGESTORE_EFAILED, second_commit(d));
  io_disarm();
  uint64_t written = io_count(IO_DATA | IO_META | IO_SYNC);
  assert_fails(PAGESTORE_EFAILED, db_begin(d, &txn));
  assert_int_equal(io_count(IO_DATA | IO_META | IO_SYNC), written);
  uint64_t seen = version_seen(d); /* reading goes on */
  db_close(d);
  check_structure();
  d = open_with(&(db_options){0});
  assert_int_equal(version_seen(d), seen); /* and saw what is found again */
  assert_true(seen == 1 || (seen == 2 && reached));
  assert_ok(commit_pages(d, 100, 12, 1));
  db_close(d);
  check_structure();
  teardown(NULL);
}

static void test_failed_sync(void **state) {
  (void)state;
  uint64_t calls = calls_of(IO_SYNC);
  for (uint64_t at = calls; at > 0; at--)
    for (int how = 0; how < 4; how++) check_failed(IO_SYNC, at, EIO, how & 1, how & 2);
  fault_row_count(ROW_SYNC, calls * 4);
}

static void test_failed_meta_write(void **state) {
  (void)state;
  uint64_t calls = calls_of(IO_META);
  for (uint64_t at = calls; at > 0; at--) {
    for (int how = 0; how < 4; how++) check_failed(IO_META, at, EIO, how & 1, how & 2);
    check_failed(IO_META, at, ENOSPC, false, false);
  }
  fault_row_count(ROW_META, calls * 5);
}

static void test_failed_data_write(void **state) {
  (void)state;
  uint64_t calls = calls_of(IO_DATA);
  for (uint64_t at = calls; at > 0; at--) {
    check_failed(IO_DATA, at, EIO, false, false);
    check_failed(IO_DATA, at, 0, false, false); /* short, on a disk with room */
  }
  fault_row_count(ROW_WRITE, calls * 2);
}

/* Growing the file ahead may fail, the commit then goes on; whatever else fails is a full disk. */
static void check_growing(uint64_t at, bool lasting, unsigned *passed) {
  db *d;
  start(&d);
  io_arm(IO_DATA, at, ENOSPC, lasting);
  io_plan.full = true;
  int err = commit_pages(d, 100, ROWS_GROWING, 1);
  io_disarm();
  if (err) assert_int_equal(err, PAGESTORE_ENOSPC);
  if (err) assert_int_equal(version_seen(d), 1);
  if (err) assert_ok(commit_pages(d, 100, ROWS_GROWING, 1));
  else assert_false(lasting);
  *passed += err == 0;
  db_close(d);
  check_structure();
  teardown(NULL);
}

static void test_growing_ahead_may_fail(void **state) {
  (void)state;
  db *d;
  unsigned passed = 0;
  start(&d);
  io_arm(IO_DATA, 0, 0, false);
  assert_ok(commit_pages(d, 100, ROWS_GROWING, 1));
  uint64_t calls = io_disarm();
  db_close(d);
  teardown(NULL);
  for (uint64_t at = 1; at <= calls; at++) {
    check_growing(at, false, &passed);
    check_growing(at, true, &passed);
  }
  assert_true(passed > 0 && passed < calls);
  fault_row_count(ROW_WRITE, calls * 2);
}

enum { ROWS_LARGE = 140, COMMITS = 24 }; /* more than 8 MiB of rows */

/* How often the file grows for so many commits of one new row, from page `first` on. */
static unsigned growths(db *d, uint64_t first) {
  unsigned count = 0;
  for (uint64_t i = 0; i < COMMITS; i++) {
    uint64_t bytes = db_file_bytes(d);
    assert_ok(commit_pages(d, first + i, 1, 1));
    count += db_file_bytes(d) > bytes;
  }
  return count;
}

/* A large file grows for many small commits at once, a small one for each, and none beyond its limit. */
static void test_large_files_grow_ahead(void **state) {
  (void)state;
  db *d;
  setup(NULL);
  d = open_with(&(db_options){0});
  assert_ok(commit_pages(d, 0, ROWS, 1));
  unsigned each = growths(d, 1000);
  assert_true(each > COMMITS / 2);
  assert_ok(commit_pages(d, 2000, ROWS_LARGE, 1));
  uint64_t bytes = db_file_bytes(d);
  assert_true(growths(d, 4000) < each / 4);
  uint64_t grown = db_file_bytes(d);
  assert_true(grown > bytes);
  db_close(d);
  uint64_t limit = grown + (512 << 10);
  d = open_with(&(db_options){.disk_bytes = limit});
  int err = 0;
  for (uint64_t i = 0; i < COMMITS && !err; i++) err = commit_pages(d, 3000 + i, 1, 1);
  assert_int_equal(err, PAGESTORE_ENOSPC);
  assert_true(db_file_bytes(d) > grown && db_file_bytes(d) <= limit);
  db_close(d);
  check_structure();
  teardown(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_full_disk_at_each_write),
      cmocka_unit_test(test_failed_sync),
      cmocka_unit_test(test_failed_meta_write),
      cmocka_unit_test(test_failed_data_write),
      cmocka_unit_test(test_growing_ahead_may_fail),
      cmocka_unit_test(test_large_files_grow_ahead),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
