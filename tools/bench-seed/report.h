/* report.h - what was measured, and how it is shown. Thread: one. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "seed.h"

enum { REPETITIONS_MAX = 99, ENGINES_MAX = 2 };

typedef struct {
  const char *name; /* in tables */
  export function;
  uint64_t messages, count; /* the function is called with count, 0 .. messages - 1 */
} workload;

/* Nanoseconds of one repetition, all its messages: inside the guest, host calls included; and in commits. */
typedef struct {
  uint64_t guest_ns[REPETITIONS_MAX], boundary_ns[REPETITIONS_MAX];
} samples;

typedef struct {
  const workload *workloads;
  const engine *const *engines;
  size_t workload_count, engine_count, repetitions;
  samples *at; /* [workload][engine][way] */
} results;

samples *results_at(const results *, size_t workload, size_t engine, way);
uint64_t median_of(const uint64_t *ns, size_t count);
/* The median of a's guest time over b's in the same repetition. */
double guest_ratio(const results *, size_t workload, size_t engine, way a, way b);

void report_table(const results *);
void report_json(const results *);
int report_plot(const results *, const char *png); /* by gnuplot */

#endif
