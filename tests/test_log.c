/* test_log.c - block records through the public header: what is in the log alone is there for whoever looks, whatever becomes of the log.
 *
 * ctest: TIMEOUT 120
 *
 * A page is filled once, as a page record; then blocks of it are written one by one, which go to the log. Proven: a fork takes what is
 * logged along, also when its layers are copied because they are too deep; a log without room is emptied, and stays so.
 */
#include "host_fixture.h"

enum { PAGES = 8, LAYERS = 32, LOGGED_PAGES = 3 };
#define LOG_NEVER_FULL (64 * MIB)

static void start(host *h, uint64_t log_bytes) {
  *h = (host){ .options = { .log_bytes = log_bytes } };
  folder_make(h);
  host_open(h, PAGES);
  for (uint64_t page = 0; page < PAGES; page++) put(h, page, 1);
  host_commit(h);
}

static void finish(host *h) {
  assert_ok(host_close(h));
  folder_remove(h);
}

/* ---- one block of a page, of another tag ------------------------------------------------------------------------------------- */

static void put_block(uint8_t *base, uint64_t page, unsigned block, uint64_t tag) {
  uint8_t bytes[PAGESTORE_PAGE];
  fill_page(bytes, page, tag);
  memcpy(base + page * PAGESTORE_PAGE + block * PAGESTORE_BLOCK, bytes + block * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
}

static bool block_is(const uint8_t *base, uint64_t page, unsigned block, uint64_t tag) {
  uint8_t bytes[PAGESTORE_PAGE];
  fill_page(bytes, page, tag);
  size_t at = block * PAGESTORE_BLOCK;
  return memcmp(base + page * PAGESTORE_PAGE + at, bytes + at, PAGESTORE_BLOCK) == 0;
}

static void assert_page_with_block(const uint8_t *base, uint64_t page, uint64_t tag, unsigned changed, uint64_t changed_tag) {
  for (unsigned block = 0; block < PAGESTORE_PAGE / PAGESTORE_BLOCK; block++)
    if (!block_is(base, page, block, block == changed ? changed_tag : tag))
      fail_msg("page %llu block %u has other bytes", (unsigned long long)page, block);
}

static pagestore_instance *open_named(host *h, const char *name, const char *snapshot, uint8_t **base) {
  pagestore_instance *i;
  pagestore_memory *m;
  assert_ok(pagestore_instance_open(h->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = snapshot), &i));
  assert_ok(pagestore_memory_open(i, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &m));
  *base = pagestore_memory_base(m);
  return i;
}

/* ---- forks ------------------------------------------------------------------------------------------------------------------- */

/* Each restore is a layer over the one before. */
static void go_deep(host *h) {
  for (int layer = 1; layer < LAYERS; layer++) {
    assert_ok(pagestore_snapshot_create(h->instance, "s", 0));
    assert_ok(pagestore_restore(h->instance, "s"));
    host_commit(h);
    assert_ok(pagestore_snapshot_drop(h->store, "i", "s", 0));
  }
}

static void check_fork(host *h) {
  uint8_t *base;
  uint64_t last = PAGES; /* logged, and no page record under it */
  pagestore_instance *fork = open_named(h, "fork", NULL, &base);
  for (uint64_t page = 0; page < LOGGED_PAGES; page++) assert_page_with_block(base, page, 1, 5, 2);
  assert_page_with_block(base, LOGGED_PAGES, 1, 7, 3);
  for (uint64_t page = LOGGED_PAGES + 1; page < PAGES; page++) assert_true(page_is(base + page * PAGESTORE_PAGE, page, 1));
  assert_page_with_block(base, last, 0, 5, 2);
  pagestore_instance_close(fork);
}

static void fork_with_log(bool deep) {
  host h;
  pagestore_instance *fork;
  pagestore_memory *m;
  start(&h, LOG_NEVER_FULL);
  if (deep) go_deep(&h);
  assert_ok(pagestore_memory_grow(h.memory, 1, NULL));
  for (uint64_t page = 0; page < LOGGED_PAGES; page++) put_block(h.base, page, 5, 2);
  put_block(h.base, PAGES, 5, 2);
  host_commit(&h);
  assert_true(host_stats(&h).log_bytes > 0);
  assert_ok(pagestore_fork(h.instance, "fork", NULL, &fork));
  assert_ok(pagestore_memory_open(fork, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &m));
  put_block(pagestore_memory_base(m), LOGGED_PAGES, 7, 3);
  assert_ok(pagestore_commit(fork, 0, NULL));
  pagestore_instance_close(fork);
  check_fork(&h);
  assert_ok(host_close(&h));
  host_open(&h, PAGES);
  check_fork(&h);
  finish(&h);
}

static void test_fork(void **state) {
  (void)state;
  fork_with_log(false);
}

static void test_deep_fork(void **state) {
  (void)state;
  fork_with_log(true);
}

static void commit_page(pagestore_instance *i, uint8_t *base, uint64_t page, uint64_t tag) {
  fill_page(base + page * PAGESTORE_PAGE, page, tag);
  assert_ok(pagestore_commit(i, 0, NULL));
}

/* A page is in its source's log alone, and zeros in the fork, over and over: merging what the source has writes a row
 * that the fork could see. */
static void test_zeros_over_the_source(void **state) {
  (void)state;
  host h;
  pagestore_instance *fork;
  pagestore_memory *m;
  start(&h, LOG_NEVER_FULL);
  assert_ok(pagestore_memory_grow(h.memory, 2, NULL));
  put_block(h.base, PAGES, 5, 2), put_block(h.base, PAGES + 1, 5, 2);
  host_commit(&h);
  assert_ok(pagestore_fork(h.instance, "fork", NULL, &fork));
  assert_ok(pagestore_memory_open(fork, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &m));
  uint8_t *base = pagestore_memory_base(m);
  for (uint64_t tag = 3; tag < 6; tag++) commit_page(fork, base, PAGES, 0), commit_page(fork, base, PAGES, tag);
  commit_page(fork, base, PAGES, 0);
  commit_page(fork, base, PAGES + 1, 0);
  pagestore_instance_close(fork);
  for (int drained = 0; drained < 2; drained++) {
    pagestore_instance_info info = { .size = sizeof info };
    fork = open_named(&h, "fork", NULL, &base);
    for (uint64_t page = PAGES; page < PAGES + 2; page++) assert_true(page_is(base + page * PAGESTORE_PAGE, page, 0));
    assert_ok(pagestore_instance_stat(fork, &info));
    assert_int_equal(info.stored_pages, PAGES);
    pagestore_instance_close(fork);
    assert_ok(pagestore_drain(h.store, 10000));
  }
  finish(&h);
}

/* ---- snapshots ---------------------------------------------------------------------------------------------------------------- */

static uint64_t stored_pages(const host *h, const char *snapshot) {
  uint8_t *base;
  pagestore_instance_info info = { .size = sizeof info };
  pagestore_instance *view = open_named((host *)h, "i", snapshot, &base);
  for (uint64_t page = 0; page < PAGES - 1; page++) assert_page_with_block(base, page, 1, page < LOGGED_PAGES ? 5u : 16u, 2);
  assert_true(page_is(base + (PAGES - 1) * PAGESTORE_PAGE, PAGES - 1, 0));
  assert_page_with_block(base, PAGES, 0, 5, 2);
  assert_true(page_is(base + (PAGES + 1) * PAGESTORE_PAGE, PAGES + 1, 0));
  assert_ok(pagestore_instance_stat(view, &info));
  pagestore_instance_close(view);
  return info.stored_pages;
}

/* A view of what is in the log becomes a snapshot when the present has gone on: pages with a record and logged blocks, with logged
 * blocks alone, with a marker, with nothing. */
static void test_snapshot_of_an_old_view(void **state) {
  (void)state;
  host h;
  pagestore_instance *view;
  start(&h, LOG_NEVER_FULL);
  assert_ok(pagestore_snapshot_create(h.instance, "full", 0));
  assert_ok(pagestore_memory_grow(h.memory, 2, NULL));
  put(&h, PAGES - 1, 0);
  for (uint64_t page = 0; page < LOGGED_PAGES; page++) put_block(h.base, page, 5, 2);
  put_block(h.base, PAGES, 5, 2);
  host_commit(&h);
  assert_ok(pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  for (uint64_t page = 0; page < PAGES + 2; page++) put_block(h.base, page, 7, 3), put_block(h.base, page, 5, 3);
  host_commit(&h);
  assert_ok(pagestore_snapshot_create(view, "then", 0));
  pagestore_instance_close(view);
  assert_int_equal(stored_pages(&h, "then"), PAGES);
  assert_ok(pagestore_drain(h.store, 10000));
  assert_int_equal(stored_pages(&h, "then"), PAGES);
  assert_ok(host_close(&h));
  host_open(&h, PAGES);
  assert_int_equal(stored_pages(&h, "then"), PAGES);
  finish(&h);
}

/* ---- merging ----------------------------------------------------------------------------------------------------------------- */

static bool is_merged_within(const host *h, int ms) {
  while (ms-- > 0 && host_stats(h).log_bytes > 0) pause_ms(1);
  return host_stats(h).log_bytes == 0;
}

/* A log that may hold nothing is emptied at once, however little is in it: nothing of it is logged anew for ever. */
static void test_nothing_stays(void **state) {
  (void)state;
  host h;
  start(&h, 1);
  for (unsigned block = 0; block < 12; block++) {
    put_block(h.base, block % PAGES, block, 2);
    host_commit(&h);
    if (block % 3 == 0) assert_true(is_merged_within(&h, 5000));
  }
  assert_true(is_merged_within(&h, 5000));
  finish(&h);
}

static _Atomic unsigned told_of;

static void note_log(void *env, int level, const char *text) {
  (void)env;
  if (level == 1 && strlen(text) > 10) told_of++;
}

/* One instance's record is damaged on disk; what is logged of it cannot be merged. */
static const char marked[] = "metadata in the record of an instance";

static void damage_marked(const host *h) {
  FILE *file = fopen(h->file, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  size_t size = (size_t)ftell(file);
  char *bytes = malloc(size), *at = bytes;
  rewind(file);
  assert_int_equal(fread(bytes, 1, size, file), size);
  unsigned found = 0;
  for (; (at = memmem(at, size - (size_t)(at - bytes), marked, strlen(marked))) != NULL; at++, found++) {
    assert_int_equal(fseek(file, at - bytes, SEEK_SET), 0);
    fputc('M', file);
  }
  assert_true(found > 0);
  free(bytes);
  assert_int_equal(fclose(file), 0);
}

static void test_others_commit(void **state) {
  (void)state;
  host h;
  start(&h, LOG_NEVER_FULL);
  assert_ok(pagestore_metadata_set(h.instance, "key", marked, strlen(marked)));
  put_block(h.base, 1, 1, 2);
  host_commit(&h);
  assert_ok(host_close(&h));
  damage_marked(&h);
  h.options.log_bytes = 1;
  h.options.on_log = note_log;
  assert_ok(host_open_store(&h));
  pagestore_instance *other;
  pagestore_memory *m;
  assert_ok(pagestore_instance_open(h.store, "other", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &other));
  assert_ok(pagestore_memory_open(other, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .guard_bytes = MIB), &m));
  for (uint64_t i = 0; i < 50; i++) {
    put_block(pagestore_memory_base(m), i % PAGES, (unsigned)i % 16, i + 1);
    assert_ok(pagestore_commit(other, 0, NULL));
  }
  assert_true(host_stats(&h).log_bytes > 0);
  assert_true(told_of > 0);
  pagestore_instance_close(other);
  assert_ok(pagestore_close(h.store));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_fork),
    cmocka_unit_test(test_deep_fork),
    cmocka_unit_test(test_zeros_over_the_source),
    cmocka_unit_test(test_snapshot_of_an_old_view),
    cmocka_unit_test(test_nothing_stays),
    cmocka_unit_test(test_others_commit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
