/* walker_page.c - the checks of one LMDB page by itself. The layout is in walker_page.h. */
#include "storage/walker_page.h"

#include <stddef.h>

#include "base/units.h"

enum { FIRST_OFFSET_AT = LMDB_PAGE_HEADER_BYTES };

const char *walker_page_damage(const uint8_t page[LMDB_PAGE_BYTES], uint64_t number, uint16_t kind) {
  if (get_le64(page + LMDB_NUMBER_AT) != number) return "it has another page's number";
  uint16_t flags = get_le16(page + LMDB_FLAGS_AT);
  if (flags != kind && kind == LMDB_BRANCH) return "it is no branch page, as its level wants";
  if (flags != kind) return "it is no leaf page, as its level wants";
  unsigned lower = get_le16(page + LMDB_LOWER_AT), upper = get_le16(page + LMDB_UPPER_AT);
  if (lower < FIRST_OFFSET_AT || lower % 2 || lower > upper || upper > LMDB_PAGE_BYTES) return "its bounds are wrong";
  if (walker_page_nodes(page) == 0) return "it is empty";
  return NULL;
}

unsigned walker_page_nodes(const uint8_t page[LMDB_PAGE_BYTES]) {
  return (get_le16(page + LMDB_LOWER_AT) - FIRST_OFFSET_AT) / 2u;
}

const char *walker_node_at(const uint8_t page[LMDB_PAGE_BYTES], uint16_t kind, unsigned i, walker_node *out) {
  unsigned at = get_le16(page + FIRST_OFFSET_AT + 2 * i), upper = get_le16(page + LMDB_UPPER_AT);
  bool header_fits = range_fits(at, LMDB_NODE_HEADER_BYTES, LMDB_PAGE_BYTES);
  if (at < upper || at % 2 || !header_fits) return "a node is out of bounds";
  const uint8_t *node = page + at;
  uint16_t flags = get_le16(node + 4), key_bytes = get_le16(node + 6);
  bool leaf = kind == LMDB_LEAF, large = leaf && flags & NODE_LARGE;
  *out = (walker_node){.at = at, .flags = leaf ? flags : 0, .key = {node + LMDB_NODE_HEADER_BYTES, key_bytes}};
  if (leaf) out->value_bytes = get_le32(node);
  else out->child = get_le32(node) | (uint64_t)flags << 32;
  uint64_t in_page = !leaf ? 0 : large ? sizeof(uint64_t) : out->value_bytes;
  uint64_t size = LMDB_NODE_HEADER_BYTES + (uint64_t)key_bytes + in_page;
  if (!range_fits(at, size, LMDB_PAGE_BYTES)) return "a node ends outside";
  if (key_bytes > LMDB_KEY_BYTES_MAX || (leaf && key_bytes == 0)) return "a key has a wrong length";
  out->size = (unsigned)align_up(size, 2);
  out->value_at = at + LMDB_NODE_HEADER_BYTES + key_bytes;
  return NULL;
}

uint64_t walker_run_pages(uint64_t value_bytes) {
  return (LMDB_PAGE_HEADER_BYTES - 1 + value_bytes) / LMDB_PAGE_BYTES + 1;
}
