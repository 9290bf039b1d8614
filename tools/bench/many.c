/* many.c - 10,000 instances of one store, each with a memory of 16 stored pages: made, opened, a message each, idle.
 *
 * They are made and filled one after the other, in asynchronous commits; the store is closed and opened again; all are
 * opened, with a memory's default reservation and guard, and stay open. Each then gets a message, in turn: eight
 * blocks in eight pages, durable before the next. The resident limit is small against what the messages load, so at the
 * end all but that little has been given back. Then each gets another one, asynchronous, and all of a lot are waited
 * for. A sample is one of ten lots of instances, in order: the spread shows whether the number of those before matters.
 *
 * Idle is what the process holds more than before the first was opened: anonymous memory (what the limit leaves,
 * included) and page tables. Pages of the file that the kernel shows through LMDB's mapping are told apart: they are
 * its cache, which it takes back when it likes. After the burst of asynchronous messages heap is left, too, that one
 * large transaction of the flusher had needed and malloc keeps for the next: of the store, not of an instance.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "subject.h"

enum { PAGES = 16, MESSAGE_BLOCKS = 8, LOTS = 10 };

typedef struct {
  bench *b;
  uint64_t count;
  pagestore_options options;
  pagestore_store *store;
  subject *subjects;
  dice dice;
  series *create, *open, *waiting, *asynchronous, *durable, *close;
} many;

static double us_each(uint64_t begin, uint64_t count) { return (double)(now_ns() - begin) / 1e3 / (double)count; }

static subject open_one(many *m, uint64_t which) {
  char name[32];
  snprintf(name, sizeof name, "instance %llu", (unsigned long long)which);
  return subject_open(m->store, name, PAGES, 0);
}

static void sync_all(many *m) { need(pagestore_sync(m->store, PAGESTORE_FOREVER), "sync"); }

/* ---- a lot of instances, [first, end) --------------------------------------------------------------------------- */

static void create_lot(many *m, uint64_t first, uint64_t end) {
  uint64_t begin = now_ns();
  for (uint64_t i = first; i < end; i++) {
    subject s = open_one(m, i);
    dice_fill(&m->dice, s.base, PAGES * PAGESTORE_PAGE);
    need(pagestore_commit(s.instance, PAGESTORE_ASYNC, NULL), "commit");
    subject_close(&s);
  }
  sync_all(m);
  series_add(m->create, us_each(begin, end - first));
}

static void open_lot(many *m, uint64_t first, uint64_t end) {
  uint64_t begin = now_ns();
  for (uint64_t i = first; i < end; i++) m->subjects[i] = open_one(m, i);
  series_add(m->open, us_each(begin, end - first));
}

static void message(many *m, const subject *s, unsigned flags) {
  uint64_t blocks[MESSAGE_BLOCKS];
  pattern_make(PATTERN_SCATTERED, blocks, MESSAGE_BLOCKS, PAGES * (PAGESTORE_PAGE / PAGESTORE_BLOCK), &m->dice);
  pattern_write(s->base, blocks, MESSAGE_BLOCKS);
  need(pagestore_commit(s->instance, flags, NULL), "commit");
}

static void waiting_lot(many *m, uint64_t first, uint64_t end) {
  uint64_t begin = now_ns();
  for (uint64_t i = first; i < end; i++) message(m, &m->subjects[i], 0);
  series_add(m->waiting, us_each(begin, end - first));
}

static void burst_lot(many *m, uint64_t first, uint64_t end) {
  uint64_t begin = now_ns();
  for (uint64_t i = first; i < end; i++) message(m, &m->subjects[i], PAGESTORE_ASYNC);
  series_add(m->asynchronous, us_each(begin, end - first));
  sync_all(m);
  series_add(m->durable, us_each(begin, end - first));
}

static void close_lot(many *m, uint64_t first, uint64_t end) {
  uint64_t begin = now_ns();
  for (uint64_t i = first; i < end; i++) subject_close(&m->subjects[i]);
  series_add(m->close, us_each(begin, end - first));
}

static void in_lots(many *m, const char *what, void (*run)(many *, uint64_t first, uint64_t end)) {
  bench_say(m->b, "%s", what);
  for (uint64_t lot = 0; lot < LOTS; lot++) run(m, lot * m->count / LOTS, (lot + 1) * m->count / LOTS);
}

/* ---- what they take ---------------------------------------------------------------------------------------------- */

static double kib_each(const many *m, uint64_t bytes, uint64_t before) {
  return (double)((int64_t)(bytes - before)) / (double)KIB / (double)m->count;
}

static double held_kib(const many *m, process_use now, process_use before) {
  return kib_each(m, now.anonymous + now.tables, before.anonymous + before.tables);
}

static void tell_use(many *m, const char *when, process_use now, process_use before) {
  bench *b = m->b;
  series_add(bench_series(b, "KiB", "%s: anonymous memory, an instance", when),
             kib_each(m, now.anonymous, before.anonymous));
  series_add(bench_series(b, "KiB", "%s: page tables, an instance", when), kib_each(m, now.tables, before.tables));
  series_add(bench_series(b, "KiB", "%s: of the file's cache, mapped, an instance", when),
             kib_each(m, now.files, before.files));
}

static void tell_spaces(many *m, process_use now, process_use before) {
  bench *b = m->b;
  pagestore_statistics s = {.size = sizeof s};
  need(pagestore_stats(m->store, &s), "stats");
  series_add(bench_series(b, "GiB", "all open: address space, an instance"),
             (double)(now.addresses - before.addresses) / (double)GIB / (double)m->count);
  series_add(bench_series(b, "", "all open: mappings, an instance"),
             (double)(now.mappings - before.mappings) / (double)m->count);
  series_add(bench_series(b, "KiB", "idle: resident pages, an instance"),
             (double)s.resident_bytes / (double)KIB / (double)m->count);
  bench_note(b, "all open: %llu instances, %llu mappings in the process (vm.max_map_count is the limit), %.1f TiB of "
             "address space, %.1f of it for LMDB's map and all else",
             (unsigned long long)s.instances_open, (unsigned long long)now.mappings,
             (double)now.addresses / (double)(1024 * GIB), (double)before.addresses / (double)(1024 * GIB));
}

static void make_series(many *m) {
  m->create = bench_series(m->b, "us", "create and fill one, 16 pages, asynchronous, all durable");
  m->open = bench_series(m->b, "us", "open one with its memory");
  m->waiting = bench_series(m->b, "us", "a message: 8 pages loaded, 8 blocks, durable");
  m->asynchronous = bench_series(m->b, "us", "another, asynchronous");
  m->durable = bench_series(m->b, "us", "another, until all of its lot are durable");
  m->close = bench_series(m->b, "us", "close one");
}

static void open_store(many *m) { m->store = subject_store(m->b, "store", &m->options); }

/* In a process of its own: heap that was used and freed before would hide what is allocated later. */
static void create_all(many *m) {
  int status, out[2];
  need_os(pipe(out) == 0, "pipe");
  pid_t child = fork();
  need_os(child >= 0, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    open_store(m);
    in_lots(m, "making them", create_lot);
    need(pagestore_close(m->store), "close");
    size_t bytes = m->create->count * sizeof *m->create->at;
    need_os(write(out[1], m->create->at, bytes) == (ssize_t)bytes, "write");
    _exit(0);
  }
  double us;
  close(out[1]);
  while (read(out[0], &us, sizeof us) == sizeof us) series_add(m->create, us);
  close(out[0]);
  need_os(waitpid(child, &status, 0) == child, "waitpid");
  if (status) die("making the instances failed");
}

void bench_many(bench *b) {
  uint64_t limit = bench_size(b, 64 * MIB, 2 * MIB);
  many m = {.b = b, .count = bench_size(b, 10000, 100), .options = {.resident_bytes = limit}, .dice = {3}};
  uint64_t stored = m.count * PAGES * PAGESTORE_PAGE;
  bench_disk_needed(b, stored + stored / 4 + GIB / 4);
  m.subjects = need_memory(m.count * sizeof *m.subjects);
  make_series(&m);
  create_all(&m);
  open_store(&m);
  process_use before = process_use_now();
  in_lots(&m, "opening them", open_lot);
  process_use opened = process_use_now();
  in_lots(&m, "a message each", waiting_lot);
  process_use idle = process_use_now();
  in_lots(&m, "another message each", burst_lot);
  tell_use(&m, "opened", opened, before);
  tell_use(&m, "idle after a message each", idle, before);
  tell_use(&m, "idle after a burst", process_use_now(), before);
  tell_spaces(&m, idle, before);
  in_lots(&m, "closing them", close_lot);
  need(pagestore_close(m.store), "close");

  bench_note(b, "%llu instances; the resident limit is %llu MiB for all of them, and counts in what is idle",
             (unsigned long long)m.count, (unsigned long long)(limit / MIB));
  bench_figure(b, "open_us_per_instance", series_median(m.open));
  bench_figure(b, "idle_kib_per_instance", held_kib(&m, idle, before));
}
