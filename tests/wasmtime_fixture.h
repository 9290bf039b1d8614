/* wasmtime_fixture.h - a host of one Wasmtime guest per instance, for tests/test_wasmtime*.c; it holds the adapter's
 * implementation, so one file of a program includes it.
 *
 * The engine is made in main(), before cmocka; opening a host puts back the fault handlers that were in front then,
 * since cmocka installs its own before each test.
 *
 * Thread: a host belongs to one thread.
 */
#ifndef PAGESTORE_TESTS_WASMTIME_FIXTURE_H
#define PAGESTORE_TESTS_WASMTIME_FIXTURE_H

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "support/scratch.h"

#define PAGESTORE_WASMTIME_IMPLEMENTATION
#include <pagestore/wasmtime.h>

typedef struct {
  pagestore_instance *instance;
  pagestore_memory *heap, *stable;
  pagestore_wasmtime guest;
  wasmtime_linker_t *linker;
  wasmtime_instance_t module;
} host;

static pagestore_wasmtime_engine engine;
static pagestore_store *store;
static char *folder;
static pagestore_tracker tracker;
static uint32_t heap_flags; /* PAGESTORE_EXPLICIT in that group */

enum { FRONTS = 4 };
static const int front_signals[FRONTS] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
static struct sigaction fronts[FRONTS];

static void fronts_back(void) {
  for (int i = 0; i < FRONTS; i++) sigaction(front_signals[i], &fronts[i], NULL);
}

/* Heap: memory 0, stable: memory 1, 64-bit. mark is for EXPLICIT memories, and does nothing for others. */
#define MODULE_START                                                                                                   \
  "(module (import \"host\" \"mark\" (func $mark (param i64 i64)))"                                                    \
  "(memory $heap (export \"heap\") 2 64) (memory $stable (export \"stable\") i64 0 8192000)"                           \
  "(global $counter (export \"counter\") (mut i32) (i32.const 5))"                                                     \
  "(global $ratio (export \"ratio\") (mut f64) (f64.const 0.5))"                                                       \
  "(global (export \"fixed\") i32 (i32.const 9))"

static const char main_wat[] = MODULE_START
    "(data (i32.const 200) \"segment\")"
    "(table 2 funcref) (elem (i32.const 0) $size)"
    "(func (export \"poke\") (param i32 i32) (call $mark (i64.extend_i32_u (local.get 0)) (i64.const 4))"
    "  (i32.store (local.get 0) (local.get 1)))"
    "(func (export \"peek\") (param i32) (result i32) (i32.load (local.get 0)))"
    "(func $size (export \"size\") (result i32) (memory.size $heap))"
    "(func (export \"grow\") (param i32) (result i32) (memory.grow $heap (local.get 0)))"
    "(func (export \"fill\") (param i32 i32) (call $mark (i64.extend_i32_u (local.get 0)) (i64.extend_i32_u (local.get "
    "1)))"
    "  (memory.fill $heap (local.get 0) (i32.const 7) (local.get 1)))"
    "(func (export \"copy\") (param i32 i32 i32)"
    "  (call $mark (i64.extend_i32_u (local.get 0)) (i64.extend_i32_u (local.get 2)))"
    "  (memory.copy $heap $heap (local.get 0) (local.get 1) (local.get 2)))"
    "(func (export \"stable_poke\") (param i64 i64) (i64.store $stable (local.get 0) (local.get 1)))"
    "(func (export \"stable_peek\") (param i64) (result i64) (i64.load $stable (local.get 0)))"
    "(func (export \"stable_size\") (result i64) (memory.size $stable))"
    "(func (export \"stable_grow\") (param i64) (result i64) (memory.grow $stable (local.get 0)))"
    "(func (export \"stable_fill\") (param i64 i64) (memory.fill $stable (local.get 0) (i32.const 7) (local.get 1)))"
    "(func (export \"count\") (result i32)"
    "  (global.set $counter (i32.add (global.get $counter) (i32.const 1)))"
    "  (global.set $ratio (f64.mul (global.get $ratio) (f64.const 2))) (global.get $counter))"
    "(func (export \"counter_now\") (result i32) (global.get $counter))"
    "(func (export \"indirect\") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))"
    "(func (export \"stop\") (param i32 i32) (call $mark (i64.extend_i32_u (local.get 0)) (i64.const 4))"
    "  (i32.store (local.get 0) (local.get 1))"
    "  (global.set $counter (i32.const 1000)) (drop (memory.grow $heap (i32.const 3))) unreachable)"
    "(func (export \"pre_upgrade\") (drop (memory.grow $stable (i64.const 1)))"
    "  (i64.store $stable (i64.const 8) (i64.extend_i32_u (global.get $counter)))))";

static const char next_wat[] = MODULE_START
    "(data (i32.const 200) \"younger\")"
    "(func (export \"peek\") (param i32) (result i32) (i32.load (local.get 0)))"
    "(func (export \"size\") (result i32) (memory.size $heap))"
    "(func (export \"counter_now\") (result i32) (global.get $counter))"
    "(func (export \"post_upgrade\") (param i32) (global.set $counter (i32.wrap_i64 (i64.load $stable (i64.const 8))))"
    "  (i64.store $stable (i64.const 16) (i64.const 77)) (if (local.get 0) (then unreachable))))";

static pagestore_wasmtime_module main_module, next_module;

static int module_of(const char *wat, unsigned flags, pagestore_wasmtime_module *out) {
  wasm_byte_vec_t wasm;
  wasmtime_error_t *error = wasmtime_wat2wasm(wat, strlen(wat), &wasm);
  if (error) {
    pagestore_wasmtime_take_error(error, out->detail, sizeof out->detail);
    return 1;
  }
  int status = pagestore_wasmtime_module_new(&engine, (const uint8_t *)wasm.data, wasm.size, flags, out);
  wasm_byte_vec_delete(&wasm);
  return status;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

#define ok(h, call)                                                                                                    \
  do {                                                                                                                 \
    int status_ = (call);                                                                                              \
    if (status_) fail_msg("%s: %d %s", #call, status_, (h)->guest.detail);                                             \
  } while (0)

/* Up to three arguments, as wide as the export's parameters. */
static int outcome_of(host *h, int64_t *result, const char *name, int64_t a, int64_t b, int64_t c) {
  int64_t given[] = {a, b, c};
  wasmtime_func_t function;
  wasmtime_val_t arguments[3], out = {0};
  ok(h, pagestore_wasmtime_function(&h->guest, &h->module, name, &function));
  wasm_functype_t *type = wasmtime_func_type(h->guest.context, &function);
  const wasm_valtype_vec_t *params = wasm_functype_params(type);
  size_t count = params->size, results = wasm_functype_results(type)->size;
  for (size_t i = 0; i < count; i++) {
    bool wide = wasm_valtype_kind(params->data[i]) == WASM_I64;
    arguments[i].kind = wide ? WASMTIME_I64 : WASMTIME_I32;
    if (wide) arguments[i].of.i64 = given[i];
    else arguments[i].of.i32 = (int32_t)given[i];
  }
  wasm_functype_delete(type);
  int code = pagestore_wasmtime_call(&h->guest, &function, arguments, count, &out, results);
  if (results && result) *result = out.kind == WASMTIME_I64 ? out.of.i64 : (int64_t)out.of.i32;
  return code;
}

#define CODE(h, ...)                 CODE_((h), __VA_ARGS__, 0, 0, 0)
#define CODE_(h, name, a, b, c, ...) outcome_of(h, NULL, name, (int64_t)(a), (int64_t)(b), (int64_t)(c))
#define CALL(h, ...)                 CALL_((h), __VA_ARGS__, 0, 0, 0)
#define CALL_(h, name, a, b, c, ...) result_of(h, name, (int64_t)(a), (int64_t)(b), (int64_t)(c))

static int64_t result_of(host *h, const char *name, int64_t a, int64_t b, int64_t c) {
  int64_t result = 0;
  int code = outcome_of(h, &result, name, a, b, c);
  if (code) fail_msg("%s: %d %s", name, code, h->guest.detail);
  return result;
}

static wasm_trap_t *mark(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *arguments, size_t count,
                         wasmtime_val_t *results, size_t result_count) {
  host *h = env;
  (void)caller, (void)count, (void)results, (void)result_count;
  if (heap_flags & PAGESTORE_EXPLICIT)
    pagestore_memory_mark(h->heap, (uint64_t)arguments[0].of.i64, (uint64_t)arguments[1].of.i64);
  return NULL;
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

static void listed(host *h, uint64_t heap_pages) {
  pagestore_memory_options heap = {.size = sizeof heap, .pages = heap_pages, .max_pages = 64, .flags = heap_flags};
  pagestore_memory_options stable = {.size = sizeof stable,
                                     .max_pages = 8192000,
                                     .flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP};
  ok(h, pagestore_wasmtime_memory(&h->guest, "heap", &heap, "heap", &h->heap));
  ok(h, pagestore_wasmtime_memory(&h->guest, "stable", &stable, "stable", &h->stable));
}

static void linked(host *h) {
  wasm_functype_t *type = wasm_functype_new_2_0(wasm_valtype_new_i64(), wasm_valtype_new_i64());
  h->linker = wasmtime_linker_new(engine.engine);
  wasmtime_error_t *error = wasmtime_linker_define_func(h->linker, "host", 4, "mark", 4, type, mark, h, NULL);
  assert_null(error);
  wasm_functype_delete(type);
}

static void running(host *h, const pagestore_wasmtime_module *module) {
  ok(h, pagestore_wasmtime_start(&h->guest, &engine, h->instance));
  listed(h, 0);
  ok(h, pagestore_wasmtime_instantiate(&h->guest, module, h->linker, &h->module));
}

static void host_open(host *h, const char *name, uint32_t flags) {
  pagestore_instance_options options = {.size = sizeof options, .flags = flags};
  memset(h, 0, sizeof *h);
  fronts_back();
  assert_ok(pagestore_instance_open(store, name, &options, &h->instance));
  linked(h);
}

static __attribute__((unused)) void host_run(host *h, const char *name, uint32_t flags) {
  host_open(h, name, flags);
  running(h, &main_module);
  if (!h->guest.stored) ok(h, pagestore_wasmtime_commit(&h->guest, 0, NULL));
}

static void host_close(host *h) {
  pagestore_wasmtime_stop(&h->guest);
  wasmtime_linker_delete(h->linker);
  pagestore_instance_close(h->instance);
}

/* ---- stores ------------------------------------------------------------------------------------------------------ */

static void store_path(char *path, size_t room) { snprintf(path, room, "%s/store", folder); }

static void store_open(void) {
  char path[4096];
  store_path(path, sizeof path);
  assert_ok(
      pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .tracker = tracker), &store));
}

static int set_up(void **state) {
  (void)state;
  pagestore_wasmtime_started = NULL; /* of a test that failed */
  folder = scratch_make();
  store_open();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  int status = pagestore_close(store);
  if (status == PAGESTORE_EBUSY) return 0; /* the test has failed with an instance open */
  scratch_remove(folder);
  return status;
}

static int engine_ready(void) {
  if (pagestore_wasmtime_engine_new(&engine, NULL)) return fprintf(stderr, "%s\n", engine.detail), 1;
  for (int i = 0; i < FRONTS; i++) sigaction(front_signals[i], NULL, &fronts[i]);
  if (module_of(main_wat, 0, &main_module)) return fprintf(stderr, "%s\n", main_module.detail), 1;
  if (module_of(next_wat, 0, &next_module)) return fprintf(stderr, "%s\n", next_module.detail), 1;
  return 0;
}

static int engine_done(void) {
  pagestore_wasmtime_module_delete(&main_module);
  pagestore_wasmtime_module_delete(&next_module);
  pagestore_wasmtime_engine_delete(&engine);
  return 0;
}

#endif
