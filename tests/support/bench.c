/* bench.c - a store with one instance for short tests; see bench.h. */
#include "bench.h"

#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

/* ---- traps: installed before the library's handlers, which hand on what is not theirs ------------------- */

static sigjmp_buf trapped;
static volatile sig_atomic_t armed;

static void on_trap(int signal, siginfo_t *info, void *context) {
  (void)info, (void)context;
  if (!armed) {
    static const char text[] = "a trap that no test expects\n";
    if (write(2, text, sizeof text - 1) < 0) _exit(3);
    _exit(128 + signal);
  }
  armed = 0;
  siglongjmp(trapped, 1);
}

static void install(void) {
  struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  sigemptyset(&action.sa_mask);
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

bool bench_survives(bench *b, uint64_t offset, bool write) {
  volatile uint8_t *at = b->base + offset;
  armed = 1;
  if (sigsetjmp(trapped, 1)) return false;
  if (write) *at = 1;
  else (void)*at;
  armed = 0;
  return true;
}

/* ---- the bench ---------------------------------------------------------------------------------------- */

void bench_memory(bench *b, uint64_t pages) {
  b->options.size = sizeof b->options;
  b->options.pages = pages;
  b->options.guard_bytes = PAGE;
  if (!b->options.max_pages) b->options.max_pages = 64;
  assert_ok(pagestore_memory_open(b->instance, "heap", &b->options, &b->memory));
  b->base = pagestore_memory_base(b->memory);
}

void bench_put(bench *b, uint64_t offset, uint8_t byte) {
  if (b->options.flags & PAGESTORE_EXPLICIT) assert_ok(pagestore_memory_mark(b->memory, offset, 1));
  b->base[offset] = byte;
}

uint64_t bench_commit(bench *b) {
  uint64_t version = UINT64_MAX;
  assert_ok(pagestore_commit(b->instance, 0, &version));
  return version;
}

static int add_blocks(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m;
  assert_int_equal(offset % BLOCK, 0);
  *(uint64_t *)env += length / BLOCK;
  return 0;
}

uint64_t bench_dirty(bench *b) {
  uint64_t blocks = 0;
  assert_ok(pagestore_memory_blocks(b->memory, PAGESTORE_BLOCKS_DIRTY, add_blocks, &blocks));
  return blocks;
}

void bench_end(bench *b) {
  pagestore_instance_close(b->instance);
  b->instance = NULL;
  b->memory = NULL;
}

static void open_store(bench *b) {
  b->store_options.size = sizeof b->store_options;
  b->store_options.flags = PAGESTORE_CREATE;
  b->store_options.map_bytes = 1ull << 34;
  assert_ok(pagestore_open(b->path, &b->store_options, &b->store));
  assert_ok(pagestore_instance_open(b->store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &b->instance));
}

void bench_reopen(bench *b) {
  bool had_memory = b->memory != NULL;
  uint64_t pages = had_memory ? b->options.pages : 0;
  if (b->instance) bench_end(b);
  assert_ok(pagestore_close(b->store));
  open_store(b);
  b->versions = pagestore_committed_version(b->instance);
  if (had_memory) bench_memory(b, pages);
}

/* ---- every case under every tracker ---------------------------------------------------------------------- */

static const char *const tracker_name[] = { "auto", "scan", "fault", "mprotect" };
typedef struct { void (*run)(bench *); pagestore_tracker tracker; } bench_run_of;

static void run_case(void **state) {
  const bench_run_of *of = *state;
  install();  /* cmocka has put its own in front */
  pagestore_handlers();
  bench b = { .directory = scratch_make(), .store_options.tracker = of->tracker };
  char path[4200];
  snprintf(path, sizeof path, "%s/store", b.directory);
  b.path = path;
  b.store_options.size = sizeof b.store_options;
  b.store_options.flags = PAGESTORE_CREATE;
  int status = pagestore_open(path, &b.store_options, &b.store);
  if (status == PAGESTORE_EUNSUPPORTED) {
    scratch_remove(b.directory);
    skip();
  }
  assert_ok(status);
  assert_ok(pagestore_close(b.store));
  open_store(&b);
  of->run(&b);
  if (b.instance) bench_end(&b);
  assert_ok(pagestore_close(b.store));
  scratch_remove(b.directory);
}

int bench_run(const bench_case *cases, size_t count) {
  enum { TRACKERS = 4, NAME = 120 };
  struct CMUnitTest *tests = calloc(count * TRACKERS, sizeof *tests);
  bench_run_of *runs = calloc(count * TRACKERS, sizeof *runs);
  char(*names)[NAME] = calloc(count * TRACKERS, NAME);
  const char *only = getenv("BENCH_CASE");
  size_t made = 0;
  for (size_t n = 0; n < count * TRACKERS; n++) {
    if (only && strcmp(only, cases[n / TRACKERS].name) != 0) continue;
    runs[made] = (bench_run_of){ cases[n / TRACKERS].run, (pagestore_tracker)(n % TRACKERS) };
    snprintf(names[made], NAME, "%s (%s)", cases[n / TRACKERS].name, tracker_name[n % TRACKERS]);
    tests[made] = (struct CMUnitTest){ .name = names[made], .test_func = run_case, .initial_state = &runs[made] };
    made++;
  }
  int failed = _cmocka_run_group_tests("bench", tests, made, NULL, NULL);
  free(names);
  free(runs);
  free(tests);
  return failed;
}
