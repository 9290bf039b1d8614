/* store.h - an open store: directory, database, layers, cores, snapshots, flusher.
 *
 * Invariants: one per directory in a process; a store opened for reading has no flusher, no cores in its
 *             table and no snapshots in its own: its handles read what is durable through a reader each.
 * Thread:     `lock` guards the table of cores, the table of snapshots, next ids, and the queue; it is held
 *             briefly, never while the disk is waited for.
 */
#ifndef PAGESTORE_STORE_H
#define PAGESTORE_STORE_H

#include <pthread.h>

#include "core.h"
#include "flusher.h"
#include "storage/db.h"
#include "storage/directory.h"
#include "storage/format.h"
#include "vm/region.h"

enum { CORE_BUCKETS = 4096 };

typedef struct {
  _Atomic uint64_t commits, rollbacks, blocks_dirty, blocks_unchanged, bytes_flushed, flushes, flush_ns;
  _Atomic uint64_t instances_open, memories_open;
  _Atomic uint64_t file_bytes, free_bytes, free_largest_run;   /* as last measured */
  _Atomic uint64_t log_bytes, log_budget_bytes, pages_merged;
} store_counters;

typedef struct snapshot_table { snapshot **items; uint32_t count, room; } snapshot_table;

struct pagestore_store {
  pagestore_options options;
  bool read_only;
  directory *directory;
  db *db;
  layers *layers;
  block_log *log;                /* NULL: read-only */
  flusher *flusher;              /* NULL: read-only */
  region_budget budget;
  store_counters counters;

  pthread_mutex_t lock;
  store_record record;           /* next ids as sealed; written by each flush */
  core *cores[CORE_BUCKETS];
  uint32_t handles;
  /* deletions and cores that left the table: a record read before one is not believed after it */
  uint64_t departures;
  uint64_t serial_last;          /* the highest of the cores that left */
  snapshot_table snapshots;
};

/* EINVAL EFORKED EREADONLY: the first line of every public call */
int store_check(pagestore_store *, bool to_write);
void store_log(pagestore_store *, int level, const char *text);
uint64_t store_new_id(uint64_t *next);                 /* under the lock */

/* How large the log may become over so many page rows. */
uint64_t log_budget(const pagestore_store *, uint64_t page_rows);

/* Runs `read` on a renewed slot. Its status, or the slot's. */
int store_read(pagestore_store *, int (*read)(void *env, db_reader), void *env);

#endif
