/* trial.h - a store under trial: what a parent knows of it, and the processes that it starts for it.
 *
 * Each is a fork of the parent, which itself never calls the library: so each is a fresh process for it. What a process
 * finds wrong comes back as a text.
 *
 * Invariant: `base` is at a step that the store surely holds: the one that the last witness found, or step 0.
 * Thread:    one.
 */
#ifndef PAGESTORE_FUZZ_SUPPORT_TRIAL_H
#define PAGESTORE_FUZZ_SUPPORT_TRIAL_H

#include <sys/types.h>

#include "fuzz/support/folder.h"
#include "fuzz/support/ledger.h"
#include "fuzz/support/script.h"

typedef struct {
  char path[FOLDER_PATH_MAX]; /* the store's */
  script *base;
  ledger *ledger;
  char text[1200]; /* why the last call failed */
} trial;

bool trial_begin(trial *, const char *path, uint64_t seed); /* false: no memory */
void trial_end(trial *);

/* fork: 0 in the child, which dies with its parent and must not return. */
pid_t trial_start(void);
/* Waits for it. False: it did not end well. */
bool trial_finished(trial *, const char *who, pid_t);
bool trial_failed(trial *, const char *who, int status); /* puts the text there; false */

/* False: something is not as it must be. */
bool trial_witness(trial *, uint32_t flags); /* compares, moves base to what was found */
bool trial_go_on(trial *, uint32_t steps);   /* to a clean end; then the witness */
bool trial_empty(trial *);                   /* everything deleted: everything is given back */

#endif
