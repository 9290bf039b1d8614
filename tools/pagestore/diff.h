/* diff.h - inside diff: two views and the runs of blocks in which they differ.
 *
 * Invariant: runs are of memories of `to`, by memory, ascending, never touching. Thread: the
 * program's.
 */
#ifndef PROGRAM_DIFF_H
#define PROGRAM_DIFF_H

#include <pagestore.h>

#include "hold.h"
#include "progress.h"
#include "report.h"

typedef struct {
  pagestore_memory *memory;
  uint64_t offset, length;
} run;

typedef struct {
  pagestore_instance *from, *to;
  run *runs;
  size_t run_count, run_room;
  hold hold;
  progress progress;        /* over the sizes of the memories of `to` */
  pagestore_memory *at;     /* the memory that is compared */
  uint64_t before;          /* the sizes of those before it */
  int stopped; /* why blocks were compared no further: complained about, or for want of memory */
} comparison;

/* A sheet of what differs besides blocks. *same becomes false if anything does. A status of the
 * library. */
int diff_state(comparison *, report *, bool *same);
/* The lines that differ, to stdout. `code`, or complained. */
int diff_hex(comparison *, int code);

#endif
