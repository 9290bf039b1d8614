/* snapshot.h - the table of a store's snapshots, as sealed: ahead of what is durable.
 *
 *   QUEUED --durable--> KEPT --drop sealed--> DROPPING --durable--> (gone)
 *     |                  ^                        |
 *     +--taken back      +------taken back--------+
 *
 * A snapshot retains its (layer, version) from QUEUED until its record is gone from the disk. Names of QUEUED
 * and KEPT ones are taken.
 * Thread: store->lock.
 */
#ifndef PAGESTORE_SNAPSHOT_H
#define PAGESTORE_SNAPSHOT_H

#include "store.h"

typedef enum { SNAPSHOT_QUEUED, SNAPSHOT_KEPT, SNAPSHOT_DROPPING } snapshot_life;

struct snapshot {
  snapshot_life life;
  uint64_t instance, layer, version, time_ns;
  uint64_t serial;               /* of its core in this process; 0: made before it was opened */
  id128 id;
  char name[NAME_BYTES_MAX + 1];
};

int snapshot_table_load(pagestore_store *, db_reader);
int snapshot_lost_layer(const char *name, uint64_t layer);                             /* ECORRUPT, with its text */
void snapshot_table_free(pagestore_store *);
snapshot *snapshot_find(pagestore_store *, uint64_t instance, const char *name);      /* QUEUED or KEPT */
snapshot *snapshot_next(pagestore_store *, uint64_t instance, const char *after);     /* likewise, by name */
/* Retains its point. ENOTFOUND: no such layer. ENOMEM */
int snapshot_add(pagestore_store *, const snapshot *, snapshot **);
/* At this serial the instance was again what the snapshot is. */
void snapshot_is_at(pagestore_store *, uint64_t instance, id128 id, uint64_t serial);
void snapshot_remove(pagestore_store *, snapshot *);                                  /* and its point */

#endif
