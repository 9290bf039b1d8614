/* dice.h - the generator behind every choice: one seed, one run. Thread: a generator belongs to one thread. */
#ifndef CRASHSIM_DICE_H
#define CRASHSIM_DICE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  uint64_t state;
} dice;

static inline uint64_t dice_roll(dice *d) { /* splitmix64: 64 bits */
  uint64_t z = (d->state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static inline uint64_t dice_below(dice *d, uint64_t limit) { return dice_roll(d) % limit; }
enum { FEW_RECORDS = 700 << 10 };
/* For pagestore_options.log_bytes: the default, merged at once, a few records, none. */
static inline uint64_t dice_log_bytes(dice *d) {
  const uint64_t sizes[] = {0, 1, FEW_RECORDS, UINT64_MAX};
  return sizes[dice_below(d, sizeof sizes / sizeof *sizes)];
}
static inline bool dice_chance(dice *d, unsigned percent) { return dice_below(d, 100) < percent; }

/* A seed of its own for each of many things that one seed gives. */
static inline uint64_t seed_of(uint64_t seed, uint64_t what) {
  dice d = {seed ^ what * 0xd1342543de82ef95u};
  return dice_roll(&d);
}

#endif
