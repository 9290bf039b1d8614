/* db.h - the LMDB environment of a store: the only file that includes lmdb.h is lmdb_env.h, the inside of
 * db.c, db_writer.c, db_open.c and db_copy.c.
 *
 * Three tables with plain byte keys; one write transaction at a time; readers are slots, made at open and
 * only renewed and reset afterwards, so that a fault handler can read: no lock, no allocation, bounded stack.
 *
 * Invariants:
 * - default durability (fdatasync, then the meta page through O_DSYNC): never NOSYNC, never WRITEMAP; MDB_NOTLS;
 * - the map's size is fixed while the environment is open;
 * - every read of the mapping runs under a guard: SIGBUS becomes PAGESTORE_EIO;
 * - the LMDB transaction id of the last flush is in the store record and is compared with the meta page that
 *   LMDB chose.
 *
 * Statuses of a write: 0; ENOSPC (disk, taken back: may be tried again); EFULL (map); EFAILED (a sync, the
 * meta write, or anything whose outcome is unknown: the environment must not be written again); ENOMEM; EIO,
 * ECORRUPT (reads).
 * Thread: the writer functions by one thread at a time, the same from begin to commit or abort (the flusher;
 *         LMDB's lock belongs to it); slots by any thread, also in signal handlers.
 */
#ifndef PAGESTORE_STORAGE_DB_H
#define PAGESTORE_STORAGE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct db db;
typedef struct db_txn db_txn;     /* the write transaction */
typedef struct db_slot db_slot;   /* a reader */

typedef enum { DB_CATALOG, DB_PAGES, DB_LOG, DB_TABLES } db_table;
typedef struct { const void *data; size_t size; } bytes;

typedef struct {
  bool read_only;
  bool create_tables;     /* a new environment: make the tables */
  uint64_t map_bytes;     /* 0: 1 TiB, or the largest power of two that the address-space limit allows */
  uint64_t disk_bytes;    /* a commit that could take the file beyond fails with ENOSPC. 0: no limit */
  uint32_t slots;         /* 0: default */
} db_options;

/* `path` is the directory with data.mdb and lock.mdb. EACCES EIO ENOMEM EFORMAT ECORRUPT with a text. Blocks. */
int db_open(const char *path, const db_options *, db **);
void db_close(db *);
void db_after_fork(db *);   /* in the child: closes descriptors, frees nothing, touches no lock */

/* ---- reading --------------------------------------------------------------------------------- */

/* take spins (yielding) until a slot is free. renew begins a read transaction, or renews it to the newest
 * state; reads need it. release resets. All async-signal-safe; failures as codes without text (PAGESTORE_EIO,
 * PAGESTORE_ENOMEM). */
db_slot *db_slot_take(db *);
int db_slot_renew(db_slot *);
void db_slot_release(db_slot *);
uint8_t *db_slot_page(db_slot *);                 /* 64 KiB of scratch that belongs to the slot */
uint64_t db_slot_txn_id(const db_slot *);         /* of the state it reads */

/* First row with key >= the given one. ENOTFOUND at the table's end. key and value point into the mapping,
 * good until renew or release. */
int db_slot_seek(db_slot *, db_table, bytes key, bytes *found_key, bytes *value);
int db_slot_next(db_slot *, db_table, bytes *found_key, bytes *value);  /* after seek */

/* Returns once every slot that was taken when it was called has been released at least once, reserved ones
 * left out. Not for handlers. */
void db_slots_settle(db *);

/* A slot of one's own for as long as wanted (views of a store opened for reading): held out of the pool,
 * renewed on request, given back by db_slot_release.
 * ENOMEM: all in use but the last two */
int db_slot_reserve(db *, db_slot **);

/* ---- writing --------------------------------------------------------------------------------- */

int db_begin(db *, db_txn **);
void db_abort(db_txn *);
/* Checks room in the map and on the disk budget for what was put, commits, syncs. The transaction is gone
 * whatever it returns. The caller has put the store record with db_txn_id into it. */
int db_commit(db_txn *);
uint64_t db_txn_id(const db_txn *);
int db_get(db_txn *, db_table, bytes key, bytes *value);       /* exact; ENOTFOUND */
int db_put(db_txn *, db_table, bytes key, bytes value);
/* to be filled before the next call on the transaction; with the size of an LMDB page or more, before the commit */
int db_put_reserve(db_txn *, db_table, bytes key, size_t size, void **room);
/* Where such a room of an LMDB page or more will lie in the mapping once the transaction is committed, until its row
 * is deleted and no reader sees it any more. */
const uint8_t *db_mapped(const db_txn *, const void *room);
int db_copy_mapped(db *, void *to, const void *from, size_t size);   /* out of the mapping. EIO */
uint64_t db_entries(db_txn *, db_table);                       /* rows, as this transaction sees them; 0 if unknown */
uint64_t db_pages_added(const db_txn *);   /* LMDB pages of large values that found no room but at the file's end */
uint64_t db_pages_free(db_txn *);          /* LMDB pages in its free list, about: without reading it */
int db_delete(db_txn *, db_table, bytes key);                  /* ENOTFOUND */
int db_seek(db_txn *, db_table, bytes key, bytes *found_key, bytes *value);   /* first >= key; ENOTFOUND */
/* the row after the last seek or next; a put or delete in between needs a new seek */
int db_next(db_txn *, db_table, bytes *found_key, bytes *value);

/* ---- either ----------------------------------------------------------------------------------------------------- */

/* Reads through a renewed slot or through the write transaction: exactly one of the two is set. */
typedef struct { db_slot *slot; db_txn *txn; } db_reader;
int db_read_seek(db_reader, db_table, bytes key, bytes *found_key, bytes *value);
int db_read_next(db_reader, db_table, bytes *found_key, bytes *value);
int db_read_get(db_reader, db_table, bytes key, bytes *value);      /* exact: a seek and a comparison; ENOTFOUND */
/* For work on bytes got from the mapping beyond the call that gave them (checksums, copies): what it returns,
 * or EIO after a fault in the mapping. `work` must not hold what a jump would lose. */
int db_read_guarded(db_reader, int (*work)(void *env), void *env);

/* ---- looking --------------------------------------------------------------------------------- */

typedef struct {
  /* LMDB pages; the last two as of the last db_measure */
  uint64_t page_bytes, last_page, free_pages, free_largest_run;
  uint64_t map_bytes, file_bytes, last_txn_id;
  uint32_t readers, depth[DB_TABLES];
  uint64_t entries[DB_TABLES];
} db_info;
/* What is known against the LMDB that runs here, for a warning; NULL: nothing. Any thread */
const char *db_hazard(void);
const char *db_version(void);   /* LMDB's, with its date: constant text */
/* Reads LMDB's free list: cost follows its length. A writer's also clears readers of dead processes. Blocks.
 * Any thread */
int db_measure(db *, db_info *);
uint64_t db_file_bytes(const db *);
/* Writes the newest durable state to fd, an empty file, as a data.mdb: whole, under its transaction id; or compact,
 * without free pages and with ids that begin anew, so that the store record has to be put once more. A reader is held
 * meanwhile. ENOSPC EIO ECORRUPT. Blocks. Any thread */
int db_copy(db *, int fd, bool compact);
/* Other processes that open the environment wait from now on until db_close and then close(*fd). EBUSY: one has it
 * open; then and on any failure there is nothing left to do but db_close. */
int db_lock_out(db *, int *fd);

#endif
