/* reader.c - views of a store that another process may be writing: each holds an LMDB reader of its own.
 *
 * The writer does not know this process's views, so nothing but the reader keeps the rows of the present; while it is
 * held, LMDB reuses no page freed since. Views of the present are therefore for short looks, or are advanced. The rows
 * of a snapshot stay as long as it is there: its reader is exchanged for a newer one every REFRESH_NS, however long the
 * look is.
 * Thread: the handle's rule.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "instance.h"

#define REFRESH_NS 200000000u

static int load(pagestore_instance *i, const char *name, const char *snapshot, layers *layers, uint64_t *id,
                state_record *record) {
  db_reader reader = { .slot = i->slot };
  int status = catalog_find(reader, name, id);
  if (status == PAGESTORE_ENOTFOUND) return fail(status, "no instance '%s': list what is there", name);
  if (status) return status;
  if (!snapshot) return catalog_instance(reader, layers, i->store->record.id, *id, record);
  status = catalog_snapshot(reader, layers, i->store->record.id, *id, snapshot, record);
  return status == PAGESTORE_ENOTFOUND ? fail(status, "no snapshot '%s' of '%s'", snapshot, name) : status;
}

/* What the reader sees now, into the handle. */
static int look(pagestore_instance *i, const char *name, const char *snapshot, uint64_t *id, core_version *out) {
  layers *layers;
  int status = layers_load((db_reader){ .slot = i->slot }, &layers);
  if (status) return status;
  state_record record;
  line *line;
  if ((status = load(i, name, snapshot, layers, id, &record)) != 0) goto free_layers;
  if ((status = layers_line(layers, record.layer, record.version, &line)) != 0) {
    if (status == PAGESTORE_ENOMEM) core_not_captured(name);
    else status = snapshot ? snapshot_lost_layer(snapshot, record.layer) : instance_lost_layer(name, record.layer);
    goto free_state;
  }
  unflushed *logged = NULL;  /* of a snapshot all is in rows */
  if (!snapshot && (status = block_log_index((db_reader){ .slot = i->slot }, i->store->record.id, record.layer,
                                             &logged)) != 0)
    goto free_line;
  *out = (core_version){
      .version = record.version,
      .line = line,
      .logged = logged,
      .logged_layer = record.layer,
      .state = state_seal(record.state),
      .counts = state_reference(record.state),
      .snapshot = record.snapshot,
  };
  if (snapshot) memcpy(out->snapshot_name, snapshot, strlen(snapshot) + 1);
  layers_free(i->layers);
  i->layers = layers;
  return 0;
free_line: line_release(line);
free_state: state_release(record.state);
free_layers: layers_free(layers);
  return status;
}

static int attach(pagestore_instance *i, const char *name, uint64_t id) {
  pagestore_store *s = i->store;
  core *c;
  pthread_mutex_lock(&s->lock);
  int status = core_new(s, name, id, &c);
  if (!status) {
    core_move(c, CORE_STORED);
    c->committed = c->durable = i->view.version;
    c->handles++;
    s->handles++;
    i->core = c;
  }
  pthread_mutex_unlock(&s->lock);
  return status;
}

int reader_open(pagestore_store *s, const char *name, const pagestore_instance_options *o, pagestore_instance **out) {
  if (!o->snapshot && o->version != PAGESTORE_LATEST && o->version != PAGESTORE_DURABLE)
    return fail(PAGESTORE_ENOTFOUND, "version %llu is not retained: view a snapshot or the present",
                (unsigned long long)o->version);
  pagestore_instance *i = instance_allocate(s, NULL, o);
  if (!i) return fail(PAGESTORE_ENOMEM, "no memory for a handle: free some and try again");
  uint64_t id;
  int status = db_slot_reserve(s->db, &i->slot);
  if (status) goto free_instance;
  if ((status = db_slot_renew(i->slot)) != 0) {
    fail(status, "no reader of '%s' to be had: check the disk", name);
    goto release_slot;
  }
  if ((status = look(i, name, o->snapshot, &id, &i->view)) != 0) goto release_slot;
  if ((status = attach(i, name, id)) != 0) goto release_version;
  atomic_fetch_add(&s->counters.instances_open, 1);
  i->slot_renewed_ns = monotonic_ns();
  *out = i;
  return 0;
release_version:
  core_version_release(s, &i->view);
  layers_free(i->layers);
release_slot: db_slot_release(i->slot);
free_instance: free(i);
  return status;
}

int reader_advance(pagestore_instance *i, bool *moved) {
  core_version next;
  uint64_t id;
  int status = db_slot_renew(i->slot);
  if (status) return fail(status, "the reader of '%s' cannot be renewed: close the view", i->core->name);
  if ((status = look(i, i->core->name, NULL, &id, &next)) != 0) return status;
  if (id != i->core->id) {
    core_version_release(i->store, &next);
    return fail(PAGESTORE_ENOTFOUND, "instance '%s' was deleted and made anew: open a new view", i->core->name);
  }
  *moved = next.version != i->view.version;
  core_version_release(i->store, &i->view);
  i->view = next;
  i->core->committed = i->core->durable = next.version;
  return 0;
}

/* The renewed reader must see the snapshot that the view is of: then it sees its rows, too. */
int reader_refresh(pagestore_instance *i) {
  const core_version *v = &i->view;
  uint64_t id, now;
  if (!i->slot || !v->snapshot_name[0] || (now = monotonic_ns()) - i->slot_renewed_ns < REFRESH_NS) return 0;
  i->slot_renewed_ns = now;
  int status = db_slot_renew(i->slot);
  if (status) return fail(status, "the reader of '%s' cannot be renewed: close the view", i->core->name);
  layers *layers;
  state_record record;
  if ((status = layers_load((db_reader){ .slot = i->slot }, &layers)) != 0) return status;
  status = load(i, i->core->name, v->snapshot_name, layers, &id, &record);
  layers_free(layers);
  if (!status) {
    bool same = id == i->core->id && memcmp(&record.snapshot, &v->snapshot, sizeof v->snapshot) == 0;
    state_release(record.state);
    if (same) return 0;
  }
  if (status && status != PAGESTORE_ENOTFOUND) return status;
  return fail(PAGESTORE_ENOTFOUND, "snapshot '%s' of '%s' was dropped while it was read: take another and begin again",
              v->snapshot_name, i->core->name);
}
