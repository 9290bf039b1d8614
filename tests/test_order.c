/* test_order.c - what is left after kill -9: a prefix of all commits, over all instances, none of it torn.
 *
 * A child commits to three instances in turn, with every kind of commit, and says through a pipe what was acknowledged; the parent kills
 * it at a random time, opens the store and looks. Every commit takes the next number of a counter over all instances and writes
 * it into its instance; a commit_all gives one number to two instances. So after each kill:
 *   every acknowledged version is there; no version shows another one's bytes; with n the highest number found, each instance holds exactly
 *   what the commits up to n had made of it (a prefix, and commit_all whole).
 *
 *   PAGESTORE_KILLS=n PAGESTORE_SEED=n
 *
 * ctest: LABELS plain TIMEOUT 120
 */
#include "fault_rows.h"
#include "support/scratch.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { INSTANCES = 3, PAGES = 5, KILLS_DEFAULT = 200 };

/* What commit number n did is a function of n and the seed: both sides know it without telling each other. */
typedef struct { bool writes[INSTANCES]; } action;

static action action_of(uint64_t seed, uint64_t n) {
  dice d = { .state = seed ^ n * 0x9e3779b97f4a7c15u };
  uint64_t first = dice_below(&d, INSTANCES);
  action a = { { false } };
  a.writes[first] = true;
  if (dice_chance(&d, 30)) a.writes[(first + 1) % INSTANCES] = true;
  return a;
}

static unsigned flags_of(uint64_t n) { return n % 5 == 0 ? 0 : PAGESTORE_ASYNC; }

/* The number of the last commit <= n that wrote to the instance, 0: none; and how many did. */
static uint64_t last_write(uint64_t seed, uint64_t n, int instance, uint64_t *count) {
  uint64_t last = 0;
  *count = 0;
  for (uint64_t at = 1; at <= n; at++)
    if (action_of(seed, at).writes[instance]) last = at, *count += 1;
  return last;
}

/* ---- both sides ------------------------------------------------------------------------------------ */

typedef struct { pagestore_store *store; pagestore_instance *instance[INSTANCES]; uint8_t *base[INSTANCES]; } state_of;

static int open_all(state_of *s, const char *path) {
  const pagestore_instance_options *create = PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE);
  const pagestore_memory_options *heap =
    PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .max_pages = 64, .guard_bytes = PAGE);
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .map_bytes = 1ull << 34, .queue_bytes = 2 << 20), &s->store);
  if (!status) status = pagestore_handlers();
  for (int i = 0; i < INSTANCES && !status; i++) {
    char name[2] = { (char)('a' + i), 0 };
    pagestore_memory *m;
    status = pagestore_instance_open(s->store, name, create, &s->instance[i]);
    if (!status) status = pagestore_memory_open(s->instance[i], "heap", heap, &m);
    if (!status) s->base[i] = pagestore_memory_base(m);
  }
  return status;
}

/* The number is in the metadata, and at the start, at the end and in a moving place of every page. */
static int put_number(state_of *s, int i, uint64_t n) {
  for (uint64_t page = 0; page < PAGES; page++) {
    memcpy(s->base[i] + page * PAGE, &n, sizeof n);
    memcpy(s->base[i] + page * PAGE + n % 15 * BLOCK + 64, &n, sizeof n);
    memcpy(s->base[i] + (page + 1) * PAGE - sizeof n, &n, sizeof n);
  }
  return pagestore_metadata_set(s->instance[i], "number", &n, sizeof n);
}

static uint64_t found_number(const state_of *s, int i) {
  uint64_t n = 0, is;
  if (pagestore_metadata_get(s->instance[i], "number", &n, sizeof n, NULL)) n = 0;
  for (uint64_t page = 0; page < PAGES; page++) {
    memcpy(&is, s->base[i] + page * PAGE, sizeof is);
    if (is != n) fail_msg("instance %d: number %llu, page %llu shows %llu", i, (unsigned long long)n, (unsigned long long)page, (unsigned long long)is);
    memcpy(&is, s->base[i] + (page + 1) * PAGE - sizeof is, sizeof is);
    if (is != n) fail_msg("instance %d: number %llu, the end of page %llu shows %llu", i, (unsigned long long)n, (unsigned long long)page, (unsigned long long)is);
    memcpy(&is, s->base[i] + page * PAGE + n % 15 * BLOCK + 64, sizeof is);
    if (n && is != n) fail_msg("instance %d: number %llu is torn in page %llu", i, (unsigned long long)n, (unsigned long long)page);
  }
  return n;
}

/* ---- the child ------------------------------------------------------------------------------------------ */

static void say(int to, uint64_t number) {
  if (write(to, &number, sizeof number) != sizeof number) _exit(4);
}

static int do_commit(state_of *s, uint64_t seed, uint64_t n) {
  pagestore_instance *of[INSTANCES];
  size_t count = 0;
  action a = action_of(seed, n);
  int status = 0;
  for (int i = 0; i < INSTANCES && !status; i++)
    if (a.writes[i]) status = put_number(s, i, n), of[count++] = s->instance[i];
  if (status) return status;
  return count == 1 ? pagestore_commit(of[0], flags_of(n), NULL) : pagestore_commit_all(of, count, flags_of(n));
}

/* Acknowledges what is durable for sure: by a synchronous commit, or by waiting. */
static void run_child(const char *path, uint64_t seed, uint64_t from, int to) {
  state_of s;
  if (open_all(&s, path)) _exit(2);
  say(to, from - 1);
  for (uint64_t n = from;; n++) {
    action a = action_of(seed, n);
    if (do_commit(&s, seed, n)) _exit(3);
    bool waits = n % 7 == 0;
    for (int i = 0; i < INSTANCES && waits; i++)
      if (a.writes[i] && pagestore_wait(s.instance[i], PAGESTORE_LATEST, PAGESTORE_FOREVER)) _exit(5);
    if (waits || flags_of(n) == 0) say(to, n);
    if (n % 16 == 9) {
      char name[16];
      snprintf(name, sizeof name, "%llu", (unsigned long long)(n % 3));
      pagestore_snapshot_drop(s.store, "a", name, PAGESTORE_ASYNC);
      pagestore_snapshot_create(s.instance[0], name, PAGESTORE_ASYNC);
    }
  }
}

/* ---- the parent -------------------------------------------------------------------------------------------- */

static void pause_us(uint64_t us) {
  struct timespec t = { (time_t)(us / 1000000), (long)(us % 1000000 * 1000) };
  while (nanosleep(&t, &t) != 0 && errno == EINTR) continue;
}

/* The last acknowledged number; 0: none. */
static uint64_t kill_one(const char *path, uint64_t seed, uint64_t from, uint64_t after_us) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    close(ends[0]);
    run_child(path, seed, from, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  pause_us(after_us);
  kill(pid, SIGKILL);
  uint64_t said, last = 0;
  while (read(ends[0], &said, sizeof said) == sizeof said) last = said;
  close(ends[0]);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (!WIFSIGNALED(status)) fail_msg("the child ended by itself with %d", WEXITSTATUS(status));
  return last;
}

/* Returns the number up to which everything is there. */
static uint64_t check(const char *path, uint64_t seed, uint64_t acknowledged) {
  state_of s;
  uint64_t found[INSTANCES], newest = 0;
  assert_ok(open_all(&s, path));
  for (int i = 0; i < INSTANCES; i++) {
    found[i] = found_number(&s, i);
    if (found[i] > newest) newest = found[i];
  }
  if (newest < acknowledged) fail_msg("%llu was acknowledged, %llu is the newest there", (unsigned long long)acknowledged, (unsigned long long)newest);
  for (int i = 0; i < INSTANCES; i++) {
    uint64_t versions, must = last_write(seed, newest, i, &versions);
    if (found[i] != must)
      fail_msg("instance %d holds number %llu; up to %llu it must be %llu", i, (unsigned long long)found[i], (unsigned long long)newest, (unsigned long long)must);
    assert_int_equal(pagestore_committed_version(s.instance[i]), versions);
    assert_int_equal(pagestore_durable_version(s.instance[i]), versions);
  }
  for (int i = 0; i < INSTANCES; i++) pagestore_instance_close(s.instance[i]);
  assert_ok(pagestore_close(s.store));
  return newest;
}

static void killed_at_any_time(void **state) {
  (void)state;
  uint64_t seed = env_number("PAGESTORE_SEED", 7), kills = env_number("PAGESTORE_KILLS", KILLS_DEFAULT), reached = 0, most = 0, unsaid = 0;
  dice d = { .state = seed };
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  print_message("seed %llu, %llu kills\n", (unsigned long long)seed, (unsigned long long)kills);
  for (uint64_t n = 0; n < kills; n++) {
    uint64_t said = kill_one(path, seed, reached + 1, 1000 + dice_below(&d, n % 4 ? 15000 : 50000));
    uint64_t now = check(path, seed, said > reached ? said : reached);
    if (now - reached > most) most = now - reached;
    unsaid += now > said;
    reached = now;
  }
  print_message("%llu commits survived, at most %llu between two kills; %llu kills left more than was acknowledged\n",
                (unsigned long long)reached, (unsigned long long)most, (unsigned long long)unsaid);
  assert_true(reached > 0 && unsaid > 0);
  fault_row_count(ROW_KILL, kills);
  scratch_remove(directory);
}

/* A commit_all larger than one transaction's usual bound: the child dies as soon as its first instance is durable. */
enum { LARGE_PAGES = 1100, SMALL_PAGES = 40 };

static int large_child(const char *path) {
  pagestore_store *store;
  pagestore_instance *i[2];
  pagestore_memory *m;
  if (pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .map_bytes = 1ull << 34), &store)) return 2;
  pagestore_handlers();
  for (int n = 0; n < 2; n++) {
    uint64_t pages = n ? SMALL_PAGES : LARGE_PAGES;
    if (pagestore_instance_open(store, n ? "small" : "large", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i[n])) return 3;
    if (pagestore_memory_open(i[n], "heap", PAGESTORE_WITH(pagestore_memory_options, .pages = pages, .max_pages = pages, .guard_bytes = PAGE), &m)) return 4;
    memset(pagestore_memory_base(m), 7, pages * PAGE);
  }
  if (pagestore_commit_all(i, 2, PAGESTORE_ASYNC)) return 5;
  while (pagestore_durable_version(i[0]) == 0) continue;
  return raise(SIGKILL);
}

static void a_large_commit_all_is_one(void **state) {
  (void)state;
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  pid_t pid = fork();
  if (pid == 0) _exit(large_child(path));
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  pagestore_store *store;
  pagestore_instance *i;
  assert_ok(pagestore_open(path, NULL, &store));
  for (int n = 0; n < 2; n++) {
    assert_ok(pagestore_instance_open(store, n ? "small" : "large", NULL, &i));
    assert_int_equal(pagestore_committed_version(i), 1);
    pagestore_instance_close(i);
  }
  assert_ok(pagestore_close(store));
  scratch_remove(directory);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(killed_at_any_time), cmocka_unit_test(a_large_commit_all_is_one) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
