/* engine_wasm2c.c - the canister translated by wasm2c, and the stable-memory calls in C.
 *
 * hostcall, tuned and native run the same translated module: the calls go to functions of this file, which serve them
 * as hostcall.h does, or only check both ranges and move the bytes between two base addresses.
 * Owner: a guest owns its instance handle. Thread: one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGESTORE_WASM2C_IMPLEMENTATION
#include <pagestore/wasm2c.h>

#include "bench_calls.h"
#include "bench_direct.h"
#include "bench_plain.h"
#include "hostcall.h"

struct Z_env_instance_t {
  wasm_rt_memory_t memory;
};
struct Z_bench_instance_t {
  wasm_rt_memory_t other;
};
struct Z_ic0_instance_t {
  hostcall calls; /* native: memories and sizes only */
  way how;
};

typedef struct {
  way how;
  pagestore_instance *instance;
  pagestore_wasm2c wasm2c;
  struct Z_env_instance_t env;
  struct Z_bench_instance_t bench;
  struct Z_ic0_instance_t ic0;
  union {
    Z_bench_plain_instance_t plain;
    Z_bench_calls_instance_t calls;
    Z_bench_direct_instance_t direct;
  } module;
} guest;

wasm_rt_memory_t *Z_envZ_memory(struct Z_env_instance_t *env) { return &env->memory; }
wasm_rt_memory_t *Z_benchZ_other(struct Z_bench_instance_t *bench) { return &bench->other; }

/* ---- the calls --------------------------------------------------------------------------------------------------- */

u64 Z_ic0Z_stable64_grow(struct Z_ic0_instance_t *ic0, u64 pages) { return (u64)hostcall_grow(&ic0->calls, pages); }

/* The heap does not grow: see seed.h. */
static void served(struct Z_ic0_instance_t *ic0, u64 offset, u64 address, u64 bytes, touch wanted) {
  bool done = ic0->how == TUNED ? hostcall_copy(&ic0->calls, offset, address, bytes, wanted, hostcall_move)
                                : hostcall_copy(&ic0->calls, offset, address, bytes, wanted, hostcall_memcpy);
  if (!done) wasm_rt_trap(WASM_RT_TRAP_OOB);
}

static bool in_bounds(const hostcall *h, u64 offset, u64 address, u64 bytes) {
  return hostcall_fits(offset, bytes, h->stable_pages * PAGESTORE_PAGE) && hostcall_fits(address, bytes, h->heap_bytes);
}

void Z_ic0Z_stable64_read(struct Z_ic0_instance_t *ic0, u64 to, u64 offset, u64 bytes) {
  const hostcall *h = &ic0->calls;
  if (ic0->how != NATIVE) served(ic0, offset, to, bytes, READABLE);
  else if (in_bounds(h, offset, to, bytes)) hostcall_move(h->heap_base + to, h->stable_base + offset, bytes);
  else wasm_rt_trap(WASM_RT_TRAP_OOB);
}

void Z_ic0Z_stable64_write(struct Z_ic0_instance_t *ic0, u64 offset, u64 from, u64 bytes) {
  const hostcall *h = &ic0->calls;
  if (ic0->how != NATIVE) served(ic0, offset, from, bytes, WRITABLE);
  else if (in_bounds(h, offset, from, bytes)) hostcall_move(h->stable_base + offset, h->heap_base + from, bytes);
  else wasm_rt_trap(WASM_RT_TRAP_OOB);
}

/* ---- guests ------------------------------------------------------------------------------------------------------ */

static void instantiate(void *env) {
  guest *g = env;
  if (g->how == HEAP) Z_bench_plain_instantiate(&g->module.plain, &g->env);
  else if (g->how == DIRECT) Z_bench_direct_instantiate(&g->module.direct, &g->bench, &g->env);
  else Z_bench_calls_instantiate(&g->module.calls, &g->env, &g->ic0);
}

static void plain_memory(wasm_rt_memory_t *memory) {
#if PAGESTORE_WASM2C_WABT >= 1037
  wasm_rt_allocate_memory(memory, HEAP_PAGES, HEAP_PAGES_MAX, false, PAGESTORE_PAGE);
#elif PAGESTORE_WASM2C_WABT >= 1033
  wasm_rt_allocate_memory(memory, HEAP_PAGES, HEAP_PAGES_MAX, false);
#else
  wasm_rt_allocate_memory(memory, HEAP_PAGES, HEAP_PAGES_MAX);
#endif
}

static int bind_memories(guest *g) {
  pagestore_memory_options heap = {.size = sizeof heap, .pages = HEAP_PAGES, .max_pages = HEAP_PAGES_MAX};
  pagestore_memory_options stable = {.size = sizeof stable, .flags = PAGESTORE_MEMORY64, .max_pages = 8192000};
  if (g->how != NATIVE) stable.flags |= PAGESTORE_EXPLICIT;
  if (g->how == HEAP) {
    plain_memory(&g->env.memory);
    return 0;
  }
  if (pagestore_wasm2c_memory(&g->wasm2c, "heap", &heap, &g->env.memory, &g->ic0.calls.heap))
    return failed("heap", pagestore_detail());
  if (g->how == DIRECT) {
    heap.pages = 1;
    int status = pagestore_wasm2c_memory(&g->wasm2c, "other", &heap, &g->bench.other, NULL);
    return status ? failed("other memory", pagestore_detail()) : 0;
  }
  if (pagestore_wasm2c_memory(&g->wasm2c, "stable", &stable, NULL, &g->ic0.calls.stable))
    return failed("stable memory", pagestore_detail());
  g->ic0.calls.heap_base = pagestore_memory_base(g->ic0.calls.heap);
  g->ic0.calls.heap_bytes = HEAP_PAGES * PAGESTORE_PAGE;
  g->ic0.calls.stable_base = pagestore_memory_base(g->ic0.calls.stable);
  g->ic0.how = g->how;
  return 0;
}

static int start(void) {
  Z_bench_plain_init_module();
  Z_bench_calls_init_module();
  Z_bench_direct_init_module();
  return 0;
}

static int open_guest(way how, pagestore_store *store, const char *name, void **out) {
  guest *g = calloc(1, sizeof *g);
  if (!g) return failed("guest", "no memory");
  g->how = how;
  *out = g;
  if (pagestore_instance_open(store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                              &g->instance) ||
      pagestore_wasm2c_start(&g->wasm2c, g->instance))
    return failed(name, pagestore_detail());
  if (bind_memories(g)) return 1;
  int code = pagestore_wasm2c_call(&g->wasm2c, instantiate, g);
  return code ? failed("instantiation", pagestore_wasm2c_strerror(code)) : 0;
}

typedef struct {
  guest *g;
  export which;
  uint64_t count, seed, result;
} request;

#define EXPORTS_OF(module, at)                                                                                         \
  switch (r->which) {                                                                                                  \
  case INSERT_MANY: r->result = Z_##module##Z_insert_many(at, r->count, r->seed); break;                               \
  case VECTOR_PUSH: r->result = Z_##module##Z_vector_push(at, r->count, r->seed); break;                               \
  case CHUNKS_4K: r->result = Z_##module##Z_chunks_4k(at, r->count, r->seed); break;                                   \
  case BYTE_READS: r->result = Z_##module##Z_byte_reads(at, r->count, r->seed); break;                                 \
  case BLOB: r->result = Z_##module##Z_blob(at, r->count, r->seed); break;                                             \
  default: r->result = Z_##module##Z_tree_sum(at);                                                                     \
  }

static void run(void *env) {
  request *r = env;
  if (r->g->how == HEAP) {
    EXPORTS_OF(bench_plain, &r->g->module.plain)
  } else if (r->g->how == DIRECT) {
    EXPORTS_OF(bench_direct, &r->g->module.direct)
  } else {
    EXPORTS_OF(bench_calls, &r->g->module.calls)
  }
}

static int call(void *env, export which, uint64_t count, uint64_t seed, uint64_t *result) {
  request r = {.g = env, .which = which, .count = count, .seed = seed};
  int code = pagestore_wasm2c_call(&r.g->wasm2c, run, &r);
  *result = r.result;
  return code ? failed(export_names[which], pagestore_wasm2c_strerror(code)) : 0;
}

static int commit(void *env) {
  guest *g = env;
  if (g->how == HEAP) return 0;
  hostcall_boundary(&g->ic0.calls);
  return pagestore_wasm2c_commit(&g->wasm2c, 0, NULL) ? failed("commit", pagestore_detail()) : 0;
}

static void close_guest(void *env) {
  guest *g = env;
  if (g->how == HEAP) wasm_rt_free_memory(&g->env.memory);
  pagestore_wasm2c_stop(&g->wasm2c);
  if (g->instance) pagestore_instance_close(g->instance);
  free(g->ic0.calls.touched);
  free(g);
}

static void stop(void) {}

const engine engine_wasm2c = {"wasm2c", start, open_guest, call, commit, close_guest, stop};
