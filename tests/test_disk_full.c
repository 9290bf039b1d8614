/* test_disk_full.c - a full disk refuses or delays, and loses nothing.
 *
 * ctest: WRAP pwrite write writev fdatasync fsync ftruncate fstatvfs
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 120
 *
 * Proven, with ENOSPC (or a short write on a full disk) from the N-th write of LMDB's on, for every N that the commit does:
 * - a synchronous commit is refused with a text; the version is the one before, a view sees that one, the dirty blocks are the
 *   same; committed again when there is room, or rolled back, it is right, now and after reopening;
 * - commit_all, the first commit of an instance, of a fork, of an upgrade and of a restore are refused whole;
 * - snapshots, their dropping, and deletions are taken back;
 * - asynchronous commits stay queued, on_durable says ENOSPC once for each instance and 0 when there is room again, also while more of
 *   them come; a full queue refuses with ENOSPC; a synchronous commit behind them is refused alone; closing without room reports
 *   it, and what was durable is there;
 * and without any injection: a file system that is really full (root only), disk_bytes, and a full map, reopened larger.
 */
#include "fault_rows.h"
#include "io_faults.h"
#include "scattered_store.h"

#include <sys/mount.h>
#include <sys/statfs.h>

static unsigned runs, sites;

/* A message of everything: bytes, growth, metadata, a new memory. */
static pagestore_memory *big_message(host *h) {
  pagestore_memory *other;
  for (uint64_t p = 0; p < PAGES; p += 2) put(h, p, 2);
  assert_ok(pagestore_memory_grow(h->memory, 2, NULL));
  put(h, PAGES + 1, 2);
  assert_ok(pagestore_metadata_set(h->instance, "key", "two", 3));
  assert_ok(pagestore_memory_open(h->instance, "other", PAGESTORE_WITH(pagestore_memory_options, .pages = 1, .guard_bytes = MIB), &other));
  fill_page(pagestore_memory_base(other), 0, 3);
  return other;
}

static void check_key(pagestore_instance *i, const char *value) {
  char have[8] = "";
  size_t length;
  assert_ok(pagestore_metadata_get(i, "key", have, sizeof have, &length));
  assert_int_equal(length, strlen(value));
  assert_memory_equal(have, value, length);
}

static void check_before(host *h) {
  assert_int_equal(pagestore_memory_pages(h->memory), PAGES);
  for (uint64_t p = 0; p < PAGES; p++) assert_page(h, p, 1);
  check_key(h->instance, "one");
}

static void check_after(host *h) {
  pagestore_memory *other;
  assert_int_equal(pagestore_memory_pages(h->memory), PAGES + 2);
  for (uint64_t p = 0; p < PAGES; p++) assert_page(h, p, p % 2 ? 1 : 2);
  assert_page(h, PAGES, 0);
  assert_page(h, PAGES + 1, 2);
  check_key(h->instance, "two");
  assert_ok(pagestore_memory_open(h->instance, "other", NULL, &other));
  assert_true(page_is(pagestore_memory_base(other), 0, 3));
}

/* What other handles see: the version before. */
static void check_view(host *h) {
  host view = *h;
  assert_ok(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view.instance));
  assert_ok(pagestore_memory_open(view.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &view.memory));
  view.base = pagestore_memory_base(view.memory);
  check_before(&view);
  assert_status(pagestore_memory_open(view.instance, "other", NULL, &view.memory), PAGESTORE_ENOTFOUND);
  pagestore_instance_close(view.instance);
}

static void reopen(host *h, uint64_t version) {
  assert_ok(host_close(h));
  host_open(h, 0);
  assert_int_equal(pagestore_committed_version(h->instance), version);
}

typedef enum { THEN_COMMIT, THEN_ROLLBACK } outcome;

/* One refused commit. False: there were not so many writes. */
static bool refused_once(uint64_t at, int error, outcome then) {
  host h = {0};
  scattered_store(&h);
  uint64_t before = pagestore_committed_version(h.instance), version = 77;
  pagestore_memory *other = big_message(&h);
  uint64_t dirty = dirty_blocks(h.memory), dirty_other = dirty_blocks(other);
  io_arm(IO_DATA, at, error, true);
  io_plan.full = error == 0;
  int status = pagestore_commit(h.instance, 0, &version);
  bool hit = io_disarm() >= at;
  runs++;
  if (hit) {
    assert_int_equal(status, PAGESTORE_ENOSPC);
    assert_non_null(strstr(pagestore_detail(), "free some"));
    assert_int_equal(version, 77);
    assert_int_equal(pagestore_committed_version(h.instance), before);
    assert_int_equal(pagestore_durable_version(h.instance), before);
    assert_int_equal(dirty_blocks(h.memory), dirty);
    assert_int_equal(dirty_blocks(other), dirty_other);
    check_view(&h);
    if (then == THEN_COMMIT) assert_int_equal(host_commit(&h), before + 1);
    else assert_ok(pagestore_rollback(h.instance));
  } else {
    assert_int_equal(status, 0);
  }
  bool committed = !hit || then == THEN_COMMIT;
  for (int again = 0; again < 2; again++) {
    if (committed) check_after(&h);
    else check_before(&h);
    if (!again) reopen(&h, before + committed);
  }
  assert_ok(host_close(&h));
  folder_remove(&h);
  return hit;
}

static void every_write(void **state) {
  (void)state;
  for (int error = 0; error <= ENOSPC; error += ENOSPC)
    for (outcome then = THEN_COMMIT; then <= THEN_ROLLBACK; then++)
      for (uint64_t at = 1; refused_once(at, error, then); at++) sites++;
  print_message("synchronous commits: %u writes failed in %u runs\n", sites, runs);
  assert_true(sites >= 12);
  fault_row_count(ROW_WRITE, sites);
}

/* ---- other synchronous works ------------------------------------------------------------------------------------------------------ */

static int note_version(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  (void)name, (void)retained_bytes;
  uint64_t *seen = env;
  seen[0]++;
  seen[1] = version;
  return 0;
}

static uint64_t snapshots(host *h) {
  uint64_t seen[2] = {0};
  assert_ok(pagestore_snapshot_each(h->store, "i", note_version, seen));
  return seen[0];
}

static int stop_at(void *env, const pagestore_instance_info *info) { return strcmp(env, info->name) == 0; }

static bool listed(host *h, const char *name) { return pagestore_instance_each(h->store, NULL, stop_at, (void *)(uintptr_t)name) == PAGESTORE_EABORTED; }

#define refused(call)                          \
  do {                                         \
    io_arm(IO_DATA, 1, ENOSPC, true);          \
    assert_status(call, PAGESTORE_ENOSPC);     \
    assert_true(io_failed() > 0);              \
    io_disarm();                               \
  } while (0)

static void snapshots_and_deletion(void **state) {
  (void)state;
  host h = {0};
  scattered_store(&h);
  refused(pagestore_snapshot_create(h.instance, "s", 0));
  assert_int_equal(snapshots(&h), 0);
  assert_ok(pagestore_snapshot_create(h.instance, "s", 0));
  refused(pagestore_snapshot_drop(h.store, "i", "s", 0));
  assert_int_equal(snapshots(&h), 1);
  assert_status(pagestore_snapshot_create(h.instance, "s", 0), PAGESTORE_EEXIST);
  big_message(&h);
  host_commit(&h);

  /* A restore is refused: the message stays the snapshot's, and can be rolled back or committed. */
  assert_ok(pagestore_restore(h.instance, "s"));
  refused(pagestore_commit(h.instance, 0, NULL));
  check_before(&h);
  assert_ok(pagestore_rollback(h.instance));
  check_after(&h);
  assert_ok(pagestore_restore(h.instance, "s"));
  refused(pagestore_commit(h.instance, 0, NULL));
  host_commit(&h);
  check_before(&h);

  pagestore_instance_close(h.instance);
  refused(pagestore_instance_delete(h.store, "i", 0));
  assert_true(listed(&h, "i"));
  host_open_instance(&h, 0);
  check_before(&h);
  assert_int_equal(snapshots(&h), 1);
  assert_ok(pagestore_snapshot_drop(h.store, "i", "s", 0));
  reopen(&h, pagestore_committed_version(h.instance));
  check_before(&h);
  pagestore_instance_close(h.instance);
  assert_ok(pagestore_instance_delete(h.store, "i", 0));
  assert_false(listed(&h, "i"));
  assert_ok(pagestore_close(h.store));
  folder_remove(&h);
}

static void first_commits(void **state) {
  (void)state;
  host h = {0}, fork;
  scattered_store(&h);
  fork = h;
  assert_ok(pagestore_fork(h.instance, "fork", NULL, &fork.instance));
  assert_ok(pagestore_memory_open(fork.instance, "m", NULL, &fork.memory));
  fork.base = pagestore_memory_base(fork.memory);
  put(&fork, 3, 9);
  refused(pagestore_commit(fork.instance, 0, NULL));
  assert_int_equal(pagestore_durable_version(fork.instance), 0);
  host_commit(&fork);
  assert_page(&fork, 3, 9);
  assert_page(&fork, 4, 1);

  pagestore_instance *fresh;
  pagestore_instance_options create = { .size = sizeof create, .flags = PAGESTORE_CREATE };
  assert_ok(pagestore_instance_open(h.store, "fresh", &create, &fresh));
  assert_ok(pagestore_metadata_set(fresh, "key", "one", 3));
  refused(pagestore_commit(fresh, 0, NULL));
  pagestore_instance_close(fresh);
  assert_false(listed(&h, "fresh"));
  assert_ok(pagestore_instance_open(h.store, "fresh", &create, &fresh));
  assert_int_equal(pagestore_committed_version(fresh), 0);
  assert_ok(pagestore_metadata_set(fresh, "key", "two", 3));
  assert_ok(pagestore_commit(fresh, 0, NULL));

  uint8_t hash[32] = {7};
  assert_ok(pagestore_upgrade(fresh, hash));
  assert_ok(pagestore_metadata_set(fresh, "key", "upg", 3));
  put(&h, 0, 5);
  put(&fork, 0, 6);
  pagestore_instance *all[] = { h.instance, fork.instance, fresh };
  uint64_t versions[3];
  for (int i = 0; i < 3; i++) versions[i] = pagestore_committed_version(all[i]);
  refused(pagestore_commit_all(all, 3, 0));
  for (int i = 0; i < 3; i++) assert_int_equal(pagestore_committed_version(all[i]), versions[i]);
  assert_int_equal(dirty_blocks(h.memory), 16);
  assert_int_equal(dirty_blocks(fork.memory), 16);
  assert_ok(pagestore_commit_all(all, 3, 0));
  for (int i = 0; i < 3; i++) assert_int_equal(pagestore_durable_version(all[i]), versions[i] + 1);
  pagestore_instance_close(fresh);
  pagestore_instance_close(fork.instance);
  reopen(&h, versions[0] + 1);
  assert_page(&h, 0, 5);
  assert_ok(pagestore_instance_open(h.store, "fresh", PAGESTORE_WITH(pagestore_instance_options, .module_hash = hash), &fresh));
  check_key(fresh, "upg");
  pagestore_instance_close(fresh);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* ---- asynchronous commits ------------------------------------------------------------------------------------------------------------ */

enum { LATER = 5 };

/* `at`: the write after which there is no room. */
static void queue_waits_for_room(uint64_t at) {
  host h = { .listens = true }, others[OTHERS];
  scattered_store(&h);
  open_others(&h, others);
  for (int i = 0; i < OTHERS; i++) commit_later(&others[i], 1);
  assert_ok(pagestore_sync(h.store, 10000));
  io_arm(IO_DATA, at, ENOSPC, true);
  for (uint64_t tag = 2; tag < 2 + LATER; tag++)
    for (int i = 0; i < OTHERS; i++) commit_later(&others[i], tag);
  for (size_t i = 0; i < OTHERS; i++) assert_status(pagestore_wait(others[i].instance, PAGESTORE_LATEST, 10000), PAGESTORE_ENOSPC);
  for (size_t i = 1; i <= OTHERS; i++) {
    for (int ms = 0; h.told.status[i] != PAGESTORE_ENOSPC && ms < 5000; ms++) pause_ms(1);
    assert_int_equal(h.told.status[i], PAGESTORE_ENOSPC);
  }
  pause_ms(150); /* it tries again: nobody is told twice */
  for (size_t i = 1; i <= OTHERS; i++) assert_int_equal(h.told.failures[i], 1);
  pagestore_statistics stats = host_stats(&h);
  assert_int_equal(stats.failure, PAGESTORE_ENOSPC);
  assert_true(stats.queue_commits >= OTHERS);
  assert_status(pagestore_sync(h.store, 10000), PAGESTORE_ENOSPC);
  assert_status(pagestore_sync(h.store, 0), PAGESTORE_ENOSPC);

  /* A synchronous one behind them is refused alone, also of an instance that has some in the queue. */
  uint64_t sealed = pagestore_committed_version(others[0].instance);
  put(&others[0], 1, 99);
  assert_status(pagestore_commit(others[0].instance, 0, NULL), PAGESTORE_ENOSPC);
  assert_int_equal(pagestore_committed_version(others[0].instance), sealed);
  assert_int_equal(dirty_blocks(others[0].memory), 16);
  assert_page(&others[0], 1, 99);
  assert_ok(pagestore_rollback(others[0].instance));
  for (int i = 0; i < OTHERS; i++) assert_page(&others[i], 1, LATER + 1);

  io_disarm();
  for (size_t i = 1; i <= OTHERS; i++) assert_true(told_within(&h.told, i, LATER + 1, 0)); /* by itself */
  assert_int_equal(host_stats(&h).failure, 0);
  for (int i = 0; i < OTHERS; i++) pagestore_instance_close(others[i].instance);
  reopen(&h, pagestore_committed_version(h.instance));
  check_before(&h);
  open_others(&h, others);
  for (int i = 0; i < OTHERS; i++) {
    assert_int_equal(pagestore_committed_version(others[i].instance), LATER + 1);
    for (uint64_t p = 0; p < 4; p++) assert_page(&others[i], p, LATER + 1);
    pagestore_instance_close(others[i].instance);
  }
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static void queue(void **state) {
  (void)state;
  for (uint64_t at = 1; at <= 4; at++) queue_waits_for_room(at);
  fault_row_count(ROW_WRITE, 4);
}

enum { STREAM = 500 }; /* half of what fills the queue, which would be tried at once */

/* New commits do not put the next try off. */
static void a_stream_goes_on(void **state) {
  (void)state;
  host h = { .listens = true }, others[OTHERS];
  scattered_store(&h);
  open_others(&h, others);
  io_arm(IO_DATA, 1, ENOSPC, true);
  commit_later(&others[0], 1);
  assert_status(pagestore_wait(others[0].instance, PAGESTORE_LATEST, 10000), PAGESTORE_ENOSPC);
  pause_ms(30); /* what the waiting has caused to be tried is over */
  io_disarm();
  uint64_t tag = 2;
  for (; pagestore_durable_version(others[0].instance) == 0 && tag < STREAM; tag++) {
    commit_later(&others[0], tag);
    pause_ms(2);
  }
  assert_true(tag < STREAM);
  for (int i = 0; i < OTHERS; i++) pagestore_instance_close(others[i].instance);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* No room, and the queue fills: the message that no longer fits is refused and stays open. */
static void full_queue(void **state) {
  (void)state;
  host h = { .options.queue_bytes = MIB };
  scattered_store(&h);
  uint64_t before = pagestore_committed_version(h.instance);
  io_arm(IO_DATA, 1, ENOSPC, true);
  uint64_t tag = 2;
  int status = 0;
  for (; !status && tag < 40; tag++) {
    for (uint64_t p = 0; p < 4; p++) put(&h, p, tag);
    status = pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL);
  }
  assert_int_equal(status, PAGESTORE_ENOSPC);
  tag--;
  assert_status(pagestore_commit(h.instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL), PAGESTORE_EAGAIN);
  assert_int_equal(pagestore_committed_version(h.instance), before + (tag - 2));
  assert_true(tag >= 5);
  assert_int_equal(dirty_blocks(h.memory), 64);
  io_disarm();
  for (int again = 0; again < 300 && (status = pagestore_commit(h.instance, 0, NULL)) == PAGESTORE_ENOSPC; again++) pause_ms(10);
  assert_int_equal(status, 0);
  reopen(&h, before + (tag - 1));
  for (uint64_t p = 0; p < PAGES; p++) assert_page(&h, p, p < 4 ? tag : 1);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* Closed while there is no room: close says so, on_durable said so, and what was acknowledged is there. */
static void closing_without_room(void **state) {
  (void)state;
  host h = { .listens = true };
  scattered_store(&h);
  uint64_t before = pagestore_committed_version(h.instance);
  io_arm(IO_DATA, 1, ENOSPC, true);
  for (uint64_t tag = 2; tag < 4; tag++) commit_later(&h, tag);
  assert_status(pagestore_wait(h.instance, PAGESTORE_LATEST, 10000), PAGESTORE_ENOSPC);
  commit_later(&h, 4); /* after on_durable has said ENOSPC once */
  pagestore_instance_close(h.instance);
  assert_status(pagestore_close(h.store), PAGESTORE_ENOSPC);
  assert_int_equal(h.told.status[0], PAGESTORE_ENOSPC);
  assert_int_equal(h.told.version[0], before + 3);
  io_disarm();
  host_open(&h, 0);
  assert_int_equal(pagestore_committed_version(h.instance), before);
  check_before(&h);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* ---- without injection ---------------------------------------------------------------------------------------------------------------- */

/* Commits of fresh pages until one is refused; returns the last tag that was committed. */
static uint64_t commit_until(host *h, int refusal) {
  int status = 0;
  uint64_t tag = 1, page = 0;
  while (!status) {
    assert_true(page < 4000);
    tag++;
    for (uint64_t end = page + 20; page < end; page++) put(h, page, tag);
    status = pagestore_commit(h->instance, 0, NULL);
  }
  assert_int_equal(status, refusal);
  assert_true(strlen(pagestore_detail()) > 10);
  assert_int_equal(dirty_blocks(h->memory), 20 * 16);
  return tag - 1;
}

static void check_tags(host *h, uint64_t last) {
  for (uint64_t page = 0; page < (last - 1) * 20; page++) assert_page(h, page, page / 20 + 2);
}

static void really_full(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  if (mount("pagestore", h.folder, "tmpfs", 0, "size=16m") != 0) {
    print_message("no tmpfs could be mounted (%s): not run\n", strerror(errno));
    folder_remove(&h);
    skip();
  }
  char ballast[300];
  snprintf(ballast, sizeof ballast, "%s/ballast", h.folder);
  int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
  assert_true(fd >= 0 && posix_fallocate(fd, 0, 5 * MIB) == 0);
  host_open(&h, 4096);
  uint64_t last = commit_until(&h, PAGESTORE_ENOSPC);
  check_tags(&h, last + 1);
  assert_ok(pagestore_metadata_set(h.instance, "key", "refused", 7));
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_ENOSPC);
  assert_ok(pagestore_metadata_set(h.instance, "key", "changed", 7)); /* the message goes on */
  close(fd);
  unlink(ballast);
  host_commit(&h);
  assert_ok(host_close(&h));
  host_open(&h, 0);
  char value[7];
  assert_ok(pagestore_metadata_get(h.instance, "key", value, sizeof value, NULL));
  assert_memory_equal(value, "changed", 7);
  check_tags(&h, last + 1);
  assert_ok(host_close(&h));
  assert_int_equal(umount(h.folder), 0);
  folder_remove(&h);
}

static void disk_budget(void **state) {
  (void)state;
  host h = { .options.disk_bytes = 12 * MIB };
  folder_make(&h);
  host_open(&h, 4096);
  uint64_t last = commit_until(&h, PAGESTORE_ENOSPC);
  struct stat st;
  assert_int_equal(stat(h.file, &st), 0);
  assert_true((uint64_t)st.st_size <= 12 * MIB);
  assert_true((uint64_t)st.st_size > 8 * MIB);
  assert_ok(pagestore_rollback(h.instance));
  check_tags(&h, last);
  /* What gives room back is let through, and room given back is used. */
  assert_ok(pagestore_memory_fill(h.memory, 0, 0, 40 * PAGESTORE_PAGE));
  host_commit(&h);
  for (uint64_t p = 0; p < 20; p++) put(&h, p, 2);
  host_commit(&h);
  assert_ok(host_close(&h));
  h.options.disk_bytes = 0;
  host_open(&h, 0);
  for (uint64_t p = 0; p < 20; p++) assert_page(&h, p, 2);
  for (uint64_t p = 20; p < 40; p++) assert_page(&h, p, 0);
  for (uint64_t p = 40; p < (last - 1) * 20; p++) assert_page(&h, p, p / 20 + 2);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* A drop that is queued before what finds no room makes the room; what comes behind a commit that fits not is not tried before it. */
static void way_out(void **state) {
  (void)state;
  host h = { .listens = true, .options.disk_bytes = 12 * MIB };
  folder_make(&h);
  host_open(&h, 4096);
  for (uint64_t p = 0; p < 60; p++) put(&h, p, 1);
  host_commit(&h);
  assert_ok(pagestore_snapshot_create(h.instance, "s", 0));
  for (uint64_t p = 0; p < 60; p++) put(&h, p, 2);
  host_commit(&h);
  assert_ok(pagestore_snapshot_drop(h.store, "i", "s", PAGESTORE_ASYNC));
  for (uint64_t p = 60; p < 110; p++) put(&h, p, 3);
  assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  assert_true(told_within(&h.told, 0, 3, 0));
  assert_ok(host_close(&h));
  host_open(&h, 0);
  for (uint64_t p = 0; p < 110; p++) assert_page(&h, p, p < 60 ? 2 : 3);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static void full_map(void **state) {
  (void)state;
  host h = { .options.map_bytes = 16 * MIB };
  folder_make(&h);
  host_open(&h, 4096);
  uint64_t last = commit_until(&h, PAGESTORE_EFULL);
  assert_non_null(strstr(pagestore_detail(), "map_bytes"));
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_EFULL);
  assert_ok(pagestore_rollback(h.instance));
  check_tags(&h, last);
  pagestore_instance_close(h.instance);
  pagestore_close(h.store);
  h.options.map_bytes = 64 * MIB;
  host_open(&h, 0);
  check_tags(&h, last);
  for (uint64_t p = (last - 1) * 20; p < last * 20; p++) put(&h, p, last + 1);
  host_commit(&h);
  assert_ok(host_close(&h));
  host_open(&h, 0);
  check_tags(&h, last + 1);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static int disarm(void **state) {
  (void)state;
  io_disarm();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(every_write, disarm),
    cmocka_unit_test_setup(snapshots_and_deletion, disarm),
    cmocka_unit_test_setup(first_commits, disarm),
    cmocka_unit_test_setup(queue, disarm),
    cmocka_unit_test_setup(a_stream_goes_on, disarm),
    cmocka_unit_test_setup(full_queue, disarm),
    cmocka_unit_test_setup(closing_without_room, disarm),
    cmocka_unit_test_setup(really_full, disarm),
    cmocka_unit_test_setup(disk_budget, disarm),
    cmocka_unit_test_setup(way_out, disarm),
    cmocka_unit_test_setup(full_map, disarm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
