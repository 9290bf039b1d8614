/* test_describe.c - the walks for tools and reporting hosts: memories of a handle, stored blocks,
 * history, the store itself. */
#include "tests/host_fixture.h"

enum { SEEN_MAX = 16 };
typedef struct {
  unsigned count, stop_at; /* stop_at: the call that says stop; 0: none */
  char name[SEEN_MAX][64];
  uint64_t a[SEEN_MAX], b[SEEN_MAX], c[SEEN_MAX];
} seen;

static int note(seen *s, const char *name, uint64_t a, uint64_t b, uint64_t c) {
  assert_true(s->count < SEEN_MAX);
  snprintf(s->name[s->count], sizeof s->name[0], "%s", name);
  s->a[s->count] = a;
  s->b[s->count] = b;
  s->c[s->count] = c;
  return ++s->count == s->stop_at ? 7 : 0;
}

static int note_memory(void *env, const pagestore_memory_info *m) {
  assert_int_equal(m->size, sizeof *m);
  return note(env, m->name, m->flags, m->pages, m->stored_pages);
}

static int note_history(void *env, const pagestore_history_info *i) {
  assert_int_equal(i->size, sizeof *i);
  assert_true(i->time_ns > 0);
  return note(env, i->snapshot ? i->snapshot : "-", i->version, i->pages, i->stored_pages);
}

static int note_run(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  return note(env, pagestore_memory_name(m), offset / PAGESTORE_PAGE, length / PAGESTORE_PAGE, 0);
}

static void host_start(host *h, uint64_t pages) {
  *h = (host){0};
  folder_make(h);
  host_open(h, pages);
}

static void host_end(host *h) {
  pagestore_instance_close(h->instance);
  assert_ok(pagestore_close(h->store));
  folder_remove(h);
}

static void memories_are_those_of_the_open_message(void **state) {
  (void)state;
  host h;
  host_start(&h, 3);
  put(&h, 1, 5);
  seen s = {0};
  assert_ok(pagestore_memory_each(h.instance, note_memory, &s));
  assert_int_equal(s.count, 1);
  assert_int_equal(s.b[0], 3);
  assert_int_equal(s.c[0], 0); /* nothing is durable yet */
  assert_ok(pagestore_commit(h.instance, 0, NULL));

  pagestore_memory *m;
  assert_ok(pagestore_memory_open(h.instance, "a",
                                  PAGESTORE_WITH(pagestore_memory_options,
                                                 .flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP,
                                                 .pages = 1, .max_pages = 9, .guard_bytes = MIB),
                                  &m));
  assert_ok(
      pagestore_memory_open(h.instance, "v",
                            PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_VOLATILE,
                                           .pages = 1, .max_pages = 9, .guard_bytes = MIB),
                            &m));
  assert_ok(pagestore_memory_grow(h.memory, 2, NULL));
  s = (seen){0};
  assert_ok(pagestore_memory_each(h.instance, note_memory, &s));
  assert_int_equal(s.count, 2);
  assert_string_equal(s.name[0], "a");
  assert_int_equal(s.a[0], PAGESTORE_MEMORY64 | PAGESTORE_KEEP);
  assert_string_equal(s.name[1], "m");
  assert_int_equal(s.b[1], 5);
  assert_int_equal(s.c[1], 1);

  pagestore_instance *view;
  assert_ok(pagestore_instance_open(
      h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  s = (seen){0};
  assert_ok(pagestore_memory_each(view, note_memory, &s));
  assert_int_equal(s.count, 1);
  assert_int_equal(s.b[0], 3);
  pagestore_instance_close(view);

  assert_ok(pagestore_snapshot_create(h.instance, "one page", 0));
  put(&h, 2, 6);
  assert_ok(pagestore_commit(h.instance, 0, NULL));
  assert_ok(pagestore_restore(h.instance, "one page"));
  s = (seen){0};
  assert_ok(pagestore_memory_each(h.instance, note_memory, &s));
  assert_int_equal(s.count, 1);
  assert_int_equal(s.c[0], 1); /* the snapshot's */
  assert_ok(pagestore_rollback(h.instance));

  s = (seen){.stop_at = 1};
  assert_status(pagestore_memory_each(h.instance, note_memory, &s), PAGESTORE_EABORTED);
  assert_int_equal(s.count, 1);
  assert_status(pagestore_memory_each(h.instance, NULL, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_memory_each(NULL, note_memory, &s), PAGESTORE_EINVAL);
  host_end(&h);
}

/* Metadata and tables that their records do not hold, of snapshots, too. */
static void history_of_large_states(void **state) {
  (void)state;
  static uint8_t large[5000];
  host h;
  host_start(&h, 1);
  for (unsigned n = 0; n < 60; n++) {
    pagestore_memory *m;
    char name[64];
    snprintf(name, sizeof name, "a memory of which there are many %u", n);
    assert_ok(pagestore_memory_open(h.instance, name, PAGESTORE_WITH(pagestore_memory_options, .max_pages = 1, .guard_bytes = PAGESTORE_PAGE), &m));
  }
  host_commit(&h);
  assert_ok(pagestore_snapshot_create(h.instance, "many memories", 0));
  assert_ok(pagestore_metadata_set(h.instance, "large", large, sizeof large));
  host_commit(&h);
  assert_ok(pagestore_snapshot_create(h.instance, "large metadata, too", 0));
  seen s = {0};
  assert_ok(pagestore_history_each(h.store, "i", note_history, &s));
  assert_int_equal(s.count, 3);
  assert_string_equal(s.name[0], "many memories");
  assert_string_equal(s.name[1], "large metadata, too");
  host_end(&h);
}

/* The callback may delete what it is told of: the walk goes on behind it. */
static int delete_memory(void *env, const pagestore_memory_info *info) {
  pagestore_instance *i = env;
  pagestore_memory *m;
  assert_ok(pagestore_memory_open(i, info->name, NULL, &m));
  assert_ok(pagestore_memory_delete(m));
  return 0;
}

static void memories_may_go_during_the_walk(void **state) {
  (void)state;
  host h;
  host_start(&h, 1);
  for (char name[] = "a"; name[0] < 'h'; name[0]++) {
    pagestore_memory *m;
    assert_ok(pagestore_memory_open(h.instance, name,
                                    PAGESTORE_WITH(pagestore_memory_options, .pages = 1,
                                                   .guard_bytes = MIB),
                                    &m));
  }
  assert_ok(pagestore_memory_each(h.instance, delete_memory, h.instance));
  seen s = {0};
  assert_ok(pagestore_memory_each(h.instance, note_memory, &s));
  assert_int_equal(s.count, 0);
  host_end(&h);
}

static void check_stored(host *h, const uint64_t *runs, unsigned count) {
  seen s = {0};
  assert_ok(pagestore_memory_blocks(h->memory, PAGESTORE_BLOCKS_STORED, note_run, &s));
  assert_int_equal(s.count, count);
  for (unsigned i = 0; i < count; i++) {
    assert_string_equal(s.name[i], "m");
    assert_int_equal(s.a[i], runs[2 * i]);
    assert_int_equal(s.b[i], runs[2 * i + 1]);
  }
}

static void stored_blocks_are_those_of_the_last_boundary(void **state) {
  (void)state;
  host h;
  host_start(&h, 400);
  check_stored(&h, NULL, 0);
  for (uint64_t page = 100; page < 300; page++) put(&h, page, page);
  put(&h, 0, 1);
  put(&h, 399, 1);
  check_stored(&h, NULL, 0);
  assert_ok(pagestore_commit(h.instance, PAGESTORE_ASYNC, NULL));
  const uint64_t runs[] = {0, 1, 100, 200, 399, 1};
  check_stored(&h, runs, 3); /* sealed, perhaps not flushed: the same */
  assert_ok(pagestore_sync(h.store, PAGESTORE_FOREVER));
  check_stored(&h, runs, 3);
  put(&h, 50, 1);
  check_stored(&h, runs, 3);
  assert_ok(pagestore_rollback(h.instance));
  check_stored(&h, runs, 3);
  seen s = {.stop_at = 2};
  assert_status(pagestore_memory_blocks(h.memory, PAGESTORE_BLOCKS_STORED, note_run, &s),
                PAGESTORE_EABORTED);
  assert_int_equal(s.count, 2);
  pagestore_memory *m;
  assert_ok(
      pagestore_memory_open(h.instance, "v",
                            PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_VOLATILE,
                                           .pages = 1, .guard_bytes = MIB),
                            &m));
  s = (seen){0};
  assert_ok(pagestore_memory_blocks(m, PAGESTORE_BLOCKS_STORED, note_run, &s));
  assert_int_equal(s.count, 0);
  host_end(&h);
}

/* The callback may use the memory, and commit: no reader is held. */
typedef struct {
  host *host;
  unsigned calls;
} committing;

static int commit_inside(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  committing *c = env;
  uint64_t word;
  (void)length;
  assert_ok(pagestore_memory_read(m, offset, &word, sizeof word));
  put(c->host, 1, 100 + c->calls++);
  assert_ok(pagestore_commit(c->host->instance, 0, NULL));
  return 0;
}

static void stored_blocks_callback_may_commit(void **state) {
  (void)state;
  host h;
  host_start(&h, 400);
  for (uint64_t page = 0; page < 400; page += 2) put(&h, page, page + 1);
  assert_ok(pagestore_commit(h.instance, 0, NULL));
  committing c = {.host = &h};
  assert_ok(pagestore_memory_blocks(h.memory, PAGESTORE_BLOCKS_STORED, commit_inside, &c));
  assert_int_equal(c.calls, 200);
  host_end(&h);
}

static void history_is_by_version_with_the_present_last(void **state) {
  (void)state;
  host h;
  host_start(&h, 2);
  static const char *const names[] = {"z", "m", "a"};
  for (unsigned i = 0; i < 3; i++) {
    put(&h, 0, i + 1);
    if (i == 2) put(&h, 1, 1);
    assert_ok(pagestore_commit(h.instance, 0, NULL));
    assert_ok(pagestore_snapshot_create(h.instance, names[i], 0));
  }
  seen s = {0};
  assert_ok(pagestore_history_each(h.store, "i", note_history, &s));
  assert_int_equal(s.count, 4);
  for (unsigned i = 0; i < 3; i++) {
    assert_string_equal(s.name[i], names[i]);
    assert_int_equal(s.a[i], i + 1);
    assert_int_equal(s.b[i], 2);
    assert_int_equal(s.c[i], i == 2 ? 2 : 1);
  }
  assert_string_equal(s.name[3], "-");
  assert_int_equal(s.a[3], 3);
  s = (seen){.stop_at = 3};
  assert_status(pagestore_history_each(h.store, "i", note_history, &s), PAGESTORE_EABORTED);
  assert_int_equal(s.count, 3);
  assert_status(pagestore_history_each(h.store, "j", note_history, &s), PAGESTORE_ENOTFOUND);
  assert_status(pagestore_history_each(h.store, "", note_history, &s), PAGESTORE_EINVAL);
  assert_status(pagestore_history_each(h.store, "i", NULL, NULL), PAGESTORE_EINVAL);
  host_end(&h);
}

static void store_is_described_as_it_is_on_disk(void **state) {
  (void)state;
  host h;
  host_start(&h, 1);
  pagestore_store_info info = {.size = sizeof info};
  assert_ok(pagestore_store_stat(h.store, &info));
  assert_int_equal(info.instances, 0);
  uint64_t before, after;
  assert_ok(pagestore_transaction(h.store, &before));
  put(&h, 0, 1);
  assert_ok(pagestore_commit(h.instance, 0, NULL));
  assert_ok(pagestore_transaction(h.store, &after));
  assert_true(after > before);
  assert_ok(pagestore_snapshot_create(h.instance, "s", 0));
  assert_ok(pagestore_store_stat(h.store, &info));
  assert_int_equal(info.size, sizeof info);
  assert_int_equal(info.format_version, 1);
  assert_int_equal(info.instances, 1);
  assert_int_equal(info.snapshots, 1);
  assert_int_equal(info.layers, 1);
  assert_int_equal(info.incompatible | info.read_only | info.compatible, 0);
  assert_true(info.created_ns > 0 && info.file_bytes > PAGESTORE_PAGE &&
              info.map_bytes >= info.file_bytes);
  assert_true(info.free_bytes < info.file_bytes && info.free_largest_run <= info.free_bytes);

  struct {
    pagestore_store_info info;
    uint64_t newer;
  } longer = {.info.size = sizeof longer, .newer = 9};
  assert_ok(pagestore_store_stat(h.store, &longer.info));
  assert_int_equal(longer.info.size, sizeof longer);
  assert_int_equal(longer.newer, 0);
  info.size = 0;
  assert_status(pagestore_store_stat(h.store, &info), PAGESTORE_EINVAL);
  assert_status(pagestore_store_stat(h.store, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_store_stat(NULL, &info), PAGESTORE_EINVAL);
  assert_status(pagestore_transaction(NULL, &before), PAGESTORE_EINVAL);
  assert_status(pagestore_transaction(h.store, NULL), PAGESTORE_EINVAL);
  host_end(&h);
}

static int note_instance(void *env, const pagestore_instance_info *i) {
  unsigned *count = env, number;
  assert_int_equal(sscanf(i->name, "n%u", &number), 1);
  assert_int_equal(number, *count);
  assert_int_equal(i->stored_pages, 1);
  ++*count;
  return 0;
}

/* More than the windows in which a reading store describes them. */
static void many_instances_are_listed_by_a_reader(void **state) {
  (void)state;
  enum { MANY = 1100 };
  host h = {0};
  folder_make(&h);
  assert_ok(host_open_store(&h));
  for (unsigned n = 0; n < MANY; n++) {
    char name[16];
    pagestore_instance *i;
    pagestore_memory *m;
    snprintf(name, sizeof name, "n%05u", n);
    assert_ok(pagestore_instance_open(
        h.store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i));
    assert_ok(pagestore_memory_open(i, "m",
                                    PAGESTORE_WITH(pagestore_memory_options, .pages = 1,
                                                   .max_pages = 1, .guard_bytes = MIB),
                                    &m));
    assert_ok(pagestore_memory_write(m, 0, name, sizeof name));
    assert_ok(pagestore_commit(i, PAGESTORE_ASYNC, NULL));
    pagestore_instance_close(i);
  }
  assert_ok(pagestore_close(h.store));
  assert_ok(
      pagestore_open(h.path,
                     PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | PAGESTORE_VERIFY),
                     &h.store));
  unsigned count = 0;
  assert_ok(pagestore_instance_each(h.store, NULL, note_instance, &count));
  assert_int_equal(count, MANY);
  count = 601;
  assert_ok(pagestore_instance_each(h.store, "n00600", note_instance, &count));
  assert_int_equal(count, MANY);
  assert_ok(pagestore_close(h.store));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memories_are_those_of_the_open_message),
      cmocka_unit_test(memories_may_go_during_the_walk),
      cmocka_unit_test(history_of_large_states),
      cmocka_unit_test(stored_blocks_are_those_of_the_last_boundary),
      cmocka_unit_test(stored_blocks_callback_may_commit),
      cmocka_unit_test(history_is_by_version_with_the_present_last),
      cmocka_unit_test(store_is_described_as_it_is_on_disk),
      cmocka_unit_test(many_instances_are_listed_by_a_reader),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
