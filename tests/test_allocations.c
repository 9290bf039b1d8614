/* test_allocations.c - no memory, at any moment.
 *
 * ctest: WRAP malloc calloc realloc strdup posix_memalign mmap mprotect madvise ioctl syscall
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 200
 *
 * A program that calls the public functions is run with the N-th allocation failing (ours and LMDB's), for every N once, and from then
 * on (every fifth N; all of them with PAGESTORE_TESTS_LONG=yes); likewise the N-th mmap, mprotect, madvise, ioctl on a userfaultfd, and
 * userfaultfd itself, on each tracker. Proven, each time:
 * - no crash; the call that met it gives a status with a text, or did not need it; nothing but the failing step is undone;
 * - the last committed state is what a rollback brings back; the step succeeds when it is taken again with memory;
 * - the final bytes, now and reopened, are those of an undisturbed run; no descriptor and no mapping stays behind (and no memory, under
 *   LeakSanitizer).
 */
#include "host_fixture.h"
#include "memory_faults.h"

#include <dirent.h>

#include "vm/os.h"

enum { PAGES = 12, BUFFER_MAX = 4 << 20 };

typedef struct {
  host h;
  pagestore_memory *wide, *marked, *scratch;
  pagestore_instance *fork;
  uint8_t *sent;
  size_t sent_bytes, sent_at;
} world;

typedef int (*step_fn)(world *);

#define TRY(call)                        \
  do {                                   \
    int try_ = (call);                   \
    if (try_) return try_;               \
  } while (0)

/* ---- the program ------------------------------------------------------------------------------------------------------------------ */

/* Each step ends at a boundary. One that fails rolls back what it has begun, and can be taken again. */
static int open_store(world *w) { return host_open_store(&w->h); }

static int open_instance(world *w) {
  host *h = &w->h;
  if (!h->instance) TRY(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance));
  TRY(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .guard_bytes = MIB, .flags = PAGESTORE_KEEP), &h->memory));
  h->base = pagestore_memory_base(h->memory);
  TRY(pagestore_memory_open(h->instance, "wide", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64, .pages = 2, .max_pages = 1 << 16), &w->wide));
  TRY(pagestore_memory_open(h->instance, "marked", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_EXPLICIT, .pages = 2, .guard_bytes = MIB), &w->marked));
  return pagestore_memory_open(h->instance, "scratch", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_VOLATILE, .pages = 2, .guard_bytes = MIB), &w->scratch);
}

static uint8_t page_bytes[PAGESTORE_PAGE];

static int write_page(pagestore_memory *m, uint64_t page, uint64_t tag) {
  fill_page(page_bytes, page, tag);
  return pagestore_memory_write(m, page * PAGESTORE_PAGE, page_bytes, PAGESTORE_PAGE);
}

static int first_message(world *w) {
  static uint8_t large[20000];
  for (uint64_t p = 0; p < PAGES; p++) TRY(write_page(w->h.memory, p, 1));
  TRY(write_page(w->wide, 1, 1));
  TRY(write_page(w->marked, 0, 1));
  TRY(write_page(w->scratch, 0, 1));
  TRY(pagestore_metadata_set(w->h.instance, "large", large, sizeof large));
  TRY(pagestore_metadata_set(w->h.instance, "module.x", "x", 1));
  return pagestore_commit(w->h.instance, 0, NULL);
}

static int snapshot(world *w) {
  int status = pagestore_snapshot_create(w->h.instance, "s", 0);
  return status == PAGESTORE_EEXIST ? 0 : status;
}

/* The guest writes; a trap is a message that commit refuses. */
static int second_message(world *w) {
  host *h = &w->h;
  uint64_t old;
  bool trapped = false;
  for (uint64_t p = 0; p < PAGES; p += 2)
    for (uint64_t b = 0; b < 16 && !trapped; b += 3) trapped = !guest_store(h->base + p * PAGESTORE_PAGE + b * PAGESTORE_BLOCK, (uint8_t)(7 + p));
  if (trapped) return pagestore_commit(h->instance, 0, NULL);
  TRY(pagestore_memory_prepare(h->memory, PAGESTORE_PAGE, 3 * PAGESTORE_PAGE, true));
  h->base[PAGESTORE_PAGE + 1] = 8;
  TRY(pagestore_memory_mark(w->marked, 5, 10));
  if (!guest_store(pagestore_memory_base(w->marked) + 7, 9)) return pagestore_commit(h->instance, 0, NULL);
  TRY(pagestore_memory_grow(h->memory, 2, &old));
  TRY(pagestore_memory_fill(h->memory, old * PAGESTORE_PAGE, 3, 2 * PAGESTORE_PAGE));
  TRY(pagestore_memory_fill(h->memory, 11 * PAGESTORE_PAGE, 0, PAGESTORE_PAGE));
  TRY(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL));
  return pagestore_sync(h->store, PAGESTORE_FOREVER);
}

static int ignore_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m, (void)offset;
  *(uint64_t *)env += length;
  return 0;
}

static int use_views(world *w, pagestore_instance *views[3]) {
  pagestore_instance_options options = { .size = sizeof options, .flags = PAGESTORE_READ };
  pagestore_memory *m;
  uint64_t differs = 0;
  uint8_t bytes[100];
  TRY(pagestore_instance_open(w->h.store, "i", &options, &views[0]));
  options.snapshot = "s";
  TRY(pagestore_instance_open(w->h.store, "i", &options, &views[1]));
  options.flags = PAGESTORE_PRIVATE;
  TRY(pagestore_instance_open(w->h.store, "i", &options, &views[2]));
  TRY(pagestore_memory_open(views[0], "m", NULL, &m));
  TRY(pagestore_memory_read(m, 5 * PAGESTORE_PAGE, bytes, sizeof bytes));
  assert_int_equal(bytes[0], page_word(5, 1, 0) & 255);
  TRY(pagestore_diff(views[1], views[0], ignore_range, &differs));
  assert_true(differs >= 6 * 6 * PAGESTORE_BLOCK);
  TRY(pagestore_memory_open(views[2], "m", NULL, &m));
  TRY(write_page(m, 0, 5));
  TRY(pagestore_rollback(views[2]));
  TRY(pagestore_memory_read(m, 0, bytes, sizeof bytes));
  assert_int_equal(bytes[0], page_word(0, 1, 0) & 255);
  return pagestore_instance_advance(views[0], PAGESTORE_LATEST);
}

static int views(world *w) {
  pagestore_instance *opened[3] = {0};
  int status = use_views(w, opened);
  for (int i = 0; i < 3; i++) pagestore_instance_close(opened[i]);
  return status;
}

static int fork_and_commit_all(world *w) {
  pagestore_memory *m;
  if (!w->fork) TRY(pagestore_fork(w->h.instance, "f", NULL, &w->fork));
  TRY(pagestore_memory_open(w->fork, "m", NULL, &m));
  TRY(write_page(m, 3, 4));
  TRY(write_page(w->h.memory, 3, 3));
  return pagestore_commit_all((pagestore_instance *[]){ w->h.instance, w->fork }, 2, 0);
}

static int upgrade(world *w) {
  uint8_t hash[32] = {1};
  TRY(pagestore_upgrade(w->h.instance, hash));
  TRY(pagestore_memory_open(w->h.instance, "wide", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP, .pages = 3, .max_pages = 1 << 16), &w->wide));
  TRY(write_page(w->wide, 2, 2));
  return pagestore_commit(w->h.instance, 0, NULL);
}

static int restore(world *w) {
  TRY(pagestore_restore(w->h.instance, "s"));
  TRY(write_page(w->h.memory, 4, 6));
  return pagestore_commit(w->h.instance, 0, NULL);
}

static int count_metadata(void *env, const char *key, const void *value, size_t length) {
  (void)key, (void)value;
  *(uint64_t *)env += length;
  return 0;
}

static int count_snapshot(void *env, const char *name, uint64_t version, uint64_t bytes) {
  (void)name, (void)version, (void)bytes;
  ++*(uint64_t *)env;
  return 0;
}

static int count_instance(void *env, const pagestore_instance_info *info) {
  (void)info;
  ++*(uint64_t *)env;
  return 0;
}

static int look(world *w) {
  pagestore_instance_info info = { .size = sizeof info };
  pagestore_statistics stats = { .size = sizeof stats };
  uint64_t count = 0, resident = 0, instances = 0;
  char one;
  TRY(pagestore_snapshot_each(w->h.store, "i", count_snapshot, &count));
  TRY(pagestore_instance_each(w->h.store, NULL, count_instance, &instances));
  assert_int_equal(count, 1);
  assert_int_equal(instances, 2);
  TRY(pagestore_metadata_each(w->h.instance, count_metadata, &count));
  assert_int_equal(count, 20002);
  TRY(pagestore_metadata_get(w->h.instance, "module.x", &one, 1, NULL));
  TRY(pagestore_instance_stat(w->h.instance, &info));
  TRY(pagestore_stats(w->h.store, &stats));
  TRY(pagestore_memory_blocks(w->h.memory, PAGESTORE_BLOCKS_DIRTY, ignore_range, &resident));
  TRY(pagestore_memory_blocks(w->h.memory, PAGESTORE_BLOCKS_RESIDENT, ignore_range, &resident));
  TRY(pagestore_instance_trim(w->h.instance, PAGESTORE_PAGE));
  assert_int_equal(pagestore_memory_max(w->h.memory), 65536);
  return pagestore_wait(w->h.instance, PAGESTORE_LATEST, PAGESTORE_FOREVER);
}

static int keep_sent(void *env, const void *bytes, size_t length) {
  world *w = env;
  if (w->sent_bytes + length > BUFFER_MAX) return 1;
  memcpy(w->sent + w->sent_bytes, bytes, length);
  w->sent_bytes += length;
  return 0;
}

static int give_sent(void *env, void *bytes, size_t room, size_t *length) {
  world *w = env;
  *length = w->sent_bytes - w->sent_at < room ? w->sent_bytes - w->sent_at : room;
  memcpy(bytes, w->sent + w->sent_at, *length);
  w->sent_at += *length;
  return 0;
}

static int transfer(world *w) {
  pagestore_instance *view;
  TRY(pagestore_instance_open(w->h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  w->sent_bytes = w->sent_at = 0;
  int status = pagestore_send(NULL, view, keep_sent, w);
  pagestore_instance_close(view);
  if (!status) status = pagestore_receive(w->h.store, "received", give_sent, w);
  return status == PAGESTORE_EEXIST ? 0 : status;
}

static int drop_things(world *w) {
  pagestore_instance_close(w->fork);
  w->fork = NULL;
  int status = pagestore_instance_delete(w->h.store, "f", 0);
  if (status && status != PAGESTORE_ENOTFOUND) return status;
  status = pagestore_snapshot_drop(w->h.store, "i", "s", 0);
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int delete_memory(world *w) {
  if (pagestore_memory_open(w->h.instance, "marked", NULL, &w->marked) == PAGESTORE_ENOTFOUND) return 0;
  TRY(pagestore_memory_delete(w->marked));
  return pagestore_commit(w->h.instance, 0, NULL);
}

/* ---- what must be there after each step -------------------------------------------------------------------------------------------- */

typedef struct { step_fn run; const char *name; } step;
static const step steps[] = {
  { open_store, "open" },           { open_instance, "instance" },        { first_message, "message" },  { snapshot, "snapshot" },
  { second_message, "guest" },      { views, "views" },                   { fork_and_commit_all, "fork" }, { upgrade, "upgrade" },
  { restore, "restore" },           { look, "look" },                     { transfer, "transfer" },      { drop_things, "drop" },
  { delete_memory, "delete" },
};
enum { STEPS = sizeof steps / sizeof *steps, MESSAGE = 2, GUEST = 4, FORK = 6, RESTORE = 8 };

/* Page 3 and the number of pages tell the committed states apart; a step that failed left that of the one before, or its own. */
static void check_state(const world *w, int done) {
  const host *h = &w->h;
  if (done <= MESSAGE) return;
  uint64_t pages = done > RESTORE ? PAGES : done > GUEST ? PAGES + 2 : PAGES;
  assert_int_equal(pagestore_memory_pages(h->memory), pages);
  assert_page(h, 3, done > RESTORE ? 1 : done > FORK ? 3 : 1);
  assert_page(h, 5, 1);
  assert_page(h, 9, 1);
  if (done > RESTORE) assert_page(h, 4, 6);
  if (done <= GUEST || done > RESTORE) assert_page(h, 0, 1);
  else assert_int_equal(h->base[3 * PAGESTORE_BLOCK], 7);
}

static void reopen_instance(world *w) {
  pagestore_instance_close(w->h.instance);
  w->h.instance = NULL;
  assert_ok(open_instance(w));
}

/* After a failed step: back to the boundary, with memory again. `before` what was there before the step; it may have become durable. */
static void recover(world *w, int at) {
  if (at < 1) return;
  if (w->h.instance && pagestore_rollback(w->h.instance)) {
    pagestore_instance_close(w->h.instance);
    w->h.instance = NULL;
  }
  if (w->fork && pagestore_rollback(w->fork)) {
    pagestore_instance_close(w->fork);
    w->fork = NULL;
    if (at == FORK) (void)pagestore_instance_delete(w->h.store, "f", 0);
  }
  assert_ok(pagestore_sync(w->h.store, 20000));
  if (at == FORK && w->fork && pagestore_committed_version(w->fork) == 0) {
    pagestore_instance_close(w->fork);
    w->fork = NULL;
  }
  if (at > 1) reopen_instance(w);
}

static unsigned runs, met;

static void run_step(world *w, int at) {
  uint64_t failed_before = fault_plan.failed;
  int status = steps[at].run(w);
  if (status == 0) return;
  faults_disarm();
  if (fault_plan.failed == failed_before && !(fault_plan.lasting && fault_plan.failed)) fail_msg("step %s failed by itself: %d %s", steps[at].name, status, pagestore_detail());
  if (strlen(pagestore_detail()) <= 10) fail_msg("step %s, call %d: %d without a text", steps[at].name, (int)fault_plan.at, status);
  if (status != PAGESTORE_ENOMEM && status != PAGESTORE_EIO && status != PAGESTORE_EUNSUPPORTED)
    fail_msg("step %s, call %d: %d (%s)", steps[at].name, (int)fault_plan.at, status, pagestore_detail());
  met++;
  recover(w, at);
  if (at != GUEST && at != RESTORE && at != FORK) check_state(w, at);
  status = steps[at].run(w);
  if (status) fail_msg("step %s, call %d, again: %d (%s)", steps[at].name, (int)fault_plan.at, status, pagestore_detail());
}

/* False: there were fewer calls. */
static bool run_program(world *w, fault_kind kind, uint64_t at, bool lasting, pagestore_tracker tracker) {
  uint8_t *sent = w->sent;
  *w = (world){ .sent = sent, .h.options = { .tracker = tracker } };
  folder_make_in(&w->h, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (kind == FAULT_USERFAULTFD) os_after_fork(); /* else it is had once a process */
  faults_arm(kind, at, lasting);
  for (int i = 0; i < STEPS; i++) {
    run_step(w, i);
    if (i == 0) engine_install();
  }
  faults_disarm();
  bool hit = fault_plan.failed > 0;
  check_state(w, STEPS);
  assert_ok(host_close(&w->h));
  assert_ok(host_open_store(&w->h));
  engine_install();
  host_open_instance(&w->h, 0);
  check_state(w, STEPS);
  assert_ok(host_close(&w->h));
  folder_remove(&w->h);
  runs++;
  return hit;
}

static unsigned entries(const char *folder) {
  DIR *d = opendir(folder);
  unsigned count = 0;
  while (readdir(d)) count++;
  closedir(d);
  return count;
}

/* PAGESTORE_FAULT=kind,number,lasting,tracker: that run alone. */
static bool one_run(world *w) {
  int kind, at, lasting, tracker;
  const char *given = getenv("PAGESTORE_FAULT");
  if (!given || sscanf(given, "%d,%d,%d,%d", &kind, &at, &lasting, &tracker) != 4) return false;
  run_program(w, (fault_kind)kind, (uint64_t)at, lasting, (pagestore_tracker)tracker);
  return true;
}

static void sweep(world *w, fault_kind kind, pagestore_tracker tracker, const char *name) {
  unsigned before = runs, met_before = met;
  run_program(w, kind, 0, false, tracker); /* once undisturbed: what is made once a process is made */
  unsigned descriptors = entries("/proc/self/fd"), mappings = entries("/proc/self/map_files");
  const char *all = getenv("PAGESTORE_TESTS_LONG");
  uint64_t step_lasting = all && strcmp(all, "yes") == 0 ? 1 : 5, sites = 1;
  while (run_program(w, kind, sites, false, tracker)) sites++;
  for (uint64_t at = 1; run_program(w, kind, at, true, tracker); at += step_lasting) continue;
  assert_int_equal(entries("/proc/self/fd"), descriptors);
  assert_in_range(entries("/proc/self/map_files"), 0, mappings + 12);
  print_message("%s, tracker %d: %d sites, %u runs, %u times a call said so\n", name, (int)tracker, (int)sites - 1, runs - before, met - met_before);
}

static void allocations(void **state) {
  if (!one_run(*state)) sweep(*state, FAULT_ALLOCATION, PAGESTORE_TRACK_AUTO, "allocations");
}

static bool is_there(pagestore_tracker tracker) {
  host h = { .options.tracker = tracker };
  folder_make(&h);
  int status = host_open_store(&h);
  if (status == 0) pagestore_close(h.store);
  folder_remove(&h);
  return status == 0;
}

static void system_calls(void **state) {
  static const char *const names[] = { NULL, "mmap", "mprotect", "madvise", "ioctl", "userfaultfd" };
  if (getenv("PAGESTORE_FAULT")) return;
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++)
    for (int kind = FAULT_MMAP; kind <= FAULT_USERFAULTFD && is_there(t); kind++) sweep(*state, (fault_kind)kind, t, names[kind]);
}

static int make_world(void **state) {
  world *w = __real_calloc(1, sizeof *w);
  w->sent = __real_malloc(BUFFER_MAX);
  *state = w;
  return 0;
}

static int free_world(void **state) {
  world *w = *state;
  faults_disarm();
  free(w->sent);
  free(w);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(allocations, make_world, free_world),
    cmocka_unit_test_setup_teardown(system_calls, make_world, free_world),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
