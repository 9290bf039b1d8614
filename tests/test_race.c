/* test_race.c - a guest that writes while its boundary runs: excluded by the contract, noticed where assertions are full.
 *
 * ctest: WRAP flusher_push
 *
 * Each case runs in a child of its own. A thread of the guest stores into a block after the commit has copied it and before it is
 * clean again (at the queue's door, which lies between). Proven with PAGESTORE_ASSERT=full, for each tracker and each kind of commit:
 * the log names instance, memory, page and block, and the program stops there; a guest that wrote before, or the same bytes again,
 * does not stop it. At the other prices only the latter is run, and the former is skipped.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <pthread.h>
#include <sys/wait.h>

enum { PAGES = 6, WRITTEN_PAGE = 3, WRITTEN_BLOCK = 5, STOPPED = 0, WENT_ON = 7, NO_TRACKER = 8 };
typedef enum { COMMIT, COMMIT_ASYNC, COMMIT_ALL, COMMIT_KINDS } commit_kind;
typedef struct { pagestore_tracker tracker; commit_kind kind; uint8_t change; } race;

static uint8_t *racing_at;
static uint8_t racing_change;
static int log_fd;

static void *guest_thread(void *env) {
  (void)env;
  *(volatile uint8_t *)racing_at ^= racing_change;
  return NULL;
}

void __real_flusher_push(void *flusher, void *work);
void __wrap_flusher_push(void *flusher, void *work);
void __wrap_flusher_push(void *flusher, void *work) {
  pthread_t guest;
  if (racing_at) {
    pthread_create(&guest, NULL, guest_thread, NULL);
    pthread_join(guest, NULL);
    racing_at = NULL;
  }
  __real_flusher_push(flusher, work);
}

static void write_log(void *env, int level, const char *text) {
  (void)env;
  if (level == 2 && write(log_fd, text, strlen(text)) < 0) abort();
}

static int commit(host *h, commit_kind kind) {
  if (kind == COMMIT_ALL) return pagestore_commit_all(&h->instance, 1, 0);
  return pagestore_commit(h->instance, kind == COMMIT_ASYNC ? PAGESTORE_ASYNC : 0, NULL);
}

static void run(host *h, const race *r) {
  for (int signal = 1; signal < 32; signal++) sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
  h->options.tracker = r->tracker;
  h->options.on_log = write_log;
  if (host_open_store(h) != 0) _exit(NO_TRACKER);
  host_open_instance(h, PAGES);
  for (uint64_t p = 0; p < PAGES; p++) put(h, p, 1);
  host_commit(h);
  for (uint64_t p = 0; p < PAGES; p++) put(h, p, 2);
  racing_change = r->change;
  racing_at = h->base + WRITTEN_PAGE * PAGESTORE_PAGE + WRITTEN_BLOCK * PAGESTORE_BLOCK + 100;
  if (commit(h, r->kind) != 0) _exit(1);
  _exit(racing_at ? 2 : WENT_ON);
}

/* The child's exit status, or STOPPED with what it logged. */
static int in_child(const race *r, char *said, size_t room) {
  host h = {0};
  int ends[2], status;
  folder_make(&h);
  assert_int_equal(pipe(ends), 0);
  log_fd = ends[1];
  pid_t child = fork();
  if (child == 0) run(&h, r);
  close(ends[1]);
  ssize_t length = read(ends[0], said, room - 1);
  said[length > 0 ? length : 0] = 0;
  close(ends[0]);
  assert_int_equal(waitpid(child, &status, 0), child);
  folder_remove(&h);
  if (WIFEXITED(status) && WEXITSTATUS(status) <= NO_TRACKER) return WEXITSTATUS(status);
  return STOPPED;
}

/* How many there were. */
static unsigned each(uint8_t change, int wanted) {
  unsigned tried = 0;
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++)
    for (commit_kind kind = COMMIT; kind < COMMIT_KINDS; kind++) {
      char said[600];
      int status = in_child(&(race){ t, kind, change }, said, sizeof said);
      if (status == NO_TRACKER) continue;
      assert_int_equal(status, wanted);
      if (wanted == STOPPED && !strstr(said, "instance 'i', memory 'm', page 3, block 5")) fail_msg("the log says: %s", said);
      tried++;
    }
  return tried;
}

static void writes_that_matter(void **state) {
  (void)state;
#if PAGESTORE_ASSERT >= 2
  unsigned tried = each(0x40, STOPPED);
  print_message("%u racing guests, each was stopped\n", tried);
  assert_true(tried >= COMMIT_KINDS);
  fault_row_count(ROW_RACE, tried);
#else
  print_message("noticed with PAGESTORE_ASSERT=full only: not run\n");
  skip();
#endif
}

static void writes_of_the_same_bytes(void **state) {
  (void)state;
  assert_true(each(0, WENT_ON) >= COMMIT_KINDS);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(writes_that_matter), cmocka_unit_test(writes_of_the_same_bytes) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
