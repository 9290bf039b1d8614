/* test_region_process.c - regions in their process, once per tracker: threads, fork, what they cost, mappings that run out; and how `auto` chooses.
 *
 * What is shown is written in each test's name.
 */
#include <seccomp.h> /* also tells the build what to link */

#include "fault_rows.h"
#include "region_trackers.h"

/* ---- threads, fork, cost ---------------------------------------------------------------------------------------- */

static void *guest_thread(void *argument) {
  fixture *f = argument;
  assert_int_equal(faults_thread_prepare(), 0);
  for (int round = 0; round < 4; round++) {
    fixture g = { 0 };
    assert_int_equal(fixture_open(&g, tracker, 8, 8), 0);
    for (uint64_t p = 0; p < 8; p++) assert_true(guest_store(&g, p * PAGE_BYTES + 7, (uint8_t)round));
    assert_int_equal(fixture_commit(&g) > 0, 1);
    fixture_check(&g);
    fixture_close(&g);
    for (uint64_t p = 0; p < 32; p++) assert_true(guest_store(f, p * PAGE_BYTES + 7, (uint8_t)(round + 100)));
    fixture_commit(f);
    region_trim(f->r, 0);
  }
  return NULL;
}

/* Regions come and go on some threads while others fault. */
static void many_threads(void **unused) {
  (void)unused;
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  fixture f[THREADS] = { 0 };
  for (int i = 0; i < THREADS; i++) assert_int_equal(fixture_open(&f[i], tracker, 32, 32), 0);
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, guest_thread, &f[i]);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    fixture_close(&f[i]);
  }
}

static void a_forked_child_has_nothing(void **unused) {
  (void)unused;
  fixture f = { 0 };
  uint8_t value;
  assert_int_equal(fixture_open(&f, tracker, 8, 8), 0);
  assert_true(guest_store(&f, 0, 3));
  pid_t child = fork();
  if (child == 0) {
    region_after_fork();
    if (guest_load(&f, 0, &value)) _exit(1);
    if (guest_load(&f, PAGE_BYTES, &value)) _exit(2);
    fixture g = { 0 };
    if (fixture_open(&g, tracker, 8, 8) != 0) _exit(3); /* and may have regions of its own */
    if (!guest_store(&g, PAGE_BYTES, 9) || region_collect(g.r) != 0 || fixture_seal(&g) != 1) _exit(4);
    region_close(f.r);
    if (!guest_load(&g, 5 * PAGE_BYTES, &value)) _exit(5);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
  assert_int_equal(fixture_commit(&f), 1);
  fixture_check(&f);
  fixture_close(&f);
  fault_row_count(ROW_FORK, 1);
}

static __attribute__((unused)) uint64_t heap_bytes(void) {
  struct mallinfo2 m = mallinfo2();
  return m.uordblks + m.hblkhd;
}

static __attribute__((unused)) uint64_t resident_kib(void) {
  uint64_t size = 0, pages = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (fscanf(statm, "%lu %lu", &size, &pages) != 2) pages = 0;
  fclose(statm);
  return pages * 4;
}

static void a_small_region_is_cheap_and_a_large_one_lazy(void **unused) {
  (void)unused;
#ifndef UNDER_SANITIZER
  fixture f = { 0 };
  region_budget budget = { .limit_bytes = UINT64_MAX };
  region_options o = { .pages = 16, .max_pages = 65536, .tracker = tracker, .budget = &budget,
                       .source = { fixture_begin, fixture_page, fixture_end, &f } };
  region *small, *large;
  engine_install();
  assert_int_equal(region_open(&o, &small), 0); /* warms what is once per process */
  region_close(small);
  uint64_t before = heap_bytes();
  assert_int_equal(region_open(&o, &small), 0);
  assert_true(heap_bytes() - before < 4096);
  region_close(small);
  f.bad_page = UINT64_MAX;
  o.pages = o.max_pages = UINT64_C(300) << 14;
  uint64_t resident = resident_kib();
  assert_int_equal(region_open(&o, &large), 0);
  for (uint64_t p = 1; p < o.pages; p += o.pages / 64) region_base(large)[p * PAGE_BYTES] = 1;
  assert_int_equal(region_collect(large), 0);
  region_clean(large);
  printf("300 GiB, 64 pages touched: %llu KiB\n", (unsigned long long)(resident_kib() - resident));
  assert_true(resident_kib() - resident < 8 * 1024);
  region_close(large);
#endif
}

static void the_table_of_regions_grows_and_shrinks(void **unused) {
  (void)unused;
  enum { COUNT = 300 };
  fixture f = { 0 };
  region_budget budget = { .limit_bytes = UINT64_MAX };
  region_options o = { .pages = 1, .max_pages = 2, .tracker = tracker, .budget = &budget,
                       .source = { fixture_begin, fixture_page, fixture_end, &f } };
  region *regions[COUNT];
  f.bad_page = UINT64_MAX;
  engine_install();
  for (int i = 0; i < COUNT; i++) assert_int_equal(region_open(&o, &regions[i]), 0);
  for (int i = 0; i < COUNT; i++) region_base(regions[i])[i] = (uint8_t)i;
  for (int i = 0; i < COUNT; i += 2) region_close(regions[i]);
  for (int i = 1; i < COUNT; i += 2) {
    region_trim(regions[i], 0);
    assert_int_equal(region_base(regions[i])[i], (uint8_t)i);
    region_close(regions[i]);
  }
  assert_int_equal(budget.mappings, 0);
}

/* ---- auto ------------------------------------------------------------------------------------------------------- */

static bool touch(region *r, uint64_t pages) { /* one block each of so many pages, then a commit */
  for (uint64_t p = 0; p < pages; p++) region_base(r)[p * PAGE_BYTES]++;
  if (region_collect(r) != 0) return false;
  region_dirty d;
  for (uint64_t from = 0; region_dirty_next(r, from, &d); from = d.page + 1) region_narrow(r, d.page, 1);
  region_clean(r);
  return true;
}

/* The regret is a matter of what is resident: simulated large by a budget that is not, 1 GiB of zero pages is cheap. */
static void auto_switches_with_hysteresis(void **unused) {
  (void)unused;
  region_support have = region_probe();
  if (!have.scan || !have.fault) return;
  fixture f = { 0 };
  region_budget budget = { .limit_bytes = UINT64_MAX };
  const char *reason;
  region_options o = { .pages = 16384, .max_pages = 16384, .budget = &budget,
                       .source = { fixture_begin, fixture_page, fixture_end, &f } };
  region *r;
  f.bad_page = UINT64_MAX;
  engine_install();
  assert_int_equal(region_open(&o, &r), 0);
  assert_int_equal(region_tracker_now(r, &reason), REGION_SCAN);
  assert_int_equal(region_load(r, 0, 1024), 0);
  for (int i = 0; i < 100; i++) assert_true(touch(r, 16)); /* 64 MiB, 16 dirty blocks: stays */
  assert_int_equal(region_tracker_now(r, NULL), REGION_SCAN);
  assert_int_equal(region_load(r, 0, 16384), 0);
  int messages = 0;
  while (region_tracker_now(r, &reason) == REGION_SCAN && messages < 50) {
    assert_true(touch(r, 8));
    messages++;
  }
  printf("auto: to per-page faults after %d messages of 8 pages at 1 GiB: %s\n", messages, reason);
  assert_in_range(messages, 5, 10);
  for (int i = 0; i < 3; i++) assert_true(touch(r, 8));
  for (uint64_t p = 0; p < 16384; p += 997) { /* tracked after the switch: zero pages, written ones */
    region_dirty d;
    region_base(r)[p * PAGE_BYTES + 9] = 1;
    assert_int_equal(region_collect(r), 0);
    assert_true(region_dirty_next(r, 0, &d));
    assert_int_equal(d.page, p);
    region_clean(r);
  }
  messages = 0;
  while (region_tracker_now(r, &reason) == REGION_FAULT && messages < 200) {
    assert_true(touch(r, 1024));
    messages++;
  }
  printf("auto: to the scan after %d messages of 1,024 pages: %s\n", messages, reason);
  assert_in_range(messages, 1, 30);
  region_dirty d;
  region_base(r)[5000 * PAGE_BYTES] = 1;
  assert_int_equal(region_collect(r), 0);
  assert_true(region_dirty_next(r, 0, &d) && d.page == 5000 && d.exact && d.blocks == 1);
  region_close(r);
}

/* ---- when the kernel refuses ------------------------------------------------------------------------------------- */

/* Takes all mappings of the process but some, so that only coarser steps are left. Alternate pages differ. */
static void exhaust_mappings(unsigned spare) {
  const uint64_t bytes = UINT64_C(70000) * 2 * BLOCK_BYTES;
  uint8_t *filler = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint64_t at = 0;
  assert_ptr_not_equal(filler, MAP_FAILED);
  while (at < bytes && mprotect(filler + at, BLOCK_BYTES, PROT_READ) == 0) at += 2 * BLOCK_BYTES;
  assert_true(at < bytes);
  for (unsigned i = 0; i < (spare + 1) / 2; i++) {
    at -= 2 * BLOCK_BYTES;
    assert_int_equal(mprotect(filler + at, BLOCK_BYTES, PROT_NONE), 0);
  }
}

static void scattered_messages(fixture *f) {
  for (int message = 0; message < 3; message++) {
    for (uint64_t b = (uint64_t)message; b < 60 * PAGE_BLOCKS; b += 2)
      if (!guest_store(f, b * BLOCK_BYTES + 9, (uint8_t)(b + (uint64_t)message))) _exit(1);
    for (uint64_t p = 0; p < 60; p += 7)
      if (p != 0) region_trim(f->r, p * PAGE_BYTES);
    if (message == 1) fixture_rollback(f);
    else fixture_commit(f);
    fixture_check(f);
    if (region_failure(f->r, NULL) != 0) _exit(2);
  }
}

/* In a child: the rest of the tests wants its mappings. */
static void mappings_run_out(void **unused) {
  (void)unused;
  for (unsigned spare = 0; spare <= 24; spare += 12) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
      region_after_fork();
      fixture f = { 0 };
      uint8_t value;
      if (fixture_open(&f, tracker, 64, 64) != 0) _exit(3);
      if (!guest_load(&f, 30 * PAGE_BYTES, &value)) _exit(4); /* the first page splits, whatever one does */
      exhaust_mappings(spare);
      scattered_messages(&f);
      _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
  }
}
static int run_all(const char *name) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(many_threads),
    cmocka_unit_test(a_forked_child_has_nothing),
    cmocka_unit_test(a_small_region_is_cheap_and_a_large_one_lazy),
    cmocka_unit_test(the_table_of_regions_grows_and_shrinks),
    cmocka_unit_test(mappings_run_out),
  };
  return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) {
  int failed = run_with_every_tracker(run_all);
  const struct CMUnitTest last[] = { cmocka_unit_test(auto_switches_with_hysteresis) };
  return failed + cmocka_run_group_tests_name("auto's choice", last, NULL, NULL);
}
