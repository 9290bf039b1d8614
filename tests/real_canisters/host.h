/* host.h - one canister on Wasmtime, three ways:
 *
 *   PLAIN   the compiler's own module on throw-away memories, without pagestore: what must come out
 *   CALLS   made native with `--memories module`; heap and stable memory in a store, the stable-memory calls by pagestore/stable.h
 *   SHIM    made native with `--memories shim`; the calls by the shim, which defines both memories
 *
 * A message is: one export called with an argument, its reply, then kept or undone. PLAIN cannot undo: it is never given a
 * message that traps. Time, counters and callers follow from the message's number, so that all three see the same.
 *
 * Thread: one. Failures of the host itself end the process with a text.
 */
#ifndef PAGESTORE_TESTS_REAL_CANISTERS_HOST_H
#define PAGESTORE_TESTS_REAL_CANISTERS_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pagestore/stable.h>
#include <pagestore/wasmtime.h>

typedef enum { PLAIN, CALLS, SHIM } backend;
enum { VERSIONS = 3, ARGUMENT_MAX = 1024, REPLY_MAX = 3000, RAW_MAX = 3 };

/* What a canister is to its host. */
typedef struct {
  const char *name; /* of its files: NAME_v1.wasm, ... */
  bool is64;        /* index type of the heap */
  bool keeps_heap;  /* across an upgrade */
  bool is_raw;      /* exports take integers and return one, instead of ic0's argument and reply */
} canister;

typedef struct {
  uint64_t number;
  char method[64]; /* the export's whole name */
  bool traps;
  uint8_t argument[ARGUMENT_MAX];
  size_t length;
  int64_t raw[RAW_MAX];
  size_t raw_count;
} message;

typedef struct {
  int code; /* 0, or how the call ended */
  uint32_t length;
  uint8_t bytes[REPLY_MAX];
} reply;

/* PLAIN: 4 GiB reserved, the first `pages` of 64 KiB accessible. */
typedef struct {
  uint8_t *base;
  uint64_t pages;
} plain_memory;

typedef struct {
  backend kind;
  const canister *canister;
  const char *folder; /* of the modules */
  int version;        /* of the module that runs */
  pagestore_wasmtime_engine engine;
  pagestore_wasmtime_module modules[VERSIONS + 1], shims[VERSIONS + 1]; /* compiled when first wanted */
  wasmtime_linker_t *linker;
  wasmtime_instance_t instance;
  /* CALLS and SHIM */
  pagestore_store *store;
  pagestore_instance *state;
  pagestore_memory *heap, *stable;
  pagestore_wasmtime guest;
  pagestore_stable *calls;
  /* PLAIN */
  wasmtime_store_t *plain_store;
  plain_memory plain_heap, plain_stable;
  uint64_t plain_timer;
  /* the message under way */
  const message *message;
  reply *reply;
  bool replied;
  char said[300]; /* why it trapped */
} host;

/* Compares equal where heap and stable memory do. */
typedef struct {
  uint64_t heap_pages, heap_hash, stable_pages, stable_hash;
} fingerprint;

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* store_path: not for PLAIN. Installs version 1 where there is nothing yet: canister_init is a message of its own. */
void host_open(host *, backend, const canister *, const char *folder, const char *store_path);
void host_close(host *);
/* Runs it, no more. */
void host_run(host *, const message *, reply *);
/* Ends it; kept, its number is what host_last says from then on. A PLAIN host keeps. */
void host_end(host *, uint64_t number, bool keep);
uint64_t host_last(host *);
/* pre_upgrade on the running module, the next one instantiated, post_upgrade: one message. 0, or where it trapped, with
 * everything as before. `argument` is a raw canister's. */
int host_upgrade(host *, uint64_t number, int version, int64_t argument);
void host_snapshot(host *, const char *name);
void host_restore(host *, const char *name);
fingerprint host_fingerprint(host *);

/* Heap and stable memory for the calls; false: out of bounds. */
bool host_heap(host *, uint64_t at, void *bytes, uint64_t length, bool write);

/* ic0.c: what of "ic0" the module imports is defined in the host's linker; but the stable-memory calls of SHIM. */
void ic0_define(host *, const wasmtime_module_t *);

#endif
