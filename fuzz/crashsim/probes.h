/* probes.h - what crash images alone cannot show: each probe forces one situation and looks at what the library says then.
 *
 *   probes.c           the list; damaged rows
 *   probes_gate.c      the places where the library's calls into LMDB and for memory can be stopped or made to fail
 *   probes_log.c       commits that use freed pages again as soon as they may, recorded and proved
 *   probes_flush.c     loads, views and acknowledgements while a flush stands before its commit, or ends in the middle of a load
 *   probes_refused.c   commits that are refused for each reason, and committed again
 *   probes_merge.c     the log filled, merged, drained, closed in the middle, with views and snapshots from before
 *   probes_keep.c      snapshots and forks of every small shape keep exactly their rows
 *
 * Each probe runs in a child process, with stores of its own; a call that fails where it must not, and bytes that differ, are violations
 * and end that child. A child that ends in any other way is one, too.
 * Thread: one, but for the gate.
 */
#ifndef CRASHSIM_PROBES_H
#define CRASHSIM_PROBES_H

#include <stdbool.h>
#include <stdint.h>

#include <pagestore.h>

#include "dice.h"
#include "totals.h"

uint64_t probes_run(uint64_t seed); /* violations */

void probe_rewriting(dice *);
void probe_damage(dice *);
void probe_acknowledgements(dice *);
void probe_loads_during_flush(dice *);
void probe_refused_commits(dice *);
void probe_merging(dice *);
void probe_keep_rule(dice *);

/* ---- a store with one instance and one memory of it ---------------------------------------------------------------------------- */

enum { PROBE_PAGES = 12, PROBE_BLOCK = 4096, PROBE_WAIT_MS = 30000 };

typedef struct {
  char folder[200], path[240], file[280];
  pagestore_options options;
  pagestore_store *store;
  pagestore_instance *instance;
  pagestore_memory *memory;
  uint8_t *base;
} probe_host;

void probe_folder(probe_host *); /* a new directory; removed when the child has ended */
void probe_open_store(probe_host *);
void probe_open(probe_host *); /* and "i" with "m" */
void probe_open_memory(pagestore_instance *, pagestore_memory **, uint8_t **base);
void probe_close(probe_host *);

/* ---- pages of known bytes: a tag names them, 0 is zeros ------------------------------------------------------------------------- */

void probe_fill(uint8_t *to, uint64_t length, uint64_t tag);
bool probe_is(const uint8_t *at, uint64_t length, uint64_t tag);

/* ---- saying that something is wrong --------------------------------------------------------------------------------------------- */

/* A violation, and the child's end. */
_Noreturn void probe_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define PROBE(condition, ...)      ((condition) ? (void)0 : probe_failed(__FILE__, __LINE__, __VA_ARGS__))
#define PROBE_STATUS(call, wanted) probe_status(__FILE__, __LINE__, #call, (call), (wanted))
#define PROBE_OK(call)             PROBE_STATUS(call, 0)
void probe_status(const char *file, int line, const char *call, int status, int wanted);

/* ---- the gate ------------------------------------------------------------------------------------------------------------------- */

typedef enum {
  GATE_OPEN,
  GATE_SLOW,    /* a write transaction's commit takes some time */
  GATE_HELD,    /* it waits until the gate is opened */
  GATE_REFUSED, /* it is aborted, and says ENOSPC */
} gate_plan;
void gate_set(gate_plan);
bool gate_reached(void);     /* waits until a commit stands at the held gate; false: none came */
uint64_t gate_commits(void); /* that LMDB has done */

/* When this thread renews its next reader, before or after that: the gate is opened, and the renewing waits until `durable` is the
 * instance's durable version. One renewing; -> whether it came to that. Also in a fault handler. */
typedef enum { MEET_NEVER, MEET_BEFORE, MEET_AFTER } gate_meeting;
void gate_meet(gate_meeting, pagestore_instance *, uint64_t durable);
bool gate_met(void);

/* This thread's `at`-th allocation from now on fails, once; 0: none. */
void gate_fail_allocation(uint64_t at);
bool gate_allocation_failed(void);

#endif
