/* bench.h - a store with one open instance "one" and its memory "heap": for tests that look at one point of the contract.
 *
 * Each case runs under every tracker that the kernel allows, in a store of its own.
 */
#ifndef PAGESTORE_TESTS_BENCH_H
#define PAGESTORE_TESTS_BENCH_H

#include "scratch.h"

typedef struct {
  char *directory, *path;
  pagestore_options store_options;
  pagestore_memory_options options;    /* of "heap" */
  pagestore_store *store;
  pagestore_instance *instance;
  pagestore_memory *memory;
  uint8_t *base;
  uint64_t versions;                   /* as of the last reopening */
} bench;

void bench_memory(bench *, uint64_t pages);      /* opens "heap" */
void bench_put(bench *, uint64_t offset, uint8_t byte);   /* an engine's store */
uint64_t bench_commit(bench *);                  /* durable; the version */
uint64_t bench_dirty(bench *);                   /* dirty blocks of "heap" */
void bench_end(bench *);                         /* closes the instance */
void bench_reopen(bench *);                      /* the store, the instance, "heap" */

/* Whether an access is served, or is the plain SIGSEGV that an engine would see. */
bool bench_survives(bench *, uint64_t offset, bool write);

typedef struct { const char *name; void (*run)(bench *); } bench_case;
#define BENCH_CASE(function) { #function, function }
int bench_run(const bench_case *, size_t count);

#endif
