/* history.c - a sorted array that forgets its older half. The contract is in history.h. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void history_free(history *h) {
  free(h->entries);
  *h = (history){0};
}

void history_restart(history *h, uint64_t serial) {
  h->count = 0;
  h->floor = serial;
}

/* Half goes at a time, so that the moving costs little per entry; never a part of a serial. */
static void forget_oldest(history *h) {
  uint32_t keep_from = h->count / 2;
  uint64_t floor = h->entries[keep_from].serial;
  while (keep_from < h->count && h->entries[keep_from].serial <= floor) keep_from++;
  h->count -= keep_from;
  memmove(h->entries, h->entries + keep_from, h->count * sizeof *h->entries);
  h->floor = floor;
}

static bool make_room(history *h) {
  if (h->count < h->room) return true;
  if (h->room == HISTORY_ENTRIES_MAX) {
    forget_oldest(h);
    return true;
  }
  uint32_t room = h->room ? h->room * 2 : 32;
  history_entry *entries = realloc(h->entries, room * sizeof *entries);
  if (!entries) return false;
  h->entries = entries;
  h->room = room;
  return true;
}

void history_add(history *h, uint64_t serial, uint32_t memory, uint64_t page, uint16_t blocks) {
  ASSERT(h->count == 0 || h->entries[h->count - 1].serial <= serial);
  if (serial <= h->floor) return;
  if (!make_room(h)) {
    history_restart(h, serial);
    return;
  }
  if (serial <= h->floor) return;  /* one serial alone filled the room: it is not covered */
  h->entries[h->count++] = (history_entry){ .serial = serial, .page = page, .memory = memory, .blocks = blocks };
}

bool history_covers(const history *h, uint64_t after) { return after >= h->floor; }

static uint32_t first_after(const history *h, uint64_t serial) {
  uint32_t low = 0, high = h->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (h->entries[middle].serial <= serial) low = middle + 1;
    else high = middle;
  }
  return low;
}

void history_each(const history *h, uint64_t after, uint64_t through, uint32_t memory,
                  void (*each)(void *env, uint64_t page, uint16_t blocks), void *env) {
  ASSERT(history_covers(h, after));
  for (uint32_t i = first_after(h, after); i < h->count && h->entries[i].serial <= through; i++)
    if (h->entries[i].memory == memory) each(env, h->entries[i].page, h->entries[i].blocks);
}

static int by_page(const void *a, const void *b) {
  const history_entry *x = a, *y = b;
  if (x->memory != y->memory) return x->memory < y->memory ? -1 : 1;
  return x->page < y->page ? -1 : x->page > y->page;
}

/* The entries from `first` on are of one serial: each page once. */
static void drop_doubles(history *h, uint32_t first) {
  uint32_t kept = first;
  qsort(h->entries + first, h->count - first, sizeof *h->entries, by_page);
  for (uint32_t i = first; i < h->count; i++) {
    if (i == first || by_page(&h->entries[i], &h->entries[kept - 1]) != 0) h->entries[kept++] = h->entries[i];
    else h->entries[kept - 1].blocks |= h->entries[i].blocks;
  }
  h->count = kept;
}

bool history_repeat(history *h, uint64_t after, uint64_t before, uint64_t serial) {
  if (!history_covers(h, after) || h->count > HISTORY_ENTRIES_MAX / 2) {
    history_restart(h, serial);
    return false;
  }
  uint32_t end = first_after(h, before), count = h->count;
  for (uint32_t i = first_after(h, after); i < end; i++) {
    history_entry entry = h->entries[i];
    history_add(h, serial, entry.memory, entry.page, entry.blocks);
    if (serial <= h->floor) return false;
  }
  if (h->count > count) drop_doubles(h, count);
  return true;
}
