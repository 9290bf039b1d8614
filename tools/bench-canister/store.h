/* store.h - where the structures keep their bytes: the one difference between the ways that are compared.
 *
 *   BENCH_CALLS      in a stable memory that is reached by calls, as on the Internet Computer: stable64_read and _write
 *   otherwise        in the module's own memory, from STORE_BASE on: plain loads and stores
 *
 * Offsets begin at 0 and are 64-bit in both. Freestanding, no libc: memcpy of a constant size is what the compiler
 * makes of it.
 * Thread: one. */
#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <stdint.h>

enum { STORE_PAGE = 65536, STORE_BASE = 4 << 20 };

#define IMPORT(name) __attribute__((import_module("ic0"), import_name(#name)))

#ifdef BENCH_CALLS
IMPORT(stable64_grow) int64_t stable64_grow(int64_t pages);
IMPORT(stable64_read) void stable64_read(int64_t to, int64_t offset, int64_t bytes);
IMPORT(stable64_write) void stable64_write(int64_t offset, int64_t from, int64_t bytes);

static inline void store_read(uint64_t at, void *to, uint32_t bytes) {
  stable64_read((int64_t)(uintptr_t)to, (int64_t)at, bytes);
}
static inline void store_write(uint64_t at, const void *from, uint32_t bytes) {
  stable64_write((int64_t)at, (int64_t)(uintptr_t)from, bytes);
}
static inline int64_t store_grow(uint32_t pages) { return stable64_grow(pages); }
#else
static inline void store_read(uint64_t at, void *to, uint32_t bytes) {
  __builtin_memcpy(to, (const void *)(uintptr_t)(STORE_BASE + at), bytes);
}
static inline void store_write(uint64_t at, const void *from, uint32_t bytes) {
  __builtin_memcpy((void *)(uintptr_t)(STORE_BASE + at), from, bytes);
}
/* The memory is at least STORE_BASE large from the beginning. */
static inline int64_t store_grow(uint32_t pages) {
  int32_t before = __builtin_wasm_memory_grow(0, (int32_t)pages);
  return before < 0 ? -1 : before - STORE_BASE / STORE_PAGE;
}
#endif

static inline uint64_t store_u64(uint64_t at) {
  uint64_t value;
  store_read(at, &value, sizeof value);
  return value;
}
static inline void store_set_u64(uint64_t at, uint64_t value) { store_write(at, &value, sizeof value); }

/* Pages so that `bytes` from 0 on are there; traps where there is no more. */
void store_reserve(uint64_t bytes);

#endif
