/* test_wasmtime.c - the Wasmtime adapter on every tracker: bytes, sizes, globals, traps, rollback, upgrade, restore,
 * views, damage; 300 GiB of a 64-bit memory. Binding and threads are in test_wasmtime_binding.c, a killed process in
 * test_wasmtime_kill.c.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <fcntl.h>

#include "wasmtime_fixture.h"

enum { BEYOND = 2 * PAGE, BAD = 1 };

static uint32_t read32(pagestore_memory *memory, uint64_t at) {
  uint32_t value;
  assert_ok(pagestore_memory_read(memory, at, &value, 4));
  return value;
}

static void bytes_arrive_and_come_back(void **state) {
  (void)state;
  host h;
  char text[8] = {0};
  host_run(&h, "bytes", PAGESTORE_CREATE);
  assert_ok(pagestore_memory_read(h.heap, 200, text, 7));
  assert_string_equal(text, "segment");
  CALL(&h, "poke", 70000, 0x12345678);
  CALL(&h, "poke", 200, 0x31313131); /* over the segment, which runs again at each opening */
  assert_int_equal(read32(h.heap, 70000), 0x12345678);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  CALL(&h, "poke", 70000, 9);
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  assert_int_equal(CALL(&h, "peek", 70000), 0x12345678);
  uint64_t version = pagestore_committed_version(h.instance), after;
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, &after));
  assert_int_equal(after, version); /* nothing changed, no version */
  host_close(&h);
  host_run(&h, "bytes", 0);
  assert_true(h.guest.stored);
  assert_int_equal(CALL(&h, "peek", 70000), 0x12345678);
  assert_int_equal(CALL(&h, "peek", 200), 0x31313131);
  assert_int_equal(CALL(&h, "indirect", 0), 2); /* the table is rebuilt by instantiation */
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, &after));
  assert_int_equal(after, version);
  host_close(&h);
}

/* The engine reads length and base again, both at memory.size and at an access: one past the end must trap. */
static void growth_is_told_and_taken_back(void **state) {
  (void)state;
  host h;
  host_run(&h, "growth", PAGESTORE_CREATE);
  assert_int_equal(CALL(&h, "size"), 2);
  assert_int_equal(CALL(&h, "grow", 3), 2);
  assert_int_equal(pagestore_memory_pages(h.heap), 5);
  CALL(&h, "poke", 5 * PAGE - 4, 1);
  assert_int_equal(CALL(&h, "stable_grow", 2), 0);
  CALL(&h, "stable_poke", 2 * PAGE - 8, 1);
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  assert_int_equal(CALL(&h, "size"), 2);
  assert_int_equal(CALL(&h, "stable_size"), 0);
  CALL(&h, "peek", BEYOND - 4);
  assert_int_equal(CODE(&h, "peek", BEYOND - 3), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CODE(&h, "peek", BEYOND), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CODE(&h, "poke", -4, 1), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CODE(&h, "fill", BEYOND - 10, 20), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CODE(&h, "stable_peek", 0), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CODE(&h, "stable_peek", INT64_C(1) << 60), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(h.guest.failure, 0);
  assert_int_equal(CALL(&h, "grow", 63), -1);
  assert_int_equal(CALL(&h, "grow", 62), 2);
  assert_int_equal(CALL(&h, "peek", 5 * PAGE - 4), 0);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL)); /* -1 at the maximum is no failure */
  host_close(&h);
  host_run(&h, "growth", 0);
  assert_int_equal(CALL(&h, "size"), 64);
  host_close(&h);
}

static void globals_follow_the_message(void **state) {
  (void)state;
  host h;
  double ratio;
  size_t length;
  host_run(&h, "globals", PAGESTORE_CREATE);
  assert_int_equal(CALL(&h, "count"), 6);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  assert_int_equal(CALL(&h, "count"), 7);
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  assert_int_equal(CALL(&h, "counter_now"), 6);
  host_close(&h);
  host_run(&h, "globals", 0);
  assert_int_equal(CALL(&h, "counter_now"), 6);
  assert_ok(pagestore_metadata_get(h.instance, "module.global.ratio", &ratio, sizeof ratio, &length));
  assert_true(length == 8 && ratio == 1.0);
  assert_status(pagestore_metadata_get(h.instance, "module.global.fixed", &ratio, 8, &length), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_metadata_set(h.instance, "module.global.counter", "12345678", 8));
  assert_int_equal(pagestore_wasmtime_refresh(&h.guest), PAGESTORE_ETYPE);
  assert_ok(pagestore_metadata_set(h.instance, "module.global.counter", NULL, 0));
  assert_int_equal(pagestore_wasmtime_refresh(&h.guest), PAGESTORE_ENOTFOUND);
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  host_close(&h);
}

static void a_trap_in_mid_message_is_undone(void **state) {
  (void)state;
  host h;
  host_run(&h, "traps", PAGESTORE_CREATE);
  for (int round = 0; round < 3; round++) {
    CALL(&h, "poke", 0, round + 1);
    CALL(&h, "stable_grow", 1);
    assert_int_equal(CODE(&h, "stop", 70000, 5), PAGESTORE_WASMTIME_TRAP);
    assert_non_null(strstr(h.guest.detail, "unreachable"));
    assert_int_equal(CALL(&h, "peek", 70000), 5); /* a trap undoes nothing by itself */
    assert_int_equal(CODE(&h, "indirect", 1), PAGESTORE_WASMTIME_TRAP);
    ok(&h, pagestore_wasmtime_rollback(&h.guest));
    assert_int_equal(CALL(&h, "peek", 0), 0);
    assert_int_equal(CALL(&h, "peek", 70000), 0);
    assert_int_equal(CALL(&h, "size"), 2);
    assert_int_equal(CALL(&h, "counter_now"), 5);
    assert_int_equal(CALL(&h, "stable_size"), 0);
  }
  host_close(&h);
}

static void upgrade_keeps_what_is_marked(void **state) {
  static const uint8_t hash[32] = "the younger module";
  (void)state;
  host h;
  for (int traps = 1; traps >= 0; traps--) {
    host_run(&h, "upgraded", PAGESTORE_CREATE);
    CALL(&h, "poke", 70000, 5);
    CALL(&h, "grow", 3);
    CALL(&h, "count");
    ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
    CALL(&h, "pre_upgrade");
    uint64_t old_count = (uint64_t)CALL(&h, "counter_now"), version = pagestore_committed_version(h.instance);
    ok(&h, pagestore_wasmtime_upgrade(&h.guest, hash));
    listed(&h, 0);
    ok(&h, pagestore_wasmtime_instantiate(&h.guest, &next_module, h.linker, &h.module));
    assert_int_equal(CALL(&h, "size"), 2);
    assert_int_equal(CALL(&h, "peek", 70000), 0);
    assert_int_equal(CODE(&h, "post_upgrade", traps), traps ? PAGESTORE_WASMTIME_TRAP : 0);
    if (traps) { /* the old module, as if nothing had been */
      pagestore_wasmtime_stop(&h.guest);
      assert_ok(pagestore_rollback(h.instance));
      memset(&h.guest, 0, sizeof h.guest);
      running(&h, &main_module);
      assert_int_equal(CALL(&h, "peek", 70000), 5);
      assert_int_equal(CALL(&h, "size"), 5);
      assert_int_equal(CALL(&h, "counter_now"), 6);
      assert_int_equal(CALL(&h, "stable_size"), 0);
      assert_int_equal(pagestore_committed_version(h.instance), version);
      host_close(&h);
      continue;
    }
    ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
    assert_int_equal(pagestore_committed_version(h.instance), version + 1); /* pre and post are one message */
    host_close(&h);
    host_open(&h, "upgraded", 0);
    running(&h, &next_module);
    assert_int_equal(CALL(&h, "counter_now"), old_count);
    assert_int_equal(CALL(&h, "peek", 200), 0x6e756f79);
    uint64_t mark_left;
    assert_ok(pagestore_memory_read(h.stable, 16, &mark_left, 8));
    assert_int_equal(mark_left, 77);
    host_close(&h);
  }
}

static void restore_is_told(void **state) {
  (void)state;
  host h;
  host_run(&h, "restored", PAGESTORE_CREATE);
  CALL(&h, "poke", 70000, 5);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  assert_ok(pagestore_snapshot_create(h.instance, "then", 0));
  CALL(&h, "poke", 70000, 6);
  CALL(&h, "grow", 3);
  CALL(&h, "count");
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  assert_ok(pagestore_restore(h.instance, "then"));
  ok(&h, pagestore_wasmtime_refresh(&h.guest));
  assert_int_equal(CALL(&h, "peek", 70000), 5);
  assert_int_equal(CALL(&h, "size"), 2);
  assert_int_equal(CODE(&h, "peek", BEYOND), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CALL(&h, "counter_now"), 5);
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  assert_int_equal(CALL(&h, "size"), 5);
  assert_int_equal(CALL(&h, "counter_now"), 6);
  pagestore_instance *fork;
  assert_ok(pagestore_fork(h.instance, "forked", NULL, &fork));
  host other = {.instance = fork};
  linked(&other);
  running(&other, &main_module);
  assert_int_equal(CALL(&other, "peek", 70000), 6);
  assert_int_equal(CALL(&other, "size"), 5);
  host_close(&other);
  host_close(&h);
}

static void views_run_the_module(void **state) {
  (void)state;
  host h, private, fixed;
  host_run(&h, "viewed", PAGESTORE_CREATE);
  CALL(&h, "poke", 70000, 42);
  CALL(&h, "stable_grow", 1);
  CALL(&h, "count");
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  host_run(&private, "viewed", PAGESTORE_PRIVATE);
  host_run(&fixed, "viewed", PAGESTORE_READ);
  CALL(&h, "poke", 70000, 43);
  CALL(&h, "grow", 2);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  assert_int_equal(CALL(&private, "peek", 70000), 42);
  assert_int_equal(CALL(&private, "counter_now"), 6);
  CALL(&private, "poke", 70000, 44);
  assert_int_equal(CALL(&private, "grow", 1), 2);
  assert_int_equal(CALL(&fixed, "peek", 70000), 42);
  assert_int_equal(CALL(&fixed, "peek", 200), 0x6d676573);
  for (int round = 0; round < 2; round++) { /* compiled code, host code, growth: each ends as a failure */
    assert_int_equal(CODE(&fixed, "poke", 70000, 1), PAGESTORE_WASMTIME_PAGE);
    ok(&fixed, pagestore_wasmtime_rollback(&fixed.guest));
    assert_int_equal(CODE(&fixed, "fill", 70000, 100), PAGESTORE_WASMTIME_PAGE);
    assert_int_equal(fixed.guest.failure, PAGESTORE_EREADONLY);
    ok(&fixed, pagestore_wasmtime_rollback(&fixed.guest));
    assert_int_equal(CALL(&fixed, "peek", 70000), 42);
    assert_int_equal(CODE(&fixed, "grow", 1), PAGESTORE_WASMTIME_GROW);
    ok(&fixed, pagestore_wasmtime_rollback(&fixed.guest));
  }
  ok(&private, pagestore_wasmtime_rollback(&private.guest));
  host *views[] = {&private, &fixed};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(CALL(views[i], "size"), 2);
    assert_ok(pagestore_instance_advance(views[i]->instance, PAGESTORE_LATEST));
    ok(views[i], pagestore_wasmtime_refresh(&views[i]->guest));
    assert_int_equal(CALL(views[i], "peek", 70000), 43);
    assert_int_equal(CALL(views[i], "size"), 4);
    CALL(views[i], "peek", 4 * PAGE - 4);
    host_close(views[i]);
  }
  assert_int_equal(CALL(&h, "peek", 70000), 43);
  host_close(&h);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

/* Flips a bit of each copy of the pattern in the store's file. */
static void damage(const void *pattern, size_t length) {
  char path[4200];
  store_path(path, sizeof path - 20);
  strcat(path, "/data.mdb");
  int fd = open(path, O_RDWR), found = 0;
  assert_true(fd >= 0);
  off_t bytes = lseek(fd, 0, SEEK_END);
  uint8_t *file = malloc((size_t)bytes);
  assert_int_equal(pread(fd, file, (size_t)bytes, 0), bytes);
  for (uint8_t *at = file; (at = memmem(at, (size_t)(file + bytes - at), pattern, length)); at++, found++) {
    uint8_t flipped = *at ^ 1;
    assert_int_equal(pwrite(fd, &flipped, 1, at - file), 1);
  }
  assert_true(found > 0);
  free(file);
  close(fd);
}

static void failed_page(host *h, int code) {
  assert_int_equal(code, PAGESTORE_WASMTIME_PAGE);
  assert_int_equal(h->guest.failure, PAGESTORE_ECORRUPT);
  assert_int_equal(pagestore_wasmtime_commit(&h->guest, 0, NULL), PAGESTORE_ECORRUPT);
}

static void a_damaged_page_is_a_trap(void **state) {
  static const char pattern[] = "bytes to be damaged in the store's file";
  (void)state;
  host h;
  host_run(&h, "damaged", PAGESTORE_CREATE);
  CALL(&h, "grow", 2);
  CALL(&h, "stable_grow", 2);
  assert_ok(pagestore_memory_write(h.heap, BAD * PAGE + 500, pattern, sizeof pattern));
  assert_ok(pagestore_memory_write(h.stable, BAD * PAGE + 500, pattern, sizeof pattern));
  CALL(&h, "poke", 3 * PAGE, 3);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  host_close(&h);
  assert_ok(pagestore_close(store));
  damage(pattern, sizeof pattern);
  store_open();
  host_run(&h, "damaged", 0);
  const char *compiled_calls[] = {"peek", "poke", "stable_peek", "stable_poke"};
  for (size_t i = 0; i < 4; i++) {
    failed_page(&h, CODE(&h, compiled_calls[i], BAD * PAGE + 8, 1));
    failed_page(&h, CODE(&h, compiled_calls[i], BAD * PAGE + 8, 1)); /* again, in the same message */
    assert_int_equal(CODE(&h, "copy", 100, BAD * PAGE - 10, 100), PAGESTORE_WASMTIME_PAGE); /* then host code */
    ok(&h, pagestore_wasmtime_rollback(&h.guest));
  }
  failed_page(&h, CODE(&h, "copy", 100, BAD * PAGE - 10, 100)); /* inside libcalls: no crash, and no commit */
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  failed_page(&h, CODE(&h, "fill", BAD * PAGE - 10, 100));
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  failed_page(&h, CODE(&h, "stable_fill", BAD * PAGE - 10, 100));
  ok(&h, pagestore_wasmtime_rollback(&h.guest));
  assert_int_equal(CALL(&h, "peek", 3 * PAGE), 3); /* the others are as good as before */
  assert_int_equal(CALL(&h, "peek", 100), 0);
  CALL(&h, "poke", 100, 1);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  host_close(&h);
}

/* ---- 64 bit ------------------------------------------------------------------------------------------------------ */

static void three_hundred_gib(void **state) {
  const int64_t at = INT64_C(300) << 30;
  (void)state;
  host h;
  host_run(&h, "wide", PAGESTORE_CREATE);
  assert_int_equal(CALL(&h, "stable_grow", (at >> 16) + 1), 0);
  CALL(&h, "stable_poke", at, INT64_C(0x1122334455667788));
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  host_close(&h);
  host_run(&h, "wide", 0);
  assert_int_equal(CALL(&h, "stable_size"), (at >> 16) + 1);
  assert_int_equal(CALL(&h, "stable_peek", at), INT64_C(0x1122334455667788));
  assert_int_equal(CODE(&h, "stable_peek", at + PAGE), PAGESTORE_WASMTIME_TRAP);
  assert_int_equal(CALL(&h, "stable_grow", INT64_C(8) << 20), -1);
  host_close(&h);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
  static const struct {
    const char *name;
    pagestore_tracker tracker;
    uint32_t flags;
  } groups[] = {{"scan", PAGESTORE_TRACK_SCAN, 0},
                {"fault", PAGESTORE_TRACK_FAULT, 0},
                {"mprotect", PAGESTORE_TRACK_MPROTECT, 0},
                {"explicit", PAGESTORE_TRACK_AUTO, PAGESTORE_EXPLICIT}};
  const struct CMUnitTest tests[] = {
      EACH(bytes_arrive_and_come_back),
      EACH(growth_is_told_and_taken_back),
      EACH(globals_follow_the_message),
      EACH(a_trap_in_mid_message_is_undone),
      EACH(upgrade_keeps_what_is_marked),
      EACH(restore_is_told),
      EACH(views_run_the_module),
      EACH(a_damaged_page_is_a_trap),
      EACH(three_hundred_gib),
  };
  int failed = engine_ready();
  for (size_t i = 0; i < sizeof groups / sizeof *groups && !failed; i++) {
    tracker = groups[i].tracker;
    heap_flags = groups[i].flags;
    failed = _cmocka_run_group_tests(groups[i].name, tests, sizeof tests / sizeof *tests, NULL, NULL);
  }
  return engine_done() || failed;
}
