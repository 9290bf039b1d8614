/* scale.c - whether the cost of a message stays the same while everything around it grows.
 *
 * Two ways to grow: one memory from 1 MiB to 32 GiB, each size in a store of its own, where beyond 1 GiB only every
 * so many-th page is stored and touched (the row says which); and from 1 to 10,000 instances of 16 pages, 4 of them
 * stored, all open in one store, of which any gets the message. A message writes eight blocks, scattered over all
 * that is stored and resident. Three costs of it: the engine's (first writes and the asynchronous commit), that of a
 * commit which waits until it is durable, and the processor's, all threads. Sizes take turns.
 */
#include <stdio.h>
#include <stdlib.h>

#include "subject.h"

enum { MESSAGE_BLOCKS = 8, SIZES = 6, COUNTS = 5, SMALL_PAGES = 16, SMALL_STEP = 4 };

typedef struct {
  bench *b;
  pagestore_store *store;
  subject *subjects;
  uint64_t count, pages, step; /* every step-th page is stored */
  char text[48];
  unsigned messages, waiting; /* of a sample */
  dice dice;
  series *engine, *durable, *cpu;
} place;

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static subject *write_message(place *p) {
  uint64_t blocks[MESSAGE_BLOCKS], in_page = PAGESTORE_PAGE / PAGESTORE_BLOCK;
  subject *s = &p->subjects[dice_below(&p->dice, p->count)];
  pattern_make(PATTERN_SCATTERED, blocks, MESSAGE_BLOCKS, p->pages / p->step * in_page, &p->dice);
  for (unsigned i = 0; i < MESSAGE_BLOCKS; i++)
    blocks[i] = blocks[i] / in_page * p->step * in_page + blocks[i] % in_page;
  pattern_write(s->base, blocks, MESSAGE_BLOCKS);
  return s;
}

/* What is left to the flusher is done before the next begins, and counts as the processor's. */
static void run(void *env) {
  place *p = env;
  uint64_t engine_ns = 0, cpu = cpu_ns();
  for (unsigned i = 0; i < p->messages; i++) {
    uint64_t begin = now_ns();
    subject *s = write_message(p);
    need(pagestore_commit(s->instance, PAGESTORE_ASYNC, NULL), "commit");
    engine_ns += now_ns() - begin;
    need(pagestore_sync(p->store, PAGESTORE_FOREVER), "sync");
  }
  series_add(p->cpu, (double)(cpu_ns() - cpu) / 1e3 / p->messages);
  series_add(p->engine, (double)engine_ns / 1e3 / p->messages);
  uint64_t begin = now_ns();
  for (unsigned i = 0; i < p->waiting; i++) need(pagestore_commit(write_message(p)->instance, 0, NULL), "commit");
  series_add(p->durable, (double)(now_ns() - begin) / 1e3 / p->waiting);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static void fill(place *p) {
  for (uint64_t i = 0; i < p->count; i++) {
    char name[32];
    snprintf(name, sizeof name, "instance %llu", (unsigned long long)i);
    p->subjects[i] = subject_open(p->store, name, p->pages, 0);
    if (p->count == 1) {
      subject_fill(&p->subjects[i], p->step, true, &p->dice);
      return;
    }
    for (uint64_t page = 0; page < p->pages; page += p->step)
      dice_fill(&p->dice, p->subjects[i].base + page * PAGESTORE_PAGE, PAGESTORE_PAGE);
    need(pagestore_commit(p->subjects[i].instance, PAGESTORE_ASYNC, NULL), "commit");
  }
  need(pagestore_sync(p->store, PAGESTORE_FOREVER), "sync");
}

static void prepare(place *p, bench *b, const char *store, const char *axis, double x) {
  p->b = b;
  p->dice = (dice){p->pages + p->count};
  p->messages = b->quick ? 4 : 32;
  p->waiting = b->quick ? 2 : 16;
  bench_say(b, "filling %s", p->text);
  p->subjects = need_memory(p->count * sizeof *p->subjects);
  p->store = subject_store(b, store, PAGESTORE_WITH(pagestore_options, .resident_bytes = 16 * GIB));
  fill(p);
  p->engine = bench_series(b, "us", "%s: first writes and commit", p->text);
  p->durable = bench_series(b, "us", "%s: until it is durable", p->text);
  p->cpu = bench_series(b, "us", "%s: processor time", p->text);
  series_place(p->engine, axis, "first writes and commit", x);
  series_place(p->durable, axis, "until durable", x);
  series_place(p->cpu, axis, "processor time", x);
}

static void close_place(place *p) {
  for (uint64_t i = 0; i < p->count; i++) subject_close(&p->subjects[i]);
  free(p->subjects);
  need(pagestore_close(p->store), "close");
}

static void against(place *p, const place *base) {
  series_against(p->engine, base->engine);
  series_against(p->durable, base->durable);
  series_against(p->cpu, base->cpu);
}

static void measure(bench *b, place *places, size_t count) {
  bench_case cases[SIZES + COUNTS];
  for (size_t i = 0; i < count; i++) {
    if (i > 0) against(&places[i], &places[0]);
    cases[i] = (bench_case){run, &places[i]};
  }
  bench_interleave(b, cases, count, bench_repetitions(b, 15), b->quick ? 1 : 3);
  for (size_t i = 0; i < count; i++) close_place(&places[i]);
}

/* ---- the two ways to grow ---------------------------------------------------------------------------------------- */

static double memories(bench *b) {
  place places[SIZES] = {{.pages = bench_size(b, MIB, MIB)},         {.pages = bench_size(b, 16 * MIB, 2 * MIB)},
                         {.pages = bench_size(b, 256 * MIB, 4 * MIB)}, {.pages = bench_size(b, GIB, 8 * MIB)},
                         {.pages = bench_size(b, 4 * GIB, GIB)},       {.pages = bench_size(b, 32 * GIB, 8 * GIB)}};
  uint64_t stored_max = bench_size(b, GIB, 16 * MIB);
  for (unsigned i = 0; i < SIZES; i++) {
    place *p = &places[i];
    char size[24], store[24];
    text_size(p->pages, size);
    p->step = p->pages > stored_max ? p->pages / stored_max : 1;
    if (p->step > 1) snprintf(p->text, sizeof p->text, "%s, 1 page in %u", size, (unsigned)p->step);
    else snprintf(p->text, sizeof p->text, "%s", size);
    double x = (double)p->pages / (double)MIB;
    p->pages /= PAGESTORE_PAGE;
    p->count = 1;
    snprintf(store, sizeof store, "memory %u", i);
    prepare(p, b, store, "size of the memory, MiB", x);
  }
  measure(b, places, SIZES);
  return series_ratio(places[SIZES - 1].engine, places[0].engine);
}

static double instances(bench *b) {
  static const uint64_t counts[COUNTS] = {1, 10, 100, 1000, 10000};
  place places[COUNTS] = {0};
  size_t used = 0;
  for (unsigned i = 0; i < COUNTS && counts[i] <= bench_size(b, 10000, 100); i++) {
    place *p = &places[used++];
    char store[24];
    p->count = counts[i];
    p->pages = SMALL_PAGES;
    p->step = SMALL_STEP;
    snprintf(p->text, sizeof p->text, "%u instance%s", (unsigned)p->count, p->count > 1 ? "s" : "");
    snprintf(store, sizeof store, "instances %u", i);
    prepare(p, b, store, "instances", (double)p->count);
  }
  measure(b, places, used);
  return series_ratio(places[used - 1].engine, places[0].engine);
}

void bench_scale(bench *b) {
  bench_disk_needed(b, bench_size(b, 9 * GIB, GIB));
  double by_size = memories(b), by_count = instances(b);
  bench_note(b, "memories beyond %s are stored in part: the rows say which pages, and messages touch those only",
             b->quick ? "16 MiB" : "1 GiB");
  bench_figure(b, "growth_by_size", by_size);
  bench_figure(b, "growth_by_instances", by_count);
}
