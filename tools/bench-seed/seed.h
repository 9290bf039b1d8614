/* seed.h - one structure, five ways to its bytes, two engines: what the parts of the benchmark share.
 *
 *   heap       plain loads and stores in a memory that nobody keeps: the bound
 *   direct     plain loads and stores in memory 1, which is durable
 *   native     each access is a call that is served beside the module, over both memories (Wasmtime: by Wasm code,
 *              the shim; wasm2c: by C functions over base addresses)
 *   hostcall   the same module; each call goes to the host, which checks it and copies the bytes
 *   tuned      hostcall, where the host moves 1, 4, 8 and 16 bytes through registers instead of by memcpy: what native
 *              owes to such moves, and what to having no host in between
 *
 * Thread: one. */
#ifndef BENCH_SEED_H
#define BENCH_SEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pagestore.h>

typedef enum { HEAP, DIRECT, NATIVE, HOSTCALL, TUNED, WAYS } way; /* neighbours are compared */
extern const char *const way_names[WAYS];

typedef enum { INSERT_MANY, VECTOR_PUSH, CHUNKS_4K, BYTE_READS, BLOB, TREE_SUM, EXPORTS } export;
extern const char *const export_names[EXPORTS];

/* The heap of the canister; with `heap` and `direct` the structures are in it, and it grows. */
enum { HEAP_PAGES = 64, HEAP_PAGES_MAX = 4096 };

/* All return 0, or have said why on stderr. A guest begins empty; it belongs to the engine until close. */
typedef struct {
  const char *name;
  int (*start)(void);
  int (*open)(way, pagestore_store *, const char *instance, void **guest);
  int (*call)(void *guest, export, uint64_t count, uint64_t seed, uint64_t *result);
  int (*commit)(void *guest); /* durable on return; of HEAP: nothing */
  void (*close)(void *guest);
  void (*stop)(void);
} engine;

extern const engine engine_wasm2c;
#ifdef BENCH_WASMTIME
extern const engine engine_wasmtime;
#endif

int failed(const char *what, const char *why); /* 1 */

#endif
