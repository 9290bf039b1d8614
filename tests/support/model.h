/* model.h - what an instance must hold, as plain arrays: one `version` per committed state, pages shared until written.
 *
 * Knows nothing of the library but the flags of a memory.
 * Invariant: a page of a memory is NULL (zeros) or counted; versions are counted; a version that somebody else holds too is not changed.
 */
#ifndef PAGESTORE_TESTS_MODEL_H
#define PAGESTORE_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_MEMORIES = 5, MODEL_KEYS = 8, MODEL_PAGES_MAX = 512 };

typedef struct { uint32_t references; uint8_t bytes[65536]; } model_page_bytes;
typedef struct { uint32_t references; size_t length; uint8_t bytes[]; } model_value;

typedef struct {
  bool present;
  uint64_t pages;
  model_page_bytes *page[MODEL_PAGES_MAX];
} model_memory;

typedef struct {
  uint32_t references;
  uint64_t number;
  uint8_t module;                       /* every byte of the module hash */
  model_memory memory[MODEL_MEMORIES];
  model_value *value[MODEL_KEYS];       /* NULL: the key is not set */
} version;

extern const char *const model_key[MODEL_KEYS];   /* ascending; two begin with "module." */

version *version_new(void);
version *version_clone(const version *);
version *version_share(version *);
void version_release(version *);                  /* NULL allowed */
void version_upgrade(version *, uint8_t module, const bool keep[MODEL_MEMORIES]);
void version_set(version *, int key, const void *value, size_t length);   /* NULL removes */

void model_resize(model_memory *, uint64_t pages);
void model_copy(model_memory *to, const model_memory *from);             /* what `to` held is let go */
uint8_t *model_page_for_write(model_memory *, uint64_t page);
void model_write(model_memory *, uint64_t offset, const void *bytes, size_t length);
void model_fill(model_memory *, uint64_t offset, int byte, uint64_t length);
const uint8_t *model_page(const model_memory *, uint64_t page);          /* 64 KiB */
uint64_t model_stored(const model_memory *);                             /* pages that are not all zeros */

#endif
