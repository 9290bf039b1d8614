/* log_damage_store.h - the store of test_log_damage.c: instances whose blocks lie in the log in all ways. Made through the public API.
 * In one test program.
 */
#ifndef TESTS_LOG_DAMAGE_STORE_H
#define TESTS_LOG_DAMAGE_STORE_H

#include "host_fixture.h"

enum { PAGES = 6 };

static host h;

static pagestore_memory *memory_of(pagestore_instance *i, const char *name) {
  pagestore_memory *m;
  assert_ok(pagestore_memory_open(i, name, PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .max_pages = PAGES, .guard_bytes = PAGESTORE_PAGE), &m));
  return m;
}

static pagestore_instance *instance_of(const char *name) {
  pagestore_instance *i;
  assert_ok(pagestore_instance_open(h.store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i));
  return i;
}

static void write_block(pagestore_memory *m, uint64_t page, unsigned block, uint64_t tag) {
  uint64_t words[64];
  for (unsigned i = 0; i < 64; i++) words[i] = tag * 0x9e3779b97f4a7c15u + i;
  assert_ok(pagestore_memory_write(m, page * PAGESTORE_PAGE + block * PAGESTORE_BLOCK + 100, words, sizeof words));
}

static void fill(pagestore_memory *m, uint64_t page, uint8_t byte) { assert_ok(pagestore_memory_fill(m, page * PAGESTORE_PAGE, byte, PAGESTORE_PAGE)); }
static void commit(pagestore_instance *i) { assert_ok(pagestore_commit(i, 0, NULL)); }

/* Sixteen blocks are a record of their own: what comes next begins another one. */
static void end_record(void) {
  static uint64_t tag = 1000;
  pagestore_instance *i = instance_of("full");
  pagestore_memory *m = memory_of(i, "m");
  for (unsigned n = 0; n < 16; n++) write_block(m, n / 4, n % 4, ++tag);
  commit(i);
  pagestore_instance_close(i);
}

/* Record 1: merged, since the snapshot relies on rows; then zeros, for which a marker stands. */
static void make_merged(void) {
  pagestore_instance *i = instance_of("merged");
  pagestore_memory *m = memory_of(i, "m");
  write_block(m, 0, 3, 1);
  write_block(m, 4, 3, 2);
  commit(i);
  assert_ok(pagestore_snapshot_create(i, "kept", 0));
  fill(m, 4, 0);
  commit(i);
  pagestore_instance_close(i);
}

static void make_alive(void) {
  pagestore_instance *i = instance_of("alive"), *fork;
  pagestore_memory *m = memory_of(i, "main"), *gone = memory_of(i, "gone");
  for (uint64_t page = 0; page < 3; page++) fill(m, page, (uint8_t)(page + 7));
  write_block(gone, 0, 0, 3);
  commit(i);
  end_record();
  write_block(m, 0, 2, 4);
  write_block(m, 0, 9, 5);
  write_block(m, 1, 2, 6);
  commit(i);
  end_record();
  assert_ok(pagestore_memory_delete(gone));
  write_block(m, 0, 2, 7);  /* supersedes */
  write_block(m, 5, 15, 8); /* no row under it */
  commit(i);
  end_record();
  assert_ok(pagestore_fork(i, "fork", NULL, &fork));
  write_block(memory_of(fork, "main"), 2, 1, 9);
  commit(fork);
  end_record();
  pagestore_instance_close(fork);
  pagestore_instance_close(i);
}

static void make_left(void) {
  pagestore_instance *i = instance_of("left");
  pagestore_memory *m = memory_of(i, "m");
  fill(m, 1, 5);
  commit(i);
  assert_ok(pagestore_snapshot_create(i, "back", 0));
  write_block(m, 1, 1, 10);
  commit(i);
  end_record();
  assert_ok(pagestore_restore(i, "back"));
  commit(i);
  write_block(m, 2, 1, 11);
  commit(i);
  end_record();
  pagestore_instance_close(i);
  i = instance_of("deleted");
  write_block(memory_of(i, "m"), 0, 0, 12);
  commit(i);
  pagestore_instance_close(i);
  assert_ok(pagestore_instance_delete(h.store, "deleted", 0));
}

static void make_instances(void) {
  h = (host){0};
  folder_make(&h);
  assert_ok(host_open_store(&h));
  make_merged();
  make_alive();
  make_left();
  pagestore_store_info info = {.size = sizeof info, .trash = true};
  for (int i = 0; i < 5000 && info.trash; i++, pause_ms(1)) assert_ok(pagestore_store_stat(h.store, &info));
  assert_ok(pagestore_close(h.store));
}

#endif
