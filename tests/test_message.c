/* test_message.c - the contract of commit and rollback, point by point, under every tracker where it matters.
 *
 * Proven: what makes a version and what does not; every refused commit leaves the message as it was; rollback returns bytes, sizes,
 * metadata and memories; limits, names and option structs are checked at the border. Host access and views: test_access.c.
 */
#include "support/bench.h"

#include <limits.h>
#include <unistd.h>

/* ---- versions ------------------------------------------------------------------------------------ */

static void no_change_makes_no_version(bench *b) {
  uint64_t version = 99;
  assert_ok(pagestore_commit(b->instance, 0, &version));
  assert_int_equal(version, 0);
  bench_memory(b, 1);
  for (uint64_t n = 1; n <= 5; n++) {
    bench_put(b, n * 3, (uint8_t)n);
    assert_ok(pagestore_commit(b->instance, n % 2 ? PAGESTORE_ASYNC : 0, &version));
    assert_int_equal(version, n);
    assert_ok(pagestore_commit(b->instance, 0, &version));
    assert_int_equal(version, n);
    assert_int_equal(pagestore_durable_version(b->instance), n);
  }
  assert_int_equal(b->base[9], 3);
  assert_ok(pagestore_memory_grow(b->memory, 0, NULL));
  assert_ok(pagestore_rollback(b->instance));
  assert_ok(pagestore_commit(b->instance, 0, &version));
  assert_int_equal(version, 5);
}

static void each_kind_of_change_makes_one(bench *b) {
  uint8_t hash[32] = { 1 };
  uint64_t version;
  bench_memory(b, 1);
  assert_int_equal(bench_commit(b), 1);
  assert_ok(pagestore_memory_grow(b->memory, 1, NULL));
  assert_int_equal(bench_commit(b), 2);
  assert_ok(pagestore_metadata_set(b->instance, "k", "v", 1));
  assert_int_equal(bench_commit(b), 3);
  assert_ok(pagestore_upgrade(b->instance, hash));
  assert_int_equal(bench_commit(b), 4);
  assert_ok(pagestore_snapshot_create(b->instance, "s", 0));
  assert_ok(pagestore_restore(b->instance, "s"));
  assert_int_equal(bench_commit(b), 5);
  assert_ok(pagestore_memory_delete(b->memory));
  assert_int_equal(bench_commit(b), 6);
  assert_status(pagestore_commit(b->instance, 8, &version), PAGESTORE_EINVAL);
}

/* A prepared range that nobody wrote to: the same answer under every tracker. */
static void preparing_alone_changes_no_bytes(bench *b) {
  bench_memory(b, 2);
  bench_put(b, 70000, 5);
  bench_commit(b);
  assert_ok(pagestore_memory_prepare(b->memory, 0, 2 * PAGE, false));
  uint64_t version;
  assert_ok(pagestore_commit(b->instance, 0, &version));
  assert_int_equal(version, 1);
  assert_ok(pagestore_memory_prepare(b->memory, 0, 2 * PAGE, true));
  bench_put(b, 7, 1);
  assert_int_equal(bench_commit(b), 2);
  bench_reopen(b);
  assert_int_equal(b->base[7], 1);
  assert_int_equal(b->base[70000], 5);
}

static void waiting(bench *b) {
  bench_memory(b, 1);
  assert_status(pagestore_wait(b->instance, 1, 0), PAGESTORE_EINVAL);
  uint64_t version;
  assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, &version));
  assert_ok(pagestore_wait(b->instance, version, PAGESTORE_FOREVER));
  assert_int_equal(pagestore_durable_version(b->instance), 1);
  assert_ok(pagestore_wait(b->instance, PAGESTORE_LATEST, 0));
  assert_ok(pagestore_sync(b->store, 10000));
}

/* ---- refused commits -------------------------------------------------------------------------------- */

static void over_the_dirty_limit(bench *b) {
  b->options.dirty_limit = 4;
  bench_memory(b, 4);
  bench_put(b, 0, 1);
  bench_commit(b);
  for (int block = 0; block < 5; block++) bench_put(b, (uint64_t)block * BLOCK, 2);
  assert_ok(pagestore_metadata_set(b->instance, "k", "v", 1));
  for (int n = 0; n < 3; n++) assert_status(pagestore_commit(b->instance, 0, NULL), PAGESTORE_EQUOTA);
  assert_int_equal(pagestore_committed_version(b->instance), 1);
  assert_int_equal(b->base[4 * BLOCK], 2);
  assert_int_equal(bench_dirty(b), 5);
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(b->base[0], 1);
  assert_int_equal(b->base[4 * BLOCK], 0);
  assert_status(pagestore_metadata_get(b->instance, "k", NULL, 0, NULL), PAGESTORE_ENOTFOUND);
  for (int block = 0; block < 4; block++) bench_put(b, (uint64_t)block * BLOCK, 3);
  assert_int_equal(bench_commit(b), 2);
  bench_reopen(b);
  assert_int_equal(b->base[3 * BLOCK], 3);
  assert_int_equal(b->base[4 * BLOCK], 0);
}

static void over_the_load_limit(bench *b) {
  bench_memory(b, 8);
  for (uint64_t page = 0; page < 8; page++) bench_put(b, page * PAGE, 1);
  bench_commit(b);
  b->options.load_limit = 3;
  bench_reopen(b);
  uint8_t byte;
  for (uint64_t page = 0; page < 3; page++) assert_ok(pagestore_memory_read(b->memory, page * PAGE, &byte, 1));
  bench_put(b, 0, 9);
  assert_status(pagestore_memory_read(b->memory, 3 * PAGE, &byte, 1), PAGESTORE_EQUOTA);
  assert_false(bench_survives(b, 3 * PAGE, false));
  assert_status(pagestore_commit(b->instance, 0, NULL), PAGESTORE_EQUOTA);
  assert_ok(pagestore_rollback(b->instance));
  assert_ok(pagestore_memory_read(b->memory, 3 * PAGE, &byte, 1));
  assert_int_equal(byte, 1);
  assert_ok(pagestore_memory_read(b->memory, 0, &byte, 1));
  assert_int_equal(byte, 1);
  bench_put(b, 0, 7);
  assert_int_equal(bench_commit(b), 2);
}

static void metadata_has_room_for_a_mebibyte(bench *b) {
  static uint8_t value[2 << 20], got[1 << 20];
  size_t length;
  memset(value, 0x5a, sizeof value);
  assert_status(pagestore_metadata_set(b->instance, "k", value, sizeof value), PAGESTORE_EQUOTA);
  assert_ok(pagestore_metadata_set(b->instance, "k", value, 600 << 10));
  assert_status(pagestore_metadata_set(b->instance, "l", value, 500 << 10), PAGESTORE_EQUOTA);
  assert_ok(pagestore_metadata_set(b->instance, "l", value, 400 << 10));
  bench_commit(b);
  assert_status(pagestore_metadata_set(b->instance, "m", value, 300 << 10), PAGESTORE_EQUOTA);
  uint64_t version;
  assert_ok(pagestore_commit(b->instance, 0, &version));
  assert_int_equal(version, 1);  /* what was refused is no change */
  bench_reopen(b);
  assert_status(pagestore_metadata_get(b->instance, "k", got, 10, &length), PAGESTORE_EBOUNDS);
  assert_int_equal(length, 600 << 10);
  assert_ok(pagestore_metadata_get(b->instance, "k", got, sizeof got, &length));
  assert_memory_equal(got, value, 600 << 10);
  assert_ok(pagestore_metadata_set(b->instance, "k", NULL, 0));
  assert_ok(pagestore_metadata_set(b->instance, "empty", "", 0));
  bench_commit(b);
  bench_reopen(b);
  assert_status(pagestore_metadata_get(b->instance, "k", got, sizeof got, &length), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_metadata_get(b->instance, "empty", NULL, 0, &length));
  assert_int_equal(length, 0);
}

static void a_full_queue_says_so(bench *b) {
  b->store_options.queue_bytes = 1;
  bench_memory(b, 64);
  bench_reopen(b);
  uint64_t full = 0, version = 0;
  for (int n = 0; n < 200; n++) {
    uint64_t pages = n % 2 == 0 ? 1 : 32; /* one is written long before the flusher is done with 32 */
    for (uint64_t page = 0; page < pages; page++) bench_put(b, page * PAGE, (uint8_t)(n + 1));
    int status = pagestore_commit(b->instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, &version);
    if (status == PAGESTORE_EAGAIN) {
      full++;
      assert_int_equal(bench_dirty(b), pages);
      assert_ok(pagestore_commit(b->instance, PAGESTORE_ASYNC, &version));
    } else {
      assert_ok(status);
    }
    assert_int_equal(version, n + 1 + b->versions);
  }
  assert_true(full > 0);
  bench_reopen(b);
  for (uint64_t page = 0; page < 32; page++) assert_int_equal(b->base[page * PAGE], 200);
}

/* ---- sizes ---------------------------------------------------------------------------------------------- */

static void growth_is_rolled_back(bench *b) {
  bench_memory(b, 2);
  bench_put(b, 2 * PAGE - 1, 1);
  bench_commit(b);
  uint64_t old = 0;
  assert_ok(pagestore_memory_grow(b->memory, 3, &old));
  assert_int_equal(old, 2);
  bench_put(b, 5 * PAGE - 1, 2);
  assert_int_equal(pagestore_memory_pages(b->memory), 5);
  assert_true(bench_survives(b, 5 * PAGE - 1, false));
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(pagestore_memory_pages(b->memory), 2);
  assert_true(bench_survives(b, 2 * PAGE - 1, false));
  assert_false(bench_survives(b, 2 * PAGE, false));
  assert_false(bench_survives(b, 5 * PAGE - 1, true));
  assert_ok(pagestore_memory_grow(b->memory, 3, NULL));
  assert_int_equal(b->base[5 * PAGE - 1], 0);
  bench_commit(b);
  bench_reopen(b);
  assert_int_equal(pagestore_memory_pages(b->memory), 5);
  assert_int_equal(b->base[5 * PAGE - 1], 0);
}

static void growth_ends_at_the_maximum(bench *b) {
  uint64_t old = 77;
  b->options.max_pages = 6;
  bench_memory(b, 2);
  assert_status(pagestore_memory_grow(b->memory, 5, &old), PAGESTORE_EBOUNDS);
  assert_status(pagestore_memory_grow(b->memory, UINT64_MAX, &old), PAGESTORE_EBOUNDS);
  assert_status(pagestore_memory_grow(b->memory, UINT64_MAX - 1, &old), PAGESTORE_EBOUNDS);
  assert_int_equal(old, 77);
  assert_ok(pagestore_memory_grow(b->memory, 4, &old));
  assert_int_equal(old, 2);
  assert_int_equal(pagestore_memory_max(b->memory), 6);
  assert_status(pagestore_memory_grow(b->memory, 1, NULL), PAGESTORE_EBOUNDS);
}

/* ---- memories ---------------------------------------------------------------------------------------------- */

static void a_memory_whose_creation_was_rolled_back(bench *b) {
  bench_memory(b, 2);
  bench_put(b, 5, 5);
  assert_ok(pagestore_rollback(b->instance));
  uint8_t byte;
  assert_int_equal(pagestore_memory_pages(b->memory), 0);
  assert_status(pagestore_memory_read(b->memory, 0, &byte, 1), PAGESTORE_ENOTFOUND);
  assert_status(pagestore_memory_grow(b->memory, 1, NULL), PAGESTORE_ENOTFOUND);
  pagestore_memory *before = b->memory;
  uint8_t *base = b->base;
  assert_status(pagestore_memory_open(b->instance, "heap", NULL, &b->memory), PAGESTORE_ENOTFOUND);
  bench_memory(b, 3);
  assert_ptr_equal(b->memory, before);
  assert_ptr_equal(b->base, base);
  assert_int_equal(pagestore_memory_pages(b->memory), 3);
  assert_int_equal(b->base[5], 0);
  bench_put(b, 6, 6);
  bench_commit(b);
  bench_reopen(b);
  assert_int_equal(b->base[6], 6);
}

static void deleting_a_memory(bench *b) {
  bench_memory(b, 2);
  bench_put(b, 5, 5);
  bench_commit(b);
  assert_ok(pagestore_memory_delete(b->memory));
  assert_status(pagestore_memory_delete(b->memory), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(pagestore_memory_pages(b->memory), 2);
  assert_int_equal(b->base[5], 5);
  assert_ok(pagestore_memory_delete(b->memory));
  bench_memory(b, 1);
  assert_int_equal(b->base[5], 0);
  bench_commit(b);
  bench_reopen(b);
  assert_int_equal(pagestore_memory_pages(b->memory), 1);
  assert_int_equal(b->base[5], 0);
}

static void a_memory_has_its_type(bench *b) {
  bench_memory(b, 4);
  bench_commit(b);
  pagestore_memory *m;
  const pagestore_memory_options *wide =
    PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64, .max_pages = 100, .guard_bytes = PAGE);
  const pagestore_memory_options *small = PAGESTORE_WITH(pagestore_memory_options, .max_pages = 3, .guard_bytes = PAGE);
  assert_status(pagestore_memory_open(b->instance, "heap", wide, &m), PAGESTORE_ETYPE);
  assert_status(pagestore_memory_open(b->instance, "heap", small, &m), PAGESTORE_ETYPE);
  assert_status(pagestore_memory_open(b->instance, "other", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64), &m), PAGESTORE_EINVAL);
  assert_status(pagestore_memory_open(b->instance, "other", PAGESTORE_WITH(pagestore_memory_options, .flags = 1 << 20), &m), PAGESTORE_EINVAL);
  assert_status(pagestore_memory_open(b->instance, "other", NULL, &m), PAGESTORE_ENOTFOUND);
  uint64_t version;
  assert_ok(pagestore_commit(b->instance, 0, &version));
  assert_int_equal(version, 1);
}

static void volatile_memories_go_with_the_message(bench *b) {
  bench_memory(b, 1);
  bench_commit(b);
  const pagestore_memory_options *options =
    PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_VOLATILE, .pages = 2, .max_pages = 8, .guard_bytes = PAGE);
  pagestore_memory *m;
  assert_ok(pagestore_memory_open(b->instance, "volatile", options, &m));
  uint8_t *base = pagestore_memory_base(m);
  base[0] = 1;
  assert_int_equal(bench_commit(b), 1);  /* no version */
  b->versions = 1;
  base[0] = 2, base[PAGE] = 2;
  assert_ok(pagestore_memory_grow(m, 1, NULL));
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(base[0], 1);
  assert_int_equal(base[PAGE], 0);
  assert_int_equal(pagestore_memory_pages(m), 2);
  assert_ok(pagestore_memory_delete(m));
  assert_int_equal(pagestore_memory_pages(m), 0);
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(pagestore_memory_pages(m), 2);
  assert_int_equal(base[0], 1);
  uint8_t hash[32] = { 1 };
  assert_ok(pagestore_upgrade(b->instance, hash));
  assert_int_equal(pagestore_memory_pages(m), 0);
  assert_ok(pagestore_memory_grow(m, 2, NULL));
  assert_int_equal(base[0], 0);  /* not what was there before it shrank */
  assert_ok(pagestore_rollback(b->instance));
  assert_int_equal(base[0], 1);
  assert_ok(pagestore_upgrade(b->instance, hash));
  assert_ok(pagestore_memory_grow(m, 2, NULL));
  base[PAGE + 1] = 4;
  bench_commit(b);
  assert_ok(pagestore_instance_trim(b->instance, 0));
  assert_int_equal(base[0], 0);
  assert_int_equal(base[PAGE + 1], 4);
  bench_reopen(b);
  assert_ok(pagestore_memory_open(b->instance, "volatile", options, &m));
  assert_int_equal(pagestore_memory_base(m)[0], 0);
}

/* ---- upgrade -------------------------------------------------------------------------------------------------- */

static void check_upgraded(bench *b, pagestore_memory *kept, bool upgraded) {
  size_t length;
  assert_int_equal(pagestore_memory_pages(b->memory), upgraded ? 0 : 2);
  assert_int_equal(pagestore_memory_base(kept)[9], 9);
  assert_status(pagestore_metadata_get(b->instance, "module.x", NULL, 0, &length), upgraded ? PAGESTORE_ENOTFOUND : PAGESTORE_EBOUNDS);
  assert_status(pagestore_metadata_get(b->instance, "host.x", NULL, 0, &length), PAGESTORE_EBOUNDS);
  pagestore_instance_info info = { .size = sizeof info };
  if (!upgraded) assert_int_equal(b->base[7], 7);
  assert_ok(pagestore_instance_stat(b->instance, &info));
}

static void upgrading(bench *b) {
  uint8_t hash[32] = { 3 }, other[32] = { 4 };
  const pagestore_memory_options *keep =
    PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_KEEP, .pages = 1, .max_pages = 8, .guard_bytes = PAGE);
  pagestore_memory *kept;
  bench_memory(b, 2);
  assert_ok(pagestore_memory_open(b->instance, "kept", keep, &kept));
  bench_put(b, 7, 7);
  pagestore_memory_base(kept)[9] = 9;
  assert_ok(pagestore_metadata_set(b->instance, "module.x", "1", 1));
  assert_ok(pagestore_metadata_set(b->instance, "host.x", "1", 1));
  bench_commit(b);
  assert_ok(pagestore_upgrade(b->instance, hash));
  check_upgraded(b, kept, true);
  assert_ok(pagestore_rollback(b->instance));
  check_upgraded(b, kept, false);
  assert_ok(pagestore_upgrade(b->instance, hash));
  bench_commit(b);
  check_upgraded(b, kept, true);
  bench_end(b);
  assert_status(pagestore_instance_open(b->store, "one", PAGESTORE_WITH(pagestore_instance_options, .module_hash = other), &b->instance), PAGESTORE_EMODULE);
  assert_ok(pagestore_instance_open(b->store, "one", PAGESTORE_WITH(pagestore_instance_options, .module_hash = hash), &b->instance));
}

/* The new module's memory is of another type, and nobody had the old one open. */
static void an_upgrade_sets_types_anew(bench *b) {
  uint8_t hash[32] = { 3 };
  bench_memory(b, 2);
  bench_put(b, 7, 7);
  bench_commit(b);
  bench_end(b);
  assert_ok(pagestore_instance_open(b->store, "one", NULL, &b->instance));
  assert_ok(pagestore_upgrade(b->instance, hash));
  b->options.flags = PAGESTORE_MEMORY64;
  b->options.max_pages = 99;
  bench_memory(b, 5);
  assert_int_equal(pagestore_memory_pages(b->memory), 5);
  assert_int_equal(b->base[7], 0);
  bench_put(b, 5 * PAGE - 1, 8);
  bench_commit(b);
  bench_reopen(b);
  assert_int_equal(pagestore_memory_pages(b->memory), 5);
  assert_int_equal(b->base[5 * PAGE - 1], 8);
}

/* ---- several instances ------------------------------------------------------------------------------------------ */

static void commit_all_is_one(bench *b) {
  pagestore_instance *other;
  pagestore_memory *m;
  b->options.dirty_limit = 1;
  bench_memory(b, 2);
  assert_ok(pagestore_instance_open(b->store, "two", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &other));
  assert_ok(pagestore_memory_open(other, "heap", PAGESTORE_WITH(pagestore_memory_options, .pages = 1, .max_pages = 4, .guard_bytes = PAGE), &m));
  bench_put(b, 0, 1), bench_put(b, PAGE, 1);
  pagestore_instance *both[] = { other, b->instance }, *twice[] = { other, other };
  assert_status(pagestore_commit_all(both, 2, 0), PAGESTORE_EQUOTA);
  assert_int_equal(pagestore_committed_version(other), 0);
  assert_int_equal(pagestore_committed_version(b->instance), 0);
  assert_status(pagestore_commit_all(twice, 2, 0), PAGESTORE_EINVAL);
  assert_ok(pagestore_commit_all(NULL, 0, 0));
  assert_ok(pagestore_rollback(b->instance));
  bench_memory(b, 2);
  bench_put(b, 0, 1);
  assert_ok(pagestore_commit_all(both, 2, 0));
  assert_int_equal(pagestore_durable_version(other), 1);
  assert_int_equal(pagestore_durable_version(b->instance), 1);
  assert_ok(pagestore_commit_all(both, 2, 0));
  assert_int_equal(pagestore_committed_version(other), 1);
  pagestore_instance_close(other);
}

static void one_writable_handle(bench *b) {
  pagestore_instance *second = NULL;
  assert_status(pagestore_instance_open(b->store, "one", NULL, &second), PAGESTORE_EBUSY);
  assert_status(pagestore_close(b->store), PAGESTORE_EBUSY);
  assert_null(second);
  pagestore_store *again = NULL;
  assert_status(pagestore_open(b->path, NULL, &again), PAGESTORE_EBUSY);
  bench_end(b);
  assert_status(pagestore_instance_open(b->store, "one", NULL, &second), PAGESTORE_ENOTFOUND);  /* it never was */
  assert_ok(pagestore_instance_open(b->store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &b->instance));
  bench_memory(b, 1);
  bench_commit(b);
  assert_status(pagestore_instance_delete(b->store, "one", 0), PAGESTORE_EBUSY);
  bench_end(b);
  const pagestore_instance_options *exclusive =
    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE);
  assert_status(pagestore_instance_open(b->store, "one", exclusive, &second), PAGESTORE_EEXIST);
  assert_ok(pagestore_instance_delete(b->store, "one", 0));
  assert_status(pagestore_instance_delete(b->store, "one", 0), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_instance_open(b->store, "one", exclusive, &b->instance));
  assert_int_equal(pagestore_committed_version(b->instance), 0);
}

/* ---- the border ---------------------------------------------------------------------------------------------------- */

static void names(bench *b) {
  char longest[257];
  memset(longest, 'n', sizeof longest);
  longest[256] = 0;
  const char *const bad[] = { NULL, "", longest, "a\nb", "\x1f", "a\x7f", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf5\x80\x80\x80", "ok\xff" };
  const pagestore_instance_options *create = PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE);
  pagestore_instance *i = NULL;
  pagestore_memory *m;
  for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
    assert_status(pagestore_instance_open(b->store, bad[n], create, &i), PAGESTORE_EINVAL);
    assert_status(pagestore_memory_open(b->instance, bad[n], NULL, &m), PAGESTORE_EINVAL);
    assert_status(pagestore_metadata_set(b->instance, bad[n], "", 0), PAGESTORE_EINVAL);
    assert_status(pagestore_snapshot_create(b->instance, bad[n], 0), PAGESTORE_EINVAL);
    assert_status(pagestore_fork(b->instance, bad[n], NULL, &i), PAGESTORE_EINVAL);
    assert_status(pagestore_instance_delete(b->store, bad[n], 0), PAGESTORE_EINVAL);
  }
  longest[255] = 0;
  const char *const good[] = { longest, "/", "..", "a b", "\xc3\xa9", "\xf0\x9f\x98\x80" };
  for (size_t n = 0; n < sizeof good / sizeof *good; n++) {
    assert_ok(pagestore_instance_open(b->store, good[n], create, &i));
    assert_ok(pagestore_metadata_set(i, good[n], good[n], 1));
    assert_ok(pagestore_memory_open(i, good[n], PAGESTORE_WITH(pagestore_memory_options, .max_pages = 1, .guard_bytes = PAGE), &m));
    assert_ok(pagestore_commit(i, 0, NULL));
    assert_ok(pagestore_snapshot_create(i, good[n], 0));
    pagestore_instance_close(i);
    assert_ok(pagestore_instance_open(b->store, good[n], NULL, &i));
    assert_ok(pagestore_memory_open(i, good[n], NULL, &m));
    pagestore_instance_close(i);
  }
}

/* An option struct of an older header is shorter, of a newer one longer: its rest must be zero. */
static void sizes_of_structs(bench *b) {
  struct { pagestore_instance_options known; uint64_t later[4]; } longer = { .known = { .size = sizeof longer, .flags = PAGESTORE_CREATE } };
  pagestore_instance *i;
  assert_ok(pagestore_instance_open(b->store, "longer", &longer.known, &i));
  pagestore_instance_close(i);
  longer.later[3] = 1;
  assert_status(pagestore_instance_open(b->store, "longer", &longer.known, &i), PAGESTORE_EINVAL);
  pagestore_instance_options shorter = { .size = offsetof(pagestore_instance_options, flags) + sizeof shorter.flags, .flags = PAGESTORE_CREATE };
  shorter.version = 12345;  /* beyond the size: not looked at */
  assert_ok(pagestore_instance_open(b->store, "shorter", &shorter, &i));
  pagestore_instance_close(i);
  shorter.size = 0;
  assert_status(pagestore_instance_open(b->store, "shorter", &shorter, &i), PAGESTORE_EINVAL);
  shorter.size = SIZE_MAX;
  assert_status(pagestore_instance_open(b->store, "shorter", &shorter, &i), PAGESTORE_EINVAL);
  struct { pagestore_statistics known; uint64_t later[2]; } stats = { .known = { .size = sizeof stats }, .later = { 1, 1 } };
  assert_ok(pagestore_stats(b->store, &stats.known));
  assert_int_equal(stats.known.instances_open, 1);
  assert_int_equal(stats.later[1], 0);
  stats.known.size = sizeof(size_t) - 1;
  assert_status(pagestore_stats(b->store, &stats.known), PAGESTORE_EINVAL);
}

static void null_arguments(bench *b) {
  assert_status(pagestore_open(NULL, NULL, &b->store), PAGESTORE_EINVAL);
  assert_status(pagestore_commit(NULL, 0, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_rollback(NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_memory_read(NULL, 0, NULL, 1), PAGESTORE_EINVAL);
  assert_status(pagestore_sync(NULL, 0), PAGESTORE_EINVAL);
  assert_status(pagestore_upgrade(b->instance, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_snapshot_create(b->instance, "s", 64), PAGESTORE_EINVAL);
  assert_status(pagestore_instance_delete(b->store, "one", 64), PAGESTORE_EINVAL);
  assert_status(pagestore_snapshot_drop(b->store, "one", "s", 64), PAGESTORE_EINVAL);
  assert_ok(pagestore_close(NULL));
  pagestore_instance_close(NULL);
}

static const bench_case cases[] = {
  BENCH_CASE(no_change_makes_no_version), BENCH_CASE(each_kind_of_change_makes_one), BENCH_CASE(preparing_alone_changes_no_bytes),
  BENCH_CASE(waiting), BENCH_CASE(over_the_dirty_limit), BENCH_CASE(over_the_load_limit), BENCH_CASE(metadata_has_room_for_a_mebibyte),
  BENCH_CASE(a_full_queue_says_so), BENCH_CASE(growth_is_rolled_back), BENCH_CASE(growth_ends_at_the_maximum),
  BENCH_CASE(a_memory_whose_creation_was_rolled_back), BENCH_CASE(deleting_a_memory), BENCH_CASE(a_memory_has_its_type),
  BENCH_CASE(volatile_memories_go_with_the_message), BENCH_CASE(upgrading), BENCH_CASE(an_upgrade_sets_types_anew),
  BENCH_CASE(commit_all_is_one), BENCH_CASE(one_writable_handle), BENCH_CASE(names), BENCH_CASE(sizes_of_structs), BENCH_CASE(null_arguments),
};

int main(void) { return bench_run(cases, sizeof cases / sizeof *cases); }
