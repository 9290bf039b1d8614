/* totals.c - see totals.h. */
#include "totals.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

totals_shared *totals;

void totals_begin(void) {
  totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (totals == MAP_FAILED) give_up("no shared memory");
}

void totals_print_sights(void) {
  static const char *const names[SAW_COUNT] = {"groups of several seals",
                                               "transactions of trash", "logs with trash half worked off",
                                               "commit_all",
                                               "snapshots",
                                               "drops",
                                               "restores",
                                               "forks",
                                               "upgrades",
                                               "deletions",
                                               "reopenings",
                                               "full maps",
                                               "logs with the deepest layers",
                                               "flushes into the log",
                                               "beginnings moved",
                                               "states with merged records",
                                               "and with some deleted",
                                               "logs emptied",
                                               "states without a store",
                                               "states at a moment behind the acknowledged one"};
  for (int s = 0; s < SAW_COUNT; s++)
    printf("%s%s %llu", s ? ", " : "seen: ", names[s], (unsigned long long)atomic_load(&totals->saw[s]));
  printf("\n");
}

void violation(const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (atomic_fetch_add(&totals->violations, 1) < VIOLATIONS_MAX) printf("VIOLATION %s: %s\n", totals->context, text);
  fflush(stdout);
}

void violation_context(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(totals->context, sizeof totals->context, format, arguments);
  va_end(arguments);
}

void give_up(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("crashsim: cannot go on: ", stdout);
  vprintf(format, arguments);
  fputs("\n", stdout);
  va_end(arguments);
  fflush(stdout);
  exit(2);
}
