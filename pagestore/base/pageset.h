/* pageset.h - a set of page indexes: add, remove, and walk in ascending order at a cost that follows the members.
 *
 * Two levels: a word per 64 pages and a summary bit per word, so a walk over a set of capacity N looks at
 * N / 4096 words plus the members' own. Memory is taken in pageset_resize only, lazily populated when large;
 * every other call is async-signal-safe and takes constant time (next: see above).
 *
 * Invariant: a summary bit is set if and only if its word is not zero; members < capacity.
 * Thread:    one at a time; the owner's rule.
 */
#ifndef PAGESTORE_BASE_PAGESET_H
#define PAGESTORE_BASE_PAGESET_H

#include <stdbool.h>
#include <stdint.h>

#define PAGESET_END UINT64_MAX

typedef struct {
  uint64_t *words;    /* capacity / 64, then the summary behind them in the same allocation */
  uint64_t *summary;
  uint64_t capacity;  /* a multiple of 64, or 0 */
  uint64_t count;
} pageset;

int pageset_resize(pageset *, uint64_t capacity);  /* 0 or PAGESTORE_ENOMEM (set unchanged). Members beyond go */
void pageset_free(pageset *);
bool pageset_add(pageset *, uint64_t page);        /* false: was a member already */
bool pageset_remove(pageset *, uint64_t page);     /* false: was none */
bool pageset_has(const pageset *, uint64_t page);  /* false also beyond capacity */
uint64_t pageset_next(const pageset *, uint64_t from);  /* first member >= from, or PAGESET_END */
void pageset_clear(pageset *);                     /* cost follows the members */
bool pageset_is_valid(const pageset *);            /* walks: for ASSERT_FULL and tests */

#endif
