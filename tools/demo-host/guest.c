/* guest.c - see guest.h. */
#define PAGESTORE_WASM2C_IMPLEMENTATION
#include "guest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { VALUE_AT = 256, HEAP_PAGES = 34, HEAP_PAGES_MAX = 64 };
/* 4 GiB; a 64-bit memory must say what to reserve */
static const uint64_t stable_pages_max = 1 << 16;

int demo_failed(const char *what) {
  const char *detail = pagestore_detail();
  fprintf(stderr, "demo: %s: %s\n", what, detail && *detail ? detail : "(no detail)");
  return 1;
}

uint64_t demo_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- what the module imports ----------------------------------------------------------------- */

wasm_rt_memory_t *Z_envZ_memory(struct Z_env_instance_t *env) { return &env->heap; }

u64 Z_ic0Z_stable64_size(struct Z_ic0_instance_t *ic0) {
  return pagestore_memory_pages(ic0->stable);
}

/* -1 where the maximum says so; anything else that stops growth must not depend on the machine,
 * hence a trap. */
u64 Z_ic0Z_stable64_grow(struct Z_ic0_instance_t *ic0, u64 more_pages) {
  uint64_t old_pages = 0;
  int err = pagestore_memory_grow(ic0->stable, more_pages, &old_pages);
  if (err && err != PAGESTORE_EBOUNDS) wasm_rt_trap(WASM_RT_TRAP_OOB);
  return err ? UINT64_MAX : old_pages;
}

static void require_range(uint64_t offset, uint64_t bytes, uint64_t size) {
  if (offset > size || bytes > size - offset) wasm_rt_trap(WASM_RT_TRAP_OOB);
}

/* The host's own loads and stores go straight to the region, as the guest's do. */
void Z_ic0Z_stable64_read(struct Z_ic0_instance_t *ic0, u64 to, u64 offset, u64 bytes) {
  if (bytes == 0) return;
  require_range(offset, bytes, pagestore_memory_pages(ic0->stable) * PAGESTORE_PAGE);
  require_range(to, bytes, ic0->heap->size);
  memcpy(ic0->heap->data + to, pagestore_memory_base(ic0->stable) + offset, bytes);
}

void Z_ic0Z_stable64_write(struct Z_ic0_instance_t *ic0, u64 offset, u64 from, u64 bytes) {
  if (bytes == 0) return;
  require_range(offset, bytes, pagestore_memory_pages(ic0->stable) * PAGESTORE_PAGE);
  require_range(from, bytes, ic0->heap->size);
  uint64_t first = bytes;
  bool stops = ic0->writes_left && --ic0->writes_left == 0;
  if (stops) first = bytes / 2;
  memcpy(pagestore_memory_base(ic0->stable) + offset, ic0->heap->data + from, first);
  if (!stops) return;
  ic0->stop(ic0->env);
  memcpy(pagestore_memory_base(ic0->stable) + offset + first, ic0->heap->data + from + first,
         bytes - first);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Any 32 bytes that stand for the module's code; a host of other people's modules would hash them.
 */
static const uint8_t *module_hash(int module) {
  static const uint8_t hashes[2][32] = {"pagestore demo, module version 1",
                                        "pagestore demo, module version 2"};
  return hashes[module - 1];
}

typedef struct {
  guest *g;
  guest_export which;
  uint32_t name_bytes, text_bytes;
  uint64_t result;
} call;

static void run_instantiate(void *env) {
  guest *g = env;
  if (g->module == 1) Z_canister_v1_instantiate(&g->v1, &g->env, &g->ic0);
  else Z_canister_v2_instantiate(&g->v2, &g->env, &g->ic0);
}

#define EITHER(name, ...)                                                                          \
  (g->module == 1 ? Z_canister_v1Z_##name(&g->v1, ##__VA_ARGS__)                                   \
                  : Z_canister_v2Z_##name(&g->v2, ##__VA_ARGS__))

static void run_export(void *env) {
  call *c = env;
  guest *g = c->g;
  switch (c->which) {
  case GUEST_PUT: c->result = EITHER(put, c->name_bytes, c->text_bytes); break;
  case GUEST_REMOVE: c->result = EITHER(remove, c->name_bytes); break;
  case GUEST_POISON: EITHER(poison, 500); break;
  case GUEST_UPGRADED: c->result = Z_canister_v2Z_upgraded(&g->v2); break;
  case GUEST_GET: c->result = EITHER(get, c->name_bytes); break;
  case GUEST_NEXT: c->result = EITHER(next, c->name_bytes); break;
  case GUEST_SECTION_NEXT: c->result = Z_canister_v2Z_section_next(&g->v2, c->name_bytes); break;
  case GUEST_COUNT: c->result = EITHER(count); break;
  case GUEST_CHECK: c->result = EITHER(check); break;
  case GUEST_MESSAGES: c->result = EITHER(messages); break;
  }
}

static uint32_t exchange_at(guest *g) { return EITHER(exchange); }

static int give(guest *g, const void *name, uint32_t name_bytes, const void *text, uint32_t bytes) {
  uint32_t at = exchange_at(g);
  int err = name_bytes ? pagestore_memory_write(g->heap, at, name, name_bytes) : 0;
  if (!err && bytes) err = pagestore_memory_write(g->heap, at + VALUE_AT, text, bytes);
  return err;
}

static int call_bytes(guest *g, guest_export which, const void *name, uint32_t name_bytes,
                      const void *text, uint32_t bytes, int *code, uint64_t *result) {
  call c = {.g = g, .which = which, .name_bytes = name_bytes, .text_bytes = bytes};
  uint64_t before = demo_ns();
  if (give(g, name, name_bytes, text, bytes)) return demo_failed("arguments");
  *code = pagestore_wasm2c_call(&g->wasm2c, run_export, &c);
  *result = c.result;
  g->times->guest_ns += demo_ns() - before;
  return *code < 0 ? demo_failed("call") : 0;
}

int guest_call(guest *g, guest_export which, const char *name, const void *text, uint32_t bytes,
               int *code, uint64_t *result) {
  return call_bytes(g, which, name, name ? (uint32_t)strlen(name) : 0, text, bytes, code, result);
}

/* A query that must not trap. */
static int query(guest *g, guest_export which, const void *name, uint32_t name_bytes,
                 uint64_t *result) {
  int code;
  if (call_bytes(g, which, name, name_bytes, NULL, 0, &code, result)) return 1;
  if (code) fprintf(stderr, "demo: a query trapped: %s\n", pagestore_wasm2c_strerror(code));
  return code != 0;
}

int guest_forget(guest *g) {
  uint64_t before = demo_ns();
  int err = pagestore_wasm2c_rollback(&g->wasm2c);
  g->times->boundary_ns += demo_ns() - before;
  return err ? demo_failed("rollback") : 0;
}

/* Since which message the module is there: with it, the heap's own count can be foretold. Upgrade
 * drops it. */
static int note_first(guest *g, uint64_t number) {
  if (pagestore_metadata_set(g->instance, "module.first", &number, sizeof number))
    return demo_failed("metadata");
  return 0;
}

static int commit(guest *g, unsigned flags, uint64_t *version) {
  uint64_t before = demo_ns(), number = g->last_message + 1, made;
  if (pagestore_metadata_set(g->instance, "last_message", &number, sizeof number))
    return demo_failed("metadata");
  if (pagestore_wasm2c_commit(&g->wasm2c, flags, &made)) return demo_failed("commit");
  g->times->boundary_ns += demo_ns() - before;
  g->times->messages++;
  g->last_message = number;
  if (version) *version = made;
  return 0;
}

int guest_message(guest *g, guest_export which, const char *name, const void *text, uint32_t bytes,
                  uint64_t expected, unsigned flags, uint64_t *version) {
  int code;
  uint64_t result;
  if (guest_call(g, which, name, text, bytes, &code, &result)) return 1;
  if (code == 0 && result == expected) return commit(g, flags, version);
  fprintf(stderr, "demo: message %llu for %s: %s, result %llu\n",
          (unsigned long long)g->last_message + 1, name ? name : "-",
          pagestore_wasm2c_strerror(code), (unsigned long long)result);
  return 1;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int bind_memories(guest *g) {
  pagestore_memory_options heap = {.size = sizeof heap,
                                   .pages = HEAP_PAGES,
                                   .max_pages = HEAP_PAGES_MAX};
  pagestore_memory_options stable = {.size = sizeof stable,
                                     .flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP,
                                     .max_pages = stable_pages_max};
  if (pagestore_wasm2c_start(&g->wasm2c, g->instance)) return demo_failed("wasm2c");
  if (pagestore_wasm2c_memory(&g->wasm2c, "heap", &heap, &g->env.heap, &g->heap))
    return demo_failed("heap");
  if (pagestore_wasm2c_memory(&g->wasm2c, "stable", &stable, NULL, &g->stable))
    return demo_failed("stable memory");
  g->ic0.stable = g->stable;
  g->ic0.heap = &g->env.heap;
  return 0;
}

static int instantiate(guest *g) {
  if (g->module == 1) Z_canister_v1_init_module();
  else Z_canister_v2_init_module();
  int code = pagestore_wasm2c_call(&g->wasm2c, run_instantiate, g);
  if (code) fprintf(stderr, "demo: instantiation: %s\n", pagestore_wasm2c_strerror(code));
  g->globals[0] = (pagestore_wasm2c_global){
      .name = "__stack_pointer",
      .bytes = 4,
      .at = g->module == 1 ? (void *)Z_canister_v1Z___stack_pointer(&g->v1)
                           : (void *)Z_canister_v2Z___stack_pointer(&g->v2),
  };
  g->wasm2c.globals = g->globals;
  g->wasm2c.global_count = 1;
  return code != 0;
}

int guest_reload(guest *g) {
  size_t length = 0;
  if (pagestore_wasm2c_refresh(&g->wasm2c) || pagestore_wasm2c_load_globals(&g->wasm2c))
    return demo_failed("globals");
  if (pagestore_metadata_get(g->instance, "last_message", &g->last_message, 8, &length) ||
      length != 8)
    return demo_failed("last message");
  return 0;
}

static void release_module(guest *g) {
  if (g->module == 1) Z_canister_v1_free(&g->v1);
  else Z_canister_v2_free(&g->v2);
}

int guest_adopt(guest *g, pagestore_instance *instance, int module, guest_times *times) {
  size_t length;
  *g = (guest){.instance = instance, .module = module, .times = times};
  bool is_new = pagestore_committed_version(instance) == 0 &&
                pagestore_metadata_get(instance, "last_message", &g->last_message, 8, &length) ==
                    PAGESTORE_ENOTFOUND;
  if (bind_memories(g) || instantiate(g)) return 1;
  if (is_new) {
    g->last_message = UINT64_MAX; /* installation is message 0 */
    return note_first(g, 0) || commit(g, 0, NULL);
  }
  return guest_forget(g) || guest_reload(g);
}

int guest_open(guest *g, pagestore_store *store, const char *name, uint32_t flags,
               const char *snapshot, guest_times *times) {
  pagestore_instance *instance = NULL;
  int module = 1, err;
  pagestore_instance_options options = {.size = sizeof options,
                                        .flags = flags,
                                        .snapshot = snapshot,
                                        .module_hash = module_hash(1)};
  err = pagestore_instance_open(store, name, &options, &instance);
  if (err == PAGESTORE_EMODULE) {
    module = 2;
    options.module_hash = module_hash(2);
    err = pagestore_instance_open(store, name, &options, &instance);
  }
  return err ? demo_failed(name) : guest_adopt(g, instance, module, times);
}

void guest_close(guest *g) {
  if (!g->instance) return;
  release_module(g);
  pagestore_wasm2c_stop(&g->wasm2c);
  pagestore_instance_close(g->instance);
  *g = (guest){0};
}

/* The old module goes first; the new one finds an empty heap and the stable memory as it was. */
int guest_upgrade(guest *g) {
  int code;
  uint64_t indexed;
  release_module(g);
  pagestore_wasm2c_stop(&g->wasm2c);
  if (pagestore_upgrade(g->instance, module_hash(2))) return demo_failed("upgrade");
  g->module = 2;
  if (bind_memories(g) || instantiate(g)) return 1;
  if (guest_call(g, GUEST_UPGRADED, NULL, NULL, 0, &code, &indexed)) return 1;
  if (code == 0) return note_first(g, g->last_message) || commit(g, 0, NULL);
  fprintf(stderr, "demo: upgrade: %s\n", pagestore_wasm2c_strerror(code));
  return 1;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The entry after *name, which is taken on; its text is where *text says until the next call. *more
 * false: there is none. */
static int next_entry(guest *g, guest_export which, char *name, uint32_t *name_bytes,
                      const uint8_t **text, uint32_t *bytes, bool *more) {
  uint64_t found;
  if (query(g, which, name, *name_bytes, &found)) return 1;
  *more = found != UINT64_MAX;
  if (!*more) return 0;
  *name_bytes = (uint32_t)(found >> 32);
  *bytes = (uint32_t)found;
  const uint8_t *exchanged = g->env.heap.data + exchange_at(g);
  memcpy(name, exchanged, *name_bytes);
  name[*name_bytes] = 0;
  *text = exchanged + VALUE_AT;
  return 0;
}

int guest_read(guest *g, model *out) {
  char name[256];
  uint32_t name_bytes = 0, bytes;
  const uint8_t *text;
  bool more;
  *out = (model){0};
  for (;;) {
    if (next_entry(g, GUEST_NEXT, name, &name_bytes, &text, &bytes, &more)) return 1;
    if (!more) return guest_forget(g);
    char *copy = demo_alloc(bytes);
    memcpy(copy, text, bytes);
    model_put(out, name, copy, bytes);
  }
}

static int mismatch(const char *when, const char *name, const char *what) {
  fprintf(stderr, "demo: %s: %s: %s\n", when, name, what);
  return 1;
}

int guest_matches(guest *g, const model *expected, const char *when) {
  char name[256] = "";
  uint32_t name_bytes = 0, bytes;
  const uint8_t *text;
  uint64_t count, first;
  size_t length;
  bool more;
  for (size_t i = 0;; i++) {
    if (next_entry(g, GUEST_NEXT, name, &name_bytes, &text, &bytes, &more)) return 1;
    if (!more && i == expected->count) break;
    if (!more) return mismatch(when, expected->at[i].name, "is missing at the end");
    if (i == expected->count) return mismatch(when, name, "should not be there");
    if (strcmp(name, expected->at[i].name) != 0) return mismatch(when, expected->at[i].name, name);
    if (bytes != expected->at[i].bytes || memcmp(text, expected->at[i].text, bytes) != 0)
      return mismatch(when, name, "has other bytes");
  }
  if (query(g, GUEST_CHECK, NULL, 0, &count)) return 1;
  if (count != expected->count) return mismatch(when, "check", "counts other entries");
  if (pagestore_metadata_get(g->instance, "module.first", &first, sizeof first, &length))
    return demo_failed("metadata");
  if (query(g, GUEST_MESSAGES, NULL, 0, &count)) return 1;
  if (count != g->last_message - first)
    return mismatch(when, "the heap", "has not seen every message");
  return guest_forget(g);
}

/* Every entry of the second index must be what the record's text says, and there must be as many.
 */
int guest_sections_match(guest *g, const model *expected, size_t *sections) {
  char name[256] = "", before[256] = "", field[128];
  uint32_t name_bytes = 0, bytes;
  const uint8_t *text;
  bool more;
  size_t count = 0;
  for (*sections = 0;; count++) {
    if (next_entry(g, GUEST_SECTION_NEXT, name, &name_bytes, &text, &bytes, &more)) return 1;
    if (!more) break;
    const record *r = model_find(expected, name + strlen(name) + 1);
    if (!r) return mismatch("index", name, "leads nowhere");
    int length = snprintf(field, sizeof field, "\nSection: %s\n", name);
    bool says = memmem(r->text, r->bytes, field, (size_t)length) || strcmp(name, "none") == 0;
    if (!says) return mismatch("index", r->name, "is not of that section");
    if (strcmp(before, name) != 0) ++*sections;
    snprintf(before, sizeof before, "%s", name);
  }
  if (count != expected->count) return mismatch("index", "its length", "is not the map's");
  return guest_forget(g);
}
