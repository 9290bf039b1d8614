/* test_access.c - host access, views, snapshots and handles in a forked child, point by point, under every tracker.
 *
 * Proven: memory_read, write, fill, prepare, mark and blocks under each tracker, read(2) into prepared ranges; a READ view cannot be
 * written to, a PRIVATE one keeps its writes to itself; advance, diff, trim and the resident limit; a child of fork() is refused.
 */
#include "fault_rows.h"
#include "support/bench.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- host access ------------------------------------------------------------------------------------- */

static void reading_and_writing(bench *b) {
  static uint8_t out[3 * PAGE], in[3 * PAGE];
  for (size_t i = 0; i < sizeof out; i++) out[i] = (uint8_t)(i * 7 + i / PAGE);
  bench_memory(b, 20);
  assert_ok(pagestore_memory_write(b->memory, PAGE - 10, out, sizeof out));
  assert_ok(pagestore_memory_write(b->memory, 20 * PAGE, out, 0));
  assert_status(pagestore_memory_write(b->memory, 20 * PAGE, out, 1), PAGESTORE_EBOUNDS);
  assert_status(pagestore_memory_write(b->memory, UINT64_MAX, out, 2), PAGESTORE_EBOUNDS);
  assert_status(pagestore_memory_read(b->memory, 19 * PAGE, in, PAGE + 1), PAGESTORE_EBOUNDS);
  assert_status(pagestore_memory_fill(b->memory, 1, 0, 20 * PAGE), PAGESTORE_EBOUNDS);
  assert_status(pagestore_memory_prepare(b->memory, 20 * PAGE, 1, true), PAGESTORE_EBOUNDS);
  bench_commit(b);
  bench_reopen(b);
  assert_ok(pagestore_memory_read(b->memory, PAGE - 10, in, sizeof in));
  assert_memory_equal(in, out, sizeof in);
  assert_ok(pagestore_memory_fill(b->memory, PAGE, 0, 2 * PAGE));
  bench_commit(b);
  bench_reopen(b);
  assert_ok(pagestore_memory_read(b->memory, PAGE - 10, in, sizeof in));
  for (size_t i = 10; i < 10 + 2 * PAGE; i++) assert_int_equal(in[i], 0);
  assert_memory_equal(in, out, 10);
  assert_memory_equal(in + 10 + 2 * PAGE, out + 10 + 2 * PAGE, PAGE - 10);
}

/* The kernel writes: through a prepared range it may, and what it wrote is committed. */
static void the_kernel_reads_into_a_prepared_range(bench *b) {
  int ends[2];
  static uint8_t sent[8192];
  memset(sent, 0x77, sizeof sent);
  bench_memory(b, 4);
  bench_put(b, 2 * PAGE, 1);
  bench_commit(b);
  bench_reopen(b);
  assert_int_equal(pipe(ends), 0);
  for (int round = 0; round < 3; round++) {
    sent[0] = (uint8_t)round;
    assert_int_equal(write(ends[1], sent, sizeof sent), sizeof sent);
    assert_ok(pagestore_memory_prepare(b->memory, 2 * PAGE - 4096, sizeof sent, true));
    assert_int_equal(read(ends[0], b->base + 2 * PAGE - 4096, sizeof sent), sizeof sent);
    bench_commit(b);
  }
  bench_reopen(b);
  assert_memory_equal(b->base + 2 * PAGE - 4096, sent, sizeof sent);
  assert_ok(pagestore_memory_prepare(b->memory, 0, 4 * PAGE, false));
  assert_int_equal(write(ends[1], b->base + 2 * PAGE, 100), 100);
  close(ends[0]);
  close(ends[1]);
}

static void marks_are_what_counts(bench *b) {
  bench_memory(b, 2);
  assert_status(pagestore_memory_mark(b->memory, 0, 1), PAGESTORE_EINVAL);
  bench_commit(b);
  bench_end(b);
  assert_ok(pagestore_instance_open(b->store, "one", NULL, &b->instance));
  b->options.flags = PAGESTORE_EXPLICIT;
  bench_memory(b, 2);
  assert_ok(pagestore_memory_mark(b->memory, BLOCK, 0));
  assert_int_equal(bench_dirty(b), 0);
  assert_ok(pagestore_memory_mark(b->memory, BLOCK - 1, 2));
  assert_int_equal(bench_dirty(b), 2);
  b->base[BLOCK] = 8;
  assert_ok(pagestore_memory_write(b->memory, PAGE + 1, "x", 1));
  assert_int_equal(bench_dirty(b), 3);
  assert_status(pagestore_memory_mark(b->memory, 2 * PAGE, 1), PAGESTORE_EBOUNDS);
  assert_int_equal(bench_commit(b), 2);
  assert_int_equal(bench_dirty(b), 0);
  assert_ok(pagestore_memory_mark(b->memory, 0, PAGE));
  b->base[BLOCK] = 9;
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(b->base[BLOCK], 8);
  bench_reopen(b);
  assert_int_equal(b->base[BLOCK], 8);
  assert_int_equal(b->base[PAGE + 1], 'x');
}

typedef struct { uint64_t offset[8], length[8]; int count; } ranges;
static int note_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  ranges *r = env;
  (void)m;
  r->offset[r->count] = offset;
  r->length[r->count] = length;
  return ++r->count == 8 ? 5 : 0;
}

static void dirty_blocks_come_in_runs(bench *b) {
  bench_memory(b, 8);
  bench_commit(b);
  bench_put(b, 3 * BLOCK, 1), bench_put(b, 4 * BLOCK, 1), bench_put(b, PAGE - 1, 1), bench_put(b, PAGE, 1), bench_put(b, 5 * PAGE, 1);
  ranges r = {0};
  assert_ok(pagestore_memory_blocks(b->memory, PAGESTORE_BLOCKS_DIRTY, note_range, &r));
  assert_int_equal(r.count, 3);
  assert_true(r.offset[0] == 3 * BLOCK && r.length[0] == 2 * BLOCK);
  assert_true(r.offset[1] == PAGE - BLOCK && r.length[1] == 2 * BLOCK);
  assert_true(r.offset[2] == 5 * PAGE && r.length[2] == BLOCK);
  bench_commit(b);
  assert_int_equal(bench_dirty(b), 0);
  for (uint64_t n = 0; n < 8; n++) bench_put(b, n * PAGE + n % 2 * BLOCK, 2);
  r.count = 0;
  assert_status(pagestore_memory_blocks(b->memory, PAGESTORE_BLOCKS_DIRTY, note_range, &r), PAGESTORE_EABORTED);
  r.count = 5; /* with more to come */
  assert_status(pagestore_memory_blocks(b->memory, PAGESTORE_BLOCKS_DIRTY, note_range, &r), PAGESTORE_EABORTED);
  assert_status(pagestore_memory_blocks(b->memory, 7, note_range, &r), PAGESTORE_EINVAL);
  assert_int_equal(bench_commit(b), 3);
  assert_ok(pagestore_instance_trim(b->instance, 0));
  for (uint64_t page = 0; page < 8; page += 2) (void)*(volatile uint8_t *)(b->base + page * PAGE);
  r.count = 7; /* with more to come */
  assert_status(pagestore_memory_blocks(b->memory, PAGESTORE_BLOCKS_RESIDENT, note_range, &r), PAGESTORE_EABORTED);
}

/* Pages that are given back at once are loaded while their blocks move from the index into rows. */
static void loading_during_flushes(bench *b) {
  bench_memory(b, 4);
  for (int n = 1; n <= 40; n++) {
    for (uint64_t page = 0; page < 4; page++) bench_put(b, page * PAGE + page * BLOCK, (uint8_t)n);
    assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, NULL));
    for (int look = 0; look < 6; look++) {
      assert_ok(pagestore_instance_trim(b->instance, 0));
      for (uint64_t page = 0; page < 4; page++) assert_int_equal(b->base[page * PAGE + page * BLOCK], n);
    }
  }
}

/* ---- views ---------------------------------------------------------------------------------------------- */

static void open_view(bench *b, bench *view, uint32_t flags, const char *snapshot) {
  *view = *b;
  view->options.pages = 1;
  assert_ok(pagestore_instance_open(b->store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = flags, .snapshot = snapshot), &view->instance));
  assert_ok(pagestore_memory_open(view->instance, "heap", NULL, &view->memory));
  view->base = pagestore_memory_base(view->memory);
}

static void a_view_cannot_be_written_to(bench *b) {
  bench view;
  uint8_t hash[32] = { 1 };
  pagestore_memory *m;
  bench_memory(b, 2);
  bench_put(b, 0, 1);
  bench_commit(b);
  open_view(b, &view, PAGESTORE_READ, NULL);
  assert_false(bench_survives(&view, 0, true));
  assert_true(bench_survives(&view, 0, false));
  assert_int_equal(view.base[0], 1);
  assert_false(bench_survives(&view, PAGE, true));
  assert_false(bench_survives(&view, 2 * PAGE, false));
  assert_status(pagestore_memory_write(view.memory, 0, "x", 1), PAGESTORE_EREADONLY);
  assert_status(pagestore_memory_grow(view.memory, 1, NULL), PAGESTORE_EREADONLY);
  assert_status(pagestore_memory_prepare(view.memory, 0, 1, true), PAGESTORE_EREADONLY);
  assert_status(pagestore_metadata_set(view.instance, "k", "v", 1), PAGESTORE_EREADONLY);
  assert_status(pagestore_commit(view.instance, 0, NULL), PAGESTORE_EREADONLY);
  assert_status(pagestore_upgrade(view.instance, hash), PAGESTORE_EREADONLY);
  assert_status(pagestore_restore(view.instance, "s"), PAGESTORE_EREADONLY);
  assert_status(pagestore_memory_open(view.instance, "new", PAGESTORE_WITH(pagestore_memory_options, .max_pages = 1), &m), PAGESTORE_ENOTFOUND);
  pagestore_instance_close(view.instance);
}

static void private_writes_stay_private(bench *b) {
  bench view, second;
  bench_memory(b, 2);
  bench_put(b, 0, 1);
  bench_commit(b);
  open_view(b, &view, PAGESTORE_PRIVATE, NULL);
  open_view(b, &second, PAGESTORE_PRIVATE, NULL);
  bench_put(&view, 0, 2);
  assert_ok(pagestore_memory_grow(view.memory, 1, NULL));
  assert_ok(pagestore_metadata_set(view.instance, "k", "v", 1));
  bench_put(&view, 3 * PAGE - 1, 2);
  assert_int_equal(b->base[0], 1);
  assert_int_equal(second.base[0], 1);
  bench_put(b, 1, 5);
  bench_commit(b);
  assert_int_equal(view.base[1], 0);
  assert_ok(pagestore_rollback(view.instance));
  assert_int_equal(view.base[0], 1);
  assert_int_equal(pagestore_memory_pages(view.memory), 2);
  bench_put(&view, 9, 9);
  assert_ok(pagestore_instance_advance(view.instance, PAGESTORE_LATEST));
  assert_int_equal(pagestore_committed_version(view.instance), 2);
  assert_int_equal(view.base[1], 5);
  assert_int_equal(view.base[9], 0);
  pagestore_instance_close(view.instance);
  pagestore_instance_close(second.instance);
  bench_reopen(b);
  assert_int_equal(b->base[0], 1);
  assert_int_equal(b->base[9], 0);
}

/* What changed before the instance was opened must be seen by a view that a restore moves. */
static void advancing_over_an_old_snapshot(bench *b) {
  bench view;
  bench_memory(b, 4);
  for (uint64_t page = 0; page < 4; page++) bench_put(b, page * PAGE, 1);
  bench_commit(b);
  assert_ok(pagestore_snapshot_create(b->instance, "old", 0));
  bench_put(b, 2 * PAGE, 2);
  bench_commit(b);
  bench_reopen(b);
  bench_put(b, PAGE, 3);
  bench_commit(b);
  open_view(b, &view, PAGESTORE_READ, NULL);
  assert_int_equal(view.base[2 * PAGE], 2);
  assert_int_equal(view.base[PAGE], 3);
  assert_ok(pagestore_restore(b->instance, "old"));
  assert_int_equal(b->base[2 * PAGE], 1);
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(b->base[2 * PAGE], 2);
  assert_ok(pagestore_restore(b->instance, "old"));
  bench_commit(b);
  assert_ok(pagestore_instance_advance(view.instance, PAGESTORE_LATEST));
  assert_int_equal(view.base[2 * PAGE], 1);
  assert_int_equal(view.base[PAGE], 1);
  pagestore_instance_close(view.instance);
}

/* The durable version of an instance whose restore is still in the queue. */
static void durable_views_during_a_restore(bench *b) {
  bench_memory(b, 2);
  bench_put(b, 0, 1);
  bench_commit(b);
  assert_ok(pagestore_snapshot_create(b->instance, "s", 0));
  bench_put(b, 0, 2);
  bench_commit(b);
  for (int n = 0; n < 20; n++) {
    assert_ok(pagestore_restore(b->instance, "s"));
    bench_put(b, PAGE, (uint8_t)n);
    assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, NULL));
    bench view = *b;
    const pagestore_instance_options *options =
      PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE);
    assert_ok(pagestore_instance_open(b->store, "one", options, &view.instance));
    assert_ok(pagestore_memory_open(view.instance, "heap", NULL, &view.memory));
    uint64_t version = pagestore_committed_version(view.instance);
    uint8_t byte = pagestore_memory_base(view.memory)[0];
    assert_int_equal(byte, (version - 2) % 2 == 1 ? 1 : 2);
    pagestore_instance_close(view.instance);
    bench_put(b, 0, 2);
    assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, NULL));
  }
}

static void comparing_views(bench *b) {
  bench from, to;
  bench_memory(b, 8);
  bench_put(b, 0, 1), bench_put(b, 3 * PAGE, 1);
  bench_commit(b);
  assert_ok(pagestore_snapshot_create(b->instance, "s", 0));
  bench_put(b, 3 * PAGE + BLOCK, 2), bench_put(b, 6 * PAGE - 1, 2), bench_put(b, 6 * PAGE, 2);
  bench_put(b, 0, 1);  /* the same byte */
  assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, NULL));
  open_view(b, &from, PAGESTORE_READ, "s");
  open_view(b, &to, PAGESTORE_READ, NULL);
  ranges r = {0};
  assert_ok(pagestore_diff(from.instance, to.instance, note_range, &r));
  uint64_t blocks = 0;
  for (int i = 0; i < r.count; i++) blocks += r.length[i] / BLOCK;
  assert_int_equal(blocks, 3);
  assert_int_equal(r.offset[0], 3 * PAGE + BLOCK);
  r.count = 7; /* its first call ends it */
  assert_status(pagestore_diff(from.instance, to.instance, note_range, &r), PAGESTORE_EABORTED);
  assert_int_equal(r.count, 8);
  r.count = 0;
  assert_ok(pagestore_diff(from.instance, from.instance, note_range, &r));
  assert_int_equal(r.count, 0);
  assert_status(pagestore_diff(from.instance, b->instance, note_range, &r), PAGESTORE_EINVAL);
  pagestore_instance_close(from.instance);
  pagestore_instance_close(to.instance);
}

/* Compared is what the views show, not what a message of their own has made of it: memories deleted in it, or made anew. */
static void comparing_changed_views(bench *b) {
  bench from, to;
  bench_memory(b, 8);
  bench_commit(b);
  assert_ok(pagestore_snapshot_create(b->instance, "s", 0));
  bench_put(b, 3 * PAGE, 2);
  bench_commit(b);
  open_view(b, &from, PAGESTORE_READ, "s");
  open_view(b, &to, PAGESTORE_PRIVATE, NULL);
  assert_ok(pagestore_memory_delete(to.memory));
  for (int anew = 0; anew < 2; anew++) {
    ranges r = {0};
    assert_ok(pagestore_diff(from.instance, to.instance, note_range, &r));
    assert_int_equal(r.count, 1);
    assert_int_equal(r.offset[0], 3 * PAGE);
    assert_ok(pagestore_memory_open(to.instance, "heap", PAGESTORE_WITH(pagestore_memory_options, .pages = 1), &to.memory));
  }
  pagestore_instance_close(from.instance);
  pagestore_instance_close(to.instance);
}

static void moving_views(bench *b) {
  bench view;
  bench_memory(b, 2);
  bench_commit(b);
  open_view(b, &view, PAGESTORE_READ, NULL);
  uint8_t *base = view.base;
  assert_status(pagestore_instance_advance(b->instance, PAGESTORE_LATEST), PAGESTORE_EINVAL);
  assert_status(pagestore_instance_advance(view.instance, 77), PAGESTORE_ENOTFOUND);
  for (uint64_t n = 2; n < 30; n++) {
    bench_put(b, n * 1000 % (2 * PAGE), (uint8_t)n);
    if (n == 20) assert_ok(pagestore_memory_grow(b->memory, 3, NULL));
    assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, NULL));
    assert_ok(pagestore_instance_advance(view.instance, n % 3 ? PAGESTORE_LATEST : n));
    assert_int_equal(pagestore_committed_version(view.instance), n);
    assert_int_equal(base[n * 1000 % (2 * PAGE)], n);
    assert_int_equal(pagestore_memory_pages(view.memory), n < 20 ? 2 : 5);
  }
  assert_ptr_equal(pagestore_memory_base(view.memory), base);
  assert_status(pagestore_instance_delete(b->store, "one", 0), PAGESTORE_EBUSY);
  pagestore_instance_close(view.instance);
}

static void forks_and_names(bench *b) {
  pagestore_instance *fork, *second;
  bench_memory(b, 1);
  bench_commit(b);
  assert_ok(pagestore_fork(b->instance, "fork", NULL, &fork));
  assert_int_equal(pagestore_committed_version(fork), 0);
  assert_status(pagestore_fork(b->instance, "fork", NULL, &second), PAGESTORE_EEXIST);
  assert_status(pagestore_fork(b->instance, "one", NULL, &second), PAGESTORE_EEXIST);
  pagestore_instance_close(fork);
  assert_status(pagestore_instance_open(b->store, "fork", NULL, &fork), PAGESTORE_ENOTFOUND);
  assert_status(pagestore_snapshot_drop(b->store, "one", "none", 0), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_snapshot_create(b->instance, "s", PAGESTORE_ASYNC));
  assert_status(pagestore_snapshot_create(b->instance, "s", 0), PAGESTORE_EEXIST);
  for (int n = 0; n < 20; n++) {
    assert_ok(pagestore_snapshot_drop(b->store, "one", "s", PAGESTORE_ASYNC));
    assert_status(pagestore_snapshot_drop(b->store, "one", "s", 0), PAGESTORE_ENOTFOUND);
    assert_ok(pagestore_snapshot_create(b->instance, "s", PAGESTORE_ASYNC));
  }
  assert_ok(pagestore_restore(b->instance, "s"));
  bench_commit(b);
}

/* A snapshot that is dropped before it is durable does not come back when it is. */
static void dropping_a_queued_snapshot(bench *b) {
  bench_memory(b, 1);
  bench_commit(b);
  for (int round = 0; round < 30; round++) {
    assert_ok(pagestore_snapshot_create(b->instance, "s", PAGESTORE_ASYNC));
    usleep(200);
    assert_ok(pagestore_snapshot_drop(b->store, "one", "s", PAGESTORE_ASYNC));
    for (int n = 0; n < 300; n++) {
      assert_status(pagestore_snapshot_drop(b->store, "one", "s", PAGESTORE_ASYNC), PAGESTORE_ENOTFOUND);
      usleep(5);
    }
  }
}

/* Its rows are the snapshot's, not those of the version that is durable meanwhile. */
static void a_fork_of_an_unflushed_restore(bench *b) {
  bench_memory(b, 8);
  bench_put(b, 0, 1);
  bench_commit(b);
  assert_ok(pagestore_snapshot_create(b->instance, "s", 0));
  for (int round = 0; round < 10; round++) {
    char name[16];
    pagestore_instance *busy, *fork;
    pagestore_instance_info info = { .size = sizeof info };
    for (uint64_t page = 0; page < 8; page++) bench_put(b, page * PAGE, 2);
    bench_commit(b);
    assert_ok(pagestore_instance_open(b->store, "busy", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &busy));
    assert_ok(pagestore_metadata_set(busy, "k", &round, sizeof round));
    assert_ok(pagestore_commit(busy, PAGESTORE_ASYNC, NULL));
    usleep(300);
    assert_ok(pagestore_restore(b->instance, "s"));
    assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, NULL));
    snprintf(name, sizeof name, "fork %d", round);
    assert_ok(pagestore_fork(b->instance, name, NULL, &fork));
    assert_ok(pagestore_metadata_set(fork, "k", "v", 1));
    assert_ok(pagestore_commit(fork, 0, NULL));
    assert_ok(pagestore_instance_stat(fork, &info));
    assert_int_equal(info.stored_pages, 1);
    pagestore_instance_close(fork);
    pagestore_instance_close(busy);
  }
}

/* ---- memory in use ------------------------------------------------------------------------------------------- */

static uint64_t resident(bench *b) {
  pagestore_statistics s = { .size = sizeof s };
  assert_ok(pagestore_stats(b->store, &s));
  return s.resident_bytes;
}

static void clean_pages_are_given_back(bench *b) {
  bench_memory(b, 32);
  for (uint64_t page = 0; page < 32; page++) bench_put(b, page * PAGE, (uint8_t)page);
  bench_commit(b);
  assert_true(resident(b) >= 31 * PAGE);
  bench_put(b, 5, 5);
  assert_ok(pagestore_instance_trim(b->instance, 4 * PAGE));
  assert_true(resident(b) <= 5 * PAGE);
  assert_int_equal(b->base[5], 5);
  for (uint64_t page = 1; page < 32; page++) assert_int_equal(b->base[page * PAGE], page);
  assert_int_equal(bench_commit(b), 2);
  b->store_options.resident_bytes = 8 * PAGE;
  bench_reopen(b);
  for (int round = 0; round < 3; round++) {
    for (uint64_t page = 1; page < 32; page++) assert_int_equal(b->base[page * PAGE], page);
    bench_put(b, 6, (uint8_t)round);
    assert_true(resident(b) <= 10 * PAGE);
    bench_commit(b);
  }
  assert_int_equal(b->base[5], 5);
}

/* ---- a child of fork() ------------------------------------------------------------------------------------------ */

static int child(bench *b) {
  pagestore_instance *i;
  int wrong = 0;
  wrong += pagestore_commit(b->instance, 0, NULL) != PAGESTORE_EFORKED;
  wrong += pagestore_rollback(b->instance) != PAGESTORE_EFORKED;
  wrong += pagestore_sync(b->store, 0) != PAGESTORE_EFORKED;
  wrong += pagestore_instance_open(b->store, "two", NULL, &i) != PAGESTORE_EFORKED;
  wrong += pagestore_memory_read(b->memory, 0, &wrong, 0) != PAGESTORE_EFORKED;
  wrong += pagestore_metadata_set(b->instance, "k", "v", 1) != PAGESTORE_EFORKED;
  wrong += pagestore_close(b->store) != PAGESTORE_EFORKED;
  pagestore_instance_close(b->instance);
  wrong += bench_survives(b, 0, false);  /* regions are not there */
  return wrong;
}

/* A new module's memory may be larger than the reservation of the old one: it is extended where the addresses behind are free. A handle
 * that knows of less follows a restore. */
static void a_reservation_that_grows(bench *b) {
  const uint64_t room = 2ull << 40, guard = 1ull << 40, last = 150 * PAGE - 1; /* so large that no hole elsewhere takes it */
  const pagestore_memory_options *narrow = PAGESTORE_WITH(pagestore_memory_options, .pages = 2, .max_pages = 2, .guard_bytes = guard);
  const pagestore_memory_options *wide = PAGESTORE_WITH(pagestore_memory_options, .pages = 3, .max_pages = 200, .guard_bytes = guard);
  uint8_t hash[32] = { 4 };
  pagestore_memory *m, *again;
  void *behind = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(behind != MAP_FAILED);
  assert_ok(pagestore_memory_open(b->instance, "heap", narrow, &m));
  uint8_t *base = pagestore_memory_base(m);
  assert_ptr_equal(base + guard + 2 * PAGE, behind);
  base[PAGE] = 5;
  bench_commit(b);
  assert_ok(pagestore_upgrade(b->instance, hash));
  assert_status(pagestore_memory_open(b->instance, "heap", wide, &again), PAGESTORE_ENOMEM);
  assert_int_equal(munmap(behind, room), 0);
  assert_ok(pagestore_memory_open(b->instance, "heap", wide, &again));
  assert_ptr_equal(again, m);
  assert_ptr_equal(pagestore_memory_base(m), base);
  assert_int_equal(pagestore_memory_max(m), 200);
  assert_ok(pagestore_memory_grow(m, 147, NULL));
  base[last] = 7;
  bench_commit(b);
  assert_int_equal(base[PAGE], 0);
  assert_int_equal(base[last], 7);
  assert_ok(pagestore_snapshot_create(b->instance, "wide", 0));
  assert_ok(pagestore_upgrade(b->instance, hash));
  bench_commit(b);
  pagestore_instance_close(b->instance);
  assert_ok(pagestore_instance_open(b->store, "one", NULL, &b->instance));
  assert_ok(pagestore_memory_open(b->instance, "heap", narrow, &m));
  assert_int_equal(pagestore_memory_max(m), 2);
  assert_ok(pagestore_restore(b->instance, "wide"));
  assert_int_equal(pagestore_memory_pages(m), 150);
  assert_int_equal(pagestore_memory_base(m)[last], 7);
  bench_commit(b);
}

static void a_forked_child_is_refused(bench *b) {
  bench_memory(b, 1);
  bench_put(b, 0, 1);
  bench_commit(b);
  pid_t pid = fork();
  if (pid == 0) _exit(child(b));
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  bench_put(b, 0, 2);
  assert_int_equal(bench_commit(b), 2);
  bench_reopen(b);
  assert_int_equal(b->base[0], 2);
  fault_row_count(ROW_FORK, 8);
}

static const bench_case cases[] = {
  BENCH_CASE(reading_and_writing), BENCH_CASE(the_kernel_reads_into_a_prepared_range), BENCH_CASE(marks_are_what_counts),
  BENCH_CASE(dirty_blocks_come_in_runs), BENCH_CASE(loading_during_flushes),
  BENCH_CASE(a_view_cannot_be_written_to), BENCH_CASE(private_writes_stay_private),
  BENCH_CASE(advancing_over_an_old_snapshot), BENCH_CASE(durable_views_during_a_restore), BENCH_CASE(comparing_views),
  BENCH_CASE(comparing_changed_views), BENCH_CASE(moving_views), BENCH_CASE(forks_and_names), BENCH_CASE(dropping_a_queued_snapshot),
  BENCH_CASE(a_fork_of_an_unflushed_restore), BENCH_CASE(clean_pages_are_given_back), BENCH_CASE(a_reservation_that_grows), BENCH_CASE(a_forked_child_is_refused),
};

int main(void) { return bench_run(cases, sizeof cases / sizeof *cases); }
