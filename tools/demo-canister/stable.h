/* stable.h - the canister's stable memory: the Internet Computer's four calls, and space within it.
 *
 *   offset 0     header, one block: where the trees are, how much is used, the free lists 4,096 ...
 *   nodes of 4,096 bytes and values in powers of two from 64 bytes, in the order in which they were
 *   needed
 *
 * Always true: everything that outlives a message is here, nothing in the heap is needed to read
 *              it; a freed piece begins with the offset of the next free one of its size. Any
 *              breach traps, and the host rolls the message back.
 * Thread:      one message at a time.
 */
#ifndef CANISTER_STABLE_H
#define CANISTER_STABLE_H

#include <stddef.h>
#include <stdint.h>

#define IC0(name) __attribute__((import_module("ic0"), import_name(#name)))
IC0(stable64_size) uint64_t ic0_stable64_size(void);                /* pages of 64 KiB */
IC0(stable64_grow) uint64_t ic0_stable64_grow(uint64_t more_pages); /* the old size, or -1 */
IC0(stable64_read) void ic0_stable64_read(uint64_t to, uint64_t offset, uint64_t bytes);
IC0(stable64_write) void ic0_stable64_write(uint64_t offset, uint64_t from, uint64_t bytes);

/* values of 64 bytes to 16 MiB */
enum { NODE_BYTES = 4096, CLASS_MIN = 6, CLASS_MAX = 24 };

typedef struct {
  uint64_t root;  /* offset of the root node; 0: the tree is empty */
  uint64_t count; /* entries */
} tree;

typedef struct {
  uint64_t magic;
  uint64_t version;    /* 1: names; 2: sections too */
  uint64_t used_bytes; /* all behind it was never used */
  uint64_t free_at[CLASS_MAX + 1];
  tree names, sections;
} header;
_Static_assert(sizeof(header) <= NODE_BYTES, "the header is one block");

extern header top; /* the header in the heap, for the length of one message */

void header_load(void); /* creates it in an empty memory */
void header_store(void);

void stable_get(void *to, uint64_t offset, uint64_t bytes);
void stable_put(uint64_t offset, const void *from, uint64_t bytes);
/* the power of two that holds so many; traps beyond the largest */
unsigned stable_class(uint64_t bytes);
uint64_t stable_take(unsigned size_class); /* its contents are undefined */
void stable_give(uint64_t offset, unsigned size_class);

#define REQUIRE(condition) ((condition) ? (void)0 : __builtin_trap())

#endif
