/* stage.h - a store's flusher under the hand of one test thread, and a plan of faults.
 *
 * For programs linked with LMDB's archive and --wrap of the calls in stage.c. One thread, the stage's, calls the library; the only
 * other one is the flusher. The gate stands before each of its writing calls (write, writev, pwrite, fdatasync):
 *
 *   OPEN --stage_close(n)--> CLOSED: n more writing calls pass, the next one is held   CLOSED --stage_open--> OPEN
 *
 * Where the stage's thread would wait for the flusher, the gate opens by itself. While the gate is closed and stage_rest() has
 * returned, nothing is written and nothing moves: the store's file is what a killed process would leave.
 *
 * A plan lets a few calls in succession fail: from the N-th allocation of the library's on either thread (inside stage_enter ... stage_leave on ours), or
 * from the N-th writing call of a kind of the flusher's.
 *
 * Thread: the stage's own.
 */
#ifndef PAGESTORE_FUZZ_STAGE_H
#define PAGESTORE_FUZZ_STAGE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { STAGE_ALLOCATION, STAGE_DATA, STAGE_SYNC, STAGE_META, STAGE_FAULTS } stage_fault;

void stage_begin(void); /* threads that this one starts from now on are flushers; open; no plan */
void stage_end(void);
void stage_close(unsigned calls);
void stage_open(void);
void stage_rest(void); /* closed: until the flusher is held or waits for work */

void stage_plan(stage_fault, unsigned at, unsigned times, int error); /* replaces the one before */
void stage_no_plan(void);
void stage_enter(void);
void stage_leave(void);
bool stage_fired(void); /* the plan's call has failed, and nobody has asked since */

#endif
