/* tree.h - an ordered map from short keys to values, a B-tree that lives in stable memory.
 *
 *   node: [header][child 0 .. 13][entry 0 .. 12]        entry: the key, and where its value lies
 *
 * Invariants: keys ascend as bytes through the whole tree; every node but the root has 6 to 13
 *             entries; all leaves are equally deep; tree_check() walks it all and traps where one
 *             does not hold.
 * Thread:     one message at a time: nodes pass through a few buffers in the heap.
 */
#ifndef CANISTER_TREE_H
#define CANISTER_TREE_H

#include <stdbool.h>

#include "stable.h"

enum { KEY_MAX = 239, DEGREE = 7, ENTRY_MAX = 2 * DEGREE - 1 };

typedef struct {
  uint64_t value_at; /* 0 when there is none */
  uint32_t value_bytes;
  uint8_t key_bytes;
  uint8_t key[KEY_MAX];
  uint8_t unused[4];
} entry;
_Static_assert(sizeof(entry) == 256, "an entry has no hole that matters");

/* A key that is looked for; bytes beyond its length are not read. */
typedef struct {
  const uint8_t *at;
  uint32_t bytes;
} key;

bool tree_get(const tree *, key, entry *out);
bool tree_next(const tree *, key, entry *out); /* the smallest key above this one */
/* false: the key was there, its value is replaced */
bool tree_put(tree *, key, const void *value, uint32_t bytes);
bool tree_remove(tree *, key); /* false: the key was not there */
/* entries found; traps on a broken invariant */
uint64_t tree_check(const tree *);
void tree_value(const entry *, void *to);

#endif
