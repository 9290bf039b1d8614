/* db.c - calls into LMDB, and reading through slots. The contract is in db.h, the states are in lmdb_env.h. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/lmdb_env.h"

enum { SLOTS_UNRESERVED_MIN = 2 }; /* reserving leaves at least so many for fault handlers */

/* ---- calls into LMDB ------------------------------------------------------------------------- */

/* Every address: a damaged tree page sends LMDB anywhere, not only beyond the file's end. */
int guarded(const lmdb_map *m, guarded_fn work, void *env) {
  guard g;
  if (guard_enter(&g, NULL, SIZE_MAX)) {
    if (g.address - (uintptr_t)m->map >= m->map_bytes) atomic_store(&m->db->damaged, true);
    return JUMPED;
  }
  int rc = work(env);
  guard_leave(&g);
  return rc;
}

int call_begin(void *env) {
  lmdb_call *c = env;
  return mdb_txn_begin(c->env, NULL, c->flags, &c->txn);
}

int call_get(void *env) {
  lmdb_call *c = env;
  return mdb_get(c->txn, c->dbi, &c->key, &c->value);
}

int call_cursor_open(void *env) {
  lmdb_call *c = env;
  return mdb_cursor_open(c->txn, c->dbi, &c->cursor);
}

int call_cursor_get(void *env) {
  lmdb_call *c = env;
  return mdb_cursor_get(c->cursor, &c->key, &c->value, c->op);
}

int call_info(void *env) {
  lmdb_call *c = env;
  return mdb_env_info(c->env, &c->info);
}

int call_stat(void *env) {
  lmdb_call *c = env;
  return mdb_stat(c->txn, c->dbi, &c->stat);
}

static int call_renew(void *env) { return mdb_txn_renew(((lmdb_call *)env)->txn); }

static int call_cursor_renew(void *env) {
  lmdb_call *c = env;
  return mdb_cursor_renew(c->txn, c->cursor);
}

int status_of(const db *d, int rc) {
  switch (rc) {
    case 0: return 0;
    case JUMPED: return atomic_load(&d->damaged) ? PAGESTORE_ECORRUPT : PAGESTORE_EIO;
    case MDB_NOTFOUND: return PAGESTORE_ENOTFOUND;
    case ENOMEM: return PAGESTORE_ENOMEM;
    case ENOSPC:
    case EDQUOT: return PAGESTORE_ENOSPC;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case MDB_MAP_RESIZED: return PAGESTORE_EFULL;
    case MDB_PANIC: return PAGESTORE_EFAILED;
    default: return rc > 0 ? PAGESTORE_EIO : PAGESTORE_ECORRUPT;
  }
}

/* ---- slots ----------------------------------------------------------------------------------- */

static db_slot *slot_try_take(db *d) {
  for (unsigned w = 0; w < SLOT_WORDS; w++) {
    uint64_t free = atomic_load(&d->free_slots[w]);
    while (free) {
      uint64_t bit = free & -free;
      if (atomic_compare_exchange_weak(&d->free_slots[w], &free, free & ~bit))
        return &d->slots[64 * w + (unsigned)__builtin_ctzll(bit)];
    }
  }
  return NULL;
}

db_slot *db_slot_take(db *d) {
  db_slot *slot;
  while (!(slot = slot_try_take(d))) sched_yield();
  /* With the fence in db_slots_settle: either it sees this slot taken, or the taker sees what was replaced before
   * it. */
  atomic_thread_fence(memory_order_seq_cst);
  ASSERT(!slot->reading);
  return slot;
}

/* Touches the reader table and the transaction, never the mapping: right after a jump, too. */
static void slot_stop_reading(db_slot *slot) {
  mdb_txn_reset(slot->reader.txn);
  slot->reading = false;
  slot->renewed = 0;
}

void db_slot_release(db_slot *slot) {
  db *d = slot->db;
  if (slot->reading) slot_stop_reading(slot);
  slot->reserved = false;
  unsigned i = (unsigned)(slot - d->slots);
  atomic_fetch_add(&slot->releases, 1);
  uint64_t before = atomic_fetch_or(&d->free_slots[i / 64], 1ull << i % 64);
  ASSERT(!(before >> i % 64 & 1));
  (void)before;
}

/* LMDB has refused: waits for the second environment, and exchanges the readers. The writer's thread never waits
 * here. */
static bool slot_change_over(db_slot *slot) {
  int state;
  while ((state = atomic_load(&slot->db->failover)) == FAILOVER_NONE || state == FAILOVER_OPENING) sched_yield();
  if (state != FAILOVER_READY || slot->reader.on == &slot->db->second) return false;
  lmdb_reader left = slot->reader;
  slot->reader = slot->other;
  slot->other = left;
  return true;
}

int db_slot_renew(db_slot *slot) {
  if (slot->reading) slot_stop_reading(slot);
  lmdb_call c = {.txn = slot->reader.txn};
  int rc = guarded(slot->reader.on, call_renew, &c);
  if (rc == MDB_PANIC && slot_change_over(slot)) {
    c.txn = slot->reader.txn;
    rc = guarded(slot->reader.on, call_renew, &c);
  }
  if (rc == 0) slot->reading = true;
  else slot_stop_reading(slot);
  return status_of(slot->db, rc);
}

uint8_t *db_slot_page(db_slot *slot) { return slot->page; }

uint64_t db_slot_txn_id(const db_slot *slot) {
  ASSERT(slot->reading);
  return mdb_txn_id(slot->reader.txn);
}

static int slot_move(db_slot *slot, lmdb_call *c, bytes *found_key, bytes *value) {
  int rc = guarded(slot->reader.on, call_cursor_get, c);
  if (rc == JUMPED) slot_stop_reading(slot);
  if (rc != 0) return status_of(slot->db, rc);
  *found_key = from_val(c->key);
  *value = from_val(c->value);
  return 0;
}

int db_slot_seek(db_slot *slot, db_table table, bytes key, bytes *found_key, bytes *value) {
  if (!slot->reading) return PAGESTORE_EIO; /* a fault has ended it */
  lmdb_call c = {.txn = slot->reader.txn, .cursor = slot->reader.cursor[table], .op = MDB_SET_RANGE, .key = val(key)};
  if (!(slot->renewed >> table & 1)) {
    int rc = guarded(slot->reader.on, call_cursor_renew, &c);
    if (rc == JUMPED) slot_stop_reading(slot);
    if (rc != 0) return status_of(slot->db, rc);
    slot->renewed |= 1u << table;
  }
  return slot_move(slot, &c, found_key, value);
}

int db_slot_next(db_slot *slot, db_table table, bytes *found_key, bytes *value) {
  if (!slot->reading) return PAGESTORE_EIO;
  ASSERT(slot->renewed >> table & 1);
  lmdb_call c = {.txn = slot->reader.txn, .cursor = slot->reader.cursor[table], .op = MDB_NEXT};
  return slot_move(slot, &c, found_key, value);
}

static bool slot_is_taken(db *d, uint32_t i) { return !(atomic_load(&d->free_slots[i / 64]) >> i % 64 & 1); }

/* Yields first, since holders are about to finish; sleeps when one was itself put off the processor. */
static void settle_pause(unsigned round) {
  struct timespec pause = {.tv_nsec = 50000};
  if (round < 16) sched_yield();
  else nanosleep(&pause, NULL);
}

void db_slots_settle(db *d) {
  atomic_thread_fence(memory_order_seq_cst);
  for (uint32_t i = 0; i < d->slot_count; i++) {
    const db_slot *slot = &d->slots[i];
    uint64_t releases = atomic_load(&slot->releases);
    for (unsigned round = 0; slot_is_taken(d, i) && !atomic_load(&slot->reserved); round++) {
      if (atomic_load(&slot->releases) != releases) break;
      settle_pause(round);
    }
  }
}

int db_slot_reserve(db *d, db_slot **out) {
  unsigned left = 0;
  for (unsigned w = 0; w < SLOT_WORDS; w++) left += (unsigned)__builtin_popcountll(atomic_load(&d->free_slots[w]));
  db_slot *slot = left > SLOTS_UNRESERVED_MIN ? slot_try_take(d) : NULL;
  if (!slot) return fail(PAGESTORE_ENOMEM, "%s: all readers are in use: close views that are not needed", d->path);
  slot->reserved = true;
  *out = slot;
  return 0;
}


/* ---- the free list --------------------------------------------------------------------------- */

typedef struct {
  lmdb_call call;
  uint64_t below;       /* only what transactions before this one have freed */
  free_pages pages;
} free_list;

static int call_free_list(void *env) {
  free_list *f = env;
  lmdb_call *c = &f->call;
  int rc;
  while ((rc = mdb_cursor_get(c->cursor, &c->key, &c->value, MDB_NEXT)) == 0) {
    const uint64_t *ids = c->value.mv_data;
    uint64_t txn_id, room = c->value.mv_size / sizeof *ids;
    if (c->key.mv_size != sizeof txn_id || room == 0 || ids[0] > room - 1) return MDB_CORRUPTED;
    memcpy(&txn_id, c->key.mv_data, sizeof txn_id);
    if (txn_id >= f->below) break;
    for (uint64_t i = 1; i <= ids[0]; i++) free_pages_add(&f->pages, ids[i]);
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* LMDB gives its free list no cursor in a write transaction: hence a slot. */
int slot_free_list(db_slot *slot, uint64_t pages, uint64_t below, free_pages *out) {
  free_list f = {.call = {.txn = slot->reader.txn, .dbi = FREE_DBI}, .below = below};
  int err = free_pages_new(pages, &f.pages);
  if (err) return err;
  int rc = guarded(slot->reader.on, call_cursor_open, &f.call);
  if (rc == 0) {
    rc = guarded(slot->reader.on, call_free_list, &f);
    mdb_cursor_close(f.call.cursor);
  }
  if (rc != 0) free_pages_free(&f.pages);
  else *out = f.pages;
  return status_of(slot->db, rc);
}

/* ---- either ---------------------------------------------------------------------------------- */

int db_read_seek(db_reader r, db_table table, bytes key, bytes *found_key, bytes *value) {
  ASSERT(!r.slot != !r.txn);
  return r.slot ? db_slot_seek(r.slot, table, key, found_key, value) : db_seek(r.txn, table, key, found_key, value);
}

int db_read_next(db_reader r, db_table table, bytes *found_key, bytes *value) {
  ASSERT(!r.slot != !r.txn);
  return r.slot ? db_slot_next(r.slot, table, found_key, value) : db_next(r.txn, table, found_key, value);
}

typedef struct { bytes a, b; } comparison;

static int compare_bytes(void *env) {
  const comparison *c = env;
  return c->a.size == c->b.size && memcmp(c->a.data, c->b.data, c->a.size) == 0 ? 0 : PAGESTORE_ENOTFOUND;
}

int db_read_get(db_reader r, db_table table, bytes key, bytes *value) {
  comparison c = {.a = key};
  bytes found;
  int err = db_read_seek(r, table, key, &c.b, &found);
  if (!err) err = db_read_guarded(r, compare_bytes, &c);
  if (!err) *value = found;
  return err;
}

int db_read_guarded(db_reader r, int (*work)(void *env), void *env) {
  int rc = guarded(r.slot ? r.slot->reader.on : &r.txn->db->main, work, env);
  return rc == JUMPED ? PAGESTORE_EIO : rc;
}
