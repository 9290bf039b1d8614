/* free_pages.c - see free_pages.h. */
#include "storage/free_pages.h"

#include <stdbool.h>
#include <stdlib.h>

#include <pagestore.h>

#include "base/units.h"

int free_pages_new(uint64_t pages, free_pages *out) {
  uint64_t *bits = calloc(pages / 64 + 1, sizeof *bits);
  if (!bits) return PAGESTORE_ENOMEM;
  *out = (free_pages){bits, pages, 0};
  return 0;
}

void free_pages_free(free_pages *f) {
  free(f->bits);
  f->bits = NULL;
}

void free_pages_add(free_pages *f, uint64_t page) {
  if (page >= f->pages) return;
  uint64_t bit = 1ull << page % 64;
  f->count += !(f->bits[page / 64] & bit);
  f->bits[page / 64] |= bit;
}

uint64_t free_pages_largest_run(const free_pages *f) {
  uint64_t largest = 0, run = 0;
  for (uint64_t page = 0; page < f->pages; page++) {
    if (page % 64 == 0 && f->bits[page / 64] == 0) {
      run = 0;
      page += 63;
      continue;
    }
    run = f->bits[page / 64] >> page % 64 & 1 ? run + 1 : 0;
    largest = max_u64(largest, run);
  }
  return largest;
}
