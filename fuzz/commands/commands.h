/* commands.h - the commands of the pagestore program on a damaged store, each in a process of its own: a fork of this one with the
 * program linked in, or the built program.
 *
 * A command may end with any of its exit codes; ended by a signal (an alarm after two minutes too), by another code or with a
 * sanitizer's report it crashes the caller.
 *
 * Thread: one, and no other may run.
 */
#ifndef PAGESTORE_FUZZ_COMMANDS_H
#define PAGESTORE_FUZZ_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

typedef int (*commands_main)(int count, char **words);
typedef struct {
  uint64_t run, done, found, wrong, failed;
} command_counts; /* by exit code */

/* Those that the program knows. `many`: the store was made of BASE_MANY. NULL: the built program, ../tools/pagestore. */
void commands_run(const char *folder, bool many, commands_main linked, command_counts *);

#endif
