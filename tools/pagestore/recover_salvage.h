/* recover_salvage.h - all that can be had out of a damaged file, as rows for a new one.
 *
 *   choose    the newest state that a meta page leads to; if none does, the newest main tree that lies in the file
 *   twice     where a tree and the free list name the same page, one of them is damaged: all of this is done with the
 *             one believed and with the other, and the better of the two is taken
 *   walk      as check does, noting which LMDB pages are in use, free, suspect, and which key ranges were not met
 *   scan      if anything was not met: the suspect pages, and those that are neither met nor free, which is where what
 *             is missing must be; without a free list to trust, all pages that were not met
 *   mend      a record or header whose checksum proves which one byte is wrong; a page whose header alone is damaged
 *   account   each memory's stored pages against its table; where rows are missing and nobody knows which, the pages
 *             of the unmet ranges that have no row get a marker that cannot be read
 *   log       blocks of the log that count go over their pages' rows, as rows of their own: the new store has no log
 *   emit      every row; a damaged one so that reading it fails, or replaced on demand
 *
 * Invariant: no reader of the new store gets bytes whose checksums did not match; nor zeros or older bytes for what was
 *            lost, unless that was asked for (RECOVER_OLDER, RECOVER_ZERO), or the free list is lost as well as tree
 *            pages: then rows that were found may be older than what is lost, which is told. Of records of the log of
 *            which nothing is left, neither row nor catalog, it is told that pages of unknown place may be older.
 * Thread:    one at a time (scratch records are static).
 */
#ifndef PROGRAM_RECOVER_SALVAGE_H
#define PROGRAM_RECOVER_SALVAGE_H

#include "check_audit.h"

enum { RECOVER_OLDER = 1, RECOVER_ZERO = 2 };
enum { MENDS_MAX = 64 };
enum { SCAN_ROWS = 1, SCAN_RECORDS = 2, SCAN_LOG = 8 };
/* kept_row.origin. MARK: put for what was lost; LOG: made of blocks of the log and the row under them */
enum { ORIGIN_TREE, ORIGIN_SCAN, ORIGIN_MARK, ORIGIN_LOG };

/* Pages of memories, both ends included. */
typedef struct {
  page_key low, high;
} salvage_gap;

/* A catalog row as it goes into the new store. */
typedef struct {
  catalog_key key;
  catalog_record value;
} salvage_record;

typedef struct {
  char instance[256], memory[256];
  uint64_t pages, unknown, replaced, version_min, version_max;
} salvage_loss;

typedef struct {
  uint32_t record; /* of kept.log_catalog */
  uint8_t slot;
} salvage_slot;

/* A row that is made of blocks of the log: its version is the newest of theirs. */
typedef struct {
  page_key key;
  bool has_under;
  kept_row under; /* which gives the other blocks; none: zeros */
  uint16_t blocks; /* from the log */
  salvage_slot from[PAGE_BLOCKS];
} salvage_merge;

typedef struct {
  int fd;
  unsigned flags;
  void (*progress)(void *env, uint64_t bytes);
  void *progress_env;
  /* out */
  audit audit;               /* audit.kept: what was saved */
  walker_metas given, metas; /* of the file; that the walk used */
  unsigned meta;
  unsigned missed;     /* SCAN_...: what the walk did not meet all of */
  unsigned mends_left; /* trying takes long */
  bool has_older_store;
  store_record older_store; /* of whatever meta page led to one */
  bool every_copy;          /* records of one key are all kept */
  bool chosen, exact;       /* exact: what is free is known */
  bool free_first;          /* the free list is believed before trees are */
  bool conflict;            /* a tree named a page that is free */
  uint64_t file_pages, *reached, *freed, *suspect, *branches; /* branches: met as such */
  uint64_t rows_wanted; /* of the table of pages; UINT64_MAX: not known */
  uint64_t freed_beyond, unaccounted; /* LMDB pages: free behind the file's end; in use, but nothing of them was found */
  KEPT_LIST(salvage_gap) gaps;
  KEPT_LIST(salvage_record) records;
  KEPT_LIST(catalog_key) failed; /* of records that the walk met and could not mend */
  uint32_t *places; /* by a hash of the key: a record's place in `records` and 1; 0: empty. At most half full */
  size_t place_room;
  uint64_t log_adopted; /* records of the log of which the catalog knew nothing */
  bool log_missing;     /* records of the log are lost, or may be */
  KEPT_LIST(salvage_merge) merges; /* by key */
  KEPT_LIST(salvage_loss) losses;
  findings lost; /* damage: lost; notes: mended, replaced, put together */
  uint64_t pages_saved, pages_lost, pages_mended;
} salvage;

typedef int (*salvage_put)(void *env, db_table, bytes key, bytes value);

/* fd and flags set, the rest zero. 0; EFORMAT (nothing of a store in it, or of another format) ENOMEM EIO */
int salvage_run(salvage *);
/* All rows but the store record, by table and key. */
int salvage_emit(salvage *, salvage_put, void *env);
void salvage_free(salvage *);

/* ---- the parts ------------------------------------------------------------------------------- */

int salvage_choose(salvage *); /* recover_choose.c */
int salvage_add_gap(salvage *, salvage_gap);
/* In use, says the free list, but not met by the walk or the scan. recover_scan.c */
uint64_t salvage_unaccounted(const salvage *);
/* recover_scan.c; everything: records of all leaves, older copies too */
int salvage_scan(salvage *, unsigned what, bool everything);
bool salvage_has_record(const salvage *, const catalog_key *);
int salvage_take_record(salvage *, bytes key, bytes value); /* kept if it is good or can be mended; ECORRUPT ENOMEM */
int salvage_complete(salvage *);                            /* recover_complete.c: records that others ask for */
/* A state whose table or metadata, stored as pages, are lost: it goes on without. ENOMEM */
int salvage_mend_state(salvage *, kept_state *);
int salvage_account(salvage *); /* recover_account.c */
salvage_loss *salvage_loss_of(salvage *, const page_key *, const kept_row *);

/* Whether the keep rule (storage/layers.h) wants a row of this version beside one of version `bound`. */
bool salvage_is_needed(const kept *, uint64_t layer, uint64_t version, uint64_t bound);
int salvage_recount(salvage *); /* stored pages of states that were put together. ENOMEM. recover_complete.c */

/* ---- recover_log.c --------------------------------------------------------------------------- */

int salvage_settle_log(salvage *);  /* before records are completed: what there is of the log. ENOMEM */
int salvage_resolve_log(salvage *); /* once states are loaded. ENOMEM */
int salvage_apply_log(salvage *);   /* once losses are marked: rows of what is in the log. ENOMEM */
const salvage_merge *salvage_merge_of(const salvage *, const page_key *); /* or NULL */
typedef struct {
  uint16_t lost, older, zeros; /* blocks: all that could not be had; of these, replaced by older bytes, by zeros */
} merge_result;
merge_result salvage_build(const salvage *, const salvage_merge *, uint8_t value[PAGE_RECORD_BYTES]);

/* ---- recover_mend.c -------------------------------------------------------------------------- */

/* Changes one byte of key or value, if that makes it good. Half a second at the most; so only `tries` times. */
bool mend_record(catalog_key *, catalog_record *, unsigned *tries);
/* Whether a marker is good, or becomes so by one byte of key or value. */
bool mend_marker(page_key *, uint8_t value[ZERO_MARKER_BYTES]);
typedef enum { MEND_GOOD, MEND_MENDED, MEND_DAMAGED } mend_result;
/* A page record whose blocks are all in place. DAMAGED: the header is made anew, so that damaged blocks (*blocks)
 * cannot be read and the others can. */
mend_result mend_page(page_key, id128 store, uint8_t value[PAGE_RECORD_BYTES], uint16_t *blocks);
/* Values that cannot be read, and ones of given bytes. */
void mend_make_unreadable(page_key, uint8_t marker[ZERO_MARKER_BYTES]);
void mend_make_page(page_key, id128 store, uint8_t value[PAGE_RECORD_BYTES]); /* over the bytes that are there */

#endif
