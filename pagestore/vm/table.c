/* table.c - see the header. Searches are counted; an array that was replaced waits in `retired` until a replacement
 * finds the count at zero. Sequentially consistent on purpose: a search counts itself and then reads the pointer, a
 * replacement writes the pointer and then reads the count, so one of the two sees the other.
 *
 * One exception to "never edited": where a removal finds no memory for the smaller array it clears the entry's region,
 * a single atomic store; the next replacement leaves such dead entries out.
 */
#include "vm/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <pagestore.h>

#include "base/check.h"

typedef struct {
  uintptr_t start, end;
  _Atomic(region *) region; /* NULL: dead */
} entry;

typedef struct array {
  struct array *retired_next;
  size_t count;
  entry entries[];
} array;

static _Atomic(array *) current;
static _Atomic unsigned searches;
static array *retired;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Number of entries that start at or before the address. */
static size_t rank(const array *a, uintptr_t address) {
  size_t low = 0, high = a == NULL ? 0 : a->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (a->entries[middle].start <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

static void free_retired(void) {
  if (atomic_load(&searches) != 0) return;
  while (retired != NULL) {
    array *next = retired->retired_next;
    free(retired);
    retired = next;
  }
}

static void replace(array *next) {
  array *old = atomic_load(&current);
  atomic_store(&current, next);
  if (old != NULL) {
    old->retired_next = retired;
    retired = old;
  }
  free_retired();
}

static void append(array *to, uintptr_t start, uintptr_t end, region *r) {
  ASSERT(start < end && (to->count == 0 || to->entries[to->count - 1].end <= start));
  entry *e = &to->entries[to->count++];
  e->start = start;
  e->end = end;
  atomic_init(&e->region, r);
}

/* The living entries but the one that starts at `start`, and in its place [start, end) where r is not NULL. */
static array *rebuilt(uintptr_t start, uintptr_t end, region *r) {
  const array *old = atomic_load(&current);
  size_t count = old == NULL ? 0 : old->count;
  array *next = malloc(sizeof *next + (count + 1) * sizeof(entry));
  if (next == NULL) return NULL;
  next->count = 0;
  bool is_placed = r == NULL;
  for (size_t i = 0; i < count; i++) {
    const entry *e = &old->entries[i];
    region *living = atomic_load(&e->region);
    if (living == NULL || e->start == start) continue;
    if (!is_placed && e->start > start) {
      append(next, start, end, r);
      is_placed = true;
    }
    append(next, e->start, e->end, living);
  }
  if (!is_placed) append(next, start, end, r);
  return next;
}

static int put(uintptr_t start, uintptr_t end, region *r) {
  pthread_mutex_lock(&lock);
  array *next = rebuilt(start, end, r);
  if (next != NULL) replace(next);
  pthread_mutex_unlock(&lock);
  return next == NULL ? PAGESTORE_ENOMEM : PAGESTORE_OK;
}

int table_add(uintptr_t start, uintptr_t end, region *r) { return put(start, end, r); }
int table_widen(uintptr_t start, uintptr_t end, region *r) { return put(start, end, r); }

void table_remove(uintptr_t start) {
  if (put(start, start, NULL) == PAGESTORE_OK) return;
  pthread_mutex_lock(&lock);
  array *a = atomic_load(&current);
  size_t at = rank(a, start);
  if (at != 0 && a->entries[at - 1].start == start) atomic_store(&a->entries[at - 1].region, NULL);
  pthread_mutex_unlock(&lock);
}

region *table_find(uintptr_t address) {
  region *found = NULL;
  atomic_fetch_add(&searches, 1);
  array *a = atomic_load(&current);
  size_t at = rank(a, address);
  if (at != 0 && address < a->entries[at - 1].end) found = atomic_load(&a->entries[at - 1].region);
  atomic_fetch_sub(&searches, 1);
  return found;
}

/* The child has none of the regions, and none of the threads that may have held the lock or been searching. */
void table_after_fork(void) {
  pthread_mutex_init(&lock, NULL);
  atomic_store(&searches, 0);
  replace(NULL);
}
