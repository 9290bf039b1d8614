/* module.c - the frame of a Wasm module: its head, its sections in their order; and the cursor. */
#include "module.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"

enum { HEAD_BYTES = 8, NAME_BYTES_SHOWN = 64 };

static const char *const names[SECTION_KINDS] = {"custom", "type",   "import",     "function", "table",
                                                 "memory", "global", "export",     "start",    "element",
                                                 "code",   "data",   "data count", "tag"};
/* Tag stands between memory and global, data count between element and code. */
static const uint8_t ranks[SECTION_KINDS] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 11, 6};

const char *section_name(uint8_t id) {
  ASSERT(id < SECTION_KINDS);
  return names[id];
}

unsigned section_rank(uint8_t id) {
  ASSERT(id < SECTION_KINDS);
  return ranks[id];
}

/* ---- refusing -------------------------------------------------------------------------------- */

int refuse(const cursor *c, uint64_t at, const char *format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return fail(PAGESTORE_EFORMAT, "section %s, offset 0x%llx: %s", c->section, (unsigned long long)at, text);
}

int no_memory(void) { return fail(PAGESTORE_ENOMEM, "no memory for the module: free some and try again"); }

/* ---- the cursor ------------------------------------------------------------------------------ */

int take_byte(cursor *c, uint8_t *out) {
  if (c->at == c->end) return refuse(c, c->at, "ends in the middle of an entry: the module is damaged or cut off");
  *out = c->bytes[c->at++];
  return 0;
}

/* LEB128 of at most so many bits; what stands in the last byte beyond them must be zero. */
static int take_number(cursor *c, unsigned bits, uint64_t *out) {
  uint64_t value = 0, start = c->at;
  for (unsigned shift = 0; shift < bits; shift += 7) {
    uint8_t byte = 0;
    int status = take_byte(c, &byte);
    if (status) return status;
    if (bits - shift < 7 && (byte & 0x7f) >> (bits - shift)) break;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte & 0x80) continue;
    *out = value;
    return 0;
  }
  return refuse(c, start, "a number of more than %u bits", bits);
}

int take_u32(cursor *c, uint32_t *out) {
  uint64_t value;
  int status = take_number(c, 32, &value);
  if (!status) *out = (uint32_t)value;
  return status;
}

int take_u64(cursor *c, uint64_t *out) { return take_number(c, 64, out); }

int take_bytes(cursor *c, uint64_t count, uint64_t *at) {
  if (count > c->end - c->at)
    return refuse(c, c->at, "%llu bytes are announced, %llu are left: the module is damaged or cut off",
                  (unsigned long long)count, (unsigned long long)(c->end - c->at));
  *at = c->at;
  c->at += count;
  return 0;
}

/* How many bytes of a valid UTF-8 sequence begin here; 0: none. */
static unsigned sequence(const uint8_t *at, uint64_t left) {
  uint8_t first = at[0];
  if (first < 0x80) return 1;
  unsigned length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (!length || length > left) return 0;
  uint32_t value = first & (0x7fu >> length);
  for (unsigned i = 1; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
    value = value << 6 | (at[i] & 0x3f);
  }
  if (length == 3 && (value < 0x800 || (value >= 0xd800 && value < 0xe000))) return 0;
  if (length == 4 && (value < 0x10000 || value > 0x10ffff)) return 0;
  return length;
}

int take_name(cursor *c, pagestore_wasm_name *out) {
  uint64_t start = c->at, at = 0;
  uint32_t count;
  int status = take_u32(c, &count);
  if (!status) status = take_bytes(c, count, &at);
  if (status) return status;
  for (uint64_t i = 0; i < count;) {
    unsigned length = sequence(c->bytes + at + i, count - i);
    if (!length) return refuse(c, start, "a name that is not UTF-8");
    i += length;
  }
  *out = (pagestore_wasm_name){.at = (const char *)c->bytes + at, .bytes = count};
  return 0;
}

void *list_room(void *list, uint32_t count, size_t entry_bytes) {
  enum { FIRST = 8 };
  bool full = count == 0 || (count >= FIRST && (count & (count - 1)) == 0);
  if (full) list = realloc(list, (count ? (size_t)count * 2 : FIRST) * entry_bytes);
  if (list) memset((uint8_t *)list + count * entry_bytes, 0, entry_bytes);
  return list;
}

/* ---- sections -------------------------------------------------------------------------------- */

static int read_head(cursor *c) {
  static const uint8_t magic[4] = {0, 'a', 's', 'm'}, version[4] = {1, 0, 0, 0};
  c->section = "head";
  if (c->end < HEAD_BYTES || memcmp(c->bytes, magic, sizeof magic) != 0)
    return refuse(c, 0, "this is not a Wasm module in the binary format; wat2wasm makes one of the text format");
  if (memcmp(c->bytes + 4, version, sizeof version) != 0)
    return refuse(c, 4, "%s; give a core module of version 1", c->bytes[6] ? "a component" : "an unknown version");
  c->at = HEAD_BYTES;
  return 0;
}

static int read_section(cursor *c, unsigned *rank) {
  pagestore_wasm_section *s;
  uint8_t id;
  uint32_t size;
  LIST_ADD(c->module->sections, s);
  s->at = c->at;
  c->section = "head";
  int status = take_byte(c, &id);
  if (status) return status;
  if (id >= SECTION_KINDS) return refuse(c, s->at, "section %u is not known", id);
  c->section = section_name(id);
  s->id = id;
  if ((status = take_u32(c, &size)) != 0 || (status = take_bytes(c, size, &s->body)) != 0) return status;
  s->end = s->body + size;
  cursor inner = *c;
  inner.at = s->body;
  inner.end = s->end;
  if (id == SECTION_CUSTOM) return take_name(&inner, &s->custom_name);
  if (section_rank(id) <= *rank) return refuse(c, s->at, "stands twice, or behind a section that it must precede");
  *rank = section_rank(id);
  if ((status = read_entries(&inner, id)) != 0) return status;
  return inner.at == inner.end ? 0 : refuse(&inner, inner.at, "has bytes behind its last entry");
}

/* What two sections say of each other. */
static int check_counts(cursor *c) {
  const pagestore_module *m = c->module;
  uint32_t declared = m->functions.count - m->imported_functions;
  c->section = "code";
  if (m->code_bodies != declared)
    return refuse(c, m->size, "%u functions are declared and %u bodies given", declared, m->code_bodies);
  c->section = "data count";
  if (m->has_data_count && m->data_count != m->data.count)
    return refuse(c, m->size, "%u data segments are announced and %u given", m->data_count, m->data.count);
  return 0;
}

int pagestore_module_read(const void *bytes, size_t size, pagestore_module **out) {
  if (!bytes || !out) return fail(PAGESTORE_EINVAL, "the module's bytes or the result is NULL");
  /* An entry takes a byte at least: no count or index can pass 32 bits. */
  if (size > UINT32_MAX) return fail(PAGESTORE_EFORMAT, "section head, offset 0x0: a module of more than 4 GiB");
  pagestore_module *m = calloc(1, sizeof *m);
  uint8_t *copy = malloc(size ? size : 1);
  if (!m || !copy) {
    free(copy);
    free(m);
    return no_memory();
  }
  memcpy(copy, bytes, size);
  m->bytes = copy;
  m->size = size;
  cursor c = {.module = m, .bytes = copy, .end = size};
  unsigned rank = 0;
  int status = read_head(&c);
  while (!status && c.at < c.end) status = read_section(&c, &rank);
  if (!status) status = check_counts(&c);
  if (status) pagestore_module_free(m);
  else *out = m;
  return status;
}

void pagestore_module_free(pagestore_module *m) {
  if (!m) return;
  free(m->sections.list);
  free(m->types.list);
  free(m->imports.list);
  free(m->functions.list);
  free(m->tables.list);
  free(m->memories.list);
  free(m->globals.list);
  free(m->exports.list);
  free(m->data.list);
  free((uint8_t *)(uintptr_t)m->bytes);
  free(m);
}
