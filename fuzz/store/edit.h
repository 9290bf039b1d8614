/* edit.h - an input of fuzz_store: what is done to a whole store's file.
 *
 *   byte 0     bit 3: BASE_LOG, else bit 0: BASE_MANY; bit 1: checksums are repaired afterwards; bit 2: opened for writing, too
 *   then       edits of 8 bytes:
 *     0   1    which page (bits 6, 7: any; tree; of a catalog record; first of an overflow run), and modulo EDITS what is done to it
 *     1   1    the page, among those
 *     2   2    where in it (of tree pages: bit 15 among header and offsets, else among the nodes; of records: in the record)
 *     4   4    with what
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_EDIT_H
#define PAGESTORE_FUZZ_EDIT_H

#include "base.h"

enum { MODE_MANY = 1, MODE_REPAIR = 2, MODE_WRITE = 4, MODE_LOG = 8, MODES = 16, EDIT_BYTES = 8, EDITS_COUNT_MAX = 32, GROW_PAGES_MAX = 64 };
typedef enum {
  EDIT_FLIP,
  EDIT_BYTE,
  EDIT_NUMBER,
  EDIT_ADD,
  EDIT_RANDOM_BLOCK,
  EDIT_ZERO_BLOCK,
  EDIT_SPLICE,
  EDIT_SWAP,
  EDIT_COPY,
  EDIT_TRUNCATE,
  EDIT_GROW,
  EDITS
} edit_kind;

/* `image` has room for GROW_PAGES_MAX more pages; *size changes. */
void edit_apply(const base *, const uint8_t edit[EDIT_BYTES], uint8_t *image, size_t *size);
/* As far as the walker finds rows in the file: checksums and lengths of catalog records, of page headers, blocks, zero markers, block records. */
void edit_repair(int fd);

#endif
