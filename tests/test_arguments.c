/* test_arguments.c - what a public function says to arguments that break its rule, and that nothing changes by it.
 *
 * Proven: each missing handle, pointer or callback, each name, flag, size and limit out of its bounds has its status and a text that names
 * it, on instances, memories, metadata, messages, snapshots, listings and views; a callback's non-zero return ends its walk with
 * EABORTED; deleted instances are not found by their old handles; a poll that is too early is ETIMEDOUT.
 */
#include "support/scratch.h"

enum { MEMORY_PAGES = 3 };

typedef struct {
  char *directory;
  pagestore_store *store;
  pagestore_instance *instance, *view;
  pagestore_memory *memory;
} fixture;

#define INVALID(call) assert_refused((call), PAGESTORE_EINVAL, #call, __LINE__)
#define REFUSED(call, wanted) assert_refused((call), (wanted), #call, __LINE__)

static void assert_refused(int status, int wanted, const char *call, int line) {
  check_status(status, wanted, call, __FILE__, line);
  assert_true(strlen(pagestore_detail()) > 10);
}

static int set_up(void **state) {
  fixture *f = calloc(1, sizeof *f);
  char path[4200];
  f->directory = scratch_make();
  snprintf(path, sizeof path, "%s/store", f->directory);
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .map_bytes = 1ull << 34), &f->store));
  assert_ok(pagestore_handlers());
  assert_ok(pagestore_instance_open(f->store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &f->instance));
  assert_ok(pagestore_memory_open(
    f->instance, "heap", PAGESTORE_WITH(pagestore_memory_options, .pages = MEMORY_PAGES, .max_pages = 8, .guard_bytes = PAGE), &f->memory));
  pagestore_memory_base(f->memory)[5] = 1;
  assert_ok(pagestore_metadata_set(f->instance, "key", "value", 5));
  assert_ok(pagestore_commit(f->instance, 0, NULL));
  assert_ok(pagestore_snapshot_create(f->instance, "first", 0));
  assert_ok(pagestore_instance_open(f->store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &f->view));
  *state = f;
  return 0;
}

/* cmocka has put its own handlers in front. */
static fixture *begin(void **state) {
  assert_ok(pagestore_handlers());
  return *state;
}

/* What was refused has changed nothing: there is nothing to commit. */
static int tear_down(void **state) {
  fixture *f = *state;
  uint64_t version = 0;
  if (f->instance) {
    assert_ok(pagestore_commit(f->instance, 0, &version));
    assert_int_equal(version, 1);
    pagestore_instance_close(f->instance);
  }
  if (f->view) pagestore_instance_close(f->view);
  assert_ok(pagestore_close(f->store));
  scratch_remove(f->directory);
  free(f);
  return 0;
}

/* ---- opening ------------------------------------------------------------------------------------------------- */

static void instances(void **state) {
  fixture *f = begin(state);
  pagestore_instance *out;
  INVALID(pagestore_instance_open(NULL, "two", NULL, &out));
  INVALID(pagestore_instance_open(f->store, NULL, NULL, &out));
  INVALID(pagestore_instance_open(f->store, "", NULL, &out));
  INVALID(pagestore_instance_open(f->store, "a\nb", NULL, &out));
  INVALID(pagestore_instance_open(f->store, "a\x7f", NULL, &out));
  INVALID(pagestore_instance_open(f->store, "a\xc2\x85", NULL, &out));
  INVALID(pagestore_instance_open(f->store, "a\xe2\x28\xa1", NULL, &out));
  INVALID(pagestore_instance_open(f->store, "a\xe2\x82\x28", NULL, &out));
  INVALID(pagestore_instance_open(f->store, "two", NULL, NULL));
#define OPEN(...) pagestore_instance_open(f->store, "one", PAGESTORE_WITH(pagestore_instance_options, __VA_ARGS__), &out)
  INVALID(OPEN(.flags = 1u << 20));
  INVALID(OPEN(.flags = PAGESTORE_READ | PAGESTORE_PRIVATE));
  INVALID(OPEN(.flags = PAGESTORE_READ | PAGESTORE_CREATE));
  INVALID(OPEN(.flags = PAGESTORE_PRIVATE | PAGESTORE_EXCLUSIVE));
  INVALID(OPEN(.snapshot = "first"));
  INVALID(OPEN(.version = PAGESTORE_DURABLE));
  REFUSED(OPEN(.flags = PAGESTORE_READ, .version = 77), PAGESTORE_ENOTFOUND);
  REFUSED(OPEN(.flags = PAGESTORE_READ, .snapshot = "none"), PAGESTORE_ENOTFOUND);
  REFUSED(OPEN(.flags = 0), PAGESTORE_EBUSY);
#undef OPEN
  assert_int_equal(pagestore_committed_version(NULL), 0);
  assert_int_equal(pagestore_durable_version(NULL), 0);
  INVALID(pagestore_instance_trim(NULL, 0));
  INVALID(pagestore_instance_advance(NULL, PAGESTORE_LATEST));
  INVALID(pagestore_instance_advance(f->instance, PAGESTORE_LATEST));
  INVALID(pagestore_wait(NULL, 1, 0));
  REFUSED(pagestore_wait(f->instance, 99, 0), PAGESTORE_EINVAL);
}

static void module_hashes(void **state) {
  fixture *f = begin(state);
  uint8_t first[32] = {1}, second[32] = {2};
  pagestore_instance *out;
  const pagestore_instance_options *create =
    PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE, .module_hash = first);
  assert_ok(pagestore_instance_open(f->store, "hashed", create, &out));
  assert_ok(pagestore_metadata_set(out, "a", "b", 1));
  assert_ok(pagestore_commit(out, 0, NULL));
  pagestore_instance_close(out);
  assert_ok(pagestore_instance_open(f->store, "hashed", create, &out));
  pagestore_instance_close(out);
  REFUSED(pagestore_instance_open(f->store, "hashed", PAGESTORE_WITH(pagestore_instance_options, .module_hash = second), &out),
          PAGESTORE_EMODULE);
  assert_ok(pagestore_instance_open(f->store, "hashed", NULL, &out));
  pagestore_instance *fork;
  REFUSED(pagestore_fork(out, "other", PAGESTORE_WITH(pagestore_instance_options, .module_hash = second), &fork), PAGESTORE_EMODULE);
  pagestore_instance_close(out);
  /* where none is held, any fits */
  assert_ok(pagestore_instance_open(f->store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .module_hash = first), &out));
  pagestore_instance_close(out);
  INVALID(pagestore_upgrade(f->instance, NULL));
  REFUSED(pagestore_upgrade(f->view, first), PAGESTORE_EREADONLY);
}

static void memories(void **state) {
  fixture *f = begin(state);
  pagestore_memory *out;
#define OPEN(name, ...) pagestore_memory_open(f->instance, name, PAGESTORE_WITH(pagestore_memory_options, __VA_ARGS__), &out)
  INVALID(pagestore_memory_open(NULL, "new", NULL, &out));
  INVALID(pagestore_memory_open(f->instance, "", NULL, &out));
  INVALID(pagestore_memory_open(f->instance, "heap", NULL, NULL));
  REFUSED(pagestore_memory_open(f->instance, "new", NULL, &out), PAGESTORE_ENOTFOUND);
  INVALID(OPEN("new", .flags = 1u << 20));
  INVALID(OPEN("new", .flags = PAGESTORE_MEMORY64, .pages = 1));
  INVALID(OPEN("new", .max_pages = 65537));
  INVALID(OPEN("new", .flags = PAGESTORE_MEMORY64, .max_pages = 1ull << 60));
  INVALID(OPEN("new", .pages = 9, .max_pages = 8));
  INVALID(OPEN("new", .pages = 1, .max_pages = 8, .guard_bytes = 100));
  INVALID(OPEN("new", .pages = 1, .max_pages = 8, .guard_bytes = 2ull << 40));
  REFUSED(OPEN("heap", .flags = PAGESTORE_VOLATILE, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  REFUSED(OPEN("heap", .flags = PAGESTORE_MEMORY64, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  REFUSED(OPEN("heap", .pages = 1, .max_pages = 2), PAGESTORE_ETYPE);
  REFUSED(OPEN("heap", .flags = PAGESTORE_EXPLICIT, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  assert_ok(OPEN("scratch", .flags = PAGESTORE_VOLATILE, .pages = 1, .max_pages = 8, .guard_bytes = PAGE));
  REFUSED(OPEN("scratch", .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  REFUSED(OPEN("scratch", .flags = PAGESTORE_VOLATILE | PAGESTORE_EXPLICIT, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  assert_ok(pagestore_memory_open(f->instance, "scratch", NULL, &out));
  assert_ok(OPEN("marked", .flags = PAGESTORE_VOLATILE | PAGESTORE_EXPLICIT, .pages = 1, .max_pages = 8, .guard_bytes = PAGE));
  REFUSED(OPEN("marked", .flags = PAGESTORE_VOLATILE, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
#undef OPEN
  REFUSED(pagestore_memory_open(f->view, "scratch", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_VOLATILE, .pages = 1), &out),
          PAGESTORE_EREADONLY);
  assert_null(pagestore_memory_base(NULL));
  assert_string_equal(pagestore_memory_name(NULL), "");
  assert_int_equal(pagestore_memory_pages(NULL), 0);
  assert_int_equal(pagestore_memory_max(NULL), 0);
  INVALID(pagestore_memory_delete(NULL));
}

/* A volatile memory of a message that was rolled back is not there until it is given options again. */
static void a_volatile_memory_comes_back(void **state) {
  fixture *f = begin(state);
  pagestore_memory *out, *again;
  const pagestore_memory_options *options = PAGESTORE_WITH(
    pagestore_memory_options, .flags = PAGESTORE_VOLATILE, .pages = 2, .max_pages = 8, .guard_bytes = PAGE);
  assert_ok(pagestore_memory_open(f->instance, "scratch", options, &out));
  assert_ok(pagestore_memory_delete(out));
  REFUSED(pagestore_memory_open(f->instance, "scratch", NULL, &again), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_memory_open(f->instance, "scratch", options, &again));
  assert_int_equal(pagestore_memory_pages(again), 2);
  assert_int_equal(pagestore_memory_base(again)[0], 0);
}

/* A memory that is there, and that this handle has not opened yet, has its type as well. */
static void a_stored_memory_has_its_type(void **state) {
  fixture *f = begin(state);
  pagestore_instance *writer;
  pagestore_memory *out;
  const pagestore_memory_options *wide =
    PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64, .pages = 2, .max_pages = 8, .guard_bytes = PAGE);
  assert_ok(pagestore_instance_open(f->store, "typed", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &writer));
  assert_ok(pagestore_memory_open(writer, "wide", wide, &out));
  assert_ok(pagestore_commit(writer, 0, NULL));
  pagestore_instance_close(writer);
  assert_ok(pagestore_instance_open(f->store, "typed", NULL, &writer));
#define OPEN(...) pagestore_memory_open(writer, "wide", PAGESTORE_WITH(pagestore_memory_options, __VA_ARGS__), &out)
  REFUSED(OPEN(.flags = PAGESTORE_VOLATILE | PAGESTORE_MEMORY64, .max_pages = 8), PAGESTORE_ETYPE);
  REFUSED(OPEN(.max_pages = 8), PAGESTORE_ETYPE);
  REFUSED(OPEN(.flags = PAGESTORE_MEMORY64, .max_pages = 1), PAGESTORE_ETYPE);
#undef OPEN
  assert_ok(pagestore_memory_open(writer, "wide", wide, &out));
  assert_int_equal(pagestore_memory_pages(out), 2);
  pagestore_instance_close(writer);
}

/* In the message of an upgrade a memory may be opened with another type, but for what its handle cannot become. */
static void an_upgraded_memory(void **state) {
  fixture *f = begin(state);
  uint8_t second[32] = {2};
  pagestore_memory *out;
  assert_ok(pagestore_upgrade(f->instance, second));
#define OPEN(...) pagestore_memory_open(f->instance, "heap", PAGESTORE_WITH(pagestore_memory_options, __VA_ARGS__), &out)
  assert_ok(pagestore_memory_open(f->instance, "heap", NULL, &out)); /* as it is: emptied */
  assert_int_equal(pagestore_memory_pages(out), 0);
  REFUSED(OPEN(.flags = PAGESTORE_EXPLICIT, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  REFUSED(OPEN(.flags = PAGESTORE_VOLATILE, .pages = 1, .max_pages = 8), PAGESTORE_ETYPE);
  assert_ok(OPEN(.pages = 1, .max_pages = 8));
#undef OPEN
  assert_ptr_equal(out, f->memory);
  assert_int_equal(pagestore_memory_pages(out), 1);
  assert_ok(pagestore_rollback(f->instance));
  assert_int_equal(pagestore_memory_pages(out), MEMORY_PAGES);
}

/* A handle of a memory that was deleted, and is there again. */
static void a_revived_memory(void **state) {
  fixture *f = begin(state);
  pagestore_memory *out;
  assert_ok(pagestore_memory_delete(f->memory));
  assert_ok(pagestore_commit(f->instance, 0, NULL));
  REFUSED(pagestore_memory_open(f->instance, "heap", NULL, &out), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_restore(f->instance, "first"));
  assert_ok(pagestore_memory_open(f->instance, "heap", NULL, &out));
  assert_ptr_equal(out, f->memory);
  assert_int_equal(pagestore_memory_pages(out), MEMORY_PAGES);
  assert_int_equal(pagestore_memory_base(out)[5], 1);
  pagestore_instance_close(f->instance);
  f->instance = NULL; /* it has changed more than the others leave */
}

/* ---- using --------------------------------------------------------------------------------------------------- */

static int stop_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)env, (void)m, (void)offset, (void)length;
  return 7;
}

static int stop_memory(void *env, const pagestore_memory_info *info) {
  (void)env, (void)info;
  return 7;
}

static int stop_write(void *env, const void *bytes, size_t length) {
  (void)env, (void)bytes, (void)length;
  return 7;
}

static void access_and_blocks(void **state) {
  fixture *f = begin(state);
  uint8_t byte = 0;
  INVALID(pagestore_memory_read(NULL, 0, &byte, 1));
  INVALID(pagestore_memory_grow(NULL, 1, NULL));
  INVALID(pagestore_memory_mark(NULL, 0, 1));
  INVALID(pagestore_memory_fill(NULL, 0, 0, 1));
  INVALID(pagestore_memory_prepare(NULL, 0, 1, true));
  assert_ok(pagestore_memory_prepare(f->memory, 0, 0, true));
  REFUSED(pagestore_memory_grow(f->memory, 6, NULL), PAGESTORE_EBOUNDS);
  REFUSED(pagestore_memory_grow(f->memory, UINT64_MAX, NULL), PAGESTORE_EBOUNDS);
  INVALID(pagestore_memory_blocks(NULL, PAGESTORE_BLOCKS_DIRTY, stop_range, NULL));
  INVALID(pagestore_memory_blocks(f->memory, PAGESTORE_BLOCKS_DIRTY, NULL, NULL));
  INVALID(pagestore_memory_blocks(f->memory, 99, stop_range, NULL));
  REFUSED(pagestore_memory_blocks(f->memory, PAGESTORE_BLOCKS_STORED, stop_range, NULL), PAGESTORE_EABORTED);
  REFUSED(pagestore_memory_blocks(f->memory, PAGESTORE_BLOCKS_RESIDENT, stop_range, NULL), PAGESTORE_EABORTED);
  INVALID(pagestore_memory_each(f->instance, NULL, NULL));
  REFUSED(pagestore_memory_each(f->instance, stop_memory, NULL), PAGESTORE_EABORTED);
  INVALID(pagestore_diff(f->view, f->view, NULL, NULL));
  INVALID(pagestore_diff(NULL, f->view, stop_range, NULL));
  INVALID(pagestore_diff(f->view, NULL, stop_range, NULL));
  INVALID(pagestore_diff(f->instance, f->view, stop_range, NULL));
}

static int stop_key(void *env, const char *key, const void *value, size_t length) {
  (void)env, (void)key, (void)value, (void)length;
  return 7;
}

static void metadata(void **state) {
  fixture *f = begin(state);
  uint8_t room[8];
  size_t length = 99;
  INVALID(pagestore_metadata_set(NULL, "key", "v", 1));
  INVALID(pagestore_metadata_set(f->instance, "", "v", 1));
  INVALID(pagestore_metadata_set(f->instance, "\xc2\x85", "v", 1)); /* a control character, and none */
  assert_ok(pagestore_metadata_set(f->instance, "\xc2\xa9", "v", 1));
  assert_ok(pagestore_rollback(f->instance));
  REFUSED(pagestore_metadata_set(f->view, "key", "v", 1), PAGESTORE_EREADONLY);
  INVALID(pagestore_metadata_get(NULL, "key", room, sizeof room, &length));
  INVALID(pagestore_metadata_get(f->instance, NULL, room, sizeof room, &length));
  INVALID(pagestore_metadata_get(f->instance, "key", NULL, 4, &length));
  REFUSED(pagestore_metadata_get(f->instance, "none", room, sizeof room, &length), PAGESTORE_ENOTFOUND);
  REFUSED(pagestore_metadata_get(f->instance, "key", room, 2, &length), PAGESTORE_EBOUNDS);
  assert_int_equal(length, 5);
  INVALID(pagestore_metadata_each(f->instance, NULL, NULL));
  INVALID(pagestore_metadata_each(NULL, stop_key, NULL));
  REFUSED(pagestore_metadata_each(f->instance, stop_key, NULL), PAGESTORE_EABORTED);
}

static void messages(void **state) {
  fixture *f = begin(state);
  pagestore_instance *none[] = {NULL}, *other[2] = {f->instance};
  pagestore_store *store;
  char path[4200];
  INVALID(pagestore_commit(NULL, 0, NULL));
  INVALID(pagestore_commit(f->instance, 1u << 20, NULL));
  REFUSED(pagestore_commit(f->view, 0, NULL), PAGESTORE_EREADONLY);
  INVALID(pagestore_rollback(NULL));
  INVALID(pagestore_commit_all(NULL, 1, 0));
  INVALID(pagestore_commit_all(none, 1, 0));
  INVALID(pagestore_commit_all(&f->instance, 1, 1u << 20));
  snprintf(path, sizeof path, "%s/other", f->directory);
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .map_bytes = 1ull << 34), &store));
  assert_ok(pagestore_instance_open(store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &other[1]));
  INVALID(pagestore_commit_all(other, 2, 0));
  pagestore_instance_close(other[1]);
  assert_ok(pagestore_close(store));
  other[1] = f->instance;
  INVALID(pagestore_commit_all(other, 2, 0));
  INVALID(pagestore_restore(f->instance, NULL));
  REFUSED(pagestore_restore(f->instance, "none"), PAGESTORE_ENOTFOUND);
  REFUSED(pagestore_restore(f->view, "first"), PAGESTORE_EREADONLY);
}

/* ---- stores ---------------------------------------------------------------------------------------------------- */

static void stores(void **state) {
  fixture *f = begin(state);
  char path[4200], longest[5000];
  pagestore_store *out;
  snprintf(path, sizeof path, "%s/new", f->directory);
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
#define OPEN(...) pagestore_open(path, PAGESTORE_WITH(pagestore_options, __VA_ARGS__), &out)
  INVALID(pagestore_open(NULL, NULL, &out));
  INVALID(pagestore_open("", NULL, &out));
  INVALID(pagestore_open(longest, NULL, &out));
  INVALID(pagestore_open(path, NULL, NULL));
  INVALID(pagestore_open(path, &(pagestore_options){.size = 3}, &out));
  INVALID(OPEN(.flags = 1u << 20));
  INVALID(OPEN(.flags = PAGESTORE_READ | PAGESTORE_CREATE));
  INVALID(OPEN(.flags = PAGESTORE_EXCLUSIVE));
  INVALID(OPEN(.flags = PAGESTORE_CREATE, .tracker = (pagestore_tracker)99));
  REFUSED(OPEN(.flags = 0), PAGESTORE_ENOTFOUND);
#undef OPEN
  INVALID(pagestore_copy(NULL, path, 0));
  INVALID(pagestore_copy(f->store, NULL, 0));
  INVALID(pagestore_copy(f->store, "", 0));
  INVALID(pagestore_copy(f->store, path, 1u << 20));
  REFUSED(pagestore_copy(f->store, f->directory, 0), PAGESTORE_EEXIST);
  snprintf(path, sizeof path, "%s/store/data.mdb/copy", f->directory);
  assert_true(pagestore_copy(f->store, path, 0) != 0 && strlen(pagestore_detail()) > 10);
  INVALID(pagestore_compact(NULL));
  INVALID(pagestore_compact(""));
  INVALID(pagestore_sync(NULL, 0));
  INVALID(pagestore_drain(NULL, 0));
}

/* Two stores, each with an instance: nothing goes from one to the other but a stream. */
static void two_stores(void **state) {
  fixture *f = begin(state);
  char path[4200];
  pagestore_store *store;
  pagestore_instance *one, *view;
  snprintf(path, sizeof path, "%s/other", f->directory);
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .map_bytes = 1ull << 34), &store));
  assert_ok(pagestore_instance_open(store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &one));
  assert_ok(pagestore_metadata_set(one, "key", "value", 5));
  assert_ok(pagestore_commit(one, 0, NULL));
  assert_ok(pagestore_instance_open(store, "one", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  INVALID(pagestore_diff(f->view, view, stop_range, NULL));
  INVALID(pagestore_send(f->view, view, stop_write, NULL));
  INVALID(pagestore_send(NULL, f->view, NULL, NULL));
  INVALID(pagestore_send(f->view, f->instance, stop_write, NULL));
  pagestore_instance_close(view);
  pagestore_instance_close(one);
  assert_ok(pagestore_close(store));
}

static int no_history(void *env, const pagestore_history_info *info) {
  (void)env, (void)info;
  return 7;
}

/* A store that is open for reading has views alone, of the present and of snapshots. */
static void a_store_for_reading(void **state) {
  fixture *f = begin(state);
  char path[4200];
  pagestore_instance *out;
  pagestore_instance_close(f->view);
  pagestore_instance_close(f->instance);
  assert_ok(pagestore_close(f->store));
  f->view = f->instance = NULL;
  snprintf(path, sizeof path, "%s/store", f->directory);
  assert_ok(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ, .map_bytes = 1ull << 34), &f->store));
#define OPEN(name, ...) pagestore_instance_open(f->store, name, PAGESTORE_WITH(pagestore_instance_options, __VA_ARGS__), &out)
  REFUSED(OPEN("one", .flags = 0), PAGESTORE_EREADONLY);
  REFUSED(OPEN("one", .flags = PAGESTORE_READ, .version = 77), PAGESTORE_ENOTFOUND);
  REFUSED(OPEN("none", .flags = PAGESTORE_READ), PAGESTORE_ENOTFOUND);
  assert_ok(OPEN("one", .flags = PAGESTORE_READ, .version = PAGESTORE_DURABLE));
#undef OPEN
  REFUSED(pagestore_instance_advance(out, 77), PAGESTORE_ENOTFOUND);
  assert_ok(pagestore_instance_advance(out, PAGESTORE_LATEST));
  assert_ok(pagestore_instance_advance(out, PAGESTORE_DURABLE));
  assert_ok(pagestore_instance_advance(out, 1));
  assert_int_equal(pagestore_committed_version(out), 1);
  REFUSED(pagestore_instance_delete(f->store, "one", 0), PAGESTORE_EREADONLY);
  REFUSED(pagestore_sync(f->store, 0), PAGESTORE_EREADONLY);
  REFUSED(pagestore_drain(f->store, 0), PAGESTORE_EREADONLY);
  REFUSED(pagestore_history_each(f->store, "none", no_history, NULL), PAGESTORE_ENOTFOUND);
  pagestore_instance_close(out);
}

/* A poll does not wait; and a view moves to what is durable, but not back to it. */
static void polls_and_moving_back(void **state) {
  fixture *f = begin(state);
  enum { TRIES_MAX = 2000 };
  pagestore_instance *writer, *view;
  unsigned early = 0, back = 0;
  assert_ok(pagestore_instance_open(f->store, "busy", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &writer));
  assert_ok(pagestore_metadata_set(writer, "key", "first", 5));
  assert_ok(pagestore_commit(writer, 0, NULL));
  for (unsigned n = 0; n < TRIES_MAX && (early == 0 || back == 0); n++) {
    uint64_t version = 0;
    assert_ok(pagestore_metadata_set(writer, "key", &n, sizeof n));
    assert_ok(pagestore_commit(writer, PAGESTORE_ASYNC, &version));
    int status = n % 2 ? pagestore_wait(writer, version, 0) : pagestore_sync(f->store, 0);
    if (status) check_status(status, PAGESTORE_ETIMEDOUT, "a poll", __FILE__, __LINE__), early++;
    assert_ok(pagestore_metadata_set(writer, "key", "again", 5));
    assert_ok(pagestore_commit(writer, PAGESTORE_ASYNC, &version));
    assert_ok(pagestore_instance_open(f->store, "busy", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
    status = pagestore_instance_advance(view, PAGESTORE_DURABLE);
    if (status) check_status(status, PAGESTORE_EINVAL, "back", __FILE__, __LINE__), back++;
    assert_int_equal(pagestore_committed_version(view), version);
    assert_ok(pagestore_sync(f->store, PAGESTORE_FOREVER));
    assert_ok(pagestore_instance_advance(view, PAGESTORE_DURABLE));
    pagestore_instance_close(view);
  }
  assert_true(early > 0 && back > 0);
  pagestore_instance_close(writer);
}

/* ---- listings, snapshots, names -------------------------------------------------------------------------------- */

static int stop_instance(void *env, const pagestore_instance_info *info) {
  (void)env, (void)info;
  return 7;
}

static int stop_snapshot(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  (void)env, (void)name, (void)version, (void)retained_bytes;
  return 7;
}

static int stop_history(void *env, const pagestore_history_info *info) {
  (void)env, (void)info;
  return 7;
}

static void listings(void **state) {
  fixture *f = begin(state);
  INVALID(pagestore_instance_each(NULL, NULL, stop_instance, NULL));
  INVALID(pagestore_instance_each(f->store, NULL, NULL, NULL));
  REFUSED(pagestore_instance_each(f->store, NULL, stop_instance, NULL), PAGESTORE_EABORTED);
  assert_ok(pagestore_instance_each(f->store, "one", stop_instance, NULL));
  INVALID(pagestore_snapshot_each(f->store, "", stop_snapshot, NULL));
  INVALID(pagestore_snapshot_each(f->store, "one", NULL, NULL));
  REFUSED(pagestore_snapshot_each(f->store, "none", stop_snapshot, NULL), PAGESTORE_ENOTFOUND);
  REFUSED(pagestore_snapshot_each(f->store, "one", stop_snapshot, NULL), PAGESTORE_EABORTED);
  INVALID(pagestore_history_each(f->store, "", stop_history, NULL));
  INVALID(pagestore_history_each(NULL, "one", stop_history, NULL));
  INVALID(pagestore_snapshot_each(NULL, "one", stop_snapshot, NULL));
  INVALID(pagestore_history_each(f->store, "one", NULL, NULL));
  REFUSED(pagestore_history_each(f->store, "none", stop_history, NULL), PAGESTORE_ENOTFOUND);
  REFUSED(pagestore_history_each(f->store, "one", stop_history, NULL), PAGESTORE_EABORTED);
}

/* A struct of a newer or older host: as long as it says, the rest zero. */
static void sizes_of_structs(void **state) {
  fixture *f = begin(state);
  struct {
    pagestore_instance_info info;
    uint8_t more[64];
  } longer;
  memset(&longer, 0x5a, sizeof longer);
  longer.info.size = sizeof longer;
  assert_ok(pagestore_instance_stat(f->instance, &longer.info));
  assert_int_equal(longer.info.committed, 1);
  for (size_t i = 0; i < sizeof longer.more; i++) assert_int_equal(longer.more[i], 0);
  pagestore_instance_info info = { .size = 3 };
  INVALID(pagestore_instance_stat(f->instance, &info));
  info.size = 5000;
  INVALID(pagestore_instance_stat(f->instance, &info));
  INVALID(pagestore_instance_stat(f->instance, NULL));
  INVALID(pagestore_instance_stat(NULL, &info));
  pagestore_statistics statistics = { .size = 1 };
  INVALID(pagestore_stats(f->store, &statistics));
  statistics.size = 5000;
  INVALID(pagestore_stats(f->store, &statistics));
  INVALID(pagestore_stats(f->store, NULL));
  INVALID(pagestore_stats(NULL, &statistics));
  pagestore_store_info store = { .size = 2 };
  INVALID(pagestore_store_stat(f->store, &store));
  store.size = 5000;
  INVALID(pagestore_store_stat(f->store, &store));
  pagestore_platform platform = { .size = 5000 };
  INVALID(pagestore_probe(&platform));
  INVALID(pagestore_store_stat(f->store, NULL));
}

static void snapshots_and_forks(void **state) {
  fixture *f = begin(state);
  pagestore_instance *out;
  INVALID(pagestore_snapshot_create(NULL, "x", 0));
  INVALID(pagestore_snapshot_create(f->instance, "", 0));
  INVALID(pagestore_snapshot_create(f->instance, "x", 1u << 20));
  REFUSED(pagestore_snapshot_create(f->instance, "first", 0), PAGESTORE_EEXIST);
  INVALID(pagestore_snapshot_drop(NULL, "one", "first", 0));
  INVALID(pagestore_snapshot_drop(f->store, "", "first", 0));
  INVALID(pagestore_snapshot_drop(f->store, "one", "", 0));
  INVALID(pagestore_snapshot_drop(f->store, "one", "first", 1u << 20));
  REFUSED(pagestore_snapshot_drop(f->store, "one", "none", 0), PAGESTORE_ENOTFOUND);
  REFUSED(pagestore_snapshot_drop(f->store, "none", "first", 0), PAGESTORE_ENOTFOUND);
  INVALID(pagestore_fork(NULL, "two", NULL, &out));
  INVALID(pagestore_fork(f->view, "two", NULL, NULL));
  INVALID(pagestore_fork(f->view, "", NULL, &out));
  INVALID(pagestore_fork(f->view, "two", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &out));
  INVALID(pagestore_fork(f->view, "two", PAGESTORE_WITH(pagestore_instance_options, .snapshot = "first"), &out));
  INVALID(pagestore_fork(f->view, "two", PAGESTORE_WITH(pagestore_instance_options, .version = 1), &out));
  REFUSED(pagestore_fork(f->view, "one", NULL, &out), PAGESTORE_EEXIST);
  INVALID(pagestore_instance_delete(NULL, "one", 0));
  INVALID(pagestore_instance_delete(f->store, "", 0));
  INVALID(pagestore_instance_delete(f->store, "one", 1u << 20));
  REFUSED(pagestore_instance_delete(f->store, "none", 0), PAGESTORE_ENOTFOUND);
  REFUSED(pagestore_instance_delete(f->store, "one", 0), PAGESTORE_EBUSY);
}

int main(void) {
#define CASE(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
  const struct CMUnitTest tests[] = {
    CASE(instances), CASE(module_hashes), CASE(memories), CASE(a_volatile_memory_comes_back), CASE(a_stored_memory_has_its_type), CASE(an_upgraded_memory), CASE(a_revived_memory), CASE(access_and_blocks), CASE(metadata),
    CASE(messages), CASE(stores), CASE(two_stores), CASE(a_store_for_reading), CASE(polls_and_moving_back), CASE(listings), CASE(sizes_of_structs), CASE(snapshots_and_forks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
