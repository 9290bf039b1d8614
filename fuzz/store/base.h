/* base.h - the whole stores that fuzz_store damages, as bytes; made at run time, of the same shape each time.
 *
 *   BASE_RICH   few pages, all that a store can hold: layers by fork and restore, snapshots, a zero marker, metadata and a table of
 *               memories in pages, trash that waits
 *   BASE_MANY   many instances and snapshots: a catalog with branch pages
 *   BASE_LOG    as the rich one, and block records behind the log's beginning, of several instances
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_BASE_H
#define PAGESTORE_FUZZ_BASE_H

#include <stddef.h>
#include <stdint.h>

typedef enum { BASE_RICH, BASE_MANY, BASE_LOG, BASES } base_kind;

typedef struct {
  uint8_t *bytes;
  size_t size, pages;        /* pages of 4,096 bytes */
  uint32_t *tree, *overflow; /* meta, branch and leaf pages; first pages of overflow runs */
  size_t tree_count, overflow_count;
  uint64_t *records; /* where catalog records are */
  uint32_t *record_bytes;
  size_t record_count;
} base;

/* `folder` is empty and is empty again afterwards. Made once. */
const base *base_get(base_kind, const char *folder);
/* Of a catalog record, as those of the whole stores have it. */
uint64_t base_record_checksum(const void *key, size_t key_bytes, const uint8_t *record, size_t covered_bytes);

#endif
