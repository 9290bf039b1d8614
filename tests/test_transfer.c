/* test_transfer.c - what is sent arrives byte for byte, in one piece or in increments; what does
 * not fit is refused and changes nothing.
 *
 * ctest: TIMEOUT 300
 */
#include "host_fixture.h"

#include "transfer_stream.h"

typedef struct {
  uint8_t *bytes;
  size_t size, room, at, stop_after, step;
  int calls;
} pipe_buffer;

static int pipe_write(void *env, const void *bytes, size_t length) {
  pipe_buffer *p = env;
  if (p->stop_after && (size_t)++p->calls >= p->stop_after) return 42;
  if (p->size + length > p->room) p->bytes = realloc(p->bytes, p->room = 2 * (p->size + length));
  memcpy(p->bytes + p->size, bytes, length);
  p->size += length;
  return 0;
}

static int pipe_read(void *env, void *bytes, size_t room, size_t *length) {
  pipe_buffer *p = env;
  if (p->stop_after && (size_t)++p->calls >= p->stop_after) return -7;
  size_t left = p->size - p->at;
  if (p->step && room > p->step) room = p->step;
  *length = room < left ? room : left;
  memcpy(bytes, p->bytes + p->at, *length);
  p->at += *length;
  return 0;
}

static void pipe_free(pipe_buffer *p) {
  free(p->bytes);
  *p = (pipe_buffer){.size = 0};
}

/* ---- two stores: instance "i" here, "copy" there
 * --------------------------------------------------------------------------- */

static host here, there;

static int setup(void **state) {
  (void)state;
  memset(&here, 0, sizeof here);
  memset(&there, 0, sizeof there);
  folder_make(&here);
  folder_make(&there);
  host_open(&here, 8);
  assert_ok(host_open_store(&there));
  return 0;
}

/* cmocka puts its handlers in front before each test. */
static void begin(void **state) {
  (void)state;
  assert_ok(pagestore_handlers());
}

static int teardown(void **state) {
  (void)state;
  pagestore_instance_close(here.instance);
  assert_ok(pagestore_close(here.store));
  assert_ok(pagestore_close(there.store));
  folder_remove(&here);
  folder_remove(&there);
  return 0;
}

static pagestore_instance *view_of(pagestore_store *s, const char *name, const char *snapshot) {
  pagestore_instance *view;
  assert_ok(pagestore_instance_open(s, name,
                                    PAGESTORE_WITH(pagestore_instance_options,
                                                   .flags = PAGESTORE_READ, .snapshot = snapshot),
                                    &view));
  return view;
}

/* The stream from snapshot `from` (NULL: whole) to snapshot `to` (NULL: the present). */
static pipe_buffer stream_of(const char *from, const char *to) {
  pipe_buffer p = {.size = 0};
  pagestore_instance *a = from ? view_of(here.store, "i", from) : NULL,
                     *b = view_of(here.store, "i", to);
  assert_ok(pagestore_send(a, b, pipe_write, &p));
  pagestore_instance_close(a);
  pagestore_instance_close(b);
  return p;
}

static int receive_from(pipe_buffer *p, const char *name) {
  p->at = 0;
  return pagestore_receive(there.store, name, pipe_read, p);
}

static void send_over(const char *from, const char *to, const char *name) {
  pipe_buffer p = stream_of(from, to);
  assert_ok(receive_from(&p, name));
  assert_int_equal(p.at, p.size);
  pipe_free(&p);
}

static void snapshot_named(const char *name) {
  host_commit(&here);
  assert_ok(pagestore_snapshot_create(here.instance, name, 0));
}

/* ---- comparing
 * -------------------------------------------------------------------------------------------------------------
 */

typedef struct {
  pagestore_instance *other;
  int count;
} against;

static int same_value(void *env, const char *key, const void *value, size_t length) {
  against *a = env;
  char found[4096];
  size_t have = 0;
  assert_true(length <= sizeof found);
  assert_ok(pagestore_metadata_get(a->other, key, found, sizeof found, &have));
  assert_int_equal(have, length);
  assert_memory_equal(found, value, length);
  a->count++;
  return 0;
}

static int same_memory(void *env, const pagestore_memory_info *info) {
  against *a = env;
  pagestore_memory *m;
  assert_ok(pagestore_memory_open(a->other, info->name, NULL, &m));
  assert_int_equal(pagestore_memory_pages(m), info->pages);
  assert_int_equal(pagestore_memory_max(m), info->max_pages);
  a->count++;
  return 0;
}

static void compare_bytes(pagestore_instance *a, pagestore_instance *b, const char *name) {
  static uint8_t x[PAGESTORE_PAGE], y[PAGESTORE_PAGE];
  pagestore_memory *m, *n;
  assert_ok(pagestore_memory_open(a, name, NULL, &m));
  assert_ok(pagestore_memory_open(b, name, NULL, &n));
  for (uint64_t page = 0; page < pagestore_memory_pages(m); page++) {
    assert_ok(pagestore_memory_read(m, page * PAGESTORE_PAGE, x, sizeof x));
    assert_ok(pagestore_memory_read(n, page * PAGESTORE_PAGE, y, sizeof y));
    if (memcmp(x, y, sizeof x) != 0)
      fail_msg("memory %s, page %llu differs", name, (unsigned long long)page);
  }
}

static int note_name(void *env, const pagestore_memory_info *info) {
  compare_bytes(((pagestore_instance **)env)[0], ((pagestore_instance **)env)[1], info->name);
  return 0;
}

static void assert_same_from(pagestore_store *s, const char *snapshot, const char *name,
                             const char *there_snapshot) {
  pagestore_instance *a = view_of(s, "i", snapshot),
                     *b = view_of(there.store, name, there_snapshot);
  against left = {b, 0}, right = {a, 0};
  assert_ok(pagestore_metadata_each(a, same_value, &left));
  assert_ok(pagestore_metadata_each(b, same_value, &right));
  assert_ok(pagestore_memory_each(a, same_memory, &left));
  assert_ok(pagestore_memory_each(b, same_memory, &right));
  assert_int_equal(left.count, right.count);
  assert_ok(pagestore_memory_each(a, note_name, (pagestore_instance *[]){a, b}));
  pagestore_instance_close(a);
  pagestore_instance_close(b);
}

static void assert_same(const char *snapshot, const char *name) {
  assert_same_from(here.store, snapshot, name, snapshot);
}

typedef struct {
  const char *wanted;
  pagestore_instance_info info;
  bool found;
} lookup;

static int look_for(void *env, const pagestore_instance_info *info) {
  lookup *l = env;
  if (strcmp(info->name, l->wanted) != 0) return 0;
  l->info = *info;
  l->found = true;
  return 0;
}

static lookup find_instance(pagestore_store *s, const char *name) {
  lookup l = {.wanted = name};
  assert_ok(pagestore_instance_each(s, NULL, look_for, &l));
  return l;
}

static void reopen_there(void) {
  assert_ok(pagestore_close(there.store));
  assert_ok(host_open_store(&there));
}

/* ---- round trips
 * ------------------------------------------------------------------------------------------------------------
 */

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

/* ---- refusals
 * ------------------------------------------------------------------------------------------------------------------
 */

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

/* ---- damage
 * ----------------------------------------------------------------------------------------------------------------------
 */

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

/* ---- streams that no sender writes, with checksums that hold
 * ------------------------------------------------------------------------ */

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
  assert_nothing();
  forge(&f, NULL); /* an instance without memories is one */
  assert_ok(stream_put_header(&f.w, &f.h));
  assert_ok(end_and_receive(&f));
  assert_int_equal(find_instance(there.store, "copy").info.committed, 1);
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
      TEST(test_gaps_and_divergence),
      TEST(test_name_of_the_snapshot_is_taken),
      TEST(test_no_room),
      TEST(test_every_byte_flipped),
      TEST(test_every_length),
      TEST(test_callbacks_that_fail),
      TEST(test_callbacks_that_commit),
      TEST(test_forged_streams),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
