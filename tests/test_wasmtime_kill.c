/* test_wasmtime_kill.c - a host is killed with SIGKILL while its guest runs message after message; the next one finds
 * heap, stable memory and mutable globals of one and the same message, never older than the last that was acknowledged.
 *
 * Each round starts this program anew as the host (argument "host"), since an engine's threads do not survive a fork. A
 * message grows the stable memory, touches many pages of the heap, and now and then traps in the middle.
 *
 * ctest: PROGRAM_OF_ITS_OWN
 */
#include <spawn.h>
#include <sys/wait.h>

#include "wasmtime_fixture.h"

extern char **environ;

enum { ROUNDS = 12, MESSAGES_MAX = 40, HEAP_WORDS = 32 };

/* What message number `n` leaves behind. */
static void assert_is_message(host *h, int64_t n) {
  for (int i = 0; i < HEAP_WORDS; i++) assert_int_equal(CALL(h, "peek", 70000 + i * 4096 % (2 * PAGE) % 60000), n);
  assert_int_equal(CALL(h, "counter_now"), 5 + n);
  assert_int_equal(CALL(h, "stable_size"), n);
  if (n > 0) assert_int_equal(CALL(h, "stable_peek", (n - 1) * PAGE), n);
}

static void run_message(host *h, int64_t n) {
  if (n % 5 == 0) {
    CALL(h, "poke", 70000, -1);
    CALL(h, "stable_grow", 1);
    assert_int_equal(CODE(h, "stop", 70004, -1), PAGESTORE_WASMTIME_TRAP);
    ok(h, pagestore_wasmtime_rollback(&h->guest));
  }
  for (int i = 0; i < HEAP_WORDS; i++) CALL(h, "poke", 70000 + i * 4096 % (2 * PAGE) % 60000, n);
  assert_int_equal(CALL(h, "stable_grow", 1), n - 1);
  CALL(h, "stable_poke", (n - 1) * PAGE, n);
  CALL(h, "count");
  ok(h, pagestore_wasmtime_commit(&h->guest, n % 3 ? 0 : PAGESTORE_ASYNC, NULL));
  if (n % 3 == 0) assert_ok(pagestore_wait(h->instance, pagestore_committed_version(h->instance), PAGESTORE_FOREVER));
}

static int64_t message_now(host *h) { return CALL(h, "counter_now") - 5; }

static void be_the_host(void **state) {
  (void)state;
  host h;
  folder = getenv("KILLED_FOLDER");
  tracker = (pagestore_tracker)env_number("KILLED_TRACKER", 0);
  store_open();
  host_run(&h, "killed", PAGESTORE_CREATE);
  int64_t n = message_now(&h);
  assert_is_message(&h, n);
  for (int i = 0;; i++) {
    run_message(&h, ++n);
    assert_int_equal(write(3, &n, sizeof n), sizeof n);
  }
}

/* The last message that was acknowledged before the host was killed. */
static int64_t run_and_kill(dice *d) {
  int64_t n = 0, stop_after = (int64_t)dice_below(d, MESSAGES_MAX);
  int ends[2], status;
  pid_t pid;
  posix_spawn_file_actions_t actions;
  char *arguments[] = {"test_wasmtime_kill", "host", NULL};
  assert_int_equal(pipe(ends), 0);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
  if (ends[1] != 3) posix_spawn_file_actions_addclose(&actions, ends[1]);
  assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  for (int64_t i = 0; i <= stop_after; i++) assert_int_equal(read(ends[0], &n, sizeof n), sizeof n);
  usleep((useconds_t)dice_below(d, 3000));
  kill(pid, SIGKILL);
  while (read(ends[0], &n, sizeof n) == sizeof n) {}
  close(ends[0]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  return n;
}

static void killed_and_started_again(void **state) {
  dice d = { .state = env_number("PAGESTORE_SEED", (uint64_t)getpid()) };
  int64_t more = 0, last = 0;
  char number[16];
  (void)state;
  print_message("PAGESTORE_SEED=%llu\n", (unsigned long long)d.state);
  assert_ok(pagestore_close(store));
  snprintf(number, sizeof number, "%d", (int)tracker);
  setenv("KILLED_FOLDER", folder, 1);
  setenv("KILLED_TRACKER", number, 1);
  for (int round = 0; round < ROUNDS; round++) {
    host h;
    int64_t acknowledged = run_and_kill(&d);
    store_open();
    host_run(&h, "killed", 0);
    last = message_now(&h);
    if (last < acknowledged || last > acknowledged + 1)
      fail_msg("acknowledged %lld, found %lld", (long long)acknowledged, (long long)last);
    assert_is_message(&h, last);
    more += last - acknowledged;
    host_close(&h);
    assert_ok(pagestore_close(store));
  }
  print_message("%d hosts killed, %lld messages, %lld of them durable but not yet acknowledged\n", ROUNDS,
                (long long)last, (long long)more);
  store_open();
}

int main(int count, char **arguments) {
  const struct CMUnitTest host_tests[] = {cmocka_unit_test(be_the_host)};
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(killed_and_started_again, set_up, tear_down)};
  if (engine_ready()) return 1;
  if (count > 1 && strcmp(arguments[1], "host") == 0)
    return cmocka_run_group_tests_name("host", host_tests, NULL, NULL);
  int failed = 0;
  for (tracker = PAGESTORE_TRACK_AUTO; tracker <= PAGESTORE_TRACK_MPROTECT && !failed; tracker++)
    failed = cmocka_run_group_tests_name("killed", tests, NULL, NULL);
  return engine_done() || failed;
}
