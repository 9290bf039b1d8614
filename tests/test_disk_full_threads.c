/* test_disk_full_threads.c - a full disk, seen by other threads while a commit is being refused.
 *
 * ctest: WRAP pwrite write writev fdatasync fsync ftruncate fstatvfs
 * ctest: LIBS -l:liblmdb.a
 * ctest: LABELS threads
 *
 * The flusher is held at a write until the others are there; then there is no room. Proven:
 * - a view opened meanwhile never shows what a later commit writes under the number of the refused one;
 * - who waits for an asynchronous commit does not take the refusal of a synchronous one behind it for its end.
 */
#include "io_faults.h"
#include "scattered_store.h"

typedef struct { host view; int status; } opening;

static void *open_view(void *env) {
  opening *o = env;
  pagestore_instance_options options = { .size = sizeof options, .flags = PAGESTORE_READ };
  o->status = pagestore_instance_open(o->view.store, "i", &options, &o->view.instance);
  return NULL;
}

static void *commit_now(void *env) {
  host *h = env;
  return (void *)(intptr_t)pagestore_commit(h->instance, 0, NULL);
}

/* A view that is opened in the middle of a flush that is refused: the version is given again, to other blocks, and the view must not
 * see them. */
static void view_of_a_refused_version(void **state) {
  (void)state;
  host h = {0};
  pthread_t committer, opener;
  void *status;
  scattered_store(&h);
  put(&h, 1, 2);
  opening o = { .view = h };
  pthread_mutex_lock(&io_lock); /* the flusher stops at its next write */
  assert_int_equal(pthread_create(&committer, NULL, commit_now, &h), 0);
  pause_ms(50);
  io_plan_set(IO_DATA, 1, ENOSPC, true);
  assert_int_equal(pthread_create(&opener, NULL, open_view, &o), 0);
  pause_ms(50);
  pthread_mutex_unlock(&io_lock);
  pthread_join(committer, &status);
  pthread_join(opener, NULL);
  io_disarm();
  assert_int_equal((intptr_t)status, PAGESTORE_ENOSPC);
  assert_int_equal(o.status, 0);
  assert_ok(pagestore_memory_open(o.view.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &o.view.memory));
  o.view.base = pagestore_memory_base(o.view.memory);
  assert_ok(pagestore_rollback(h.instance));
  put(&h, 20, 3);
  host_commit(&h);
  for (uint64_t p = 2; p < PAGES; p++) assert_page(&o.view, p, 1);
  assert_true(page_is(o.view.base + PAGESTORE_PAGE, 1, 1) || page_is(o.view.base + PAGESTORE_PAGE, 1, 2));
  pagestore_instance_close(o.view.instance);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static void *sync_now(void *env) {
  host *h = env;
  return (void *)(intptr_t)pagestore_sync(h->store, 10000);
}

static void waits_beside_a_refused_one(void **state) {
  (void)state;
  host h = { .listens = true }, others[OTHERS];
  pthread_t waiter, committer;
  void *synced, *committed;
  scattered_store(&h);
  open_others(&h, others);
  for (int i = 0; i < OTHERS; i++) commit_later(&others[i], 1);
  assert_ok(pagestore_sync(h.store, 10000));
  pthread_mutex_lock(&io_lock); /* the flusher stops at its next write */
  commit_later(&others[0], 2);
  assert_int_equal(pthread_create(&waiter, NULL, sync_now, &h), 0);
  pause_ms(50);
  put(&others[1], 1, 2);
  assert_int_equal(pthread_create(&committer, NULL, commit_now, &others[1]), 0);
  pause_ms(50);
  io_plan_set(IO_DATA, 1, ENOSPC, true);
  pthread_mutex_unlock(&io_lock);
  pthread_join(waiter, &synced);
  pthread_join(committer, &committed);
  assert_int_equal((intptr_t)synced, PAGESTORE_ENOSPC);
  assert_int_equal((intptr_t)committed, PAGESTORE_ENOSPC);
  assert_int_equal(pagestore_durable_version(others[0].instance), 1);
  io_disarm();
  assert_true(told_within(&h.told, 1, 2, 0));
  for (int i = 0; i < OTHERS; i++) pagestore_instance_close(others[i].instance);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(view_of_a_refused_version),
    cmocka_unit_test(waits_beside_a_refused_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
