/* commit.c - durable messages: how many a second, how long one waits, what is written and computed for them.
 *
 * A message writes eight blocks in eight pages of 512 MiB: anywhere (uniform), or nine in ten of them in a hundredth of
 * the memory (skewed). Ours, each in a store of its own, since what is merged in one's turn was logged in its earlier
 * ones: an instance that waits for each commit; one that does not (pipelined: the last one is waited for); the same
 * with a host that marks what it writes, as the others below are told it, too; one that gets 500 messages a second and
 * waits, its latency counted from when the message was due; and 64 instances of 8 MiB, a thread each, that wait.
 * Against: LMDB used plainly, SQLite, RocksDB (peers.h) and the floor. All are filled before each pattern, each in a
 * process of its own (worker.h), and take turns. Written is what was given to write calls; what the file system adds is
 * not in it.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "peers.h"
#include "worker.h"

enum { GROUP = 64, PACE_NS = 2000000, CONTESTANTS_MAX = 16, SUPPLY_BLOCKS = 256 };

/* ---- ours -------------------------------------------------------------------------------------------------------- */

typedef struct {
  const bench *b;
  char store_name[32];
  unsigned instances;
  uint64_t pages; /* of each */
  bool marks;     /* EXPLICIT memories */
  bool pipelines; /* and asks to be told what is durable; who waits need not be */

  pagestore_store *store;
  subject *subjects;
  dice dice;
  uint8_t *supply; /* new bytes for blocks */
  /* of the pipelined turn that is under way */
  uint64_t version_first, messages, *begun_ns;
  double *latencies_ms;
  _Atomic uint64_t durable_count;
} ours;

/* Notes since when pipelined messages are durable. */
static void on_durable(void *env, void *user, uint64_t version, int status) {
  ours *o = env;
  (void)user;
  if (status) die("a queued commit failed: %s", pagestore_strerror(status));
  uint64_t done = atomic_load(&o->durable_count);
  for (; done < o->messages && o->version_first + done <= version; done++)
    o->latencies_ms[done] = (double)(now_ns() - o->begun_ns[done]) / 1e6;
  atomic_store(&o->durable_count, done);
}

static void *ours_open(void *env) {
  ours *o = env;
  char name[32];
  o->dice = (dice){23};
  o->store = subject_store(o->b, o->store_name, PAGESTORE_WITH(pagestore_options, .env = o,
                                                               .on_durable = o->pipelines ? on_durable : NULL));
  o->subjects = need_memory(o->instances * sizeof *o->subjects);
  o->supply = need_memory(SUPPLY_BLOCKS * PAGESTORE_BLOCK);
  dice_fill(&o->dice, o->supply, SUPPLY_BLOCKS * PAGESTORE_BLOCK);
  for (unsigned i = 0; i < o->instances; i++) {
    snprintf(name, sizeof name, "instance %u", i);
    o->subjects[i] = subject_open(o->store, name, o->pages, o->marks ? PAGESTORE_EXPLICIT : 0);
    subject_fill(&o->subjects[i], 1, true, &o->dice);
  }
  return o;
}

static void ours_close(void *contestant) {
  ours *o = contestant;
  for (unsigned i = 0; i < o->instances; i++) subject_close(&o->subjects[i]);
  need(pagestore_close(o->store), "close");
}

static const uint8_t *new_bytes(const uint8_t *supply, dice *d) {
  return supply + dice_below(d, (SUPPLY_BLOCKS - 1) * PAGESTORE_BLOCK / 8) * 8;
}

static void write_message(ours *o, subject *s, bool skewed, dice *d) {
  uint64_t blocks[MESSAGE_BLOCKS];
  worker_blocks(blocks, o->pages, skewed, d);
  for (unsigned i = 0; i < MESSAGE_BLOCKS; i++) {
    uint64_t at = blocks[i] * PAGESTORE_BLOCK;
    if (o->marks) need(pagestore_memory_mark(s->memory, at, PAGESTORE_BLOCK), "memory_mark");
    memcpy(s->base + at, new_bytes(o->supply, d), PAGESTORE_BLOCK);
  }
}

static double ms_since(uint64_t begin) { return (double)(now_ns() - begin) / 1e6; }

static void run_waiting(ours *o, subject *s, const turn *t, uint64_t messages, dice *d, double *latencies_ms) {
  for (uint64_t i = 0; i < messages; i++) {
    uint64_t begin = now_ns();
    write_message(o, s, t->skewed, d);
    need(pagestore_commit(s->instance, 0, NULL), "commit");
    latencies_ms[i] = ms_since(begin);
  }
}

static void run_pipelined(ours *o, const turn *t, double *latencies_ms) {
  subject *s = &o->subjects[0];
  o->begun_ns = need_memory(t->messages * sizeof *o->begun_ns);
  o->version_first = pagestore_committed_version(s->instance) + 1;
  o->latencies_ms = latencies_ms;
  o->messages = t->messages;
  atomic_store(&o->durable_count, 0);
  for (uint64_t i = 0; i < t->messages; i++) {
    o->begun_ns[i] = now_ns();
    write_message(o, s, t->skewed, &o->dice);
    need(pagestore_commit(s->instance, PAGESTORE_ASYNC, NULL), "commit");
  }
  need(pagestore_wait(s->instance, o->version_first + t->messages - 1, PAGESTORE_FOREVER), "wait");
  while (atomic_load(&o->durable_count) < o->messages) usleep(50); /* the callback of the last one */
  o->messages = 0;
  free(o->begun_ns);
}

static void run_paced(ours *o, const turn *t, double *latencies_ms) {
  uint64_t begin = now_ns();
  for (uint64_t i = 0; i < t->messages; i++) {
    uint64_t due = begin + i * PACE_NS;
    struct timespec when = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL)) continue;
    write_message(o, &o->subjects[0], t->skewed, &o->dice);
    need(pagestore_commit(o->subjects[0].instance, 0, NULL), "commit");
    latencies_ms[i] = ms_since(due);
  }
}

typedef struct {
  ours *o;
  subject *subject;
  const turn *turn;
  uint64_t messages;
  dice dice;
  double *latencies_ms;
} member;

static void *run_member(void *env) {
  member *m = env;
  need(pagestore_thread_prepare(), "thread_prepare");
  run_waiting(m->o, m->subject, m->turn, m->messages, &m->dice, m->latencies_ms);
  return NULL;
}

static void run_group(ours *o, const turn *t, double *latencies_ms) {
  pthread_t threads[GROUP];
  member members[GROUP];
  uint64_t each = t->messages / o->instances;
  for (unsigned i = 0; i < o->instances; i++) {
    members[i] = (member){o, &o->subjects[i], t, each, {dice_next(&o->dice)}, latencies_ms + i * each};
    need_os(pthread_create(&threads[i], NULL, run_member, &members[i]) == 0, "pthread_create");
  }
  for (unsigned i = 0; i < o->instances; i++) pthread_join(threads[i], NULL);
}

static void ours_run(void *contestant, const turn *t, double *latencies_ms) {
  ours *o = contestant;
  if (o->instances > 1) run_group(o, t, latencies_ms);
  else if (t->kind == TURN_PIPELINED) run_pipelined(o, t, latencies_ms);
  else if (t->kind == TURN_PACED) run_paced(o, t, latencies_ms);
  else run_waiting(o, &o->subjects[0], t, t->messages, &o->dice, latencies_ms);
}

/* ---- theirs ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const bench *b;
  const peer_kind *kind;
  const char *pattern;
  unsigned number;
  uint64_t pages;
  peer *peer;
  dice dice;
  uint8_t *supply;
} theirs;

static void *theirs_open(void *env) {
  theirs *o = env;
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/%s/peer-%u", o->b->folder, o->pattern, o->number);
  o->dice = (dice){29};
  o->supply = need_memory(SUPPLY_BLOCKS * PAGESTORE_BLOCK);
  dice_fill(&o->dice, o->supply, SUPPLY_BLOCKS * PAGESTORE_BLOCK);
  o->peer = o->kind->open(path, o->pages);
  return o;
}

static void theirs_run(void *contestant, const turn *t, double *latencies_ms) {
  theirs *o = contestant;
  uint64_t blocks[MESSAGE_BLOCKS];
  uint8_t bytes[MESSAGE_BLOCKS * PAGESTORE_BLOCK];
  for (uint64_t i = 0; i < t->messages; i++) {
    uint64_t begin = now_ns();
    worker_blocks(blocks, o->pages, t->skewed, &o->dice);
    memcpy(bytes, o->supply + dice_below(&o->dice, (SUPPLY_BLOCKS - MESSAGE_BLOCKS) * PAGESTORE_BLOCK / 8) * 8,
           sizeof bytes);
    o->kind->message(o->peer, blocks, MESSAGE_BLOCKS, bytes);
    latencies_ms[i] = ms_since(begin);
  }
}

static void theirs_close(void *contestant) {
  theirs *o = contestant;
  o->kind->close(o->peer);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

typedef struct {
  char name[48];
  worker *worker;
  turn turn;
  series *rate, *p50, *p99, *written, *cpu;
} entry;

static void take_turn(void *env) {
  entry *e = env;
  outcome o = worker_turn(e->worker, &e->turn);
  double messages = (double)e->turn.messages;
  series_add(e->rate, messages / o.seconds);
  series_add(e->p50, o.p50_ms);
  series_add(e->p99, o.p99_ms);
  series_add(e->cpu, o.cpu_seconds * 1e6 / messages);
  if (isnan(o.written_bytes)) series_refuse(e->written, "/proc/self/io cannot be read");
  else series_add(e->written, o.written_bytes / (messages * MESSAGE_BLOCKS * PAGESTORE_BLOCK));
}

enum { WAITING, PIPELINED, MARKED, PACED, TOGETHER, OURS };

typedef struct {
  bench *b;
  bool skewed;
  const char *pattern; /* its name, and that of the folder of all stores */
  char folder[PATH_MAX + 16];
  worker ours[OURS], peers[CONTESTANTS_MAX];
  const peer_kind *kinds[CONTESTANTS_MAX];
  size_t peer_count;
} contest;

static worker start_ours(const contest *c, int which, uint64_t pages) {
  static const char *const names[OURS] = {"waiting", "pipelined", "marked", "paced", "together"};
  static ours all[OURS];
  ours *o = &all[which];
  *o = (ours){.b = c->b, .instances = which == TOGETHER ? GROUP : 1, .pages = pages, .marks = which == MARKED,
              .pipelines = which == PIPELINED || which == MARKED};
  snprintf(o->store_name, sizeof o->store_name, "%s/%s", c->pattern, names[which]);
  if (which == TOGETHER) o->pages = pages / GROUP < 16 ? 16 : pages / GROUP;
  return worker_start(&(worker_role){ours_open, ours_run, ours_close, o});
}

static void start_all(contest *c, uint64_t pages) {
  static theirs others[CONTESTANTS_MAX];
  snprintf(c->folder, sizeof c->folder, "%s/%s", c->b->folder, c->pattern);
  need_os(mkdir(c->folder, 0700) == 0, c->folder);
  for (int i = 0; i < OURS; i++) {
    bench_say(c->b, "%s: filling our stores, %d of %d", c->pattern, i + 1, OURS);
    c->ours[i] = start_ours(c, i, pages);
  }
  for (unsigned i = 0; i < peers_kinds; i++) {
    if (peers_all[i]->only_asked && !c->b->peers) continue;
    bench_say(c->b, "%s: filling %s", c->pattern, peers_all[i]->name);
    others[i] = (theirs){.b = c->b, .kind = peers_all[i], .pattern = c->pattern, .number = i, .pages = pages};
    c->kinds[c->peer_count] = peers_all[i];
    c->peers[c->peer_count++] = worker_start(&(worker_role){theirs_open, theirs_run, theirs_close, &others[i]});
  }
}

static void stop_all(contest *c) {
  for (int i = 0; i < OURS; i++) worker_stop(&c->ours[i]);
  for (size_t i = 0; i < c->peer_count; i++) worker_stop(&c->peers[i]);
  bench_remove(c->folder);
}

static void make_series(bench *b, entry *e) {
  const char *pattern = e->turn.skewed ? "skewed" : "uniform";
  e->rate = bench_series(b, "1/s", "%s, %s: durable messages", e->name, pattern);
  e->p50 = bench_series(b, "ms", "%s, %s: latency, median", e->name, pattern);
  e->p99 = bench_series(b, "ms", "%s, %s: latency, 99 of 100", e->name, pattern);
  e->written = bench_series(b, "x", "%s, %s: written per byte dirtied", e->name, pattern);
  e->cpu = bench_series(b, "us", "%s, %s: processor time a message", e->name, pattern);
}

/* LMDB's place is told, the others are compared with it. */
static size_t make_entries(contest *c, entry *entries, size_t *lmdb) {
  bench *b = c->b;
  uint64_t few = bench_size(b, 400, 20), many = bench_size(b, 4000, 200);
  const entry ours[OURS] = {
      [WAITING] = {.name = "ours, one that waits", .turn = {TURN_WAITING, c->skewed, few}},
      [PIPELINED] = {.name = "ours, pipelined", .turn = {TURN_PIPELINED, c->skewed, many}},
      [MARKED] = {.name = "ours, pipelined, marked", .turn = {TURN_PIPELINED, c->skewed, many}},
      [PACED] = {.name = "ours, 500 a second", .turn = {TURN_PACED, c->skewed, bench_size(b, 1500, 50)}},
      [TOGETHER] = {.name = "ours, 64 that wait", .turn = {TURN_WAITING, c->skewed, bench_size(b, 1600, 128)}},
  };
  size_t count = OURS;
  memcpy(entries, ours, sizeof ours);
  for (size_t i = 0; i < OURS; i++) entries[i].worker = &c->ours[i];
  for (size_t i = 0; i < c->peer_count; i++) {
    entry *e = &entries[count];
    *e = (entry){.worker = &c->peers[i], .turn = {TURN_WAITING, c->skewed, few}};
    snprintf(e->name, sizeof e->name, "%s", c->kinds[i]->name);
    if (c->kinds[i] == &peer_lmdb) *lmdb = count;
    count++;
  }
  for (size_t i = 0; i < count; i++) make_series(b, &entries[i]);
  for (size_t i = 0; i < count; i++) {
    if (i == *lmdb) continue;
    series_against(entries[i].rate, entries[*lmdb].rate);
    series_against(entries[i].p50, entries[*lmdb].p50);
  }
  return count;
}

static void tell_figure(bench *b, const char *name, const char *pattern, double value) {
  char text[48];
  snprintf(text, sizeof text, "%s_%s", name, pattern);
  bench_figure(b, text, value);
}

static void tell_figures(const contest *c, const entry *entries, const entry *lmdb) {
  bench *b = c->b;
  tell_figure(b, "pipelined_over_lmdb", c->pattern, series_ratio(entries[PIPELINED].rate, lmdb->rate));
  tell_figure(b, "marked_over_lmdb", c->pattern, series_ratio(entries[MARKED].rate, lmdb->rate));
  tell_figure(b, "written_per_dirty", c->pattern, series_median(entries[PIPELINED].written));
  if (c->skewed) return;
  bench_figure(b, "groups64_over_lmdb", series_ratio(entries[TOGETHER].rate, lmdb->rate));
  bench_figure(b, "sync_latency_over_lmdb", series_ratio(entries[WAITING].p50, lmdb->p50));
  bench_figure(b, "sync_p99_ms_at_500", series_median(entries[PACED].p99));
  if (series_median(entries[PACED].rate) < 0.99e9 / PACE_NS)
    bench_note(b, "500 messages a second were due and %.0f were done: their latency is that of a growing backlog",
               series_median(entries[PACED].rate));
}

static void measure(bench *b, bool skewed, uint64_t bytes) {
  contest c = {.b = b, .skewed = skewed, .pattern = skewed ? "skewed" : "uniform"};
  entry entries[OURS + CONTESTANTS_MAX];
  bench_case cases[OURS + CONTESTANTS_MAX];
  size_t lmdb = 0;
  start_all(&c, bytes / PAGESTORE_PAGE);
  size_t count = make_entries(&c, entries, &lmdb);
  for (size_t i = 0; i < count; i++) cases[i] = (bench_case){take_turn, &entries[i]};
  bench_say(b, "%s", c.pattern);
  bench_interleave(b, cases, count, bench_repetitions(b, 5), 1);
  tell_figures(&c, entries, &entries[lmdb]);
  stop_all(&c);
}

void bench_commit(bench *b) {
  b->drawn = "durable messages";
  uint64_t bytes = bench_size(b, 512 * MIB, 16 * MIB);
  bench_disk_needed(b, bytes * (b->peers ? 22 : 12) + GIB / 4);
  measure(b, false, bytes);
  measure(b, true, bytes);
  if (b->peers)
    bench_note(b, "RocksDB compacts after more messages than a turn has: what it writes then is counted in part only");
}
