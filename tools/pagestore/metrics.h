/* metrics.h - inside stat: a store for a machine that collects. An exit code; failures have been complained about.
 * Thread: the program's. */
#ifndef PROGRAM_METRICS_H
#define PROGRAM_METRICS_H

#include <pagestore.h>

/* OpenMetrics 1.0 text to stdout. */
int metrics_print(pagestore_store *);

#endif
