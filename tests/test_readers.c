/* test_readers.c - readers in other processes, long ones and ones that were killed: what they hold back, and that it comes back.
 *
 * ctest: TIMEOUT 120
 *
 * A process opens the store for reading and keeps a view. Proven:
 * - while it lives its view shows its version, whole, whatever is committed; the file grows by what the commits supersede, and store_stat
 *   says so;
 * - when it ends, the room is used again: the file grows no more;
 * - when it is killed instead, its place in LMDB's table of readers is cleared, by the writer that goes on; the same then;
 * - a view of a snapshot holds back next to nothing while it is read, however long that takes; a snapshot that is dropped meanwhile is
 *   told, and nothing wrong is read, also when another one has its name; likewise an instance that is deleted.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <sys/wait.h>

enum { PAGES = 16, COMMITS = 60 };

typedef struct { pid_t pid; int wake, answer; } reader;

/* In the child: a view, which is said. */
typedef struct { pagestore_store *store; pagestore_instance *view; pagestore_memory *memory; uint64_t version; } onlooker;

static onlooker look(const char *path, const char *snapshot, int answer) {
  onlooker o;
  for (int signal = 1; signal < 32; signal++) sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
  if (pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &o.store) != 0) _exit(1);
  if (pagestore_instance_open(o.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = snapshot), &o.view) != 0) _exit(2);
  if (pagestore_memory_open(o.view, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &o.memory) != 0) _exit(3);
  o.version = pagestore_committed_version(o.view);
  if (write(answer, "y", 1) != 1) _exit(4);
  return o;
}

static _Noreturn void look_away(onlooker *o) {
  pagestore_instance_close(o->view);
  _exit(pagestore_close(o->store) == 0 ? 0 : 6);
}

/* Waits to be woken, looks again, says what it saw. */
static void read_slowly(const char *path, int wake, int answer) {
  static uint8_t have[PAGESTORE_PAGE];
  char byte;
  onlooker o = look(path, NULL, answer);
  if (read(wake, &byte, 1) < 0) _exit(4);
  bool right = pagestore_committed_version(o.view) == o.version;
  for (uint64_t p = 0; p < PAGES; p++)
    right = right && pagestore_memory_read(o.memory, p * PAGESTORE_PAGE, have, sizeof have) == 0 && page_is(have, p, o.version);
  if (write(answer, right ? "y" : "n", 1) != 1) _exit(5);
  look_away(&o);
}

/* Reads the snapshot once for each byte, until there are none: 'y' as it must be, 'd' dropped, 'n' anything else. */
static void read_snapshot(const char *path, int wake, int answer) {
  static uint8_t have[PAGESTORE_PAGE];
  char byte;
  onlooker o = look(path, "s", answer);
  while (read(wake, &byte, 1) == 1) {
    int status = pagestore_instance_trim(o.view, 0);
    bool right = true;
    for (uint64_t p = 0; p < PAGES && !status; p++) {
      status = pagestore_memory_read(o.memory, p * PAGESTORE_PAGE, have, sizeof have);
      right = right && (status || page_is(have, p, o.version));
    }
    byte = status == PAGESTORE_ENOTFOUND ? 'd' : status || !right ? 'n' : 'y';
    if (write(answer, &byte, 1) != 1) _exit(5);
  }
  look_away(&o);
}

/* Moves its view to the present when it is woken: 'y', 'd' if the instance is gone, 'n' anything else. */
static void read_on(const char *path, int wake, int answer) {
  char byte;
  onlooker o = look(path, NULL, answer);
  while (read(wake, &byte, 1) == 1) {
    int status = pagestore_instance_advance(o.view, PAGESTORE_LATEST);
    byte = status == 0 ? 'y' : status == PAGESTORE_ENOTFOUND && strstr(pagestore_detail(), "made anew") ? 'd' : 'n';
    if (write(answer, &byte, 1) != 1) _exit(5);
  }
  look_away(&o);
}

/* Forked while the store is not open: what the child sees is its own. */
static reader reader_fork(const char *path, void (*read_it)(const char *path, int wake, int answer)) {
  int wake[2], answer[2];
  assert_int_equal(pipe(wake) | pipe(answer), 0);
  fflush(NULL);
  reader r = { .pid = fork(), .wake = wake[1], .answer = answer[0] };
  if (r.pid == 0) {
    close(wake[1]);
    close(answer[0]);
    read_it(path, wake[0], answer[1]);
  }
  close(wake[0]);
  close(answer[1]);
  return r;
}

static char reader_says(const reader *r) {
  char byte = 0;
  return read(r->answer, &byte, 1) == 1 ? byte : 0;
}

static char reader_asked(const reader *r) {
  assert_int_equal(write(r->wake, "", 1), 1);
  return reader_says(r);
}

/* Nothing more is asked: its end, as for waitpid. */
static int reader_left(reader *r) {
  int status;
  close(r->wake);
  assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
  close(r->answer);
  return status;
}

static void reader_end(reader *r, bool kill_it) {
  if (kill_it) kill(r->pid, SIGKILL);
  else assert_int_equal(reader_asked(r), 'y');
  int status = reader_left(r);
  if (!kill_it) assert_int_equal(status, 0);
}

/* Every page's tag is its version. */
static void commit_all_pages(host *h, unsigned times) {
  for (unsigned i = 0; i < times; i++) {
    uint64_t tag = pagestore_committed_version(h->instance) + 1;
    for (uint64_t p = 0; p < PAGES; p++) put(h, p, tag);
    assert_int_equal(host_commit(h), tag);
  }
}

static uint64_t file_bytes(const host *h) {
  struct stat st;
  assert_int_equal(stat(h->file, &st), 0);
  return (uint64_t)st.st_size;
}

static pagestore_store_info measured(const host *h) {
  pagestore_store_info info = { .size = sizeof info };
  assert_ok(pagestore_store_stat(h->store, &info));
  return info;
}

/* The flusher looks for dead readers now and then, when it has nothing else to do: from then on the file grows no more. */
static void wait_until_cleared(host *h) {
  for (int tries = 0; tries < 100; tries++, pause_ms(50)) {
    uint64_t before = file_bytes(h);
    commit_all_pages(h, 3);
    if (tries > 2 && file_bytes(h) == before) return;
  }
  fail_msg("the dead reader is still there");
}

static void growth(bool kill_it) {
  host h = {0};
  folder_make(&h);
  host_open(&h, PAGES);
  commit_all_pages(&h, 10);
  uint64_t settled = file_bytes(&h);
  commit_all_pages(&h, COMMITS);
  assert_in_range(file_bytes(&h), settled, settled + settled / 2); /* without a reader it stays as it is */
  assert_ok(host_close(&h));

  reader r = reader_fork(h.path, read_slowly);
  assert_int_equal(reader_says(&r), 'y');
  host_open(&h, 0);
  uint64_t before = file_bytes(&h);
  commit_all_pages(&h, COMMITS);
  uint64_t held = file_bytes(&h);
  assert_true(held > before + (COMMITS - 10) * PAGES * PAGESTORE_PAGE);
  assert_int_equal(measured(&h).file_bytes, held);

  reader_end(&r, kill_it);
  if (kill_it) wait_until_cleared(&h);
  commit_all_pages(&h, 4);
  uint64_t after = file_bytes(&h);
  assert_true(measured(&h).free_bytes > (COMMITS - 10) * PAGES * PAGESTORE_PAGE);
  commit_all_pages(&h, COMMITS);
  assert_in_range(file_bytes(&h), after, after + PAGES * 2 * PAGESTORE_PAGE);
  for (uint64_t p = 0; p < PAGES; p++) assert_page(&h, p, pagestore_committed_version(h.instance));
  print_message("%s reader: %llu KiB, %llu KiB while it was there, %llu KiB afterwards\n", kill_it ? "killed" : "long", (unsigned long long)before / 1024,
                (unsigned long long)held / 1024, (unsigned long long)file_bytes(&h) / 1024);
  assert_ok(host_close(&h));
  folder_remove(&h);
  fault_row_count(ROW_READERS, 1);
}

static void long_reader(void **state) {
  (void)state;
  growth(false);
}

static void killed_reader(void **state) {
  (void)state;
  growth(true);
}

static void snapshot_is_dropped(bool made_anew) {
  host h = {0};
  folder_make(&h);
  host_open(&h, PAGES);
  commit_all_pages(&h, 3);
  assert_ok(pagestore_snapshot_create(h.instance, "s", 0));
  commit_all_pages(&h, 10);
  assert_ok(host_close(&h));
  reader r = reader_fork(h.path, read_snapshot);
  assert_int_equal(reader_says(&r), 'y');
  host_open(&h, 0);
  uint64_t before = file_bytes(&h);
  for (unsigned i = 0; i < COMMITS / 5; i++) {
    commit_all_pages(&h, 5);
    pause_ms(220); /* longer than a reader is kept */
    assert_int_equal(reader_asked(&r), 'y');
  }
  assert_in_range(file_bytes(&h), before, before + 20 * PAGES * PAGESTORE_PAGE);
  assert_ok(pagestore_snapshot_drop(h.store, "i", "s", 0));
  if (made_anew) assert_ok(pagestore_snapshot_create(h.instance, "s", 0)); /* another one */
  commit_all_pages(&h, 10);
  pause_ms(220);
  assert_int_equal(reader_asked(&r), 'd');
  assert_int_equal(reader_left(&r), 0);
  assert_ok(host_close(&h));
  folder_remove(&h);
  fault_row_count(ROW_READERS, 1);
}

static void snapshot_reader(void **state) {
  (void)state;
  snapshot_is_dropped(false);
}

static void reader_of_an_old_namesake(void **state) {
  (void)state;
  snapshot_is_dropped(true);
}

/* A view of an instance does not become one of another that has its name. */
static void reader_of_another_instance(void **state) {
  (void)state;
  host h = {0};
  folder_make(&h);
  host_open(&h, PAGES);
  commit_all_pages(&h, 2);
  assert_ok(host_close(&h));
  reader r = reader_fork(h.path, read_on);
  assert_int_equal(reader_says(&r), 'y');
  host_open(&h, 0);
  commit_all_pages(&h, 1);
  assert_int_equal(reader_asked(&r), 'y');
  pagestore_instance_close(h.instance);
  assert_ok(pagestore_instance_delete(h.store, "i", 0));
  host_open_instance(&h, PAGES);
  commit_all_pages(&h, 1);
  assert_int_equal(reader_asked(&r), 'd');
  assert_int_equal(reader_left(&r), 0);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(long_reader), cmocka_unit_test(killed_reader), cmocka_unit_test(snapshot_reader),
    cmocka_unit_test(reader_of_an_old_namesake), cmocka_unit_test(reader_of_another_instance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
