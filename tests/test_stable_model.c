/* test_stable_model.c - the stable-memory calls against a model of plain arrays.
 *
 * Random messages, committed, rolled back and found again after reopening, leave what the model says and count the same blocks on
 * every tracker. SEED in the environment chooses others.
 *
 * ctest: TIMEOUT 240
 */
#include "stable_fixture.h"

/* ---- the model --------------------------------------------------------------------------------------------------------------- */

/* Both memories as they are, and as they were at the last boundary; sparse, as the memory is. */
typedef struct {
  uint8_t *heap, *stable, *committed_heap, *committed;
  uint64_t pages, committed_pages;
  uint64_t state;
  uint8_t *touched;     /* of each block of the stable memory: 1 accessed, 2 dirtied in this message */
  uint64_t list[1 << 16], listed, accessed, dirtied;
} model;

static uint64_t roll(model *m) { /* splitmix64 */
  uint64_t z = m->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}
static uint64_t below(model *m, uint64_t limit) { return roll(m) % limit; }

static uint8_t *sparse(uint64_t bytes) {
  uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(at != MAP_FAILED);
  return at;
}

static void model_open(model *m, uint64_t seed) {
  memset(m, 0, sizeof *m);
  m->state = seed;
  m->heap = sparse(HEAP_BYTES);
  m->committed_heap = sparse(HEAP_BYTES);
  m->stable = sparse((uint64_t)MAX_PAGES * PAGESTORE_PAGE);
  m->committed = sparse((uint64_t)MAX_PAGES * PAGESTORE_PAGE);
  m->touched = sparse((uint64_t)MAX_PAGES * 16);
}

static void model_close(model *m) {
  munmap(m->heap, HEAP_BYTES);
  munmap(m->committed_heap, HEAP_BYTES);
  munmap(m->stable, (uint64_t)MAX_PAGES * PAGESTORE_PAGE);
  munmap(m->committed, (uint64_t)MAX_PAGES * PAGESTORE_PAGE);
  munmap(m->touched, (uint64_t)MAX_PAGES * 16);
}

static void model_touch(model *m, uint64_t offset, uint64_t bytes, bool write) {
  for (uint64_t block = offset / 4096; bytes && block <= (offset + bytes - 1) / 4096; block++) {
    if (!m->touched[block]) m->list[m->listed++] = block;
    assert_true(m->listed < sizeof m->list / sizeof *m->list);
    m->accessed += !(m->touched[block] & 1);
    m->dirtied += write && !(m->touched[block] & 2);
    m->touched[block] |= write ? 3 : 1;
  }
}

static void model_end(model *m, bool keep) {
  for (uint64_t i = 0; i < m->listed; i++) {
    uint64_t at = m->list[i] * 4096;
    if (keep) memcpy(m->committed + at, m->stable + at, 4096);
    else memcpy(m->stable + at, m->committed + at, 4096);
    m->touched[m->list[i]] = 0;
  }
  if (keep) memcpy(m->committed_heap, m->heap, HEAP_BYTES);
  else memcpy(m->heap, m->committed_heap, HEAP_BYTES);
  if (keep) m->committed_pages = m->pages;
  else m->pages = m->committed_pages;
  m->listed = m->accessed = m->dirtied = 0;
}

/* Places where something happens: both ends, 4 GiB, and few pages in between. */
static uint64_t place(model *m, uint64_t pages) {
  const uint64_t ends[] = { 0, 3, 65535, 65536, pages ? pages - 1 : 0 };
  uint64_t page = ends[below(m, 5)] + below(m, 3);
  return page * PAGESTORE_PAGE + (below(m, 2) ? below(m, PAGESTORE_PAGE) : 4096 * below(m, 16) - below(m, 12));
}

static uint64_t some_bytes(model *m) {
  const uint64_t most[] = { 1, 12, 12, 12, 100, 5000, 200000, 3 * MIB / 2 };
  return below(m, most[below(m, 8)]) + below(m, 2);
}

static void one_copy(guest *g, model *m) {
  uint64_t address = below(m, 8) ? below(m, HEAP_BYTES) : HEAP_BYTES - below(m, 20), offset = place(m, m->pages);
  uint64_t bytes = below(m, 50) ? some_bytes(m) : roll(m), size = m->pages * PAGESTORE_PAGE;
  bool write = below(m, 2), small = below(m, 3) == 0;
  if (small) address = (uint32_t)address, offset = (uint32_t)offset, bytes = (uint32_t)bytes;
  int expected = bytes == 0                                          ? 0
                 : small && m->pages > 65536                         ? PAGESTORE_STABLE_LARGE
                 : offset > size || bytes > size - offset            ? PAGESTORE_STABLE_BOUNDS
                 : address > HEAP_BYTES || bytes > HEAP_BYTES - address ? PAGESTORE_STABLE_HEAP
                                                                     : 0;
  int trap;
  if (small && write) trap = pagestore_stable_write(g->calls, (uint32_t)offset, (uint32_t)address, (uint32_t)bytes);
  else if (small) trap = pagestore_stable_read(g->calls, (uint32_t)address, (uint32_t)offset, (uint32_t)bytes);
  else if (write) trap = pagestore_stable64_write(g->calls, offset, address, bytes);
  else trap = pagestore_stable64_read(g->calls, address, offset, bytes);
  assert_int_equal(trap, expected);
  if (trap || bytes == 0) return;
  model_touch(m, offset, bytes, write);
  if (write) memcpy(m->stable + offset, m->heap + address, bytes);
  else memcpy(m->heap + address, m->stable + offset, bytes);
}

static void one_growth(guest *g, model *m) {
  const uint64_t steps[] = { 0, 1, 2, 65536 - (m->pages < 65536 ? m->pages : 0), 40000, MAX_PAGES - m->pages, MAX_PAGES, roll(m) };
  uint64_t more = steps[below(m, 8)], expected = more <= MAX_PAGES - m->pages ? m->pages : UINT64_MAX;
  if (below(m, 3)) {
    assert_int_equal(grown(g, more), expected);
    if (expected != UINT64_MAX) m->pages += more;
    return;
  }
  uint32_t old = 0, more32 = (uint32_t)more;
  int trap = pagestore_stable_grow(g->calls, more32, &old);
  assert_int_equal(trap, m->pages > 65536 ? PAGESTORE_STABLE_LARGE : 0);
  if (trap) return;
  bool fits = m->pages + more32 <= 65536;
  assert_int_equal(old, fits ? m->pages : UINT32_MAX);
  if (fits) m->pages += more32;
}

/* The guest's own stores. */
static void scribble(guest *g, model *m) {
  uint64_t address = below(m, HEAP_BYTES - 64), word = roll(m);
  for (unsigned i = 0; i < 8; i++) {
    memcpy(pagestore_memory_base(g->heap) + address + 8 * i, &word, 8);
    memcpy(m->heap + address + 8 * i, &word, 8);
  }
}

static void one_message(guest *g, model *m) {
  for (uint64_t left = below(m, 40); left; left--) {
    if (below(m, 20) == 0) one_growth(g, m);
    else if (below(m, 4) == 0) scribble(g, m);
    else one_copy(g, m);
  }
  assert_int_equal(accessed(g), m->accessed);
  assert_int_equal(dirtied(g), m->dirtied);
  bool keep = below(m, 3) > 0;
  if (keep) host_commit(&g->h);
  else assert_ok(pagestore_rollback(g->h.instance));
  model_end(m, keep);
}

static void assert_same(guest *g, const model *m) {
  const uint64_t ends[] = { 0, 3, 65535, 65536, m->pages ? m->pages - 1 : 0 };
  assert_int_equal(pagestore_memory_pages(g->stable), m->pages);
  assert_memory_equal(pagestore_memory_base(g->heap), m->heap, HEAP_BYTES);
  for (unsigned i = 0; i < 5; i++)
    for (uint64_t page = ends[i]; page < ends[i] + 27 && page < m->pages; page++)
      if (memcmp(pagestore_memory_base(g->stable) + page * PAGESTORE_PAGE, m->stable + page * PAGESTORE_PAGE, PAGESTORE_PAGE) != 0)
        fail_msg("page %llu differs", (unsigned long long)page);
}

static void messages_follow_the_model(pagestore_tracker tracker, uint32_t flags, uint64_t seed) {
  static model m;
  guest g = { .h.options.tracker = tracker, .stable_flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP | flags };
  model_open(&m, seed);
  open_guest(&g);
  host_commit(&g.h);
  for (unsigned round = 0; round < 6; round++) {
    for (unsigned i = 0; i < 40; i++) one_message(&g, &m);
    assert_same(&g, &m);
    close_guest(&g);
    open_guest(&g);
    assert_same(&g, &m);
  }
  finish_guest(&g);
  model_close(&m);
}

static uint64_t seed(void) {
  const char *text = getenv("SEED");
  return text ? strtoull(text, NULL, 10) : 20261122;
}

static void model_auto(void **state) { (void)state, messages_follow_the_model(PAGESTORE_TRACK_AUTO, 0, seed()); }
static void model_mprotect(void **state) { (void)state, messages_follow_the_model(PAGESTORE_TRACK_MPROTECT, 0, seed()); }
static void model_explicit(void **state) { (void)state, messages_follow_the_model(PAGESTORE_TRACK_AUTO, PAGESTORE_EXPLICIT, seed()); }

/* A kernel without them has its own skip. */
static bool has_tracker(pagestore_tracker tracker) {
  host h = { .options.tracker = tracker };
  folder_make(&h);
  bool has = false;
  if (host_open_store(&h) == 0) {
    pagestore_memory *m;
    assert_ok(pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h.instance));
    has = pagestore_memory_open(h.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .max_pages = 1), &m) == 0;
    assert_ok(host_close(&h));
  }
  folder_remove(&h);
  return has;
}

static void model_scan(void **state) {
  (void)state;
  if (!has_tracker(PAGESTORE_TRACK_SCAN)) skip();
  messages_follow_the_model(PAGESTORE_TRACK_SCAN, 0, seed());
}

static void model_fault(void **state) {
  (void)state;
  if (!has_tracker(PAGESTORE_TRACK_FAULT)) skip();
  messages_follow_the_model(PAGESTORE_TRACK_FAULT, 0, seed());
}

int main(void) {
  engine_install();
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(model_auto), cmocka_unit_test(model_scan), cmocka_unit_test(model_fault), cmocka_unit_test(model_mprotect),
    cmocka_unit_test(model_explicit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
