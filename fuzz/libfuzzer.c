/* libfuzzer.c - gives libFuzzer the seeds that targets make at run time: now and then an input is
 * replaced by one of them. */
#include <string.h>

#include "fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

typedef struct {
  uint8_t *to;
  size_t size, room;
  unsigned wanted, at;
} choice;

static void count(void *env, const char *name, const uint8_t *bytes, size_t size) {
  (void)name, (void)bytes, (void)size;
  ++*(unsigned *)env;
}

static void choose(void *env, const char *name, const uint8_t *bytes, size_t size) {
  (void)name;
  choice *c = env;
  if (c->at++ != c->wanted || size > c->room) return;
  memcpy(c->to, bytes, size);
  c->size = size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
  static unsigned seeds;
  if (seeds == 0) fuzz_seeds(count, &seeds);
  if ((size < 2 || seed % 256 == 0) && seeds) {
    choice c = {.to = data, .size = size, .room = max_size, .wanted = (seed >> 8) % seeds};
    fuzz_seeds(choose, &c);
    size = c.size;
  }
  if (fuzz_mutate && seed % 2) return fuzz_mutate(data, size, max_size, seed >> 1);
  return LLVMFuzzerMutate(data, size, max_size);
}
