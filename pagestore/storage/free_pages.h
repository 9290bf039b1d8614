/* free_pages.h - LMDB's free list as a bitmap, to count it and to find its longest run.
 *
 * Invariant: page numbers are below `pages`; count is the number of set bits.
 * Thread:    one at a time. add is safe to jump out of.
 */
#ifndef PAGESTORE_STORAGE_FREE_PAGES_H
#define PAGESTORE_STORAGE_FREE_PAGES_H

#include <stdint.h>

typedef struct {
  uint64_t *bits;
  uint64_t pages, count;
} free_pages;

int free_pages_new(uint64_t pages, free_pages *);   /* ENOMEM */
void free_pages_free(free_pages *);
void free_pages_add(free_pages *, uint64_t page);   /* a number out of range or twice is left out */
uint64_t free_pages_largest_run(const free_pages *);

#endif
