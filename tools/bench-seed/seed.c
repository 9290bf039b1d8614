/* seed.c - bench-seed: what it costs a program in a canister to keep its data where pagestore keeps it.
 *
 *   bench-seed [--repetitions N] [--only WORKLOAD] [--json] [--plot FILE.png] [--store FOLDER]
 *
 * Every repetition runs every workload on every engine in every way once, in turn, there and back, and a ratio is of
 * two runs of one repetition: so what else the machine does meets all alike. Each run has an instance of its own. Time
 * in the guest (host calls and faults included; processor time) and at the boundaries (disk included; wall clock) are
 * apart. What a workload returns must be the same in all ways, or the benchmark fails. The last line has the figures.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

const char *const way_names[WAYS] = {"heap", "direct", "native", "hostcall", "tuned"};
const char *const export_names[EXPORTS] = {"insert_many", "vector_push", "chunks_4k", "byte_reads", "blob", "tree_sum"};

static const workload workloads[] = {
    {"btree insert_many 10k", INSERT_MANY, 3, 10000},
    {"btree insert_many 500", INSERT_MANY, 40, 500},
    {"btree insert_many 100k", INSERT_MANY, 1, 100000},
    {"vector push", VECTOR_PUSH, 5, 100000},
    {"chunks of 4 KiB", CHUNKS_4K, 4, 1000},
    {"single-byte reads", BYTE_READS, 3, 500000},
    {"blob of 100 MB", BLOB, 1, 100},
};
enum { WORKLOADS = sizeof workloads / sizeof *workloads };

static const engine *const engines[] = {
    &engine_wasm2c,
#ifdef BENCH_WASMTIME
    &engine_wasmtime,
#endif
};
enum { ENGINES = sizeof engines / sizeof *engines };

typedef struct {
  size_t repetitions;
  bool json;
  const char *only, *plot, *store;
} settings;

int failed(const char *what, const char *why) {
  fprintf(stderr, "bench-seed: %s: %s\n", what, why);
  return 1;
}

/* The guest's time is the thread's processor time, kernel included: a guest waits for nobody. A boundary waits for the
 * disk. */
static uint64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static int run_messages(const engine *e, void *guest, const workload *w, uint64_t *guest_ns, uint64_t *boundary_ns,
                        uint64_t *sum) {
  uint64_t result;
  for (uint64_t message = 0; message < w->messages; message++) {
    uint64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID);
    if (e->call(guest, w->function, w->count, message, &result)) return 1;
    *guest_ns += now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
    begin = now_ns(CLOCK_MONOTONIC);
    if (e->commit(guest)) return 1;
    *boundary_ns += now_ns(CLOCK_MONOTONIC) - begin;
    *sum = *sum * 31 + result;
  }
  if (w->function != INSERT_MANY) return 0;
  int status = e->call(guest, TREE_SUM, 0, 0, &result);
  *sum = *sum * 31 + result;
  return status;
}

static int run_once(pagestore_store *store, const engine *e, const workload *w, way how, samples *s, size_t repetition,
                    uint64_t *sum) {
  void *guest = NULL;
  s->guest_ns[repetition] = s->boundary_ns[repetition] = 0;
  int status = e->open(how, store, "seed", &guest);
  if (!status) status = e->commit(guest);
  if (!status) status = run_messages(e, guest, w, &s->guest_ns[repetition], &s->boundary_ns[repetition], sum);
  if (guest) e->close(guest);
  int gone = pagestore_instance_delete(store, "seed", 0);
  if (gone && gone != PAGESTORE_ENOTFOUND) return failed("delete", pagestore_detail());
  return status;
}

static int measure(const settings *set, pagestore_store *store, results *r) {
  for (size_t n = 0; n < set->repetitions; n++)
    for (size_t w = 0; w < r->workload_count; w++) {
      uint64_t expected = 0;
      for (size_t e = 0; e < r->engine_count; e++)
        for (int i = HEAP; i < WAYS; i++) {
          way how = n % 2 ? (way)(WAYS - 1 - i) : (way)i;
          uint64_t sum = 0;
          if (run_once(store, r->engines[e], &r->workloads[w], how, results_at(r, w, e, how), n, &sum)) return 1;
          if (e + (size_t)i == 0) expected = sum;
          if (sum == expected) continue;
          fprintf(stderr, "bench-seed: %s by %s in %s: another result than the others'\n", r->workloads[w].name,
                  r->engines[e]->name, way_names[how]);
          return 1;
        }
    }
  return 0;
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

/* The line that is read by programs: of Wasmtime, if it is there. */
static void figures(const results *r) {
  size_t e = r->engine_count - 1;
  bool has_wasmtime = strcmp(r->engines[e]->name, "wasmtime") == 0;
  printf("figure: native_over_hostcall=%.2f direct_over_heap=%.2f (%s, %s, guest time%s)\n",
         guest_ratio(r, 0, e, HOSTCALL, NATIVE), guest_ratio(r, 0, e, DIRECT, HEAP), r->engines[e]->name,
         r->workloads[0].name, has_wasmtime ? "" : "; no other engine in this build");
}

static int run(const settings *set, const char *folder) {
  static const workload *only;
  pagestore_store *store;
  results r = {.workloads = workloads,
               .engines = engines,
               .workload_count = WORKLOADS,
               .engine_count = ENGINES,
               .repetitions = set->repetitions};
  for (size_t w = 0; set->only && w < WORKLOADS; w++)
    if (strcmp(workloads[w].name, set->only) == 0 && !only) only = &workloads[w];
  if (set->only && !only) return failed(set->only, "is no workload");
  if (only) r.workloads = only, r.workload_count = 1;
  r.at = calloc(r.workload_count * r.engine_count * WAYS, sizeof *r.at);
  if (!r.at) return failed("samples", "no memory");
  if (pagestore_open(folder, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store))
    return failed(folder, pagestore_detail());
  int status = 0;
  for (size_t e = 0; e < ENGINES && !status; e++) status = engines[e]->start();
  if (!status) status = measure(set, store, &r);
  for (size_t e = 0; e < ENGINES; e++) engines[e]->stop();
  if (pagestore_close(store)) status = failed(folder, pagestore_detail());
  if (!status && set->json) report_json(&r);
  if (!status && !set->json) report_table(&r);
  if (!status && set->plot) status = report_plot(&r, set->plot);
  if (!status && !set->json) figures(&r);
  free(r.at);
  return status;
}

static int usage(void) {
  fprintf(
      stderr,
      "usage: bench-seed [--repetitions N] [--only WORKLOAD] [--json] [--plot FILE.png] [--store FOLDER]\nworkloads:");
  for (size_t w = 0; w < WORKLOADS; w++) fprintf(stderr, "%s '%s'", w ? "," : "", workloads[w].name);
  fprintf(stderr, "\n");
  return 2;
}

static bool settings_of(int count, char **words, settings *set) {
  static const struct option known[] = {{"repetitions", required_argument, NULL, 'r'},
                                        {"only", required_argument, NULL, 'o'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"plot", required_argument, NULL, 'p'},
                                        {"store", required_argument, NULL, 's'},
                                        {NULL, 0, NULL, 0}};
  char *end;
  for (int letter; (letter = getopt_long(count, words, "", known, NULL)) != -1;) {
    if (letter == 'r') set->repetitions = strtoul(optarg, &end, 10);
    if (letter == 'r' && *end) return false;
    if (letter == 'o') set->only = optarg;
    if (letter == 'j') set->json = true;
    if (letter == 'p') set->plot = optarg;
    if (letter == 's') set->store = optarg;
    if (letter == '?') return false;
  }
  return optind == count && set->repetitions >= 1 && set->repetitions <= REPETITIONS_MAX;
}

int main(int count, char **words) {
  settings set = {.repetitions = 9};
  char folder[4096], command[4200];
  if (!settings_of(count, words, &set)) return usage();
  if (set.store) return run(&set, set.store);
  const char *scratch = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/pagestore-bench-XXXXXX", scratch && *scratch ? scratch : "/tmp");
  if (!mkdtemp(folder)) return failed(folder, "cannot be made");
  int status = run(&set, folder);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return system(command) || status;
}
