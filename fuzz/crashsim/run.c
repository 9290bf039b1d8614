/* run.c - see run.h. */
#include "run.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dice.h"
#include "prove.h"
#include "totals.h"
#include "workload.h"

enum { COMMITS_PER_WORKLOAD = 15 };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

/* In memory where there is such a file system: an fsync costs nothing there, and what it must do is in the log. */
static char *scratch_make(void) {
  const char *under = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
  char path[512];
  snprintf(path, sizeof path, "%s/crashsim.XXXXXX", under ? under : "/tmp");
  if (!mkdtemp(path)) give_up("no directory to be had: %s", path);
  return strdup(path);
}

static void scratch_remove(char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(path);
}

static void run_workload(workload_kind kind, uint64_t seed, uint64_t commits) {
  char *scratch = scratch_make(), root[600];
  record_log log;
  chronicle h;
  snprintf(root, sizeof root, "%s/recorded", scratch);
  if (mkdir(root, 0777) != 0) give_up("%s cannot be made", root);
  workload_run(kind, seed, commits, root, &log, &h);
  printf("  workload %d, seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " moments\n", (int)kind, seed, log.count, h.count);
  prove_log(&log, &h, NO_STORE, NO_STORE);
  record_free(&log);
  chronicle_free(&h);
  scratch_remove(scratch);
}

void run_seed(const run_options *o) {
  uint64_t workloads = (o->commits + COMMITS_PER_WORKLOAD - 1) / COMMITS_PER_WORKLOAD, left = o->commits;
  for (uint64_t n = 0; n < workloads && !enough_violations(); n++) {
    uint64_t seed = seed_of(o->seed, n + 2), commits = left / (workloads - n);
    violation_context("seed %" PRIu64 " workload %" PRIu64, o->seed, n);
    run_workload((workload_kind)(n % WORKLOAD_KINDS), seed, commits);
    left -= commits;
  }
}

void run_replay(const char *path) { give_up("%s: nothing to replay", path); }
