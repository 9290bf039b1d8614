/* upkeep.c - see upkeep.h. */
#include "upkeep.h"

#include <unistd.h>

#include "flusher_inside.h"

void upkeep_wait(pagestore_store *s) {
  flusher *f = s->flusher;
  for (bool busy = true; busy;) {
    usleep(500);
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&f->wake); /* a layer without pins does not wake it */
    pthread_mutex_lock(&f->orphans_lock);
    busy = f->head || f->flushing || f->trash || f->orphan_count;
    pthread_mutex_unlock(&f->orphans_lock);
    pthread_mutex_unlock(&s->lock);
  }
}
