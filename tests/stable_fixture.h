/* stable_fixture.h - an instance with a heap and a stable memory, and the stable-memory calls over them.
 *
 * Thread: the test's.
 */
#ifndef PAGESTORE_TESTS_STABLE_FIXTURE_H
#define PAGESTORE_TESTS_STABLE_FIXTURE_H

#include "host_fixture.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <pagestore/stable.h>

enum { HEAP_PAGES = 40, MAX_PAGES = 65600 };
#define HEAP_BYTES ((uint64_t)HEAP_PAGES * PAGESTORE_PAGE)

typedef struct {
  host h;
  uint32_t stable_flags;
  uint64_t pages, max_pages;
  pagestore_stable_options options;
  pagestore_memory *heap, *stable;
  pagestore_stable *calls;
} guest;

static void open_instance(guest *g, uint32_t flags) {
  pagestore_memory_options heap = {.size = sizeof heap,
                                   .pages = HEAP_PAGES,
                                   .max_pages = HEAP_PAGES,
                                   .guard_bytes = MIB};
  pagestore_memory_options stable = {.size = sizeof stable,
                                     .pages = g->pages,
                                     .max_pages = g->max_pages,
                                     .guard_bytes = MIB,
                                     .flags = g->stable_flags};
  if (!stable.max_pages) stable.max_pages = MAX_PAGES;
  g->options.size = sizeof g->options;
  assert_ok(pagestore_instance_open(g->h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = flags),
                                    &g->h.instance));
  assert_ok(pagestore_memory_open(g->h.instance, "heap", &heap, &g->heap));
  assert_ok(pagestore_memory_open(g->h.instance, "stable", &stable, &g->stable));
  assert_ok(pagestore_stable_open(g->heap, g->stable, &g->options, &g->calls));
}

static UNUSED void open_guest(guest *g) {
  if (!g->stable_flags) g->stable_flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP;
  if (!g->h.folder[0]) folder_make(&g->h);
  assert_ok(host_open_store(&g->h));
  open_instance(g, PAGESTORE_CREATE);
}

static UNUSED void close_guest(guest *g) {
  pagestore_stable_close(g->calls);
  assert_ok(host_close(&g->h));
}

static UNUSED void finish_guest(guest *g) {
  close_guest(g);
  folder_remove(&g->h);
}

static UNUSED uint64_t grown(guest *g, uint64_t more) {
  uint64_t old = 77;
  assert_int_equal(pagestore_stable64_grow(g->calls, more, &old), 0);
  return old;
}

static UNUSED uint64_t grown32(guest *g, uint32_t more) {
  uint32_t old = 77;
  assert_int_equal(pagestore_stable_grow(g->calls, more, &old), 0);
  return old;
}

static UNUSED uint64_t accessed(guest *g) {
  uint64_t accessed, dirtied;
  pagestore_stable_counts(g->calls, &accessed, &dirtied);
  assert_true(dirtied <= accessed);
  return accessed;
}

static UNUSED uint64_t dirtied(guest *g) {
  uint64_t accessed, dirtied;
  pagestore_stable_counts(g->calls, &accessed, &dirtied);
  return dirtied;
}

#endif
