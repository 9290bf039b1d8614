/* walker_tree.c - the walk over every tree that a meta page reaches. The contract is in walker.h.
 *
 * The main tree's rows are the records of the named trees, which are walked where they are met; the free tree's
 * rows are lists of page numbers. A page is claimed (in range, not met before) before it is read, so the walk ends
 * whatever the file says. Pages of the trees on the way down are held one per level, the named tree's behind the
 * main tree's.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "base/units.h"
#include "storage/walker_page.h"

typedef struct {
  int fd;
  const walker_meta *meta;
  const walker_callbacks *callbacks;
  walker_summary *summary;
  uint64_t pages;                /* the bitmaps' size: page numbers that are both in use and in the file */
  uint64_t *reachable, *listing, *freed; /* listing: the free tree's own pages */
  uint64_t beyond;               /* pages behind the file's end that are reachable or free */
  uint8_t *levels;               /* 2 * WALKER_DEPTH_MAX pages */
  bool stopped;
  bool believe_free;             /* the free list has been walked, without a finding: nothing in it is in use */
} walk;

typedef enum { TREE_FREE, TREE_MAIN, TREE_NAMED } tree_role;

typedef struct {
  const char *name;
  tree_role role;
  walker_tree record, counted;
  uint8_t *levels;               /* WALKER_DEPTH_MAX pages */
} tree;

/* ---- reporting ------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void found(walk *w, uint64_t page, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  w->summary->findings++;
  if (w->callbacks->finding(w->callbacks->env, page, text)) w->stopped = true;
}

static void tell_gap(walk *w, const char *table, bytes low, bytes high) {
  const walker_callbacks *c = w->callbacks;
  if (c->gap && !w->stopped && c->gap(c->env, table, low, high)) w->stopped = true;
}

/* ---- page numbers ---------------------------------------------------------------------------- */

static bool bit_get(const uint64_t *bits, uint64_t i) { return bits[i / 64] >> i % 64 & 1; }
static void bit_set(uint64_t *bits, uint64_t i) { bits[i / 64] |= 1ull << i % 64; }

/* The first of the bits from `first` on that is set, counted from there; count: none is. */
static uint64_t first_set(const uint64_t *bits, uint64_t first, uint64_t count) {
  uint64_t i = 0;
  while (i < count && !bit_get(bits, first + i)) i++;
  return i;
}

static bool is_in_range(const walk *w, uint64_t first, uint64_t count) {
  return first >= LMDB_METAS && count >= 1 && range_fits(first, count, w->meta->last_page + 1);
}

/* Whether the run is in range, met for the first time, and in the file. `from`: the page that names it. The free tree's
 * pages are counted apart: a damaged number elsewhere that leads into it must not cost the free list, nor the other way
 * round, for what is found again is told from what is free by it alone. */
static bool claim(walk *w, const tree *t, walker_page_kind kind, uint64_t first, uint64_t count, uint64_t from) {
  const walker_callbacks *c = w->callbacks;
  if (!is_in_range(w, first, count)) {
    found(w, from, "table %s: names page %llu, which is out of range", t->name, (unsigned long long)first);
    return false;
  }
  uint64_t *own = t->role == TREE_FREE ? w->listing : w->reachable;
  const uint64_t *others = t->role == TREE_FREE ? w->reachable : w->listing;
  uint64_t in_file = min_u64(count, w->pages - min_u64(first, w->pages));
  uint64_t twice = first + first_set(own, first, in_file);
  if (twice < first + in_file) {
    found(w, twice, "table %s: page %llu is in use twice", t->name, (unsigned long long)twice);
    return false;
  }
  if (w->believe_free && first_set(w->freed, first, in_file) < in_file) {
    found(w, from, "table %s: names page %llu, which is free", t->name, (unsigned long long)first);
    return false;
  }
  twice = first + first_set(others, first, in_file);
  if (twice < first + in_file)
    found(w, twice, "page %llu is in use twice: by the free list and by another table", (unsigned long long)twice);
  for (uint64_t i = 0; i < in_file; i++) bit_set(own, first + i);
  w->summary->pages_reachable += count;
  w->beyond += first + count > w->pages ? first + count - max_u64(first, w->pages) : 0;
  if (c->page && c->page(c->env, t->name, kind, first, count)) w->stopped = true;
  if (first + count <= w->pages) return !w->stopped;
  found(w, first, "table %s: page %llu is beyond the end of the file", t->name, (unsigned long long)first);
  return false;
}

static bool read_page(walk *w, const tree *t, uint64_t page, void *to, size_t size) {
  size_t got;
  int err = walker_read_at(w->fd, page * LMDB_PAGE_BYTES, to, size, &got);
  if (err) found(w, page, "table %s: page cannot be read: %s", t->name, strerror(errno));
  else if (got < size) found(w, page, "table %s: page is beyond the end of the file", t->name);
  return !err && got == size;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static bool keys_are_ordered(const tree *t, bytes a, bytes b) {
  if (t->role == TREE_FREE) return get_le64(a.data) < get_le64(b.data);
  int order = memcmp(a.data, b.data, min_u64(a.size, b.size));
  return order < 0 || (order == 0 && a.size < b.size);
}

static bool key_has_length(const tree *t, bytes key) { return t->role != TREE_FREE || key.size == sizeof(uint64_t); }

/* The first key of a branch page has no meaning and may be empty. */
typedef struct {
  bytes low, high, before;       /* low <= key < high, before < key; data NULL: none */
} key_bounds;

static bool key_is_in_place(const tree *t, const key_bounds *b, bytes key) {
  return (!b->low.data || !keys_are_ordered(t, key, b->low)) && (!b->high.data || keys_are_ordered(t, key, b->high)) &&
         (!b->before.data || keys_are_ordered(t, b->before, key));
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A run may be longer than its value needs: a smaller value was put in place of a larger one. */
static bool claim_run(walk *w, tree *t, uint64_t page, const walker_node *node, uint64_t first, walker_place *out) {
  uint8_t header[LMDB_PAGE_HEADER_BYTES];
  uint64_t wanted = walker_run_pages(node->value_bytes);
  if (!is_in_range(w, first, wanted)) return claim(w, t, WALKER_OVERFLOW, first, wanted, page);
  if (!read_page(w, t, first, header, sizeof header)) return false;
  uint64_t count = get_le32(header + LMDB_RUN_AT);
  bool right = get_le64(header + LMDB_NUMBER_AT) == first && get_le16(header + LMDB_FLAGS_AT) == LMDB_OVERFLOW &&
      count >= wanted;
  if (!right) found(w, first, "table %s: is no overflow page of at least %llu", t->name, (unsigned long long)wanted);
  if (!right) count = wanted;
  if (!claim(w, t, WALKER_OVERFLOW, first, count, page)) return false;
  t->counted.overflow_pages += count;
  *out = (walker_place){first * LMDB_PAGE_BYTES + LMDB_PAGE_HEADER_BYTES, node->value_bytes};
  return right;
}

static bool locate_value(walk *w, tree *t, uint64_t page, const uint8_t *bytes_of_page, const walker_node *node,
    walker_place *out) {
  *out = (walker_place){page * LMDB_PAGE_BYTES + node->value_at, node->value_bytes};
  if (!(node->flags & NODE_LARGE)) return true;
  return claim_run(w, t, page, node, get_le64(bytes_of_page + node->value_at), out);
}

/* ---- the free list --------------------------------------------------------------------------- */

static void note_freed(walk *w, uint64_t page, uint64_t txn_id, uint64_t id) {
  const walker_callbacks *c = w->callbacks;
  w->summary->pages_free++;
  if (id < w->pages) {
    if (bit_get(w->freed, id)) found(w, page, "free list: page %llu is free twice", (unsigned long long)id);
    bit_set(w->freed, id);
  } else {
    w->beyond++;
  }
  if (c->freed && c->freed(c->env, txn_id, id)) w->stopped = true;
}

/* Numbers descend. Read in pieces: a list may be long. */
static void walk_freed(walk *w, uint64_t page, uint64_t txn_id, walker_place ids, uint64_t count) {
  uint8_t piece[LMDB_PAGE_BYTES];
  uint64_t before = w->meta->last_page + 1, done = 0;
  while (done < count && !w->stopped) {
    size_t size = min_u64((count - done) * 8, sizeof piece), got;
    if (walker_read_at(w->fd, ids.at + 8 * done, piece, size, &got) != 0 || got < size) {
      found(w, page, "free list: a list cannot be read");
      return;
    }
    for (size_t i = 0; i < size / 8 && !w->stopped; i++, done++) {
      uint64_t id = get_le64(piece + 8 * i);
      if (id >= before || id < LMDB_METAS) {
        found(w, page, "free list: a list is not in order, or names pages out of range");
        return;
      }
      note_freed(w, page, txn_id, id);
      before = id;
    }
  }
}

static void walk_free_row(walk *w, uint64_t page, const walker_node *node, walker_place value) {
  uint8_t head[8];
  size_t got;
  uint64_t txn_id = get_le64(node->key.data);
  if (txn_id == 0 || txn_id > w->meta->txn_id) found(w, page, "free list: a transaction of the future");
  if (walker_read_at(w->fd, value.at, head, sizeof head, &got) != 0 || got < sizeof head || value.size < sizeof head) {
    found(w, page, "free list: a list cannot be read");
    return;
  }
  uint64_t count = get_le64(head);
  if (value.size % 8 || count > value.size / 8 - 1) found(w, page, "free list: a list is longer than its row");
  else walk_freed(w, page, txn_id, (walker_place){value.at + 8, value.size - 8}, count);
}

/* ---- trees ----------------------------------------------------------------------------------- */

static void walk_tree(walk *w, tree *t);

static void name_from_key(bytes key, char name[LMDB_TABLE_NAME_MAX]) {
  size_t length = min_u64(key.size, LMDB_TABLE_NAME_MAX - 1);
  const uint8_t *from = key.data;
  for (size_t i = 0; i < length; i++) name[i] = from[i] < ' ' || from[i] > '~' ? '?' : (char)from[i];
  name[length] = 0;
}

static void walk_named(walk *w, uint64_t page, const uint8_t *bytes_of_page, const walker_node *node) {
  char name[LMDB_TABLE_NAME_MAX];
  name_from_key(node->key, name);
  tree t = {.name = name, .role = TREE_NAMED, .levels = w->levels + WALKER_DEPTH_MAX * LMDB_PAGE_BYTES};
  bool is_table = node->flags == NODE_TREE && node->value_bytes == LMDB_TREE_BYTES;
  if (!is_table) found(w, page, "main tree: row %s is no table", name);
  else walker_tree_decode(bytes_of_page + node->value_at, &t.record);
  const char *damage = is_table ? walker_tree_damage(&t.record, w->meta->last_page) : NULL;
  if (damage) found(w, page, "table %s: %s", name, damage);
  if (!is_table || damage) {
    tell_gap(w, name, (bytes){0}, (bytes){0});
    return;
  }
  if (t.record.flags) /* a store with any is refused (db_open.c); rows of ours read the same whatever they say */
    found(w, page, "table %s: has flags that are never used (%#x)", name, t.record.flags);
  const walker_callbacks *c = w->callbacks;
  if (c->table && c->table(c->env, name, &t.record)) w->stopped = true;
  if (!w->stopped) walk_tree(w, &t);
}

static void tell_row_lost(walk *w, const tree *t, uint64_t page, bytes key) {
  const walker_callbacks *c = w->callbacks;
  if (w->stopped || t->role == TREE_FREE) return;
  found(w, page, "table %s: the value of a row cannot be found", t->name);
  if (c->row_lost && !w->stopped && c->row_lost(c->env, t->name, key)) w->stopped = true;
}

static void walk_row(walk *w, tree *t, uint64_t page, const uint8_t *bytes_of_page, const walker_node *node) {
  const walker_callbacks *c = w->callbacks;
  walker_place value;
  t->counted.entries++;
  if (t->role == TREE_MAIN) {
    walk_named(w, page, bytes_of_page, node);
    return;
  }
  bool is_plain = !(node->flags & ~NODE_LARGE);
  if (!is_plain) found(w, page, "table %s: a row with duplicates or a table in it, which are never used", t->name);
  if (!is_plain || !locate_value(w, t, page, bytes_of_page, node, &value)) {
    tell_row_lost(w, t, page, node->key);
    return;
  }
  if (t->role == TREE_FREE) {
    walk_free_row(w, page, node, value);
    return;
  }
  w->summary->rows++;
  if (c->row && c->row(c->env, t->name, node->key, value)) w->stopped = true;
}

/* Marks a bit per two bytes; false where some are taken already. */
static bool node_is_alone(uint64_t taken[LMDB_PAGE_BYTES / 128], const walker_node *node) {
  bool alone = true;
  for (unsigned i = node->at / 2; i < (node->at + node->size) / 2 && i < LMDB_PAGE_BYTES / 2; i++) {
    alone &= !bit_get(taken, i);
    bit_set(taken, i);
  }
  return alone;
}

static void walk_page(walk *w, tree *t, uint64_t page, unsigned level, key_bounds bounds);

/* The child's keys lie between its key and the next one. */
static void walk_child(walk *w, tree *t, uint64_t page, unsigned level, key_bounds bounds, const walker_node *node,
    unsigned i) {
  const uint8_t *bytes_of_page = t->levels + level * LMDB_PAGE_BYTES;
  walker_node next;
  if (i > 0) bounds.low = node->key;
  bounds.before = (bytes){0};
  if (i + 1 < walker_page_nodes(bytes_of_page) && !walker_node_at(bytes_of_page, LMDB_BRANCH, i + 1, &next) &&
      key_has_length(t, next.key))
    bounds.high = next.key;
  bool is_leaf = level + 2 == t->record.depth;
  walker_page_kind kind = is_leaf ? WALKER_LEAF : WALKER_BRANCH;
  if (claim(w, t, kind, node->child, 1, page)) walk_page(w, t, node->child, level + 1, bounds);
  else if (!w->stopped) tell_gap(w, t->name, bounds.low, bounds.high);
}

static void walk_nodes(walk *w, tree *t, uint64_t page, unsigned level, key_bounds bounds, uint16_t kind) {
  const uint8_t *bytes_of_page = t->levels + level * LMDB_PAGE_BYTES;
  uint64_t taken[LMDB_PAGE_BYTES / 128] = {0};
  unsigned filled = 0, broken = 0;
  for (unsigned i = 0; i < walker_page_nodes(bytes_of_page) && !w->stopped; i++) {
    walker_node node;
    bool has_key = kind == LMDB_LEAF || i > 0;
    const char *damage = walker_node_at(bytes_of_page, kind, i, &node);
    if (!damage && !node_is_alone(taken, &node)) damage = "nodes overlap";
    if (!damage && has_key && !key_has_length(t, node.key)) damage = "a key has a wrong length";
    if (!damage && has_key && !key_is_in_place(t, &bounds, node.key)) damage = "keys are out of order";
    if (damage) {
      found(w, page, "table %s: %s", t->name, damage);
      broken++;
      continue;
    }
    filled += node.size;
    if (has_key) bounds.before = node.key;
    if (kind == LMDB_LEAF) walk_row(w, t, page, bytes_of_page, &node);
    else walk_child(w, t, page, level, bounds, &node, i);
  }
  if (w->stopped) return;
  bool is_filled = filled == LMDB_PAGE_BYTES - (unsigned)get_le16(bytes_of_page + LMDB_UPPER_AT);
  if (!broken && !is_filled) found(w, page, "table %s: its nodes do not fill it up to their bound", t->name);
  if (broken || !is_filled) tell_gap(w, t->name, bounds.low, bounds.high); /* a count too small hides the last ones */
}

static void walk_page(walk *w, tree *t, uint64_t page, unsigned level, key_bounds bounds) {
  ASSERT(level < t->record.depth && t->record.depth <= WALKER_DEPTH_MAX);
  uint8_t *to = t->levels + level * LMDB_PAGE_BYTES;
  uint16_t kind = level + 1 == t->record.depth ? LMDB_LEAF : LMDB_BRANCH;
  if (kind == LMDB_LEAF) t->counted.leaf_pages++;
  else t->counted.branch_pages++;
  bool is_read = read_page(w, t, page, to, LMDB_PAGE_BYTES);
  const char *damage = is_read ? walker_page_damage(to, page, kind) : NULL;
  if (damage) found(w, page, "table %s: %s", t->name, damage);
  if (!is_read || damage) tell_gap(w, t->name, bounds.low, bounds.high);
  else walk_nodes(w, t, page, level, bounds, kind);
}

static void compare_counts(walk *w, const tree *t) {
  const walker_tree *a = &t->record, *b = &t->counted;
  if (a->entries != b->entries)
    found(w, LMDB_NO_PAGE, "table %s: has %llu rows, its record says %llu", t->name, (unsigned long long)b->entries,
        (unsigned long long)a->entries);
  if (a->branch_pages != b->branch_pages || a->leaf_pages != b->leaf_pages || a->overflow_pages != b->overflow_pages)
    found(w, LMDB_NO_PAGE, "table %s: its record counts other numbers of pages than it has", t->name);
}

/* Counts are worth a comparison only where the walk met everything. */
static void walk_tree(walk *w, tree *t) {
  uint64_t findings_before = w->summary->findings;
  if (t->record.root == LMDB_NO_PAGE) return;
  walker_page_kind kind = t->record.depth == 1 ? WALKER_LEAF : WALKER_BRANCH;
  if (claim(w, t, kind, t->record.root, 1, LMDB_NO_PAGE)) walk_page(w, t, t->record.root, 0, (key_bounds){0});
  else if (!w->stopped) tell_gap(w, t->name, (bytes){0}, (bytes){0});
  if (w->summary->findings == findings_before && !w->stopped) compare_counts(w, t);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void tell_lost(walk *w, uint64_t first, uint64_t count) {
  const walker_callbacks *c = w->callbacks;
  if (count == 0 || w->stopped) return;
  w->summary->pages_lost += count;
  if (c->lost && w->summary->findings == 0 && c->lost(c->env, first, count)) w->stopped = true;
}

static void compare_free_and_reachable(walk *w) {
  uint64_t run = 0;
  for (uint64_t page = LMDB_METAS; page < w->pages && !w->stopped; page++) {
    bool reachable = bit_get(w->reachable, page) || bit_get(w->listing, page), freed = bit_get(w->freed, page);
    if (reachable && freed) found(w, page, "free list: page %llu is free and in use", (unsigned long long)page);
    if (!reachable && !freed) run++;
    else tell_lost(w, page - run, run), run = 0;
  }
  tell_lost(w, w->pages - run, run);
  uint64_t numbered = w->meta->last_page + 1 - min_u64(w->pages, w->meta->last_page + 1);
  tell_lost(w, w->pages, numbered - min_u64(w->beyond, numbered));
}

static void walk_trees(walk *w, bool free_first) {
  tree main = {.name = "main", .role = TREE_MAIN, .record = w->meta->main, .levels = w->levels};
  tree list = {.name = "free", .role = TREE_FREE, .record = w->meta->free, .levels = w->levels};
  if (free_first) walk_tree(w, &list);
  w->believe_free = free_first && w->summary->findings == 0;
  if (!w->stopped) walk_tree(w, &main);
  if (!w->stopped && !free_first) walk_tree(w, &list);
  if (!w->stopped) compare_free_and_reachable(w);
}

int walker_walk(int fd, const walker_metas *metas, unsigned meta, const walker_callbacks *callbacks,
    walker_summary *summary) {
  ASSERT(meta < LMDB_METAS && callbacks->finding);
  *summary = (walker_summary){0};
  if (!metas->meta[meta].usable)
    return fail(PAGESTORE_ECORRUPT, "meta page %u is damaged: walk from the other one", meta);
  walk w = {.fd = fd, .meta = &metas->meta[meta], .callbacks = callbacks, .summary = summary};
  w.pages = min_u64(w.meta->last_page + 1, metas->file_bytes / LMDB_PAGE_BYTES);
  w.reachable = calloc(w.pages / 64 + 1, sizeof *w.reachable);
  w.listing = calloc(w.pages / 64 + 1, sizeof *w.listing);
  w.freed = calloc(w.pages / 64 + 1, sizeof *w.freed);
  w.levels = malloc(2 * WALKER_DEPTH_MAX * LMDB_PAGE_BYTES);
  int err = 0;
  bool is_room = w.reachable && w.listing && w.freed && w.levels;
  if (!is_room) err = fail(PAGESTORE_ENOMEM, "no memory for the page maps of a walk");
  else walk_trees(&w, metas->free_first);
  if (!err && w.stopped) err = PAGESTORE_EABORTED;
  free(w.reachable);
  free(w.listing);
  free(w.freed);
  free(w.levels);
  return err;
}
