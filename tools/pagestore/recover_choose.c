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

typedef struct {
  bool found;
  uint64_t txn_id; /* of the last flush there */
  walker_metas metas;
  store_record store;
} candidate;

static void take_if_newer(candidate *best, const salvage *s, const walker_metas *metas) {
  store_record record;
  if (!agree_store(s->fd, metas, 0, &record)) return;
  if (best->found && best->txn_id >= record.flush_txn_id) return;
  *best = (candidate){true, record.flush_txn_id, *metas, record};
}

/* A meta page of which only the head is damaged still leads somewhere. As meta page 0 of a pair of its own. */
static bool follow_meta(const salvage *s, unsigned i, walker_metas *out) {
  const walker_meta *m = &s->given.meta[i];
  *out = (walker_metas){.file_bytes = s->given.file_bytes, .meta = {*m}};
  if (m->last_page < LMDB_METAS || m->last_page > INT64_MAX / LMDB_PAGE_BYTES - 1) return false;
  if (walker_tree_damage(&m->main, m->last_page) || walker_tree_damage(&m->free, m->last_page)) return false;
  out->meta[0].usable = true;
  return true;
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

static walker_metas metas_for(const salvage *s, uint64_t root) {
  walker_metas m = {.file_bytes = s->given.file_bytes};
  m.meta[0] = (walker_meta){
      .usable = true,
      .txn_id = UINT64_MAX,
      .last_page = s->file_pages - 1,
      .free = {.flags = LMDB_TREE_INTEGER_KEY, .root = LMDB_NO_PAGE},
      .main = {.depth = 1, .leaf_pages = 1, .entries = DB_TABLES, .root = root},
  };
  return m;
}

/* At most `limit`: nothing that was never committed. */
static int search_file(const salvage *s, uint64_t limit, candidate *best) {
  uint8_t page[LMDB_PAGE_BYTES];
  for (uint64_t p = LMDB_METAS; p < s->file_pages; p++) {
    candidate here = {0};
    if (walker_read(s->fd, (walker_place){p * LMDB_PAGE_BYTES, sizeof page}, page) != 0) continue;
    if (!is_main_tree(page, p)) continue;
    walker_metas metas = metas_for(s, p);
    take_if_newer(&here, s, &metas);
    if (here.found && here.txn_id <= limit && (!best->found || here.txn_id > best->txn_id)) *best = here;
  }
  return 0;
}

static void search_and_take(salvage *s, uint64_t from, uint64_t limit, candidate *best) {
  candidate lying = {0};
  search_file(s, limit, &lying);
  if (!lying.found || lying.txn_id < from) return;
  *best = lying;
  s->exact = false;
}

/* A meta page that is destroyed may have been the newest: then the state behind it lies in the file, and is whole. */
static void take_if_whole(salvage *s, candidate *best) {
  candidate next = {0};
  search_file(s, best->txn_id + 1, &next);
  if (!next.found || next.txn_id != best->txn_id + 1) return;
  next.metas.meta[0].txn_id = next.txn_id;
  audit a = {.fd = s->fd, .metas = &next.metas, .deep = true, .explain = NO_OFFSET};
  bool whole = audit_run(&a) == 0 && a.found.damages == 0;
  audit_free(&a);
  if (!whole) return;
  *best = next;
  s->exact = false;
  findings_add(&s->lost, FINDING_NOTE, "nothing need be done",
               "the newest meta page is destroyed; its state, of transaction %llu, was found whole",
               (unsigned long long)next.txn_id);
}

/* The transactions that meta pages speak of, where they can be believed. */
static uint64_t newest_spoken_of(const salvage *s) {
  uint64_t newest = 0;
  for (unsigned i = 0; i < LMDB_METAS; i++) {
    uint64_t its = s->given.meta[i].txn_id, others = s->given.meta[!i].txn_id;
    if (s->given.meta[i].usable || its - others + 1 <= 2) newest = max_u64(newest, its);
  }
  return newest;
}

/* Of what the meta pages lead to, the newest; one that leads to no store record counts as what it says itself. If that
 * is the newest, or if they speak of a newer one, its main tree may lie somewhere. */
int salvage_choose(salvage *s) {
  candidate best = {0};
  bool bare = false;
  uint64_t newest = newest_spoken_of(s);
  for (unsigned i = 0; i < LMDB_METAS; i++) {
    candidate c = {0};
    if (!follow_meta(s, i, &c.metas)) continue;
    walker_metas metas = c.metas;
    take_if_newer(&c, s, &metas);
    bool its_bare = !c.found;
    if (c.found) s->older_store = c.store, s->has_older_store = true;
    if (its_bare && !s->given.meta[i].usable) continue;
    if (its_bare) c = (candidate){.found = true, .txn_id = s->given.meta[i].txn_id, .metas = metas};
    if (best.found && (c.txn_id < best.txn_id || (c.txn_id == best.txn_id && its_bare))) continue;
    best = c;
    bare = its_bare;
  }
  s->exact = best.found;
  if (!best.found) search_and_take(s, 0, UINT64_MAX, &best);
  else if (bare || newest > best.txn_id) search_and_take(s, best.txn_id + !bare, max_u64(newest, best.txn_id), &best);
  else if (!s->given.meta[0].usable || !s->given.meta[1].usable) take_if_whole(s, &best);
  s->metas = best.metas;
  s->chosen = best.found;
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
