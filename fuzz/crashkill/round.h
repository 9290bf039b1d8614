/* round.h - one store, many kills: what the parent knows of it, and the processes that it starts for it.
 *
 *   victim (killed) -> witness (reads all, compares) -> next victim, from the step that was found on
 *
 * Each is a fork of the parent, which itself never calls the library: so each is a fresh process for it.
 *
 * Invariant: `base` is at the step that the last witness found, which is not below any acknowledged one.
 * Thread:    one.
 */
#ifndef PAGESTORE_FUZZ_CRASHKILL_ROUND_H
#define PAGESTORE_FUZZ_CRASHKILL_ROUND_H

#include <pagestore.h>

#include "fuzz/support/folder.h"
#include "fuzz/support/ledger.h"
#include "fuzz/support/script.h"
#include "kill.h"

typedef struct {
  char folder[FOLDER_PATH_MAX]; /* store, and what a replay needs */
  char path[FOLDER_PATH_MAX];
  script *base;
  ledger *ledger;
  char text[1200]; /* why the last call failed */
} victim_store;

/* 0, or why not: text. */
bool round_open(victim_store *, const char *folder, uint64_t seed);
void round_close(victim_store *, bool keep);

/* False: something is not as it must be, see text. */
bool round_kill(victim_store *, const kill_plan *, const pagestore_options *, kill_outcome *);
bool round_witness(victim_store *, uint32_t flags);
bool round_go_on(victim_store *, uint32_t steps); /* without a kill, to a clean end; then the witness */
bool round_empty(victim_store *);                 /* everything deleted: everything is given back */

/* What a replay needs lies beside the store from before each witness on. */
bool round_load(victim_store *, const char *folder);
bool round_supports(victim_store *, pagestore_tracker);

#endif
