/* progress.h - how far a long command is, on stderr: a line that is drawn anew on a terminal, or one JSON object a
 * line.
 *
 *   --progress=auto|never|json    auto: a bar if stderr is a terminal that can be drawn on, else nothing
 *
 * Invariant: at most ten lines a second on a terminal, one a second as JSON; the last JSON line has all bytes.
 * Thread:    the program's.
 */
#ifndef PROGRAM_PROGRESS_H
#define PROGRAM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

#define OPTION_PROGRESS                                                                                                \
  { "progress", 'P', "HOW", "auto: a bar on a terminal, the default; never; json: an object a line, on stderr" }

typedef struct {
  enum { PROGRESS_NEVER, PROGRESS_BAR, PROGRESS_JSON } how;
  const char *what;
  uint64_t done, total, began_ns, shown_ns;
  bool shown;
} progress;

/* The command must have OPTION_PROGRESS. EXIT_OK or EXIT_USAGE, complained. total 0: not known; it may be set later */
int progress_begin(progress *, const invocation *, const char *what, uint64_t total);
static inline bool progress_shown(const progress *p) { return p->how != PROGRESS_NEVER; }
void progress_step(progress *, uint64_t bytes);
/* All is done, however much it was thought to be. */
void progress_whole(progress *);
/* Clears the bar, or writes the last JSON line. Before anything else is printed. */
void progress_end(progress *);

#endif
