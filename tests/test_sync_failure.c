/* test_sync_failure.c - a failed sync or meta write is never acknowledged and never retried.
 *
 * ctest: WRAP pwrite write writev fdatasync fsync ftruncate fstatvfs
 * ctest: LIBS -l:liblmdb.a
 *
 * Proven, for EIO on fdatasync and on the write of the meta page, each with the bytes having reached the file and not, and for EIO
 * at each data write:
 * - the commit says EFAILED; so do waiters, sync, later commits, snapshots and deletions, and close; on_durable says EFAILED;
 * - after that no write and no sync is tried any more (the calls are counted), the durable version does not move;
 * - loads of pages never touched, new views of the sealed version, and rollback go on; a view of the durable one is refused;
 * - reopened, the store holds the last durable version or the new one, whole, and goes on from there; the new one only where the
 *   meta page reached the file.
 */
#include "fault_rows.h"
#include "host_fixture.h"
#include "io_faults.h"

enum { PAGES = 40, PARTIAL = PAGES - 3 };
typedef struct { unsigned kinds; bool reached, twice; const char *name; } failure;

/* LMDB puts the old meta page back when writing the new one has failed: `twice` fails that, too. */
static const failure failures[] = {
  { IO_SYNC, false, true, "sync" },          { IO_SYNC, true, true, "sync, data reached" },
  { IO_META, false, false, "meta" },         { IO_META, true, false, "meta, reached and put back" },
  { IO_META, true, true, "meta, reached" },  { IO_META, false, true, "meta, twice" },
  { IO_DATA, false, true, "data" },
};
static unsigned runs, kept, arrived;

static void fill(host *h, uint64_t tag) {
  for (uint64_t p = 0; p < PAGES / 2; p++) put(h, p, tag);
  h->base[PARTIAL * PAGESTORE_PAGE + 5] = (uint8_t)tag;
  assert_ok(pagestore_metadata_set(h->instance, "tag", &tag, sizeof tag));
}

static void assert_content(const host *h, uint64_t page, uint64_t tag) {
  static uint8_t expected[PAGESTORE_PAGE];
  fill_page(expected, page, page < PAGES / 2 ? tag : 7);
  if (page == PARTIAL) expected[5] = (uint8_t)tag;
  assert_memory_equal(h->base + page * PAGESTORE_PAGE, expected, PAGESTORE_PAGE);
}

static uint64_t stored_tag(pagestore_instance *i) {
  uint64_t tag;
  size_t length;
  assert_ok(pagestore_metadata_get(i, "tag", &tag, sizeof tag, &length));
  return tag;
}

/* Half of the pages are left alone, so that there is something to load later. */
static void committed_store(host *h) {
  folder_make(h);
  host_open(h, PAGES);
  for (uint64_t p = PAGES / 2; p < PAGES; p++) put(h, p, 7);
  fill(h, 1);
  assert_int_equal(host_commit(h), 1);
  assert_ok(host_close(h));
  host_open(h, 0);
}

static void arm(const failure *f) {
  io_arm(f->kinds, 1, EIO, f->twice);
  io_plan.reached = f->reached;
}

/* A view opened now, whose rows come from what is durable: of one page the message changed one block only. */
static void check_view(const host *h, uint64_t tag) {
  host view = *h;
  assert_ok(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view.instance));
  assert_ok(pagestore_memory_open(view.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &view.memory));
  view.base = pagestore_memory_base(view.memory);
  for (uint64_t p = 0; p < PAGES; p++) assert_content(&view, p, tag);
  pagestore_instance_close(view.instance);
}

static void everything_is_refused(host *h) {
  uint64_t writes = io_count(IO_DATA | IO_META | IO_SYNC), last = pagestore_committed_version(h->instance);
  assert_status(pagestore_wait(h->instance, last, PAGESTORE_FOREVER), PAGESTORE_EFAILED);
  assert_status(pagestore_wait(h->instance, last, 0), PAGESTORE_EFAILED);
  assert_status(pagestore_sync(h->store, 1000), PAGESTORE_EFAILED);
  assert_int_equal(host_stats(h).failure, PAGESTORE_EFAILED);
  assert_int_equal(pagestore_durable_version(h->instance), 1);
  assert_status(pagestore_snapshot_create(h->instance, "s", 0), PAGESTORE_EFAILED);
  assert_status(pagestore_snapshot_drop(h->store, "i", "kept", 0), PAGESTORE_ENOTFOUND);

  /* Loading and rolling back go on; the version that was sealed is what the handle sees. */
  for (uint64_t p = PAGES / 2; p < PAGES; p++) assert_content(h, p, stored_tag(h->instance));
  uint64_t tag = stored_tag(h->instance);
  fill(h, 50);
  assert_status(pagestore_commit(h->instance, 0, NULL), PAGESTORE_EFAILED);
  assert_status(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL), PAGESTORE_EFAILED);
  assert_status(pagestore_commit(h->instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL), PAGESTORE_EFAILED);
  assert_int_equal(pagestore_committed_version(h->instance), last);
  assert_int_equal(dirty_blocks(h->memory), PAGES / 2 * 16 + 1);
  assert_ok(pagestore_rollback(h->instance));
  assert_int_equal(stored_tag(h->instance), tag);
  check_view(h, tag);
  pagestore_instance *durable;
  assert_status(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE), &durable),
                PAGESTORE_EFAILED);
  for (uint64_t p = 0; p < PAGES; p++) assert_content(h, p, tag);
  pause_ms(20);
  assert_int_equal(io_count(IO_DATA | IO_META | IO_SYNC), writes);
}

/* Returns the version that was found. */
static uint64_t check_reopened(host *h, uint64_t newest) {
  pagestore_instance_close(h->instance);
  assert_status(pagestore_close(h->store), PAGESTORE_EFAILED);
  io_disarm();
  host_open(h, 0);
  uint64_t version = pagestore_committed_version(h->instance), tag = stored_tag(h->instance);
  assert_true(version == 1 || version == newest);
  assert_int_equal(pagestore_durable_version(h->instance), version);
  assert_int_equal(tag, version);
  for (int again = 0; again < 2; again++) {
    for (uint64_t p = 0; p < PAGES; p++) assert_content(h, p, tag);
    fill(h, ++tag);
    assert_int_equal(host_commit(h), version + 1 + (uint64_t)again);
  }
  assert_ok(host_close(h));
  folder_remove(h);
  return version;
}

static void count_outcome(const failure *f, uint64_t version) {
  runs++;
  if (version == 1) kept++;
  else arrived++;
  if (f->kinds != IO_META) assert_int_equal(version, 1);
  if (!f->reached) assert_int_equal(version, 1);
}

/* Flushed by the thread that waits, or for a host that listens by the flusher's. */
static void synchronous(const failure *f, bool listens) {
  host h = { .listens = listens };
  committed_store(&h);
  fill(&h, 2);
  arm(f);
  assert_status(pagestore_commit(h.instance, 0, NULL), PAGESTORE_EFAILED);
  assert_non_null(strstr(pagestore_detail(), "close"));
  assert_int_equal(pagestore_committed_version(h.instance), 2); /* sealed, outcome unknown */
  io_disarm();
  everything_is_refused(&h);
  count_outcome(f, check_reopened(&h, 2));
}

/* Several instances with several commits each, some of which come when it has happened. */
static void asynchronous(const failure *f) {
  host h = { .listens = true };
  pagestore_instance *other;
  committed_store(&h);
  pagestore_instance_options options = { .size = sizeof options, .flags = PAGESTORE_CREATE, .user = (void *)1 };
  assert_ok(pagestore_instance_open(h.store, "other", &options, &other));
  int good = h.told.calls[0];
  arm(f);
  uint64_t newest = 1, others = 0;
  for (uint64_t tag = 2; tag < 6; tag++) {
    fill(&h, tag);
    if (pagestore_commit(h.instance, PAGESTORE_ASYNC, &newest)) break;
    assert_ok(pagestore_metadata_set(other, "tag", &tag, sizeof tag));
    if (pagestore_commit(other, PAGESTORE_ASYNC, &others)) break;
  }
  assert_true(newest >= 2);
  assert_status(pagestore_wait(h.instance, 2, PAGESTORE_FOREVER), PAGESTORE_EFAILED);
  assert_true(told_within(&h.told, 0, newest, PAGESTORE_EFAILED));
  assert_int_equal(h.told.calls[0] - h.told.failures[0], good); /* never a 0 */
  io_disarm();
  assert_ok(pagestore_rollback(h.instance));
  if (others) assert_true(told_within(&h.told, 1, others, PAGESTORE_EFAILED));
  pagestore_instance_close(other);
  everything_is_refused(&h);
  pagestore_instance_close(h.instance);
  assert_status(pagestore_close(h.store), PAGESTORE_EFAILED);
  host_open(&h, 0);
  uint64_t version = pagestore_committed_version(h.instance);
  assert_true(version >= 1 && version <= newest);
  assert_int_equal(stored_tag(h.instance), version); /* one whole commit, of those that were sealed */
  for (uint64_t p = 0; p < PAGES; p++) assert_content(&h, p, version);
  count_outcome(f, version);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static void each_failure(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
    synchronous(&failures[i], false);
    synchronous(&failures[i], true);
    asynchronous(&failures[i]);
    fault_row_count(failures[i].kinds == IO_SYNC ? ROW_SYNC : failures[i].kinds == IO_META ? ROW_META : ROW_WRITE, 3);
  }
  print_message("%u failures: %u times the last durable version was found, %u times the new one\n", runs, kept, arrived);
  assert_true(arrived > 0); /* the plan does reach the meta page */
}

/* A full disk first, a failed sync when there is room again: told both. */
static void failure_after_full(void **state) {
  (void)state;
  host h = { .listens = true };
  committed_store(&h);
  io_arm(IO_DATA, 1, ENOSPC, true);
  fill(&h, 2);
  assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  assert_true(told_within(&h.told, 0, 2, PAGESTORE_ENOSPC));
  io_arm(IO_SYNC, 1, EIO, false);
  assert_true(told_within(&h.told, 0, 2, PAGESTORE_EFAILED));
  assert_int_equal(io_failed(), 1);
  io_disarm();
  everything_is_refused(&h);
  assert_int_equal(check_reopened(&h, 2), 1);
}

/* Deleting and snapshots while the sync fails: one of both states afterwards. */
static void other_works(void **state) {
  (void)state;
  for (int which = 0; which < 3; which++) {
    host h = {0};
    committed_store(&h);
    assert_ok(pagestore_snapshot_create(h.instance, "kept", 0));
    if (which == 2) pagestore_instance_close(h.instance);
    io_arm(IO_SYNC, 1, EIO, true);
    if (which == 0) assert_status(pagestore_snapshot_create(h.instance, "new", 0), PAGESTORE_EFAILED);
    if (which == 1) assert_status(pagestore_snapshot_drop(h.store, "i", "kept", 0), PAGESTORE_EFAILED);
    if (which == 2) assert_status(pagestore_instance_delete(h.store, "i", 0), PAGESTORE_EFAILED);
    io_disarm();
    if (which != 2) pagestore_instance_close(h.instance);
    assert_status(pagestore_close(h.store), PAGESTORE_EFAILED);
    host_open(&h, 0);
    for (uint64_t p = 0; p < PAGES; p++) assert_content(&h, p, 1);
    assert_ok(pagestore_restore(h.instance, "kept"));
    assert_int_equal(host_commit(&h), 2);
    assert_status(pagestore_restore(h.instance, "new"), PAGESTORE_ENOTFOUND);
    assert_ok(host_close(&h));
    folder_remove(&h);
  }
}

/* Creating: what failed to be synced is no store, and is gone. */
static void creating(void **state) {
  (void)state;
  unsigned failed = 0;
  for (uint64_t at = 1;; at++) {
    host h = {0};
    folder_make(&h);
    io_arm(IO_SYNC | IO_META | IO_DATA | IO_SIZE, at, EIO, true);
    int status = host_open_store(&h);
    io_disarm();
    if (status == 0) {
      assert_ok(pagestore_close(h.store));
      folder_remove(&h);
      break;
    }
    failed++;
    assert_true(strlen(pagestore_detail()) > 10);
    host_open(&h, 1);
    host_commit(&h);
    assert_ok(host_close(&h));
    char command[500];
    snprintf(command, sizeof command, "rm -r %s && rmdir %s", h.path, h.folder); /* nothing else is left there */
    assert_int_equal(system(command), 0);
  }
  print_message("creation: %u calls failed\n", failed);
  assert_true(failed >= 4);
  fault_row_count(ROW_SYNC, failed);
}

static int disarm(void **state) {
  (void)state;
  io_disarm();
  return 0;
}

/* A host that gives no callback is told by its next call. */
static void nobody_to_tell(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  assert_ok(pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &h.store));
  pagestore_handlers();
  host_open_instance(&h, 1);
  put(&h, 0, 1);
  io_arm(IO_SYNC, 1, EIO, false);
  assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  assert_status(pagestore_sync(h.store, 10000), PAGESTORE_EFAILED);
  io_disarm();
  assert_status(host_close(&h), PAGESTORE_EFAILED);
  host_open(&h, 1); /* before or after: whole */
  assert_page(&h, 0, pagestore_committed_version(h.instance));
  assert_ok(host_close(&h));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(each_failure, disarm),
    cmocka_unit_test_setup(failure_after_full, disarm),
    cmocka_unit_test_setup(other_works, disarm),
    cmocka_unit_test_setup(creating, disarm),
    cmocka_unit_test_setup(nobody_to_tell, disarm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
