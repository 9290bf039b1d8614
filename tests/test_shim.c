/* test_shim.c - what `pagestore wasm native` writes, run by wasm2c: the shim against the model of stable_model.h, edge by edge and at
 * random, and beside it the host functions of wasm2c_ic0.h; the install function against what instantiation did.
 *
 * Built where wabt is, see tools/packaging/wasm2c.cmake.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define PAGESTORE_WASM2C_IMPLEMENTATION
#include <pagestore/wasm2c.h>
#include <pagestore/wasm2c_ic0.h>

#include "shim_random.h"
#include "startup_native.h"
#include "startup_native_shim.h"

enum { HEAP_PAGES = 3, MAX_PAGES = 200 };

struct Z_env_instance_t {
  unsigned ticks;
};
struct Z_pagestore_instance_t {
  wasm_rt_memory_t heap, stable;
};
wasm_rt_memory_t *Z_pagestoreZ_heap(struct Z_pagestore_instance_t *memories) { return &memories->heap; }
wasm_rt_memory_t *Z_pagestoreZ_stable(struct Z_pagestore_instance_t *memories) { return &memories->stable; }
void Z_envZ_tick(struct Z_env_instance_t *env) { env->ticks++; }

struct Z_ic0_instance_t {
  pagestore_stable *calls;
};
PAGESTORE_WASM2C_IC0(ic0->calls)

static struct Z_pagestore_instance_t memories;
static struct Z_ic0_instance_t ic0; /* calls NULL: the shim serves */
static Z_shim_instance_t shim;
static Z_startup_native_instance_t module;
static struct Z_env_instance_t env;
/* the adapter's, as main() installed them: cmocka puts its own before each test */
static struct sigaction front_segv, front_bus;

/* ---- calls ----------------------------------------------------------------------------------- */

typedef enum { READ, WRITE, GROW, SIZE, INSTANTIATE, INSTALL, LOAD, STORE, COUNT, LATE } what;
typedef struct {
  what which;
  bool small;
  uint64_t a, b, c, result;
} shim_call;

/* By the host functions or by the shim, of 32 or 64 bits. */
static void read_stable(const shim_call *c) {
  u32 a = (u32)c->a, b = (u32)c->b, d = (u32)c->c;
  if (ic0.calls) c->small ? Z_ic0Z_stable_read(&ic0, a, b, d) : Z_ic0Z_stable64_read(&ic0, c->a, c->b, c->c);
  else c->small ? Z_shimZ_stable_read(&shim, a, b, d) : Z_shimZ_stable64_read(&shim, c->a, c->b, c->c);
}

static void write_stable(const shim_call *c) {
  u32 a = (u32)c->a, b = (u32)c->b, d = (u32)c->c;
  if (ic0.calls) c->small ? Z_ic0Z_stable_write(&ic0, a, b, d) : Z_ic0Z_stable64_write(&ic0, c->a, c->b, c->c);
  else c->small ? Z_shimZ_stable_write(&shim, a, b, d) : Z_shimZ_stable64_write(&shim, c->a, c->b, c->c);
}

static uint64_t grow_stable(const shim_call *c) {
  if (ic0.calls) return c->small ? Z_ic0Z_stable_grow(&ic0, (u32)c->a) : Z_ic0Z_stable64_grow(&ic0, c->a);
  return c->small ? Z_shimZ_stable_grow(&shim, (u32)c->a) : Z_shimZ_stable64_grow(&shim, c->a);
}

static uint64_t size_of_stable(const shim_call *c) {
  if (ic0.calls) return c->small ? Z_ic0Z_stable_size(&ic0) : Z_ic0Z_stable64_size(&ic0);
  return c->small ? Z_shimZ_stable_size(&shim) : Z_shimZ_stable64_size(&shim);
}

static void run(void *argument) {
  shim_call *c = argument;
  u32 a = (u32)c->a;
  switch (c->which) {
  case READ: read_stable(c); break;
  case WRITE: write_stable(c); break;
  case GROW: c->result = grow_stable(c); break;
  case SIZE: c->result = size_of_stable(c); break;
  case INSTANTIATE: Z_startup_native_instantiate(&module, &env, &memories); break;
  case INSTALL: Z_startup_nativeZ_pagestore_install(&module); break;
  case LOAD: c->result = Z_startup_nativeZ_load(&module, a); break;
  case STORE: Z_startup_nativeZ_store(&module, a, c->b); break;
  case COUNT: c->result = Z_startup_nativeZ_count(&module); break;
  case LATE: Z_startup_nativeZ_late(&module); break;
  }
}

/* The trap, or 0. */
static int call(shim_call *c) {
  static pagestore_wasm2c none;
  return pagestore_wasm2c_call(&none, run, c);
}

static void front(void) {
  sigaction(SIGSEGV, &front_segv, NULL);
  sigaction(SIGBUS, &front_bus, NULL);
}

static void open_memories(void) {
  front();
  wasm_rt_allocate_memory(&memories.heap, HEAP_PAGES, HEAP_PAGES);
  wasm_rt_allocate_memory(&memories.stable, 0, MAX_PAGES);
  Z_shim_init_module();
  Z_startup_native_init_module();
  Z_shim_instantiate(&shim, &memories);
}

static void close_memories(void) {
  Z_shim_free(&shim);
  wasm_rt_free_memory(&memories.heap);
  wasm_rt_free_memory(&memories.stable);
}

/* ---- the shim -------------------------------------------------------------------------------- */

static void copies_follow(model *m) {
  model_copy c = random_copy(m);
  shim_call s = {.which = c.write ? WRITE : READ, .small = c.small, .a = c.address, .b = c.offset, .c = c.bytes};
  if (c.write) s.a = c.offset, s.b = c.address;
  int trap = call(&s), expected = model_run(m, c);
  if (!trap != !expected)
    fail_msg("address %llx offset %llx bytes %llx write %d small %d of %llu pages: %d instead of %d",
             (unsigned long long)c.address, (unsigned long long)c.offset, (unsigned long long)c.bytes, c.write, c.small,
             (unsigned long long)m->pages, trap, expected);
  if (trap && ic0.calls) assert_int_equal(trap, expected);
  else if (trap) assert_true(trap == WASM_RT_TRAP_UNREACHABLE || trap == WASM_RT_TRAP_OOB);
}

static void growth_follows(model *m) {
  uint64_t more = roll() % 4 ? roll() % 4 : number(m), expected = 0;
  shim_call s = {.which = GROW, .small = roll() % 2, .a = more};
  assert_int_equal(call(&s), 0);
  assert_int_equal(model_grow(m, s.small ? (u32)more : more, s.small, &expected), 0);
  assert_int_equal(s.result, expected);
  s = (shim_call){.which = SIZE, .small = roll() % 2};
  assert_int_equal(call(&s), 0);
  assert_int_equal(s.result, m->pages);
}

static void follow_the_model(model *m, const uint8_t *stable) {
  for (unsigned i = 0; i < 60000; i++) {
    if (i % 300 == 0) growth_follows(m);
    uint64_t at = roll() % (m->heap_bytes - 8), word = roll();
    memcpy(m->heap + at, &word, 8);
    memcpy(memories.heap.data + at, &word, 8);
    copies_follow(m);
    if (i % 500) continue;
    assert_memory_equal(memories.heap.data, m->heap, m->heap_bytes);
    assert_memory_equal(stable, m->stable, m->pages * PAGESTORE_PAGE);
  }
  assert_int_equal(m->pages, MAX_PAGES);
}

static void the_shim_follows_the_model(void **state) {
  (void)state;
  model m;
  model_open(&m, HEAP_PAGES, MAX_PAGES);
  open_memories();
  follow_the_model(&m, memories.stable.data);
  close_memories();
  model_close(&m);
}

/* The stable memory is the library's, the heap is not. */
static void the_host_functions_follow_the_model(void **state) {
  (void)state;
  char folder[] = "/tmp/pagestore-shim-XXXXXX", path[64], command[64];
  pagestore_memory_options options = {.size = sizeof options, .flags = PAGESTORE_VOLATILE, .max_pages = MAX_PAGES};
  pagestore_store *store;
  pagestore_instance *instance;
  pagestore_memory *stable;
  model m;
  model_open(&m, HEAP_PAGES, MAX_PAGES);
  open_memories();
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/store", folder);
  assert_int_equal(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store), 0);
  assert_int_equal(pagestore_instance_open(store, "i",
                                           PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                                           &instance),
                   0);
  assert_int_equal(pagestore_memory_open(instance, "stable", &options, &stable), 0);
  assert_int_equal(pagestore_stable_open(NULL, stable, NULL, &ic0.calls), 0);
  pagestore_stable_heap(ic0.calls, memories.heap.data, (uint64_t)HEAP_PAGES * PAGESTORE_PAGE);
  follow_the_model(&m, pagestore_memory_base(stable));
  pagestore_stable_close(ic0.calls);
  ic0.calls = NULL;
  pagestore_instance_close(instance);
  assert_int_equal(pagestore_close(store), 0);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  assert_int_equal(system(command), 0);
  close_memories();
  model_close(&m);
}

/* ---- installing ------------------------------------------------------------------------------ */

static uint64_t loaded(uint32_t at) {
  shim_call s = {.which = LOAD, .a = at};
  assert_int_equal(call(&s), 0);
  return s.result;
}

static uint64_t counted(void) {
  shim_call s = {.which = COUNT};
  assert_int_equal(call(&s), 0);
  return s.result;
}

static void installing_does_what_instantiation_did(void **state) {
  (void)state;
  open_memories();
  memset(&env, 0, sizeof env);
  assert_int_equal(call(&(shim_call){.which = INSTANTIATE}), 0);
  for (unsigned i = 0; i < HEAP_PAGES * PAGESTORE_PAGE; i++) assert_int_equal(memories.heap.data[i], 0);
  assert_int_equal(env.ticks, 0);
  assert_int_equal(call(&(shim_call){.which = INSTALL}), 0);
  assert_memory_equal(memories.heap.data + 100, "heLL!", 6);
  assert_int_equal(loaded(65600), 1);
  assert_int_equal(counted(), 7);
  assert_int_equal(env.ticks, 1);

  /* A restart: the heap stays, globals are the host's to put back. */
  assert_int_equal(call(&(shim_call){.which = STORE, .a = 100, .b = 0x1234567890}), 0);
  u32 count = *Z_startup_nativeZ_pagestore_global_0(&module);
  u64 high = *Z_startup_nativeZ_pagestore_global_1(&module);
  assert_true(count == 7 && high == 0x1234567890);
  Z_startup_native_free(&module);
  assert_int_equal(call(&(shim_call){.which = INSTANTIATE}), 0);
  assert_int_equal(loaded(100), 0x1234567890);
  assert_int_equal(loaded(65600), 1);
  assert_int_equal(env.ticks, 1);
  assert_int_equal(*Z_startup_nativeZ_pagestore_global_0(&module), 0);
  *Z_startup_nativeZ_pagestore_global_0(&module) = count;
  assert_int_equal(counted(), 7);
  assert_int_equal(call(&(shim_call){.which = LATE}), 0);
  assert_memory_equal(memories.heap.data + 200, "later", 5);
  Z_startup_native_free(&module);
  close_memories();
}

int main(void) {
  wasm_rt_init();
  sigaction(SIGSEGV, NULL, &front_segv);
  sigaction(SIGBUS, NULL, &front_bus);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_shim_follows_the_model),
      cmocka_unit_test(the_host_functions_follow_the_model),
      cmocka_unit_test(installing_does_what_instantiation_did),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
