/* test_copy.c - copies of a store, and a store in its own place without what is free.
 *
 * ctest: TIMEOUT 300
 * ctest: LABELS threads
 *
 * Proven:
 * - a copy, whole or compact, holds each instance, snapshot and byte as of one durable version, also while a writer commits; it can be
 *   written, and its original is as before;
 * - a compact copy is smaller than its original where that has free pages; compact does this in place and leaves no file behind;
 * - a path that is taken, a store that is open here or in another process: refused, and nothing has changed.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "host_fixture.h"

enum { PAGES = 64, COPIES = 12 };

static uint64_t bytes_of(const char *path) {
  char file[400];
  struct stat st;
  snprintf(file, sizeof file, "%s/data.mdb", path);
  assert_int_equal(stat(file, &st), 0);
  return (uint64_t)st.st_size;
}

static void copy_path(const host *h, const char *name, char to[240]) { snprintf(to, 240, "%s/%s", h->folder, name); }

static void fill_all(host *h, uint64_t tag) {
  for (uint64_t page = 0; page < PAGES; page++) put(h, page, tag);
  host_commit(h);
}

/* Every page of one version: tag and version are the same number here. */
static uint64_t version_in(const char *path, const char *snapshot) {
  host copy = {0};
  snprintf(copy.path, sizeof copy.path, "%s", path);
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | PAGESTORE_VERIFY), &copy.store));
  pagestore_handlers();
  assert_ok(pagestore_instance_open(copy.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = snapshot), &copy.instance));
  assert_ok(pagestore_memory_open(copy.instance, "m", NULL, &copy.memory));
  copy.base = pagestore_memory_base(copy.memory);
  uint64_t version = pagestore_committed_version(copy.instance);
  for (uint64_t page = 0; page < PAGES; page++) assert_page(&copy, page, version);
  assert_ok(host_close(&copy));
  return version;
}

static void a_copy_is_a_store(void **state) {
  (void)state;
  host h = {0}, other = {0};
  char whole[240], compact[240];
  folder_make(&h);
  host_open(&h, PAGES);
  fill_all(&h, 1);
  assert_ok(pagestore_snapshot_create(h.instance, "one", 0));
  for (uint64_t tag = 2; tag <= 6; tag++) fill_all(&h, tag);
  copy_path(&h, "whole", whole);
  copy_path(&h, "compact", compact);
  assert_ok(pagestore_copy(h.store, whole, 0));
  assert_ok(pagestore_copy(h.store, compact, PAGESTORE_COMPACT));
  fill_all(&h, 7);
  assert_int_equal(version_in(whole, NULL), 6);
  assert_int_equal(version_in(whole, "one"), 1);
  assert_int_equal(version_in(compact, NULL), 6);
  assert_int_equal(version_in(compact, "one"), 1);
  assert_true(bytes_of(compact) < bytes_of(whole));
  assert_int_equal(pagestore_copy(h.store, whole, 0), PAGESTORE_EEXIST);
  assert_int_equal(pagestore_copy(h.store, h.path, 0), PAGESTORE_EBUSY);
  assert_int_equal(pagestore_copy(h.store, "/no/such/folder/copy", 0), PAGESTORE_ENOTFOUND);
  assert_int_equal(pagestore_copy(h.store, compact, 8), PAGESTORE_EINVAL);
  assert_ok(host_close(&h));
  for (int i = 0; i < 2; i++) {
    memcpy(other.path, i ? compact : whole, sizeof other.path);
    host_open(&other, 0);
    fill_all(&other, 7);
    assert_ok(host_close(&other));
    assert_int_equal(version_in(other.path, NULL), 7);
  }
  folder_remove(&h);
}

static _Atomic bool stop;

static void *write_on(void *env) {
  host *h = env;
  assert_ok(pagestore_thread_prepare());
  for (uint64_t tag = 2; !stop; tag++) fill_all(h, tag);
  return NULL;
}

static void a_copy_beside_a_writer_is_of_one_version(void **state) {
  (void)state;
  host h = {0};
  pthread_t writer;
  char path[240], name[32];
  folder_make(&h);
  host_open(&h, PAGES);
  fill_all(&h, 1);
  stop = false;
  assert_int_equal(pthread_create(&writer, NULL, write_on, &h), 0);
  uint64_t last = 0;
  for (int i = 0; i < COPIES; i++) {
    uint64_t before = pagestore_durable_version(h.instance);
    snprintf(name, sizeof name, "copy%d", i);
    copy_path(&h, name, path);
    assert_ok(pagestore_copy(h.store, path, i % 2 ? PAGESTORE_COMPACT : 0));
    uint64_t version = version_in(path, NULL);
    assert_true(version >= before && version >= last);
    last = version;
  }
  stop = true;
  pthread_join(writer, NULL);
  assert_true(last > 1);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static void no_file_is_left(const host *h) {
  char command[600];
  snprintf(command, sizeof command, "test \"$(ls -A '%s')\" = \"$(printf 'data.mdb\\nlock.mdb')\"", h->path);
  assert_int_equal(system(command), 0);
}

static void compact_in_place(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  host_open(&h, PAGES);
  for (uint64_t tag = 1; tag <= 6; tag++) fill_all(&h, tag);
  assert_int_equal(pagestore_compact(h.path), PAGESTORE_EBUSY);
  assert_ok(host_close(&h));
  uint64_t before = bytes_of(h.path);
  assert_ok(pagestore_compact(h.path));
  assert_true(bytes_of(h.path) < before);
  no_file_is_left(&h);
  assert_int_equal(version_in(h.path, NULL), 6);
  host_open(&h, 0);
  fill_all(&h, 7);
  assert_ok(host_close(&h));
  assert_int_equal(version_in(h.path, NULL), 7);
  assert_int_equal(pagestore_compact("/no/such/store"), PAGESTORE_ENOTFOUND);
  folder_remove(&h);
}

/* In a child: opens the store for reading, says so, and waits for the pipe's end. */
static pid_t reader_begin(const host *h, int *to_child) {
  int ready[2], go[2];
  char byte;
  assert_int_equal(pipe(ready) | pipe(go), 0);
  pid_t child = fork();
  if (child == 0) {
    pagestore_store *s;
    close(go[1]);
    if (pagestore_open(h->path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &s) != 0) _exit(1);
    (void)!write(ready[1], "", 1);
    (void)!read(go[0], &byte, 1);
    _exit(pagestore_close(s) != 0);
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]), close(ready[1]), close(go[0]);
  *to_child = go[1];
  return child;
}

static void compact_is_refused_while_somebody_reads(void **state) {
  (void)state;
  host h = {0};
  int to_child, status;
  folder_make(&h);
  host_open(&h, PAGES);
  for (uint64_t tag = 1; tag <= 3; tag++) fill_all(&h, tag);
  assert_ok(host_close(&h));
  uint64_t before = bytes_of(h.path);
  pid_t child = reader_begin(&h, &to_child);
  assert_int_equal(pagestore_compact(h.path), PAGESTORE_EBUSY);
  assert_int_equal(bytes_of(h.path), before);
  close(to_child);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_ok(pagestore_compact(h.path));
  assert_int_equal(version_in(h.path, NULL), 3);
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_copy_is_a_store),
    cmocka_unit_test(a_copy_beside_a_writer_is_of_one_version),
    cmocka_unit_test(compact_in_place),
    cmocka_unit_test(compact_is_refused_while_somebody_reads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
