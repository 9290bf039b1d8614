/* metrics.h - inside stat: a store for a machine that collects, and for a person who watches. Exit codes; failures
 * have been complained about. Thread: the program's. */
#ifndef PROGRAM_METRICS_H
#define PROGRAM_METRICS_H

#include <pagestore.h>

/* OpenMetrics 1.0 text to stdout. */
int metrics_print(pagestore_store *);
/* A line every so many seconds, `count` times or (0) for ever. */
int metrics_watch(pagestore_store *, uint64_t seconds, uint64_t count);

#endif
