/* test_wasmtime_front.c - what the adapter sees to when a guest is bound: its handler is in front of Wasmtime's, although that came later;
 * an engine that puts a memory elsewhere, or shows another size of it, is found out.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <sys/mman.h>

#include "wasmtime_fixture.h"

/* ---- handlers ------------------------------------------------------------------------------------------------------------ */

static void poked_and_kept(const char *name) {
  host h;
  host_run(&h, name, PAGESTORE_CREATE);
  for (int i = 0; i < 20; i++) { /* each a first write to a clean block, in compiled code: under mprotect a fault */
    CALL(&h, "poke", 8192 + 4096 * i, i + 1);
    if (i % 5 == 4) ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  }
  host_close(&h);
  host_run(&h, name, 0);
  for (int i = 0; i < 20; i++) assert_int_equal(CALL(&h, "peek", 8192 + 4096 * i), i + 1);
  host_close(&h);
}

/* The library's handlers are there and at work when the process gets its first engine. */
static void an_engine_after_the_store(void **state) {
  (void)state;
  pagestore_instance *instance;
  pagestore_memory *memory;
  assert_ok(pagestore_handlers()); /* cmocka has put its own in front since set_up */
  assert_ok(pagestore_instance_open(store, "early", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                                    &instance));
  assert_ok(pagestore_memory_open(instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = 2, .max_pages = 2),
                                  &memory));
  assert_ok(pagestore_commit(instance, 0, NULL));
  *(volatile uint8_t *)pagestore_memory_base(memory) = 1;
  assert_int_equal(engine_ready(), 0);
  *((volatile uint8_t *)pagestore_memory_base(memory) + 4096) = 1;
  poked_and_kept("late engine");
  assert_ok(pagestore_rollback(instance));
  pagestore_instance_close(instance);
}

/* Somebody else's handler is put in front between two guests: instantiating puts it right again. */
static void on_fault(int number) {
  static const char text[] = "a fault of ours went to a handler of theirs\n";
  (void)!write(2, text, sizeof text - 1);
  _exit(100 + number);
}

static void a_handler_after_the_engine(void **state) {
  (void)state;
  struct sigaction theirs = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
  host h;
  host_open(&h, "theirs", PAGESTORE_CREATE);
  assert_int_equal(sigaction(SIGSEGV, &theirs, NULL), 0);
  running(&h, &main_module);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  CALL(&h, "poke", 70000, 5);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  assert_int_equal(CALL(&h, "peek", 70000), 5);
  host_close(&h);
}

/* ---- engines that do otherwise --------------------------------------------------------------------------------------------- */

enum { ELSEWHERE_BYTES = 16 * PAGE };
static enum { HONEST, LIES_ABOUT_BASE, LIES_AT_FIRST, LIES_ABOUT_SIZE } lie;
static uint8_t *elsewhere;
static int looks;
static wasmtime_linear_memory_t honest[4];
static int honest_count;

static uint8_t *look(void *env, size_t *bytes, size_t *capacity) {
  wasmtime_linear_memory_t *m = env;
  uint8_t *base = m->get_memory(m->env, bytes, capacity);
  if (lie == LIES_ABOUT_SIZE && *bytes) *bytes -= PAGE;
  bool is_moved = lie == LIES_ABOUT_BASE || (lie == LIES_AT_FIRST && looks++ == 0);
  return is_moved && *bytes <= ELSEWHERE_BYTES ? elsewhere : base;
}

static wasmtime_error_t *grow(void *env, size_t bytes) {
  wasmtime_linear_memory_t *m = env;
  return m->grow_memory(m->env, bytes);
}

static wasmtime_error_t *create(void *env, const wasm_memorytype_t *type, size_t minimum, size_t maximum, size_t reserved,
                                size_t guard, wasmtime_linear_memory_t *out) {
  wasmtime_linear_memory_t *m = &honest[honest_count++ % 4];
  wasmtime_error_t *error = pagestore_wasmtime_create(env, type, minimum, maximum, reserved, guard, m);
  if (!error) *out = (wasmtime_linear_memory_t){.env = m, .get_memory = look, .grow_memory = grow};
  return error;
}

static void engine_of_lies(pagestore_wasmtime_engine *out) {
  wasmtime_memory_creator_t creator = {.new_memory = create};
  wasm_config_t *config = wasm_config_new();
  memset(out, 0, sizeof *out);
  pagestore_wasmtime_config(config, out);
  wasmtime_config_host_memory_creator_set(config, &creator);
  out->engine = wasm_engine_new_with_config(config);
  for (int is64 = 0; is64 <= 1; is64++) assert_null(pagestore_wasmtime_probe(out->engine, is64, &out->probe[is64]));
}

/* What instantiation says of a module with one memory. */
static int bound_by(int how, char *detail, size_t room) {
  pagestore_wasmtime_engine kept = engine;
  pagestore_wasmtime_module module;
  pagestore_memory_options options = {.size = sizeof options, .max_pages = 9};
  char name[20];
  host h;
  snprintf(name, sizeof name, "lie %d", how);
  lie = how;
  looks = 0;
  engine_of_lies(&engine);
  assert_int_equal(module_of("(module (memory (export \"m\") 3 9))", 0, &module), 0);
  host_open(&h, name, PAGESTORE_CREATE);
  ok(&h, pagestore_wasmtime_start(&h.guest, &engine, h.instance));
  ok(&h, pagestore_wasmtime_memory(&h.guest, "m", &options, "m", &h.heap));
  int status = pagestore_wasmtime_instantiate(&h.guest, &module, NULL, &h.module);
  snprintf(detail, room, "%s", h.guest.detail);
  host_close(&h);
  pagestore_wasmtime_module_delete(&module);
  pagestore_wasmtime_engine_delete(&engine);
  engine = kept;
  return status;
}

static void other_engines_are_found_out(void **state) {
  char detail[300];
  (void)state;
  elsewhere = mmap(NULL, UINT64_C(5) << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(elsewhere != MAP_FAILED && mprotect(elsewhere, ELSEWHERE_BYTES, PROT_READ | PROT_WRITE) == 0);
  assert_int_equal(bound_by(HONEST, detail, sizeof detail), 0);
  for (int how = LIES_ABOUT_BASE; how <= LIES_ABOUT_SIZE; how++) {
    int status = bound_by(how, detail, sizeof detail);
    print_message("lie %d: %d %s\n", how, status, detail);
    assert_true(status == PAGESTORE_EUNSUPPORTED || status == PAGESTORE_EINVAL);
  }
  munmap(elsewhere, UINT64_C(5) << 30);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(an_engine_after_the_store),
      EACH(a_handler_after_the_engine),
      EACH(other_engines_are_found_out),
  };
  tracker = PAGESTORE_TRACK_MPROTECT;
  int failed = cmocka_run_group_tests_name("mprotect", tests, NULL, NULL);
  return engine_done() || failed;
}
