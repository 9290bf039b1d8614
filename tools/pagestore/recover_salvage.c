/* recover_salvage.c - the walk, and the rows that come out. The contract is in recover_salvage.h. */
#include "recover_salvage.h"

#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "check_agree.h"
#include "storage/walker_page.h"

static const char next_none[] = "nothing need be done";

static void bit_set(uint64_t *bits, uint64_t i) { bits[i / 64] |= 1ull << i % 64; }

/* ---- what the walk meets --------------------------------------------------------------------- */

static int note_finding(void *env, uint64_t page, const char *text) {
  salvage *s = env;
  if (page < s->file_pages) bit_set(s->suspect, page);
  if (strstr(text, "which is free")) s->conflict = true;
  if (strncmp(text, "free list", 9) == 0 || strncmp(text, "table free", 10) == 0) s->exact = false;
  return 0;
}

static bool is_known(const char *table) {
  static const char *const names[] = {"main", "free", "catalog", "pages", "log"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(table, names[i]) == 0) return true;
  return false;
}

/* A table whose name is damaged is walked under that name, and nobody takes its rows: the scan does, so its pages have
 * not been met. */
static int note_page(void *env, const char *table, walker_page_kind kind, uint64_t first, uint64_t count) {
  salvage *s = env;
  if (!is_known(table)) return 0;
  if (kind == WALKER_BRANCH && first < s->file_pages) bit_set(s->branches, first);
  for (uint64_t i = 0; i < count && first + i < s->file_pages; i++) bit_set(s->reached, first + i);
  return 0;
}

static int note_freed(void *env, uint64_t txn_id, uint64_t page) {
  salvage *s = env;
  (void)txn_id;
  if (page < s->file_pages) bit_set(s->freed, page);
  else s->freed_beyond++;
  return 0;
}

int salvage_add_gap(salvage *s, salvage_gap gap) {
  if (s->gaps.count == s->gaps.room) {
    size_t room = s->gaps.room ? s->gaps.room * 2 : 8;
    salvage_gap *grown = realloc(s->gaps.at, room * sizeof *grown);
    if (!grown) return PAGESTORE_ENOMEM;
    s->gaps.at = grown;
    s->gaps.room = room;
  }
  s->gaps.at[s->gaps.count++] = gap;
  return 0;
}

static const salvage_gap whole_table = {.high = {UINT64_MAX, UINT32_MAX, UINT64_MAX, 0}};

/* A key that cannot be taken apart bounds nothing. */
static int note_gap(void *env, const char *table, bytes low, bytes high) {
  salvage *s = env;
  salvage_gap gap = whole_table;
  if (strcmp(table, "free") == 0) return 0;
  if (strcmp(table, "log") == 0 || strcmp(table, "main") == 0) s->missed |= SCAN_LOG;
  if (strcmp(table, "log") == 0) return 0;
  if (strcmp(table, "pages") != 0) s->missed |= SCAN_RECORDS;
  if (strcmp(table, "catalog") == 0) return 0;
  s->missed |= SCAN_ROWS;
  if (!low.data || page_key_decode(low, &gap.low) != 0) gap.low = whole_table.low;
  if (!high.data || page_key_decode(high, &gap.high) != 0) gap.high = whole_table.high;
  return salvage_add_gap(s, gap);
}

static int note_row_lost(void *env, const char *table, bytes key) {
  salvage *s = env;
  (void)key;
  if (strcmp(table, "catalog") == 0) s->missed |= SCAN_RECORDS;
  if (strcmp(table, "pages") == 0) s->missed |= SCAN_ROWS;
  if (strcmp(table, "log") == 0) s->missed |= SCAN_LOG;
  return 0;
}

static int note_failed(salvage *s, bytes key) {
  if (s->failed.count == s->failed.room) {
    size_t room = s->failed.room ? s->failed.room * 2 : 8;
    catalog_key *grown = realloc(s->failed.at, room * sizeof *grown);
    if (!grown) return PAGESTORE_ENOMEM;
    s->failed.at = grown;
    s->failed.room = room;
  }
  catalog_key *made = &s->failed.at[s->failed.count++];
  made->size = min_u64(key.size, sizeof made->byte);
  memcpy(made->byte, key.data, made->size);
  return 0;
}

/* A record's length is its own to say: its row's may be damaged. */
static int note_row(void *env, const char *table, bytes key, walker_place place) {
  salvage *s = env;
  catalog_record r;
  bool is_size = place.size == PAGE_RECORD_BYTES || place.size == ZERO_MARKER_BYTES;
  if (strcmp(table, "pages") == 0 && (key.size != PAGE_KEY_BYTES || !is_size)) {
    s->missed |= SCAN_ROWS;
    return note_finding(s, place.at / LMDB_PAGE_BYTES, "");
  }
  if (strcmp(table, "log") == 0 && (key.size != LOG_KEY_BYTES || place.size != PAGE_RECORD_BYTES)) {
    s->missed |= SCAN_LOG;
    return note_finding(s, place.at / LMDB_PAGE_BYTES, "");
  }
  if (strcmp(table, "catalog") != 0) return 0;
  uint64_t left = LMDB_PAGE_BYTES - place.at % LMDB_PAGE_BYTES;
  size_t size = (size_t)min_u64(left, sizeof r.byte), own;
  if (walker_read(s->fd, (walker_place){place.at, size}, r.byte) != 0) return 0;
  r.size = catalog_record_begins(r.byte, size, &own) && place.size > size ? own : (size_t)min_u64(place.size, size);
  int err = salvage_take_record(s, key, (bytes){r.byte, r.size});
  if (err != PAGESTORE_ECORRUPT) return err;
  s->missed |= SCAN_RECORDS;
  (void)note_finding(s, place.at / LMDB_PAGE_BYTES, "");
  return note_failed(s, key);
}

/* Nobody asks for a snapshot's record; its name is known where only the value is damaged. */
static void tell_snapshots_lost(salvage *s) {
  for (size_t i = 0; i < s->failed.count; i++) {
    const catalog_key *key = &s->failed.at[i];
    catalog_kind kind;
    uint64_t id;
    char name[256];
    if (catalog_key_decode((bytes){key->byte, key->size}, &kind, &id, name) != 0 || kind != CATALOG_SNAPSHOT) continue;
    if (kept_state_of(&s->audit.kept, id, name)) continue;
    finding *f = findings_add(&s->lost, FINDING_DAMAGE, "compare with a backup", "snapshot '%.100s' is lost", name);
    const kept_name *instance = kept_name_of(&s->audit.kept, id);
    if (f && instance) snprintf(f->instance, sizeof f->instance, "%s", instance->name);
  }
}

static void tell_records_lost(salvage *s, uint64_t before) {
  before += s->log_adopted; /* the rows know what these knew */
  if (s->chosen && before < s->audit.catalog_rows_wanted)
    findings_add(&s->lost, FINDING_DAMAGE, "compare names and snapshots with a backup",
                 "%llu records of the catalog are lost: names of instances, snapshots, layers or trash",
                 (unsigned long long)(s->audit.catalog_rows_wanted - before));
}

static int walk(salvage *s) {
  walker_callbacks also = {.env = s,
                           .finding = note_finding,
                           .row = note_row,
                           .page = note_page,
                           .freed = note_freed,
                           .gap = note_gap,
                           .row_lost = note_row_lost};
  s->audit = (audit){.fd = s->fd,
                     .metas = &s->metas,
                     .meta = s->meta,
                     .deep = true,
                     .explain = NO_OFFSET,
                     .page_rows_wanted = UINT64_MAX,
                     .log_rows_wanted = UINT64_MAX,
                     .progress = s->progress,
                     .env = s->progress_env,
                     .also = &also};
  int err = audit_run(&s->audit);
  s->audit.also = NULL;
  return err;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool read_row(const salvage *s, const kept_row *r, uint8_t value[PAGE_RECORD_BYTES]) {
  return r->health != KEPT_ROW_UNREADABLE && walker_read(s->fd, (walker_place){r->at, r->size}, value) == 0;
}

/* Puts keys right that the values know better, and says what is whole. */
static void settle_row(salvage *s, kept_row *r) {
  static uint8_t value[PAGE_RECORD_BYTES];
  page_key own;
  id128 store;
  if (r->health == KEPT_ROW_GOOD && r->origin == ORIGIN_TREE) return;
  if (!read_row(s, r, value)) {
    r->health = KEPT_ROW_UNREADABLE;
    r->damaged = ALL_BLOCKS;
    return;
  }
  if (r->size == ZERO_MARKER_BYTES) {
    r->health = mend_marker(&r->key, value) ? KEPT_ROW_GOOD : KEPT_ROW_DAMAGED;
    return;
  }
  bool knows = page_header_identity(value, &own, &store) == 0 &&
               memcmp(&store, &s->audit.kept.store.id, sizeof store) == 0;
  if (knows) r->key = own;
  r->damaged = 0;
  bool mended = mend_page(r->key, s->audit.kept.store.id, value, &r->damaged) != MEND_DAMAGED;
  r->health = mended ? KEPT_ROW_GOOD : KEPT_ROW_DAMAGED;
}

static bool is_same(const page_key *a, const page_key *b) {
  return a->layer == b->layer && a->memory == b->memory && a->page == b->page && a->version == b->version;
}

/* One row a key: a good one before others, then the tree's. */
static void drop_doubles(kept *k) {
  size_t kept_rows = 0;
  for (size_t i = 0; i < k->rows.count; i++) {
    kept_row *last = kept_rows ? &k->rows.at[kept_rows - 1] : NULL, *r = &k->rows.at[i];
    if (!last || !is_same(&last->key, &r->key)) k->rows.at[kept_rows++] = *r;
    else if (last->health != KEPT_ROW_GOOD && r->health == KEPT_ROW_GOOD) *last = *r;
  }
  k->rows.count = kept_rows;
}

/* Nothing refers to them any more. */
static void drop_broken_system_rows(kept *k) {
  size_t kept_rows = 0;
  for (size_t i = 0; i < k->rows.count; i++)
    if (k->rows.at[i].key.memory != SYSTEM_MEMORY || k->rows.at[i].health == KEPT_ROW_GOOD)
      k->rows.at[kept_rows++] = k->rows.at[i];
  k->rows.count = kept_rows;
}

static int load_states(salvage *s) {
  kept *k = &s->audit.kept;
  int err = 0;
  bool broken = false;
  for (size_t i = 0; i < k->states.count && !err; i++) {
    const kept_row *damage;
    err = kept_load(k, s->fd, &k->states.at[i], &damage);
    if (err != PAGESTORE_ECORRUPT) continue;
    broken = true;
    err = salvage_mend_state(s, &k->states.at[i]);
  }
  if (broken) drop_broken_system_rows(k);
  return err;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int begin(salvage *s) {
  int status = walker_check_meta(s->fd, "the store", &s->given);
  if (status == PAGESTORE_EIO || (status == PAGESTORE_EFORMAT && s->given.file_bytes >= LMDB_METAS * LMDB_PAGE_BYTES))
    return status;
  s->file_pages = s->given.file_bytes / LMDB_PAGE_BYTES;
  size_t words = s->file_pages / 64 + 1;
  s->reached = calloc(words, sizeof *s->reached);
  s->freed = calloc(words, sizeof *s->freed);
  s->suspect = calloc(words, sizeof *s->suspect);
  s->branches = calloc(words, sizeof *s->branches);
  if (!s->reached || !s->freed || !s->suspect || !s->branches) return PAGESTORE_ENOMEM;
  if (status) findings_add(&s->lost, FINDING_NOTE, next_none, "%s", pagestore_detail());
  return salvage_choose(s);
}

/* Rows whose values were not where their leaf says may lie elsewhere. */
static void note_missed(salvage *s) {
  if (!s->chosen || s->audit.tables_missing) s->missed = SCAN_ROWS | SCAN_RECORDS | SCAN_LOG;
  for (size_t i = 0; i < s->audit.kept.rows.count; i++)
    if (s->audit.kept.rows.at[i].health == KEPT_ROW_UNREADABLE) s->missed |= SCAN_ROWS;
  for (size_t i = 0; i < s->audit.kept.log_rows.count; i++)
    if (s->audit.kept.log_rows.at[i].health != KEPT_ROW_GOOD) s->missed |= SCAN_LOG;
}

/* What the walk did not meet. */
static int scan(salvage *s) {
  kept *k = &s->audit.kept;
  size_t walked = k->log_catalog.count;
  int err = s->missed ? salvage_scan(s, s->missed, false) : 0;
  for (size_t i = walked; i < k->log_catalog.count; i++) k->log_catalog.at[i].strayed = true;
  return err;
}

static int run_once(salvage *s) {
  kept *k = &s->audit.kept;
  s->mends_left = MENDS_MAX;
  int err = begin(s);
  if (!err && s->chosen) err = walk(s);
  if (err) return err;
  bool unmet = !s->chosen || s->audit.tables_missing;
  if (unmet && (err = salvage_add_gap(s, whole_table)) != 0) return err;
  if (s->has_older_store && !k->has_store) k->store.id = s->older_store.id;
  s->rows_wanted = s->chosen ? s->audit.page_rows_wanted : UINT64_MAX;
  note_missed(s);
  if ((err = scan(s)) != 0) return err;
  bool is_counted = s->rows_wanted != UINT64_MAX && !s->audit.tables_missing;
  if (s->chosen && !is_counted) s->unaccounted = salvage_unaccounted(s);
  if (!k->has_store && k->rows.count == 0 && k->names.count == 0) return PAGESTORE_EFORMAT;
  if ((err = salvage_settle_log(s)) != 0) return err;
  tell_records_lost(s, s->records.count);
  for (size_t i = 0; i < k->rows.count; i++) settle_row(s, &k->rows.at[i]);
  kept_sort(k);
  drop_doubles(k);
  if ((err = salvage_complete(s)) != 0) return err;
  tell_snapshots_lost(s);
  if ((err = load_states(s)) != 0 || (err = salvage_resolve_log(s)) != 0) return err;
  if (s->missed && !s->exact)
    findings_add(
        &s->lost, FINDING_NOTE, "compare with a backup where it matters",
        "what is free in the file is not known: rows that had been deleted may be among those that were found");
  err = salvage_account(s);
  return err ? err : salvage_apply_log(s);
}

/* Fewer losses; else newer: what was superseded may be whole, too. */
static bool is_better(const salvage *a, const salvage *b) {
  uint64_t newer[2] = {a->audit.kept.store.flush_txn_id, b->audit.kept.store.flush_txn_id};
  if (a->lost.damages != b->lost.damages) return a->lost.damages < b->lost.damages;
  for (size_t i = 0; i < a->audit.kept.states.count; i++) newer[0] += a->audit.kept.states.at[i].record.version;
  for (size_t i = 0; i < b->audit.kept.states.count; i++) newer[1] += b->audit.kept.states.at[i].record.version;
  return newer[0] > newer[1];
}

static void swap(salvage *a, salvage *b) {
  salvage was = *a;
  *a = *b;
  *b = was;
  a->audit.metas = &a->metas;
  b->audit.metas = &b->metas;
  a->progress = was.progress;
  a->progress_env = was.progress_env;
}

/* In most files nothing is lost, or only blocks, which are not looked at here: then once is enough. */
int salvage_run(salvage *s) {
  salvage other = {.fd = s->fd, .flags = s->flags};
  s->free_first = true;
  int err = run_once(s);
  if (err == PAGESTORE_ENOMEM || err == PAGESTORE_EIO) return err;
  if (!err && s->lost.damages == 0 && !s->conflict) return 0;
  int others = run_once(&other);
  if (!others && (err || is_better(&other, s))) {
    swap(s, &other);
    err = 0;
  }
  salvage_free(&other);
  return others == PAGESTORE_ENOMEM || others == PAGESTORE_EIO ? others : err;
}

void salvage_free(salvage *s) {
  audit_free(&s->audit);
  free(s->reached);
  free(s->freed);
  free(s->suspect);
  free(s->branches);
  free(s->gaps.at);
  free(s->records.at);
  free(s->failed.at);
  free(s->places);
  free(s->merges.at);
  free(s->losses.at);
  free(s->lost.at);
}
