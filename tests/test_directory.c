/* test_directory.c - making, locking and finding a store's directory, and what stays behind when the maker dies. */
#include "fault_rows.h"
#include "storage_support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "storage/directory.h"

static char base[256], path[300];

static int setup(void **state) {
  (void)state;
  make_temp_directory(base);
  snprintf(path, sizeof path, "%s/store", base);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(base);
  return 0;
}

static int make(void *env, const char *where) {
  (void)env;
  db *d;
  int err = db_open(where, &(db_options){.create_tables = true}, &d);
  if (!err) db_close(d);
  return err;
}

static int make_fails(void *env, const char *where) {
  make(env, where);
  return PAGESTORE_ENOSPC;
}

static const directory_options creating = {.create = true, .make = make}, writing = {0}, reading = {.read_only = true};

static int try_open(const directory_options *o) {
  directory *d;
  int err = directory_open(path, o, &d);
  if (!err) directory_close(d);
  return err;
}

/* Entries of a directory that end in neither . nor .. */
static int entries(const char *where) {
  int count = 0;
  DIR *d = opendir(where);
  if (!d) return -1;
  for (struct dirent *e; (e = readdir(d)) != NULL;) count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
  closedir(d);
  return count;
}

static int in_child(int (*body)(void)) {
  pid_t pid = fork();
  int status;
  if (pid == 0) _exit(-body() & 0xff);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return -WEXITSTATUS(status);
}

/* ---- creating -------------------------------------------------------------------------------------------------------- */

static void test_create(void **state) {
  (void)state;
  directory *d;
  assert_fails(PAGESTORE_ENOTFOUND, try_open(&writing));
  assert_fails(PAGESTORE_ENOTFOUND, try_open(&reading));
  assert_int_equal(entries(base), 0);
  assert_ok(directory_open(path, &creating, &d));
  assert_string_equal(directory_path(d), path);
  assert_false(directory_forked(d));
  assert_int_equal(entries(base), 1);
  assert_int_equal(entries(path), 2);
  directory_close(d);
  assert_ok(try_open(&creating));
  assert_ok(try_open(&writing));
  assert_ok(try_open(&reading));
  directory_options exclusive = creating;
  exclusive.exclusive = true;
  assert_fails(PAGESTORE_EEXIST, try_open(&exclusive));
}

static void test_create_in_empty_directory(void **state) {
  (void)state;
  struct stat before, after;
  assert_int_equal(mkdir(path, 0750), 0);
  assert_fails(PAGESTORE_EFORMAT, try_open(&writing));
  stat(path, &before);
  directory_options exclusive = creating;
  exclusive.exclusive = true;
  assert_ok(try_open(&exclusive));
  stat(path, &after);
  assert_int_equal(before.st_ino, after.st_ino); /* it may be a mount point, or its owner's choice of mode */
  assert_int_equal(after.st_mode & 0777, 0750);
  assert_int_equal(entries(path), 1); /* data.mdb; LMDB makes lock.mdb when it opens */
  db *d;
  assert_ok(db_open(path, &(db_options){0}, &d));
  db_close(d);
}

static void test_create_on_a_mount_point(void **state) {
  (void)state;
  mkdir(path, 0700);
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", path, "tmpfs", 0, "size=1m") != 0)
    skip();
  assert_ok(try_open(&creating));
  assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
  assert_fails(PAGESTORE_EACCES, try_open(&writing));
  assert_ok(try_open(&reading)); /* a store on a read-only file system can be read */
  db *d;
  assert_ok(db_open(path, &(db_options){.read_only = true}, &d));
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  db_slot_release(slot);
  db_close(d);
  assert_fails(PAGESTORE_EACCES, db_open(path, &(db_options){0}, &d));
  snprintf(path, sizeof path, "%s/store/new", base);
  assert_fails(PAGESTORE_EACCES, try_open(&creating));
  snprintf(path, sizeof path, "%s/store", base);
  umount(path);
}

static void test_refused_places(void **state) {
  (void)state;
  char file[400];
  mkdir(path, 0700);
  snprintf(file, sizeof file, "%s/other", path);
  close(open(file, O_CREAT | O_WRONLY, 0600));
  assert_fails(PAGESTORE_EFORMAT, try_open(&creating)); /* not empty */
  assert_int_equal(entries(path), 1);
  snprintf(path, sizeof path, "%s/store/other", base);
  assert_fails(PAGESTORE_EFORMAT, try_open(&creating)); /* not a directory */
  assert_fails(PAGESTORE_EFORMAT, try_open(&reading));
  snprintf(path, sizeof path, "%s/store/other/below", base);
  assert_fails(PAGESTORE_EFORMAT, try_open(&creating));
  snprintf(path, sizeof path, "%s/no/such", base);
  assert_fails(PAGESTORE_ENOTFOUND, try_open(&creating));
  path[0] = 0;
  assert_fails(PAGESTORE_EINVAL, try_open(&creating));
  char name[280];
  memset(name, 'n', sizeof name);
  directory *d;
  name[240] = 0;
  snprintf(file, sizeof file, "%.100s/%s", base, name);
  assert_fails(PAGESTORE_EINVAL, directory_open(file, &creating, &d));
  name[240] = 'n';
  name[279] = 0;
  snprintf(file, sizeof file, "%.100s/%s", base, name);
  assert_fails(PAGESTORE_EINVAL, directory_open(file, &creating, &d));
  assert_int_equal(entries(base), 1);
}

static void test_symbolic_links(void **state) {
  (void)state;
  char link[300];
  directory *d;
  assert_ok(try_open(&creating));
  snprintf(link, sizeof link, "%s/link", base);
  assert_int_equal(symlink("store", link), 0);
  assert_ok(directory_open(link, &writing, &d));
  assert_string_equal(directory_path(d), path); /* followed once: later changes of the link do not matter */
  assert_fails(PAGESTORE_EBUSY, try_open(&writing));
  directory_close(d);
  unlink(link);
  assert_int_equal(symlink("nowhere", link), 0);
  assert_fails(PAGESTORE_ENOTFOUND, directory_open(link, &creating, &d));
  unlink(link);
  assert_int_equal(symlink("link", link), 0);
  assert_fails(PAGESTORE_ENOTFOUND, directory_open(link, &creating, &d));
  assert_int_equal(entries(base), 2);
}

static void test_failed_creation_leaves_nothing(void **state) {
  (void)state;
  const directory_options failing = {.create = true, .make = make_fails};
  assert_int_equal(try_open(&failing), PAGESTORE_ENOSPC);
  assert_int_equal(entries(base), 0);
  mkdir(path, 0700);
  assert_int_equal(try_open(&failing), PAGESTORE_ENOSPC);
  assert_int_equal(entries(path), 0);
  assert_ok(try_open(&creating));
}

static int create_as_nobody(void) {
  if (setgid(65534) != 0 || setuid(65534) != 0) return PAGESTORE_EACCES;
  return try_open(&creating);
}

static int write_as_nobody(void) {
  if (setgid(65534) != 0 || setuid(65534) != 0) return PAGESTORE_EACCES;
  return try_open(&writing);
}

static void test_no_permission(void **state) {
  (void)state;
  if (geteuid() != 0) skip();
  chmod(base, 0755);
  assert_int_equal(in_child(create_as_nobody), PAGESTORE_EACCES);
  assert_int_equal(entries(base), 0);
  assert_ok(try_open(&creating));
  assert_int_equal(in_child(write_as_nobody), PAGESTORE_EACCES);
}

/* ---- death while creating ---------------------------------------------------------------------------------------------- */

static int make_dies(void *env, const char *where) {
  const int *stage = env;
  if (*stage == 0) raise(SIGKILL);
  make(NULL, where);
  if (*stage == 1) raise(SIGKILL);
  return 0;
}

/* Whole or none; and the next creation clears what the dead one left. */
static void check_after_death(void) {
  db *d;
  if (entries(path) > 0 && access(path, F_OK) == 0) {
    char data[400];
    snprintf(data, sizeof data, "%s/data.mdb", path);
    if (access(data, F_OK) == 0) {
      assert_ok(db_open(path, &(db_options){0}, &d));
      db_close(d);
    }
  }
  assert_ok(try_open(&creating));
  assert_ok(db_open(path, &(db_options){0}, &d));
  db_close(d);
  assert_int_equal(entries(path), 2);
}

static void test_killed_in_make(void **state) {
  (void)state;
  for (int empty_exists = 0; empty_exists < 2; empty_exists++)
    for (int stage = 0; stage < 2; stage++) {
      const directory_options dying = {.create = true, .make = make_dies, .env = &stage};
      if (empty_exists) mkdir(path, 0700);
      pid_t pid = fork();
      if (pid == 0) _exit(try_open(&dying) != 0);
      int status;
      waitpid(pid, &status, 0);
      assert_true(WIFSIGNALED(status));
      assert_int_equal(entries(empty_exists ? path : base), 1); /* the left-over */
      check_after_death();
      assert_int_equal(entries(base), 1);
      remove_tree(path);
    }
}

static void test_killed_anywhere(void **state) {
  (void)state;
  uint64_t seed = 3;
  int whole = 0, none = 0;
  print_message("seed %llu\n", (unsigned long long)seed);
  for (int round = 0; round < 40; round++) {
    if (round % 2) mkdir(path, 0700);
    pid_t pid = fork();
    if (pid == 0) _exit(try_open(&creating) != 0);
    usleep((useconds_t)(next_random(&seed) % 12000));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    char data[400];
    snprintf(data, sizeof data, "%s/data.mdb", path);
    if (access(data, F_OK) == 0) whole++;
    else none++;
    check_after_death();
    assert_int_equal(entries(base) <= 2, 1);
    remove_tree(path);
  }
  print_message("%d whole, %d none\n", whole, none);
}

/* A file system of its own is as good as empty. */
static void test_lost_and_found(void **state) {
  (void)state;
  char found[400];
  mkdir(path, 0700);
  snprintf(found, sizeof found, "%s/lost+found", path);
  mkdir(found, 0700);
  assert_ok(try_open(&creating));
  assert_int_equal(access(found, F_OK), 0);
}

/* A living creator's directory is left alone. */
static void test_living_creator(void **state) {
  (void)state;
  char alive[400], dead[400], foreign[400], other[400];
  snprintf(alive, sizeof alive, "%s.new-0123456789abcdef", path);
  snprintf(dead, sizeof dead, "%s.new-fedcba9876543210", path);
  snprintf(foreign, sizeof foreign, "%s.new-name-of-a-user", path);
  mkdir(alive, 0700);
  mkdir(dead, 0700);
  snprintf(other, sizeof other, "%s.new-0123456789abcdeg", path);
  mkdir(foreign, 0700);
  mkdir(other, 0700);
  int fd = open(alive, O_RDONLY | O_DIRECTORY);
  assert_int_equal(flock(fd, LOCK_EX), 0);
  assert_ok(try_open(&creating));
  assert_int_equal(access(alive, F_OK), 0);
  assert_int_equal(access(dead, F_OK), -1);
  assert_int_equal(access(foreign, F_OK) | access(other, F_OK), 0);
  close(fd);
}

static void *creating_thread(void *env) {
  return (void *)(intptr_t)try_open(env);
}

static int create_and_hold(void) {
  directory *d;
  int err = directory_open(path, &creating, &d);
  usleep(5000);
  return err;
}

/* Creators at the same time: one makes it, the others find it or find it locked. */
static void test_creators_race(void **state) {
  (void)state;
  for (int round = 0; round < 10; round++) {
    pid_t pids[4];
    int made = 0, status;
    if (round % 2) mkdir(path, 0700);
    for (int i = 0; i < 4; i++)
      if ((pids[i] = fork()) == 0) _exit(-create_and_hold() & 0xff);
    for (int i = 0; i < 4; i++) {
      waitpid(pids[i], &status, 0);
      assert_true(WIFEXITED(status));
      if (WEXITSTATUS(status) == 0) made++;
      else assert_int_equal(WEXITSTATUS(status), -PAGESTORE_EBUSY);
    }
    assert_true(made >= 1);
    check_after_death();
    assert_int_equal(entries(base), 1);
    remove_tree(path);
  }
  pthread_t threads[4];
  void *result;
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, creating_thread, (void *)(uintptr_t)&creating);
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], &result);
    assert_true((intptr_t)result == 0 || (intptr_t)result == PAGESTORE_EBUSY);
  }
}

/* ---- one writer -------------------------------------------------------------------------------------------------------- */

static int open_for_writing(void) { return try_open(&writing); }
static int open_for_reading(void) { return try_open(&reading); }

static void test_one_writer(void **state) {
  (void)state;
  directory *d;
  char lock[400];
  assert_ok(directory_open(path, &creating, &d));
  assert_fails(PAGESTORE_EBUSY, try_open(&writing));
  assert_fails(PAGESTORE_EBUSY, try_open(&reading)); /* once in this process */
  assert_int_equal(in_child(open_for_writing), PAGESTORE_EBUSY);
  assert_int_equal(in_child(open_for_reading), 0);
  snprintf(lock, sizeof lock, "%s/lock.mdb", path);
  unlink(lock); /* LMDB would let a second writer in */
  assert_int_equal(in_child(open_for_writing), PAGESTORE_EBUSY);
  directory_close(d);
  assert_int_equal(in_child(open_for_writing), 0);
  assert_ok(directory_open(path, &reading, &d));
  assert_int_equal(in_child(open_for_writing), 0); /* a reader is in nobody's way */
  directory_close(d);
  fault_row_count(ROW_WRITERS, 4);
}

/* The lock lies on the directory: a bind mount or another path to it is the same store. */
static void test_other_path(void **state) {
  (void)state;
  directory *d, *e;
  char other[400];
  assert_ok(directory_open(path, &creating, &d));
  snprintf(other, sizeof other, "%s/../store//.", path);
  assert_fails(PAGESTORE_EBUSY, directory_open(other, &writing, &e));
  directory_close(d);
  snprintf(other, sizeof other, "%s/next///", base);
  assert_ok(directory_open(other, &creating, &e)); /* slashes behind the name of a new one */
  directory_close(e);
}

static int forks_seen;
static void note_fork(void *store) { forks_seen += store == &forks_seen; }

static directory *inherited;

static int look_at_inherited(void) {
  directory *d;
  if (!directory_forked(inherited) || forks_seen != 1) return -100;
  if (directory_open(path, &writing, &d) != PAGESTORE_EBUSY) return -101; /* the parent's */
  directory_close(inherited);
  if (directory_open(path, &writing, &d) != PAGESTORE_EBUSY) return -102; /* still */
  return 0;
}

static void test_fork(void **state) {
  (void)state;
  directory_options o = creating;
  o.after_fork = note_fork;
  o.store = &forks_seen;
  assert_ok(directory_open(path, &o, &inherited));
  assert_int_equal(in_child(look_at_inherited), 0);
  assert_false(directory_forked(inherited));
  assert_int_equal(forks_seen, 0);
  assert_int_equal(in_child(open_for_writing), PAGESTORE_EBUSY);
  /* A child that lives on does not keep the lock. */
  int ready[2], done[2];
  char byte;
  assert_int_equal(pipe(ready) | pipe(done), 0);
  pid_t pid = fork();
  if (pid == 0) {
    close(done[1]);
    if (write(ready[1], "", 1) == 1) _exit(read(done[0], &byte, 1) != 0);
    _exit(1);
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  directory_close(inherited);
  assert_ok(try_open(&writing));
  close(done[1]);
  waitpid(pid, NULL, 0);
  close(ready[0]), close(ready[1]), close(done[0]);
  fault_row_count(ROW_FORK, 2);
}

static void test_exec_inherits_nothing(void **state) {
  (void)state;
  directory *d;
  char command[400];
  assert_ok(directory_open(path, &creating, &d));
  snprintf(command, sizeof command, "! ls -l /proc/self/fd | grep -q %s", base);
  assert_int_equal(system(command), 0);
  fault_row_count(ROW_FORK, 1);
  directory_close(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_create), TEST(test_create_in_empty_directory), TEST(test_create_on_a_mount_point), TEST(test_refused_places),
      TEST(test_symbolic_links), TEST(test_failed_creation_leaves_nothing), TEST(test_no_permission),
      TEST(test_killed_in_make), TEST(test_killed_anywhere), TEST(test_living_creator), TEST(test_lost_and_found), TEST(test_creators_race),
      TEST(test_one_writer), TEST(test_other_path), TEST(test_fork), TEST(test_exec_inherits_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
