/* disk.h - what is certain to be on the disk at a moment of the log, and what is pending.
 *
 * `at` events have happened. Bytes are durable once a sync of their file, or their own O_DSYNC write, has returned;
 * entries once their directory was synced. Everything else is pending: after a crash any part of it may be there.
 *
 * A rename is two changes, one for each directory: the new name comes, the old one goes. The old one is never gone
 * without the new one being there; within one directory both happen or neither.
 *
 * Thread: one.
 */
#ifndef CRASHSIM_DISK_H
#define CRASHSIM_DISK_H

#include "chronicle.h"
#include "record.h"

enum { DISK_PAGE = 4096, DISK_ENTRIES_MAX = 64 };

typedef struct {
  uint32_t directory, file;
  char name[64];
} disk_entry;
typedef struct {
  disk_entry entry[DISK_ENTRIES_MAX];
  uint32_t count;
} disk_tree;

typedef enum { PENDING_WRITE, PENDING_COMES, PENDING_GOES } pending_kind;
typedef struct {
  pending_kind kind;
  uint64_t event;
} disk_pending;

typedef struct {
  uint8_t *bytes; /* NULL: a directory, or the lock file */
  uint64_t size, room;
  uint64_t *touched; /* a bit per 4 KiB that has become durable since the reader cleared it */
  int mirror;        /* a memory file with the same bytes, for the walker; -1: none */
} disk_file;

typedef struct {
  const record_log *log;
  uint64_t at;
  int64_t acknowledged, begun; /* seals */
  disk_file file[RECORD_FILES_MAX];
  disk_tree tree;
  disk_pending *pending; /* in the order of the log */
  uint32_t pending_count, pending_room;
} disk;

void disk_begin(disk *, const record_log *, bool mirrored, int64_t acknowledged, int64_t begun);
void disk_step(disk *);       /* one more event */
void disk_settle_all(disk *); /* as if everything pending had reached the disk */
void disk_end(disk *);

bool disk_has_pending(const disk *, uint32_t file, pending_kind);
void tree_apply(disk_tree *, const event *, pending_kind);              /* COMES or GOES */
int tree_find(const disk_tree *, uint32_t directory, const char *name); /* a file, or -1 */

#endif
