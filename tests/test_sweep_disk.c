/* test_sweep_disk.c - the disk fails under each of the public functions, at each of its calls.
 *
 * ctest: WRAP pwrite write writev fdatasync fsync ftruncate fstatvfs
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 300
 *
 * The program of sweep.h with the N-th writing call failing, once and from then on, in these ways:
 * - no room (ENOSPC, EDQUOT, a short write on a full disk): refused or queued, never FAILED;
 * - EIO, or a short write with room left, on data; EIO on the meta page, reached or not, put back or not: FAILED until opened again;
 * - EIO on a sync: nothing, a part or all of what was written since the last good sync has reached the disk, and the cache shows that at
 *   once, or keeps the lost bytes until the power goes. FAILED; afterwards nothing is written and nothing synced (counted); opened
 *   again, it is the state before or behind the step, whole.
 */
#include "io_faults.h"
#include "sweep.h"

typedef struct {
  const char *name;
  fault_row row;
  unsigned kinds;
  int error;
  bool full, reached, fails;   /* fails: the store, rather than the call alone */
  bool cached, reverts;        /* with a disk behind the cache */
  cache_share share;
} plan;

static const plan plans[] = {
  { .name = "ENOSPC", .row = ROW_WRITE, .kinds = IO_DATA, .error = ENOSPC, .full = true },
  { .name = "EDQUOT", .row = ROW_WRITE, .kinds = IO_DATA, .error = EDQUOT },
  { .name = "short write on a full disk", .row = ROW_WRITE, .kinds = IO_DATA, .full = true },
  { .name = "EIO", .row = ROW_WRITE, .kinds = IO_DATA, .error = EIO, .fails = true },
  { .name = "short write with room", .row = ROW_WRITE, .kinds = IO_DATA, .fails = true },
  { .name = "size", .row = ROW_CALLS, .kinds = IO_SIZE, .error = EIO },
  { .name = "meta page", .row = ROW_META, .kinds = IO_META, .error = EIO, .fails = true },
  { .name = "meta page, no room", .row = ROW_META, .kinds = IO_META, .error = ENOSPC, .fails = true },
  { .name = "meta page, reached", .row = ROW_META, .kinds = IO_META, .error = EIO, .reached = true, .fails = true },
  { .name = "sync, all reached", .row = ROW_SYNC, .kinds = IO_SYNC, .error = EIO, .fails = true, .cached = true, .share = CACHE_REACHED_ALL },
  { .name = "sync, a part reached", .row = ROW_SYNC, .kinds = IO_SYNC, .error = EIO, .fails = true, .cached = true, .share = CACHE_REACHED_SOME },
  { .name = "sync, a part reached, the cache reverts", .row = ROW_SYNC, .kinds = IO_SYNC, .error = EIO, .fails = true, .cached = true, .share = CACHE_REACHED_SOME, .reverts = true },
  { .name = "sync, nothing reached", .row = ROW_SYNC, .kinds = IO_SYNC, .error = EIO, .fails = true, .cached = true, .share = CACHE_REACHED_NOTHING },
  { .name = "sync, nothing reached, the cache reverts", .row = ROW_SYNC, .kinds = IO_SYNC, .error = EIO, .fails = true, .cached = true, .share = CACHE_REACHED_NOTHING, .reverts = true },
};
enum { PLANS = sizeof plans / sizeof *plans };

static const plan *plan_now;
static uint64_t seed_now, written_when_disarmed;

static void arm(uint64_t at, bool lasting) {
  pthread_mutex_lock(&io_lock);
  io_plan_set(plan_now->kinds, at, plan_now->error, lasting);
  io_plan.full = plan_now->full;
  io_plan.reached = plan_now->reached;
  cache_begin(plan_now->cached, plan_now->share, plan_now->reverts, seed_now + at);
  pthread_mutex_unlock(&io_lock);
}

static void disarm(void) {
  io_disarm();
  written_when_disarmed = io_count(IO_DATA | IO_META | IO_SYNC);
}

/* While the store is made a failure is EIO, and a short write ENOSPC: there is no store then. */
static bool allowed(int status) {
  if (plan_now->fails) return status == PAGESTORE_EFAILED || status == PAGESTORE_EIO || (status == PAGESTORE_ENOSPC && plan_now->error != EIO);
  return status == PAGESTORE_ENOSPC || (status == PAGESTORE_EIO && plan_now->error != ENOSPC);
}

static void power_cut(const char *file) {
  assert_true(plan_now->fails);
  assert_int_equal(io_count(IO_DATA | IO_META | IO_SYNC), written_when_disarmed); /* nothing was tried again */
  pthread_mutex_lock(&io_lock);
  cache_power_cut(file);
  cache_begin(false, CACHE_REACHED_ALL, false, 0);
  pthread_mutex_unlock(&io_lock);
}

static void every_plan(void **state) {
  uint64_t lasting = all_of_them() ? 1 : 3;
  seed_now = sweep_seed();
  for (int i = 0; i < PLANS; i++) {
    plan_now = &plans[i];
    unsigned failed_before = sweep_count.failed_stores;
    injector with = { .name = plan_now->name, .arm = arm, .disarm = disarm, .failed = io_failed, .allowed = allowed, .power_cut = power_cut,
                      .stride = 1, .lasting_stride = lasting, .lasting_first = seed_now % lasting };
    fault_row_count(plan_now->row, sweep_all(*state, &with, PAGESTORE_TRACK_AUTO));
    if (plan_now->fails) assert_true(sweep_count.failed_stores > failed_before);
    else assert_int_equal(sweep_count.failed_stores, failed_before);
  }
  print_message("%u sites, %u runs: %u stores failed and were opened again, %u commits were committed again, %llu pages lost by a sync\n", sweep_count.sites,
                sweep_count.runs, sweep_count.failed_stores, sweep_count.committed_again, (unsigned long long)cache.reverted);
  if (!getenv("PAGESTORE_FAULT")) assert_true(cache.reverted > 100 && sweep_count.committed_again > 10);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(every_plan, make_world, free_world) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
