/* walker.h - an independent reader of LMDB's file format 0.9 (data version 1).
 *
 * It reads by pread, without a mapping and without LMDB, and believes nothing that it has not checked: for the
 * look at a file before LMDB sees it, for check and recover, and for the proof of crash safety.
 *
 * Invariants: no page number is followed before it was found in range, and none twice (but once by the free tree and
 *             once by another: a wrong number in one must not cost the other); memory is bounded by three bits per
 *             page of the file and one page per tree level; a hostile file ends in findings, never in a crash or a
 * loop. Thread:     one at a time per walk; no global state.
 */
#ifndef PAGESTORE_STORAGE_WALKER_H
#define PAGESTORE_STORAGE_WALKER_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/db.h"

enum { LMDB_PAGE_BYTES = 4096, LMDB_PAGE_HEADER_BYTES = 16, LMDB_METAS = 2, LMDB_TABLE_NAME_MAX = 64 };
#define LMDB_NO_PAGE UINT64_MAX

/* ---- meta pages ------------------------------------------------------------------------------ */

/* A tree's record, in a meta page or in the main tree. */
typedef struct {
  uint16_t flags, depth;
  uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;   /* root LMDB_NO_PAGE: empty */
} walker_tree;

typedef struct {
  bool usable;                 /* every check of this meta page passed */
  uint64_t txn_id, last_page, map_bytes;
  walker_tree free, main;
} walker_meta;

typedef struct {
  uint64_t file_bytes;
  walker_meta meta[LMDB_METAS];
  /* The one that LMDB takes: the higher txn_id. Usable if check_meta returned 0. The older has then a sound head and
   * the transaction id before, but its trees may contradict themselves: ask meta[].usable. */
  unsigned newest;
  /* The caller's, for walks: the free list comes first, and where it is in order no page in it is followed: a number
   * that leads to what is free is damaged. Else a page that is both is a finding, after all else. */
  bool free_first;
} walker_metas;

/* The quick look at every open: EFORMAT (empty, not LMDB's, another data version or page size), ECORRUPT
 * (truncated, garbage in a meta page), EIO, each with its own text that begins with `path`. Fills *out as far as
 * it came, also on failure: recover asks for what is usable. Blocks. */
int walker_check_meta(int fd, const char *path, walker_metas *out);

/* ---- the walk -------------------------------------------------------------------------------- */

typedef enum { WALKER_BRANCH, WALKER_LEAF, WALKER_OVERFLOW } walker_page_kind;

/* Where a value is: in the file, contiguous, checked to be in range. */
typedef struct { uint64_t at, size; } walker_place;

typedef struct {
  void *env;
  /* Something is wrong with `page` (LMDB_NO_PAGE: with the whole). The text is good during the call. Non-zero
   * stops the walk. */
  int (*finding)(void *env, uint64_t page, const char *text);
  /* A row of a named table; the key is good during the call. Non-zero stops the walk. May be NULL. */
  int (*row)(void *env, const char *table, bytes key, walker_place value);
  /* A reachable page (run of `count` for overflow) of a tree: named, "main" or "free". Its number is in range and
   * was not met before; what is in it has not been looked at, and the file may end before it. Non-zero stops. May
   * be NULL. */
  int (*page)(void *env, const char *table, walker_page_kind, uint64_t first, uint64_t count);
  /* An entry of the free list: freed by this transaction. Non-zero stops. May be NULL. */
  int (*freed)(void *env, uint64_t txn_id, uint64_t page);
  /* A named table whose record is in order, before its pages. Non-zero stops. May be NULL. */
  int (*table)(void *env, const char *table, const walker_tree *);
  /* A row whose key is in order but whose value cannot be located (a finding has told). Non-zero stops. May be NULL. */
  int (*row_lost)(void *env, const char *table, bytes key);
  /* Rows with low <= key < high may not have been met (a finding has told). data NULL: from the first, to the last.
   * Non-zero stops. May be NULL. */
  int (*gap)(void *env, const char *table, bytes low, bytes high);
  /* Pages that are numbered but neither reachable nor free, after all else; those behind the file's end come last,
   * as one run. Not called where the walk had findings. Non-zero stops. May be NULL. */
  int (*lost)(void *env, uint64_t first, uint64_t count);
} walker_callbacks;

typedef struct {
  uint64_t findings, pages_reachable, pages_free, rows;
  uint64_t pages_lost;         /* numbered, but neither reachable nor free: no harm but the room */
} walker_summary;

/* Every page that is reachable from a meta page, of a store at rest: a writer at work may change the older meta's
 * pages. 0: walked to the end, however much was found (summary->findings); ECORRUPT: the meta page itself is not
 * usable; EIO, ENOMEM; EABORTED: a callback said stop. Blocks. */
int walker_walk(int fd, const walker_metas *, unsigned meta, const walker_callbacks *, walker_summary *);

/* The bytes of a place: EIO; ECORRUPT if the file ends before. Blocks. */
int walker_read(int fd, walker_place, void *to);

#endif
