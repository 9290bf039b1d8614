/* copy_steps.h - copying a store, compacting it, making one in an empty folder: each with one thing failing under it, then without.
 *
 * The store has a few pages and a snapshot, and is closed in between. Asserted for each run: what fails has a text, leaves the store as
 * it was and beside it nothing (an empty folder stays, empty) or a whole store: behind the renaming a sync or the opening may fail; what
 * says that it worked has worked; and it works the next time.
 * In one test program.
 */
#ifndef PAGESTORE_TESTS_COPY_STEPS_H
#define PAGESTORE_TESTS_COPY_STEPS_H

#include <dirent.h>

#include "host_fixture.h"

enum { PAGES = 5, CALLS_MAX = 300 };
typedef enum { COPY_WHOLE, COPY_COMPACT, COMPACT, MAKE_INSIDE, STEPS } copy_step;

static host h, made;
static unsigned tolerated;   /* calls that failed and were not needed */

static int step_set_up(void **state) {
  (void)state;
  h = (host){0};
  folder_make(&h);
  snprintf(made.path, sizeof made.path, "%s/made", h.folder);
  host_open(&h, PAGES);
  for (uint64_t page = 0; page < PAGES; page++) assert_ok(pagestore_memory_fill(h.memory, page * PAGESTORE_PAGE, (int)page + 1, PAGESTORE_PAGE));
  host_commit(&h);
  assert_ok(pagestore_snapshot_create(h.instance, "s", 0));
  assert_ok(pagestore_memory_fill(h.memory, 0, 77, 10));
  host_commit(&h);
  assert_ok(host_close(&h));
  return 0;
}

static int step_tear_down(void **state) {
  (void)state;
  folder_remove(&h);
  return 0;
}

static unsigned entries_of(const char *path) {
  unsigned count = 0;
  DIR *d = opendir(path);
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d)) != NULL;) count += e->d_name[0] != '.';
  closedir(d);
  return count;
}

/* Every byte of the store at that path. */
static void assert_whole(const char *path) {
  pagestore_store *s;
  pagestore_instance *i;
  pagestore_memory *m;
  uint8_t byte;
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | PAGESTORE_VERIFY), &s));
  for (int then = 0; then < 2; then++) {
    assert_ok(pagestore_instance_open(s, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = then ? "s" : NULL), &i));
    assert_ok(pagestore_memory_open(i, "m", NULL, &m));
    for (uint64_t page = 0; page < PAGES; page++) {
      assert_ok(pagestore_memory_read(m, page * PAGESTORE_PAGE, &byte, 1));
      assert_int_equal(byte, page == 0 && !then ? 77 : page + 1);
    }
    pagestore_instance_close(i);
  }
  assert_ok(pagestore_close(s));
}

static void step_before(copy_step step) {
  if (step == COPY_WHOLE || step == COPY_COMPACT) assert_ok(host_open_store(&h));
  if (step == MAKE_INSIDE) assert_int_equal(mkdir(made.path, 0700), 0);
}

static int step_run(copy_step step) {
  switch (step) {
  case COPY_WHOLE: return pagestore_copy(h.store, made.path, 0);
  case COPY_COMPACT: return pagestore_copy(h.store, made.path, PAGESTORE_COMPACT);
  case COMPACT: return pagestore_compact(h.path);
  default: return pagestore_open(made.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &made.store);
  }
}

static bool made_is_there(void) {
  char file[300];
  snprintf(file, sizeof file, "%s/data.mdb", made.path);
  return access(file, F_OK) == 0;
}

static void step_after(copy_step step, int status) {
  if (status) assert_true(strlen(pagestore_detail()) > 10);
  bool copies = step == COPY_WHOLE || step == COPY_COMPACT, is_made = made_is_there();
  if (copies) assert_ok(pagestore_close(h.store));
  if (step == MAKE_INSIDE && status == 0) assert_ok(pagestore_close(made.store));
  if (status == 0 && step != COMPACT) assert_true(is_made);
  if (is_made && copies) assert_whole(made.path);
  if (is_made && !copies) {
    assert_ok(pagestore_open(made.path, NULL, &made.store));
    assert_ok(pagestore_close(made.store));
  }
  if (is_made) nftw(made.path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  else if (step == MAKE_INSIDE) assert_int_equal(rmdir(made.path), 0);
  assert_int_equal(entries_of(h.folder), 1);
  assert_whole(h.path);
}

/* Until there is no n-th call. Returns how many failed. */
static unsigned step_each(copy_step step, void (*arm)(uint64_t at), void (*disarm)(void), uint64_t (*failed)(void)) {
  unsigned met = 0;
  for (uint64_t at = 1; at < CALLS_MAX; at++, met++) {
    step_before(step);
    arm(at);
    int status = step_run(step);
    disarm();
    if (status && failed() == 0) fail_msg("step %d, call %llu: failed by itself: %d (%s)", (int)step, (unsigned long long)at, status, pagestore_detail());
    tolerated += status == 0 && failed() > 0;
    step_after(step, status);
    if (failed() == 0) break;
  }
  return met;
}

#endif
