/* run.h - one seed from the first call to the last image. Thread: one. */
#ifndef CRASHSIM_RUN_H
#define CRASHSIM_RUN_H

#include <stdint.h>

typedef struct {
  uint64_t seed, commits, states;
  const char *keep; /* where failing states are left; NULL: TMPDIR or /tmp */
} run_options;

void run_seed(const run_options *); /* several short workloads; what was seen is in the totals */
void run_replay(const char *path);  /* what a failing state left: looks at it once more */

#endif
