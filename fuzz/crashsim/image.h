/* image.h - a directory that holds what a crash may have left: one crash state after another, with only the
 * differences written.
 *
 * A crash state is a choice among what is pending on a disk (disk.h): which pieces of which writes, which names,
 * which size.
 *
 * Invariant: `dirty` has each 4 KiB of the data file that may differ from the disk's durable bytes; without `intact`
 *            nothing is known and the next state is built anew.
 * Thread:    one. Nothing is recorded while these run.
 */
#ifndef CRASHSIM_IMAGE_H
#define CRASHSIM_IMAGE_H

#include "disk.h"

/* A piece of a pending write: never more than one unit of 4 KiB, or one sector, of the file. */
typedef struct {
  uint64_t event, offset;
  uint32_t size;
} piece;

typedef enum {
  SIZE_AS_WRITTEN,
  SIZE_OLD,
  SIZE_NEW
} size_choice; /* pieces behind the old size are lost; holes are zeros */
typedef enum { LOCK_AS_IT_IS, LOCK_NONE, LOCK_EMPTY, LOCK_GARBAGE, LOCK_CHOICES } lock_choice;

typedef struct {
  const piece *pieces;
  uint32_t count;
  const uint64_t *kept; /* a bit per piece */
  size_choice size;
  uint64_t entries; /* a bit per pending name, in their order */
  lock_choice lock;
} crash_state;

typedef struct {
  char root[400];
  bool intact;
  disk_tree tree; /* what is there */
  int data;       /* the only data file, which is the store's; -1: built anew each time */
  int fd;
  uint8_t *map;
  uint64_t size;
  uint64_t *dirty;
} image;

#define IMAGE_BYTES_MAX (64ull << 20)

void image_begin(image *, const char *root); /* makes the directory */
void image_set(image *, disk *, const crash_state *);
void image_wrote(image *, const record_log *); /* a brief log of what the library did to it since */
void image_end(image *);                       /* removes the directory */
void image_leave(image *);                     /* the directory stays */

uint32_t image_entries(const disk *); /* how many pending names there are to choose from */
void image_copy(const char *from, const char *to);
/* Whether the recorded files are, byte for byte, what all of the log together makes: then nothing went by unrecorded.
 * */
bool image_is_log(const record_log *, const char *root);

void remove_all(const char *path);

#endif
