/* endurance.c - 200,000 commits of mixed sizes into a store that ages: what the file holds over what lives in it, the
 * slowest commit, the free list.
 *
 * Eight instances of 64 MiB, any of which gets the next message: mostly 1 to 16 blocks, every hundredth time 128,
 * scattered or side by side. Every eighth commit waits until it is durable, with all before it; the others are
 * asynchronous. Of each instance every 50th version becomes a snapshot and the fifth last snapshot goes. Halfway an
 * instance of 4 GiB, all of it stored, is deleted; in the second half the eight grow by as many pages in all, in the
 * same commits, so that the end has as much to keep as the middle had. A message's bytes are all new.
 *
 * Live is 64 KiB for each version of a page that the present or a snapshot of its instance needs, as counted here, not
 * by the library; the file is data.mdb, free pages included. Slowest is the slowest call of commit, waiting ones
 * included. After each waiting one a raw file gets 36 KiB and one fdatasync: what the disk alone takes at most.
 *
 * Ends before 200,000 commits (--commits) when time is over, and says so.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "peers.h"
#include "subject.h"

enum {
  WORKERS = 8,
  STAGES = 10, /* at whose ends the store is looked at */
  KEPT = 4,    /* snapshots of an instance */
  SNAPSHOT_EVERY = 50,
  WAIT_EVERY = 8,
  BLOCKS_MOST = 16,
  BLOCKS_LARGE = 128,
  LARGE_EVERY = 100,
  GROWN_MOST = 8, /* pages of one commit */
  SECONDS_MOST = 600,
};

/* Which commit of its instance wrote each page last; 0: none. */
typedef uint32_t *page_versions;

typedef struct {
  uint64_t number; /* of its name */
  page_versions at;
} kept;

typedef struct {
  char name[32];
  subject subject;
  uint64_t pages_max;
  uint32_t version;
  page_versions at;
  kept snapshots[KEPT]; /* oldest first */
  unsigned snapshot_count;
  uint64_t snapshot_next;
} laborer;

typedef struct {
  bench *b;
  pagestore_store *store;
  peer *floor;
  laborer laborers[WORKERS];
  uint64_t base_pages, doomed_pages; /* of one laborer; of the instance that is deleted */
  bool is_doomed_there;
  uint64_t grown;
  uint64_t commits, done, began_ns;
  double *waiting_ms, *asynchronous_ms, *floor_ms;
  uint64_t waiting, asynchronous, floors;
  double stage_slowest_ms;
  dice dice;
  series *ratio; /* of the last look */
} endurance;

static double ms_since(uint64_t begin) { return (double)(now_ns() - begin) / 1e6; }

/* ---- what lives -------------------------------------------------------------------------------------------------- */

static uint64_t live_of_page(const laborer *l, uint64_t page) {
  uint64_t live = 0;
  uint32_t before = 0;
  for (unsigned i = 0; i <= l->snapshot_count; i++) {
    uint32_t at = i < l->snapshot_count ? l->snapshots[i].at[page] : l->at[page];
    live += at != before;
    before = at;
  }
  return live;
}

static uint64_t live_bytes(const endurance *e) {
  uint64_t rows = e->is_doomed_there ? e->doomed_pages : 0;
  for (unsigned i = 0; i < WORKERS; i++)
    for (uint64_t page = 0; page < e->laborers[i].pages_max; page++) rows += live_of_page(&e->laborers[i], page);
  return rows * PAGESTORE_PAGE;
}

static uint64_t file_bytes(const endurance *e) {
  char path[PATH_MAX + 32];
  struct stat s;
  snprintf(path, sizeof path, "%s/store/data.mdb", e->b->folder);
  need_os(stat(path, &s) == 0, path);
  return (uint64_t)s.st_size;
}

static pagestore_store_info settled(endurance *e) {
  pagestore_store_info info = {.size = sizeof info};
  need(pagestore_sync(e->store, PAGESTORE_FOREVER), "sync");
  need(pagestore_store_stat(e->store, &info), "store_stat");
  return info;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* The new snapshot has the committed version: all that was sealed so far. */
static void take_snapshot(endurance *e, laborer *l) {
  char name[32];
  if (l->snapshot_count == KEPT) {
    snprintf(name, sizeof name, "%llu", (unsigned long long)l->snapshots[0].number);
    need(pagestore_snapshot_drop(e->store, l->name, name, PAGESTORE_ASYNC), "snapshot_drop");
    free(l->snapshots[0].at);
    memmove(l->snapshots, l->snapshots + 1, (KEPT - 1) * sizeof *l->snapshots);
    l->snapshot_count--;
  }
  kept *k = &l->snapshots[l->snapshot_count++];
  *k = (kept){l->snapshot_next++, need_memory(l->pages_max * sizeof *k->at)};
  memcpy(k->at, l->at, l->pages_max * sizeof *k->at);
  snprintf(name, sizeof name, "%llu", (unsigned long long)k->number);
  need(pagestore_snapshot_create(l->subject.instance, name, PAGESTORE_ASYNC), "snapshot_create");
}

/* Small ones more often than large ones. */
static uint64_t choose_size(dice *d) {
  if (dice_below(d, LARGE_EVERY) == 0) return BLOCKS_LARGE;
  return (uint64_t)exp2((double)dice_below(d, 1000) / 1000 * log2(BLOCKS_MOST + 0.99));
}

static void write_blocks(endurance *e, laborer *l) {
  uint64_t blocks[BLOCKS_LARGE], in_page = PAGESTORE_PAGE / PAGESTORE_BLOCK, count = choose_size(&e->dice);
  pattern p = dice_below(&e->dice, 2) ? PATTERN_SCATTERED : PATTERN_SEQUENTIAL;
  pattern_make(p, blocks, count, l->subject.pages * in_page, &e->dice);
  for (uint64_t i = 0; i < count; i++) {
    dice_fill(&e->dice, l->subject.base + blocks[i] * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
    l->at[blocks[i] / in_page] = l->version;
  }
}

/* As many new pages as the second half is behind with. */
static void grow(endurance *e, laborer *l, double progress) {
  uint64_t due = (uint64_t)(progress * (double)e->doomed_pages), room = l->pages_max - l->subject.pages;
  uint64_t more = due > e->grown ? due - e->grown : 0;
  if (more > GROWN_MOST) more = GROWN_MOST;
  if (more > room) more = room;
  if (more == 0) return;
  need(pagestore_memory_grow(l->subject.memory, more, NULL), "memory_grow");
  dice_fill(&e->dice, l->subject.base + l->subject.pages * PAGESTORE_PAGE, more * PAGESTORE_PAGE);
  for (uint64_t i = 0; i < more; i++) l->at[l->subject.pages + i] = l->version;
  l->subject.pages += more;
  e->grown += more;
}

static void commit(endurance *e, laborer *l) {
  bool waits = e->done % WAIT_EVERY == WAIT_EVERY - 1;
  uint64_t begin = now_ns();
  need(pagestore_commit(l->subject.instance, waits ? 0 : PAGESTORE_ASYNC, NULL), "commit");
  double took = ms_since(begin);
  if (waits) e->waiting_ms[e->waiting++] = took;
  else e->asynchronous_ms[e->asynchronous++] = took;
  if (took > e->stage_slowest_ms) e->stage_slowest_ms = took;
  e->done++;
}

static void ask_disk(endurance *e) {
  static uint8_t bytes[8 * PAGESTORE_BLOCK];
  static const uint64_t blocks[8] = {0};
  dice_fill(&e->dice, bytes, PAGESTORE_BLOCK);
  uint64_t begin = now_ns();
  peer_floor.message(e->floor, blocks, 8, bytes);
  e->floor_ms[e->floors++] = ms_since(begin);
}

/* growth: how much of it is due, 0 to 1. */
static void message(endurance *e, double growth) {
  laborer *l = &e->laborers[dice_below(&e->dice, WORKERS)];
  l->version++;
  write_blocks(e, l);
  grow(e, l, growth);
  commit(e, l);
  if (l->version % SNAPSHOT_EVERY == 0) take_snapshot(e, l);
  if (e->done % WAIT_EVERY == 0) ask_disk(e);
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static void look(endurance *e, unsigned stage) {
  bench *b = e->b;
  pagestore_store_info info = settled(e);
  double file = (double)file_bytes(e), live = (double)live_bytes(e), x = (double)e->done;
  const struct {
    const char *unit, *name;
    double value;
    bool is_drawn;
  } rows[] = {{"MiB", "file", file / (double)MIB, true},
              {"MiB", "live", live / (double)MIB, true},
              {"x", "file over live", file / live, false},
              {"", "free list, LMDB pages", (double)info.free_bytes / PAGESTORE_BLOCK, true},
              {"", "longest free run, LMDB pages", (double)info.free_largest_run / PAGESTORE_BLOCK, false},
              {"ms", "slowest commit since the last", e->stage_slowest_ms, true}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    series *s = bench_series(b, rows[i].unit, "%llu commits: %s", (unsigned long long)e->done, rows[i].name);
    series_add(s, rows[i].value);
    if (rows[i].is_drawn) series_place(s, "commits", rows[i].name, x);
    if (i == 2) e->ratio = s;
  }
  e->stage_slowest_ms = 0;
  bench_say(b, "%u of %d: %llu commits, file over live %.2f", stage, STAGES, (unsigned long long)e->done, file / live);
}

/* By commits, or by time where that is scarcer. */
static double progress_of(const endurance *e) {
  double commits = (double)e->done / (double)e->commits;
  double time = (double)(now_ns() - e->began_ns) / 1e9 / SECONDS_MOST;
  return commits > time ? commits : time;
}

static void run_until(endurance *e, double end) {
  for (double at = progress_of(e); at < end; at = progress_of(e)) message(e, at > 0.5 ? (at - 0.5) * 2 : 0);
}

static void delete_doomed(endurance *e) {
  bench *b = e->b;
  uint64_t begin = now_ns();
  need(pagestore_instance_delete(e->store, "doomed", 0), "instance_delete");
  series_add(bench_series(b, "ms", "the deletion"), ms_since(begin));
  e->is_doomed_there = false;
}

static void run(endurance *e) {
  e->began_ns = now_ns();
  for (unsigned stage = 1; stage <= STAGES; stage++) {
    run_until(e, (double)stage / STAGES);
    look(e, stage);
    if (stage == STAGES / 2) delete_doomed(e);
  }
  /* What the last commits left of the growth: none has more than a few pages. */
  while (e->grown < e->doomed_pages && e->done < e->commits) message(e, 1);
}

/* ---- before and after -------------------------------------------------------------------------------------------- */

static void prepare_laborer(endurance *e, unsigned which) {
  laborer *l = &e->laborers[which];
  snprintf(l->name, sizeof l->name, "instance %u", which);
  l->pages_max = e->base_pages + e->doomed_pages / WORKERS;
  l->subject = subject_open(e->store, l->name, e->base_pages, 0);
  subject_fill(&l->subject, 1, true, &e->dice);
  l->at = need_memory(l->pages_max * sizeof *l->at);
  l->version = 1;
  for (uint64_t page = 0; page < e->base_pages; page++) l->at[page] = 1;
}

static void prepare(endurance *e) {
  bench *b = e->b;
  char path[PATH_MAX + 8];
  snprintf(path, sizeof path, "%s/floor", b->folder);
  e->floor = peer_floor.open(path, 0);
  e->waiting_ms = need_memory((e->commits / WAIT_EVERY + 1) * sizeof(double));
  e->asynchronous_ms = need_memory(e->commits * sizeof(double));
  e->floor_ms = need_memory((e->commits / WAIT_EVERY + 1) * sizeof(double));
  e->store = subject_store(b, "store", NULL);
  bench_say(b, "filling");
  for (unsigned i = 0; i < WORKERS; i++) prepare_laborer(e, i);
  subject doomed = subject_open(e->store, "doomed", e->doomed_pages, 0);
  subject_fill(&doomed, 1, false, &e->dice);
  subject_close(&doomed);
  e->is_doomed_there = true;
}

static double tell_latencies(bench *b, const char *what, double *ms, uint64_t count) {
  static const struct {
    const char *name;
    double share;
  } rows[] = {{"median", 0.5}, {"99 of 100", 0.99}, {"999 of 1000", 0.999}, {"slowest", 1}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows && count > 0; i++)
    series_add(bench_series(b, "ms", "%s: %s", what, rows[i].name), quantile_of(ms, count, rows[i].share));
  return count ? quantile_of(ms, count, 1) : 0;
}

static double compacted(endurance *e) {
  char path[PATH_MAX + 8];
  double live = (double)live_bytes(e);
  snprintf(path, sizeof path, "%s/store", e->b->folder);
  bench_say(e->b, "compacting");
  uint64_t begin = now_ns();
  need(pagestore_compact(path), "compact");
  series_add(bench_series(e->b, "s", "compact"), ms_since(begin) / 1e3);
  double ratio = (double)file_bytes(e) / live;
  series_add(bench_series(e->b, "x", "after compact: file over live"), ratio);
  return ratio;
}

static void close_all(endurance *e) {
  for (unsigned i = 0; i < WORKERS; i++) subject_close(&e->laborers[i].subject);
  need(pagestore_close(e->store), "close");
  peer_floor.close(e->floor);
}

void bench_endurance(bench *b) {
  static endurance e;
  e = (endurance){.b = b, .dice = {5}, .commits = b->commits ? b->commits : bench_size(b, 200000, 2000)};
  e.base_pages = bench_size(b, 64 * MIB, 2 * MIB) / PAGESTORE_PAGE;
  e.doomed_pages = bench_size(b, 4 * GIB, 16 * MIB) / PAGESTORE_PAGE;
  uint64_t stored = (e.doomed_pages + 3 * WORKERS * e.base_pages) * PAGESTORE_PAGE;
  bench_disk_needed(b, stored * 5 / 2 + GIB / 4);
  prepare(&e);
  run(&e);
  double over = series_median(e.ratio);
  close_all(&e);
  double over_compact = compacted(&e);
  double waiting = tell_latencies(b, "a commit that waits", e.waiting_ms, e.waiting);
  double asynchronous = tell_latencies(b, "an asynchronous commit", e.asynchronous_ms, e.asynchronous);
  double floor = tell_latencies(b, peer_floor.name, e.floor_ms, e.floors);
  bench_note(b, "%llu commits%s, %.0f a second; live: 64 KiB for each version of a page that is needed",
             (unsigned long long)e.done, e.done < e.commits ? ", then time was over" : "",
             (double)e.done / (double)(now_ns() - e.began_ns) * 1e9);
  bench_note(b, "LMDB's file never shrinks: after the deletion it is as large as before until compact is called");
  bench_figure(b, "file_over_live", over);
  bench_figure(b, "file_over_live_compact", over_compact);
  bench_figure(b, "max_commit_ms", waiting > asynchronous ? waiting : asynchronous);
  bench_figure(b, "max_disk_ms", floor);
}
