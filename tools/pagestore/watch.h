/* watch.h - a store watched: `stat --watch` and `top`. On a terminal top draws a screen, else each look is a line or a
 * JSON object of its own, which a pipe's reader gets at once.
 *
 * Exit codes; failures have been complained about. Thread: the program's.
 */
#ifndef PROGRAM_WATCH_H
#define PROGRAM_WATCH_H

#include "report.h"
#include "sample.h"
#include "screen.h"

typedef struct {
  const char *path;
  uint64_t seconds, count; /* between looks; how many, 0: until it is ended */
  enum { WATCH_LINES, WATCH_JSON, WATCH_SCREEN } how;
} watch_options;

int watch(pagestore_store *, const watch_options *);

#endif
