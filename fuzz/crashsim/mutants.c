/* mutants.c - see mutants.h: fuzz/mutants/NAME.txt says what is wrong with each, tools/packaging/mutants.cmake builds them.
 *
 * Caught is: the mutant's run has ended by itself with status 1, its last line counts violations, and those who must see such a fault
 * have seen it: what breaks durability shows in the proof and in the crash states. A crash, a hang or an assertion of the library's is not
 * enough. The twelve are counted; the others beside them must be caught, too, or it is a violation.
 */
#include "mutants.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "image.h"
#include "totals.h"

/* Who can see a fault: the proof on the log (I1 to I5), the crash states, the workload in its own process, the probes. */
enum { BY_PROOF = 1, BY_STATES = 2, BY_WORKLOAD = 4, BY_PROBE = 8 };
static const char *const seer_text[] = {"proof", "crash states", "workload", "probe"};

/* number 0: outside the twelve. must_see: each of them. wild: what it does to a file cannot be gone on with. */
typedef struct {
  unsigned number;
  const char *name;
  unsigned must_see;
  bool wild;
} mutant;

static const mutant all[] = {
    {1, "fdatasync-ignored", BY_PROOF | BY_STATES, false},
    {2, "meta-without-dsync", BY_PROOF | BY_STATES, false},
    {3, "ack-before-commit", 0, false},
    {4, "directory-not-synced", BY_PROOF | BY_STATES, false},
    {5, "page-outside-transaction", BY_STATES, false},
    {6, "mark-cleared-early", BY_PROBE, false},
    {7, "page-reused-early", BY_PROOF, false},
    {8, "checksum-not-verified", BY_PROBE, false},
    {9, "reader-before-index", BY_PROBE, false},
    {10, "delta-dropped-early", BY_PROBE, false},
    {11, "dirty-lost-on-refusal", BY_PROBE, false},
    {12, "keep-rule-off-by-one", 0, false},
    {0, "nosync", BY_PROOF | BY_STATES, false},
    {0, "told-before-commit", BY_PROOF, false},
    {0, "page-held-back", BY_PROOF | BY_STATES, false},
    {0, "page-reused-at-once", BY_PROBE, true},
    {0, "scan-forgotten", 0, false},
    {0, "keep-rule-too-wide", BY_PROBE, false},
    {0, "log-deleted-early", BY_PROBE, false},
    {0, "log-begins-early", BY_PROBE, false},
    {0, "logged-dead-early", 0, false},
    {0, "zeros-over-log", BY_PROBE, false},
    {0, "zeros-over-source", BY_PROBE, false},
    {0, "log-not-moved", BY_PROBE, false},
    {0, "log-shown-early", 0, false},
    {0, "generation-dropped-early", BY_PROBE, false},
    {0, "snapshot-not-drained", 0, false},
    {0, "fork-without-log", 0, false},
    {0, "feature-unnamed", BY_PROOF, false},
};

#define COMMITS "30"
#define STATES  "400"
enum { HANG_LIMIT_MS = 300000, LINE_BYTES = 2000 };

/* What a run has said that matters. */
typedef struct {
  char first_violation[LINE_BYTES], last_line[LINE_BYTES], line[LINE_BYTES];
  size_t length; /* of the line that is being read */
  unsigned seen; /* BY_ bits */
  bool hung;
  int status; /* of waitpid */
  double seconds;
} outcome;

/* ---- running one ------------------------------------------------------------------------------------- */

/* By how the line of a violation begins: its context, then what is wrong. */
static unsigned seer_of(const char *line) {
  const char *text = strstr(line, ": ");
  if (strncmp(line, "VIOLATION probe ", 16) == 0) return BY_PROBE;
  if (text && text[2] == 'I' && strncmp(text + 4, " at event ", 10) == 0) return BY_PROOF;
  return text && memmem(line, (size_t)(text - line), " state ", 7) ? BY_STATES : BY_WORKLOAD;
}

static void end_line(outcome *o) {
  o->line[o->length] = 0;
  o->length = 0;
  memcpy(o->last_line, o->line, sizeof o->line);
  if (strncmp(o->line, "VIOLATION ", 10) != 0) return;
  if (!*o->first_violation) memcpy(o->first_violation, o->line, sizeof o->line);
  o->seen |= seer_of(o->line);
}

static void take(outcome *o, const char *bytes, ssize_t count) {
  for (ssize_t i = 0; i < count; i++) {
    if (bytes[i] == '\n') end_line(o);
    else if (o->length < LINE_BYTES - 1) o->line[o->length++] = bytes[i];
  }
}

static void read_all(outcome *o, int from, pid_t child) {
  char bytes[4096];
  for (;;) {
    struct pollfd ready = {.fd = from, .events = POLLIN};
    o->hung = poll(&ready, 1, HANG_LIMIT_MS) == 0;
    if (o->hung) kill(-child, SIGKILL);
    ssize_t count = o->hung ? 0 : read(from, bytes, sizeof bytes);
    if (count <= 0) return;
    take(o, bytes, count);
  }
}

static void run(const mutant *m, const char *program, uint64_t seed, const char *scratch, outcome *o) {
  int pipes[2];
  char seed_text[24];
  struct timespec from, to;
  snprintf(seed_text, sizeof seed_text, "%" PRIu64, seed);
  if (pipe(pipes) != 0) give_up("no pipe for a mutant");
  fflush(stdout);
  clock_gettime(CLOCK_MONOTONIC, &from);
  pid_t child = fork();
  if (child < 0) give_up("no process for a mutant");
  if (child == 0) {
    setpgid(0, 0); /* with the processes that it makes */
    dup2(pipes[1], 1);
    dup2(pipes[1], 2);
    close(pipes[0]);
    close(pipes[1]);
    execl(program, program, "--seed", seed_text, "--commits", m->wild ? "1" : COMMITS, "--states",
          m->wild ? "0" : STATES, "--keep", scratch, (char *)NULL);
    printf("%s cannot be run\n", program);
    fflush(stdout);
    _exit(2);
  }
  close(pipes[1]);
  read_all(o, pipes[0], child);
  close(pipes[0]);
  if (waitpid(child, &o->status, 0) != child) give_up("a mutant's process is lost");
  clock_gettime(CLOCK_MONOTONIC, &to);
  o->seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

/* ---- judging ------------------------------------------------------------------------------------------- */

static uint64_t violations_said(const outcome *o) {
  const char *at = strstr(o->last_line, " violations=");
  return strncmp(o->last_line, "crashsim: ", 10) == 0 && at ? strtoull(at + 12, NULL, 10) : 0;
}

static void print_seers(unsigned seen) {
  const char *between = "";
  for (unsigned i = 0; i < sizeof seer_text / sizeof *seer_text; i++) {
    if (!(seen >> i & 1)) continue;
    printf("%s%s", between, seer_text[i]);
    between = ", ";
  }
}

static bool judge(const mutant *m, const outcome *o) {
  bool failed = WIFEXITED(o->status) && WEXITSTATUS(o->status) == 1 && violations_said(o) > 0;
  unsigned missing = m->must_see & ~o->seen;
  printf(m->number ? "mutant %2u " : "mutant    ", m->number);
  printf("%-25s %5.1f s  ", m->name, o->seconds);
  if (o->hung) printf("NOT CAUGHT: it hangs\n");
  else if (WIFSIGNALED(o->status)) printf("NOT CAUGHT: it ended by signal %d\n", WTERMSIG(o->status));
  else if (!failed) printf("NOT CAUGHT: status %d, %s\n", WEXITSTATUS(o->status), o->last_line);
  else {
    printf(missing ? "NOT CAUGHT by " : "caught by ");
    print_seers(missing ? missing : o->seen);
    printf(": %s\n", *o->first_violation ? o->first_violation + 10 : o->last_line);
  }
  return failed && !missing;
}

static bool is_caught(const mutant *m, const char *folder, uint64_t seed) {
  char program[4096], scratch[512];
  const char *where = getenv("TMPDIR");
  outcome *o = calloc(1, sizeof *o);
  snprintf(scratch, sizeof scratch, "%s/crashsim-mutant-XXXXXX", where && *where ? where : "/tmp");
  if (!o || !mkdtemp(scratch)) give_up("no directory for a mutant");
  snprintf(program, sizeof program, "%s/mutants/crashsim-%s", folder, m->name);
  run(m, program, seed, scratch, o);
  bool caught = judge(m, o);
  remove_all(scratch);
  free(o);
  return caught;
}

unsigned mutants_run(const char *own_path, uint64_t seed, unsigned *total) {
  const char *end = strrchr(own_path, '/');
  char folder[2048];
  unsigned caught = 0;
  snprintf(folder, sizeof folder, "%.*s", end ? (int)(end - own_path) : 1, end ? own_path : ".");
  *total = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    bool is = is_caught(&all[i], folder, seed);
    violation_context("mutant %s", all[i].name);
    if (!is && !all[i].number) violation("not caught");
    if (!all[i].number) continue;
    caught += is;
    ++*total;
  }
  return caught;
}
