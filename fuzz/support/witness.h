/* witness.h - says which step a store holds, and whether it is that step byte for byte.
 *
 * Opens for reading: the store is left as it was found. Looks at instances, versions, snapshots, sizes, metadata,
 * module hashes, stored pages, and every byte of every memory in the present and in each snapshot.
 *
 * Thread: one a process, which has not used the library before.
 */
#ifndef PAGESTORE_FUZZ_SUPPORT_WITNESS_H
#define PAGESTORE_FUZZ_SUPPORT_WITNESS_H

#include "fuzz/support/ledger.h"
#include "fuzz/support/script.h"

/* `s` is at a step that is not above the acknowledged one, and is moved to the step that was found, which goes into
 * the ledger. What does not fit ends the process (ledger_broken). flags: PAGESTORE_VERIFY or 0. */
void witness_look(const char *path, script *s, ledger *, uint32_t flags);
/* A store without instances has no rows, no damaged page and no page that is neither used nor free. */
void witness_look_empty(const char *path, ledger *);

#endif
