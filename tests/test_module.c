/* test_module.c - the reader and the rewriter of Wasm modules: what is found, what is changed and what is not, what is refused and how
 * the place is named, cut and flipped bytes, a module that cannot have memory.
 *
 * ctest: WRAP malloc calloc realloc
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pagestore/module.h>

#include "sample_modules.h"

/* ---- allocations that fail ------------------------------------------------------------------- */

static uint64_t allocations, fail_at; /* 0: none; the fail_at-th and all later ones */

static bool refuses(void) { return ++allocations >= fail_at && fail_at; }

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *at, size_t bytes);
void *__wrap_malloc(size_t bytes) { return refuses() ? NULL : __real_malloc(bytes); }
void *__wrap_calloc(size_t count, size_t bytes) { return refuses() ? NULL : __real_calloc(count, bytes); }
void *__wrap_realloc(void *at, size_t bytes) { return refuses() ? NULL : __real_realloc(at, bytes); }

/* ---- helpers --------------------------------------------------------------------------------- */

static pagestore_module *parsed(const uint8_t *at, size_t size) {
  pagestore_module *m = NULL;
  int status = pagestore_module_read(at, size, &m);
  if (status) fail_msg("%s", pagestore_detail());
  return m;
}

/* Takes the bytes. */
static pagestore_module *made(void (*make)(bytes *, unsigned), unsigned bits) {
  bytes b = {0};
  make(&b, bits);
  pagestore_module *m = parsed(b.at, b.count);
  bytes_free(&b);
  return m;
}

static pagestore_module *native(const pagestore_module *m, pagestore_native_options o) {
  uint8_t *out;
  size_t size;
  o.size = sizeof o;
  int status = pagestore_module_native(m, &o, &out, &size);
  if (status) fail_msg("%s", pagestore_detail());
  pagestore_module *copy = parsed(out, size);
  free(out);
  return copy;
}

static bool is_name(pagestore_wasm_name name, const char *text) {
  return name.bytes == strlen(text) && memcmp(name.at, text, name.bytes) == 0;
}

static const pagestore_wasm_section *section(const pagestore_module *m, uint8_t id) {
  for (uint32_t i = 0; i < m->sections.count; i++)
    if (m->sections.list[i].id == id) return &m->sections.list[i];
  return NULL;
}

static void assert_same_section(const pagestore_module *a, const pagestore_module *b, uint8_t id) {
  const pagestore_wasm_section *x = section(a, id), *y = section(b, id);
  assert_true(x && y && x->end - x->at == y->end - y->at);
  assert_memory_equal(a->bytes + x->at, b->bytes + y->at, x->end - x->at);
}

static const pagestore_wasm_export *export_of(const pagestore_module *m, const char *name) {
  for (uint32_t i = 0; i < m->exports.count; i++)
    if (is_name(m->exports.list[i].name, name)) return &m->exports.list[i];
  return NULL;
}

static void assert_export(const pagestore_module *m, const char *name, pagestore_wasm_kind kind, uint32_t index) {
  const pagestore_wasm_export *e = export_of(m, name);
  if (!e) fail_msg("no export %s", name);
  assert_int_equal(e->kind, kind);
  assert_int_equal(e->index, index);
}

static void assert_memory_import(const pagestore_module *m, uint32_t at, const char *name, uint32_t index) {
  const pagestore_wasm_import *i = &m->imports.list[at];
  assert_true(is_name(i->module, "pagestore") && is_name(i->name, name));
  assert_int_equal(i->kind, PAGESTORE_WASM_MEMORY);
  assert_int_equal(i->index, index);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void a_module_is_described(void **state) {
  (void)state;
  pagestore_module *m = made(sample_full, 32);
  assert_int_equal(m->sections.count, 15);
  assert_true(is_name(m->sections.list[0].custom_name, "first") && is_name(m->sections.list[14].custom_name, "last"));
  assert_int_equal(m->types.count, 4);
  assert_int_equal(m->types.list[0].params_end - m->types.list[0].params_at, 3);
  assert_int_equal(m->imports.count, 6);
  assert_true(is_name(m->imports.list[1].module, "ic0") && is_name(m->imports.list[1].name, "stable64_size"));
  assert_int_equal(m->imports.list[5].index, 1);
  assert_int_equal(m->functions.count, 5);
  assert_int_equal(m->imported_functions, 3);
  assert_int_equal(m->functions.list[4], 3);
  assert_int_equal(m->tables.count, 2);
  assert_true(m->tables.list[0].imported && m->tables.list[0].limits.max == 5 && !m->tables.list[1].limits.has_max);
  assert_int_equal(m->memories.count, 1);
  assert_true(m->memories.list[0].limits.min == 2 && m->memories.list[0].limits.max == 100 &&
              !m->memories.list[0].imported);
  assert_int_equal(m->globals.count, 5);
  assert_true(m->globals.list[1].is_mutable && m->globals.list[1].imported && m->globals.list[1].type == SAMPLE_I64);
  assert_true(m->globals.list[4].is_mutable && !m->globals.list[4].imported && m->globals.list[4].type == SAMPLE_F64);
  assert_export(m, "run", PAGESTORE_WASM_FUNCTION, 4);
  assert_export(m, "sp", PAGESTORE_WASM_GLOBAL, 2);
  assert_true(m->has_start && m->start == 3 && m->has_data_count && m->data_count == 4);
  assert_int_equal(m->element_segments, 1);
  assert_int_equal(m->code_bodies, 2);
  const bool active[] = {true, false, true, true};
  const char *const contents[] = {"hello", "later", "there", ""};
  for (uint32_t i = 0; i < 4; i++) {
    const pagestore_wasm_data *d = &m->data.list[i];
    assert_int_equal(d->active, active[i]);
    assert_int_equal(d->bytes_end - d->bytes_at, strlen(contents[i]));
    assert_memory_equal(m->bytes + d->bytes_at, contents[i], strlen(contents[i]));
  }
  pagestore_module_free(m);
  m = made(sample_full, 64);
  assert_true(m->memories.list[0].limits.is64);
  pagestore_module_free(m);
  pagestore_module_free(NULL);
}

/* ---- rewriting ------------------------------------------------------------------------------- */

static void the_memory_becomes_the_hosts(void **state) {
  (void)state;
  for (unsigned bits = 32; bits <= 64; bits += 32) {
    pagestore_module *m = made(sample_full, bits), *n = native(m, (pagestore_native_options){.stable_bits = bits});
    assert_int_equal(n->imports.count, 8);
    assert_memory_import(n, 6, "heap", 0);
    assert_memory_import(n, 7, "stable", 1);
    assert_null(section(n, 5));
    assert_int_equal(n->memories.count, 2);
    assert_true(n->memories.list[0].limits.is64 == (bits == 64) && n->memories.list[0].limits.min == 2);
    assert_true(n->memories.list[0].limits.has_max && n->memories.list[0].limits.max == 100);
    assert_true(n->memories.list[1].limits.is64 == (bits == 64) && n->memories.list[1].limits.min == 0);
    assert_int_equal(n->memories.list[1].limits.max, bits == 64 ? 8192000 : 65536);
    assert_export(n, "memory", PAGESTORE_WASM_MEMORY, 0);
    for (unsigned i = 0; i < 3; i++)
      assert_true(n->imports.list[i].kind == PAGESTORE_WASM_FUNCTION && n->imports.list[i].index == i);
    pagestore_module_free(n);
    pagestore_module_free(m);
  }
}

static void instructions_and_the_rest_stay(void **state) {
  (void)state;
  pagestore_module *m = made(sample_full, 32), *n = native(m, (pagestore_native_options){0});
  static const uint8_t untouched[] = {1, 4, 6, 9, 12};
  for (size_t i = 0; i < sizeof untouched; i++) assert_same_section(m, n, untouched[i]);
  const pagestore_wasm_section *before = section(m, 10), *after = section(n, 10);
  assert_int_equal(m->bytes[before->body] + 1, n->bytes[after->body]);
  assert_memory_equal(m->bytes + before->body + 1, n->bytes + after->body + 1, before->end - before->body - 1);
  const pagestore_wasm_section *last = &n->sections.list[n->sections.count - 1];
  assert_true(is_name(last->custom_name, "last"));
  assert_memory_equal(n->bytes + last->end - 17, "stands at the end", 17);
  pagestore_module_free(n);
  pagestore_module_free(m);
}

static void installing_is_a_function(void **state) {
  (void)state;
  pagestore_module *m = made(sample_full, 32), *n = native(m, (pagestore_native_options){0});
  /* hello at 16, there at 70,000, nothing at 8; then function 3 */
  static const uint8_t expected[] = {0,    0x41, 16, 0x41, 0, 0x41, 5, 0xfc, 8, 0,    0, 0xfc, 9,    0, 0x41,
                                     0xf0, 0xa2, 4,  0x41, 0, 0x41, 5, 0xfc, 8, 2,    0, 0xfc, 9,    2, 0x41,
                                     8,    0x41, 0,  0x41, 0, 0xfc, 8, 3,    0, 0xfc, 9, 3,    0x10, 3, 0x0b};
  const pagestore_wasm_section *code = section(n, 10);
  assert_false(n->has_start);
  assert_export(n, "pagestore_install", PAGESTORE_WASM_FUNCTION, 5);
  assert_int_equal(n->functions.list[5], 1);
  assert_int_equal(n->bytes[code->end - sizeof expected - 1], sizeof expected);
  assert_memory_equal(n->bytes + code->end - sizeof expected, expected, sizeof expected);
  for (uint32_t i = 0; i < n->data.count; i++) {
    const pagestore_wasm_data *a = &m->data.list[i], *b = &n->data.list[i];
    assert_false(b->active);
    assert_int_equal(a->bytes_end - a->bytes_at, b->bytes_end - b->bytes_at);
    assert_memory_equal(m->bytes + a->bytes_at, n->bytes + b->bytes_at, b->bytes_end - b->bytes_at);
  }
  pagestore_module_free(n);
  pagestore_module_free(m);
}

static void mutable_globals_are_exported(void **state) {
  (void)state;
  pagestore_module *m = made(sample_full, 32), *n = native(m, (pagestore_native_options){0});
  assert_int_equal(n->exports.count, m->exports.count + 4);
  assert_export(n, "pagestore_global_1", PAGESTORE_WASM_GLOBAL, 1);
  assert_export(n, "pagestore_global_2", PAGESTORE_WASM_GLOBAL, 2);
  assert_export(n, "pagestore_global_4", PAGESTORE_WASM_GLOBAL, 4);
  assert_null(export_of(n, "pagestore_global_0"));
  assert_null(export_of(n, "pagestore_heap"));
  pagestore_module_free(n);
  pagestore_module_free(m);
}

static void an_imported_memory_is_renamed(void **state) {
  (void)state;
  pagestore_module *m = made(sample_importing, 64), *n = native(m, (pagestore_native_options){.stable_max_pages = 77});
  assert_int_equal(n->imports.count, 3);
  assert_memory_import(n, 0, "heap", 0);
  assert_memory_import(n, 2, "stable", 1);
  assert_true(is_name(n->imports.list[1].name, "print"));
  assert_int_equal(n->memories.list[1].limits.max, 77);
  assert_int_equal(n->types.count, 2);
  assert_int_equal(n->functions.list[1], 1);
  assert_true(n->has_data_count && n->data_count == 4);
  pagestore_module_free(n);
  pagestore_module_free(m);
}

/* Sections that were not there come at their places. */
static void missing_sections_are_made(void **state) {
  (void)state;
  static const uint8_t expected[] = {1, 2, 3, 7, 10};
  pagestore_module *m = made(sample_small, 32), *n = native(m, (pagestore_native_options){0});
  assert_int_equal(n->sections.count, sizeof expected);
  for (size_t i = 0; i < sizeof expected; i++) assert_int_equal(n->sections.list[i].id, expected[i]);
  assert_export(n, "pagestore_install", PAGESTORE_WASM_FUNCTION, 0);
  pagestore_module_free(n);
  pagestore_module_free(m);
}

static void the_module_may_define_them(void **state) {
  (void)state;
  pagestore_native_options o = {.memories = PAGESTORE_NATIVE_MODULE, .stable_bits = 32};
  void (*const samples[])(bytes *, unsigned) = {sample_full, sample_importing, sample_small};
  for (size_t i = 0; i < 3; i++) {
    pagestore_module *m = made(samples[i], 32), *n = native(m, o);
    uint8_t *out;
    size_t size;
    assert_int_equal(n->imports.count, m->imports.count);
    assert_int_equal(n->imported_memories, m->imported_memories);
    assert_int_equal(n->memories.count, 2);
    assert_export(n, "pagestore_heap", PAGESTORE_WASM_MEMORY, 0);
    assert_export(n, "pagestore_stable", PAGESTORE_WASM_MEMORY, 1);
    o.size = sizeof o;
    assert_int_equal(pagestore_module_shim(m, &o, &out, &size), PAGESTORE_EUNSUPPORTED);
    pagestore_module_free(n);
    pagestore_module_free(m);
  }
}

static void shims_are_modules(void **state) {
  (void)state;
  static const char *const names[] = {"stable64_size", "stable64_grow", "stable64_read", "stable64_write",
                                      "stable_size",   "stable_grow",   "stable_read",   "stable_write"};
  for (unsigned variant = 0; variant < 16; variant++) {
    pagestore_module *m = made(sample_small, variant & 1 ? 64 : 32);
    pagestore_native_options o = {.size = sizeof o, .stable_bits = variant & 2 ? 64 : 32};
    o.copy = variant & 4 ? PAGESTORE_NATIVE_BULK : PAGESTORE_NATIVE_LOOP;
    o.memories = variant & 8 ? PAGESTORE_NATIVE_SHIM : PAGESTORE_NATIVE_HOST;
    uint8_t *out;
    size_t size;
    assert_int_equal(pagestore_module_shim(m, &o, &out, &size), 0);
    pagestore_module *shim = parsed(out, size);
    free(out);
    for (uint32_t i = 0; i < 8; i++) assert_export(shim, names[i], PAGESTORE_WASM_FUNCTION, i);
    assert_int_equal(shim->imported_memories, variant & 8 ? 0 : 2);
    assert_true(!(variant & 8) == !export_of(shim, "heap") && !(variant & 8) == !export_of(shim, "stable"));
    assert_true(shim->memories.list[0].limits.is64 == (variant & 1) &&
                shim->memories.list[1].limits.is64 == !!(variant & 2));
    assert_int_equal(shim->functions.count, 11);
    pagestore_module_free(shim);
    pagestore_module_free(m);
  }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void assert_refused(int status, int wanted, const char *place, const char *why) {
  if (status != wanted || !strstr(pagestore_detail(), place) || !strstr(pagestore_detail(), why))
    fail_msg("%d instead of %d, or not '%s' and '%s': %s", status, wanted, place, why, pagestore_detail());
}

#define WASM         0, 'a', 's', 'm', 1, 0, 0, 0
#define LITERAL(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static void malformed_modules_are_refused(void **state) {
  (void)state;
  const struct {
    const uint8_t *at;
    size_t size;
    const char *place, *why;
  } cases[] = {
      {LITERAL(0), "section head, offset 0x0", "not a Wasm module"},
      {LITERAL('(', 'm', 'o', 'd', 'u', 'l', 'e', ')'), "offset 0x0", "wat2wasm"},
      {LITERAL(0, 'a', 's', 'm', 13, 0, 1, 0), "section head, offset 0x4", "a component"},
      {LITERAL(0, 'a', 's', 'm', 2, 0, 0, 0), "offset 0x4", "an unknown version"},
      {LITERAL(WASM, 14, 0), "section head, offset 0x8", "section 14 is not known"},
      {LITERAL(WASM, 1), "section type, offset 0x9", "cut off"},
      {LITERAL(WASM, 1, 5, 1), "section type, offset 0xa", "5 bytes are announced, 1 are left"},
      {LITERAL(WASM, 1, 0x80, 0x80, 0x80, 0x80, 0x10), "section type, offset 0x9", "more than 32 bits"},
      {LITERAL(WASM, 1, 2, 1, 0x5e), "section type, offset 0xb", "type form 0x5e"},
      {LITERAL(WASM, 1, 4, 1, 0x60, 1, 5), "section type, offset 0xd", "0x05 is not a known type"},
      {LITERAL(WASM, 1, 2, 0, 0), "section type, offset 0xb", "behind its last entry"},
      {LITERAL(WASM, 1, 1, 0, 1, 1, 0), "section type, offset 0xb", "stands twice"},
      {LITERAL(WASM, 3, 1, 0, 1, 1, 0), "section type, offset 0xb", "must precede"},
      {LITERAL(WASM, 2, 5, 1, 0, 0, 0, 7), "section import, offset 0xe", "type 7 does not exist"},
      {LITERAL(WASM, 2, 5, 1, 0, 0, 9, 7), "section import, offset 0xb", "unknown kind 9"},
      {LITERAL(WASM, 2, 4, 1, 1, 0xff, 0), "section import, offset 0xb", "not UTF-8"},
      {LITERAL(WASM, 2, 6, 1, 3, 0xed, 0xa0, 0x80, 0), "section import, offset 0xb", "not UTF-8"},
      {LITERAL(WASM, 2, 7, 1, 4, 0xf0, 0x80, 0x80, 0x80, 0), "section import, offset 0xb", "not UTF-8"},
      {LITERAL(WASM, 2, 7, 1, 4, 0xf4, 0x90, 0x80, 0x80, 0), "section import, offset 0xb", "not UTF-8"},
      {LITERAL(WASM, 5, 7, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x10), "section memory, offset 0xb", "more than 32 bits"},
      {LITERAL(WASM, 6, 15, 1, 0x7f, 0, 0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x0b),
       "section global, offset 0xe", "more than 64 bits"},
      {LITERAL(WASM, 6, 6, 1, 0x7b, 0, 0xfd, 13, 0x0b), "section global, offset 0xd", "not constant"},
      {LITERAL(WASM, 6, 6, 1, 0x7f, 0, 0x23, 0, 0x0a), "section global, offset 0xf", "instruction 0x0a"},
      {LITERAL(WASM, 5, 3, 1, 8, 1), "section memory, offset 0xb", "limits 0x08"},
      {LITERAL(WASM, 5, 4, 1, 1, 2, 1), "section memory, offset 0xb", "minimum is above the maximum"},
      {LITERAL(WASM, 5, 5, 1, 0, 0x81, 0x80, 4), "section memory, offset 0xb", "more than 65536 pages"},
      {LITERAL(WASM, 6, 4, 1, 0x7f, 2, 0x0b), "section global, offset 0xc", "mutable (1) or not (0)"},
      {LITERAL(WASM, 6, 4, 1, 0x7f, 0, 0x0b), "section global, offset 0xd", "an empty expression"},
      {LITERAL(WASM, 6, 5, 1, 0x7f, 0, 0x20, 0x0b), "section global, offset 0xd", "instruction 0x20"},
      {LITERAL(WASM, 6, 5, 1, 0x7f, 0, 0x41, 0x80), "section global, offset 0xf", "cut off"},
      {LITERAL(WASM, 7, 5, 1, 1, 'x', 2, 0), "section export, offset 0xb", "does not exist: index 0"},
      {LITERAL(WASM, 8, 1, 0), "section start, offset 0xa", "function 0 does not exist"},
      {LITERAL(WASM, 1, 5, 1, 0x60, 1, 0x7f, 0, 3, 2, 1, 0, 8, 1, 0), "section start, offset 0x15", "takes or returns"},
      {LITERAL(WASM, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0), "section code", "1 functions are declared and 0 bodies"},
      {LITERAL(WASM, 12, 1, 2), "section data count", "2 data segments are announced and 0 given"},
      {LITERAL(WASM, 11, 3, 1, 0, 0x41), "section data, offset 0xb", "memory 0, which does not exist"},
      {LITERAL(WASM, 5, 3, 1, 0, 1, 11, 7, 1, 0, 0x41, 0, 0x0b, 4, 'x'), "section data, offset 0x15",
       "4 bytes are announced"},
      {LITERAL(WASM, 5, 3, 1, 0, 1, 11, 2, 1, 3), "section data, offset 0x10", "unknown form 3"},
      {LITERAL(WASM, 4, 3, 1, 0x40, 1), "section table, offset 0xc", "where 0 is expected"},
      {LITERAL(WASM, 4, 3, 1, 0x7f, 0), "section table, offset 0xb", "not a type of references"},
      {LITERAL(WASM, 13, 3, 1, 0, 0), "section tag, offset 0xb", "tag type 0 does not exist"},
      {LITERAL(WASM, 0, 2, 3, 'a'), "section custom, offset 0xb", "3 bytes are announced, 1 are left"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    pagestore_module *m = NULL;
    assert_refused(pagestore_module_read(cases[i].at, cases[i].size, &m), PAGESTORE_EFORMAT, cases[i].place,
                   cases[i].why);
    assert_null(m);
  }
}

/* Constants of every kind, names of every length of characters. */
static void constants_and_names_are_read(void **state) {
  (void)state;
  bytes b = {0}, body = {0};
  sample_head(&b);
  put_byte(&body, 1);
  sample_import(&body, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", 3);
  PUT(&body, SAMPLE_I32, 0);
  put_section(&b, 2, &body);
  SAMPLE_SECTION(&b, 6, 6, SAMPLE_I32, 0, 0x23, 0, 0x41, 0xff, 0, 0x6a, 0x0b, /* global.get 0, i32.const 127, i32.add */
                 SAMPLE_I64, 0, 0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f, 0x0b, 0x7d, 0, 0x43,
                 0, 0, 0, 0, 0x0b, 0x7b, 0, 0xfd, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                 0x0b, /* v128.const */
                 0x70, 0, 0xd2, 0, 0x0b, 0x6f, 0, 0xd0, 0x6f, 0x0b);
  pagestore_module *m = parsed(b.at, b.count);
  static const uint8_t types[] = {SAMPLE_I32, SAMPLE_I32, SAMPLE_I64, 0x7d, 0x7b, 0x70, 0x6f};
  assert_int_equal(m->globals.count, sizeof types);
  for (size_t i = 0; i < sizeof types; i++) assert_int_equal(m->globals.list[i].type, types[i]);
  assert_true(is_name(m->imports.list[0].name, "\xf4\x8f\xbf\xbf"));
  pagestore_module_free(m);
  bytes_free(&b);
}

static void unfit_modules_are_refused(void **state) {
  (void)state;
  const struct {
    const uint8_t *at;
    size_t size;
    const char *place, *why;
  } cases[] = {
      {LITERAL(WASM), "section memory, offset 0x8", "has no memory"},
      {LITERAL(WASM, 5, 5, 2, 0, 1, 0, 1), "section memory, offset 0xd", "has 2 memories"},
      {LITERAL(WASM, 5, 4, 1, 3, 1, 2), "section memory, offset 0xb", "shared"},
      {LITERAL(WASM, 2, 6, 1, 0, 0, 2, 3, 1, 1), "", ""},
      {LITERAL(WASM, 2, 7, 1, 0, 0, 2, 3, 1, 1), "section import, offset 0xe", "shared"},
      {LITERAL(WASM, 5, 3, 1, 0, 1, 6, 6, 1, 0x70, 1, 0xd0, 0x70, 0x0b), "section global, offset 0x10",
       "global 0 is mutable and holds a reference"},
      {LITERAL(WASM, 5, 3, 1, 0, 1, 7, 14, 1, 10, 'p', 'a', 'g', 'e', 's', 't', 'o', 'r', 'e', '_', 2, 0),
       "section export, offset 0x10", "reserved"},
      {LITERAL(WASM, 2, 15, 1, 9, 'p', 'a', 'g', 'e', 's', 't', 'o', 'r', 'e', 0, 2, 0, 1),
       "section import, offset 0xb", "reserved"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    pagestore_module *m = NULL;
    uint8_t *out;
    size_t size;
    int status = pagestore_module_read(cases[i].at, cases[i].size, &m);
    if (!cases[i].place[0]) {
      assert_int_equal(status, PAGESTORE_EFORMAT);
      continue;
    }
    if (status) fail_msg("%s", pagestore_detail());
    assert_refused(pagestore_module_native(m, NULL, &out, &size), PAGESTORE_EUNSUPPORTED, cases[i].place, cases[i].why);
    assert_refused(pagestore_module_shim(m, NULL, &out, &size), PAGESTORE_EUNSUPPORTED, cases[i].place, cases[i].why);
    pagestore_module_free(m);
  }
}

static void wrong_arguments_are_refused(void **state) {
  (void)state;
  pagestore_module *m = made(sample_small, 32), *none = NULL;
  uint8_t *out;
  size_t size;
  assert_int_equal(pagestore_module_read(NULL, 0, &none), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_read(m->bytes, m->size, NULL), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_native(m, NULL, &out, NULL), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_shim(NULL, NULL, &out, &size), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_shim(m, NULL, NULL, &size), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_read(m->bytes, (size_t)UINT32_MAX + 1, &none), PAGESTORE_EFORMAT);
  assert_int_equal(pagestore_module_native(NULL, NULL, &out, &size), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_native(m, NULL, NULL, &size), PAGESTORE_EINVAL);
  assert_int_equal(pagestore_module_shim(m, NULL, &out, NULL), PAGESTORE_EINVAL);
  const pagestore_native_options wrong[] = {
      {.size = 1},
      {.size = sizeof *wrong, .stable_bits = 16},
      {.size = sizeof *wrong, .stable_bits = 32, .stable_max_pages = 65537},
      {.size = sizeof *wrong, .stable_max_pages = 8192001},
      {.size = sizeof *wrong, .memories = (pagestore_native_memories)3},
      {.size = sizeof *wrong, .copy = (pagestore_native_copy)2},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_int_equal(pagestore_module_native(m, &wrong[i], &out, &size), PAGESTORE_EINVAL);
    assert_int_equal(pagestore_module_shim(m, &wrong[i], &out, &size), PAGESTORE_EINVAL);
  }
  pagestore_module_free(m);
}

/* A native module is not taken again. */
static void once_is_enough(void **state) {
  (void)state;
  pagestore_module *m = made(sample_full, 32), *n = native(m, (pagestore_native_options){0});
  uint8_t *out;
  size_t size;
  assert_refused(pagestore_module_native(n, NULL, &out, &size), PAGESTORE_EUNSUPPORTED, "section export",
                 "'pagestore_install'");
  pagestore_module_free(n);
  pagestore_module_free(m);
}

/* ---- damage, memory -------------------------------------------------------------------------- */

/* Whatever is read can be looked at and rewritten, or is refused with a place. */
static void try_all(const uint8_t *at, size_t size) {
  pagestore_module *m;
  uint8_t *out;
  size_t out_size;
  uint8_t *exact = __real_malloc(size ? size : 1);
  memcpy(exact, at, size);
  int status = pagestore_module_read(exact, size, &m);
  free(exact);
  if (status) {
    assert_refused(status, PAGESTORE_EFORMAT, "section ", "offset 0x");
    return;
  }
  if (pagestore_module_native(m, NULL, &out, &out_size) == 0) free(out);
  if (pagestore_module_shim(m, NULL, &out, &out_size) == 0) free(out);
  pagestore_module_free(m);
}

static void cut_and_flipped_modules_do_no_harm(void **state) {
  (void)state;
  void (*const samples[])(bytes *, unsigned) = {sample_full, sample_importing};
  for (size_t i = 0; i < 2; i++) {
    bytes b = {0};
    samples[i](&b, 64);
    for (size_t size = 0; size < b.count; size++) try_all(b.at, size);
    for (size_t bit = 0; bit < b.count * 8; bit++) {
      b.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
      try_all(b.at, b.count);
      b.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    bytes_free(&b);
  }
}

/* 0, or ENOMEM of one of the three. */
static int read_and_rewrite(const uint8_t *at, size_t size) {
  pagestore_module *m;
  uint8_t *out;
  size_t out_size;
  int status = pagestore_module_read(at, size, &m);
  if (status) return status;
  if ((status = pagestore_module_native(m, NULL, &out, &out_size)) == 0) {
    free(out);
    if ((status = pagestore_module_shim(m, NULL, &out, &out_size)) == 0) free(out);
  }
  pagestore_module_free(m);
  return status;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  bytes b = {0};
  sample_full(&b, 32);
  unsigned refused = 0;
  int status = PAGESTORE_ENOMEM;
  for (uint64_t at = 1; status; at++) {
    allocations = 0;
    fail_at = at;
    status = read_and_rewrite(b.at, b.count);
    fail_at = 0;
    if (!status) break;
    assert_int_equal(status, PAGESTORE_ENOMEM);
    assert_non_null(strstr(pagestore_detail(), "no memory"));
    refused++;
  }
  assert_true(refused > 20);
  bytes_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_module_is_described),
      cmocka_unit_test(the_memory_becomes_the_hosts),
      cmocka_unit_test(instructions_and_the_rest_stay),
      cmocka_unit_test(installing_is_a_function),
      cmocka_unit_test(mutable_globals_are_exported),
      cmocka_unit_test(an_imported_memory_is_renamed),
      cmocka_unit_test(missing_sections_are_made),
      cmocka_unit_test(the_module_may_define_them),
      cmocka_unit_test(shims_are_modules),
      cmocka_unit_test(malformed_modules_are_refused),
      cmocka_unit_test(constants_and_names_are_read),
      cmocka_unit_test(unfit_modules_are_refused),
      cmocka_unit_test(wrong_arguments_are_refused),
      cmocka_unit_test(once_is_enough),
      cmocka_unit_test(cut_and_flipped_modules_do_no_harm),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
