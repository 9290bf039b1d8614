/* test_sweep_calls.c - files that cannot be made, opened, locked, read; threads that cannot be started; at each call, with each error.
 *
 * ctest: WRAP open openat close mkdirat renameat unlinkat flock pread fstat fstatat faccessat fdopendir opendir getrandom fcntl fstatvfs
 * ctest: realpath pthread_create
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 400
 *
 * The program of sweep.h, in which the store is made once and opened four times more, once with all tree pages read by copy: each of
 * these calls, LMDB's too, fails once (a sample of the calls, from a printed seed; all of them with PAGESTORE_TESTS_LONG=yes) and from then on.
 * Asserted, besides sweep.h: the status fits the errno.
 */
#include "call_faults.h"
#include "sweep.h"

enum { ERRORS_MAX = 4, CALLS_SAMPLED = 14, LASTING_SAMPLED = 3 };
#define SHORT (-1)

typedef struct {
  call_kind kind;
  const char *name;
  fault_row row;
  int errors[ERRORS_MAX];   /* SHORT: without an error */
} call;

static const call calls[] = {
  { CALL_OPEN, "open", ROW_CALLS, { EIO, EACCES, EMFILE } },
  { CALL_OPENAT, "openat", ROW_CALLS, { EIO, EACCES, EMFILE } },
  { CALL_CLOSE, "close", ROW_CALLS, { EIO } },
  { CALL_MKDIRAT, "mkdirat", ROW_CALLS, { EIO, EROFS, ENOSPC } },
  { CALL_RENAMEAT, "renameat", ROW_CALLS, { EIO, EACCES, ENOSPC } },
  { CALL_UNLINKAT, "unlinkat", ROW_CALLS, { EACCES } },
  { CALL_FLOCK, "flock", ROW_CALLS, { EWOULDBLOCK, ENOLCK } },
  { CALL_PREAD, "pread", ROW_READ, { EIO, SHORT } },
  { CALL_FSTAT, "fstat", ROW_CALLS, { EIO } },
  { CALL_FSTATAT, "fstatat", ROW_CALLS, { EIO, EACCES } },
  { CALL_FACCESSAT, "faccessat", ROW_CALLS, { EACCES, EROFS } },
  { CALL_FDOPENDIR, "fdopendir", ROW_CALLS, { ENOMEM } },
  { CALL_OPENDIR, "opendir", ROW_CALLS, { ENOMEM, EMFILE } },
  { CALL_GETRANDOM, "getrandom", ROW_CALLS, { ENOSYS } },
  { CALL_FCNTL, "fcntl", ROW_CALLS, { ENOLCK } },
  { CALL_FSTATVFS, "fstatvfs", ROW_CALLS, { EIO } },
  { CALL_REALPATH, "realpath", ROW_CALLS, { ENOMEM, EACCES } },
  { CALL_PTHREAD_CREATE, "pthread_create", ROW_CALLS, { EAGAIN } },
};

static const call *call_now;
static int error_now;

static void arm(uint64_t at, bool lasting) { calls_arm(call_now->kind, error_now == SHORT ? 0 : error_now, at, lasting); }
static uint64_t failed(void) { return call_plan.failed; }

static bool allowed(int status) {
  switch (error_now) {
  case EACCES:
  case EROFS: return status == PAGESTORE_EACCES;
  case ENOSPC: return status == PAGESTORE_ENOSPC;
  case EAGAIN: /* of flock: somebody else has it, also each new directory of a creator's */
    if (call_now->kind == CALL_FLOCK) return status == PAGESTORE_EBUSY || status == PAGESTORE_EUNSUPPORTED;
    return status == PAGESTORE_ENOMEM;
  case ENOMEM:
  case EMFILE: return status == PAGESTORE_ENOMEM;
  case ENOLCK: return status == PAGESTORE_EUNSUPPORTED || status == PAGESTORE_EIO;
  case SHORT: return status == PAGESTORE_EFORMAT || status == PAGESTORE_ECORRUPT || status == PAGESTORE_EIO;
  default: /* a tree page that cannot be read is damage to VERIFY */
    return status == PAGESTORE_EIO || (call_now->kind == CALL_PREAD && status == PAGESTORE_ECORRUPT && strstr(pagestore_detail(), "cannot be read"));
  }
}

static void sweep(world *w, const call *c, uint64_t seed) {
  injector with = { .name = c->name, .arm = arm, .disarm = calls_disarm, .failed = failed, .allowed = allowed };
  call_now = c;
  error_now = c->errors[0];
  sweep_run(w, &with, 0, false, PAGESTORE_TRACK_AUTO);
  uint64_t there = call_plan.calls;
  for (int i = 0; i < ERRORS_MAX && c->errors[i]; i++) {
    error_now = c->errors[i];
    with.stride = all_of_them() || there < CALLS_SAMPLED ? 1 : there / CALLS_SAMPLED;
    with.lasting_stride = there < LASTING_SAMPLED ? 1 : all_of_them() ? 3 : there / LASTING_SAMPLED;
    with.first = (seed + (uint64_t)i * 7919) % with.stride;
    with.lasting_first = (seed + (uint64_t)i * 104729) % with.lasting_stride;
    print_message("%llu calls, %s: ", (unsigned long long)there, error_now == SHORT ? "cut short" : strerror(error_now));
    fault_row_count(c->row, sweep_all(w, &with, PAGESTORE_TRACK_AUTO));
  }
}

static void every_call(void **state) {
  uint64_t seed = sweep_seed();
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) sweep(*state, &calls[i], seed);
  print_message("%u runs: %u times a call said so\n", sweep_count.runs, sweep_count.met);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(every_call, make_world, free_world) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
