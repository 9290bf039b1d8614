/* instance.c - handles: opening them over a core or a fixed version, closing, looking. */
#include "instance.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "memory.h"

/* ---- checks and what a handle sees ----------------------------------------------------------- */

int instance_check(const pagestore_instance *i, instance_need need) {
  if (!i) return input_null("instance");
  int status = store_check(i->store, false);
  if (status) return status;
  if (i->broken)
    return fail(i->broken, "instance '%s': a rollback failed; close the handle and open it again", i->core->name);
  if (need == NEEDS_NOTHING) return 0;
  if (need == NEEDS_PRIVATE && i->kind != INSTANCE_READ) return 0;
  if (need == NEEDS_PRIVATE || (need == NEEDS_WRITABLE && i->kind != INSTANCE_WRITABLE))
    return fail(PAGESTORE_EREADONLY, "instance '%s' is open as a view: open it for writing", i->core->name);
  return store_check(i->store, true);
}

uint64_t instance_version(const pagestore_instance *i) {
  return i->kind == INSTANCE_WRITABLE ? atomic_load(&i->core->committed) : i->view.version;
}

const state *instance_committed_state(const pagestore_instance *i) {
  return i->kind == INSTANCE_WRITABLE ? i->core->state : i->view.state;
}

const state *instance_state(const pagestore_instance *i) {
  return i->message.pending ? i->message.pending : instance_committed_state(i);
}

int instance_change(pagestore_instance *i, state **out) {
  if (!i->message.pending || i->message.pending->sealed) {
    state *pending;
    int status = state_clone(instance_state(i), &pending);
    if (status) return fail(status, "no memory for the message's changes: free some and try again");
    state_release(i->message.pending);
    i->message.pending = pending;
  }
  *out = i->message.pending;
  return 0;
}

void instance_unchange(pagestore_instance *i, const state *before) {
  if (before) return;
  state_release(i->message.pending);
  i->message.pending = NULL;
}

void message_free(pagestore_store *s, message *m) {
  if (m->restored) layers_unpin(s->layers, m->restored, flusher_orphaned, s);
  line_release(m->restored);
  state_release(m->restored_counts);
  state_release(m->pending);
  *m = (message){0};
}

/* ---- finding and loading cores --------------------------------------------------------------- */

typedef struct { const char *name; layers *layers; id128 store; uint64_t instance; state_record record; } load_request;

static int load_record(void *env, db_reader reader) {
  load_request *r = env;
  int status = catalog_find(reader, r->name, &r->instance);
  if (status == PAGESTORE_ENOTFOUND) return fail(status, "no instance '%s': create it, or list what is there", r->name);
  if (!status) status = catalog_instance(reader, r->layers, r->store, r->instance, &r->record);
  return status;
}

int instance_lost_layer(const char *name, uint64_t layer) {
  return fail(PAGESTORE_ECORRUPT, "instance '%s' names layer %llu, which is not there: run recover", name,
              (unsigned long long)layer);
}

/* A core as it is on disk. The record's state becomes the core's. */
static int core_from_record(pagestore_store *s, layers *layers, const load_request *r, core **out) {
  line *line;
  int status = layers_line(layers, r->record.layer, BOUND_OPEN, &line);
  if (status == PAGESTORE_ENOMEM) return fail(status, "no memory for an instance: free some and open again");
  if (status) return instance_lost_layer(r->name, r->record.layer);
  core *c;
  log_line *log;
  if (block_log_line(s->log, r->record.layer, &log) != 0) {
    line_release(line);
    return fail(PAGESTORE_ENOMEM, "no memory for an instance: free some and open again");
  }
  if ((status = core_new(s, r->name, r->instance, &c)) != 0) {
    line_release(line);
    log_line_release(s->log, log);
    return status;
  }
  atomic_store(&c->log, log);
  core_move(c, CORE_STORED);
  c->stored = true;
  c->line = line;
  c->line_durable = line_reference(line);
  c->state = state_seal(r->record.state);
  c->counts = state_reference(c->state);
  c->committed = c->durable = r->record.version;
  *out = c;
  return 0;
}

static int core_fresh(pagestore_store *s, const char *name, core **out) {
  core *c;
  int status = core_new(s, name, store_new_id(&s->record.next_instance), &c);
  if (status) return status;
  if ((status = line_empty(&c->line)) == 0) status = state_new(&c->state);
  if (status) {
    core_release(c);
    return fail(status, "no memory for an instance: free some and try again");
  }
  state_seal(c->state);
  *out = c;
  return 0;
}

/* The lock is held. Whether a live core is there, or a tombstone says that the record on disk is gone. */
static int core_in_table(pagestore_store *s, const char *name, core **out) {
  core *c = core_find(s, name);
  if (!c) return PAGESTORE_EAGAIN;  /* internal: look on disk */
  if (c->life == CORE_DELETED) return PAGESTORE_ENOTFOUND;
  core_retain(c);
  *out = c;
  return 0;
}

int core_acquire(pagestore_store *s, const char *name, unsigned flags, core **out) {
  for (;;) {
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    int status = core_in_table(s, name, out);
    uint64_t departures = s->departures;
    pthread_mutex_unlock(&s->lock);
    if (status == 0) return 0;
    load_request r = { .name = name, .layers = s->layers, .store = s->record.id };
    int stored = status == PAGESTORE_ENOTFOUND ? status : store_read(s, load_record, &r);
    if (stored && stored != PAGESTORE_ENOTFOUND) return stored;
    pthread_mutex_lock(&s->lock);
    bool changed = s->departures != departures || core_in_table(s, name, out) != status;
    if (changed && *out) core_release(*out);
    if (!changed && stored == 0) status = core_from_record(s, s->layers, &r, out);
    else if (!changed && (flags & PAGESTORE_CREATE)) status = core_fresh(s, name, out);
    else if (!changed) status = fail(PAGESTORE_ENOTFOUND, "no instance '%s': create it, or list what is there", name);
    pthread_mutex_unlock(&s->lock);
    if (!changed) {
      if (stored == 0 && status) state_release(r.record.state);
      return status;
    }
    if (stored == 0) state_release(r.record.state);  /* somebody else was quicker: look again */
  }
}

void core_drop(pagestore_store *s, core *c) {
  pthread_mutex_lock(&s->lock);
  core_release(c);
  pthread_mutex_unlock(&s->lock);
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool hash_is_set(const uint8_t *hash) {
  for (int i = 0; i < 32; i++)
    if (hash[i]) return true;
  return false;
}

int module_check(const char *name, const state *committed, const uint8_t *hash) {
  if (!hash || !hash_is_set(committed->module_hash) || memcmp(hash, committed->module_hash, 32) == 0) return 0;
  return fail(
      PAGESTORE_EMODULE,
      "instance '%s' holds another module: open it without a hash and call pagestore_upgrade, or take the right module",
      name);
}

/* A new instance takes the hash. Core locked. */
static int take_module(core *c, const uint8_t *hash) {
  if (!hash || c->committed || c->line->depth || hash_is_set(c->state->module_hash)) return 0;
  state *with_hash;
  int status = state_clone(c->state, &with_hash);
  if (status) return fail(status, "no memory for an instance: free some and try again");
  memcpy(with_hash->module_hash, hash, 32);
  state_release(c->state);
  c->state = state_seal(with_hash);
  return 0;
}

static int attach_writable(pagestore_instance *i, const pagestore_instance_options *o) {
  pagestore_store *s = i->store;
  core *c = i->core;
  int status = 0;
  pthread_mutex_lock(&c->lock);
  pthread_mutex_lock(&s->lock);
  bool existed = c->life == CORE_STORED || c->committed || c->handles;
  if (c->life == CORE_DELETED) status = fail(PAGESTORE_ENOTFOUND, "instance '%s' was deleted", c->name);
  else if (existed && (o->flags & PAGESTORE_EXCLUSIVE))
    status = fail(PAGESTORE_EEXIST, "instance '%s' exists: open it without EXCLUSIVE", c->name);
  else if (c->writer)
    status = fail(PAGESTORE_EBUSY, "instance '%s' is open for writing already: close that handle first", c->name);
  else status = take_module(c, o->module_hash);
  if (!status) status = module_check(i->core->name, instance_committed_state(i), o->module_hash);
  if (!status) {
    c->writer = i;
    c->handles++;
    s->handles++;
  }
  pthread_mutex_unlock(&s->lock);
  pthread_mutex_unlock(&c->lock);
  return status;
}

/* The last durable version: its rows are whole only while no flush is in progress. */
int instance_capture_durable(pagestore_instance *i) {
  core *c = i->core;
  flusher_wait_idle(i->store->flusher, c);
  line *bounded;
  int status = c->durable == 0
                   ? fail(PAGESTORE_ENOTFOUND, "instance '%s' has no durable version yet: wait for one", c->name)
                   : 0;
  if (!status && c->flushing)
    status = fail(PAGESTORE_EFAILED,
                  "instance '%s': a sync failed, what is durable is not known: close the store, open it again",
                  c->name);
  log_line *log;
  if (!status) status = line_rebound(c->line_durable, c->durable, &bounded);
  if (!status && (status = block_log_line(i->store->log, bounded->steps[0].layer, &log)) != 0) line_release(bounded);
  else if (!status && (status = layers_pin(i->store->layers, bounded)) != 0) {
    line_release(bounded);
    log_line_release(i->store->log, log);
  }
  if (status == PAGESTORE_ENOMEM) core_not_captured(c->name);
  if (!status) {
    i->view = (core_version){
      .version = c->durable, .serial = c->committed == c->durable ? c->serial : 0,
      .line = bounded, .state = state_reference(c->counts), .counts = state_reference(c->counts),
      .logged = log_line_capture(i->store->log, log), .logged_layer = log->layer,
    };
    log_line_release(i->store->log, log);
  }
  pthread_mutex_unlock(&c->lock);
  return status;
}

static int read_snapshot(void *env, db_reader reader) {
  pagestore_instance *i = ((void **)env)[0];
  const char *name = ((void **)env)[1];
  state_record *record = ((void **)env)[2];
  return catalog_snapshot(reader, i->store->layers, i->store->record.id, i->core->id, name, record);
}

/* The lock is held. Pinned before anybody can seal its drop, so that its rows stay while the pin does. */
static int pin_kept(pagestore_instance *i, const snapshot *found, line **out) {
  layers *layers = i->store->layers;
  int status = layers_line(layers, found->layer, found->version, out);
  if (!status && (status = layers_pin(layers, *out)) != 0) line_release(*out);
  return status ? fail(status, "no memory to open snapshot '%s': free some and try again", found->name) : 0;
}

/* A snapshot that is not durable yet is waited for: until then its rows may not be whole. */
static int find_kept(pagestore_instance *i, const char *name, snapshot *out, line **pinned) {
  for (;;) {
    pthread_mutex_lock(&i->store->lock);
    const snapshot *found = snapshot_find(i->store, i->core->id, name);
    int status = found ? 0 : fail(PAGESTORE_ENOTFOUND, "no snapshot '%s' of '%s'", name, i->core->name);
    bool kept = found && found->life == SNAPSHOT_KEPT;
    if (found) *out = *found;
    if (kept) status = pin_kept(i, found, pinned);
    pthread_mutex_unlock(&i->store->lock);
    if (status || kept) return status;
    if ((status = flusher_wait_all(i->store->flusher, PAGESTORE_FOREVER)) != 0) return status;
  }
}

int snapshot_capture(pagestore_instance *i, const char *name, core_version *out) {
  snapshot found = {0};
  line *line;
  int status = find_kept(i, name, &found, &line);
  if (status) return status;
  state_record record;
  status = store_read(i->store, read_snapshot, (void *[]){ i, (void *)(uintptr_t)name, &record });
  if (status) {
    layers_unpin(i->store->layers, line, flusher_orphaned, i->store);
    line_release(line);
    return status;
  }
  *out = (core_version){
    .version = found.version, .serial = found.serial, .line = line,
    .state = state_seal(record.state), .counts = state_reference(record.state), .snapshot = found.id,
  };
  memcpy(out->snapshot_name, found.name, sizeof out->snapshot_name);
  return 0;
}

static int capture_latest(pagestore_instance *i) {
  flusher_lock_settled(i->store->flusher, i->core);
  int status = i->core->life == CORE_DELETED ? fail(PAGESTORE_ENOTFOUND, "instance '%s' was deleted", i->core->name)
                                             : core_capture(i->core, &i->view);
  pthread_mutex_unlock(&i->core->lock);
  return status;
}

static int attach_view(pagestore_instance *i, const pagestore_instance_options *o) {
  pagestore_store *s = i->store;
  int status;
  if (o->snapshot) status = snapshot_capture(i, o->snapshot, &i->view);
  else if (o->version == PAGESTORE_LATEST) status = capture_latest(i);
  else if (o->version == PAGESTORE_DURABLE) status = instance_capture_durable(i);
  else
    status = fail(PAGESTORE_ENOTFOUND, "version %llu is not retained: view a snapshot, LATEST or DURABLE",
                  (unsigned long long)o->version);
  if (!status) status = module_check(i->core->name, instance_committed_state(i), o->module_hash);
  if (status) {
    core_version_release(s, &i->view);
    return status;
  }
  pthread_mutex_lock(&s->lock);
  i->core->handles++;
  s->handles++;
  pthread_mutex_unlock(&s->lock);
  return 0;
}

static int check_flags(const pagestore_store *s, const pagestore_instance_options *o) {
  unsigned known = PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE | PAGESTORE_READ | PAGESTORE_PRIVATE;
  bool view = o->flags & (PAGESTORE_READ | PAGESTORE_PRIVATE);
  if (o->flags & ~known) return fail(PAGESTORE_EINVAL, "unknown instance flags 0x%x", o->flags);
  if (view && (o->flags & (PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE)))
    return fail(PAGESTORE_EINVAL, "a view cannot create its instance: open it for writing first");
  if ((o->flags & PAGESTORE_READ) && (o->flags & PAGESTORE_PRIVATE))
    return fail(PAGESTORE_EINVAL, "READ and PRIVATE exclude each other");
  if (!view && (o->snapshot || o->version))
    return fail(PAGESTORE_EINVAL, "only views have a version: add PAGESTORE_READ or PRIVATE, or use pagestore_restore");
  if (!view && s->read_only) return fail(PAGESTORE_EREADONLY, "the store is open for reading: open a view");
  return o->snapshot ? input_name(o->snapshot, "snapshot name") : 0;
}

pagestore_instance *instance_allocate(pagestore_store *s, core *c, const pagestore_instance_options *o) {
  pagestore_instance *i = calloc(1, sizeof *i);
  if (!i) return NULL;
  i->store = s;
  i->core = c;
  i->user = o->user;
  i->kind = o->flags & PAGESTORE_READ      ? INSTANCE_READ
            : o->flags & PAGESTORE_PRIVATE ? INSTANCE_PRIVATE
                                           : INSTANCE_WRITABLE;
  return i;
}

int pagestore_instance_open(pagestore_store *s, const char *name, const pagestore_instance_options *given,
                            pagestore_instance **out) {
  pagestore_instance_options o;
  int status = store_check(s, false);
  if (!status && !out) status = input_null("instance");
  if (!status) status = input_name(name, "instance name");
  if (!status) status = input_options(given, &o, sizeof o, "pagestore_instance_options");
  if (!status) status = check_flags(s, &o);
  if (status) return status;
  if (s->read_only) return reader_open(s, name, &o, out);
  core *c = NULL;
  if ((status = core_acquire(s, name, o.flags, &c)) != 0) return status;
  pagestore_instance *i = instance_allocate(s, c, &o);
  if (!i) status = fail(PAGESTORE_ENOMEM, "no memory for a handle: free some and try again");
  else status = i->kind == INSTANCE_WRITABLE ? attach_writable(i, &o) : attach_view(i, &o);
  if (status) {
    free(i);
    core_drop(s, c);
    return status;
  }
  atomic_fetch_add(&s->counters.instances_open, 1);
  *out = i;
  return 0;
}

void pagestore_instance_close(pagestore_instance *i) {
  if (!i || directory_forked(i->store->directory)) return;  /* a child's copy: its regions are not there */
  pagestore_store *s = i->store;
  while (i->memories) {
    pagestore_memory *m = i->memories;
    i->memories = m->next;
    memory_close(m);
  }
  message_free(s, &i->message);
  core_version_release(s, &i->view);
  if (i->slot) db_slot_release(i->slot);
  pthread_mutex_lock(&s->lock);
  if (i->core->writer == i) i->core->writer = NULL;
  i->core->handles--;
  s->handles--;
  core_release(i->core);
  pthread_mutex_unlock(&s->lock);
  layers_free(i->layers);
  atomic_fetch_sub(&s->counters.instances_open, 1);
  free(i);
}

/* ---- looking --------------------------------------------------------------------------------- */

uint64_t pagestore_committed_version(const pagestore_instance *i) { return i ? instance_version(i) : 0; }
uint64_t pagestore_durable_version(const pagestore_instance *i) {
  if (!i) return 0;
  return i->kind == INSTANCE_WRITABLE ? atomic_load(&i->core->durable)
                                      : min_u64(i->view.version, atomic_load(&i->core->durable));
}

int pagestore_wait(pagestore_instance *i, uint64_t version, int timeout_ms) {
  int status = instance_check(i, NEEDS_WRITABLE_STORE);
  if (status) return status;
  if (version == PAGESTORE_LATEST) version = instance_version(i);
  if (version > atomic_load(&i->core->committed))
    return fail(PAGESTORE_EINVAL, "version %llu of '%s' was not committed yet: the last is %llu",
                (unsigned long long)version, i->core->name, (unsigned long long)atomic_load(&i->core->committed));
  return flusher_wait_version(i->store->flusher, i->core, version, timeout_ms);
}

int pagestore_instance_trim(pagestore_instance *i, uint64_t keep_bytes) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (status) return status;
  for (pagestore_memory *m = i->memories; m; m = m->next) {
    region_trim(m->region, keep_bytes);
    keep_bytes -= min_u64(keep_bytes, region_resident_bytes(m->region));
  }
  return 0;
}
