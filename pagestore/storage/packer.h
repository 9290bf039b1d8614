/* packer.h - packs blocks into block records inside one write transaction, sixteen to a record, whosever they are.
 *
 *   packer_begin [-> packer_go_on] -> packer_add ... packer_forget ... -> packer_end -> commit -> packer_land
 *
 * A record that an earlier transaction left with room may be gone on with: it is written anew under its number, with
 * what was in it at the places where it was.
 * Until the commit the records lie in the transaction's memory, for the transaction alone to look at; packer_land moves
 * them to where they are in the mapping then.
 * Thread: the flusher.
 */
#ifndef PAGESTORE_STORAGE_PACKER_H
#define PAGESTORE_STORAGE_PACKER_H

#include "storage/delta.h"
#include "storage/format.h"

typedef struct {
  db_txn *txn;
  id128 store;
  uint64_t sequence_next;
  delta **records;              /* of this transaction, a reference each */
  uint64_t record_count, record_room;
  logged_block *blocks;         /* packed since the last packer_forget, in the order of adding */
  uint64_t block_count, block_room;
  delta *last;                  /* to be gone on with, behind `addresses`; NULL: a new record comes next */
  bool goes_on;                 /* the first of `records` is that one */
  uint64_t spare;               /* so many blocks of others may come, too, and cost nothing */
  /* the last record, while it is not full */
  uint8_t *open;
  bool open_is_read;            /* blocks in it have been noted: from then on it is sealed with each that comes */
  log_addresses addresses;
} packer;

void packer_begin(packer *, db_txn *, id128 store, uint64_t sequence_first);
void packer_go_on(packer *, delta *last, const log_addresses *);   /* unless it turns out to be damaged */
/* The bytes may lie in the mapping. The checksum goes along as it is. ENOMEM and what a put says */
int packer_add(packer *, const log_address *, const uint8_t *block, uint64_t checksum);
void packer_forget(packer *);                 /* the blocks so far, at least one: noted, and to be read from now on */
int packer_end(packer *);                     /* seals the last record */
void packer_land(packer *);
void packer_free(packer *);

#endif
