/* choices.h - which crash states to look at, at one moment of the log: number 0, 1, 2 ... each a different one.
 *
 *   0           nothing of what is pending          1           everything
 *   then        one call's writes alone; all but those of one call
 *   then mixed  every prefix, every piece dropped, every piece alone, by 4 KiB and by sectors, in an order without
 *               repetition that the seed gives; every fourth one a random choice of some density
 *
 * The size, the names and the lock file go by the seed and the number. Thread: one.
 */
#ifndef CRASHSIM_CHOICES_H
#define CRASHSIM_CHOICES_H

#include "image.h"

enum { UNIT_BLOCK, UNIT_SECTOR, UNITS };

typedef struct {
  const disk *disk;
  uint64_t seed;
  piece *pieces[UNITS];
  uint32_t count[UNITS];
  uint64_t *kept;
  uint32_t calls, entries;
  uint64_t walk_first, walk_step, walk_count; /* through the prefixes, drops and keeps */
} choices;

void choices_begin(choices *, const disk *, uint64_t seed);
void choices_make(choices *, uint64_t number, crash_state *); /* good until the next */
void choices_end(choices *);

#endif
