/* test_db.c - the LMDB environment at work: rows, readers, handlers, room. */
#include "db_support.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/time.h>

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

static void delete_rows(db *d, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    db_txn *txn;
    assert_ok(db_begin(d, &txn));
    assert_ok(delete_page(txn, (page_key){1, 1, i, 1}));
    assert_ok(db_commit(txn));
  }
}

static uint64_t fill(db *d, uint64_t from, uint64_t commits_max) {
  uint64_t commits = 0;
  while (commits < commits_max && commit_pages(d, from + 8 * commits, 8, 1) == 0) commits++;
  return commits;
}

/* Rows that are deleted while somebody reads give no room as long as he does. */
static void test_an_old_reader_keeps_room(void **state) {
  (void)state;
  db *d = open_with(&(db_options){.map_bytes = 16 << 20});
  uint64_t all = fill(d, 0, UINT64_MAX), half = all / 2;
  delete_rows(d, 8 * all);
  assert_int_equal(fill(d, 0, half), half);
  db_slot *slot = db_slot_take(d);
  assert_ok(db_slot_renew(slot));
  delete_rows(d, 8 * half);
  uint64_t held = fill(d, 1000, UINT64_MAX);
  assert_in_range(held, 1, all - half);
  db_slot_release(slot);
  assert_in_range(held + fill(d, 2000, UINT64_MAX), all - 2, all + 1);
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

/* An argument names the tests to run, with wildcards. */
int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      TEST(test_rows),
      TEST(test_abort_and_snapshot),
      TEST(test_model),
      TEST(test_data_is_aligned),
      TEST(test_slots_run_out),
      TEST(test_slots_in_handlers),
      TEST(test_settle_waits),
      TEST(test_readers_beside_writer),
      TEST(test_map_full),
      TEST(test_map_full_can_be_raised),
      TEST(test_map_full_inside),
      TEST(test_an_old_reader_keeps_room),
      TEST(test_disk_bytes),
      TEST(test_full_disk),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
