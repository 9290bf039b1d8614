/* report.c - the table and the JSON document of what was measured.
 *
 * The last line of the table is `figure: NAME=VALUE ...`, for programs. JSON: one object with name, quick, machine
 * (the banner), rows (name, unit, median, spread, samples, against and ratio, or refused), notes, figures.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* ---- table ------------------------------------------------------------------------------------------------------- */

static void banner_line(void *env, const char *name, const char *value) {
  (void)env;
  printf("%-12s %s\n", name, value);
}

static void row(const series *s) {
  if (s->refused[0]) {
    printf("%-58s refused: %s\n", s->name, s->refused);
    return;
  }
  if (s->count == 0) return;
  double spread = isfinite(series_spread(s)) ? series_spread(s) : 0;
  printf("%-58s %11.4g %4.0f%% %-7s", s->name, series_median(s), 100 * spread, s->unit);
  if (s->base && isfinite(series_ratio(s, s->base))) printf(" %8.3g x %s", series_ratio(s, s->base), s->base->name);
  printf("\n");
}

static void figures(const bench *b) {
  printf("figure:");
  for (size_t i = 0; i < b->figure_count; i++) printf(" %s=%.4g", b->figures[i].name, b->figures[i].value);
  printf("\n");
}

static void table(const bench *b) {
  banner_each(b, banner_line, NULL);
  if (b->quick) printf("quick: sizes too small to mean anything, the figures show only that it runs\n");
  printf("\n%-58s %11s %5s %-7s %s\n", "what", "median", "+-", "unit", "of the same repetition");
  for (size_t i = 0; i < b->count; i++) row(b->all[i]);
  printf("\n+- is the middle half of the samples, of the median; cases take turns, ratios are within repetitions\n");
  for (size_t i = 0; i < b->note_count; i++) printf("note: %s\n", b->notes[i]);
  figures(b);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void quoted(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') printf("\\%c", c);
    else if (c < 0x20) printf("\\u%04x", c);
    else putchar(c);
  }
  putchar('"');
}

static void banner_member(void *env, const char *name, const char *value) {
  bool *is_first = env;
  printf("%s", *is_first ? "" : ", ");
  *is_first = false;
  quoted(name);
  printf(": ");
  quoted(value);
}

static void json_row(const series *s) {
  printf("{\"name\": ");
  quoted(s->name);
  printf(", \"unit\": \"%s\"", s->unit);
  if (s->refused[0]) {
    printf(", \"refused\": ");
    quoted(s->refused);
  } else {
    printf(", \"median\": %.6g, \"spread\": %.4f, \"samples\": %zu", series_median(s),
           isfinite(series_spread(s)) ? series_spread(s) : 0, s->count);
  }
  if (s->base && isfinite(series_ratio(s, s->base))) {
    printf(", \"against\": ");
    quoted(s->base->name);
    printf(", \"ratio\": %.6g", series_ratio(s, s->base));
  }
  printf("}");
}

static void json(const bench *b) {
  bool is_first = true;
  printf("{\"name\": \"%s\", \"quick\": %s, \"machine\": {", b->name, b->quick ? "true" : "false");
  banner_each(b, banner_member, &is_first);
  printf("}, \"rows\": [");
  is_first = true;
  for (size_t i = 0; i < b->count; i++) {
    if (b->all[i]->count == 0 && !b->all[i]->refused[0]) continue;
    printf("%s\n  ", is_first ? "" : ",");
    is_first = false;
    json_row(b->all[i]);
  }
  printf("\n], \"notes\": [");
  for (size_t i = 0; i < b->note_count; i++) {
    printf("%s", i ? ", " : "");
    quoted(b->notes[i]);
  }
  printf("], \"figures\": {");
  for (size_t i = 0; i < b->figure_count; i++)
    printf("%s\"%s\": %.6g", i ? ", " : "", b->figures[i].name, b->figures[i].value);
  printf("}}\n");
}

void report_show(const bench *b) { b->json ? json(b) : table(b); }
