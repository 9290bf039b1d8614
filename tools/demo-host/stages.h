/* stages.h - what the demo shows, one function each, in this order. Each checks by code what it
 * prints.
 *
 *   feed_half    in another process: messages without waiting, then one that never ends crash
 *   that process, killed with SIGKILL in the middle; what it had acknowledged comes out of a pipe
 *   resume       the store as the killed process left it feed_rest, trap, upgrade, snapshot,
 *   fork_ways, finish
 *
 * Always true: `now` is what the instance must hold; each stage leaves both so. Non-zero: a
 *              mismatch or a failure, already told.
 * Thread:      one.
 */
#ifndef DEMO_STAGES_H
#define DEMO_STAGES_H

#include "guest.h"
#include "records.h"

/* One thing to do so that the store holds what the file has. text NULL: remove. */
typedef struct {
  const char *name, *text;
  uint32_t bytes;
  bool is_new;
} step;

/* What the other process tells, by whole records through a pipe. */
typedef enum { TELL_SEALED = 1, TELL_DURABLE, TELL_INSIDE } telling;
typedef struct {
  uint64_t what, number; /* version; INSIDE: the message's number */
} tell;

typedef struct {
  const char *path, *input, *self;
  bool shows_progress;
  uint64_t input_bytes;
  model file, now; /* the file in its order; the present content */
  step *steps;
  size_t step_count, half;
  pagestore_store *store;
  guest guest;
  guest_times times;
  uint64_t found_version, found_message; /* before the killed process began */
  uint64_t durable_version, sealed_version, interrupted_message; /* what it told */
  pagestore_statistics stats; /* sums of the store handles closed so far */
  unsigned run;               /* counts the runs on this store */
} demo;

int stage_prepare(demo *); /* opens, installs or finds; the steps; closes again */
int stage_feed_half(demo *, int tell_to);
int stage_crash(demo *);
int stage_resume(demo *);
int stage_feed_rest(demo *);
int stage_trap(demo *);
int stage_upgrade(demo *);
int stage_snapshot(demo *);
int stage_fork_ways(demo *);
int stage_finish(demo *);

void demo_say(const char *stage, const char *format, ...) __attribute__((format(printf, 2, 3)));
int demo_open(demo *, void (*on_durable)(void *, void *, uint64_t, int), void *env);
int demo_close(demo *);
int demo_feed(demo *, size_t from, size_t to, unsigned flags);

#endif
