/* materialise.h - crash states of a log, each opened with the library and compared with the chronicle.
 *
 * States are numbered through the log; what number n is follows from the log and the seed. They are looked at in forked
 * processes, some hundreds in each, so that a library that dies by a signal is a violation like any other. After some
 * of them the recovery is recorded, proved and cut in turn, once.
 *
 * A failing state is left in a directory, as image and expectation, for a replay.
 * Thread: one.
 */
#ifndef CRASHSIM_MATERIALISE_H
#define CRASHSIM_MATERIALISE_H

#include "chronicle.h"
#include "record.h"

typedef struct {
  const record_log *log;
  const chronicle *chronicle;
  int64_t acknowledged, begun; /* as the log began */
  uint64_t seed, states;
  const char *scratch; /* a directory for images */
  const char *keep;    /* a directory for failing states */
  const char *context; /* for violations */
  bool is_recovery;    /* of another state: not cut once more, and in the caller's process */
} materialise_task;

void materialise(const materialise_task *);

/* A failing state, once more. */
void materialise_replay(const char *path, const char *scratch);

#endif
