/* module.h - reading a Wasm module: the cursor that the parts share.
 *
 *   module.c    sections: which there are, where, in order        entries.c    what stands in them
 *
 * Every byte is taken through a cursor that ends where its section ends. The first thing that does not fit ends the
 * reading, with a text that names section and offset; what was read until then is freed.
 *
 * Invariants: lists hold only what was seen in the file, so their size follows the file's; indexes in them are inside
 *             the index space that they point to.
 * Thread:     any.
 */
#ifndef PAGESTORE_WASM_MODULE_H
#define PAGESTORE_WASM_MODULE_H

#include <pagestore/module.h>

enum {
  SECTION_CUSTOM,
  SECTION_TYPE,
  SECTION_IMPORT,
  SECTION_FUNCTION,
  SECTION_TABLE,
  SECTION_MEMORY,
  SECTION_GLOBAL,
  SECTION_EXPORT,
  SECTION_START,
  SECTION_ELEMENT,
  SECTION_CODE,
  SECTION_DATA,
  SECTION_DATA_COUNT,
  SECTION_TAG,
  SECTION_KINDS
};
const char *section_name(uint8_t id);
/* its place among the others; custom ones have none */
unsigned section_rank(uint8_t id);

typedef struct {
  pagestore_module *module;
  const uint8_t *bytes;
  uint64_t at, end;
  const char *section;
} cursor;

/* EFORMAT, with the place in the text. */
int refuse(const cursor *, uint64_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
int no_memory(void);

int take_byte(cursor *, uint8_t *);
int take_u32(cursor *, uint32_t *);
int take_u64(cursor *, uint64_t *);
int take_bytes(cursor *, uint64_t count, uint64_t *at); /* skips; *at is where they begin */
int take_name(cursor *, pagestore_wasm_name *);

/* The entries of one section of this kind, the cursor at its body. */
int read_entries(cursor *, uint8_t id);

/* The list with room for one more entry, zeroed; NULL: no memory, the list stays. */
void *list_room(void *list, uint32_t count, size_t entry_bytes);
/* `out` points to a new entry; returns from the function if there is no memory. */
#define LIST_ADD(l, out)                                                                                               \
  do {                                                                                                                 \
    void *moved_ = list_room((l).list, (l).count, sizeof *(l).list);                                                   \
    if (!moved_) return no_memory();                                                                                   \
    (l).list = moved_;                                                                                                 \
    (out) = &(l).list[(l).count++];                                                                                    \
  } while (0)

#endif
