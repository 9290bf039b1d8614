/* test_allocations.c - no memory, at any moment.
 *
 * ctest: WRAP malloc calloc realloc strdup strndup posix_memalign aligned_alloc mmap mprotect madvise ioctl syscall
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 400
 *
 * The program of sweep.h with the N-th allocation failing (ours and LMDB's), for every N once, and from then on (every eighth N from a
 * printed seed; all of them with PAGESTORE_TESTS_LONG=yes); likewise the N-th mmap, mprotect, madvise, ioctl on a userfaultfd, and
 * userfaultfd itself, on each tracker. What is asserted each time: sweep.h; under LeakSanitizer that no memory stays behind.
 */
#include "memory_faults.h"
#include "sweep.h"

#include "vm/os.h"

static fault_kind kind_now;

static void arm(uint64_t at, bool lasting) {
  if (kind_now == FAULT_USERFAULTFD) os_after_fork(); /* else it is had once a process */
  faults_arm(kind_now, at, lasting);
}

static uint64_t failed(void) { return fault_plan.failed; }

static bool allowed(int status) { return status == PAGESTORE_ENOMEM || status == PAGESTORE_EIO || status == PAGESTORE_EUNSUPPORTED; }

static void sweep(world *w, fault_kind kind, const char *name, uint64_t seed, pagestore_tracker tracker) {
  uint64_t stride = all_of_them() ? 1 : 8;
  kind_now = kind;
  injector with = { .name = name, .arm = arm, .disarm = faults_disarm, .failed = failed, .allowed = allowed,
                    .stride = 1, .lasting_stride = stride, .lasting_first = seed % stride };
  fault_row_count(ROW_CALLS, sweep_all(w, &with, tracker));
}

static void allocations(void **state) { sweep(*state, FAULT_ALLOCATION, "allocations", sweep_seed(), PAGESTORE_TRACK_AUTO); }

static void system_calls(void **state) {
  static const char *const names[] = { NULL, "mmap", "mprotect", "madvise", "ioctl", "userfaultfd" };
  uint64_t seed = sweep_seed();
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++)
    for (int kind = FAULT_MMAP; kind <= FAULT_USERFAULTFD && tracker_is_there(t); kind++) sweep(*state, (fault_kind)kind, names[kind], seed, t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(allocations, make_world, free_world),
    cmocka_unit_test_setup_teardown(system_calls, make_world, free_world),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
