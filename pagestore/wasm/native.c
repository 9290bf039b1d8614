/* native.c - the copy of a module whose memory is the host's: sections changed, instructions left as they are.
 *
 *   type, function, code, export   one entry more: the install function (and exports of globals), always at the end
 *   import, memory                 memory 0 becomes an import, memory 1 is added
 *   start                          goes: the install function calls it
 *   data                           active segments become passive, the install function copies and drops them
 *   data count                     added where memory.init needs it
 *
 * Always true: no index that the module uses means anything else in the copy; what is not named here is copied byte
 *              for byte.
 */
#include "native.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"

#define STABLE_PAGES_32 65536u
#define STABLE_PAGES_64 8192000u /* 500 GiB */

typedef struct {
  const pagestore_module *module;
  const pagestore_native_options *options;
  uint32_t install_type, active; /* the type () -> (); how many active segments */
  bool adds_type;
  bytes out;
} rewrite;

/* ---- what can be done ------------------------------------------------------------------------ */

int native_options(const pagestore_native_options *given, pagestore_native_options *out) {
  pagestore_native_options o = {.size = sizeof o};
  if (given && given->size != sizeof o)
    return fail(PAGESTORE_EINVAL, "pagestore_native_options.size is %zu, not %zu: set it to sizeof", given->size,
                sizeof o);
  if (given) o = *given;
  if (!o.stable_bits) o.stable_bits = 64;
  if (o.stable_bits != 32 && o.stable_bits != 64) return fail(PAGESTORE_EINVAL, "stable_bits is 32 or 64");
  uint64_t most = o.stable_bits == 32 ? STABLE_PAGES_32 : STABLE_PAGES_64;
  if (!o.stable_max_pages) o.stable_max_pages = most;
  if (o.stable_max_pages > most)
    return fail(PAGESTORE_EINVAL, "stable_max_pages is at most %llu with %u bits", (unsigned long long)most,
                o.stable_bits);
  if ((unsigned)o.memories > PAGESTORE_NATIVE_MODULE || (unsigned)o.copy > PAGESTORE_NATIVE_BULK)
    return fail(PAGESTORE_EINVAL, "memories or copy is none of its enumeration");
  *out = o;
  return 0;
}

static bool name_is(pagestore_wasm_name name, const char *text) {
  return name.bytes == strlen(text) && memcmp(name.at, text, name.bytes) == 0;
}

static bool name_begins(pagestore_wasm_name name, const char *text) {
  return name.bytes >= strlen(text) && memcmp(name.at, text, strlen(text)) == 0;
}

static __attribute__((format(printf, 3, 4))) int cannot(uint8_t section, uint64_t at, const char *format, ...) {
  char text[300];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return fail(PAGESTORE_EUNSUPPORTED, "section %s, offset 0x%llx: %s", section_name(section), (unsigned long long)at,
              text);
}

static uint8_t section_of(bool imported, uint8_t own) { return imported ? SECTION_IMPORT : own; }

static int check_names(const pagestore_module *m, const pagestore_native_options *o) {
  for (uint32_t i = 0; i < m->exports.count; i++) {
    const pagestore_wasm_export *e = &m->exports.list[i];
    if (name_begins(e->name, NATIVE_RESERVED))
      return cannot(SECTION_EXPORT, e->at,
                    "the export '%.*s' has a name that is reserved; give the module as the compiler made "
                    "it, or rename the export",
                    (int)(e->name.bytes < 100 ? e->name.bytes : 100), e->name.at);
  }
  for (uint32_t i = 0; i < m->imports.count && o->memories != PAGESTORE_NATIVE_MODULE; i++)
    if (name_is(m->imports.list[i].module, NATIVE_MODULE))
      return cannot(SECTION_IMPORT, m->imports.list[i].at,
                    "something is imported from '" NATIVE_MODULE "', which is reserved; "
                    "give the module as the compiler made it, or rename the import");
  return 0;
}

int native_check(const pagestore_module *m, const pagestore_native_options *o) {
  int status = check_names(m, o); /* first: it tells a module that is native already */
  if (status) return status;
  if (m->memories.count == 0)
    return cannot(SECTION_MEMORY, m->size, "the module has no memory: there is nothing to keep, run it as it is");
  const pagestore_wasm_memory *heap = &m->memories.list[0];
  if (m->memories.count > 1)
    return cannot(section_of(heap[1].imported, SECTION_MEMORY), heap[1].at,
                  "the module has %u memories: only one can be the "
                  "heap; bind them by hand, or compile with one",
                  m->memories.count);
  if (heap->limits.shared)
    return cannot(section_of(heap->imported, SECTION_MEMORY), heap->at,
                  "the memory is shared: threads write at a boundary; "
                  "compile without threads");
  for (uint32_t i = 0; i < m->globals.count; i++) {
    const pagestore_wasm_global *g = &m->globals.list[i];
    if (g->is_mutable && g->type < 0x7b)
      return cannot(section_of(g->imported, SECTION_GLOBAL), g->at,
                    "global %u is mutable and holds a reference, which cannot be "
                    "stored; compile without reference types",
                    i);
  }
  return 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void put_span(bytes *b, const pagestore_module *m, uint64_t at, uint64_t end) {
  put_bytes(b, m->bytes + at, end - at);
}

void put_heap_limits(bytes *b, const pagestore_module *m) {
  const pagestore_wasm_memory *heap = &m->memories.list[0];
  put_span(b, m, heap->at, heap->end);
}

void put_stable_limits(bytes *b, const pagestore_native_options *o) {
  put_byte(b, o->stable_bits == 64 ? 5 : 1);
  put_u64(b, 0);
  put_u64(b, o->stable_max_pages);
}

/* The count of a section that gets `more` entries, then its old entries. `s` NULL: there was none. */
static void put_entries(rewrite *r, bytes *b, const pagestore_wasm_section *s, uint64_t count, uint64_t more) {
  put_u64(b, count + more);
  if (!s) return;
  uint64_t at = s->body;
  while (r->module->bytes[at++] & 0x80) continue; /* behind the old count */
  put_span(b, r->module, at, s->end);
}

static void put_type(rewrite *r, bytes *b, const pagestore_wasm_section *s) {
  put_entries(r, b, s, r->module->types.count, r->adds_type);
  if (r->adds_type) PUT(b, 0x60, 0, 0);
}

static void put_memory_import(bytes *b, const char *name) {
  put_name(b, NATIVE_MODULE);
  put_name(b, name);
  put_byte(b, PAGESTORE_WASM_MEMORY);
}

static void put_imports(rewrite *r, bytes *b) {
  const pagestore_module *m = r->module;
  bool defined = m->imported_memories == 0, module = r->options->memories == PAGESTORE_NATIVE_MODULE;
  put_u64(b, (uint64_t)m->imports.count + (module ? 0 : defined ? 2 : 1));
  for (uint32_t i = 0; i < m->imports.count; i++) {
    const pagestore_wasm_import *entry = &m->imports.list[i];
    if (module || entry->kind != PAGESTORE_WASM_MEMORY) {
      put_span(b, m, entry->at, entry->end);
    } else {
      put_memory_import(b, NATIVE_HEAP);
      put_heap_limits(b, m);
    }
  }
  if (module) return;
  if (defined) {
    put_memory_import(b, NATIVE_HEAP);
    put_heap_limits(b, m);
  }
  put_memory_import(b, NATIVE_STABLE);
  put_stable_limits(b, r->options);
}

/* Only where the module defines its memories. */
static void put_memories(rewrite *r, bytes *b) {
  bool defined = r->module->imported_memories == 0;
  put_u64(b, defined ? 2 : 1);
  if (defined) put_heap_limits(b, r->module);
  put_stable_limits(b, r->options);
}

static void put_export(bytes *b, const char *name, pagestore_wasm_kind kind, uint32_t index) {
  put_name(b, name);
  put_byte(b, (uint8_t)kind);
  put_u64(b, index);
}

static void put_exports(rewrite *r, bytes *b, const pagestore_wasm_section *s) {
  const pagestore_module *m = r->module;
  bool module = r->options->memories == PAGESTORE_NATIVE_MODULE;
  uint32_t globals = 0;
  for (uint32_t i = 0; i < m->globals.count; i++) globals += m->globals.list[i].is_mutable;
  put_entries(r, b, s, m->exports.count, 1 + (uint64_t)globals + (module ? 2 : 0));
  put_export(b, NATIVE_INSTALL, PAGESTORE_WASM_FUNCTION, m->functions.count);
  for (uint32_t i = 0; i < m->globals.count; i++) {
    char name[sizeof NATIVE_GLOBAL + 10];
    if (!m->globals.list[i].is_mutable) continue;
    snprintf(name, sizeof name, NATIVE_GLOBAL "%u", i);
    put_export(b, name, PAGESTORE_WASM_GLOBAL, i);
  }
  if (!module) return;
  put_export(b, NATIVE_RESERVED NATIVE_HEAP, PAGESTORE_WASM_MEMORY, 0);
  put_export(b, NATIVE_RESERVED NATIVE_STABLE, PAGESTORE_WASM_MEMORY, 1);
}

/* What instantiation did: each active segment in its order, then the start function. */
static void put_install(rewrite *r, bytes *b) {
  const pagestore_module *m = r->module;
  bytes body = {0};
  put_byte(&body, 0); /* no locals */
  for (uint32_t i = 0; i < m->data.count; i++) {
    const pagestore_wasm_data *d = &m->data.list[i];
    if (!d->active) continue;
    put_span(&body, m, d->where_at, d->where_end);
    PUT(&body, 0x41, 0, 0x41); /* i32.const 0, i32.const length */
    put_s64(&body, (int32_t)(uint32_t)(d->bytes_end - d->bytes_at));
    PUT(&body, 0xfc, 8); /* memory.init segment memory 0 */
    put_u64(&body, i);
    PUT(&body, 0, 0xfc, 9); /* data.drop segment */
    put_u64(&body, i);
  }
  if (m->has_start) {
    put_byte(&body, 0x10); /* call */
    put_u64(&body, m->start);
  }
  put_byte(&body, 0x0b);
  put_body(b, &body);
}

static void put_data(rewrite *r, bytes *b) {
  const pagestore_module *m = r->module;
  put_u64(b, m->data.count);
  for (uint32_t i = 0; i < m->data.count; i++) {
    const pagestore_wasm_data *d = &m->data.list[i];
    put_byte(b, 1);
    put_u64(b, d->bytes_end - d->bytes_at);
    put_span(b, m, d->bytes_at, d->bytes_end);
  }
}

/* ---- sections -------------------------------------------------------------------------------- */

/* Whether the copy has this section although the module has not. */
static bool is_needed(const rewrite *r, uint8_t id) {
  bool module = r->options->memories == PAGESTORE_NATIVE_MODULE;
  switch (id) {
  case SECTION_TYPE: return r->adds_type;
  case SECTION_IMPORT: return !module;
  case SECTION_MEMORY: return module;
  case SECTION_FUNCTION:
  case SECTION_EXPORT:
  case SECTION_CODE: return true;
  case SECTION_DATA_COUNT: return r->active > 0;
  default: return false;
  }
}

/* One section of the copy; `s` NULL: the module has none of this kind. */
static void put_one(rewrite *r, uint8_t id, const pagestore_wasm_section *s) {
  const pagestore_module *m = r->module;
  uint32_t defined = m->functions.count - m->imported_functions;
  bytes body = {0};
  switch (id) {
  case SECTION_TYPE: put_type(r, &body, s); break;
  case SECTION_IMPORT: put_imports(r, &body); break;
  case SECTION_FUNCTION:
    put_entries(r, &body, s, defined, 1);
    put_u64(&body, r->install_type);
    break;
  case SECTION_MEMORY:
    if (r->options->memories != PAGESTORE_NATIVE_MODULE) return;
    put_memories(r, &body);
    break;
  case SECTION_EXPORT: put_exports(r, &body, s); break;
  case SECTION_START: return;
  case SECTION_DATA_COUNT: put_u64(&body, m->data.count); break;
  case SECTION_CODE:
    put_entries(r, &body, s, defined, 1);
    put_install(r, &body);
    break;
  case SECTION_DATA: put_data(r, &body); break;
  default: put_span(&r->out, m, s->at, s->end); return;
  }
  put_section(&r->out, id, &body);
}

/* Those that the module lacks and whose place is between two ranks. */
static void put_missing(rewrite *r, unsigned after, unsigned before) {
  for (unsigned rank = after + 1; rank < before; rank++)
    for (uint8_t id = SECTION_TYPE; id < SECTION_KINDS; id++)
      if (section_rank(id) == rank && is_needed(r, id)) put_one(r, id, NULL);
}

static void put_module(rewrite *r) {
  const pagestore_module *m = r->module;
  unsigned rank = 0;
  uint32_t last = 0; /* behind the last section that is not custom: what is missing goes before names and debugging */
  for (uint32_t i = 0; i < m->sections.count; i++)
    if (m->sections.list[i].id != SECTION_CUSTOM) last = i + 1;
  PUT(&r->out, 0, 'a', 's', 'm', 1, 0, 0, 0);
  for (uint32_t i = 0; i < m->sections.count || i == last; i++) {
    if (i == last) put_missing(r, rank, SECTION_KINDS);
    if (i == m->sections.count) break;
    const pagestore_wasm_section *s = &m->sections.list[i];
    if (s->id != SECTION_CUSTOM) {
      put_missing(r, rank, section_rank(s->id));
      rank = section_rank(s->id);
    }
    put_one(r, s->id, s);
  }
}

static void choose_type(rewrite *r) {
  const pagestore_module *m = r->module;
  uint32_t i = 0;
  for (; i < m->types.count; i++) {
    const pagestore_wasm_type *t = &m->types.list[i];
    if (t->params_at == t->params_end && t->results_at == t->results_end) break;
  }
  r->install_type = i;
  r->adds_type = i == m->types.count;
}

int pagestore_module_native(const pagestore_module *m, const pagestore_native_options *given, uint8_t **out,
                            size_t *size) {
  pagestore_native_options o;
  if (!m || !out || !size) return fail(PAGESTORE_EINVAL, "the module or a result is NULL");
  int status = native_options(given, &o);
  if (!status) status = native_check(m, &o);
  if (status) return status;
  rewrite r = {.module = m, .options = &o};
  for (uint32_t i = 0; i < m->data.count; i++) r.active += m->data.list[i].active;
  choose_type(&r);
  put_module(&r);
  return bytes_take(&r.out, out, size);
}
