/* model.c - versions of instances as plain arrays; see model.h. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES_ = 65536 };

const char *const model_key[MODEL_KEYS] = {
  "a", "a key", "b", "large", "last message", "module.globals", "module.table", "z",
};

static void page_release(model_page_bytes *p) {
  if (p && --p->references == 0) free(p);
}

static void value_release(model_value *v) {
  if (v && --v->references == 0) free(v);
}

version *version_new(void) {
  version *v = calloc(1, sizeof *v);
  v->references = 1;
  return v;
}

version *version_clone(const version *from) {
  version *v = malloc(sizeof *v);
  *v = *from;
  v->references = 1;
  for (int m = 0; m < MODEL_MEMORIES; m++)
    for (uint64_t i = 0; i < v->memory[m].pages; i++)
      if (v->memory[m].page[i]) v->memory[m].page[i]->references++;
  for (int k = 0; k < MODEL_KEYS; k++)
    if (v->value[k]) v->value[k]->references++;
  return v;
}

version *version_share(version *v) {
  v->references++;
  return v;
}

void version_release(version *v) {
  if (!v || --v->references > 0) return;
  for (int m = 0; m < MODEL_MEMORIES; m++) model_resize(&v->memory[m], 0);
  for (int k = 0; k < MODEL_KEYS; k++) value_release(v->value[k]);
  free(v);
}

void version_upgrade(version *v, uint8_t module, const bool keep[MODEL_MEMORIES]) {
  for (int m = 0; m < MODEL_MEMORIES; m++)
    if (!keep[m]) model_resize(&v->memory[m], 0);
  for (int k = 0; k < MODEL_KEYS; k++)
    if (strncmp(model_key[k], "module.", 7) == 0) version_set(v, k, NULL, 0);
  v->module = module;
}

void version_set(version *v, int key, const void *bytes, size_t length) {
  value_release(v->value[key]);
  v->value[key] = NULL;
  if (!bytes) return;
  model_value *value = malloc(sizeof *value + length);
  value->references = 1;
  value->length = length;
  memcpy(value->bytes, bytes, length);
  v->value[key] = value;
}

/* ---- memories ---------------------------------------------------------------------------------- */

void model_resize(model_memory *m, uint64_t pages) {
  for (uint64_t i = pages; i < m->pages; i++) {
    page_release(m->page[i]);
    m->page[i] = NULL;
  }
  m->pages = pages;
}

void model_copy(model_memory *to, const model_memory *from) {
  for (uint64_t i = 0; i < from->pages; i++)
    if (from->page[i]) from->page[i]->references++;
  model_resize(to, 0);
  *to = *from;
}

uint8_t *model_page_for_write(model_memory *m, uint64_t page) {
  model_page_bytes *p = m->page[page];
  if (p && p->references == 1) return p->bytes;
  model_page_bytes *own = calloc(1, sizeof *own);
  own->references = 1;
  if (p) memcpy(own->bytes, p->bytes, PAGE_BYTES_);
  page_release(p);
  m->page[page] = own;
  return own->bytes;
}

void model_write(model_memory *m, uint64_t offset, const void *bytes, size_t length) {
  const uint8_t *from = bytes;
  while (length > 0) {
    size_t at = offset % PAGE_BYTES_, piece = PAGE_BYTES_ - at < length ? PAGE_BYTES_ - at : length;
    memcpy(model_page_for_write(m, offset / PAGE_BYTES_) + at, from, piece);
    offset += piece, from += piece, length -= piece;
  }
}

void model_fill(model_memory *m, uint64_t offset, int byte, uint64_t length) {
  while (length > 0) {
    uint64_t at = offset % PAGE_BYTES_, piece = PAGE_BYTES_ - at < length ? PAGE_BYTES_ - at : length;
    memset(model_page_for_write(m, offset / PAGE_BYTES_) + at, byte, piece);
    offset += piece, length -= piece;
  }
}

static const uint8_t zeros[PAGE_BYTES_];

const uint8_t *model_page(const model_memory *m, uint64_t page) {
  return m->page[page] ? m->page[page]->bytes : zeros;
}

uint64_t model_stored(const model_memory *m) {
  uint64_t stored = 0;
  for (uint64_t i = 0; i < m->pages; i++) stored += memcmp(model_page(m, i), zeros, PAGE_BYTES_) != 0;
  return stored;
}
