/* wasm2c.h - modules translated by wabt's wasm2c, on memories of pagestore. Header only, over the
 * public API only.
 *
 * Exactly one file of the host defines PAGESTORE_WASM2C_IMPLEMENTATION (and _GNU_SOURCE) before
 * including this; all include wasm-rt.h of the wabt that translated the module. That file then
 * holds the whole runtime: link no wasm-rt-impl.c.
 *
 *   pagestore_wasm2c guest = {0};                        // one per instance handle
 *   wasm_rt_memory_t heap;                               // what the module imports
 *   pagestore_wasm2c_start(&guest, instance);
 *   pagestore_wasm2c_memory(&guest, "heap", &options, &heap, NULL);
 *   code = pagestore_wasm2c_call(&guest, run_it, &arguments);          // 0, or why it ended
 *   if (code) pagestore_wasm2c_rollback(&guest); else pagestore_wasm2c_commit(&guest, 0, &version);
 *   pagestore_wasm2c_stop(&guest); pagestore_instance_close(instance);
 *
 * Always true:
 * - generated code runs only inside pagestore_wasm2c_call; a trap outside of it has nowhere to go
 *   and aborts the process;
 * - a trap undoes nothing by itself: the message is open until rollback;
 * - our SIGSEGV/SIGBUS handler stands behind the library's and acts only when this thread is inside
 *   a call and the address lies in a memory of that call or at the end of its stack; every other
 *   signal goes to the handler found before.
 *
 * Thread: `one` per pagestore_wasm2c, as for the instance handle; different ones on different
 *         threads at once. With wabt 1.0.32 and WASM_RT_USE_STACK_DEPTH_COUNT the counter is the
 *         process's: then one thread only.
 * Owner:  the host owns pagestore_wasm2c and wasm_rt_memory_t; neither moves between start and
 *         stop.
 * Not undone by rollback, since they live outside of memories: tables, and globals that are not
 * listed in `globals`.
 *
 * wabt 1.0.32 and later; which fields wasm_rt_memory_t has is seen from wasm-rt.h's macros, or set
 * PAGESTORE_WASM2C_WABT. 1.0.32 itself: 32-bit memories of at most 65,535 pages, and memory.copy
 * between two memories goes the wrong way. */
#ifndef PAGESTORE_WASM2C_H
#define PAGESTORE_WASM2C_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <pagestore.h>
#include <pagestore/stable.h>
#include <wasm-rt.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1032: 32-bit fields. 1033: 64-bit fields and is64. 1037: page_size. 1038: data_end. 1.0.37 cannot
 * be told from 1.0.38 by its macros: its host sets this. */
#ifndef PAGESTORE_WASM2C_WABT
#if defined(WASM_DEFAULT_PAGE_SIZE)
#define PAGESTORE_WASM2C_WABT 1038
#elif defined(WASM_RT_LONGJMP_UNCHECKED)
#define PAGESTORE_WASM2C_WABT 1033
#else
#define PAGESTORE_WASM2C_WABT 1032
#endif
#endif

#if PAGESTORE_WASM2C_WABT >= 1033
typedef uint64_t pagestore_wasm2c_pages; /* the type of wasm_rt_memory_t's page counts */
#define PAGESTORE_WASM2C_UNCHECKED WASM_RT_MEMCHECK_GUARD_PAGES
#else
typedef uint32_t pagestore_wasm2c_pages;
#define PAGESTORE_WASM2C_UNCHECKED WASM_RT_MEMCHECK_SIGNAL_HANDLER
#endif

/* Memories of one instance that can be bound; the same in all files of the host. */
#ifndef PAGESTORE_WASM2C_MEMORIES
#define PAGESTORE_WASM2C_MEMORIES 8
#endif

/* What pagestore_wasm2c_call returns beside wasm_rt_trap_t's codes. Host functions that serve the
 * stable-memory calls end one by wasm_rt_trap((wasm_rt_trap_t)trap): then it is pagestore_stable_trap. */
enum {
  /* A page inside the memory cannot be had (damage, load quota, no memory), or was written to in a
   * read-only view; pagestore_commit says which and why, rollback clears it. */
  PAGESTORE_WASM2C_PAGE = 101,
  /* memory.grow met ENOMEM or EQUOTA, which must not look like -1 to the guest. */
  PAGESTORE_WASM2C_GROW = 102,
};

/* A mutable global of the module, kept as metadata under "module.global." + name: its bytes as they
 * lie in memory, so little-endian hosts only. Upgrade drops all of them. */
typedef struct {
  const char *name; /* at most 241 bytes */
  void *at;         /* what the module's accessor returns */
  size_t bytes;     /* 4, 8 or 16 */
} pagestore_wasm2c_global;

typedef struct pagestore_wasm2c_bound {
  pagestore_memory *memory;
  wasm_rt_memory_t *guest; /* NULL: only host functions reach this memory */
  uint8_t *base;
  uint64_t reserved_bytes; /* maximum and guard */
  int is64;
  struct pagestore_wasm2c_bound *next; /* in the table from guest to memory */
} pagestore_wasm2c_bound;

/* One instance and the memories its module sees. Zeroed by the host; `globals` may be set at any
 * time outside of a call. */
typedef struct {
  pagestore_instance *instance;
  const pagestore_wasm2c_global *globals;
  size_t global_count;
  size_t count;
  pagestore_wasm2c_bound memories[PAGESTORE_WASM2C_MEMORIES];
} pagestore_wasm2c;

/* Installs the handlers and makes the calling thread fit for guest code. EIO ENOMEM EINVAL. Thread:
 * one */
int pagestore_wasm2c_start(pagestore_wasm2c *, pagestore_instance *);
/* Takes the memories out of the table: before pagestore_instance_close, or before binding for
 * another module. Thread: one */
void pagestore_wasm2c_stop(pagestore_wasm2c *);

/* Opens the memory as pagestore_memory_open does and binds it. Where generated code does not check
 * 32-bit accesses the guard is raised so that maximum and guard span 8 GiB and 64 KiB, all that an
 * address and an offset can reach (give max_pages, or address space for the largest maximum is
 * spent on top). memory may be NULL. EINVAL: no room, or guest is bound; EUNSUPPORTED: a size this
 * wabt cannot hold; else as pagestore_memory_open. Thread: one */
int pagestore_wasm2c_memory(pagestore_wasm2c *, const char *name, const pagestore_memory_options *,
                            wasm_rt_memory_t *guest, pagestore_memory **memory);
/* The same for a memory that the host opened itself with these options (of which guard and index
 * type count; NULL: a 32-bit one with defaults). Writes one byte through guest, looks for it
 * through the library and takes it back (not in views that refuse writes): EUNSUPPORTED where it
 * does not arrive. EINVAL also: the guard is too small for unchecked code. Thread: one */
int pagestore_wasm2c_bind(pagestore_wasm2c *, pagestore_memory *,
                          const pagestore_memory_options *opened_with, wasm_rt_memory_t *guest);

/* Tells the module bases and sizes again: after rollback, upgrade, restore, advance, and growth by
 * the host. EUNSUPPORTED: a size this wabt cannot hold (nothing told). Thread: one */
int pagestore_wasm2c_refresh(pagestore_wasm2c *);

/* Runs body(env) as guest code: 0, a trap (wasm_rt_trap_t or above), or a negative PAGESTORE_E
 * (body did not run). Calls nest: guest, host function, another guest. A trap leaves body by
 * longjmp: host functions that hold a lock or memory must not touch guest memory then, but use
 * pagestore_memory_read and _write. Thread: one */
int pagestore_wasm2c_call(pagestore_wasm2c *, void (*body)(void *env), void *env);
/* of a call's result: constant text. Thread: any */
const char *pagestore_wasm2c_strerror(int code);

/* The same around a statement, for hosts that know setjmp's rules: locals changed in it are lost on
 * a trap unless volatile. */
#define PAGESTORE_WASM2C_CALL(result, wasm2c, ...)                                                 \
  do {                                                                                             \
    pagestore_wasm2c_frame frame_;                                                                 \
    (result) = pagestore_wasm2c_enter(&frame_, (wasm2c));                                          \
    if ((result) == 0) {                                                                           \
      if (setjmp(frame_.back) == 0) {                                                              \
        __VA_ARGS__;                                                                               \
      }                                                                                            \
      (result) = pagestore_wasm2c_leave(&frame_);                                                  \
    }                                                                                              \
  } while (0)

/* Metadata of the open message from the globals, those that differ only; and back. load: ENOTFOUND
 * where one was never stored (the others are loaded), ETYPE where its length differs. Thread: one
 */
int pagestore_wasm2c_save_globals(pagestore_wasm2c *);
int pagestore_wasm2c_load_globals(pagestore_wasm2c *);

/* The two ends of a message: commit saves the globals first; rollback refreshes and loads them
 * again (ENOTFOUND as above: the module must then be instantiated anew). Results as
 * pagestore_commit and pagestore_rollback. Thread: one */
int pagestore_wasm2c_commit(pagestore_wasm2c *, unsigned flags, uint64_t *version);
int pagestore_wasm2c_rollback(pagestore_wasm2c *);

/* One guest call on this thread's stack; for PAGESTORE_WASM2C_CALL. */
typedef struct pagestore_wasm2c_frame {
  jmp_buf back;
  struct pagestore_wasm2c_frame *outer;
  pagestore_wasm2c *wasm2c;
  void *unwind_target;
  uint32_t depth;
  volatile int code;
} pagestore_wasm2c_frame;
int pagestore_wasm2c_enter(pagestore_wasm2c_frame *, pagestore_wasm2c *);
int pagestore_wasm2c_leave(pagestore_wasm2c_frame *); /* the code */

#ifdef __cplusplus
}
#endif

#ifdef PAGESTORE_WASM2C_IMPLEMENTATION
#include <pagestore/wasm2c_runtime.h>
#endif
#endif
