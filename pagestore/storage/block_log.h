/* block_log.h - the log in front of page records: which block records there are, what is in them, what goes next.
 *
 *   flush: blocks --packer--> records of the newest generation          (in the one transaction of the group)
 *   merge: the oldest generation's pages --> page records               (slices, transactions of their own)
 *          its records --> gone                                         (in the transactions that follow)
 *
 *   a generation:   OPEN --an eighth of the budget--> CLOSED --oldest, the log fills--> MERGING --> DOOMED --> (gone)
 *                                                          the last slice moves the log's beginning behind it
 *
 * A page is merged when its oldest block that counts is of that generation, with all its blocks: those count no more,
 * by the rule of format.h, and cost a lookup when their own generation is merged. So a page is written once for all
 * that was logged of it in about the time that the log spans.
 *
 * Blocks that count no more stay in the index as long as their records are behind the log's beginning: the writer has
 * to know of them when a page of zeros would give up the row that they are older than.
 *
 * The last record of the OPEN generation may be gone on with by the next transaction: what was in it stays at its
 * place in the record, and the record moves (delta.h).
 *
 * Each layer has a line: the index of its logged blocks. An index is replaced, never edited, and shared with views. Its
 * blocks lie in LMDB's mapping. Before a record's row is deleted, every line has let go of it, slots that may look at
 * it have been released, and if somebody holds an old index still, the record has moved into memory.
 *
 * Thread: the flusher, but for lines: finding, making and capturing them is for any thread (a lock of its own,
 *         innermost); fault handlers load line->blocks after taking a slot.
 * Owner:  whoever holds a line or an index has a reference.
 */
#ifndef PAGESTORE_STORAGE_BLOCK_LOG_H
#define PAGESTORE_STORAGE_BLOCK_LOG_H

#include <stdatomic.h>

#include "storage/writer.h"

/* A line that is drained again and again: what the next time will ask for is merged ahead, along with its commits.
 * Pages; of those that are logged it is known how many were added, not how many of them are the same. */
typedef struct {
  uint64_t left;                   /* that may be merged ahead until the next draining; 0: it was not worth it */
  uint64_t merged;                 /* so far */
  uint64_t logged, logged_in_pass; /* since then, at most; since merging ahead was at the beginning of the line */
  merge_at at;
} log_ahead;

typedef struct log_line {
  struct log_line *next;           /* in the table */
  _Atomic uint32_t references;
  uint64_t layer;
  _Atomic(unflushed *) blocks;     /* durable ones; NULL: none */
  uint64_t merged_through;         /* the flusher's: runs up to it count no more, though they are still shown */
  log_ahead ahead;                 /* likewise */
  /* the flusher's: what they become when the transaction that is being built is durable */
  struct log_line *next_pending;
  bool is_pending;
  unflushed *pending;
} log_line;

typedef struct block_log block_log;

/* What is in the store. ECORRUPT: an address record or a row is
 * missing or damaged. ENOMEM EIO */
int block_log_load(db_reader, id128 store, block_log **);
void block_log_free(block_log *);
/* The same for one layer alone, as an index: for readers of another process's store. NULL: nothing. Good while the
 * reader is held. */
int block_log_index(db_reader, id128 store, uint64_t layer, unflushed **);

/* ---- lines: any thread ----------------------------------------------------------------------- */

int block_log_line(block_log *, uint64_t layer, log_line **);      /* found or made, with a reference. ENOMEM */
/* one that is in no table: what a fork stands on until its first flush. Takes over the index. ENOMEM */
int log_line_apart(uint64_t layer, unflushed *, log_line **);
log_line *log_line_reference(log_line *);
void log_line_release(block_log *, log_line *);                    /* NULL allowed */
unflushed *log_line_capture(block_log *, log_line *);              /* its index, with a reference; NULL: nothing */

/* ---- filling: the flusher -------------------------------------------------------------------- */

void block_log_budget(block_log *, uint64_t bytes);
uint64_t block_log_bytes(const block_log *);                       /* of its records in the file */
bool block_log_is_empty(const block_log *);
bool block_log_ends_empty(const block_log *); /* so, once the slice that is being built is durable */
uint64_t block_log_sequence(const block_log *);                    /* the next record's */
/* Begins the packer of a transaction that is about to log so many blocks, or a few less. Where they have room in the
 * last record it goes on with that one: a commit of a few blocks costs the log these, and not a record. */
void block_log_pack(const block_log *, packer *, db_txn *, uint64_t blocks);
/* What the transaction that is being built sees of the line. */
const unflushed *block_log_sees(const log_line *);
/* For writer.is_logged: blocks that count no more included. */
bool block_log_has_page(const void *log, uint64_t layer, uint32_t memory, uint64_t page);
/* The packer's blocks since the last packer_forget are the line's. ENOMEM */
int block_log_note(block_log *, log_line *, packer *);
int block_log_reserve(block_log *, uint64_t records); /* room for the packer's records: before the commit */
/* The transaction is durable: lines show what was noted, the packer's records are the log's. What they showed before is
 * let go of by block_log_settled, after db_slots_settle. Or the transaction is not durable: block_log_discard. */
void block_log_publish(block_log *, packer *);
void block_log_settled(block_log *);
void block_log_discard(block_log *);

/* ---- emptying: the flusher ------------------------------------------------------------------- */

/* EARLY: from five eighths of the budget on, for what is merged along with groups: it has until the log is full. */
typedef enum { LOG_EARLY, LOG_BUDGET, LOG_EVERYTHING } log_goal;
bool block_log_has_work(const block_log *, log_goal);
/* How many pages are to be looked at for so many new blocks, so that the oldest generation is gone before the log is
 * full, or when the next one is; 0: none. The first one of a log has most of its pages: begun when the log is full it
 * would hold up its commits, and all its pages would come again together when the log has been filled once more. */
uint64_t block_log_pace(const block_log *, uint64_t blocks);
bool block_log_is_behind(const block_log *);                       /* a generation beyond its budget */
/* One slice in the writer's transaction, before anything else in it: deletes rows of DOOMED records, looks at pages and
 * merges those that were not, or logs their blocks anew. After the commit and block_log_publish, or when it failed: */
int block_log_step(block_log *, writer *, log_goal, uint64_t pages);
void block_log_stepped(block_log *, db *, bool durable);
/* All of one line, in slices of the same kind, until at->done; after the commit of the last: */
int block_log_drain(block_log *, writer *, log_line *, uint64_t pages, merge_at *);
void block_log_drained(block_log *, log_line *, uint64_t pages_merged);
/* Before a line's blocks are added: some pages, at most *pages, which counts down, so that the next draining finds few.
 * Nothing has to be taken back where the transaction is not durable. */
int block_log_merge_ahead(block_log *, writer *, log_line *, uint64_t *pages);
bool block_log_is_drained(const block_log *, const log_line *);

#endif
