/* test_no_memory.c - one public call at a time, with its first, second, third ... allocation failing until it gets through.
 *
 * ctest: WRAP malloc calloc realloc strdup strndup posix_memalign aligned_alloc mmap mprotect madvise ioctl syscall
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 120
 *
 * test_allocations.c does so with a whole program, in which the N-th allocation is another one from day to day, since threads take
 * turns. Here each call begins in the same state, also calls that the program has not. Proven: what fails says ENOMEM (EIO: a page was
 * not had) with a text, leaves the committed version as it was, and the same call goes through right afterwards.
 */
#include "host_fixture.h"
#include "memory_faults.h"
#include "support/text.h"

enum { PAGES = 6, MEMORIES = 60, LOGGED = 2, SENT_MAX = 4 << 20, CALLS_MAX = 400 };

typedef struct {
  host h;
  pagestore_instance *view, *then, *fork;
  uint8_t *sent;
  size_t sent_bytes, sent_at;
  uint64_t version, tag;
} bench;

static const uint8_t hash[32] = {7};

static void write_block(pagestore_memory *m, uint64_t page, uint64_t tag) {
  assert_ok(pagestore_memory_write(m, page * PAGESTORE_PAGE + 5 * PAGESTORE_BLOCK, &tag, sizeof tag));
}

/* The present, which is behind the snapshot, has blocks in the log alone. */
static int setup(void **env) {
  bench *b = __real_calloc(1, sizeof *b);
  b->sent = __real_malloc(SENT_MAX);
  folder_make(&b->h);
  host_open(&b->h, PAGES);
  for (uint64_t page = 0; page < PAGES; page++) put(&b->h, page, 1);
  host_commit(&b->h);
  assert_ok(pagestore_snapshot_create(b->h.instance, "s", 0));
  write_block(b->h.memory, LOGGED, 5);
  b->version = host_commit(&b->h);
  *env = b;
  return 0;
}

static int teardown(void **env) {
  bench *b = *env;
  faults_disarm();
  pagestore_instance_close(b->view);
  pagestore_instance_close(b->then);
  pagestore_instance_close(b->fork);
  assert_ok(host_close(&b->h));
  folder_remove(&b->h);
  free(b->sent);
  free(b);
  return 0;
}

/* ---- one call ------------------------------------------------------------------------------------------------------------------------- */

typedef int (*act)(bench *);

static void assert_as_it_was(bench *b) {
  uint64_t word;
  assert_ok(pagestore_rollback(b->h.instance));
  assert_int_equal(pagestore_committed_version(b->h.instance), b->version);
  assert_ok(pagestore_memory_read(b->h.memory, LOGGED * PAGESTORE_PAGE + 5 * PAGESTORE_BLOCK, &word, sizeof word));
  assert_int_equal(word, 5);
}

/* `again` brings back the state in which the call can be made anew, behind one that went through. */
static void each_allocation(bench *b, act call, act again) {
  unsigned refused = 0;
  for (uint64_t at = 1; at < CALLS_MAX; at++) {
    assert_ok(pagestore_sync(b->h.store, PAGESTORE_FOREVER));
    text_forget();
    faults_arm(FAULT_ALLOCATION, at, false);
    int status = call(b);
    faults_disarm();
    bool met = fault_plan.failed > 0;
    if (status) {
      if (!met || (status != PAGESTORE_ENOMEM && status != PAGESTORE_EIO)) fail_msg("call %llu: %d (%s)", (unsigned long long)at, status, pagestore_detail());
      assert_true(strlen(pagestore_detail()) > 10);
      assert_as_it_was(b);
      refused++;
      assert_ok(call(b));
    }
    if (!met) break;
    if (again) assert_ok(again(b));
  }
  assert_true(refused > 0);
}

/* The same of a commit, which takes along what was done before it: `before` does that, `after` ends what has failed. */
static void each_allocation_of_commit(bench *b, act before, act call, act after) {
  unsigned refused = 0;
  bool met = true;
  for (uint64_t at = 1; met; at++) {
    if (before) assert_ok(before(b));
    assert_ok(pagestore_sync(b->h.store, PAGESTORE_FOREVER));
    text_forget();
    faults_arm(FAULT_ALLOCATION, at, false);
    int status = call(b);
    faults_disarm();
    met = fault_plan.failed > 0;
    assert_true(status == 0 || (met && status == PAGESTORE_ENOMEM && strlen(pagestore_detail()) > 10));
    refused += status != 0;
    assert_ok(after(b));
    assert_true(at < CALLS_MAX);
  }
  assert_true(refused > 0);
}

/* ---- looking -------------------------------------------------------------------------------------------------------------------------- */

static void open_views(bench *b) {
  pagestore_instance_options o = {.size = sizeof o, .flags = PAGESTORE_READ};
  assert_ok(pagestore_instance_open(b->h.store, "i", &o, &b->view));
  o.snapshot = "s";
  assert_ok(pagestore_instance_open(b->h.store, "i", &o, &b->then));
}

static int add_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m, (void)offset;
  *(uint64_t *)env += length;
  return 0;
}

static int diff(bench *b) {
  uint64_t differs = 0;
  int status = pagestore_diff(b->then, b->view, add_range, &differs);
  if (!status) assert_int_equal(differs, PAGESTORE_BLOCK);
  return status;
}

static int count_history(void *env, const pagestore_history_info *info) {
  (void)info;
  ++*(uint64_t *)env;
  return 0;
}

static int history(bench *b) {
  uint64_t count = 0;
  int status = pagestore_history_each(b->h.store, "i", count_history, &count);
  if (!status) assert_int_equal(count, 2);
  return status;
}

static int count_snapshot(void *env, const char *name, uint64_t version, uint64_t bytes) {
  (void)name, (void)version, (void)bytes;
  ++*(uint64_t *)env;
  return 0;
}

static int snapshots(bench *b) {
  uint64_t count = 0;
  int status = pagestore_snapshot_each(b->h.store, "i", count_snapshot, &count);
  if (!status) assert_int_equal(count, 1);
  return status;
}

static int close_view(bench *b) {
  pagestore_instance_close(b->fork);
  b->fork = NULL;
  return 0;
}

static int view_of_snapshot(bench *b) {
  return pagestore_instance_open(b->h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = "s"), &b->fork);
}

static int durable_view(bench *b) {
  return pagestore_instance_open(b->h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE), &b->fork);
}

static void looking(void **env) {
  bench *b = *env;
  open_views(b);
  each_allocation(b, diff, NULL);
  each_allocation(b, history, NULL);
  each_allocation(b, snapshots, NULL);
  each_allocation(b, view_of_snapshot, close_view);
  close_view(b);
  each_allocation(b, durable_view, close_view);
}

/* ---- changing ------------------------------------------------------------------------------------------------------------------------- */

static int roll_back(bench *b) { return pagestore_rollback(b->h.instance); }

static int set_metadata(bench *b) { return pagestore_metadata_set(b->h.instance, "key", "value", 5); }

/* More than the record of an instance holds: the table is stored as pages, and grows over and over. */
static int open_memories(bench *b) {
  for (unsigned n = 0; n < MEMORIES; n++) {
    char name[64];
    pagestore_memory *m;
    snprintf(name, sizeof name, "memory with a name of some length %u", n);
    int status = pagestore_memory_open(b->h.instance, name, PAGESTORE_WITH(pagestore_memory_options, .pages = 1, .max_pages = 1, .guard_bytes = PAGESTORE_PAGE), &m);
    if (status) return status;
  }
  return 0;
}

static int commit_memories(bench *b) {
  int status = open_memories(b);
  return status ? status : pagestore_commit(b->h.instance, 0, NULL);
}

static int upgrade(bench *b) {
  pagestore_memory *m;
  int status = pagestore_upgrade(b->h.instance, hash);
  return status ? status : pagestore_memory_open(b->h.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = 3, .guard_bytes = MIB), &m);
}

static int grow(bench *b) { return pagestore_memory_grow(b->h.memory, 20000, NULL); }

static void changing(void **env) {
  bench *b = *env;
  each_allocation(b, grow, roll_back);
  assert_ok(roll_back(b));
  each_allocation(b, set_metadata, roll_back);
  assert_ok(roll_back(b));
  each_allocation(b, upgrade, roll_back);
  assert_ok(roll_back(b));
  each_allocation(b, open_memories, roll_back);
}

static int delete_memories(bench *b) {
  for (unsigned n = 0; n < MEMORIES; n++) {
    char name[64];
    pagestore_memory *m;
    snprintf(name, sizeof name, "memory with a name of some length %u", n);
    int status = pagestore_memory_open(b->h.instance, name, NULL, &m);
    if (!status) status = pagestore_memory_delete(m);
    if (status) return status;
  }
  return pagestore_commit(b->h.instance, 0, &b->version);
}

static int commit(bench *b) { return pagestore_commit(b->h.instance, 0, &b->version); }

static int change_metadata(bench *b) {
  b->tag++;
  return pagestore_metadata_set(b->h.instance, "round", &b->tag, sizeof b->tag);
}

/* The allocations of opening them are changing's: here those of the commit. */
static void a_table_of_pages(void **env) {
  bench *b = *env;
  assert_ok(commit_memories(b));
  b->version = pagestore_committed_version(b->h.instance);
  each_allocation_of_commit(b, change_metadata, commit, commit);
  assert_ok(delete_memories(b));
}

/* ---- versions ------------------------------------------------------------------------------------------------------------------------- */

static int snapshot(bench *b) { return pagestore_snapshot_create(b->h.instance, "t", 0); }
static int drop(bench *b) { return pagestore_snapshot_drop(b->h.store, "i", "t", 0); }

/* A view of a version that is not the present any more: the snapshot gets a layer of its own. */
static int snapshot_of_view(bench *b) { return pagestore_snapshot_create(b->view, "t", 0); }

static int restore(bench *b) { return pagestore_restore(b->h.instance, "s"); }

static int fork_it(bench *b) { return pagestore_fork(b->h.instance, "fork", NULL, &b->fork); }

static int fork_and_commit(bench *b) {
  int status = fork_it(b);
  return status ? status : pagestore_commit(b->fork, 0, NULL);
}

static int forget_fork(bench *b) {
  close_view(b);
  int status = pagestore_instance_delete(b->h.store, "fork", 0);
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int new_with_hash(bench *b) {
  return pagestore_instance_open(b->h.store, "new", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE, .module_hash = hash), &b->fork);
}

static void versions(void **env) {
  bench *b = *env;
  each_allocation(b, snapshot, drop);
  each_allocation(b, drop, snapshot);
  open_views(b);
  write_block(b->h.memory, 1, 9);
  b->version = host_commit(&b->h);
  each_allocation(b, snapshot_of_view, drop);
  assert_ok(drop(b));
  each_allocation(b, restore, roll_back);
  assert_ok(roll_back(b));
  each_allocation(b, fork_it, forget_fork);
  assert_ok(forget_fork(b));
  each_allocation(b, new_with_hash, close_view);
}

static int commit_restored(bench *b) {
  int status = commit(b);
  assert_page(&b->h, LOGGED, 1);
  return status;
}

/* What failed goes through: the fork's commit, if there is a fork. */
static int commit_and_forget_fork(bench *b) {
  int status = b->fork ? pagestore_commit(b->fork, 0, NULL) : 0;
  return status ? status : forget_fork(b);
}

/* Restored again and again: a commit on a new layer; and the first one of a fork. */
static void commits_of_new_layers(void **env) {
  bench *b = *env;
  engine_install(); /* cmocka has put its own in front */
  each_allocation_of_commit(b, restore, commit, commit_restored);
  each_allocation_of_commit(b, NULL, fork_and_commit, commit_and_forget_fork);
}

/* A fork of the deepest layer there may be: what it stands on is copied, with what is logged of it. */
static void a_fork_that_is_too_deep(void **env) {
  bench *b = *env;
  for (unsigned depth = 1; depth < 32; depth++) {
    assert_ok(snapshot(b));
    assert_ok(pagestore_restore(b->h.instance, "t"));
    b->version = host_commit(&b->h);
    assert_ok(drop(b));
  }
  write_block(b->h.memory, LOGGED, 5);
  write_block(b->h.memory, 1, 6);
  b->version = host_commit(&b->h);
  each_allocation_of_commit(b, NULL, fork_and_commit, commit_and_forget_fork);
}

static int drain(bench *b) { return pagestore_drain(b->h.store, PAGESTORE_FOREVER); }

static int log_more(bench *b) {
  for (uint64_t page = 0; page < PAGES; page++)
    if (page != LOGGED) write_block(b->h.memory, page, ++b->tag);
  return commit(b);
}

static void draining(void **env) {
  bench *b = *env;
  log_more(b);
  each_allocation(b, drain, log_more);
}

/* ---- sending -------------------------------------------------------------------------------------------------------------------------- */

static int keep_sent(void *env, const void *bytes, size_t length) {
  bench *b = env;
  assert_true(b->sent_bytes + length <= SENT_MAX);
  memcpy(b->sent + b->sent_bytes, bytes, length);
  b->sent_bytes += length;
  return 0;
}

static int give_sent(void *env, void *bytes, size_t room, size_t *length) {
  bench *b = env;
  *length = b->sent_bytes - b->sent_at < room ? b->sent_bytes - b->sent_at : room;
  memcpy(bytes, b->sent + b->sent_at, *length);
  b->sent_at += *length;
  return 0;
}

static int send_present(bench *b) {
  b->sent_bytes = 0;
  return pagestore_send(NULL, b->h.instance, keep_sent, b);
}

static int receive(bench *b) {
  b->sent_at = 0;
  return pagestore_receive(b->h.store, "fork", give_sent, b);
}

static void sending(void **env) {
  bench *b = *env;
  open_views(b);
  each_allocation(b, send_present, NULL);
  b->sent_bytes = 0;
  assert_ok(pagestore_send(NULL, b->then, keep_sent, b));
  each_allocation(b, receive, forget_fork);
}

/* ---- a store for reading -------------------------------------------------------------------------------------------------------------- */

static int look(bench *b) {
  pagestore_memory *m;
  uint64_t word;
  int status = pagestore_open(b->h.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &b->h.store);
  if (status) return status;
  status = view_of_snapshot(b);
  if (!status) status = close_view(b);
  if (!status) status = pagestore_instance_open(b->h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &b->fork);
  if (!status) status = pagestore_memory_open(b->fork, "m", NULL, &m);
  if (!status) status = pagestore_memory_read(m, LOGGED * PAGESTORE_PAGE + 5 * PAGESTORE_BLOCK, &word, sizeof word);
  if (!status) assert_int_equal(word, 5);
  if (!status) status = pagestore_instance_advance(b->fork, PAGESTORE_LATEST);
  if (!status) status = history(b);
  if (!status) status = snapshots(b);
  close_view(b);
  int closed = pagestore_close(b->h.store);
  return status ? status : closed;
}

static void looking_only(void **env) {
  bench *b = *env;
  assert_ok(host_close(&b->h));
  unsigned refused = 0;
  for (uint64_t at = 1, met = 1; met != 0; at++) {
    faults_arm(FAULT_ALLOCATION, at, false);
    int status = look(b);
    faults_disarm();
    met = fault_plan.failed;
    assert_true(status == 0 || (met && (status == PAGESTORE_ENOMEM || status == PAGESTORE_EIO)));
    refused += status != 0;
    assert_true(at < 2 * CALLS_MAX);
  }
  assert_true(refused > 10);
  host_open(&b->h, PAGES);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
    TEST(looking), TEST(changing), TEST(a_table_of_pages), TEST(versions), TEST(commits_of_new_layers), TEST(a_fork_that_is_too_deep),
    TEST(draining), TEST(sending), TEST(looking_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
