/* check_audit.h - all that can be wrong with a store's file, found without LMDB and without the library.
 *
 *   walk      LMDB's structure: storage/walker.h
 *   rows      catalog records against their checksum and key; page records and zero markers against theirs; `deep`:
 *             the sixteen blocks of each page; records of the log likewise (check_log.h)
 *   agree     records with each other: names, instances, snapshots, layers, ids, stored pages, the log, the transaction
 *   other     the superseded meta page: whether it hides a commit
 *
 * Invariant: whatever the file holds, the audit ends, in findings; memory follows the number of rows and records.
 * Thread:    one at a time per audit (a scratch record is static).
 */
#ifndef PROGRAM_CHECK_AUDIT_H
#define PROGRAM_CHECK_AUDIT_H

#include "check_kept.h"
#include "storage/walker.h"

enum { FINDINGS_MAX = 1000 };
#define NO_OFFSET UINT64_MAX

/* A note is no damage: no reader looks there, or nothing but room is lost. */
typedef enum { FINDING_DAMAGE, FINDING_NOTE } finding_level;

typedef struct {
  finding_level level;
  uint64_t lmdb_page, offset; /* LMDB_NO_PAGE, NO_OFFSET: none */
  bool has_version, has_page;
  uint64_t layer; /* with has_page: as in the row's key */
  uint32_t memory_id;
  char instance[256], memory[256]; /* "": none */
  uint64_t page, version;
  char text[256];
  const char *next;
} finding;

typedef struct {
  finding *at;
  size_t count, room;
  uint64_t damages, notes; /* also those beyond FINDINGS_MAX, which are only counted */
} findings;

typedef struct {
  int fd;
  const walker_metas *metas;
  unsigned meta; /* the walk begins there */
  bool deep;
  bool other;                                  /* the superseded meta page is looked at, too */
  uint64_t explain;                            /* an offset in the file, or NO_OFFSET */
  void (*progress)(void *env, uint64_t bytes); /* of values read since the last call. May be NULL */
  void *env;
  const walker_callbacks *also; /* recover's: finding, page, freed, gap and row are told to it, too. May be NULL */
  /* out */
  kept kept;
  findings found;
  walker_summary summary;
  bool tables_missing;
  uint64_t page_rows_wanted, catalog_rows_wanted, log_rows_wanted;  /* as the tree's record says */
  uint64_t pages_checked, log_checked, lost_pages;
  uint64_t total_bytes; /* that will be read, about */
  char explained[600];
} audit;

/* 0: looked at everything, however much was found. EIO ENOMEM; EFORMAT: uses features that this program does not know
 * */
int audit_run(audit *);
void audit_free(audit *);

void findings_put_place(finding *, uint64_t at); /* an offset in the file. NULL allowed, as below */
void findings_put_key(finding *, const page_key *);

/* A finding without a place; the caller may fill more in. NULL: only counted, or no memory. */
finding *findings_add(findings *, finding_level, const char *next, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
