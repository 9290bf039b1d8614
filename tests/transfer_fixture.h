/* transfer_fixture.h - for tests of send and receive: two stores, a stream in memory between them,
 * and whether what arrived is what was sent.
 */
#ifndef PAGESTORE_TESTS_TRANSFER_FIXTURE_H
#define PAGESTORE_TESTS_TRANSFER_FIXTURE_H

#include "host_fixture.h"

typedef struct {
  uint8_t *bytes;
  size_t size, room, at, stop_after, step;
  int calls;
} pipe_buffer;

static UNUSED int pipe_write(void *env, const void *bytes, size_t length) {
  pipe_buffer *p = env;
  if (p->stop_after && (size_t)++p->calls >= p->stop_after) return 42;
  if (p->size + length > p->room) p->bytes = realloc(p->bytes, p->room = 2 * (p->size + length));
  memcpy(p->bytes + p->size, bytes, length);
  p->size += length;
  return 0;
}

static UNUSED int pipe_read(void *env, void *bytes, size_t room, size_t *length) {
  pipe_buffer *p = env;
  if (p->stop_after && (size_t)++p->calls >= p->stop_after) return -7;
  size_t left = p->size - p->at;
  if (p->step && room > p->step) room = p->step;
  *length = room < left ? room : left;
  memcpy(bytes, p->bytes + p->at, *length);
  p->at += *length;
  return 0;
}

static UNUSED void pipe_free(pipe_buffer *p) {
  free(p->bytes);
  *p = (pipe_buffer){.size = 0};
}

/* ---- two stores: instance "i" here, "copy" there ------------------------------------------- */

static host here, there;

static UNUSED int setup(void **state) {
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
static UNUSED void begin(void **state) {
  (void)state;
  assert_ok(pagestore_handlers());
}

static UNUSED int teardown(void **state) {
  (void)state;
  pagestore_instance_close(here.instance);
  assert_ok(pagestore_close(here.store));
  assert_ok(pagestore_close(there.store));
  folder_remove(&here);
  folder_remove(&there);
  return 0;
}

static UNUSED pagestore_instance *view_of(pagestore_store *s, const char *name,
                                          const char *snapshot) {
  pagestore_instance *view;
  assert_ok(pagestore_instance_open(s, name,
                                    PAGESTORE_WITH(pagestore_instance_options,
                                                   .flags = PAGESTORE_READ, .snapshot = snapshot),
                                    &view));
  return view;
}

/* The stream from snapshot `from` (NULL: whole) to snapshot `to` (NULL: the present). */
static UNUSED pipe_buffer stream_of(const char *from, const char *to) {
  pipe_buffer p = {.size = 0};
  pagestore_instance *a = from ? view_of(here.store, "i", from) : NULL,
                     *b = view_of(here.store, "i", to);
  assert_ok(pagestore_send(a, b, pipe_write, &p));
  pagestore_instance_close(a);
  pagestore_instance_close(b);
  return p;
}

static UNUSED int receive_from(pipe_buffer *p, const char *name) {
  p->at = 0;
  return pagestore_receive(there.store, name, pipe_read, p);
}

static UNUSED void send_over(const char *from, const char *to, const char *name) {
  pipe_buffer p = stream_of(from, to);
  assert_ok(receive_from(&p, name));
  assert_int_equal(p.at, p.size);
  pipe_free(&p);
}

static UNUSED void snapshot_named(const char *name) {
  host_commit(&here);
  assert_ok(pagestore_snapshot_create(here.instance, name, 0));
}

/* ---- comparing ----------------------------------------------------------------------------- */

typedef struct {
  pagestore_instance *other;
  int count;
} against;

static UNUSED int same_value(void *env, const char *key, const void *value, size_t length) {
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

static UNUSED int same_memory(void *env, const pagestore_memory_info *info) {
  against *a = env;
  pagestore_memory *m;
  assert_ok(pagestore_memory_open(a->other, info->name, NULL, &m));
  assert_int_equal(pagestore_memory_pages(m), info->pages);
  assert_int_equal(pagestore_memory_max(m), info->max_pages);
  a->count++;
  return 0;
}

static UNUSED void compare_bytes(pagestore_instance *a, pagestore_instance *b, const char *name) {
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

static UNUSED int note_name(void *env, const pagestore_memory_info *info) {
  compare_bytes(((pagestore_instance **)env)[0], ((pagestore_instance **)env)[1], info->name);
  return 0;
}

static UNUSED void assert_same_from(pagestore_store *s, const char *snapshot, const char *name,
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

static UNUSED void assert_same(const char *snapshot, const char *name) {
  assert_same_from(here.store, snapshot, name, snapshot);
}

typedef struct {
  const char *wanted;
  pagestore_instance_info info;
  bool found;
} lookup;

static UNUSED int look_for(void *env, const pagestore_instance_info *info) {
  lookup *l = env;
  if (strcmp(info->name, l->wanted) != 0) return 0;
  l->info = *info;
  l->found = true;
  return 0;
}

static UNUSED lookup find_instance(pagestore_store *s, const char *name) {
  lookup l = {.wanted = name};
  assert_ok(pagestore_instance_each(s, NULL, look_for, &l));
  return l;
}

static UNUSED void reopen_there(void) {
  assert_ok(pagestore_close(there.store));
  assert_ok(host_open_store(&there));
}

#endif
