/* look.h - opening what a command looks at: the store of its first operand for reading, views of
 * its instances.
 *
 * LMDB believes its tree pages, so they are all checked before it sees them, unless the option
 * `trust` says not to.
 *
 * Failures have been complained about, with what to do next, when these return; the value is then
 * an exit code. Thread: the program's.
 */
#ifndef PROGRAM_LOOK_H
#define PROGRAM_LOOK_H

#include <pagestore.h>

#include "command.h"

int look_open(const invocation *, pagestore_store **);
int look_open_failed(int status); /* EXIT_FAILED, or EXIT_FOUND for damage */
/* snapshot NULL: the present. */
int look_view(pagestore_store *, const char *instance, const char *snapshot,
              pagestore_instance **view);
int look_failed(
    int status); /* a walk over an instance failed. EXIT_FAILED, or EXIT_FOUND for damage */

#endif
