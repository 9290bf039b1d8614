/* shadow.c - pages on demand. The contract is in shadow.h. */
#include "shadow.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "base/units.h"

int shadow_prepare(shadow *s, uint64_t page) {
  if (page >= s->capacity) {
    uint64_t capacity = max_u64(page + 1, s->capacity + s->capacity / 2);
    uint8_t **pages = calloc(capacity, sizeof *pages);
    if (!pages) return fail(PAGESTORE_ENOMEM, "no memory for a volatile memory: roll back, free some");
    if (s->capacity) memcpy(pages, s->pages, s->capacity * sizeof *pages);
    free(s->pages);
    s->pages = pages;
    s->capacity = capacity;
  }
  if (!s->pages[page] && !(s->pages[page] = calloc(1, PAGE_BYTES)))
    return fail(PAGESTORE_ENOMEM, "no memory for a volatile memory: roll back, free some");
  return 0;
}

void shadow_commit(shadow *s, uint64_t page, uint16_t blocks, const uint8_t *page_bytes) {
  ASSERT(page < s->capacity && s->pages[page]);
  for (unsigned block = 0; block < PAGE_BLOCKS; block++)
    if (blocks & (1u << block))
      memcpy(s->pages[page] + block * BLOCK_BYTES, page_bytes + block * BLOCK_BYTES, BLOCK_BYTES);
}

const uint8_t *shadow_page(const shadow *s, uint64_t page) {
  return page < s->capacity ? s->pages[page] : NULL;
}

void shadow_truncate(shadow *s, uint64_t pages) {
  for (uint64_t page = pages; page < s->capacity; page++) {
    free(s->pages[page]);
    s->pages[page] = NULL;
  }
}

void shadow_zero(shadow *s, uint64_t from) {
  for (uint64_t page = from; page < s->capacity; page++)
    if (s->pages[page]) memset(s->pages[page], 0, PAGE_BYTES);
}

void shadow_free(shadow *s) {
  shadow_truncate(s, 0);
  free(s->pages);
  *s = (shadow){0};
}
