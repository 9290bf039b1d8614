/* prove_log.c - see prove_log.h. */
#include "prove_log.h"

#include <stdlib.h>
#include <string.h>

#include "totals.h"

static void wrong(found_log *l, const char *text) {
  if (!l->wrong) l->wrong = text;
}

void prove_log_forget(found_log *l) {
  free(l->said);
  *l = (found_log){0};
}

void prove_log_begin(found_log *l) {
  found_log next = {.beginning_before = l->beginning, .newest_before = l->newest, .doomed_before = l->doomed};
  free(l->said);
  *l = next;
}

void prove_log_store(found_log *l, bytes record) {
  store_record store;
  if (store_record_decode(record, &store) != 0) {
    wrong(l, "the store record is damaged");
    return;
  }
  l->store = store.id;
  l->has_feature = store.incompatible & FEATURE_INCOMPATIBLE_LOG;
}

void prove_log_catalog(found_log *l, uint64_t sequence, bytes record) {
  if (sequence == LOG_BEGINNING) {
    if (log_beginning_decode(record, &l->beginning) != 0) wrong(l, "the record of the log's beginning is damaged");
    return;
  }
  if (l->count == l->room) {
    l->room = l->room ? l->room * 2 : 64;
    l->said = realloc(l->said, l->room * sizeof *l->said);
    if (!l->said) give_up("no memory for a proof");
  }
  log_addresses *to = &l->said[l->count++];
  if (log_addresses_decode(record, to) != 0) wrong(l, "a record of where blocks belong is damaged");
  to->sequence = sequence;
}

static bool is_same(const log_address *a, const log_address *b) {
  return a->layer == b->layer && a->page == b->page && a->version == b->version && a->memory == b->memory &&
         a->number == b->number;
}

void prove_log_row(found_log *l, bytes key, bytes value) {
  uint64_t sequence;
  const log_addresses *said = l->met < l->count ? &l->said[l->met] : NULL;
  l->met++;
  if (log_key_decode(key, &sequence) != 0 || !said || said->sequence != sequence) {
    wrong(l, "a block record of which the catalog does not know");
    return;
  }
  if (log_record_check(value, sequence, l->store) != 0 || log_record_count(value.data) != said->count) {
    wrong(l, "a block record's header is damaged");
    return;
  }
  for (unsigned i = 0; i < said->count; i++) {
    log_address at = log_record_address(value.data, i);
    if (!is_same(&at, &said->at[i])) wrong(l, "a block record and the catalog say differently where blocks belong");
    else if (log_block_check(value.data, i, &at) != 0) wrong(l, "a logged block does not match its checksum");
  }
}

static void count_sights(const found_log *l) {
  if (l->newest > l->newest_before) totals_saw(SAW_LOGGED);
  if (l->beginning > l->beginning_before) totals_saw(SAW_BEGINNING);
  if (l->doomed > 0) totals_saw(SAW_DOOMED);
  if (l->doomed > 0 && l->doomed < l->doomed_before) totals_saw(SAW_DELETING);
  if (l->newest_before > 0 && l->count == 0) totals_saw(SAW_EMPTIED);
}

const char *prove_log_end(found_log *l) {
  l->newest = l->count ? l->said[l->count - 1].sequence : 0;
  uint64_t next = l->beginning ? l->beginning : LOG_BEGINNING + 1;
  for (uint64_t i = 0; i < l->count; i++) {
    if (l->said[i].sequence < l->beginning) l->doomed++;
    else if (l->said[i].sequence != next++) wrong(l, "records are missing that the beginning is not behind");
  }
  if (l->met < l->count) wrong(l, "a block record is missing");
  if (l->count && !l->has_feature) wrong(l, "the log has records, but the store does not name the feature");
  if (l->beginning < l->beginning_before) wrong(l, "the log's beginning has moved back");
  count_sights(l);
  return l->wrong;
}
