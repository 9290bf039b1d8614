/* test_wasm_native.c - a canister that `pagestore wasm native` rewrote, its whole instance in a store, beside the same canister as the
 * compiler made it: after every message, trap, restart, kill and upgrade both hold the same bytes, sizes and globals.
 *
 * The canister is tests/canisters/ledger, the host ledger_host.h; built where wabt and clang are, see tools/packaging/wasm2c.cmake.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include "ledger_host.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char folder[200], path[240];
static pagestore_store *store;
/* the library's and the adapter's, as main() installed them: cmocka puts its own before each test */
static struct sigaction front_segv, front_bus;

/* ---- the store ------------------------------------------------------------------------------- */

static int remove_entry(const char *at, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(at);
}

static void make_folder(void) {
  const char *where = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/wasm-native-XXXXXX", where && strlen(where) < 150 ? where : "/tmp");
  if (!mkdtemp(folder)) abort();
  snprintf(path, sizeof path, "%s/store", folder);
}

static void open_store(void) {
  sigaction(SIGSEGV, &front_segv, NULL);
  sigaction(SIGBUS, &front_bus, NULL);
  OK(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store));
}

static void reopen(guest *g) {
  backend kind = g->kind;
  durable_close(g);
  OK(pagestore_close(store));
  open_store();
  durable_open(g, store, kind);
}

static void finish(guest *g) {
  durable_close(g);
  OK(pagestore_close(store));
  nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- messages -------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t z) {
  z = (z + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Follows from its number alone, so that another process knows it, too. */
static message message_of(uint64_t number) {
  uint64_t r = mix(number);
  message m = {.a = (uint32_t)(r % 20000), .b = (uint32_t)(r >> 20) % 50, .amount = r >> 40 & 1023};
  unsigned kind = (unsigned)(r >> 8) % 16;
  m.which = kind < 9 ? DEPOSIT : kind < 13 ? MOVE : kind == 13 ? SHIFT : kind == 14 ? POISON : DEPOSIT;
  if (m.which == MOVE) m.a %= 50;
  if (m.which == SHIFT) m.a = (uint32_t)(r >> 30) % 190000;
  return m;
}

/* What the host decides: the trap's message always goes, some others, too. */
static bool is_kept(uint64_t number, int trap) { return !trap && mix(number) % 11 != 3; }

static int run_message(guest *g, uint64_t number, uint64_t *result) {
  message m = message_of(number);
  int trap = call(g, m, result);
  if (trap) *result = 0;
  return trap;
}

static void assert_same(guest *plain, guest *durable) {
  static const what queries[] = {TOTAL, MESSAGES, SIZE};
  assert_int_equal(durable->version, plain->version);
  assert_int_equal(pagestore_memory_pages(durable->heap), plain->env.memory.pages);
  assert_int_equal(durable->memories.heap.pages, plain->env.memory.pages);
  assert_int_equal(pagestore_memory_pages(durable->stable), plain->ic0.pages);
  assert_int_equal(*stack_pointer(durable), *stack_pointer(plain));
  assert_int_equal(*total(durable), *total(plain));
  assert_memory_equal(durable->memories.heap.data, plain->env.memory.data,
                      (size_t)plain->env.memory.pages * PAGESTORE_PAGE);
  assert_memory_equal(pagestore_memory_base(durable->stable), plain->ic0.bytes, plain->ic0.pages * PAGESTORE_PAGE);
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    uint64_t expected = 0, found = 1;
    assert_int_equal(call(plain, (message){.which = queries[i]}, &expected), 0);
    assert_int_equal(call(durable, (message){.which = queries[i]}, &found), 0);
    assert_int_equal(found, expected);
  }
}

typedef struct {
  unsigned traps, dropped, kept;
} seen;

static void one_message(guest *plain, guest *durable, uint64_t number, seen *s) {
  uint64_t expected = 0, result = 0;
  int trap = run_message(plain, number, &expected), other = run_message(durable, number, &result);
  assert_int_equal(!trap, !other);
  assert_int_equal(result, expected);
  bool keep = is_kept(number, trap);
  end_message(plain, keep);
  end_message(durable, keep);
  s->traps += trap != 0;
  s->dropped += !trap && !keep;
  s->kept += keep;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static guest plain, durable;

static void messages_and_restarts(backend kind) {
  seen s = {0};
  make_folder();
  open_store();
  plain_open(&plain);
  durable_open(&durable, store, kind);
  assert_same(&plain, &durable);
  for (uint64_t number = 1; number <= 160; number++) {
    one_message(&plain, &durable, number, &s);
    if (number % 40 == 0) reopen(&durable);
    if (number % 10 == 0) assert_same(&plain, &durable);
  }
  assert_true(s.traps > 10 && s.dropped > 5 && s.kept > 80);
  assert_true(plain.env.memory.pages > HEAP_PAGES + 5 && plain.ic0.pages > 10);
  finish(&durable);
  plain_close(&plain);
}

static void upgrades(backend kind) {
  seen s = {0};
  make_folder();
  open_store();
  plain_open(&plain);
  durable_open(&durable, store, kind);
  for (uint64_t number = 1; number <= 40; number++) one_message(&plain, &durable, number, &s);
  for (int attempt = 0; attempt < 2; attempt++) {
    assert_false(upgrade(&plain, true));
    assert_false(upgrade(&durable, true));
    assert_same(&plain, &durable);
    one_message(&plain, &durable, 100 + (uint64_t)attempt, &s);
  }
  reopen(&durable);
  assert_same(&plain, &durable);
  uint64_t version = pagestore_committed_version(durable.instance);
  assert_true(upgrade(&plain, false));
  assert_true(upgrade(&durable, false));
  assert_int_equal(pagestore_committed_version(durable.instance), version + 1);
  assert_same(&plain, &durable);
  for (uint64_t number = 200; number <= 240; number++) one_message(&plain, &durable, number, &s);
  reopen(&durable);
  assert_same(&plain, &durable);
  assert_int_equal(durable.version, 2);
  finish(&durable);
  plain_close(&plain);
}

/* ---- killed ---------------------------------------------------------------------------------- */

static uint64_t last_message(guest *g) {
  uint64_t number = 0;
  size_t length;
  int status = pagestore_metadata_get(g->instance, "last", &number, sizeof number, &length);
  if (status && status != PAGESTORE_ENOTFOUND) abort();
  return number;
}

/* In its own process: messages from where the store stands, a byte to stdout for each that is durable; until it is killed. */
static int child(const char *at, backend kind) {
  snprintf(path, sizeof path, "%s", at);
  open_store();
  durable_open(&durable, store, kind);
  for (uint64_t number = last_message(&durable) + 1;; number++) {
    uint64_t result;
    int trap = run_message(&durable, number, &result);
    if (!is_kept(number, trap)) OK(pagestore_wasm2c_rollback(&durable.wasm2c));
    OK(pagestore_metadata_set(durable.instance, "last", &number, sizeof number));
    OK(pagestore_wasm2c_commit(&durable.wasm2c, 0, NULL));
    if (write(1, "+", 1) != 1) return 1;
  }
}

/* Kills it after so many acknowledgements; how many there were in the end. */
static uint64_t run_and_kill(backend kind, uint64_t wanted) {
  int pipes[2];
  char kind_text[2] = {(char)('0' + kind), 0}, *arguments[] = {"test_wasm_native", "child", path, kind_text, NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
  assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(pipes[1]);
  uint64_t acknowledged = 0;
  char byte;
  while (read(pipes[0], &byte, 1) == 1)
    if (++acknowledged == wanted) kill(pid, SIGKILL);
  close(pipes[0]);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  return acknowledged;
}

static void killed(backend kind) {
  uint64_t done = 0;
  make_folder();
  plain_open(&plain);
  for (uint64_t round = 0; round < 4; round++) {
    uint64_t acknowledged = done + run_and_kill(kind, 10 + round * 7);
    open_store();
    durable_open(&durable, store, kind);
    uint64_t last = last_message(&durable);
    assert_true(last >= acknowledged && last <= acknowledged + 1);
    for (; done < last; done++) {
      uint64_t result;
      int trap = run_message(&plain, done + 1, &result);
      end_message(&plain, is_kept(done + 1, trap));
    }
    assert_same(&plain, &durable);
    if (round == 3) break;
    durable_close(&durable);
    OK(pagestore_close(store));
  }
  finish(&durable);
  plain_close(&plain);
}

static void calls_messages(void **state) { (void)state, messages_and_restarts(CALLS); }
static void shim_messages(void **state) { (void)state, messages_and_restarts(SHIM); }
static void calls_upgrade(void **state) { (void)state, upgrades(CALLS); }
static void shim_upgrade(void **state) { (void)state, upgrades(SHIM); }
static void calls_killed(void **state) { (void)state, killed(CALLS); }
static void shim_killed(void **state) { (void)state, killed(SHIM); }

/* Trap codes of the calls come through, with their texts. */
static void traps_have_names(void **state) {
  (void)state;
  make_folder();
  open_store();
  durable_open(&durable, store, CALLS);
  assert_int_equal(call(&durable, (message){.which = POISON}, NULL), PAGESTORE_STABLE_BOUNDS);
  assert_string_equal(pagestore_wasm2c_strerror(PAGESTORE_STABLE_BOUNDS),
                      pagestore_stable_strerror(PAGESTORE_STABLE_BOUNDS));
  OK(pagestore_wasm2c_rollback(&durable.wasm2c));
  finish(&durable);
}

int main(int count, char **words) {
  wasm_rt_init();
  sigaction(SIGSEGV, NULL, &front_segv);
  sigaction(SIGBUS, NULL, &front_bus);
  if (count == 4 && strcmp(words[1], "child") == 0) return child(words[2], (backend)(words[3][0] - '0'));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(calls_messages),   cmocka_unit_test(shim_messages), cmocka_unit_test(calls_upgrade),
      cmocka_unit_test(shim_upgrade),     cmocka_unit_test(calls_killed),  cmocka_unit_test(shim_killed),
      cmocka_unit_test(traps_have_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
