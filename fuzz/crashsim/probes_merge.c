/* probes_merge.c - see probes.h: what lies in the log, while it is filled, merged, drained, and its pages of the file are used again.
 *
 * Single blocks are written, one tag each, so that commits go to the log. Who looks: the instance itself with nothing resident, a view
 * and a snapshot from before, and a store that was closed in the middle of merging and opened again.
 */
#include <stdlib.h>
#include <string.h>

#include "probes.h"

enum { LOG_PAGES = 136, LOG_BLOCKS = 16, ROUNDS = 36, COMMITS = 21, WRITES = 24, ZEROS = 8 };

typedef struct {
  probe_host host;
  pagestore_memory *memory; /* "log" of "i" */
  uint8_t *base;
  uint64_t tag[LOG_PAGES][LOG_BLOCKS], tags;
} logging;

static void open_log_memory(pagestore_instance *i, pagestore_memory **m, uint8_t **base) {
  PROBE_OK(pagestore_memory_open(i, "log",
                                 PAGESTORE_WITH(pagestore_memory_options, .pages = LOG_PAGES, .guard_bytes = PAGESTORE_PAGE), m));
  *base = pagestore_memory_base(*m);
}

static void write_block(logging *l, uint64_t page, uint64_t block, uint64_t tag) {
  probe_fill(l->base + page * PAGESTORE_PAGE + block * PROBE_BLOCK, PROBE_BLOCK, tag);
  l->tag[page][block] = tag;
}

static void commit_now(logging *l) { PROBE_OK(pagestore_commit(l->host.instance, 0, NULL)); }

/* The memory is there from its first commit on. */
static void open_log(logging *l, uint64_t log_bytes) {
  l->host.options.log_bytes = log_bytes;
  probe_open(&l->host);
  open_log_memory(l->host.instance, &l->memory, &l->base);
  commit_now(l);
}

static void check_bytes(const uint8_t *base, const uint64_t tag[LOG_PAGES][LOG_BLOCKS], const char *who) {
  for (uint64_t page = 0; page < LOG_PAGES; page++)
    for (uint64_t block = 0; block < LOG_BLOCKS; block++)
      PROBE(probe_is(base + page * PAGESTORE_PAGE + block * PROBE_BLOCK, PROBE_BLOCK, tag[page][block]),
            "%s: page %llu block %llu has other bytes", who, (unsigned long long)page, (unsigned long long)block);
}

static void check_memory(pagestore_memory *m, const uint64_t tag[LOG_PAGES][LOG_BLOCKS], const char *who) {
  uint8_t *bytes = malloc((size_t)LOG_PAGES * PAGESTORE_PAGE);
  if (!bytes) give_up("no memory for a probe");
  PROBE_OK(pagestore_memory_read(m, 0, bytes, (uint64_t)LOG_PAGES * PAGESTORE_PAGE));
  check_bytes(bytes, tag, who);
  free(bytes);
}

static void check_present(logging *l, const char *who) {
  PROBE_OK(pagestore_instance_trim(l->host.instance, 0));
  check_memory(l->memory, l->tag, who);
  PROBE_OK(pagestore_rollback(l->host.instance));
}

/* ---- what others see of it --------------------------------------------------------------------------------- */

typedef struct {
  pagestore_instance *instance;
  pagestore_memory *memory;
  uint8_t *base;
  uint64_t tag[LOG_PAGES][LOG_BLOCKS];
} onlooker;

static void open_onlooker(logging *l, onlooker *o, const char *snapshot) {
  PROBE_OK(pagestore_instance_open(
      l->host.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = snapshot), &o->instance));
  open_log_memory(o->instance, &o->memory, &o->base);
  memcpy(o->tag, l->tag, sizeof o->tag);
}

static void close_onlooker(onlooker *o, const char *who) {
  check_memory(o->memory, o->tag, who);
  pagestore_instance_close(o->instance);
}

/* Whole pages, so that the runs that records leave behind are written again. */
static void use_freed_runs(logging *l) {
  for (int n = 0; n < 6; n++) {
    for (uint64_t page = 100; page < 120; page++)
      for (uint64_t block = 0; block < LOG_BLOCKS; block++) write_block(l, page, block, ++l->tags);
    commit_now(l);
  }
}

static void write_scattered(logging *l, dice *d, unsigned blocks) {
  for (unsigned n = 0; n < blocks; n++)
    write_block(l, dice_below(d, LOG_PAGES), dice_below(d, LOG_BLOCKS), ++l->tags);
}

static void write_more(logging *l, dice *d) {
  for (int n = 0; n < 12; n++) write_scattered(l, d, 12), commit_now(l);
}

static void look_from_before(dice *d) {
  static logging l;
  static onlooker view, kept;
  probe_folder(&l.host);
  open_log(&l, 0);
  write_more(&l, d);
  open_onlooker(&l, &view, NULL); /* what it sees of the log is in no row that it could see */
  write_more(&l, d);
  PROBE_OK(pagestore_snapshot_create(l.host.instance, "s", 0));
  open_onlooker(&l, &kept, "s");
  write_more(&l, d);
  PROBE_OK(pagestore_drain(l.host.store, PROBE_WAIT_MS));
  check_present(&l, "drained");
  use_freed_runs(&l);
  check_present(&l, "written over what was drained");
  close_onlooker(&view, "a view from before the log was drained");
  close_onlooker(&kept, "a snapshot from before the log was drained");
  open_onlooker(&l, &view, "s");
  memcpy(view.tag, kept.tag, sizeof view.tag);
  close_onlooker(&view, "a snapshot opened anew");
  probe_close(&l.host);
}

/* ---- closed in the middle ---------------------------------------------------------------------------------- */

static void zero_page(logging *l, uint64_t page) {
  for (uint64_t block = 0; block < LOG_BLOCKS; block++) write_block(l, page, block, 0);
}

/* Blocks for the log, some that make page records of what is in it, and a page that gives everything back. */
static void write_mixed(logging *l, dice *d) {
  write_scattered(l, d, WRITES);
  for (int n = 0; n < ZEROS; n++) write_block(l, dice_below(d, LOG_PAGES), dice_below(d, LOG_BLOCKS), 0);
  zero_page(l, dice_below(d, LOG_PAGES));
}

/* A block for the log, then a page record of each other page: of what merging has just logged anew, too. */
static void write_over_all(logging *l, dice *d) {
  write_block(l, 0, dice_below(d, LOG_BLOCKS), ++l->tags);
  for (uint64_t page = 1; page < LOG_PAGES; page++) write_block(l, page, dice_below(d, LOG_BLOCKS), 0);
}

static void write_some(logging *l, dice *d, int round, int commit) {
  if (round % 3 == 0 && commit == COMMITS - 3) write_over_all(l, d);
  else if (commit % 3 == 0) write_mixed(l, d);
  else write_scattered(l, d, 1);
}

/* Large commits fill the log, and small ones, along with which little is merged; the flusher has hardly a moment to itself, so
 * that now and then merging is not through when the store is closed, or looked at. */
static void close_in_the_middle(dice *d) {
  static logging l;
  probe_folder(&l.host);
  for (int round = 0; round < ROUNDS; round++) {
    open_log(&l, FEW_RECORDS);
    check_present(&l, "opened");
    int commits = COMMITS + round % 8;
    for (int n = 0; n < commits; n++) {
      write_some(&l, d, round, n);
      PROBE_OK(pagestore_commit(l.host.instance, n % 2 ? PAGESTORE_ASYNC : 0, NULL));
      if (n == commits / 2 && round % 2) check_present(&l, "while the log is merged");
    }
    probe_close(&l.host);
  }
  open_log(&l, PAGESTORE_NO_LOG);
  PROBE_OK(pagestore_drain(l.host.store, PROBE_WAIT_MS));
  check_present(&l, "without a log");
  probe_close(&l.host);
}

/* Pages that are in the source's log alone, and zeros in the fork, which had bytes of its own there in between. */
static void fork_with_zeros(dice *d) {
  static logging l;
  static onlooker fork;
  probe_folder(&l.host);
  open_log(&l, 0);
  write_scattered(&l, d, WRITES);
  commit_now(&l);
  PROBE_OK(pagestore_fork(l.host.instance, "fork", NULL, &fork.instance));
  open_log_memory(fork.instance, &fork.memory, &fork.base);
  for (uint64_t tag = 2; tag-- > 0;) {
    probe_fill(fork.base, (uint64_t)LOG_PAGES * PAGESTORE_PAGE, tag);
    PROBE_OK(pagestore_commit(fork.instance, 0, NULL));
  }
  PROBE_OK(pagestore_drain(l.host.store, PROBE_WAIT_MS));
  PROBE_OK(pagestore_instance_trim(fork.instance, 0));
  close_onlooker(&fork, "a fork of zeros");
  check_present(&l, "its source");
  probe_close(&l.host);
}

void probe_merging(dice *d) {
  fork_with_zeros(d);
  look_from_before(d);
  close_in_the_middle(d);
}
