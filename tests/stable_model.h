/* stable_model.h - what the stable-memory calls should do: a heap and a stable memory as plain arrays, and the counts.
 *
 * The arrays are as large as the memories may become, and as sparse. Nothing here calls the library.
 * Thread: one.
 */
#ifndef PAGESTORE_TESTS_STABLE_MODEL_H
#define PAGESTORE_TESTS_STABLE_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <pagestore/stable.h>

enum { MODEL_ACCESSED = 1, MODEL_DIRTIED = 2 };

/* Both memories as they are, and as they were at the last boundary. */
typedef struct {
  uint64_t heap_bytes, max_pages;
  uint8_t *heap, *stable, *committed_heap, *committed;
  uint64_t pages, committed_pages;
  uint64_t accessed_limit, dirtied_limit;
  uint8_t *touched; /* of each block, in this message */
  uint64_t *list, listed, listed_room, accessed, dirtied;
} model;

static inline uint8_t *model_sparse(uint64_t bytes) {
  uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) abort();
  return at;
}

static inline void model_open(model *m, uint64_t heap_pages, uint64_t max_pages) {
  *m = (model){.heap_bytes = heap_pages * PAGESTORE_PAGE, .max_pages = max_pages};
  m->heap = model_sparse(m->heap_bytes);
  m->committed_heap = model_sparse(m->heap_bytes);
  m->stable = model_sparse(max_pages * PAGESTORE_PAGE);
  m->committed = model_sparse(max_pages * PAGESTORE_PAGE);
  m->touched = model_sparse(max_pages * 16);
}

static inline void model_close(model *m) {
  munmap(m->heap, m->heap_bytes);
  munmap(m->committed_heap, m->heap_bytes);
  munmap(m->stable, m->max_pages * PAGESTORE_PAGE);
  munmap(m->committed, m->max_pages * PAGESTORE_PAGE);
  munmap(m->touched, m->max_pages * 16);
  free(m->list);
}

static inline void model_touch(model *m, uint64_t block, uint8_t how) {
  uint8_t more = how & (uint8_t)~m->touched[block];
  if (!m->touched[block]) {
    if (m->listed == m->listed_room) {
      m->listed_room = m->listed_room * 2 + 64;
      m->list = realloc(m->list, m->listed_room * sizeof *m->list);
      if (!m->list) abort();
    }
    m->list[m->listed++] = block;
  }
  m->accessed += (more & MODEL_ACCESSED) != 0;
  m->dirtied += (more & MODEL_DIRTIED) != 0;
  m->touched[block] |= how;
}

static inline int model_limits(const model *m, uint64_t first, uint64_t last, uint8_t how) {
  uint64_t accessed = m->accessed, dirtied = m->dirtied;
  for (uint64_t block = first; block <= last; block++) {
    accessed += !(m->touched[block] & MODEL_ACCESSED);
    dirtied += how & MODEL_DIRTIED && !(m->touched[block] & MODEL_DIRTIED);
  }
  if (m->accessed_limit && accessed > m->accessed_limit) return PAGESTORE_STABLE_ACCESSED;
  return m->dirtied_limit && dirtied > m->dirtied_limit ? PAGESTORE_STABLE_DIRTIED : 0;
}

/* A read or write of the 64-bit calls, or of the 32-bit ones (`small`): the trap, and what it does. */
typedef struct {
  uint64_t address, offset, bytes;
  bool write, small;
} model_copy;

static inline int model_run(model *m, model_copy c) {
  uint64_t size = m->pages * PAGESTORE_PAGE;
  if (c.bytes == 0) return 0;
  if (c.small && m->pages > 65536) return PAGESTORE_STABLE_LARGE;
  if (c.offset > size || c.bytes > size - c.offset) return PAGESTORE_STABLE_BOUNDS;
  if (c.address > m->heap_bytes || c.bytes > m->heap_bytes - c.address) return PAGESTORE_STABLE_HEAP;
  uint64_t first = c.offset / 4096, last = (c.offset + c.bytes - 1) / 4096;
  uint8_t how = c.write ? MODEL_ACCESSED | MODEL_DIRTIED : MODEL_ACCESSED;
  int trap = model_limits(m, first, last, how);
  if (trap) return trap;
  for (uint64_t block = first; block <= last; block++) model_touch(m, block, how);
  if (c.write) memcpy(m->stable + c.offset, m->heap + c.address, c.bytes);
  else memcpy(m->heap + c.address, m->stable + c.offset, c.bytes);
  return 0;
}

/* The old size, UINT64_MAX for -1 (UINT32_MAX of the 32-bit call). */
static inline int model_grow(model *m, uint64_t more, bool small, uint64_t *old) {
  uint64_t most = small && m->max_pages > 65536 ? 65536 : m->max_pages;
  if (small && m->pages > 65536) return PAGESTORE_STABLE_LARGE;
  bool fits = m->pages <= most && more <= most - m->pages;
  *old = fits ? m->pages : small ? UINT32_MAX : UINT64_MAX;
  if (fits) m->pages += more;
  return 0;
}

static inline void model_end(model *m, bool keep) {
  for (uint64_t i = 0; i < m->listed; i++) {
    uint64_t at = m->list[i] * 4096;
    if (keep) memcpy(m->committed + at, m->stable + at, 4096);
    else memcpy(m->stable + at, m->committed + at, 4096);
    m->touched[m->list[i]] = 0;
  }
  if (keep) memcpy(m->committed_heap, m->heap, m->heap_bytes);
  else memcpy(m->heap, m->committed_heap, m->heap_bytes);
  if (keep) m->committed_pages = m->pages;
  else m->pages = m->committed_pages;
  m->listed = m->accessed = m->dirtied = 0;
}

#endif
