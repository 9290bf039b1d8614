/* test_threads.c - many threads in one store: messages with group commit, views, forks, snapshots, waiting, callbacks.
 *
 * Contents tell their version: at version v of an instance every page holds a word made of v and the page, so a torn, stale or mixed
 * view is seen at once. Proven: views and forks opened, advanced and closed while versions are committed and flushed show one version
 * whole; on_durable tells rising versions and all of them before close; nothing is durable before it was sealed; the queue's bound holds.
 * Clean under ThreadSanitizer.
 *
 * ctest: LABELS threads TIMEOUT 120
 */
#include "support/scratch.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WRITERS = 3, READERS = 3, PAGES = 6 };

typedef struct {
  pagestore_store *store;
  pagestore_instance *instance;
  char name[16];
  unsigned number;
  uint64_t sealed;                     /* by its writer */
  _Atomic uint64_t committed, told;    /* told: by on_durable */
  _Atomic uint32_t callbacks;
  _Atomic bool wrong;                  /* what a callback found */
} writer;

static writer writers[WRITERS];
static _Atomic bool stop;
static _Atomic uint64_t looks, forks, snapshots, failures, waited, taken_back;
static uint64_t rounds;

/* Threads other than the test's must not longjmp out of their stack: they count. */
#define EXPECT(condition) \
  do { \
    if (!(condition)) { \
      atomic_fetch_add(&failures, 1); \
      print_error("%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, pagestore_detail()); \
    } \
  } while (0)

static uint64_t word_of(uint64_t version, uint64_t page) { return version * 0x9e3779b97f4a7c15u + page; }

static void on_durable(void *env, void *user, uint64_t version, int status) {
  (void)env;
  writer *w = user;
  if (!w) return;
  if (status || version <= atomic_load(&w->told) || version > atomic_load(&w->committed) + 1) atomic_store(&w->wrong, true);
  atomic_store(&w->told, version);
  atomic_fetch_add(&w->callbacks, 1);
}

static pagestore_memory *heap(pagestore_instance *i) {
  pagestore_memory *m = NULL;
  EXPECT(pagestore_memory_open(i, "heap", PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .max_pages = PAGES, .guard_bytes = PAGE), &m) == 0);
  return m;
}

/* First and last word of each page, at places that change with the version. */
static void put_version(uint8_t *base, uint64_t version) {
  for (uint64_t page = 0; page < PAGES; page++) {
    uint64_t word = word_of(version, page);
    memcpy(base + page * PAGE, &word, sizeof word);
    memcpy(base + page * PAGE + version % 15 * BLOCK + 100, &word, sizeof word);
    memcpy(base + (page + 1) * PAGE - 8, &word, sizeof word);
  }
}

static bool shows(const uint8_t *base, uint64_t version) {
  for (uint64_t page = 0; page < PAGES; page++) {
    uint64_t must = word_of(version, page), is[3];
    memcpy(&is[0], base + page * PAGE, 8);
    memcpy(&is[1], base + page * PAGE + version % 15 * BLOCK + 100, 8);
    memcpy(&is[2], base + (page + 1) * PAGE - 8, 8);
    for (int i = 0; i < 3; i++)
      if (is[i] != must) return false;
  }
  return true;
}

/* ---- writers --------------------------------------------------------------------------------------- */

static void message(writer *w, uint8_t *base, uint64_t n) {
  put_version(base, w->sealed + 1);
  EXPECT(pagestore_metadata_set(w->instance, "version", &(uint64_t){ w->sealed + 1 }, 8) == 0);
  if (n % 11 == 5) {
    EXPECT(pagestore_rollback(w->instance) == 0);
    EXPECT(w->sealed == 0 || shows(base, w->sealed));
    return;
  }
  uint64_t version = 0;
  int status = pagestore_commit(w->instance, n % 17 == 3 ? 0 : n % 3 ? PAGESTORE_ASYNC : PAGESTORE_ASYNC | PAGESTORE_NOWAIT, &version);
  if (status == PAGESTORE_EAGAIN) status = pagestore_commit(w->instance, PAGESTORE_ASYNC, &version);
  EXPECT(status == 0);
  EXPECT(version == w->sealed + 1);
  w->sealed = version;
  atomic_store(&w->committed, version);
  EXPECT(pagestore_durable_version(w->instance) <= version);
  if (n % 29 == 7) {
    EXPECT(pagestore_wait(w->instance, version, 30000) == 0);
    EXPECT(pagestore_durable_version(w->instance) == version);
    atomic_fetch_add(&waited, 1);
  }
}

static void snapshot(writer *w, uint64_t n) {
  char name[32];
  snprintf(name, sizeof name, "s%llu", (unsigned long long)(n % 4));
  pagestore_snapshot_drop(w->store, w->name, name, n % 2 ? PAGESTORE_ASYNC : 0);
  EXPECT(pagestore_snapshot_create(w->instance, name, n % 3 ? PAGESTORE_ASYNC : 0) == 0);
  atomic_fetch_add(&snapshots, 1);
}

static void *write_messages(void *env) {
  writer *w = env;
  EXPECT(pagestore_thread_prepare() == 0);
  uint8_t *base = pagestore_memory_base(heap(w->instance));
  for (uint64_t n = 0; n < rounds; n++) {
    message(w, base, n);
    if (w->sealed && n % 13 == 2) snapshot(w, n);
    if (w->sealed && n % 50 == 49) {
      EXPECT(pagestore_restore(w->instance, "s2") == 0 || n < 100);
      EXPECT(pagestore_rollback(w->instance) == 0);
      EXPECT(shows(base, w->sealed));
    }
  }
  return NULL;
}

/* ---- readers ------------------------------------------------------------------------------------------- */

static void look(pagestore_instance *i) {
  uint64_t version = pagestore_committed_version(i), stored = 0;
  if (version == 0) return;
  pagestore_memory *m = heap(i);
  EXPECT(shows(pagestore_memory_base(m), version));
  EXPECT(pagestore_metadata_get(i, "version", &stored, sizeof stored, NULL) == 0 && stored == version);
  atomic_fetch_add(&looks, 1);
}

static void fork_it(pagestore_instance *view, unsigned reader, uint64_t n) {
  char name[32];
  pagestore_instance *fork;
  uint64_t version = pagestore_committed_version(view);
  snprintf(name, sizeof name, "fork %u.%llu", reader, (unsigned long long)(n % 3));
  int status = pagestore_instance_delete(writers[0].store, name, n % 2 ? PAGESTORE_ASYNC : 0);
  EXPECT(status == 0 || status == PAGESTORE_ENOTFOUND);
  status = pagestore_fork(view, name, NULL, &fork);
  EXPECT(status == 0);
  if (status) return;
  uint8_t *base = pagestore_memory_base(heap(fork));
  EXPECT(shows(base, version));
  base[PAGE / 2] = (uint8_t)n;
  EXPECT(pagestore_commit(fork, n % 4 ? PAGESTORE_ASYNC : 0, NULL) == 0);
  EXPECT(shows(base, version) && base[PAGE / 2] == (uint8_t)n);
  pagestore_instance_close(fork);
  atomic_fetch_add(&forks, 1);
}

static void *read_views(void *env) {
  unsigned reader = (unsigned)(uintptr_t)env;
  dice d = { .state = reader };
  EXPECT(pagestore_thread_prepare() == 0);
  for (uint64_t n = 0; !atomic_load(&stop); n++) {
    writer *w = &writers[dice_below(&d, WRITERS)];
    char name[8] = "s0";
    name[1] = (char)('0' + dice_below(&d, 4));
    uint64_t choice = dice_below(&d, 6);
    pagestore_instance *view;
    int status = pagestore_instance_open(w->store, w->name,
      PAGESTORE_WITH(pagestore_instance_options, .flags = choice % 2 ? PAGESTORE_READ : PAGESTORE_PRIVATE,
                     .version = choice < 2 ? PAGESTORE_DURABLE : 0, .snapshot = choice >= 4 ? name : NULL), &view);
    if (status == PAGESTORE_ENOTFOUND) continue;
    EXPECT(status == 0);
    if (status) continue;
    look(view);
    uint64_t before = pagestore_committed_version(view), moves = dice_below(&d, 4);
    while (moves--) {
      EXPECT(pagestore_instance_advance(view, PAGESTORE_LATEST) == 0);
      EXPECT(pagestore_committed_version(view) >= before);
      look(view);
    }
    if (dice_chance(&d, 25) && pagestore_committed_version(view)) fork_it(view, reader, n);
    pagestore_instance_close(view);
  }
  return NULL;
}

/* ---- the cases ---------------------------------------------------------------------------------------------- */

static pagestore_store *open_store(const char *path, uint64_t queue_bytes, pagestore_tracker tracker) {
  pagestore_store *store;
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .queue_bytes = queue_bytes, .on_durable = on_durable,
                                                .map_bytes = 1ull << 34, .tracker = tracker), &store));
  assert_ok(pagestore_handlers());  /* cmocka has put its own in front */
  return store;
}

static void open_writers(pagestore_store *store) {
  for (unsigned n = 0; n < WRITERS; n++) {
    writer *w = &writers[n];
    memset(w, 0, sizeof *w);
    w->store = store;
    w->number = n;
    snprintf(w->name, sizeof w->name, "writer %u", n);
    assert_ok(pagestore_instance_open(store, w->name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE, .user = w), &w->instance));
  }
}

/* Every asynchronous commit was told of before close returned. */
static void close_writers(pagestore_store *store) {
  for (unsigned n = 0; n < WRITERS; n++) pagestore_instance_close(writers[n].instance);
  assert_ok(pagestore_close(store));
  for (unsigned n = 0; n < WRITERS; n++) {
    assert_int_equal(atomic_load(&writers[n].told), writers[n].sealed);
    assert_false(atomic_load(&writers[n].wrong));
  }
  assert_int_equal(atomic_load(&failures), 0);
}

static void check_stored(const char *path) {
  pagestore_store *store = open_store(path, 0, PAGESTORE_TRACK_AUTO);
  for (unsigned n = 0; n < WRITERS; n++) {
    pagestore_instance *i;
    if (writers[n].sealed == 0) continue;
    assert_ok(pagestore_instance_open(store, writers[n].name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &i));
    assert_int_equal(pagestore_committed_version(i), writers[n].sealed);
    look(i);
    pagestore_instance_close(i);
  }
  assert_ok(pagestore_close(store));
  assert_int_equal(atomic_load(&failures), 0);
}

static void everybody_at_once(pagestore_tracker tracker) {
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  pthread_t writing[WRITERS], reading[READERS];
  pagestore_store *store = open_store(path, 1 << 20, tracker);
  atomic_store(&stop, false);
  open_writers(store);
  for (unsigned n = 0; n < WRITERS; n++) assert_int_equal(pthread_create(&writing[n], NULL, write_messages, &writers[n]), 0);
  for (unsigned n = 0; n < READERS; n++) assert_int_equal(pthread_create(&reading[n], NULL, read_views, (void *)(uintptr_t)n), 0);
  for (unsigned n = 0; n < WRITERS; n++) pthread_join(writing[n], NULL);
  atomic_store(&stop, true);
  for (unsigned n = 0; n < READERS; n++) pthread_join(reading[n], NULL);
  close_writers(store);
  check_stored(path);
  scratch_remove(directory);
}

static void writers_views_and_forks(void **state) {
  (void)state;
  everybody_at_once(PAGESTORE_TRACK_AUTO);
  print_message("%llu looks, %llu forks, %llu snapshots, %llu waits\n", (unsigned long long)looks, (unsigned long long)forks,
                (unsigned long long)snapshots, (unsigned long long)waited);
  assert_true(looks > 0 && forks > 0 && snapshots > 0 && waited > 0);
}

static void the_same_by_signals(void **state) {
  (void)state;
  everybody_at_once(PAGESTORE_TRACK_MPROTECT);
}

/* commit_all from several threads over instances of their own, and a handle that moves between threads in mid-message. */
static void *commit_pairs(void *env) {
  unsigned pair = (unsigned)(uintptr_t)env;
  pagestore_store *store = writers[0].store;
  pagestore_instance *both[2];
  uint8_t *base[2];
  EXPECT(pagestore_thread_prepare() == 0);
  for (unsigned n = 0; n < 2; n++) {
    char name[32];
    snprintf(name, sizeof name, "pair %u.%u", pair, n);
    EXPECT(pagestore_instance_open(store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &both[n]) == 0);
    base[n] = pagestore_memory_base(heap(both[n]));
  }
  for (uint64_t n = 1; n <= rounds / 4; n++) {
    put_version(base[0], n);
    put_version(base[1], n);
    pagestore_instance *turned[2] = { both[n % 2], both[1 - n % 2] };
    EXPECT(pagestore_commit_all(turned, 2, n % 8 ? PAGESTORE_ASYNC : 0) == 0);
    EXPECT(pagestore_committed_version(both[0]) == n && pagestore_committed_version(both[1]) == n);
    EXPECT(shows(base[0], n) && shows(base[1], n));
  }
  pagestore_instance_close(both[0]);
  pagestore_instance_close(both[1]);
  return NULL;
}

static void committing_several(void **state) {
  (void)state;
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  pagestore_store *store = open_store(path, 1 << 20, PAGESTORE_TRACK_AUTO);
  writers[0].store = store;
  pthread_t threads[WRITERS];
  for (unsigned n = 0; n < WRITERS; n++) assert_int_equal(pthread_create(&threads[n], NULL, commit_pairs, (void *)(uintptr_t)n), 0);
  for (unsigned n = 0; n < WRITERS; n++) pthread_join(threads[n], NULL);
  assert_ok(pagestore_sync(store, PAGESTORE_FOREVER));
  assert_ok(pagestore_close(store));
  assert_int_equal(atomic_load(&failures), 0);
  scratch_remove(directory);
}

static void *half_a_message(void *env) {
  EXPECT(pagestore_thread_prepare() == 0);
  uint8_t *base = env;
  put_version(base, 1);
  return NULL;
}

static void a_message_moves_between_threads(void **state) {
  (void)state;
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  pagestore_store *store = open_store(path, 0, PAGESTORE_TRACK_AUTO);
  open_writers(store);
  uint8_t *base = pagestore_memory_base(heap(writers[0].instance));
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, half_a_message, base), 0);
  pthread_join(thread, NULL);
  assert_ok(pagestore_commit(writers[0].instance, 0, NULL));
  writers[0].sealed = 1;
  assert_true(shows(base, 1));
  close_writers(store);
  scratch_remove(directory);
}

/* ---- the flusher's thread ----------------------------------------------------------------------------------------- */

static _Atomic int policy_seen;

static void see_policy(void *env, void *user, uint64_t version, int status) {
  (void)env, (void)user, (void)version, (void)status;
  atomic_store(&policy_seen, sched_getscheduler(0));
}

/* With the policy that is given to this thread before. */
static void *commit_once(void *env) {
  const int *policy = env;
  char *directory = scratch_make(), path[4200];
  pagestore_store *store;
  pagestore_instance *i;
  snprintf(path, sizeof path, "%s/store", directory);
  EXPECT(pthread_setschedparam(pthread_self(), *policy, &(struct sched_param){0}) == 0);
  EXPECT(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .on_durable = see_policy), &store) == 0);
  EXPECT(pagestore_instance_open(store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i) == 0);
  EXPECT(pagestore_metadata_set(i, "key", "value", 5) == 0 && pagestore_commit(i, PAGESTORE_ASYNC, NULL) == 0);
  pagestore_instance_close(i);
  EXPECT(pagestore_close(store) == 0);
  scratch_remove(directory);
  return NULL;
}

static int policy_of_the_flusher(int policy_of_the_host) {
  pthread_t thread;
  atomic_store(&policy_seen, -1);
  assert_int_equal(pthread_create(&thread, NULL, commit_once, &policy_of_the_host), 0);
  pthread_join(thread, NULL);
  assert_int_equal(atomic_load(&failures), 0);
  return atomic_load(&policy_seen);
}

static void the_flusher_leaves_the_processor_to_who_committed(void **state) {
  (void)state;
  assert_int_equal(policy_of_the_flusher(SCHED_OTHER), SCHED_BATCH);
  assert_int_equal(policy_of_the_flusher(SCHED_IDLE), SCHED_IDLE); /* as the host says */
}

/* ---- commits that are taken back -------------------------------------------------------------------------------- */

static void *look_at_first(void *env) {
  (void)env;
  EXPECT(pagestore_thread_prepare() == 0);
  for (uint64_t n = 0; !atomic_load(&stop); n++) {
    pagestore_instance *view;
    if (n % 3 == 0) usleep(500);
    int status = pagestore_instance_open(writers[0].store, writers[0].name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view);
    EXPECT(status == 0);
    if (status) break;
    atomic_fetch_add(&taken_back, pagestore_committed_version(view) == 2);
    look(view);
    usleep(200);
    look(view);
    pagestore_instance_close(view);
  }
  return NULL;
}

/* The disk is full for a large commit, with and without a restore, while views of it are opened. */
static void views_of_commits_that_are_taken_back(void **state) {
  (void)state;
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  pagestore_store *store;
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .disk_bytes = 4 << 20, .on_durable = on_durable), &store));
  assert_ok(pagestore_handlers());
  open_writers(store);
  writer *w = &writers[0];
  uint8_t *base = pagestore_memory_base(heap(w->instance));
  pagestore_memory *large;
  assert_ok(pagestore_memory_open(w->instance, "large", PAGESTORE_WITH(pagestore_memory_options, .pages = 100, .max_pages = 100, .guard_bytes = PAGE), &large));
  message(w, base, 3);
  assert_ok(pagestore_snapshot_create(w->instance, "s", 0));
  pthread_t thread;
  atomic_store(&stop, false);
  assert_int_equal(pthread_create(&thread, NULL, look_at_first, NULL), 0);
  for (int n = 0; n < 60; n++) {
    if (n % 2) assert_ok(pagestore_restore(w->instance, "s"));
    put_version(base, 2);
    assert_ok(pagestore_metadata_set(w->instance, "version", &(uint64_t){ 2 }, 8));
    memset(pagestore_memory_base(large), n + 1, 100 * PAGE);
    assert_status(pagestore_commit(w->instance, 0, NULL), PAGESTORE_ENOSPC);
    assert_int_equal(pagestore_committed_version(w->instance), 1);
    assert_true(shows(base, 2));
    assert_ok(pagestore_rollback(w->instance));
    assert_true(shows(base, 1));
  }
  atomic_store(&stop, true);
  pthread_join(thread, NULL);
  print_message("%llu views of a version that was taken back\n", (unsigned long long)taken_back);
  message(w, base, 3);
  close_writers(store);
  check_stored(path);
  scratch_remove(directory);
}

int main(void) {
  rounds = env_number("PAGESTORE_ROUNDS", 400);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(writers_views_and_forks), cmocka_unit_test(the_same_by_signals), cmocka_unit_test(committing_several),
    cmocka_unit_test(a_message_moves_between_threads), cmocka_unit_test(the_flusher_leaves_the_processor_to_who_committed),
    cmocka_unit_test(views_of_commits_that_are_taken_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
