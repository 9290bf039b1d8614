/* look.h - all that the tools do with a store, in one process: open it with `verify`, list, measure, read every page, compare.
 *
 * Any call may refuse; it then has a text. Counts say how far it came.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_LOOK_H
#define PAGESTORE_FUZZ_LOOK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  uint64_t opened, views, pages, damaged, diffs, commits;
} look_counts;

void look_read(const char *path, look_counts *); /* ls, stat, log, dump, diff */
/* Opened for writing, with `verify`: a message on each instance, a snapshot, a restore, a fork, trash; and read again. */
void look_write(const char *path, look_counts *);

#endif
