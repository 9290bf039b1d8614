/* test_copy_calls.c - no memory, or a refused system call, while a store is copied, compacted or made in an empty folder.
 *
 * ctest: WRAP open openat close mkdirat renameat unlinkat flock pread fstat fstatat faccessat fdopendir opendir getrandom fcntl fstatvfs
 * ctest: WRAP realpath pthread_create
 * ctest: WRAP malloc calloc realloc strdup strndup posix_memalign aligned_alloc mmap mprotect madvise ioctl syscall
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 240
 *
 * Proven, for the first, the second ... call of each kind: copy_steps.h. (Writing calls: test_copy_writes.c; opening and making a store
 * where nothing is: test_sweep_calls.c.)
 */
#include "call_faults.h"
#include "copy_steps.h"
#include "fault_rows.h"
#include "memory_faults.h"

typedef struct { call_kind kind; int error; } refusal;
static const refusal refusals[] = {
  { CALL_OPEN, EACCES }, { CALL_OPEN, ENOSPC }, { CALL_OPENAT, EMFILE }, { CALL_CLOSE, EIO }, { CALL_MKDIRAT, ENOSPC }, { CALL_RENAMEAT, EIO },
  { CALL_FLOCK, ENOLCK }, { CALL_PREAD, EIO }, { CALL_FSTAT, EIO }, { CALL_FSTATAT, EIO }, { CALL_FACCESSAT, EACCES }, { CALL_FDOPENDIR, ENOMEM },
  { CALL_OPENDIR, ENOMEM }, { CALL_GETRANDOM, ENOSYS }, { CALL_FCNTL, ENOLCK }, { CALL_FCNTL, EAGAIN }, { CALL_REALPATH, ENOMEM },
  { CALL_PTHREAD_CREATE, EAGAIN },
};

static const refusal *now;
static void arm_call(uint64_t at) { calls_arm(now->kind, now->error, at, false); }
static uint64_t call_failed(void) { return call_plan.failed; }
static void arm_allocation(uint64_t at) { faults_arm(FAULT_ALLOCATION, at, false); }
static void arm_mapping(uint64_t at) { faults_arm(FAULT_MMAP, at, false); }
static uint64_t memory_failed(void) { return fault_plan.failed; }

static void each_call(void **state) {
  (void)state;
  unsigned met = 0;
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    for (copy_step step = COPY_WHOLE; step < STEPS; step++) {
      now = &refusals[i];
      met += step_each(step, arm_call, calls_disarm, call_failed);
    }
  print_message("%u calls failed, %u were not needed\n", met, tolerated);
  assert_true(met - tolerated > 100);
  fault_row_count(ROW_CALLS, met);
}

static void each_allocation(void **state) {
  (void)state;
  unsigned met = 0;
  for (copy_step step = COPY_WHOLE; step < STEPS; step++)
    met += step_each(step, arm_allocation, faults_disarm, memory_failed) + step_each(step, arm_mapping, faults_disarm, memory_failed);
  print_message("%u allocations failed\n", met);
  assert_true(met > 40);
  fault_row_count(ROW_CALLS, met);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(each_call, step_set_up, step_tear_down),
    cmocka_unit_test_setup_teardown(each_allocation, step_set_up, step_tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
