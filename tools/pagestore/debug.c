/* debug.c - raw views of a store's file: meta pages, tables, one LMDB page, catalog records, page rows, records of the
 * log, the free list.
 *
 * Read by pread, without LMDB, as of the newest meta page. What is damaged is shown as far as it can be read, and told
 * on stderr: `check` judges, this shows. Beside a live writer a page may be of a later state.
 */
#include <inttypes.h>
#include <pagestore.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "check_file.h"
#include "complain.h"
#include "hex.h"
#include "report.h"
#include "storage/format.h"
#include "storage/walker_page.h"
#include "text.h"

enum { KEY_TEXT_SIZE = 2 * LMDB_KEY_BYTES_MAX + 1 };

typedef struct {
  const invocation *v;
  store_file file;
  walker_metas metas;
  report *report;
  uint64_t layer; /* rows: of this alone; 0: of all */
  bool damaged;
} debug;

#define COLUMNS(list) list, sizeof(list) / sizeof *(list)

/* ---- keys ------------------------------------------------------------------------------------ */

static const char *const kinds[] = {"?", "store", "name", "instance", "snapshot", "layer", "trash", "log"};

static const char *hex_of(bytes b, char to[KEY_TEXT_SIZE]) {
  size_t used = 0;
  to[0] = 0;
  for (size_t i = 0; i < b.size && i < LMDB_KEY_BYTES_MAX; i++)
    used += (size_t)sprintf(to + used, "%02x", ((const uint8_t *)b.data)[i]);
  return to;
}

/* What the key of some table says; keys of the main tree are names of tables. */
static const char *key_text(bytes key, char to[KEY_TEXT_SIZE]) {
  catalog_kind kind;
  uint64_t id;
  char name[256];
  page_key page;
  bool is_sequence = key.size == LOG_KEY_BYTES && *(const uint8_t *)key.data == 0 && log_key_decode(key, &id) == 0;
  if (is_sequence) snprintf(to, KEY_TEXT_SIZE, "record %" PRIu64, id);
  else if (key.size == PAGE_KEY_BYTES && page_key_decode(key, &page) == 0 && page.layer < 1ull << 48)
    snprintf(to, KEY_TEXT_SIZE, "layer %" PRIu64 " memory %" PRIu32 " page %" PRIu64 " version %" PRIu64, page.layer,
             page.memory, page.page, page.version);
  else if (catalog_key_decode(key, &kind, &id, name) == 0)
    snprintf(to, KEY_TEXT_SIZE, "%s %" PRIu64 "%s%s", kinds[kind], id, name[0] ? " " : "", name);
  else if (text_is_clean(key.data, key.size))
    snprintf(to, KEY_TEXT_SIZE, "%.*s", (int)key.size, (const char *)key.data);
  else hex_of(key, to);
  return to;
}

/* ---- meta pages ------------------------------------------------------------------------------ */

static int show_metas(debug *d) {
  static const column columns[] = {
      {"meta", CELL_NUMBER},         {"taken", CELL_FLAG},        {"usable", CELL_FLAG},
      {"transaction", CELL_NUMBER},  {"last_page", CELL_NUMBER},  {"map_bytes", CELL_BYTES},
      {"main_root", CELL_NUMBER},    {"main_depth", CELL_NUMBER}, {"free_root", CELL_NUMBER},
      {"free_entries", CELL_NUMBER},
  };
  report_sheet(d->report, "metas", COLUMNS(columns));
  for (unsigned i = 0; i < LMDB_METAS; i++) {
    const walker_meta *m = &d->metas.meta[i];
    report_row(d->report, (cell[]){of_number(i),
                                   of_number(i == d->metas.newest),
                                   of_number(m->usable),
                                   of_number(m->txn_id),
                                   of_number(m->last_page),
                                   of_number(m->map_bytes),
                                   {.number = m->main.root, .none = m->main.root == LMDB_NO_PAGE},
                                   of_number(m->main.depth),
                                   {.number = m->free.root, .none = m->free.root == LMDB_NO_PAGE},
                                   of_number(m->free.entries)});
  }
  return EXIT_OK;
}

/* ---- walks ----------------------------------------------------------------------------------- */

static int tell(void *env, uint64_t page, const char *text) {
  debug *d = env;
  d->damaged = true;
  if (page == LMDB_NO_PAGE) complain("%s", text);
  else complain("LMDB page %" PRIu64 ": %s", page, text);
  return 0;
}

static int walk(debug *d, walker_callbacks callbacks) {
  walker_summary summary;
  callbacks.env = d;
  callbacks.finding = tell;
  int status = walker_walk(d->file.fd, &d->metas, d->metas.newest, &callbacks, &summary);
  if (status && status != PAGESTORE_ECORRUPT) return complain_status(status, NULL);
  if (status) complain_status(status, "`pagestore recover` may save what is there");
  return status || d->damaged ? EXIT_FOUND : EXIT_OK;
}

static int table_found(void *env, const char *table, const walker_tree *t) {
  debug *d = env;
  report_row(d->report, (cell[]){of_text(table),
                                 {.number = t->root, .none = t->root == LMDB_NO_PAGE},
                                 of_number(t->depth),
                                 of_number(t->entries),
                                 of_number(t->branch_pages),
                                 of_number(t->leaf_pages),
                                 of_number(t->overflow_pages)});
  return 0;
}

static int show_tables(debug *d) {
  static const column columns[] = {
      {"table", CELL_TEXT},
      {"root", CELL_NUMBER},
      {"depth", CELL_NUMBER},
      {"entries", CELL_NUMBER},
      {"branch_pages", CELL_NUMBER},
      {"leaf_pages", CELL_NUMBER},
      {"overflow_pages", CELL_NUMBER},
  };
  report_sheet(d->report, "tables", COLUMNS(columns));
  return walk(d, (walker_callbacks){.table = table_found});
}

static void log_says(uint64_t sequence, bytes value, char *to, size_t room) {
  log_addresses log;
  uint64_t beginning;
  if (sequence == LOG_BEGINNING && log_beginning_decode(value, &beginning) == 0)
    snprintf(to, room, "the log begins with record %" PRIu64, beginning);
  else if (sequence != LOG_BEGINNING && log_addresses_decode(value, &log) == 0)
    snprintf(to, room, "%" PRIu32 " blocks, the first: layer %" PRIu64 " memory %" PRIu32 " page %" PRIu64
             " version %" PRIu64 " block %u", log.count, log.at[0].layer, log.at[0].memory, log.at[0].page,
             log.at[0].version, log.at[0].number);
}

/* Zeros where the record cannot be decoded. */
static void record_says(catalog_kind kind, bytes value, char *to, size_t room) {
  store_record store;
  layer_record layer;
  trash_record trash;
  state_record state;
  uint64_t instance;
  snprintf(to, room, "damaged");
  if (kind == CATALOG_STORE && store_record_decode(value, &store) == 0)
    snprintf(to, room,
             "format %" PRIu32 ", next layer %" PRIu64 ", instance %" PRIu64 ", trash %" PRIu64 ", flushed by %" PRIu64,
             store.format_version, store.next_layer, store.next_instance, store.next_trash, store.flush_txn_id);
  else if (kind == CATALOG_NAME && name_record_decode(value, &instance) == 0)
    snprintf(to, room, "instance %" PRIu64, instance);
  else if (kind == CATALOG_LAYER && layer_record_decode(value, &layer) == 0)
    snprintf(to, room, "depth %" PRIu32 ", instance %" PRIu64 ", on layer %" PRIu64 " at version %" PRIu64, layer.depth,
             layer.instance, layer.parent, layer.parent_version);
  else if (kind == CATALOG_TRASH && trash_record_decode(value, &trash) == 0)
    snprintf(to, room, "layer %" PRIu64 ", memory %" PRId64 ", died at %" PRId64, trash.layer,
             trash.memory == TRASH_ALL_MEMORIES ? -1 : (int64_t)trash.memory, (int64_t)trash.died_at);
  else if ((kind == CATALOG_INSTANCE || kind == CATALOG_SNAPSHOT) && state_record_decode(value, &state) == 0) {
    snprintf(to, room, "layer %" PRIu64 ", version %" PRIu64 ", %" PRIu32 " memories%s%s", state.layer, state.version,
             state.state->memory_count, state.metadata_paged ? ", metadata paged" : "",
             state.table_paged ? ", table paged" : "");
    state_release(state.state);
  }
}

static int record_found(void *env, const char *table, bytes key, walker_place value) {
  debug *d = env;
  catalog_kind kind;
  uint64_t id;
  char name[256], says[200] = "damaged";
  if (strcmp(table, "catalog") != 0) return 0;
  catalog_record record = {.size = value.size};
  bool is_key = catalog_key_decode(key, &kind, &id, name) == 0;
  if (is_key && value.size <= sizeof record.byte && walker_read(d->file.fd, value, record.byte) == 0) {
    catalog_record_bind(&record, key);
    record_says(kind, (bytes){record.byte, record.size}, says, sizeof says);
    if (kind == CATALOG_LOG) log_says(id, (bytes){record.byte, record.size}, says, sizeof says);
  }
  char hex[KEY_TEXT_SIZE];
  report_row(d->report, (cell[]){of_text(is_key ? kinds[kind] : "?"), of_number(is_key ? id : 0),
                                 of_text(is_key ? (name[0] ? name : NULL) : hex_of(key, hex)), of_number(value.size),
                                 of_number(value.at), of_text(says)});
  return 0;
}

static int show_records(debug *d) {
  static const column columns[] = {{"record", CELL_TEXT}, {"id", CELL_NUMBER}, {"name", CELL_TEXT},
                                   {"bytes", CELL_BYTES}, {"at", CELL_NUMBER}, {"says", CELL_TEXT}};
  report_sheet(d->report, "records", COLUMNS(columns));
  return walk(d, (walker_callbacks){.row = record_found});
}

static int row_found(void *env, const char *table, bytes key, walker_place value) {
  debug *d = env;
  page_key k;
  if (strcmp(table, "pages") != 0 || page_key_decode(key, &k) != 0 || (d->layer && k.layer != d->layer)) return 0;
  const char *kind = value.size == PAGE_RECORD_BYTES ? "page" : value.size == ZERO_MARKER_BYTES ? "zeros" : "?";
  report_row(d->report, (cell[]){of_number(k.layer), of_number(k.memory), of_number(k.page), of_number(k.version),
                                 of_text(kind), of_number(value.at)});
  return 0;
}

static int show_rows(debug *d) {
  static const column columns[] = {{"layer", CELL_NUMBER},   {"memory", CELL_NUMBER}, {"page", CELL_NUMBER},
                                   {"version", CELL_NUMBER}, {"kind", CELL_TEXT},     {"at", CELL_NUMBER}};
  if (!option_number(d->v, "layer", &d->layer)) return EXIT_USAGE;
  report_sheet(d->report, "rows", COLUMNS(columns));
  return walk(d, (walker_callbacks){.row = row_found});
}

/* Each block by the record's own header. */
static int log_found(void *env, const char *table, bytes key, walker_place value) {
  static uint8_t header[PAGE_HEADER_BYTES];
  debug *d = env;
  uint64_t sequence, found;
  id128 store;
  if (strcmp(table, "log") != 0 || log_key_decode(key, &sequence) != 0) return 0;
  bool is_size = value.size == PAGE_RECORD_BYTES;
  uint64_t at = value.at;
  value.size = sizeof header;
  if (!is_size || walker_read(d->file.fd, value, header) != 0 || log_record_identity(header, &found, &store) != 0 ||
      found != sequence) {
    d->damaged = true;
    complain("record %" PRIu64 " of the log, at %" PRIu64 ": its header is damaged", sequence, at);
    return 0;
  }
  for (unsigned slot = 0; slot < log_record_count(header); slot++) {
    log_address a = log_record_address(header, slot);
    if (d->layer && a.layer != d->layer) continue;
    report_row(d->report, (cell[]){of_number(sequence), of_number(slot), of_number(a.layer), of_number(a.memory),
                                   of_number(a.page), of_number(a.number), of_number(a.version),
                                   of_number(at + PAGE_HEADER_BYTES + (uint64_t)slot * BLOCK_BYTES)});
  }
  return 0;
}

static int show_log(debug *d) {
  static const column columns[] = {{"record", CELL_NUMBER}, {"slot", CELL_NUMBER},  {"layer", CELL_NUMBER},
                                   {"memory", CELL_NUMBER}, {"page", CELL_NUMBER},  {"block", CELL_NUMBER},
                                   {"version", CELL_NUMBER}, {"at", CELL_NUMBER}};
  if (!option_number(d->v, "layer", &d->layer)) return EXIT_USAGE;
  report_sheet(d->report, "log", COLUMNS(columns));
  return walk(d, (walker_callbacks){.row = log_found});
}

static int freed_found(void *env, uint64_t txn_id, uint64_t page) {
  debug *d = env;
  report_row(d->report, (cell[]){of_number(txn_id), of_number(page)});
  return 0;
}

static int show_free(debug *d) {
  static const column columns[] = {{"freed_by", CELL_NUMBER}, {"lmdb_page", CELL_NUMBER}};
  report_sheet(d->report, "free", COLUMNS(columns));
  return walk(d, (walker_callbacks){.freed = freed_found});
}

/* ---- one LMDB page --------------------------------------------------------------------------- */

static void show_nodes(debug *d, const uint8_t *page, uint16_t kind) {
  static const column columns[] = {{"node", CELL_NUMBER}, {"at", CELL_NUMBER},    {"flags", CELL_NUMBER},
                                   {"key", CELL_TEXT},    {"child", CELL_NUMBER}, {"value_bytes", CELL_BYTES}};
  report_sheet(d->report, "nodes", COLUMNS(columns));
  for (unsigned i = 0; i < walker_page_nodes(page); i++) {
    walker_node n;
    char text[KEY_TEXT_SIZE];
    const char *damage = walker_node_at(page, kind, i, &n);
    if (damage) {
      d->damaged = true;
      complain("node %u: %s", i, damage);
      continue;
    }
    report_row(d->report, (cell[]){of_number(i),
                                   of_number(n.at),
                                   of_number(n.flags),
                                   of_text(key_text(n.key, text)),
                                   {.number = n.child, .none = kind != LMDB_BRANCH},
                                   {.number = n.value_bytes, .none = kind != LMDB_LEAF}});
  }
}

static int show_page(debug *d) {
  static uint8_t page[LMDB_PAGE_BYTES];
  uint64_t number = 0;
  size_t got = 0;
  if (!option_number(d->v, "page", &number)) return EXIT_USAGE;
  bool is_there = number < d->metas.file_bytes / LMDB_PAGE_BYTES;
  if (is_there) (void)walker_read_at(d->file.fd, number * LMDB_PAGE_BYTES, page, sizeof page, &got);
  if (got < sizeof page) {
    complain("LMDB page %" PRIu64 " is not in the file of %" PRIu64 " bytes: give a smaller number", number,
             d->metas.file_bytes);
    return EXIT_FAILED;
  }
  uint16_t flags = get_le16(page + LMDB_FLAGS_AT), kind = flags & (LMDB_BRANCH | LMDB_LEAF);
  report_fact(d->report, (column){"lmdb_page", CELL_NUMBER}, of_number(number));
  report_fact(d->report, (column){"says_it_is", CELL_NUMBER}, of_number(get_le64(page + LMDB_NUMBER_AT)));
  report_fact(d->report, (column){"flags", CELL_NUMBER}, of_number(flags));
  report_fact(d->report, (column){"kind", CELL_TEXT},
              of_text(number < LMDB_METAS     ? "meta"
                      : kind == LMDB_BRANCH   ? "branch"
                      : kind == LMDB_LEAF     ? "leaf"
                      : flags & LMDB_OVERFLOW ? "overflow"
                                              : "none, or inside a run"));
  if (number < LMDB_METAS || (kind != LMDB_BRANCH && kind != LMDB_LEAF)) return EXIT_OK;
  const char *damage = walker_page_damage(page, number, kind);
  if (damage) complain("%s", damage);
  else show_nodes(d, page, kind);
  return damage || d->damaged ? EXIT_FOUND : EXIT_OK;
}

static int show_page_hex(debug *d) {
  static uint8_t page[LMDB_PAGE_BYTES];
  uint64_t number = 0;
  size_t got = 0;
  if (!option_number(d->v, "page", &number)) return EXIT_USAGE;
  int status = walker_read_at(d->file.fd, number * LMDB_PAGE_BYTES, page, sizeof page, &got);
  if (status) return complain_status(status, NULL);
  if (got) hex_print(number * LMDB_PAGE_BYTES, page, got, true);
  if (got == sizeof page) return EXIT_OK;
  complain("the file ends %s LMDB page %" PRIu64, got ? "inside" : "before", number);
  return EXIT_FAILED;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct {
  const char *name;
  int (*show)(debug *);
} subjects[] = {{"metas", show_metas}, {"tables", show_tables}, {"records", show_records},
                {"rows", show_rows},   {"log", show_log},       {"free", show_free},
                {"page", show_page}};

static int show(debug *d, int (*subject)(debug *)) {
  d->report = report_new(option_given(d->v, "json"));
  if (!d->report) return EXIT_FAILED;
  int code = subject(d);
  return report_finish(d->report, code);
}

int command_debug(const invocation *v) {
  debug d = {.v = v};
  int (*subject)(debug *) = NULL;
  for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
    if (strcmp(subjects[i].name, v->operand[1]) == 0) subject = subjects[i].show;
  if (!subject)
    return complain_usage(v->command, "'%s' is none of metas, tables, records, rows, log, free and page",
                          v->operand[1]);
  if (subject == show_page && !option_given(v, "page")) return complain_usage(v->command, "which page? give --page N");
  int code = file_open(v->operand[0], &d.file);
  if (code != EXIT_OK) return code;
  int status = file_metas(&d.file, &d.metas);
  if (option_given(v, "hex") && subject == show_page) {
    code = show_page_hex(&d);
  } else if (status && status != PAGESTORE_ECORRUPT) {
    code = complain_status(status, NULL);
  } else {
    if (status) complain_status(status, NULL);
    code = show(&d, subject);
  }
  file_close(&d.file);
  return status && code == EXIT_OK ? EXIT_FOUND : code;
}
