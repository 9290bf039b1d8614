/* test_transfer.c - what is sent arrives byte for byte, in one piece or in increments.
 *
 * ctest: TIMEOUT 300
 */
#include "transfer_fixture.h"

/* ---- round trips --------------------------------------------------------------------------- */

static pagestore_memory *open_here(const char *name, uint32_t flags, uint64_t pages,
                                   uint64_t max_pages) {
  pagestore_memory *m;
  assert_ok(
      pagestore_memory_open(here.instance, name,
                            PAGESTORE_WITH(pagestore_memory_options, .flags = flags, .pages = pages,
                                           .max_pages = max_pages, .guard_bytes = MIB),
                            &m));
  return m;
}

static void test_whole(void **state) {
  begin(state);
  uint8_t hash[32], big[3000];
  memset(hash, 7, sizeof hash);
  memset(big, 9, sizeof big);
  assert_ok(pagestore_upgrade(here.instance, hash));
  here.memory = open_here("m", 0, 8, 100);
  pagestore_memory *wide = open_here("wide", PAGESTORE_MEMORY64 | PAGESTORE_KEEP, 70000, 200000);
  open_here("none", 0, 0, 10);
  for (uint64_t page = 0; page < 8; page += 2) put(&here, page, page + 1);
  assert_ok(pagestore_memory_write(wide, 69999ull * PAGESTORE_PAGE + 65535, "x", 1));
  assert_ok(pagestore_metadata_set(here.instance, "counter", "12", 2));
  assert_ok(pagestore_metadata_set(here.instance, "empty", "", 0));
  assert_ok(pagestore_metadata_set(here.instance, "long", big, sizeof big));
  snapshot_named("a");
  pipe_buffer p = stream_of(NULL, "a");
  assert_true(p.size < 5 * PAGESTORE_PAGE + 8192); /* zeros are not sent */
  p.step = 1;
  assert_ok(receive_from(&p, "copy"));
  p.step = 0;
  assert_same("a", "copy");
  assert_status(receive_from(&p, "copy"), PAGESTORE_EEXIST);
  lookup found = find_instance(there.store, "copy");
  assert_memory_equal(found.info.module_hash, hash, 32);
  assert_int_equal(found.info.committed, 1);
  assert_int_equal(found.info.durable, 1);
  assert_int_equal(found.info.stored_pages, 5);
  reopen_there();
  assert_same("a", "copy");
  pipe_free(&p);
}

static void test_present_without_snapshot(void **state) {
  begin(state);
  pipe_buffer p = {.size = 0};
  assert_status(pagestore_send(NULL, here.instance, pipe_write, &p), PAGESTORE_ENOTFOUND);
  put(&here, 3, 5);
  assert_ok(pagestore_commit(here.instance, PAGESTORE_ASYNC, NULL));
  put(&here, 3, 6);
  assert_ok(pagestore_send(NULL, here.instance, pipe_write, &p));
  assert_ok(receive_from(&p, "copy"));
  pagestore_instance *copy = view_of(there.store, "copy", NULL);
  pagestore_memory *m;
  uint8_t page[PAGESTORE_PAGE];
  assert_ok(pagestore_memory_open(copy, "m", NULL, &m));
  assert_ok(pagestore_memory_read(m, 3 * PAGESTORE_PAGE, page, sizeof page));
  assert_true(page_is(page, 3, 5));
  pagestore_instance_close(copy);
  assert_status(pagestore_send(here.instance, here.instance, pipe_write, &p), PAGESTORE_EINVAL);
  pipe_free(&p);
}

/* Each step changes something of another kind; each goes over as an increment, some before they are
 * flushed. */
static void test_increments(void **state) {
  begin(state);
  uint8_t hash[32] = {1};
  pagestore_memory *other = open_here("other", PAGESTORE_KEEP, 4, 50);
  for (uint64_t page = 0; page < 8; page++) put(&here, page, page + 1);
  assert_ok(pagestore_memory_write(other, 0, "kept", 4));
  snapshot_named("a");
  send_over(NULL, "a", "copy");
  here.base[5 * PAGESTORE_PAGE + 8192] ^= 1;
  assert_ok(pagestore_memory_fill(here.memory, 2 * PAGESTORE_PAGE, 0, PAGESTORE_PAGE));
  assert_ok(pagestore_memory_grow(here.memory, 4, NULL));
  put(&here, 11, 3);
  assert_ok(pagestore_metadata_set(here.instance, "k", "v", 1));
  snapshot_named("b");
  pipe_buffer p = stream_of("a", "b");
  assert_true(p.size < 65536 + 3 * 4096); /* one block, a page of zeros, a page */
  assert_ok(receive_from(&p, "copy"));
  pipe_free(&p);
  assert_same("a", "copy");
  assert_same("b", "copy");
  assert_ok(pagestore_upgrade(here.instance, hash)); /* "m" is emptied, "other" stays */
  assert_ok(pagestore_memory_grow(here.memory, 6, NULL));
  put(&here, 1, 77);
  assert_ok(pagestore_memory_write(other, 100, "more", 4));
  open_here("new", 0, 3, 3);
  snapshot_named("c");
  send_over("b", "c", "copy");
  assert_same("c", "copy");
  assert_ok(pagestore_memory_delete(other));
  put(&here, 0, 78);
  snapshot_named("d");
  send_over("c", "d", "copy");
  snapshot_named("e"); /* nothing changed */
  send_over("d", "e", "copy");
  reopen_there();
  for (const char *name = "abcde"; *name; name++) assert_same((char[]){*name, 0}, "copy");
  assert_int_equal(find_instance(there.store, "copy").info.committed, 5);
  send_over(NULL, "e", "second");
}

static void test_skipping_increments(void **state) {
  begin(state);
  put(&here, 0, 1);
  snapshot_named("a");
  put(&here, 1, 2);
  snapshot_named("b");
  put(&here, 0, 0);
  snapshot_named("c");
  send_over(NULL, "a", "copy");
  send_over("a", "c", "copy");
  assert_same("c", "copy");
}

/* Backwards, too: what the base had beyond the end must not come up again when the memory grows. */
static void test_restore_shrinks(void **state) {
  begin(state);
  put(&here, 7, 1);
  snapshot_named("a");
  assert_ok(pagestore_memory_grow(here.memory, 8, NULL));
  put(&here, 12, 2);
  snapshot_named("b");
  assert_ok(pagestore_restore(here.instance, "a"));
  put(&here, 1, 3);
  snapshot_named("c");
  send_over(NULL, "b", "copy");
  send_over("b", "c", "copy");
  assert_same("c", "copy");
  assert_ok(pagestore_memory_grow(here.memory, 8, NULL));
  snapshot_named("d");
  send_over("c", "d", "copy");
  assert_same("d", "copy");
}

static void test_to_a_fork(void **state) {
  begin(state);
  put(&here, 0, 1);
  put(&here, 1, 1);
  snapshot_named("a");
  send_over(NULL, "a", "copy");
  pagestore_instance *base = view_of(here.store, "i", "a"), *fork;
  pagestore_memory *m;
  pipe_buffer p = {.size = 0};
  assert_ok(pagestore_fork(base, "fork", NULL, &fork));
  assert_ok(pagestore_memory_open(fork, "m", NULL, &m));
  fill_page(pagestore_memory_base(m), 0, 9);
  assert_ok(pagestore_commit(fork, 0, NULL));
  assert_ok(pagestore_snapshot_create(fork, "forked", 0));
  pagestore_instance *view = view_of(here.store, "fork", "forked");
  assert_ok(pagestore_send(base, view, pipe_write, &p));
  assert_true(p.size < 2 * PAGESTORE_PAGE);
  assert_ok(receive_from(&p, "copy"));
  pagestore_instance *copy = view_of(there.store, "copy", "forked");
  compare_bytes(view, copy, "m");
  pagestore_instance_close(copy);
  pagestore_instance_close(view);
  pagestore_instance_close(base);
  pagestore_instance_close(fork);
  pipe_free(&p);
}

static void test_from_a_store_open_for_reading(void **state) {
  begin(state);
  put(&here, 0, 1);
  snapshot_named("a");
  put(&here, 4, 2);
  snapshot_named("b");
  pagestore_instance_close(here.instance);
  assert_ok(pagestore_close(here.store));
  assert_ok(pagestore_open(here.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ),
                           &here.store));
  send_over(NULL, "a", "copy");
  send_over("a", "b", "copy");
  assert_same("b", "copy");
  pipe_buffer p = stream_of(NULL, "b");
  assert_status(pagestore_receive(here.store, "x", pipe_read, &p), PAGESTORE_EREADONLY);
  pipe_free(&p);
  here.instance = NULL;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_whole),
      TEST(test_present_without_snapshot),
      TEST(test_increments),
      TEST(test_skipping_increments),
      TEST(test_restore_shrinks),
      TEST(test_to_a_fork),
      TEST(test_from_a_store_open_for_reading),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
