/* stable.h - the Internet Computer's stable-memory calls over two open memories, the guest's heap and its stable memory.
 *
 *   pagestore_stable *calls;
 *   pagestore_stable_open(heap, stable, NULL, &calls);
 *   ...in the host's ic0.stable64_read:
 *   pagestore_stable_trap trap = pagestore_stable64_read(calls, to, offset, bytes);
 *   if (trap) ...end the guest's call as the engine's trap; the host rolls back
 *
 * Semantics, the same as there:
 * - sizes are pages of 64 KiB; a new page is zero; growth beyond the maximum is -1 and no trap;
 * - a read or write of no bytes does nothing and checks nothing, however far out its addresses are;
 * - offset and heap address plus length are checked against the sizes without wrapping; out of bounds is a trap, and
 *   nothing was copied;
 * - the four 32-bit calls trap when the memory has more than 65,536 pages (a read or write of no bytes does not), and
 *   stable_grow answers -1 rather than grow beyond that;
 * - a trap undoes the whole message, growth included: that is the host's pagestore_rollback.
 *
 * What they write is marked, so the stable memory may be PAGESTORE_EXPLICIT: no fault and no scan for it then. A
 * stored page that is damaged, or cannot be had for another reason, is a trap as well, in the heap too.
 *
 * Blocks of 4 KiB are counted, each once a message: accessed (read or written) and dirtied (written, also with the
 * same bytes). The counts do not depend on the tracker; what the guest or the host does without these calls is not in
 * them. A message ends at commit, rollback, and advance of a view; a commit that was refused is no end.
 *
 * Thread: one, as the instance handle. Never blocks, but for the disk where a page is loaded. */
#ifndef PAGESTORE_STABLE_H
#define PAGESTORE_STABLE_H

#include <pagestore.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pagestore_stable pagestore_stable;

/* From 201 on, so that they can stand beside an engine's own codes. */
typedef enum {
  PAGESTORE_STABLE_OK = 0,
  PAGESTORE_STABLE_BOUNDS = 201, /* offset + length is beyond the stable memory's size */
  PAGESTORE_STABLE_HEAP,         /* address + length is beyond the heap's size */
  PAGESTORE_STABLE_LARGE,        /* a 32-bit call on more than 65,536 pages */
  PAGESTORE_STABLE_ACCESSED,     /* the message would access more blocks than its limit */
  PAGESTORE_STABLE_DIRTIED,      /* the message would dirty more blocks than its limit */
  PAGESTORE_STABLE_PAGE,     /* a page cannot be had: damage, load limit, no memory; pagestore_detail() says which */
  PAGESTORE_STABLE_READONLY, /* writing or growing in a view that refuses it */
  PAGESTORE_STABLE_MEMORY    /* no memory to grow, or for the counts; pagestore_detail() says which */
} pagestore_stable_trap;
PAGESTORE_API const char *pagestore_stable_strerror(int trap); /* constant text. Thread: any */

typedef struct {
  size_t size;
  uint64_t accessed_limit, dirtied_limit; /* blocks of 4 KiB a message; the block beyond traps. 0: no limit */
} pagestore_stable_options;

/* Both memories of one instance handle, and not the same. heap NULL: it is not the library's, pagestore_stable_heap
 * tells where it is. To be closed before the instance. EINVAL ENOMEM. Thread: one */
PAGESTORE_API int pagestore_stable_open(pagestore_memory *heap, pagestore_memory *stable,
                                        const pagestore_stable_options *, pagestore_stable **);
PAGESTORE_API void pagestore_stable_close(pagestore_stable *); /* NULL is fine. Thread: one */
/* A heap that is not the library's: after each growth, and before the first read or write. Thread: one */
PAGESTORE_API void pagestore_stable_heap(pagestore_stable *, uint8_t *base, uint64_t bytes);
/* In this message so far. Thread: one */
PAGESTORE_API void pagestore_stable_counts(pagestore_stable *, uint64_t *accessed, uint64_t *dirtied);

/* Results through the last pointer, untouched at a trap; UINT64_MAX and UINT32_MAX are -1. Thread: one */
PAGESTORE_API pagestore_stable_trap pagestore_stable64_size(pagestore_stable *, uint64_t *pages);
PAGESTORE_API pagestore_stable_trap pagestore_stable64_grow(pagestore_stable *, uint64_t more_pages,
                                                            uint64_t *old_pages);
PAGESTORE_API pagestore_stable_trap pagestore_stable64_read(pagestore_stable *, uint64_t to, uint64_t offset,
                                                            uint64_t bytes);
PAGESTORE_API pagestore_stable_trap pagestore_stable64_write(pagestore_stable *, uint64_t offset, uint64_t from,
                                                             uint64_t bytes);
PAGESTORE_API pagestore_stable_trap pagestore_stable_size(pagestore_stable *, uint32_t *pages);
PAGESTORE_API pagestore_stable_trap pagestore_stable_grow(pagestore_stable *, uint32_t more_pages, uint32_t *old_pages);
PAGESTORE_API pagestore_stable_trap pagestore_stable_read(pagestore_stable *, uint32_t to, uint32_t offset,
                                                          uint32_t bytes);
PAGESTORE_API pagestore_stable_trap pagestore_stable_write(pagestore_stable *, uint32_t offset, uint32_t from,
                                                           uint32_t bytes);

#ifdef __cplusplus
}
#endif
#endif
