/* test_transfer_refused.c - a stream that does not fit, is damaged, cut off, forged or given up is
 * refused and changes nothing.
 *
 * ctest: TIMEOUT 300
 */
#include "transfer_fixture.h"

#include "transfer_stream.h"

/* ---- refusals ------------------------------------------------------------------------------ */

static void test_gaps_and_divergence(void **state) {
  begin(state);
  put(&here, 0, 1);
  snapshot_named("a");
  put(&here, 0, 2);
  snapshot_named("b");
  put(&here, 0, 3);
  snapshot_named("c");
  pipe_buffer ab = stream_of("a", "b"), bc = stream_of("b", "c");
  assert_status(receive_from(&ab, "copy"), PAGESTORE_EFORMAT); /* nothing there */
  assert_false(find_instance(there.store, "copy").found);
  send_over(NULL, "a", "copy");
  assert_status(receive_from(&bc, "copy"), PAGESTORE_EFORMAT);
  pagestore_instance *writer, *view = view_of(there.store, "copy", NULL);
  assert_ok(pagestore_instance_open(there.store, "copy", NULL, &writer));
  assert_status(receive_from(&ab, "copy"), PAGESTORE_EBUSY);
  pagestore_instance_close(writer);
  assert_ok(receive_from(&ab, "copy")); /* a view does not mind */
  assert_ok(pagestore_instance_advance(view, PAGESTORE_LATEST));
  assert_int_equal(pagestore_committed_version(view), 2);
  pagestore_instance_close(view);
  assert_status(receive_from(&ab, "copy"), PAGESTORE_EEXIST);
  assert_ok(pagestore_instance_open(there.store, "copy", NULL, &writer));
  assert_ok(pagestore_metadata_set(writer, "own", "x", 1));
  assert_ok(pagestore_commit(writer, 0, NULL));
  pagestore_instance_close(writer);
  assert_status(receive_from(&bc, "copy"), PAGESTORE_EFORMAT);
  assert_int_equal(find_instance(there.store, "copy").info.committed, 3);
  pipe_free(&ab);
  pipe_free(&bc);
}

static void test_name_of_the_snapshot_is_taken(void **state) {
  begin(state);
  put(&here, 0, 1);
  snapshot_named("a");
  put(&here, 0, 2);
  snapshot_named("b");
  send_over(NULL, "a", "copy");
  pagestore_instance *view = view_of(there.store, "copy", "a");
  assert_ok(pagestore_snapshot_create(view, "b", 0));
  pagestore_instance_close(view);
  pipe_buffer ab = stream_of("a", "b");
  assert_status(receive_from(&ab, "copy"), PAGESTORE_EEXIST);
  assert_ok(pagestore_snapshot_drop(there.store, "copy", "b", 0));
  assert_ok(receive_from(&ab, "copy"));
  assert_same("b", "copy");
  pipe_free(&ab);
}

/* The commit and its snapshot are taken back together, and a stream that fits is received
 * afterwards. */
static void test_no_room(void **state) {
  begin(state);
  put(&here, 0, 1);
  snapshot_named("a");
  assert_ok(pagestore_memory_grow(here.memory, 60, NULL));
  for (uint64_t page = 0; page < 60; page++) put(&here, page, page + 5);
  snapshot_named("b");
  put(&here, 0, 2);
  for (uint64_t page = 1; page < 60; page++) put(&here, page, 0);
  snapshot_named("c");
  assert_ok(pagestore_close(there.store));
  there.options.disk_bytes = 2 * MIB;
  assert_ok(host_open_store(&there));
  pipe_buffer b = stream_of(NULL, "b"), ab = stream_of("a", "b");
  assert_status(receive_from(&b, "whole"), PAGESTORE_ENOSPC);
  assert_false(find_instance(there.store, "whole").found);
  send_over(NULL, "a", "copy");
  for (int i = 0; i < 3; i++) assert_status(receive_from(&ab, "copy"), PAGESTORE_ENOSPC);
  assert_same("a", "copy");
  assert_int_equal(find_instance(there.store, "copy").info.committed, 1);
  send_over("a", "c", "copy");
  assert_same("c", "copy");
  reopen_there();
  assert_same("c", "copy");
  pipe_free(&b);
  pipe_free(&ab);
}

/* ---- damage -------------------------------------------------------------------------------- */

static void assert_nothing(void) {
  assert_false(find_instance(there.store, "copy").found);
  assert_int_equal(host_stats(&there).instances_open, 0);
}

static pipe_buffer small_stream(void) {
  here.base[0] = 1;
  here.base[PAGESTORE_PAGE + 9000] = 2;
  assert_ok(pagestore_metadata_set(here.instance, "key", "value", 5));
  snapshot_named("a");
  return stream_of(NULL, "a");
}

static void test_every_byte_flipped(void **state) {
  begin(state);
  pipe_buffer p = small_stream();
  assert_in_range(p.size, 8192, 10000);
  for (size_t at = 0; at < p.size; at++) {
    p.bytes[at] ^= (uint8_t)(1u << at % 8);
    assert_status(receive_from(&p, "copy"), PAGESTORE_EFORMAT);
    p.bytes[at] ^= (uint8_t)(1u << at % 8);
  }
  assert_nothing();
  assert_ok(receive_from(&p, "copy"));
  assert_same("a", "copy");
  pipe_free(&p);
}

static void test_every_length(void **state) {
  begin(state);
  pipe_buffer p = small_stream();
  for (size_t whole = p.size, size = 0; size <= whole; size++) {
    p.size = size;
    if (size < whole) assert_status(receive_from(&p, "copy"), PAGESTORE_EFORMAT);
  }
  assert_nothing();
  pipe_write(&p, "the next stream", 15);
  assert_ok(receive_from(&p, "copy"));
  assert_int_equal(p.size - p.at, 15); /* it is left for the next */
  pipe_free(&p);
}

static int reads_too_much(void *env, void *bytes, size_t room, size_t *length) {
  (void)env, (void)bytes;
  *length = room + 1;
  return 0;
}

static void test_callbacks_that_fail(void **state) {
  begin(state);
  pipe_buffer p = small_stream(), q = {.size = 0};
  for (size_t n = 1;; n++) {
    q.stop_after = n, q.calls = 0, q.size = 0;
    int status = pagestore_send(NULL, here.instance, pipe_write, &q);
    if (status == 0) break;
    assert_status(status, PAGESTORE_EABORTED);
    assert_non_null(strstr(pagestore_detail(), "42"));
  }
  for (size_t n = 1;; n++) {
    p.stop_after = n, p.calls = 0;
    int status = receive_from(&p, "copy");
    if (status == 0) break;
    assert_status(status, PAGESTORE_EABORTED);
    assert_non_null(strstr(pagestore_detail(), "-7"));
  }
  assert_same("a", "copy");
  assert_status(pagestore_receive(there.store, "x", reads_too_much, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_receive(there.store, "x", NULL, NULL), PAGESTORE_EINVAL);
  assert_status(pagestore_receive(there.store, "", pipe_read, &p), PAGESTORE_EINVAL);
  assert_status(pagestore_send(NULL, NULL, pipe_write, &p), PAGESTORE_EINVAL);
  pipe_free(&p);
  pipe_free(&q);
}

/* Callbacks may commit: neither a lock nor a reader is held meanwhile. */
static int commits_meanwhile(void *env, const void *bytes, size_t length) {
  (void)bytes, (void)length;
  put(&here, 6, (uint64_t)++ * (int *)env + 100);
  return pagestore_commit(here.instance, 0, NULL);
}

static int commits_in_diff(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m, (void)offset;
  return commits_meanwhile(env, NULL, length);
}

static void test_callbacks_that_commit(void **state) {
  begin(state);
  int calls = 0;
  put(&here, 0, 1);
  snapshot_named("a");
  put(&here, 1, 2);
  put(&here, 2, 2);
  host_commit(&here);
  pagestore_instance *a = view_of(here.store, "i", "a"), *b = view_of(here.store, "i", NULL);
  assert_ok(pagestore_send(a, b, commits_meanwhile, &calls));
  assert_true(calls >= 4);
  assert_ok(pagestore_diff(a, b, commits_in_diff, &calls));
  pagestore_instance_close(a);
  pagestore_instance_close(b);
}

/* ---- streams that no sender writes, with checksums that hold ------------------------------- */

typedef struct {
  stream_writer w;
  stream_header h;
  pipe_buffer p;
  memory_entry *m;
} forgery;

static void forge(forgery *f, const char *memory_name) {
  memset(f, 0, sizeof *f);
  assert_int_equal(state_new(&f->h.state), 0);
  if (memory_name) {
    assert_int_equal(state_memory_add(f->h.state, memory_name, &f->m), 0);
    f->m->pages = 4;
    f->m->max_pages = 10;
  }
  f->h.marks = calloc(8, 1);
  f->h.marks[0] = STREAM_WHOLE;
  assert_ok(stream_writer_open(&f->w, pipe_write, &f->p));
}

static int end_and_receive(forgery *f) {
  assert_ok(stream_put_end(&f->w));
  int status = receive_from(&f->p, "copy");
  stream_writer_close(&f->w);
  stream_header_free(&f->h);
  pipe_free(&f->p);
  return status;
}

static void forge_page(forgery *f, uint32_t memory, uint64_t page) {
  static const uint8_t ones[PAGESTORE_PAGE] = {1};
  assert_ok(stream_put_page(&f->w, memory, page, 3, ones));
}

static void refused_table(const char *name, uint32_t flags, uint64_t pages, uint64_t max_pages) {
  forgery f;
  forge(&f, name);
  f.m->flags = flags;
  f.m->pages = pages;
  f.m->max_pages = max_pages;
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
}

static void refused_pages(uint32_t m1, uint64_t p1, uint32_t m2, uint64_t p2) {
  forgery f;
  forge(&f, "m");
  assert_ok(stream_put_header(&f.w, &f.h));
  forge_page(&f, m1, p1);
  forge_page(&f, m2, p2);
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
}

static void test_forged_streams(void **state) {
  begin(state);
  forgery f;
  refused_table("bad\nname", 0, 1, 1);
  refused_table("m", PAGESTORE_VOLATILE, 1, 1);
  refused_table("m", 0, 1, 70000);
  refused_table("m", PAGESTORE_MEMORY64, 1, 1ull << 40);
  refused_pages(1, 0, 1, 4); /* behind the end */
  refused_pages(1, 2, 1, 1);
  refused_pages(1, 1, 1, 1);
  refused_pages(1, 1, 2, 1);
  refused_pages(0, 1, 1, 1);
  forge(&f, "m");
  f.h.marks[0] = STREAM_GOES_ON; /* without a base */
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  forge(&f, "m");
  strcpy(f.h.snapshot_name, "name without id");
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  forge(&f, NULL);
  assert_int_equal(state_metadata_set(f.h.state, "bad\x01key", "x", 1), 0);
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  forge(&f, "m");
  assert_ok(stream_put_header(&f.w, &f.h));
  forge_page(&f, 1, 0);
  f.w.pages = 2;
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  forge(&f, "m");
  assert_ok(stream_put_header(&f.w, &f.h));
  forge_page(&f, 1, 0);
  f.w.blocks++;
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  forge(&f, "m"); /* also zeros have their limits */
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_ok(stream_put_page(&f.w, 1, 4, 1, NULL));
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  forge(&f, "m");
  assert_int_equal(state_memory_add(f.h.state, "n", &f.m), 0);
  f.m->pages = f.m->max_pages = 9;
  f.h.marks[1] = STREAM_WHOLE;
  assert_ok(stream_put_header(&f.w, &f.h));
  forge_page(&f, 2, 0);
  forge_page(&f, 1, 1);
  assert_status(end_and_receive(&f), PAGESTORE_EFORMAT);
  assert_nothing();
  forge(&f, NULL); /* an instance without memories is one */
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_ok(end_and_receive(&f));
  assert_int_equal(find_instance(there.store, "copy").info.committed, 1);
}

/* An increment onto what is there: zeros where the memory was longer, bytes nowhere behind its end.
 */
static void test_forged_increments(void **state) {
  begin(state);
  forgery f;
  put(&here, 7, 1);
  snapshot_named("a");
  send_over(NULL, "a", "copy");
  pagestore_instance *a = view_of(here.store, "i", "a");
  pipe_buffer p = {.size = 0};
  assert_ok(pagestore_send(NULL, a, pipe_write, &p));
  pagestore_instance_close(a);
  for (int bytes = 1; bytes >= 0; bytes--) {
    forge(&f, "m");
    f.h.marks[0] = STREAM_GOES_ON;
    memcpy(f.h.base.byte, p.bytes + 32, sizeof f.h.base); /* the header's snapshot id */
    strcpy(f.h.base_name, "a");
    assert_ok(stream_put_header(&f.w, &f.h));
    if (bytes) forge_page(&f, 1, 7);
    else assert_ok(stream_put_page(&f.w, 1, 7, ALL_BLOCKS, NULL));
    assert_status(end_and_receive(&f), bytes ? PAGESTORE_EFORMAT : 0);
  }
  lookup found = find_instance(there.store, "copy");
  assert_int_equal(found.info.pages, 4);
  assert_int_equal(found.info.stored_pages, 0);
  pipe_free(&p);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_gaps_and_divergence),
      TEST(test_name_of_the_snapshot_is_taken),
      TEST(test_no_room),
      TEST(test_every_byte_flipped),
      TEST(test_every_length),
      TEST(test_callbacks_that_fail),
      TEST(test_callbacks_that_commit),
      TEST(test_forged_streams),
      TEST(test_forged_increments),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
