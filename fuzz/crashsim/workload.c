/* workload.c - the host. See workload.h; its single operations are in workload_ops.c. */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "totals.h"
#include "workload_ops.h"

const char *const workload_names[WORKLOAD_KINDS] = {"plain", "made inside", "full map", "deep layers", "much trash", "full log"};

/* ---- seals ----------------------------------------------------------------------------------- */

moment *seal_begin(workload *w) {
  pthread_mutex_lock(&w->lock);
  moment *m = chronicle_add(w->chronicle);
  w->seal = w->chronicle->count - 1;
  pthread_mutex_unlock(&w->lock);
  return m;
}

/* Which version of which life of an instance belongs to the seal: for on_durable. */
static void seal_name(workload *w, uint64_t serial, uint64_t number) {
  pthread_mutex_lock(&w->lock);
  if (w->named_count == sizeof w->named / sizeof *w->named) give_up("too many commits in one workload");
  w->named[w->named_count++] = (seal_named){.serial = serial, .number = number, .seal = w->seal};
  pthread_mutex_unlock(&w->lock);
}

void seal_commit(workload *w, moment *m, guest *g) {
  version_release(g->sealing);
  g->sealing = version_clone(g->work);
  g->sealing->number = g->committed->number + 1;
  moment_set(&m->instance[g - w->guest], g->sealing);
  seal_name(w, g->serial, g->sealing->number);
}

void seal_mark(workload *w) { record_mark(EVENT_BEGIN, w->seal); }
void seal_acknowledge(workload *w) { record_mark(EVENT_ACK, w->seal); }

void seal_acknowledge_all(workload *w) {
  record_mark(EVENT_ACK, (uint64_t)(chronicle_last(w->chronicle) - w->chronicle->list));
}

void seal_refused(workload *w) {
  pthread_mutex_lock(&w->lock);
  chronicle_refuse(w->chronicle);
  for (uint64_t i = 0; i < w->named_count; i++)
    if (w->named[i].seal == w->seal) w->named[i].serial = 0;
  pthread_mutex_unlock(&w->lock);
}

static void on_durable(void *env, void *user, uint64_t number, int status) {
  workload *w = env;
  uint64_t serial = (uint64_t)(uintptr_t)user, seal = 0;
  if (status) {
    violation("on_durable of version %llu: %s", (unsigned long long)number, pagestore_strerror(status));
    return;
  }
  pthread_mutex_lock(&w->lock);
  for (uint64_t i = w->named_count; i-- > 0 && !seal;)
    if (w->named[i].serial == serial && w->named[i].number == number) seal = w->named[i].seal;
  pthread_mutex_unlock(&w->lock);
  if (seal) record_mark(EVENT_ACK, seal);
  else violation("on_durable of version %llu, which was never committed", (unsigned long long)number);
}

void workload_failed(const workload *w, const char *call, int status) {
  if (!w->broken) violation("%s: %s: %s", call, pagestore_strerror(status), pagestore_detail());
  ((workload *)w)->broken = true;
}

/* ---- guests ---------------------------------------------------------------------------------- */

void guest_begin(workload *w, guest *g, pagestore_instance *handle, version *committed) {
  (void)w;
  g->handle = handle;
  g->committed = version_share(committed);
  g->work = version_clone(committed);
  g->changed = g->upgraded = false;
  memset(g->memory, 0, sizeof g->memory);
}

void guest_end(guest *g) {
  if (!g->handle) return;
  pagestore_instance_close(g->handle);
  g->handle = NULL;
  version_release(g->work);
  g->work = NULL;
  version_release(g->committed);
  g->committed = NULL;
  version_release(g->sealing);
  g->sealing = NULL;
}

void guest_rolled_back(guest *g) {
  version_release(g->work);
  g->work = version_clone(g->committed);
  g->changed = g->upgraded = false;
}

void guest_committed(guest *g) {
  version_release(g->committed);
  g->committed = g->sealing;
  g->sealing = NULL;
  guest_rolled_back(g);
}

int guest_open(workload *w, guest *g, bool create) {
  const moment_instance *is = &chronicle_last(w->chronicle)->instance[g - w->guest];
  pagestore_instance *handle;
  if (create) g->serial = ++w->serial;
  const pagestore_instance_options *options = PAGESTORE_WITH(pagestore_instance_options,
                                                             .flags = create ? PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE
                                                                             : 0,
                                                             .user = (void *)(uintptr_t)g->serial);
  int status = pagestore_instance_open(w->store, is->name, options, &handle);
  if (status) return workload_failed(w, "instance_open", status), status;
  version *nothing = is->of ? NULL : version_new();
  guest_begin(w, g, handle, is->of ? is->of : nothing);
  version_release(nothing);
  return 0;
}

void view_end(workload *w) {
  if (!w->view) return;
  const char *text = w->broken ? NULL : compare_view(w->view, w->view_at);
  if (text) violation("without a crash: a view of version %llu: %s", (unsigned long long)w->view_at->number, text);
  pagestore_instance_close(w->view);
  version_release(w->view_at);
  w->view = NULL;
}

/* ---- the store ------------------------------------------------------------------------------- */

int workload_open(workload *w, bool create) {
  pagestore_options options = {.size = sizeof options,
                               .flags = create ? PAGESTORE_CREATE : 0,
                               .map_bytes = w->map_bytes,
                               .log_bytes = create && w->kind == WORKLOAD_LOG ? FEW_RECORDS : dice_log_bytes(&w->dice),
                               .tracker = w->tracker,
                               .env = w,
                               .on_durable = dice_chance(&w->dice, 50) ? on_durable : NULL};
  int status = pagestore_open(w->path, &options, &w->store);
  if (status) return workload_failed(w, "open", status), status;
  for (int i = 0; i < INSTANCES; i++)
    if (chronicle_last(w->chronicle)->instance[i].of && guest_open(w, &w->guest[i], false) != 0) return -1;
  return 0;
}

void workload_close(workload *w) {
  for (int i = 0; i < INSTANCES; i++) guest_end(&w->guest[i]);
  view_end(w);
  int status = pagestore_close(w->store);
  w->store = NULL;
  if (status) workload_failed(w, "close", status);
  else seal_acknowledge_all(w);
}

static void look_at_all(workload *w) {
  pagestore_store *store;
  int status = pagestore_open(w->path, PAGESTORE_WITH(pagestore_options, .map_bytes = w->map_bytes), &store);
  if (status) {
    workload_failed(w, "the last open", status);
    return;
  }
  const char *text = compare_store(store, 0, chronicle_last(w->chronicle));
  if (text) violation("without a crash: %s", text);
  status = pagestore_close(store);
  if (status) workload_failed(w, "the last close", status);
}

static const pagestore_tracker trackers[] = {PAGESTORE_TRACK_AUTO, PAGESTORE_TRACK_AUTO, PAGESTORE_TRACK_MPROTECT};

void workload_run(workload_kind kind, uint64_t seed, uint64_t commits, const char *root, record_log *log,
                  chronicle *h) {
  workload *w = calloc(1, sizeof *w);
  if (!w) give_up("no memory for a workload");
  w->dice.state = seed;
  w->chronicle = h;
  w->kind = kind;
  w->tracker = trackers[dice_below(&w->dice, sizeof trackers / sizeof *trackers)];
  w->map_bytes = kind == WORKLOAD_FULL_MAP ? FULL_MAP_BYTES : 0;
  pthread_mutex_init(&w->lock, NULL);
  snprintf(w->path, sizeof w->path, "%s/" STORE_NAME, root);
  if (kind == WORKLOAD_INSIDE && mkdir(w->path, 0777) != 0) give_up("%s cannot be made", w->path);
  chronicle_begin(h, NULL);
  record_start(log, root, false);
  record_mark(EVENT_BEGIN, 0);
  if (workload_open(w, true) == 0) record_mark(EVENT_ACK, 0);
  uint64_t steps = 0;
  if (kind == WORKLOAD_DEEP && !w->broken) workload_go_deep(w);
  if (kind == WORKLOAD_TRASH && !w->broken) workload_make_trash(w);
  if (kind == WORKLOAD_LOG && !w->broken) workload_fill_log(w);
  while (w->commits < commits && steps++ < commits * 40 && !w->broken) workload_step(w);
  if (w->store) workload_close(w);
  if (!w->broken) look_at_all(w);
  record_stop();
  atomic_fetch_add(&totals->commits, w->commits);
  pthread_mutex_destroy(&w->lock);
  free(w);
}

void workload_go_on(pagestore_store *store, uint64_t seed, const moment *found, chronicle *h) {
  workload *w = calloc(1, sizeof *w);
  if (!w) give_up("no memory for a workload");
  w->dice.state = seed;
  w->chronicle = h;
  w->kind = WORKLOAD_AFTER_CRASH;
  w->serial = dice_roll(&w->dice) >> 20; /* new names are not those that are there */
  w->store = store;
  pthread_mutex_init(&w->lock, NULL);
  chronicle_begin(h, found);
  for (int i = 0; i < INSTANCES && !w->broken; i++)
    if (found->instance[i].of) guest_open(w, &w->guest[i], false);
  if (!w->broken) workload_commit_twice(w);
  for (int i = 0; i < INSTANCES; i++) guest_end(&w->guest[i]);
  pthread_mutex_destroy(&w->lock);
  free(w);
}
