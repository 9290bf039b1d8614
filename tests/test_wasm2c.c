/* test_wasm2c.c - the wasm2c adapter: binding, growth, traps of every kind, globals, foreign
 * signals, damage, threads. The module is tests/wasm2c_module.wat; built where wabt is, see
 * tools/packaging/wasm2c.cmake.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGESTORE_WASM2C_IMPLEMENTATION
#include <pagestore/wasm2c.h>

#include "wasm2c_module.h"

#define OK(call)                                                                                   \
  do {                                                                                             \
    int err_ = (call);                                                                             \
    if (err_) fail_msg("%s: %d %s", #call, err_, pagestore_detail());                              \
  } while (0)

struct Z_env_instance_t {
  wasm_rt_memory_t first, second;
  void (*host)(struct Z_env_instance_t *, u32);
  void *env;
};
wasm_rt_memory_t *Z_envZ_first(struct Z_env_instance_t *env) { return &env->first; }
wasm_rt_memory_t *Z_envZ_second(struct Z_env_instance_t *env) { return &env->second; }
void Z_envZ_host(struct Z_env_instance_t *env, u32 argument) { env->host(env, argument); }

typedef struct {
  pagestore_instance *instance;
  pagestore_memory *first, *second;
  pagestore_wasm2c wasm2c;
  pagestore_wasm2c_global global;
  struct Z_env_instance_t env;
  Z_wasm2c_module_instance_t module;
} host;

static char folder[] = "/tmp/pagestore-wasm2c-XXXXXX";
static pagestore_store *store;
/* the library's, as main() installed them: cmocka puts its own before each test */
static struct sigaction front_segv, front_bus;
static sigjmp_buf foreign_back;
static volatile int foreign_count;

/* ---- calls ----------------------------------------------------------------------------------- */

typedef enum {
  POKE,
  PEEK,
  FAR,
  FILL,
  GROW,
  SIZE,
  POKE_SECOND,
  GROW_SECOND,
  POKE_OWN,
  GROW_OWN,
  DIVIDE,
  INDIRECT,
  STOP,
  DEEP,
  COUNT,
  OUTWARD,
  INSTANTIATE,
  TOUCH
} what;
typedef struct {
  host *h;
  what which;
  u32 a, b, result;
  volatile uint8_t *address;
} call;

static void run(void *env) {
  call *c = env;
  Z_wasm2c_module_instance_t *m = &c->h->module;
  switch (c->which) {
  case POKE: Z_wasm2c_moduleZ_poke(m, c->a, c->b); break;
  case PEEK: c->result = Z_wasm2c_moduleZ_peek(m, c->a); break;
  case FAR: c->result = (u32)Z_wasm2c_moduleZ_far(m, c->a); break;
  case FILL: Z_wasm2c_moduleZ_fill(m, c->a, 1, c->b); break;
  case GROW: c->result = Z_wasm2c_moduleZ_grow(m, c->a); break;
  case SIZE: c->result = Z_wasm2c_moduleZ_size(m); break;
  case POKE_SECOND: Z_wasm2c_moduleZ_poke_second(m, c->a, c->b); break;
  case GROW_SECOND: c->result = Z_wasm2c_moduleZ_grow_second(m, c->a); break;
  case POKE_OWN: Z_wasm2c_moduleZ_poke_own(m, c->a, c->b); break;
  case GROW_OWN: c->result = Z_wasm2c_moduleZ_grow_own(m, c->a); break;
  case DIVIDE: c->result = Z_wasm2c_moduleZ_divide(m, c->a, c->b); break;
  case INDIRECT: c->result = Z_wasm2c_moduleZ_indirect(m, c->a); break;
  case STOP: Z_wasm2c_moduleZ_stop(m); break;
  case DEEP: c->result = Z_wasm2c_moduleZ_deep(m, 0); break;
  case COUNT: Z_wasm2c_moduleZ_count(m); break;
  case OUTWARD: Z_wasm2c_moduleZ_outward(m, c->a, c->b); break;
  case INSTANTIATE: Z_wasm2c_module_instantiate(m, &c->h->env); break;
  case TOUCH: c->result = *c->address; break;
  }
}

static int trap_of(host *h, what which, u32 a, u32 b) {
  return pagestore_wasm2c_call(&h->wasm2c, run, &(call){.h = h, .which = which, .a = a, .b = b});
}

static u32 result_of(host *h, what which, u32 a, u32 b) {
  call c = {.h = h, .which = which, .a = a, .b = b};
  int code = pagestore_wasm2c_call(&h->wasm2c, run, &c);
  if (code) fail_msg("call %d: %s", which, pagestore_wasm2c_strerror(code));
  return c.result;
}

static int touch(host *h, volatile uint8_t *address) {
  return pagestore_wasm2c_call(&h->wasm2c, run,
                               &(call){.h = h, .which = TOUCH, .address = address});
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static void open_host(host *h, const char *name, uint32_t flags) {
  memset(h, 0, sizeof *h);
  pagestore_memory_options first = {.size = sizeof first, .pages = 2, .max_pages = 64};
  pagestore_memory_options second = {.size = sizeof second, .max_pages = 64};
  pagestore_instance_options options = {.size = sizeof options, .flags = flags};
  sigaction(SIGSEGV, &front_segv, NULL);
  sigaction(SIGBUS, &front_bus, NULL);
  OK(pagestore_instance_open(store, name, &options, &h->instance));
  OK(pagestore_wasm2c_start(&h->wasm2c, h->instance));
  OK(pagestore_wasm2c_memory(&h->wasm2c, "first", &first, &h->env.first, &h->first));
  OK(pagestore_wasm2c_memory(&h->wasm2c, "second", &second, &h->env.second, &h->second));
  Z_wasm2c_module_init_module();
  assert_int_equal(trap_of(h, INSTANTIATE, 0, 0), 0);
  h->global = (pagestore_wasm2c_global){"counter", Z_wasm2c_moduleZ_counter(&h->module), 4};
  h->wasm2c.globals = &h->global;
  h->wasm2c.global_count = 1;
  if (pagestore_committed_version(h->instance)) OK(pagestore_wasm2c_rollback(&h->wasm2c));
  else OK(pagestore_wasm2c_commit(&h->wasm2c, 0, NULL));
}

static void close_host(host *h) {
  Z_wasm2c_module_free(&h->module);
  pagestore_wasm2c_stop(&h->wasm2c);
  pagestore_instance_close(h->instance);
}

static void on_foreign(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  foreign_count++;
  siglongjmp(foreign_back, 1);
}

/* The host's own handler is there first, as a crash reporter's would be; then the adapter's, then
 * the library's. */
static int open_store(void) {
  struct sigaction action = {.sa_sigaction = on_foreign, .sa_flags = SA_SIGINFO};
  char path[64];
  sigaction(SIGSEGV, &action, NULL);
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/store", folder);
  wasm_rt_init();
  sigaction(SIGSEGV, NULL, &front_segv);
  sigaction(SIGBUS, NULL, &front_bus);
  return pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store);
}

static int close_store(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return pagestore_close(store) || system(command);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void bytes_arrive_and_come_back(void **state) {
  (void)state;
  host h;
  u32 found;
  open_host(&h, "bytes", PAGESTORE_CREATE);
  assert_ptr_equal(h.env.first.data, pagestore_memory_base(h.first));
  assert_int_equal(h.env.first.size, 2 * PAGESTORE_PAGE);
  result_of(&h, POKE, 70000, 0x12345678);
  OK(pagestore_memory_read(h.first, 70000, &found, 4));
  assert_int_equal(found, 0x12345678);
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  result_of(&h, POKE, 70000, 9);
  OK(pagestore_wasm2c_rollback(&h.wasm2c));
  assert_int_equal(result_of(&h, PEEK, 70000, 0), 0x12345678);
  close_host(&h);
  open_host(&h, "bytes", 0);
  assert_int_equal(result_of(&h, PEEK, 70000, 0), 0x12345678);
  close_host(&h);
}

static void growth_is_told_and_taken_back(void **state) {
  (void)state;
  host h;
  open_host(&h, "growth", PAGESTORE_CREATE);
  assert_int_equal(result_of(&h, GROW, 3, 0), 2);
  assert_int_equal(result_of(&h, SIZE, 0, 0), 5);
  result_of(&h, POKE, 5 * PAGESTORE_PAGE - 4, 1);
  assert_int_equal(result_of(&h, GROW_SECOND, 1, 0), 0);
  result_of(&h, POKE_SECOND, PAGESTORE_PAGE - 4, 1);
  OK(pagestore_wasm2c_rollback(&h.wasm2c));
  assert_int_equal(result_of(&h, SIZE, 0, 0), 2);
  assert_int_equal(trap_of(&h, PEEK, 2 * PAGESTORE_PAGE, 0), WASM_RT_TRAP_OOB);
  assert_int_equal(trap_of(&h, POKE_SECOND, 0, 1), WASM_RT_TRAP_OOB);
  assert_int_equal(result_of(&h, GROW, 63, 0), UINT32_MAX);
  assert_int_equal(result_of(&h, GROW, UINT32_MAX, 0), UINT32_MAX);
  assert_int_equal(result_of(&h, GROW, 62, 0), 2);
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  assert_int_equal(h.env.first.pages, 64);
  close_host(&h);
}

static void own_memory_grows_and_traps(void **state) {
  (void)state;
  host h;
  open_host(&h, "own", PAGESTORE_CREATE);
  result_of(&h, POKE_OWN, PAGESTORE_PAGE - 4, 1);
  assert_int_equal(trap_of(&h, POKE_OWN, PAGESTORE_PAGE, 1), WASM_RT_TRAP_OOB);
  assert_int_equal(result_of(&h, GROW_OWN, 2, 0), 1);
  result_of(&h, POKE_OWN, 3 * PAGESTORE_PAGE - 4, 1);
  assert_int_equal(result_of(&h, GROW_OWN, 1, 0), UINT32_MAX);
  close_host(&h);
}

static void every_trap_comes_back(void **state) {
  (void)state;
  host h;
  open_host(&h, "traps", PAGESTORE_CREATE);
  for (int round = 0; round < 3; round++) {
    result_of(&h, POKE, 0, (u32)round + 1);
    assert_int_equal(trap_of(&h, PEEK, 2 * PAGESTORE_PAGE - 3, 0), WASM_RT_TRAP_OOB);
    assert_int_equal(trap_of(&h, PEEK, UINT32_MAX, 0), WASM_RT_TRAP_OOB);
    assert_int_equal(trap_of(&h, FAR, UINT32_MAX, 0), WASM_RT_TRAP_OOB);
    assert_int_equal(trap_of(&h, FILL, PAGESTORE_PAGE, 2 * PAGESTORE_PAGE), WASM_RT_TRAP_OOB);
    assert_int_equal(trap_of(&h, DIVIDE, 1, 0), WASM_RT_TRAP_DIV_BY_ZERO);
    assert_int_equal(trap_of(&h, DIVIDE, 0x80000000u, UINT32_MAX), WASM_RT_TRAP_INT_OVERFLOW);
    assert_int_equal(trap_of(&h, INDIRECT, 1, 0), WASM_RT_TRAP_CALL_INDIRECT);
    assert_int_equal(trap_of(&h, INDIRECT, 2, 0), WASM_RT_TRAP_CALL_INDIRECT);
    assert_int_equal(result_of(&h, INDIRECT, 0, 0), 1);
    assert_int_equal(trap_of(&h, STOP, 0, 0), WASM_RT_TRAP_UNREACHABLE);
    assert_int_equal(trap_of(&h, DEEP, 0, 0), WASM_RT_TRAP_EXHAUSTION);
    assert_int_equal(result_of(&h, PEEK, 0, 0), round + 1);
  }
  OK(pagestore_wasm2c_rollback(&h.wasm2c));
  assert_int_equal(result_of(&h, PEEK, 0, 0), 0);
  close_host(&h);
}

static void globals_follow_the_message(void **state) {
  (void)state;
  host h;
  u32 *counter;
  open_host(&h, "globals", PAGESTORE_CREATE);
  counter = Z_wasm2c_moduleZ_counter(&h.module);
  assert_int_equal(*counter, 5);
  result_of(&h, COUNT, 0, 0);
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  result_of(&h, COUNT, 0, 0);
  OK(pagestore_wasm2c_rollback(&h.wasm2c));
  assert_int_equal(*counter, 6);
  close_host(&h);
  open_host(&h, "globals", 0);
  assert_int_equal(*Z_wasm2c_moduleZ_counter(&h.module), 6);
  uint64_t version = pagestore_committed_version(h.instance), after;
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, &after));
  assert_int_equal(after, version); /* globals that did not change make no version */
  h.global.bytes = 8;
  assert_int_equal(pagestore_wasm2c_load_globals(&h.wasm2c), PAGESTORE_ETYPE);
  h.global = (pagestore_wasm2c_global){"other", counter, 4};
  assert_int_equal(pagestore_wasm2c_load_globals(&h.wasm2c), PAGESTORE_ENOTFOUND);
  close_host(&h);
}

static void call_the_inner(struct Z_env_instance_t *env, u32 trap) {
  host *inner = env->env;
  result_of(inner, POKE, 0, 11);
  if (trap) assert_int_equal(trap_of(inner, PEEK, UINT32_MAX, 0), WASM_RT_TRAP_OOB);
  if (trap == 2) wasm_rt_trap(WASM_RT_TRAP_UNREACHABLE);
}

static void calls_nest(void **state) {
  (void)state;
  host outer, inner;
  open_host(&outer, "outer", PAGESTORE_CREATE);
  open_host(&inner, "inner", PAGESTORE_CREATE);
  outer.env.host = call_the_inner;
  outer.env.env = &inner;
  result_of(&outer, OUTWARD, 16, 1);
  assert_int_equal(result_of(&outer, PEEK, 16, 0), 8);
  assert_int_equal(trap_of(&outer, OUTWARD, 16, 2), WASM_RT_TRAP_UNREACHABLE);
  assert_int_equal(result_of(&outer, PEEK, 16, 0), 7);
  assert_int_equal(result_of(&inner, PEEK, 0, 0), 11);
  close_host(&inner);
  close_host(&outer);
}

/* Ours answers for its memories only, and only inside a call. */
static void foreign_faults_go_on(void **state) {
  (void)state;
  host h;
  open_host(&h, "foreign", PAGESTORE_CREATE);
  uint8_t *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  foreign_count = 0;
  if (sigsetjmp(foreign_back, 1) == 0) (void)*(volatile uint8_t *)page;
  assert_int_equal(foreign_count, 1);
  if (sigsetjmp(foreign_back, 1) == 0)
    (void)*(volatile uint8_t *)(h.env.first.data + h.env.first.size);
  assert_int_equal(foreign_count, 2);
  pagestore_wasm2c_frame *top = pagestore_wasm2c_top;
  if (sigsetjmp(foreign_back, 1) == 0) touch(&h, page);
  pagestore_wasm2c_top = top; /* the foreign handler left our call by the window */
  assert_int_equal(foreign_count, 3);
  assert_int_equal(trap_of(&h, PEEK, UINT32_MAX, 0), WASM_RT_TRAP_OOB);
  munmap(page, 4096);
  close_host(&h);
}

static void wrong_bindings_are_refused(void **state) {
  (void)state;
  host h;
  pagestore_memory *small;
  wasm_rt_memory_t guest;
  pagestore_memory_options options = {.size = sizeof options,
                                      .pages = 1,
                                      .max_pages = 4,
                                      .guard_bytes = 1 << 20};
  open_host(&h, "wrong", PAGESTORE_CREATE);
  assert_int_equal(pagestore_wasm2c_bind(&h.wasm2c, h.first, NULL, &h.env.first), PAGESTORE_EINVAL);
  OK(pagestore_memory_open(h.instance, "small", &options, &small));
  assert_int_equal(pagestore_wasm2c_bind(&h.wasm2c, small, &options, &guest), PAGESTORE_EINVAL);
  OK(pagestore_wasm2c_bind(&h.wasm2c, small, &options, NULL));
  options = (pagestore_memory_options){.size = sizeof options,
                                       .flags = PAGESTORE_MEMORY64,
                                       .pages = 1,
                                       .max_pages = 4};
  assert_int_equal(pagestore_wasm2c_memory(&h.wasm2c, "wide", &options, &guest, NULL),
                   PAGESTORE_EUNSUPPORTED);
  close_host(&h);
}

static void views_run_the_module(void **state) {
  (void)state;
  host h, view;
  open_host(&h, "viewed", PAGESTORE_CREATE);
  result_of(&h, POKE, 100, 42);
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  open_host(&view, "viewed", PAGESTORE_PRIVATE);
  result_of(&h, POKE, 100, 43);
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  assert_int_equal(result_of(&view, PEEK, 100, 0), 42);
  result_of(&view, POKE, 100, 44);
  assert_int_equal(result_of(&h, PEEK, 100, 0), 43);
  OK(pagestore_wasm2c_rollback(&view.wasm2c));
  OK(pagestore_instance_advance(view.instance, PAGESTORE_LATEST));
  OK(pagestore_wasm2c_refresh(&view.wasm2c));
  assert_int_equal(result_of(&view, PEEK, 100, 0), 43);
  close_host(&view);
  memset(&view, 0, sizeof view);
  OK(pagestore_instance_open(store, "viewed",
                             PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                             &view.instance));
  OK(pagestore_wasm2c_start(&view.wasm2c, view.instance));
  OK(pagestore_wasm2c_memory(&view.wasm2c, "first", NULL, &view.env.first, &view.first));
  memset(&view.module, 0, sizeof view.module);
  view.module = h.module;
  view.module.Z_envZ_first = &view.env.first;
  assert_int_equal(result_of(&view, PEEK, 100, 0), 43);
  assert_int_equal(trap_of(&view, POKE, 100, 1), PAGESTORE_WASM2C_PAGE);
  pagestore_wasm2c_stop(&view.wasm2c);
  pagestore_instance_close(view.instance);
  close_host(&h);
}

/* Flips one bit of the first place in the store's file where these bytes stand. */
static void damage(const char *pattern) {
  char path[64];
  struct stat info;
  snprintf(path, sizeof path, "%s/store/data.mdb", folder);
  int file = open(path, O_RDWR);
  assert_true(file >= 0 && fstat(file, &info) == 0);
  uint8_t *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  uint8_t *found = memmem(bytes, (size_t)info.st_size, pattern, strlen(pattern));
  assert_non_null(found);
  for (; found; found = memmem(found + 1, (size_t)(bytes + info.st_size - found - 1), pattern,
                               strlen(pattern)))
    found[3] ^= 1;
  munmap(bytes, (size_t)info.st_size);
  close(file);
}

static void a_damaged_page_is_a_trap(void **state) {
  host h;
  static const char pattern[] = "a pattern that stands nowhere else: 8d1f0c";
  open_host(&h, "damaged", PAGESTORE_CREATE);
  OK(pagestore_memory_write(h.first, PAGESTORE_PAGE + 500, pattern, sizeof pattern));
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  close_host(&h);
  OK(pagestore_close(store));
  damage(pattern);
  char path[64];
  snprintf(path, sizeof path, "%s/store", folder);
  OK(pagestore_open(path, NULL, &store));
  open_host(&h, "damaged", 0);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(trap_of(&h, PEEK, PAGESTORE_PAGE + 500, 0), PAGESTORE_WASM2C_PAGE);
    assert_int_equal(result_of(&h, PEEK, 0, 0), 0);
    result_of(&h, POKE, 0, 1);
    assert_int_equal(pagestore_commit(h.instance, 0, NULL), PAGESTORE_ECORRUPT);
    OK(pagestore_wasm2c_rollback(&h.wasm2c));
  }
  result_of(&h, POKE, 0, 2);
  OK(pagestore_wasm2c_commit(&h.wasm2c, 0, NULL));
  close_host(&h);
  (void)state;
}

static void *trap_often(void *env) {
  host *h = env;
  for (u32 i = 0; i < 200; i++) {
    result_of(h, POKE, 64, i);
    if (trap_of(h, PEEK, UINT32_MAX, 0) != WASM_RT_TRAP_OOB ||
        trap_of(h, DEEP, 0, 0) != WASM_RT_TRAP_EXHAUSTION)
      return h;
    if (i % 2 ? pagestore_wasm2c_commit(&h->wasm2c, PAGESTORE_ASYNC, NULL)
              : pagestore_wasm2c_rollback(&h->wasm2c))
      return h;
    if (result_of(h, PEEK, 64, 0) != (i % 2 ? i : i - (i > 0))) return h;
  }
  return NULL;
}

static void threads_trap_by_themselves(void **state) {
  (void)state;
  host hosts[3];
  pthread_t threads[3];
  const char *const names[] = {"thread-1", "thread-2", "thread-3"};
  for (int i = 0; i < 3; i++) open_host(&hosts[i], names[i], PAGESTORE_CREATE);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, trap_often, &hosts[i]), 0);
  for (int i = 0; i < 3; i++) {
    void *result;
    pthread_join(threads[i], &result);
    assert_null(result);
  }
  for (int i = 0; i < 3; i++) close_host(&hosts[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_arrive_and_come_back), cmocka_unit_test(growth_is_told_and_taken_back),
      cmocka_unit_test(own_memory_grows_and_traps), cmocka_unit_test(every_trap_comes_back),
      cmocka_unit_test(globals_follow_the_message), cmocka_unit_test(calls_nest),
      cmocka_unit_test(foreign_faults_go_on),       cmocka_unit_test(wrong_bindings_are_refused),
      cmocka_unit_test(views_run_the_module),       cmocka_unit_test(a_damaged_page_is_a_trap),
      cmocka_unit_test(threads_trap_by_themselves),
  };
  if (open_store()) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return close_store() || failed;
}
