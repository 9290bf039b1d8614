/* test_db_faults.c - the LMDB environment when its file fails, and what can be opened and what not. */
#include "db_support.h"

#include <signal.h>
#include <sys/resource.h>

#include "storage/walker.h"

#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

/* ---- a file that fails under us ----------------------------------------------------------------------------------------- */

static void truncate_data(off_t size) {
  char path[300];
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  assert_int_equal(truncate(path, size), 0);
}

static int touch_value(void *env) {
  const bytes *value = env;
  for (size_t i = 0; i < value->size; i += 512) (void)((const volatile uint8_t *)value->data)[i];
  return 0;
}

static void test_truncated_under_a_reader(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  assert_ok(commit_pages(d, 0, 300, 1));
  db_slot *slot = db_slot_take(d);
  bytes key, value;
  assert_ok(db_slot_renew(slot));
  assert_ok(db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value));
  truncate_data(4096 * 2);
  assert_int_equal(db_read_guarded((db_reader){.slot = slot}, touch_value, &value), PAGESTORE_EIO);
  assert_int_equal(db_slot_seek(slot, DB_PAGES, text("\1"), &key, &value), PAGESTORE_EIO);
  assert_int_equal(db_slot_next(slot, DB_PAGES, &key, &value), PAGESTORE_EIO);
  db_slot_release(slot);
  for (int i = 0; i < 100; i++) { /* no slot is lost by it */
    slot = db_slot_take(d);
    assert_ok(db_slot_renew(slot));
    assert_int_equal(db_slot_seek(slot, DB_PAGES, text("\1"), &key, &value), PAGESTORE_EIO);
    db_slot_release(slot);
  }
  truncate_data(0);
  slot = db_slot_take(d);
  assert_int_equal(db_slot_renew(slot), PAGESTORE_EIO);
  db_slot_release(slot);
  db_info info;
  assert_fails(PAGESTORE_EIO, db_measure(d, &info));
  db_close(d);
}

static void truncated_under_a_writer(void) {
  db *d;
  db_txn *txn;
  bytes key, value;
  CHILD_ASSERT(db_open(directory, &(db_options){0}, &d) == 0);
  CHILD_ASSERT(commit_pages(d, 0, 300, 1) == 0);
  CHILD_ASSERT(db_begin(d, &txn) == 0);
  truncate_data(4096 * 2);
  CHILD_ASSERT(db_seek(txn, DB_PAGES, text("\1"), &key, &value) == PAGESTORE_EIO);
  CHILD_ASSERT(put_page(txn, (page_key){1, 1, 1, 1}, 1) == PAGESTORE_EIO);
  CHILD_ASSERT(put_page(txn, (page_key){1, 1, 1, 1}, 1) == PAGESTORE_EIO);
  db_abort(txn);
  CHILD_ASSERT(db_begin(d, &txn) == PAGESTORE_EFAILED);
  CHILD_ASSERT(db_begin(d, &txn) == PAGESTORE_EFAILED);
  db_close(d);
}

static void test_truncated_under_a_writer(void **state) {
  (void)state;
  in_child(truncated_under_a_writer);
}

static void truncated_before_a_commit(void) {
  db *d;
  db_txn *txn;
  CHILD_ASSERT(db_open(directory, &(db_options){0}, &d) == 0);
  for (uint64_t v = 1; v < 5; v++) CHILD_ASSERT(commit_pages(d, 0, 30, v) == 0);
  CHILD_ASSERT(db_begin(d, &txn) == 0);
  CHILD_ASSERT(put_page(txn, (page_key){1, 1, 1, 9}, 1) == 0);
  truncate_data(0);
  CHILD_ASSERT(db_commit(txn) == PAGESTORE_EFAILED);
  CHILD_ASSERT(db_begin(d, &txn) == PAGESTORE_EFAILED);
  db_close(d);
}

static void test_truncated_before_a_commit(void **state) {
  (void)state;
  in_child(truncated_before_a_commit);
}

/* Writes that come back short, on a file system with room: the outcome is not known to be harmless, so the store stops. */
static void short_write(void) {
  db *d;
  db_txn *txn;
  signal(SIGXFSZ, SIG_IGN);
  CHILD_ASSERT(db_open(directory, &(db_options){0}, &d) == 0);
  CHILD_ASSERT(commit_pages(d, 0, 10, 1) == 0);
  struct rlimit limit = {db_file_bytes(d) + 30000, RLIM_INFINITY};
  CHILD_ASSERT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHILD_ASSERT(commit_pages(d, 10, 10, 1) == PAGESTORE_EFAILED);
  CHILD_ASSERT(db_begin(d, &txn) == PAGESTORE_EFAILED);
  db_close(d);
  limit.rlim_cur = RLIM_INFINITY;
  CHILD_ASSERT(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHILD_ASSERT(db_open(directory, &(db_options){0}, &d) == 0);
  CHILD_ASSERT(commit_pages(d, 10, 10, 1) == 0);
  db_close(d);
}

static void test_short_write(void **state) {
  (void)state;
  in_child(short_write);
}

/* Tree pages of noise under LMDB's feet: an error, whatever LMDB asserts. */
static void damaged_tree(void) {
  char path[300];
  uint8_t noise[4096];
  db *d;
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  CHILD_ASSERT(db_open(directory, &(db_options){0}, &d) == 0);
  CHILD_ASSERT(commit_pages(d, 0, 300, 1) == 0);
  int fd = open(path, O_RDWR);
  for (off_t page = 2; page * 4096 < (off_t)db_file_bytes(d); page++) {
    CHILD_ASSERT(pread(fd, noise, 4096, page * 4096) == 4096);
    if (noise[10] != 2 || noise[0] != (uint8_t)page) continue; /* leaves become branches */
    noise[10] = 1;
    CHILD_ASSERT(pwrite(fd, noise, 4096, page * 4096) == 4096);
  }
  db_slot *slot = db_slot_take(d);
  bytes key, value;
  CHILD_ASSERT(db_slot_renew(slot) == 0);
  int err = db_slot_seek(slot, DB_PAGES, text("\1"), &key, &value);
  CHILD_ASSERT(err == PAGESTORE_ECORRUPT || err == PAGESTORE_EIO);
}

static void test_damaged_tree(void **state) {
  (void)state;
  in_child(damaged_tree);
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static void test_read_only(void **state) {
  (void)state;
  db *writer = open_with(&(db_options){0}), *reader = NULL;
  db_txn *txn;
  assert_ok(commit_pages(writer, 0, 3, 1));
  db_close(writer);
  reader = open_with(&(db_options){.read_only = true});
  assert_int_equal(rows_seen(reader), 3);
  assert_fails(PAGESTORE_EREADONLY, db_begin(reader, &txn));
  db_close(reader);
}

static void read_beside_writer(void) {
  db *d;
  CHILD_ASSERT(db_open(directory, &(db_options){.read_only = true}, &d) == 0);
  CHILD_ASSERT(rows_seen(d) == 3);
  db_close(d);
}

static void test_read_only_beside_writer(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  assert_ok(commit_pages(d, 0, 3, 1));
  pid_t pid = fork();
  if (pid == 0) {
    db_after_fork(d);
    db_close(d); /* nothing of the parent's may go by it */
    read_beside_writer();
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  assert_int_equal(status, 0);
  assert_ok(commit_pages(d, 3, 3, 1));
  assert_int_equal(rows_seen(d), 6);
  db_close(d);
}

static void as_nobody(void) {
  db *d;
  CHILD_ASSERT(chmod(directory, 0755) == 0);
  if (setgid(65534) != 0 || setuid(65534) != 0) return;
  CHILD_ASSERT(db_open(directory, &(db_options){.read_only = true}, &d) == PAGESTORE_EACCES);
  CHILD_ASSERT(strstr(pagestore_detail(), "lock.mdb"));
}

static void test_no_permission(void **state) {
  (void)state;
  if (geteuid() != 0) skip();
  in_child(as_nobody);
}

static void test_not_ours(void **state) {
  (void)state;
  char path[300];
  db *d;
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  unlink(path);
  assert_fails(PAGESTORE_EFORMAT, db_open(directory, &(db_options){0}, &d));
  assert_int_equal(access(path, F_OK), -1); /* and nothing was made */
  FILE *f = fopen(path, "w");
  fclose(f);
  assert_fails(PAGESTORE_EFORMAT, db_open(directory, &(db_options){0}, &d));
  f = fopen(path, "w");
  for (int i = 0; i < 10000; i++) fputs("not a store ", f);
  fclose(f);
  assert_fails(PAGESTORE_EFORMAT, db_open(directory, &(db_options){0}, &d));
}

static void test_descriptors_are_closed_on_exec(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  char command[400];
  /* Our own children, too, see nothing of the store's files. */
  snprintf(command, sizeof command, "! ls -l /proc/self/fd | grep -q %s", directory);
  assert_int_equal(system(command), 0);
  db_close(d);
  DIR *fds = opendir("/proc/self/fd");
  for (struct dirent *e; (e = readdir(fds)) != NULL;) {
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%.20s", e->d_name);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    assert_null(strstr(target, directory));
  }
  closedir(fds);
}

static void small_address_space(void) {
  struct rlimit limit = {8ull << 30, RLIM_INFINITY};
  db *d;
  db_info info;
  CHILD_ASSERT(setrlimit(RLIMIT_AS, &limit) == 0);
  CHILD_ASSERT(db_open(directory, &(db_options){0}, &d) == 0);
  CHILD_ASSERT(db_measure(d, &info) == 0 && info.map_bytes <= 4ull << 30 && info.map_bytes >= 1 << 20);
  CHILD_ASSERT(commit_pages(d, 0, 3, 1) == 0);
  db_close(d);
  CHILD_ASSERT(db_open(directory, &(db_options){.map_bytes = 1ull << 40}, &d) == PAGESTORE_ENOMEM);
}

static void test_small_address_space(void **state) {
  (void)state;
  if (UNDER_ASAN) skip(); /* its shadow is larger than any limit */
  in_child(small_address_space);
}

static void test_measure(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  db_info info;
  for (uint64_t v = 1; v < 5; v++) {
    db_txn *txn;
    assert_ok(db_begin(d, &txn));
    for (uint64_t i = 0; i < 40; i++) {
      assert_ok(put_page(txn, (page_key){1, 1, i, v}, 1));
      if (v > 1) assert_ok(delete_page(txn, (page_key){1, 1, i, v - 1}));
    }
    assert_ok(db_commit(txn));
  }
  assert_ok(db_measure(d, &info));
  assert_int_equal(info.page_bytes, 4096);
  assert_int_equal(info.map_bytes, 1ull << 40);
  assert_int_equal(info.entries[DB_PAGES], 40);
  assert_int_equal(info.last_txn_id, 5);
  assert_true(info.free_largest_run >= 17 && info.free_largest_run <= info.free_pages);
  assert_true(info.readers >= 32);
  assert_int_equal(info.file_bytes, db_file_bytes(d));
  /* The walker, which shares no code with LMDB, counts the same. */
  char path[300];
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  int fd = open(path, O_RDONLY);
  walker_metas metas;
  assert_ok(walker_check_meta(fd, path, &metas));
  assert_int_equal(metas.meta[metas.newest].last_page, info.last_page);
  close(fd);
  db_close(d);
}

/* An argument names the tests to run, with wildcards. */
int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      TEST(test_truncated_under_a_reader),
      TEST(test_truncated_under_a_writer),
      TEST(test_truncated_before_a_commit),
      TEST(test_short_write),
      TEST(test_damaged_tree),
      TEST(test_read_only),
      TEST(test_read_only_beside_writer),
      TEST(test_no_permission),
      TEST(test_not_ours),
      TEST(test_descriptors_are_closed_on_exec),
      TEST(test_small_address_space),
      TEST(test_measure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
