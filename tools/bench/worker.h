/* worker.h - a contestant of `bench commit` in a process of its own, so that what it writes and computes in the
 * background is its own account, and a turn of it can be asked for when it is its turn.
 *
 * A worker is forked before the benchmark has threads; it makes its store, answers once it is filled, and then
 * takes turns until it is closed. A turn ends when nothing is written any more: what is left to the background counts
 * among its bytes and its processor time, and is not in the way of the next contestant.
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "subject.h"

typedef enum { TURN_WAITING, TURN_PIPELINED, TURN_PACED } turn_kind;

typedef struct {
  turn_kind kind;
  bool skewed; /* nine in ten blocks in a hundredth of the memory */
  uint64_t messages;
} turn;

typedef struct {
  double seconds, p50_ms, p99_ms;
  double written_bytes, cpu_seconds;
} outcome;

typedef struct {
  void *(*open)(void *env);
  /* latencies_ms: one for each message */
  void (*run)(void *contestant, const turn *, double *latencies_ms);
  void (*close)(void *contestant);
  void *env;
} worker_role;

typedef struct {
  int ask, answer;
} worker;

worker worker_start(const worker_role *); /* filled on return */
outcome worker_turn(worker *, const turn *);
void worker_stop(worker *);

/* Where a message writes: eight blocks in eight different pages of a memory. */
enum { MESSAGE_BLOCKS = 8 };
void worker_blocks(uint64_t blocks[MESSAGE_BLOCKS], uint64_t pages, bool skewed, dice *);

#endif
