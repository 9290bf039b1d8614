/* totals.h - what the run has done so far, shared by all its processes, and the one way to say that something is wrong.
 *
 * Invariant: the counters lie in shared memory and only grow; a run with `violations` above zero fails.
 * Thread:    any, also in forked checkers.
 */
#ifndef CRASHSIM_TOTALS_H
#define CRASHSIM_TOTALS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What a run must have met to be worth something, counted. */
typedef enum {
  SAW_GROUP,
  SAW_TRASH, SAW_HALF_TRASH,
  SAW_COMMIT_ALL,
  SAW_SNAPSHOT,
  SAW_DROP,
  SAW_RESTORE,
  SAW_FORK,
  SAW_UPGRADE,
  SAW_DELETE,
  SAW_REOPEN,
  SAW_FULL_MAP,
  SAW_DEEPEST,
  SAW_LOGGED, SAW_BEGINNING, SAW_DOOMED, SAW_DELETING, SAW_EMPTIED,
  SAW_NO_STORE,
  SAW_LATER,
  SAW_COUNT
} sight;

typedef struct {
  _Atomic uint64_t commits, barriers, proved, states, recovery_states, violations;
  _Atomic uint64_t state; /* the number of the crash state that is being looked at, within its log */
  _Atomic uint64_t saved; /* failing states left behind for a replay */
  _Atomic uint64_t saw[SAW_COUNT];
  char context[256]; /* which workload, which state: printed with each violation */
} totals_shared;
extern totals_shared *totals;

enum { VIOLATIONS_MAX = 10 }; /* then the run ends: one fault shows in very many states */

void totals_begin(void);
static inline void totals_saw(sight s) { atomic_fetch_add(&totals->saw[s], 1); }
void totals_print_sights(void);

/* Something that must hold does not: prints the text with the context, counts. */
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
void violation_context(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline uint64_t violations(void) { return atomic_load(&totals->violations); }
static inline bool enough_violations(void) { return violations() >= VIOLATIONS_MAX; }

/* The harness itself cannot go on (no memory, no room for images): exits with status 2. */
_Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
