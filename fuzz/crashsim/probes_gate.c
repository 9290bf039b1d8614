/* probes_gate.c - see probes.h. The program is linked with --wrap of the functions below.
 *
 * Thread: the plan is set by the probe; commits come from the flusher, renewals and allocations from any thread, of which only the
 *         probe's own are looked at. Everything that a fault handler may reach is atomic or the thread's own.
 */
#include <errno.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "heap.h"
#include "probes.h"

int __real_mdb_txn_commit(MDB_txn *);
int __wrap_mdb_txn_commit(MDB_txn *);
int __real_mdb_txn_renew(MDB_txn *);
int __wrap_mdb_txn_renew(MDB_txn *);
void *__real_malloc(size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_realloc(void *, size_t);

static _Atomic int plan;
static _Atomic bool reached;
static _Atomic uint64_t commits;

static _Thread_local struct {
  gate_meeting when;
  pagestore_instance *instance;
  uint64_t durable;
  bool met;
} meeting;
static _Thread_local struct {
  uint64_t left;
  bool failed;
} allocation;

enum { SLOW_MS = 20 };

static void pause_ms(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

/* ---- commits -------------------------------------------------------------------------------------- */

void gate_set(gate_plan to) {
  atomic_store(&reached, false);
  atomic_store(&plan, (int)to);
}

bool gate_reached(void) {
  for (int ms = 0; ms < PROBE_WAIT_MS && !atomic_load(&reached); ms++) pause_ms();
  return atomic_load(&reached);
}

uint64_t gate_commits(void) { return atomic_load(&commits); }

int __wrap_mdb_txn_commit(MDB_txn *txn) {
  for (int ms = 0; ms < SLOW_MS && atomic_load(&plan) == GATE_SLOW; ms++) pause_ms();
  if (atomic_load(&plan) == GATE_HELD) atomic_store(&reached, true);
  for (int ms = 0; ms < PROBE_WAIT_MS && atomic_load(&plan) == GATE_HELD; ms++) pause_ms();
  if (atomic_load(&plan) == GATE_REFUSED) {
    mdb_txn_abort(txn);
    return ENOSPC;
  }
  int rc = __real_mdb_txn_commit(txn);
  if (rc == 0) atomic_fetch_add(&commits, 1);
  return rc;
}

/* ---- readers -------------------------------------------------------------------------------------- */

void gate_meet(gate_meeting when, pagestore_instance *i, uint64_t durable) {
  meeting.when = when;
  meeting.instance = i;
  meeting.durable = durable;
  meeting.met = false;
}

bool gate_met(void) { return meeting.met; }

static void meet(void) {
  meeting.when = MEET_NEVER;
  gate_set(GATE_OPEN);
  for (int ms = 0; ms < PROBE_WAIT_MS && !meeting.met; ms++) {
    meeting.met = pagestore_durable_version(meeting.instance) >= meeting.durable;
    if (!meeting.met) pause_ms();
  }
}

int __wrap_mdb_txn_renew(MDB_txn *txn) {
  if (meeting.when == MEET_BEFORE) meet();
  int rc = __real_mdb_txn_renew(txn);
  if (meeting.when == MEET_AFTER) meet();
  return rc;
}

/* ---- allocations ---------------------------------------------------------------------------------- */

void gate_fail_allocation(uint64_t at) {
  allocation.left = at;
  allocation.failed = false;
}

bool gate_allocation_failed(void) { return allocation.failed; }

static bool fails(void) {
  if (allocation.left == 0 || --allocation.left != 0) return false;
  allocation.failed = true;
  errno = ENOMEM;
  return true;
}

void *__wrap_malloc(size_t bytes) { return fails() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return fails() ? NULL : heap_calloc(count, bytes); }
void *__wrap_realloc(void *old, size_t bytes) { return fails() ? NULL : __real_realloc(old, bytes); }
