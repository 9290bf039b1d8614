/* host.c - runs one message on the canister: ./host STORE NUMBER */
#define PAGESTORE_WASMTIME_IMPLEMENTATION
#include <pagestore/wasmtime.h>

#include <stdio.h>
#include <stdlib.h>

static const char module_file[] = "counter.wasm"; /* made by clang from canister.c */

typedef struct {
  pagestore_wasmtime_engine engine;
  pagestore_wasmtime_module module;
  pagestore_wasmtime guest;
  pagestore_store *store;
  pagestore_instance *instance;
  wasmtime_instance_t running;
  wasmtime_func_t bump;
} host;

/* The adapter's detail first: it knows of traps, too. */
static void check(int status, const char *what, const char *detail) {
  if (status == 0) return;
  fprintf(stderr, "%s: %s\n", what, detail && detail[0] ? detail : pagestore_detail());
  exit(1);
}

static void read_module(host *h) {
  static uint8_t bytes[1 << 20];
  FILE *f = fopen(module_file, "rb");
  size_t length = f ? fread(bytes, 1, sizeof bytes, f) : 0;
  if (f) fclose(f);
  check(length == 0, module_file, "cannot be read: run make, and the host in this directory");
  check(pagestore_wasmtime_engine_new(&h->engine, NULL), "engine", h->engine.detail);
  check(pagestore_wasmtime_module_new(&h->engine, bytes, length, 0, &h->module), "module", h->module.detail);
}

static void start(host *h, const char *path) {
  check(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &h->store), "store", NULL);
  check(pagestore_instance_open(h->store, "counter",
                                PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance),
        "instance", NULL);
  check(pagestore_wasmtime_start(&h->guest, &h->engine, h->instance), "wasmtime", h->guest.detail);
  check(pagestore_wasmtime_memory(&h->guest, "heap",
                                  PAGESTORE_WITH(pagestore_memory_options, .pages = 2, .max_pages = 1024), "memory",
                                  NULL),
        "memory", h->guest.detail);
  /* A new instance has what instantiation wrote, to be made its first version; any other stands as of its last one. */
  check(pagestore_wasmtime_instantiate(&h->guest, &h->module, NULL, &h->running), "instantiate", h->guest.detail);
  if (pagestore_committed_version(h->instance) == 0)
    check(pagestore_wasmtime_commit(&h->guest, 0, NULL), "install", h->guest.detail);
  check(pagestore_wasmtime_function(&h->guest, &h->running, "bump", &h->bump), "bump", h->guest.detail);
}

/* A message: run it, then make what it did durable, or forget it. */
static uint64_t run(host *h, uint64_t by, uint64_t *version) {
  wasmtime_val_t argument = {.kind = WASMTIME_I64, .of.i64 = (int64_t)by}, result;
  int trap = pagestore_wasmtime_call(&h->guest, &h->bump, &argument, 1, &result, 1);
  if (trap) {
    fprintf(stderr, "the message trapped, and nothing of it stays: %s\n", h->guest.detail);
    check(pagestore_wasmtime_rollback(&h->guest), "rollback", h->guest.detail);
    exit(1);
  }
  check(pagestore_wasmtime_commit(&h->guest, 0, version), "commit", h->guest.detail);
  return (uint64_t)result.of.i64;
}

int main(int count, char **words) {
  static host h;
  uint64_t version;
  if (count != 3) return fprintf(stderr, "usage: host STORE NUMBER\n"), 2;
  read_module(&h);
  start(&h, words[1]);
  uint64_t now = run(&h, strtoull(words[2], NULL, 0), &version);
  printf("%llu, version %llu\n", (unsigned long long)now, (unsigned long long)version);

  pagestore_wasmtime_stop(&h.guest);
  pagestore_instance_close(h.instance);
  check(pagestore_close(h.store), "close", NULL);
  pagestore_wasmtime_module_delete(&h.module);
  pagestore_wasmtime_engine_delete(&h.engine);
  return 0;
}
