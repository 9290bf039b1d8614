/* change.h - what the commands that change a store have in common: opening it for writing, and asking before
 * something is lost.
 *
 * Failures have been complained about when these return; the value is then an exit code. Thread: the program's.
 */
#ifndef PROGRAM_CHANGE_H
#define PROGRAM_CHANGE_H

#include <pagestore.h>

#include "command.h"

/* The store of the first operand; its tree pages are walked first, unless the option `trust` says not to. */
int change_open(const invocation *, pagestore_store **);
/* The same, and made if it is not there. */
int change_open_or_make(const invocation *, const char *path, pagestore_store **);
int change_close(pagestore_store *, int code);
/* Says on stderr what is about to happen. EXIT_OK with the option `yes`, or if somebody at a terminal says y. */
int change_confirm(const invocation *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line on stdout about what was done; names in it are escaped. */
void change_done(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "1 snapshot", "2 snapshots": the word's ending. */
static inline const char *plural(uint64_t count) { return count == 1 ? "" : "s"; }

#endif
