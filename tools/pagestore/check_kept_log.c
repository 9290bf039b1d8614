/* check_kept_log.c - which blocks of the log a reader takes from there; see check_kept.h. */
#include <pagestore.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "check_kept.h"

static int order(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int order_pages(const log_address *a, uint64_t layer, uint32_t memory, uint64_t page) {
  int o = order(a->layer, layer);
  if (!o) o = order(a->memory, memory);
  return o ? o : order(a->page, page);
}

static int order_addresses(const log_address *a, const log_address *b) {
  int o = order_pages(a, b->layer, b->memory, b->page);
  return o ? o : order(a->number, b->number);
}

static int order_blocks(const void *a, const void *b) {
  const kept_block *x = a, *y = b;
  int o = order_addresses(&x->at, &y->at);
  if (!o) o = order(x->at.version, y->at.version);
  return o ? o : order(x->sequence, y->sequence);
}

/* Where blocks belong is read from the catalog; of a damaged record there, from the row's header. */
static int list_blocks(kept *k) {
  k->blocks.count = 0;
  for (size_t i = 0; i < k->log_catalog.count; i++) {
    kept_log *c = &k->log_catalog.at[i];
    const kept_log *row = kept_log_row_of(k, c->sequence);
    const log_addresses *from = c->addresses.count || !row ? &c->addresses : &row->addresses;
    c->counts = 0;
    if (!from->count) k->log_unsure = true;
    for (unsigned slot = 0; slot < from->count; slot++) {
      kept_block b = {.at = from->at[slot], .sequence = c->sequence, .record = (uint32_t)i, .slot = (uint8_t)slot};
      if (KEPT_APPEND(k->blocks, b)) return PAGESTORE_ENOMEM;
    }
  }
  return 0;
}

/* Neither merged, nor of a layer or memory that nobody sees. An instance whose table cannot be read may have it. */
static bool is_seen(const kept *k, const log_address *at) {
  const kept_state *present = kept_present_in(k, at->layer);
  if (!present || (present->whole && !state_memory_by_id(present->record.state, at->memory))) return false;
  kept_line line = {.depth = 1, .steps = {{at->layer, present->record.version}}};
  const kept_row *row = kept_lookup(k, &line, at->memory, at->page);
  return !row || row->key.version < at->version;
}

static void let_count(kept *k, kept_block *b) {
  kept_layer *layer = kept_layer_of(k, b->at.layer);
  b->counts = true;
  k->log_catalog.at[b->record].counts |= (uint16_t)(1u << b->slot);
  if (!layer->logged_from || b->at.version < layer->logged_from) layer->logged_from = b->at.version;
}

int kept_resolve_log(kept *k) {
  if (list_blocks(k)) return PAGESTORE_ENOMEM;
  if (k->blocks.count) qsort(k->blocks.at, k->blocks.count, sizeof *k->blocks.at, order_blocks);
  kept_block *newest = NULL;
  for (size_t i = 0; i < k->blocks.count; i++) {
    kept_block *b = &k->blocks.at[i];
    if (b->sequence >= k->log_beginning) newest = b;
    bool last = i + 1 == k->blocks.count || order_addresses(&b->at, &b[1].at) != 0;
    if (!last) continue;
    if (newest && is_seen(k, &newest->at)) let_count(k, newest);
    newest = NULL;
  }
  return 0;
}

/* The first block of that page or one behind it. */
static size_t seek(const kept *k, uint64_t layer, uint32_t memory, uint64_t page) {
  size_t low = 0, high = k->blocks.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (order_pages(&k->blocks.at[middle].at, layer, memory, page) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

bool kept_next_logged(const kept *k, uint64_t layer, uint32_t memory, uint64_t from, uint64_t *page) {
  for (size_t i = seek(k, layer, memory, from); i < k->blocks.count; i++) {
    const kept_block *b = &k->blocks.at[i];
    if (b->at.layer != layer || b->at.memory != memory) return false;
    if (!b->counts) continue;
    *page = b->at.page;
    return true;
  }
  return false;
}

bool kept_next_shown(const kept *k, const kept_state *s, const kept_line *line, uint32_t memory, uint64_t from,
                     uint64_t *page, bool *logged) {
  uint64_t row = UINT64_MAX, block = UINT64_MAX;
  bool has_row = kept_next(k, line, memory, from, &row);
  bool has_block = !s->snapshot[0] && kept_next_logged(k, s->record.layer, memory, from, &block);
  *page = row < block ? row : block;
  *logged = has_block && block == *page;
  return has_row || has_block;
}
