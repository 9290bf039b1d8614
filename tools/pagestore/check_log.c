/* check_log.c - see check_log.h.
 *
 *   damage of                        is told as
 *   a block, or a row's header       damage of each page that a reader finds such a block in; else a note
 *   an address record                damage; the pages can be read as long as the row's header is whole
 *   both, or the row is not there    damage: the store cannot be opened
 */
#include "check_log.h"

#include <pagestore.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"

static const char next_recover[] = "`pagestore recover STORE DST` saves what is intact";
static const char next_nothing[] = "nothing need be done; its blocks count no more, and it is deleted in time";

#define DAMAGE(a, ...) findings_add(&(a)->found, FINDING_DAMAGE, next_recover, __VA_ARGS__)
typedef unsigned long long number;

/* ---- rows ------------------------------------------------------------------------------------ */

/* Without a store record the first header in order tells whose store it is. */
static void learn_store(audit *a, const uint8_t *header) {
  uint64_t sequence;
  static const id128 none;
  if (a->kept.has_store || memcmp(&a->kept.store.id, &none, sizeof none) != 0) return;
  (void)log_record_identity(header, &sequence, &a->kept.store.id);
}

static bool is_zero(const uint8_t *at, size_t count) {
  return count == 0 || (at[0] == 0 && memcmp(at, at + 1, count - 1) == 0);
}

/* The value is read as far as it is looked at. */
static void judge_row(audit *a, kept_log *row, const uint8_t *value) {
  learn_store(a, value);
  if (log_record_check((bytes){value, PAGE_RECORD_BYTES}, row->sequence, a->kept.store.id) != 0) {
    row->health = KEPT_ROW_DAMAGED;
    row->damaged = ALL_BLOCKS;
    return;
  }
  log_addresses *to = &row->addresses;
  to->sequence = row->sequence;
  to->count = log_record_count(value);
  for (unsigned slot = 0; slot < to->count; slot++) {
    to->at[slot] = log_record_address(value, slot);
    if (a->deep && log_block_check(value, slot, &to->at[slot]) != 0) row->damaged |= (uint16_t)(1u << slot);
  }
  if (row->damaged) row->health = KEPT_ROW_DAMAGED;
  uint64_t used = PAGE_HEADER_BYTES + (uint64_t)to->count * BLOCK_BYTES;
  if (!a->deep || is_zero(value + used, PAGE_RECORD_BYTES - used)) return;
  finding *f = findings_add(&a->found, FINDING_NOTE, "nothing need be done; no reader looks there",
                            "record %llu of the log has bytes behind its last block", (number)row->sequence);
  findings_put_place(f, row->at + used);
}

int log_take_row(audit *a, bytes key, walker_place place) {
  static uint8_t value[PAGE_RECORD_BYTES];
  kept_log row = {.at = place.at};
  if (log_key_decode(key, &row.sequence) != 0 || row.sequence == LOG_BEGINNING) {
    findings_put_place(DAMAGE(a, "a row of the log has a key that is none"), place.at);
    return 0;
  }
  a->log_checked++;
  if (place.size != PAGE_RECORD_BYTES) {
    row.health = KEPT_ROW_UNREADABLE;
    return kept_add_log_row(&a->kept, row);
  }
  if (!a->deep) place.size = PAGE_HEADER_BYTES;
  if (walker_read(a->fd, place, value) == 0) judge_row(a, &row, value);
  else row.health = KEPT_ROW_UNREADABLE;
  if (a->progress) a->progress(a->env, place.size);
  return kept_add_log_row(&a->kept, row);
}

int log_take_lost(audit *a, bytes key) {
  kept_log row = {.at = NO_OFFSET, .health = KEPT_ROW_UNREADABLE};
  if (log_key_decode(key, &row.sequence) != 0) return 0;
  return kept_add_log_row(&a->kept, row);
}

/* ---- what a reader misses -------------------------------------------------------------------- */

static void name_page(audit *a, finding *f, const log_address *at) {
  const kept_state *present = kept_present_in(&a->kept, at->layer);
  const kept_name *name = present ? kept_name_of(&a->kept, present->instance) : NULL;
  const memory_entry *m = present ? state_memory_by_id(present->record.state, at->memory) : NULL;
  page_key key = {at->layer, at->memory, at->page, at->version};
  findings_put_key(f, &key);
  if (f && name) snprintf(f->instance, sizeof f->instance, "%s", name->name);
  if (f && m) snprintf(f->memory, sizeof f->memory, "%s", m->name);
}

static bool same_page(const log_address *a, const log_address *b) {
  return a->layer == b->layer && a->memory == b->memory && a->page == b->page && a->version == b->version;
}

/* The record's bad slots of one page, those of the first of `bad`: told, and taken out of it. */
static void tell_page(audit *a, const kept_log *row, const log_addresses *of, uint64_t sequence, uint16_t *bad,
                      const char *why) {
  unsigned first = (unsigned)__builtin_ctz(*bad);
  const log_address *at = &of->at[first];
  char blocks[64];
  size_t used = 0;
  for (unsigned slot = first; slot < of->count; slot++) {
    if (!(*bad >> slot & 1) || !same_page(&of->at[slot], at)) continue;
    *bad &= (uint16_t) ~(1u << slot);
    if (used + 4 < sizeof blocks)
      used += (size_t)snprintf(blocks + used, sizeof blocks - used, "%s%u", used ? " " : "", of->at[slot].number);
  }
  finding *f = DAMAGE(a, "its blocks %s are in record %llu of the log, %s", blocks, (number)sequence, why);
  name_page(a, f, at);
  if (row && row->at != NO_OFFSET)
    findings_put_place(f, row->at + (row->addresses.count ? PAGE_HEADER_BYTES + (uint64_t)first * BLOCK_BYTES : 0));
}

/* Slots that cannot be read. */
static void tell_slots(audit *a, const kept_log *row, const kept_log *record, const log_addresses *of, uint16_t bad,
                       const char *why) {
  uint16_t missed = bad & record->counts;
  while (missed) tell_page(a, row, of, record->sequence, &missed, why);
  if (!bad || bad & record->counts) return;
  finding *f = findings_add(&a->found, FINDING_NOTE, next_nothing, "record %llu of the log, %s",
                            (number)record->sequence, why);
  if (row) findings_put_place(f, row->at);
}

/* ---- a record -------------------------------------------------------------------------------- */

/* Places that the row's header and the catalog do not agree on. */
static uint16_t slots_that_differ(const log_addresses *x, const log_addresses *y) {
  uint16_t differ = 0;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    bool in_x = i < x->count, in_y = i < y->count;
    bool same = in_x == in_y && (!in_x || (same_page(&x->at[i], &y->at[i]) && x->at[i].number == y->at[i].number));
    if (!same) differ |= (uint16_t)(1u << i);
  }
  return differ;
}

static void check_places(audit *a, const kept_log *record, const log_addresses *of) {
  bool told_layer = false, told_version = false;
  for (unsigned i = 0; i < of->count; i++) {
    const log_address *at = &of->at[i];
    const kept_state *present = kept_present_in(&a->kept, at->layer);
    if (!told_layer && a->kept.has_store && (at->layer == 0 || at->layer >= a->kept.store.next_layer)) {
      DAMAGE(a, "record %llu of the log has a block of layer %llu, which was never given", (number)record->sequence,
             (number)at->layer);
      told_layer = true;
    }
    if (told_version || (at->version != 0 && (!present || at->version <= present->record.version))) continue;
    finding *f = DAMAGE(a, "record %llu of the log has a block of that version, the present is %llu",
                        (number)record->sequence, (number)(present ? present->record.version : 0));
    name_page(a, f, at);
    told_version = true;
  }
}

/* The store cannot be opened without a row, nor if nothing tells where its blocks belong. */
static void check_unreadable(audit *a, const kept_log *record, const kept_log *row, const log_addresses *of) {
  const char *why = row ? "which cannot be read" : "which is gone";
  if (record->counts) tell_slots(a, row, record, of, record->counts, why);
  else
    findings_put_place(
        DAMAGE(a, "record %llu of the log, %s: the store cannot be opened", (number)record->sequence, why),
        row ? row->at : NO_OFFSET);
}

static void check_record(audit *a, const kept_log *record) {
  const kept_log *row = kept_log_row_of(&a->kept, record->sequence);
  const log_addresses *of = record->addresses.count || !row ? &record->addresses : &row->addresses;
  check_places(a, record, of);
  if (!row || row->health == KEPT_ROW_UNREADABLE) {
    check_unreadable(a, record, row, of);
    return;
  }
  if (!row->addresses.count) {
    if (of->count) tell_slots(a, row, record, of, ALL_BLOCKS, "whose header does not match its checksum and key");
    else check_unreadable(a, record, row, of);
    return;
  }
  uint16_t differ = record->addresses.count ? slots_that_differ(&record->addresses, &row->addresses) : 0;
  if (differ) {
    finding *f = DAMAGE(a, "the catalog and the header of record %llu of the log name different pages",
                        (number)record->sequence);
    findings_put_place(f, row->at);
  }
  tell_slots(a, row, record, of, row->damaged & (uint16_t)~differ, "and do not match their checksums");
  if (differ & record->counts) tell_slots(a, row, record, of, differ, "whose header names others");
}

/* A row of which the catalog knows nothing is not read. */
static void check_row(audit *a, const kept_log *row) {
  bool counts = row->sequence >= a->kept.log_beginning;
  if (kept_log_of(&a->kept, row->sequence)) return;
  finding *f = findings_add(&a->found, counts ? FINDING_DAMAGE : FINDING_NOTE,
                            counts ? next_recover : "nothing need be done; it only takes room",
                            "record %llu of the log is not in the catalog: its blocks are not read",
                            (number)row->sequence);
  findings_put_place(f, row->at);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static uint64_t last_sequence(const kept *k) {
  return k->log_catalog.count ? k->log_catalog.at[k->log_catalog.count - 1].sequence : 0;
}

static void check_snapshots(audit *a) {
  const kept *k = &a->kept;
  for (size_t i = 0; i < k->states.count; i++) {
    const kept_state *s = &k->states.at[i];
    const kept_layer *layer = kept_layer_of(k, s->record.layer);
    if (!s->snapshot[0] || !layer || !layer->logged_from || layer->logged_from > s->record.version) continue;
    const kept_name *name = kept_name_of(k, s->instance);
    finding *f = DAMAGE(a, "snapshot '%.100s' has blocks of version %llu that are in the log alone", s->snapshot,
                        (number)layer->logged_from);
    if (f && name) snprintf(f->instance, sizeof f->instance, "%s", name->name);
  }
}

void log_check(audit *a) {
  const kept *k = &a->kept;
  bool has_records = k->log_rows.count || k->log_catalog.count;
  if (has_records && k->has_store && !(k->store.incompatible & FEATURE_INCOMPATIBLE_LOG))
    DAMAGE(a, "there are records of the log, but the store record does not say that the store has a log");
  if (k->log_catalog.count && k->log_beginning > last_sequence(k) + 1)
    DAMAGE(a, "the log begins with record %llu, but its last one is %llu", (number)k->log_beginning,
           (number)last_sequence(k));
  for (size_t i = 0; i < k->log_catalog.count; i++) check_record(a, &k->log_catalog.at[i]);
  for (size_t i = 0; i < k->log_rows.count; i++) check_row(a, &k->log_rows.at[i]);
  check_snapshots(a);
}
