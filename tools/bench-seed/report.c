/* report.c - medians, spreads, the table, the JSON document, the plot. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

samples *results_at(const results *r, size_t workload, size_t engine, way how) {
  return &r->at[(workload * r->engine_count + engine) * WAYS + how];
}

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* The value below which a share of the samples lies. */
static uint64_t quantile(const uint64_t *ns, size_t count, double share) {
  uint64_t sorted[REPETITIONS_MAX];
  memcpy(sorted, ns, count * sizeof *ns);
  qsort(sorted, count, sizeof *sorted, ascending);
  double place = share * (double)(count - 1);
  size_t below = (size_t)place, above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (uint64_t)((place - (double)below) * (double)(sorted[above] - sorted[below]));
}

uint64_t median_of(const uint64_t *ns, size_t count) { return quantile(ns, count, 0.5); }

/* The middle half of the samples, in hundredths of the median. */
static double spread_of(const uint64_t *ns, size_t count) {
  uint64_t median = median_of(ns, count);
  return median ? 100.0 * (double)(quantile(ns, count, 0.75) - quantile(ns, count, 0.25)) / (double)median : 0;
}

static int ascending_ratio(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double guest_ratio(const results *r, size_t workload, size_t engine, way a, way b) {
  const uint64_t *over = results_at(r, workload, engine, a)->guest_ns,
                 *under = results_at(r, workload, engine, b)->guest_ns;
  double ratios[REPETITIONS_MAX];
  for (size_t n = 0; n < r->repetitions; n++) ratios[n] = under[n] ? (double)over[n] / (double)under[n] : 0;
  qsort(ratios, r->repetitions, sizeof *ratios, ascending_ratio);
  return (ratios[(r->repetitions - 1) / 2] + ratios[r->repetitions / 2]) / 2;
}

static void table_of(const results *r, size_t w, size_t e) {
  for (way how = HEAP; how < WAYS; how++) {
    const samples *s = results_at(r, w, e, how);
    printf("%-22s %-9s %-9s %9.2f %5.0f%% %10.2f %5.0f%% %9.2f\n", how ? "" : r->workloads[w].name,
           how ? "" : r->engines[e]->name, way_names[how], (double)median_of(s->guest_ns, r->repetitions) / 1e6,
           spread_of(s->guest_ns, r->repetitions), (double)median_of(s->boundary_ns, r->repetitions) / 1e6,
           spread_of(s->boundary_ns, r->repetitions), guest_ratio(r, w, e, how, HEAP));
  }
  printf("%-22s %-9s native is %.2f times as fast as hostcall, %.2f times as tuned; direct takes %.2f times as long as "
         "heap\n",
         "", "", guest_ratio(r, w, e, HOSTCALL, NATIVE), guest_ratio(r, w, e, TUNED, NATIVE),
         guest_ratio(r, w, e, DIRECT, HEAP));
}

void report_table(const results *r) {
  printf("%-22s %-9s %-9s %9s %6s %10s %6s %9s\n", "workload", "engine", "way", "guest ms", "+-", "boundary", "+-",
         "/ heap");
  for (size_t w = 0; w < r->workload_count; w++)
    for (size_t e = 0; e < r->engine_count; e++) table_of(r, w, e);
  printf("medians of %zu interleaved repetitions; +- is the middle half, of the median; ratios within repetitions; "
         "heap has no boundary: it is "
         "kept nowhere\n",
         r->repetitions);
}

static void json_row(const results *r, size_t w, size_t e, way how, bool first) {
  const samples *s = results_at(r, w, e, how);
  const workload *load = &r->workloads[w];
  printf("%s\n  {\"workload\": \"%s\", \"messages\": %" PRIu64 ", \"count\": %" PRIu64
         ", \"engine\": \"%s\", \"way\": \"%s\", \"guest_ns\": %" PRIu64
         ", \"guest_spread\": %.4f, \"boundary_ns\": %" PRIu64 ", \"boundary_spread\": %.4f, \"over_heap\": %.4f}",
         first ? "" : ",", load->name, load->messages, load->count, r->engines[e]->name, way_names[how],
         median_of(s->guest_ns, r->repetitions), spread_of(s->guest_ns, r->repetitions) / 100,
         median_of(s->boundary_ns, r->repetitions), spread_of(s->boundary_ns, r->repetitions) / 100,
         guest_ratio(r, w, e, how, HEAP));
}

void report_json(const results *r) {
  printf("{\"repetitions\": %zu, \"rows\": [", r->repetitions);
  for (size_t w = 0; w < r->workload_count; w++)
    for (size_t e = 0; e < r->engine_count; e++)
      for (way how = HEAP; how < WAYS; how++) json_row(r, w, e, how, w + e + how == 0);
  size_t e = r->engine_count - 1;
  printf("\n], \"figures\": {\"engine\": \"%s\", \"native_over_hostcall\": %.4f, \"native_over_tuned\": %.4f, "
         "\"direct_over_heap\": %.4f}}\n",
         r->engines[e]->name, guest_ratio(r, 0, e, HOSTCALL, NATIVE), guest_ratio(r, 0, e, TUNED, NATIVE),
         guest_ratio(r, 0, e, DIRECT, HEAP));
}

/* Bars of guest time over heap's, a group for each workload and engine. */
int report_plot(const results *r, const char *png) {
  if (strchr(png, '\'') || strchr(png, '\n')) return failed(png, "a file's name without quotes, please");
  FILE *plot = popen("gnuplot", "w");
  if (!plot) return failed("gnuplot", "cannot be started");
  fprintf(plot,
          "set terminal pngcairo noenhanced size 1200,700\nset output '%s'\nset style data histograms\n"
          "set style fill solid 0.7\nset logscale y\nset yrange [0.5:*]\nset ylabel 'guest time, heap = 1'\n"
          "set grid ytics\nset xtics rotate by -35\nset rmargin 14\nset key top left\nplot ",
          png);
  for (way how = DIRECT; how < WAYS; how++) fprintf(plot, "'-' using 2:xtic(1) title '%s', ", way_names[how]);
  fprintf(plot, "1 title 'heap' with lines\n");
  for (way how = DIRECT; how < WAYS; how++) {
    for (size_t w = 0; w < r->workload_count; w++)
      for (size_t e = 0; e < r->engine_count; e++)
        fprintf(plot, "\"%s, %s\" %f\n", r->workloads[w].name, r->engines[e]->name, guest_ratio(r, w, e, how, HEAP));
    fprintf(plot, "e\n");
  }
  return pclose(plot) ? failed(png, "gnuplot did not draw it: is it installed (apt-get install gnuplot-nox)?") : 0;
}
