/* region_fixture.h - a region over an array instead of a store, a guest whose traps come back, and a commit that
 * checks that no dirty block was missed.
 *
 * Invariant: `committed` is what the source serves; `expected` is what the guest must see.
 */
#ifndef PAGESTORE_TESTS_REGION_FIXTURE_H
#define PAGESTORE_TESTS_REGION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/faults.h"
#include "base/units.h"
#include "vm/region.h"

typedef struct {
  region *r;
  region_budget budget;
  region_options options;
  uint8_t *committed, *expected;
  uint64_t committed_pages, room_pages, served;
  uint64_t bad_page;  /* fails with bad_status */
  int bad_status, begin_status, open_cursors;
} fixture;

/* ---- the source ------------------------------------------------------------------------------------------------- */

static int fixture_begin(void *env, void **cursor) {
  fixture *f = env;
  if (f->begin_status != 0) return f->begin_status;
  f->open_cursors++;
  *cursor = f;
  return 0;
}

static int fixture_page(void *env, void *cursor, uint64_t page, const uint8_t **bytes) {
  fixture *f = env;
  if (cursor != f || f->open_cursors != 1) abort();
  if (page == f->bad_page) return f->bad_status;
  f->served++;
  const uint8_t *at = f->committed + page * PAGE_BYTES;
  bool is_zero = page >= f->committed_pages || (at[0] == 0 && memcmp(at, at + 1, PAGE_BYTES - 1) == 0);
  *bytes = is_zero ? NULL : at;
  return 0;
}

static void fixture_end(void *env, void *cursor) {
  fixture *f = env;
  if (cursor != f) abort();
  f->open_cursors--;
}

/* ---- the guest -------------------------------------------------------------------------------------------------- */

static _Thread_local sigjmp_buf guest_trap;
static _Thread_local volatile int guest_runs, guest_signal;

static void engine_handler(int signal, siginfo_t *info, void *context) {
  (void)info, (void)context;
  if (!guest_runs) _exit(99);
  guest_signal = signal;
  siglongjmp(guest_trap, 1);
}

/* As an engine that is there first. cmocka puts its own handlers in front at the start of each test, so each test says so
 * again, from its main thread only: others may be in the middle of a fault. */
static void engine_install(void) {
  if (gettid() != getpid()) return;
  struct sigaction action = { .sa_sigaction = engine_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  assert_int_equal(faults_reinstall(), 0);
}

/* False: it trapped. */
static __attribute__((unused)) bool guest_store(fixture *f, uint64_t at, uint8_t value) {
  if (sigsetjmp(guest_trap, 1) != 0) {
    guest_runs = 0;
    return false;
  }
  guest_runs = 1;
  *(volatile uint8_t *)(region_base(f->r) + at) = value;
  guest_runs = 0;
  f->expected[at] = value;
  return true;
}

static __attribute__((unused)) bool guest_load(fixture *f, uint64_t at, uint8_t *value) {
  if (sigsetjmp(guest_trap, 1) != 0) {
    guest_runs = 0;
    return false;
  }
  guest_runs = 1;
  *value = *(volatile uint8_t *)(region_base(f->r) + at);
  guest_runs = 0;
  return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static __attribute__((unused)) void fixture_fill(uint8_t *at, uint64_t pages) {
  for (uint64_t p = 0; p < pages; p++)
    if (p % 4 != 3) /* every fourth page is of zeros */
      for (uint64_t i = 0; i < PAGE_BYTES; i++) at[p * PAGE_BYTES + i] = (uint8_t)(1 + p + i / 64);
}

static __attribute__((unused)) int fixture_open(fixture *f, pagestore_tracker tracker, uint64_t pages,
                                                uint64_t max_pages) {
  uint64_t limit = f->budget.limit_bytes;
  engine_install();
  f->room_pages = max_pages;
  f->committed = calloc(max_pages, PAGE_BYTES);
  f->expected = calloc(max_pages, PAGE_BYTES);
  fixture_fill(f->committed, pages);
  memcpy(f->expected, f->committed, pages * PAGE_BYTES);
  f->committed_pages = pages;
  f->bad_page = UINT64_MAX;
  f->budget.limit_bytes = limit != 0 ? limit : UINT64_MAX;
  f->options.pages = pages;
  f->options.max_pages = max_pages;
  f->options.tracker = tracker;
  f->options.source = (region_source){ fixture_begin, fixture_page, fixture_end, f };
  f->options.budget = &f->budget;
  return region_open(&f->options, &f->r);
}

static __attribute__((unused)) void fixture_close(fixture *f) {
  region_close(f->r);
  assert_int_equal(f->budget.resident_bytes, 0);
  assert_int_equal(f->budget.mappings, 0);
  assert_int_equal(f->open_cursors, 0);
  free(f->committed);
  free(f->expected);
  *f = (fixture){ 0 };
}

static __attribute__((unused)) void fixture_check(fixture *f) {
  assert_true(region_is_valid(f->r));
  for (uint64_t p = 0; p < region_pages(f->r); p++)
    assert_memory_equal(region_base(f->r) + p * PAGE_BYTES, f->expected + p * PAGE_BYTES, PAGE_BYTES);
}

/* What an owner does: narrows what is inexact, takes the dirty blocks, and no others. */
static __attribute__((unused)) uint64_t fixture_seal(fixture *f) {
  region_dirty d;
  uint64_t blocks = 0;
  for (uint64_t from = 0; region_dirty_next(f->r, from, &d); from = d.page + 1) {
    uint64_t at = d.page * PAGE_BYTES;
    if (!d.exact) {
      uint16_t differ = 0;
      for (unsigned b = 0; b < PAGE_BLOCKS; b++)
        if (memcmp(region_base(f->r) + at + b * BLOCK_BYTES, f->committed + at + b * BLOCK_BYTES, BLOCK_BYTES) != 0)
          differ |= (uint16_t)(1u << b);
      region_narrow(f->r, d.page, differ);
      d.blocks &= differ;
    }
    for (unsigned b = 0; b < PAGE_BLOCKS; b++) {
      if (!(d.blocks >> b & 1)) continue;
      memcpy(f->committed + at + b * BLOCK_BYTES, region_base(f->r) + at + b * BLOCK_BYTES, BLOCK_BYTES);
      blocks++;
    }
  }
  return blocks;
}

/* The check: what was taken makes `committed` equal to what the guest wrote. */
static __attribute__((unused)) uint64_t fixture_commit(fixture *f) {
  assert_int_equal(region_collect(f->r), 0);
  uint64_t blocks = fixture_seal(f);
  f->committed_pages = region_pages(f->r);
  region_clean(f->r);
  assert_memory_equal(f->committed, f->expected, f->committed_pages * PAGE_BYTES);
  return blocks;
}

static __attribute__((unused)) void fixture_rollback(fixture *f) {
  assert_int_equal(region_resize(f->r, f->committed_pages), 0);
  region_rollback(f->r);
  memcpy(f->expected, f->committed, f->committed_pages * PAGE_BYTES);
  memset(f->expected + f->committed_pages * PAGE_BYTES, 0, (f->room_pages - f->committed_pages) * PAGE_BYTES);
}

#endif
