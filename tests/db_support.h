/* db_support.h - what the tests of the LMDB environment share. One store in a temporary directory per test. */
#ifndef PAGESTORE_TESTS_DB_SUPPORT_H
#define PAGESTORE_TESTS_DB_SUPPORT_H

#include "storage_support.h"

#include <sys/wait.h>

#include "base/faults.h"

static char directory[256];

static inline int setup(void **state) {
  (void)state;
  make_environment(make_temp_directory(directory));
  return 0;
}

static inline int teardown(void **state) {
  (void)state;
  remove_tree(directory);
  return 0;
}

/* cmocka installs handlers of its own before each test. */
static inline db *open_with(const db_options *o) {
  db *d;
  assert_ok(db_open(directory, o, &d));
  assert_ok(faults_reinstall());
  return d;
}

static inline bytes text(const char *s) { return (bytes){s, strlen(s)}; }

static inline int rows_seen(db *d) {
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  bytes key, value;
  int count = 0, err = db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value);
  for (; err == 0; count++) err = db_slot_next(slot, DB_PAGES, &key, &value);
  db_slot_release(slot);
  assert_int_equal(err, PAGESTORE_ENOTFOUND);
  return count;
}

/* For what ends with an environment that is not freed, or changes the process. */
static inline void in_child(void (*body)(void)) {
  pid_t pid = fork();
  int status;
  if (pid == 0) {
    faults_install();
    faults_reinstall();
    body();
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("the child ended with %#x", status);
}

#define CHILD_ASSERT(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, pagestore_detail()); _exit(1); } } while (0)


#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
