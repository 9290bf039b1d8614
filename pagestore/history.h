/* history.h - which blocks of which pages each recent seal of an instance changed: so that moving a region between
 * versions costs what changed.
 *
 * Serials number the seals of an instance (a restore or a taken-back commit is one too). The history covers
 * the serials after `floor`; it forgets the oldest when it is full, and everything when it cannot get memory:
 * then whoever needs older ones drops all it holds.
 * Invariant: entries ascend in serial; none is <= floor.
 * Thread:    under the owner's lock.
 */
#ifndef PAGESTORE_HISTORY_H
#define PAGESTORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

enum { HISTORY_ENTRIES_MAX = 65536 };

typedef struct { uint64_t serial, page; uint32_t memory; uint16_t blocks; } history_entry;

typedef struct {
  history_entry *entries;
  uint32_t count, room;
  uint64_t floor;
} history;

void history_free(history *);
void history_add(history *, uint64_t serial, uint32_t memory, uint64_t page, uint16_t blocks);
/* All that is known goes: nothing up to and including serial can be told. */
void history_restart(history *, uint64_t serial);
bool history_covers(const history *, uint64_t after);
/* Calls for every page of the memory changed by a serial in (after, through]; a page may come more than once. */
void history_each(const history *, uint64_t after, uint64_t through, uint32_t memory,
                  void (*each)(void *env, uint64_t page, uint16_t blocks), void *env);
/* What (after, before] changed counts as changed by `serial` again: undoing and restoring. false: it is not
 * covered, history restarted. */
bool history_repeat(history *, uint64_t after, uint64_t before, uint64_t serial);

#endif
