/* units.h - the two units of the design, and arithmetic on them that cannot wrap unseen.
 *
 * Rule:   sizes that come from outside (guest, host, disk, kernel) pass through the checked_ functions
 *         once, at the border; inside, plain arithmetic and assertions.
 * Thread: any; nothing here has state.
 */
#ifndef PAGESTORE_BASE_UNITS_H
#define PAGESTORE_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PAGE_BYTES = 65536,                      /* a Wasm page: size, growth, storage */
  BLOCK_BYTES = 4096,                      /* tracking, copying, checksums */
  PAGE_BLOCKS = PAGE_BYTES / BLOCK_BYTES,  /* 16: a block mask of a page is a uint16_t */
};

#define ALL_BLOCKS ((uint16_t)0xffff)

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum) {
  return !__builtin_add_overflow(a, b, sum);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product) {
  return !__builtin_mul_overflow(a, b, product);
}

/* Whether [offset, offset + length) lies in [0, size), without wrapping. */
static inline bool range_fits(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

static inline uint64_t align_up(uint64_t value, uint64_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t power_of_two) {
  return value & ~(power_of_two - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

static inline unsigned mask_count(uint16_t mask) { return (unsigned)__builtin_popcount(mask); }

#endif
