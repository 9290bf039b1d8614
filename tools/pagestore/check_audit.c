/* check_audit.c - the walk and the rows. The contract is in check_audit.h; whether records agree: check_agree.c. */
#include "check_audit.h"

#include <pagestore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "check_agree.h"
#include "check_explain.h"
#include "check_log.h"

static const char next_recover[] = "`pagestore recover STORE DST` saves what is intact";
static const char next_roomy[] = "nothing need be done; a copy has the room back";

/* ---- findings -------------------------------------------------------------------------------- */

finding *findings_add(findings *f, finding_level level, const char *next, const char *format, ...) {
  if (level == FINDING_DAMAGE) f->damages++;
  else f->notes++;
  if (f->count == FINDINGS_MAX) return NULL;
  if (f->count == f->room) {
    size_t room = f->room ? f->room * 2 : 16;
    finding *grown = realloc(f->at, room * sizeof *grown);
    if (!grown) return NULL;
    f->at = grown;
    f->room = room;
  }
  finding *made = &f->at[f->count++];
  *made = (finding){.level = level, .lmdb_page = LMDB_NO_PAGE, .offset = NO_OFFSET, .next = next};
  va_list args;
  va_start(args, format);
  vsnprintf(made->text, sizeof made->text, format, args);
  va_end(args);
  return made;
}

/* Where the finding is in the file. */
void findings_put_place(finding *f, uint64_t at) {
  if (!f || at == NO_OFFSET) return;
  f->offset = at;
  f->lmdb_page = at / LMDB_PAGE_BYTES;
}

void findings_put_key(finding *f, const page_key *key) {
  if (!f) return;
  f->has_page = f->has_version = true;
  f->layer = key->layer;
  f->memory_id = key->memory;
  f->page = key->page;
  f->version = key->version;
}

static int note_structure(void *env, uint64_t page, const char *text) {
  audit *a = env;
  if (a->also) (void)a->also->finding(a->also->env, page, text);
  finding *f = findings_add(&a->found, FINDING_DAMAGE, next_recover, "%s", text);
  if (page != LMDB_NO_PAGE) findings_put_place(f, page * LMDB_PAGE_BYTES);
  return 0;
}

static int note_lost(void *env, uint64_t first, uint64_t count) {
  audit *a = env;
  explain_lost(a, first, count);
  a->lost_pages += count;
  bool behind = first * LMDB_PAGE_BYTES >= a->metas->file_bytes;
  finding *f = behind ? findings_add(&a->found, FINDING_DAMAGE, next_recover,
                                     "the meta page numbers %llu LMDB pages behind the file's end that nothing names",
                                     (unsigned long long)count)
                      : findings_add(&a->found, FINDING_NOTE, next_roomy,
                                     "%llu LMDB pages from %llu on are lost: neither in use nor free",
                                     (unsigned long long)count, (unsigned long long)first);
  findings_put_place(f, first * LMDB_PAGE_BYTES);
  return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void list_blocks(uint16_t mask, char *to, size_t room) {
  size_t used = 0;
  to[0] = 0;
  for (unsigned i = 0; i < PAGE_BLOCKS && used + 4 < room; i++)
    if (mask >> i & 1) used += (size_t)snprintf(to + used, room - used, "%s%u", used ? " " : "", i);
}

/* Without a store record the first header in order tells whose store it is. */
static void learn_store(audit *a, const uint8_t *header) {
  page_key key;
  static const id128 none;
  if (a->kept.has_store || memcmp(&a->kept.store.id, &none, sizeof none) != 0) return;
  (void)page_header_identity(header, &key, &a->kept.store.id);
}

/* The value is read as far as it is looked at. */
static int judge_row(audit *a, kept_row *row, const uint8_t *value) {
  row_kind kind;
  char blocks[64];
  if (row->size == PAGE_RECORD_BYTES) learn_store(a, value);
  if (row_check((bytes){value, row->size}, row->key, a->kept.store.id, &kind) != 0) {
    row->health = KEPT_ROW_DAMAGED;
    row->damaged = row->size == PAGE_RECORD_BYTES ? ALL_BLOCKS : 0;
    finding *f = findings_add(&a->found, FINDING_DAMAGE, next_recover,
                              row->size == PAGE_RECORD_BYTES ? "the page's header does not match its checksum and key"
                                                             : "a zero marker does not match its checksum and key");
    findings_put_place(f, row->at);
    findings_put_key(f, &row->key);
    return 0;
  }
  if (kind == ROW_ZERO || !a->deep) return 0;
  row->damaged = page_damaged_blocks((bytes){value, row->size}, row->key.page, ALL_BLOCKS);
  if (!row->damaged) return 0;
  row->health = KEPT_ROW_DAMAGED;
  list_blocks(row->damaged, blocks, sizeof blocks);
  finding *f = findings_add(&a->found, FINDING_DAMAGE, next_recover,
                            "%u of its blocks do not match their checksums: %s", mask_count(row->damaged), blocks);
  findings_put_place(f, row->at + PAGE_HEADER_BYTES + (uint64_t)__builtin_ctz(row->damaged) * BLOCK_BYTES);
  findings_put_key(f, &row->key);
  return 0;
}

static int take_page_row(audit *a, bytes key, walker_place place) {
  static uint8_t value[PAGE_RECORD_BYTES];
  kept_row row = {.at = place.at, .size = (uint32_t)place.size};
  int err = page_key_decode(key, &row.key);
  bool is_size = place.size == PAGE_RECORD_BYTES || place.size == ZERO_MARKER_BYTES;
  if (err || !is_size) {
    finding *f = findings_add(&a->found, FINDING_DAMAGE, next_recover,
                              err ? "a row of the table of pages has a key of %llu bytes"
                                  : "a row of the table of pages has %llu bytes, which no row has",
                              (unsigned long long)(err ? key.size : place.size));
    findings_put_place(f, place.at);
    if (err) return 0;
    findings_put_key(f, &row.key);
    row.health = KEPT_ROW_UNREADABLE;
    row.size = PAGE_RECORD_BYTES;
    return kept_add_row(&a->kept, row);
  }
  a->pages_checked += place.size == PAGE_RECORD_BYTES;
  if (!a->deep) place.size = min_u64(place.size, PAGE_HEADER_BYTES);
  if (walker_read(a->fd, place, value) != 0) {
    finding *f = findings_add(&a->found, FINDING_DAMAGE, next_recover, "the row's value cannot be read");
    findings_put_place(f, place.at);
    findings_put_key(f, &row.key);
    row.health = KEPT_ROW_UNREADABLE;
  } else {
    (void)judge_row(a, &row, value);
  }
  if (a->progress) a->progress(a->env, place.size);
  return kept_add_row(&a->kept, row);
}

/* Recover takes them itself, mended where that is possible. */
static int take_catalog_row(audit *a, bytes key, walker_place place) {
  if (a->also) return 0;
  uint8_t value[CATALOG_RECORD_BYTES_MAX];
  char text[KEPT_TEXT] = "a catalog record is longer than any can be, or cannot be read";
  int err = PAGESTORE_ECORRUPT;
  if (place.size <= sizeof value && walker_read(a->fd, place, value) == 0)
    err = kept_add_catalog(&a->kept, key, (bytes){value, place.size}, text);
  if (err != PAGESTORE_ECORRUPT) return err;
  findings_put_place(findings_add(&a->found, FINDING_DAMAGE, next_recover, "%s", text), place.at);
  return 0;
}

typedef struct {
  audit *audit;
  int status;
  bool catalog, pages, log;
} walk;

/* A name with one wrong byte is still known by the others: the rows behind it are whole. */
static const char *meant(const char *table) {
  static const char *const names[] = {"catalog", "log", "pages"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    size_t size = strlen(names[i]), wrong = 0;
    for (size_t b = 0; b < size && strlen(table) == size; b++) wrong += table[b] != names[i][b];
    if (strlen(table) == size && wrong <= 1) return names[i];
  }
  return table;
}

static int note_row(void *env, const char *name, bytes key, walker_place place) {
  walk *w = env;
  const char *table = meant(name);
  const walker_callbacks *also = w->audit->also;
  explain_row(w->audit, table, key, place);
  if (also) (void)also->row(also->env, table, key, place);
  if (strcmp(table, "pages") == 0) w->status = take_page_row(w->audit, key, place);
  else if (strcmp(table, "catalog") == 0) w->status = take_catalog_row(w->audit, key, place);
  else if (strcmp(table, "log") == 0) w->status = log_take_row(w->audit, key, place);
  return w->status;
}

static int note_table(void *env, const char *name, const walker_tree *tree) {
  walk *w = env;
  audit *a = w->audit;
  const char *table = meant(name);
  if (strcmp(table, name) != 0)
    findings_add(&a->found, FINDING_DAMAGE, next_recover, "the name of the table '%s' is damaged: '%s'", table, name);
  if (strcmp(table, "catalog") != 0)
    a->total_bytes += a->deep ? tree->overflow_pages * LMDB_PAGE_BYTES : tree->entries * PAGE_HEADER_BYTES;
  if (strcmp(table, "catalog") == 0) a->catalog_rows_wanted = tree->entries;
  if (strcmp(table, "pages") == 0) a->page_rows_wanted = tree->entries;
  if (strcmp(table, "log") == 0) a->log_rows_wanted = tree->entries;
  bool *known = strcmp(table, "catalog") == 0 ? &w->catalog
                : strcmp(table, "pages") == 0 ? &w->pages
                : strcmp(table, "log") == 0   ? &w->log
                                              : NULL;
  if (known) *known = true;
  else
    findings_add(&w->audit->found, FINDING_DAMAGE, next_recover, "there is a table '%s', which is none of a store's",
                 table);
  return 0;
}

static int note_row_lost(void *env, const char *name, bytes key) {
  walk *w = env;
  const char *table = meant(name);
  kept_row row = {.size = PAGE_RECORD_BYTES, .health = KEPT_ROW_UNREADABLE, .damaged = ALL_BLOCKS};
  const walker_callbacks *also = w->audit->also;
  if (also) (void)also->row_lost(also->env, table, key);
  if (strcmp(table, "log") == 0) return w->status = log_take_lost(w->audit, key);
  if (strcmp(table, "pages") != 0 || page_key_decode(key, &row.key) != 0) return 0;
  findings_put_key(findings_add(&w->audit->found, FINDING_DAMAGE, next_recover, "the page's bytes cannot be found"),
                   &row.key);
  w->status = kept_add_row(&w->audit->kept, row);
  return w->status;
}

static int walk_finding(void *env, uint64_t page, const char *text) {
  return note_structure(((walk *)env)->audit, page, text);
}

static int walk_lost(void *env, uint64_t first, uint64_t count) {
  return note_lost(((walk *)env)->audit, first, count);
}

static int walk_page(void *env, const char *name, walker_page_kind kind, uint64_t first, uint64_t count) {
  audit *a = ((walk *)env)->audit;
  const char *table = meant(name);
  explain_page(a, table, kind, first, count);
  return a->also ? a->also->page(a->also->env, table, kind, first, count) : 0;
}

static int walk_freed(void *env, uint64_t txn_id, uint64_t page) {
  audit *a = ((walk *)env)->audit;
  explain_freed(a, txn_id, page);
  return a->also ? a->also->freed(a->also->env, txn_id, page) : 0;
}

static int walk_gap(void *env, const char *table, bytes low, bytes high) {
  audit *a = ((walk *)env)->audit;
  return a->also ? a->also->gap(a->also->env, meant(table), low, high) : 0;
}

static int walk_all(audit *a) {
  walk w = {.audit = a};
  walker_callbacks callbacks = {
      .env = &w,
      .finding = walk_finding,
      .row = note_row,
      .page = walk_page,
      .freed = walk_freed,
      .table = note_table,
      .row_lost = note_row_lost,
      .gap = walk_gap,
      .lost = walk_lost,
  };
  int err = walker_walk(a->fd, a->metas, a->meta, &callbacks, &a->summary);
  if (w.status || (err && err != PAGESTORE_EABORTED)) return w.status ? w.status : err;
  a->tables_missing = !w.catalog || !w.pages || !w.log;
  if (a->tables_missing)
    findings_add(&a->found, FINDING_DAMAGE, next_recover, "the table '%s' is missing",
                 !w.catalog ? "catalog"
                 : !w.pages ? "pages"
                            : "log");
  return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int audit_run(audit *a) {
  explain_begin(a);
  int err = walk_all(a);
  if (err) return err;
  kept_sort(&a->kept);
  err = agree_check(a);
  if (!err && a->other) agree_check_other(a);
  explain_end(a);
  return err;
}

void audit_free(audit *a) {
  kept_free(&a->kept);
  free(a->found.at);
  a->found = (findings){0};
}
