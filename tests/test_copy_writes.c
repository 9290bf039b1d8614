/* test_copy_writes.c - the disk fails while a store is copied, compacted or made in an empty folder.
 *
 * ctest: WRAP pwrite write writev fdatasync fsync ftruncate fstatvfs
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 240
 *
 * Proven, for the first, the second ... write, sync and meta write, on a full disk and on a broken one: copy_steps.h.
 */
#include "copy_steps.h"
#include "fault_rows.h"
#include "io_faults.h"

typedef struct { unsigned kinds; int error; fault_row row; } plan;
static const plan plans[] = {
  { IO_DATA, ENOSPC, ROW_WRITE }, { IO_DATA, EDQUOT, ROW_WRITE }, { IO_DATA, EIO, ROW_WRITE }, { IO_META, EIO, ROW_META }, { IO_SYNC, EIO, ROW_SYNC }, { IO_SIZE, EIO, ROW_CALLS },
};

static const plan *now;
static void arm(uint64_t at) { io_arm(now->kinds, at, now->error, false); }
static void disarm(void) { io_disarm(); }

static void each_write(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
    for (copy_step step = COPY_WHOLE; step < STEPS; step++) {
      now = &plans[i];
      unsigned met = step_each(step, arm, disarm, io_failed);
      if (now->kinds == IO_DATA || now->kinds == IO_SYNC) assert_true(met > 0);
      fault_row_count(now->row, met);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(each_write, step_set_up, step_tear_down) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
