/* test_stable.c - the stable-memory calls: edges, counts and limits, views, damage. The model is in test_stable_model.c.
 *
 * Proven:
 * - every call at every edge: no bytes far out of range, wrap-around, above 4 GiB through the 32-bit calls, growth up to the maximum
 *   and beyond, heap out of bounds, more than 65,536 pages;
 * - EXPLICIT needs no fault; a limit lets exactly so many blocks pass; commit and rollback begin a new count, a refused commit does
 *   not;
 * - a damaged page of either memory is a trap, and the next message is well;
 * - a long message keeps within the resident limit; without memory for the counts a call is a trap.
 *
 * ctest: WRAP calloc
 */
#include "stable_fixture.h"

static bool no_memory;
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes) { return no_memory ? NULL : __real_calloc(count, bytes); }

/* ---- edges ------------------------------------------------------------------------------------------------------------------- */

static void sizes_and_growth(void **state) {
  (void)state;
  guest g = {0};
  uint64_t pages;
  uint32_t pages32;
  open_guest(&g);
  assert_int_equal(grown(&g, 0), 0);
  assert_int_equal(grown(&g, 3), 0);
  assert_int_equal(grown32(&g, 2), 3);
  assert_int_equal(grown32(&g, 0), 5);
  assert_int_equal(grown(&g, MAX_PAGES - 4), UINT64_MAX);
  assert_int_equal(grown(&g, UINT64_MAX), UINT64_MAX);
  assert_int_equal(grown(&g, UINT64_MAX - 4), UINT64_MAX);
  assert_int_equal(grown32(&g, 65532), UINT32_MAX);
  assert_int_equal(grown32(&g, UINT32_MAX), UINT32_MAX);
  assert_int_equal(grown32(&g, 65531), 5);
  assert_int_equal(pagestore_stable_size(g.calls, &pages32), 0);
  assert_int_equal(pages32, 65536);
  assert_int_equal(grown32(&g, 1), UINT32_MAX);
  assert_int_equal(grown32(&g, 0), 65536);
  assert_int_equal(grown(&g, MAX_PAGES - 65536), 65536);
  assert_int_equal(grown(&g, 0), MAX_PAGES);
  assert_int_equal(grown(&g, 1), UINT64_MAX);
  assert_int_equal(pagestore_stable64_size(g.calls, &pages), 0);
  assert_int_equal(pages, MAX_PAGES);
  assert_int_equal(accessed(&g), 0);
  assert_ok(pagestore_rollback(g.h.instance));
  assert_int_equal(pagestore_stable64_size(g.calls, &pages), 0);
  assert_int_equal(pages, 0);
  finish_guest(&g);
}

/* Above 65,536 pages. */
static void small_calls_trap_on_large_memories(void **state) {
  (void)state;
  guest g = {.pages = 65537};
  uint32_t pages = 7;
  open_guest(&g);
  assert_int_equal(pagestore_stable_size(g.calls, &pages), PAGESTORE_STABLE_LARGE);
  assert_int_equal(pagestore_stable_grow(g.calls, 0, &pages), PAGESTORE_STABLE_LARGE);
  assert_int_equal(pagestore_stable_grow(g.calls, 1, &pages), PAGESTORE_STABLE_LARGE);
  assert_int_equal(pages, 7);
  assert_int_equal(pagestore_stable_read(g.calls, 0, 0, 1), PAGESTORE_STABLE_LARGE);
  assert_int_equal(pagestore_stable_write(g.calls, 0, 0, 1), PAGESTORE_STABLE_LARGE);
  assert_int_equal(pagestore_stable_read(g.calls, UINT32_MAX, UINT32_MAX, 0), 0);
  assert_int_equal(pagestore_stable_write(g.calls, UINT32_MAX, UINT32_MAX, 0), 0);
  uint64_t word = 0x1122334455667788, end = 65537ull * PAGESTORE_PAGE;
  memcpy(pagestore_memory_base(g.heap), &word, 8);
  assert_int_equal(pagestore_stable64_write(g.calls, end - 8, 0, 8), 0);
  assert_int_equal(pagestore_stable64_read(g.calls, 64, end - 8, 8), 0);
  assert_memory_equal(pagestore_memory_base(g.heap) + 64, &word, 8);
  assert_int_equal(pagestore_stable64_read(g.calls, 64, end - 7, 8), PAGESTORE_STABLE_BOUNDS);
  finish_guest(&g);
}

/* Of exactly 65,536 pages, the last byte through the 32-bit calls. */
static void small_calls_reach_the_last_byte(void **state) {
  (void)state;
  guest g = {.pages = 65536};
  open_guest(&g);
  pagestore_memory_base(g.heap)[5] = 0xab;
  assert_int_equal(pagestore_stable_write(g.calls, UINT32_MAX, 5, 1), 0);
  assert_int_equal(pagestore_stable_read(g.calls, 9, UINT32_MAX, 1), 0);
  assert_int_equal(pagestore_memory_base(g.heap)[9], 0xab);
  assert_int_equal(pagestore_stable_write(g.calls, UINT32_MAX, 5, 2), PAGESTORE_STABLE_BOUNDS);
  assert_int_equal(pagestore_stable_read(g.calls, 9, UINT32_MAX, UINT32_MAX), PAGESTORE_STABLE_BOUNDS);
  finish_guest(&g);
}

static void every_edge(void **state) {
  (void)state;
  guest g = {.pages = 2};
  const uint64_t end = 2 * PAGESTORE_PAGE, far = UINT64_MAX, heap = HEAP_BYTES;
  const struct {
    uint64_t address, offset, bytes;
    int trap;
  } edges[] = {
      {far, far, 0, 0},
      {heap + 1, end + 1, 0, 0},
      {0, 0, 0, 0},
      {0, end, 0, 0},
      {heap, 0, 0, 0},
      {0, end - 1, 1, 0},
      {heap - 1, 0, 1, 0},
      {0, 0, end, 0},
      {heap - end, 0, end, 0},
      {0, end, 1, PAGESTORE_STABLE_BOUNDS},
      {0, 0, end + 1, PAGESTORE_STABLE_BOUNDS},
      {0, far, 1, PAGESTORE_STABLE_BOUNDS},
      {0, far, 2, PAGESTORE_STABLE_BOUNDS},
      {0, 1, far, PAGESTORE_STABLE_BOUNDS},
      {0, far, far, PAGESTORE_STABLE_BOUNDS},
      {0, 0x8000000000000000, 0x8000000000000000, PAGESTORE_STABLE_BOUNDS},
      {0, end - 1, far - end + 2, PAGESTORE_STABLE_BOUNDS},
      {heap, 0, 1, PAGESTORE_STABLE_HEAP},
      {heap - 1, 0, 2, PAGESTORE_STABLE_HEAP},
      {far, 0, 1, PAGESTORE_STABLE_HEAP},
      {far, 0, 2, PAGESTORE_STABLE_HEAP},
      {far - 1, 0, 2, PAGESTORE_STABLE_HEAP},
      {heap + 1, 0, 1, PAGESTORE_STABLE_HEAP},
  };
  open_guest(&g);
  for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
    int read = pagestore_stable64_read(g.calls, edges[i].address, edges[i].offset, edges[i].bytes);
    int written = pagestore_stable64_write(g.calls, edges[i].offset, edges[i].address, edges[i].bytes);
    if (read != edges[i].trap || written != edges[i].trap)
      fail_msg("edge %zu: %d and %d instead of %d (%s)", i, read, written, edges[i].trap,
               pagestore_stable_strerror(read));
    if (edges[i].address > UINT32_MAX || edges[i].offset > UINT32_MAX || edges[i].bytes > UINT32_MAX) continue;
    uint32_t address = (uint32_t)edges[i].address, offset = (uint32_t)edges[i].offset, bytes = (uint32_t)edges[i].bytes;
    assert_int_equal(pagestore_stable_read(g.calls, address, offset, bytes), edges[i].trap);
    assert_int_equal(pagestore_stable_write(g.calls, offset, address, bytes), edges[i].trap);
  }
  assert_int_equal(pagestore_stable_write(g.calls, UINT32_MAX, 0, 2), PAGESTORE_STABLE_BOUNDS);
  assert_int_equal(pagestore_stable_read(g.calls, UINT32_MAX, 0, 2), PAGESTORE_STABLE_HEAP);
  finish_guest(&g);
}

static void every_trap_has_a_text(void **state) {
  (void)state;
  for (int code = PAGESTORE_STABLE_BOUNDS; code <= PAGESTORE_STABLE_MEMORY; code++) {
    assert_true(strlen(pagestore_stable_strerror(code)) > 10);
    for (int other = PAGESTORE_STABLE_BOUNDS; other < code; other++)
      assert_string_not_equal(pagestore_stable_strerror(code), pagestore_stable_strerror(other));
  }
  assert_string_equal(pagestore_stable_strerror(0), "no trap");
  assert_string_equal(pagestore_stable_strerror(5), pagestore_stable_strerror(PAGESTORE_STABLE_MEMORY + 1));
}

static void wrong_openings_are_refused(void **state) {
  (void)state;
  guest g = {.pages = 1};
  pagestore_stable *calls = NULL;
  pagestore_instance *other;
  pagestore_memory *elsewhere;
  open_guest(&g);
  assert_status(pagestore_stable_open(g.stable, g.stable, NULL, &calls), PAGESTORE_EINVAL);
  assert_status(pagestore_stable_open(g.heap, NULL, NULL, &calls), PAGESTORE_EINVAL);
  assert_status(pagestore_stable_open(g.heap, g.stable, NULL, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_stable_open(g.heap, g.stable, &(pagestore_stable_options){.size = 1}, &calls),
                PAGESTORE_EINVAL);
  assert_ok(pagestore_instance_open(g.h.store, "j",
                                    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &other));
  assert_ok(pagestore_memory_open(other, "heap", PAGESTORE_WITH(pagestore_memory_options, .max_pages = 2), &elsewhere));
  assert_status(pagestore_stable_open(elsewhere, g.stable, NULL, &calls), PAGESTORE_EINVAL);
  assert_null(calls);
  pagestore_stable_close(NULL);
  pagestore_instance_close(other);
  finish_guest(&g);
}

static void a_heap_may_be_the_hosts(void **state) {
  (void)state;
  guest g = {.pages = 4};
  pagestore_stable *calls;
  uint8_t bytes[64] = "from a heap of the host's", back[64] = {0};
  open_guest(&g);
  assert_ok(pagestore_stable_open(NULL, g.stable, NULL, &calls));
  pagestore_stable_heap(calls, bytes, sizeof bytes);
  assert_int_equal(pagestore_stable64_write(calls, 65530, 0, 64), 0);
  assert_int_equal(pagestore_stable64_write(calls, 0, 1, 64), PAGESTORE_STABLE_HEAP);
  pagestore_stable_heap(calls, back, sizeof back);
  assert_int_equal(pagestore_stable64_read(calls, 0, 65530, 64), 0);
  assert_memory_equal(back, bytes, 64);
  pagestore_stable_close(calls);
  finish_guest(&g);
}

/* ---- marks, limits, resident bytes ------------------------------------------------------------------------------------------- */

static void marks_need_no_fault(void **state) {
  (void)state;
  guest g = {.pages = 64, .stable_flags = PAGESTORE_MEMORY64 | PAGESTORE_EXPLICIT};
  open_guest(&g);
  host_commit(&g.h);
  memset(pagestore_memory_base(g.heap), 0x5a, 100);
  uint64_t before = host_stats(&g.h).faults_write + host_stats(&g.h).faults_load;
  for (uint64_t page = 0; page < 64; page++)
    assert_int_equal(pagestore_stable64_write(g.calls, page * PAGESTORE_PAGE + 4090, 0, 10), 0);
  assert_int_equal(host_stats(&g.h).faults_write + host_stats(&g.h).faults_load, before);
  assert_int_equal(dirty_blocks(g.stable), 128);
  assert_int_equal(dirtied(&g), 128);
  host_commit(&g.h);
  assert_int_equal(dirty_blocks(g.stable), 0);
  close_guest(&g);
  open_guest(&g);
  for (uint64_t page = 0; page < 64; page++) {
    assert_int_equal(pagestore_stable64_read(g.calls, 200, page * PAGESTORE_PAGE + 4090, 10), 0);
    assert_memory_equal(pagestore_memory_base(g.heap) + 200, pagestore_memory_base(g.heap), 10);
  }
  finish_guest(&g);
}

static void limits_are_exact(void **state) {
  (void)state;
  guest g = {.pages = 8, .options = {.accessed_limit = 10, .dirtied_limit = 3}};
  open_guest(&g);
  host_commit(&g.h);
  for (int round = 0; round < 3; round++) {
    assert_int_equal(pagestore_stable64_write(g.calls, 4095, 0, 2), 0);
    assert_int_equal(pagestore_stable64_write(g.calls, 10, 0, 5000), 0);
    assert_int_equal(dirtied(&g), 2);
    memset(pagestore_memory_base(g.heap), 0x77, 9000);
    assert_int_equal(pagestore_stable64_write(g.calls, 8000, 0, 9000), PAGESTORE_STABLE_DIRTIED);
    assert_int_equal(pagestore_stable64_read(g.calls, 10000, 8000, 9000), 0);
    assert_int_equal(pagestore_memory_base(g.heap)[10000 + 13000 - 8000], 0);
    assert_int_equal(accessed(&g), 5);
    assert_int_equal(pagestore_stable64_write(g.calls, 4096 * 2, 0, 4096), 0);
    assert_int_equal(dirtied(&g), 3);
    assert_int_equal(pagestore_stable64_write(g.calls, 4096 * 3, 0, 1), PAGESTORE_STABLE_DIRTIED);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 4096 * 5, 4096 * 5), 0);
    assert_int_equal(accessed(&g), 10);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 4096 * 10, 1), PAGESTORE_STABLE_ACCESSED);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 4096 * 10 - 1, 2), PAGESTORE_STABLE_ACCESSED);
    assert_int_equal(pagestore_stable64_write(g.calls, 4096 * 10, 0, 1), PAGESTORE_STABLE_ACCESSED);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 0, 4096 * 10), 0);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, UINT64_MAX, 0), 0);
    if (round == 1) host_commit(&g.h);
    else assert_ok(pagestore_rollback(g.h.instance));
    assert_int_equal(accessed(&g), 0);
  }
  finish_guest(&g);
}

static void a_refused_commit_is_no_end(void **state) {
  (void)state;
  guest g = {.pages = 8};
  pagestore_memory *limited;
  open_guest(&g);
  assert_ok(
      pagestore_memory_open(g.h.instance, "limited",
                            PAGESTORE_WITH(pagestore_memory_options, .pages = 1, .max_pages = 1, .dirty_limit = 1),
                            &limited));
  host_commit(&g.h);
  assert_int_equal(pagestore_stable64_write(g.calls, 0, 0, 5000), 0);
  memset(pagestore_memory_base(limited), 1, 5000);
  assert_status(pagestore_commit(g.h.instance, 0, NULL), PAGESTORE_EQUOTA);
  assert_int_equal(dirtied(&g), 2);
  assert_ok(pagestore_rollback(g.h.instance));
  assert_int_equal(dirtied(&g), 0);
  finish_guest(&g);
}

static void the_resident_limit_holds(void **state) {
  (void)state;
  guest g = {.pages = 512, .h.options.resident_bytes = 4 * MIB, .stable_flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP};
  open_guest(&g);
  memset(pagestore_memory_base(g.heap), 0x3c, 64);
  for (uint64_t page = 0; page < 512; page++) {
    assert_int_equal(pagestore_stable64_write(g.calls, page * PAGESTORE_PAGE + 77, 0, 12), 0);
    if (page % 16 == 15) host_commit(&g.h);
  }
  for (uint64_t page = 0; page < 512; page++) {
    assert_int_equal(pagestore_stable64_read(g.calls, 100, page * PAGESTORE_PAGE + 77, 12), 0);
    assert_memory_equal(pagestore_memory_base(g.heap) + 100, pagestore_memory_base(g.heap), 12);
    assert_true(host_stats(&g.h).resident_bytes <= 4 * MIB + 2 * MIB);
  }
  finish_guest(&g);
}

static void counting_needs_memory(void **state) {
  (void)state;
  guest g = {.pages = 2};
  pagestore_stable *calls = NULL;
  open_guest(&g);
  no_memory = true;
  assert_int_equal(pagestore_stable64_read(g.calls, 0, 0, 8), PAGESTORE_STABLE_MEMORY);
  assert_non_null(strstr(pagestore_detail(), "count the blocks"));
  assert_status(pagestore_stable_open(g.heap, g.stable, NULL, &calls), PAGESTORE_ENOMEM);
  no_memory = false;
  assert_null(calls);
  assert_int_equal(accessed(&g), 0);
  assert_int_equal(pagestore_stable64_read(g.calls, 0, 0, 8), 0);
  assert_int_equal(accessed(&g), 1);
  finish_guest(&g);
}

static void load_limits_are_traps(void **state) {
  (void)state;
  guest g = {.pages = 8};
  open_guest(&g);
  memset(pagestore_memory_base(g.stable), 1, 8 * PAGESTORE_PAGE);
  host_commit(&g.h);
  close_guest(&g);
  assert_ok(host_open_store(&g.h));
  pagestore_memory_options heap = {.size = sizeof heap, .guard_bytes = MIB}, stable = heap;
  stable.flags = PAGESTORE_MEMORY64;
  stable.max_pages = MAX_PAGES;
  stable.load_limit = 2;
  assert_ok(pagestore_instance_open(g.h.store, "i", NULL, &g.h.instance));
  assert_ok(pagestore_memory_open(g.h.instance, "heap", &heap, &g.heap));
  assert_ok(pagestore_memory_open(g.h.instance, "stable", &stable, &g.stable));
  assert_ok(pagestore_stable_open(g.heap, g.stable, NULL, &g.calls));
  for (int round = 0; round < 2; round++) {
    assert_int_equal(pagestore_stable64_read(g.calls, 0, PAGESTORE_PAGE - 5, 10), 0);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 3 * PAGESTORE_PAGE, 10), round ? 0 : PAGESTORE_STABLE_PAGE);
    if (!round) assert_non_null(strstr(pagestore_detail(), "limit"));
    assert_ok(pagestore_rollback(g.h.instance));
  }
  finish_guest(&g);
}

/* ---- views, damage ----------------------------------------------------------------------------------------------------------- */

static void views_read_and_keep_nothing(void **state) {
  (void)state;
  guest g = {.pages = 4};
  open_guest(&g);
  memset(pagestore_memory_base(g.heap), 0x11, 64);
  assert_int_equal(pagestore_stable64_write(g.calls, 1000, 0, 64), 0);
  host_commit(&g.h);
  guest view = g;
  pagestore_stable *writer_calls = g.calls;
  open_instance(&view, PAGESTORE_PRIVATE);
  memset(pagestore_memory_base(view.heap), 0x22, 64);
  assert_int_equal(pagestore_stable64_write(view.calls, 1000, 0, 64), 0);
  assert_int_equal(grown(&view, 1), 4);
  assert_int_equal(dirtied(&view), 1);
  assert_ok(pagestore_rollback(view.h.instance));
  assert_int_equal(dirtied(&view), 0);
  assert_int_equal(pagestore_stable64_read(view.calls, 200, 1000, 64), 0);
  assert_int_equal(pagestore_memory_base(view.heap)[200], 0x11);
  assert_int_equal(accessed(&view), 1);
  assert_ok(pagestore_instance_advance(view.h.instance, PAGESTORE_LATEST));
  assert_int_equal(accessed(&view), 0);
  pagestore_stable_close(view.calls);
  pagestore_instance_close(view.h.instance);

  uint8_t heap[64] = {0};
  uint64_t old = 0;
  assert_ok(pagestore_instance_open(g.h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                                    &view.h.instance));
  assert_ok(pagestore_memory_open(view.h.instance, "stable", NULL, &view.stable));
  assert_ok(pagestore_stable_open(NULL, view.stable, NULL, &view.calls));
  pagestore_stable_heap(view.calls, heap, sizeof heap);
  assert_int_equal(pagestore_stable64_read(view.calls, 0, 1000, 64), 0);
  assert_int_equal(heap[63], 0x11);
  assert_int_equal(pagestore_stable64_write(view.calls, 1000, 0, 64), PAGESTORE_STABLE_READONLY);
  assert_int_equal(pagestore_stable64_grow(view.calls, 1, &old), PAGESTORE_STABLE_READONLY);
  uint32_t small = 5;
  assert_int_equal(pagestore_stable_grow(view.calls, 1, &small), PAGESTORE_STABLE_READONLY);
  assert_int_equal(small, 5);
  pagestore_stable_close(view.calls);
  pagestore_instance_close(view.h.instance);
  assert_ptr_equal(writer_calls, g.calls);
  finish_guest(&g);
}

/* Flips a bit wherever these bytes stand in the store's file. */
static void damage(const host *h, const char *pattern) {
  struct stat info;
  int fd = open(h->file, O_RDWR);
  assert_true(fd >= 0 && fstat(fd, &info) == 0);
  uint8_t *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *at = bytes;
  unsigned found = 0;
  while ((at = memmem(at, (size_t)(bytes + info.st_size - at), pattern, strlen(pattern))) != NULL) {
    at[3] ^= 1;
    found++;
  }
  assert_true(found > 0);
  munmap(bytes, (size_t)info.st_size);
  close(fd);
}

static void a_damaged_page_is_a_trap(void **state) {
  (void)state;
  guest g = {.pages = 4};
  static const char in_stable[] = "in the stable memory, nowhere else: 4be1",
                    in_heap[] = "in the heap, nowhere else: 93f0";
  open_guest(&g);
  assert_ok(pagestore_memory_write(g.stable, 2 * PAGESTORE_PAGE + 300, in_stable, sizeof in_stable));
  assert_ok(pagestore_memory_write(g.heap, 7 * PAGESTORE_PAGE + 300, in_heap, sizeof in_heap));
  host_commit(&g.h);
  close_guest(&g);
  damage(&g.h, in_stable);
  damage(&g.h, in_heap);
  open_guest(&g);
  for (int round = 0; round < 2; round++) {
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 2 * PAGESTORE_PAGE + 300, 10), PAGESTORE_STABLE_PAGE);
    assert_non_null(strstr(pagestore_detail(), "'stable', page 2"));
    assert_int_equal(pagestore_stable64_write(g.calls, 3 * PAGESTORE_PAGE - 1, 0, 1), PAGESTORE_STABLE_PAGE);
    assert_int_equal(pagestore_stable64_read(g.calls, 0, 0, 4 * PAGESTORE_PAGE), PAGESTORE_STABLE_PAGE);
    assert_int_equal(pagestore_stable64_read(g.calls, 8 * PAGESTORE_PAGE - 5, 0, 10), PAGESTORE_STABLE_PAGE);
    assert_non_null(strstr(pagestore_detail(), "'heap', page 7"));
    assert_int_equal(pagestore_stable64_write(g.calls, 0, 7 * PAGESTORE_PAGE, 1), PAGESTORE_STABLE_PAGE);
    assert_ok(pagestore_rollback(g.h.instance));
    assert_int_equal(pagestore_stable64_write(g.calls, 0, 0, PAGESTORE_PAGE), 0);
    host_commit(&g.h);
  }
  finish_guest(&g);
}

int main(void) {
  engine_install();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_and_growth),
      cmocka_unit_test(small_calls_trap_on_large_memories),
      cmocka_unit_test(small_calls_reach_the_last_byte),
      cmocka_unit_test(every_edge),
      cmocka_unit_test(every_trap_has_a_text),
      cmocka_unit_test(wrong_openings_are_refused),
      cmocka_unit_test(a_heap_may_be_the_hosts),
      cmocka_unit_test(marks_need_no_fault),
      cmocka_unit_test(limits_are_exact),
      cmocka_unit_test(a_refused_commit_is_no_end),
      cmocka_unit_test(the_resident_limit_holds),
      cmocka_unit_test(counting_needs_memory),
      cmocka_unit_test(load_limits_are_traps),
      cmocka_unit_test(views_read_and_keep_nothing),
      cmocka_unit_test(a_damaged_page_is_a_trap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
