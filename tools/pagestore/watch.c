/* watch.c - see watch.h. */
#include "watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "text.h"

typedef struct {
  const watch_options *options;
  pagestore_store *store;
  sample last, now;
  sample_change change;
  sample_flushes flushes;
} watcher;

/* A number, or "-" where it is not known. */
static const char *number(double value, char to[TEXT_SIZE]) {
  if (value < 0) return "-";
  snprintf(to, TEXT_SIZE, "%.1f", value);
  return to;
}

static const char *units(double value, char to[TEXT_SIZE]) { return value < 0 ? "-" : text_units((uint64_t)value, to); }
static double mean_ms(const sample_flushes *f) { return f->count ? f->sum_ms / f->count : -1; }
static double max_ms(const sample_flushes *f) { return f->count ? f->max_ms : -1; }
static double ms_each(const sample_instance *i) {
  return i->versions_per_second > 0 ? 1e3 / i->versions_per_second : -1;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void print_head(void) {
  printf("%-24s %12s %10s %10s %10s %10s %10s %12s %12s %12s\n", "TIME", "VERSIONS/S", "INSTANCES", "FLUSHES/S",
         "PER-FLUSH", "FLUSH-MS", "MAX-MS", "FILE", "FREE", "WRITTEN/S");
}

static void print_line(const watcher *w) {
  char a[TEXT_SIZE], b[TEXT_SIZE], c[TEXT_SIZE], d[TEXT_SIZE], e[TEXT_SIZE];
  printf("%-24s %12s %10" PRIu64 " ", text_time(w->now.wall_ns, a), number(w->change.versions_per_second, b),
         w->now.info.instances);
  printf("%10s %10s %10s %10s ", number(w->change.flushes_per_second, a), number(w->change.versions_per_flush, b),
         number(mean_ms(&w->flushes), c), number(max_ms(&w->flushes), d));
  printf("%12s %12s %12s\n", text_units(w->now.info.file_bytes, a), text_units(w->now.info.free_bytes, b),
         units(w->change.writer_bytes_per_second, e));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void fact(report *r, const char *key, double value) {
  report_fact(r, (column){key, CELL_REAL}, (cell){.real = value, .none = value < 0});
}

static void facts_of_writer(const watcher *w, report *r) {
  const writer *who = &w->now.writer;
  bool none = who->pid == 0;
  report_fact(r, (column){"writer_pid", CELL_NUMBER}, (cell){.number = (uint64_t)who->pid, .none = none});
  report_fact(r, (column){"writer", CELL_TEXT}, of_text(none ? NULL : who->name));
  fact(r, "writer_cpu_percent", w->change.writer_cpu_percent);
  report_fact(r, (column){"writer_resident_bytes", CELL_BYTES}, (cell){.number = who->resident_bytes, .none = none});
  fact(r, "writer_bytes_per_second", w->change.writer_bytes_per_second);
}

static int print_document(const watcher *w) {
  static const column columns[] = {{"instance", CELL_TEXT},         {"version", CELL_NUMBER},
                                   {"versions_per_second", CELL_REAL}, {"milliseconds_per_version", CELL_REAL},
                                   {"pages", CELL_NUMBER},          {"stored_pages", CELL_NUMBER}};
  report *r = report_new_line();
  if (!r) return EXIT_FAILED;
  report_fact(r, (column){"time", CELL_TIME}, of_number(w->now.wall_ns));
  fact(r, "seconds", w->change.seconds);
  fact(r, "versions_per_second", w->change.versions_per_second);
  fact(r, "flushes_per_second", w->change.flushes_per_second);
  fact(r, "versions_per_flush", w->change.versions_per_flush);
  fact(r, "flush_mean_milliseconds", mean_ms(&w->flushes));
  fact(r, "flush_max_milliseconds", max_ms(&w->flushes));
  report_fact(r, (column){"flushes_measured", CELL_NUMBER}, of_number(w->flushes.count));
  report_fact(r, (column){"file_bytes", CELL_BYTES}, of_number(w->now.info.file_bytes));
  report_fact(r, (column){"free_bytes", CELL_BYTES}, of_number(w->now.info.free_bytes));
  report_fact(r, (column){"trash_pending", CELL_FLAG}, of_number(w->now.info.trash));
  report_fact(r, (column){"snapshots", CELL_NUMBER}, of_number(w->now.info.snapshots));
  facts_of_writer(w, r);
  report_sheet(r, "instances", columns, sizeof columns / sizeof *columns);
  for (size_t i = 0; i < w->now.count; i++) {
    const sample_instance *x = &w->now.items[i];
    report_row(r, (cell[]){of_text(x->name), of_number(x->version),
                           {.real = x->versions_per_second, .none = x->versions_per_second < 0},
                           {.real = ms_each(x), .none = ms_each(x) < 0},
                           of_number(x->pages), of_number(x->stored_pages)});
  }
  return report_finish(r, EXIT_OK);
}

/* ---- the screen ------------------------------------------------------------------------------ */

static int busier_first(const void *a, const void *b) {
  const sample_instance *const *x = a, *const *y = b;
  if ((*x)->versions_per_second != (*y)->versions_per_second)
    return (*x)->versions_per_second < (*y)->versions_per_second ? 1 : -1;
  return strcmp((*x)->name, (*y)->name);
}

static void draw_instances(const watcher *w) {
  const sample_instance **order = calloc(w->now.count ? w->now.count : 1, sizeof(sample_instance *));
  char rate[TEXT_SIZE], each[TEXT_SIZE], bytes[TEXT_SIZE];
  if (!order) return;
  for (size_t i = 0; i < w->now.count; i++) order[i] = &w->now.items[i];
  qsort(order, w->now.count, sizeof *order, busier_first);
  screen_line(SCREEN_REVERSE, "%12s %12s %12s %12s %12s  %-*s", "VERSION", "VERSIONS/S", "MS EACH", "PAGES", "STORED",
              (int)screen_columns(), "INSTANCE");
  for (size_t i = 0; i < w->now.count && i < screen_rows(); i++)
    screen_line(order[i]->versions_per_second > 0 ? SCREEN_BOLD : SCREEN_PLAIN,
                "%12" PRIu64 " %12s %12s %12" PRIu64 " %12s  %s", order[i]->version,
                number(order[i]->versions_per_second, rate), number(ms_each(order[i]), each), order[i]->pages,
                text_units(order[i]->stored_pages * PAGESTORE_PAGE, bytes), order[i]->name);
  free(order);
}

static void draw_writer(const watcher *w) {
  char cpu[TEXT_SIZE], resident[TEXT_SIZE], written[TEXT_SIZE];
  const writer *who = &w->now.writer;
  if (who->pid == 0) {
    screen_line(SCREEN_PLAIN, "writer      none to be seen");
    return;
  }
  screen_line(SCREEN_PLAIN, "writer      %s, process %d: %s %% CPU, %s resident, %s/s to the disk", who->name, who->pid,
              number(w->change.writer_cpu_percent, cpu), text_units(who->resident_bytes, resident),
              units(w->change.writer_bytes_per_second, written));
}

static void draw(const watcher *w) {
  char a[TEXT_SIZE], b[TEXT_SIZE], c[TEXT_SIZE];
  const pagestore_store_info *i = &w->now.info;
  screen_begin();
  screen_line(SCREEN_BOLD, "%s  %s, every %" PRIu64 " s; space: now, q: quit", w->options->path,
              text_time(w->now.wall_ns, a), w->options->seconds);
  screen_line(SCREEN_PLAIN, "versions    %s/s in %s flushes/s: %s each", number(w->change.versions_per_second, a),
              number(w->change.flushes_per_second, b), number(w->change.versions_per_flush, c));
  screen_line(SCREEN_PLAIN, "flush       %s ms in the mean, %s ms at most, of %u", number(mean_ms(&w->flushes), a),
              number(max_ms(&w->flushes), b), w->flushes.count);
  double grown = w->change.file_bytes_per_second;
  screen_line(SCREEN_PLAIN, "file        %s, %s free, %s%s/s%s", text_units(i->file_bytes, a),
              text_units(i->free_bytes, b), grown < 0 ? "-" : "+",
              text_units((uint64_t)(grown < 0 ? -grown : grown), c),
              i->trash ? "; dropped storage is still to be given back" : "");
  draw_writer(w);
  screen_line(SCREEN_PLAIN, "instances   %" PRIu64 ", %" PRIu64 " snapshots", i->instances, i->snapshots);
  screen_line(SCREEN_PLAIN, "%s", "");
  draw_instances(w);
  screen_end();
}

/* ---- watching -------------------------------------------------------------------------------- */

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until the next look is due, flushes are measured for a while. false: quit */
static bool wait(watcher *w, uint64_t seconds) {
  uint64_t began = now_ms(), transaction = w->last.transaction, spent;
  const sample_instance *busiest = sample_busiest(&w->last);
  w->flushes = (sample_flushes){0};
  if (busiest) {
    memcpy(w->flushes.instance, busiest->name, sizeof w->flushes.instance);
    w->flushes.version = busiest->version;
  }
  while ((spent = now_ms() - began) < seconds * 1000) {
    uint64_t left = seconds * 1000 - spent;
    bool measuring = spent < MEASURE_MS_MAX;
    uint64_t step = measuring ? POLL_MS : 60000;
    if (measuring) sample_poll(w->store, &transaction, &w->flushes);
    screen_event event = screen_wait((unsigned)(step < left ? step : left));
    if (event == SCREEN_QUIT) return false;
    if (event == SCREEN_LOOK) return true;
    if (event == SCREEN_DRAW) draw(w);
  }
  return true;
}

static int look(watcher *w) {
  int code = sample_take(w->store, w->options->path, &w->now);
  if (code != EXIT_OK) return code;
  w->change = sample_compare(&w->last, &w->now);
  if (w->options->how == WATCH_SCREEN) draw(w);
  else if (w->options->how == WATCH_JSON) code = print_document(w);
  else print_line(w);
  sample_free(&w->last);
  w->last = w->now; /* both own the items now; w->now is only looked at */
  return code;
}

int watch(pagestore_store *store, const watch_options *options) {
  watcher w = {.options = options, .store = store};
  bool screen = options->how == WATCH_SCREEN;
  int code = sample_take(store, options->path, &w.last);
  if (code != EXIT_OK) return code;
  if (screen) screen_open();
  else screen_signals();
  if (options->how == WATCH_LINES) print_head();
  /* the first screen comes soon: nobody wants to look at an empty one */
  for (uint64_t i = 0; code == EXIT_OK && (options->count == 0 || i < options->count) && fflush(stdout) == 0; i++)
    if (!wait(&w, screen && i == 0 ? 1 : options->seconds)) break;
    else code = look(&w);
  screen_close();
  sample_free(&w.last);
  return code;
}
