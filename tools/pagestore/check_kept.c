/* check_kept.c - see check_kept.h. */
#include "check_kept.h"

#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "storage/walker.h"

enum { TABLE_BYTES_MAX = 256 << 20 }; /* close to a million memories */

void *kept_grow(void *at, size_t count, size_t *room, size_t size) {
  if (count < *room) return at;
  size_t wanted = *room ? *room * 2 : 16;
  void *grown = realloc(at, wanted * size);
  if (grown) *room = wanted;
  return grown;
}

void kept_free(kept *k) {
  for (size_t i = 0; i < k->states.count; i++) state_release(k->states.at[i].record.state);
  free(k->names.at);
  free(k->states.at);
  free(k->layers.at);
  free(k->trash.at);
  free(k->rows.at);
  free(k->log_rows.at);
  free(k->log_catalog.at);
  free(k->blocks.at);
  *k = (kept){0};
}

/* ---- catalog rows ---------------------------------------------------------------------------- */

static int add_state(kept *k, uint64_t id, const char *name, bytes value) {
  kept_state s = {.instance = id};
  snprintf(s.snapshot, sizeof s.snapshot, "%s", name);
  int err = state_record_decode(value, &s.record);
  if (err) return err;
  bool is_snapshot = false;
  for (unsigned i = 0; i < sizeof s.record.snapshot; i++) is_snapshot |= s.record.snapshot.byte[i] != 0;
  s.whole = !s.record.metadata_paged && !s.record.table_paged;
  err = is_snapshot != (name[0] != 0) || s.record.version == 0 ? PAGESTORE_ECORRUPT : KEPT_APPEND(k->states, s);
  if (err) state_release(s.record.state);
  return err;
}

static int add_store(kept *k, bytes value) {
  int err = store_record_decode(value, &k->store);
  k->has_store = err == 0;
  return err == PAGESTORE_EFORMAT ? PAGESTORE_ECORRUPT : err;
}

static int add_name(kept *k, const char *name, bytes value) {
  kept_name n = {0};
  snprintf(n.name, sizeof n.name, "%s", name);
  int err = name_record_decode(value, &n.instance);
  return err ? err : KEPT_APPEND(k->names, n);
}

static int add_layer(kept *k, uint64_t id, bytes value) {
  kept_layer l = {.id = id};
  int err = id == 0 ? PAGESTORE_ECORRUPT : layer_record_decode(value, &l.record);
  return err ? err : KEPT_APPEND(k->layers, l);
}

static int add_trash(kept *k, uint64_t id, bytes value) {
  kept_trash t = {.id = id};
  int err = trash_record_decode(value, &t.record);
  return err ? err : KEPT_APPEND(k->trash, t);
}

/* A damaged one is kept without addresses: the row may have them. */
static int add_log(kept *k, uint64_t sequence, bytes value) {
  if (sequence == LOG_BEGINNING) {
    int err = log_beginning_decode(value, &k->log_beginning);
    if (err) k->log_unsure = true;
    return err;
  }
  kept_log l = {.sequence = sequence};
  int damage = log_addresses_decode(value, &l.addresses);
  if (damage) l.addresses.count = 0;
  int err = KEPT_APPEND(k->log_catalog, l);
  return err ? err : damage;
}

static void describe(catalog_kind kind, uint64_t id, const char *name, char text[KEPT_TEXT]) {
  static const char *const words[] = {"", "store", "name", "instance", "snapshot", "layer", "trash", "log"};
  char which[120] = "";
  if (name[0]) snprintf(which, sizeof which, " '%.100s'", name);
  if (kind == CATALOG_LOG) snprintf(which, sizeof which, " %llu", (unsigned long long)id);
  if (kind == CATALOG_LOG && id == LOG_BEGINNING) snprintf(which, sizeof which, "'s beginning");
  snprintf(text, KEPT_TEXT, "the %s record%s does not match its checksum and key", words[kind], which);
}

int kept_add_catalog(kept *k, bytes key, bytes value, char text[KEPT_TEXT]) {
  catalog_kind kind;
  uint64_t id;
  char name[256];
  catalog_record record = {.size = value.size};
  if (catalog_key_decode(key, &kind, &id, name) != 0) {
    snprintf(text, KEPT_TEXT, "a catalog row has a key that is none");
    return PAGESTORE_ECORRUPT;
  }
  int err = value.size > sizeof record.byte ? PAGESTORE_ECORRUPT : 0;
  if (!err) {
    memcpy(record.byte, value.data, value.size);
    catalog_record_bind(&record, key);
  }
  bytes body = {record.byte, record.size};
  if (!err) switch (kind) {
    case CATALOG_STORE: err = add_store(k, body); break;
    case CATALOG_NAME: err = add_name(k, name, body); break;
    case CATALOG_INSTANCE:
    case CATALOG_SNAPSHOT: err = add_state(k, id, name, body); break;
    case CATALOG_LAYER: err = add_layer(k, id, body); break;
    case CATALOG_TRASH: err = add_trash(k, id, body); break;
    case CATALOG_LOG: err = add_log(k, id, body); break;
    }
  if (err == PAGESTORE_ECORRUPT) describe(kind, id, name, text);
  return err;
}

int kept_add_row(kept *k, kept_row row) { return KEPT_APPEND(k->rows, row); }

int kept_add_log_row(kept *k, kept_log row) { return KEPT_APPEND(k->log_rows, row); }

/* ---- order ----------------------------------------------------------------------------------- */

static int order(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

/* The file's: newer versions first. */
static int order_keys(const page_key *a, const page_key *b) {
  int o = order(a->layer, b->layer);
  if (!o) o = order(a->memory, b->memory);
  if (!o) o = order(a->page, b->page);
  return o ? o : order(b->version, a->version);
}

static int order_rows(const void *a, const void *b) {
  const kept_row *x = a, *y = b;
  int o = order_keys(&x->key, &y->key);
  return o ? o : order(x->origin, y->origin);
}

static int order_layers(const void *a, const void *b) {
  return order(((const kept_layer *)a)->id, ((const kept_layer *)b)->id);
}

static int order_states(const void *a, const void *b) {
  const kept_state *x = a, *y = b;
  int o = order(x->instance, y->instance);
  return o ? o : strcmp(x->snapshot, y->snapshot);
}

static int order_names(const void *a, const void *b) {
  return order(((const kept_name *)a)->instance, ((const kept_name *)b)->instance);
}

static int order_logs(const void *a, const void *b) {
  return order(((const kept_log *)a)->sequence, ((const kept_log *)b)->sequence);
}

#define SORT(list, by)                                                                                                 \
  if ((list).count) qsort((list).at, (list).count, sizeof *(list).at, by)

void kept_sort(kept *k) {
  SORT(k->rows, order_rows);
  SORT(k->log_rows, order_logs);
  SORT(k->log_catalog, order_logs);
  SORT(k->layers, order_layers);
  SORT(k->states, order_states);
  SORT(k->names, order_names);
}

const kept_name *kept_name_of(const kept *k, uint64_t instance) {
  kept_name wanted = {.instance = instance};
  if (!k->names.count) return NULL;
  return bsearch(&wanted, k->names.at, k->names.count, sizeof wanted, order_names);
}

kept_state *kept_state_of(const kept *k, uint64_t instance, const char *snapshot) {
  kept_state wanted = {.instance = instance};
  snprintf(wanted.snapshot, sizeof wanted.snapshot, "%s", snapshot);
  if (!k->states.count) return NULL;
  return bsearch(&wanted, k->states.at, k->states.count, sizeof wanted, order_states);
}

kept_layer *kept_layer_of(const kept *k, uint64_t id) {
  kept_layer wanted = {.id = id};
  if (!k->layers.count) return NULL;
  return bsearch(&wanted, k->layers.at, k->layers.count, sizeof wanted, order_layers);
}

const kept_state *kept_present_in(const kept *k, uint64_t layer) {
  const kept_layer *l = kept_layer_of(k, layer);
  const kept_state *s = l ? kept_state_of(k, l->record.instance, "") : NULL;
  return s && s->record.layer == layer ? s : NULL;
}

kept_log *kept_log_row_of(const kept *k, uint64_t sequence) {
  kept_log wanted = {.sequence = sequence};
  if (!k->log_rows.count) return NULL;
  return bsearch(&wanted, k->log_rows.at, k->log_rows.count, sizeof wanted, order_logs);
}

kept_log *kept_log_of(const kept *k, uint64_t sequence) {
  kept_log wanted = {.sequence = sequence};
  if (!k->log_catalog.count) return NULL;
  return bsearch(&wanted, k->log_catalog.at, k->log_catalog.count, sizeof wanted, order_logs);
}

/* ---- lookups --------------------------------------------------------------------------------- */

bool kept_line_of(const kept *k, uint64_t layer, uint64_t bound, kept_line *out) {
  out->depth = 0;
  while (layer) {
    const kept_layer *l = kept_layer_of(k, layer);
    if (!l || out->depth > LAYER_DEPTH_MAX) return false;
    out->steps[out->depth++] = (line_step){layer, bound};
    bound = l->record.parent_version;
    layer = l->record.parent;
  }
  return true;
}

/* The first row with key >= the given one. */
static size_t seek(const kept *k, page_key key) {
  size_t low = 0, high = k->rows.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (order_keys(&k->rows.at[middle].key, &key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

kept_row *kept_lookup(const kept *k, const kept_line *line, uint32_t memory, uint64_t page) {
  for (unsigned i = 0; i < line->depth; i++) {
    size_t at = seek(k, (page_key){line->steps[i].layer, memory, page, line->steps[i].bound});
    if (at == k->rows.count) continue;
    kept_row *r = &k->rows.at[at];
    if (r->key.layer == line->steps[i].layer && r->key.memory == memory && r->key.page == page) return r;
  }
  return NULL;
}

bool kept_next(const kept *k, const kept_line *line, uint32_t memory, uint64_t from, uint64_t *page) {
  bool found = false;
  for (unsigned i = 0; i < line->depth; i++) {
    const line_step *s = &line->steps[i];
    for (size_t at = seek(k, (page_key){s->layer, memory, from, UINT64_MAX}); at < k->rows.count; at++) {
      const page_key *key = &k->rows.at[at].key;
      if (key->layer != s->layer || key->memory != memory || (found && key->page >= *page)) break;
      if (key->version > s->bound) continue;
      *page = key->page;
      found = true;
      break;
    }
  }
  return found;
}

const kept_state *kept_seen_by(const kept *k, const kept_row *row) {
  for (size_t i = 0; i < k->states.count; i++) {
    kept_line line;
    const state_record *r = &k->states.at[i].record;
    kept_line_of(k, r->layer, r->version, &line);
    if (row->key.memory != SYSTEM_MEMORY && !state_memory_by_id(r->state, row->key.memory)) continue;
    if (kept_lookup(k, &line, row->key.memory, row->key.page) == row) return &k->states.at[i];
  }
  return NULL;
}

/* ---- what lies in memory 0 ------------------------------------------------------------------- */

/* A row that is good although its header is not has been proved by recover. */
static int read_system_page(const kept *k, int fd, const kept_row *row, uint8_t *record) {
  row_kind kind;
  int err = walker_read(fd, (walker_place){row->at, row->size}, record);
  bytes value = {record, row->size};
  if (err) return err;
  if (row_check(value, row->key, k->store.id, &kind) != 0) {
    if (row->health != KEPT_ROW_GOOD) return PAGESTORE_ECORRUPT;
    kind = row->size == PAGE_RECORD_BYTES ? ROW_PAGE : ROW_ZERO;
  } else if (kind == ROW_PAGE && page_damaged_blocks(value, row->key.page, ALL_BLOCKS)) {
    return PAGESTORE_ECORRUPT;
  }
  if (kind == ROW_ZERO) memset(record, 0, PAGE_RECORD_BYTES);
  return 0;
}

/* `to` has room for whole pages. A page without a row is one of zeros. */
static int read_part(const kept *k, int fd, const kept_line *line, uint64_t page, size_t length, uint8_t *to,
                     const kept_row **damage) {
  static uint8_t record[PAGE_RECORD_BYTES];
  for (size_t at = 0; at < length; at += PAGE_BYTES, page++) {
    const kept_row *row = kept_lookup(k, line, SYSTEM_MEMORY, page);
    int err = 0;
    *damage = row;
    if (!row) memset(record, 0, sizeof record);
    else if (row->health == KEPT_ROW_UNREADABLE) err = PAGESTORE_ECORRUPT;
    else err = read_system_page(k, fd, row, record);
    if (err) return err;
    memcpy(to + at, page_record_bytes((bytes){record, sizeof record}), PAGE_BYTES);
  }
  *damage = NULL;
  return 0;
}

int kept_load(const kept *k, int fd, kept_state *s, const kept_row **damage) {
  state_record *r = &s->record;
  kept_line line;
  *damage = NULL;
  if (s->whole) return 0;
  if (r->table_bytes > TABLE_BYTES_MAX) return PAGESTORE_ECORRUPT;
  kept_line_of(k, r->layer, r->version, &line);
  uint8_t *room = malloc(align_up(max_u64(r->table_bytes, r->metadata_bytes), PAGE_BYTES) + PAGE_BYTES);
  if (!room) return PAGESTORE_ENOMEM;
  int err = 0;
  if (r->table_paged) {
    err = read_part(k, fd, &line, SYSTEM_TABLE_PAGE, r->table_bytes, room, damage);
    if (!err) err = state_table_decode(r->state, room, r->table_bytes);
  }
  if (!err && r->metadata_paged) {
    err = read_part(k, fd, &line, SYSTEM_METADATA_PAGE, r->metadata_bytes, room, damage);
    if (!err) err = state_metadata_decode(r->state, room, r->metadata_bytes);
  }
  free(room);
  s->whole = err == 0;
  return err;
}
