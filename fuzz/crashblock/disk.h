/* disk.h - a disk that remembers: one file in a FUSE file system of our own; each write and flush goes into a log.
 *
 * A process of its own serves it, one request after the other, so the log is the order in which the disk saw them.
 * The kernel waits for each write (no write-back cache), and an fsync of the file is what a loop device makes of a
 * flush.
 *
 * Invariant: event n has the ledger as it was when the event came: a power cut just before it finds no more on the
 *            disk than the events before it, and at least what was acknowledged by then has to be there.
 * Thread:    the log is written by the serving process alone; others read it once that process has ended.
 */
#ifndef PAGESTORE_FUZZ_CRASHBLOCK_DISK_H
#define PAGESTORE_FUZZ_CRASHBLOCK_DISK_H

#include <sys/types.h>

#include "fuzz/support/ledger.h"

typedef enum { DISK_WRITE, DISK_FLUSH, DISK_END } disk_kind;

typedef struct {
  disk_kind kind;
  uint64_t at, bytes; /* WRITE: on the disk */
  uint64_t data_at;   /* WRITE: in the file of written bytes */
  uint64_t acknowledged, begun;
  bool made;
} disk_event;

enum { DISK_EVENTS_MAX = 400000 };

typedef struct {
  _Atomic uint64_t count;   /* of events; the last one is END */
  _Atomic uint64_t written; /* bytes in the file of written bytes */
  _Atomic int failure;      /* errno: the log is not whole */
  disk_event event[DISK_EVENTS_MAX];
} disk_log;

disk_log *disk_log_new(void); /* shared memory. NULL: no memory */

/* Serves `folder`/disk, which begins as the image; returns once it is there, NULL, or why it is not. The process ends
 * when the folder is unmounted. */
const char *disk_serve(const char *folder, const char *image, int written_fd, disk_log *, const ledger *,
                       pid_t *server);

#endif
