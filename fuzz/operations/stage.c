/* stage.c - the wrapped calls behind stage.h. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- the calls that are wrapped --------------------------------------------------------------- */

#define WRAPPED(result, name, ...)                                                                                     \
  result __real_##name(__VA_ARGS__);                                                                                   \
  result __wrap_##name(__VA_ARGS__);                                                                                   \
  result __wrap_##name(__VA_ARGS__)

typedef void *(*thread_fn)(void *);
int __real_pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *);
int __real_pthread_cond_signal(pthread_cond_t *);

/* ---- state ------------------------------------------------------------------------------------ */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t turn;
  bool staging, closed, held, idle, alive;
  unsigned pass, inside; /* writing calls that may pass; that are in progress */
  pthread_cond_t *idle_on;
} stage = {.lock = PTHREAD_MUTEX_INITIALIZER, .turn = PTHREAD_COND_INITIALIZER};

static struct {
  _Atomic bool armed, fired;
  _Atomic int kind, error;
  _Atomic int64_t left, times;
} plan;

static _Thread_local bool is_stage, is_flusher, in_library;

static void lock(void) { pthread_mutex_lock(&stage.lock); }
static void unlock(void) {
  pthread_cond_broadcast(&stage.turn);
  pthread_mutex_unlock(&stage.lock);
}
static void wait_turn(void) { __real_pthread_cond_wait(&stage.turn, &stage.lock); }

void stage_begin(void) {
  is_stage = stage.staging = true;
  stage_no_plan();
  stage_open();
}

void stage_end(void) {
  stage_no_plan();
  stage_open();
  is_stage = stage.staging = false;
}

void stage_close(unsigned calls) {
  lock();
  while (stage.inside) wait_turn();
  stage.closed = true;
  stage.pass = calls;
  unlock();
}

void stage_open(void) {
  lock();
  stage.closed = stage.held = false;
  unlock();
}

void stage_rest(void) {
  lock();
  while (stage.closed && stage.alive && !stage.held && !stage.idle) wait_turn();
  unlock();
}

/* ---- the plan --------------------------------------------------------------------------------- */

void stage_plan(stage_fault kind, unsigned at, unsigned times, int error) {
  plan.armed = false;
  plan.fired = false;
  plan.kind = (int)kind;
  plan.error = error;
  plan.left = at;
  plan.times = times;
  plan.armed = at > 0;
}

void stage_no_plan(void) { plan.armed = plan.fired = false; }
void stage_enter(void) { in_library = true; }
void stage_leave(void) { in_library = false; }
bool stage_fired(void) { return atomic_exchange(&plan.fired, false); }

static bool fails(stage_fault kind) {
  if (!plan.armed || plan.kind != (int)kind) return false;
  int64_t left = atomic_fetch_sub(&plan.left, 1);
  if (left > 1) return false;
  if (left - 2 <= -plan.times) plan.armed = false;
  plan.fired = true;
  errno = plan.error;
  return true;
}

static bool no_memory(void) { return (in_library || is_flusher) && fails(STAGE_ALLOCATION); }

WRAPPED(void *, malloc, size_t bytes) { return no_memory() ? NULL : __real_malloc(bytes); }
WRAPPED(void *, calloc, size_t n, size_t bytes) { return no_memory() ? NULL : __real_calloc(n, bytes); }
WRAPPED(void *, realloc, void *old, size_t bytes) { return no_memory() ? NULL : __real_realloc(old, bytes); }

/* ---- the gate --------------------------------------------------------------------------------- */

/* Whether the call is to be made, else errno is set. Ends with gone(). */
static bool passes(stage_fault kind) {
  if (!is_flusher) return true;
  lock();
  while (stage.closed && stage.pass == 0) {
    stage.held = true;
    pthread_cond_broadcast(&stage.turn);
    wait_turn();
  }
  stage.held = false;
  if (stage.closed) stage.pass--;
  stage.inside++;
  unlock();
  return !fails(kind);
}

static ssize_t gone(ssize_t result) {
  if (!is_flusher) return result;
  int error = errno;
  lock();
  stage.inside--;
  unlock();
  errno = error;
  return result;
}

static stage_fault kind_of(int fd) { return fcntl(fd, F_GETFL) & O_DSYNC ? STAGE_META : STAGE_DATA; }

WRAPPED(ssize_t, pwrite, int fd, const void *from, size_t length, off_t at) {
  return gone(passes(kind_of(fd)) ? __real_pwrite(fd, from, length, at) : -1);
}
WRAPPED(ssize_t, write, int fd, const void *from, size_t length) {
  return gone(passes(kind_of(fd)) ? __real_write(fd, from, length) : -1);
}
WRAPPED(ssize_t, writev, int fd, const struct iovec *parts, int count) {
  return gone(passes(kind_of(fd)) ? __real_writev(fd, parts, count) : -1);
}
WRAPPED(int, fdatasync, int fd) { return (int)gone(passes(STAGE_SYNC) ? __real_fdatasync(fd) : -1); }

/* ---- who waits for whom ------------------------------------------------------------------------ */

static void idle_begins(pthread_cond_t *on) {
  lock();
  stage.idle = true;
  stage.idle_on = on;
  unlock();
}

static void idle_ends(void) {
  lock();
  stage.idle = false;
  unlock();
}

WRAPPED(int, pthread_cond_wait, pthread_cond_t *c, pthread_mutex_t *m) {
  if (is_stage) stage_open();
  if (!is_flusher) return __real_pthread_cond_wait(c, m);
  idle_begins(c);
  int result = __real_pthread_cond_wait(c, m);
  idle_ends();
  return result;
}

WRAPPED(int, pthread_cond_timedwait, pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until) {
  if (is_stage) stage_open();
  if (!is_flusher) return __real_pthread_cond_timedwait(c, m, until);
  idle_begins(c);
  int result = __real_pthread_cond_timedwait(c, m, until);
  idle_ends();
  return result;
}

/* A flusher that is to wake is not idle any more. */
WRAPPED(int, pthread_cond_signal, pthread_cond_t *c) {
  lock();
  if (is_stage && stage.idle && stage.idle_on == c) stage.idle = false;
  unlock();
  return __real_pthread_cond_signal(c);
}

typedef struct {
  thread_fn run;
  void *env;
} start;

static void *run_flusher(void *env) {
  start s = *(start *)env;
  free(env);
  is_flusher = true;
  void *result = s.run(s.env);
  lock();
  stage.alive = false;
  unlock();
  return result;
}

WRAPPED(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, thread_fn run, void *env) {
  if (!is_stage) return __real_pthread_create(thread, attributes, run, env);
  start *s = __real_malloc(sizeof *s);
  if (!s) return EAGAIN;
  *s = (start){run, env};
  stage.alive = true;
  stage.idle = false;
  int result = __real_pthread_create(thread, attributes, run_flusher, s);
  if (result) stage.alive = false;
  if (result) free(s);
  return result;
}

WRAPPED(int, pthread_join, pthread_t thread, void **result) {
  if (is_stage) stage_open();
  return __real_pthread_join(thread, result);
}
