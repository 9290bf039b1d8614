/* test_handlers.c - other libraries' signal handlers, before ours and after: chained, or noticed; never a wrong byte.
 *
 * ctest: LABELS plain
 *
 * Another library (an engine, a crash reporter) has handlers for SIGSEGV and SIGBUS. Each case runs in a child of its own, for each
 * tracker, and loads and writes every page of a stored memory, then faults outside of all memories. Proven:
 * - its handlers were there first, or came later and pass on what they do not know, or came later and pagestore_handlers() was called:
 *   bytes and commits are right, and its handler has got its own fault, once;
 * - they came later and pass on nothing: its handler is what the first load reaches; calls of the library go on and give the right bytes.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGES = 20, FINE = 0, STOLEN = 33, NO_TRACKER = 44 };
typedef enum { BEFORE, AFTER_PASSING_ON, AFTER_AND_AGAIN, AFTER_ALONE, WAYS } way;

static uint8_t *theirs;                  /* where the other library expects a fault */
static volatile unsigned their_faults;
static struct sigaction found[2];        /* SIGSEGV, SIGBUS: what it has found */
static bool passes_on;

static void their_handler(int signal, siginfo_t *info, void *context) {
  const struct sigaction *next = &found[signal == SIGBUS];
  if (info->si_addr == theirs) {
    their_faults++;
    mprotect(theirs, 4096, PROT_READ | PROT_WRITE);
  } else if (passes_on && next->sa_flags & SA_SIGINFO) {
    next->sa_sigaction(signal, info, context);
  } else {
    _exit(STOLEN);
  }
}

static void they_install(void) {
  struct sigaction action = { .sa_sigaction = their_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
  sigaction(SIGSEGV, &action, &found[0]);
  sigaction(SIGBUS, &action, &found[1]);
}

#define REQUIRE(condition)                                                                       \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, pagestore_detail());   \
      _exit(1);                                                                                  \
    }                                                                                            \
  } while (0)

static void open_memory(host *h) {
  REQUIRE(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance) == 0);
  REQUIRE(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &h->memory) == 0);
  h->base = pagestore_memory_base(h->memory);
}

/* The tag is what is stored. */
static void use(host *h, uint64_t tag) {
  static uint8_t have[PAGESTORE_PAGE];
  for (uint64_t p = 0; p < PAGES; p += 2) {
    REQUIRE(page_is(h->base + p * PAGESTORE_PAGE, p, tag));
    put(h, p, tag + 1);
  }
  *(volatile uint8_t *)theirs = 1;
  REQUIRE(their_faults == 1 && theirs[0] == 1);
  REQUIRE(pagestore_commit(h->instance, 0, NULL) == 0);
  for (uint64_t p = 0; p < PAGES; p++) {
    REQUIRE(pagestore_memory_read(h->memory, p * PAGESTORE_PAGE, have, sizeof have) == 0);
    REQUIRE(page_is(have, p, p % 2 ? tag : tag + 1));
  }
}

static void use_by_calls_alone(host *h, uint64_t tag) {
  static uint8_t have[PAGESTORE_PAGE];
  for (uint64_t p = 0; p + 1 < PAGES; p++) {
    REQUIRE(pagestore_memory_read(h->memory, p * PAGESTORE_PAGE, have, sizeof have) == 0);
    REQUIRE(page_is(have, p, tag));
  }
  have[0] = *(volatile uint8_t *)(h->base + (PAGES - 1) * PAGESTORE_PAGE); /* goes to their handler, and ends there */
  REQUIRE(!"a load was served by nobody");
}

static void run(host *h, way how) {
  for (int signal = 1; signal < 32; signal++) sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
  theirs = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  passes_on = how == AFTER_PASSING_ON;
  if (how == BEFORE) they_install();
  REQUIRE(pagestore_open(h->path, &h->options, &h->store) == 0);
  REQUIRE(pagestore_handlers() == 0); /* the parent's store had put ours in once; what came in between is in front */
  if (how != BEFORE) they_install();
  if (how == AFTER_AND_AGAIN) REQUIRE(pagestore_handlers() == 0);
  open_memory(h);
  if (how == AFTER_ALONE) use_by_calls_alone(h, 1);
  use(h, 1);
  pagestore_instance_close(h->instance);
  REQUIRE(pagestore_close(h->store) == 0);
  _exit(FINE);
}

/* False: there is no such tracker. */
static bool in_child(pagestore_tracker tracker, way how) {
  host h = { .options.tracker = tracker };
  int status;
  folder_make(&h);
  bool there = host_open_store(&h) == 0;
  if (there) {
    host_open_instance(&h, PAGES);
    for (uint64_t p = 0; p < PAGES; p++) put(&h, p, 1);
    host_commit(&h);
    assert_ok(host_close(&h));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) run(&h, how);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != (how == AFTER_ALONE ? STOLEN : FINE))
      fail_msg("tracker %d, way %d: the child ended with %#x", (int)tracker, (int)how, status);
  }
  folder_remove(&h);
  return there;
}

static void each_way(void **state) {
  (void)state;
  unsigned tried = 0;
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++)
    for (way how = BEFORE; how < WAYS; how++) tried += in_child(t, how);
  assert_true(tried >= WAYS);
  fault_row_count(ROW_HANDLERS, tried);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(each_way) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
