/* harness.c - series, interleaving, figures. The contract is in harness.h. */
#include "harness.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <pagestore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* ---- failing, clocks --------------------------------------------------------------------------------------------- */

_Noreturn void die(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "bench: ");
  vfprintf(stderr, format, list);
  fprintf(stderr, "\n");
  va_end(list);
  _exit(EXIT_FAILED);
}

void need(int status, const char *what) {
  if (status) die("%s: %s", what, pagestore_detail());
}

void need_os(bool happened, const char *what) {
  if (!happened) die("%s: %s", what, strerror(errno));
}

void *need_memory(size_t bytes) {
  void *memory = calloc(1, bytes);
  need_os(memory != NULL, "memory for the benchmark itself");
  return memory;
}

static uint64_t clock_of(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void) { return clock_of(CLOCK_MONOTONIC); }
uint64_t cpu_ns(void) { return clock_of(CLOCK_PROCESS_CPUTIME_ID); }

/* ---- series ------------------------------------------------------------------------------------------------------ */

series *bench_series(bench *b, const char *unit, const char *format, ...) {
  if (b->count == b->room) {
    b->room = b->room ? b->room * 2 : 64;
    b->all = realloc(b->all, b->room * sizeof *b->all);
    need_os(b->all != NULL, "memory for the benchmark itself");
  }
  series *s = b->all[b->count++] = need_memory(sizeof *s);
  va_list list;
  va_start(list, format);
  vsnprintf(s->name, sizeof s->name, format, list);
  va_end(list);
  s->owner = b;
  s->unit = unit;
  return s;
}

void series_add(series *s, double value) {
  if (s->owner->is_warming) return;
  if (s->count == s->room) {
    s->room = s->room ? s->room * 2 : 16;
    s->at = realloc(s->at, s->room * sizeof *s->at);
    need_os(s->at != NULL, "memory for the benchmark itself");
  }
  s->at[s->count++] = value;
}

void series_refuse(series *s, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vsnprintf(s->refused, sizeof s->refused, format, list);
  va_end(list);
}

void series_against(series *s, const series *base) { s->base = base; }

void series_place(series *s, const char *axis, const char *curve, double x) {
  s->axis = axis;
  s->curve = curve;
  s->x = x;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double quantile_of(double *values, size_t count, double share) {
  if (count == 0) return NAN;
  qsort(values, count, sizeof *values, ascending);
  double place = share * (double)(count - 1);
  size_t below = (size_t)place, above = below + 1 < count ? below + 1 : below;
  return values[below] + (place - (double)below) * (values[above] - values[below]);
}

static double quantile(const series *s, double share) {
  if (s->refused[0] || s->count == 0) return NAN;
  double *sorted = need_memory(s->count * sizeof *sorted);
  memcpy(sorted, s->at, s->count * sizeof *sorted);
  double value = quantile_of(sorted, s->count, share);
  free(sorted);
  return value;
}

double series_median(const series *s) { return quantile(s, 0.5); }

double series_spread(const series *s) { return (quantile(s, 0.75) - quantile(s, 0.25)) / series_median(s); }

double series_ratio(const series *over, const series *under) {
  size_t count = over->count < under->count ? over->count : under->count;
  if (over->refused[0] || under->refused[0] || count == 0) return NAN;
  double *quotients = need_memory(count * sizeof *quotients);
  for (size_t i = 0; i < count; i++) quotients[i] = over->at[i] / under->at[i];
  double value = quantile_of(quotients, count, 0.5);
  free(quotients);
  return value;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

void bench_interleave(bench *b, const bench_case *cases, size_t count, unsigned repetitions, unsigned warmups) {
  for (unsigned n = 0; n < warmups + repetitions; n++) {
    b->is_warming = n < warmups;
    for (size_t i = 0; i < count; i++) {
      const bench_case *c = &cases[n % 2 ? count - 1 - i : i];
      c->run(c->env);
    }
  }
  b->is_warming = false;
}

unsigned bench_repetitions(const bench *b, unsigned usual) {
  if (b->repetitions) return b->repetitions;
  return b->quick ? 2 : usual;
}

uint64_t bench_size(const bench *b, uint64_t usual, uint64_t quick) { return b->quick ? quick : usual; }

/* ---- what it says ------------------------------------------------------------------------------------------------ */

void bench_figure(bench *b, const char *name, double value) {
  if (!isfinite(value)) {
    bench_note(b, "figure %s: not measured", name);
    return;
  }
  if (b->figure_count == FIGURES_MAX) die("more than %d figures", FIGURES_MAX);
  figure *f = &b->figures[b->figure_count++];
  snprintf(f->name, sizeof f->name, "%s", name);
  f->value = value;
}

void bench_note(bench *b, const char *format, ...) {
  char *text;
  va_list list;
  if (b->note_count == NOTES_MAX) return;
  va_start(list, format);
  int length = vasprintf(&text, format, list);
  va_end(list);
  need_os(length >= 0, "memory for the benchmark itself");
  b->notes[b->note_count++] = text;
}

void bench_say(const bench *b, const char *format, ...) {
  va_list list;
  if (!isatty(2)) return;
  va_start(list, format);
  fprintf(stderr, "%s: ", b->name);
  vfprintf(stderr, format, list);
  fprintf(stderr, "\n");
  va_end(list);
}

/* ---- the machine ------------------------------------------------------------------------------------------------- */

void bench_disk_needed(const bench *b, uint64_t bytes) {
  struct statvfs s;
  need_os(statvfs(b->folder, &s) == 0, b->folder);
  uint64_t free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
  if (free_bytes < bytes)
    die("%s: %.1f GiB are free, %.1f GiB are needed: name another place with --store, or take --quick", b->folder,
        (double)free_bytes / (double)GIB, (double)bytes / (double)GIB);
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *place) {
  (void)s, (void)kind, (void)place;
  return remove(path);
}

void bench_remove(const char *folder) {
  if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS))
    fprintf(stderr, "bench: %s: could not be removed: %s\n", folder, strerror(errno));
}

bool bench_memory_free(uint64_t bytes) {
  unsigned long long kib = 0;
  char line[200];
  FILE *f = fopen("/proc/meminfo", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "MemAvailable: %llu", &kib) == 1) break;
  if (f) fclose(f);
  return kib * KIB >= bytes;
}

static uint64_t lines_of(const char *path) {
  char bytes[4096];
  uint64_t lines = 0;
  FILE *f = fopen(path, "re");
  for (size_t got; f && (got = fread(bytes, 1, sizeof bytes, f)) > 0;)
    for (size_t i = 0; i < got; i++) lines += bytes[i] == '\n';
  if (f) fclose(f);
  return lines;
}

process_use process_use_now(void) {
  process_use use = {.mappings = lines_of("/proc/self/maps")};
  const struct {
    const char *format;
    uint64_t *bytes;
  } fields[] = {{"RssAnon: %llu", &use.anonymous},
                {"RssFile: %llu", &use.files},
                {"VmPTE: %llu", &use.tables},
                {"VmSize: %llu", &use.addresses}};
  char line[200];
  unsigned long long kib;
  FILE *f = fopen("/proc/self/status", "re");
  need_os(f != NULL, "/proc/self/status");
  while (fgets(line, sizeof line, f))
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
      if (sscanf(line, fields[i].format, &kib) == 1) *fields[i].bytes = kib * KIB;
  fclose(f);
  return use;
}

void text_size(uint64_t bytes, char text[24]) {
  if (bytes % GIB == 0) snprintf(text, 24, "%llu GiB", (unsigned long long)(bytes / GIB));
  else if (bytes % MIB == 0) snprintf(text, 24, "%llu MiB", (unsigned long long)(bytes / MIB));
  else snprintf(text, 24, "%llu KiB", (unsigned long long)(bytes / KIB));
}
