/* region_trackers.h - runs a group of tests of regions once per tracker, then with userfaultfd refused in a child.
 *
 * The tests find the tracker in `tracker`, and random numbers from a printed seed (PAGESTORE_SEED repeats a run).
 */
#ifndef TESTS_REGION_TRACKERS_H
#define TESTS_REGION_TRACKERS_H

#include "region_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif

typedef int (*run_fn)(const char *name);

static pagestore_tracker tracker;
static uint64_t seed;

static __attribute__((unused)) uint64_t random_below(uint64_t limit) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % limit;
}

static __attribute__((unused)) uint8_t peek(fixture *f, uint64_t at) {
  uint8_t value = 0;
  assert_true(guest_load(f, at, &value));
  return value;
}

static __attribute__((unused)) unsigned mappings_in(const uint8_t *start, const uint8_t *end) {
  FILE *maps = fopen("/proc/self/maps", "r");
  unsigned long low, high;
  unsigned count = 0;
  char line[512];
  while (fgets(line, sizeof line, maps) != NULL)
    if (sscanf(line, "%lx-%lx", &low, &high) == 2 && low < (uintptr_t)end && high > (uintptr_t)start) count++;
  fclose(maps);
  return count;
}
static int refuse_userfaultfd(int error) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  int status = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)error), SCMP_SYS(userfaultfd), 0);
  if (status == 0) status = seccomp_load(filter);
  seccomp_release(filter);
  return status;
}

static int run_refused(int error, run_fn run) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    fixture f = { 0 };
    region_after_fork();
    if (refuse_userfaultfd(error) != 0) _exit(77);
    region_support have = region_probe();
    if (have.scan || have.fault || strstr(have.userfaultfd, error == EPERM ? "EPERM" : "ENOSYS") == NULL) _exit(98);
    if (fixture_open(&f, PAGESTORE_TRACK_SCAN, 4, 4) != PAGESTORE_EUNSUPPORTED) _exit(97);
    if (fixture_open(&f, PAGESTORE_TRACK_AUTO, 4, 4) != 0) _exit(96);
    if (region_tracker_now(f.r, NULL) != REGION_MPROTECT) _exit(95);
    fixture_close(&f);
    tracker = PAGESTORE_TRACK_AUTO;
    _exit(run(error == EPERM ? "auto, userfaultfd refused (EPERM)" : "auto, userfaultfd refused (ENOSYS)"));
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) printf("refused userfaultfd: child says %x\n", status);
  return status == 0 || status == 77 << 8 ? 0 : 1;
}

/* Every tracker that is here, then `auto` with userfaultfd refused in two ways. */
static int run_with_every_tracker(run_fn run) {
  static const char *const names[] = { "auto", "scan", "fault", "mprotect" };
  const char *given = getenv("PAGESTORE_SEED");
  seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
  printf("seed %llu\n", (unsigned long long)seed);
  region_support have = region_probe();
  printf("userfaultfd: %s; scan %d, fault %d\n", have.userfaultfd, have.scan, have.fault);
  int failed = 0;
  for (tracker = PAGESTORE_TRACK_AUTO; tracker <= PAGESTORE_TRACK_MPROTECT; tracker++) {
    if (tracker == PAGESTORE_TRACK_SCAN && !have.scan) continue;
    if (tracker == PAGESTORE_TRACK_FAULT && !have.fault) continue;
    failed += run(names[tracker]);
  }
  return failed + run_refused(EPERM, run) + run_refused(ENOSYS, run);
}

#endif
