/* reroot.c - copying in steps, and who reads through which line meanwhile. The contract is in reroot.h. */
#include "reroot.h"

#include "base/check.h"
#include "storage/trash.h"

/* The store record goes with every transaction: it carries the transaction's id. */
static int put_store_record(pagestore_store *s, db_txn *txn, uint64_t *trash_id) {
  pthread_mutex_lock(&s->lock);
  if (*trash_id == 0) *trash_id = store_new_id(&s->record.next_trash);
  store_record record = s->record;
  pthread_mutex_unlock(&s->lock);
  record.flush_txn_id = db_txn_id(txn);
  return catalog_put_store(txn, &record);
}

static layer_record rootless(const work *w) {
  return (layer_record){ .depth = 1, .instance = w->layer.instance };
}

/* One transaction: the first also puts the layer's record and the trash record that protects it. */
static int copy_step(pagestore_store *s, uint8_t *scratch, work *w, const reroot_source *from, uint64_t *trash_id,
                     reroot_at *at, bool *done) {
  writer out = { .layers = s->layers, .store = s->record.id, .scratch = scratch };
  int status = db_begin(s->db, &out.txn);
  if (status) return status;
  uint64_t layer = w->line->steps[0].layer;
  bool first = *trash_id == 0;
  status = put_store_record(s, out.txn, trash_id);
  if (!status && first) {
    layer_record record = rootless(w);
    trash_record trash = { .layer = layer, .memory = TRASH_ALL_MEMORIES, .died_at = UINT64_MAX };
    status = catalog_put_layer(out.txn, layer, &record);
    if (!status) status = trash_put(out.txn, *trash_id, &trash);
  }
  if (!status) status = writer_reroot(&out, from, w->state, layer, w->version, REROOT_ROWS_MAX, at, done);
  if (status) {
    db_abort(out.txn);
    return status;
  }
  return db_commit(out.txn);
}

int reroot_prepare(pagestore_store *s, uint8_t *scratch, work *w) {
  ASSERT(w->new_layer && w->line->depth > LAYER_DEPTH_MAX);
  if (w->rerooted_trash) return 0;  /* done before a group that failed */
  line *tail;
  int status = line_tail(w->line, &tail);
  if (status) return status;
  reroot_source from = { .line = tail, .logged = w->inherited_logged, .logged_layer = w->inherited_layer };
  uint64_t trash_id = 0;
  reroot_at at = {0};
  bool done = false;
  while (!status && !done) status = copy_step(s, scratch, w, &from, &trash_id, &at, &done);
  line_release(tail);
  if (!status) w->rerooted_trash = trash_id;
  return status;
}

int reroot_finish(db_txn *txn, const work *w) {
  layer_record record = rootless(w);
  int status = catalog_put_layer(txn, w->line->steps[0].layer, &record);
  if (!status) status = trash_delete(txn, w->rerooted_trash);
  return status;
}

/* The open handles go on reading through the deep line, which is pinned for them, until the owner's next seal
 * takes the short one. */
void reroot_publish(pagestore_store *s, work *w) {
  core *c = w->core;
  uint64_t layer = w->line->steps[0].layer;
  line *before = NULL;
  pthread_mutex_lock(&c->lock);
  /* without memory for it the layer stays where it was: too much is kept, nothing is lost */
  if (layers_pin(s->layers, w->line) == 0) {
    before = c->pinned;
    c->pinned = line_reference(w->line);
    layers_reroot(s->layers, layer);
    line *shallow;
    if (w->kind == WORK_COMMIT && c->line->steps[0].layer == layer &&
        layers_line(s->layers, layer, BOUND_OPEN, &shallow) == 0) {
      line_release(c->line_next);
      c->line_next = shallow;
    }
  }
  pthread_mutex_unlock(&c->lock);
  if (before) layers_unpin(s->layers, before, flusher_orphaned, s);
  line_release(before);
}
