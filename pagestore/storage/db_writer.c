/* db_writer.c - the write transaction: changes, the room they need, the commit and what its failure means.
 * The contract is in db.h, the states are in lmdb_env.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/lmdb_env.h"
#include "storage/walker.h"

enum {
  RESERVE_PAGES = 1024,     /* kept free in the map, so that trash can be worked off in a full one */
  GROW_STEP_BYTES = 64 << 10,
  GROW_MIN_BYTES = 512 << 10, /* less comes in calls too short to do harm */
  AHEAD_BYTES = 1 << 20,      /* written beyond what a transaction adds, */
  AHEAD_FROM_BYTES = 8 << 20, /* in a file to which they are little */
};

static int call_put(void *env) {
  lmdb_call *c = env;
  return mdb_put(c->txn, c->dbi, &c->key, &c->value, c->flags);
}

static int call_delete(void *env) {
  lmdb_call *c = env;
  return mdb_del(c->txn, c->dbi, &c->key, NULL);
}

static int call_commit(void *env) { return mdb_txn_commit(((lmdb_call *)env)->txn); }

/* ---- writing: changes ------------------------------------------------------------------------ */

static int db_set_failed(db *d, const char *why) {
  atomic_store(&d->failure, PAGESTORE_EFAILED);
  return fail(PAGESTORE_EFAILED,
      "%s: %s: what was queued may or may not be durable: close the store, open it again and look at the versions",
              d->path, why);
}

/* A jump out of a changing call: see the head of this file. */
static int txn_abandon(db_txn *t) {
  t->db->abandoned = true;
  t->txn = NULL;
  atomic_store(&t->db->failure, PAGESTORE_EFAILED);
  return fail(status_of(t->db, JUMPED),
      "%s: LMDB's file could not be read while it was changed (truncated, or a disk error): close the store, check "
      "the disk, open it again",
              t->db->path);
}

static int write_failed(db *d, int rc, const char *doing) {
  int status = status_of(d, rc);
  switch (status) {
    case PAGESTORE_ENOTFOUND: return status;
    case PAGESTORE_EFULL:
      return fail(status, "%s: LMDB's map of %zu bytes is full: close the store and open it with a larger map_bytes",
          d->path, d->main.map_bytes);
    case PAGESTORE_ENOSPC:
      return fail_errno(status, rc, "%s: no room on the disk while %s: free some space, it is tried again", d->path,
          doing);
    case PAGESTORE_ENOMEM: return fail(status, "%s: out of memory while %s", d->path, doing);
    case PAGESTORE_ECORRUPT:
      return fail(status, "%s: damaged tree page while %s (%s): run pagestore check", d->path, doing,
          rc == JUMPED ? "assertion" : mdb_strerror(rc));
    case PAGESTORE_EFAILED: return db_set_failed(d, "an earlier sync has failed");
    default:
      return fail_errno(status, rc == JUMPED ? EIO : rc, "%s: LMDB's file could not be read while %s", d->path, doing);
  }
}

int db_begin(db *d, db_txn **out) {
  db_txn *t = &d->writer;
  ASSERT(!t->txn);
  if (d->read_only) return fail(PAGESTORE_EREADONLY, "%s is open for reading only", d->path);
  if (atomic_load(&d->failure)) return db_set_failed(d, "an earlier write has failed");
  *t = (db_txn){.db = d};
  lmdb_call c = {.env = d->main.env};
  int rc = guarded(&d->main, call_begin, &c);
  if (rc == JUMPED) return txn_abandon(t);
  if (rc == MDB_PANIC) db_fail_over(d); /* before readers wait for it */
  if (rc != 0) return write_failed(d, rc, "beginning a transaction");
  t->txn = c.txn;
  if ((rc = guarded(&d->main, call_info, &c)) != 0) {
    db_abort(t);
    return write_failed(d, rc, "beginning a transaction");
  }
  t->last_page = c.info.me_last_pgno;
  t->highest_end = t->last_page + 1;
  *out = t;
  return 0;
}

void db_abort(db_txn *t) {
  if (!t->txn) return; /* abandoned */
  mdb_txn_abort(t->txn); /* closes the cursors; reads nothing of the mapping */
  t->txn = NULL;
}

uint64_t db_txn_id(const db_txn *t) { return mdb_txn_id(t->txn); }

/* What every change does before and after; a failed one leaves a transaction that can only be aborted. */
static int txn_change(db_txn *t, guarded_fn work, lmdb_call *c, const char *doing) {
  if (t->status) return t->status;
  memset(t->positioned, 0, sizeof t->positioned);
  int rc = guarded(&t->db->main, work, c);
  if (rc == 0 || rc == MDB_NOTFOUND) return status_of(t->db, rc);
  t->status = rc == JUMPED ? txn_abandon(t) : write_failed(t->db, rc, doing);
  return t->status;
}

/* A value of its own LMDB pages has their header before it, which begins with the first page's number. */
static uint64_t first_page_of(const void *room) {
  uint64_t first;
  memcpy(&first, (const uint8_t *)room - LMDB_PAGE_HEADER_BYTES, sizeof first);
  return first;
}

const uint8_t *db_mapped(const db_txn *t, const void *room) {
  return t->db->main.map + first_page_of(room) * t->db->page_bytes + LMDB_PAGE_HEADER_BYTES;
}

static void txn_count_large(db_txn *t, const void *room, size_t size) {
  uint64_t count = (LMDB_PAGE_HEADER_BYTES + size + t->db->page_bytes - 1) / t->db->page_bytes;
  uint64_t first = first_page_of(room);
  t->large_pages += count;
  if (first + count - 1 <= t->last_page) t->reused_pages += count;
  t->highest_end = max_u64(t->highest_end, first + count);
}

int db_put_reserve(db_txn *t, db_table table, bytes key, size_t size, void **room) {
  lmdb_call c = {.txn = t->txn, .dbi = t->db->dbi[table], .flags = MDB_RESERVE, .key = val(key),
      .value = {.mv_size = size}};
  int err = txn_change(t, call_put, &c, "putting a row");
  if (err) return err;
  t->puts++;
  if (size >= t->db->page_bytes) txn_count_large(t, c.value.mv_data, size);
  *room = c.value.mv_data;
  return 0;
}

typedef struct { void *to; bytes from; } copying;

static int copy_bytes(void *env) {
  const copying *c = env;
  memcpy(c->to, c->from.data, c->from.size);
  return 0;
}

/* The value may lie in the mapping, so the copy is guarded; a row half filled must not be committed. */
int db_put(db_txn *t, db_table table, bytes key, bytes value) {
  copying c = {.from = value};
  int err = db_put_reserve(t, table, key, value.size, &c.to);
  if (err) return err;
  int rc = guarded(&t->db->main, copy_bytes, &c);
  if (rc != 0) t->status = write_failed(t->db, rc, "putting a row");
  return t->status;
}

int db_delete(db_txn *t, db_table table, bytes key) {
  lmdb_call c = {.txn = t->txn, .dbi = t->db->dbi[table], .key = val(key)};
  int err = txn_change(t, call_delete, &c, "deleting a row");
  if (!err) t->deletes++;
  return err;
}

int db_copy_mapped(db *d, void *to, const void *from, size_t size) {
  copying c = {.to = to, .from = {from, size}};
  int rc = guarded(&d->main, copy_bytes, &c);
  return rc == 0 ? 0 : status_of(d, rc);
}

/* ---- writing: reads in between --------------------------------------------------------------- */

static int txn_read(db_txn *t, guarded_fn work, lmdb_call *c) {
  if (t->status) return t->status;
  int rc = guarded(&t->db->main, work, c);
  return rc == 0 ? 0 : write_failed(t->db, rc, "reading a row");
}

int db_get(db_txn *t, db_table table, bytes key, bytes *value) {
  lmdb_call c = {.txn = t->txn, .dbi = t->db->dbi[table], .key = val(key)};
  int err = txn_read(t, call_get, &c);
  if (!err) *value = from_val(c.value);
  return err;
}

static int txn_move(db_txn *t, db_table table, lmdb_call *c, bytes *found_key, bytes *value) {
  t->positioned[table] = false;
  c->cursor = t->cursor[table];
  int err = txn_read(t, call_cursor_get, c);
  if (err) return err;
  t->positioned[table] = true;
  *found_key = from_val(c->key);
  *value = from_val(c->value);
  return 0;
}

int db_seek(db_txn *t, db_table table, bytes key, bytes *found_key, bytes *value) {
  lmdb_call c = {.txn = t->txn, .dbi = t->db->dbi[table], .op = MDB_SET_RANGE, .key = val(key)};
  if (!t->cursor[table]) {
    int err = txn_read(t, call_cursor_open, &c);
    if (err) return err;
    t->cursor[table] = c.cursor;
  }
  return txn_move(t, table, &c, found_key, value);
}

int db_next(db_txn *t, db_table table, bytes *found_key, bytes *value) {
  if (t->status) return t->status;
  ASSERT(t->positioned[table]);
  lmdb_call c = {.op = MDB_NEXT};
  return txn_move(t, table, &c, found_key, value);
}

uint64_t db_entries(db_txn *t, db_table table) {
  lmdb_call c = {.txn = t->txn, .dbi = t->db->dbi[table]};
  return guarded(&t->db->main, call_stat, &c) != 0 ? 0 : c.stat.ms_entries;
}

uint64_t db_pages_added(const db_txn *t) { return t->large_pages - t->reused_pages; }

/* Eight bytes a page: long lists of them have LMDB pages of their own, short ones lie in the tree's leaves. */
uint64_t db_pages_free(db_txn *t) {
  lmdb_call c = {.txn = t->txn, .dbi = FREE_DBI};
  if (guarded(&t->db->main, call_stat, &c) != 0) return 0;
  return (c.stat.ms_overflow_pages + c.stat.ms_leaf_pages) * (t->db->page_bytes / sizeof(uint64_t));
}

/* ---- room ------------------------------------------------------------------------------------ */

/* A line of mdb_reader_list: process, thread, transaction ("-" for none). */
static int note_oldest(const char *line, void *env) {
  unsigned long long txn_id;
  uint64_t *oldest = env;
  if (sscanf(line, "%*d %*x %llu", &txn_id) == 1) *oldest = min_u64(*oldest, txn_id);
  return 0;
}

/* How many free pages LMDB may use again in this transaction. */
static int txn_reusable(db_txn *t, uint64_t *count) {
  db *d = t->db;
  uint64_t oldest = mdb_txn_id(t->txn) - 1;
  mdb_reader_list(d->main.env, note_oldest, &oldest);
  db_slot *slot = db_slot_take(d);
  free_pages pages;
  int err = db_slot_renew(slot);
  if (!err) err = slot_free_list(slot, t->last_page + 1, oldest, &pages);
  db_slot_release(slot);
  if (err) return fail(err, "%s: LMDB's free list could not be read", d->path);
  *count = pages.count;
  free_pages_free(&pages);
  return 0;
}

/* Refuses a commit that would leave too few pages to work off trash, or grow the file beyond its budget, before
 * LMDB writes anything. `slack` is for tree pages and the free list: generous, since only the last few megabytes
 * are lost to it. What deletes more than it puts always passes: it is the way out. */
static int txn_check_room(db_txn *t) {
  db *d = t->db;
  if (!t->large_pages && t->puts <= t->deletes + 16) return 0;
  uint64_t map_pages = d->main.map_bytes / d->page_bytes, reserve = min_u64(RESERVE_PAGES, map_pages / 16);
  /* A file beyond its budget already (what gives room back may have grown it) has room inside again some day. */
  uint64_t disk_pages = d->disk_bytes ? max_u64(d->disk_bytes / d->page_bytes, t->last_page + 1) : UINT64_MAX;
  uint64_t slack = 2 * (t->puts + t->deletes) + t->large_pages / 64 + 64;
  uint64_t end = t->highest_end + slack, left = 0;
  if (end + reserve <= map_pages && end <= disk_pages) return 0;
  int err = txn_reusable(t, &left);
  if (err) return err;
  left -= min_u64(left, t->reused_pages);
  end = t->highest_end + (left >= slack ? 0 : slack - left);
  left -= min_u64(left, slack);
  if (end > disk_pages)
    return fail(PAGESTORE_ENOSPC,
        "%s: the store would pass its %llu disk_bytes: drop snapshots or instances, or raise the limit", d->path,
        (unsigned long long)d->disk_bytes);
  if (end + reserve > map_pages + left) return write_failed(d, MDB_MAP_FULL, "committing");
  return 0;
}

/* ---- commit ---------------------------------------------------------------------------------- */

/* Whether a failed write was only a full disk: no sync has failed, the meta page was not touched, and there is no
 * room. LMDB says EIO for a short write, which is how most file systems begin to be full. EIO with room left is taken
 * for a failed sync: LMDB says the same for both, and our own descriptor hears of pages that were not written back,
 * but not of a drive that failed to flush its cache. (Without room a failed flush may be taken for a short write; the
 * commit is taken back all the same, and the next one writes all its pages anew before its own sync.) */
static bool disk_is_full(const db_txn *t, int rc) {
  const db *d = t->db;
  if (fdatasync(d->data_fd) != 0) return false;
  if (rc == ENOSPC || rc == EDQUOT) return true;
  struct statvfs fs;
  if (fstatvfs(d->data_fd, &fs) != 0) return false;
  uint64_t wanted = (t->large_pages + t->puts + t->deletes + RESERVE_PAGES) * d->page_bytes;
  return (uint64_t)fs.f_bavail * fs.f_frsize < wanted;
}

/* After a failed meta write LMDB refuses everything until it is opened again. */
static bool lmdb_is_usable(db *d) {
  lmdb_call c = {.env = d->main.env};
  if (guarded(&d->main, call_begin, &c) != 0) return false;
  mdb_txn_abort(c.txn);
  return true;
}

static int commit_failed(db_txn *t, int rc) {
  db *d = t->db;
  if (rc < 0 && rc != MDB_PANIC) return write_failed(d, rc, "committing"); /* LMDB's own: before its first write */
  if (rc == ENOMEM) return write_failed(d, rc, "committing");              /* likewise */
  bool usable = lmdb_is_usable(d);
  bool full = (rc == ENOSPC || rc == EDQUOT || rc == EIO) && usable && disk_is_full(t, rc);
  if (!usable) db_fail_over(d);
  return full ? write_failed(d, ENOSPC, "committing") : db_set_failed(d, rc > 0 ? strerror(rc) : mdb_strerror(rc));
}

/* Where the file is to end for a transaction that adds to it: with room for more of its kind. */
static uint64_t end_ahead(const db *d, uint64_t file_bytes, uint64_t end) {
  uint64_t limit = d->disk_bytes ? min_u64(d->disk_bytes, d->main.map_bytes) : d->main.map_bytes;
  uint64_t ahead = file_bytes < AHEAD_FROM_BYTES ? 0 : AHEAD_BYTES;
  return max_u64(end, min_u64(align_up(end + ahead, GROW_STEP_BYTES), limit));
}

/* What is added to the file is zeros first, in small steps, for two reasons. LMDB writes neighbouring values in one
 * call, megabytes long where the file grows; the page cache then has folios of 2 MiB there, and every later write of
 * 4 KiB into one costs 50 us instead of 6. And a sync that has to record a new length and new places costs half as
 * much again, so one transaction does so for a dozen small ones. Nobody reads behind the last page; what fails here
 * LMDB's own write tells. */
static void grow_file(const db_txn *t) {
  static const uint8_t zeros[GROW_STEP_BYTES];
  const db *d = t->db;
  uint64_t at = db_file_bytes(d), end = t->highest_end * d->page_bytes;
  int fd;
  if (at == 0 || at >= end || mdb_env_get_fd(d->main.env, &fd) != 0) return;
  if (at < AHEAD_FROM_BYTES && end - at < GROW_MIN_BYTES) return;
  for (end = end_ahead(d, at, end); at < end;) {
    uint64_t stop = min_u64(end, align_up(at + 1, GROW_STEP_BYTES));
    ssize_t done = pwrite(fd, zeros, stop - at, (off_t)at);
    if (done <= 0) return;
    at += (uint64_t)done;
  }
}

int db_commit(db_txn *t) {
  int err = t->status ? t->status : txn_check_room(t);
  if (err) {
    db_abort(t);
    return err;
  }
  if (t->large_pages) grow_file(t);
  lmdb_call c = {.txn = t->txn};
  int rc = guarded(&t->db->main, call_commit, &c);
  if (rc == JUMPED) return txn_abandon(t), db_set_failed(t->db, "LMDB's file could not be read during a commit");
  t->txn = NULL;
  return rc == 0 ? 0 : commit_failed(t, rc);
}
