/* recover_log.c - the log goes into the pages: the new store has none. The contract is in recover_salvage.h.
 *
 *   settle   what rows and catalog say of the records, each standing in for the other; which records are missing
 *   apply    which blocks count, as a reader decides it; a page row for each page that has such blocks
 *   build    that row's bytes: those under it, and the blocks over them
 */
#include "recover_salvage.h"

#include <pagestore.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

static const char next_backup[] = "compare with a backup";
typedef unsigned long long number;

static bool read_header(const salvage *s, const kept_log *row, uint8_t header[PAGE_HEADER_BYTES]) {
  if (row->at == NO_OFFSET) return false;
  return walker_read(s->fd, (walker_place){row->at, PAGE_HEADER_BYTES}, header) == 0;
}

/* ---- what there is --------------------------------------------------------------------------- */

static void read_addresses(const uint8_t *header, log_addresses *to) {
  to->count = log_record_count(header);
  for (unsigned slot = 0; slot < to->count; slot++) to->at[slot] = log_record_address(header, slot);
}

/* A header in order knows its number better than the key. */
static void settle_row(const salvage *s, kept_log *row) {
  uint8_t header[PAGE_HEADER_BYTES];
  uint64_t sequence;
  id128 store;
  row->addresses.count = 0;
  if (!read_header(s, row, header) || log_record_identity(header, &sequence, &store) != 0) return;
  if (memcmp(&store, &s->audit.kept.store.id, sizeof store) != 0) return;
  row->sequence = row->addresses.sequence = sequence;
  read_addresses(header, &row->addresses);
}

static bool is_same_place(const log_address *a, const log_address *b) {
  return a->layer == b->layer && a->page == b->page && a->version == b->version && a->memory == b->memory &&
         a->number == b->number;
}

/* A record that was gone on with lies in the file more than once, and so does what the catalog says of it: an older
 * copy is the beginning of a newer one. */
static bool agrees(const kept *k, const kept_log *row) {
  const kept_log *record = kept_log_of(k, row->sequence);
  if (!record) return false;
  for (unsigned i = 0; i < min_u64(record->addresses.count, row->addresses.count); i++)
    if (!is_same_place(&record->addresses.at[i], &row->addresses.at[i])) return false;
  return true;
}

static unsigned worth(const kept *k, const kept_log *row) {
  if (row->addresses.count) return agrees(k, row) ? 3 : 2;
  return row->health != KEPT_ROW_UNREADABLE;
}

static bool is_worth_more(const kept *k, const kept_log *row, const kept_log *than) {
  unsigned a = worth(k, row), b = worth(k, than);
  return a > b || (a == b && row->addresses.count > than->addresses.count);
}

/* One row a number. */
static void drop_doubles(kept *k) {
  size_t kept_rows = 0;
  for (size_t i = 0; i < k->log_rows.count; i++) {
    kept_log *last = kept_rows ? &k->log_rows.at[kept_rows - 1] : NULL, *row = &k->log_rows.at[i];
    if (!last || last->sequence != row->sequence) k->log_rows.at[kept_rows++] = *row;
    else if (is_worth_more(k, row, last)) *last = *row;
  }
  k->log_rows.count = kept_rows;
}

/* Where the catalog says nothing of a row, or less than the row, its header does. */
static int adopt_rows(salvage *s) {
  kept *k = &s->audit.kept;
  size_t known = k->log_catalog.count;
  for (size_t i = 0; i < k->log_rows.count; i++) {
    const kept_log *row = &k->log_rows.at[i];
    size_t count = k->log_catalog.count;
    k->log_catalog.count = known; /* what is sorted */
    kept_log *said = kept_log_of(k, row->sequence);
    bool says_less = said && agrees(k, row) && said->addresses.count < row->addresses.count;
    k->log_catalog.count = count;
    if (says_less) said->addresses = row->addresses, said->strayed = row->strayed;
    if (said || !row->addresses.count) continue;
    kept_log record = {.sequence = row->sequence, .strayed = row->strayed, .addresses = row->addresses};
    if (KEPT_APPEND(k->log_catalog, record)) return PAGESTORE_ENOMEM;
    s->log_adopted++;
  }
  kept_sort(k);
  return 0;
}

/* ---- what is missing ------------------------------------------------------------------------- */

/* Numbers that no record has, between the log's beginning and its last one. */
static uint64_t numbers_missing(const kept *k) {
  uint64_t found = 0, first = k->log_beginning;
  if (!k->log_catalog.count) return 0;
  if (!first) first = k->log_catalog.at[0].sequence;
  for (size_t i = 0; i < k->log_catalog.count; i++) found += k->log_catalog.at[i].sequence >= first;
  uint64_t last = k->log_catalog.at[k->log_catalog.count - 1].sequence;
  return last < first ? 0 : last - first + 1 - found;
}

/* Records that nothing else can be taken for: the row, or what the catalog says, lies where a tree leads. Where it is
 * not known what is free, others may have been deleted, or be copies from before a record was gone on with. */
static uint64_t records_sure(const salvage *s) {
  const kept *k = &s->audit.kept;
  uint64_t sure = 0;
  if (s->exact) return k->log_catalog.count;
  for (size_t i = 0; i < k->log_catalog.count; i++) {
    const kept_log *record = &k->log_catalog.at[i], *row = kept_log_row_of(k, record->sequence);
    bool is_row_sure = row && !row->strayed && row->addresses.count;
    sure += is_row_sure || (!record->strayed && record->addresses.count);
  }
  return sure;
}

static void tell_missing(salvage *s) {
  kept *k = &s->audit.kept;
  uint64_t wanted = s->chosen ? s->audit.log_rows_wanted : UINT64_MAX, missing = numbers_missing(k);
  uint64_t sure = records_sure(s);
  bool has_log = k->has_store && k->store.incompatible & FEATURE_INCOMPATIBLE_LOG;
  bool is_counted = wanted != UINT64_MAX;
  if (is_counted && wanted > sure) missing = max_u64(missing, wanted - sure);
  bool may_miss = !is_counted && (has_log || k->log_catalog.count) && (s->unaccounted || !s->exact);
  may_miss |= has_log && !k->log_catalog.count;
  s->log_missing = missing || may_miss;
  if (missing)
    findings_add(&s->lost, FINDING_DAMAGE, next_backup,
                 "%llu records of the log are lost: pages of unknown place may be older", (number)missing);
  else if (may_miss)
    findings_add(&s->lost, FINDING_DAMAGE, next_backup,
                 "records of the log may be lost: pages of unknown place may be older");
  bool is_lost = s->chosen && s->records.count + s->log_adopted < s->audit.catalog_rows_wanted;
  bool may_be_lost = (!s->chosen || s->audit.tables_missing) && (s->unaccounted || !s->exact);
  if (k->log_catalog.count && !k->log_beginning && (is_lost || may_be_lost)) {
    s->log_missing = true;
    findings_add(&s->lost, FINDING_DAMAGE, next_backup,
                 "it is not known where the log begins: pages of zeros may have older bytes");
  }
}

int salvage_settle_log(salvage *s) {
  kept *k = &s->audit.kept;
  for (size_t i = 0; i < k->log_rows.count; i++) settle_row(s, &k->log_rows.at[i]);
  kept_sort(k);
  drop_doubles(k);
  int err = adopt_rows(s);
  if (!err) tell_missing(s);
  return err;
}

/* ---- which blocks count ---------------------------------------------------------------------- */

/* What was never committed in this state may lie in the file: it is nobody's. */
static void drop_unborn(kept *k) {
  for (size_t i = 0; i < k->log_catalog.count; i++) {
    log_addresses *a = &k->log_catalog.at[i].addresses;
    for (unsigned slot = 0; slot < a->count; slot++) {
      const kept_state *present = kept_present_in(k, a->at[slot].layer);
      if (present && a->at[slot].version > present->record.version) a->at[slot].layer = 0;
    }
  }
}

int salvage_resolve_log(salvage *s) {
  drop_unborn(&s->audit.kept);
  return kept_resolve_log(&s->audit.kept);
}

static bool is_of(const salvage_merge *m, const log_address *at) {
  return m->key.layer == at->layer && m->key.memory == at->memory && m->key.page == at->page;
}

static int add_block(salvage *s, const kept_block *b) {
  salvage_merge *last = s->merges.count ? &s->merges.at[s->merges.count - 1] : NULL;
  if (!last || !is_of(last, &b->at)) {
    salvage_merge made = {.key = {b->at.layer, b->at.memory, b->at.page, 0}};
    if (KEPT_APPEND(s->merges, made)) return PAGESTORE_ENOMEM;
    last = &s->merges.at[s->merges.count - 1];
  }
  last->key.version = max_u64(last->key.version, b->at.version);
  last->blocks |= (uint16_t)(1u << b->at.number);
  last->from[b->at.number] = (salvage_slot){b->record, b->slot};
  return 0;
}

static const salvage_merge *next_merge(const salvage *s, const page_key *key, size_t *at) {
  for (; *at < s->merges.count; ++*at) {
    const page_key *m = &s->merges.at[*at].key;
    bool before = m->layer != key->layer     ? m->layer < key->layer
                  : m->memory != key->memory ? m->memory < key->memory
                                             : m->page < key->page;
    if (!before) break;
  }
  const salvage_merge *m = *at < s->merges.count ? &s->merges.at[*at] : NULL;
  bool same = m && m->key.layer == key->layer && m->key.memory == key->memory && m->key.page == key->page;
  return same ? m : NULL;
}

/* Rows that a merged one replaces, unless an older version needs them. */
static void drop_replaced(salvage *s) {
  kept *k = &s->audit.kept;
  size_t kept_rows = 0, at = 0;
  if (s->missed & SCAN_RECORDS) return; /* the record of who needs them may be lost */
  for (size_t i = 0; i < k->rows.count; i++) {
    const page_key *key = &k->rows.at[i].key;
    const salvage_merge *m = next_merge(s, key, &at);
    if (!m || salvage_is_needed(k, key->layer, key->version, m->key.version)) k->rows.at[kept_rows++] = k->rows.at[i];
  }
  k->rows.count = kept_rows;
}

int salvage_apply_log(salvage *s) {
  kept *k = &s->audit.kept;
  int err = salvage_resolve_log(s);
  for (size_t i = 0; i < k->blocks.count && !err; i++)
    if (k->blocks.at[i].counts) err = add_block(s, &k->blocks.at[i]);
  for (size_t i = 0; i < s->merges.count && !err; i++) {
    salvage_merge *m = &s->merges.at[i];
    kept_line line;
    kept_line_of(k, m->key.layer, m->key.version - 1, &line);
    const kept_row *under = kept_lookup(k, &line, m->key.memory, m->key.page);
    m->has_under = under;
    if (under) m->under = *under;
  }
  if (!err) drop_replaced(s);
  for (size_t i = 0; i < s->merges.count && !err; i++)
    err = kept_add_row(k, (kept_row){.key = s->merges.at[i].key,
                                     .at = NO_OFFSET,
                                     .size = PAGE_RECORD_BYTES,
                                     .origin = ORIGIN_LOG});
  kept_sort(k);
  k->store.incompatible &= ~FEATURE_INCOMPATIBLE_LOG;
  return err || !s->merges.count ? err : salvage_recount(s);
}

/* ---- the bytes ------------------------------------------------------------------------------- */

static int order_merges(const void *a, const void *b) {
  uint8_t x[PAGE_KEY_BYTES], y[PAGE_KEY_BYTES];
  page_key_encode(((const salvage_merge *)a)->key, x);
  page_key_encode(((const salvage_merge *)b)->key, y);
  return memcmp(x, y, sizeof x);
}

const salvage_merge *salvage_merge_of(const salvage *s, const page_key *key) {
  salvage_merge wanted = {.key = *key};
  if (!s->merges.count) return NULL;
  return bsearch(&wanted, s->merges.at, s->merges.count, sizeof wanted, order_merges);
}

/* Into `record`. The header that these blocks should have is theirs if its seal is the stored one; else each block
 * whose checksum is in its place. Slots that cannot be read come back. */
static uint16_t read_record(const salvage *s, const kept_log *of, uint8_t record[PAGE_RECORD_BYTES]) {
  static uint8_t right[PAGE_RECORD_BYTES];
  const id128 store = s->audit.kept.store.id;
  const kept_log *row = kept_log_row_of(&s->audit.kept, of->sequence);
  uint16_t bad = 0;
  uint64_t sequence;
  id128 found;
  if (!row || !read_header(s, row, record)) return ALL_BLOCKS;
  bool is_sealed = log_record_identity(record, &sequence, &found) == 0;
  if (is_sealed && !agrees(&s->audit.kept, row)) return ALL_BLOCKS;
  log_record_init(right, of->sequence, store);
  for (unsigned slot = 0; slot < of->addresses.count; slot++) {
    const log_address *at = &of->addresses.at[slot];
    const uint8_t *block = log_record_block(record, slot);
    walker_place place = {row->at + (uint64_t)(block - record), BLOCK_BYTES};
    bool is_read = walker_read(s->fd, place, record + (block - record)) == 0;
    if (!is_read) bad |= (uint16_t)(1u << slot);
    uint64_t checksum = block_checksum(block, at->page, at->number);
    if (log_record_checksum(record, slot) != checksum) bad |= (uint16_t)(1u << slot);
    log_record_add(right, slot, at, block, checksum);
  }
  log_record_seal(right, of->addresses.count);
  return page_header_seal_of(right) == page_header_seal_of(record) ? 0 : bad;
}

/* The row under it; the blocks of it that cannot be read come back. */
static uint16_t read_under(const salvage *s, const salvage_merge *m, uint8_t value[PAGE_RECORD_BYTES]) {
  const kept_row *r = &m->under;
  uint16_t blocks = 0;
  memset(value, 0, PAGE_RECORD_BYTES);
  if (!m->has_under) return 0;
  if (r->size == ZERO_MARKER_BYTES) return r->health == KEPT_ROW_GOOD && r->origin != ORIGIN_MARK ? 0 : ALL_BLOCKS;
  if (r->origin == ORIGIN_LOG || r->health == KEPT_ROW_UNREADABLE) return ALL_BLOCKS;
  if (walker_read(s->fd, (walker_place){r->at, r->size}, value) != 0) {
    memset(value, 0, PAGE_RECORD_BYTES);
    return ALL_BLOCKS;
  }
  return mend_page(r->key, s->audit.kept.store.id, value, &blocks) == MEND_DAMAGED ? blocks : 0;
}

/* Blocks that cannot be had, of the log's. */
static uint16_t put_logged(const salvage *s, const salvage_merge *m, uint8_t value[PAGE_RECORD_BYTES]) {
  static uint8_t record[PAGE_RECORD_BYTES];
  uint32_t in_record = UINT32_MAX;
  uint16_t bad = 0, lost = 0;
  for (unsigned n = 0; n < PAGE_BLOCKS; n++) {
    salvage_slot from = m->from[n];
    if (!(m->blocks >> n & 1)) continue;
    if (from.record != in_record) bad = read_record(s, &s->audit.kept.log_catalog.at[from.record], record);
    in_record = from.record;
    if (bad >> from.slot & 1) lost |= (uint16_t)(1u << n);
    else memcpy(value + PAGE_HEADER_BYTES + n * BLOCK_BYTES, log_record_block(record, from.slot), BLOCK_BYTES);
  }
  return lost;
}

merge_result salvage_build(const salvage *s, const salvage_merge *m, uint8_t value[PAGE_RECORD_BYTES]) {
  merge_result r = {0};
  uint16_t under = read_under(s, m, value), logged = put_logged(s, m, value);
  r.lost = (uint16_t)((under & ~m->blocks) | logged);
  r.older = s->flags & RECOVER_OLDER ? (uint16_t)(logged & ~under) : 0;
  r.zeros = s->flags & RECOVER_ZERO ? (uint16_t)(r.lost & ~r.older) : 0;
  uint16_t unreadable = (uint16_t)(r.lost & ~r.older & ~r.zeros);
  for (unsigned n = 0; n < PAGE_BLOCKS; n++)
    if (r.zeros >> n & 1) memset(value + PAGE_HEADER_BYTES + n * BLOCK_BYTES, 0, BLOCK_BYTES);
  mend_make_page(m->key, s->audit.kept.store.id, value);
  for (unsigned n = 0; n < PAGE_BLOCKS; n++)
    if (unreadable >> n & 1) page_header_set_checksum(value, n, ~page_header_checksum(value, n));
  page_header_seal(value);
  return r;
}
