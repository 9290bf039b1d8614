/* subject.h - stores, instances and bytes to measure, and where messages write.
 *
 * Bytes are random, so that nothing compresses or compares equal; the dice have a fixed seed, so every run writes
 * the same. Thread: as the handles it uses.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <pagestore.h>

#include "harness.h"

typedef struct {
  uint64_t state;
} dice;
uint64_t dice_next(dice *);
uint64_t dice_below(dice *, uint64_t limit); /* limit > 0 */
void dice_fill(dice *, void *to, size_t bytes);

/* A new store of that name in the benchmark's folder, or one that is there. */
pagestore_store *subject_store(const bench *, const char *name, const pagestore_options *);

typedef struct {
  pagestore_store *store;
  pagestore_instance *instance;
  pagestore_memory *memory;
  uint8_t *base;
  uint64_t pages;
  bool is_marked; /* EXPLICIT */
} subject;

/* The instance with a memory "main", made where it is not there; memory_flags as for memory_open. */
subject subject_open(pagestore_store *, const char *name, uint64_t pages, uint32_t memory_flags);
void subject_close(subject *);
/* Every step-th page is filled and committed, durable on return; keep: they stay resident. */
void subject_fill(subject *, uint64_t step, bool keep, dice *);

typedef enum { PATTERN_SEQUENTIAL, PATTERN_SCATTERED, PATTERN_DENSE, PATTERNS } pattern;
extern const char *const pattern_names[PATTERNS];
/* Numbers of count different blocks of a memory with `of` blocks. SEQUENTIAL: neighbours, ascending. SCATTERED:
 * one in each of count equal stretches, in random order. DENSE: all sixteen of scattered pages. */
void pattern_make(pattern, uint64_t *blocks, uint64_t count, uint64_t of, dice *);
/* One word of each block gets another value. */
void pattern_write(uint8_t *base, const uint64_t *blocks, uint64_t count);

#endif
