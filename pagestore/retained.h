/* retained.h - what each snapshot of an instance alone keeps from being freed.
 *
 * A row counts for a snapshot if, without it, no point would need the row. Reads every key of the layers
 * concerned, in one short-lived reader: cost follows the rows. Thread: any. Blocks.
 */
#ifndef PAGESTORE_RETAINED_H
#define PAGESTORE_RETAINED_H

#include "store.h"

typedef struct { char name[NAME_BYTES_MAX + 1]; uint64_t layer, version, bytes; } retained_snapshot;
typedef struct { retained_snapshot *items; uint32_t count, room; } retained_list;

/* Snapshots by name. A store open for writing also lists those that are sealed and not durable yet, with 0
 * bytes. ENOTFOUND: no such instance. items: to be freed */
int retained_measure(pagestore_store *, const char *instance, retained_list *);

#endif
