/* test_kept_back.c - storage that was dropped is given back as its room is needed, not all at once: LMDB's free list stays short.
 *
 * - while 64 MiB are free the rest waits, whoever rests or commits little; the store says that there is some;
 * - what is written later finds the room: the file grows by little; a store without room uses all of it;
 * - drain gives all of it back; compact and a compact copy leave none in the file.
 *
 * ctest: TIMEOUT 300
 */
#include "host_fixture.h"

enum { LARGE = 3200, AT_ONCE = 64 }; /* pages: 200 MiB */
#define LARGE_BYTES (LARGE * (uint64_t)PAGESTORE_PAGE)
#define ENOUGH (64 * MIB)

static pagestore_store_info info_of(const host *h) {
  pagestore_store_info info = { .size = sizeof info };
  assert_ok(pagestore_store_stat(h->store, &info));
  return info;
}

/* Until the flusher has nothing more to do for now. */
static pagestore_store_info rested(const host *h) {
  pagestore_store_info now = info_of(h), before;
  do {
    before = now;
    pause_ms(200);
    now = info_of(h);
  } while (now.free_bytes != before.free_bytes || now.trash != before.trash);
  return now;
}

static int make_large(const host *h, const char *name, uint64_t tag) {
  pagestore_instance *i;
  pagestore_memory *m;
  assert_ok(pagestore_instance_open(h->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i));
  assert_ok(pagestore_memory_open(i, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = LARGE, .max_pages = LARGE), &m));
  uint8_t *base = pagestore_memory_base(m);
  int status = 0;
  for (uint64_t p = 0; p < LARGE && !status; p++) {
    fill_page(base + p * PAGESTORE_PAGE, p, tag);
    if (p % AT_ONCE == AT_ONCE - 1) status = pagestore_commit(i, 0, NULL);
  }
  pagestore_instance_close(i);
  return status;
}

static void assert_large(const host *h, const char *name, uint64_t tag) {
  pagestore_instance *i;
  pagestore_memory *m;
  assert_ok(pagestore_instance_open(h->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &i));
  assert_ok(pagestore_memory_open(i, "m", NULL, &m));
  uint8_t *base = pagestore_memory_base(m);
  for (uint64_t p = 0; p < LARGE; p++) assert_true(page_is(base + p * PAGESTORE_PAGE, p, tag));
  pagestore_instance_close(i);
}

static void open_empty(host *h) {
  folder_make(h);
  assert_ok(host_open_store(h));
}

static void close_and_remove(host *h) {
  assert_ok(pagestore_close(h->store));
  folder_remove(h);
}

static void assert_kept_back(pagestore_store_info info) {
  assert_true(info.trash);
  assert_in_range(info.free_bytes, ENOUGH / 2, 2 * ENOUGH);
}

/* What is written now finds the room: 64 MiB that are free, and what is given back as the file begins to grow. With nothing given back it
 * would grow by two thirds of what is written. */
static void assert_used_again(const host *h, const char *name, uint64_t tag) {
  uint64_t file = info_of(h).file_bytes;
  assert_ok(make_large(h, name, tag));
  assert_in_range(info_of(h).file_bytes, file, file + LARGE_BYTES / 2);
  assert_large(h, name, tag);
}

static void it_waits_until_it_is_needed(void **state) {
  (void)state;
  host h = { 0 };
  open_empty(&h);
  assert_ok(make_large(&h, "a", 1));
  assert_ok(pagestore_instance_delete(h.store, "a", 0));
  assert_kept_back(rested(&h));
  assert_used_again(&h, "b", 2);
  assert_ok(pagestore_instance_delete(h.store, "b", 0));
  assert_kept_back(rested(&h));
  assert_ok(pagestore_drain(h.store, 60000));
  pagestore_store_info drained = rested(&h);
  assert_false(drained.trash);
  assert_true(drained.free_bytes > LARGE_BYTES);
  close_and_remove(&h);
}

/* What an earlier process has left is known to the next one. */
static void it_is_found_again(void **state) {
  (void)state;
  host h = { 0 };
  open_empty(&h);
  assert_ok(make_large(&h, "a", 1));
  assert_ok(pagestore_instance_delete(h.store, "a", 0));
  assert_kept_back(rested(&h));
  assert_ok(pagestore_close(h.store));
  assert_ok(host_open_store(&h));
  assert_true(rested(&h).trash);
  assert_used_again(&h, "b", 2);
  close_and_remove(&h);
}

static void without_room_all_of_it_is_used(void **state) {
  (void)state;
  host h = { .options.map_bytes = LARGE_BYTES + LARGE_BYTES / 2 };
  open_empty(&h);
  for (uint64_t tag = 1; tag < 5; tag++) {
    assert_ok(make_large(&h, "a", tag));
    assert_large(&h, "a", tag);
    assert_ok(pagestore_instance_delete(h.store, "a", 0));
  }
  close_and_remove(&h);
}

static uint64_t bytes_of(const char *store) {
  char file[320];
  struct stat s;
  snprintf(file, sizeof file, "%s/data.mdb", store);
  assert_int_equal(stat(file, &s), 0);
  return (uint64_t)s.st_size;
}

static void a_compact_store_has_none(void **state) {
  (void)state;
  host h = { 0 };
  char copy[300];
  open_empty(&h);
  assert_ok(make_large(&h, "a", 1));
  assert_ok(pagestore_instance_delete(h.store, "a", 0));
  assert_kept_back(rested(&h));
  snprintf(copy, sizeof copy, "%s/copy", h.folder);
  assert_ok(pagestore_copy(h.store, copy, PAGESTORE_COMPACT));
  assert_in_range(bytes_of(copy), 1, 2 * MIB);
  assert_ok(make_large(&h, "a", 1));
  assert_ok(pagestore_instance_delete(h.store, "a", 0));
  assert_kept_back(rested(&h));
  assert_ok(pagestore_close(h.store));
  assert_true(bytes_of(h.path) > LARGE_BYTES);
  assert_ok(pagestore_compact(h.path));
  assert_in_range(bytes_of(h.path), 1, 2 * MIB);
  assert_ok(host_open_store(&h));
  assert_false(rested(&h).trash);
  close_and_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_waits_until_it_is_needed),
      cmocka_unit_test(it_is_found_again),
      cmocka_unit_test(without_room_all_of_it_is_used),
      cmocka_unit_test(a_compact_store_has_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
