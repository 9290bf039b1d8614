/* probes_refused.c - see probes.h: a commit that is refused, for each reason and with each tracker, has lost nothing: committed again it
 * holds every block, rolled back none.
 *
 * The message is large and small writes, some of them seen by a scan in its middle, growth and metadata; the model is an array.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "probes.h"

enum { PAGES_MOST = 2 * PROBE_PAGES, NOTE_BYTES = 8 };

typedef enum { DISK_FULL, QUEUE_FULL, QUOTA, ALLOCATION, REASONS } reason;
static const char *const reason_text[REASONS] = {"full disk", "full queue", "dirty limit", "failed allocation"};
static const char *const tracker_text[] = {"auto", "scan", "fault", "mprotect"};

/* What the instance must hold. */
typedef struct {
  uint64_t pages;
  uint8_t note[NOTE_BYTES]; /* a key of its metadata */
  uint8_t bytes[PAGES_MOST * PAGESTORE_PAGE];
} model;

typedef struct {
  probe_host host;
  dice *dice;
  reason reason;
  uint64_t allocation; /* ALLOCATION: which of them fails */
  bool allocation_failed;
  pagestore_instance *other; /* QUEUE_FULL: its flush is held */
  pagestore_memory *other_memory;
  uint8_t *other_base;
  model *committed, *working;
  char doing[120];
} refusal;

/* ---- the message ------------------------------------------------------------------------------------------ */

static int ignore_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)env, (void)m, (void)offset, (void)length;
  return 0;
}

static void write_somewhere(refusal *r) {
  model *m = r->working;
  bool is_page = dice_chance(r->dice, 25);
  uint64_t length = is_page ? PAGESTORE_PAGE : 1 + dice_below(r->dice, 3 * PROBE_BLOCK);
  uint64_t at = dice_below(r->dice, m->pages * PAGESTORE_PAGE - length), word = dice_roll(r->dice);
  for (uint64_t i = 0; i < length; i++) m->bytes[at + i] = (uint8_t)((word >> i % 8 * 8) ^ i);
  memcpy(r->host.base + at, m->bytes + at, length);
}

static void write_message(refusal *r) {
  probe_host *h = &r->host;
  for (unsigned i = 0; i < 4; i++) write_somewhere(r);
  PROBE_OK(pagestore_memory_blocks(h->memory, PAGESTORE_BLOCKS_DIRTY, ignore_range, NULL));
  for (unsigned i = 0; i < 3; i++) write_somewhere(r);
  if (r->working->pages < PAGES_MOST) {
    PROBE_OK(pagestore_memory_grow(h->memory, 1, NULL));
    r->working->pages++;
  }
  write_somewhere(r);
  for (unsigned i = 0; i < NOTE_BYTES; i++) r->working->note[i] = (uint8_t)dice_roll(r->dice);
  PROBE_OK(pagestore_metadata_set(h->instance, "note", r->working->note, NOTE_BYTES));
}

/* ---- checks ----------------------------------------------------------------------------------------------- */

static void check(const refusal *r, const model *must, const char *when) {
  const probe_host *h = &r->host;
  uint8_t note[NOTE_BYTES];
  size_t length;
  uint64_t pages = pagestore_memory_pages(h->memory);
  PROBE(pages == must->pages, "%s, %s: %llu pages, must be %llu", r->doing, when, (unsigned long long)pages,
        (unsigned long long)must->pages);
  PROBE_OK(pagestore_metadata_get(h->instance, "note", note, sizeof note, &length));
  PROBE(length == NOTE_BYTES && memcmp(note, must->note, length) == 0, "%s, %s: the metadata differs", r->doing, when);
  for (uint64_t at = 0; at < pages * PAGESTORE_PAGE; at += PROBE_BLOCK)
    PROBE(memcmp(h->base + at, must->bytes + at, PROBE_BLOCK) == 0, "%s, %s: page %llu block %llu differs", r->doing,
          when, (unsigned long long)(at / PAGESTORE_PAGE), (unsigned long long)(at % PAGESTORE_PAGE / PROBE_BLOCK));
}

/* As the handle shows it, as it loads it again, and as a new process would find it. */
static void check_thrice(refusal *r, const model *must) {
  probe_host *h = &r->host;
  check(r, must, "as it is");
  PROBE_OK(pagestore_rollback(h->instance));
  PROBE_OK(pagestore_instance_trim(h->instance, 0));
  check(r, must, "loaded again");
  uint64_t version = pagestore_committed_version(h->instance);
  if (r->other) pagestore_instance_close(r->other);
  r->other = NULL;
  probe_close(h);
  probe_open(h);
  PROBE(pagestore_committed_version(h->instance) == version, "%s: version %llu became %llu", r->doing,
        (unsigned long long)version, (unsigned long long)pagestore_committed_version(h->instance));
  check(r, must, "opened again");
}

/* ---- refusing ---------------------------------------------------------------------------------------------- */

static void open_other(refusal *r) {
  if (r->other) return;
  PROBE_OK(pagestore_instance_open(r->host.store, "other",
                                   PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &r->other));
  probe_open_memory(r->other, &r->other_memory, &r->other_base);
}

static void refuse_for_room(refusal *r) {
  gate_set(GATE_REFUSED);
  PROBE_STATUS(pagestore_commit(r->host.instance, 0, NULL), PAGESTORE_ENOSPC);
  gate_set(GATE_OPEN);
}

/* Something is in the queue and its flush does not end: what does not fit beside it is refused. */
static void refuse_for_queue(refusal *r) {
  open_other(r);
  r->other_base[0] ^= 1;
  gate_set(GATE_HELD);
  PROBE_OK(pagestore_commit(r->other, PAGESTORE_ASYNC, NULL));
  PROBE(gate_reached(), "%s: no flush began", r->doing);
  PROBE_STATUS(pagestore_commit(r->host.instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL), PAGESTORE_EAGAIN);
  gate_set(GATE_OPEN);
  PROBE_OK(pagestore_sync(r->host.store, PROBE_WAIT_MS));
}

static void refuse_for_quota(refusal *r) {
  r->host.memory->dirty_limit = 1;
  PROBE_STATUS(pagestore_commit(r->host.instance, 0, NULL), PAGESTORE_EQUOTA);
  r->host.memory->dirty_limit = 0;
}

/* The N-th allocation of this commit. It may be one that the commit can do without. */
static bool refuse_for_memory(refusal *r) {
  gate_fail_allocation(r->allocation);
  int status = pagestore_commit(r->host.instance, 0, NULL);
  r->allocation_failed = gate_allocation_failed();
  gate_fail_allocation(0);
  PROBE(status == 0 || (status == PAGESTORE_ENOMEM && r->allocation_failed), "%s: %s", r->doing, pagestore_detail());
  return status != 0;
}

/* False: the commit was done. */
static bool refuse(refusal *r) {
  switch (r->reason) {
  case DISK_FULL: refuse_for_room(r); return true;
  case QUEUE_FULL: refuse_for_queue(r); return true;
  case QUOTA: refuse_for_quota(r); return true;
  default: return refuse_for_memory(r);
  }
}

/* ---- one refusal -------------------------------------------------------------------------------------------- */

typedef enum { THEN_COMMIT, THEN_WRITE_AND_COMMIT, THEN_ROLL_BACK, ENDS } ending;

static void end_message(refusal *r, ending end) {
  probe_host *h = &r->host;
  if (end == THEN_WRITE_AND_COMMIT) write_somewhere(r);
  if (end == THEN_ROLL_BACK) PROBE_OK(pagestore_rollback(h->instance));
  else PROBE_OK(pagestore_commit(h->instance, dice_chance(r->dice, 50) ? PAGESTORE_ASYNC : 0, NULL));
}

static void refuse_once(refusal *r, ending end) {
  snprintf(r->doing, sizeof r->doing, "tracker %s, a commit refused for a %s, then %s",
           tracker_text[r->host.options.tracker], reason_text[r->reason],
           end == THEN_ROLL_BACK ? "rolled back" : "committed again");
  write_message(r);
  bool refused = refuse(r);
  if (refused) {
    check(r, r->working, "still in its message");
    end_message(r, end);
  }
  if (refused && end == THEN_ROLL_BACK) memcpy(r->working, r->committed, sizeof *r->working);
  else memcpy(r->committed, r->working, sizeof *r->working);
  check_thrice(r, r->committed);
}

static void refuse_all(refusal *r) {
  for (r->reason = 0; r->reason < ALLOCATION; r->reason++)
    for (ending end = 0; end < ENDS; end++) refuse_once(r, end);
  r->allocation = 0;
  do {
    r->allocation++;
    refuse_once(r, (ending)(r->allocation % ENDS));
  } while (r->allocation_failed);
}

static void refuse_with_tracker(dice *d, pagestore_tracker tracker) {
  refusal r = {.dice = d, .host.options = {.tracker = tracker, .queue_bytes = 4096}};
  probe_folder(&r.host);
  r.committed = calloc(2, sizeof *r.committed);
  if (!r.committed) give_up("no memory for a model");
  r.working = r.committed + 1;
  r.working->pages = PROBE_PAGES;
  probe_open(&r.host);
  for (unsigned messages = 0; messages < 3; messages++) write_message(&r);
  PROBE_OK(pagestore_commit(r.host.instance, 0, NULL));
  memcpy(r.committed, r.working, sizeof *r.committed);
  refuse_all(&r);
  probe_close(&r.host);
  free(r.committed);
}

static bool has_tracker(pagestore_tracker tracker) {
  region_support have = region_probe();
  return tracker == PAGESTORE_TRACK_MPROTECT || (tracker == PAGESTORE_TRACK_SCAN ? have.scan : have.fault);
}

void probe_refused_commits(dice *d) {
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++)
    if (has_tracker(t)) refuse_with_tracker(d, t);
}
