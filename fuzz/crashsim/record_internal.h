/* record_internal.h - between the wrapped calls (wraps.c) and the log (record.c).
 *
 * A wrapped call that may change a file below the root takes the log's lock, does the real call, appends what it did
 * and lets go: so the order of the log is the order of the calls.
 */
#ifndef CRASHSIM_RECORD_INTERNAL_H
#define CRASHSIM_RECORD_INTERNAL_H

#include "record.h"

enum { NOT_RECORDED = -1 };

bool record_enter(void); /* false: nothing is recorded; true: the lock is held */
void record_leave(void);

int record_file_of(int fd); /* the number, or NOT_RECORDED */
bool record_is_at_once(int fd);
void record_opened(int fd, int flags);
void record_closed(int fd);

void record_wrote(int fd, uint64_t offset, const void *bytes, uint64_t size);
void record_synced(int file);
void record_wait_while_held(int file); /* the lock is held, and let go of in between */

/* An entry, found by its directory and name before it changes. file NOT_RECORDED: not below the root, or not there. */
typedef struct {
  int directory, file;
  bool is_last;
  char name[64];
} record_entry; /* is_last: the file has no other name */
record_entry record_entry_at(int dirfd, const char *path);
void record_made(int dirfd, const char *path);
void record_removed(const record_entry *);
void record_renamed(const record_entry *from, int dirfd, const char *to);

void record_unmodelled(const char *call, int file);

#endif
