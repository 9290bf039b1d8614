/* heap.c - see heap.h. At most LISTS_MAX lists at a time come from here, the others from the heap. */
#include "heap.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

enum { LISTS_MAX = 8, LIST_ENTRIES = 1 << 17, LIST_ENTRY_BYTES = 16, LIST_BYTES = LIST_ENTRIES * LIST_ENTRY_BYTES };

static _Atomic uintptr_t lists[LISTS_MAX];

void *__real_calloc(size_t count, size_t size);
void __real_free(void *at);
void __wrap_free(void *at);

void *heap_calloc(size_t count, size_t size) {
  if (count != LIST_ENTRIES || size != LIST_ENTRY_BYTES) return __real_calloc(count, size);
  void *at = mmap(NULL, LIST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; at != MAP_FAILED && i < LISTS_MAX; i++) {
    uintptr_t none = 0;
    if (atomic_compare_exchange_strong(&lists[i], &none, (uintptr_t)at)) return at;
  }
  if (at != MAP_FAILED) munmap(at, LIST_BYTES);
  return __real_calloc(count, size);
}

void __wrap_free(void *at) {
  for (int i = 0; at && (uintptr_t)at % 4096 == 0 && i < LISTS_MAX; i++) {
    uintptr_t own = (uintptr_t)at;
    if (!atomic_compare_exchange_strong(&lists[i], &own, 0)) continue;
    munmap(at, LIST_BYTES);
    return;
  }
  __real_free(at);
}
