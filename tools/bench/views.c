/* views.c - what starts from a committed version: views, snapshots, forks, restores, deletions; and the small change of
 * a host that opens and closes many instances.
 *
 * An instance of 4 GiB, all stored, is viewed, named, forked, restored and deleted; each of these that is durable on
 * return takes turns with an empty commit that is, too (one metadata key of another instance of the store). What a
 * message or a deletion leaves to the flusher is done before the next one is timed. A small instance of 16 pages, in
 * the page cache, is opened, forked, rolled back and advanced, in turns with mapping, registering and unmapping a range
 * of the same size.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "baseline.h"
#include "subject.h"

enum { SMALL_PAGES = 16, SMALL_ROUNDS = 64, MESSAGE_BLOCKS = 8, TOUCHES = 256, VIEW_THREADS = 4, THREAD_TOUCHES = 16 };
#define SMALL_RESERVED (8 * GIB + 2 * PAGESTORE_PAGE) /* what a 32-bit memory takes by default, guard included */

typedef struct {
  bench *b;
  pagestore_store *store;
  subject big, owner, small, other; /* other: of the empty commits */
  uint64_t big_pages, number;
  unsigned writer_commits;
  pagestore_instance *view;
  int uffd;
  dice dice;
  series *open, *touch, *advance, *empty, *snapshot, *fork, *restore, *fork_delete, *owner_empty, *owner_delete;
  series *map, *small_open, *small_view, *small_fork, *small_rollback, *small_advance;
  series *writer_alone, *writer_beside, *beside;
} views;

static double ms(uint64_t from_ns) { return (double)(now_ns() - from_ns) / 1e6; }
static double us(uint64_t from_ns) { return (double)(now_ns() - from_ns) / 1e3; }

static pagestore_instance *open_view(pagestore_store *store, const char *name, uint32_t flags, pagestore_memory **m) {
  pagestore_instance *view;
  need(pagestore_instance_open(store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = flags), &view), "view");
  need(pagestore_memory_open(view, "main", NULL, m), "memory_open");
  return view;
}

/* Nothing is left to flush or to give back. */
static void settle(views *v) { need(pagestore_drain(v->store, PAGESTORE_FOREVER), "drain"); }

static void write_message(views *v, subject *s) {
  uint64_t blocks[MESSAGE_BLOCKS];
  pattern_make(PATTERN_SCATTERED, blocks, MESSAGE_BLOCKS, s->pages * (PAGESTORE_PAGE / PAGESTORE_BLOCK), &v->dice);
  pattern_write(s->base, blocks, MESSAGE_BLOCKS);
}

/* ---- views of a large instance ----------------------------------------------------------------------------------- */

static void run_open(void *env) {
  views *v = env;
  pagestore_memory *m;
  uint64_t begin = now_ns();
  pagestore_instance *view = open_view(v->store, "big", PAGESTORE_READ, &m);
  series_add(v->open, ms(begin));
  const uint8_t *base = pagestore_memory_base(m);
  begin = now_ns();
  for (unsigned i = 0; i < TOUCHES; i++)
    (void)*(const volatile uint8_t *)(base + dice_below(&v->dice, v->big_pages) * PAGESTORE_PAGE);
  series_add(v->touch, us(begin) / TOUCHES);
  pagestore_instance_close(view);
}

static void run_advance(void *env) {
  views *v = env;
  write_message(v, &v->big);
  need(pagestore_commit(v->big.instance, 0, NULL), "commit");
  uint64_t begin = now_ns();
  need(pagestore_instance_advance(v->view, PAGESTORE_LATEST), "advance");
  series_add(v->advance, us(begin));
}

/* ---- durable operations ------------------------------------------------------------------------------------------ */

static void empty_commit(views *v, series *into) {
  v->number++;
  uint64_t begin = now_ns();
  need(pagestore_metadata_set(v->other.instance, "number", &v->number, sizeof v->number), "metadata_set");
  need(pagestore_commit(v->other.instance, 0, NULL), "commit");
  series_add(into, ms(begin));
}

static void run_empty(void *env) {
  views *v = env;
  empty_commit(v, v->empty);
}

static void run_snapshot(void *env) {
  views *v = env;
  uint64_t begin = now_ns();
  need(pagestore_snapshot_create(v->big.instance, "taken", 0), "snapshot_create");
  series_add(v->snapshot, ms(begin));
  need(pagestore_snapshot_drop(v->store, "big", "taken", 0), "snapshot_drop");
  settle(v);
}

static void run_restore(void *env) {
  views *v = env;
  write_message(v, &v->big);
  need(pagestore_commit(v->big.instance, 0, NULL), "commit");
  uint64_t begin = now_ns();
  need(pagestore_restore(v->big.instance, "base"), "restore");
  need(pagestore_commit(v->big.instance, 0, NULL), "commit");
  series_add(v->restore, ms(begin));
  settle(v);
}

static void run_fork(void *env) {
  views *v = env;
  pagestore_instance *fork;
  uint64_t begin = now_ns();
  need(pagestore_fork(v->big.instance, "fork", NULL, &fork), "fork");
  need(pagestore_metadata_set(fork, "number", &v->number, sizeof v->number), "metadata_set");
  need(pagestore_commit(fork, 0, NULL), "commit");
  series_add(v->fork, ms(begin));
  pagestore_instance_close(fork);
  begin = now_ns();
  need(pagestore_instance_delete(v->store, "fork", 0), "instance_delete");
  series_add(v->fork_delete, ms(begin));
  settle(v);
}

/* Of an instance that nothing shares, so that all it stores goes. */
static void run_owner(void *env) {
  views *v = env;
  bench_say(v->b, "filling an instance to be deleted");
  v->owner = subject_open(v->store, "owner", v->big_pages, 0);
  subject_fill(&v->owner, 1, false, &v->dice);
  subject_close(&v->owner);
  settle(v);
  empty_commit(v, v->owner_empty);
  uint64_t begin = now_ns();
  need(pagestore_instance_delete(v->store, "owner", 0), "instance_delete");
  series_add(v->owner_delete, ms(begin));
  settle(v);
}

/* ---- beside a writer --------------------------------------------------------------------------------------------- */

typedef struct {
  views *v;
  dice dice;
  atomic_bool *stop;
  uint64_t rounds;
} visitor;

static void *visit(void *env) {
  visitor *one = env;
  need(pagestore_thread_prepare(), "thread_prepare");
  while (!atomic_load(one->stop)) {
    pagestore_memory *m;
    pagestore_instance *view = open_view(one->v->store, "big", PAGESTORE_READ, &m);
    const uint8_t *base = pagestore_memory_base(m);
    for (unsigned i = 0; i < THREAD_TOUCHES; i++)
      (void)*(const volatile uint8_t *)(base + dice_below(&one->dice, one->v->big_pages) * PAGESTORE_PAGE);
    need(pagestore_instance_advance(view, PAGESTORE_LATEST), "advance");
    pagestore_instance_close(view);
    one->rounds++;
  }
  return NULL;
}

static void write_some(views *v, series *into) {
  uint64_t begin = now_ns();
  for (unsigned i = 0; i < v->writer_commits; i++) {
    write_message(v, &v->big);
    need(pagestore_commit(v->big.instance, 0, NULL), "commit");
  }
  series_add(into, ms(begin) / v->writer_commits);
}

static void run_writer_alone(void *env) {
  views *v = env;
  write_some(v, v->writer_alone);
}

static void run_beside(void *env) {
  views *v = env;
  pthread_t threads[VIEW_THREADS];
  visitor visitors[VIEW_THREADS];
  atomic_bool stop = false;
  uint64_t rounds = 0, begin = now_ns();
  for (unsigned i = 0; i < VIEW_THREADS; i++) {
    visitors[i] = (visitor){.v = v, .dice = {dice_next(&v->dice)}, .stop = &stop};
    need_os(pthread_create(&threads[i], NULL, visit, &visitors[i]) == 0, "pthread_create");
  }
  write_some(v, v->writer_beside);
  atomic_store(&stop, true);
  for (unsigned i = 0; i < VIEW_THREADS; i++) {
    pthread_join(threads[i], NULL);
    rounds += visitors[i].rounds;
  }
  series_add(v->beside, (double)rounds / ((double)(now_ns() - begin) / 1e9));
}

/* ---- a small instance -------------------------------------------------------------------------------------------- */

static void run_map(void *env) {
  views *v = env;
  uint64_t begin = now_ns();
  for (unsigned i = 0; i < SMALL_ROUNDS; i++) map_once(SMALL_RESERVED, SMALL_PAGES * PAGESTORE_PAGE, v->uffd);
  series_add(v->map, us(begin) / SMALL_ROUNDS);
}

static void open_close(views *v, uint32_t flags, series *into) {
  pagestore_memory *m;
  uint64_t begin = now_ns();
  for (unsigned i = 0; i < SMALL_ROUNDS; i++) pagestore_instance_close(open_view(v->store, "warm", flags, &m));
  series_add(into, us(begin) / SMALL_ROUNDS);
}

static void run_small_open(void *env) {
  views *v = env;
  open_close(v, 0, v->small_open);
}

static void run_small_view(void *env) {
  views *v = env;
  open_close(v, PAGESTORE_READ, v->small_view);
}

static void run_small_fork(void *env) {
  views *v = env;
  pagestore_memory *m;
  pagestore_instance *view = open_view(v->store, "warm", PAGESTORE_READ, &m), *fork;
  uint64_t begin = now_ns();
  for (unsigned i = 0; i < SMALL_ROUNDS; i++) {
    need(pagestore_fork(view, "small fork", NULL, &fork), "fork");
    need(pagestore_memory_open(fork, "main", NULL, &m), "memory_open");
    pagestore_instance_close(fork);
  }
  series_add(v->small_fork, us(begin) / SMALL_ROUNDS);
  pagestore_instance_close(view);
}

static void run_small_rollback(void *env) {
  views *v = env;
  pagestore_memory *m;
  subject s = {.pages = SMALL_PAGES};
  s.instance = open_view(v->store, "warm", PAGESTORE_PRIVATE, &m);
  s.base = pagestore_memory_base(m);
  uint64_t spent = 0;
  for (unsigned i = 0; i < SMALL_ROUNDS; i++) {
    write_message(v, &s);
    uint64_t begin = now_ns();
    need(pagestore_rollback(s.instance), "rollback");
    spent += now_ns() - begin;
  }
  series_add(v->small_rollback, (double)spent / 1e3 / SMALL_ROUNDS);
  pagestore_instance_close(s.instance);
}

static void run_small_advance(void *env) {
  views *v = env;
  pagestore_memory *m;
  uint64_t spent = 0;
  pagestore_instance *view = open_view(v->store, "moving", PAGESTORE_READ, &m);
  for (unsigned i = 0; i < SMALL_ROUNDS; i++) {
    const uint8_t *base = pagestore_memory_base(m);
    for (unsigned p = 0; p < SMALL_PAGES; p++) (void)*(const volatile uint8_t *)(base + p * PAGESTORE_PAGE);
    write_message(v, &v->small);
    need(pagestore_commit(v->small.instance, PAGESTORE_ASYNC, NULL), "commit");
    uint64_t begin = now_ns();
    need(pagestore_instance_advance(view, PAGESTORE_LATEST), "advance");
    spent += now_ns() - begin;
  }
  series_add(v->small_advance, (double)spent / 1e3 / SMALL_ROUNDS);
  pagestore_instance_close(view);
  need(pagestore_sync(v->store, PAGESTORE_FOREVER), "sync");
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void prepare(views *v) {
  bench_say(v->b, "filling");
  v->store = subject_store(v->b, "store", NULL);
  v->big = subject_open(v->store, "big", v->big_pages, 0);
  subject_fill(&v->big, 1, false, &v->dice);
  need(pagestore_snapshot_create(v->big.instance, "base", 0), "snapshot_create");
  v->other = subject_open(v->store, "other", 1, 0);
  subject_fill(&v->other, 1, true, &v->dice);
  v->small = subject_open(v->store, "warm", SMALL_PAGES, 0);
  subject_fill(&v->small, 1, true, &v->dice);
  subject_close(&v->small);
  v->small = subject_open(v->store, "moving", SMALL_PAGES, 0);
  subject_fill(&v->small, 1, true, &v->dice);
  v->uffd = uffd_open();
  if (v->uffd < 0) bench_note(v->b, "no userfaultfd: the range is mapped and unmapped only");
}

static void measure_large(views *v, const char *size) {
  bench *b = v->b;
  pagestore_memory *m;
  v->open = bench_series(b, "ms", "%s: open a view and its memory", size);
  v->touch = bench_series(b, "us", "%s: first touch of a random page in a view", size);
  v->advance = bench_series(b, "us", "%s: advance a view by 8 blocks", size);
  v->view = open_view(v->store, "big", PAGESTORE_READ, &m);
  bench_interleave(b, (bench_case[]){{run_open, v}, {run_advance, v}}, 2, bench_repetitions(b, 25), 2);
  pagestore_instance_close(v->view);

  v->empty = bench_series(b, "ms", "empty commit, durable");
  v->snapshot = bench_series(b, "ms", "%s: snapshot, durable", size);
  v->restore = bench_series(b, "ms", "%s: restore, durable", size);
  v->fork = bench_series(b, "ms", "%s: fork and its first commit, durable", size);
  v->fork_delete = bench_series(b, "ms", "%s: delete the fork, durable", size);
  series *durable[] = {v->snapshot, v->restore, v->fork, v->fork_delete};
  for (size_t i = 0; i < sizeof durable / sizeof *durable; i++) series_against(durable[i], v->empty);
  bench_interleave(b, (bench_case[]){{run_empty, v}, {run_snapshot, v}, {run_restore, v}, {run_fork, v}}, 4,
                   bench_repetitions(b, 25), 2);

  v->writer_alone = bench_series(b, "ms", "%s: commit of 8 blocks, durable, nobody beside", size);
  v->writer_beside = bench_series(b, "ms", "%s: the same beside 4 threads of views", size);
  v->beside = bench_series(b, "1/s", "%s: views opened, 16 pages touched, advanced, by them", size);
  series_against(v->writer_beside, v->writer_alone);
  bench_interleave(b, (bench_case[]){{run_writer_alone, v}, {run_beside, v}}, 2, bench_repetitions(b, 7), 1);

  v->owner_empty = bench_series(b, "ms", "empty commit before a deletion, durable");
  v->owner_delete = bench_series(b, "ms", "%s: delete what nothing shares, durable", size);
  series_against(v->owner_delete, v->owner_empty);
  bench_interleave(b, (bench_case[]){{run_owner, v}}, 1, b->quick ? 2 : 3, 0);
}

static void measure_small(views *v) {
  bench *b = v->b;
  v->map = bench_series(b, "us", "map, register and unmap a range");
  v->small_open = bench_series(b, "us", "16 pages, warm: open and close the instance");
  v->small_view = bench_series(b, "us", "16 pages, warm: open and close a view");
  v->small_fork = bench_series(b, "us", "16 pages, warm: fork a view and close the fork");
  v->small_rollback = bench_series(b, "us", "16 pages: private rollback of 8 blocks");
  v->small_advance = bench_series(b, "us", "16 pages: advance by 8 blocks");
  series *small[] = {v->small_open, v->small_view, v->small_fork, v->small_rollback, v->small_advance};
  for (size_t i = 0; i < sizeof small / sizeof *small; i++) series_against(small[i], v->map);
  bench_case cases[] = {{run_map, v},        {run_small_open, v},     {run_small_view, v},
                        {run_small_fork, v}, {run_small_rollback, v}, {run_small_advance, v}};
  bench_interleave(b, cases, sizeof cases / sizeof *cases, bench_repetitions(b, 25), 2);
}

void bench_views(bench *b) {
  char size[24];
  uint64_t bytes = bench_size(b, 4 * GIB, 32 * MIB);
  views v = {.b = b, .big_pages = bytes / PAGESTORE_PAGE, .writer_commits = b->quick ? 4 : 50, .dice = {1}};
  bench_disk_needed(b, bytes * 5 / 2 + GIB / 4);
  text_size(bytes, size);
  prepare(&v);
  measure_large(&v, size);
  measure_small(&v);
  subject_close(&v.big);
  subject_close(&v.other);
  subject_close(&v.small);
  need(pagestore_close(v.store), "close");
  bench_figure(b, "view_open_ms_4GiB", series_median(v.open));
  bench_figure(b, "snapshot_over_empty_commit", series_ratio(v.snapshot, v.empty));
  bench_figure(b, "restore_over_empty_commit", series_ratio(v.restore, v.empty));
  bench_figure(b, "delete_over_empty_commit", series_ratio(v.owner_delete, v.owner_empty));
  bench_figure(b, "fork_over_map", series_ratio(v.small_fork, v.map));
  bench_figure(b, "open_close_over_map", series_ratio(v.small_open, v.map));
}
