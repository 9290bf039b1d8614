/* test_places.c - lock files of every kind, places that cannot be written, second writers: through the public header.
 *
 * ctest: LABELS plain
 *
 * Proven:
 * - lock.mdb deleted, emptied, garbage, of another owner and read-only, a directory, a link to nothing, a pipe; before the store is opened
 *   and while it is: opening works or says what is wrong, the store is whole; while it is open a second writer is refused as busy, from
 *   this process by any path and from another one, and the first goes on;
 * - a read-only file system, no permission for the directory or a file (as another user: root only), a link to nothing, links in a loop,
 *   a file, a pipe and a device in the place of the directory, data.mdb a directory, a pipe, a link to nothing: a clean error, and
 *   nothing is created or changed;
 * - data.mdb with bytes behind its end, of zeros or noise: opens, is right and goes on.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum { PAGES = 3, NOBODY = 65534 };

/* ---- in another process ------------------------------------------------------------------------------------------------------------------ */

typedef struct { const char *path; uint32_t flags; bool nobody; } opening;

/* Minus the status; 100: refused without a text, 101: not another user. */
static int open_and_close(const opening *o) {
  pagestore_store *store;
  if (o->nobody && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)) return 101;
  int status = pagestore_open(o->path, PAGESTORE_WITH(pagestore_options, .flags = o->flags), &store);
  if (status) return strlen(pagestore_detail()) > 10 ? -status : 100;
  return -pagestore_close(store);
}

/* By fork and nothing else: what the child has open of ours, it closes itself. */
static int elsewhere(const char *path, uint32_t flags, bool nobody) {
  int status;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) _exit(open_and_close(&(opening){ path, flags, nobody }));
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFEXITED(status)) fail_msg("opening %s: the child ended with %#x", path, status);
  return WEXITSTATUS(status) >= 100 ? WEXITSTATUS(status) : -WEXITSTATUS(status);
}

static unsigned list(const char *folder) {
  struct dirent **found;
  int count = scandir(folder, &found, NULL, NULL);
  for (int i = 0; i < count; i++) free(found[i]);
  if (count >= 0) free(found);
  return count < 0 ? 0 : (unsigned)count;
}

/* ---- lock files -------------------------------------------------------------------------------------------------------------------------- */

static char lock_path[300];

static void remove_lock(void) {
  if (unlink(lock_path) != 0) rmdir(lock_path);
}

static void write_lock(const char *bytes, size_t length, mode_t mode) {
  remove_lock();
  int fd = open(lock_path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  assert_true(fd >= 0 && write(fd, bytes, length) == (ssize_t)length && fchmod(fd, mode) == 0);
  close(fd);
}

static void overwrite_lock(void) {
  uint8_t garbage[8192];
  for (size_t i = 0; i < sizeof garbage; i++) garbage[i] = (uint8_t)(i * 37 + 11);
  write_lock((const char *)garbage, sizeof garbage, 0600);
}

static void delete_lock(void) { remove_lock(); }
static void empty_lock(void) { write_lock("", 0, 0600); }
static void short_lock(void) { write_lock("lock", 4, 0600); }
static void read_only_lock(void) { chmod(lock_path, 0444); }
static void directory_lock(void) { remove_lock(), assert_int_equal(mkdir(lock_path, 0700), 0); }
static void dangling_lock(void) { remove_lock(), assert_int_equal(symlink("/nowhere/at/all", lock_path), 0); }
static void pipe_lock(void) { remove_lock(), assert_int_equal(mkfifo(lock_path, 0600), 0); }

static const struct { void (*spoil)(void); const char *name; } locks[] = {
  { delete_lock, "deleted" },       { empty_lock, "empty" },          { short_lock, "short" },        { overwrite_lock, "garbage" },
  { read_only_lock, "read-only" },  { directory_lock, "directory" },  { dangling_lock, "dangling" },  { pipe_lock, "pipe" },
};
enum { LOCKS = sizeof locks / sizeof *locks };

static void fill_store(host *h) {
  host_open(h, PAGES);
  snprintf(lock_path, sizeof lock_path, "%s/lock.mdb", h->path);
  for (uint64_t p = 0; p < PAGES; p++) put(h, p, 1);
  host_commit(h);
}

static void make_store(host *h) {
  *h = (host){0};
  folder_make(h);
  fill_store(h);
}

static void check_store(host *h, uint64_t tag) {
  for (uint64_t p = 0; p < PAGES; p++) assert_page(h, p, tag);
}

static void second_writers_are_refused(host *h) {
  char other[400];
  pagestore_store *second;
  assert_int_equal(elsewhere(h->path, 0, false), PAGESTORE_EBUSY);
  assert_int_equal(elsewhere(h->path, PAGESTORE_CREATE, false), PAGESTORE_EBUSY);
  assert_status(pagestore_open(h->path, NULL, &second), PAGESTORE_EBUSY);
  snprintf(other, sizeof other, "%s/../store/.", h->path);
  assert_status(pagestore_open(other, NULL, &second), PAGESTORE_EBUSY);
  snprintf(other, sizeof other, "%s/link", h->folder);
  (void)unlink(other);
  assert_int_equal(symlink("store", other), 0);
  assert_status(pagestore_open(other, NULL, &second), PAGESTORE_EBUSY);
  assert_int_equal(elsewhere(other, 0, false), PAGESTORE_EBUSY);
}

static void spoilt_while_open(void **state) {
  (void)state;
  for (size_t i = 0; i < LOCKS; i++) {
    host h;
    make_store(&h);
    locks[i].spoil();
    second_writers_are_refused(&h);
    for (uint64_t tag = 2; tag < 5; tag++) {
      for (uint64_t p = 0; p < PAGES; p++) put(&h, p, tag);
      host_commit(&h);
    }
    second_writers_are_refused(&h);
    assert_ok(host_close(&h));
    remove_lock();
    host_open(&h, 0);
    check_store(&h, 4);
    assert_ok(host_close(&h));
    folder_remove(&h);
  }
  fault_row_count(ROW_LOCK_FILE, LOCKS);
  fault_row_count(ROW_WRITERS, 12 * LOCKS);
}

static void spoilt_before(void **state) {
  (void)state;
  unsigned opened = 0;
  for (size_t i = 0; i < LOCKS; i++) {
    host h;
    make_store(&h);
    assert_ok(host_close(&h));
    locks[i].spoil();
    int status = host_open_store(&h);
    if (status == 0) {
      opened++;
      second_writers_are_refused(&h);
      host_open_instance(&h, 0);
      check_store(&h, 1);
      put(&h, 0, 1);
      host_commit(&h);
      assert_ok(host_close(&h));
    } else if (strlen(pagestore_detail()) <= 10 || (status != PAGESTORE_EIO && status != PAGESTORE_EACCES && status != PAGESTORE_EFORMAT)) {
      fail_msg("lock file %s: %d (%s)", locks[i].name, status, pagestore_detail());
    }
    remove_lock();
    host_open(&h, 0);
    check_store(&h, 1);
    assert_ok(host_close(&h));
    folder_remove(&h);
  }
  print_message("%d lock files, with %u of them the store opens\n", (int)LOCKS, opened);
  assert_true(opened >= 4);
  fault_row_count(ROW_LOCK_FILE, LOCKS);
}

/* ---- a file that has grown --------------------------------------------------------------------------------------------------------------- */

/* Bytes behind the last page that the meta page knows are nobody's: a writer that was killed leaves some. */
static void grown_files(void **state) {
  (void)state;
  static const size_t more[] = { 1, 511, 4095, 4096, 69632, 1 << 20 };
  unsigned tried = 0;
  for (size_t i = 0; i < sizeof more / sizeof *more; i++)
    for (int noise = 0; noise < 2; noise++, tried++) {
      host h;
      make_store(&h);
      assert_ok(host_close(&h));
      uint8_t *bytes = malloc(more[i]);
      memset(bytes, noise ? 0xa5 : 0, more[i]);
      int fd = open(h.file, O_WRONLY | O_APPEND | O_CLOEXEC);
      assert_true(fd >= 0 && write(fd, bytes, more[i]) == (ssize_t)more[i]);
      close(fd);
      free(bytes);
      h.options.flags = PAGESTORE_VERIFY;
      host_open(&h, 0);
      check_store(&h, 1);
      for (uint64_t tag = 2; tag < 5; tag++) {
        for (uint64_t p = 0; p < PAGES; p++) put(&h, p, tag);
        host_commit(&h);
      }
      assert_ok(host_close(&h));
      host_open(&h, 0);
      check_store(&h, 4);
      assert_ok(host_close(&h));
      folder_remove(&h);
    }
  fault_row_count(ROW_OTHER_FILE, tried);
}

/* ---- places that cannot be written ------------------------------------------------------------------------------------------------------- */

static unsigned refused_places;

static void refused(const host *h, const char *path, int status, int or_status) {
  unsigned before = list(h->folder), inside = list(h->path);
  pagestore_store *store;
  const uint32_t flags[] = { PAGESTORE_CREATE, 0, PAGESTORE_READ };
  for (int i = 0; i < 3; i++) {
    int got = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = flags[i]), &store);
    if (got != status && got != or_status) fail_msg("%s: %d (%s), expected %d or %d", path, got, pagestore_detail(), status, or_status);
    assert_true(strlen(pagestore_detail()) > 10);
    refused_places++;
  }
  assert_int_equal(list(h->folder), before);
  assert_int_equal(list(h->path), inside);
}

static void wrong_kinds(void **state) {
  (void)state;
  host h;
  char path[300];
  make_store(&h);
  assert_ok(host_close(&h));
  snprintf(path, sizeof path, "%s/thing", h.folder);
  assert_int_equal(symlink("/nowhere/at/all", path), 0);
  refused(&h, path, PAGESTORE_ENOTFOUND, PAGESTORE_ENOTFOUND);
  unlink(path);
  assert_int_equal(symlink("thing", path), 0);
  refused(&h, path, PAGESTORE_ENOTFOUND, PAGESTORE_ENOTFOUND);
  unlink(path);
  assert_int_equal(mkfifo(path, 0600), 0);
  refused(&h, path, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  unlink(path);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  refused(&h, path, PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);
  unlink(path);
  refused(&h, "/dev/null", PAGESTORE_EFORMAT, PAGESTORE_EFORMAT);

  unlink(h.file);
  assert_int_equal(mkdir(h.file, 0700), 0);
  refused(&h, h.path, PAGESTORE_EFORMAT, PAGESTORE_EIO);
  rmdir(h.file);
  assert_int_equal(mkfifo(h.file, 0600), 0);
  refused(&h, h.path, PAGESTORE_EFORMAT, PAGESTORE_EIO);
  unlink(h.file);
  assert_int_equal(symlink("/nowhere/at/all", h.file), 0);
  refused(&h, h.path, PAGESTORE_EFORMAT, PAGESTORE_ENOTFOUND);
  folder_remove(&h);
  fault_row_count(ROW_NOT_WRITABLE, refused_places);
}

static void another_user(void **state) {
  (void)state;
  host h = {0};
  unsigned tried = 0;
  if (geteuid() != 0) {
    print_message("not root: nobody to be\n");
    skip();
  }
  folder_make_in(&h, "/tmp"); /* the scratch folder may be closed to others */
  fill_store(&h);
  assert_ok(host_close(&h));
  /* No entry, no creation, no reading, reading alone: by mode of the folder above, the store, its files. */
  static const struct { mode_t above, store, file; uint32_t flags; int status; } cases[] = {
    { 0700, 0755, 0644, 0, PAGESTORE_EACCES },                  { 0700, 0755, 0644, PAGESTORE_CREATE, PAGESTORE_EACCES },
    { 0755, 0700, 0644, 0, PAGESTORE_EACCES },                  { 0755, 0700, 0644, PAGESTORE_READ, PAGESTORE_EACCES },
    { 0755, 0755, 0644, 0, PAGESTORE_EACCES },                  { 0755, 0755, 0600, PAGESTORE_READ, PAGESTORE_EACCES },
    { 0755, 0755, 0644, PAGESTORE_READ, PAGESTORE_EACCES },     { 0755, 0755, 0666, PAGESTORE_READ, 0 },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++, tried++) {
    assert_true(chmod(h.folder, cases[i].above) == 0 && chmod(h.path, cases[i].store) == 0);
    assert_true(chmod(h.file, cases[i].file) == 0 && chmod(lock_path, cases[i].file) == 0);
    int status = elsewhere(h.path, cases[i].flags, true);
    if (status != cases[i].status) fail_msg("case %d: %d", (int)i, status);
  }
  char fresh[300];
  snprintf(fresh, sizeof fresh, "%s/fresh", h.folder);
  assert_int_equal(elsewhere(fresh, PAGESTORE_CREATE, true), PAGESTORE_EACCES);
  assert_int_equal(mkdir(fresh, 0755), 0);
  assert_int_equal(elsewhere(fresh, PAGESTORE_CREATE, true), PAGESTORE_EACCES);
  assert_int_equal(list(fresh), 2);
  host_open(&h, 0);
  check_store(&h, 1);
  assert_ok(host_close(&h));
  folder_remove(&h);
  fault_row_count(ROW_NOT_WRITABLE, tried + 2);
}

static void read_only_file_system(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  if (mount("pagestore", h.folder, "tmpfs", 0, "size=32m") != 0) {
    print_message("no file system could be mounted (%s): not run\n", strerror(errno));
    folder_remove(&h);
    skip();
  }
  host_open(&h, PAGES);
  for (uint64_t p = 0; p < PAGES; p++) put(&h, p, 1);
  host_commit(&h);
  assert_ok(host_close(&h));
  assert_int_equal(mount("pagestore", h.folder, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=32m"), 0);
  char fresh[300];
  snprintf(fresh, sizeof fresh, "%s/fresh", h.folder);
  unsigned before = list(h.folder);
  pagestore_store *store;
  assert_status(pagestore_open(fresh, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store), PAGESTORE_EACCES);
  assert_status(pagestore_open(h.path, NULL, &store), PAGESTORE_EACCES);
  assert_int_equal(list(h.folder), before);
  /* For reading it opens: there can be no writer. */
  int status = pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &store);
  if (status) assert_true(status == PAGESTORE_EACCES && strlen(pagestore_detail()) > 10);
  else assert_ok(pagestore_close(store));
  print_message("for reading: %d\n", status);
  assert_int_equal(mount("pagestore", h.folder, "tmpfs", MS_REMOUNT, "size=32m"), 0);
  host_open(&h, 0);
  check_store(&h, 1);
  assert_ok(host_close(&h));
  assert_int_equal(umount(h.folder), 0);
  folder_remove(&h);
  fault_row_count(ROW_NOT_WRITABLE, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(spoilt_while_open), cmocka_unit_test(spoilt_before), cmocka_unit_test(wrong_kinds),
    cmocka_unit_test(another_user),      cmocka_unit_test(read_only_file_system), cmocka_unit_test(grown_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
