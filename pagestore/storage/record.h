/* record.h - catalog records out of the mapping: copied under the guard, then decoded from the copy.
 *
 * Decoding allocates and a jump out of a guard would lose that, so nothing decodes in place. The copy also
 * stays when the reader moves. Statuses without text: the caller knows the name. Thread: the reader's rule.
 */
#ifndef PAGESTORE_STORAGE_RECORD_H
#define PAGESTORE_STORAGE_RECORD_H

#include "storage/format.h"

static inline bytes record_bytes(const catalog_record *r) { return (bytes){r->byte, r->size}; }

/* Exact. ENOTFOUND; ECORRUPT: longer than a record can be. */
int record_get(db_reader, const catalog_key *, catalog_record *);

/* Walks: the first record with key >= *from (RECORD_AT) or > *from (RECORD_AFTER), with its key. ENOTFOUND: no more. */
typedef enum { RECORD_AT, RECORD_AFTER } record_from;
int record_seek(db_reader, const catalog_key *from, record_from, catalog_key *found, catalog_record *);

/* The first layer record with id >= from. ENOTFOUND: no more. ECORRUPT with a text. */
int record_next_layer(db_reader, uint64_t from, uint64_t *id, layer_record *);

int record_put(db_txn *, const catalog_key *, const catalog_record *);

#endif
