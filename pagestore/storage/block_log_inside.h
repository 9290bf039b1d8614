/* block_log_inside.h - what block_log.c and block_log_drain.c share. Thread: the flusher, but for what has a lock. */
#ifndef PAGESTORE_STORAGE_BLOCK_LOG_INSIDE_H
#define PAGESTORE_STORAGE_BLOCK_LOG_INSIDE_H

#include <pthread.h>

#include "storage/block_log.h"

enum { LINE_BUCKETS = 4096 };

/* What a generation's merging has come to. */
typedef struct {
  uint64_t through;                /* its last sequence number; 0: none is being merged */
  log_line **lines;                /* those with blocks in it, a reference each */
  uint64_t count, current;
  uint64_t pages;                  /* in them, when it began */
  uint64_t room_blocks;            /* that may be logged meanwhile */
  uint64_t relocate_blocks;        /* that may go into the newest generation: half of this one, to be worth it */
  merge_at at;
} merging;

struct block_log {
  id128 store;
  pthread_mutex_t lock;            /* the table of lines, and their references to indexes */
  log_line *lines[LINE_BUCKETS];
  log_line *pending, *shown;       /* shown: with what they showed before, until block_log_settled */
  uint64_t sequence_next, budget_records;
  delta **records;                 /* the oldest first: a window of the array */
  uint64_t record_first, record_end, record_room;
  uint64_t *closed;                /* last sequence numbers of closed generations, the oldest first */
  uint64_t closed_count, closed_room;
  uint64_t doomed;                 /* sequence numbers up to here are to be deleted */
  log_addresses last;              /* of the last record, to be gone on with; count 0: it is not */
  /* the slice that is being built */
  merging merging;
  merge_at at_next;
  uint64_t current_next, relocate_next, deleted;
  bool merged_all;
};

/* Merges pages of a line, in runs up to `through`, from *at on: at most *pages, which counts down. */
int block_log_merge_line(block_log *, writer *, log_line *, uint64_t through, uint64_t *pages, merge_at *);

#endif
