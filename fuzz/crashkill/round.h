/* round.h - one store, many kills.
 *
 *   victim (killed) -> witness (reads all, compares) -> next victim, from the step that was found on
 *
 * What a replay needs, seed and steps, lies beside the store in the file `facts` from before each witness on.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_CRASHKILL_ROUND_H
#define PAGESTORE_FUZZ_CRASHKILL_ROUND_H

#include <pagestore.h>

#include "fuzz/support/trial.h"
#include "kill.h"

typedef struct {
  char folder[FOLDER_PATH_MAX]; /* has the store and the facts */
  trial trial;
} victim_store;

bool round_open(victim_store *, const char *folder, uint64_t seed); /* false: no memory */
bool round_load(victim_store *, const char *folder);                /* false: no facts there */
void round_close(victim_store *, bool keep);

/* False: something is not as it must be, trial.text says what. */
bool round_kill(victim_store *, const kill_plan *, const pagestore_options *, kill_outcome *);
bool round_witness(victim_store *);
bool round_supports(victim_store *, pagestore_tracker);

#endif
