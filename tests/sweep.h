/* sweep.h - a program over the public functions, run again and again, each time with another call failing under it.
 *
 *   sweep_run(w, injector, at, lasting)    the program once; the injector's `at`-th call fails, alone or with all later ones
 *   sweep_all(...)                         the same for every call there is, and what was left behind in between
 *
 * The program is a list of steps; each ends at a boundary and can be taken again. A step that fails ends the injection. Asserted then:
 * - the failure was the injector's; its status is one that the injector allows, with a text of its own;
 * - the state is that before the step or that behind it, whole (EFAILED: found by closing and opening again; the injector may cut the
 *   power in between); a commit that was refused is committed again as it is, or rolled back, by turns: its blocks were kept;
 * - the step succeeds when it is taken again, and so do all later ones; the last state is right, now and reopened;
 * - creation leaves nothing beside the store; no descriptor and no mapping stays behind.
 */
#ifndef PAGESTORE_TESTS_SWEEP_H
#define PAGESTORE_TESTS_SWEEP_H

#include <dirent.h>

#include "fault_rows.h"
#include "host_fixture.h"
#include "support/text.h"

enum { PAGES = 12, BUFFER_MAX = 4 << 20 };

typedef struct {
  const char *name;
  void (*arm)(uint64_t at, bool lasting);   /* counts from here; at 0 never fails */
  void (*disarm)(void);
  uint64_t (*failed)(void);                  /* since armed */
  bool (*allowed)(int status);               /* EFAILED only if it is */
  void (*power_cut)(const char *file);       /* after EFAILED, nothing open. NULL: none */
  uint64_t first, stride;                    /* of `at`, from 1 + first on; stride 0: not so */
  uint64_t lasting_first, lasting_stride;
} injector;

typedef struct {
  host h;
  pagestore_memory *wide, *marked, *scratch;
  pagestore_instance *fork;
  bool committing;                           /* the message is whole: only its commit was missing */
  uint8_t *sent;
  size_t sent_bytes, sent_at;
  const injector *with;
  uint64_t at, blamed;                       /* failures that a step has told of */
  bool lasting;
} world;

static void (*sweep_disarm)(void); /* of the last run: it may have ended anywhere */
static struct { unsigned runs, met, failed_stores, sites, committed_again; } sweep_count;

#define TRY(call)                        \
  do {                                   \
    int try_ = (call);                   \
    if (try_) return try_;               \
  } while (0)

/* ---- the program ------------------------------------------------------------------------------------------------------------------ */

static int open_store(world *w) { return w->h.store ? 0 : host_open_store(&w->h); }

static int open_instance(world *w) {
  host *h = &w->h;
  if (!h->instance) TRY(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance));
  TRY(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .guard_bytes = MIB, .flags = PAGESTORE_KEEP), &h->memory));
  h->base = pagestore_memory_base(h->memory);
  TRY(pagestore_memory_open(h->instance, "wide", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64, .pages = 2, .max_pages = 1 << 16), &w->wide));
  return pagestore_memory_open(h->instance, "scratch", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_VOLATILE, .pages = 2, .guard_bytes = MIB), &w->scratch);
}

static int open_marked(world *w) {
  return pagestore_memory_open(w->h.instance, "marked", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_EXPLICIT, .pages = 2, .guard_bytes = MIB), &w->marked);
}

static int commit_message(world *w) {
  w->committing = true;
  return pagestore_commit(w->h.instance, 0, NULL);
}

static uint8_t page_bytes[PAGESTORE_PAGE];

static int write_page(pagestore_memory *m, uint64_t page, uint64_t tag) {
  fill_page(page_bytes, page, tag);
  return pagestore_memory_write(m, page * PAGESTORE_PAGE, page_bytes, PAGESTORE_PAGE);
}

static int first_message(world *w) {
  static uint8_t large[20000];
  TRY(open_marked(w));
  for (uint64_t p = 0; p < PAGES; p++) TRY(write_page(w->h.memory, p, 1));
  TRY(write_page(w->wide, 1, 1));
  TRY(write_page(w->marked, 0, 1));
  TRY(write_page(w->scratch, 0, 1));
  TRY(pagestore_metadata_set(w->h.instance, "large", large, sizeof large));
  TRY(pagestore_metadata_set(w->h.instance, "module.x", "x", 1));
  return commit_message(w);
}

static int snapshot(world *w) {
  int status = pagestore_snapshot_create(w->h.instance, "s", 0);
  return status == PAGESTORE_EEXIST ? 0 : status;
}

/* The guest writes; a trap is a message that commit refuses. */
static int second_message(world *w) {
  host *h = &w->h;
  bool trapped = false;
  for (uint64_t p = 0; p < PAGES; p += 2)
    for (uint64_t b = 0; b < 16 && !trapped; b += 3) trapped = !guest_store(h->base + p * PAGESTORE_PAGE + b * PAGESTORE_BLOCK, (uint8_t)(7 + p));
  if (trapped) return pagestore_commit(h->instance, 0, NULL);
  TRY(pagestore_memory_prepare(h->memory, PAGESTORE_PAGE, 3 * PAGESTORE_PAGE, true));
  h->base[PAGESTORE_PAGE + 1] = 8;
  TRY(open_marked(w));
  TRY(pagestore_memory_mark(w->marked, 5, 10));
  if (!guest_store(pagestore_memory_base(w->marked) + 7, 9)) return pagestore_commit(h->instance, 0, NULL);
  if (pagestore_memory_pages(h->memory) == PAGES) TRY(pagestore_memory_grow(h->memory, 2, NULL));
  TRY(pagestore_memory_fill(h->memory, PAGES * PAGESTORE_PAGE, 3, 2 * PAGESTORE_PAGE));
  TRY(pagestore_memory_fill(h->memory, 11 * PAGESTORE_PAGE, 0, PAGESTORE_PAGE));
  w->committing = true;
  TRY(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL));
  return pagestore_sync(h->store, PAGESTORE_FOREVER);
}

static int ignore_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m, (void)offset;
  *(uint64_t *)env += length;
  return 0;
}

static int use_views(world *w, pagestore_instance *views[3]) {
  pagestore_instance_options options = { .size = sizeof options, .flags = PAGESTORE_READ };
  pagestore_memory *m;
  uint64_t differs = 0;
  uint8_t bytes[100];
  TRY(pagestore_instance_open(w->h.store, "i", &options, &views[0]));
  options.snapshot = "s";
  TRY(pagestore_instance_open(w->h.store, "i", &options, &views[1]));
  options.flags = PAGESTORE_PRIVATE;
  TRY(pagestore_instance_open(w->h.store, "i", &options, &views[2]));
  TRY(pagestore_memory_open(views[0], "m", NULL, &m));
  TRY(pagestore_memory_read(m, 5 * PAGESTORE_PAGE, bytes, sizeof bytes));
  assert_int_equal(bytes[0], page_word(5, 1, 0) & 255);
  TRY(pagestore_diff(views[1], views[0], ignore_range, &differs));
  assert_true(differs >= 6 * 6 * PAGESTORE_BLOCK);
  TRY(pagestore_memory_open(views[2], "m", NULL, &m));
  TRY(write_page(m, 0, 5));
  TRY(pagestore_rollback(views[2]));
  TRY(pagestore_memory_read(m, 0, bytes, sizeof bytes));
  assert_int_equal(bytes[0], page_word(0, 1, 0) & 255);
  return pagestore_instance_advance(views[0], PAGESTORE_LATEST);
}

static int views(world *w) {
  pagestore_instance *opened[3] = {0};
  int status = use_views(w, opened);
  for (int i = 0; i < 3; i++) pagestore_instance_close(opened[i]);
  return status;
}

static int stop_at(void *env, const pagestore_instance_info *info) { return strcmp(env, info->name) == 0; }

static bool is_listed(world *w, const char *name) {
  int status = pagestore_instance_each(w->h.store, NULL, stop_at, (void *)(uintptr_t)name);
  if (status != PAGESTORE_EABORTED) assert_ok(status);
  return status != 0;
}

static int fork_and_commit_all(world *w) {
  pagestore_memory *m;
  if (!w->fork) {
    int status = pagestore_fork(w->h.instance, "f", NULL, &w->fork);
    if (status == PAGESTORE_EEXIST) status = pagestore_instance_open(w->h.store, "f", NULL, &w->fork);
    TRY(status);
  }
  TRY(pagestore_memory_open(w->fork, "m", NULL, &m));
  TRY(write_page(m, 3, 4));
  TRY(write_page(w->h.memory, 3, 3));
  w->committing = true;
  return pagestore_commit_all((pagestore_instance *[]){ w->h.instance, w->fork }, 2, 0);
}

/* What the guest has written lies in the log until here, or was merged as soon as it was there (sweep_run). */
static int drain(world *w) { return pagestore_drain(w->h.store, PAGESTORE_FOREVER); }

static int upgrade(world *w) {
  uint8_t hash[32] = {1};
  TRY(pagestore_upgrade(w->h.instance, hash));
  TRY(pagestore_memory_open(w->h.instance, "wide", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP, .pages = 3, .max_pages = 1 << 16), &w->wide));
  TRY(write_page(w->wide, 2, 2));
  return commit_message(w);
}

static void close_handles(world *w) {
  pagestore_instance_close(w->fork);
  pagestore_instance_close(w->h.instance);
  w->fork = w->h.instance = NULL;
}

static int close_store(world *w) {
  close_handles(w);
  int status = w->h.store ? pagestore_close(w->h.store) : 0;
  w->h.store = NULL;
  return status;
}

/* Closed, opened for reading, opened with all tree pages checked. */
static int reopen(world *w) {
  TRY(close_store(w));
  TRY(pagestore_open(w->h.path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &w->h.store));
  int status = views(w);
  if (!status) status = pagestore_instance_each(w->h.store, NULL, stop_at, "none");
  int closed = pagestore_close(w->h.store);
  w->h.store = NULL;
  TRY(status);
  TRY(closed);
  w->h.options.flags = PAGESTORE_VERIFY;
  status = host_open_store(&w->h);
  w->h.options.flags = 0;
  return status ? status : open_instance(w);
}

static int restore(world *w) {
  TRY(pagestore_restore(w->h.instance, "s"));
  TRY(write_page(w->h.memory, 4, 6));
  return commit_message(w);
}

static int count_metadata(void *env, const char *key, const void *value, size_t length) {
  (void)key, (void)value;
  *(uint64_t *)env += length;
  return 0;
}

static int count_snapshot(void *env, const char *name, uint64_t version, uint64_t bytes) {
  (void)name, (void)version, (void)bytes;
  ++*(uint64_t *)env;
  return 0;
}

static int count_instance(void *env, const pagestore_instance_info *info) {
  (void)info;
  ++*(uint64_t *)env;
  return 0;
}

static int count_memory(void *env, const pagestore_memory_info *info) {
  (void)info;
  ++*(uint64_t *)env;
  return 0;
}

static int count_history(void *env, const pagestore_history_info *info) {
  (void)info;
  ++*(uint64_t *)env;
  return 0;
}

static int look(world *w) {
  pagestore_instance_info info = { .size = sizeof info };
  pagestore_statistics stats = { .size = sizeof stats };
  pagestore_store_info store = { .size = sizeof store };
  uint64_t count = 0, ranges = 0, instances = 0, memories = 0, history = 0;
  char one;
  TRY(pagestore_snapshot_each(w->h.store, "i", count_snapshot, &count));
  TRY(pagestore_instance_each(w->h.store, NULL, count_instance, &instances));
  TRY(pagestore_memory_each(w->h.instance, count_memory, &memories));
  TRY(pagestore_history_each(w->h.store, "i", count_history, &history));
  assert_int_equal(count, 1);
  assert_int_equal(instances, 2);
  assert_int_equal(memories, 3);
  assert_int_equal(history, 2);
  TRY(pagestore_metadata_each(w->h.instance, count_metadata, &count));
  assert_int_equal(count, 20002);
  TRY(pagestore_metadata_get(w->h.instance, "module.x", &one, 1, NULL));
  TRY(pagestore_instance_stat(w->h.instance, &info));
  TRY(pagestore_store_stat(w->h.store, &store));
  assert_int_equal(store.instances, 2);
  TRY(pagestore_stats(w->h.store, &stats));
  TRY(pagestore_memory_blocks(w->h.memory, PAGESTORE_BLOCKS_DIRTY, ignore_range, &ranges));
  TRY(pagestore_memory_blocks(w->h.memory, PAGESTORE_BLOCKS_RESIDENT, ignore_range, &ranges));
  TRY(pagestore_memory_blocks(w->h.memory, PAGESTORE_BLOCKS_STORED, ignore_range, &ranges));
  TRY(pagestore_instance_trim(w->h.instance, PAGESTORE_PAGE));
  assert_int_equal(pagestore_memory_max(w->h.memory), 65536);
  return pagestore_wait(w->h.instance, PAGESTORE_LATEST, PAGESTORE_FOREVER);
}

static int keep_sent(void *env, const void *bytes, size_t length) {
  world *w = env;
  if (w->sent_bytes + length > BUFFER_MAX) return 1;
  memcpy(w->sent + w->sent_bytes, bytes, length);
  w->sent_bytes += length;
  return 0;
}

static int give_sent(void *env, void *bytes, size_t room, size_t *length) {
  world *w = env;
  *length = w->sent_bytes - w->sent_at < room ? w->sent_bytes - w->sent_at : room;
  memcpy(bytes, w->sent + w->sent_at, *length);
  w->sent_at += *length;
  return 0;
}

static int transfer(world *w) {
  pagestore_instance *view;
  TRY(pagestore_instance_open(w->h.store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  w->sent_bytes = w->sent_at = 0;
  int status = pagestore_send(NULL, view, keep_sent, w);
  pagestore_instance_close(view);
  if (!status) status = pagestore_receive(w->h.store, "received", give_sent, w);
  return status == PAGESTORE_EEXIST ? 0 : status;
}

static int delete_fork(world *w) {
  pagestore_instance_close(w->fork);
  w->fork = NULL;
  int status = pagestore_instance_delete(w->h.store, "f", 0);
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int drop_snapshot(world *w) {
  int status = pagestore_snapshot_drop(w->h.store, "i", "s", 0);
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int delete_memory(world *w) {
  int status = pagestore_memory_open(w->h.instance, "marked", NULL, &w->marked);
  if (status == PAGESTORE_ENOTFOUND) return 0;
  TRY(status);
  TRY(pagestore_memory_delete(w->marked));
  return commit_message(w);
}

/* Behind the deletions there is trash to work off: a few more messages, each with room for a step of it. */
static int later_messages(world *w) {
  for (uint64_t tag = 20; tag < 23; tag++) {
    TRY(write_page(w->h.memory, 7, tag));
    TRY(commit_message(w));
  }
  return 0;
}

/* ---- what must be there after each step -------------------------------------------------------------------------------------------- */

typedef struct { int (*run)(world *); const char *name; } step;
static const step steps[] = {
  { open_store, "open" },       { open_instance, "instance" },           { first_message, "message" },     { snapshot, "snapshot" },
  { second_message, "guest" },  { views, "views" },                      { fork_and_commit_all, "fork" },  { drain, "drain" },
  { upgrade, "upgrade" },       { reopen, "reopen" },         { restore, "restore" },                  { look, "look" },                 { transfer, "transfer" },
  { delete_fork, "delete fork" }, { drop_snapshot, "drop snapshot" },    { delete_memory, "delete memory" }, { later_messages, "later" },
};
enum { OPEN, INSTANCE, MESSAGE, SNAPSHOT, GUEST, VIEWS, FORK, DRAIN, UPGRADE, REOPEN, RESTORE, LOOK, TRANSFER, DELETE_FORK, DROP, DELETE, LATER, STEPS };

static bool page_of_is(pagestore_instance *i, uint64_t page, uint64_t tag) {
  static uint8_t have[PAGESTORE_PAGE];
  pagestore_memory *m;
  assert_ok(pagestore_memory_open(i, "m", NULL, &m));
  assert_ok(pagestore_memory_read(m, page * PAGESTORE_PAGE, have, sizeof have));
  return page_is(have, page, tag);
}

static bool other_is(world *w, const char *name, bool there, uint64_t page, uint64_t tag) {
  pagestore_instance *view;
  if (is_listed(w, name) != there) return false;
  if (!there) return true;
  assert_ok(pagestore_instance_open(w->h.store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ), &view));
  bool is = page_of_is(view, page, tag);
  pagestore_instance_close(view);
  return is;
}

static bool has_snapshot(world *w) {
  uint64_t count = 0;
  int status = pagestore_snapshot_each(w->h.store, "i", count_snapshot, &count);
  if (status != PAGESTORE_ENOTFOUND) assert_ok(status);
  return count > 0;
}

/* What is there is the state behind `done` steps; the handle has no open message. */
static bool state_is(world *w, int done) {
  pagestore_instance_info info = { .size = sizeof info };
  host *h = &w->h;
  uint64_t pages = done > GUEST && done <= RESTORE ? PAGES + 2 : PAGES;
  assert_ok(pagestore_instance_stat(h->instance, &info));
  if ((info.committed > 0) != (done > MESSAGE) || (info.module_hash[0] == 1) != (done > UPGRADE && done <= RESTORE)) return false;
  if (done <= MESSAGE) return true;
  if (has_snapshot(w) != (done > SNAPSHOT && done <= DROP)) return false;
  if (!other_is(w, "f", done > FORK && done <= DELETE_FORK, 3, 4) || !other_is(w, "received", done > TRANSFER, 4, 6)) return false;
  if (pagestore_memory_pages(h->memory) != pages) return false;
  if (!page_of_is(h->instance, 3, done > FORK && done <= RESTORE ? 3 : 1)) return false;
  if (!page_of_is(h->instance, 4, 1) && done <= GUEST) return false;
  if (done > RESTORE && !page_of_is(h->instance, 4, 6)) return false;
  if (!page_of_is(h->instance, 5, 1) || !page_of_is(h->instance, 9, 1)) return false;
  if (!page_of_is(h->instance, 11, done > GUEST && done <= RESTORE ? 0 : 1)) return false;
  if (done <= LATER && !page_of_is(h->instance, 7, 1)) return false;
  if (done > LATER && !page_of_is(h->instance, 7, 22)) return false;
  if (done <= GUEST || done > RESTORE) return page_of_is(h->instance, 0, 1);
  return h->base[3 * PAGESTORE_BLOCK] == 7 && h->base[PAGESTORE_PAGE + 1] == 8 && h->base[PAGES * PAGESTORE_PAGE] == 3;
}

/* ---- after a failed step --------------------------------------------------------------------------------------------------------------- */

static void sweep_fail(const world *w, int at, const char *what, int status) {
  fail_msg("%s, call %llu%s, tracker %d, step %s: %s: %d (%s)", w->with->name, (unsigned long long)w->at, w->lasting ? " and later" : "",
           (int)w->h.options.tracker, steps[at].name, what, status, status ? pagestore_detail() : "");
}

static void must(const world *w, int at, const char *what, int status) {
  if (status) sweep_fail(w, at, what, status);
}

/* Between the three later messages the state is one of its own. */
static void check_before_or_after(world *w, int at) {
  if (at >= MESSAGE && at != LATER && !state_is(w, at) && !state_is(w, at + 1)) sweep_fail(w, at, "neither the state before nor after", 0);
}

static bool store_has_failed(const world *w) { return w->h.store && host_stats(&w->h).failure == PAGESTORE_EFAILED; }

/* Nothing is known until the store was opened again: with what the disk has. */
static void open_again(world *w, int at) {
  sweep_count.failed_stores++;
  int status = close_store(w);
  if (status != PAGESTORE_EFAILED) sweep_fail(w, at, "closing a failed store", status);
  if (w->with->power_cut) w->with->power_cut(w->h.file);
  must(w, at, "opening again", host_open_store(&w->h));
  engine_install();
}

/* True: the message has been committed as it was. */
static bool commit_again(world *w, int at, int status) {
  if (!w->committing || status == PAGESTORE_EFAILED || w->at % 2 == 0) return false;
  int again = at == FORK ? pagestore_commit_all((pagestore_instance *[]){ w->h.instance, w->fork }, 2, 0) : pagestore_commit(w->h.instance, 0, NULL);
  /* A page that the kernel or LMDB did not give is given anew behind a rollback only. */
  if (again && (status == PAGESTORE_EIO || status == PAGESTORE_ECORRUPT) && again == status && strstr(pagestore_detail(), "roll back")) return false;
  must(w, at, "committing again", again);
  if (at != LATER && !state_is(w, at + 1)) sweep_fail(w, at, "committed again, not the state after", 0);
  sweep_count.committed_again++;
  return at != LATER;
}

/* Back to a boundary; true if the step need not be taken again. */
static bool recover(world *w, int at, int status) {
  if (!w->h.store) return false;
  bool failed = store_has_failed(w);
  if (!failed && at > INSTANCE && w->h.instance && commit_again(w, at, status)) return true;
  if (w->h.instance) (void)pagestore_rollback(w->h.instance);
  if (!failed && at > OPEN) must(w, at, "sync", pagestore_sync(w->h.store, 20000));
  close_handles(w);
  if (failed) open_again(w, at);
  if (at >= INSTANCE) must(w, at, "opening the instance again", open_instance(w));
  check_before_or_after(w, at);
  return false;
}

static void run_step(world *w, int at) {
  const injector *with = w->with;
  w->committing = false;
  text_forget();
  int status = steps[at].run(w);
  if (status == 0) return;
  char text[300];
  snprintf(text, sizeof text, "%s", pagestore_detail());
  with->disarm();
  if (with->failed() == w->blamed && !(w->lasting && w->blamed)) sweep_fail(w, at, "failed by itself", status);
  if (strlen(text) <= 10) sweep_fail(w, at, "a failure without a text", status);
  if (!with->allowed(status)) sweep_fail(w, at, "a status that this must not have", status);
  w->blamed = with->failed();
  sweep_count.met++;
  if (recover(w, at, status)) return;
  w->committing = false;
  must(w, at, "taken again", steps[at].run(w));
}

/* A fault may have met the flusher behind the last step. */
static void finish_program(world *w) {
  w->with->disarm();
  int status = pagestore_sync(w->h.store, 20000);
  if (status == PAGESTORE_EFAILED && w->with->allowed(status) && w->with->failed() > w->blamed) {
    sweep_count.met++;
    w->blamed = w->with->failed();
    open_again(w, LATER);
    must(w, LATER, "opening the instance again", open_instance(w));
    status = later_messages(w);
  }
  must(w, LATER, "sync at the end", status);
}

/* ---- runs ---------------------------------------------------------------------------------------------------------------------------------- */

/* By the C library itself: its own calls are nobody's to fail. */
static unsigned entries(const char *folder) {
  struct dirent **found;
  int count = scandir(folder, &found, NULL, NULL);
  for (int i = 0; i < count; i++) free(found[i]);
  if (count >= 0) free(found);
  return count < 0 ? 0 : (unsigned)count;
}

/* False: there were fewer calls. */
static bool sweep_run(world *w, const injector *with, uint64_t at, bool lasting, pagestore_tracker tracker) {
  *w = (world){ .sent = w->sent, .h.options = { .tracker = tracker }, .with = with, .at = at, .lasting = lasting };
  if ((at + lasting) % 2) w->h.options.log_bytes = 1;  /* merged at once, in the background */
  folder_make_in(&w->h, access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  sweep_disarm = with->disarm;
  with->arm(at, lasting);
  for (int i = 0; i < STEPS; i++) {
    run_step(w, i);
    if (i == OPEN) {
      engine_install();
      if (entries(w->h.folder) != 3) sweep_fail(w, i, "something beside the store", 0);
    }
  }
  finish_program(w);
  for (int again = 0; again < 2; again++) {
    if (!state_is(w, STEPS)) sweep_fail(w, LATER, again ? "the last state is wrong, reopened" : "the last state is wrong", 0);
    close_handles(w);
    must(w, LATER, "closing", close_store(w));
    if (again) break;
    must(w, LATER, "reopening", host_open_store(&w->h));
    engine_install();
    must(w, LATER, "reopening the instance", open_instance(w));
  }
  folder_remove(&w->h);
  sweep_count.runs++;
  return with->failed() > 0;
}

/* PAGESTORE_FAULT=name:call:lasting:tracker, that run alone. */
static bool is_another_run(world *w, const injector *with, pagestore_tracker tracker) {
  char name[64];
  unsigned long long at;
  int lasting, wanted;
  const char *given = getenv("PAGESTORE_FAULT");
  if (!given || sscanf(given, "%63[^:]:%llu:%d:%d", name, &at, &lasting, &wanted) != 4) return false;
  if (strcmp(name, with->name) == 0 && wanted == (int)tracker) sweep_run(w, with, at, lasting, tracker);
  return true;
}

/* From `first` on; how many of them were met, the last in *last. Their number is another one by turns: with the log's size. */
static unsigned sweep_each(world *w, const injector *with, uint64_t first, uint64_t stride, bool lasting, pagestore_tracker tracker,
                           uint64_t *last) {
  unsigned tried = 0, missed = 0;
  for (uint64_t at = 1 + first; stride && missed < 2; at += stride) {
    bool met = sweep_run(w, with, at, lasting, tracker);
    if (met) tried++, *last = at;
    missed = met ? 0 : missed + 1;
  }
  return tried;
}

/* Every stride-th call once, and every lasting_stride-th and all behind it. Returns the number of calls that failed first. */
static unsigned sweep_all(world *w, const injector *with, pagestore_tracker tracker) {
  if (is_another_run(w, with, tracker)) return 0;
  unsigned runs = sweep_count.runs, met = sweep_count.met;
  uint64_t sites = 0, unused;
  sweep_run(w, with, 0, false, tracker); /* once undisturbed: what is made once a process is made */
  unsigned descriptors = entries("/proc/self/fd"), mappings = entries("/proc/self/map_files");
  unsigned tried = sweep_each(w, with, with->first, with->stride, false, tracker, &sites) +
                   sweep_each(w, with, with->lasting_first, with->lasting_stride, true, tracker, &unused);
  assert_int_equal(entries("/proc/self/fd"), descriptors);
  assert_in_range(entries("/proc/self/map_files"), 0, mappings + 12);
  sweep_count.sites += (unsigned)sites;
  print_message("%s, tracker %d: %llu sites, %u faults, %u runs, %u times a call said so\n", with->name, (int)tracker, (unsigned long long)sites,
                tried, sweep_count.runs - runs, sweep_count.met - met);
  return tried;
}

static UNUSED bool all_of_them(void) {
  const char *all = getenv("PAGESTORE_TESTS_LONG");
  return all && strcmp(all, "yes") == 0;
}

/* Printed, so that the same calls can be chosen again. */
static UNUSED uint64_t sweep_seed(void) {
  const char *given = getenv("PAGESTORE_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u % 1000000;
  print_message("PAGESTORE_SEED=%llu\n", (unsigned long long)seed);
  return seed;
}

static UNUSED bool tracker_is_there(pagestore_tracker tracker) {
  host h = { .options.tracker = tracker };
  folder_make(&h);
  bool there = host_open_store(&h) == 0;
  if (there) pagestore_close(h.store);
  folder_remove(&h);
  return there;
}

static int make_world(void **state) {
  *state = calloc(1, sizeof(world));
  ((world *)*state)->sent = malloc(BUFFER_MAX);
  return 0;
}

static int free_world(void **state) {
  if (sweep_disarm) sweep_disarm();
  free(((world *)*state)->sent);
  free(*state);
  return 0;
}

#endif
