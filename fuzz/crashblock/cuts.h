/* cuts.h - what a power cut may leave on the disk: images made from the log.
 *
 *   ... write flush write write flush write write write | flush ...
 *       durable                   .     pending         cut
 *
 * Whatever was written before the last flush before the cut is on the disk; of what came after it, any 4 KiB blocks
 * may be, whether they were written early or late.
 *
 * Invariant: cuts are taken in ascending order.
 * Thread:    one.
 */
#ifndef PAGESTORE_FUZZ_CRASHBLOCK_CUTS_H
#define PAGESTORE_FUZZ_CRASHBLOCK_CUTS_H

#include "disk.h"
#include "fuzz/support/script.h"

typedef enum { CUT_NOTHING, CUT_EVERYTHING, CUT_PREFIX, CUT_RANDOM, CUT_DROP_ONE, CUT_KEEP_ONE, CUT_KINDS } cut_kind;
extern const char *const cut_name[CUT_KINDS];

typedef struct {
  const disk_log *log;
  const uint8_t *written; /* the file of written bytes, mapped */
  uint8_t *durable;       /* the disk as of the last flush before `next` */
  uint64_t size;
  uint64_t pending_first, next; /* events */
  bool ignores_flushes;         /* as if none had been: the proof that a lost flush is seen */
} cuts;

bool cuts_begin(cuts *, const disk_log *, int written_fd, const char *image, bool ignores_flushes);
void cuts_end(cuts *);
void cuts_move(cuts *, uint64_t event); /* the cut is just before this event */
uint64_t cuts_pending_blocks(const cuts *);
/* The disk after the cut, into `to` (size bytes). */
void cuts_make(const cuts *, cut_kind, script_dice *, uint8_t *to);

#endif
