/* test_lead.c - who waits for a commit flushes it, while the flusher's thread rests.
 *
 * ctest: WRAP fdatasync
 * ctest: LIBS -l:liblmdb.a
 * ctest: LABELS threads
 * ctest: TIMEOUT 120
 *
 * Proven:
 * - each synchronous call syncs on its own thread, which may have a small stack; not if the host listens to on_durable, nor beside a
 *   flush of the flusher's thread, which then takes it;
 * - asynchronous commits before it come along; those that come meanwhile, and whatever else is asked for, are the flusher's;
 * - several threads: everything becomes durable, nothing is left lying;
 * - in a stream of such commits the log stays within its budget, trash is worked off and the file is measured.
 */
#include <limits.h>
#include <pthread.h>

#include "flusher_inside.h"
#include "host_fixture.h"

enum { PAGES = 64, THREADS = 4, COMMITS = 200, COMMIT_STACK_BYTES = 32 << 10 };

/* ---- a disk that can stand still, and knows who syncs -------------------------------------------------------------------------- */

static _Atomic bool stands_still, is_syncing;
static _Atomic unsigned long own_syncs, other_syncs;
static pthread_t watched;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
  if (pthread_equal(watched, pthread_self())) own_syncs++;
  else other_syncs++;
  is_syncing = true;
  while (stands_still) pause_ms(1);
  is_syncing = false;
  return __real_fdatasync(fd);
}

/* ---- a store ------------------------------------------------------------------------------------------------------------------- */

/* Until the flusher's thread sleeps and nobody has called it: awake it would take what is pushed next. */
static void let_it_sleep(const host *h) {
  const flusher *f = h->store->flusher;
  for (bool sleeps = false; !sleeps; pause_ms(1)) {
    pthread_mutex_lock(&h->store->lock);
    sleeps = f->dozing && !f->flushing && !f->trash && !f->measure;
    pthread_mutex_unlock(&h->store->lock);
  }
}

static void start(host *h, host given) {
  *h = given;
  folder_make(h);
  host_open(h, PAGES);
  put(h, 0, 1);
  host_commit(h);
  let_it_sleep(h);
  watched = pthread_self();
  own_syncs = other_syncs = 0;
}

static void end(host *h) {
  stands_still = false;
  assert_ok(host_close(h));
  folder_remove(h);
}

static void each_call(host *h) {
  assert_ok(pagestore_metadata_set(h->instance, "key", "value", 5));
  host_commit(h);
  let_it_sleep(h);
  assert_ok(pagestore_snapshot_create(h->instance, "s", 0));
  let_it_sleep(h);
  assert_ok(pagestore_snapshot_drop(h->store, "i", "s", 0));
}

static void whoever_waits_syncs(void **state) {
  (void)state;
  host h;
  start(&h, (host){ .options.log_bytes = 64 * MIB });
  each_call(&h);
  assert_true(own_syncs >= 3);
  end(&h);
}

static void not_for_a_host_that_listens(void **state) {
  (void)state;
  host h;
  start(&h, (host){ .listens = true });
  each_call(&h);
  assert_int_equal(own_syncs, 0);
  assert_true(other_syncs >= 3);
  end(&h);
}

/* ---- beside the flusher -------------------------------------------------------------------------------------------------------- */

static void *commit_waiting(void *env) {
  host *h = env;
  assert_ok(pagestore_commit(h->instance, 0, NULL));
  return NULL;
}

static void *commit_apart(void *env) {
  const host *h = env;
  pagestore_instance *other;
  if (pagestore_instance_open(h->store, "other", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &other)) return NULL;
  if (!pagestore_metadata_set(other, "a", "b", 1)) (void)pagestore_commit(other, 0, NULL);
  pagestore_instance_close(other);
  return NULL;
}

/* A thread that waits for a commit of its own, and leads; the disk stands still under it. */
static pthread_t lead(host *h) {
  pthread_t leader;
  stands_still = true;
  assert_int_equal(pthread_create(&leader, NULL, commit_apart, h), 0);
  while (!is_syncing) pause_ms(1);
  return leader;
}

static void queue_one(host *h, uint64_t tag) {
  put(h, 1, tag);
  assert_ok(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL));
}

static void a_busy_flusher_takes_it(void **state) {
  (void)state;
  host h;
  pthread_t thread;
  start(&h, (host){0});
  stands_still = true;
  queue_one(&h, 2);
  while (!is_syncing) pause_ms(1);
  put(&h, 2, 3);
  assert_int_equal(pthread_create(&thread, NULL, commit_waiting, &h), 0);
  watched = thread;
  while (pagestore_committed_version(h.instance) < 3) pause_ms(1);
  pause_ms(20);
  assert_int_equal(pagestore_durable_version(h.instance), 1);
  stands_still = false;
  pthread_join(thread, NULL);
  assert_int_equal(pagestore_durable_version(h.instance), 3);
  assert_int_equal(own_syncs, 0);
  end(&h);
}

/* The disk stands still under the one that waits: what others queue meanwhile the flusher's thread takes afterwards. */
static void what_comes_meanwhile(void **state) {
  (void)state;
  host h;
  start(&h, (host){0});
  pthread_t leader = lead(&h);
  queue_one(&h, 2);
  queue_one(&h, 3);
  pause_ms(20);
  assert_int_equal(pagestore_durable_version(h.instance), 1);
  stands_still = false;
  pthread_join(leader, NULL);
  for (int ms = 0; pagestore_durable_version(h.instance) < 3; ms++, pause_ms(1)) assert_true(ms < 20000); /* nobody waits for it */
  end(&h);
}

static void *drain(void *env) {
  const host *h = env;
  assert_ok(pagestore_drain(h->store, 20000));
  return NULL;
}

static void *open_durable(void *env) {
  const host *h = env;
  pagestore_instance *view;
  assert_ok(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE), &view));
  pagestore_instance_close(view);
  return NULL;
}

/* Who asks for something else under the one that waits gets it afterwards. */
static void what_is_asked_meanwhile(void **state) {
  (void)state;
  void *(*const askers[])(void *) = { drain, open_durable };
  for (size_t i = 0; i < sizeof askers / sizeof *askers; i++) {
    host h;
    pthread_t asker;
    start(&h, (host){0});
    h.base[0]++;
    host_commit(&h); /* a block for the log */
    pthread_t leader = lead(&h);
    assert_int_equal(pthread_create(&asker, NULL, askers[i], &h), 0);
    pause_ms(20);
    stands_still = false;
    pthread_join(leader, NULL);
    pthread_join(asker, NULL);
    end(&h);
  }
}

static void what_came_before(void **state) {
  (void)state;
  host h;
  start(&h, (host){0});
  for (uint64_t tag = 2; tag < 2 + COMMITS; tag++) {
    queue_one(&h, tag);
    assert_ok(pagestore_metadata_set(h.instance, "tag", &tag, sizeof tag));
    uint64_t version = host_commit(&h);
    assert_int_equal(version, 2 * tag - 1);
    assert_int_equal(pagestore_durable_version(h.instance), version);
  }
  assert_ok(host_close(&h));
  host_open(&h, 0);
  assert_page(&h, 1, 1 + COMMITS);
  end(&h);
}

/* ---- several threads, small stacks --------------------------------------------------------------------------------------------- */

typedef struct {
  const host *h;
  unsigned number;
  int status;
} member;

static void *commit_many(void *env) {
  member *m = env;
  pagestore_instance *i;
  char name[16];
  snprintf(name, sizeof name, "member %u", m->number);
  m->status = pagestore_instance_open(m->h->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i);
  if (m->status) return NULL;
  for (unsigned n = 0; n < COMMITS && !m->status; n++) {
    m->status = pagestore_metadata_set(i, "n", &n, sizeof n);
    if (!m->status) m->status = pagestore_commit(i, n % 5 == 3 ? PAGESTORE_ASYNC : 0, NULL);
    if (!m->status && n % 5 != 3 && pagestore_durable_version(i) != n + 1) m->status = 1;
  }
  pagestore_instance_close(i);
  return NULL;
}

static void several_threads(void **state) {
  (void)state;
  host h;
  pthread_t threads[THREADS];
  member members[THREADS];
  start(&h, (host){0});
  for (unsigned i = 0; i < THREADS; i++) {
    members[i] = (member){ .h = &h, .number = i };
    assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &members[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(members[i].status, 0);
  }
  end(&h);
}

/* As much as the header says. */
static void a_small_stack(void **state) {
  (void)state;
  host h;
  pthread_t thread;
  pthread_attr_t small;
  start(&h, (host){ .options.log_bytes = 4 * MIB });
  pthread_attr_init(&small);
  assert_int_equal(pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN + COMMIT_STACK_BYTES), 0);
  member m = { .h = &h };
  assert_int_equal(pthread_create(&thread, &small, commit_many, &m), 0);
  pthread_join(thread, NULL);
  pthread_attr_destroy(&small);
  assert_int_equal(m.status, 0);
  end(&h);
}

/* ---- a stream ------------------------------------------------------------------------------------------------------------------ */

static void a_stream_leaves_time_for_the_rest(void **state) {
  (void)state;
  enum { LOG = 2 * MIB };
  host h;
  start(&h, (host){ .options.log_bytes = LOG });
  uint64_t measured = host_stats(&h).file_bytes, log_most = 0, tag = 1;
  for (uint64_t p = 0; p < PAGES; p++) put(&h, p, 1);
  host_commit(&h);
  assert_ok(pagestore_snapshot_create(h.instance, "s", 0));
  for (uint64_t p = 0; p < PAGES; p++) put(&h, p, 2);
  host_commit(&h);
  assert_ok(pagestore_snapshot_drop(h.store, "i", "s", 0));
  bool done = false;
  for (int n = 0; n < 60000 && !done; n++) {
    tag++;
    for (uint64_t n = 0; n < 4; n++) {
      uint64_t page = (tag * 7 + n * 13) % PAGES, block = 4 * n + tag / PAGES % 4; /* all in turn: more than the log has room for */
      h.base[page * PAGESTORE_PAGE + block * PAGESTORE_BLOCK] = (uint8_t)tag;
    }
    host_commit(&h);
    pagestore_store_info info = { .size = sizeof info };
    assert_ok(pagestore_store_stat(h.store, &info));
    if (info.log_bytes > log_most) log_most = info.log_bytes;
    done = n > 400 && !info.trash && host_stats(&h).pages_merged > 0 && host_stats(&h).file_bytes != measured;
  }
  assert_true(done);
  assert_true(log_most < 2 * LOG);
  assert_true(own_syncs > 300);
  end(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(whoever_waits_syncs),
    cmocka_unit_test(not_for_a_host_that_listens),
    cmocka_unit_test(a_busy_flusher_takes_it),
    cmocka_unit_test(what_comes_meanwhile),
    cmocka_unit_test(what_is_asked_meanwhile),
    cmocka_unit_test(what_came_before),
    cmocka_unit_test(several_threads),
    cmocka_unit_test(a_small_stack),
    cmocka_unit_test(a_stream_leaves_time_for_the_rest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
