/* demo.c - the demo's host program: a package database kept by a Wasm module in durable memory.
 *
 *   demo-host --store DIR [--quiet] [FILE]      exit status 0: everything shown was as it must be
 *   demo-host --feeder FD --store DIR FILE      the process that is killed; the demo starts it
 *   itself
 *
 * See stages.h for what happens, guest.h for how a host runs a module, tools/demo for the script
 * around it.
 */
#include "stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(void) {
  fprintf(stderr, "usage: demo-host --store DIR [--quiet] [FILE]\n");
  return 2;
}

static int run(demo *d) {
  static int (*const stages[])(demo *) = {stage_prepare,   stage_crash,     stage_resume,
                                          stage_feed_rest, stage_trap,      stage_upgrade,
                                          stage_snapshot,  stage_fork_ways, stage_finish};
  for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
    if (stages[i](d)) return 1;
  return 0;
}

int main(int argc, char **argv) {
  static demo d = {.input = "/var/lib/dpkg/status",
                   .self = "/proc/self/exe",
                   .shows_progress = true};
  int feeder = -1;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--store") == 0 && i + 1 < argc) d.path = argv[++i];
    else if (strcmp(argv[i], "--feeder") == 0 && i + 1 < argc) feeder = atoi(argv[++i]);
    else if (strcmp(argv[i], "--quiet") == 0) d.shows_progress = false;
    else if (argv[i][0] != '-') d.input = argv[i];
    else return usage();
  }
  if (!d.path) return usage();
  if (!isatty(STDERR_FILENO) || !isatty(STDOUT_FILENO)) d.shows_progress = false;
  if (!records_read(d.input, &d.file, &d.input_bytes)) return 1;
  return feeder >= 0 ? stage_feed_half(&d, feeder) : run(&d);
}
