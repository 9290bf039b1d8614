/* test_sweep_lmdb.c - LMDB says no: each of its functions, each code that it can return, at the library's calls.
 *
 * ctest: WRAP mdb_env_create mdb_env_open mdb_env_info mdb_env_close mdb_txn_begin mdb_txn_renew mdb_txn_commit mdb_dbi_open mdb_dbi_flags
 * ctest: mdb_stat mdb_put mdb_del mdb_cursor_open mdb_cursor_renew mdb_cursor_get mdb_reader_check
 * ctest: TIMEOUT 900
 *
 * The program of sweep.h, for each pair of a function and a code, with a sample of that function's calls failing once, and from then on
 * (their stride from a printed seed; every call with PAGESTORE_TESTS_LONG=yes). Asserted, besides sweep.h: the status is the code's: no
 * memory is ENOMEM, no room ENOSPC, a full map EFULL; only MDB_PANIC and a commit with an unknown outcome make the store FAILED.
 */
#include "lmdb_faults.h"
#include "sweep.h"

enum { CODES_MAX = 12, CALLS_SAMPLED = 5, LASTING_SAMPLED = 2 };

typedef struct {
  lmdb_function function;
  const char *name;
  bool reached;
  int codes[CODES_MAX];
} pair;

static const pair pairs[] = {
  { LMDB_ENV_CREATE, "env_create", false, { ENOMEM } },
  { LMDB_ENV_OPEN, "env_open", false, { ENOMEM, EIO, EACCES, ENOSPC, EMFILE, EAGAIN, MDB_INVALID, MDB_VERSION_MISMATCH } },
  { LMDB_ENV_INFO, "env_info", false, { EINVAL } },
  { LMDB_BEGIN_READ, "txn_begin, reading", false, { ENOMEM, MDB_READERS_FULL, MDB_MAP_RESIZED, MDB_PANIC } },
  { LMDB_BEGIN_WRITE, "txn_begin, writing", false, { ENOMEM, EINVAL, MDB_MAP_RESIZED, MDB_PANIC } },
  { LMDB_RENEW, "txn_renew", false, { EINVAL, MDB_MAP_RESIZED, MDB_BAD_RSLOT } },
  { LMDB_COMMIT, "txn_commit", false, { ENOMEM, ENOSPC, EIO, EINVAL, MDB_BAD_TXN, MDB_MAP_FULL, MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_PANIC } },
  { LMDB_COMMIT, "txn_commit, reached", true, { EIO, MDB_PANIC } },
  { LMDB_DBI_OPEN, "dbi_open", false, { ENOMEM, MDB_DBS_FULL, MDB_NOTFOUND, MDB_INCOMPATIBLE, MDB_BAD_TXN, MDB_CORRUPTED } },
  { LMDB_DBI_FLAGS, "dbi_flags", false, { EINVAL } },
  { LMDB_STAT, "stat", false, { EINVAL, MDB_BAD_TXN, MDB_CORRUPTED } },
  { LMDB_PUT, "put", false, { ENOMEM, ENOSPC, EIO, EINVAL, MDB_MAP_FULL, MDB_TXN_FULL, MDB_BAD_TXN, MDB_CORRUPTED, MDB_PAGE_FULL, MDB_PAGE_NOTFOUND } },
  { LMDB_DEL, "del", false, { ENOMEM, EINVAL, MDB_MAP_FULL, MDB_TXN_FULL, MDB_BAD_TXN, MDB_CORRUPTED, MDB_PAGE_NOTFOUND } },
  { LMDB_CURSOR_OPEN, "cursor_open", false, { ENOMEM, EINVAL, MDB_BAD_TXN } },
  { LMDB_CURSOR_RENEW, "cursor_renew", false, { EINVAL, MDB_BAD_TXN } },
  { LMDB_CURSOR_GET, "cursor_get", false, { EINVAL, MDB_BAD_TXN, MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_CURSOR_FULL } },
  { LMDB_READER_CHECK, "reader_check", false, { EINVAL, ENOMEM } },
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

static const pair *pair_now;
static int code_now;

static void arm(uint64_t at, bool lasting) { lmdb_arm(pair_now->function, code_now, pair_now->reached, at, lasting); }
static uint64_t failed(void) { return lmdb_plan.failed; }

static bool allowed(int status) {
  bool commit = pair_now->function == LMDB_COMMIT;
  switch (code_now) {
  case MDB_PANIC: return status == PAGESTORE_EFAILED;
  case ENOMEM:
  case EMFILE:
  case MDB_READERS_FULL: return status == PAGESTORE_ENOMEM;
  case ENOSPC: return status == PAGESTORE_ENOSPC;
  case MDB_MAP_FULL:
  case MDB_TXN_FULL:
  case MDB_MAP_RESIZED: return status == PAGESTORE_EFULL;
  case EACCES: return status == PAGESTORE_EACCES;
  case EINVAL:
  case EIO: return status == PAGESTORE_EIO || (commit && status == PAGESTORE_EFAILED);
  default: return status == PAGESTORE_ECORRUPT || status == PAGESTORE_EFORMAT || status == PAGESTORE_EIO;
  }
}

static uint64_t calls_of_an_undisturbed_run(world *w, const injector *with) {
  sweep_run(w, with, 0, false, PAGESTORE_TRACK_AUTO);
  return lmdb_plan.calls;
}

static void sweep(world *w, const pair *p, uint64_t seed, unsigned *sites) {
  injector with = { .name = p->name, .arm = arm, .disarm = lmdb_disarm, .failed = failed, .allowed = allowed };
  pair_now = p;
  code_now = p->codes[0];
  uint64_t calls = calls_of_an_undisturbed_run(w, &with);
  *sites += (unsigned)calls;
  for (int i = 0; i < CODES_MAX && p->codes[i]; i++) {
    code_now = p->codes[i];
    with.stride = all_of_them() || calls < CALLS_SAMPLED ? 1 : calls / CALLS_SAMPLED;
    with.lasting_stride = calls < LASTING_SAMPLED ? 1 : all_of_them() ? 7 : calls / LASTING_SAMPLED;
    with.first = (seed + (uint64_t)i * 7919) % with.stride;
    with.lasting_first = (seed + (uint64_t)i * 104729) % with.lasting_stride;
    print_message("%s: %s: ", p->name, mdb_strerror(code_now));
    fault_row_count(ROW_LMDB, sweep_all(w, &with, PAGESTORE_TRACK_AUTO));
  }
}

static void every_code(void **state) {
  unsigned sites = 0;
  uint64_t seed = sweep_seed();
  for (int i = 0; i < PAIRS; i++) sweep(*state, &pairs[i], seed, &sites);
  print_message("%u calls of %d functions, %u runs: %u times a call said so, %u stores failed and were opened again\n", sites, PAIRS, sweep_count.runs,
                sweep_count.met, sweep_count.failed_stores);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(every_code, make_world, free_world) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
