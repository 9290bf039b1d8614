/* wasmtime_example.c - README's host for Wasmtime; tests/wasmtime_example.sh runs it. What follows is README's text. */
#define PAGESTORE_WASMTIME_IMPLEMENTATION
#include <pagestore/wasmtime.h>

static const char wat[] = "(module (memory (export \"memory\") 1) (func (export \"count\") (result i64)"
                          "  (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))"
                          "  (i64.load (i32.const 8))))";
static int failed(const char *why) { return fprintf(stderr, "%s\n", why), 1; }

int main(void) {
  pagestore_wasmtime_engine engine = {0};
  pagestore_wasmtime_module module;
  pagestore_wasmtime guest = {0};
  pagestore_store *store;
  pagestore_instance *instance;
  wasmtime_instance_t running;
  wasmtime_func_t count;
  wasmtime_val_t result;
  wasm_byte_vec_t wasm;
  uint64_t version;

  if (wasmtime_wat2wasm(wat, sizeof wat - 1, &wasm)) return failed("this is no module");
  if (pagestore_wasmtime_engine_new(&engine, NULL)) return failed(engine.detail);
  if (pagestore_wasmtime_module_new(&engine, (uint8_t *)wasm.data, wasm.size, 0, &module)) return failed(module.detail);
  if (pagestore_open("wasm.store", PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store) ||
      pagestore_instance_open(store, "counter", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                              &instance))
    return failed(pagestore_detail());
  if (pagestore_wasmtime_start(&guest, &engine, instance) ||
      pagestore_wasmtime_memory(&guest, "heap", NULL, "memory", NULL) ||
      pagestore_wasmtime_instantiate(&guest, &module, NULL, &running) || /* stands as of the last commit */
      pagestore_wasmtime_function(&guest, &running, "count", &count))
    return failed(guest.detail);
  if (pagestore_wasmtime_call(&guest, &count, NULL, 0, &result, 1)) /* a trap: forget the message */
    return pagestore_wasmtime_rollback(&guest), failed(guest.detail);
  if (pagestore_wasmtime_commit(&guest, 0, &version)) return failed(guest.detail);
  printf("%lld, version %llu\n", (long long)result.of.i64, (unsigned long long)version);
  pagestore_wasmtime_stop(&guest);
  pagestore_instance_close(instance);
  return pagestore_close(store);
}
