/* record.h - every change that the library and LMDB make to files, in order: the log.
 *
 * The program is linked with --wrap of each call that changes a file, so all of the library's and LMDB's calls come
 * by here. Between record_start and record_stop those below one directory, the root, are written down.
 *
 * Invariants:
 * - a WRITE stands in the log before the SYNC or DONE that makes it durable, in the order of the calls;
 * - a call that is not modelled (a shared writable mapping of a data file, ftruncate of one, copy_file_range ...) is
 *   a violation; so is a file that after all differs from what its log says (image_is_log);
 * - lock.mdb is LMDB's table of readers, rebuilt at each first open: its bytes are not recorded, its entry is.
 *
 * Thread: the wrapped calls and the marks from any; start, stop, hold and release from one.
 */
#ifndef CRASHSIM_RECORD_H
#define CRASHSIM_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  EVENT_WRITE,  /* bytes of `file`, pending from here on */
  EVENT_DONE,   /* the O_DSYNC write `write` returned: it is durable */
  EVENT_SYNC,   /* fsync or fdatasync of `file` returned: what was pending of it before is durable */
  EVENT_MAKE,   /* entry `name` of `directory` is `file`, which is new */
  EVENT_RENAME, /* entry `name` of `directory` is `to_name` of `to_directory` now */
  EVENT_REMOVE, /* entry `name` of `directory` is gone */
  EVENT_BEGIN,  /* the host is about to seal `seal` */
  EVENT_ACK,    /* the library has said that `seal` is durable */
} event_kind;

typedef struct {
  event_kind kind;
  bool at_once; /* WRITE: through O_DSYNC */
  uint32_t file, directory, to_directory;
  uint64_t offset, size;
  uint8_t *bytes; /* WRITE: NULL in a brief log */
  uint64_t write, seal;
  char name[64], to_name[64];
} event;

/* A file or directory below the root; the root is number 0. */
typedef struct {
  uint64_t inode; /* 0: removed */
  bool is_directory, is_lock;
  char path[160];   /* below the root, as of now; "" for the root */
  uint8_t *initial; /* its bytes at record_start; NULL: it was not there, or is not recorded */
  uint64_t initial_bytes;
} record_file;

typedef struct {
  uint32_t directory, file;
  char name[64];
} record_name;

enum { RECORD_FILES_MAX = 64 };

typedef struct {
  char root[160];
  bool brief; /* where writes went, not what was written: to know what to put back */
  event *events;
  uint64_t count, room;
  record_file file[RECORD_FILES_MAX];
  uint32_t files;
  record_name initial[RECORD_FILES_MAX]; /* the names at record_start: a file may have two */
  uint32_t initial_count;
} record_log;

/* Takes down what is below the root (unless brief: then only names), and records from then on. */
void record_start(record_log *, const char *root, bool brief);
void record_stop(void);
void record_free(record_log *);
void record_mark(event_kind, uint64_t seal); /* BEGIN or ACK; nothing when nothing is recorded */

/* From hold to release whoever syncs a recorded data file waits, so that commits gather behind it. */
void record_hold(void);
void record_release(void);

#endif
