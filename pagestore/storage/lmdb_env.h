/* lmdb_env.h - the inside of db.h: the one file that includes lmdb.h, for db*.c alone.
 *
 *   the writer:   IDLE --begin--> OPEN --commit, abort--> IDLE
 *                 OPEN --unknown outcome of a commit, fault in a changing call--> FAILED (for good; db->failure)
 *   a slot:       FREE --take--> TAKEN --renew--> READING --release--> FREE       (READING --fault--> TAKEN)
 *
 * Every call into LMDB that may read its mapping runs in guarded(). A jump out of a reading call leaves a
 * transaction that can be reset or aborted: LMDB changes nothing but its own cursor there. A jump out of a
 * changing call may leave cursors of LMDB's on a stack that is gone: such an environment is abandoned, not even
 * closed, and its memory is lost until the process ends.
 *
 * After a failed meta write LMDB refuses readers, too (MDB_PANIC), but loads must go on. No writer can exist any
 * more (we are FAILED, others are kept out by the directory's lock), so a second environment is opened for
 * reading, without locks, and each slot changes over at its next renew:
 *   failover:     NONE --meta write failed--> OPENING --> READY | IMPOSSIBLE
 *
 * LMDB's writer lock is a robust mutex: begin and commit or abort come from the same thread.
 */
#ifndef PAGESTORE_STORAGE_LMDB_ENV_H
#define PAGESTORE_STORAGE_LMDB_ENV_H

#include <lmdb.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/faults.h"
#include "base/units.h"
#include "storage/db.h"
#include "storage/descriptors.h"
#include "storage/free_pages.h"

enum {
  SLOTS_MAX = 256,
  SLOT_WORDS = SLOTS_MAX / 64,
  FREE_DBI = 0,                 /* LMDB's own numbers for its free list and its main tree */
  MAIN_DBI = 1,
};
#define JUMPED INT32_MIN        /* no code of LMDB's and no errno */

struct db_txn {
  db *db;
  MDB_txn *txn;                 /* NULL: none is open */
  MDB_cursor *cursor[DB_TABLES];
  bool positioned[DB_TABLES];
  int status;                   /* the first failure of a change: the transaction can only be aborted */
  uint64_t last_page, highest_end, large_pages, reused_pages, puts, deletes;
};

/* An environment and where it is mapped. */
typedef struct {
  db *db;
  MDB_env *env;
  const uint8_t *map;
  size_t map_bytes;
} lmdb_map;

typedef struct {
  const lmdb_map *on;
  MDB_txn *txn;
  MDB_cursor *cursor[DB_TABLES];
} lmdb_reader;

typedef enum { FAILOVER_NONE, FAILOVER_OPENING, FAILOVER_READY, FAILOVER_IMPOSSIBLE } failover_state;

struct db_slot {
  db *db;
  lmdb_reader reader;
  lmdb_reader other;            /* on the second environment; after the change-over, the one left behind */
  unsigned renewed;             /* cursors that belong to the state being read, a bit each */
  bool reading;
  _Atomic bool reserved;
  _Atomic uint64_t releases;
  uint8_t *page;
};

struct db {
  lmdb_map main, second;
  _Atomic int failover;
  MDB_dbi dbi[DB_TABLES];
  uint64_t disk_bytes, page_bytes;
  bool read_only, abandoned;
  int data_fd;                  /* our own: reports each failed sync once more, whoever asked first */
  pid_t pid;
  descriptors claimed;          /* LMDB's, for the forked child */
  _Atomic int failure;
  _Atomic bool damaged;         /* an assertion of LMDB's has failed: faults are damage, not I/O */
  uint32_t slot_count;
  db_slot *slots;
  uint8_t *scratch;
  _Atomic uint64_t free_slots[SLOT_WORDS];
  db_txn writer;
  char path[];
};

typedef struct {
  MDB_env *env;
  MDB_txn *txn;
  MDB_cursor *cursor;
  MDB_dbi dbi;
  unsigned flags;
  MDB_cursor_op op;
  MDB_val key, value;
  MDB_envinfo info;
  MDB_stat stat;
} lmdb_call;

typedef int (*guarded_fn)(void *env);

/* What `work` returns, or JUMPED after a fault in the mapping. */
int guarded(const lmdb_map *, guarded_fn work, void *env);

/* One LMDB function each, on an lmdb_call; results go into it. */
int call_begin(void *env);
int call_get(void *env);
int call_cursor_open(void *env);
int call_cursor_get(void *env);
int call_info(void *env);
int call_stat(void *env);

/* Of a call whose failure is known to have written nothing. */
int status_of(const db *, int rc);

static inline MDB_val val(bytes b) { return (MDB_val){b.size, (void *)b.data}; }
static inline bytes from_val(MDB_val v) { return (bytes){v.mv_data, v.mv_size}; }

/* The pages that transactions before `below` have freed, as of a slot that reads: the caller frees the bitmap.
 * `pages`: of the file. */
int slot_free_list(db_slot *, uint64_t pages, uint64_t below, free_pages *);

/* Opens the second environment for the slots. On the writer's thread, once. */
void db_fail_over(db *);

#endif
