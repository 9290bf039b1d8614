/* wasmtime.h - modules run by Wasmtime, on memories of pagestore. Header only, over Wasmtime's C API and the public API.
 *
 * Exactly one file of the host defines PAGESTORE_WASMTIME_IMPLEMENTATION (and _GNU_SOURCE) before including this.
 *
 *   pagestore_wasmtime_engine engine = {0};              // one for the process, or several
 *   pagestore_wasmtime_module module;                    // any number, of any age
 *   pagestore_wasmtime guest = {0};                      // one per instance handle
 *   pagestore_wasmtime_engine_new(&engine, NULL);
 *   pagestore_wasmtime_module_new(&engine, wasm, length, 0, &module);
 *   pagestore_wasmtime_start(&guest, &engine, instance);
 *   pagestore_wasmtime_memory(&guest, "heap", &options, "memory", NULL);      // the module's export "memory"
 *   pagestore_wasmtime_instantiate(&guest, &module, linker, &wasm_instance);  // as of the last commit
 *   code = pagestore_wasmtime_call(&guest, &function, arguments, 1, results, 1);
 *   if (code) pagestore_wasmtime_rollback(&guest); else pagestore_wasmtime_commit(&guest, 0, &version);
 *   pagestore_wasmtime_stop(&guest); pagestore_instance_close(instance);
 *
 * Always true:
 * - the module defines its memories itself, and exports them; the engine asks for each of them while it instantiates,
 *   and is given the listed ones, each once. Refused with a reason: one memory more or fewer than listed, one that is
 *   bound already, another index type, a shared memory, pages of another size;
 * - memory outside of pagestore_wasmtime_instantiate is refused, so nothing of such an engine lives elsewhere unnoticed
 *   (which includes Wasmtime's garbage collected heap: externref, exceptions and the GC proposal are off);
 * - a trap undoes nothing by itself: the message is open until rollback;
 * - where host code inside the engine (memory.copy, memory.fill) meets a page that cannot be had, it goes on with
 *   zeros, and the call then ends with PAGESTORE_WASMTIME_PAGE; in compiled code it is a trap at once. Neither can be
 *   committed.
 *
 * Not part of a memory, so neither durable nor undone by rollback: tables, and globals that are not exported. Exported
 * mutable globals are saved at commit and loaded again, as metadata "module.global." + name (as wasm2c.h does). Modules
 * whose code changes a table, or that have mutable globals which are not exported, are refused unless the host says
 * that it copes.
 *
 * Threads: `one` per pagestore_wasmtime, as for the instance handle; different ones on different threads at once, with
 *          the same engine and modules. The first engine of a process installs a SIGSEGV handler;
 *          pagestore_wasmtime_engine_new and every instantiate see to it that the library's is in front, where the
 *          mprotect tracker needs it.
 * Owner:   the host owns the structs, which do not move between start and stop. start makes the Wasmtime store, stop
 *          deletes it, and what belongs to it (instances, functions) is dead then.
 *
 * Wasmtime 50's C API; checked at every binding by guest code that writes to the memory. */
#ifndef PAGESTORE_WASMTIME_H
#define PAGESTORE_WASMTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pagestore.h>
#include <wasmtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memories and modules of one instance that can be bound; the same in all files of the host. */
#ifndef PAGESTORE_WASMTIME_MEMORIES
#define PAGESTORE_WASMTIME_MEMORIES 8
#endif
#ifndef PAGESTORE_WASMTIME_MODULES
#define PAGESTORE_WASMTIME_MODULES 8
#endif

/* What pagestore_wasmtime_call and _instantiate return beside 0 and negative PAGESTORE_E. */
enum {
  PAGESTORE_WASMTIME_TRAP = 1, /* ended by a trap: its text is in detail */
  /* A page of the memory cannot be had, or a read-only view was written to; `failure` says which. */
  PAGESTORE_WASMTIME_PAGE = 101,
  /* memory.grow met ENOMEM, EQUOTA or EREADONLY, which must not look like -1 to the guest; `failure` says which. */
  PAGESTORE_WASMTIME_GROW = 102,
};

/* ---- engine, module: any thread once made ------------------------------------------------------------------------ */

/* Zeroed by the host, then as it likes. A 32-bit access needs no check when 4 GiB are reserved behind every memory's
 * base; a reservation of only what the memory can grow to saves address space (47 bits: some 30,000 memories of 4 GiB)
 * and is checked. */
typedef struct {
  uint64_t reservation_bytes; /* multiple of 64 KiB. 0: 4 GiB */
  uint64_t guard_bytes;       /* multiple of 64 KiB. 0: 32 MiB */
  wasm_engine_t *engine;      /* out */
  wasmtime_module_t *probe[2];
  char detail[256]; /* of a failure */
} pagestore_wasmtime_engine;

/* What an engine for our memories must have: multi-memory, 64-bit memories, no copy-on-write images, memories that may
 * outgrow the reservation, no garbage collected heap and no exceptions, which live there, our creator. Leave the allocation strategy alone (the pooling one
 * asks no creator) and signals_based_traps on. */
void pagestore_wasmtime_config(wasm_config_t *, const pagestore_wasmtime_engine *);
/* config may be NULL, and is consumed; the helper above is called on it. EINVAL EIO EUNSUPPORTED. Thread: any */
int pagestore_wasmtime_engine_new(pagestore_wasmtime_engine *, wasm_config_t *config);
void pagestore_wasmtime_engine_delete(pagestore_wasmtime_engine *);

enum {
  PAGESTORE_WASMTIME_TABLES = 1, /* take a module whose code changes tables: the host rebuilds them */
  PAGESTORE_WASMTIME_HIDDEN = 2, /* take a module with mutable globals that are not exported */
};
typedef struct {
  wasmtime_module_t *module;
  uint32_t memory_count; /* memories it defines; UINT32_MAX: not known */
  /* under which each is exported: all of them, each with its zero, then an empty one; or NULL */
  char *memory_names[PAGESTORE_WASMTIME_MEMORIES];
  uint32_t hidden_globals; /* mutable and not exported */
  bool changes_tables;     /* has an instruction that does */
  char detail[256];        /* of a failure */
} pagestore_wasmtime_module;

/* Compiles and examines a module in binary form. EINVAL: it is none; EUNSUPPORTED as above. Thread: any */
int pagestore_wasmtime_module_new(pagestore_wasmtime_engine *, const uint8_t *wasm, size_t length, unsigned flags,
                                  pagestore_wasmtime_module *);
/* One that was compiled elsewhere (deserialized): not examined, its memories are served in the order of the list. */
void pagestore_wasmtime_module_adopt(wasmtime_module_t *, pagestore_wasmtime_module *);
void pagestore_wasmtime_module_delete(pagestore_wasmtime_module *);

/* ---- guest ------------------------------------------------------------------------------------------------------- */

struct pagestore_wasmtime;
typedef struct {
  struct pagestore_wasmtime *guest;
  pagestore_memory *memory;
  const char *export_name;
  uint8_t *base;
  uint64_t reserved_bytes; /* maximum and guard */
  uint32_t flags;          /* of pagestore_memory_options */
  bool taken, found;       /* by the engine; among the exports */
  wasmtime_memory_t handle;
} pagestore_wasmtime_bound;

typedef struct {
  char *key;
  wasmtime_global_t handle;
  wasmtime_valkind_t kind;
  bool is_saved;
  uint8_t saved[16]; /* what the metadata has */
} pagestore_wasmtime_global;

/* Zeroed by the host; to be read: store, context, failure, detail. */
typedef struct pagestore_wasmtime {
  wasmtime_store_t *store;
  wasmtime_context_t *context;
  int failure;      /* PAGESTORE_E: why this message cannot be committed; 0: nothing known */
  char detail[256]; /* of the last failure or trap; pagestore_detail() may have more */
  bool stored;      /* the instance was committed by a module before, so instantiation must leave no mark */
  bool grow_failed;
  pagestore_wasmtime_engine *engine;
  pagestore_instance *instance;
  size_t count, module_count, global_count, global_room;
  pagestore_wasmtime_bound memories[PAGESTORE_WASMTIME_MEMORIES];
  struct {
    uintptr_t start, end;
  } images[PAGESTORE_WASMTIME_MODULES + 2]; /* compiled code, whose faults are traps */
  const pagestore_wasmtime_module *serving; /* while it is instantiated */
  uint32_t served;
  pagestore_wasmtime_global *globals;
  struct pagestore_wasmtime *next; /* all started ones */
} pagestore_wasmtime;

/* EINVAL ENOMEM EIO. Thread: one */
int pagestore_wasmtime_start(pagestore_wasmtime *, pagestore_wasmtime_engine *, pagestore_instance *);
/* Before pagestore_instance_close. Thread: one */
void pagestore_wasmtime_stop(pagestore_wasmtime *);

/* Opens the memory as pagestore_memory_open does, its guard raised to what the engine reserves, and lists it for the
 * module to come: under the name that the module exports it as (which is not copied), or with NULL for the next in the
 * order of the module's definitions. A memory smaller than the module's minimum grows to it. memory may be NULL.
 * EXPLICIT memories: the guest calls the host before each write, which marks. EINVAL: no room, or listed already; else
 * as pagestore_memory_open. Thread: one */
int pagestore_wasmtime_memory(pagestore_wasmtime *, const char *name, const pagestore_memory_options *,
                              const char *export_name, pagestore_memory **memory);

/* What a module exports whose data segments and start function were made passive, so that instantiation leaves no mark:
 * called by instantiate where the state is new, with no arguments and no results. */
#define PAGESTORE_WASMTIME_INSTALL "pagestore_install"

/* Instantiates; listed memories that no module has taken yet must all be the module's. linker may be NULL: no imports.
 * Several modules may follow each other, a shim that defines the memories first. Where a module was committed before
 * (by pagestore_wasmtime_commit), data segments and the start function have run on top of the stored state: the message
 * is rolled back and the globals are loaded, so the guest stands as of the last commit. Else the message is open, with
 * what they wrote. 0, TRAP, PAGE, GROW; EINVAL ETYPE EUNSUPPORTED ENOTFOUND (a global that was never stored: another
 * module) ENOMEM. After a failure: stop. Thread: one */
int pagestore_wasmtime_instantiate(pagestore_wasmtime *, const pagestore_wasmtime_module *, wasmtime_linker_t *linker,
                                   wasmtime_instance_t *);
/* A function that the module exports. ENOTFOUND. Thread: one */
int pagestore_wasmtime_function(pagestore_wasmtime *, const wasmtime_instance_t *, const char *name, wasmtime_func_t *);
/* wasmtime_func_call, which a host may also use itself, then looking at `failure`. EINVAL: the arguments do not fit.
 * Thread: one */
int pagestore_wasmtime_call(pagestore_wasmtime *, const wasmtime_func_t *, const wasmtime_val_t *arguments,
                            size_t argument_count, wasmtime_val_t *results, size_t result_count);

/* Makes the engine read bases and sizes again, and loads the globals: after restore, advance, and growth by the host.
 * ENOTFOUND ETYPE: a global was not stored so. Thread: one */
int pagestore_wasmtime_refresh(pagestore_wasmtime *);
/* Metadata of the open message from the globals, those that changed only. Thread: one */
int pagestore_wasmtime_save_globals(pagestore_wasmtime *);

/* The two ends of a message: commit saves the globals first, and refuses after a failed growth; rollback refreshes. A
 * rollback of the message that created the instance leaves nothing to run: stop. Results as pagestore_commit,
 * pagestore_rollback. Thread: one */
int pagestore_wasmtime_commit(pagestore_wasmtime *, unsigned flags, uint64_t *version);
int pagestore_wasmtime_rollback(pagestore_wasmtime *);

/* pagestore_upgrade in the open message, with the old module's store gone before and a new one made: list memories and
 * instantiate the new module next, then commit. To give up instead: stop, pagestore_rollback, start. Thread: one */
int pagestore_wasmtime_upgrade(pagestore_wasmtime *, const uint8_t module_hash[32]);

#ifdef __cplusplus
}
#endif

#ifdef PAGESTORE_WASMTIME_IMPLEMENTATION
#include <pagestore/wasmtime_runtime.h>
#endif
#endif
