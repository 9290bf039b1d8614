/* programs.h - the commands of the built pagestore program on a damaged store, each a process.
 *
 * A command may end with any of its exit codes; ended by a signal (an alarm after two minutes too), by another code or with a
 * sanitizer's report it crashes the caller.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_PROGRAMS_H
#define PAGESTORE_FUZZ_PROGRAMS_H

#include <stdbool.h>

/* On FOLDER/store; how many were run. `many`: it was made of BASE_MANY. */
unsigned programs_run(const char *folder, bool many);

#endif
