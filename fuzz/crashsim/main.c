/* main.c - crashsim: shows that no crash, of the process or of the machine, can take what was acknowledged or leave
 * half of a commit.
 *
 *   record       workload.h runs a host on the shipped library; record.h writes down every change of a file
 *   prove        prove.h shows on that log that between two barriers nothing touches what the durable meta page reaches
 *   materialise  images.h builds disks as a crash may leave them, opens each with the library, compares, goes on, and
 *                cuts the recovery, too
 *
 * Exit status: 0 without a violation (and, with --mutants, with every mutant caught), 1 else, 2 where it could not
 * work.
 */
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dice.h"
#include "mutants.h"
#include "probes.h"
#include "run.h"
#include "totals.h"

/* Of the branch that breaks the library on purpose; without it there is nothing to run. */
#pragma weak mutants_run
#pragma weak probes_run

typedef struct {
  run_options run;
  bool mutants;
  double hours;
  const char *replay;
} arguments;

static const char usage[] =
    "usage: crashsim [--seed S] [--commits N] [--states M] [--mutants] [--hours H] [--keep DIR]\n"
    "       crashsim --replay DIR\n"
    "  --seed S     every choice comes from it (default: the time)\n"
    "  --commits N  commits in all workloads together (default 60)\n"
    "  --states M   crash states to materialise (default 10000)\n"
    "  --mutants    also run the simulator on broken libraries, each of which it must catch\n"
    "  --hours H    go on with new seeds for so long\n"
    "  --keep DIR   where failing states are left (default: TMPDIR or /tmp)\n"
    "  --replay DIR look at a failing state once more\n";

static uint64_t number(const char *text) {
  char *end;
  uint64_t value = strtoull(text, &end, 0);
  if (end == text || *end) {
    fprintf(stderr, "crashsim: '%s' is no number\n%s", text, usage);
    exit(2);
  }
  return value;
}

static arguments parse(int count, char **words) {
  static const struct option known[] = {{"seed", 1, NULL, 's'},   {"commits", 1, NULL, 'c'},
                                        {"states", 1, NULL, 'n'}, {"mutants", 0, NULL, 'm'},
                                        {"hours", 1, NULL, 'h'},  {"keep", 1, NULL, 'k'},
                                        {"replay", 1, NULL, 'r'}, {0}};
  arguments a = {.run = {.seed = (uint64_t)time(NULL), .commits = 60, .states = 10000}};
  for (int option; (option = getopt_long(count, words, "", known, NULL)) != -1;) {
    switch (option) {
    case 's': a.run.seed = number(optarg); break;
    case 'c': a.run.commits = number(optarg); break;
    case 'n': a.run.states = number(optarg); break;
    case 'm': a.mutants = true; break;
    case 'h': a.hours = strtod(optarg, NULL); break;
    case 'k': a.run.keep = optarg; break;
    case 'r': a.replay = optarg; break;
    default: fputs(usage, stderr), exit(2);
    }
  }
  if (optind < count) fputs(usage, stderr), exit(2);
  return a;
}

static void run_all(const arguments *a) {
  struct timespec from, now;
  run_options options = a->run;
  clock_gettime(CLOCK_MONOTONIC, &from);
  do {
    printf("seed %" PRIu64 "\n", options.seed);
    if (probes_run) probes_run(options.seed); /* first: crash states may find enough to stop, and then these would not be asked */
    run_seed(&options);
    options.seed = seed_of(options.seed, 1);
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while ((double)(now.tv_sec - from.tv_sec) < a->hours * 3600 && !violations());
}

static void print_totals(unsigned caught, unsigned mutants) {
  printf("crashsim: commits=%" PRIu64 " barriers=%" PRIu64 " proved=%" PRIu64 " states=%" PRIu64
         " recovery_states=%" PRIu64 " violations=%" PRIu64,
         atomic_load(&totals->commits), atomic_load(&totals->barriers), atomic_load(&totals->proved),
         atomic_load(&totals->states), atomic_load(&totals->recovery_states), violations());
  if (mutants) printf(" mutants_caught=%u/%u", caught, mutants);
  printf("\n");
}

int main(int count, char **words) {
  arguments a = parse(count, words);
  /* Opening a store takes two megabytes for its readers: from the heap, not from the kernel each time. */
  mallopt(M_MMAP_THRESHOLD, 1 << 28);
  mallopt(M_TRIM_THRESHOLD, 1 << 28);
  setvbuf(stdout, NULL, _IOLBF, 0);
  totals_begin();
  unsigned caught = 0, mutants = 0;
  if (a.replay) run_replay(a.replay);
  else run_all(&a);
  if (a.mutants && !mutants_run) give_up("this program was built without mutants");
  if (a.mutants) caught = mutants_run(words[0], a.run.seed, &mutants);
  if (!a.replay) totals_print_sights();
  print_totals(caught, mutants);
  return violations() || caught != mutants ? 1 : 0;
}
