/* ledger.h - what is known of a store outside the process that writes it: shared memory, which no SIGKILL touches.
 *
 *   opened ---> begun = n ---> the call that seals step n ---> acknowledged = n
 *
 * Invariant: acknowledged <= what the store holds <= begun, in steps of the script, at every moment.
 * Thread:    begun is the writer's; acknowledged also its flusher's; the parent reads all.
 */
#ifndef PAGESTORE_FUZZ_SUPPORT_LEDGER_H
#define PAGESTORE_FUZZ_SUPPORT_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  _Atomic uint64_t begun, acknowledged;
  _Atomic bool made;  /* pagestore_open has returned once: the store must be there */
  _Atomic bool ready; /* the process that runs now has opened everything */
  uint64_t found;     /* by the witness */
  bool trash;         /* it also found storage that was still to be given back */
  char text[1024];    /* what went wrong, of the writer or the witness */
} ledger;

enum { LEDGER_BROKEN = 70 }; /* exit status of a process that has put a text there */

ledger *ledger_new(void); /* NULL: no memory */
void ledger_acknowledge(ledger *, uint64_t step);
/* Puts the text there and ends the process. */
_Noreturn void ledger_broken(ledger *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
