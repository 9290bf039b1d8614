/* mutate.h - changes of a module that keep its sections whole; see mutate.c. Thread: one. */
#ifndef PAGESTORE_FUZZ_WASM_MUTATE_H
#define PAGESTORE_FUZZ_WASM_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* The driver's own, for inputs that are one byte and then a module. */
size_t fuzz_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#endif
