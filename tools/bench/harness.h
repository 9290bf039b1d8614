/* harness.h - what all benchmarks share: settings, series of samples, interleaving, figures, failing.
 *
 * A benchmark makes series and cases. bench_interleave runs every case once a repetition, there and back in turn,
 * after warm-ups whose samples are not kept; a case adds one sample to each of its series. A ratio is the median
 * of the quotients of samples of one repetition, so what else the machine does meets both. A series that could not
 * be measured says why (series_refuse) and is shown with its reason; a figure that needs it is left out, and the
 * missing one is told.
 *
 * It runs in a process of its own: whatever fails is told on stderr and ends it (need, die); main.c removes the folder.
 * Thread: one, but now_ns, die and need from any.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIGURES_MAX = 24, NOTES_MAX = 64, NAME_MAX_BYTES = 120 };
enum { EXIT_MEASURED = 0, EXIT_USAGE = 2, EXIT_FAILED = 3 };
#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

typedef struct bench bench;

typedef struct series {
  bench *owner;
  char name[NAME_MAX_BYTES], refused[NAME_MAX_BYTES];
  const char *unit;
  const struct series *base; /* what the table compares it with, or NULL */
  const char *axis, *curve;  /* where it is a point of a plotted curve; NULL: a bar */
  double x;
  double *at;
  size_t count, room;
} series;

typedef struct {
  char name[48];
  double value;
} figure;

struct bench {
  const char *name;
  bool json, peers, quick;
  const char *plot;
  const char *drawn;    /* what comes after ": " in the names of series that are bars; NULL: the unit most have tells */
  unsigned repetitions; /* 0: as the benchmark likes */
  uint64_t commits;     /* of endurance; 0: as it likes */
  char folder[PATH_MAX];

  series **all;
  size_t count, room;
  figure figures[FIGURES_MAX];
  size_t figure_count;
  char *notes[NOTES_MAX];
  size_t note_count;
  bool is_warming;
};

typedef struct {
  void (*run)(void *env);
  void *env;
} bench_case;

/* One sample each of count cases, repetitions times, after warm-ups. */
void bench_interleave(bench *, const bench_case *cases, size_t count, unsigned repetitions, unsigned warmups);
/* The repetitions asked for, else usual; of a quick run 2. */
unsigned bench_repetitions(const bench *, unsigned usual);
/* usual, or quick in a quick run. */
uint64_t bench_size(const bench *, uint64_t usual, uint64_t quick);

series *bench_series(bench *, const char *unit, const char *format, ...) __attribute__((format(printf, 3, 4)));
void series_add(series *, double value); /* not while warming up */
void series_refuse(series *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void series_against(series *, const series *base);
/* A point of a curve: those of one axis are drawn together, over x. Constant texts. */
void series_place(series *, const char *axis, const char *curve, double x);
/* NaN where there are no samples. */
double series_median(const series *);
double series_spread(const series *);                         /* the middle half, of the median */
double series_ratio(const series *over, const series *under); /* median of quotients within repetitions */

void bench_figure(bench *, const char *name, double value);
void bench_note(bench *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What takes long, on stderr where that is a terminal. */
void bench_say(const bench *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Dies where the folder's file system has less room. */
void bench_disk_needed(const bench *, uint64_t bytes);
void bench_remove(const char *folder); /* with all that is in it; what cannot be removed is told */
bool bench_memory_free(uint64_t bytes); /* without pushing others out */
void text_size(uint64_t bytes, char text[24]);

/* The value below which a share of them lies; sorts them. */
double quantile_of(double *values, size_t count, double share);

uint64_t now_ns(void);
uint64_t cpu_ns(void); /* of all threads of the process, kernel included */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void need(int status, const char *what);       /* a pagestore call: 0, or its text and the end */
void need_os(bool happened, const char *what); /* a system call: or errno's text and the end */
void *need_memory(size_t bytes);               /* zeroed */

/* What the process takes: all of it in bytes, but for the mappings. */
typedef struct {
  uint64_t anonymous, files; /* resident */
  uint64_t tables;           /* the kernel's, of pages */
  uint64_t addresses, mappings;
} process_use;
process_use process_use_now(void);

/* report.c, plot.c */
void report_show(const bench *);
int report_plot(const bench *);
/* banner.c: lines "name: value" about the machine, the folder's file system and the libraries. */
typedef void (*banner_fn)(void *env, const char *name, const char *value);
void banner_each(const bench *, banner_fn, void *env);

/* The benchmarks. */
void bench_track(bench *);
void bench_boundary(bench *);
void bench_commit(bench *);
void bench_restore(bench *);
void bench_views(bench *);
void bench_endurance(bench *);
void bench_many(bench *);
void bench_scale(bench *);

#endif
