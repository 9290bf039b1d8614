/* test_platform.c - what the library says about the machine.
 *
 * Proven: the tracker that auto begins with can be had, and a memory takes it; a struct of another size is served or refused; the
 * memory is no more than the machine's.
 */
#include "host_fixture.h"

static void the_probe_is_true(void **state) {
  (void)state;
  host h = {0};
  pagestore_platform p = { .size = sizeof p };
  assert_ok(pagestore_probe(&p));
  assert_non_null(p.tracker_reason);
  assert_non_null(p.userfaultfd);
  assert_non_null(strstr(p.lmdb, "LMDB"));
  assert_true(p.memory_bytes > 0 && p.memory_bytes <= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
  assert_true(p.tracker != PAGESTORE_TRACK_SCAN || p.tracker_scan);
  assert_true(p.tracker != PAGESTORE_TRACK_FAULT || p.tracker_fault);
  folder_make(&h);
  assert_ok(host_open_store(&h));
  pagestore_statistics stats = host_stats(&h);
  assert_int_equal(stats.tracker, p.tracker);
  assert_string_equal(stats.tracker_reason, p.tracker_reason);
  assert_ok(pagestore_close(h.store));
  for (int i = 0; i < 2; i++) {
    h.options.flags = 0;
    h.options.tracker = i ? PAGESTORE_TRACK_FAULT : PAGESTORE_TRACK_SCAN;
    bool can = i ? p.tracker_fault : p.tracker_scan;
    assert_int_equal(host_open_store(&h), can ? 0 : PAGESTORE_EUNSUPPORTED);
    if (can) assert_ok(pagestore_close(h.store));
  }
  folder_remove(&h);
}

static void sizes_are_checked(void **state) {
  (void)state;
  struct { pagestore_platform now; char later[64]; } p;
  memset(&p, 0xff, sizeof p);
  p.now.size = 0;
  assert_int_equal(pagestore_probe(&p.now), PAGESTORE_EINVAL);
  p.now.size = sizeof p;
  assert_ok(pagestore_probe(&p.now));
  assert_int_equal(p.later[0] | p.later[63], 0);
  memset(&p, 0xff, sizeof p);
  p.now.size = offsetof(pagestore_platform, userfaultfd);
  assert_ok(pagestore_probe(&p.now));
  assert_int_equal((uintptr_t)p.now.userfaultfd, UINTPTR_MAX);
  assert_int_equal(pagestore_probe(NULL), PAGESTORE_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_probe_is_true),
    cmocka_unit_test(sizes_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
