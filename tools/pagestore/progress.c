/* progress.c - see progress.h. */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "complain.h"
#include "text.h"

enum { BAR_CELLS = 24 };
#define BAR_EVERY_NS  100000000ull
#define JSON_EVERY_NS 1000000000ull

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool can_draw(void) {
  const char *terminal = getenv("TERM");
  return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

int progress_begin(progress *p, const invocation *v, const char *what, uint64_t total) {
  const char *how = option_value(v, "progress");
  *p = (progress){.what = what, .total = total, .began_ns = now_ns()};
  if (!how || strcmp(how, "auto") == 0) p->how = can_draw() ? PROGRESS_BAR : PROGRESS_NEVER;
  else if (strcmp(how, "json") == 0) p->how = PROGRESS_JSON;
  else if (strcmp(how, "never") != 0)
    return complain_usage(v->command, "--progress is auto, never or json, not '%s'", how);
  return EXIT_OK;
}

/* Bytes a second so far; 0: too early to say. */
static uint64_t rate_of(const progress *p, uint64_t now) {
  uint64_t elapsed = now - p->began_ns;
  return elapsed ? (uint64_t)((double)p->done * 1e9 / (double)elapsed) : 0;
}

static void draw_bar(const progress *p, uint64_t rate) {
  char bar[BAR_CELLS + 1], done[TEXT_SIZE], speed[TEXT_SIZE];
  unsigned full = p->total ? (unsigned)((double)p->done / (double)p->total * BAR_CELLS) : 0;
  for (unsigned i = 0; i < BAR_CELLS; i++) bar[i] = i < full ? '#' : '.';
  bar[BAR_CELLS] = 0;
  fprintf(stderr, "\r%s", p->what);
  if (p->total) fprintf(stderr, " [%s]", bar);
  fprintf(stderr, " %s, %s/s", text_units(p->done, done), text_units(rate, speed));
  if (rate && p->total > p->done) fprintf(stderr, ", %" PRIu64 " s left", (p->total - p->done) / rate);
  fputs("\033[K", stderr);
}

/* What is not known is null. */
static void print_json(const progress *p, uint64_t rate) {
  char total[24] = "null", left[24] = "null";
  if (p->total) snprintf(total, sizeof total, "%" PRIu64, p->total);
  if (p->total && (rate || p->done == p->total))
    snprintf(left, sizeof left, "%" PRIu64, rate ? (p->total - p->done) / rate : 0);
  fprintf(stderr,
          "{\"progress\": \"%s\", \"bytes\": %" PRIu64 ", \"total_bytes\": %s, \"bytes_per_second\": %" PRIu64
          ", \"seconds_left\": %s}\n",
          p->what, p->done, total, rate, left);
}

static void draw(progress *p, uint64_t now) {
  uint64_t rate = rate_of(p, now);
  if (p->total && p->done > p->total) p->total = p->done;
  if (p->how == PROGRESS_BAR) draw_bar(p, rate);
  else print_json(p, rate);
  complain_on_bar = p->how == PROGRESS_BAR;
  fflush(stderr);
  p->shown_ns = now;
  p->shown = true;
}

void progress_step(progress *p, uint64_t bytes) {
  p->done += bytes;
  if (p->how == PROGRESS_NEVER) return;
  uint64_t now = now_ns(), every = p->how == PROGRESS_BAR ? BAR_EVERY_NS : JSON_EVERY_NS;
  if (now - (p->shown ? p->shown_ns : p->began_ns) >= every) draw(p, now);
}

void progress_whole(progress *p) { p->total = p->done; }

void progress_end(progress *p) {
  if (p->how == PROGRESS_JSON) draw(p, now_ns());
  if (p->how == PROGRESS_BAR && complain_on_bar) fputs(CLEAR_LINE, stderr);
  complain_on_bar = false;
  p->how = PROGRESS_NEVER;
}
