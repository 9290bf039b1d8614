/* group.h - one write transaction out of a run of works, and what it changes in memory once it is durable.
 *
 * group_write builds and commits; it changes nothing in memory that a failure would have to take back.
 * group_publish does the rest: durable versions, shorter indexes, points of snapshots that are gone.
 * Thread: the flusher.
 */
#ifndef PAGESTORE_GROUP_H
#define PAGESTORE_GROUP_H

#include "store.h"

/* LMDB pages: free when a transaction began, about; and added to the file by it, since it found no others. */
typedef struct { uint64_t pages_free, pages_added; } free_room;

typedef struct group_core {
  core *core;
  state *counts;          /* after what was written so far in this group */
  uint64_t version, serial;
  line *line;             /* of that version; the work's */
  bool wrote, deleted;
  bool as_rows;           /* a snapshot of it is in this group: it relies on rows */
  void *user;
  log_line *log;          /* of `line` */
  log_line *left;         /* what a fork stood on: readers may still look at it */
  unflushed *replaced;    /* the core's index before this group was durable: readers may still look at it */
  /* the open segment: consecutive commits to be merged */
  work *first, *last;
  unflushed *changes;
} group_core;

typedef struct {
  pagestore_store *store;
  work *works;
  group_core *cores;
  uint32_t core_count, core_room;
  writer writer;
  packer packer;
  bool as_rows;           /* nothing to the log */
  bool merges;            /* pages of the log, in the same transaction: */
  uint64_t merge_pages;   /* so many are to be looked at, oldest first */
  uint64_t page_rows;     /* in the store, after it */
  free_room room;
  bool trash;             /* trash records were put: there is something to work off */
} group;

int group_write(group *);                    /* 0, or the status; nothing changed then */
void group_publish(group *);                 /* after 0 */
void group_tell(const group *);              /* on_durable, after group_publish */
void group_free(group *);

/* A slice of merging the log into page records, which looks at so many pages, in a transaction of its own. */
int group_merge(pagestore_store *, uint8_t *scratch, log_goal, uint64_t pages);

/* A transaction of nothing but the store record, so that the next one may use the pages that the last one freed. */
int group_age_free_pages(pagestore_store *);

/* One bounded step on rows that nobody needs, in a transaction of its own. `layers` have lost pins that kept
 * rows: they get trash records first. */
typedef struct {
  bool more;              /* come again */
  uint64_t pages_freed;   /* LMDB's */
  free_room room;
} trash_step_outcome;
int group_work_off_trash(pagestore_store *, const uint64_t *layers, uint32_t count, trash_step_outcome *);

#endif
