/* ledger_host.h - runs tests/canisters/ledger three ways, translated by wasm2c:
 *
 *   PLAIN   as the compiler made it, on memory of its own: what must come out
 *   CALLS   made native, heap and stable memory in a store, the stable-memory calls by pagestore/stable.h, marks instead of tracking
 *   SHIM    made native, the calls by the shim that `pagestore wasm native` wrote
 *
 * Thread: one.
 */
#ifndef PAGESTORE_TESTS_LEDGER_HOST_H
#define PAGESTORE_TESTS_LEDGER_HOST_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGESTORE_WASM2C_IMPLEMENTATION
#include <pagestore/stable.h>
#include <pagestore/wasm2c.h>

#include "ledger_native_v1.h"
#include "ledger_native_v1_shim.h"
#include "ledger_native_v2.h"
#include "ledger_v1.h"
#include "ledger_v2.h"

enum { HEAP_PAGES = 8, HEAP_MAX = 40, STABLE_MAX = 60 };

typedef enum { PLAIN, CALLS, SHIM } backend;

#define OK(call)                                                                                                       \
  do {                                                                                                                 \
    int err_ = (call);                                                                                                 \
    if (err_) {                                                                                                        \
      fprintf(stderr, "%s: %d %s\n", #call, err_, pagestore_detail());                                                 \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

struct Z_env_instance_t {
  wasm_rt_memory_t memory;
};
struct Z_pagestore_instance_t {
  wasm_rt_memory_t heap, stable;
};
struct Z_ic0_instance_t {
  backend kind;
  pagestore_stable *calls;
  Z_shim_instance_t *shim;
  const wasm_rt_memory_t *heap; /* PLAIN, as the rest */
  uint8_t *bytes;
  uint64_t pages;
};

wasm_rt_memory_t *Z_envZ_memory(struct Z_env_instance_t *env) { return &env->memory; }
wasm_rt_memory_t *Z_pagestoreZ_heap(struct Z_pagestore_instance_t *memories) { return &memories->heap; }
wasm_rt_memory_t *Z_pagestoreZ_stable(struct Z_pagestore_instance_t *memories) { return &memories->stable; }

/* ---- the calls, three ways ------------------------------------------------------------------- */

static void require(bool condition) {
  if (!condition) wasm_rt_trap(WASM_RT_TRAP_OOB);
}

static void check(pagestore_stable_trap trap) {
  if (trap) wasm_rt_trap((wasm_rt_trap_t)trap);
}

u64 Z_ic0Z_stable64_size(struct Z_ic0_instance_t *ic0) {
  u64 pages = ic0->pages;
  if (ic0->kind == SHIM) return Z_shimZ_stable64_size(ic0->shim);
  if (ic0->kind == CALLS) check(pagestore_stable64_size(ic0->calls, &pages));
  return pages;
}

u64 Z_ic0Z_stable64_grow(struct Z_ic0_instance_t *ic0, u64 more) {
  u64 old = ic0->pages;
  if (ic0->kind == SHIM) return Z_shimZ_stable64_grow(ic0->shim, more);
  if (ic0->kind == CALLS) {
    check(pagestore_stable64_grow(ic0->calls, more, &old));
    return old;
  }
  if (more > STABLE_MAX - old) return UINT64_MAX;
  ic0->pages += more;
  return old;
}

/* PLAIN: both ranges, or a trap. */
static void require_ranges(struct Z_ic0_instance_t *ic0, u64 address, u64 offset, u64 bytes) {
  u64 heap = (u64)ic0->heap->pages * PAGESTORE_PAGE, stable = ic0->pages * PAGESTORE_PAGE;
  require(offset <= stable && bytes <= stable - offset && address <= heap && bytes <= heap - address);
}

void Z_ic0Z_stable64_read(struct Z_ic0_instance_t *ic0, u64 to, u64 offset, u64 bytes) {
  if (ic0->kind == SHIM) Z_shimZ_stable64_read(ic0->shim, to, offset, bytes);
  else if (ic0->kind == CALLS) check(pagestore_stable64_read(ic0->calls, to, offset, bytes));
  else if (bytes) {
    require_ranges(ic0, to, offset, bytes);
    memcpy(ic0->heap->data + to, ic0->bytes + offset, bytes);
  }
}

void Z_ic0Z_stable64_write(struct Z_ic0_instance_t *ic0, u64 offset, u64 from, u64 bytes) {
  if (ic0->kind == SHIM) Z_shimZ_stable64_write(ic0->shim, offset, from, bytes);
  else if (ic0->kind == CALLS) check(pagestore_stable64_write(ic0->calls, offset, from, bytes));
  else if (bytes) {
    require_ranges(ic0, from, offset, bytes);
    memcpy(ic0->bytes + offset, ic0->heap->data + from, bytes);
  }
}

u32 Z_ic0Z_stable_size(struct Z_ic0_instance_t *ic0) {
  u32 pages = (u32)ic0->pages;
  if (ic0->kind == SHIM) return Z_shimZ_stable_size(ic0->shim);
  if (ic0->kind == CALLS) check(pagestore_stable_size(ic0->calls, &pages));
  return pages;
}

u32 Z_ic0Z_stable_grow(struct Z_ic0_instance_t *ic0, u32 more) {
  u32 old = 0;
  if (ic0->kind == SHIM) return Z_shimZ_stable_grow(ic0->shim, more);
  if (ic0->kind == PLAIN) return (u32)Z_ic0Z_stable64_grow(ic0, more);
  check(pagestore_stable_grow(ic0->calls, more, &old));
  return old;
}

void Z_ic0Z_stable_read(struct Z_ic0_instance_t *ic0, u32 to, u32 offset, u32 bytes) {
  if (ic0->kind == SHIM) Z_shimZ_stable_read(ic0->shim, to, offset, bytes);
  else if (ic0->kind == CALLS) check(pagestore_stable_read(ic0->calls, to, offset, bytes));
  else Z_ic0Z_stable64_read(ic0, to, offset, bytes);
}

void Z_ic0Z_stable_write(struct Z_ic0_instance_t *ic0, u32 offset, u32 from, u32 bytes) {
  if (ic0->kind == SHIM) Z_shimZ_stable_write(ic0->shim, offset, from, bytes);
  else if (ic0->kind == CALLS) check(pagestore_stable_write(ic0->calls, offset, from, bytes));
  else Z_ic0Z_stable64_write(ic0, offset, from, bytes);
}

/* ---- a guest --------------------------------------------------------------------------------- */

typedef struct {
  uint8_t heap[HEAP_MAX * PAGESTORE_PAGE], stable[STABLE_MAX * PAGESTORE_PAGE];
  uint32_t heap_pages, stack_pointer;
  uint64_t stable_pages, total;
} plain_state;

typedef struct {
  backend kind;
  int version;
  struct Z_env_instance_t env;
  struct Z_pagestore_instance_t memories;
  struct Z_ic0_instance_t ic0;
  pagestore_wasm2c wasm2c;
  pagestore_wasm2c_global globals[2];
  pagestore_instance *instance;
  pagestore_memory *heap, *stable;
  Z_shim_instance_t shim;
  Z_ledger_v1_instance_t plain1;
  Z_ledger_v2_instance_t plain2;
  Z_ledger_native_v1_instance_t native1;
  Z_ledger_native_v2_instance_t native2;
  plain_state saved; /* PLAIN: at the last boundary */
} guest;

#define EITHER(name, ...)                                                                                              \
  (g->kind == PLAIN  ? g->version == 1 ? Z_ledger_v1Z_##name(&g->plain1, ##__VA_ARGS__)                                \
                                       : Z_ledger_v2Z_##name(&g->plain2, ##__VA_ARGS__)                                \
    : g->version == 1 ? Z_ledger_native_v1Z_##name(&g->native1, ##__VA_ARGS__)                                         \
                     : Z_ledger_native_v2Z_##name(&g->native2, ##__VA_ARGS__))

/* In the order in which the module has them: index 0 and 1. */
static uint32_t *stack_pointer(guest *g) {
  if (g->kind == PLAIN) return EITHER(__stack_pointer);
  return g->version == 1 ? Z_ledger_native_v1Z_pagestore_global_0(&g->native1)
                         : Z_ledger_native_v2Z_pagestore_global_0(&g->native2);
}

/* PLAIN modules do not export it. */
static uint64_t *total(guest *g) {
  if (g->kind == PLAIN) return g->version == 1 ? &g->plain1.w2c_total : &g->plain2.w2c_total;
  return g->version == 1 ? Z_ledger_native_v1Z_pagestore_global_1(&g->native1)
                         : Z_ledger_native_v2Z_pagestore_global_1(&g->native2);
}

typedef enum {
  DEPOSIT,
  MOVE,
  SHIFT,
  POISON,
  PRE_UPGRADE,
  POST_UPGRADE,
  TOTAL,
  MESSAGES,
  SIZE,
  BALANCE,
  INSTANTIATE,
  INSTALL
} what;
typedef struct {
  guest *g;
  what which;
  uint32_t a, b;
  uint64_t amount, result;
} message;

static void instantiate(guest *g) {
  if (g->kind == SHIM) Z_shim_instantiate(&g->shim, &g->memories);
  if (g->kind == PLAIN && g->version == 1) Z_ledger_v1_instantiate(&g->plain1, &g->env, &g->ic0);
  else if (g->kind == PLAIN) Z_ledger_v2_instantiate(&g->plain2, &g->env, &g->ic0);
  else if (g->version == 1) Z_ledger_native_v1_instantiate(&g->native1, &g->ic0, &g->memories);
  else Z_ledger_native_v2_instantiate(&g->native2, &g->ic0, &g->memories);
}

static void run(void *env) {
  message *m = env;
  guest *g = m->g;
  switch (m->which) {
  case DEPOSIT: m->result = EITHER(deposit, m->a, m->amount); break;
  case MOVE: m->result = EITHER(move, m->a, m->b, m->amount); break;
  case SHIFT: m->result = EITHER(shift, m->a); break;
  case POISON: m->result = EITHER(poison, m->a); break;
  case PRE_UPGRADE: EITHER(pre_upgrade); break;
  case POST_UPGRADE: m->result = EITHER(post_upgrade, m->a); break;
  case TOTAL: m->result = EITHER(total); break;
  case MESSAGES: m->result = EITHER(messages); break;
  case SIZE: m->result = EITHER(size); break;
  case BALANCE: m->result = EITHER(balance, m->a); break;
  case INSTANTIATE: instantiate(g); break;
  case INSTALL:
    if (g->version == 1) Z_ledger_native_v1Z_pagestore_install(&g->native1);
    else Z_ledger_native_v2Z_pagestore_install(&g->native2);
    break;
  }
}

/* The trap, or 0. */
static int call(guest *g, message m, uint64_t *result) {
  m.g = g;
  int trap = pagestore_wasm2c_call(&g->wasm2c, run, &m);
  if (trap < 0) OK(trap);
  if (result) *result = m.result;
  return trap;
}

/* ---- PLAIN: a message that can be taken back ------------------------------------------------- */

static void plain_save(guest *g) {
  plain_state *s = &g->saved;
  s->heap_pages = g->env.memory.pages;
  s->stable_pages = g->ic0.pages;
  s->stack_pointer = *stack_pointer(g);
  s->total = *total(g);
  memcpy(s->heap, g->env.memory.data, (size_t)s->heap_pages * PAGESTORE_PAGE);
  memcpy(s->stable, g->ic0.bytes, sizeof s->stable);
}

static void plain_restore(guest *g) {
  const plain_state *s = &g->saved;
  memcpy(g->env.memory.data, s->heap, (size_t)s->heap_pages * PAGESTORE_PAGE);
  memset(g->env.memory.data + (size_t)s->heap_pages * PAGESTORE_PAGE, 0,
         (size_t)(g->env.memory.pages - s->heap_pages) * PAGESTORE_PAGE);
  g->env.memory.pages = s->heap_pages;
  g->env.memory.size = s->heap_pages * PAGESTORE_PAGE;
  memcpy(g->ic0.bytes, s->stable, sizeof s->stable);
  g->ic0.pages = s->stable_pages;
  *stack_pointer(g) = s->stack_pointer;
  *total(g) = s->total;
}

static void plain_start(guest *g, int version) {
  g->version = version;
  wasm_rt_allocate_memory(&g->env.memory, HEAP_PAGES, HEAP_MAX);
  if (call(g, (message){.which = INSTANTIATE}, NULL)) abort();
}

static void plain_open(guest *g) {
  memset(g, 0, sizeof *g);
  wasm_rt_init();
  g->ic0 = (struct Z_ic0_instance_t){.heap = &g->env.memory, .bytes = calloc(STABLE_MAX, PAGESTORE_PAGE)};
  Z_ledger_v1_init_module();
  Z_ledger_v2_init_module();
  plain_start(g, 1);
  plain_save(g);
}

static void plain_stop(guest *g) {
  if (g->version == 1) Z_ledger_v1_free(&g->plain1);
  else Z_ledger_v2_free(&g->plain2);
  wasm_rt_free_memory(&g->env.memory);
}

static void plain_close(guest *g) {
  plain_stop(g);
  free(g->ic0.bytes);
}

/* ---- durable: binding, messages, upgrade ----------------------------------------------------- */

static const uint8_t *module_hash(int version) {
  static const uint8_t hashes[2][32] = {"ledger, made native, version 1", "ledger, made native, version 2"};
  return hashes[version - 1];
}

/* Module and memories; what is stored stays as it is. */
static void bind(guest *g, int version) {
  pagestore_memory_options heap = {.size = sizeof heap, .pages = HEAP_PAGES, .max_pages = HEAP_MAX};
  pagestore_memory_options stable = {.size = sizeof stable, .flags = PAGESTORE_KEEP, .max_pages = STABLE_MAX};
  if (g->kind == CALLS) stable.flags |= PAGESTORE_EXPLICIT;
  g->version = version;
  OK(pagestore_wasm2c_start(&g->wasm2c, g->instance));
  OK(pagestore_wasm2c_memory(&g->wasm2c, "heap", &heap, &g->memories.heap, &g->heap));
  OK(pagestore_wasm2c_memory(&g->wasm2c, "stable", &stable, &g->memories.stable, &g->stable));
  if (g->kind == CALLS) OK(pagestore_stable_open(g->heap, g->stable, NULL, &g->ic0.calls));
  g->ic0.kind = g->kind;
  g->ic0.shim = &g->shim;
  if (call(g, (message){.which = INSTANTIATE}, NULL)) abort();
  g->globals[0] = (pagestore_wasm2c_global){"0", stack_pointer(g), 4};
  g->globals[1] = (pagestore_wasm2c_global){"1", total(g), 8};
  g->wasm2c.globals = g->globals;
  g->wasm2c.global_count = 2;
}

static void unbind(guest *g) {
  if (g->version == 1) Z_ledger_native_v1_free(&g->native1);
  else Z_ledger_native_v2_free(&g->native2);
  if (g->kind == SHIM) Z_shim_free(&g->shim);
  pagestore_stable_close(g->ic0.calls);
  g->ic0.calls = NULL;
  pagestore_wasm2c_stop(&g->wasm2c);
}

static void durable_open(guest *g, pagestore_store *store, backend kind) {
  pagestore_instance_options options = {.size = sizeof options,
                                        .flags = PAGESTORE_CREATE,
                                        .module_hash = module_hash(1)};
  int version = 1;
  memset(g, 0, sizeof *g);
  g->kind = kind;
  Z_ledger_native_v1_init_module();
  Z_ledger_native_v2_init_module();
  Z_shim_init_module();
  int err = pagestore_instance_open(store, "ledger", &options, &g->instance);
  if (err == PAGESTORE_EMODULE) {
    version = 2;
    options.module_hash = module_hash(2);
    err = pagestore_instance_open(store, "ledger", &options, &g->instance);
  }
  OK(err);
  bind(g, version);
  if (pagestore_committed_version(g->instance)) {
    OK(pagestore_wasm2c_load_globals(&g->wasm2c));
    return;
  }
  if (call(g, (message){.which = INSTALL}, NULL)) abort();
  OK(pagestore_wasm2c_commit(&g->wasm2c, 0, NULL));
}

static void durable_close(guest *g) {
  unbind(g);
  pagestore_instance_close(g->instance);
}

static void end_message(guest *g, bool keep) {
  if (g->kind == PLAIN && keep) plain_save(g);
  else if (g->kind == PLAIN) plain_restore(g);
  else if (keep) OK(pagestore_wasm2c_commit(&g->wasm2c, 0, NULL));
  else OK(pagestore_wasm2c_rollback(&g->wasm2c));
}

/* Old module, new module, one message. False: post_upgrade trapped, and the old one is there as before. */
static bool upgrade(guest *g, bool fail) {
  if (call(g, (message){.which = PRE_UPGRADE}, NULL)) abort();
  if (g->kind == PLAIN) {
    if (fail) return plain_restore(g), false; /* the reference does not try */
    plain_stop(g);
    plain_start(g, 2);
  } else {
    unbind(g);
    OK(pagestore_upgrade(g->instance, module_hash(2)));
    bind(g, 2);
    if (call(g, (message){.which = INSTALL}, NULL)) abort();
  }
  if (call(g, (message){.which = POST_UPGRADE, .a = fail}, NULL) == 0) return end_message(g, true), true;
  if (!fail || g->kind == PLAIN) abort();
  unbind(g);
  OK(pagestore_rollback(g->instance));
  bind(g, 1);
  OK(pagestore_wasm2c_load_globals(&g->wasm2c));
  return false;
}

#endif
