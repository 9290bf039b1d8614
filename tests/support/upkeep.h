/* upkeep.h - waits until a store's flusher has nothing left to do, not even what time alone would bring. */
#ifndef PAGESTORE_TESTS_UPKEEP_H
#define PAGESTORE_TESTS_UPKEEP_H

#include <pagestore.h>

void upkeep_wait(pagestore_store *);

#endif
