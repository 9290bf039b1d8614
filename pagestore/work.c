/* work.c - what the flusher's queue is made of: making, freeing, telling about it. The contract is in flusher.h. */
#include <stdlib.h>

#include "store.h"

work *work_new(work_kind kind, core *c) {
  work *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->kind = kind;
  w->core = c;
  core_retain(c);
  return w;
}

void work_free(pagestore_store *s, work *w) {
  if (w->pinned) layers_unpin(s->layers, w->pinned, flusher_orphaned, s);
  line_release(w->pinned);
  state_release(w->state);
  state_release(w->counts);
  delta_release(w->delta);
  line_release(w->line);
  unflushed_release(w->inherited);
  unflushed_release(w->inherited_logged);
  log_line_release(s->log, w->log);
  pthread_mutex_lock(&s->lock);
  core_release(w->core);
  pthread_mutex_unlock(&s->lock);
  free(w);
}

void works_tell_failure(pagestore_store *s, const work *w, int status, tell how) {
  const pagestore_options *options = &s->options;
  for (; w; w = w->next) {
    if (w->kind != WORK_COMMIT || w->synchronous) continue;
    core *c = w->core;
    pthread_mutex_lock(&c->lock);
    uint64_t version = c->committed;
    bool news = c->told_status != status || (how == TELL_FINAL && c->told_version < version);
    if (news) {
      c->told_status = status;
      c->told_version = version;
    }
    pthread_mutex_unlock(&c->lock);
    if (news && options->on_durable) options->on_durable(options->env, w->user, version, status);
  }
}
