/* catalog.h - the small records: who is there, in which layer, at which version.
 *
 * Reads work on a renewed slot or in the write transaction. State records come back whole: what lay in memory
 * 0 is loaded. Texts of failures name the record. Thread: the reader's rule.
 */
#ifndef PAGESTORE_STORAGE_CATALOG_H
#define PAGESTORE_STORAGE_CATALOG_H

#include "storage/layers.h"
#include "storage/writer.h"

/* EFORMAT (not ours, newer), ECORRUPT; does not look at features or the transaction id */
int catalog_store(db_reader, store_record *);
int catalog_put_store(db_txn *, const store_record *);

int catalog_find(db_reader, const char *name, uint64_t *instance);             /* ENOTFOUND */
int catalog_put_name(db_txn *, const char *name, uint64_t instance);
int catalog_delete_name(db_txn *, const char *name);
/* "" : from the first. ENOTFOUND: no more */
int catalog_next_name(db_reader, const char *after, char name[256], uint64_t *instance);

/* Paged parts are looked up by the record's layer and version through layers; NULL: these are loaded if there are
 * such parts. out->state: one reference. ENOTFOUND: without text */
int catalog_instance(db_reader, layers *, id128 store, uint64_t instance, state_record *);
int catalog_snapshot(db_reader, layers *, id128 store, uint64_t instance, const char *name, state_record *);
/* No layer, instance or trash has an id that the store record is still to give away. ECORRUPT */
int catalog_check_ids(db_reader, const store_record *);
/* paged parts not loaded. ENOTFOUND: no more */
int catalog_next_snapshot(db_reader, uint64_t instance, const char *after, char name[256], state_record *);
/* Puts the record, and paged parts as system pages at record->version through the line. snapshot NULL: the
 * instance's own record. */
int catalog_put_state(writer *, const line *, uint64_t instance, const char *snapshot, state_record *);
int catalog_delete_instance(db_txn *, uint64_t instance);
int catalog_delete_snapshot(db_txn *, uint64_t instance, const char *name);
/* Every snapshot of the store: for building the table at open. */
int catalog_each_snapshot(db_reader, int (*each)(void *env, uint64_t instance, const char *name, const state_record *),
                          void *env);

int catalog_put_layer(db_txn *, uint64_t id, const layer_record *);
int catalog_delete_layer(db_txn *, uint64_t id);

#endif
