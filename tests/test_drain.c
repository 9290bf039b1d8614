/* test_drain.c - a store whose log is emptied on request, and what is told of the log.
 *
 * ctest: LABELS threads
 * ctest: TIMEOUT 120
 *
 * Proven:
 * - after pagestore_drain every block is in a page record, the store says that it has no log, and handles, views and a reader of
 *   another handle see what they saw; also beside commits, which go on;
 * - the store's description and statistics tell the log's size, also of a store just opened;
 * - compact empties the log first; what it leaves is as small as the pages.
 */
#include <pthread.h>

#include "host_fixture.h"

enum { PAGES = 40, ROUNDS = 30 };

static uint64_t tags[PAGES];

/* One block of some pages, so that it goes to the log. */
static void write_blocks(host *h, uint64_t tag) {
  for (uint64_t page = tag % 3; page < PAGES; page += 3) {
    uint64_t at = page * PAGESTORE_PAGE + tag % 16 * PAGESTORE_BLOCK + 8 * (tag % 500);
    assert_ok(pagestore_memory_write(h->memory, at, &tag, sizeof tag));
    tags[page] = tag;
  }
  host_commit(h);
}

static void assert_blocks(pagestore_memory *m) {
  for (uint64_t page = 0; page < PAGES; page++) {
    uint64_t tag = tags[page], found;
    if (tag == 0) continue;
    assert_ok(pagestore_memory_read(m, page * PAGESTORE_PAGE + tag % 16 * PAGESTORE_BLOCK + 8 * (tag % 500), &found, sizeof found));
    assert_int_equal(found, tag);
  }
}

static pagestore_store_info look(pagestore_store *s) {
  pagestore_store_info info = {.size = sizeof info};
  assert_ok(pagestore_store_stat(s, &info));
  return info;
}

static void make(host *h, uint64_t rounds) {
  *h = (host){0};
  memset(tags, 0, sizeof tags);
  folder_make(h);
  host_open(h, PAGES);
  for (uint64_t tag = 1; tag <= rounds; tag++) write_blocks(h, tag);
}

static void end(host *h) {
  assert_ok(host_close(h));
  folder_remove(h);
}

static void the_log_is_told_and_emptied(void **state) {
  (void)state;
  host h;
  make(&h, ROUNDS);
  pagestore_store_info info = look(h.store);
  pagestore_statistics now = host_stats(&h);
  assert_true(info.log_records >= ROUNDS);
  assert_int_equal(info.log_bytes, info.log_records * 69616);
  assert_int_equal(now.log_bytes, info.log_bytes);
  assert_true(info.log_budget_bytes >= 4 * MIB && info.log_budget_bytes == now.log_budget_bytes);
  pagestore_instance *view;
  pagestore_memory *seen;
  assert_ok(pagestore_instance_open(h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  assert_ok(pagestore_drain(h.store, PAGESTORE_FOREVER));
  info = look(h.store);
  assert_int_equal(info.log_records | info.log_bytes | host_stats(&h).log_bytes, 0);
  assert_int_equal(host_stats(&h).pages_merged, PAGES);
  assert_ok(pagestore_memory_open(view, "m", PAGESTORE_WITH(pagestore_memory_options, .guard_bytes = MIB), &seen));
  assert_blocks(seen);  /* it holds the index that it was opened with */
  pagestore_instance_close(view);
  assert_blocks(h.memory);
  assert_ok(pagestore_drain(h.store, 0));
  write_blocks(&h, ROUNDS + 1);
  assert_true(look(h.store).log_records > 0);
  assert_ok(host_close(&h));
  host_open(&h, 0);
  assert_true(host_stats(&h).log_bytes == look(h.store).log_bytes && look(h.store).log_records > 0);
  assert_blocks(h.memory);
  assert_ok(pagestore_drain(h.store, 60000));
  assert_ok(host_close(&h));
  host_open(&h, 0);
  assert_int_equal(look(h.store).incompatible | look(h.store).log_records, 0);
  assert_blocks(h.memory);
  end(&h);
}

/* Without time it is only told whether there is something. */
static void no_time_to_drain(void **state) {
  (void)state;
  host h;
  make(&h, ROUNDS);
  assert_status(pagestore_drain(h.store, 0), PAGESTORE_ETIMEDOUT);
  assert_ok(pagestore_drain(h.store, PAGESTORE_FOREVER));
  assert_blocks(h.memory);
  assert_ok(host_close(&h));
  assert_status(pagestore_drain(NULL, 0), PAGESTORE_EINVAL);
  pagestore_store *s;
  assert_ok(pagestore_open(h.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &s));
  assert_status(pagestore_drain(s, 0), PAGESTORE_EREADONLY);
  assert_ok(pagestore_close(s));
  folder_remove(&h);
}

static _Atomic bool stop;

static void *write_on(void *env) {
  host *h = env;
  assert_ok(pagestore_thread_prepare());
  for (uint64_t tag = ROUNDS + 1; !stop; tag++) write_blocks(h, tag);
  return NULL;
}

static void beside_commits(void **state) {
  (void)state;
  host h;
  pthread_t writer;
  make(&h, ROUNDS);
  stop = false;
  assert_int_equal(pthread_create(&writer, NULL, write_on, &h), 0);
  for (int i = 0; i < 5; i++) {
    uint64_t before = pagestore_durable_version(h.instance);
    assert_ok(pagestore_drain(h.store, PAGESTORE_FOREVER));
    while (pagestore_durable_version(h.instance) < before + 3) pause_ms(1);
  }
  stop = true;
  pthread_join(writer, NULL);
  assert_blocks(h.memory);
  assert_ok(pagestore_drain(h.store, PAGESTORE_FOREVER));
  assert_blocks(h.memory);
  end(&h);
}

/* Opened without a log: what is there is merged by and by. */
static void without_a_log(void **state) {
  (void)state;
  host h;
  make(&h, 4);  /* pages with few blocks in the log */
  assert_ok(host_close(&h));
  h.options.log_bytes = PAGESTORE_NO_LOG;
  host_open(&h, 0);
  for (int i = 0; i < 10000 && host_stats(&h).log_bytes > 0; i++) pause_ms(1);
  assert_int_equal(host_stats(&h).log_bytes, 0);
  write_blocks(&h, ROUNDS + 1);
  assert_int_equal(look(h.store).log_records | look(h.store).incompatible, 0);
  assert_blocks(h.memory);
  end(&h);
}

static void compact_empties_it(void **state) {
  (void)state;
  host h;
  make(&h, ROUNDS);
  assert_ok(host_close(&h));
  assert_ok(pagestore_compact(h.path));
  struct stat st;
  assert_int_equal(stat(h.file, &st), 0);
  assert_true((uint64_t)st.st_size < (PAGES + 2) * 17 * 4096);
  host_open(&h, 0);
  assert_int_equal(look(h.store).log_records, 0);
  assert_blocks(h.memory);
  end(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_log_is_told_and_emptied),
    cmocka_unit_test(no_time_to_drain),
    cmocka_unit_test(beside_commits),
    cmocka_unit_test(without_a_log),
    cmocka_unit_test(compact_empties_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
