/* test_wasmtime_odd.c - modules of odd but valid shapes: as they are on a plain engine, and made native on memories of a store with the
 * shim beside them, give the same results and the same bytes; so does the next run after the store was closed in between.
 *
 * Each module exports "memory" and "run", which returns an i64. The start function runs once, at installation.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <pagestore/module.h>

#include "wasmtime_fixture.h"

#define STABLE_IMPORTS                                                                                                 \
  "(import \"ic0\" \"stable64_grow\" (func $grow (param i64) (result i64)))"                                           \
  "(import \"ic0\" \"stable64_write\" (func $write (param i64 i64 i64)))"                                              \
  "(import \"ic0\" \"stable64_read\" (func $read (param i64 i64 i64)))"

static const struct {
  const char *name, *wat;
} odd[] = {
    {"nothing but a memory and a constant",
     "(module (memory (export \"memory\") 0) (func (export \"run\") (result i64) (i64.const 7)))"},
    {"memory imported, with a maximum; all named again",
     "(module (import \"env\" \"memory\" (memory 2 2)) (export \"memory\" (memory 0)) (export \"again\" (memory 0))"
     "(export \"\" (memory 0)) (func (export \"run\") (result i64) (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8))"
     " (i64.const 3))) (i64.load (i32.const 8))))"},
    {"64-bit memory", "(module (memory (export \"memory\") i64 1 5) (data (i64.const 65530) \"abcdef\")"
                      "(func (export \"run\") (result i64) (i64.store (i64.const 65528) (i64.add (i64.load (i64.const "
                      "65528)) (i64.const 1))) (drop (memory.grow (i64.const 1))) (memory.size)))"},
    {"segments over each other, empty ones, offsets by extended constants",
     "(module (memory (export \"memory\") 1) (data (i32.const 10) \"first\") (data (i32.const 12) \"SECOND\")"
     "(data (i32.const 65536) \"\") (data (i32.add (i32.const 4) (i32.mul (i32.const 3) (i32.const 5))) \"third\")"
     "(func (export \"run\") (result i64) (i64.load (i32.const 10))))"},
    {"segments at an imported global, passive ones, init and drop",
     "(module (import \"env\" \"base\" (global $b i32)) (memory (export \"memory\") 1) (data (global.get $b) \"at the "
     "base\") (data $p \"passive\") (func (export \"run\") (result i64) (memory.init $p (i32.const 100) (i32.const 1) "
     "(i32.const 3)) (data.drop 0) (i64.load (i32.const 97))))"},
    {"a start function that is imported",
     "(module (import \"env\" \"tick\" (func $t)) (memory (export \"memory\") 1) (start $t) (func (export \"run\") "
     "(result i64) (i64.const 1)))"},
    {"a start function behind the segments, which it changes",
     "(module (memory (export \"memory\") 1) (global $g (mut i64) (i64.const 5)) (data (i32.const 0) \"12345678\")"
     "(func $s (i64.store (i32.const 0) (i64.mul (i64.load (i32.const 0)) (global.get $g))) (global.set $g (i64.const "
     "11))) (start $s) (func (export \"run\") (result i64) (global.set $g (i64.add (global.get $g) (i64.const 1)))"
     " (i64.add (i64.load (i32.const 0)) (global.get $g))))"},
    {"mutable globals of every number type",
     "(module (memory (export \"memory\") 1) (global $a (export \"a\") (export \"b\") (mut i32) (i32.const -1))"
     "(global $f (mut f32) (f32.const nan)) (global $d (mut f64) (f64.const -0)) (global $v (mut v128) (v128.const i64x2 "
     "1 2)) (global $i (mut i64) (i64.const 0x7fffffffffffffff))"
     "(func (export \"run\") (result i64) (global.set $v (i64x2.add (global.get $v) (global.get $v)))"
     "(global.set $d (f64.sub (global.get $d) (f64.const 0.5))) (global.set $f (f32.neg (global.get $f)))"
     "(global.set $a (i32.sub (global.get $a) (i32.const 3)))"
     "(i64.add (i64x2.extract_lane 1 (global.get $v)) (i64.add (i64.reinterpret_f64 (global.get $d))"
     " (i64.add (i64.extend_i32_s (global.get $a)) (i64.extend_i32_u (i32.reinterpret_f32 (global.get $f))))))))"},
    {"element segments of every form, two tables",
     "(module (type $r (func (result i64))) (memory (export \"memory\") 1) (table $t 4 funcref) (table $u 2 9 funcref)"
     "(elem (i32.const 0) $one) (elem $passive func $two) (elem declare func $three) (elem (table $u) (i32.const 1) func "
     "$two) (elem (i32.const 1) funcref (ref.func $two) (ref.null func))"
     "(func $one (result i64) (i64.const 1)) (func $two (result i64) (i64.const 20)) (func $three (result i64) (i64.const "
     "300)) (func (export \"run\") (result i64) (i64.add (call_indirect $t (type $r) (i32.const 0)) (i64.add "
     "(call_indirect $t (type $r) (i32.const 1)) (call_indirect $u (type $r) (i32.const 1))))))"},
    {"tail calls, several values, names that are no words",
     "(module (memory (export \"memory\") 1) (export \"\\00\\22 x\" (func $pair)) (export \"caf\\c3\\a9 \\n\" (func $pair))"
     "(func $pair (result i64 i64) (i64.const 4) (i64.const 5)) (func $tail (param i64) (result i64) (if (result i64) "
     "(i64.eqz (local.get 0)) (then (i64.const 9)) (else (return_call $tail (i64.sub (local.get 0) (i64.const 1))))))"
     "(func (export \"run\") (result i64) (call $pair) i64.mul (call $tail (i64.const 1000)) i64.add))"},
    {"vectors, saturating conversions, sign extension, bulk operations",
     "(module (memory (export \"memory\") 1) (data (i32.const 32) \"0123456789abcdef\") (func (export \"run\") (result i64)"
     " (v128.store (i32.const 64) (i8x16.swizzle (v128.load (i32.const 32)) (v128.const i8x16 15 14 13 12 11 10 9 8 7 6 5 "
     "4 3 2 1 0))) (memory.fill (i32.const 80) (i32.const 7) (i32.const 9)) (memory.copy (i32.const 90) (i32.const 60) "
     "(i32.const 30)) (i64.add (i64.load (i32.const 91)) (i64.add (i64.extend8_s (i64.load (i32.const 70)))"
     " (i64.trunc_sat_f64_s (f64.const 1e30))))))"},
    {"custom sections everywhere",
     "(module (@custom \"first\" (before first) \"x\") (type (func (result i64))) (@custom \"middle\" (after type) \"yy\")"
     "(memory (export \"memory\") 1) (@custom \"before code\" (before code) \"zzz\") (func (export \"run\") (type 0) "
     "(i64.const 12)) (data (i32.const 3) \"q\") (@custom \"last\" (after last) \"\"))"},
    {"the calls: short and long, from an exported and an inner function, in a table",
     "(module (type $w (func (param i64 i64 i64)))" STABLE_IMPORTS
     "(memory (export \"memory\") 2) (table 1 funcref) (elem (i32.const 0) $write) (export \"also\" (func $write))"
     "(data (i32.const 1000) \"what goes to stable memory, and back again, with some bytes more\")"
     "(func (export \"run\") (result i64) (drop (call $grow (i64.const 1))) (call $write (i64.const 13) (i64.const 1000) "
     "(i64.const 61)) (call_indirect (type $w) (i64.const 100) (i64.const 1003) (i64.const 16) (i32.const 0))"
     "(call $write (i64.const 200) (i64.const 1000) (i64.const 3)) (call $write (i64.const 300) (i64.const 0) (i64.const "
     "5000)) (call $read (i64.const 40000) (i64.const 10) (i64.const 1000)) (call $read (i64.const 5) (i64.const 101) "
     "(i64.const 8)) (i64.load (i32.const 5))))"},
    {"the 32-bit calls",
     "(module (import \"ic0\" \"stable_size\" (func $size (result i32))) (import \"ic0\" \"stable_grow\" (func $grow (param "
     "i32) (result i32))) (import \"ic0\" \"stable_write\" (func $write (param i32 i32 i32))) (memory (export \"memory\") 1)"
     "(func (export \"run\") (result i64) (drop (call $grow (i32.const 2))) (i32.store (i32.const 0) (i32.add (i32.load "
     "(i32.const 0)) (i32.const 77))) (call $write (i32.const 70000) (i32.const 0) (i32.const 4))"
     "(i64.extend_i32_u (call $size))))"},
};
enum { ODD = sizeof odd / sizeof *odd, RUNS = 3 };

/* ---- what they import ---------------------------------------------------------------------------------------------------- */

static unsigned ticks;
static wasm_trap_t *tick(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *given, size_t count,
                         wasmtime_val_t *results, size_t result_count) {
  (void)env, (void)caller, (void)given, (void)count, (void)results, (void)result_count;
  ticks++;
  return NULL;
}

static void define_env(wasmtime_linker_t *linker, wasmtime_context_t *context) {
  wasm_functype_t *type = wasm_functype_new_0_0();
  wasm_globaltype_t *global_type = wasm_globaltype_new(wasm_valtype_new_i32(), WASM_CONST);
  wasmtime_val_t base = {.kind = WASMTIME_I32, .of.i32 = 300};
  wasmtime_extern_t item = {.kind = WASMTIME_EXTERN_GLOBAL};
  assert_null(wasmtime_linker_define_func(linker, "env", 3, "tick", 4, type, tick, NULL, NULL));
  assert_null(wasmtime_global_new(context, global_type, &base, &item.of.global));
  assert_null(wasmtime_linker_define(linker, context, "env", 3, "base", 4, &item));
  wasm_functype_delete(type);
  wasm_globaltype_delete(global_type);
}

/* ---- as they are --------------------------------------------------------------------------------------------------------- */

typedef struct {
  int64_t results[RUNS];
  unsigned ticks;
  uint8_t *heap, *stable;
  uint64_t heap_bytes, stable_pages;
} outcome;

enum { STABLE_PAGES_MAX = 64 };
static uint8_t plain_stable[STABLE_PAGES_MAX * PAGE];
static uint64_t plain_pages;

static int64_t plain_grow(int64_t pages) {
  int64_t before = (int64_t)plain_pages;
  if (pages < 0 || plain_pages + (uint64_t)pages > STABLE_PAGES_MAX) return -1;
  plain_pages += (uint64_t)pages;
  return before;
}

/* env: the call's name. All in bounds here. */
static wasm_trap_t *plain_call(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *given, size_t count,
                               wasmtime_val_t *results, size_t result_count) {
  const char *name = env;
  uint64_t v[3] = {0};
  wasmtime_extern_t memory;
  for (size_t i = 0; i < count; i++)
    v[i] = given[i].kind == WASMTIME_I64 ? (uint64_t)given[i].of.i64 : (uint32_t)given[i].of.i32;
  assert_true(wasmtime_caller_export_get(caller, "memory", 6, &memory));
  uint8_t *heap = wasmtime_memory_data(wasmtime_caller_context(caller), &memory.of.memory);
  int64_t result = strstr(name, "grow") ? plain_grow((int64_t)v[0]) : (int64_t)plain_pages;
  if (strstr(name, "write")) memcpy(plain_stable + v[0], heap + v[1], v[2]);
  if (strstr(name, "read")) memcpy(heap + v[0], plain_stable + v[1], v[2]);
  if (!result_count) return NULL;
  results[0].kind = strstr(name, "64") ? WASMTIME_I64 : WASMTIME_I32;
  if (results[0].kind == WASMTIME_I64) results[0].of.i64 = result;
  else results[0].of.i32 = (int32_t)result;
  return NULL;
}

static void define_calls(wasmtime_linker_t *linker, const wasmtime_module_t *module) {
  static char names[8][20];
  size_t used = 0;
  wasm_importtype_vec_t imports;
  wasmtime_module_imports(module, &imports);
  for (size_t i = 0; i < imports.size; i++) {
    const wasm_name_t *name = wasm_importtype_name(imports.data[i]);
    if (wasm_importtype_module(imports.data[i])->size != 3 || memcmp(name->data, "stable", 6) != 0) continue;
    char *kept = names[used++];
    snprintf(kept, sizeof names[0], "%.*s", (int)name->size, name->data);
    const wasm_functype_t *type = wasm_externtype_as_functype_const(wasm_importtype_type(imports.data[i]));
    assert_null(wasmtime_linker_define_func(linker, "ic0", 3, kept, name->size, type, plain_call, kept, NULL));
  }
  wasm_importtype_vec_delete(&imports);
}

static void *copied(const void *bytes, uint64_t count) {
  void *copy = malloc(count + 1);
  assert_non_null(copy);
  return memcpy(copy, bytes, count);
}

static void run_plain(const wasm_byte_vec_t *wasm, outcome *out) {
  wasm_config_t *config = wasm_config_new();
  wasmtime_instance_t instance;
  wasmtime_module_t *module;
  wasmtime_extern_t run, memory;
  wasm_trap_t *trap = NULL;
  wasmtime_config_wasm_memory64_set(config, true);
  wasm_engine_t *plain = wasm_engine_new_with_config(config);
  wasmtime_store_t *plain_store = wasmtime_store_new(plain, NULL, NULL);
  wasmtime_context_t *context = wasmtime_store_context(plain_store);
  wasmtime_linker_t *linker = wasmtime_linker_new(plain);
  assert_null(wasmtime_module_new(plain, (const uint8_t *)wasm->data, wasm->size, &module));
  plain_pages = 0;
  memset(plain_stable, 0, sizeof plain_stable);
  define_env(linker, context);
  define_calls(linker, module);
  assert_null(wasmtime_linker_define_unknown_imports_as_default_values(linker, context, module));
  assert_null(wasmtime_linker_instantiate(linker, context, module, &instance, &trap));
  assert_null(trap);
  assert_true(wasmtime_instance_export_get(context, &instance, "run", 3, &run) &&
              wasmtime_instance_export_get(context, &instance, "memory", 6, &memory));
  for (int i = 0; i < RUNS; i++) {
    wasmtime_val_t result;
    assert_null(wasmtime_func_call(context, &run.of.func, NULL, 0, &result, 1, &trap));
    assert_null(trap);
    out->results[i] = result.of.i64;
  }
  out->heap_bytes = wasmtime_memory_data_size(context, &memory.of.memory);
  out->heap = copied(wasmtime_memory_data(context, &memory.of.memory), out->heap_bytes);
  out->stable_pages = plain_pages;
  out->stable = copied(plain_stable, plain_pages * PAGE);
  wasmtime_linker_delete(linker);
  wasmtime_store_delete(plain_store);
  wasmtime_module_delete(module);
  wasm_engine_delete(plain);
}

/* ---- made native --------------------------------------------------------------------------------------------------------- */

static void link_shim(host *h, const wasmtime_instance_t *shim) {
  char *name;
  size_t length;
  wasmtime_extern_t item;
  for (size_t i = 0; wasmtime_instance_export_nth(h->guest.context, shim, i, &name, &length, &item); i++) {
    const char *module = item.kind == WASMTIME_EXTERN_MEMORY ? "pagestore" : "ic0";
    assert_null(wasmtime_linker_define(h->linker, h->guest.context, module, strlen(module), name, length, &item));
    wasmtime_extern_delete(&item);
  }
}

static void make(const pagestore_module *m, bool shim, pagestore_native_copy how, pagestore_wasmtime_module *out) {
  pagestore_native_options o = {.size = sizeof o, .memories = PAGESTORE_NATIVE_SHIM, .copy = how};
  uint8_t *wasm;
  size_t size;
  int status = shim ? pagestore_module_shim(m, &o, &wasm, &size) : pagestore_module_native(m, &o, &wasm, &size);
  if (status) fail_msg("%s", pagestore_detail());
  if (pagestore_wasmtime_module_new(&engine, wasm, size, 0, out)) fail_msg("%s", out->detail);
  free(wasm);
}

static void open_native(host *h, const char *name, const pagestore_wasmtime_module *shim,
                        const pagestore_wasmtime_module *module, const pagestore_wasm_limits *limits) {
  pagestore_memory_options heap = {.size = sizeof heap,
                                   .max_pages = limits->has_max ? limits->max : 64,
                                   .flags = limits->is64 ? (uint32_t)PAGESTORE_MEMORY64 : 0};
  pagestore_memory_options stable = {.size = sizeof stable, .max_pages = 1000, .flags = PAGESTORE_MEMORY64};
  wasmtime_instance_t shim_instance;
  host_open(h, name, PAGESTORE_CREATE);
  ok(h, pagestore_wasmtime_start(&h->guest, &engine, h->instance));
  ok(h, pagestore_wasmtime_memory(&h->guest, "heap", &heap, "heap", &h->heap));
  ok(h, pagestore_wasmtime_memory(&h->guest, "stable", &stable, "stable", &h->stable));
  ok(h, pagestore_wasmtime_instantiate(&h->guest, shim, NULL, &shim_instance));
  define_env(h->linker, h->guest.context);
  link_shim(h, &shim_instance);
  ok(h, pagestore_wasmtime_instantiate(&h->guest, module, h->linker, &h->module));
}

/* Each run is a message; the store is closed and opened after each, and a run that is undone stands in front. */
static void run_native(const wasm_byte_vec_t *wasm, const char *name, pagestore_native_copy how, const outcome *plain) {
  pagestore_module *m;
  pagestore_wasmtime_module module, shim;
  if (pagestore_module_read(wasm->data, wasm->size, &m)) fail_msg("%s", pagestore_detail());
  make(m, true, how, &shim);
  make(m, false, how, &module);
  ticks = 0;
  for (int i = 0; i < RUNS; i++) {
    host h;
    open_native(&h, name, &shim, &module, &m->memories.list[0].limits);
    if (i == 0) ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
    CALL(&h, "run");
    ok(&h, pagestore_wasmtime_rollback(&h.guest));
    assert_int_equal(CALL(&h, "run"), plain->results[i]);
    if (i == RUNS - 1) {
      assert_int_equal(pagestore_memory_pages(h.heap) * PAGE, plain->heap_bytes);
      assert_memory_equal(pagestore_memory_base(h.heap), plain->heap, plain->heap_bytes);
      assert_int_equal(pagestore_memory_pages(h.stable), plain->stable_pages);
      assert_memory_equal(pagestore_memory_base(h.stable), plain->stable, plain->stable_pages * PAGE);
    }
    ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
    host_close(&h);
  }
  assert_int_equal(ticks, plain->ticks);
  pagestore_wasmtime_module_delete(&module);
  pagestore_wasmtime_module_delete(&shim);
  pagestore_module_free(m);
}

static void odd_modules_live_on(void **state) {
  (void)state;
  for (size_t i = 0; i < ODD; i++) {
    char text[500], name[40];
    outcome plain = {.ticks = 0};
    wasm_byte_vec_t wasm;
    print_message("%s\n", odd[i].name);
    wasmtime_error_t *error = wasmtime_wat2wasm(odd[i].wat, strlen(odd[i].wat), &wasm);
    if (error) {
      pagestore_wasmtime_take_error(error, text, sizeof text);
      fail_msg("%s", text);
    }
    ticks = 0;
    run_plain(&wasm, &plain);
    plain.ticks = ticks;
    for (int how = PAGESTORE_NATIVE_LOOP; how <= PAGESTORE_NATIVE_BULK; how++) {
      snprintf(name, sizeof name, "odd %zu, %d", i, how);
      run_native(&wasm, name, (pagestore_native_copy)how, &plain);
    }
    free(plain.heap);
    free(plain.stable);
    wasm_byte_vec_delete(&wasm);
  }
}

/* What lives in the engine's own collected heap: refused with a reason, before the engine could panic. */
static void what_needs_a_collector_is_refused(void **state) {
  static const char *const wats[] = {
      ("(module (tag $e (param i64)) (memory (export \"memory\") 1) (func (block $b (result i64) (try_table (catch $e $b) "
       "(throw $e (i64.const 3))) (i64.const 1)) drop))"),
      "(module (tag $e) (memory (export \"memory\") 1) (func (throw $e)))",
      "(module (type $s (struct (field (mut i32)))) (memory (export \"memory\") 1) (func (drop (struct.new_default $s))))",
      "(module (type $a (array i8)) (memory (export \"memory\") 1) (func (param (ref null $a))))",
      "(module (memory (export \"memory\") 1) (func (param externref)))",
      "(module (memory (export \"memory\") 1) (func (result i31ref) (ref.i31 (i32.const 1))))",
      "(module (memory (export \"memory\") 1) (table 1 externref))",
  };
  (void)state;
  for (size_t i = 0; i < sizeof wats / sizeof *wats; i++) {
    pagestore_wasmtime_module module;
    int status = module_of(wats[i], 0, &module);
    print_message("%zu: %d %.100s\n", i, status, module.detail);
    assert_int_equal(status, PAGESTORE_EINVAL);
    assert_true(module.detail[0] && !module.module);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(odd_modules_live_on, set_up, tear_down),
      cmocka_unit_test(what_needs_a_collector_is_refused),
  };
  int failed = engine_ready() || cmocka_run_group_tests(tests, NULL, NULL);
  return engine_done() || failed;
}
