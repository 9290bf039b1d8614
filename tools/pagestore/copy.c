/* copy.c - whole stores: backup, copy, compact.
 *
 * The library copies in one call that does not tell how far it is, so for a progress that is shown a second thread
 * looks how much the process has written since. Without /proc/self/io nothing is known before the end.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "change.h"
#include "complain.h"
#include "look.h"
#include "progress.h"
#include "text.h"

enum { TRASH_WAIT_MS = 60000, OBSERVE_EVERY_NS = 100000000 };

static int file_bytes(pagestore_store *s, uint64_t *bytes) {
  pagestore_store_info info = {.size = sizeof info};
  int status = pagestore_store_stat(s, &info);
  if (status) return complain_status(status, NULL);
  *bytes = info.file_bytes;
  return EXIT_OK;
}

/* What was made is opened and walked: a copy that cannot be read is none. */
static int tell_copy(const char *path) {
  pagestore_store *copy;
  uint64_t bytes = 0;
  char text[TEXT_SIZE];
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | PAGESTORE_VERIFY),
                              &copy);
  if (status) return look_open_failed(status);
  int code = file_bytes(copy, &bytes);
  pagestore_close(copy);
  if (code == EXIT_OK) change_done("%s is there, %s bytes, verified", path, text_bytes(bytes, text));
  return code;
}

/* ---- how far the library is ------------------------------------------------------------------- */

typedef struct {
  progress progress; /* the thread's while it runs */
  bool runs, over;
  uint64_t written_before;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t end;
} observer;

/* Bytes that this process gave to write calls; 0: the kernel does not tell. */
static uint64_t bytes_written(void) {
  uint64_t bytes = 0;
  char line[128];
  FILE *f = fopen("/proc/self/io", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "wchar: %" SCNu64, &bytes) == 1) break;
  if (f) fclose(f);
  return bytes;
}

static void *observe(void *env) {
  observer *o = env;
  pthread_mutex_lock(&o->lock);
  while (!o->over) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += OBSERVE_EVERY_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&o->end, &o->lock, &until);
    uint64_t written = bytes_written() - o->written_before;
    if (!o->over && written > o->progress.done) progress_step(&o->progress, written - o->progress.done);
  }
  pthread_mutex_unlock(&o->lock);
  return NULL;
}

static void observer_start(observer *o, uint64_t total) {
  o->progress.total = total;
  if (!progress_shown(&o->progress) || (o->written_before = bytes_written()) == 0) return;
  o->runs = pthread_create(&o->thread, NULL, observe, o) == 0;
}

/* whole: all was written. */
static void observer_stop(observer *o, bool whole) {
  pthread_mutex_lock(&o->lock);
  o->over = true;
  pthread_cond_signal(&o->end);
  pthread_mutex_unlock(&o->lock);
  if (o->runs) pthread_join(o->thread, NULL);
  if (whole) o->progress.done = o->progress.total;
  progress_end(&o->progress);
}

/* ---- copies ----------------------------------------------------------------------------------- */

/* What a copy will have, about. */
static uint64_t bytes_to_copy(pagestore_store *s, bool compact) {
  pagestore_store_info info = {.size = sizeof info};
  if (pagestore_store_stat(s, &info) != 0) return 0;
  return compact ? info.file_bytes - info.free_bytes : info.file_bytes;
}

static int copy(const invocation *v, unsigned flags) {
  observer o = {.lock = PTHREAD_MUTEX_INITIALIZER, .end = PTHREAD_COND_INITIALIZER};
  pagestore_store *store;
  int code = progress_begin(&o.progress, v, v->command->name, 0);
  if (code != EXIT_OK || (code = look_open(v, &store)) != EXIT_OK) return code;
  observer_start(&o, progress_shown(&o.progress) ? bytes_to_copy(store, flags & PAGESTORE_COMPACT) : 0);
  int status = pagestore_copy(store, v->operand[1], flags);
  observer_stop(&o, status == 0);
  pagestore_close(store);
  return status ? complain_status(status, NULL) : tell_copy(v->operand[1]);
}

int command_backup(const invocation *v) { return copy(v, 0); }
int command_copy(const invocation *v) { return copy(v, option_given(v, "compact") ? PAGESTORE_COMPACT : 0); }

/* What was dropped but not given back yet would be copied: the writer's work, so it is let to do it. Where it does not
 * come to an end, pagestore_compact tells why. */
static int work_off_trash(const invocation *v, uint64_t *bytes, uint64_t *to_copy) {
  pagestore_store *store;
  int code = change_open(v, &store);
  if (code != EXIT_OK) return code;
  code = file_bytes(store, bytes);
  (void)pagestore_drain(store, TRASH_WAIT_MS);
  if (code == EXIT_OK) *to_copy = bytes_to_copy(store, true);
  return change_close(store, code);
}

int command_compact(const invocation *v) {
  observer o = {.lock = PTHREAD_MUTEX_INITIALIZER, .end = PTHREAD_COND_INITIALIZER};
  uint64_t before = 0, to_copy = 0, after = 0;
  char from[TEXT_SIZE], to[TEXT_SIZE];
  int code = progress_begin(&o.progress, v, "compact", 0);
  if (code != EXIT_OK || (code = work_off_trash(v, &before, &to_copy)) != EXIT_OK) return code;
  observer_start(&o, to_copy);
  int status = pagestore_compact(v->operand[0]);
  observer_stop(&o, status == 0);
  if (status) return look_open_failed(status);
  pagestore_store *store;
  if ((code = look_open(v, &store)) != EXIT_OK) return code;
  code = file_bytes(store, &after);
  pagestore_close(store);
  if (code == EXIT_OK) change_done("%s bytes before, %s now", text_bytes(before, from), text_bytes(after, to));
  return code;
}
