/* engine_wasmtime.c - the canister run by Wasmtime: two engines, one plain for `heap`, one of pagestore/wasmtime.h.
 *
 * The memories are defined by a module of their own, which the canister imports them from: for hostcall, tuned and
 * direct one without code; for native the shim, whose code serves the calls: canister and shim are what `pagestore wasm
 * native` writes. The host's functions are unchecked ones, the cheapest that the C API has.
 * Owner: a guest owns its instance handle; modules are compiled once. Thread: one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGESTORE_WASMTIME_IMPLEMENTATION
#include <pagestore/module.h>
#include <pagestore/wasmtime.h>

#include "hostcall.h"

/* A file as bytes of this program. */
#define EMBED(name, path)                                                                                              \
  __asm__(".section .rodata\n" #name ":\n.incbin \"" path "\"\n" #name "_end:\n.byte 0\n.previous\n");                 \
  extern const uint8_t name[] __attribute__((visibility("hidden")));                                                   \
  extern const uint8_t name##_end[] __attribute__((visibility("hidden")))
EMBED(plain_wasm, BENCH_WASM "/bench_plain.wasm");
EMBED(calls_wasm, BENCH_WASM "/bench_calls.wasm");
EMBED(direct_wasm, BENCH_WASM "/bench_direct.wasm");

static const char heap_wat[] = "(module (memory (export \"memory\") 64 4096))";
static const char pair_wat[] = "(module (memory (export \"other\") 1 4096) (memory (export \"memory\") 64 4096))";

static wasm_engine_t *plain_engine;
static wasmtime_module_t *plain_module;
static pagestore_wasmtime_engine kept_engine;
static pagestore_wasmtime_module canisters[WAYS], definers[WAYS]; /* of all but HEAP */

typedef struct {
  way how;
  pagestore_instance *instance;
  hostcall calls;
  pagestore_wasmtime keeper;
  wasmtime_store_t *plain_store;
  wasmtime_context_t *context;
  wasmtime_linker_t *linker;
  wasmtime_func_t functions[EXPORTS];
} guest;

static int failed_error(const char *what, wasmtime_error_t *error, wasm_trap_t *trap) {
  wasm_byte_vec_t text;
  char line[1024];
  if (error) wasmtime_error_message(error, &text);
  else wasm_trap_message(trap, &text);
  snprintf(line, sizeof line, "%.*s", (int)text.size, text.data);
  wasm_byte_vec_delete(&text);
  if (error) wasmtime_error_delete(error);
  if (trap) wasm_trap_delete(trap);
  return failed(what, line);
}

/* ---- modules ----------------------------------------------------------------------------------------------------- */

static int compile(const uint8_t *wasm, size_t length, pagestore_wasmtime_module *out) {
  return pagestore_wasmtime_module_new(&kept_engine, wasm, length, 0, out) ? failed("module", out->detail) : 0;
}

static int assemble(const char *wat, size_t length, pagestore_wasmtime_module *out) {
  wasm_byte_vec_t wasm;
  wasmtime_error_t *error = wasmtime_wat2wasm(wat, length, &wasm);
  if (error) return failed_error("module", error, NULL);
  int status = compile((const uint8_t *)wasm.data, wasm.size, out);
  wasm_byte_vec_delete(&wasm);
  return status;
}

typedef int (*maker)(const pagestore_module *, const pagestore_native_options *, uint8_t **, size_t *);

static int make(maker made_by, const pagestore_module *module, pagestore_wasmtime_module *out) {
  static const pagestore_native_options options = {
      .size = sizeof options, .memories = PAGESTORE_NATIVE_SHIM, .copy = PAGESTORE_NATIVE_BULK};
  uint8_t *wasm;
  size_t size;
  if (made_by(module, &options, &wasm, &size)) return failed("native", pagestore_detail());
  int status = compile(wasm, size, out);
  free(wasm);
  return status;
}

static int make_native(void) {
  pagestore_module *module;
  if (pagestore_module_read(calls_wasm, (size_t)(calls_wasm_end - calls_wasm), &module))
    return failed("native", pagestore_detail());
  int status = make(pagestore_module_native, module, &canisters[NATIVE]) ||
               make(pagestore_module_shim, module, &definers[NATIVE]);
  pagestore_module_free(module);
  return status;
}

static int start(void) {
  wasm_config_t *config = wasm_config_new();
  wasmtime_config_wasm_multi_memory_set(config, true);
  plain_engine = wasm_engine_new_with_config(config);
  wasmtime_error_t *error = wasmtime_module_new(plain_engine, plain_wasm, (size_t)(plain_wasm_end - plain_wasm),
                                                &plain_module);
  if (error) return failed_error("module", error, NULL);
  if (pagestore_wasmtime_engine_new(&kept_engine, NULL)) return failed("engine", kept_engine.detail);
  return compile(calls_wasm, (size_t)(calls_wasm_end - calls_wasm), &canisters[HOSTCALL]) ||
         compile(direct_wasm, (size_t)(direct_wasm_end - direct_wasm), &canisters[DIRECT]) || make_native() ||
         compile(calls_wasm, (size_t)(calls_wasm_end - calls_wasm), &canisters[TUNED]) ||
         assemble(heap_wat, sizeof heap_wat - 1, &definers[HOSTCALL]) ||
         assemble(heap_wat, sizeof heap_wat - 1, &definers[TUNED]) ||
         assemble(pair_wat, sizeof pair_wat - 1, &definers[DIRECT]);
}

static void stop(void) {
  for (way how = DIRECT; how < WAYS; how++) {
    pagestore_wasmtime_module_delete(&definers[how]);
    pagestore_wasmtime_module_delete(&canisters[how]);
  }
  pagestore_wasmtime_engine_delete(&kept_engine);
  if (plain_module) wasmtime_module_delete(plain_module);
  if (plain_engine) wasm_engine_delete(plain_engine);
}

/* ---- the host's functions ---------------------------------------------------------------------------------------- */

static wasm_trap_t *out_of_bounds(void) {
  static const char text[] = "stable memory: out of bounds, or a page cannot be had";
  return wasmtime_trap_new(text, sizeof text - 1);
}

static wasm_trap_t *host_grow(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
  (void)caller, (void)count;
  values[0].i64 = hostcall_grow(env, (uint64_t)values[0].i64);
  return NULL;
}

#define SERVED(name, wanted, offset_at, address_at, move)                                                              \
  static wasm_trap_t *name(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {           \
    (void)caller, (void)count;                                                                                         \
    uint64_t offset = (uint64_t)values[offset_at].i64, address = (uint64_t)values[address_at].i64;                     \
    return hostcall_copy(env, offset, address, (uint64_t)values[2].i64, wanted, move) ? NULL : out_of_bounds();        \
  }
SERVED(host_read, READABLE, 1, 0, hostcall_memcpy)
SERVED(host_write, WRITABLE, 0, 1, hostcall_memcpy)
SERVED(tuned_read, READABLE, 1, 0, hostcall_move)
SERVED(tuned_write, WRITABLE, 0, 1, hostcall_move)

static int define_calls(guest *g) {
  static const struct {
    const char *name;
    wasmtime_func_unchecked_callback_t serve, tuned;
  } calls[] = {{"stable64_grow", host_grow, host_grow},
               {"stable64_read", host_read, tuned_read},
               {"stable64_write", host_write, tuned_write}};
  for (int i = 0; i < 3; i++) {
    wasm_functype_t *type = i == 0 ? wasm_functype_new_1_1(wasm_valtype_new_i64(), wasm_valtype_new_i64())
                                   : wasm_functype_new_3_0(wasm_valtype_new_i64(), wasm_valtype_new_i64(),
                                                           wasm_valtype_new_i64());
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(g->linker, "ic0", 3, calls[i].name,
                                                                    strlen(calls[i].name), type,
                                                                    g->how == TUNED ? calls[i].tuned : calls[i].serve,
                                                                    &g->calls, NULL);
    wasm_functype_delete(type);
    if (error) return failed_error("host function", error, NULL);
  }
  return 0;
}

/* ---- guests ------------------------------------------------------------------------------------------------------ */

static int find_exports(guest *g, const wasmtime_instance_t *instance) {
  for (int i = 0; i < EXPORTS; i++) {
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(g->context, instance, export_names[i], strlen(export_names[i]), &item))
      return failed(export_names[i], "is not exported");
    g->functions[i] = item.of.func;
  }
  return 0;
}

static int open_plain(guest *g) {
  wasmtime_extern_t memory = {.kind = WASMTIME_EXTERN_MEMORY};
  wasmtime_instance_t instance;
  wasm_memorytype_t *type;
  wasm_trap_t *trap = NULL;
  g->plain_store = wasmtime_store_new(plain_engine, NULL, NULL);
  g->context = wasmtime_store_context(g->plain_store);
  wasmtime_error_t *error = wasmtime_memorytype_new(HEAP_PAGES, true, HEAP_PAGES_MAX, false, false, 16, &type);
  if (!error) error = wasmtime_memory_new(g->context, type, &memory.of.memory);
  if (!error) error = wasmtime_instance_new(g->context, plain_module, &memory, 1, &instance, &trap);
  if (error || trap) return failed_error("heap", error, trap);
  wasm_memorytype_delete(type);
  return find_exports(g, &instance);
}

/* What the memories' module exports goes by other names for the canister. */
static int define_export(guest *g, const wasmtime_instance_t *from, const char *name, const char *module) {
  wasmtime_extern_t item;
  if (!wasmtime_instance_export_get(g->context, from, name, strlen(name), &item))
    return failed(name, "is not exported");
  wasmtime_error_t *error = wasmtime_linker_define(g->linker, g->context, module, strlen(module), name, strlen(name),
                                                   &item);
  wasmtime_extern_delete(&item);
  return error ? failed_error(name, error, NULL) : 0;
}

static int list_memories(guest *g) {
  pagestore_memory_options heap = {.size = sizeof heap, .pages = HEAP_PAGES, .max_pages = HEAP_PAGES_MAX};
  pagestore_memory_options other = {.size = sizeof other, .pages = 1, .max_pages = HEAP_PAGES_MAX};
  pagestore_memory_options stable = {.size = sizeof stable, .flags = PAGESTORE_MEMORY64, .max_pages = 8192000};
  const char *name = g->how == NATIVE ? "heap" : "memory";
  int status = pagestore_wasmtime_memory(&g->keeper, "heap", &heap, name, &g->calls.heap);
  if (!status && g->how == DIRECT) status = pagestore_wasmtime_memory(&g->keeper, "other", &other, "other", NULL);
  if (!status && g->how == NATIVE)
    status = pagestore_wasmtime_memory(&g->keeper, "stable", &stable, "stable", &g->calls.stable);
  if (status) return failed("memory", g->keeper.detail);
  if (g->how == DIRECT || g->how == NATIVE) return 0;
  stable.flags |= PAGESTORE_EXPLICIT;
  if (pagestore_memory_open(g->instance, "stable", &stable, &g->calls.stable))
    return failed("stable", pagestore_detail());
  g->calls.heap_base = pagestore_memory_base(g->calls.heap);
  g->calls.heap_bytes = HEAP_PAGES * PAGESTORE_PAGE;
  g->calls.stable_base = pagestore_memory_base(g->calls.stable);
  return 0;
}

static int open_kept(guest *g, pagestore_store *store, const char *name) {
  wasmtime_instance_t memories, instance;
  if (pagestore_instance_open(store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                              &g->instance))
    return failed(name, pagestore_detail());
  if (pagestore_wasmtime_start(&g->keeper, &kept_engine, g->instance)) return failed(name, g->keeper.detail);
  g->context = g->keeper.context;
  g->linker = wasmtime_linker_new(kept_engine.engine);
  if (list_memories(g)) return 1;
  if (pagestore_wasmtime_instantiate(&g->keeper, &definers[g->how], NULL, &memories))
    return failed("shim", g->keeper.detail);
  if (g->how != NATIVE && define_export(g, &memories, "memory", "env")) return 1;
  if (g->how == DIRECT && define_export(g, &memories, "other", "bench")) return 1;
  if ((g->how == HOSTCALL || g->how == TUNED) && define_calls(g)) return 1;
  if (g->how == NATIVE &&
      (define_export(g, &memories, "heap", "pagestore") || define_export(g, &memories, "stable", "pagestore") ||
       define_export(g, &memories, "stable64_grow", "ic0") || define_export(g, &memories, "stable64_read", "ic0") ||
       define_export(g, &memories, "stable64_write", "ic0")))
    return 1;
  if (pagestore_wasmtime_instantiate(&g->keeper, &canisters[g->how], g->linker, &instance))
    return failed("canister", g->keeper.detail);
  return find_exports(g, &instance);
}

static int open_guest(way how, pagestore_store *store, const char *name, void **out) {
  guest *g = calloc(1, sizeof *g);
  if (!g) return failed("guest", "no memory");
  g->how = how;
  *out = g;
  return how == HEAP ? open_plain(g) : open_kept(g, store, name);
}

static int call(void *env, export which, uint64_t count, uint64_t seed, uint64_t *result) {
  guest *g = env;
  wasmtime_val_t arguments[2] = {{.kind = WASMTIME_I64, .of.i64 = (int64_t)count},
                                 {.kind = WASMTIME_I64, .of.i64 = (int64_t)seed}};
  wasmtime_val_t out;
  wasm_trap_t *trap = NULL;
  wasmtime_error_t *error = wasmtime_func_call(g->context, &g->functions[which], arguments, which == TREE_SUM ? 0 : 2,
                                               &out, 1, &trap);
  if (error || trap) return failed_error(export_names[which], error, trap);
  *result = (uint64_t)out.of.i64;
  return 0;
}

static int commit(void *env) {
  guest *g = env;
  if (g->how == HEAP) return 0;
  hostcall_boundary(&g->calls);
  return pagestore_wasmtime_commit(&g->keeper, 0, NULL) ? failed("commit", g->keeper.detail) : 0;
}

static void close_guest(void *env) {
  guest *g = env;
  if (g->plain_store) wasmtime_store_delete(g->plain_store);
  if (g->keeper.store) pagestore_wasmtime_stop(&g->keeper);
  if (g->linker) wasmtime_linker_delete(g->linker);
  if (g->instance) pagestore_instance_close(g->instance);
  free(g->calls.touched);
  free(g);
}

const engine engine_wasmtime = {"wasmtime", start, open_guest, call, commit, close_guest, stop};
