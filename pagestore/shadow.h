/* shadow.h - the committed bytes of a VOLATILE memory: what its rollback goes back to. In memory only, by
 * pages, zeros not held.
 *
 * Invariant: a page that was never committed non-zero is NULL; pages beyond the capacity are zeros.
 * Thread:    the instance's rule; shadow_page also in a fault handler.
 */
#ifndef PAGESTORE_SHADOW_H
#define PAGESTORE_SHADOW_H

#include <stdint.h>

typedef struct { uint8_t **pages; uint64_t capacity; } shadow;

int shadow_prepare(shadow *, uint64_t page);   /* room to commit into it, so that the commit cannot fail. ENOMEM */
void shadow_commit(shadow *, uint64_t page, uint16_t blocks, const uint8_t *page_bytes);
const uint8_t *shadow_page(const shadow *, uint64_t page);   /* NULL: zeros */
void shadow_truncate(shadow *, uint64_t pages);              /* those beyond become zeros */
void shadow_zero(shadow *, uint64_t from);                   /* pages from there on become zeros, and stay prepared */
void shadow_free(shadow *);

#endif
