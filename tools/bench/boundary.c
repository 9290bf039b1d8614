/* boundary.c - how long the engine stands still: commits and rollbacks, by dirty blocks and by resident memory.
 *
 * Three memories of one store, all their pages resident, take turns. A message writes scattered blocks: their
 * first-write faults are one series, the call that ends it (the pause) another, both together a third. What the
 * flusher has to do is done before the next message. Against: the replica's way on anonymous memory, not durable
 * (baseline.h), and the floor: the kernel's first-write faults and the copies alone.
 */
#include <math.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>

#include "baseline.h"
#include "subject.h"

enum { SIZES = 3, COUNTS = 4, WARMUPS = 12 };

static const uint64_t counts[COUNTS] = {1, 16, 256, 4096};

typedef struct {
  bench *b;
  uint64_t bytes, count;
  char text[24];
  bool is_measured;
  subject subject;
  region plain; /* base NULL: not compared with at this size */
  bool has_floor;
  uint64_t *blocks;
  dice dice;
  series *writes, *pause, *message, *rollback, *ic, *floor;
} place;

static double us_between(uint64_t begin, uint64_t end) { return (double)(end - begin) / 1e3; }

static void choose(place *p) {
  pattern_make(PATTERN_SCATTERED, p->blocks, p->count, p->bytes / PAGESTORE_BLOCK, &p->dice);
}

static void run_commit(void *env) {
  place *p = env;
  choose(p);
  uint64_t begin = now_ns();
  pattern_write(p->subject.base, p->blocks, p->count);
  uint64_t written = now_ns();
  need(pagestore_commit(p->subject.instance, PAGESTORE_ASYNC, NULL), "commit");
  uint64_t end = now_ns();
  series_add(p->writes, us_between(begin, written));
  series_add(p->pause, us_between(written, end));
  series_add(p->message, us_between(begin, end));
  need(pagestore_sync(p->subject.store, PAGESTORE_FOREVER), "sync");
}

/* What it dropped is loaded again, so that all stays resident. */
static void run_rollback(void *env) {
  place *p = env;
  choose(p);
  pattern_write(p->subject.base, p->blocks, p->count);
  uint64_t begin = now_ns();
  need(pagestore_rollback(p->subject.instance), "rollback");
  series_add(p->rollback, us_between(begin, now_ns()));
  for (uint64_t i = 0; i < p->count; i++) (void)*(volatile uint8_t *)(p->subject.base + p->blocks[i] * PAGESTORE_BLOCK);
}

static void run_ic(void *env) {
  place *p = env;
  choose(p);
  uint64_t begin = now_ns();
  ic_begin(&p->plain);
  bool done = ic_write(&p->plain, p->blocks, p->count);
  ic_commit(&p->plain);
  if (done) series_add(p->ic, us_between(begin, now_ns()));
  else series_refuse(p->ic, "too many mappings (vm.max_map_count)");
}

static void run_floor(void *env) {
  place *p = env;
  choose(p);
  floor_arm(&p->plain, p->blocks, p->count);
  uint64_t begin = now_ns();
  pattern_write(p->plain.base, p->blocks, p->count);
  floor_copy(&p->plain, p->blocks, p->count);
  series_add(p->floor, us_between(begin, now_ns()));
}

/* The smallest has the floor, the smaller two the replica's way: its costs do not follow the resident bytes. */
static void prepare(place *p, bench *b, unsigned which, pagestore_store *store) {
  static const char *const names[SIZES] = {"small", "middle", "large"};
  uint64_t most = counts[COUNTS - 1];
  p->b = b;
  p->dice = (dice){which + 1};
  p->blocks = need_memory(most * sizeof *p->blocks);
  text_size(p->bytes, p->text);
  p->is_measured = bench_memory_free(p->bytes + p->bytes / 4);
  if (!p->is_measured) {
    bench_note(b, "%s: not measured, so much memory is not free", p->text);
    return;
  }
  bench_say(b, "filling %s", p->text);
  p->subject = subject_open(store, names[which], p->bytes / PAGESTORE_PAGE, 0);
  subject_fill(&p->subject, 1, true, &p->dice);
  if (which < 2) p->plain = region_new(p->bytes, most);
}

static void add_cases(place *p, bench_case *cases, size_t *count, region *floor_region) {
  bench *b = p->b;
  unsigned long long n = p->count;
  if (!p->is_measured || p->count > p->bytes / PAGESTORE_BLOCK) return;
  p->writes = bench_series(b, "us", "%s, %llu blocks: first writes", p->text, n);
  p->pause = bench_series(b, "us", "%s, %llu blocks: pause of a commit", p->text, n);
  p->message = bench_series(b, "us", "%s, %llu blocks: first writes and pause", p->text, n);
  p->rollback = bench_series(b, "us", "%s, %llu blocks: pause of a rollback", p->text, n);
  cases[(*count)++] = (bench_case){run_commit, p};
  cases[(*count)++] = (bench_case){run_rollback, p};
  if (!p->plain.base) return;
  p->ic = bench_series(b, "us", "%s, %llu blocks: in the replica's way", p->text, n);
  series_against(p->ic, p->message);
  cases[(*count)++] = (bench_case){run_ic, p};
  if (!floor_region) return;
  p->floor = bench_series(b, "us", "%s, %llu blocks: faults and copies alone", p->text, n);
  series_against(p->message, p->floor);
}

/* The floor's range is one of its own: the replica's way changes protections. */
static void measure(place *places, place *floor, unsigned at) {
  bench *b = places[0].b;
  bench_case cases[SIZES * 3 + 1];
  size_t count = 0;
  for (unsigned i = 0; i < SIZES; i++) {
    places[i].count = counts[at];
    places[i].ic = places[i].message = NULL;
    add_cases(&places[i], cases, &count, i == 0 && floor->has_floor ? &floor->plain : NULL);
  }
  floor->count = counts[at];
  floor->floor = places[0].floor;
  if (floor->has_floor) cases[count++] = (bench_case){run_floor, floor};
  bool is_heavy = counts[at] > 1000;
  bench_interleave(b, cases, count, bench_repetitions(b, is_heavy ? 5 : 25), b->quick ? 2 : is_heavy ? 3 : WARMUPS);
}

static void figures(bench *b, place *places) {
  place *small = &places[0], *middle = &places[1], *large = &places[2];
  bench_figure(b, "pause_us_16_64MiB", series_median(small->pause));
  bench_figure(b, "floor_us_16", small->floor ? series_median(small->floor) : NAN);
  bench_figure(b, "growth_64MiB_to_8GiB", large->message ? series_ratio(large->message, small->message) : NAN);
  bench_figure(b, "ic_over_ours", middle->ic ? series_ratio(middle->ic, middle->message) : NAN);
}

void bench_boundary(bench *b) {
  place places[SIZES] = {{.bytes = bench_size(b, 64 * MIB, 16 * MIB)},
                         {.bytes = bench_size(b, GIB, 32 * MIB)},
                         {.bytes = bench_size(b, 8 * GIB, 64 * MIB)}};
  uint64_t all = places[0].bytes + places[1].bytes + places[2].bytes;
  bench_disk_needed(b, all + all / 8 + GIB / 2);
  pagestore_store *store = subject_store(b, "store", PAGESTORE_WITH(pagestore_options, .resident_bytes = all * 4));
  for (unsigned i = 0; i < SIZES; i++) prepare(&places[i], b, i, store);
  place floor = {.b = b, .bytes = places[0].bytes, .blocks = places[0].blocks, .dice = {9}};
  floor.plain = region_new(floor.bytes, counts[COUNTS - 1]);
  floor.has_floor = floor_register(&floor.plain);
  if (!floor.has_floor) bench_note(b, "the kernel has no asynchronous write-protect for this process: no floor");
  for (unsigned at = 0; at < COUNTS; at++) {
    measure(places, &floor, at);
    if (counts[at] == 16) figures(b, places);
  }
  for (unsigned i = 0; i < SIZES; i++) {
    if (places[i].plain.base) region_free(&places[i].plain);
    subject_close(&places[i].subject);
  }
  region_free(&floor.plain);
  need(pagestore_close(store), "close");
}
