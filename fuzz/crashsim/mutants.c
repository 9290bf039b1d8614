/* mutants.c - see mutants.h: fuzz/mutants/NAME.txt says what is wrong with each, tools/packaging/mutants.cmake builds them.
 *
 * Caught is: the mutant's run has ended by itself with status 1, and its last line counts violations. A crash, a hang or an assertion of
 * the library's is not enough. The twelve are counted; the others beside them must be caught, too, or it is a violation.
 */
#include "mutants.h"

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "totals.h"

typedef struct { unsigned number; const char *name; } mutant;   /* number 0: outside the twelve */

static const mutant all[] = {
  { 1, "fdatasync-ignored" },
  { 2, "meta-without-dsync" },
  { 3, "ack-before-commit" },
  { 4, "directory-not-synced" },
  { 5, "page-outside-transaction" },
  { 6, "mark-cleared-early" },
  { 7, "page-reused-early" },
  { 8, "checksum-not-verified" },
  { 9, "reader-before-index" },
  { 10, "delta-dropped-early" },
  { 11, "dirty-lost-on-refusal" },
  { 12, "keep-rule-off-by-one" },
  { 0, "nosync" },
  { 0, "told-before-commit" },
  { 0, "page-reused-at-once" },
  { 0, "scan-forgotten" },
  { 0, "keep-rule-too-wide" },
};

#define COMMITS "30"
#define STATES "400"
enum { HANG_LIMIT_MS = 300000, LINE_BYTES = 2000 };

/* What a run has said that matters. */
typedef struct {
  char first_violation[LINE_BYTES], last_line[LINE_BYTES], line[LINE_BYTES];
  size_t length;      /* of the line that is being read */
  bool hung;
  int status;         /* of waitpid */
  double seconds;
} outcome;

/* ---- running one ------------------------------------------------------------------------------------- */

static void end_line(outcome *o) {
  o->line[o->length] = 0;
  o->length = 0;
  memcpy(o->last_line, o->line, sizeof o->line);
  if (!*o->first_violation && strncmp(o->line, "VIOLATION ", 10) == 0) memcpy(o->first_violation, o->line, sizeof o->line);
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
    struct pollfd ready = { .fd = from, .events = POLLIN };
    o->hung = poll(&ready, 1, HANG_LIMIT_MS) == 0;
    if (o->hung) kill(child, SIGKILL);
    ssize_t count = o->hung ? 0 : read(from, bytes, sizeof bytes);
    if (count <= 0) return;
    take(o, bytes, count);
  }
}

static void run(const char *program, uint64_t seed, const char *scratch, outcome *o) {
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
    dup2(pipes[1], 1);
    dup2(pipes[1], 2);
    close(pipes[0]);
    close(pipes[1]);
    execl(program, program, "--seed", seed_text, "--commits", COMMITS, "--states", STATES, "--keep", scratch, (char *)NULL);
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

static bool judge(const mutant *m, const outcome *o) {
  bool caught = WIFEXITED(o->status) && WEXITSTATUS(o->status) == 1 && violations_said(o) > 0;
  printf(m->number ? "mutant %2u " : "mutant    ", m->number);
  printf("%-25s %5.1f s  ", m->name, o->seconds);
  if (caught) printf("caught: %s\n", *o->first_violation ? o->first_violation + 10 : o->last_line);
  else if (o->hung) printf("NOT CAUGHT: it hangs\n");
  else if (WIFSIGNALED(o->status)) printf("NOT CAUGHT: it ended by signal %d\n", WTERMSIG(o->status));
  else printf("NOT CAUGHT: status %d, %s\n", WEXITSTATUS(o->status), o->last_line);
  return caught;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static bool is_caught(const mutant *m, const char *folder, uint64_t seed) {
  char program[4096], scratch[] = "/tmp/crashsim-mutant-XXXXXX";
  outcome *o = calloc(1, sizeof *o);
  if (!o || !mkdtemp(scratch)) give_up("no directory for a mutant");
  snprintf(program, sizeof program, "%s/mutants/crashsim-%s", folder, m->name);
  run(program, seed, scratch, o);
  bool caught = judge(m, o);
  nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
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
