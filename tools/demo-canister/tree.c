/* tree.c - see tree.h. Insertion splits full nodes on the way down and removal fills lean ones, so
 * neither comes back up. */
#include "tree.h"

typedef struct {
  uint64_t at; /* its own offset: a node read from the wrong place is found */
  uint32_t count;
  uint32_t is_leaf;
  uint64_t unused[6];
  uint64_t child[ENTRY_MAX + 1];
  entry entries[ENTRY_MAX];
} node;
_Static_assert(sizeof(node) <= NODE_BYTES, "a node is one block");

enum { NODE_CLASS = 12 };

/* One node, its child, and a sibling of that: what a step down needs. The heap is not the tree's
 * memory. */
static node buffers[3];

static void node_get(node *n, uint64_t at) {
  stable_get(n, at, sizeof *n);
  REQUIRE(n->at == at && n->count <= ENTRY_MAX);
}

static void node_put(const node *n) { stable_put(n->at, n, sizeof *n); }

static void node_new(node *n, bool is_leaf) {
  *n = (node){.at = stable_take(NODE_CLASS), .is_leaf = is_leaf};
}

static void move_entries(entry *to, const entry *from, uint32_t count) {
  __builtin_memmove(to, from, count * sizeof *to);
}
static void move_children(uint64_t *to, const uint64_t *from, uint32_t count) {
  __builtin_memmove(to, from, count * sizeof *to);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int compare(key a, const entry *b) {
  uint32_t shorter = a.bytes < b->key_bytes ? a.bytes : b->key_bytes;
  for (uint32_t i = 0; i < shorter; i++)
    if (a.at[i] != b->key[i]) return a.at[i] < b->key[i] ? -1 : 1;
  return (a.bytes > b->key_bytes) - (a.bytes < b->key_bytes);
}

/* The first entry that is not below the key; *is_here: it is the key. */
static uint32_t search(const node *n, key k, bool *is_here) {
  uint32_t low = 0, high = n->count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (compare(k, &n->entries[middle]) > 0) low = middle + 1;
    else high = middle;
  }
  *is_here = low < n->count && compare(k, &n->entries[low]) == 0;
  return low;
}

bool tree_get(const tree *t, key k, entry *out) {
  node *n = &buffers[0];
  for (uint64_t at = t->root; at != 0;) {
    bool is_here;
    node_get(n, at);
    uint32_t i = search(n, k, &is_here);
    if (is_here) *out = n->entries[i];
    if (is_here || n->is_leaf) return is_here;
    at = n->child[i];
  }
  return false;
}

bool tree_next(const tree *t, key k, entry *out) {
  node *n = &buffers[0];
  bool found = false;
  for (uint64_t at = t->root; at != 0;) {
    bool is_here;
    node_get(n, at);
    uint32_t i = search(n, k, &is_here) + (is_here ? 1 : 0);
    if (i < n->count) {
      *out = n->entries[i];
      found = true;
    }
    at = n->is_leaf ? 0 : n->child[i];
  }
  return found;
}

/* ---- values ---------------------------------------------------------------------------------- */

void tree_value(const entry *e, void *to) { stable_get(to, e->value_at, e->value_bytes); }

static void value_set(entry *e, const void *value, uint32_t bytes) {
  bool fits = e->value_bytes && bytes && stable_class(e->value_bytes) == stable_class(bytes);
  if (!fits) {
    if (e->value_bytes) stable_give(e->value_at, stable_class(e->value_bytes));
    e->value_at = bytes ? stable_take(stable_class(bytes)) : 0;
  }
  e->value_bytes = bytes;
  stable_put(e->value_at, value, bytes);
}

static void value_drop(const entry *e) {
  if (e->value_bytes) stable_give(e->value_at, stable_class(e->value_bytes));
}

/* ---- insertion ------------------------------------------------------------------------------- */

/* The full child i of parent becomes two, its middle entry goes up. All three are stored. */
static void split(node *parent, uint32_t i, node *left, node *right) {
  node_new(right, left->is_leaf);
  right->count = DEGREE - 1;
  left->count = DEGREE - 1;
  move_entries(right->entries, left->entries + DEGREE, DEGREE - 1);
  move_children(right->child, left->child + DEGREE, DEGREE);
  move_children(parent->child + i + 2, parent->child + i + 1, parent->count - i);
  move_entries(parent->entries + i + 1, parent->entries + i, parent->count - i);
  parent->child[i + 1] = right->at;
  parent->entries[i] = left->entries[DEGREE - 1];
  parent->count++;
  node_put(left);
  node_put(right);
  node_put(parent);
}

/* A root that has room for one more. */
static void root_make(tree *t, node *n) {
  if (t->root == 0) {
    node_new(n, true);
    t->root = n->at;
    return;
  }
  node_get(n, t->root);
  if (n->count < ENTRY_MAX) return;
  node *old = &buffers[1];
  *old = *n;
  node_new(n, false);
  n->child[0] = old->at;
  t->root = n->at;
  split(n, 0, old, &buffers[2]);
}

static void leaf_insert(node *n, uint32_t i, key k, const void *value, uint32_t bytes) {
  move_entries(n->entries + i + 1, n->entries + i, n->count - i);
  n->count++;
  entry *e = &n->entries[i];
  *e = (entry){.key_bytes = (uint8_t)k.bytes};
  __builtin_memcpy(e->key, k.at, k.bytes);
  value_set(e, value, bytes);
  node_put(n);
}

bool tree_put(tree *t, key k, const void *value, uint32_t bytes) {
  REQUIRE(k.bytes > 0 && k.bytes <= KEY_MAX);
  node *n = &buffers[0], *child = &buffers[1];
  root_make(t, n);
  for (;;) {
    bool is_here;
    uint32_t i = search(n, k, &is_here);
    if (is_here) {
      value_set(&n->entries[i], value, bytes);
      node_put(n);
      return false;
    }
    if (n->is_leaf) {
      leaf_insert(n, i, k, value, bytes);
      t->count++;
      return true;
    }
    node_get(child, n->child[i]);
    if (child->count == ENTRY_MAX) {
      split(n, i, child, &buffers[2]);
      continue; /* the key may be the one that went up, or belong to the right half */
    }
    *n = *child;
  }
}

/* ---- removal --------------------------------------------------------------------------------- */

static void entry_delete(node *n, uint32_t i) {
  move_entries(n->entries + i, n->entries + i + 1, n->count - i - 1);
  n->count--;
}

/* Children i and i + 1 with the entry between them become child i, left in `left`. */
static void merge(node *n, uint32_t i, node *left, node *right) {
  left->entries[left->count] = n->entries[i];
  move_entries(left->entries + left->count + 1, right->entries, right->count);
  move_children(left->child + left->count + 1, right->child, right->count + 1);
  left->count += right->count + 1;
  move_children(n->child + i + 1, n->child + i + 2, n->count - i - 1);
  entry_delete(n, i);
  stable_give(right->at, NODE_CLASS);
  node_put(left);
  node_put(n);
}

static void take_from_left(node *n, uint32_t i, node *child, node *left) {
  move_entries(child->entries + 1, child->entries, child->count);
  move_children(child->child + 1, child->child, child->count + 1);
  child->entries[0] = n->entries[i - 1];
  child->child[0] = left->child[left->count];
  n->entries[i - 1] = left->entries[left->count - 1];
  left->count--;
  child->count++;
  node_put(left);
}

static void take_from_right(node *n, uint32_t i, node *child, node *right) {
  child->entries[child->count] = n->entries[i];
  child->child[child->count + 1] = right->child[0];
  n->entries[i] = right->entries[0];
  move_children(right->child, right->child + 1, right->count);
  entry_delete(right, 0);
  child->count++;
  node_put(right);
}

/* Gives child i of n, which is in `child`, an entry more than the least; afterwards `child` is the
 * node to go down to. */
static void fill(node *n, uint32_t i, node *child, node *sibling) {
  if (i > 0) {
    node_get(sibling, n->child[i - 1]);
    if (sibling->count >= DEGREE) {
      take_from_left(n, i, child, sibling);
      goto store;
    }
  }
  if (i < n->count) {
    node_get(sibling, n->child[i + 1]);
    if (sibling->count >= DEGREE) {
      take_from_right(n, i, child, sibling);
      goto store;
    }
    merge(n, i, child, sibling);
    return;
  }
  merge(n, i - 1, sibling, child); /* the last child: sibling is still its left one */
  *child = *sibling;
  return;
store:
  node_put(child);
  node_put(n);
}

static void root_shrink(tree *t, node *root, const node *only_child) {
  t->root = only_child ? only_child->at : 0;
  stable_give(root->at, NODE_CLASS);
}

/* Takes the least or the greatest entry out of the subtree in buffers[0], whose root has entries to
 * spare. */
static void remove_end(bool greatest, entry *out) {
  node *n = &buffers[0], *child = &buffers[1];
  while (!n->is_leaf) {
    node_get(child, n->child[greatest ? n->count : 0]);
    if (child->count < DEGREE) fill(n, greatest ? n->count : 0, child, &buffers[2]);
    *n = *child;
  }
  uint32_t i = greatest ? n->count - 1 : 0;
  *out = n->entries[i];
  entry_delete(n, i);
  node_put(n);
}

/* The key is entry i of the inner node n: its neighbour from a child takes the place, or the two
 * children become one that holds the key. True: done. */
static bool remove_inner(tree *t, node *n, uint32_t i) {
  static node kept;
  node *child = &buffers[1], *right = &buffers[2];
  node_get(child, n->child[i]);
  node_get(right, n->child[i + 1]);
  if (child->count < DEGREE && right->count < DEGREE) {
    merge(n, i, child, right);
    if (n->count == 0) root_shrink(t, n, child);
    *n = *child;
    return false;
  }
  bool from_left = child->count >= DEGREE;
  value_drop(&n->entries[i]);
  kept = *n;
  *n = from_left ? *child : *right;
  remove_end(from_left, &kept.entries[i]);
  node_put(&kept);
  return true;
}

bool tree_remove(tree *t, key k) {
  node *n = &buffers[0], *child = &buffers[1];
  entry present;
  /* so that a key that is not there changes nothing */
  if (!tree_get(t, k, &present)) return false;
  t->count--;
  node_get(n, t->root);
  for (;;) {
    bool is_here;
    uint32_t i = search(n, k, &is_here);
    if (is_here && n->is_leaf) {
      value_drop(&n->entries[i]);
      entry_delete(n, i);
      if (n->count == 0 && n->at == t->root) root_shrink(t, n, NULL);
      else node_put(n);
      return true;
    }
    if (is_here) {
      if (remove_inner(t, n, i)) return true;
      continue;
    }
    node_get(child, n->child[i]);
    if (child->count < DEGREE) fill(n, i, child, &buffers[2]);
    if (n->count == 0) root_shrink(t, n, child);
    *n = *child;
  }
}

/* ---- check ----------------------------------------------------------------------------------- */

enum { DEPTH_MAX = 12 };
typedef struct {
  entry before; /* the entry visited last */
  bool any;
  uint32_t leaf_depth; /* 0: none seen */
  uint64_t count;
} walk;

static void check_entry(walk *w, const entry *e) {
  key k = {e->key, e->key_bytes};
  REQUIRE(e->key_bytes > 0 && e->key_bytes <= KEY_MAX);
  REQUIRE(!w->any || compare(k, &w->before) > 0);
  w->before = *e;
  w->any = true;
  w->count++;
}

static void check_node(walk *w, uint64_t at, uint32_t depth) {
  static node path[DEPTH_MAX];
  REQUIRE(depth < DEPTH_MAX);
  node *n = &path[depth];
  node_get(n, at);
  REQUIRE(n->count > 0 && (depth == 0 || n->count >= DEGREE - 1));
  if (n->is_leaf) {
    REQUIRE(w->leaf_depth == 0 || w->leaf_depth == depth + 1);
    w->leaf_depth = depth + 1;
  }
  for (uint32_t i = 0; i <= n->count; i++) {
    if (!n->is_leaf) check_node(w, n->child[i], depth + 1);
    if (i < n->count) check_entry(w, &n->entries[i]);
  }
}

uint64_t tree_check(const tree *t) {
  static walk w;
  w = (walk){0};
  if (t->root) check_node(&w, t->root, 0);
  REQUIRE(w.count == t->count);
  return w.count;
}
