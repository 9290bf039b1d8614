/* test_walker.c - a clean store walks clean, what LMDB wrote is counted right, and no byte of a file makes the walker crash. */
#include "fault_rows.h"
#include "storage_support.h"

#include "storage/walker.h"
#include "storage/wire.h"

enum { PAGE = LMDB_PAGE_BYTES, ROWS = 260 };

static char directory[256];
static uint8_t *image;       /* data.mdb of a store with branches, leaves, runs and a free list */
static size_t image_bytes;
static int scratch_fd;

static void make_image(void) {
  db *d;
  char path[300];
  make_environment(directory);
  assert_ok(db_open(directory, &(db_options){0}, &d));
  for (uint64_t version = 1; version <= 4; version++) {
    db_txn *txn;
    assert_ok(db_begin(d, &txn));
    for (uint64_t i = 0; i < ROWS; i++) { /* mostly small rows: many tree pages in a small file */
      page_key key = {1, 1, i, version};
      uint8_t encoded[PAGE_KEY_BYTES], marker[ZERO_MARKER_BYTES];
      page_key_encode(key, encoded);
      zero_marker_encode(key, marker);
      if (i % 64 == 0) assert_ok(put_page(txn, key, (int)version));
      else assert_ok(db_put(txn, DB_PAGES, (bytes){encoded, sizeof encoded}, (bytes){marker, sizeof marker}));
      if (version > 2) {
        key.version -= 2;
        assert_ok(delete_page(txn, key));
      }
    }
    catalog_key name = catalog_key_id(CATALOG_LAYER, version);
    assert_ok(db_put(txn, DB_CATALOG, (bytes){name.byte, name.size}, (bytes){"record", 6}));
    assert_ok(db_commit(txn));
  }
  db_close(d);
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  int fd = open(path, O_RDONLY);
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  image_bytes = (size_t)st.st_size;
  image = malloc(image_bytes);
  assert_int_equal(read(fd, image, image_bytes), image_bytes);
  close(fd);
}

static int setup(void **state) {
  (void)state;
  char path[300];
  make_temp_directory(directory);
  make_image();
  snprintf(path, sizeof path, "%s/scratch", directory);
  scratch_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  return scratch_fd < 0;
}

static int teardown(void **state) {
  (void)state;
  close(scratch_fd);
  free(image);
  remove_tree(directory);
  return 0;
}

/* The scratch file gets the first `size` bytes of the image. */
static void write_image(size_t size) {
  assert_int_equal(ftruncate(scratch_fd, 0), 0);
  assert_int_equal(pwrite(scratch_fd, image, size, 0), size);
}

/* ---- what a walk met ------------------------------------------------------------------------------------------------- */

typedef struct {
  uint64_t findings, rows, records, branches, leaves, runs, freed, stop_after;
  uint64_t tables, entries, rows_lost, gaps, lost, lost_first;
  const char *wanted;
  bool said;
  char first[256];
} met;

static int on_finding(void *env, uint64_t page, const char *text) {
  met *m = env;
  (void)page;
  m->said |= m->wanted && strstr(text, m->wanted);
  if (!m->findings) snprintf(m->first, sizeof m->first, "%s", text);
  return ++m->findings == m->stop_after;
}

/* What check will do: our headers and checksums over the place that the walker names. */
static int on_row(void *env, const char *table, bytes key, walker_place value) {
  static uint8_t record[PAGE_RECORD_BYTES];
  met *m = env;
  page_key decoded;
  row_kind kind;
  m->rows++;
  if (strcmp(table, "pages") != 0) return 0;
  assert_ok(page_key_decode(key, &decoded));
  assert_true(value.size <= sizeof record);
  assert_ok(walker_read(scratch_fd, value, record));
  assert_ok(row_check((bytes){record, value.size}, decoded, test_store_id, &kind));
  if (kind == ROW_PAGE) assert_int_equal(page_damaged_blocks((bytes){record, value.size}, decoded.page, ALL_BLOCKS), 0);
  m->records += kind == ROW_PAGE;
  if (kind == ROW_PAGE) assert_int_equal((value.at + PAGE_HEADER_BYTES) % 4096, 0);
  return 0;
}

static int on_page(void *env, const char *table, walker_page_kind kind, uint64_t first, uint64_t count) {
  met *m = env;
  (void)table;
  (void)first;
  if (kind == WALKER_BRANCH) m->branches++;
  if (kind == WALKER_LEAF) m->leaves++;
  if (kind == WALKER_OVERFLOW) m->runs += count;
  return 0;
}

static int on_freed(void *env, uint64_t txn_id, uint64_t page) {
  (void)txn_id;
  (void)page;
  ((met *)env)->freed++;
  return 0;
}

static int on_table(void *env, const char *table, const walker_tree *t) {
  met *m = env;
  assert_true(strcmp(table, "catalog") == 0 || strcmp(table, "log") == 0 || strcmp(table, "pages") == 0);
  m->tables++;
  m->entries += t->entries;
  return 0;
}

static int on_row_lost(void *env, const char *table, bytes key) {
  assert_string_equal(table, "pages");
  assert_int_equal(key.size, PAGE_KEY_BYTES);
  ((met *)env)->rows_lost++;
  return 0;
}

static int on_gap(void *env, const char *table, bytes low, bytes high) {
  (void)table;
  assert_true(low.size <= 511 && high.size <= 511);
  ((met *)env)->gaps++;
  return 0;
}

static int on_lost(void *env, uint64_t first, uint64_t count) {
  met *m = env;
  m->lost += count;
  m->lost_first = first;
  return 0;
}

static int walk_scratch(unsigned which, bool rows, met *m, walker_summary *summary) {
  walker_metas metas;
  int err = walker_check_meta(scratch_fd, "store", &metas);
  walker_callbacks callbacks = {
      .env = m,
      .finding = on_finding,
      .row = rows ? on_row : NULL,
      .page = on_page,
      .freed = on_freed,
      .table = on_table,
      .row_lost = on_row_lost,
      .gap = on_gap,
      .lost = on_lost,
  };
  if (err && !metas.meta[which].usable) return err;
  return walker_walk(scratch_fd, &metas, which, &callbacks, summary);
}

static unsigned newest_meta(void) { return get_le64(image + 144) < get_le64(image + PAGE + 144); }

/* ---- tests ----------------------------------------------------------------------------------------------------------- */

static void test_clean(void **state) {
  (void)state;
  walker_metas metas;
  write_image(image_bytes);
  assert_ok(walker_check_meta(scratch_fd, "store", &metas));
  assert_true(metas.meta[0].usable && metas.meta[1].usable);
  assert_int_equal(metas.newest, newest_meta());
  assert_int_equal(metas.meta[metas.newest].txn_id, 5);
  for (unsigned which = 0; which < 2; which++) {
    met m = {0};
    walker_summary summary;
    assert_ok(walk_scratch(which, true, &m, &summary));
    if (m.findings) fail_msg("%s", m.first);
    assert_int_equal(summary.findings, 0);
    assert_int_equal(summary.rows, m.rows);
    assert_int_equal(summary.pages_reachable, m.branches + m.leaves + m.runs);
    assert_int_equal(summary.pages_free, m.freed);
    assert_int_equal(summary.pages_reachable + summary.pages_free + summary.pages_lost + 2, metas.meta[which].last_page + 1);
    assert_int_equal(summary.pages_lost, 0);
    assert_int_equal(m.lost + m.gaps + m.rows_lost, 0);
    assert_int_equal(m.tables, 3);
    assert_int_equal(m.entries, m.rows);
    assert_int_equal(m.rows, 2 * ROWS + (which == metas.newest ? 4 : 3));
    assert_int_equal(m.records, 2 * (ROWS / 64 + 1));
    assert_true(m.branches >= 1 && m.leaves > 4 && m.freed > 0);
  }
}

static void test_stop(void **state) {
  (void)state;
  met m = {.stop_after = 1};
  walker_summary summary;
  write_image(image_bytes);
  uint64_t root = get_le64(image + newest_meta() * PAGE + 88 + 40);
  assert_int_equal(pwrite(scratch_fd, "xxxxxxxx", 8, (off_t)(root * PAGE)), 8);
  assert_int_equal(walk_scratch(newest_meta(), false, &m, &summary), PAGESTORE_EABORTED);
  assert_int_equal(m.findings, 1);
}

static void assert_refused(int status, const char *text) {
  walker_metas metas;
  assert_fails(status, walker_check_meta(scratch_fd, "store", &metas));
  if (!strstr(pagestore_detail(), text)) fail_msg("'%s' does not say '%s'", pagestore_detail(), text);
}

static void put_both(size_t at, const void *what, size_t size) {
  assert_int_equal(pwrite(scratch_fd, what, size, (off_t)at), size);
  assert_int_equal(pwrite(scratch_fd, what, size, (off_t)(PAGE + at)), size);
}

static void test_files_of_others(void **state) {
  (void)state;
  uint8_t noise[4 * PAGE];
  write_image(0);
  assert_refused(PAGESTORE_EFORMAT, "empty");
  memset(noise, 'x', sizeof noise);
  assert_int_equal(pwrite(scratch_fd, noise, sizeof noise, 0), sizeof noise);
  assert_refused(PAGESTORE_EFORMAT, "no LMDB file");
  assert_int_equal(ftruncate(scratch_fd, 10), 0);
  assert_refused(PAGESTORE_EFORMAT, "no LMDB file");
  write_image(image_bytes);
  put_both(20, "\2\0\0\0", 4);
  assert_refused(PAGESTORE_EFORMAT, "data version 2");
  write_image(image_bytes);
  put_both(40, "\0\100\0\0", 4);
  assert_refused(PAGESTORE_EFORMAT, "pages of 16384");
  int fd = open("/", O_RDONLY | O_DIRECTORY);
  walker_metas metas;
  assert_fails(PAGESTORE_EFORMAT, walker_check_meta(fd, "store", &metas));
  close(fd);
}

static void test_truncated(void **state) {
  (void)state;
  for (size_t size = 200; size < image_bytes; size += size < 3 * PAGE ? 997 : 16 * PAGE + 1) {
    write_image(size);
    assert_refused(PAGESTORE_ECORRUPT, "truncated");
  }
  write_image(image_bytes - 1);
  walker_metas metas;
  met m = {0};
  walker_summary summary;
  int err = walker_check_meta(scratch_fd, "store", &metas); /* right only where the last page is free */
  assert_true(err == 0 || err == PAGESTORE_ECORRUPT);
  assert_ok(walk_scratch(newest_meta(), false, &m, &summary));
  assert_int_equal(err != 0, m.findings != 0);
}

static void test_one_damaged_meta(void **state) {
  (void)state;
  for (unsigned which = 0; which < 2; which++) {
    walker_metas metas;
    met m = {0};
    walker_summary summary;
    uint8_t zero[152] = {0};
    write_image(image_bytes);
    assert_int_equal(pwrite(scratch_fd, zero, sizeof zero, which * PAGE), sizeof zero);
    assert_fails(PAGESTORE_ECORRUPT, walker_check_meta(scratch_fd, "store", &metas));
    assert_false(metas.meta[which].usable);
    assert_true(metas.meta[!which].usable); /* what recover builds on */
    assert_int_equal(walk_scratch(which, false, &m, &summary), PAGESTORE_ECORRUPT);
    assert_ok(walk_scratch(!which, true, &m, &summary));
    assert_int_equal(m.findings, 0);
  }
}

/* One flipped bit in a transaction id would make LMDB take the other meta page without a word. Of 128 bits one (4 becomes 6 beside 5) gives a
 * pair that could be: for that one the store record keeps the transaction id of the last flush. */
static void test_meta_txn_bits(void **state) {
  unsigned accepted = 0;
  (void)state;
  for (unsigned which = 0; which < 2; which++)
    for (unsigned bit = 0; bit < 64; bit++) {
      write_image(image_bytes);
      uint64_t at = which * PAGE + 144 + bit / 8;
      uint8_t flipped = image[at] ^ (uint8_t)(1 << bit % 8);
      assert_int_equal(pwrite(scratch_fd, &flipped, 1, (off_t)at), 1);
      walker_metas metas;
      int err = walker_check_meta(scratch_fd, "store", &metas);
      assert_int_equal(metas.file_bytes, image_bytes);
      bool mimicry = metas.meta[which].txn_id - metas.meta[!which].txn_id == 1 || metas.meta[!which].txn_id - metas.meta[which].txn_id == 1;
      accepted += err == 0 && mimicry;
      if (!mimicry || bit == 0) assert_int_equal(err, PAGESTORE_ECORRUPT);
    }
  assert_int_equal(accepted, 1);
}

/* Every byte of the meta pages and of every tree page, flipped in a random bit, then walked from both meta pages: it returns, and what is in use is
 * either found damaged or was not changed in a way that LMDB's structure shows (keys and values within their order). */
static void test_flipped_bytes(void **state) {
  (void)state;
  uint64_t seed = 7, refused = 0, noticed = 0, tried = 0;
  print_message("seed %llu\n", (unsigned long long)seed);
  write_image(image_bytes);
  for (uint64_t page = 0; page < image_bytes / PAGE; page++) {
    uint16_t flags = get_le16(image + page * PAGE + 10);
    bool tree = get_le64(image + page * PAGE) == page && (flags == 1 || flags == 2 || flags == 4 || flags == 8);
    size_t end = !tree ? 0 : flags == 4 ? 16 : flags == 8 ? 152 : PAGE;
    for (size_t i = 0; i < end; i += flags == 8 || i < 16 ? 1 : 37) {
      size_t at = page * PAGE + i;
      uint8_t flipped = image[at] ^ (uint8_t)(1 << next_random(&seed) % 8);
      if (next_random(&seed) % 4 == 0) flipped = (uint8_t)next_random(&seed);
      assert_int_equal(pwrite(scratch_fd, &flipped, 1, (off_t)at), 1);
      met m = {0};
      walker_summary summary;
      tried++;
      refused += walk_scratch(next_random(&seed) % 2, false, &m, &summary) != 0;
      noticed += m.findings != 0;
      assert_int_equal(pwrite(scratch_fd, image + at, 1, (off_t)at), 1);
    }
  }
  print_message("%llu bytes: %llu refused, %llu noticed\n", (unsigned long long)tried, (unsigned long long)refused, (unsigned long long)noticed);
  assert_true(tried > 1000 && refused > 0 && noticed > 200);
  fault_row_count(ROW_TREE_BITS, tried);
}

/* Whole pages of noise, and pages put in place of others. */
static void test_replaced_pages(void **state) {
  (void)state;
  uint64_t seed = 11, pages = image_bytes / PAGE;
  print_message("seed %llu\n", (unsigned long long)seed);
  for (int round = 0; round < 100; round++) {
    uint8_t noise[PAGE];
    write_image(image_bytes);
    for (int i = 0; i < 3; i++) {
      uint64_t to = 2 + next_random(&seed) % (pages - 2), from = 2 + next_random(&seed) % (pages - 2);
      for (size_t b = 0; b < PAGE; b++) noise[b] = round % 2 ? (uint8_t)next_random(&seed) : image[from * PAGE + b];
      if (round % 4 == 0) memcpy(noise, &to, 8);
      assert_int_equal(pwrite(scratch_fd, noise, PAGE, (off_t)(to * PAGE)), PAGE);
    }
    met m = {0};
    walker_summary summary;
    assert_ok(walk_scratch(newest_meta(), false, &m, &summary));
  }
}

/* The findings that the crash proof relies on, each made by hand on the root of the pages table. */
static void expect_finding(size_t at, const void *what, size_t size, const char *text) {
  met m = {.wanted = text};
  walker_summary summary;
  write_image(image_bytes);
  assert_int_equal(pwrite(scratch_fd, what, size, (off_t)at), size);
  assert_ok(walk_scratch(newest_meta(), false, &m, &summary));
  if (!m.said) fail_msg("'%s' does not say '%s'", m.first, text);
}

static uint64_t main_leaf(void) { return get_le64(image + newest_meta() * PAGE + 88 + 40); }

/* Where the tree record of "pages" is. */
static size_t pages_record(void) {
  const uint8_t *leaf = image + main_leaf() * PAGE;
  for (unsigned i = 0; i < 3; i++) {
    const uint8_t *node = leaf + get_le16(leaf + 16 + 2 * i);
    if (get_le16(node + 6) == 5 && memcmp(node + 8, "pages", 5) == 0) return (size_t)(node - image) + 13;
  }
  fail_msg("no table of pages");
  return 0;
}

static void test_findings(void **state) {
  (void)state;
  size_t record_at = pages_record();
  size_t root = get_le64(image + record_at + 40) * PAGE;
  uint64_t out_of_range = 1u << 30, twice = main_leaf();
  uint8_t second_child[4];
  const uint8_t *first = image + root + get_le16(image + root + 16), *second = image + root + get_le16(image + root + 18);
  memcpy(second_child, second, 4);
  expect_finding(record_at + 40, &out_of_range, 8, "out of range");
  expect_finding(record_at + 40, &twice, 8, "in use twice");
  expect_finding((size_t)(first - image), second_child, 4, "in use twice");
  expect_finding(record_at + 32, "\377", 1, "its record says");
  expect_finding(record_at + 8, "\377", 1, "numbers of pages");
  expect_finding(record_at + 4, "\4", 1, "never used");
  expect_finding(root + 12, "\377\377", 2, "bounds");
  expect_finding(root + 10, "\2", 1, "branch");
  expect_finding(root + 16, "\20\0", 2, "out of bounds");
  uint16_t lower_upper = get_le16(image + root + 14) - 2;
  expect_finding(root + 14, &lower_upper, 2, "do not fill it");
}

static met walk_changed(size_t at, const void *what, size_t size) {
  met m = {0};
  walker_summary summary;
  write_image(image_bytes);
  assert_int_equal(pwrite(scratch_fd, what, size, (off_t)at), size);
  assert_ok(walk_scratch(newest_meta(), false, &m, &summary));
  m.rows = summary.rows;
  return m;
}

/* What is not met is told as such: a child out of range, a run out of range, a number too high, a row of the free list too short. */
static void test_what_is_missing(void **state) {
  (void)state;
  static const uint8_t far[8] = {0, 0, 0, 1};
  size_t record_at = pages_record(), root = get_le64(image + record_at + 40) * PAGE;
  const uint8_t *child = image + root + get_le16(image + root + 16);
  met whole = walk_changed(24, image + 24, 1), m = walk_changed((size_t)(child - image), far, 4);
  assert_true(m.gaps == 1 && m.rows < whole.rows && whole.gaps == 0);
  size_t leaf = (get_le32(child) | (uint64_t)get_le16(child + 4) << 32) * PAGE;
  const uint8_t *node = image + leaf + get_le16(image + leaf + 16);
  assert_int_equal(get_le16(node + 4), 1); /* page 0's record, in a run */
  m = walk_changed((size_t)(node - image) + 8 + PAGE_KEY_BYTES, far, 8);
  assert_true(m.rows_lost == 1 && m.gaps == 0 && m.rows + 1 == whole.rows);
  uint64_t last = get_le64(image + newest_meta() * PAGE + 136) + 5;
  m = walk_changed(newest_meta() * PAGE + 136, &last, 8);
  assert_true(m.lost >= 5 && m.findings == 0);
  uint8_t empty_list[48];
  memset(empty_list, 0, 40);
  memset(empty_list + 40, 255, 8);
  empty_list[1] = PAGE >> 8, empty_list[4] = 8;
  m = walk_changed(newest_meta() * PAGE + 40, empty_list, 48);
  assert_true(m.lost >= whole.freed && m.findings == 0);
}

/* The zeros that the library has put ahead of LMDB's pages go, as if it had not. */
static void cut_zeros(const char *file) {
  static const uint8_t zeros[PAGE];
  uint8_t page[PAGE];
  int fd = open(file, O_RDWR);
  off_t end = lseek(fd, 0, SEEK_END);
  assert_true(end > 0 && end % PAGE == 0);
  while (pread(fd, page, PAGE, end - PAGE) == PAGE && memcmp(page, zeros, PAGE) == 0) end -= PAGE;
  assert_int_equal(ftruncate(fd, end), 0);
  close(fd);
}

/* LMDB numbers pages at the end and may give them back unwritten: such a file ends early and is whole. */
static void test_short_but_whole(void **state) {
  (void)state;
  char path[256], file[300];
  db *d;
  db_txn *txn;
  make_temp_directory(path);
  make_environment(path);
  assert_ok(db_open(path, &(db_options){0}, &d));
  for (uint64_t version = 1; version <= 6; version++) assert_ok(commit_pages(d, 0, 3, version));
  for (uint64_t i = 0; i < 3; i++) {
    assert_ok(db_begin(d, &txn));
    for (uint64_t version = 1; version <= 6; version += 2) assert_ok(delete_page(txn, (page_key){1, 1, i, version}));
    assert_ok(db_commit(txn));
  }
  assert_ok(db_begin(d, &txn));
  for (uint64_t i = 0; i < 20; i++) assert_ok(put_page(txn, (page_key){1, 1, i, 9}, 1));
  for (uint64_t i = 20; i-- > 4;) assert_ok(delete_page(txn, (page_key){1, 1, i, 9}));
  assert_ok(db_commit(txn));
  db_close(d);
  snprintf(file, sizeof file, "%s/data.mdb", path);
  cut_zeros(file);
  int fd = open(file, O_RDONLY);
  walker_metas metas;
  assert_ok(walker_check_meta(fd, path, &metas));
  assert_true(metas.file_bytes < (metas.meta[metas.newest].last_page + 1) * PAGE);
  close(fd);
  assert_ok(db_open(path, &(db_options){0}, &d));
  assert_ok(commit_pages(d, 100, 40, 1));
  db_close(d);
  remove_tree(path);
}

static void test_unreadable(void **state) {
  (void)state;
  uint8_t bytes[16];
  assert_int_equal(walker_read(-1, (walker_place){.at = 8192, .size = sizeof bytes}, bytes), PAGESTORE_EIO);
  assert_non_null(strstr(pagestore_detail(), "could not be read at 8192"));
  assert_int_equal(pagestore_errno(), EBADF);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_clean),
      cmocka_unit_test(test_stop),
      cmocka_unit_test(test_files_of_others),
      cmocka_unit_test(test_truncated),
      cmocka_unit_test(test_one_damaged_meta),
      cmocka_unit_test(test_meta_txn_bits),
      cmocka_unit_test(test_findings),
      cmocka_unit_test(test_what_is_missing),
      cmocka_unit_test(test_flipped_bytes),
      cmocka_unit_test(test_replaced_pages),
      cmocka_unit_test(test_short_but_whole),
      cmocka_unit_test(test_unreadable),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
