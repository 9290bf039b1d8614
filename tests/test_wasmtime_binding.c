/* test_wasmtime_binding.c - which memories a module gets, and what is refused with a reason; volatile memories; a shim
 * that defines the memories of another module; two threads of views while messages run.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <pthread.h>
#include <stdatomic.h>

#include "wasmtime_fixture.h"

static void refused(const char *wat, unsigned flags, const char *reason) {
  pagestore_wasmtime_module module;
  assert_int_equal(module_of(wat, flags, &module), PAGESTORE_EUNSUPPORTED);
  if (!strstr(module.detail, reason)) fail_msg("'%s' does not say '%s'", module.detail, reason);
  assert_null(module.module);
}

static void modules_are_examined(void **state) {
  (void)state;
  pagestore_wasmtime_module module;
  refused("(module (memory 1) (global (mut i32) (i32.const 1)))", 0, "1 mutable globals");
  refused("(module (import \"a\" \"b\" (global (mut i64))))", PAGESTORE_WASMTIME_TABLES, "1 mutable globals");
  refused("(module (table 1 funcref) (func $f (table.set (i32.const 0) (ref.func $f))) (elem declare func $f))", 0,
          "table");
  refused("(module (table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1)))))", 0, "table");
  refused("(module (table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 1))))", 0, "table");
  refused("(module (table 1 funcref) (elem func 0) (func (table.init 0 (i32.const 0) (i32.const 0) (i32.const 1))))", 0,
          "table");
  refused("(module (table 1 funcref) (func (table.fill (i32.const 0) (ref.null func) (i32.const 1))))",
          PAGESTORE_WASMTIME_HIDDEN, "table");
  assert_int_equal(module_of("(module (table 1 funcref) (global (mut i32) (i32.const 1))"
                             " (func (drop (table.grow (ref.null func) (i32.const 1)))))",
                             PAGESTORE_WASMTIME_TABLES | PAGESTORE_WASMTIME_HIDDEN, &module),
                   0);
  assert_true(module.changes_tables);
  assert_int_equal(module.hidden_globals, 1);
  pagestore_wasmtime_module_delete(&module);
  assert_int_equal(pagestore_wasmtime_module_new(&engine, (const uint8_t *)"nonsense", 8, 0, &module),
                   PAGESTORE_EINVAL);
}

/* Each kind of immediate is stepped over: behind all of them a table.set is found, and without it nothing is. */
static void every_instruction_is_stepped_over(void **state) {
  static const char *const codes[] = {
      "(drop (select (result i32) (i32.const -70000) (i32.const 1) (i32.const 0)))",
      "(block (result i32) (br_table 0 0 0 (i32.const 1) (i32.const 2))) drop",
      "(drop (i64.const -9000000000000)) (drop (f32.const 38)) (drop (f64.const 38))",
      "(drop (i64.load $b offset=0x10000 (i64.const 1))) (i32.store8 offset=38 (i32.const 0) (i32.const 38))",
      "(memory.copy $b $b (i64.const 0) (i64.const 0) (i64.const 0)) (memory.fill (i32.const 0) (i32.const 0) "
      "(i32.const 0))",
      "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)) (data.drop $d) (elem.drop $e)",
      "(drop (v128.const i32x4 0x26262626 0x26 0x26 0x26)) (drop (v128.load8_lane 3 (i32.const 0) (v128.const i64x2 0 "
      "0)))",
      "(drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (v128.const i64x2 0 0) (v128.const i64x2 0 0)))",
      "(drop (i32x4.extract_lane 2 (v128.const i64x2 0 0))) (drop (i8x16.add (v128.const i64x2 0 0) (v128.const i64x2 "
      "0 0)))",
      "(drop (i32.atomic.load (i32.const 0))) (atomic.fence)",
      "(drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))",
      "(drop (call_indirect (result i32) (i32.const 0))) (drop (table.size 0)) (drop (table.get 0 (i32.const 0)))",
      "(drop (ref.is_null (ref.null func))) (drop (i32.trunc_sat_f32_s (f32.const 1))) (drop (ref.func 0))",
      "(loop (br_if 0 (i32.const 0))) (if (i32.const 1) (then nop) (else nop)) (drop (memory.grow $b (i64.const 0)))",
  };
  (void)state;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    for (int changes = 0; changes < 2; changes++) {
      char wat[2048];
      pagestore_wasmtime_module module;
      snprintf(wat, sizeof wat,
               "(module (memory 1) (memory $b i64 1) (table 1 funcref) (data $d \"x\") (elem $e func 0) (elem declare "
               "func 0)"
               "(func (result i32) (local i32 v128) (i32.const 0))"
               "(func (local f64) %s %s) (func (drop (i32.const 38))))",
               codes[i], changes ? "(table.set (i32.const 0) (ref.null func))" : "");
      int status = module_of(wat, 0, &module);
      if (status != (changes ? PAGESTORE_EUNSUPPORTED : 0)) fail_msg("%s: %d %s", codes[i], status, module.detail);
      pagestore_wasmtime_module_delete(&module);
    }
}

static void started(host *h, const char *name) {
  host_open(h, name, PAGESTORE_CREATE);
  ok(h, pagestore_wasmtime_start(&h->guest, &engine, h->instance));
}

static void bind(host *h, const char *name, uint32_t flags, const char *export_name) {
  pagestore_memory_options options = {.size = sizeof options, .pages = 1, .max_pages = 16, .flags = flags};
  ok(h, pagestore_wasmtime_memory(&h->guest, name, &options, export_name, NULL));
}

/* The module with these memories listed: refused, and the reason. */
static void unfit(const char *wat, uint32_t flags, const char *export_name, int wanted, const char *reason) {
  pagestore_wasmtime_module module;
  host h;
  started(&h, "unfit");
  bind(&h, "m", flags, export_name);
  if (module_of(wat, 0, &module)) fail_msg("%s", module.detail);
  int status = pagestore_wasmtime_instantiate(&h.guest, &module, h.linker, &h.module);
  if (status != wanted || !strstr(h.guest.detail, reason)) fail_msg("%s: %d '%s'", wat, status, h.guest.detail);
  host_close(&h);
  pagestore_wasmtime_module_delete(&module);
}

static void unfit_modules_are_refused(void **state) {
  (void)state;
  unfit("(module (memory (export \"m\") 1) (memory (export \"n\") 1))", 0, "m", PAGESTORE_EINVAL,
        "defines 2 memories, 1");
  unfit("(module)", 0, "m", PAGESTORE_EINVAL, "defines 0 memories, 1");
  unfit("(module (memory (export \"m\") i64 1))", 0, "m", PAGESTORE_ETYPE, "64-bit");
  unfit("(module (memory (export \"m\") 1))", PAGESTORE_MEMORY64, "m", PAGESTORE_ETYPE, "32-bit");
  unfit("(module (memory 1))", 0, NULL, PAGESTORE_EUNSUPPORTED, "does not export");
  unfit("(module (memory (export \"other\") 1))", 0, "m", PAGESTORE_EINVAL, "not listed");
  unfit("(module (memory (export \"m\") 0 0))", 0, "m", PAGESTORE_ETYPE, "maximum is 0");
  unfit("(module (memory (export \"m\") 17))", 0, "m", PAGESTORE_EBOUNDS, "");
  unfit("(module (memory (export \"m\") 1) (func $f unreachable) (start $f))", 0, "m", PAGESTORE_WASMTIME_TRAP,
        "unreachable");
  unfit("(module (memory (export \"m\") 1) (global (export \"g\") (mut funcref) (ref.null func)))", 0, "m",
        PAGESTORE_EUNSUPPORTED, "reference");
  unfit("(module (import \"no\" \"where\" (func)) (memory (export \"m\") 1))", 0, "m", PAGESTORE_EINVAL, "where");
}

static void shared_memories_are_refused(void **state) {
  (void)state;
  pagestore_wasmtime_engine threads = {.reservation_bytes = UINT64_C(1) << 30};
  pagestore_wasmtime_module module;
  wasm_config_t *config = wasm_config_new();
  wasm_byte_vec_t wasm;
  static const char wat[] = "(module (memory (export \"m\") 1 2 shared))";
  fronts_back();
  wasmtime_config_shared_memory_set(config, true);
  assert_int_equal(pagestore_wasmtime_engine_new(&threads, config), 0);
  assert_null(wasmtime_wat2wasm(wat, sizeof wat - 1, &wasm));
  assert_int_equal(pagestore_wasmtime_module_new(&threads, (uint8_t *)wasm.data, wasm.size, 0, &module),
                   PAGESTORE_EUNSUPPORTED);
  assert_non_null(strstr(module.detail, "shared"));
  wasm_byte_vec_delete(&wasm);
  pagestore_wasmtime_engine_delete(&threads);
}

static void a_memory_is_bound_once(void **state) {
  (void)state;
  host h;
  wasmtime_instance_t second;
  pagestore_wasmtime other = {0};
  host_run(&h, "once", PAGESTORE_CREATE);
  assert_int_equal(pagestore_wasmtime_memory(&h.guest, "heap", NULL, "heap", NULL), PAGESTORE_EINVAL);
  assert_non_null(strstr(h.guest.detail, "bound already"));
  assert_int_equal(pagestore_wasmtime_instantiate(&h.guest, &main_module, h.linker, &second), PAGESTORE_EINVAL);
  ok(&h, pagestore_wasmtime_start(&other, &engine, h.instance));
  assert_int_equal(pagestore_wasmtime_memory(&other, "heap", NULL, "heap", NULL), PAGESTORE_EINVAL);
  pagestore_wasmtime_stop(&other);
  /* Past the helper the engine has no memory to give. */
  wasmtime_store_t *bare = wasmtime_store_new(engine.engine, NULL, NULL);
  wasm_trap_t *trap = NULL;
  wasmtime_error_t *error = wasmtime_linker_instantiate(h.linker, wasmtime_store_context(bare), main_module.module,
                                                        &second, &trap);
  assert_non_null(error);
  wasmtime_error_delete(error);
  wasmtime_store_delete(bare);
  assert_int_equal(CALL(&h, "size"), 2);
  host_close(&h);
}

static const char three_wat[] =
    "(module (memory $a (export \"a\") 1) (memory $b (export \"b\") 1) (memory $c (export \"c\") 1)"
    "(export \"memory\" (memory $b)) (export \"b2\" (memory $b)) (export \"c2\" (memory $c))"
    "(data (memory $a) (i32.const 0) \"a\") (data (memory $b) (i32.const 0) \"b\") (data (memory $c) (i32.const 0) "
    "\"c\"))";

/* Listed out of order: the names tell, any of those that a memory has. Without names, and for a module that was not
 * examined, the order does. */
static void names_tell_which_is_which(void **state) {
  static const char *const named[] = {"c", "a", "b"}, *const more[] = {"c2", "memory", "a"},
                           *const last[] = {"b2", "c2", "a"}, *const plain[] = {NULL, NULL, NULL},
                           *const wrong[] = {"b", "a", "c"};
  static const struct {
    const char *const *names;
    const char *bytes;
    bool adopted;
    int status;
  } cases[] = {{named, "cab", false, 0}, {more, "cba", false, 0}, {last, "bca", false, 0},
               {plain, "abc", false, 0}, {plain, "abc", true, 0}, {wrong, "", true, PAGESTORE_EINVAL}};
  pagestore_wasmtime_module module, adopted;
  (void)state;
  assert_int_equal(module_of(three_wat, 0, &module), 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    host h;
    started(&h, "names");
    for (int m = 0; m < 3; m++) bind(&h, (const char *[]){"first", "second", "third"}[m], 0, cases[i].names[m]);
    pagestore_wasmtime_module_adopt(wasmtime_module_clone(module.module), &adopted);
    assert_int_equal(pagestore_wasmtime_instantiate(&h.guest, cases[i].adopted ? &adopted : &module, h.linker,
                                                    &h.module),
                     cases[i].status);
    for (int m = 0; m < 3 && !cases[i].status; m++) {
      uint8_t byte;
      assert_ok(pagestore_memory_read(h.guest.memories[m].memory, 0, &byte, 1));
      assert_int_equal(byte, cases[i].bytes[m]);
    }
    pagestore_wasmtime_module_delete(&adopted);
    host_close(&h);
  }
  pagestore_wasmtime_module_delete(&module);
}

/* A shim defines both memories; the module that imports them is bound after it, and grows them. */
static void a_shim_defines_the_memories(void **state) {
  (void)state;
  pagestore_wasmtime_module shim, user;
  assert_int_equal(module_of("(module (memory (export \"m\") 1 9) (global (export \"g\") (mut i32) (i32.const 3)))", 0,
                             &shim),
                   0);
  assert_int_equal(
      module_of("(module (import \"shim\" \"m\" (memory 1)) (global (export \"own\") (mut i32) (i32.const 4))"
                "(data (i32.const 8) \"scribble\")"
                "(func (export \"run\") (result i32) (drop (memory.grow (i32.const 2)))"
                " (i32.store (i32.const 8) (i32.const 99)) (global.set 0 (i32.const 6)) (memory.size))"
                "(func (export \"peek\") (result i32) (i32.load (i32.const 8)))"
                "(func (export \"own_now\") (result i32) (global.get 0)))",
                0, &user),
      0);
  for (int round = 0; round < 2; round++) {
    host h;
    wasmtime_instance_t shim_instance;
    started(&h, "shimmed");
    bind(&h, "m", 0, "m");
    ok(&h, pagestore_wasmtime_instantiate(&h.guest, &shim, h.linker, &shim_instance));
    assert_null(wasmtime_linker_define_instance(h.linker, h.guest.context, "shim", 4, &shim_instance));
    ok(&h, pagestore_wasmtime_instantiate(&h.guest, &user, h.linker, &h.module));
    if (round == 0) {
      assert_int_equal(CALL(&h, "run"), 3);
      ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
      CALL(&h, "run");
      ok(&h, pagestore_wasmtime_rollback(&h.guest));
    }
    assert_int_equal(CALL(&h, "peek"), 99);
    assert_int_equal(CALL(&h, "own_now"), 6);
    assert_int_equal(pagestore_memory_pages(h.guest.memories[0].memory), 3);
    host_close(&h);
  }
  pagestore_wasmtime_module_delete(&shim);
  pagestore_wasmtime_module_delete(&user);
}

/* A heap that is rebuilt at each opening, beside a memory that is kept. */
static void volatile_heaps_are_rebuilt(void **state) {
  (void)state;
  pagestore_wasmtime_module module;
  assert_int_equal(
      module_of(
          "(module (memory $v (export \"v\") 1) (memory $k (export \"k\") 1) (data (i32.const 0) \"abcd\")"
          "(func (export \"add\") (i32.store $k (i32.const 0) (i32.add (i32.load $k (i32.const 0)) (i32.const 1)))"
          " (i32.store $v (i32.const 0) (i32.const 1)))"
          "(func (export \"both\") (result i64) (i64.or (i64.extend_i32_u (i32.load $v (i32.const 0)))"
          " (i64.shl (i64.extend_i32_u (i32.load $k (i32.const 0))) (i64.const 32)))))",
          0, &module),
      0);
  for (int64_t round = 0; round < 3; round++) {
    host h;
    started(&h, "volatile");
    uint64_t version = pagestore_committed_version(h.instance), after;
    bind(&h, "v", PAGESTORE_VOLATILE, "v");
    bind(&h, "k", 0, "k");
    ok(&h, pagestore_wasmtime_instantiate(&h.guest, &module, h.linker, &h.module));
    ok(&h, pagestore_wasmtime_commit(&h.guest, 0, &after));
    assert_int_equal(after, version + (round == 0));
    assert_int_equal(CALL(&h, "both"), round << 32 | 0x64636261);
    CALL(&h, "add");
    ok(&h, pagestore_wasmtime_rollback(&h.guest));
    assert_int_equal(CALL(&h, "both"), round << 32 | 0x64636261);
    CALL(&h, "add");
    ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
    host_close(&h);
  }
  pagestore_wasmtime_module_delete(&module);
}

/* A module whose segments are passive is installed where the state is new: by an upgrade, too, and never on a stored one. */
static void passive_modules_are_installed(void **state) {
  static const uint8_t hash[32] = "another";
  (void)state;
  pagestore_wasmtime_module module;
  assert_int_equal(
      module_of("(module (memory (export \"m\") 1) (data $d \"abcd\") (global (export \"g\") (mut i32) (i32.const 1))"
                "(func (export \"pagestore_install\") (memory.init $d (i32.const 4) (i32.const 0) (i32.const 4))"
                " (global.set 0 (i32.add (global.get 0) (i32.const 1))))"
                "(func (export \"g_now\") (result i32) (global.get 0))"
                "(func (export \"peek\") (result i32) (i32.load (i32.const 4)))"
                "(func (export \"poke\") (i32.store (i32.const 4) (i32.const 5))))",
                0, &module),
      0);
  for (int round = 0; round < 3; round++) {
    host h;
    started(&h, "installed");
    if (round == 2) ok(&h, pagestore_wasmtime_upgrade(&h.guest, hash));
    bind(&h, "m", 0, "m");
    ok(&h, pagestore_wasmtime_instantiate(&h.guest, &module, h.linker, &h.module));
    assert_int_equal(CALL(&h, "g_now"), 2);
    assert_int_equal(CALL(&h, "peek"), round == 1 ? 5 : 0x64636261);
    CALL(&h, "poke");
    ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
    host_close(&h);
  }
  pagestore_wasmtime_module_delete(&module);
}

/* Beside an engine of somebody else's. Reservations smaller than what an address can reach are checked in compiled
 * code. */
static void engines_of_other_shapes(void **state) {
  (void)state;
  pagestore_wasmtime_engine kept = engine, small = {.reservation_bytes = 1 << 20, .guard_bytes = 1 << 16};
  pagestore_wasmtime_module kept_module = main_module;
  host h;
  fronts_back();
  assert_int_equal(pagestore_wasmtime_engine_new(&small, NULL), 0);
  wasm_engine_t *foreign = wasm_engine_new();
  engine = small;
  assert_int_equal(module_of(main_wat, 0, &main_module), 0);
  host_run(&h, "small", PAGESTORE_CREATE);
  assert_int_equal(CALL(&h, "grow", 62), 2);
  CALL(&h, "poke", 64 * PAGE - 4, 1);
  assert_int_equal(CODE(&h, "poke", 64 * PAGE, 1), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CODE(&h, "poke", -4, 1), PAGESTORE_WASMTIME_TRAP);
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  assert_int_equal(CODE(&h, "poke", 2 * PAGE, 1), PAGESTORE_WASMTIME_TRAP);
  host_close(&h);
  pagestore_wasmtime_module_delete(&main_module);
  pagestore_wasmtime_engine_delete(&small);
  wasm_engine_delete(foreign);
  engine = kept;
  main_module = kept_module;
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

enum { MESSAGES = 200, VIEWS = 40 };
static _Atomic int writing;

typedef struct {
  uint32_t flags;
  int seen, failures;
  char why[300];
} viewer;

static int view_value(host *h, const char *name, int64_t at, int64_t *value) {
  return outcome_of(h, value, name, at, 0, 0);
}

/* What one version shows is of one message: heap, stable memory and the global agree. */
static int look_once(viewer *v) {
  host h;
  int64_t heap, stable, counter;
  pagestore_instance_options options = {.size = sizeof options, .flags = v->flags};
  pagestore_memory_options stable_options = {.size = sizeof stable_options,
                                             .flags = PAGESTORE_MEMORY64,
                                             .max_pages = 8192000};
  memset(&h, 0, sizeof h);
  if (pagestore_instance_open(store, "shared", &options, &h.instance)) return 1;
  linked(&h);
  int status = pagestore_wasmtime_start(&h.guest, &engine, h.instance);
  if (!status) status = pagestore_wasmtime_memory(&h.guest, "heap", NULL, "heap", &h.heap);
  if (!status) status = pagestore_wasmtime_memory(&h.guest, "stable", &stable_options, "stable", &h.stable);
  if (!status) status = pagestore_wasmtime_instantiate(&h.guest, &main_module, h.linker, &h.module);
  for (int round = 0; round < 3 && !status; round++) {
    status = view_value(&h, "peek", 70000, &heap) || view_value(&h, "stable_peek", 8, &stable) ||
             view_value(&h, "counter_now", 0, &counter);
    if (!status && (heap != stable || counter != heap + 5)) status = 2;
    if (!status && v->flags == PAGESTORE_PRIVATE) {
      status = outcome_of(&h, NULL, "poke", 70000, -1, 0);
      if (!status) status = pagestore_wasmtime_rollback(&h.guest);
    } else if (!status) {
      status = outcome_of(&h, NULL, "poke", 70000, -1, 0) == PAGESTORE_WASMTIME_PAGE ? 0 : 3;
      if (!status) status = pagestore_wasmtime_rollback(&h.guest);
    }
    if (!status) status = pagestore_instance_advance(h.instance, PAGESTORE_LATEST);
    if (!status) status = pagestore_wasmtime_refresh(&h.guest);
  }
  if (status) snprintf(v->why, sizeof v->why, "%d %s", status, h.guest.detail);
  host_close(&h);
  return status;
}

static void *view_all_the_time(void *env) {
  viewer *v = env;
  while (v->seen < VIEWS || atomic_load(&writing)) {
    v->failures += look_once(v) != 0;
    v->seen++;
  }
  return NULL;
}

static void views_on_other_threads(void **state) {
  (void)state;
  host h;
  viewer viewers[2] = {{.flags = PAGESTORE_PRIVATE}, {.flags = PAGESTORE_READ}};
  pthread_t threads[2];
  host_run(&h, "shared", PAGESTORE_CREATE);
  CALL(&h, "stable_grow", 1);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  atomic_store(&writing, 1);
  for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, view_all_the_time, &viewers[i]), 0);
  for (int i = 1; i <= MESSAGES; i++) {
    if (i % 7 == 0) { /* a message that views must never see */
      assert_int_equal(CODE(&h, "stop", 70000, -5), PAGESTORE_WASMTIME_TRAP);
      ok(&h, pagestore_wasmtime_rollback(&h.guest));
    }
    CALL(&h, "poke", 70000, i);
    CALL(&h, "stable_poke", 8, i);
    CALL(&h, "count");
    ok(&h, pagestore_wasmtime_commit(&h.guest, PAGESTORE_ASYNC, NULL));
  }
  atomic_store(&writing, 0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++)
    if (viewers[i].failures)
      fail_msg("%d of %d views failed: %s", viewers[i].failures, viewers[i].seen, viewers[i].why);
  print_message("%d messages beside %d and %d views\n", MESSAGES, viewers[0].seen, viewers[1].seen);
  host_close(&h);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      EACH(modules_are_examined),          EACH(every_instruction_is_stepped_over),
      EACH(unfit_modules_are_refused),     EACH(shared_memories_are_refused),
      EACH(a_memory_is_bound_once),        EACH(names_tell_which_is_which),
      EACH(a_shim_defines_the_memories),   EACH(volatile_heaps_are_rebuilt),
      EACH(passive_modules_are_installed), EACH(engines_of_other_shapes),
  };
  const struct CMUnitTest on_threads[] = {EACH(views_on_other_threads)};
  int failed = engine_ready() || cmocka_run_group_tests_name("binding", tests, NULL, NULL);
  for (tracker = PAGESTORE_TRACK_AUTO; tracker <= PAGESTORE_TRACK_MPROTECT && !failed; tracker++)
    failed = cmocka_run_group_tests_name("threads", on_threads, NULL, NULL);
  return engine_done() || failed;
}
