/* plot.c - what was measured as a picture, by gnuplot: curves over their axes where series are points of some
 * (series_place), else bars. Both show the middle half of the samples.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"

enum { AXES_MAX = 4 };

/* ---- bars -------------------------------------------------------------------------------------------------------- */

/* How much of a name says which one it is, among those that the benchmark has chosen to be drawn; 0: not one. */
static size_t label_length(const bench *b, const series *s) {
  size_t length = strlen(s->name), end = strlen(b->drawn) + 2;
  return length > end && !strcmp(s->name + length - end + 2, b->drawn) ? length - end : 0;
}

/* Of those that are chosen, else the one that most series have. */
static const char *drawn_unit(const bench *b) {
  const char *best = "";
  size_t most = 0;
  for (size_t i = 0; i < b->count; i++) {
    size_t same = 0;
    if (b->drawn && label_length(b, b->all[i]) == 0) continue;
    for (size_t k = 0; k < b->count; k++) same += b->all[k]->count > 0 && strcmp(b->all[k]->unit, b->all[i]->unit) == 0;
    if (same > most) most = same, best = b->all[i]->unit;
  }
  return best;
}

typedef struct {
  double middle, low, high;
} extent;

static extent extent_of(const series *s) {
  double middle = series_median(s), half = series_spread(s) * middle / 2;
  return (extent){middle, middle - half > 0 ? middle - half : middle, middle + half};
}

static void bars(const bench *b, FILE *plot) {
  const char *unit = drawn_unit(b);
  fprintf(plot,
          "set title 'pagestore bench %s%s'\nset style fill solid 0.6\nset boxwidth 0.7\nset ylabel '%s%s%s'\n"
          "unset key\nset xtics rotate by -60 font ',8'\n"
          "plot '-' using 0:2:xtic(1) with boxes, '-' using 0:1:2:3 with yerrorbars lc rgb 'black' pt 0\n",
          b->name, b->quick ? " (quick)" : "", b->drawn ? b->drawn : "", b->drawn ? ", " : "", unit);
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < b->count; i++) {
      const series *s = b->all[i];
      extent e = extent_of(s);
      size_t length = b->drawn ? label_length(b, s) : strlen(s->name);
      if (length == 0 || strcmp(s->unit, unit) || !(e.middle > 0)) continue;
      if (pass == 0) fprintf(plot, "\"%.*s\" %g\n", (int)length, s->name, e.middle);
      else fprintf(plot, "%g %g %g\n", e.middle, e.low, e.high);
    }
    fprintf(plot, "e\n");
  }
}

/* ---- curves ------------------------------------------------------------------------------------------------------ */

static size_t axes_of(const bench *b, const char *axes[AXES_MAX]) {
  size_t count = 0;
  for (size_t i = 0; i < b->count; i++) {
    const char *axis = b->all[i]->axis;
    bool is_new = axis != NULL && count < AXES_MAX;
    for (size_t k = 0; is_new && k < count; k++) is_new = strcmp(axes[k], axis) != 0;
    if (is_new) axes[count++] = axis;
  }
  return count;
}

static bool is_on(const series *s, const char *axis, const char *curve) {
  return s->axis && !strcmp(s->axis, axis) && !strcmp(s->curve, curve) && extent_of(s).middle > 0;
}

/* Whether this one is the first of its curve. */
static bool is_first(const bench *b, size_t which, const char *axis) {
  const series *s = b->all[which];
  if (!s->axis || !is_on(s, axis, s->curve)) return false;
  for (size_t i = 0; i < which; i++)
    if (is_on(b->all[i], axis, s->curve)) return false;
  return true;
}

/* Where the axis spans more than two powers of ten it is logarithmic. */
static bool is_wide(const bench *b, const char *axis) {
  double low = 0, high = 0;
  for (size_t i = 0; i < b->count; i++) {
    const series *s = b->all[i];
    if (!s->axis || strcmp(s->axis, axis)) continue;
    if (low == 0 || s->x < low) low = s->x;
    if (s->x > high) high = s->x;
  }
  return low > 0 && high > 100 * low;
}

static void panel(const bench *b, FILE *plot, const char *axis) {
  const char *before = "plot";
  fprintf(plot, "set xlabel '%s'\n%sset logscale x\n", axis, is_wide(b, axis) ? "" : "un");
  for (size_t i = 0; i < b->count; i++) {
    if (!is_first(b, i, axis)) continue;
    const series *s = b->all[i];
    fprintf(plot, "%s '-' using 1:2:3:4 with yerrorlines lw 2 title '%s%s%s'", before, s->curve, *s->unit ? ", " : "",
            s->unit);
    before = ",";
  }
  fprintf(plot, "\n");
  for (size_t i = 0; i < b->count; i++) {
    if (!is_first(b, i, axis)) continue;
    for (size_t k = i; k < b->count; k++) {
      if (!is_on(b->all[k], axis, b->all[i]->curve)) continue;
      extent e = extent_of(b->all[k]);
      fprintf(plot, "%g %g %g %g\n", b->all[k]->x, e.middle, e.low, e.high);
    }
    fprintf(plot, "e\n");
  }
}

static void curves(const bench *b, FILE *plot, const char *const *axes, size_t count) {
  fprintf(plot,
          "set multiplot layout 1,%zu title 'pagestore bench %s%s'\nset logscale x\nset key top left\n"
          "set offsets graph 0.05, graph 0.05, 0, 0\n",
          count, b->name, b->quick ? " (quick)" : "");
  for (size_t i = 0; i < count; i++) panel(b, plot, axes[i]);
  fprintf(plot, "unset multiplot\n");
}

/* By the end of the file's name: a drawing for a page, else pixels. */
static const char *terminal_of(const char *file) {
  size_t length = strlen(file);
  return length > 4 && !strcmp(file + length - 4, ".svg") ? "svg" : "pngcairo";
}

int report_plot(const bench *b) {
  const char *axes[AXES_MAX];
  size_t axis_count = axes_of(b, axes);
  if (strpbrk(b->plot, "'\n")) {
    fprintf(stderr, "bench: --plot: a file's name without quotes, please\n");
    return EXIT_FAILED;
  }
  FILE *plot = popen("gnuplot", "w");
  if (!plot) return EXIT_FAILED;
  fprintf(plot, "set terminal %s noenhanced size 1400,900\nset output '%s'\nset logscale y\nset grid ytics\n",
          terminal_of(b->plot), b->plot);
  if (axis_count > 0) curves(b, plot, axes, axis_count);
  else bars(b, plot);
  if (pclose(plot) == 0) return EXIT_MEASURED;
  fprintf(stderr, "bench: %s: gnuplot did not draw it: is it installed (apt-get install gnuplot-nox)?\n", b->plot);
  return EXIT_FAILED;
}
