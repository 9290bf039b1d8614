/* restore.c - from a closed store to the first byte, and to all of them.
 *
 * Three stores: 64 MiB, 4 GiB, and 32 GiB of which every 64th page is stored. `open` opens the store, the instance
 * and the memory and reads one byte; warm: the file is in the page cache, as after a restart of the process; cold:
 * it was dropped from it, as after a restart of the machine. Then all pages of a range (1 GiB of the larger one)
 * are touched in order, and some pages at random, both warm. Against: as many pages copied from LMDB into fresh
 * memory before anything runs, and copied from other memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "peers.h"
#include "subject.h"

enum { PLACES = 3, TOUCHES = 2048 };

typedef struct {
  bench *b;
  const char *name;
  uint64_t pages, step, range; /* range: pages that are touched in order; 0: none */
  char text[40];
  peer *lmdb;            /* with the pages of the largest range */
  const uint8_t *source; /* as many bytes */
  dice dice;
  pagestore_store *store;
  subject subject;
  series *warm, *cold, *sequential, *eager, *copy, *random;
} place;

static double ms_since(uint64_t begin) { return (double)(now_ns() - begin) / 1e6; }

static void open_place(place *p) {
  p->store = subject_store(p->b, p->name, NULL);
  p->subject = subject_open(p->store, "instance", p->pages, 0);
}

static void close_place(place *p) {
  subject_close(&p->subject);
  need(pagestore_close(p->store), "close");
}

static void touch(const place *p, uint64_t page) {
  (void)*(const volatile uint8_t *)(p->subject.base + page * PAGESTORE_PAGE);
}

static void open_timed(place *p, series *into) {
  uint64_t begin = now_ns();
  open_place(p);
  touch(p, dice_below(&p->dice, p->pages / p->step) * p->step);
  series_add(into, ms_since(begin));
  close_place(p);
}

static void run_warm(void *env) {
  place *p = env;
  open_timed(p, p->warm);
}

static void run_cold(void *env) {
  place *p = env;
  char path[PATH_MAX + 32];
  snprintf(path, sizeof path, "%s/%s/data.mdb", p->b->folder, p->name);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  need_os(file >= 0, path);
  need_os(fsync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0, path);
  close(file);
  open_timed(p, p->cold);
  /* warm again */
  open_place(p);
  for (uint64_t page = 0; page < p->pages; page += p->step) touch(p, page);
  close_place(p);
}

static void run_sequential(void *env) {
  place *p = env;
  open_place(p);
  uint64_t begin = now_ns();
  for (uint64_t page = 0; page < p->range; page++) touch(p, page);
  series_add(p->sequential, ms_since(begin));
  close_place(p);
}

static void run_random(void *env) {
  place *p = env;
  uint64_t count = p->pages / p->step < TOUCHES ? p->pages / p->step : TOUCHES;
  uint64_t *pages = need_memory(count * sizeof *pages);
  pattern_make(PATTERN_SCATTERED, pages, count, p->pages / p->step, &p->dice);
  open_place(p);
  uint64_t begin = now_ns();
  for (uint64_t i = 0; i < count; i++) touch(p, pages[i] * p->step);
  series_add(p->random, ms_since(begin) * 1e3 / (double)count);
  close_place(p);
  free(pages);
}

static uint8_t *fresh(uint64_t bytes) {
  uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  need_os(base != MAP_FAILED, "mmap");
  return base;
}

static void run_eager(void *env) {
  place *p = env;
  uint64_t begin = now_ns();
  uint8_t *to = fresh(p->range * PAGESTORE_PAGE);
  peer_lmdb_load(p->lmdb, p->range, to);
  series_add(p->eager, ms_since(begin));
  munmap(to, p->range * PAGESTORE_PAGE);
}

static void run_copy(void *env) {
  place *p = env;
  uint64_t begin = now_ns();
  uint8_t *to = fresh(p->range * PAGESTORE_PAGE);
  memcpy(to, p->source, p->range * PAGESTORE_PAGE);
  series_add(p->copy, ms_since(begin));
  munmap(to, p->range * PAGESTORE_PAGE);
}

static void prepare(place *p, bench *b) {
  char size[24];
  p->b = b;
  p->dice = (dice){p->pages};
  text_size(p->pages * PAGESTORE_PAGE, size);
  snprintf(p->text, sizeof p->text, "%s%s", size, p->step > 1 ? ", sparse" : "");
  bench_say(b, "filling %s", p->text);
  open_place(p);
  subject_fill(&p->subject, p->step, false, &p->dice);
  close_place(p);
}

static void add_cases(place *p, bench_case *cases, size_t *count) {
  bench *b = p->b;
  char size[24];
  p->warm = bench_series(b, "ms", "%s: open to the first byte, warm", p->text);
  p->cold = bench_series(b, "ms", "%s: open to the first byte, cold", p->text);
  p->random = bench_series(b, "us", "%s: a page touched first, at random", p->text);
  cases[(*count)++] = (bench_case){run_warm, p};
  cases[(*count)++] = (bench_case){run_random, p};
  if (!p->range) return;
  text_size(p->range * PAGESTORE_PAGE, size);
  p->sequential = bench_series(b, "ms", "%s of %s: touched in order", size, p->text);
  p->eager = bench_series(b, "ms", "%s: copied from LMDB before", size);
  p->copy = bench_series(b, "ms", "%s: copied from memory", size);
  series_against(p->sequential, p->eager);
  series_against(p->copy, p->eager);
  cases[(*count)++] = (bench_case){run_sequential, p};
  cases[(*count)++] = (bench_case){run_eager, p};
  cases[(*count)++] = (bench_case){run_copy, p};
}

void bench_restore(bench *b) {
  uint64_t range = bench_size(b, GIB, 32 * MIB) / PAGESTORE_PAGE;
  place places[PLACES] = {
      {.name = "small", .pages = bench_size(b, 64 * MIB, 16 * MIB) / PAGESTORE_PAGE, .step = 1},
      {.name = "middle", .pages = bench_size(b, 4 * GIB, 64 * MIB) / PAGESTORE_PAGE, .step = 1, .range = range},
      {.name = "large", .pages = bench_size(b, 32 * GIB, 8 * GIB) / PAGESTORE_PAGE, .step = bench_size(b, 64, 1024)},
  };
  places[0].range = places[0].pages;
  uint64_t stored = 0;
  for (unsigned i = 0; i < PLACES; i++) stored += places[i].pages / places[i].step * PAGESTORE_PAGE;
  bench_disk_needed(b, stored + stored / 8 + range * PAGESTORE_PAGE * 5 / 4 + GIB / 4);
  char path[PATH_MAX + 8];
  snprintf(path, sizeof path, "%s/lmdb", b->folder);
  peer *lmdb = peer_lmdb.open(path, range);
  uint8_t *source = fresh(range * PAGESTORE_PAGE);
  dice_fill(&(dice){31}, source, range * PAGESTORE_PAGE);
  bench_case cases[PLACES * 5], cold[PLACES];
  size_t count = 0;
  for (unsigned i = 0; i < PLACES; i++) {
    places[i].lmdb = lmdb;
    places[i].source = source;
    prepare(&places[i], b);
    add_cases(&places[i], cases, &count);
    cold[i] = (bench_case){run_cold, &places[i]};
  }
  bench_interleave(b, cases, count, bench_repetitions(b, 7), 1);
  bench_interleave(b, cold, PLACES, bench_repetitions(b, 3), 0);
  munmap(source, range * PAGESTORE_PAGE);
  peer_lmdb.close(lmdb);
  bench_figure(b, "open_ms_4GiB", series_median(places[1].warm));
  bench_figure(b, "open_ms_32GiB", series_median(places[2].warm));
  bench_figure(b, "seq_over_eager", series_ratio(places[1].sequential, places[1].eager));
  bench_figure(b, "random_us_per_page", series_median(places[1].random));
}
