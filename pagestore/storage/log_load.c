/* log_load.c - see log_load.h. */
#include "storage/log_load.h"

#include <stdlib.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/record.h"

enum { BATCH_RECORDS = 512 };

typedef struct { uint64_t layer; logged_block block; } loaded_block;

typedef struct {
  db_reader reader;
  id128 store;
  const log_loading *to;
  delta *records[BATCH_RECORDS];
  uint64_t record_count, beginning;
  loaded_block found[BATCH_RECORDS * PAGE_BLOCKS];
  uint64_t found_count;
  logged_block sorted[BATCH_RECORDS * PAGE_BLOCKS];
} batch;

/* ---- one record ------------------------------------------------------------------------------ */

typedef struct { bytes value; id128 store; log_addresses *addresses; } header_job;

static int read_header_guarded(void *env) {
  header_job *j = env;
  int err = log_record_check(j->value, j->addresses->sequence, j->store);
  if (err != 0) return err;
  j->addresses->count = log_record_count(j->value.data);
  for (unsigned i = 0; i < j->addresses->count; i++) j->addresses->at[i] = log_record_address(j->value.data, i);
  return 0;
}

static int damaged(uint64_t sequence) {
  return fail(
      PAGESTORE_ECORRUPT,
      "record %llu of the log is damaged, and it is not known which pages it belongs to: run recover, or restore "
      "a backup",
      (unsigned long long)sequence);
}

/* Where the record lies in the mapping, and where its blocks belong. */
static int locate(batch *b, const catalog_record *copy, log_addresses *addresses, bytes *value) {
  uint8_t key[LOG_KEY_BYTES];
  log_key_encode(addresses->sequence, key);
  int err = db_read_get(b->reader, DB_LOG, (bytes){key, sizeof key}, value);
  if (err == PAGESTORE_ENOTFOUND || (err == 0 && value->size != PAGE_RECORD_BYTES)) return damaged(addresses->sequence);
  if (err != 0) return fail(err, "the log could not be read: check the disk");
  if (log_addresses_decode(record_bytes(copy), addresses) == 0) return 0;
  header_job job = {*value, b->store, addresses};
  err = db_read_guarded(b->reader, read_header_guarded, &job);
  return err == PAGESTORE_ECORRUPT ? damaged(addresses->sequence) : err;
}

static int add_record(batch *b, const catalog_record *copy, uint64_t sequence) {
  log_addresses addresses = {.sequence = sequence};
  bytes value;
  int err = locate(b, copy, &addresses, &value);
  if (err != 0) return err;
  delta *record;
  if (delta_of_record(value.data, sequence, &record) != 0)
    return fail(PAGESTORE_ENOMEM, "no memory for the log: free some and open again");
  b->records[b->record_count++] = record;
  if (sequence < b->beginning) return 0;
  for (unsigned i = 0; i < addresses.count; i++) {
    const log_address *at = &addresses.at[i];
    if (b->to->only_layer != 0 && at->layer != b->to->only_layer) continue;
    b->found[b->found_count++] = (loaded_block){
        at->layer, {.record = record, .page = at->page, .version = at->version, .memory = at->memory,
                    .number = at->number, .slot = (uint8_t)i}};
  }
  return 0;
}

/* ---- a batch --------------------------------------------------------------------------------- */

static int order(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int compare_address(const loaded_block *x, const loaded_block *y) {
  int o = order(x->layer, y->layer);
  if (o == 0) o = order(x->block.memory, y->block.memory);
  if (o == 0) o = order(x->block.page, y->block.page);
  return o != 0 ? o : order(x->block.number, y->block.number);
}

/* The newest of one address comes last. */
static int compare_found(const void *a, const void *b) {
  const loaded_block *x = a, *y = b;
  int o = compare_address(x, y);
  if (o == 0) o = order(x->block.version, y->block.version);
  return o != 0 ? o : order(delta_sequence(x->block.record), delta_sequence(y->block.record));
}

static int give_layers(batch *b) {
  uint64_t first = delta_sequence(b->records[0]), last = delta_sequence(b->records[b->record_count - 1]);
  qsort(b->found, b->found_count, sizeof *b->found, compare_found);
  for (uint64_t i = 0; i < b->found_count;) {
    uint64_t layer = b->found[i].layer, count = 0;
    for (; i < b->found_count && b->found[i].layer == layer; i++) {
      bool older = i + 1 < b->found_count && compare_address(&b->found[i], &b->found[i + 1]) == 0;
      if (!older) b->sorted[count++] = b->found[i].block;
    }
    int err = b->to->layer(b->to->env, layer, b->sorted, count, first, last);
    if (err != 0) return err;
  }
  return 0;
}

static int give(batch *b) {
  if (b->record_count == 0) return 0;
  int err = give_layers(b);
  return err != 0 || b->to->records == NULL ? err : b->to->records(b->to->env, b->records, b->record_count);
}

static void clear(batch *b) {
  while (b->record_count > 0) delta_release(b->records[--b->record_count]);
  b->found_count = 0;
}

static int load_beginning(batch *b) {
  catalog_key key = catalog_key_id(CATALOG_LOG, LOG_BEGINNING);
  catalog_record copy;
  int err = record_get(b->reader, &key, &copy);
  if (err == PAGESTORE_ENOTFOUND) return 0;
  if (err == 0) err = log_beginning_decode(record_bytes(&copy), &b->beginning);
  if (err == 0 && b->beginning > LOG_SEQUENCE_MAX) err = PAGESTORE_ECORRUPT;
  if (err != 0) return fail(err, "the record of the log's beginning is damaged: run recover, or restore a backup");
  if (b->to->beginning != NULL) b->to->beginning(b->to->env, b->beginning);
  return 0;
}

static int load_all(batch *b) {
  catalog_key from = catalog_key_id(CATALOG_LOG, LOG_BEGINNING + 1), found;
  catalog_record copy;
  int err = load_beginning(b);
  if (err != 0) return err;
  for (record_from where = RECORD_AT; (err = record_seek(b->reader, &from, where, &found, &copy)) == 0;
       where = RECORD_AFTER) {
    catalog_kind kind;
    uint64_t sequence;
    char name[256];
    if (catalog_key_decode((bytes){found.byte, found.size}, &kind, &sequence, name) != 0 || kind != CATALOG_LOG) break;
    bool full = b->record_count == BATCH_RECORDS || (b->record_count > 0 && sequence == b->beginning);
    if (full) {
      if ((err = give(b)) != 0) return err;
      clear(b);
    }
    err = sequence > LOG_SEQUENCE_MAX ? damaged(sequence) : add_record(b, &copy, sequence);
    if (err != 0) return err;
    from = found;
  }
  if (err != 0 && err != PAGESTORE_ENOTFOUND) return fail(err, "the log could not be read: check the disk");
  return give(b);
}

int log_load(db_reader reader, id128 store, const log_loading *to) {
  batch *b = malloc(sizeof *b);
  if (b == NULL) return fail(PAGESTORE_ENOMEM, "no memory for the log: free some and open again");
  b->reader = reader;
  b->store = store;
  b->to = to;
  b->record_count = b->found_count = b->beginning = 0;
  int err = load_all(b);
  clear(b);
  free(b);
  return err;
}
