/* flusher_trash.c - when storage that was dropped is given back: as its room is needed.
 *
 * All at once it would fill LMDB's free list. A commit takes the oldest free pages first, so what commits free
 * themselves would be left lying until nothing but holes is left, which every transaction reads and writes. So the
 * rest of it waits while 64 MiB are free, unless
 * - the file has grown meanwhile: the free pages are holes; so much is given back as it has grown by;
 * - a group found no room, or somebody waits for all of it (drain);
 * - a layer has lost its last pin: its record has to be put.
 *
 * Thread: who has the role; where it says so, under store->lock.
 */
#include <string.h>

#include "base/check.h"
#include "flusher_inside.h"
#include "group.h"

enum {
  TRASH_EVERY_GROUPS = 8,    /* how often trash gets a turn while commits keep coming */
  FREE_PAGES_ENOUGH = 16384, /* LMDB pages: as much as the largest group */
  ROOM_OWED_MIN = 2176,      /* LMDB pages, a step's worth: then trash gets every other turn */
  GIVE_BACK_STEPS = 32,      /* 256 MiB, for a group that has no room */
};

static uint32_t take_orphans(flusher *f, uint64_t layers[ORPHANS_MAX]) {
  pthread_mutex_lock(&f->orphans_lock);
  uint32_t count = f->orphan_count;
  memcpy(layers, f->orphans, count * sizeof *layers);
  f->orphan_count = 0;
  pthread_mutex_unlock(&f->orphans_lock);
  return count;
}

bool flusher_has_orphans(flusher *f) {
  pthread_mutex_lock(&f->orphans_lock);
  bool has = f->orphan_count > 0;
  pthread_mutex_unlock(&f->orphans_lock);
  return has;
}

void flusher_orphaned(void *store, uint64_t layer) {
  flusher *f = ((pagestore_store *)store)->flusher;
  if (!f) return;
  pthread_mutex_lock(&f->orphans_lock);
  /* With no room left the rows wait for the next write of their page, or the next such pass. */
  if (f->orphan_count < ORPHANS_MAX) f->orphans[f->orphan_count++] = layer;
  pthread_mutex_unlock(&f->orphans_lock);
  pthread_cond_signal(&f->wake);
}

void flusher_want_trash(flusher *f) {
  pthread_mutex_lock(&f->store->lock);
  f->trash = true;
  pthread_mutex_unlock(&f->store->lock);
}

/* Where the file has grown, trash is wanted that would have had the room. */
void flusher_note_room(flusher *f, free_room room) {
  pthread_mutex_lock(&f->store->lock);
  f->pages_free = room.pages_free;
  f->room_owed = f->trash ? f->room_owed + room.pages_added : 0;
  pthread_mutex_unlock(&f->store->lock);
}

int flusher_work_off_trash(flusher *f) {
  trash_step_outcome outcome;
  uint64_t orphans[ORPHANS_MAX];
  uint32_t count = take_orphans(f, orphans);
  int status = group_work_off_trash(f->store, orphans, count, &outcome);
  f->freed = true;
  pthread_mutex_lock(&f->store->lock);
  f->trash = status == 0 && outcome.more;
  f->trash_ends += !f->trash;
  f->pages_free = outcome.room.pages_free + outcome.pages_freed;
  f->trash_freed += outcome.pages_freed;
  f->room_owed -= min_u64(f->room_owed, outcome.pages_freed);
  pthread_mutex_unlock(&f->store->lock);
  return status;
}

/* What was kept back is wanted: as much as a group may need, and the pages that aging takes. Whether there was any. */
bool flusher_give_back(flusher *f) {
  uint64_t before = f->trash_freed;
  for (int step = 0; step < GIVE_BACK_STEPS; step++) {
    pthread_mutex_lock(&f->store->lock);
    bool more = f->trash && !f->stopping;
    pthread_mutex_unlock(&f->store->lock);
    if (!more) break;
    if (flusher_work_off_trash(f) != 0) break;
  }
  return f->trash_freed != before;
}

/* Also while there is no room: it is what makes some. */
bool flusher_may_work_off_trash(flusher *f) {
  if (!f->trash || f->stopping || f->failure == PAGESTORE_EFAILED) return false;
  return f->pages_free < FREE_PAGES_ENOUGH || f->room_owed || f->failure || f->drain || flusher_has_orphans(f);
}

bool flusher_is_trash_next(const flusher *f) {
  bool is_urgent = f->failure || f->room_owed >= ROOM_OWED_MIN;
  return !has_works(f) || f->turn % (is_urgent ? 2 : TRASH_EVERY_GROUPS) == 0;
}
