/* track.c - what it costs to know which blocks a message wrote: the first write to a clean block, and collecting.
 *
 * A resident memory of 256 MiB that is not stored (VOLATILE), so that no disk takes part: its commit collects the
 * dirty blocks, copies them and makes them clean; and 512 MiB, every second block of it. A message writes one word
 * in each of its blocks, 64 to 65,536 of them. `writes` is the time of that, faults included; `collect` asks which
 * blocks are dirty; `boundary` is a commit without having asked. Every tracker, with explicit marks for one, and
 * the replica's way (baseline.h), which also copies.
 *
 * What the limit of mappings refuses is told as refused; the mprotect tracker is never refused, but widens its windows.
 * At the end: what the kernel alone takes to protect a block, and what beside a thread that computes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "baseline.h"
#include "subject.h"

enum { WAYS = 6, IC = 5, WARMUPS = 4 };

static const struct {
  const char *name;
  pagestore_tracker tracker;
  uint32_t flags;
} ways[WAYS] = {{"auto", PAGESTORE_TRACK_AUTO, 0},
                {"scan", PAGESTORE_TRACK_SCAN, 0},
                {"fault", PAGESTORE_TRACK_FAULT, 0},
                {"mprotect", PAGESTORE_TRACK_MPROTECT, 0},
                {"explicit", PAGESTORE_TRACK_AUTO, PAGESTORE_EXPLICIT},
                {"replica's way", PAGESTORE_TRACK_AUTO, 0}};

typedef struct {
  unsigned way;
  pagestore_store *store;
  subject subject;
  region *plain; /* of the replica's way */
  bool is_there;
  uint64_t *blocks, count, of;
  pattern pattern;
  dice dice;
  series *writes, *collect, *boundary, *message;
} tracked;

static double us_between(uint64_t begin, uint64_t end) { return (double)(end - begin) / 1e3; }

static void write_blocks(tracked *t) {
  if (!(ways[t->way].flags & PAGESTORE_EXPLICIT)) {
    pattern_write(t->subject.base, t->blocks, t->count);
    return;
  }
  for (uint64_t i = 0; i < t->count; i++) {
    need(pagestore_memory_mark(t->subject.memory, t->blocks[i] * PAGESTORE_BLOCK, PAGESTORE_BLOCK), "memory_mark");
    pattern_write(t->subject.base, t->blocks + i, 1);
  }
}

static int count_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m, (void)offset;
  *(uint64_t *)env += length / PAGESTORE_BLOCK;
  return 0;
}

/* Two messages: one is committed at once, the other is asked for its dirty blocks first. */
static void run_ours(void *env) {
  tracked *t = env;
  uint64_t found = 0;
  pattern_make(t->pattern, t->blocks, t->count, t->of, &t->dice);
  uint64_t begin = now_ns();
  write_blocks(t);
  uint64_t written = now_ns();
  need(pagestore_commit(t->subject.instance, 0, NULL), "commit");
  uint64_t end = now_ns();
  series_add(t->writes, us_between(begin, written) / (double)t->count);
  series_add(t->boundary, us_between(written, end));
  series_add(t->message, us_between(begin, end));
  write_blocks(t);
  begin = now_ns();
  need(pagestore_memory_blocks(t->subject.memory, PAGESTORE_BLOCKS_DIRTY, count_range, &found), "memory_blocks");
  series_add(t->collect, us_between(begin, now_ns()));
  if (found < t->count)
    die("%s found %llu of %llu dirty blocks", ways[t->way].name, (unsigned long long)found,
        (unsigned long long)t->count);
  need(pagestore_commit(t->subject.instance, 0, NULL), "commit");
}

static void run_ic(void *env) {
  tracked *t = env;
  pattern_make(t->pattern, t->blocks, t->count, t->of, &t->dice);
  uint64_t begin = now_ns();
  ic_begin(t->plain);
  bool done = ic_write(t->plain, t->blocks, t->count);
  int why = errno;
  uint64_t written = now_ns();
  ic_commit(t->plain);
  uint64_t end = now_ns();
  if (!done) {
    series *all[] = {t->writes, t->boundary, t->message};
    for (size_t i = 0; i < 3; i++)
      series_refuse(all[i], "%s after %llu blocks: too many mappings (vm.max_map_count)", strerror(why),
                    (unsigned long long)t->plain->noted_count - 1);
    return;
  }
  series_add(t->writes, us_between(begin, written) / (double)t->count);
  series_add(t->boundary, us_between(written, end));
  series_add(t->message, us_between(begin, end));
}

/* A store for each tracker; a memory of its own for each, all resident and clean. */
static void prepare(bench *b, tracked *t, unsigned way, uint64_t bytes) {
  char name[32];
  t->way = way;
  t->of = bytes / PAGESTORE_BLOCK;
  t->dice = (dice){7};
  t->blocks = need_memory(t->of * sizeof *t->blocks);
  t->is_there = true;
  if (way == IC) {
    t->plain = need_memory(sizeof *t->plain);
    *t->plain = region_new(bytes, t->of);
    return;
  }
  pagestore_platform p = {.size = sizeof p};
  need(pagestore_probe(&p), "probe");
  if ((ways[way].tracker == PAGESTORE_TRACK_SCAN && !p.tracker_scan) ||
      (ways[way].tracker == PAGESTORE_TRACK_FAULT && !p.tracker_fault)) {
    t->is_there = false;
    bench_note(b, "%s: not to be had here (userfaultfd: %s)", ways[way].name, p.userfaultfd);
    return;
  }
  snprintf(name, sizeof name, "store-%s", ways[way].name);
  t->store = subject_store(b, name, PAGESTORE_WITH(pagestore_options, .tracker = ways[way].tracker));
  t->subject = subject_open(t->store, "tracked", bytes / PAGESTORE_PAGE, PAGESTORE_VOLATILE | ways[way].flags);
  if (ways[way].flags & PAGESTORE_EXPLICIT) need(pagestore_memory_mark(t->subject.memory, 0, bytes), "memory_mark");
  for (uint64_t at = 0; at < bytes; at += PAGESTORE_BLOCK) t->subject.base[at] = 1;
  need(pagestore_commit(t->subject.instance, 0, NULL), "commit");
}

static void make_series(bench *b, tracked *t, const tracked *base) {
  const char *way = ways[t->way].name;
  char p[64], size[24];
  unsigned long long n = t->count;
  text_size(t->of * PAGESTORE_BLOCK, size);
  snprintf(p, sizeof p, "%s of %s", pattern_names[t->pattern], size);
  t->writes = bench_series(b, "us", "%s, %llu %s: a first write", way, n, p);
  if (t->way != IC) t->collect = bench_series(b, "us", "%s, %llu %s: collect", way, n, p);
  t->boundary = bench_series(b, "us", "%s, %llu %s: boundary", way, n, p);
  t->message = bench_series(b, "us", "%s, %llu %s: writes and boundary", way, n, p);
  if (base != t) series_against(t->message, base->message);
}

static void measure(bench *b, tracked *all, pattern p, uint64_t count) {
  bench_case cases[WAYS];
  size_t cases_count = 0;
  for (unsigned way = 0; way < WAYS; way++) {
    tracked *t = &all[way];
    if (!t->is_there) continue;
    t->pattern = p;
    t->count = count;
    make_series(b, t, &all[0]);
    cases[cases_count++] = (bench_case){way == IC ? run_ic : run_ours, t};
  }
  unsigned usual = count > 20000 ? 3 : count > 4096 ? 5 : 9;
  bench_interleave(b, cases, cases_count, bench_repetitions(b, usual), b->quick ? 1 : count > 20000 ? 1 : WARMUPS);
  if (p == PATTERN_SCATTERED && count == 4096)
    bench_figure(b, "ic_over_auto", series_ratio(all[IC].message, all[0].message));
}

static void prepare_all(bench *b, tracked *all, uint64_t bytes) {
  for (unsigned way = 0; way < WAYS; way++) prepare(b, &all[way], way, bytes);
}

static void close_all(tracked *all) {
  for (unsigned way = 0; way < WAYS; way++) {
    free(all[way].blocks);
    if (all[way].plain) region_free(all[way].plain);
    free(all[way].plain);
    if (!all[way].store) continue;
    subject_close(&all[way].subject);
    need(pagestore_close(all[way].store), "close");
  }
}

/* Every second block of a memory of twice the size: more mappings than the usual limit, where each block has
 * its own. */
static void measure_most(bench *b, uint64_t bytes) {
  tracked all[WAYS] = {0};
  if (!bench_memory_free(bytes * 12)) {
    bench_note(b, "half the blocks of a larger memory: not measured, so much memory is not free");
    return;
  }
  prepare_all(b, all, bytes);
  measure(b, all, PATTERN_SCATTERED, bytes / PAGESTORE_BLOCK / 2);
  close_all(all);
}

/* ---- processors that have to forget ------------------------------------------------------------------------------ */

enum { PROTECTED = 512 };

typedef struct {
  region *plain;
  series *cost;
  bool is_beside;
  _Atomic bool is_over;
} protecting;

static void *compute(void *env) {
  protecting *p = env;
  while (!atomic_load(&p->is_over)) continue;
  return NULL;
}

static void run_protecting(void *env) {
  protecting *p = env;
  pthread_t thread;
  atomic_store(&p->is_over, !p->is_beside);
  need_os(pthread_create(&thread, NULL, compute, p) == 0, "pthread_create");
  if (p->is_beside) usleep(2000);
  else pthread_join(thread, NULL);
  for (uint64_t i = 0; i < PROTECTED; i++) ++*(volatile uint8_t *)(p->plain->base + i * 7 * PAGESTORE_BLOCK);
  uint64_t begin = now_ns();
  for (uint64_t i = 0; i < PROTECTED; i++) floor_arm(p->plain, &(uint64_t){i * 7}, 1);
  series_add(p->cost, (double)(now_ns() - begin) / 1e3 / PROTECTED);
  atomic_store(&p->is_over, true);
  if (p->is_beside) pthread_join(thread, NULL);
}

/* What the kernel takes to protect one block: every processor that runs the process has to forget its translation, and
 * is interrupted for it. So do `fault` and `mprotect` twice a block, and a flusher at work makes them dearer. */
static void measure_protecting(bench *b) {
  region r = region_new(PROTECTED * 7 * PAGESTORE_BLOCK, 1);
  protecting alone = {.plain = &r}, beside = {.plain = &r, .is_beside = true};
  if (floor_register(&r)) {
    alone.cost = bench_series(b, "us", "the kernel protects a block");
    beside.cost = bench_series(b, "us", "the kernel protects a block while another thread computes");
    series_against(beside.cost, alone.cost);
    bench_case cases[] = {{run_protecting, &alone}, {run_protecting, &beside}};
    bench_interleave(b, cases, 2, bench_repetitions(b, 9), 1);
  } else {
    bench_note(b, "what the kernel takes to protect a block: not measured, userfaultfd is not to be had");
  }
  region_free(&r);
}

void bench_track(bench *b) {
  static const uint64_t counts[] = {64, 256, 1024, 4096, 16384, 65536};
  tracked all[WAYS] = {0};
  uint64_t bytes = bench_size(b, 256 * MIB, 32 * MIB);
  prepare_all(b, all, bytes);
  for (pattern p = PATTERN_SEQUENTIAL; p < PATTERNS; p++)
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
      if (counts[i] <= bytes / PAGESTORE_BLOCK) measure(b, all, p, counts[i]);
  close_all(all);
  measure_most(b, 2 * bytes);
  measure_protecting(b);
}
