/* test_gather.c - asynchronous commits that come in faster than they are flushed are gathered, until somebody waits.
 *
 * ctest: WRAP clock_gettime fdatasync pthread_cond_timedwait pthread_join
 * ctest: LIBS -l:liblmdb.a
 * ctest: LABELS threads
 * ctest: TIMEOUT 120
 *
 * The sync of the first flush moves the clock that the library sees 20 s on, so the flusher gathers for the whole minute that it is
 * given: what does not end it comes back too late for ctest. on_durable holds the flusher in that flush until enough is queued behind it.
 *
 * Proven:
 * - each way to wait ends it at once, also when it was asked for during the flush before; so do room that is missing and half a queue;
 * - everything becomes durable, on_durable tells it in order, and the store shows it when opened again;
 * - asynchronous snapshots, drops and deletions are gathered like commits, views and forks neither wait for it nor end it, and
 *   merging the log goes on meanwhile; if its sync fails, what is gathered fails at once;
 * - it ends by itself; not after synchronous work; never with NO_GATHER.
 */
#include <pthread.h>

#include "host_fixture.h"

enum { PAGES = 20, GATHER_MS = 60000, FURTHER = 4, BURST = 1 + FURTHER };

/* ---- a slow disk ----------------------------------------------------------------------------------------------------------- */

static _Atomic uint64_t clock_ahead_s;
static _Atomic bool slow, sync_fails;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
  if (slow) clock_ahead_s += 20;
  if (!sync_fails) return __real_fdatasync(fd);
  errno = EIO;
  return -1;
}

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t) {
  int result = __real_clock_gettime(id, t);
  if (id == CLOCK_MONOTONIC) t->tv_sec += (time_t)clock_ahead_s;
  return result;
}

int __real_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
int __wrap_pthread_cond_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *lock, const struct timespec *until) {
  struct timespec real = { .tv_sec = until->tv_sec - (time_t)clock_ahead_s, .tv_nsec = until->tv_nsec };
  return __real_pthread_cond_timedwait(condition, lock, &real);
}

/* The store joins its flusher: it is being closed. */
static _Atomic bool joining;

int __real_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result) {
  joining = true;
  return __real_pthread_join(thread, result);
}

/* ---- a store with two instances, "i" and "other" ----------------------------------------------------------------------------- */

static host h;
static pagestore_instance *other;
static uint64_t tag;   /* of the last message of "i" */
static struct {
  _Atomic uint64_t hold_until, last[2];
  _Atomic bool held, disordered;
  _Atomic int failure;
} said;

#define until(condition) \
  while (!(condition)) pause_ms(1)

static uint64_t queued(void) {
  pagestore_statistics now = { .size = sizeof now };
  return pagestore_stats(h.store, &now) ? UINT64_MAX : now.queue_commits;
}

/* Holds the flusher once, until so many works are queued, those of its own group included, or the store is closed. */
static void on_durable(void *env, void *user, uint64_t version, int status) {
  (void)env;
  size_t which = (size_t)(uintptr_t)user;
  if (status) said.failure = status;
  else if (version <= said.last[which]) said.disordered = true;
  else said.last[which] = version;
  uint64_t wanted = atomic_exchange(&said.hold_until, 0);
  if (!wanted) return;
  slow = false;
  said.held = true;
  until(joining || queued() >= wanted);
}

static void open_it(void) {
  h.options.size = sizeof h.options;
  h.options.flags = PAGESTORE_CREATE;
  h.options.on_durable = on_durable;
  assert_ok(pagestore_open(h.path, &h.options, &h.store));
  pagestore_handlers();
  host_open_instance(&h, PAGES);
  assert_ok(pagestore_instance_open(h.store, "other", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE, .user = (void *)1), &other));
}

static void start(pagestore_options options) {
  memset(&said, 0, sizeof said);
  h = (host){ .options = options };
  tag = 0;
  slow = true;
  joining = false;
  folder_make(&h);
  open_it();
}

static int close_it(void) {
  pagestore_instance_close(other);
  return host_close(&h);
}

/* Everything was told of, and is there. */
static void check_and_end(void) {
  uint64_t committed = pagestore_committed_version(h.instance), found = 0;
  assert_ok(close_it());
  assert_int_equal(said.last[0], committed);
  assert_int_equal(said.disordered | said.failure, 0);
  open_it();
  assert_int_equal(pagestore_durable_version(h.instance), committed);
  assert_ok(pagestore_memory_read(h.memory, 0, &found, sizeof found));
  assert_int_equal(found, tag);
  assert_ok(close_it());
  folder_remove(&h);
}

static uint64_t durable(void) { return pagestore_durable_version(h.instance); }

static void write_block(void) {
  tag++;
  assert_ok(pagestore_memory_write(h.memory, 0, &tag, sizeof tag));
}

static void write_pages(uint64_t pages) {
  write_block();
  for (uint64_t page = 1; page <= pages; page++) put(&h, page, tag);
}

static void commit_blocks(int count) {
  for (int n = 0; n < count; n++) {
    write_block();
    assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  }
}

enum { HALF = 8 }; /* of a queue of 1 MiB */

static void commit_half_a_queue(void) {
  for (int n = 0; n < HALF; n++) {
    write_pages(1);
    assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  }
}

/* One commit is being flushed, and the flusher held until so many works are queued. */
static void hold(uint64_t works) {
  said.held = false;
  said.hold_until = works;
  commit_blocks(1);
  until(said.held);
}

static bool is_gathering(uint64_t works) {
  pause_ms(20);
  return queued() == works && host_stats(&h).flushes == 1;
}

static void start_gathering(pagestore_options options) {
  start(options);
  hold(BURST);
  commit_blocks(FURTHER);
  until(queued() == FURTHER);
  assert_true(is_gathering(FURTHER));
  assert_int_equal(durable(), 1);
}

#define OPTIONS(...) ((pagestore_options){ .gather_ms = GATHER_MS, __VA_ARGS__ })

/* ---- what ends it ---------------------------------------------------------------------------------------------------------- */

static void by_wait(void) { assert_ok(pagestore_wait(h.instance, PAGESTORE_LATEST, PAGESTORE_FOREVER)); }
static void by_sync(void) { assert_ok(pagestore_sync(h.store, PAGESTORE_FOREVER)); }
static void by_drain(void) { assert_ok(pagestore_drain(h.store, PAGESTORE_FOREVER)); }
static void by_snapshot(void) { assert_ok(pagestore_snapshot_create(h.instance, "s", 0)); }
static void by_nothing_to_commit(void) { assert_ok(pagestore_commit(h.instance, 0, NULL)); }

static void by_asking(void) {
  assert_status(pagestore_wait(h.instance, PAGESTORE_LATEST, 0), PAGESTORE_ETIMEDOUT);
  until(durable() == BURST);
}

static void by_commit(void) {
  write_block();
  assert_ok(pagestore_commit(h.instance, 0, NULL));
}

static void commit_other(void) {
  assert_ok(pagestore_metadata_set(other, "tag", &tag, sizeof tag));
  assert_ok(pagestore_commit(other, 0, NULL));
}

static void by_deletion(void) {
  commit_other();
  pagestore_instance_close(other);
  other = NULL;
  assert_ok(pagestore_instance_delete(h.store, "other", 0));
}

static void (*const ways[])(void) = { by_wait, by_sync, by_drain, by_snapshot, by_nothing_to_commit, by_asking, by_commit, commit_other, by_deletion };

static void whoever_waits_ends_it(void **state) {
  (void)state;
  for (size_t n = 0; n < sizeof ways / sizeof *ways; n++) {
    start_gathering(OPTIONS());
    ways[n]();
    assert_true(durable() >= BURST);
    check_and_end();
  }
}

static void a_dropped_snapshot_ends_it(void **state) {
  (void)state;
  start_gathering(OPTIONS());
  assert_ok(pagestore_snapshot_create(h.instance, "s", PAGESTORE_ASYNC));
  assert_true(is_gathering(FURTHER + 1));
  assert_ok(pagestore_snapshot_drop(h.store, "i", "s", 0));
  assert_int_equal(durable(), BURST);
  check_and_end();
}

static void closing_ends_it(void **state) {
  (void)state;
  start_gathering(OPTIONS());
  check_and_end();
}

static void half_a_queue_ends_it(void **state) {
  (void)state;
  start_gathering(OPTIONS(.queue_bytes = MIB));
  commit_half_a_queue();
  until(durable() >= BURST);
  check_and_end();
}

/* More than the queue has room for beside what is gathered, which is far from half. */
static void missing_room_ends_it(void **state) {
  (void)state;
  start_gathering(OPTIONS(.queue_bytes = MIB));
  write_pages(16);
  assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  assert_true(durable() >= BURST);
  check_and_end();
}

static void a_refused_commit_ends_it(void **state) {
  (void)state;
  start_gathering(OPTIONS(.queue_bytes = MIB));
  write_pages(16);
  assert_status(pagestore_commit(h.instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL), PAGESTORE_EAGAIN);
  until(durable() == BURST);
  until(queued() == 0);
  assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL));
  check_and_end();
}

/* ---- what keeps it from beginning ------------------------------------------------------------------------------------------ */

static void asked_for_during_the_flush(void **state) {
  (void)state;
  start(OPTIONS());
  hold(BURST);
  commit_blocks(FURTHER - 1);
  assert_status(pagestore_wait(h.instance, PAGESTORE_LATEST, 0), PAGESTORE_ETIMEDOUT);
  commit_blocks(1);
  until(durable() == BURST);
  check_and_end();
}

static void refused_during_the_flush(void **state) {
  (void)state;
  start(OPTIONS(.queue_bytes = MIB));
  hold(BURST + 1);
  commit_blocks(FURTHER);
  write_pages(16);
  assert_status(pagestore_commit(h.instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL), PAGESTORE_EAGAIN);
  assert_ok(pagestore_rollback(h.instance));
  tag--;
  commit_blocks(1);
  until(durable() >= BURST);
  check_and_end();
}

static void committed_during_the_flush(void **state) {
  (void)state;
  start(OPTIONS());
  hold(BURST + 1);
  commit_blocks(FURTHER);
  commit_other();
  assert_int_equal(durable(), BURST);
  check_and_end();
}

static void closed_during_the_flush(void **state) {
  (void)state;
  start(OPTIONS());
  hold(UINT64_MAX);
  commit_blocks(FURTHER);
  check_and_end();
}

static void half_full_after_the_flush(void **state) {
  (void)state;
  start(OPTIONS(.queue_bytes = MIB));
  hold(1 + HALF);
  commit_half_a_queue();
  until(durable() == 1 + HALF);
  check_and_end();
}

static void *commit_beside(void *env) {
  (void)env;
  (void)pagestore_metadata_set(other, "tag", "x", 1);
  (void)pagestore_commit(other, 0, NULL);
  return NULL;
}

static void after_synchronous_work(void **state) {
  (void)state;
  pthread_t committer;
  start(OPTIONS());
  said.hold_until = BURST;
  assert_int_equal(pthread_create(&committer, NULL, commit_beside, NULL), 0);
  until(said.held);
  commit_blocks(FURTHER);
  until(durable() == FURTHER);
  pthread_join(committer, NULL);
  check_and_end();
}

static void not_asked_for(void **state) {
  (void)state;
  start((pagestore_options){ .gather_ms = PAGESTORE_NO_GATHER });
  hold(BURST);
  commit_blocks(FURTHER);
  until(durable() == BURST);
  check_and_end();
}

/* ---- meanwhile ------------------------------------------------------------------------------------------------------------- */

static void its_time_ends(void **state) {
  (void)state;
  for (uint32_t ms = 0; ms <= 1; ms++) {
    start((pagestore_options){ .gather_ms = ms });
    hold(BURST);
    commit_blocks(FURTHER);
    until(durable() == BURST);
    check_and_end();
  }
}

static void what_nobody_waits_for_is_gathered(void **state) {
  (void)state;
  start_gathering(OPTIONS());
  assert_ok(pagestore_metadata_set(other, "tag", &tag, sizeof tag));
  assert_ok(pagestore_commit(other, PAGESTORE_ASYNC, NULL));
  pagestore_instance_close(other);
  other = NULL;
  assert_ok(pagestore_snapshot_create(h.instance, "s", PAGESTORE_ASYNC));
  assert_ok(pagestore_snapshot_drop(h.store, "i", "s", PAGESTORE_ASYNC));
  assert_ok(pagestore_instance_delete(h.store, "other", PAGESTORE_ASYNC));
  assert_true(is_gathering(FURTHER + 4));
  assert_ok(pagestore_sync(h.store, PAGESTORE_FOREVER));
  check_and_end();
}

static void views_and_forks_go_on(void **state) {
  (void)state;
  pagestore_instance *view, *past, *fork;
  start_gathering(OPTIONS());
  assert_ok(pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  assert_ok(pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE), &past));
  assert_ok(pagestore_fork(view, "fork", NULL, &fork));
  assert_int_equal(pagestore_committed_version(view), BURST);
  assert_int_equal(pagestore_committed_version(past), 1);
  assert_true(is_gathering(FURTHER));
  pagestore_instance_close(fork);
  pagestore_instance_close(past);
  pagestore_instance_close(view);
  check_and_end();
}

static void the_log_is_merged(void **state) {
  (void)state;
  start_gathering(OPTIONS(.log_bytes = 1));
  until(host_stats(&h).pages_merged > 0);
  assert_true(is_gathering(FURTHER));
  check_and_end();
}

static void merging_fails_for_good(void **state) {
  (void)state;
  start(OPTIONS(.log_bytes = 1));
  hold(BURST);
  commit_blocks(FURTHER - 1);
  sync_fails = true;
  commit_blocks(1);
  until(said.failure == PAGESTORE_EFAILED);
  assert_int_equal(durable(), 1);
  assert_int_equal(host_stats(&h).flushes, 1);
  assert_status(pagestore_wait(h.instance, PAGESTORE_LATEST, PAGESTORE_FOREVER), PAGESTORE_EFAILED);
  assert_status(close_it(), PAGESTORE_EFAILED);
  sync_fails = false;
  folder_remove(&h);
}

static _Atomic bool stop;

static void *stream(void *env) {
  _Atomic int *status = env;
  for (uint64_t n = 1; !stop && !*status; n++) {
    *status = pagestore_metadata_set(other, "tag", &n, sizeof n);
    if (!*status) *status = pagestore_commit(other, PAGESTORE_ASYNC, NULL);
  }
  return NULL;
}

static void beside_a_stream(void **state) {
  (void)state;
  pthread_t streamer;
  _Atomic int status = 0;
  start(OPTIONS(.queue_bytes = MIB));
  stop = false;
  assert_int_equal(pthread_create(&streamer, NULL, stream, &status), 0);
  for (int n = 0; n < 20; n++) {
    commit_blocks(2);
    assert_ok(pagestore_wait(h.instance, PAGESTORE_LATEST, PAGESTORE_FOREVER));
    commit_blocks(1);
    assert_ok(pagestore_drain(h.store, PAGESTORE_FOREVER));
    assert_int_equal(durable(), 3 * n + 3);
  }
  stop = true;
  pthread_join(streamer, NULL);
  assert_int_equal(status, 0);
  check_and_end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(whoever_waits_ends_it),
    cmocka_unit_test(a_dropped_snapshot_ends_it),
    cmocka_unit_test(closing_ends_it),
    cmocka_unit_test(half_a_queue_ends_it),
    cmocka_unit_test(missing_room_ends_it),
    cmocka_unit_test(a_refused_commit_ends_it),
    cmocka_unit_test(asked_for_during_the_flush),
    cmocka_unit_test(refused_during_the_flush),
    cmocka_unit_test(committed_during_the_flush),
    cmocka_unit_test(closed_during_the_flush),
    cmocka_unit_test(half_full_after_the_flush),
    cmocka_unit_test(after_synchronous_work),
    cmocka_unit_test(not_asked_for),
    cmocka_unit_test(its_time_ends),
    cmocka_unit_test(what_nobody_waits_for_is_gathered),
    cmocka_unit_test(views_and_forks_go_on),
    cmocka_unit_test(the_log_is_merged),
    cmocka_unit_test(merging_fails_for_good),
    cmocka_unit_test(beside_a_stream),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
