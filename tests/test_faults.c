/* test_faults.c - guards, the responder, the chain, threads. Each case runs in a child of its own, since the chain is the
 * process's; a child says by its exit status which check failed (0: none), or dies of the signal that it should die of.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <pagestore.h>

#include "base/faults.h"
#include "fault_rows.h"

#define CHECK(condition) ((condition) ? (void)0 : _exit(__LINE__ % 200 + 1))

static int status_of(void (*body)(void)) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit no_core = { 0, 0 };
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    body();
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  return status;
}

static void runs(void (*body)(void)) {
  int status = status_of(body);
  if (status != 0) printf("child: exit %d (line modulo 200, plus 1), signal %d\n", WEXITSTATUS(status), WTERMSIG(status));
  assert_int_equal(status, 0);
}

/* Sanitizers turn the signal into their own exit: dying is what counts there. */
static void dies_of(int signal, void (*body)(void)) {
  int status = status_of(body);
  assert_true(status != 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
  return;
#endif
#endif
  assert_true(WIFSIGNALED(status));
  assert_int_equal(WTERMSIG(status), signal);
#else
  (void)signal;
#endif
}

static volatile uint8_t *forbidden(void) {
  return mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static uint8_t *torn_mapping(void) {
  FILE *file = tmpfile();
  return mmap(NULL, 8192, PROT_READ, MAP_SHARED, fileno(file), 0);
}

/* ---- guards ----------------------------------------------------------------------------------------------------- */

static int guarded_read(const uint8_t *map, const uint8_t *at) {
  guard g;
  if (guard_enter(&g, map, 8192)) return -1;
  int value = *(const volatile uint8_t *)at;
  guard_leave(&g);
  return value;
}

static void guards_body(void) {
  uint8_t *a = torn_mapping(), *b = torn_mapping();
  uint8_t good[8192] = { 42 };
  guard outer;
  volatile int inner_came_back = 0;
  CHECK(faults_install() == 0 && faults_install() == 0);
  for (int i = 0; i < 1000; i++) CHECK(guarded_read(a, a + 5000) == -1);
  CHECK(guarded_read(good, good) == 42);
  if (guard_enter(&outer, b, 8192) == 0) {
    CHECK(guarded_read(a, a) == -1);
    guard inner;
    if (guard_enter(&inner, a, 8192)) inner_came_back = 1;
    else (void)*(volatile uint8_t *)b; /* the outer one's */
    CHECK(false);
  }
  CHECK(!inner_came_back);
  CHECK(guarded_read(b, b) == -1);
}

static void guards_bring_back(void **unused) {
  (void)unused;
  runs(guards_body);
}

/* ---- the responder ---------------------------------------------------------------------------------------------- */

static uintptr_t answered_at;
static int answers;

static bool answer(int signal, uintptr_t address, void *context) {
  if (address != answered_at || context == NULL || signal != SIGSEGV) return false;
  answers++;
  errno = EXDEV;
  return mprotect((void *)(address & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE) == 0;
}

static void responder_body(void) {
  volatile uint8_t *at = forbidden();
  CHECK(faults_install() == 0);
  faults_respond(answer);
  answered_at = (uintptr_t)at + 7;
  errno = ENOTTY;
  at[7] = 3;
  CHECK(errno == ENOTTY && answers == 1 && at[7] == 3);
}

static void the_responder_answers(void **unused) {
  (void)unused;
  runs(responder_body);
}

/* ---- the chain -------------------------------------------------------------------------------------------------- */

static void default_body(void) {
  CHECK(faults_install() == 0);
  faults_respond(answer);
  *forbidden() = 1;
  _exit(250);
}

static void ignored_fault_body(void) {
  signal(SIGSEGV, SIG_IGN);
  default_body();
}

static void sent_body(void) {
  CHECK(faults_install() == 0);
  raise(SIGSEGV);
  _exit(250);
}

static void sent_ignored_body(void) {
  signal(SIGSEGV, SIG_IGN);
  CHECK(faults_install() == 0);
  raise(SIGSEGV);
  raise(SIGSEGV);
}

static void the_default_action_is_taken(void **unused) {
  (void)unused;
  dies_of(SIGSEGV, default_body);
  dies_of(SIGSEGV, ignored_fault_body);
  dies_of(SIGSEGV, sent_body);
  runs(sent_ignored_body);
}

static char order[64];
static sigjmp_buf back;
static struct sigaction engine_before;
static bool engine_takes, engine_blocks_seen;

static void note(char c) {
  size_t n = strlen(order);
  if (n < sizeof order - 1) order[n] = c;
}

static void first_handler(int signal) { /* old style; the kernel would block the signal meanwhile */
  sigset_t now;
  note('f');
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  engine_blocks_seen = sigismember(&now, signal) && sigismember(&now, SIGUSR1);
  siglongjmp(back, 1);
}

static void install_first(void) {
  struct sigaction first = { .sa_handler = first_handler };
  sigaddset(&first.sa_mask, SIGUSR1);
  sigaction(SIGSEGV, &first, NULL);
}

static void engine(int signal, siginfo_t *info, void *context) {
  note('e');
  if (engine_takes) siglongjmp(back, 1);
  if (engine_before.sa_flags & SA_SIGINFO) engine_before.sa_sigaction(signal, info, context);
  else engine_before.sa_handler(signal);
}

static void install_engine(void) {
  struct sigaction action = { .sa_sigaction = engine, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  sigaction(SIGSEGV, &action, &engine_before);
}

static bool refuse(int signal, uintptr_t address, void *context) {
  (void)signal, (void)address, (void)context;
  note('r');
  return false;
}

static const char *fault_order(volatile uint8_t *at) {
  memset(order, 0, sizeof order);
  if (sigsetjmp(back, 1) == 0) *at = 1;
  return order;
}

static void chain_body(void) {
  volatile uint8_t *at = forbidden();
  install_first();
  CHECK(faults_install() == 0);
  faults_respond(refuse);
  CHECK(strcmp(fault_order(at), "rf") == 0 && engine_blocks_seen);
  install_engine(); /* in front, with ours as its predecessor */
  CHECK(strcmp(fault_order(at), "erf") == 0);
  CHECK(faults_reinstall() == 0);
  for (int i = 0; i < 100; i++) CHECK(strcmp(fault_order(at), "ref") == 0); /* each once, no loop */
  engine_takes = true; /* jumps out of a handler that we chained to */
  for (int i = 0; i < 100; i++) CHECK(strcmp(fault_order(at), "re") == 0);
  engine_takes = false;
  CHECK(strcmp(fault_order(at), "ref") == 0);
  for (int i = 0; i < 20; i++) { /* the engine again and again: remembered once */
    install_engine();
    CHECK(faults_reinstall() == 0);
  }
  CHECK(strcmp(fault_order(at), "ref") == 0);
  CHECK(faults_reinstall() == 0);
}

static void chain_on_alternate_stack(void) {
  CHECK(faults_thread_prepare() == 0);
  chain_body();
}

static void handlers_before_and_after_are_reached_once(void **unused) {
  (void)unused;
  runs(chain_body);
  runs(chain_on_alternate_stack);
  fault_row_count(ROW_HANDLERS, 2);
}

/* Each install finds another handler in front, until there is no room to remember one more; which then stays in front. */
#define OTHER(n) static void other_##n(int signal) { (void)signal, _exit(n); }
OTHER(1) OTHER(2) OTHER(3) OTHER(4) OTHER(5) OTHER(6) OTHER(7) OTHER(8) OTHER(9)

static void many_handlers_body(void) {
  static void (*const others[])(int) = { other_1, other_2, other_3, other_4, other_5, other_6, other_7, other_8, other_9 };
  struct sigaction found;
  CHECK(faults_install() == 0); /* the first: the default action */
  for (unsigned i = 0; i < 9; i++) {
    signal(SIGSEGV, others[i]);
    int status = faults_reinstall();
    CHECK(status == (i < 7 ? 0 : PAGESTORE_EIO));
    if (i >= 7) CHECK(strstr(pagestore_detail(), "install each once") != NULL);
    CHECK(sigaction(SIGSEGV, NULL, &found) == 0);
    CHECK((found.sa_handler == others[i]) == (i >= 7));
  }
  signal(SIGSEGV, others[3]); /* known already */
  CHECK(faults_reinstall() == 0);
}

static void more_handlers_than_have_room(void **unused) {
  (void)unused;
  runs(many_handlers_body);
  fault_row_count(ROW_HANDLERS, 1);
}

/* A chained handler that itself faults into something of ours. */
static volatile uint8_t *engine_touches;

static void touching_engine(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info, (void)context;
  *engine_touches = 1;
  siglongjmp(back, 1);
}

static void nested_body(void) {
  volatile uint8_t *at = forbidden();
  struct sigaction action = { .sa_sigaction = touching_engine, .sa_flags = SA_SIGINFO | SA_NODEFER };
  sigaction(SIGSEGV, &action, NULL);
  CHECK(faults_install() == 0);
  faults_respond(answer);
  engine_touches = forbidden();
  answered_at = (uintptr_t)engine_touches;
  if (sigsetjmp(back, 1) == 0) *at = 1;
  CHECK(answers == 1 && *engine_touches == 1);
}

static void a_fault_inside_a_chained_handler_is_answered(void **unused) {
  (void)unused;
  runs(nested_body);
  fault_row_count(ROW_HANDLERS, 1);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static void *thread_body(void *unused) {
  (void)unused;
  sigset_t block;
  stack_t none = { .ss_flags = SS_DISABLE }, now;
  sigemptyset(&block);
  sigaddset(&block, SIGBUS);
  sigaltstack(&none, NULL);
  CHECK(faults_thread_check() == PAGESTORE_EUNSUPPORTED);
  CHECK(strstr(pagestore_detail(), "pagestore_thread_prepare") != NULL);
  pthread_sigmask(SIG_BLOCK, &block, NULL);
  CHECK(faults_thread_check() == PAGESTORE_EUNSUPPORTED && strstr(pagestore_detail(), "SIGBUS") != NULL);
  CHECK(faults_thread_prepare() == 0 && faults_thread_check() == 0);
  CHECK(sigaltstack(&none, NULL) == 0 && faults_thread_check() != 0); /* taken away: given again */
  CHECK(faults_thread_prepare() == 0 && faults_thread_check() == 0);
  CHECK(sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE));
  for (int i = 0; i < 10; i++) CHECK(faults_thread_prepare() == 0);
  return NULL;
}

static void *small_stack_body(void *unused) {
  (void)unused;
  size_t bytes = (size_t)sysconf(_SC_MINSIGSTKSZ) + 512;
  stack_t before, small = { .ss_sp = malloc(bytes), .ss_size = bytes };
  CHECK(sigaltstack(&small, &before) == 0);
  CHECK(faults_thread_check() == PAGESTORE_EUNSUPPORTED && strstr(pagestore_detail(), "bytes") != NULL);
  CHECK(faults_thread_prepare() == 0 && faults_thread_check() == 0);
  return small.ss_sp;
}

static void threads_body(void) {
  CHECK(faults_install() == 0);
  for (int i = 0; i < 20; i++) {
    pthread_t thread;
    void *stack = NULL;
    CHECK(pthread_create(&thread, NULL, thread_body, NULL) == 0 && pthread_join(thread, NULL) == 0);
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(pthread_create(&thread, NULL, small_stack_body, NULL) == 0 && pthread_join(thread, &stack) == 0);
    free(stack);
#else
    (void)small_stack_body, (void)stack; /* ASan unmaps whatever alternate stack a thread ends with */
#endif
  }
}

static void threads_are_checked_and_mended(void **unused) {
  (void)unused;
  runs(threads_body);
  fault_row_count(ROW_SIGNALS, 20);
}

static void texts(void **unused) {
  (void)unused;
  assert_string_equal(pagestore_version(), "0.1.0");
  for (int status = PAGESTORE_EFULL; status <= 0; status++)
    assert_string_not_equal(pagestore_strerror(status), pagestore_strerror(-1000));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(guards_bring_back),
    cmocka_unit_test(the_responder_answers),
    cmocka_unit_test(the_default_action_is_taken),
    cmocka_unit_test(handlers_before_and_after_are_reached_once),
    cmocka_unit_test(more_handlers_than_have_room),
    cmocka_unit_test(a_fault_inside_a_chained_handler_is_answered),
    cmocka_unit_test(threads_are_checked_and_mended),
    cmocka_unit_test(texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
