/* scattered_store.h - a store whose free room is scattered, and further instances in it, for tests of full disks.
 *
 * To be included by one C file a program.
 */
#ifndef PAGESTORE_TESTS_SCATTERED_STORE_H
#define PAGESTORE_TESTS_SCATTERED_STORE_H

#include "host_fixture.h"

enum { PAGES = 24, OTHERS = 3 };

/* Version 1 has tag 1 everywhere, on pages that a few small commits have scattered over the file. */
static inline void scattered_store(host *h) {
  folder_make(h);
  host_open(h, PAGES);
  for (uint64_t p = 0; p < PAGES; p++) put(h, p, 1);
  assert_ok(pagestore_metadata_set(h->instance, "key", "one", 3));
  host_commit(h);
  for (uint64_t p = 0; p < PAGES; p += 5) {
    h->base[p * PAGESTORE_PAGE] ^= 1;
    host_commit(h);
    h->base[p * PAGESTORE_PAGE] ^= 1;
    host_commit(h);
  }
}

static inline void open_others(host *h, host others[OTHERS]) {
  char name[8];
  for (uintptr_t i = 0; i < OTHERS; i++) {
    others[i] = *h;
    snprintf(name, sizeof name, "o%u", (unsigned)i);
    assert_ok(pagestore_instance_open(h->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE, .user = (void *)(i + 1)), &others[i].instance));
    assert_ok(pagestore_memory_open(others[i].instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = 4, .guard_bytes = MIB), &others[i].memory));
    others[i].base = pagestore_memory_base(others[i].memory);
  }
}

static inline void commit_later(host *h, uint64_t tag) {
  for (uint64_t p = 0; p < 4; p++) put(h, p, tag);
  assert_ok(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL));
}

#endif
