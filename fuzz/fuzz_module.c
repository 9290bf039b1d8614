/* fuzz_module.c - the reader and the rewriter of Wasm modules: inspect, native, shim.
 *
 *   input: one byte of options (who defines the memories, how the shim copies, width of the stable memory), then a module
 *
 * What is refused says why. A copy parses again, keeps what it must keep, and is not taken twice.
 *
 * ctest: runs=20000, parts=wasm
 */
#include <stdlib.h>
#include <string.h>

#include <pagestore/module.h>

#include "fuzz/fuzz.h"

/* ---- the target ---------------------------------------------------------------------------- */

static uint32_t mutable_globals(const pagestore_module *m) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < m->globals.count; i++) count += m->globals.list[i].is_mutable;
  return count;
}

static const pagestore_wasm_section *find(const pagestore_module *m, uint8_t id) {
  for (uint32_t i = 0; i < m->sections.count; i++)
    if (m->sections.list[i].id == id) return &m->sections.list[i];
  return NULL;
}

/* All function bodies are in the copy, in front of the one that was added. */
static void compare_code(const pagestore_module *m, const pagestore_module *copy) {
  const pagestore_wasm_section *before = find(m, 10), *after = find(copy, 10);
  MUST(after);
  if (!before || m->code_bodies == 0) return;
  uint64_t from = before->body, to = after->body;
  while (m->bytes[from++] & 0x80) continue;
  while (copy->bytes[to++] & 0x80) continue;
  MUST(after->end - to > before->end - from);
  MUST(memcmp(m->bytes + from, copy->bytes + to, before->end - from) == 0);
}

static void check_copy(const pagestore_module *m, const pagestore_native_options *o, const uint8_t *bytes,
                       size_t size) {
  pagestore_module *copy;
  uint8_t *again;
  bool module = o->memories == PAGESTORE_NATIVE_MODULE;
  uint32_t globals = mutable_globals(m);
  MUST(pagestore_module_read(bytes, size, &copy) == 0);
  MUST(copy->functions.count == m->functions.count + 1 && copy->code_bodies == m->code_bodies + 1);
  MUST(copy->memories.count == 2 && copy->memories.list[0].limits.is64 == m->memories.list[0].limits.is64);
  MUST(copy->memories.list[0].limits.min == m->memories.list[0].limits.min);
  MUST(copy->imported_memories == (module ? m->imported_memories : 2));
  MUST(!copy->has_start && copy->data.count == m->data.count);
  MUST(copy->globals.count == m->globals.count && mutable_globals(copy) == globals);
  MUST(copy->exports.count == m->exports.count + 1 + globals + (module ? 2 : 0));
  for (uint32_t i = 0; i < m->data.count; i++) {
    const pagestore_wasm_data *a = &m->data.list[i], *b = &copy->data.list[i];
    MUST(!b->active && a->bytes_end - a->bytes_at == b->bytes_end - b->bytes_at);
    MUST(memcmp(m->bytes + a->bytes_at, copy->bytes + b->bytes_at, a->bytes_end - a->bytes_at) == 0);
  }
  compare_code(m, copy);
  MUST(pagestore_module_native(copy, o, &again, &size) == PAGESTORE_EUNSUPPORTED);
  pagestore_module_free(copy);
}

static void check_shim(const uint8_t *bytes, size_t size) {
  pagestore_module *shim;
  MUST(pagestore_module_read(bytes, size, &shim) == 0);
  MUST(shim->memories.count == 2 && shim->functions.count == 11);
  pagestore_module_free(shim);
}

/* What `pagestore wasm inspect` looks at: every name and every span of bytes, to their ends. */
static void look(const pagestore_module *m) {
  volatile uint8_t seen = 0;
#define NAME(n) seen ^= (n).bytes ? (uint8_t)((n).at[0] ^ (n).at[(n).bytes - 1]) : 0
#define SPAN(at, end)                                                                                                  \
  MUST((at) <= (end) && (end) <= m->size);                                                                             \
  for (uint64_t i_ = (at); i_ < (end); i_++) seen ^= m->bytes[i_]
  for (uint32_t i = 0; i < m->sections.count; i++) {
    SPAN(m->sections.list[i].at, m->sections.list[i].end);
    NAME(m->sections.list[i].custom_name);
  }
  for (uint32_t i = 0; i < m->imports.count; i++) {
    NAME(m->imports.list[i].module);
    NAME(m->imports.list[i].name);
    SPAN(m->imports.list[i].at, m->imports.list[i].end);
  }
  for (uint32_t i = 0; i < m->types.count; i++) {
    SPAN(m->types.list[i].params_at, m->types.list[i].params_end);
    SPAN(m->types.list[i].results_at, m->types.list[i].results_end);
  }
  for (uint32_t i = 0; i < m->functions.count; i++) MUST(m->functions.list[i] < m->types.count);
  for (uint32_t i = 0; i < m->exports.count; i++) NAME(m->exports.list[i].name);
  for (uint32_t i = 0; i < m->data.count; i++) {
    SPAN(m->data.list[i].where_at, m->data.list[i].where_end);
    SPAN(m->data.list[i].bytes_at, m->data.list[i].bytes_end);
  }
#undef NAME
#undef SPAN
  (void)seen;
}

/* "section NAME, offset 0x...: why" */
static void check_place(void) {
  MUST(strncmp(pagestore_detail(), "section ", 8) == 0 && strstr(pagestore_detail(), ", offset 0x"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  pagestore_module *m;
  uint8_t *out;
  size_t out_size;
  if (size == 0) return 0;
  pagestore_native_options o = {.size = sizeof o,
                                .memories = (pagestore_native_memories)(data[0] % 3),
                                .copy = (pagestore_native_copy)(data[0] / 4 % 2),
                                .stable_bits = data[0] & 8 ? 32 : 64};
  int status = pagestore_module_read(data + 1, size - 1, &m);
  MUST(status == 0 || status == PAGESTORE_EFORMAT);
  if (status) {
    check_place();
    return 0;
  }
  look(m);
  status = pagestore_module_native(m, &o, &out, &out_size);
  MUST(status == 0 || status == PAGESTORE_EUNSUPPORTED);
  if (status) check_place();
  else {
    check_copy(m, &o, out, out_size);
    free(out);
  }
  int shim_status = pagestore_module_shim(m, &o, &out, &out_size);
  MUST(shim_status == 0 ? status == 0 && o.memories != PAGESTORE_NATIVE_MODULE : shim_status == PAGESTORE_EUNSUPPORTED);
  if (!shim_status) {
    check_shim(out, out_size);
    free(out);
  }
  pagestore_module_free(m);
  return 0;
}
