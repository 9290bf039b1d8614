/* fuzz_store.c - damaged stores, looked at as the tools do, and written to.
 *
 *   input: see fuzz/store/edit.h: edits of a whole store's file. Half of the mutations ask for checksums to be repaired behind them
 *
 * Whatever is in the file: each call is served or refuses with a text; no crash, no hang. Without an edit everything is served.
 *
 * With FUZZ_COUNTS in the environment the last line says how far all came.
 *
 * ctest: runs=500, bytes=257
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/fuzz.h"
#include "fuzz/store/damaged.h"
#include "fuzz/store/look.h"

static look_counts total;
static uint64_t runs;

static void show_counts(void) {
  printf("stores=%llu opened=%llu views=%llu pages=%llu damaged=%llu diffs=%llu commits=%llu\n",
         (unsigned long long)runs, (unsigned long long)total.opened, (unsigned long long)total.views,
         (unsigned long long)total.pages, (unsigned long long)total.damaged, (unsigned long long)total.diffs,
         (unsigned long long)total.commits);
}

static void add_counts(const look_counts *c) {
  if (runs++ == 0 && getenv("FUZZ_COUNTS")) atexit(show_counts);
  total.opened += c->opened, total.views += c->views, total.pages += c->pages;
  total.damaged += c->damaged, total.diffs += c->diffs, total.commits += c->commits;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  look_counts counts = {0};
  size_t edits = damaged_write(data, size);
  bool writes = data[0] & MODE_WRITE;
  look_read(damaged_store(), &counts);
  if (writes) look_write(damaged_store(), &counts);
  if (edits == 0) MUST(counts.opened && counts.views && counts.damaged == 0 && (counts.commits || !writes));
  add_counts(&counts);
  return 0;
}
