/* main.c - bench: what pagestore costs on this machine, against what else one could do.
 *
 *   bench NAME [--json] [--peers] [--quick] [--repetitions N] [--commits N] [--plot FILE.png] [--store FOLDER]
 *   bench-NAME ...                  the same: what `pagestore bench NAME` executes is a link of that name
 *
 * The benchmark runs in a child in a scratch folder of its own, inside FOLDER, $TMPDIR or /var/tmp, which the
 * parent removes however the child ends. Exit: 0 measured, 2 usage, 3 not measured.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static const struct {
  const char *name, *text;
  void (*run)(bench *);
} benchmarks[] = {
    {"track", "first writes to clean blocks, and collecting them", bench_track},
    {"boundary", "pauses of commit and rollback, by dirty blocks and resident memory", bench_boundary},
    {"commit", "durable messages a second, against LMDB; --peers: SQLite and RocksDB, too", bench_commit},
    {"restore", "from a closed store to the first byte, and to all of them", bench_restore},
    {"views", "views, snapshots, forks, restores, deletions", bench_views},
    {"endurance", "200,000 commits: the file over what lives in it, the slowest commit", bench_endurance},
    {"many", "10,000 instances of one store: made, opened, a message each, idle", bench_many},
    {"scale", "the cost of a message by the size of its memory and by the number of instances", bench_scale},
};
enum { BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

static int usage(void) {
  fprintf(stderr,
          "usage: bench NAME [--json] [--peers] [--quick] [--repetitions N] [--commits N] [--plot FILE.png]\n"
          "                  [--store FOLDER]\n");
  for (size_t i = 0; i < BENCHMARKS; i++) fprintf(stderr, "  %-10s %s\n", benchmarks[i].name, benchmarks[i].text);
  return EXIT_USAGE;
}

static int find(const char *name) {
  for (int i = 0; i < BENCHMARKS; i++)
    if (strcmp(benchmarks[i].name, name) == 0) return i;
  return -1;
}

static bool number_of(const char *text, unsigned long most, uint64_t *out) {
  char *end;
  errno = 0;
  *out = strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end && !errno && *out >= 1 && *out <= most;
}

static bool settings_of(int count, char **words, bench *b, const char **store) {
  static const struct option known[] = {{"json", no_argument, NULL, 'j'},
                                        {"peers", no_argument, NULL, 'p'},
                                        {"quick", no_argument, NULL, 'q'},
                                        {"commits", required_argument, NULL, 'c'},
                                        {"plot", required_argument, NULL, 'P'},
                                        {"repetitions", required_argument, NULL, 'r'},
                                        {"store", required_argument, NULL, 's'},
                                        {NULL, 0, NULL, 0}};
  uint64_t repetitions = 0;
  for (int letter; (letter = getopt_long(count, words, "", known, NULL)) != -1;) {
    if (letter == 'j') b->json = true;
    if (letter == 'p') b->peers = true;
    if (letter == 'q') b->quick = true;
    if (letter == 'P') b->plot = optarg;
    if (letter == 's') *store = optarg;
    if (letter == 'r' && !number_of(optarg, 10000, &repetitions)) return false;
    if (letter == 'c' && !number_of(optarg, 100000000, &b->commits)) return false;
    if (letter == '?') return false;
  }
  b->repetitions = (unsigned)repetitions;
  return optind == count;
}

static pid_t child;

static void pass_on(int sig) { kill(child, sig); }

static int wait_and_remove(const char *folder) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return EXIT_FAILED;
  /* Contestants die with the child, and would go on writing until then. */
  while (wait(NULL) > 0 || errno == EINTR) continue;
  bench_remove(folder);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  fprintf(stderr, "bench: ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return EXIT_FAILED;
}

int main(int count, char **words) {
  static bench b;
  const char *own = strrchr(words[0], '/') ? strrchr(words[0], '/') + 1 : words[0], *store = NULL;
  int chosen = find(strncmp(own, "bench-", 6) == 0 ? own + 6 : own);
  if (chosen < 0) {
    if (count < 2 || (chosen = find(words[1])) < 0) return usage();
    count--, words++;
  }
  if (!settings_of(count, words, &b, &store)) return usage();
  b.name = benchmarks[chosen].name;
  if (!store) store = getenv("TMPDIR");
  snprintf(b.folder, sizeof b.folder, "%s/pagestore-bench-XXXXXX", store && *store ? store : "/var/tmp");
  if (!mkdtemp(b.folder)) {
    fprintf(stderr, "bench: %s: cannot be made: %s\n", b.folder, strerror(errno));
    return EXIT_FAILED;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    benchmarks[chosen].run(&b);
    report_show(&b);
    fflush(stdout);
    _exit(b.plot ? report_plot(&b) : EXIT_MEASURED);
  }
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, pass_on);
  return child < 0 ? EXIT_FAILED : wait_and_remove(b.folder);
}
