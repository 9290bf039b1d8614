/* walker_page.h - inside the walker: LMDB's page layout, and the checks of one page by itself.
 *
 *   every page           branch, leaf                       node                           overflow
 *   at  bytes what       at  bytes what                     at  bytes what                 at  bytes what
 *   0   8  number        12  2  lower: end of the offsets   0   4  size of the value, or   12  4  pages of the run
 *   8   2  -             14  2  upper: start of the nodes          low half of the child   16  .. the value
 *   10  2  flags         16  .. two bytes per node: where   4   2  node flags, or the
 *                               it is, in key order                child's upper 16 bits
 *                                                           6   2  size of the key
 *                                                           8   .. key, value
 */
#ifndef PAGESTORE_STORAGE_WALKER_PAGE_H
#define PAGESTORE_STORAGE_WALKER_PAGE_H

#include "storage/walker.h"
#include "storage/wire.h"

enum {
  LMDB_NUMBER_AT = 0,
  LMDB_FLAGS_AT = 10,
  LMDB_LOWER_AT = 12,
  LMDB_UPPER_AT = 14,
  LMDB_RUN_AT = 12,
  LMDB_NODE_HEADER_BYTES = 8,
  LMDB_KEY_BYTES_MAX = 511,
  LMDB_TREE_BYTES = 48,
  LMDB_TREE_FLAGS = 0x7e,          /* those that change how a tree is read: reversed, duplicates, integers */
  LMDB_TREE_INTEGER_KEY = 0x08,
  WALKER_DEPTH_MAX = 32,
};
enum { LMDB_BRANCH = 1, LMDB_LEAF = 2, LMDB_OVERFLOW = 4 };               /* flags of pages */
enum { NODE_LARGE = 1, NODE_TREE = 2, NODE_DUPLICATES = 4 };              /* flags of nodes */

typedef struct {
  unsigned at, size;       /* in the page, the header included; size is even */
  uint16_t flags;
  bytes key;
  uint64_t child;          /* branch */
  uint64_t value_bytes;    /* leaf */
  unsigned value_at;       /* leaf: in the page, or of the number of the first overflow page */
} walker_node;

int walker_read_at(int fd, uint64_t at, void *to, size_t size, size_t *got);   /* EIO; less than size: the file's end */
void walker_tree_decode(const uint8_t from[LMDB_TREE_BYTES], walker_tree *);
const char *walker_tree_damage(const walker_tree *, uint64_t last_page);       /* NULL, or what is wrong */

/* Header and bounds of a branch or leaf page. NULL, or what is wrong with all of it. */
const char *walker_page_damage(const uint8_t page[LMDB_PAGE_BYTES], uint64_t number, uint16_t kind);
unsigned walker_page_nodes(const uint8_t page[LMDB_PAGE_BYTES]);
/* Node i of a page without damage. NULL, or what is wrong with the node. */
const char *walker_node_at(const uint8_t page[LMDB_PAGE_BYTES], uint16_t kind, unsigned i, walker_node *);
uint64_t walker_run_pages(uint64_t value_bytes);                               /* of a value in overflow pages */

#endif
