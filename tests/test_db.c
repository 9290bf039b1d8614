/* test_db.c - the LMDB environment: readers and the writer, room, and what happens when the file fails. */
#include "storage_support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "base/faults.h"
#include "storage/walker.h"

#ifdef __SANITIZE_ADDRESS__
static const bool under_asan = true;
#else
static const bool under_asan = false;
#endif

static char directory[256];

static int setup(void **state) {
  (void)state;
  make_environment(make_temp_directory(directory));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  remove_tree(directory);
  return 0;
}

/* cmocka installs handlers of its own before each test. */
static db *open_with(const db_options *o) {
  db *d;
  assert_ok(db_open(directory, o, &d));
  assert_ok(faults_reinstall());
  return d;
}

static bytes text(const char *s) { return (bytes){s, strlen(s)}; }

static void assert_bytes(bytes found, const char *expected) {
  assert_int_equal(found.size, strlen(expected));
  assert_memory_equal(found.data, expected, found.size);
}

static int count_rows(db_slot *slot, db_table table) {
  bytes key, value;
  int count = 0, err = db_slot_seek(slot, table, text("\1"), &key, &value);
  if (err == PAGESTORE_ENOTFOUND) err = db_slot_seek(slot, table, (bytes){"\0", 1}, &key, &value);
  for (; err == 0; count++) err = db_slot_next(slot, table, &key, &value);
  assert_int_equal(err, PAGESTORE_ENOTFOUND);
  return count;
}

static int rows_seen(db *d) {
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  bytes key, value;
  int count = 0, err = db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value);
  for (; err == 0; count++) err = db_slot_next(slot, DB_PAGES, &key, &value);
  db_slot_release(slot);
  assert_int_equal(err, PAGESTORE_ENOTFOUND);
  return count;
}

/* ---- reading and writing --------------------------------------------------------------------------------------------- */

static void test_rows(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  db_txn *txn;
  bytes key, value;
  void *room;
  assert_ok(db_begin(d, &txn));
  uint64_t id = db_txn_id(txn);
  assert_ok(db_put(txn, DB_CATALOG, text("b"), text("two")));
  assert_ok(db_put(txn, DB_CATALOG, text("a"), text("one")));
  assert_ok(db_put_reserve(txn, DB_CATALOG, text("c"), 5, &room));
  memcpy(room, "three", 5);
  assert_ok(db_put(txn, DB_CATALOG, text("b"), text("TWO")));
  assert_ok(db_get(txn, DB_CATALOG, text("b"), &value));
  assert_bytes(value, "TWO");
  assert_int_equal(db_get(txn, DB_CATALOG, text("bb"), &value), PAGESTORE_ENOTFOUND);
  assert_ok(db_seek(txn, DB_CATALOG, text("aa"), &key, &value));
  assert_bytes(key, "b");
  assert_ok(db_next(txn, DB_CATALOG, &key, &value));
  assert_bytes(value, "three");
  assert_int_equal(db_next(txn, DB_CATALOG, &key, &value), PAGESTORE_ENOTFOUND);
  assert_ok(db_delete(txn, DB_CATALOG, text("b")));
  assert_int_equal(db_delete(txn, DB_CATALOG, text("b")), PAGESTORE_ENOTFOUND);
  assert_ok(db_seek(txn, DB_CATALOG, text("b"), &key, &value));
  assert_bytes(key, "c");
  assert_int_equal(db_seek(txn, DB_CATALOG, text("d"), &key, &value), PAGESTORE_ENOTFOUND);
  assert_ok(db_commit(txn));
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  assert_int_equal(db_slot_txn_id(slot), id);
  assert_int_equal(count_rows(slot, DB_CATALOG), 2);
  assert_int_equal(count_rows(slot, DB_LOG), 0);
  assert_ok(db_read_get((db_reader){.slot = slot}, DB_CATALOG, text("c"), &value));
  assert_bytes(value, "three");
  assert_int_equal(db_read_get((db_reader){.slot = slot}, DB_CATALOG, text("bb"), &value), PAGESTORE_ENOTFOUND);
  db_slot_release(slot);
  db_close(d);
}

static void test_abort_and_snapshot(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  db_txn *txn;
  assert_ok(commit_pages(d, 0, 5, 1));
  assert_ok(db_begin(d, &txn));
  assert_ok(put_page(txn, (page_key){1, 1, 77, 1}, 1));
  db_abort(txn);
  assert_int_equal(rows_seen(d), 5);
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  uint64_t before = db_slot_txn_id(slot);
  assert_ok(commit_pages(d, 10, 5, 1));
  assert_int_equal(db_slot_txn_id(slot), before);
  assert_ok(db_slot_renew(slot)); /* moves to the newest state */
  assert_int_equal(db_slot_txn_id(slot), before + 1);
  db_slot_release(slot);
  assert_int_equal(rows_seen(d), 10);
  db_close(d);
}

/* Against an array: rows in random order over a small key space, read back by both kinds of reader. */
static void test_model(void **state) {
  (void)state;
  enum { KEYS = 50 };
  uint64_t seed = 5, versions[KEYS] = {0};
  print_message("seed %llu\n", (unsigned long long)seed);
  db *d = open_with(&(db_options){0});
  for (uint64_t round = 1; round <= 60; round++) {
    db_txn *txn;
    uint64_t kept[KEYS];
    memcpy(kept, versions, sizeof kept);
    assert_ok(db_begin(d, &txn));
    for (int i = 0; i < 20; i++) {
      uint64_t k = next_random(&seed) % KEYS;
      page_key key = {1, 1, k, 1};
      if (next_random(&seed) % 4) {
        assert_ok(put_page(txn, key, (int)round));
        kept[k] = round;
      } else {
        assert_int_equal(delete_page(txn, key), kept[k] ? 0 : PAGESTORE_ENOTFOUND);
        kept[k] = 0;
      }
    }
    if (next_random(&seed) % 5) {
      assert_ok(db_commit(txn));
      memcpy(versions, kept, sizeof kept);
    } else {
      db_abort(txn);
    }
    db_slot *slot = db_slot_take(d);
    assert_ok(db_slot_renew(slot));
    for (uint64_t k = 0; k < KEYS; k++) {
      uint8_t encoded[PAGE_KEY_BYTES];
      bytes value;
      page_key_encode((page_key){1, 1, k, 1}, encoded);
      int err = db_read_get((db_reader){.slot = slot}, DB_PAGES, (bytes){encoded, sizeof encoded}, &value);
      assert_int_equal(err, versions[k] ? 0 : PAGESTORE_ENOTFOUND);
      if (!err) assert_int_equal(page_record_bytes(value)[100], (uint8_t)versions[k]);
    }
    db_slot_release(slot);
  }
  db_close(d);
}

static void test_data_is_aligned(void **state) {
  (void)state;
  db *d = open_with(&(db_options){0});
  assert_ok(commit_pages(d, 0, 64, 1));
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  bytes key, value;
  int err = db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value);
  for (; !err; err = db_slot_next(slot, DB_PAGES, &key, &value)) assert_int_equal((uintptr_t)page_record_bytes(value) % 4096, 0);
  db_slot_release(slot);
  db_close(d);
}

/* ---- slots ----------------------------------------------------------------------------------------------------------- */

static void test_slots_run_out(void **state) {
  (void)state;
  db *d = open_with(&(db_options){.slots = 4});
  db_slot *reserved[4], *taken = db_slot_take(d);
  assert_ok(db_slot_reserve(d, &reserved[0]));
  assert_fails(PAGESTORE_ENOMEM, db_slot_reserve(d, &reserved[1]));
  assert_ptr_not_equal(taken, reserved[0]);
  memset(db_slot_page(taken), 1, PAGE_BYTES);
  memset(db_slot_page(reserved[0]), 2, PAGE_BYTES);
  assert_int_equal(db_slot_page(taken)[PAGE_BYTES - 1], 1);
  db_slot_release(taken);
  db_slots_settle(d); /* does not wait for what is reserved */
  db_slot_release(reserved[0]);
  db_close(d);
}

static db *handler_db;
static _Atomic int handler_rows, handler_failures;

static void read_in_handler(int signal) {
  (void)signal;
  db_slot *slot = db_slot_take(handler_db);
  bytes key, value;
  int err = db_slot_renew(slot);
  if (!err) err = db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value);
  if (!err) memcpy(db_slot_page(slot), page_record_bytes(value), PAGE_BYTES);
  if (err) handler_failures++;
  else handler_rows++;
  db_slot_release(slot);
}

/* Signals at any point of reads, writes and allocations of the same thread. */
static void test_slots_in_handlers(void **state) {
  (void)state;
  struct sigaction action = {.sa_handler = read_in_handler}, before;
  const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  db *d = handler_db = open_with(&(db_options){0});
  assert_ok(commit_pages(d, 0, 3, 1));
  sigaction(SIGALRM, &action, &before);
  setitimer(ITIMER_REAL, &often, NULL);
  for (uint64_t i = 2; i < 60; i++) {
    assert_ok(commit_pages(d, 0, 5, i));
    rows_seen(d);
    free(malloc(1000 * i));
  }
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &before, NULL);
  assert_true(handler_rows > 0);
  assert_int_equal(handler_failures, 0);
  db_close(d);
}

typedef struct {
  db *d;
  _Atomic int step;
} settling;

static void *settle_thread(void *env) {
  settling *s = env;
  s->step = 1;
  db_slots_settle(s->d);
  s->step = 2;
  return NULL;
}

static void test_settle_waits(void **state) {
  (void)state;
  settling s = {.d = open_with(&(db_options){.slots = 4})};
  pthread_t thread;
  db_slots_settle(s.d);
  db_slot *first = db_slot_take(s.d), *second = db_slot_take(s.d);
  assert_int_equal(pthread_create(&thread, NULL, settle_thread, &s), 0);
  while (s.step == 0) sched_yield();
  usleep(20000);
  assert_int_equal(s.step, 1);
  db_slot_release(second);
  second = db_slot_take(s.d); /* taken afterwards: not waited for */
  usleep(20000);
  assert_int_equal(s.step, 1);
  db_slot_release(first);
  db_slot_release(second);
  pthread_join(thread, NULL);
  assert_int_equal(s.step, 2);
  db_close(s.d);
}

static _Atomic bool readers_stop;

static void *reading_thread(void *env) {
  db *d = env;
  while (!readers_stop) {
    db_slot *slot = db_slot_take(d);
    bytes key, value;
    uint64_t versions[8] = {0};
    int rows = 0, err = db_slot_renew(slot);
    if (!err) err = db_slot_seek(slot, DB_PAGES, (bytes){"\0", 1}, &key, &value);
    for (; !err && rows < 8; rows++) {
      page_key k;
      row_kind kind;
      assert_int_equal(page_key_decode(key, &k), 0);
      assert_int_equal(row_check(value, k, test_store_id, &kind), 0);
      versions[rows] = k.version;
      err = db_slot_next(slot, DB_PAGES, &key, &value);
    }
    for (int i = 1; i < rows; i++) assert_int_equal(versions[i], versions[0]); /* one state, never between two */
    db_slot_release(slot);
  }
  return NULL;
}

static void test_readers_beside_writer(void **state) {
  (void)state;
  db *d = open_with(&(db_options){.slots = 3});
  pthread_t threads[4];
  readers_stop = false;
  assert_ok(commit_pages(d, 0, 8, 1));
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, reading_thread, d), 0);
  for (uint64_t version = 2; version < 40; version++) {
    db_txn *txn;
    assert_ok(db_begin(d, &txn));
    for (uint64_t i = 0; i < 8; i++) {
      assert_ok(put_page(txn, (page_key){1, 1, i, version}, 1));
      assert_ok(delete_page(txn, (page_key){1, 1, i, version - 1}));
    }
    assert_ok(db_commit(txn));
    db_slots_settle(d);
  }
  readers_stop = true;
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  db_close(d);
}

/* ---- room ------------------------------------------------------------------------------------------------------------ */

/* Fills until refused; then what is there can be read, deleted, and after that there is room again. */
static void fill_and_empty(const db_options *o, int refusal) {
  db *d = open_with(o);
  uint64_t commits = 0;
  int err;
  while ((err = commit_pages(d, 16 * commits, 16, 1)) == 0) commits++;
  assert_int_equal(err, refusal);
  assert_true(strlen(pagestore_detail()) > 10);
  assert_true(commits > 2);
  assert_int_equal(rows_seen(d), 16 * commits);
  for (uint64_t i = 0; i < 16 * commits; i += 8) {
    db_txn *txn;
    assert_ok(db_begin(d, &txn));
    for (uint64_t j = i; j < i + 8; j++) assert_ok(delete_page(txn, (page_key){1, 1, j, 1}));
    assert_ok(db_commit(txn));
  }
  assert_int_equal(rows_seen(d), 0);
  for (uint64_t i = 0; i + 1 < commits; i++) assert_ok(commit_pages(d, 16 * i, 16, 2));
  if (o->disk_bytes) assert_true(db_file_bytes(d) <= o->disk_bytes);
  db_close(d);
}

static void test_map_full(void **state) {
  (void)state;
  fill_and_empty(&(db_options){.map_bytes = 16 << 20}, PAGESTORE_EFULL);
}

static void test_map_full_can_be_raised(void **state) {
  (void)state;
  db *d = open_with(&(db_options){.map_bytes = 8 << 20});
  uint64_t i = 0;
  while (commit_pages(d, 8 * i, 8, 1) == 0) i++;
  db_close(d);
  d = open_with(&(db_options){.map_bytes = 64 << 20});
  assert_ok(commit_pages(d, 8 * i, 64, 1));
  db_close(d);
}

/* One transaction larger than the map is refused where it stands, and harms nothing. */
static void test_map_full_inside(void **state) {
  (void)state;
  db *d = open_with(&(db_options){.map_bytes = 4 << 20});
  assert_fails(PAGESTORE_EFULL, commit_pages(d, 0, 100, 1));
  assert_ok(commit_pages(d, 0, 5, 1));
  assert_int_equal(rows_seen(d), 5);
  db_close(d);
}

static void test_disk_bytes(void **state) {
  (void)state;
  fill_and_empty(&(db_options){.disk_bytes = 16 << 20}, PAGESTORE_ENOSPC);
}

/* A real full disk: a tmpfs of 8 MiB, where this process may make one. */
static void test_full_disk(void **state) {
  (void)state;
  char path[300];
  db *d;
  snprintf(path, sizeof path, "%s/small", directory);
  mkdir(path, 0700);
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", path, "tmpfs", 0, "size=8m") != 0)
    skip();
  make_environment(path);
  assert_ok(db_open(path, &(db_options){0}, &d));
  uint64_t i = 0;
  int err;
  while ((err = commit_pages(d, 4 * i, 4, 1)) == 0) i++;
  assert_int_equal(err, PAGESTORE_ENOSPC);
  assert_true(i > 10);
  assert_fails(PAGESTORE_ENOSPC, commit_pages(d, 4 * i, 4, 1));
  assert_int_equal(rows_seen(d), 4 * i);
  assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT, "size=32m"), 0);
  assert_ok(commit_pages(d, 4 * i, 16, 1)); /* works again when there is room */
  assert_int_equal(rows_seen(d), 4 * i + 16);
  db_close(d);
  umount(path);
}

/* ---- a file that fails under us ----------------------------------------------------------------------------------------- */

static void truncate_data(off_t size) {
  char path[300];
  snprintf(path, sizeof path, "%s/data.mdb", directory);
  assert_int_equal(truncate(path, size), 0);
}

static int touch_value(void *env) {
  const bytes *value = env;
  volatile uint8_t sum = 0;
  for (size_t i = 0; i < value->size; i += 512) sum ^= ((const volatile uint8_t *)value->data)[i];
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

/* Runs in a child: an environment abandoned in mid-change is not freed. */
static void in_child(void (*body)(void)) {
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
  if (under_asan) skip(); /* its shadow is larger than any limit */
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_rows), TEST(test_abort_and_snapshot), TEST(test_model), TEST(test_data_is_aligned),
      TEST(test_slots_run_out), TEST(test_slots_in_handlers), TEST(test_settle_waits), TEST(test_readers_beside_writer),
      TEST(test_map_full), TEST(test_map_full_can_be_raised), TEST(test_map_full_inside), TEST(test_disk_bytes), TEST(test_full_disk),
      TEST(test_truncated_under_a_reader), TEST(test_truncated_under_a_writer), TEST(test_truncated_before_a_commit),
      TEST(test_short_write), TEST(test_damaged_tree),
      TEST(test_read_only), TEST(test_read_only_beside_writer), TEST(test_no_permission), TEST(test_not_ours),
      TEST(test_descriptors_are_closed_on_exec), TEST(test_small_address_space), TEST(test_measure),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
