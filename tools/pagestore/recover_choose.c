/* recover_choose.c - which state of a damaged file is saved: the newest that was committed. The contract is in
 * recover_salvage.h.
 *
 * The store record, which every flush rewrites, tells which transaction a main tree belongs to; so the meta pages need
 * not be believed, only followed. */
#include "recover_salvage.h"

#include <pagestore.h>
#include <string.h>

#include "base/units.h"
#include "check_agree.h"
#include "storage/walker_page.h"

enum { AUDITS_MAX = 64 }; /* of main trees that lie in the file: each may take as long as a check */

typedef struct {
  bool found, bare; /* bare: a meta page that leads to no store record, and counts as what it says itself */
  bool whole, exact;
  uint64_t txn_id; /* of the last flush there */
  walker_metas metas;
  store_record store;
} candidate;

static bool is_whole(const salvage *s, walker_metas metas, uint64_t txn_id, bool deep) {
  metas.meta[0].txn_id = txn_id;
  audit a = {.fd = s->fd, .metas = &metas, .deep = deep, .explain = NO_OFFSET};
  bool whole = audit_run(&a) == 0 && a.found.damages == 0;
  audit_free(&a);
  return whole;
}

/* ---- meta pages ------------------------------------------------------------------------------ */

/* A meta page of which only the head is damaged still leads somewhere. As meta page 0 of a pair of its own. What it
 * says of the last page is believed only beyond the file's end: too small a number would hide pages and the free
 * list. */
static bool follow_meta(const salvage *s, unsigned i, walker_metas *out) {
  walker_meta *m = &out->meta[0];
  *out = (walker_metas){.file_bytes = s->given.file_bytes, .meta = {s->given.meta[i]}, .free_first = s->free_first};
  uint64_t in_file = max_u64(s->file_pages, LMDB_METAS + 1) - 1;
  bool is_sane = m->last_page <= INT64_MAX / LMDB_PAGE_BYTES - 1;
  m->last_page = is_sane ? max_u64(m->last_page, in_file) : in_file;
  m->usable = !walker_tree_damage(&m->main, m->last_page) && !walker_tree_damage(&m->free, m->last_page);
  return m->usable;
}

static bool store_of_meta(const salvage *s, unsigned i, walker_metas *metas, store_record *out) {
  return follow_meta(s, i, metas) && agree_store(s->fd, metas, 0, out);
}

/* The transaction that meta page i speaks of; 0: it cannot be believed. One that leads to the whole of another
 * transaction is that one's: its number is what is damaged. */
static uint64_t spoken_of(const salvage *s, unsigned i) {
  uint64_t its = s->given.meta[i].txn_id, others = s->given.meta[!i].txn_id;
  walker_metas metas;
  store_record record;
  if (store_of_meta(s, i, &metas, &record) && record.flush_txn_id != its &&
      is_whole(s, metas, record.flush_txn_id, false))
    return record.flush_txn_id;
  return s->given.meta[i].usable || its - others + 1 <= 2 ? its : 0;
}

/* Whether meta page i is destroyed so far that nothing tells which transaction it spoke of. */
static bool is_mute(const salvage *s, unsigned i, uint64_t others) {
  walker_metas metas;
  store_record record;
  if (s->given.meta[i].usable || s->given.meta[i].txn_id + 1 == others) return false;
  return !store_of_meta(s, i, &metas, &record);
}

/* Of what the meta pages lead to, the newest. */
static void follow_metas(salvage *s, candidate *best) {
  for (unsigned i = 0; i < LMDB_METAS; i++) {
    candidate c = {.exact = true};
    c.found = store_of_meta(s, i, &c.metas, &c.store);
    c.txn_id = c.store.flush_txn_id;
    if (c.found) s->older_store = c.store, s->has_older_store = true;
    if (!c.found && s->given.meta[i].usable) c.found = c.bare = true, c.txn_id = s->given.meta[i].txn_id;
    if (!c.found || (best->found && c.txn_id < best->txn_id)) continue;
    if (best->found && c.txn_id == best->txn_id && (c.bare || !best->bare)) continue;
    *best = c;
  }
}

/* ---- main trees that lie in the file --------------------------------------------------------- */

static bool is_main_tree(const uint8_t page[LMDB_PAGE_BYTES], uint64_t number) {
  static const char *const names[] = {"catalog", "log", "pages"};
  if (walker_page_damage(page, number, LMDB_LEAF) || walker_page_nodes(page) != DB_TABLES) return false;
  for (unsigned i = 0; i < DB_TABLES; i++) {
    walker_node node;
    if (walker_node_at(page, LMDB_LEAF, i, &node) || node.flags != NODE_TREE) return false;
    if (node.key.size != strlen(names[i]) || memcmp(node.key.data, names[i], node.key.size) != 0) return false;
  }
  return true;
}

/* Under the free list of a meta page, if one of this transaction is there; else without any. */
static walker_metas metas_for(const salvage *s, uint64_t root, const walker_meta *list) {
  walker_metas m = {.file_bytes = s->given.file_bytes, .free_first = s->free_first};
  m.meta[0] = (walker_meta){
      .txn_id = UINT64_MAX,
      .last_page = s->file_pages - 1,
      .free = {.flags = LMDB_TREE_INTEGER_KEY, .root = LMDB_NO_PAGE},
  };
  if (list) m.meta[0] = *list;
  m.meta[0].usable = true;
  m.meta[0].main = (walker_tree){.depth = 1, .leaf_pages = 1, .entries = DB_TABLES, .root = root};
  return m;
}

/* What was superseded lies there, too, and may lead to pages that are now of the newest state: only a state that is
 * whole is known to be one. */
static void judge_lying(const salvage *s, uint64_t root, candidate *c, unsigned *audits) {
  unsigned i = c->txn_id % LMDB_METAS;
  walker_metas listed;
  if (*audits == AUDITS_MAX) return;
  ++*audits;
  if (follow_meta(s, i, &listed)) {
    listed = metas_for(s, root, &listed.meta[0]);
    c->whole = c->exact = is_whole(s, listed, c->txn_id, true);
  }
  if (c->exact) c->metas = listed;
  else c->whole = is_whole(s, c->metas, c->txn_id, true);
}

/* The newest of transactions [from, limit], a whole one before others. */
static candidate search_file(const salvage *s, uint64_t from, uint64_t limit) {
  uint8_t page[LMDB_PAGE_BYTES];
  candidate best = {0};
  unsigned audits = 0;
  for (uint64_t p = LMDB_METAS; p < s->file_pages; p++) {
    if (walker_read(s->fd, (walker_place){p * LMDB_PAGE_BYTES, sizeof page}, page) != 0) continue;
    if (!is_main_tree(page, p)) continue;
    candidate c = {.found = true, .metas = metas_for(s, p, NULL)};
    if (!agree_store(s->fd, &c.metas, 0, &c.store)) continue;
    c.txn_id = c.store.flush_txn_id;
    if (c.txn_id < from || c.txn_id > limit || (best.found && c.txn_id < best.txn_id)) continue;
    judge_lying(s, p, &c, &audits);
    if (!best.found || c.txn_id > best.txn_id || c.whole > best.whole) best = c;
  }
  return best;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* A meta page whose root is damaged leads to another state, to part of one, or to none: its own lies in the file. */
static void search_for_root(const salvage *s, uint64_t newest, candidate *best) {
  if (!best->bare && newest <= best->txn_id && is_whole(s, best->metas, best->txn_id, false)) return;
  candidate lying = search_file(s, best->txn_id, max_u64(newest, best->txn_id));
  if (lying.whole && lying.metas.meta[0].main.root != best->metas.meta[0].main.root) *best = lying;
}

/* A meta page that is destroyed may have been the newest: then the state behind it lies in the file, and is whole. A
 * transaction that was cut off just before its meta page was written looks the same, but only where that page is mute;
 * then it may be taken: it is as whole as one that had been acknowledged. */
static void search_for_next(salvage *s, candidate *best) {
  uint64_t next = best->txn_id + 1;
  if (!is_mute(s, next % LMDB_METAS, best->txn_id)) return;
  candidate lying = search_file(s, next, next);
  if (!lying.whole) return;
  *best = lying;
  findings_add(&s->lost, FINDING_NOTE, "nothing need be done",
               "a meta page is destroyed; the state of transaction %llu, which no other speaks of, was found whole",
               (unsigned long long)next);
}

/* If the newest that the meta pages lead to is not what they speak of, or not whole, the main tree of what they speak
 * of may lie somewhere. */
int salvage_choose(salvage *s) {
  candidate best = {0};
  uint64_t newest = max_u64(spoken_of(s, 0), spoken_of(s, 1));
  follow_metas(s, &best);
  if (!best.found) best = search_file(s, 0, UINT64_MAX);
  else search_for_root(s, newest, &best);
  if (best.found && best.txn_id >= newest) search_for_next(s, &best);
  s->metas = best.metas;
  s->chosen = best.found;
  s->exact = best.exact;
  if (best.found && best.txn_id < newest)
    findings_add(&s->lost, FINDING_DAMAGE, "an older backup may have it",
                 "transaction %llu is lost: this is the state of transaction %llu", (unsigned long long)newest,
                 (unsigned long long)best.txn_id);
  for (unsigned i = 0; i < LMDB_METAS && !s->chosen; i++) {
    s->chosen = follow_meta(s, i ^ (s->given.newest & 1u), &s->metas);
    s->exact = s->chosen;
  }
  return 0;
}
