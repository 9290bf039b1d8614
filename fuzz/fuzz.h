/* fuzz.h - what a fuzz target is: one input at a time, and seeds that it makes itself.
 *
 *   fuzz_NAME.c + driver.c      any compiler: replays files, then mutates what it has read
 *   fuzz_NAME.c + libfuzzer.c   clang, cmake -DPAGESTORE_FUZZER=libfuzzer: guided by coverage;
 *                               AFL++ takes the same functions
 *
 * A target crashes (a trap, a sanitizer's report) if and only if something is wrong. It writes
 * nothing but to the temporary folder.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_H
#define PAGESTORE_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef void (*fuzz_add)(void *env, const char *name, const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The seeds that are made at run time: small ones also lie in corpus/NAME (make_corpus.sh), large
 * ones only here. */
void fuzz_seeds(fuzz_add, void *env);

/* A target may know better how to change its inputs: then half of all mutations are its own. They follow from the seed. */
size_t fuzz_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed) __attribute__((weak));

/* Rather than assert(): also without debugging. */
#define MUST(condition) ((condition) ? (void)0 : __builtin_trap())

#endif
