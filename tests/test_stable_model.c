/* test_stable_model.c - the stable-memory calls against a model of plain arrays.
 *
 * Random messages, committed, rolled back and found again after reopening, leave what the model says and count the same blocks on
 * every tracker. SEED in the environment chooses others.
 *
 * ctest: TIMEOUT 240
 */
#include "stable_fixture.h"
#include "stable_model.h"

/* ---- random messages --------------------------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t roll(void) { /* splitmix64 */
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}
static uint64_t below(uint64_t limit) { return roll() % limit; }

/* Places where something happens: both ends, 4 GiB, and few pages in between. */
static uint64_t place(uint64_t pages) {
  const uint64_t ends[] = {0, 3, 65535, 65536, pages ? pages - 1 : 0};
  uint64_t page = ends[below(5)] + below(3);
  return page * PAGESTORE_PAGE + (below(2) ? below(PAGESTORE_PAGE) : 4096 * below(16) - below(12));
}

static uint64_t some_bytes(void) {
  const uint64_t most[] = {1, 12, 12, 12, 100, 5000, 200000, 3 * MIB / 2};
  return below(most[below(8)]) + below(2);
}

static void one_copy(guest *g, model *m) {
  model_copy c = {.address = below(8) ? below(HEAP_BYTES) : HEAP_BYTES - below(20),
                  .offset = place(m->pages),
                  .bytes = below(50) ? some_bytes() : roll(),
                  .write = below(2),
                  .small = below(3) == 0};
  if (c.small) c.address = (uint32_t)c.address, c.offset = (uint32_t)c.offset, c.bytes = (uint32_t)c.bytes;
  uint32_t address = (uint32_t)c.address, offset = (uint32_t)c.offset, bytes = (uint32_t)c.bytes;
  int trap;
  if (c.small && c.write) trap = pagestore_stable_write(g->calls, offset, address, bytes);
  else if (c.small) trap = pagestore_stable_read(g->calls, address, offset, bytes);
  else if (c.write) trap = pagestore_stable64_write(g->calls, c.offset, c.address, c.bytes);
  else trap = pagestore_stable64_read(g->calls, c.address, c.offset, c.bytes);
  assert_int_equal(trap, model_run(m, c));
}

static void one_growth(guest *g, model *m) {
  const uint64_t steps[] = {0,         1,     2, 65536 - (m->pages < 65536 ? m->pages : 0), 40000, MAX_PAGES - m->pages,
                            MAX_PAGES, roll()};
  uint64_t more = steps[below(8)], expected = 0, old = 0;
  uint32_t old32 = 0;
  bool small = below(3) == 0;
  int trap = model_grow(m, small ? (uint32_t)more : more, small, &expected);
  if (small) assert_int_equal(pagestore_stable_grow(g->calls, (uint32_t)more, &old32), trap);
  else assert_int_equal(pagestore_stable64_grow(g->calls, more, &old), trap);
  assert_int_equal(small ? old32 : old, expected);
}

/* The guest's own stores. */
static void scribble(guest *g, model *m) {
  uint64_t address = below(HEAP_BYTES - 64), word = roll();
  for (unsigned i = 0; i < 8; i++) {
    memcpy(pagestore_memory_base(g->heap) + address + 8 * i, &word, 8);
    memcpy(m->heap + address + 8 * i, &word, 8);
  }
}

static void one_message(guest *g, model *m) {
  for (uint64_t left = below(40); left; left--) {
    if (below(20) == 0) one_growth(g, m);
    else if (below(4) == 0) scribble(g, m);
    else one_copy(g, m);
  }
  assert_int_equal(accessed(g), m->accessed);
  assert_int_equal(dirtied(g), m->dirtied);
  bool keep = below(3) > 0;
  if (keep) host_commit(&g->h);
  else assert_ok(pagestore_rollback(g->h.instance));
  model_end(m, keep);
}

static void assert_same(guest *g, const model *m) {
  const uint64_t ends[] = {0, 3, 65535, 65536, m->pages ? m->pages - 1 : 0};
  assert_int_equal(pagestore_memory_pages(g->stable), m->pages);
  assert_memory_equal(pagestore_memory_base(g->heap), m->heap, HEAP_BYTES);
  for (unsigned i = 0; i < 5; i++)
    for (uint64_t page = ends[i]; page < ends[i] + 27 && page < m->pages; page++)
      if (memcmp(pagestore_memory_base(g->stable) + page * PAGESTORE_PAGE, m->stable + page * PAGESTORE_PAGE,
                 PAGESTORE_PAGE) != 0)
        fail_msg("page %llu differs", (unsigned long long)page);
}

static void messages_follow_the_model(pagestore_tracker tracker, uint32_t flags, uint64_t seed) {
  static model m;
  guest g = {.h.options.tracker = tracker, .stable_flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP | flags};
  random_state = seed;
  model_open(&m, HEAP_PAGES, MAX_PAGES);
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
static void model_mprotect(void **state) {
  (void)state, messages_follow_the_model(PAGESTORE_TRACK_MPROTECT, 0, seed());
}
static void model_explicit(void **state) {
  (void)state, messages_follow_the_model(PAGESTORE_TRACK_AUTO, PAGESTORE_EXPLICIT, seed());
}

/* A kernel without them has its own skip. */
static bool has_tracker(pagestore_tracker tracker) {
  host h = {.options.tracker = tracker};
  folder_make(&h);
  bool has = false;
  if (host_open_store(&h) == 0) {
    pagestore_memory *m;
    assert_ok(pagestore_instance_open(h.store, "i",
                                      PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                                      &h.instance));
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
      cmocka_unit_test(model_auto),     cmocka_unit_test(model_scan),     cmocka_unit_test(model_fault),
      cmocka_unit_test(model_mprotect), cmocka_unit_test(model_explicit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
