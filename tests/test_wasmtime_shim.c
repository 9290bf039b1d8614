/* test_wasmtime_shim.c - the shim that `pagestore wasm native` writes, run by Wasmtime, against the model of stable_model.h: heap and stable
 * memory of 32 and of 64 bits, both ways of copying, under the trackers that need no marks. A call that traps has written nothing.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <pagestore/module.h>

#include "sample_modules.h"
#include "shim_random.h"
#include "wasmtime_fixture.h"

enum { HEAP_PAGES = 3, MAX_PAGES = 70, CALLS = 4000 };

typedef struct {
  unsigned heap_bits, stable_bits;
  pagestore_native_copy copy;
} shape;

static void make_shim(shape s, pagestore_wasmtime_module *out) {
  pagestore_native_options o = {
      .size = sizeof o, .memories = PAGESTORE_NATIVE_SHIM, .copy = s.copy, .stable_bits = s.stable_bits};
  bytes b = {0};
  pagestore_module *m;
  uint8_t *wasm;
  size_t size;
  sample_small(&b, s.heap_bits);
  assert_ok(pagestore_module_read(b.at, b.count, &m));
  assert_ok(pagestore_module_shim(m, &o, &wasm, &size));
  if (pagestore_wasmtime_module_new(&engine, wasm, size, 0, out)) fail_msg("%s", out->detail);
  free(wasm);
  pagestore_module_free(m);
  bytes_free(&b);
}

static void open_shim(host *h, const pagestore_wasmtime_module *shim, shape s) {
  uint32_t heap64 = s.heap_bits == 64 ? PAGESTORE_MEMORY64 : 0, stable64 = s.stable_bits == 64 ? PAGESTORE_MEMORY64 : 0;
  pagestore_memory_options heap = {
      .size = sizeof heap, .pages = HEAP_PAGES, .max_pages = HEAP_PAGES, .flags = heap64};
  pagestore_memory_options stable = {.size = sizeof stable, .max_pages = MAX_PAGES, .flags = stable64};
  host_open(h, "shim", PAGESTORE_CREATE);
  ok(h, pagestore_wasmtime_start(&h->guest, &engine, h->instance));
  ok(h, pagestore_wasmtime_memory(&h->guest, "heap", &heap, "heap", &h->heap));
  ok(h, pagestore_wasmtime_memory(&h->guest, "stable", &stable, "stable", &h->stable));
  ok(h, pagestore_wasmtime_instantiate(&h->guest, shim, NULL, &h->module));
}

static void copy_follows(host *h, model *m) {
  model_copy c = random_copy(m);
  const char *name = c.write ? c.small ? "stable_write" : "stable64_write" : c.small ? "stable_read" : "stable64_read";
  uint64_t first = c.write ? c.offset : c.address, second = c.write ? c.address : c.offset;
  int code = outcome_of(h, NULL, name, (int64_t)first, (int64_t)second, (int64_t)c.bytes), expected = model_run(m, c);
  if (code != (expected ? PAGESTORE_WASMTIME_TRAP : 0))
    fail_msg("%s: address %llx offset %llx bytes %llx of %llu pages: %d (%s) instead of %d", name,
             (unsigned long long)c.address, (unsigned long long)c.offset, (unsigned long long)c.bytes,
             (unsigned long long)m->pages, code, h->guest.detail, expected);
}

static void growth_follows(host *h, model *m) {
  bool small = roll() % 2;
  uint64_t more = roll() % 4 ? roll() % 4 : number(m), expected = 0;
  int64_t result = CALL(h, small ? "stable_grow" : "stable64_grow", more);
  assert_int_equal(model_grow(m, small ? (uint32_t)more : more, small, &expected), 0);
  assert_int_equal(small ? (uint32_t)result : (uint64_t)result, expected);
  assert_int_equal(CALL(h, "stable64_size"), m->pages);
  assert_int_equal(CALL(h, "stable_size"), m->pages);
}

static void same_bytes(host *h, const model *m) {
  assert_int_equal(pagestore_memory_pages(h->stable), m->pages);
  assert_memory_equal(pagestore_memory_base(h->heap), m->heap, m->heap_bytes);
  assert_memory_equal(pagestore_memory_base(h->stable), m->stable, m->pages * PAGESTORE_PAGE);
}

static void one_shape(shape s) {
  pagestore_wasmtime_module shim;
  host h;
  model m;
  make_shim(s, &shim);
  model_open(&m, HEAP_PAGES, MAX_PAGES);
  open_shim(&h, &shim, s);
  for (unsigned i = 0; i < CALLS; i++) {
    if (i % 60 == 0) growth_follows(&h, &m);
    uint64_t at = roll() % (m.heap_bytes - 8), word = roll();
    memcpy(m.heap + at, &word, 8);
    assert_ok(pagestore_memory_write(h.heap, at, &word, 8));
    copy_follows(&h, &m);
    if (i % 500 == 0) same_bytes(&h, &m);
    if (i % 900 == 0) ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  }
  assert_true(m.pages > MAX_PAGES / 2);
  ok(&h, pagestore_wasmtime_commit(&h.guest, 0, NULL));
  host_close(&h);
  open_shim(&h, &shim, s);
  same_bytes(&h, &m);
  host_close(&h);
  model_close(&m);
  pagestore_wasmtime_module_delete(&shim);
}

static shape shape_now;
static void the_shim_follows_the_model(void **state) {
  (void)state;
  one_shape(shape_now);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(the_shim_follows_the_model, set_up, tear_down)};
  int failed = engine_ready();
  for (unsigned i = 0; i < 8 && !failed; i++) {
    char name[60];
    shape_now = (shape){i & 1 ? 64 : 32, i & 2 ? 64 : 32, i & 4 ? PAGESTORE_NATIVE_BULK : PAGESTORE_NATIVE_LOOP};
    tracker = i % 2 ? PAGESTORE_TRACK_MPROTECT : PAGESTORE_TRACK_AUTO;
    snprintf(name, sizeof name, "heap %u, stable %u, %s", shape_now.heap_bits, shape_now.stable_bits,
             i & 4 ? "bulk" : "loop");
    failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);
  }
  return engine_done() || failed;
}
