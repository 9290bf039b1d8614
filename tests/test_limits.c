/* test_limits.c - a process that may do little: address space, system calls, mappings, stacks, signal masks.
 *
 * ctest: LABELS plain
 *
 * Each case runs in a child of its own. Proven:
 * - with 3 GiB of address space the store opens with a smaller map; a 32-bit memory with its default guard is refused with ENOMEM and
 *   a text that names the way out; one with a small guard works and survives; with next to none, open is refused cleanly;
 * - where seccomp refuses userfaultfd (EPERM, ENOSYS), the scan (EINVAL, ENOTTY) or process_madvise (ENOSYS), the same program gives the same bytes, versions and
 *   numbers of stored pages as without a filter; stats names the tracker and why; a tracker that was asked for is EUNSUPPORTED;
 * - when the process has few mappings left, the mprotect tracker takes more scattered blocks than there are mappings, commits and
 *   rolls back right;
 * - threads with a blocked SIGBUS or SIGSEGV, with no or a small alternate stack, with the smallest stack: thread_check tells,
 *   thread_prepare mends, and loads, writes and commits work there.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- children: assertions of theirs are exits ------------------------------------------------------------------------------------ */

#define REQUIRE(condition)                                                                                          \
  do {                                                                                                              \
    if (!(condition)) {                                                                                             \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, pagestore_detail()); \
      _exit(1);                                                                                                     \
    }                                                                                                               \
  } while (0)

typedef void (*child_fn)(host *, void *env);

static void in_child(host *h, child_fn run, void *env) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    for (int signal = 1; signal < 32; signal++) sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    run(h, env);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) fail_msg("the child ended by signal %d", WTERMSIG(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static int open_small(host *h, uint64_t pages, uint64_t guard) {
  int status = host_open_store(h);
  if (!status) status = pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance);
  if (!status) status = pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = pages, .max_pages = pages, .guard_bytes = guard), &h->memory);
  if (!status) h->base = pagestore_memory_base(h->memory);
  return status;
}

/* ---- address space ------------------------------------------------------------------------------------------------------------------ */

static void with_address_space(host *h, void *env) {
  uint64_t bytes = *(uint64_t *)env;
  REQUIRE(setrlimit(RLIMIT_AS, &(struct rlimit){ bytes, bytes }) == 0);
  REQUIRE(host_open_store(h) == 0);
  REQUIRE(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance) == 0);
  REQUIRE(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = 1), &h->memory) == PAGESTORE_ENOMEM);
  REQUIRE(strstr(pagestore_detail(), "address space"));
  REQUIRE(strlen(pagestore_detail()) > 40);
  uint64_t before = pagestore_committed_version(h->instance);
  REQUIRE(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = 64, .max_pages = 64, .guard_bytes = MIB), &h->memory) == 0);
  h->base = pagestore_memory_base(h->memory);
  for (uint64_t p = 0; p < 64; p++) put(h, p, before + 5);
  REQUIRE(pagestore_commit(h->instance, 0, NULL) == 0);
  REQUIRE(host_close(h) == 0);
  REQUIRE(open_small(h, 64, MIB) == 0);
  for (uint64_t p = 0; p < 64; p++) REQUIRE(page_is(h->base + p * PAGESTORE_PAGE, p, before + 5));
  REQUIRE(host_close(h) == 0);
}

/* Whatever is left: it works, or is refused with a text. */
static void with_next_to_none(host *h, void *env) {
  char line[200];
  unsigned long long used_kib = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f)) sscanf(line, "VmSize: %llu", &used_kib);
  fclose(f);
  uint64_t bytes = used_kib * 1024 + *(uint64_t *)env;
  REQUIRE(setrlimit(RLIMIT_AS, &(struct rlimit){ bytes, bytes }) == 0);
  int status = host_open_store(h);
  REQUIRE(status == 0 || status == PAGESTORE_ENOMEM);
  if (status == 0) REQUIRE(pagestore_close(h->store) == 0);
  else REQUIRE(strlen(pagestore_detail()) > 20);
}

static void little_address_space(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  uint64_t bytes = 3ull << 30;
  in_child(&h, with_address_space, &bytes);
  unsigned limits = 1;
  for (bytes = 1; bytes < 300 * MIB; bytes = bytes * 3 / 2 + 4096, limits++) in_child(&h, with_next_to_none, &bytes);
  fault_row_count(ROW_SPACE, limits);
  host_open(&h, 0); /* the store is whole, without a limit too */
  for (uint64_t p = 0; p < 64; p++) assert_page(&h, p, 5);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* ---- system calls ---------------------------------------------------------------------------------------------------------------------- */

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN 0xc0606610u
#endif

typedef struct { long call; uint32_t argument1; int error; pagestore_tracker wanted; } filter;
typedef struct { uint64_t hash, version, stored_pages; pagestore_tracker tracker; char reason[200]; } result;
typedef struct { const filter *filter; result *result; } filtered;

/* The call fails with the error, if argument 1 is the given one (0: whatever it is). */
static void install(const filter *f) {
  struct sock_filter program[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)f->call, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, f->argument1 ? offsetof(struct seccomp_data, args[1]) : offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, f->argument1 ? f->argument1 : (uint32_t)f->call, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)f->error),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){ sizeof program / sizeof *program, program }) == 0);
}

static uint64_t hash_memory(const host *h) {
  uint64_t hash = 14695981039346656037u;
  for (uint64_t at = 0; at < pagestore_memory_pages(h->memory) * PAGESTORE_PAGE; at++) hash = (hash ^ h->base[at]) * 1099511628211u;
  return hash;
}

/* The program: messages that write, grow, roll back, zero, restore. */
static void run_program(host *h, result *out) {
  REQUIRE(open_small(h, 100, MIB) == 0);
  for (uint64_t round = 1; round <= 12; round++) {
    for (uint64_t i = 0; i < 60; i++) h->base[(i * 7919 * round) % (60 * PAGESTORE_PAGE)] = (uint8_t)(i + round);
    if (round % 3 == 0) put(h, 60 + round, round);
    if (round == 5) REQUIRE(pagestore_memory_fill(h->memory, 3 * PAGESTORE_PAGE, 0, 4 * PAGESTORE_PAGE) == 0);
    if (round % 4 == 2) REQUIRE(pagestore_rollback(h->instance) == 0);
    else REQUIRE(pagestore_commit(h->instance, round % 2 ? PAGESTORE_ASYNC : 0, NULL) == 0);
    if (round == 7) REQUIRE(pagestore_snapshot_create(h->instance, "s", 0) == 0);
  }
  REQUIRE(pagestore_restore(h->instance, "s") == 0);
  h->base[11]++;
  REQUIRE(pagestore_commit(h->instance, 0, &out->version) == 0);
  pagestore_instance_info info = { .size = sizeof info };
  REQUIRE(pagestore_instance_stat(h->instance, &info) == 0);
  pagestore_statistics stats = { .size = sizeof stats };
  REQUIRE(pagestore_stats(h->store, &stats) == 0);
  out->stored_pages = info.stored_pages;
  out->tracker = stats.tracker;
  snprintf(out->reason, sizeof out->reason, "%s", stats.tracker_reason);
  uint64_t before = hash_memory(h);
  REQUIRE(host_close(h) == 0);
  REQUIRE(open_small(h, 100, MIB) == 0);
  out->hash = hash_memory(h);
  REQUIRE(out->hash == before);
  REQUIRE(host_close(h) == 0);
}

static void with_filter(host *h, void *env) {
  filtered *f = env;
  if (f->filter) install(f->filter);
  h->options.tracker = PAGESTORE_TRACK_SCAN;
  int status = host_open_store(h);
  if (f->filter && f->filter->wanted != PAGESTORE_TRACK_SCAN) REQUIRE(status == PAGESTORE_EUNSUPPORTED && strlen(pagestore_detail()) > 20);
  if (status == 0) REQUIRE(pagestore_close(h->store) == 0);
  h->options.tracker = PAGESTORE_TRACK_AUTO;
  run_program(h, f->result);
}

static void run_filtered(const filter *f, result *out) {
  host h = {0};
  folder_make(&h);
  in_child(&h, with_filter, &(filtered){ f, out });
  folder_remove(&h);
}

static void refused_calls(void **state) {
  (void)state;
  static const filter filters[] = {
    { SYS_userfaultfd, 0, EPERM, PAGESTORE_TRACK_MPROTECT },
    { SYS_userfaultfd, 0, ENOSYS, PAGESTORE_TRACK_MPROTECT },
    { SYS_ioctl, (uint32_t)PAGEMAP_SCAN, EINVAL, PAGESTORE_TRACK_FAULT },
    { SYS_ioctl, (uint32_t)PAGEMAP_SCAN, ENOTTY, PAGESTORE_TRACK_FAULT },
    { SYS_process_madvise, 0, ENOSYS, PAGESTORE_TRACK_SCAN }, /* pages are dropped one by one */
  };
  enum { FILTERS = sizeof filters / sizeof *filters };
  result *results = mmap(NULL, sizeof *results * (FILTERS + 1), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  run_filtered(NULL, &results[FILTERS]);
  print_message("no filter: tracker %d (%s)\n", (int)results[FILTERS].tracker, results[FILTERS].reason);
  for (size_t i = 0; i < FILTERS; i++) {
    pagestore_tracker free = results[FILTERS].tracker;
    bool about_scan = filters[i].argument1 || filters[i].wanted == PAGESTORE_TRACK_SCAN;
    if (free == PAGESTORE_TRACK_MPROTECT || (free != PAGESTORE_TRACK_SCAN && about_scan)) continue; /* not there anyway */
    run_filtered(&filters[i], &results[i]);
    print_message("filter %d: tracker %d (%s)\n", (int)i, (int)results[i].tracker, results[i].reason);
    assert_int_equal(results[i].tracker, filters[i].wanted);
    assert_true(strlen(results[i].reason) > 10);
    if (filters[i].wanted != PAGESTORE_TRACK_SCAN) assert_string_not_equal(results[i].reason, results[FILTERS].reason);
    assert_true(results[i].hash == results[FILTERS].hash);
    assert_int_equal(results[i].version, results[FILTERS].version);
    assert_int_equal(results[i].stored_pages, results[FILTERS].stored_pages);
    fault_row_count(ROW_TRACKERS, 1);
  }
  munmap(results, sizeof *results * (FILTERS + 1));
}

/* ---- mappings -------------------------------------------------------------------------------------------------------------------------- */

enum { SCATTERED_PAGES = 600, LEFT = 2500 };

/* Every second page of a range gets another protection, until the kernel has no mapping left; then a few are given back. */
static void eat_mappings(void) {
  uint64_t bytes = 400ull << 20, at;
  uint8_t *range = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(range != MAP_FAILED);
  for (at = 0; at < bytes; at += 8192)
    if (mprotect(range + at, 4096, PROT_READ) != 0) break;
  REQUIRE(at < bytes); /* or the limit is higher than this */
  REQUIRE(at > LEFT * 4096ull);
  REQUIRE(mprotect(range + at - LEFT * 4096ull, LEFT * 4096ull, PROT_NONE) == 0);
}

static void with_few_mappings(host *h, void *env) {
  (void)env;
  h->options.tracker = PAGESTORE_TRACK_MPROTECT;
  REQUIRE(open_small(h, SCATTERED_PAGES, MIB) == 0);
  for (uint64_t p = 0; p < SCATTERED_PAGES; p++) put(h, p, 1);
  REQUIRE(pagestore_commit(h->instance, 0, NULL) == 0);
  eat_mappings();
  for (uint64_t message = 1; message <= 3; message++) {
    for (uint64_t b = message % 2; b < SCATTERED_PAGES * 16; b += 2) h->base[b * PAGESTORE_BLOCK + message] ^= 0x5a;
    if (message == 2) REQUIRE(pagestore_rollback(h->instance) == 0);
    else REQUIRE(pagestore_commit(h->instance, 0, NULL) == 0);
  }
  REQUIRE(host_close(h) == 0);
}

static void few_mappings(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  in_child(&h, with_few_mappings, NULL);
  host_open(&h, 0);
  assert_int_equal(pagestore_committed_version(h.instance), 3);
  uint8_t expected[PAGESTORE_PAGE];
  for (uint64_t p = 0; p < SCATTERED_PAGES; p++) {
    fill_page(expected, p, 1);
    for (uint64_t b = 1; b < 16; b += 2) expected[b * PAGESTORE_BLOCK + 1] ^= 0x5a, expected[b * PAGESTORE_BLOCK + 3] ^= 0x5a;
    assert_memory_equal(h.base + p * PAGESTORE_PAGE, expected, PAGESTORE_PAGE);
  }
  fault_row_count(ROW_SPACE, 1);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* ---- threads ---------------------------------------------------------------------------------------------------------------------------- */

typedef enum { SOUND, BLOCK_SIGBUS = 1, BLOCK_SIGSEGV = 2, NO_STACK = 4, SMALL_STACK = 8 } thread_fault;
typedef struct { host *host; unsigned faults; uint64_t page, tag; } thread_case;

static void *on_thread(void *env) {
  thread_case *c = env;
  sigset_t blocked;
  static uint8_t small[4096];
  sigemptyset(&blocked);
  if (c->faults & BLOCK_SIGBUS) sigaddset(&blocked, SIGBUS);
  if (c->faults & BLOCK_SIGSEGV) sigaddset(&blocked, SIGSEGV);
  pthread_sigmask(SIG_BLOCK, &blocked, NULL);
  if (c->faults & SMALL_STACK) REQUIRE(sigaltstack(&(stack_t){ .ss_sp = small, .ss_size = 3072 }, NULL) == 0);
  int status = pagestore_thread_check();
  REQUIRE(status < 0 && strlen(pagestore_detail()) > 20);
  REQUIRE(pagestore_thread_prepare() == 0);
  REQUIRE(pagestore_thread_check() == 0);
  REQUIRE(pagestore_thread_prepare() == 0); /* twice is as once */
  host *h = c->host;
  for (uint64_t p = c->page; p < c->page + 10; p++) {
    REQUIRE(h->base[p * PAGESTORE_PAGE + 9] == (uint8_t)c->tag); /* a load, on this stack */
    h->base[p * PAGESTORE_PAGE + 9]++;
  }
  REQUIRE(pagestore_commit(h->instance, 0, NULL) == 0);
  return NULL;
}

static void on_odd_threads(host *h, void *env) {
  pthread_attr_t attributes;
  pthread_t thread;
  h->options.tracker = *(pagestore_tracker *)env;
  REQUIRE(open_small(h, 100, MIB) == 0);
  for (uint64_t p = 0; p < 100; p++) h->base[p * PAGESTORE_PAGE + 9] = 3;
  REQUIRE(pagestore_commit(h->instance, 0, NULL) == 0);
  REQUIRE(host_close(h) == 0);
  REQUIRE(open_small(h, 100, MIB) == 0);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN < 32768 ? 32768 : PTHREAD_STACK_MIN);
  const unsigned faults[] = { BLOCK_SIGBUS, BLOCK_SIGSEGV, NO_STACK, SMALL_STACK, BLOCK_SIGBUS | BLOCK_SIGSEGV | SMALL_STACK };
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    thread_case c = { h, faults[i], 20 * i, 3 };
    REQUIRE(pthread_create(&thread, &attributes, on_thread, &c) == 0);
    pthread_join(thread, NULL);
    for (uint64_t p = 20 * i; p < 20 * i + 10; p++) REQUIRE(h->base[p * PAGESTORE_PAGE + 9] == 4);
  }
  REQUIRE(pagestore_committed_version(h->instance) == 6);
  REQUIRE(host_close(h) == 0);
}

static void odd_threads(void **state) {
  (void)state;
  for (pagestore_tracker t = PAGESTORE_TRACK_AUTO; t <= PAGESTORE_TRACK_MPROTECT; t++) {
    host h = {0};
    folder_make(&h);
    h.options.tracker = t;
    if (host_open_store(&h) == 0) { /* else this tracker is not there */
      assert_ok(pagestore_close(h.store));
      in_child(&h, on_odd_threads, &t);
      fault_row_count(ROW_SIGNALS, 5);
    }
    folder_remove(&h);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(little_address_space), cmocka_unit_test(refused_calls), cmocka_unit_test(few_mappings), cmocka_unit_test(odd_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
