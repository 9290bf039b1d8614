/* wasm2c_guest.h - the functions that generated code calls, in place of wabt's own runtime;
 * included by wasm2c_runtime.h only.
 *
 * Always true: what wasm-rt.h declares and a module without shared memories uses is here; errors
 *              that the guest must not see become traps, those that it may see are what the
 *              specification says (-1).
 * Thread:      memories, tables: their instance's; types and tags: any; exceptions: the thread's.
 * Owner:       a module's own memories and tables belong to it, until its _free function; bound
 *              memories to the library. */
#ifndef PAGESTORE_WASM2C_GUEST_H
#define PAGESTORE_WASM2C_GUEST_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- start, texts ---------------------------------------------------------------------------- */

void wasm_rt_init(void) { pagestore_wasm2c_install(); }
bool wasm_rt_is_initialized(void) { return true; }
void wasm_rt_free(void) {}
#if PAGESTORE_WASM2C_WABT >= 1033
void wasm_rt_init_thread(void) {}
void wasm_rt_free_thread(void) {}
#endif

const char *pagestore_wasm2c_strerror(int code) {
  if (code < 0) return pagestore_strerror(code);
  if (code == PAGESTORE_WASM2C_PAGE)
    return "a page of the memory cannot be had, or is read-only: pagestore_commit says why";
  if (code == PAGESTORE_WASM2C_GROW) return "memory.grow found no memory or met a quota";
  if (code >= PAGESTORE_STABLE_BOUNDS && code <= PAGESTORE_STABLE_MEMORY) return pagestore_stable_strerror(code);
  return wasm_rt_strerror((wasm_rt_trap_t)code);
}

const char *wasm_rt_strerror(wasm_rt_trap_t code) {
  if (code == WASM_RT_TRAP_NONE) return "no trap";
  if (code == WASM_RT_TRAP_OOB) return "access out of bounds of a memory or table";
  if (code == WASM_RT_TRAP_INT_OVERFLOW) return "integer overflow";
  if (code == WASM_RT_TRAP_DIV_BY_ZERO) return "integer division by zero";
  if (code == WASM_RT_TRAP_INVALID_CONVERSION) return "conversion of a value that is no integer";
  if (code == WASM_RT_TRAP_UNREACHABLE) return "unreachable executed";
  if (code == WASM_RT_TRAP_CALL_INDIRECT) return "indirect call of nothing or of another type";
  if (code == WASM_RT_TRAP_UNCAUGHT_EXCEPTION) return "exception not caught";
  if (code == WASM_RT_TRAP_EXHAUSTION) return "call stack exhausted";
  return "trap";
}

/* ---- memories -------------------------------------------------------------------------------- */

/* Bound: the library grows it, and -1 only where the guest is to see it. Unbound: inside its own
 * reservation. */
pagestore_wasm2c_pages wasm_rt_grow_memory(wasm_rt_memory_t *guest, pagestore_wasm2c_pages delta) {
  const pagestore_wasm2c_pages refused = (pagestore_wasm2c_pages)-1;
  pagestore_wasm2c_bound *bound = pagestore_wasm2c_find(guest);
  pagestore_wasm2c_pages old_pages = guest->pages;
  if (delta > guest->max_pages || old_pages > guest->max_pages - delta) return refused;
  if (bound) {
    int err = pagestore_memory_grow(bound->memory, delta, NULL);
    if (err && err != PAGESTORE_EBOUNDS) pagestore_wasm2c_end(PAGESTORE_WASM2C_GROW);
    if (err) return refused;
    pagestore_wasm2c_tell(bound, pagestore_memory_pages(bound->memory));
    return old_pages;
  }
  if (!pagestore_wasm2c_fits((uint64_t)old_pages + delta)) return refused;
  if (mprotect(guest->data + (size_t)old_pages * PAGESTORE_PAGE, (size_t)delta * PAGESTORE_PAGE,
               PROT_READ | PROT_WRITE))
    return refused;
  guest->pages = old_pages + delta;
  guest->size = (pagestore_wasm2c_pages)((uint64_t)guest->pages * PAGESTORE_PAGE);
  return old_pages;
}

/* A freed range's place in the list, or a new one at its head. */
static pagestore_wasm2c_range *pagestore_wasm2c_range_add(uintptr_t base, uintptr_t bytes) {
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  pagestore_wasm2c_range *range = pagestore_wasm2c_ranges;
  while (range && range->bytes) range = range->next;
  if (range) {
    range->base = base;
    __atomic_store_n(&range->bytes, bytes, __ATOMIC_RELEASE);
  } else if ((range = (pagestore_wasm2c_range *)malloc(sizeof *range)) != NULL) {
    range->next = pagestore_wasm2c_ranges;
    range->base = base;
    range->bytes = bytes;
    __atomic_store_n(&pagestore_wasm2c_ranges, range, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
  return range;
}

/* All that the maximum allows is reserved, so that data never moves: 64-bit ones may not exceed
 * address space. Without memory the size stays 0, where every access is out of bounds. */
static void pagestore_wasm2c_allocate(wasm_rt_memory_t *guest, uint64_t pages, uint64_t max_pages,
                                      int is64) {
  uint64_t most = is64 ? UINT64_C(1) << 20 : 65536;
  uint64_t bytes = pagestore_wasm2c_reach;
  memset(guest, 0, sizeof *guest);
  if (max_pages > most) max_pages = most;
  if (!pagestore_wasm2c_fits(max_pages)) max_pages = 65535;
  if (max_pages * PAGESTORE_PAGE > bytes) bytes = max_pages * PAGESTORE_PAGE;
  void *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return;
  if (mprotect(base, pages * PAGESTORE_PAGE, PROT_READ | PROT_WRITE) != 0 ||
      !pagestore_wasm2c_range_add((uintptr_t)base, bytes)) {
    munmap(base, bytes);
    return;
  }
  guest->data = (uint8_t *)base;
  guest->pages = (pagestore_wasm2c_pages)pages;
  guest->max_pages = (pagestore_wasm2c_pages)max_pages;
  guest->size = (pagestore_wasm2c_pages)(pages * PAGESTORE_PAGE);
#if PAGESTORE_WASM2C_WABT >= 1033
  guest->is64 = is64 != 0;
#endif
#if PAGESTORE_WASM2C_WABT >= 1037
  guest->page_size = PAGESTORE_PAGE;
#endif
#if PAGESTORE_WASM2C_WABT >= 1038
  guest->data_end = guest->data + bytes;
#endif
}

#if PAGESTORE_WASM2C_WABT >= 1037
void wasm_rt_allocate_memory(wasm_rt_memory_t *guest, uint64_t pages, uint64_t max_pages, bool is64,
                             uint32_t page_size) {
  memset(guest, 0, sizeof *guest);
  if (page_size == PAGESTORE_PAGE) pagestore_wasm2c_allocate(guest, pages, max_pages, is64);
}
#elif PAGESTORE_WASM2C_WABT >= 1033
void wasm_rt_allocate_memory(wasm_rt_memory_t *guest, uint64_t pages, uint64_t max_pages,
                             bool is64) {
  pagestore_wasm2c_allocate(guest, pages, max_pages, is64);
}
#else
void wasm_rt_allocate_memory(wasm_rt_memory_t *guest, uint32_t pages, uint32_t max_pages) {
  pagestore_wasm2c_allocate(guest, pages, max_pages, 0);
}
#endif

/* A bound memory is the instance's, not the module's: nothing to free. */
void wasm_rt_free_memory(wasm_rt_memory_t *guest) {
  if (!guest->data || pagestore_wasm2c_find(guest)) return;
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  for (pagestore_wasm2c_range *range = pagestore_wasm2c_ranges; range; range = range->next) {
    if (!range->bytes || range->base != (uintptr_t)guest->data) continue;
    uintptr_t bytes = range->bytes;
    __atomic_store_n(&range->bytes, 0, __ATOMIC_RELEASE);
    munmap(guest->data, bytes);
    break;
  }
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
  memset(guest, 0, sizeof *guest);
}

/* ---- tables, types, exceptions --------------------------------------------------------------- */

#define PAGESTORE_WASM2C_TABLE(type)                                                               \
  void wasm_rt_allocate_##type##_table(wasm_rt_##type##_table_t *table, uint32_t count,            \
                                       uint32_t max_count) {                                       \
    table->data = (wasm_rt_##type##_t *)calloc(count ? count : 1, sizeof *table->data);            \
    table->size = table->data ? count : 0;                                                         \
    table->max_size = max_count;                                                                   \
  }                                                                                                \
  void wasm_rt_free_##type##_table(wasm_rt_##type##_table_t *table) {                              \
    free(table->data);                                                                             \
    memset(table, 0, sizeof *table);                                                               \
  }                                                                                                \
  uint32_t wasm_rt_grow_##type##_table(wasm_rt_##type##_table_t *table, uint32_t delta,            \
                                       wasm_rt_##type##_t init) {                                  \
    uint32_t old_count = table->size;                                                              \
    uint64_t count = (uint64_t)old_count + delta;                                                  \
    if (count > table->max_size) return UINT32_MAX;                                                \
    if (delta == 0) return old_count;                                                              \
    void *data = realloc((void *)table->data, count * sizeof *table->data);                        \
    if (!data) return UINT32_MAX;                                                                  \
    table->data = (wasm_rt_##type##_t *)data;                                                      \
    table->size = (uint32_t)count;                                                                 \
    for (uint32_t i = old_count; i < count; i++) table->data[i] = init;                            \
    return old_count;                                                                              \
  }
PAGESTORE_WASM2C_TABLE(funcref)
PAGESTORE_WASM2C_TABLE(externref)

#if PAGESTORE_WASM2C_WABT < 1033
/* Equal signatures share a number, counted from 1. Types live as long as the process: modules share
 * them. */
typedef struct pagestore_wasm2c_type {
  struct pagestore_wasm2c_type *next;
  uint32_t number, params, results;
  wasm_rt_type_t *types; /* behind this, in the same allocation */
} pagestore_wasm2c_type;
static pagestore_wasm2c_type *pagestore_wasm2c_types;

static uint32_t pagestore_wasm2c_intern(pagestore_wasm2c_type *wanted) {
  pthread_mutex_lock(&pagestore_wasm2c_lock);
  size_t bytes = ((size_t)wanted->params + wanted->results) * sizeof wanted->types[0];
  pagestore_wasm2c_type *found = pagestore_wasm2c_types;
  while (found && (found->params != wanted->params || found->results != wanted->results ||
                   memcmp(found->types, wanted->types, bytes) != 0))
    found = found->next;
  if (found) {
    free(wanted);
  } else {
    wanted->number = pagestore_wasm2c_types ? pagestore_wasm2c_types->number + 1 : 1;
    wanted->next = pagestore_wasm2c_types;
    found = pagestore_wasm2c_types = wanted;
  }
  pthread_mutex_unlock(&pagestore_wasm2c_lock);
  return found->number;
}

/* 0, which no type has, when there is no memory: indirect calls of it trap. */
uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...) {
  uint32_t count = params + results;
  pagestore_wasm2c_type *wanted = (pagestore_wasm2c_type *)
      calloc(1, sizeof *wanted + count * sizeof(wasm_rt_type_t));
  if (!wanted) return 0;
  wanted->types = (wasm_rt_type_t *)(wanted + 1);
  wanted->params = params;
  wanted->results = results;
  va_list types;
  va_start(types, results);
  for (uint32_t i = 0; i < count; i++) wanted->types[i] = (wasm_rt_type_t)va_arg(types, int);
  va_end(types);
  return pagestore_wasm2c_intern(wanted);
}
#endif

#if PAGESTORE_WASM2C_EXCEPTIONS
#define PAGESTORE_WASM2C_EXCEPTION_BYTES 4096
PAGESTORE_WASM2C_THREAD struct {
  wasm_rt_tag_t tag;
  uint32_t bytes;
  uint8_t values[PAGESTORE_WASM2C_EXCEPTION_BYTES] __attribute__((aligned(16)));
} pagestore_wasm2c_exception;

#if PAGESTORE_WASM2C_WABT < 1033
uint32_t wasm_rt_register_tag(uint32_t bytes) {
  static uint32_t count;
  if (bytes > PAGESTORE_WASM2C_EXCEPTION_BYTES) wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
  return __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
}
#endif

void wasm_rt_load_exception(const wasm_rt_tag_t tag, uint32_t bytes, const void *values) {
  if (bytes > PAGESTORE_WASM2C_EXCEPTION_BYTES) wasm_rt_trap(WASM_RT_TRAP_EXHAUSTION);
  pagestore_wasm2c_exception.tag = tag;
  pagestore_wasm2c_exception.bytes = bytes;
  if (bytes) memcpy(pagestore_wasm2c_exception.values, values, bytes);
}

WASM_RT_NO_RETURN void wasm_rt_throw(void) {
  if (!pagestore_wasm2c_unwind) wasm_rt_trap(WASM_RT_TRAP_UNCAUGHT_EXCEPTION);
#if PAGESTORE_WASM2C_WABT >= 1033
  WASM_RT_LONGJMP(*pagestore_wasm2c_unwind, WASM_RT_TRAP_UNCAUGHT_EXCEPTION);
#else
  longjmp(*pagestore_wasm2c_unwind, WASM_RT_TRAP_UNCAUGHT_EXCEPTION);
#endif
}

WASM_RT_UNWIND_TARGET *wasm_rt_get_unwind_target(void) { return pagestore_wasm2c_unwind; }
void wasm_rt_set_unwind_target(WASM_RT_UNWIND_TARGET *target) { pagestore_wasm2c_unwind = target; }
wasm_rt_tag_t wasm_rt_exception_tag(void) { return pagestore_wasm2c_exception.tag; }
uint32_t wasm_rt_exception_size(void) { return pagestore_wasm2c_exception.bytes; }
void *wasm_rt_exception(void) { return pagestore_wasm2c_exception.values; }
#endif

#ifdef __cplusplus
}
#endif
#endif
