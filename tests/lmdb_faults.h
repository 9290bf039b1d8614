/* lmdb_faults.h - LMDB's functions, counted, and made to fail by a plan: a function, its N-th call, a code that it can return.
 *
 * For programs linked with --wrap of each function below (see the "ctest:" line in their heads): the library's calls are concerned,
 * LMDB's own among each other are not. A call that is made to fail does nothing, but that
 * - a failed commit frees its transaction, as LMDB does; `reached` commits it first: EIO from a sync whose data had arrived;
 * - MDB_PANIC stays with its environment: from then on nothing begins there until it is closed.
 */
#ifndef PAGESTORE_TESTS_LMDB_FAULTS_H
#define PAGESTORE_TESTS_LMDB_FAULTS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <lmdb.h>

typedef enum {
  LMDB_ENV_CREATE, LMDB_ENV_OPEN, LMDB_ENV_INFO, LMDB_BEGIN_READ, LMDB_BEGIN_WRITE, LMDB_RENEW, LMDB_COMMIT, LMDB_DBI_OPEN, LMDB_DBI_FLAGS,
  LMDB_STAT, LMDB_PUT, LMDB_DEL, LMDB_CURSOR_OPEN, LMDB_CURSOR_RENEW, LMDB_CURSOR_GET, LMDB_READER_CHECK, LMDB_FUNCTIONS
} lmdb_function;

static struct {
  _Atomic int function, code;
  _Atomic bool armed, lasting, reached;
  _Atomic uint64_t at, calls, failed;
} lmdb_plan;
static _Atomic(MDB_env *) lmdb_panicked;

static inline void lmdb_arm(lmdb_function function, int code, bool reached, uint64_t at, bool lasting) {
  lmdb_plan.armed = false;
  lmdb_plan.function = (int)function;
  lmdb_plan.code = code;
  lmdb_plan.reached = reached;
  lmdb_plan.at = at;
  lmdb_plan.lasting = lasting;
  lmdb_plan.calls = lmdb_plan.failed = 0;
  lmdb_plan.armed = true;
}

static inline void lmdb_disarm(void) { lmdb_plan.armed = false; }

/* The code, or 0: call the real one. */
static int lmdb_fails(lmdb_function function, MDB_env *env) {
  if (!lmdb_plan.armed || lmdb_plan.function != (int)function) return 0;
  uint64_t call = ++lmdb_plan.calls;
  if (lmdb_plan.at == 0 || (call != lmdb_plan.at && !(lmdb_plan.lasting && call > lmdb_plan.at))) return 0;
  lmdb_plan.failed++;
  if (lmdb_plan.code == MDB_PANIC) lmdb_panicked = env;
  return lmdb_plan.code;
}

static bool lmdb_has_panicked(MDB_env *env) { return env && lmdb_panicked == env; }

/* wrapper(function, its name, environment, parameters, arguments) */
#define LMDB_WRAP(function, name, env, parameters, arguments) \
  int __real_##name parameters;                               \
  int __wrap_##name parameters;                               \
  int __wrap_##name parameters {                              \
    int code_ = lmdb_fails(function, env);                    \
    return code_ ? code_ : __real_##name arguments;           \
  }

LMDB_WRAP(LMDB_ENV_CREATE, mdb_env_create, NULL, (MDB_env **out), (out))
LMDB_WRAP(LMDB_ENV_OPEN, mdb_env_open, env, (MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode), (env, path, flags, mode))
LMDB_WRAP(LMDB_ENV_INFO, mdb_env_info, env, (MDB_env *env, MDB_envinfo *out), (env, out))
LMDB_WRAP(LMDB_DBI_OPEN, mdb_dbi_open, NULL, (MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *out), (txn, name, flags, out))
LMDB_WRAP(LMDB_DBI_FLAGS, mdb_dbi_flags, NULL, (MDB_txn *txn, MDB_dbi dbi, unsigned *out), (txn, dbi, out))
LMDB_WRAP(LMDB_STAT, mdb_stat, NULL, (MDB_txn *txn, MDB_dbi dbi, MDB_stat *out), (txn, dbi, out))
LMDB_WRAP(LMDB_PUT, mdb_put, NULL, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags), (txn, dbi, key, value, flags))
LMDB_WRAP(LMDB_DEL, mdb_del, NULL, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value), (txn, dbi, key, value))
LMDB_WRAP(LMDB_CURSOR_OPEN, mdb_cursor_open, NULL, (MDB_txn *txn, MDB_dbi dbi, MDB_cursor **out), (txn, dbi, out))
LMDB_WRAP(LMDB_CURSOR_RENEW, mdb_cursor_renew, NULL, (MDB_txn *txn, MDB_cursor *cursor), (txn, cursor))
LMDB_WRAP(LMDB_CURSOR_GET, mdb_cursor_get, NULL, (MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op), (cursor, key, value, op))
LMDB_WRAP(LMDB_READER_CHECK, mdb_reader_check, env, (MDB_env *env, int *dead), (env, dead))

int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out) {
  int code = lmdb_fails(flags & MDB_RDONLY ? LMDB_BEGIN_READ : LMDB_BEGIN_WRITE, env);
  if (!code && lmdb_has_panicked(env)) code = MDB_PANIC;
  return code ? code : __real_mdb_txn_begin(env, parent, flags, out);
}

int __real_mdb_txn_renew(MDB_txn *txn);
int __wrap_mdb_txn_renew(MDB_txn *txn);
int __wrap_mdb_txn_renew(MDB_txn *txn) {
  int code = lmdb_fails(LMDB_RENEW, mdb_txn_env(txn));
  if (!code && lmdb_has_panicked(mdb_txn_env(txn))) code = MDB_PANIC;
  return code ? code : __real_mdb_txn_renew(txn);
}

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn) {
  int code = lmdb_fails(LMDB_COMMIT, mdb_txn_env(txn));
  if (!code) return __real_mdb_txn_commit(txn);
  if (!lmdb_plan.reached) mdb_txn_abort(txn);
  else if (__real_mdb_txn_commit(txn) != 0) abort();
  return code;
}

void __real_mdb_env_close(MDB_env *env);
void __wrap_mdb_env_close(MDB_env *env);
void __wrap_mdb_env_close(MDB_env *env) {
  MDB_env *closed = env;
  atomic_compare_exchange_strong(&lmdb_panicked, &closed, NULL);
  __real_mdb_env_close(env);
}

#endif
