/* check_explain.c - see check_explain.h. */
#include "check_explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "storage/walker_page.h"

typedef unsigned long long number;

__attribute__((format(printf, 2, 3))) static void say(audit *a, const char *format, ...) {
  size_t used = (size_t)snprintf(a->explained, sizeof a->explained,
                                 "LMDB page %llu, byte %llu: ", (number)(a->explain / LMDB_PAGE_BYTES),
                                 (number)(a->explain % LMDB_PAGE_BYTES));
  va_list args;
  va_start(args, format);
  vsnprintf(a->explained + used, sizeof a->explained - used, format, args);
  va_end(args);
}

static bool covers(const audit *a, uint64_t first, uint64_t count) {
  return a->explain != NO_OFFSET && a->explain / LMDB_PAGE_BYTES >= first &&
         a->explain / LMDB_PAGE_BYTES - first < count;
}

void explain_begin(audit *a) {
  if (a->explain == NO_OFFSET) return;
  uint64_t page = a->explain / LMDB_PAGE_BYTES;
  if (a->explain >= a->metas->file_bytes) say(a, "behind the file's end");
  else if (page == a->meta) say(a, "the newest meta page, of transaction %llu", (number)a->metas->meta[page].txn_id);
  else if (page < LMDB_METAS)
    say(a, "the superseded meta page, of transaction %llu: the next commit writes it anew",
        (number)a->metas->meta[page].txn_id);
  else say(a, "the walk did not get there");
}

/* The byte's place in a branch or leaf page. */
static void explain_in_page(audit *a, const char *table, uint16_t kind, uint64_t page) {
  uint8_t bytes_of_page[LMDB_PAGE_BYTES];
  const char *word = kind == LMDB_LEAF ? "leaf" : "branch";
  unsigned at = (unsigned)(a->explain % LMDB_PAGE_BYTES);
  say(a, "%s page of table %s", word, table);
  if (walker_read(a->fd, (walker_place){page * LMDB_PAGE_BYTES, LMDB_PAGE_BYTES}, bytes_of_page) != 0 ||
      walker_page_damage(bytes_of_page, page, kind))
    return;
  unsigned upper = get_le16(bytes_of_page + LMDB_UPPER_AT), nodes = walker_page_nodes(bytes_of_page);
  if (at < LMDB_PAGE_HEADER_BYTES) say(a, "header of a %s page of table %s", word, table);
  else if (at < LMDB_PAGE_HEADER_BYTES + 2 * nodes) say(a, "offset of a node in a %s page of table %s", word, table);
  else if (at < upper) say(a, "unused gap in a %s page of table %s: no reader looks there", word, table);
  for (unsigned i = 0; i < nodes; i++) {
    walker_node node;
    if (walker_node_at(bytes_of_page, kind, i, &node) || at < node.at || at >= node.at + node.size) continue;
    say(a, "node %u of %u, byte %u of its %u, in a %s page of table %s", i, nodes, at - node.at, node.size, word,
        table);
  }
}

void explain_page(audit *a, const char *table, walker_page_kind kind, uint64_t first, uint64_t count) {
  if (!covers(a, first, count)) return;
  if (kind == WALKER_OVERFLOW)
    say(a, "of the run of %llu pages from %llu on, a value of table %s", (number)count, (number)first, table);
  else explain_in_page(a, table, kind == WALKER_LEAF ? LMDB_LEAF : LMDB_BRANCH, first);
}

static void explain_log(audit *a, bytes key, uint64_t at) {
  uint64_t sequence = 0;
  (void)log_key_decode(key, &sequence);
  if (at < PAGE_HEADER_BYTES)
    say(a, "byte %llu of the header of record %llu of the log", (number)at, (number)sequence);
  else
    say(a, "byte %llu of block %llu in record %llu of the log", (number)((at - PAGE_HEADER_BYTES) % BLOCK_BYTES),
        (number)((at - PAGE_HEADER_BYTES) / BLOCK_BYTES), (number)sequence);
}

void explain_row(audit *a, const char *table, bytes key, walker_place place) {
  page_key k;
  if (a->explain == NO_OFFSET || a->explain < place.at || a->explain - place.at >= place.size) return;
  uint64_t at = a->explain - place.at;
  char what[80];
  if (strcmp(table, "log") == 0) {
    explain_log(a, key, at);
    return;
  }
  if (strcmp(table, "pages") != 0 || page_key_decode(key, &k) != 0) {
    say(a, "byte %llu of a record of table %s", (number)at, table);
    return;
  }
  if (place.size == ZERO_MARKER_BYTES) snprintf(what, sizeof what, "of the zero marker");
  else if (at < PAGE_HEADER_BYTES) snprintf(what, sizeof what, "of the header");
  else snprintf(what, sizeof what, "of block %llu", (number)((at - PAGE_HEADER_BYTES) / BLOCK_BYTES));
  say(a, "byte %llu %s of page %llu, version %llu, of memory %u in layer %llu",
      (number)(at < PAGE_HEADER_BYTES ? at : (at - PAGE_HEADER_BYTES) % BLOCK_BYTES), what, (number)k.page,
      (number)k.version, k.memory, (number)k.layer);
}

void explain_freed(audit *a, uint64_t txn_id, uint64_t page) {
  if (covers(a, page, 1)) say(a, "free since transaction %llu: no reader looks there", (number)txn_id);
}

void explain_lost(audit *a, uint64_t first, uint64_t count) {
  if (covers(a, first, count)) say(a, "lost, neither in use nor free: no reader looks there");
}

static void add_names(audit *a, const kept_state *s, uint32_t memory) {
  const kept_name *name = s ? kept_name_of(&a->kept, s->instance) : NULL;
  const memory_entry *m = s ? state_memory_by_id(s->record.state, memory) : NULL;
  size_t used = strlen(a->explained);
  if (name)
    snprintf(a->explained + used, sizeof a->explained - used, "; instance '%.120s', memory '%.120s'", name->name,
             m ? m->name : "");
}

/* Where the block of a record of the log belongs. */
static void end_log(audit *a, const kept_log *row) {
  const kept_log *c = kept_log_of(&a->kept, row->sequence);
  const log_addresses *of = c && c->addresses.count ? &c->addresses : &row->addresses;
  uint64_t at = a->explain - row->at;
  size_t used = strlen(a->explained);
  uint64_t slot = at < PAGE_HEADER_BYTES ? 0 : (at - PAGE_HEADER_BYTES) / BLOCK_BYTES;
  bool counts = c && (at < PAGE_HEADER_BYTES ? c->counts != 0 : c->counts >> slot & 1);
  if (!counts || slot >= of->count) {
    snprintf(a->explained + used, sizeof a->explained - used, ": no reader looks there");
    return;
  }
  if (at < PAGE_HEADER_BYTES) return;
  const log_address *b = &of->at[slot];
  snprintf(a->explained + used, sizeof a->explained - used,
           ": block %u of page %llu, version %llu, of memory %u in layer %llu", b->number, (number)b->page,
           (number)b->version, b->memory, (number)b->layer);
  add_names(a, kept_present_in(&a->kept, b->layer), b->memory);
}

void explain_end(audit *a) {
  if (a->explain == NO_OFFSET) return;
  for (size_t i = 0; i < a->kept.rows.count; i++) {
    const kept_row *r = &a->kept.rows.at[i];
    if (a->explain >= r->at && a->explain - r->at < r->size) add_names(a, kept_seen_by(&a->kept, r), r->key.memory);
  }
  for (size_t i = 0; i < a->kept.log_rows.count; i++) {
    const kept_log *r = &a->kept.log_rows.at[i];
    if (r->at != NO_OFFSET && a->explain >= r->at && a->explain - r->at < PAGE_RECORD_BYTES) end_log(a, r);
  }
}
