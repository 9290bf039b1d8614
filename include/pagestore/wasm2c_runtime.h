/* wasm2c_runtime.h - the other half of wasm2c.h, included by it where
 * PAGESTORE_WASM2C_IMPLEMENTATION is defined; never by itself.
 *
 *   1 binding    which wasm_rt_memory_t shows which memory; globals
 *   2 calls      frames, traps
 *   3 faults     addresses to traps, the handler
 *   4            wasm2c_guest.h: the functions that generated code calls
 *
 * Invariants: the thread's newest frame is the innermost running call; a guest is in the table at
 *             most once; a range of a memory that is not ours (module-defined) stays in its list
 *             for ever, with zero bytes once freed.
 * Thread:     the table under its lock; frames and exceptions are the thread's; the handler takes
 *             no lock. */
#ifndef PAGESTORE_WASM2C_RUNTIME_H
#define PAGESTORE_WASM2C_RUNTIME_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifndef _GNU_SOURCE
#error                                                                                             \
    "define _GNU_SOURCE before the first include where PAGESTORE_WASM2C_IMPLEMENTATION is defined"
#endif
#if defined(WASM_RT_USE_SEGUE) && WASM_RT_USE_SEGUE
#error "segue is not supported: do not define WASM_RT_ALLOW_SEGUE"
#endif
#if PAGESTORE_WASM2C_WABT >= 1033 && defined(__has_include)
#if __has_include(<wasm-rt-exceptions.h>)
#ifdef __cplusplus
extern "C" { /* 1.0.33's header forgets it */
#endif
#include <wasm-rt-exceptions.h>
#ifdef __cplusplus
}
#endif
#define PAGESTORE_WASM2C_EXCEPTIONS 1
#endif
#elif PAGESTORE_WASM2C_WABT < 1033
#define PAGESTORE_WASM2C_EXCEPTIONS 1
typedef uint32_t wasm_rt_tag_t;
#endif
#ifndef PAGESTORE_WASM2C_EXCEPTIONS
#define PAGESTORE_WASM2C_EXCEPTIONS 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* In the handler thread-local storage must be there already: never allocated at first use. */
#define PAGESTORE_WASM2C_THREAD static __thread __attribute__((tls_model("initial-exec")))

/* 32-bit address + 32-bit offset + access */
static const uint64_t pagestore_wasm2c_reach = (UINT64_C(8) << 30) + 65536;

/* ---- 1 binding ------------------------------------------------------------------------------- */

#define PAGESTORE_WASM2C_BUCKETS 1024
static pagestore_wasm2c_bound *pagestore_wasm2c_table[PAGESTORE_WASM2C_BUCKETS];
static pthread_mutex_t pagestore_wasm2c_lock = PTHREAD_MUTEX_INITIALIZER;

static pagestore_wasm2c_bound **pagestore_wasm2c_bucket(const wasm_rt_memory_t *guest) {
  return &pagestore_wasm2c_table[((uintptr_t)guest >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

static pagestore_wasm2c_bound *pagestore_wasm2c_find(const wasm_rt_memory_t *guest) {
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  pagestore_wasm2c_bound *bound = *pagestore_wasm2c_bucket(guest);
  while (bound && bound->guest != guest) bound = bound->next;
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
  return bound;
}

static void pagestore_wasm2c_table_add(pagestore_wasm2c_bound *bound) {
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  pagestore_wasm2c_bound **bucket = pagestore_wasm2c_bucket(bound->guest);
  bound->next = *bucket;
  *bucket = bound;
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
}

static void pagestore_wasm2c_table_remove(pagestore_wasm2c_bound *bound) {
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  pagestore_wasm2c_bound **at = pagestore_wasm2c_bucket(bound->guest);
  while (*at && *at != bound) at = &(*at)->next;
  if (*at) *at = bound->next;
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
}

/* A size in pages that this wabt's fields can hold; 1.0.32 keeps the size in bytes in 32 bits. */
static int pagestore_wasm2c_fits(uint64_t pages) {
  return PAGESTORE_WASM2C_WABT >= 1033 || pages <= 65535;
}

static void pagestore_wasm2c_tell(pagestore_wasm2c_bound *bound, uint64_t pages) {
  wasm_rt_memory_t *guest = bound->guest;
  uint64_t max_pages = pagestore_memory_max(bound->memory);
  if (!pagestore_wasm2c_fits(max_pages)) max_pages = 65535;
  guest->data = bound->base;
  guest->pages = (pagestore_wasm2c_pages)pages;
  guest->max_pages = (pagestore_wasm2c_pages)max_pages;
  guest->size = (pagestore_wasm2c_pages)(pages * PAGESTORE_PAGE);
#if PAGESTORE_WASM2C_WABT >= 1033
  guest->is64 = bound->is64 != 0;
#endif
#if PAGESTORE_WASM2C_WABT >= 1037
  guest->page_size = PAGESTORE_PAGE;
#endif
#if PAGESTORE_WASM2C_WABT >= 1038
  guest->data_end = bound->base + bound->reserved_bytes;
#endif
}

int pagestore_wasm2c_refresh(pagestore_wasm2c *wasm2c) {
  for (size_t i = 0; i < wasm2c->count; i++)
    if (wasm2c->memories[i].guest &&
        !pagestore_wasm2c_fits(pagestore_memory_pages(wasm2c->memories[i].memory)))
      return PAGESTORE_EUNSUPPORTED;
  for (size_t i = 0; i < wasm2c->count; i++)
    if (wasm2c->memories[i].guest)
      pagestore_wasm2c_tell(&wasm2c->memories[i],
                            pagestore_memory_pages(wasm2c->memories[i].memory));
  return 0;
}

/* A byte written as the guest would write it must be what the library reads: otherwise wasm-rt.h is
 * not the module's. */
static int pagestore_wasm2c_check(pagestore_wasm2c_bound *bound) {
  if (pagestore_memory_pages(bound->memory) == 0) return 0;
  int err = pagestore_memory_prepare(bound->memory, 0, 1, true);
  if (err == PAGESTORE_EREADONLY) return 0;
  if (err) return err;
  volatile uint8_t *byte = bound->guest->data;
  uint8_t before = *byte, expected = (uint8_t)(before ^ 0x5a), found = 0;
  *byte = expected;
  err = pagestore_memory_read(bound->memory, 0, &found, 1);
  *byte = before;
  if (err) return err;
  return found == expected ? 0 : PAGESTORE_EUNSUPPORTED;
}

static uint64_t pagestore_wasm2c_guard(const pagestore_memory_options *options) {
  if (options && options->guard_bytes) return options->guard_bytes;
  return options && (options->flags & PAGESTORE_MEMORY64) ? UINT64_C(32) << 20 : UINT64_C(4) << 30;
}

/* Shows the memory through guest, for the first time. */
static int pagestore_wasm2c_show(pagestore_wasm2c_bound *bound) {
  uint64_t pages = pagestore_memory_pages(bound->memory);
  if (!pagestore_wasm2c_fits(pages) || (PAGESTORE_WASM2C_WABT < 1033 && bound->is64))
    return PAGESTORE_EUNSUPPORTED;
  if (PAGESTORE_WASM2C_UNCHECKED && !bound->is64 && bound->reserved_bytes < pagestore_wasm2c_reach)
    return PAGESTORE_EINVAL;
  pagestore_wasm2c_tell(bound, pages);
  int err = pagestore_wasm2c_check(bound);
  if (!err) pagestore_wasm2c_table_add(bound);
  return err;
}

int pagestore_wasm2c_bind(pagestore_wasm2c *wasm2c, pagestore_memory *memory,
                          const pagestore_memory_options *opened_with, wasm_rt_memory_t *guest) {
  if (wasm2c->count == PAGESTORE_WASM2C_MEMORIES || (guest && pagestore_wasm2c_find(guest)))
    return PAGESTORE_EINVAL;
  pagestore_wasm2c_bound *bound = &wasm2c->memories[wasm2c->count];
  memset(bound, 0, sizeof *bound);
  bound->memory = memory;
  bound->guest = guest;
  bound->base = pagestore_memory_base(memory);
  bound->is64 = opened_with && (opened_with->flags & PAGESTORE_MEMORY64);
  bound->reserved_bytes = pagestore_memory_max(memory) * PAGESTORE_PAGE +
                          pagestore_wasm2c_guard(opened_with);
  int err = guest ? pagestore_wasm2c_show(bound) : 0;
  if (!err) wasm2c->count++;
  return err;
}

int pagestore_wasm2c_memory(pagestore_wasm2c *wasm2c, const char *name,
                            const pagestore_memory_options *given, wasm_rt_memory_t *guest,
                            pagestore_memory **out) {
  pagestore_memory_options options;
  pagestore_memory *memory = NULL;
  memset(&options, 0, sizeof options);
  if (given) options = *given;
  options.size = sizeof options;
  options.guard_bytes = pagestore_wasm2c_guard(&options);
  /* 0: not known before it is open, an existing one keeps its own */
  uint64_t max_bytes = options.max_pages * PAGESTORE_PAGE;
  if (PAGESTORE_WASM2C_UNCHECKED && guest && !(options.flags & PAGESTORE_MEMORY64) &&
      max_bytes + options.guard_bytes < pagestore_wasm2c_reach)
    options.guard_bytes = pagestore_wasm2c_reach - max_bytes;
  int err = pagestore_memory_open(wasm2c->instance, name, &options, &memory);
  if (!err) err = pagestore_wasm2c_bind(wasm2c, memory, &options, guest);
  if (!err && out) *out = memory;
  return err;
}

/* ---- globals --------------------------------------------------------------------------------- */

/* The key of a global; 256 bytes are enough for every key that the library takes. */
static int pagestore_wasm2c_key(const pagestore_wasm2c_global *global, char key[256]) {
  static const char prefix[] = "module.global.";
  size_t length = strlen(global->name);
  if (length == 0 || length > 241 || global->bytes > 16) return PAGESTORE_EINVAL;
  memcpy(key, prefix, sizeof prefix - 1);
  memcpy(key + sizeof prefix - 1, global->name, length + 1);
  return 0;
}

int pagestore_wasm2c_save_globals(pagestore_wasm2c *wasm2c) {
  for (size_t i = 0; i < wasm2c->global_count; i++) {
    const pagestore_wasm2c_global *global = &wasm2c->globals[i];
    char key[256];
    uint8_t stored[16];
    size_t length = 0;
    int err = pagestore_wasm2c_key(global, key);
    if (err) return err;
    err = pagestore_metadata_get(wasm2c->instance, key, stored, sizeof stored, &length);
    if (err == 0 && length == global->bytes && memcmp(stored, global->at, length) == 0) continue;
    if (err && err != PAGESTORE_ENOTFOUND && err != PAGESTORE_EBOUNDS) return err;
    if ((err = pagestore_metadata_set(wasm2c->instance, key, global->at, global->bytes)) != 0)
      return err;
  }
  return 0;
}

int pagestore_wasm2c_load_globals(pagestore_wasm2c *wasm2c) {
  int result = 0;
  for (size_t i = 0; i < wasm2c->global_count; i++) {
    const pagestore_wasm2c_global *global = &wasm2c->globals[i];
    char key[256];
    uint8_t stored[16];
    size_t length = 0;
    int err = pagestore_wasm2c_key(global, key);
    if (!err) err = pagestore_metadata_get(wasm2c->instance, key, stored, sizeof stored, &length);
    if (err == PAGESTORE_EBOUNDS || (!err && length != global->bytes)) err = PAGESTORE_ETYPE;
    if (!err) memcpy(global->at, stored, length);
    if (err && err != PAGESTORE_ENOTFOUND) return err;
    if (err) result = err;
  }
  return result;
}

int pagestore_wasm2c_commit(pagestore_wasm2c *wasm2c, unsigned flags, uint64_t *version) {
  int err = pagestore_wasm2c_save_globals(wasm2c);
  return err ? err : pagestore_commit(wasm2c->instance, flags, version);
}

int pagestore_wasm2c_rollback(pagestore_wasm2c *wasm2c) {
  int err = pagestore_rollback(wasm2c->instance);
  if (!err) err = pagestore_wasm2c_refresh(wasm2c);
  return err ? err : pagestore_wasm2c_load_globals(wasm2c);
}

/* ---- 2 calls --------------------------------------------------------------------------------- */

PAGESTORE_WASM2C_THREAD pagestore_wasm2c_frame *pagestore_wasm2c_top;
PAGESTORE_WASM2C_THREAD int pagestore_wasm2c_prepared;
/* the lowest address of this thread's stack */
PAGESTORE_WASM2C_THREAD uintptr_t pagestore_wasm2c_stack;
#if PAGESTORE_WASM2C_EXCEPTIONS
PAGESTORE_WASM2C_THREAD WASM_RT_UNWIND_TARGET *pagestore_wasm2c_unwind;
#endif

#if PAGESTORE_WASM2C_WABT >= 1033
#define PAGESTORE_WASM2C_DEPTH_STORAGE WASM_RT_THREAD_LOCAL
#else
#define PAGESTORE_WASM2C_DEPTH_STORAGE
#endif
#if (defined(WASM_RT_STACK_DEPTH_COUNT) && WASM_RT_STACK_DEPTH_COUNT) ||                           \
    (defined(WASM_RT_USE_STACK_DEPTH_COUNT) && WASM_RT_USE_STACK_DEPTH_COUNT)
#define PAGESTORE_WASM2C_COUNTS_DEPTH 1
PAGESTORE_WASM2C_DEPTH_STORAGE uint32_t wasm_rt_call_stack_depth;
#else
#define PAGESTORE_WASM2C_COUNTS_DEPTH 0
#endif

/* Once a thread: signals open, alternate stack there, and where the stack ends (glibc reads /proc
 * for the first thread). */
static int pagestore_wasm2c_prepare_thread(void) {
  if (pagestore_wasm2c_prepared) return 0;
  pthread_attr_t attributes;
  void *lowest = NULL;
  size_t bytes = 0;
  int err = pagestore_thread_prepare();
  if (err) return err;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return PAGESTORE_ENOMEM;
  pthread_attr_getstack(&attributes, &lowest, &bytes);
  pthread_attr_destroy(&attributes);
  pagestore_wasm2c_stack = (uintptr_t)lowest;
  pagestore_wasm2c_prepared = 1;
  return 0;
}

/* Not inlined: gcc would see a local's address kept, and not that leave takes it back on both ways
 * out. */
__attribute__((noinline)) int pagestore_wasm2c_enter(pagestore_wasm2c_frame *frame,
                                                     pagestore_wasm2c *wasm2c) {
  int err = pagestore_wasm2c_prepare_thread();
  if (err) return err;
  frame->outer = pagestore_wasm2c_top;
  frame->wasm2c = wasm2c;
  frame->code = 0;
  frame->depth = 0;
  frame->unwind_target = NULL;
#if PAGESTORE_WASM2C_COUNTS_DEPTH
  frame->depth = wasm_rt_call_stack_depth;
#endif
#if PAGESTORE_WASM2C_EXCEPTIONS
  frame->unwind_target = pagestore_wasm2c_unwind;
  pagestore_wasm2c_unwind = NULL;
#endif
  pagestore_wasm2c_top = frame;
  return 0;
}

int pagestore_wasm2c_leave(pagestore_wasm2c_frame *frame) {
#if PAGESTORE_WASM2C_COUNTS_DEPTH
  wasm_rt_call_stack_depth = frame->depth;
#endif
#if PAGESTORE_WASM2C_EXCEPTIONS
  pagestore_wasm2c_unwind = (WASM_RT_UNWIND_TARGET *)frame->unwind_target;
#endif
  pagestore_wasm2c_top = frame->outer;
  return frame->code;
}

int pagestore_wasm2c_call(pagestore_wasm2c *wasm2c, void (*body)(void *env), void *env) {
  pagestore_wasm2c_frame frame;
  int err = pagestore_wasm2c_enter(&frame, wasm2c);
  if (err) return err;
  if (setjmp(frame.back) == 0) body(env);
  return pagestore_wasm2c_leave(&frame);
}

static WASM_RT_NO_RETURN void pagestore_wasm2c_end(int code) {
  pagestore_wasm2c_frame *frame = pagestore_wasm2c_top;
  if (!frame) abort(); /* generated code outside of a call: there is no frame to return to */
  frame->code = code;
  longjmp(frame->back, 1);
}

WASM_RT_NO_RETURN void wasm_rt_trap(wasm_rt_trap_t code) { pagestore_wasm2c_end((int)code); }

/* ---- 3 faults -------------------------------------------------------------------------------- */

/* Memories that a module defines itself, or that the host allocates unbound. Never unlinked, so the
 * handler needs no lock. */
typedef struct pagestore_wasm2c_range {
  struct pagestore_wasm2c_range *next;
  uintptr_t base, bytes; /* bytes 0: free for the next allocation */
} pagestore_wasm2c_range;
static pagestore_wasm2c_range *pagestore_wasm2c_ranges;
static struct sigaction pagestore_wasm2c_before_segv, pagestore_wasm2c_before_bus;

/* The trap that an access to this address is, in the innermost call; 0: not ours. */
static int pagestore_wasm2c_trap_of(uintptr_t address) {
  const pagestore_wasm2c_frame *frame = pagestore_wasm2c_top;
  if (!frame) return 0;
  for (size_t i = 0; i < frame->wasm2c->count; i++) {
    const pagestore_wasm2c_bound *bound = &frame->wasm2c->memories[i];
    uint64_t offset = address - (uintptr_t)bound->base;
    if (offset >= bound->reserved_bytes) continue;
    int inside = offset / PAGESTORE_PAGE < pagestore_memory_pages(bound->memory);
    return inside ? (int)PAGESTORE_WASM2C_PAGE : (int)WASM_RT_TRAP_OOB;
  }
  for (pagestore_wasm2c_range *range = __atomic_load_n(&pagestore_wasm2c_ranges, __ATOMIC_ACQUIRE);
       range; range = range->next)
    if (address - range->base < __atomic_load_n(&range->bytes, __ATOMIC_ACQUIRE))
      return WASM_RT_TRAP_OOB;
  /* The guard below the stack: what the kernel leaves free below the first thread's is 1 MiB. */
  if (address - (pagestore_wasm2c_stack - (1u << 20)) < (1u << 20) + 65536)
    return WASM_RT_TRAP_EXHAUSTION;
  return 0;
}

/* As the kernel would have called it. Should the one before be the library's, it knows that it was
 * asked already. */
static void pagestore_wasm2c_chain(int number, siginfo_t *info, void *context) {
  struct sigaction *before = number == SIGBUS ? &pagestore_wasm2c_before_bus
                                              : &pagestore_wasm2c_before_segv;
  int handled = before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN;
  if (!handled) {
    signal(number, SIG_DFL);
    if (info->si_code <= 0) raise(number); /* sent, not met: returning would not meet it again */
    return;
  }
  if (before->sa_flags & SA_SIGINFO) before->sa_sigaction(number, info, context);
  else before->sa_handler(number);
}

static void pagestore_wasm2c_handle(int number, siginfo_t *info, void *context) {
  int saved_errno = errno;
  int code = info->si_code > 0 ? pagestore_wasm2c_trap_of((uintptr_t)info->si_addr) : 0;
  if (code) {
    /* Who called us may have blocked signals; the guest's own mask goes on. */
    pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
    pagestore_wasm2c_end(code);
  }
  pagestore_wasm2c_chain(number, info, context);
  errno = saved_errno;
}

/* Ours first, then the library's in front of it: loads and tracked writes never come here. */
static int pagestore_wasm2c_install(void) {
  static int installed;
  int err = 0;
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  if (!installed) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = pagestore_wasm2c_handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, &pagestore_wasm2c_before_segv) != 0 ||
        sigaction(SIGBUS, &action, &pagestore_wasm2c_before_bus) != 0)
      err = PAGESTORE_EIO;
    installed = err == 0;
    if (!err) err = pagestore_handlers();
  }
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
  return err;
}

int pagestore_wasm2c_start(pagestore_wasm2c *wasm2c, pagestore_instance *instance) {
  if (!wasm2c || !instance || wasm2c->count) return PAGESTORE_EINVAL;
  int err = pagestore_wasm2c_install();
  if (!err) err = pagestore_wasm2c_prepare_thread();
  if (!err) wasm2c->instance = instance;
  return err;
}

void pagestore_wasm2c_stop(pagestore_wasm2c *wasm2c) {
  for (size_t i = 0; i < wasm2c->count; i++) {
    if (!wasm2c->memories[i].guest) continue;
    pagestore_wasm2c_table_remove(&wasm2c->memories[i]);
    memset(wasm2c->memories[i].guest, 0, sizeof *wasm2c->memories[i].guest);
  }
  wasm2c->count = 0;
}

#ifdef __cplusplus
}
#endif
#include <pagestore/wasm2c_guest.h>
#endif
