/* packer.c - see packer.h. */
#include "storage/packer.h"

#include <stdlib.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/record.h"

void packer_begin(packer *p, db_txn *txn, id128 store, uint64_t sequence_first) {
  *p = (packer){.txn = txn, .store = store, .sequence_next = sequence_first};
}

void packer_go_on(packer *p, delta *last, const log_addresses *addresses) {
  p->last = last;
  p->addresses = *addresses;
}

/* Room for one more: doubled when it is used up. */
static int grow(void **items, uint64_t count, uint64_t *room, size_t item_bytes) {
  if (count < *room) return 0;
  uint64_t more = *room ? *room * 2 : 64;
  void *grown = realloc(*items, more * item_bytes);
  if (grown == NULL) return fail(PAGESTORE_ENOMEM, "no memory to flush: it is tried again");
  *items = grown;
  *room = more;
  return 0;
}

static int seal_record(packer *p) {
  if (p->open == NULL) return 0;
  log_record_seal(p->open, p->addresses.count);
  log_record_zero_rest(p->open, p->addresses.count);
  p->open = NULL;
  catalog_key key = catalog_key_id(CATALOG_LOG, p->addresses.sequence);
  catalog_record encoded;
  log_addresses_encode(&p->addresses, &encoded);
  return record_put(p->txn, &key, &encoded);
}

static int put_record(packer *p, uint64_t sequence, uint8_t **record) {
  uint8_t key[LOG_KEY_BYTES];
  void *room;
  log_key_encode(sequence, key);
  int err = db_put_reserve(p->txn, DB_LOG, (bytes){key, sizeof key}, PAGE_RECORD_BYTES, &room);
  if (err != 0) return err;
  log_record_init(room, sequence, p->store);
  *record = room;
  return 0;
}

static int open_record(packer *p) {
  uint64_t sequence = p->sequence_next;
  uint8_t *record;
  delta *d;
  int err = put_record(p, sequence, &record);
  if (err != 0) return err;
  const uint8_t *mapped = db_mapped(p->txn, record);
  if ((err = delta_of_record(mapped, sequence, &d)) != 0) return fail(err, "no memory to flush: it is tried again");
  delta_write(d, record, mapped, 0);
  p->sequence_next++;
  p->records[p->record_count++] = d;
  p->open = record;
  p->addresses = (log_addresses){.sequence = sequence};
  return 0;
}

typedef struct {
  packer *p;
  const uint8_t *from;
  uint8_t *to;
} going_on;

static int check_guarded(void *env) {
  const going_on *g = env;
  for (unsigned i = 0; i < g->p->addresses.count; i++) (void)*(const volatile uint8_t *)log_record_block(g->from, i);
  return log_record_check((bytes){g->from, PAGE_RECORD_BYTES}, g->p->addresses.sequence, g->p->store);
}

static int copy_guarded(void *env) {
  const going_on *g = env;
  for (unsigned i = 0; i < g->p->addresses.count; i++)
    log_record_add(g->to, i, &g->p->addresses.at[i], log_record_block(g->from, i), log_record_checksum(g->from, i));
  return 0;
}

/* What is damaged in it stays so. A header that is damaged, or what cannot be read, must not keep others from
 * committing: then the record is left as it is. */
static bool can_go_on(packer *p, const delta *last) {
  going_on g = {.p = p, .from = delta_record(last)};
  return db_read_guarded((db_reader){.txn = p->txn}, check_guarded, &g) == 0;
}

static int go_on_with(packer *p, delta *last) {
  going_on g = {.p = p, .from = delta_record(last)};
  int err = put_record(p, p->addresses.sequence, &g.to);
  if (err == 0) err = db_read_guarded((db_reader){.txn = p->txn}, copy_guarded, &g);
  if (err != 0) return err;
  delta_write(last, g.to, db_mapped(p->txn, g.to), p->addresses.count);
  p->records[p->record_count++] = delta_reference(last);
  p->goes_on = true;
  p->open = g.to;
  return 0;
}

static int next_record(packer *p) {
  int err = grow((void **)&p->records, p->record_count, &p->record_room, sizeof *p->records);
  if (err != 0) return err;
  delta *last = p->last;
  p->last = NULL;
  p->open_is_read = false;
  return last != NULL && can_go_on(p, last) ? go_on_with(p, last) : open_record(p);
}

typedef struct {
  uint8_t *record;
  unsigned slot;
  const log_address *at;
  const uint8_t *block;
  uint64_t checksum;
  bool seal;
} add_job;

static int add_guarded(void *env) {
  const add_job *j = env;
  log_record_add(j->record, j->slot, j->at, j->block, j->checksum);
  if (j->seal) log_record_seal(j->record, j->slot + 1);
  return 0;
}

int packer_add(packer *p, const log_address *at, const uint8_t *block, uint64_t checksum) {
  int err = grow((void **)&p->blocks, p->block_count, &p->block_room, sizeof *p->blocks);
  if (err == 0 && p->addresses.count == PAGE_BLOCKS) err = seal_record(p);
  if (err == 0 && p->open == NULL) err = next_record(p);
  if (err != 0) return err;
  unsigned slot = p->addresses.count;
  add_job job = {p->open, slot, at, block, checksum, p->open_is_read};
  if ((err = db_read_guarded((db_reader){.txn = p->txn}, add_guarded, &job)) != 0) return err;
  p->addresses.at[p->addresses.count++] = *at;
  p->blocks[p->block_count++] = (logged_block){.record = p->records[p->record_count - 1],
                                               .page = at->page,
                                               .version = at->version,
                                               .memory = at->memory,
                                               .number = at->number,
                                               .slot = (uint8_t)slot};
  return 0;
}

void packer_forget(packer *p) {
  ASSERT(p->open != NULL && p->block_count > 0);
  log_record_seal(p->open, p->addresses.count);
  p->open_is_read = true;
  p->block_count = 0;
}

int packer_end(packer *p) { return seal_record(p); }

void packer_land(packer *p) {
  for (uint64_t i = 0; i < p->record_count; i++) delta_land(p->records[i]);
}

void packer_free(packer *p) {
  for (uint64_t i = 0; i < p->record_count; i++) delta_release(p->records[i]);
  free(p->records);
  free(p->blocks);
  *p = (packer){0};
}
