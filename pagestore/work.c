/* work.c - what the flusher's queue is made of: making and freeing. The contract is in flusher.h. */
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
  pthread_mutex_lock(&s->lock);
  core_release(w->core);
  pthread_mutex_unlock(&s->lock);
  free(w);
}
