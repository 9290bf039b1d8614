/* db_open.c - opening, closing and measuring the LMDB environment. The contract is in db.h, the states are in
 * lmdb_env.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/lmdb_env.h"
#include "storage/walker.h"

enum {
  SLOTS_DEFAULT = 32,
  READERS_SPARE = 1024, /* for other processes; the first opener decides for all */
  FILE_MODE = 0644,
  LOCK_BYTES_READER = 64, /* of lock.mdb for each reader; its header is less than a page */
};
#define MAP_BYTES_DEFAULT (1ull << 40)
#define MAP_BYTES_MIN (1ull << 20)

static const char *const table_names[DB_TABLES] = {"catalog", "pages", "log"};

/* ---- the map's size -------------------------------------------------------------------------- */

/* Half of an address-space limit is left for everything else. */
static uint64_t map_bytes_default(void) {
  struct rlimit limit;
  uint64_t map = MAP_BYTES_DEFAULT;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return map;
  while (map > MAP_BYTES_MIN && map > limit.rlim_cur / 2) map /= 2;
  return map;
}

static uint64_t map_bytes_for(uint64_t wanted, uint64_t file_bytes) {
  uint64_t map = max_u64(wanted ? wanted : map_bytes_default(), file_bytes);
  return align_up(max_u64(map, MAP_BYTES_MIN), LMDB_PAGE_BYTES);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int open_failed(const db *d, int rc) {
  switch (rc) {
    case EACCES:
    case EPERM:
      return fail_errno(PAGESTORE_EACCES, rc,
          "%s: data.mdb or lock.mdb may not be opened (readers of a live store need write permission on lock.mdb, "
          "too): change the permissions", d->path);
    case EROFS: return fail_errno(PAGESTORE_EACCES, rc, "%s: open it for reading only", d->path);
    case ENOMEM:
      return fail(PAGESTORE_ENOMEM,
          "%s: no address space for a map of %zu bytes, or no memory: give a smaller map_bytes, or raise the limit "
          "(ulimit -v)", d->path, d->main.map_bytes);
    case ENOENT:
      return fail(PAGESTORE_EFORMAT, "%s: no data.mdb there: not a store, or an incomplete copy of one", d->path);
    case EMFILE:
    case ENFILE:
      return fail_errno(PAGESTORE_ENOMEM, rc, "%s: no descriptor left: raise the limit (ulimit -n)", d->path);
    case ENOSPC:
    case EDQUOT: return fail_errno(PAGESTORE_ENOSPC, rc, "%s: no room on the disk: free some", d->path);
    case MDB_READERS_FULL:
      return fail(PAGESTORE_ENOMEM, "%s: LMDB's table of readers is full: close other readers of this store", d->path);
    case MDB_VERSION_MISMATCH:
      return fail(PAGESTORE_EFORMAT,
          "%s: a process with an incompatible LMDB has it open: end that process, or use the same LMDB", d->path);
    case MDB_NOTFOUND:
    case MDB_INCOMPATIBLE:
      return fail(PAGESTORE_EFORMAT, "%s: an LMDB environment, but not a pagestore: give the path of a store", d->path);
    case JUMPED: return fail(PAGESTORE_EIO, "%s: data.mdb could not be read: check the disk", d->path);
    default: {
      int status = status_of(d, rc);
      if (rc > 0) return fail_errno(status, rc, "%s: could not be opened", d->path);
      return fail(status, "%s: could not be opened (%s): run pagestore check", d->path, mdb_strerror(rc));
    }
  }
}

/* An assertion of LMDB's means a damaged tree page. The map's last page is never in the file, so reading it jumps
 * back to the guard instead of letting LMDB print and abort. */
static void lmdb_assertion_failed(MDB_env *env, const char *text) {
  (void)text;
  const lmdb_map *m = mdb_env_get_userctx(env);
  if (m->map_bytes == SIZE_MAX) return;
  atomic_store(&m->db->damaged, true);
  (void)*(const volatile uint8_t *)(m->map + m->map_bytes - 1);
}

/* ---- the environment ------------------------------------------------------------------------- */

/* Our own descriptor of data.mdb, and the look at it before LMDB sees it. */
static int data_open(db *d, bool exists, uint64_t *file_bytes) {
  int at = open(d->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return open_failed(d, errno);
  d->data_fd = openat(at, "data.mdb", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  int errnum = errno;
  close(at);
  if (d->data_fd < 0) return open_failed(d, errnum);
  walker_metas metas;
  int err = exists ? walker_check_meta(d->data_fd, d->path, &metas) : 0;
  if (!err && exists) *file_bytes = metas.file_bytes;
  return err;
}

static void find_descriptors(const db *d, descriptors *out) {
  out->count = 0;
  descriptors_find(d->path, "data.mdb", out);
  descriptors_find(d->path, "lock.mdb", out);
}

static int env_open_once(lmdb_map *m, unsigned flags, uint32_t readers) {
  int rc = mdb_env_create(&m->env);
  if (rc) return rc;
  mdb_env_set_userctx(m->env, m);
  mdb_env_set_assert(m->env, lmdb_assertion_failed);
  mdb_env_set_maxdbs(m->env, DB_TABLES);
  mdb_env_set_maxreaders(m->env, readers);
  mdb_env_set_mapsize(m->env, m->map_bytes);
  rc = mdb_env_open(m->env, m->db->path, MDB_NOTLS | flags, FILE_MODE);
  if (rc == 0) return 0;
  mdb_env_close(m->env);
  m->env = NULL;
  return rc;
}

/* LMDB writes to lock.mdb through a mapping of a file that it only made long, so on a full disk that would be a SIGBUS:
 * its blocks are asked for before. Whatever else is wrong with it, LMDB tells. Nobody in this process may have the
 * environment open, for closing the descriptor takes LMDB's locks away. */
static int lock_reserve(const db *d, uint32_t readers) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/lock.mdb", d->path) >= (int)sizeof path) return 0;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
  if (fd < 0) return errno == ENOSPC || errno == EDQUOT ? errno : 0;
  off_t bytes = (off_t)readers * LOCK_BYTES_READER + LMDB_PAGE_BYTES;
  int rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0 ? 0 : errno;
  close(fd);
  return rc == ENOSPC || rc == EDQUOT ? rc : 0;
}

/* A default map is halved until it fits into what is free; one that was asked for is not. */
static int env_open(db *d, const db_options *o, uint32_t slots, uint64_t file_bytes) {
  descriptors before, after;
  lmdb_map *m = &d->main;
  unsigned flags = d->read_only ? MDB_RDONLY : 0;
  m->map_bytes = map_bytes_for(o->map_bytes, file_bytes);
  find_descriptors(d, &before);
  int rc = lock_reserve(d, slots + READERS_SPARE);
  if (rc) return open_failed(d, rc);
  rc = env_open_once(m, flags, slots + READERS_SPARE);
  while (rc == ENOMEM && !o->map_bytes && m->map_bytes / 2 >= max_u64(2 * file_bytes, MAP_BYTES_MIN)) {
    m->map_bytes = align_up(m->map_bytes / 2, LMDB_PAGE_BYTES);
    rc = env_open_once(m, flags, slots + READERS_SPARE);
  }
  if (rc) return open_failed(d, rc);
  find_descriptors(d, &after);
  descriptors_claim(&before, &after, &d->claimed);
  return 0;
}

/* ---- the tables ------------------------------------------------------------------------------ */

typedef struct {
  MDB_env *env;
  MDB_dbi dbi[DB_TABLES];
  bool create;
} tables_call;

static int tables_begun(tables_call *c, MDB_txn *txn) {
  for (int t = 0; t < DB_TABLES; t++) {
    unsigned flags;
    int rc = mdb_dbi_open(txn, table_names[t], c->create ? MDB_CREATE : 0, &c->dbi[t]);
    if (rc == 0) rc = mdb_dbi_flags(txn, c->dbi[t], &flags);
    if (rc) return rc;
    if (flags) return MDB_INCOMPATIBLE; /* ours have plain byte keys */
  }
  return 0;
}

static int call_open_tables(void *env) {
  tables_call *c = env;
  MDB_txn *txn;
  int rc = mdb_txn_begin(c->env, NULL, c->create ? 0 : MDB_RDONLY, &txn);
  if (rc) return rc;
  if ((rc = tables_begun(c, txn)) == 0) return mdb_txn_commit(txn);
  mdb_txn_abort(txn);
  return rc;
}

typedef struct {
  MDB_env *env;
  const uint8_t *map;
  uint64_t page_bytes;
} map_call;

/* LMDB does not tell where it maps: a row of the main tree lies in a leaf page, which begins with its own number. */
static int call_find_map(void *env) {
  map_call *m = env;
  MDB_txn *txn;
  MDB_cursor *cursor;
  MDB_val key, value;
  MDB_stat stat;
  int rc = mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn);
  if (rc) return rc;
  if ((rc = mdb_stat(txn, MAIN_DBI, &stat)) != 0) goto abort;
  if ((rc = mdb_cursor_open(txn, MAIN_DBI, &cursor)) != 0) goto abort;
  rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
  mdb_cursor_close(cursor);
  if (rc) goto abort;
  uintptr_t page = (uintptr_t)value.mv_data & ~((uintptr_t)stat.ms_psize - 1);
  m->map = (const uint8_t *)page - *(const size_t *)page * stat.ms_psize;
  m->page_bytes = stat.ms_psize;
abort:
  mdb_txn_abort(txn);
  return rc;
}

/* The guard is around everything, until it is known where the map is. */
static int map_open_tables(lmdb_map *m, bool create, MDB_dbi dbi[DB_TABLES], uint64_t *page_bytes) {
  tables_call tables = {.env = m->env, .create = create};
  map_call map = {.env = m->env};
  size_t map_bytes = m->map_bytes;
  m->map_bytes = SIZE_MAX;
  int rc = guarded(m, call_open_tables, &tables);
  if (rc == 0) rc = guarded(m, call_find_map, &map);
  m->map_bytes = map_bytes;
  m->map = map.map;
  *page_bytes = map.page_bytes;
  memcpy(dbi, tables.dbi, sizeof tables.dbi);
  return rc;
}

static int tables_open(db *d, bool create) {
  int rc = map_open_tables(&d->main, create, d->dbi, &d->page_bytes);
  if (rc == JUMPED) d->abandoned = true;
  if (rc) return open_failed(d, rc);
  if (d->page_bytes == LMDB_PAGE_BYTES) return 0;
  return fail(PAGESTORE_EUNSUPPORTED, "%s: this machine's pages have %llu bytes: pagestore needs 4,096", d->path,
              (unsigned long long)d->page_bytes);
}

/* ---- the slots ------------------------------------------------------------------------------- */

/* Begins, opens a cursor on each table, reads once (so that the first fault handler finds pages and symbols in
 * place), resets. */
static int reader_open(const lmdb_map *m, lmdb_reader *out) {
  lmdb_call c = {.env = m->env, .flags = MDB_RDONLY, .op = MDB_FIRST};
  int rc = guarded(m, call_begin, &c);
  if (rc) return rc;
  out->on = m;
  out->txn = c.txn;
  for (int t = 0; t < DB_TABLES; t++) {
    c.dbi = m->db->dbi[t];
    if ((rc = guarded(m, call_cursor_open, &c)) != 0) return rc;
    out->cursor[t] = c.cursor;
    rc = guarded(m, call_cursor_get, &c);
    if (rc && rc != MDB_NOTFOUND) return rc;
  }
  mdb_txn_reset(out->txn);
  return 0;
}

static void reader_close(lmdb_reader *r) {
  for (int t = 0; t < DB_TABLES; t++)
    if (r->cursor[t]) mdb_cursor_close(r->cursor[t]);
  mdb_txn_abort(r->txn);
  *r = (lmdb_reader){0};
}

static int slots_open(db *d, uint32_t count) {
  d->slots = calloc(count, sizeof *d->slots);
  d->scratch = aligned_alloc(LMDB_PAGE_BYTES, (size_t)count * PAGE_BYTES);
  if (!d->slots || !d->scratch) return fail(PAGESTORE_ENOMEM, "%s: no memory for %u readers", d->path, count);
  memset(d->scratch, 0, (size_t)count * PAGE_BYTES); /* so that it is there before the first fault */
  d->slot_count = count;
  for (uint32_t i = 0; i < count; i++) {
    d->slots[i].page = d->scratch + (size_t)i * PAGE_BYTES;
    d->slots[i].db = d;
    int rc = reader_open(&d->main, &d->slots[i].reader);
    if (rc) return open_failed(d, rc);
    atomic_fetch_or(&d->free_slots[i / 64], 1ull << i % 64);
  }
  return 0;
}

static void slots_close(db *d) {
  for (uint32_t i = 0; i < d->slot_count; i++) {
    reader_close(&d->slots[i].reader);
    reader_close(&d->slots[i].other);
  }
  free(d->slots);
  free(d->scratch);
}

/* ---- after a failed meta write --------------------------------------------------------------- */

/* Without LMDB's locks: there is no writer any more. One page more than the file has, for lmdb_assertion_failed. */
static int second_open(db *d) {
  lmdb_map *m = &d->second;
  descriptors before, after, claimed;
  MDB_dbi dbi[DB_TABLES];
  uint64_t page_bytes;
  m->map_bytes = align_up(db_file_bytes(d), LMDB_PAGE_BYTES) + LMDB_PAGE_BYTES;
  find_descriptors(d, &before);
  int rc = env_open_once(m, MDB_RDONLY | MDB_NOLOCK, 1);
  if (rc) return rc;
  find_descriptors(d, &after);
  descriptors_claim(&before, &after, &claimed);
  for (size_t i = 0; i < claimed.count && d->claimed.count < DESCRIPTORS_MAX; i++)
    d->claimed.fd[d->claimed.count++] = claimed.fd[i];
  if ((rc = map_open_tables(m, false, dbi, &page_bytes)) != 0) return rc;
  if (memcmp(dbi, d->dbi, sizeof dbi) != 0) return MDB_INCOMPATIBLE; /* opened in one order, so numbered alike */
  for (uint32_t i = 0; i < d->slot_count && !rc; i++) rc = reader_open(m, &d->slots[i].other);
  return rc;
}

void db_fail_over(db *d) {
  if (atomic_load(&d->failover) != FAILOVER_NONE) return;
  atomic_store(&d->failover, FAILOVER_OPENING);
  atomic_store(&d->failover, second_open(d) == 0 ? FAILOVER_READY : FAILOVER_IMPOSSIBLE);
}

/* ---- open and close -------------------------------------------------------------------------- */

/* Those of dead processes would keep every page freed since. */
static void clear_dead_readers(db *d) {
  if (!d->read_only && !atomic_load(&d->failure)) mdb_reader_check(d->main.env, NULL);
}

static int db_open_parts(db *d, const db_options *o) {
  uint32_t slots = o->slots ? (uint32_t)min_u64(o->slots, SLOTS_MAX) : SLOTS_DEFAULT;
  uint64_t file_bytes = 0;
  int err = 0;
  if (!o->create_tables && (err = data_open(d, true, &file_bytes)) != 0) return err;
  if ((err = env_open(d, o, slots, file_bytes)) != 0) return err;
  if (o->create_tables && (err = data_open(d, false, &file_bytes)) != 0) return err;
  if ((err = tables_open(d, o->create_tables)) != 0) return err;
  clear_dead_readers(d);
  return slots_open(d, slots);
}

int db_open(const char *path, const db_options *options, db **out) {
  ASSERT(!(options->read_only && options->create_tables));
  int err = faults_install();
  if (err) return err;
  db *d = calloc(1, sizeof *d + strlen(path) + 1);
  if (!d) return fail(PAGESTORE_ENOMEM, "%s: no memory to open it", path);
  strcpy(d->path, path);
  d->main.db = d->second.db = d;
  d->read_only = options->read_only;
  d->disk_bytes = options->disk_bytes;
  d->data_fd = -1;
  d->pid = getpid();
  if ((err = db_open_parts(d, options)) != 0) goto close;
  *out = d;
  return 0;
close:
  db_close(d);
  return err;
}

/* Nothing of LMDB's is touched in a forked child, whose locks are its parent's, nor after a jump out of a change. */
void db_close(db *d) {
  if (!d || d->pid != getpid() || d->abandoned) return;
  ASSERT(!d->writer.txn);
  slots_close(d);
  if (d->second.env) mdb_env_close(d->second.env);
  if (d->main.env) mdb_env_close(d->main.env);
  if (d->data_fd >= 0) close(d->data_fd);
  free(d);
}

void db_after_fork(db *d) {
  for (size_t i = 0; i < d->claimed.count; i++) close(d->claimed.fd[i]);
  if (d->data_fd >= 0) close(d->data_fd);
  d->claimed.count = 0;
  d->data_fd = -1;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Not fstat: a kernel since 6.13 gives a file whose times have been looked at a new one with the next write, and each
 * commit would record that on the disk, too: 75 us on ext4 without a journal. */
uint64_t db_file_bytes(const db *d) {
  off_t end = lseek(d->data_fd, 0, SEEK_END);
  return end > 0 ? (uint64_t)end : 0;
}

static int measure_tables(db_slot *slot, db_info *out) {
  lmdb_call c = {.env = slot->reader.on->env, .txn = slot->reader.txn};
  int rc = guarded(slot->reader.on, call_info, &c);
  if (rc) return rc;
  out->last_page = c.info.me_last_pgno;
  out->last_txn_id = mdb_txn_id(slot->reader.txn);
  out->readers = c.info.me_numreaders;
  for (int t = 0; t < DB_TABLES; t++) {
    c.dbi = slot->db->dbi[t];
    if ((rc = guarded(slot->reader.on, call_stat, &c)) != 0) return rc;
    out->depth[t] = c.stat.ms_depth;
    out->entries[t] = c.stat.ms_entries;
  }
  return 0;
}

int db_measure(db *d, db_info *out) {
  db_info found = {.page_bytes = d->page_bytes, .map_bytes = d->main.map_bytes, .file_bytes = db_file_bytes(d)};
  free_pages pages;
  clear_dead_readers(d);
  db_slot *slot = db_slot_take(d);
  int err = db_slot_renew(slot);
  if (!err) err = status_of(d, measure_tables(slot, &found));
  if (!err) err = slot_free_list(slot, found.last_page + 1, UINT64_MAX, &pages);
  db_slot_release(slot);
  if (err) return fail(err, "%s: could not be measured: LMDB's file cannot be read, or no memory", d->path);
  found.free_pages = pages.count;
  found.free_largest_run = free_pages_largest_run(&pages);
  free_pages_free(&pages);
  *out = found;
  return 0;
}

/* ---- hazards --------------------------------------------------------------------------------- */

const char *db_version(void) { return mdb_version(NULL, NULL, NULL); }

const char *db_hazard(void) {
  int major, minor, patch;
  mdb_version(&major, &minor, &patch);
  if (major == 0 && minor == 9 && patch >= 26 && patch <= 31)
    return "LMDB 0.9.26 to 0.9.31 have a race in their writer's lock: take 0.9.24, or 0.9.32 and later";
  return NULL;
}
