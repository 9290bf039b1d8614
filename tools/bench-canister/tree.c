/* tree.c - a B-tree from u128 to u128 in the store, 11 entries a node at most: what insert_many fills.
 *
 *   offset 0   bytes taken      8  root      16  entries
 *   node: count (8), is_leaf (8), 11 keys (16 each), 11 values (16 each), 12 children (8 each)
 *
 * A node is read with all its keys and children before it is searched, its values once it is changed, and written
 * whole; each part by an access of its own of 8 or 16 bytes. So do the maps over stable memory that canisters use. On
 * the way to a hundred thousand entries an insert makes 93 reads and 27 writes.
 *
 * Invariants: keys ascend in a node and between its children; a node but the root has at least 5 entries; a full node
 * is split on the way down, so there is always room for one more. */
#include "store.h"

typedef struct {
  uint64_t low, high;
} u128;

enum {
  TAKEN = 0,
  ROOT = 8,
  ENTRIES = 16,
  FIRST_NODE = 64,
  ENTRIES_MAX = 11,
  MIDDLE = 5,
  COUNT_AT = 0,
  LEAF_AT = 8,
  KEYS_AT = 16,
  VALUES_AT = KEYS_AT + 16 * ENTRIES_MAX,
  CHILDREN_AT = VALUES_AT + 16 * ENTRIES_MAX,
  NODE_BYTES = CHILDREN_AT + 8 * (ENTRIES_MAX + 1)
};

typedef struct {
  uint64_t at, count, is_leaf;
  u128 keys[ENTRIES_MAX], values[ENTRIES_MAX];
  uint64_t children[ENTRIES_MAX + 1];
} node;

static void set(uint64_t at, u128 value) { store_write(at, &value, sizeof value); }

static int compare(u128 a, u128 b) {
  if (a.high != b.high) return a.high < b.high ? -1 : 1;
  return a.low < b.low ? -1 : a.low > b.low;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

static void load(node *n, uint64_t at) {
  n->at = at;
  n->count = store_u64(at + COUNT_AT);
  n->is_leaf = store_u64(at + LEAF_AT);
  for (uint64_t i = 0; i < n->count; i++) store_read(at + KEYS_AT + 16 * i, &n->keys[i], 16);
  for (uint64_t i = 0; i <= n->count && !n->is_leaf; i++) store_read(at + CHILDREN_AT + 8 * i, &n->children[i], 8);
}

static void load_values(node *n) {
  for (uint64_t i = 0; i < n->count; i++) store_read(n->at + VALUES_AT + 16 * i, &n->values[i], 16);
}

static void save(const node *n) {
  store_set_u64(n->at + COUNT_AT, n->count);
  store_set_u64(n->at + LEAF_AT, n->is_leaf);
  for (uint64_t i = 0; i < n->count; i++) store_write(n->at + KEYS_AT + 16 * i, &n->keys[i], 16);
  for (uint64_t i = 0; i < n->count; i++) store_write(n->at + VALUES_AT + 16 * i, &n->values[i], 16);
  for (uint64_t i = 0; i <= n->count && !n->is_leaf; i++) store_write(n->at + CHILDREN_AT + 8 * i, &n->children[i], 8);
}

static void make(node *n, uint64_t is_leaf) {
  n->at = store_u64(TAKEN);
  n->count = 0;
  n->is_leaf = is_leaf;
  store_reserve(n->at + NODE_BYTES);
  store_set_u64(TAKEN, n->at + NODE_BYTES);
}

/* ---- insertion --------------------------------------------------------------------------------------------------- */

static void put_at(node *n, uint64_t at, u128 key, u128 value) {
  for (uint64_t i = n->count; i > at; i--) {
    n->keys[i] = n->keys[i - 1];
    n->values[i] = n->values[i - 1];
  }
  n->keys[at] = key;
  n->values[at] = value;
  n->count++;
}

/* The full child number `at`, which is loaded, becomes two; its middle entry goes up. */
static void split(node *parent, uint64_t at, node *left) {
  node right;
  make(&right, left->is_leaf);
  load_values(left);
  load_values(parent);
  for (uint64_t i = MIDDLE + 1; i < ENTRIES_MAX; i++) put_at(&right, right.count, left->keys[i], left->values[i]);
  for (uint64_t i = MIDDLE + 1; i <= ENTRIES_MAX && !left->is_leaf; i++)
    right.children[i - MIDDLE - 1] = left->children[i];
  left->count = MIDDLE;
  for (uint64_t i = parent->count + 1; i > at + 1; i--) parent->children[i] = parent->children[i - 1];
  parent->children[at + 1] = right.at;
  put_at(parent, at, left->keys[MIDDLE], left->values[MIDDLE]);
  save(left);
  save(&right);
  save(parent);
}

/* First place whose key is not below. */
static uint64_t place_of(const node *n, u128 key) {
  uint64_t low = 0, high = n->count;
  while (low < high) {
    uint64_t middle = (low + high) / 2;
    if (compare(n->keys[middle], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

static void load_root_with_room(node *n) {
  load(n, store_u64(ROOT));
  if (n->count < ENTRIES_MAX) return;
  node old = *n;
  make(n, 0);
  n->children[0] = old.at;
  store_set_u64(ROOT, n->at);
  split(n, 0, &old);
}

static void insert(u128 key, u128 value) {
  node two[2], *n = &two[0], *child = &two[1];
  for (load_root_with_room(n);;) {
    uint64_t at = place_of(n, key);
    if (at < n->count && compare(n->keys[at], key) == 0) {
      set(n->at + VALUES_AT + 16 * at, value);
      return;
    }
    if (n->is_leaf) {
      load_values(n);
      put_at(n, at, key, value);
      save(n);
      store_set_u64(ENTRIES, store_u64(ENTRIES) + 1);
      return;
    }
    load(child, n->children[at]);
    if (child->count == ENTRIES_MAX) {
      split(n, at, child); /* its middle entry is at `at` now: look again here */
      continue;
    }
    node *parent = n;
    n = child;
    child = parent;
  }
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/* One message: `count` random entries; the number that the tree holds then. */
__attribute__((export_name("insert_many"))) uint64_t insert_many(uint64_t count, uint64_t seed) {
  if (seed == 0) {
    store_reserve(FIRST_NODE);
    store_set_u64(TAKEN, FIRST_NODE);
    store_set_u64(ENTRIES, 0);
    node root;
    make(&root, 1);
    save(&root);
    store_set_u64(ROOT, root.at);
  }
  for (uint64_t i = 0; i < count; i++) {
    uint64_t n = seed * count + i;
    insert((u128){mix(n), mix(~n)}, (u128){n, ~n});
  }
  return store_u64(ENTRIES);
}

static uint64_t walk(uint64_t at, uint64_t sum) {
  node n;
  load(&n, at);
  load_values(&n);
  for (uint64_t i = 0; i <= n.count; i++) {
    if (!n.is_leaf) sum = walk(n.children[i], sum);
    if (i < n.count) sum = sum * 31 + n.keys[i].low + n.keys[i].high * 7 + n.values[i].low;
  }
  return sum;
}

/* A number that depends on all entries and their order; not timed. */
__attribute__((export_name("tree_sum"))) uint64_t tree_sum(void) { return walk(store_u64(ROOT), 1); }
