/* run.c - see run.h. */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dice.h"
#include "image.h"
#include "materialise.h"
#include "prove.h"
#include "totals.h"
#include "workload.h"

enum { COMMITS_PER_WORKLOAD = 10 };

/* In memory where there is such a file system: an fsync costs nothing there, and what it must do is in the log. */
static char *scratch_make(void) {
  const char *under = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
  char path[512];
  snprintf(path, sizeof path, "%s/crashsim.XXXXXX", under ? under : "/tmp");
  if (!mkdtemp(path)) give_up("no directory to be had: %s", path);
  return strdup(path);
}

static void scratch_remove(char *path) {
  remove_all(path);
  free(path);
}

static const char *place_to_keep(const run_options *o) {
  const char *given = o->keep ? o->keep : getenv("TMPDIR");
  return given ? given : "/tmp";
}

static void run_workload(const run_options *o, const char *scratch, uint64_t number, uint64_t workloads,
                         uint64_t commits) {
  char root[600], context[100];
  uint64_t seed = seed_of(o->seed, number + 2);
  workload_kind kind = (workload_kind)(number % WORKLOAD_KINDS);
  record_log log;
  chronicle c;
  snprintf(context, sizeof context, "seed %" PRIu64 " workload %" PRIu64, o->seed, number);
  violation_context("%s", context);
  snprintf(root, sizeof root, "%s/recorded", scratch);
  if (mkdir(root, 0777) != 0) give_up("%s cannot be made", root);
  workload_run(kind, seed, commits, root, &log, &c);
  if (!image_is_log(&log, root)) violation("a file differs from what its log says: something was not recorded");
  remove_all(root);
  prove_log(&log, &c, NO_STORE, 0);
  printf("  workload %" PRIu64 " (%s, seed %" PRIu64 "): %" PRIu64 " events, %" PRIu64 " moments\n", number,
         workload_names[kind], seed, log.count, c.count);
  const materialise_task task = {.log = &log,
                                 .chronicle = &c,
                                 .acknowledged = NO_STORE,
                                 .begun = 0,
                                 .seed = seed,
                                 .states = o->states * (number + 1) / workloads - o->states * number / workloads,
                                 .scratch = scratch,
                                 .keep = place_to_keep(o),
                                 .context = context};
  if (task.states && !enough_violations()) materialise(&task);
  record_free(&log);
  chronicle_free(&c);
}

/* A library that dies is a violation like any other. True: this is the child. */
static bool in_child(void) {
  int status;
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) give_up("no process to be had");
  if (child == 0) return true;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFSIGNALED(status)) violation("the library ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status)) exit(WEXITSTATUS(status));
  return false;
}

static _Noreturn void end_child(void) {
  fflush(stdout);
  _exit(0);
}

void run_seed(const run_options *o) {
  uint64_t workloads = (o->commits + COMMITS_PER_WORKLOAD - 1) / COMMITS_PER_WORKLOAD, left = o->commits;
  for (uint64_t n = 0; n < workloads && !enough_violations(); n++) {
    uint64_t commits = left / (workloads - n);
    char *scratch = scratch_make();
    if (in_child()) {
      run_workload(o, scratch, n, workloads, commits);
      end_child();
    }
    scratch_remove(scratch);
    left -= commits;
  }
}

void run_replay(const char *path) {
  char *scratch = scratch_make();
  if (in_child()) {
    materialise_replay(path, scratch);
    end_child();
  }
  scratch_remove(scratch);
}
