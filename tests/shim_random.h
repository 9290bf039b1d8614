/* shim_random.h - addresses and lengths that a shim gets wrong, for tests/test_shim.c and tests/test_wasmtime_shim.c.
 *
 * Thread: one; all follows from random_state.
 */
#ifndef PAGESTORE_TESTS_SHIM_RANDOM_H
#define PAGESTORE_TESTS_SHIM_RANDOM_H

#include "stable_model.h"

static uint64_t random_state = 20261122;

static uint64_t roll(void) { /* splitmix64 */
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Near an edge, often by less than what one call moves; or anywhere in the heap. */
static uint64_t number(const model *m) {
  const uint64_t edges[] = {0,
                            12,
                            100,
                            65536,
                            m->heap_bytes,
                            m->heap_bytes,
                            m->pages * PAGESTORE_PAGE,
                            m->pages * PAGESTORE_PAGE,
                            m->pages,
                            1ull << 31,
                            1ull << 32,
                            1ull << 48,
                            1ull << 63};
  if (roll() % 3 == 0) return roll() % (m->heap_bytes + 20);
  return edges[roll() % (sizeof edges / sizeof *edges)] + roll() % 30 - 20 * (roll() % 2);
}

/* Most are as short as a canister's; each short length has its own way through the shim. */
static uint64_t length(const model *m) { return roll() % 3 == 0 ? number(m) : roll() % 2 ? roll() % 40 : 1u << roll() % 5; }

static model_copy random_copy(const model *m) {
  model_copy c = {
      .address = number(m), .offset = number(m), .bytes = length(m), .write = roll() % 2, .small = roll() % 2};
  if (c.small) c.address = (uint32_t)c.address, c.offset = (uint32_t)c.offset, c.bytes = (uint32_t)c.bytes;
  return c;
}

#endif
