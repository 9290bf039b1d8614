/* probes_flush.c - see probes.h: while a flush stands before its commit nothing may be called durable, and every load finds the blocks in
 * the index; when it ends in the middle of a load, they are found in the index or in the rows.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "probes.h"

/* ---- acknowledgements ---------------------------------------------------------------------------------- */

static _Atomic uint64_t told;

static void note_durable(void *env, void *user, uint64_t version, int status) {
  (void)env, (void)user;
  if (status == 0) atomic_store(&told, version);
}

static void check_not_durable(probe_host *h, uint64_t version) {
  uint64_t durable = pagestore_durable_version(h->instance);
  PROBE(durable < version, "version %llu is called durable before its transaction is committed",
        (unsigned long long)durable);
  PROBE(atomic_load(&told) < version, "on_durable came for version %llu before its transaction was committed",
        (unsigned long long)version);
  PROBE_STATUS(pagestore_wait(h->instance, version, 0), PAGESTORE_ETIMEDOUT);
  PROBE_STATUS(pagestore_sync(h->store, 0), PAGESTORE_ETIMEDOUT);
}

/* LMDB's commit is counted before the flusher can know of it: a call that says "durable" without a commit since was too early. */
void probe_acknowledgements(dice *d) {
  probe_host h = {.options.on_durable = note_durable};
  probe_folder(&h);
  probe_open(&h);
  PROBE_OK(pagestore_commit(h.instance, 0, NULL));
  for (int round = 0; round < 6; round++) {
    uint64_t version, commits = gate_commits();
    h.base[dice_below(d, PROBE_PAGES * PAGESTORE_PAGE)] ^= 1;
    gate_set(GATE_SLOW);
    PROBE_OK(pagestore_commit(h.instance, 0, &version));
    PROBE(gate_commits() > commits, "a commit returned before the transaction of its version %llu was committed",
          (unsigned long long)version);
    h.base[dice_below(d, PROBE_PAGES * PAGESTORE_PAGE)] ^= 1;
    gate_set(GATE_HELD);
    PROBE_OK(pagestore_commit(h.instance, PAGESTORE_ASYNC, &version));
    PROBE(gate_reached(), "no flush began");
    check_not_durable(&h, version);
    gate_set(GATE_OPEN);
    PROBE_OK(pagestore_wait(h.instance, version, PROBE_WAIT_MS));
    PROBE(pagestore_durable_version(h.instance) == version, "version %llu is not durable after wait",
          (unsigned long long)version);
  }
  probe_close(&h);
}

/* ---- loads ------------------------------------------------------------------------------------------------ */

typedef enum { BY_CALL, BY_TOUCH, BY_VIEW, BY_OLDER_VIEW, WAYS } way;
static const char *const way_text[WAYS] = {"memory_read", "a load of the guest", "a new view", "an older view"};

typedef struct {
  probe_host host;
  uint64_t page, mask;      /* what the message has changed, by blocks */
  uint64_t before, now;     /* tags */
  pagestore_instance *view; /* opened before the message */
  pagestore_memory *view_memory;
  uint8_t *view_base;
} held_flush;

static bool block_is(const uint8_t *page, unsigned block, uint64_t tag) {
  uint8_t must[PAGESTORE_PAGE];
  probe_fill(must, sizeof must, tag);
  return memcmp(page + block * PROBE_BLOCK, must + block * PROBE_BLOCK, PROBE_BLOCK) == 0;
}

static void check_page(const held_flush *f, const uint8_t *page, bool older, way by, const char *when) {
  for (unsigned block = 0; block < 16; block++) {
    bool changed = !older && (f->mask >> block & 1);
    PROBE(block_is(page, block, changed ? f->now : f->before),
          "%s %s: page %llu block %u has not the bytes of the last commit%s", way_text[by], when,
          (unsigned long long)f->page, block, older ? " that it may see" : "");
  }
}

/* Version 1 everywhere; then a message on one page, whose flush stands before its commit. Nothing is resident. */
static void hold_flush(held_flush *f, dice *d) {
  probe_host *h = &f->host;
  f->page = dice_below(d, PROBE_PAGES);
  f->mask = 1 + dice_below(d, 0xffff);
  f->before = f->now ? f->now + 1 : 1;
  f->now = f->before + 1;
  uint8_t bytes[PAGESTORE_PAGE];
  probe_fill(h->base + f->page * PAGESTORE_PAGE, PAGESTORE_PAGE, f->before);
  PROBE_OK(pagestore_commit(h->instance, 0, NULL));
  PROBE_OK(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                                   &f->view));
  probe_open_memory(f->view, &f->view_memory, &f->view_base);
  probe_fill(bytes, sizeof bytes, f->now);
  for (unsigned block = 0; block < 16; block++)
    if (f->mask >> block & 1)
      memcpy(h->base + f->page * PAGESTORE_PAGE + block * PROBE_BLOCK, bytes + block * PROBE_BLOCK, PROBE_BLOCK);
  gate_set(GATE_HELD);
  PROBE_OK(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL));
  PROBE(gate_reached(), "no flush began");
  PROBE_OK(pagestore_instance_trim(h->instance, 0));
}

static void look(held_flush *f, way by, const char *when) {
  probe_host *h = &f->host;
  uint8_t bytes[PAGESTORE_PAGE];
  uint64_t at = f->page * PAGESTORE_PAGE;
  pagestore_instance *view = f->view;
  pagestore_memory *m = f->view_memory;
  uint8_t *base = f->view_base;
  switch (by) {
  case BY_CALL: PROBE_OK(pagestore_memory_read(h->memory, at, bytes, sizeof bytes)); break;
  case BY_TOUCH: memcpy(bytes, h->base + at, sizeof bytes); break;
  case BY_VIEW:
    PROBE_OK(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                                     &view));
    probe_open_memory(view, &m, &base);
    memcpy(bytes, base + at, sizeof bytes);
    pagestore_instance_close(view);
    break;
  default: memcpy(bytes, base + at, sizeof bytes);
  }
  check_page(f, bytes, by == BY_OLDER_VIEW, by, when);
  PROBE_OK(pagestore_rollback(h->instance)); /* what the call has promised to keep may go again */
  PROBE_OK(pagestore_rollback(f->view));
  PROBE_OK(pagestore_instance_trim(h->instance, 0));
  PROBE_OK(pagestore_instance_trim(f->view, 0));
}

/* A try that was under way when the gate opened may still find no room: a later one does. */
static void end_flush(held_flush *f) {
  gate_set(GATE_OPEN);
  int status = PAGESTORE_ENOSPC;
  for (int tries = 0; tries < 100 && status == PAGESTORE_ENOSPC; tries++)
    status = pagestore_sync(f->host.store, PROBE_WAIT_MS);
  PROBE_OK(status);
  for (way by = 0; by < WAYS; by++) look(f, by, "after the flush");
  pagestore_instance_close(f->view);
}

/* A load whose reader is renewed just when the flush ends. */
static void meet_flush(held_flush *f, dice *d, way by, gate_meeting when) {
  hold_flush(f, d);
  gate_meet(when, f->host.instance, pagestore_committed_version(f->host.instance));
  look(f, by, when == MEET_AFTER ? "whose reader was renewed before a flush ended" : "while a flush ends");
  PROBE(gate_met(), "%s renewed no reader, or the flush did not end", way_text[by]);
  end_flush(f);
}

/* A flush that found no room: nothing of it may be missing from the loads in between. */
static void refuse_flush(held_flush *f, dice *d) {
  hold_flush(f, d);
  gate_set(GATE_REFUSED);
  PROBE_STATUS(pagestore_wait(f->host.instance, pagestore_committed_version(f->host.instance), PROBE_WAIT_MS),
               PAGESTORE_ENOSPC);
  for (way by = 0; by < WAYS; by++) look(f, by, "after a flush that found no room");
  end_flush(f);
}

void probe_loads_during_flush(dice *d) {
  held_flush f = {0};
  probe_folder(&f.host);
  probe_open(&f.host);
  for (int round = 0; round < 3; round++) {
    hold_flush(&f, d);
    for (way by = 0; by < WAYS; by++) look(&f, by, "during a flush");
    end_flush(&f);
    for (way by = 0; by < WAYS; by++) {
      meet_flush(&f, d, by, MEET_BEFORE);
      meet_flush(&f, d, by, MEET_AFTER);
    }
    refuse_flush(&f, d);
  }
  probe_close(&f.host);
}
