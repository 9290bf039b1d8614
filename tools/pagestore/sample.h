/* sample.h - what a store does, seen from outside its writer: two looks and what lies between them.
 *
 * A version is a message that changed something and is durable. A flush is a transaction of LMDB. The time of a flush
 * is measured: a record carries the moment at which the flusher wrote it into the transaction; this process asks
 * every POLL_MS whether there is a new transaction, and the difference is LMDB's writing and syncing, at most POLL_MS
 * too much. That is done for one instance, the busiest, in the first MEASURE_MS_MAX of a wait.
 *
 * Queue and boundary themselves live in the writing process alone (pagestore_stats there, and its USDT probes). What
 * can be known here: versions a flush are what the flush found waiting, and the time between two versions of an
 * instance is no less than a message with its boundary.
 *
 * Invariant: items ascend by name; no transaction of LMDB stays open between calls.
 * Thread:    the program's.
 */
#ifndef PROGRAM_SAMPLE_H
#define PROGRAM_SAMPLE_H

#include <pagestore.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "writer.h"

enum { POLL_MS = 1, MEASURE_MS_MAX = 2000 };

typedef struct {
  char name[256];
  uint64_t version, pages, stored_pages;
  double versions_per_second; /* since the sample before; below zero: it was not there, or made anew */
} sample_instance;

typedef struct {
  pagestore_store_info info;
  uint64_t transaction;
  writer writer;
  struct timespec at;
  uint64_t wall_ns;
  sample_instance *items;
  size_t count, room;
} sample;

/* What lies between two samples. Below zero: not known */
typedef struct {
  double seconds, versions_per_second, flushes_per_second, versions_per_flush, file_bytes_per_second;
  double writer_cpu_percent, writer_bytes_per_second;
} sample_change;

/* Flushes seen while waiting. */
typedef struct {
  char instance[256]; /* in: which one; "": none */
  uint64_t version;   /* in: as of the last sample */
  unsigned count;
  double sum_ms, max_ms;
} sample_flushes;

int sample_take(pagestore_store *, const char *path, sample *out); /* EXIT_OK, or complained */
void sample_free(sample *);
/* Sets the rates of `now`'s items, too. */
sample_change sample_compare(const sample *before, sample *now);
const sample_instance *sample_busiest(const sample *); /* NULL: there is no instance */
/* The worst flush and their mean, of what became durable since the call before. */
void sample_poll(pagestore_store *, uint64_t *transaction, sample_flushes *);

#endif
