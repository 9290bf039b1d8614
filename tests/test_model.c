/* test_model.c - random histories through the public API against plain arrays.
 *
 * Proven for each history: after every boundary sizes, versions and sampled bytes are those of the model; after every reopening and at the end
 * every instance and snapshot is, byte for byte, with its metadata, module hash, pages and stored pages; and the same seed stores the
 * same bytes under every tracker. The cases that must have happened are counted (world_event_name).
 *
 *   PAGESTORE_SEED=n PAGESTORE_STEPS=n test_model     or: test_model [seed [steps [tracker]]]
 *
 * ctest: LABELS model TIMEOUT 300
 */
#include "support/world.h"

#include <time.h>

enum { STEPS_DEFAULT = 2000, SEED_DEFAULT = 20 };

static uint64_t seed, steps;
static int only_tracker = -1;

static uint64_t run(pagestore_tracker tracker, uint64_t did[DID_COUNT]) {
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  world *w = malloc(sizeof *w);
  world_open(w, path, tracker, seed);
  for (uint64_t n = 0; n < steps; n++) {
    if (n == steps / 2) world_deep(w);
    world_step(w);
  }
  uint64_t hash = world_export(w);
  world_reopen(w, false);
  assert_true(world_export(w) == hash);
  for (int i = 0; i < DID_COUNT; i++) did[i] += w->did[i];
  world_close(w);
  free(w);
  scratch_remove(directory);
  return hash;
}

static const char *const tracker_name[] = { "auto", "scan", "fault", "mprotect" };

static bool supported(pagestore_tracker tracker) {
  char *directory = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", directory);
  pagestore_store *store = NULL;
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .tracker = tracker), &store);
  if (status == 0) assert_ok(pagestore_close(store));
  else assert_int_equal(status, PAGESTORE_EUNSUPPORTED);
  scratch_remove(directory);
  return status == 0;
}

static void every_tracker_stores_the_same(void **state) {
  (void)state;
  uint64_t first = 0, did[DID_COUNT] = {0};
  for (int tracker = PAGESTORE_TRACK_AUTO; tracker <= PAGESTORE_TRACK_MPROTECT; tracker++) {
    if (!supported((pagestore_tracker)tracker) || (only_tracker >= 0 && only_tracker != tracker)) {
      print_message("tracker %s: left out\n", tracker_name[tracker]);
      continue;
    }
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    uint64_t hash = run((pagestore_tracker)tracker, did);
    clock_gettime(CLOCK_MONOTONIC, &to);
    print_message("tracker %s: %016llx in %.1f s\n", tracker_name[tracker], (unsigned long long)hash,
                  (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    if (first == 0) first = hash;
    if (hash != first) fail_msg("tracker %s stored something else", tracker_name[tracker]);
  }
  for (int i = 0; i < DID_COUNT; i++) {
    print_message("%6llu  %s\n", (unsigned long long)did[i], world_event_name[i]);
    if (seed == SEED_DEFAULT && steps >= STEPS_DEFAULT && did[i] == 0) fail_msg("never happened: %s", world_event_name[i]);
  }
}

int main(int count, char **arguments) {
  seed = count > 1 ? strtoull(arguments[1], NULL, 0) : env_number("PAGESTORE_SEED", SEED_DEFAULT);
  steps = count > 2 ? strtoull(arguments[2], NULL, 0) : env_number("PAGESTORE_STEPS", STEPS_DEFAULT);
  if (count > 3) only_tracker = atoi(arguments[3]);
  print_message("seed %llu, %llu steps\n", (unsigned long long)seed, (unsigned long long)steps);
  const struct CMUnitTest tests[] = { cmocka_unit_test(every_tracker_stores_the_same) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
