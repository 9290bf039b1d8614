/* wasm2c_ic0.h - the Internet Computer's stable-memory calls as the host functions that a module
 * translated by wasm2c imports from "ic0".
 *
 *   struct Z_ic0_instance_t {            // the host's own; struct w2c_ic0 since wabt 1.0.33
 *     pagestore_stable *calls;
 *     ...
 *   };
 *   PAGESTORE_WASM2C_IC0(ic0->calls)     // in one file of the host, outside of functions
 *
 * The argument is an expression of type pagestore_stable * in which `ic0` is the pointer that the
 * module hands over. A trap of a call ends the guest's call: pagestore_wasm2c_call returns its
 * pagestore_stable_trap. What else of ic0 a module imports the host writes itself.
 *
 * Thread: one, as the instance handle. */
#ifndef PAGESTORE_WASM2C_IC0_H
#define PAGESTORE_WASM2C_IC0_H

#include <pagestore/wasm2c.h>

#if PAGESTORE_WASM2C_WABT >= 1033
#define PAGESTORE_WASM2C_IC0_NAME(name) w2c_ic0_##name
#define PAGESTORE_WASM2C_IC0_STRUCT struct w2c_ic0
#else
#define PAGESTORE_WASM2C_IC0_NAME(name) Z_ic0Z_##name
#define PAGESTORE_WASM2C_IC0_STRUCT struct Z_ic0_instance_t
#endif

#define PAGESTORE_WASM2C_IC0_TRAP(call)                                                            \
  do {                                                                                             \
    int trap_ = (int)(call);                                                                       \
    if (trap_) wasm_rt_trap((wasm_rt_trap_t)trap_);                                                \
  } while (0)

/* A size, 64 or 32 bits wide; growth. */
#define PAGESTORE_WASM2C_IC0_PAGES(type, size, grow, calls)                                        \
  type PAGESTORE_WASM2C_IC0_NAME(size)(PAGESTORE_WASM2C_IC0_STRUCT * ic0) {                        \
    type pages = 0;                                                                                \
    PAGESTORE_WASM2C_IC0_TRAP(pagestore_##size((calls), &pages));                                  \
    return pages;                                                                                  \
  }                                                                                                \
  type PAGESTORE_WASM2C_IC0_NAME(grow)(PAGESTORE_WASM2C_IC0_STRUCT * ic0, type more_pages) {       \
    type old_pages = 0;                                                                            \
    PAGESTORE_WASM2C_IC0_TRAP(pagestore_##grow((calls), more_pages, &old_pages));                  \
    return old_pages;                                                                              \
  }

#define PAGESTORE_WASM2C_IC0_COPY(type, name, first, second, calls)                                \
  void PAGESTORE_WASM2C_IC0_NAME(name)(PAGESTORE_WASM2C_IC0_STRUCT * ic0, type first, type second, \
                                       type bytes) {                                               \
    PAGESTORE_WASM2C_IC0_TRAP(pagestore_##name((calls), first, second, bytes));                    \
  }

#define PAGESTORE_WASM2C_IC0(calls)                                                                \
  PAGESTORE_WASM2C_IC0_PAGES(uint64_t, stable64_size, stable64_grow, calls)                        \
  PAGESTORE_WASM2C_IC0_PAGES(uint32_t, stable_size, stable_grow, calls)                            \
  PAGESTORE_WASM2C_IC0_COPY(uint64_t, stable64_read, to, offset, calls)                            \
  PAGESTORE_WASM2C_IC0_COPY(uint64_t, stable64_write, offset, from, calls)                         \
  PAGESTORE_WASM2C_IC0_COPY(uint32_t, stable_read, to, offset, calls)                              \
  PAGESTORE_WASM2C_IC0_COPY(uint32_t, stable_write, offset, from, calls)

#endif
