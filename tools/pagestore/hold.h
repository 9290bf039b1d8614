/* hold.h - reading the present beside a writer: its reader keeps the writer from using again what it frees.
 *
 * A snapshot is read without that. So the present is read for HOLD_SECONDS at most, unless the option `hold` says
 * otherwise; then there is a warning. Without a writer it does not matter.
 *
 * Thread: the program's.
 */
#ifndef PROGRAM_HOLD_H
#define PROGRAM_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

enum { HOLD_SECONDS = 5 };

#define OPTION_HOLD                                                                                                    \
  { "hold", 'H', NULL, "read the present beside a writer for longer than 5 s, though its file grows meanwhile" }

typedef struct {
  const char *store; /* NULL: nothing is held */
  bool allowed, warned;
  uint64_t began_ns;
} hold;

/* The command must have OPTION_HOLD. `present`: that is what is read */
void hold_begin(hold *, const invocation *, bool present);
/* To be asked now and then. false: for too long, complained */
bool hold_goes_on(hold *);

#endif
