/* actor.h - does the steps of a script with the library: the process that is there to be killed.
 *
 * It tells the ledger before it seals a step, and when it was told that a step is durable: by a call that waited, by
 * on_durable, by the durable version. On the way it looks at bytes, through the bases and through views, and at the
 * versions that it gets. Anything that is not as it must be ends the process (ledger_broken).
 *
 * Thread: one a process.
 */
#ifndef PAGESTORE_FUZZ_SUPPORT_ACTOR_H
#define PAGESTORE_FUZZ_SUPPORT_ACTOR_H

#include <pagestore.h>

#include "fuzz/support/ledger.h"
#include "fuzz/support/script.h"

typedef struct actor actor;

/* Opens the store, makes it if it never was, and all instances of the script's state. `s` stays the caller's. */
actor *actor_start(const char *path, script *s, ledger *, const pagestore_options *);
void actor_step(actor *);
/* All that was done is durable and the store closed. */
void actor_end(actor *);
/* Deletes every instance, durably; the trash is left to whoever opens the store next. The script's state follows. */
void actor_delete_all(actor *);
void actor_wait_for_trash(actor *); /* and empties the log: nothing may be left of either in the end */

#endif
