/* view.c - what starts from a fixed version: advancing a view, forking, comparing. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "compare.h"
#include "memory.h"

/* ---- advance --------------------------------------------------------------------------------- */

static int fail_not_retained(uint64_t version) {
  return fail(PAGESTORE_ENOTFOUND, "version %llu is not retained: advance to LATEST or DURABLE",
              (unsigned long long)version);
}

/* Where the view could move to; how far its pages are from there. */
static int capture_next(pagestore_instance *i, uint64_t version, core_version *next) {
  core *c = i->core;
  if (version == PAGESTORE_DURABLE) {
    pagestore_instance target = { .store = i->store, .core = c, .kind = INSTANCE_READ };
    int status = instance_capture_durable(&target);
    *next = target.view;
    return status;
  }
  if (version != PAGESTORE_LATEST && version != atomic_load(&c->committed)) return fail_not_retained(version);
  flusher_lock_settled(i->store->flusher, c);
  int status = core_capture(c, next);
  pthread_mutex_unlock(&c->lock);
  return status;
}

static int follow_all(pagestore_instance *i, memory_drift drift) {
  int status = 0;
  i->boundaries++;
  for (pagestore_memory *m = i->memories; m && !status; m = m->next) status = memory_follow(m, drift);
  if (status) i->broken = PAGESTORE_EIO;
  return status;
}

static int advance_in_writer(pagestore_instance *i, uint64_t version) {
  core_version next;
  int status = capture_next(i, version, &next);
  if (status) return status;
  if (next.version < i->view.version) {
    core_version_release(i->store, &next);
    return fail(PAGESTORE_EINVAL, "the view is at version %llu, newer than that: views only move forward",
                (unsigned long long)i->view.version);
  }
  for (pagestore_memory *m = i->memories; m && !status; m = m->next) status = memory_can_follow(m, next.state);
  if (status) {
    core_version_release(i->store, &next);
    return status;
  }
  pthread_mutex_lock(&i->core->lock);
  memory_drift drift = {
    .covered = i->view.serial && next.serial && history_covers(&i->core->history, i->view.serial),
    .after = i->view.serial, .through = next.serial,
  };
  pthread_mutex_unlock(&i->core->lock);
  core_version before = i->view;
  i->view = next;
  message_free(i->store, &i->message);
  status = follow_all(i, drift);
  core_version_release(i->store, &before);
  return status;
}

/* To the newest durable version, there is no other for a reader; or nowhere, to the view's own. */
static int advance_in_reader(pagestore_instance *i, uint64_t version) {
  bool moved = false;
  int status = 0;
  if (version == PAGESTORE_LATEST || version == PAGESTORE_DURABLE) status = reader_advance(i, &moved);
  else if (version != i->view.version) status = fail_not_retained(version);
  if (status) return status;
  message_free(i->store, &i->message);
  return follow_all(i, (memory_drift){ .covered = !moved });
}

int pagestore_instance_advance(pagestore_instance *i, uint64_t version) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (status) return status;
  if (i->kind == INSTANCE_WRITABLE)
    return fail(PAGESTORE_EINVAL, "'%s' is open for writing: it is always at its latest version", i->core->name);
  return i->store->read_only ? advance_in_reader(i, version) : advance_in_writer(i, version);
}

/* ---- fork ------------------------------------------------------------------------------------ */

int instance_capture(pagestore_instance *source, core_version *out) {
  if (source->kind == INSTANCE_WRITABLE) {
    pthread_mutex_lock(&source->core->lock);
    int status = core_capture(source->core, out);
    pthread_mutex_unlock(&source->core->lock);
    return status;
  }
  const core_version *v = &source->view;
  if (layers_pin(source->store->layers, v->line) != 0) return core_not_captured(source->core->name);
  *out = (core_version){
    .version = v->version, .line = line_reference(v->line),
    .unflushed = v->unflushed ? unflushed_reference(v->unflushed) : NULL,
    .logged = v->logged ? unflushed_reference(v->logged) : NULL, .logged_layer = v->logged_layer,
    .state = state_reference(v->state), .counts = v->counts ? state_reference(v->counts) : NULL,
  };
  return 0;
}

/* The new core takes over what was captured; nothing is stored until its first commit. */
static int core_from_version(pagestore_store *s, const char *name, core_version *from, core **out) {
  unflushed *inherited = NULL;
  if (from->unflushed) {
    int status = unflushed_restamp(from->unflushed, 0, &inherited);
    if (status) return fail(status, "no memory to fork: free some and try again");
  }
  log_line *log = NULL;
  if (from->logged && log_line_apart(from->logged_layer, from->logged, &log) != 0) {
    unflushed_release(inherited);
    return fail(PAGESTORE_ENOMEM, "no memory to fork: free some and try again");
  }
  if (log) from->logged = NULL;
  core *c;
  int status = core_new(s, name, store_new_id(&s->record.next_instance), &c);
  if (status) {
    unflushed_release(inherited);
    log_line_release(s->log, log);
    return status;
  }
  c->line = from->line;
  c->pinned = line_reference(from->line);
  c->state = from->state;
  c->counts = from->counts;
  atomic_store(&c->unflushed, inherited);
  atomic_store(&c->log, log);
  unflushed_release(from->unflushed);
  *from = (core_version){0};
  *out = c;
  return 0;
}

typedef struct { const char *name; uint64_t id; } name_request;

static int find_stored(void *env, db_reader reader) {
  name_request *r = env;
  return catalog_find(reader, r->name, &r->id);
}

/* The lock is held on return of 0: the name is free. */
static int claim_name(pagestore_store *s, const char *name) {
  name_request r = { .name = name };
  for (;;) {
    pthread_mutex_lock(&s->lock);
    uint64_t departures = s->departures;
    const core *known = core_find(s, name);
    bool gone = known && known->life == CORE_DELETED, taken = known && !gone;
    pthread_mutex_unlock(&s->lock);
    int stored = gone || taken ? PAGESTORE_ENOTFOUND : store_read(s, find_stored, &r);
    if (stored && stored != PAGESTORE_ENOTFOUND) return stored;
    if (stored == 0 || taken) return fail(PAGESTORE_EEXIST, "instance '%s' exists: take another name", name);
    pthread_mutex_lock(&s->lock);
    known = core_find(s, name);
    if (s->departures == departures && (!known || known->life == CORE_DELETED)) return 0;
    pthread_mutex_unlock(&s->lock);
  }
}

int pagestore_fork(pagestore_instance *source, const char *name, const pagestore_instance_options *given,
                   pagestore_instance **out) {
  pagestore_instance_options o;
  int status = instance_check(source, NEEDS_WRITABLE_STORE);
  if (!status && !out) status = input_null("instance");
  if (!status) status = input_name(name, "instance name");
  if (!status) status = input_options(given, &o, sizeof o, "pagestore_instance_options");
  if (status) return status;
  if (o.flags & ~(unsigned)(PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE) || o.snapshot || o.version)
    return fail(PAGESTORE_EINVAL,
                "a fork is writable and begins as its source's version: leave flags, snapshot and version out");
  pagestore_store *s = source->store;
  core_version from;
  core *c = NULL;
  if ((status = instance_capture(source, &from)) != 0) return status;
  status = module_check(source->core->name, from.state, o.module_hash);
  pagestore_instance *i = status ? NULL : instance_allocate(s, NULL, &o);
  if (!status && !i) status = fail(PAGESTORE_ENOMEM, "no memory for a handle: free some and try again");
  if (!status && (status = claim_name(s, name)) == 0) {
    status = core_from_version(s, name, &from, &c);
    if (!status) {
      i->core = c;
      c->writer = i;
      c->handles = 1;
      s->handles++;
    }
    pthread_mutex_unlock(&s->lock);
  }
  core_version_release(s, &from);
  if (status) {
    free(i);
    return status;
  }
  atomic_fetch_add(&s->counters.instances_open, 1);
  *out = i;
  return 0;
}

/* ---- diff ------------------------------------------------------------------------------------ */

typedef struct { pagestore_range_fn each; void *env; } reporter;

static int report(const reporter *r, pagestore_memory *m, uint64_t page, uint16_t mask) {
  for (unsigned block = 0; block < PAGE_BLOCKS;) {
    if (!(mask & (1u << block))) {
      block++;
      continue;
    }
    unsigned end = block;
    while (end < PAGE_BLOCKS && mask & (1u << end)) end++;
    int stop = r->each(r->env, m, page * PAGE_BYTES + block * (uint64_t)BLOCK_BYTES,
                       (end - block) * (uint64_t)BLOCK_BYTES);
    if (stop) return fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
    block = end;
  }
  return 0;
}

static int diff_memory(comparison *c, const reporter *r, const memory_entry *now, pagestore_memory *m) {
  const memory_entry *before = state_memory(c->from_version->state, now->name);
  uint16_t mask;
  const uint8_t *bytes;
  int status = 0;
  for (uint64_t page = 0;
       !status && (status = compare_next(c, before ? before->id : 0, now, &page, &mask, &bytes)) == 0; page++)
    if (page < now->pages) status = report(r, m, page, mask);
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

/* Opened for the callback's sake. What `to` has open stays as it is, also what its private message has deleted. */
static int handle_of(pagestore_instance *to, const char *name, pagestore_memory **out) {
  for (pagestore_memory *m = to->memories; m; m = m->next) {
    if (strcmp(m->name, name) != 0) continue;
    *out = m;
    return 0;
  }
  return pagestore_memory_open(to, name, NULL, out);
}

int pagestore_diff(pagestore_instance *from, pagestore_instance *to, pagestore_range_fn each, void *env) {
  int status = instance_check(from, NEEDS_NOTHING);
  if (!status) status = instance_check(to, NEEDS_NOTHING);
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  if (from->kind == INSTANCE_WRITABLE || to->kind == INSTANCE_WRITABLE)
    return fail(PAGESTORE_EINVAL, "diff compares views: open both with PAGESTORE_READ");
  if (from->store != to->store) return fail(PAGESTORE_EINVAL, "diff compares views of one store");
  reporter r = { each, env };
  comparison c;
  if ((status = compare_open(&c, from, &from->view, to, &to->view)) != 0) return status;
  for (uint32_t i = 0; i < to->view.state->memory_count && !status; i++) {
    const memory_entry *entry = &to->view.state->memories[i];
    pagestore_memory *m;
    if ((status = handle_of(to, entry->name, &m)) == 0) status = diff_memory(&c, &r, entry, m);
  }
  compare_close(&c);
  return status;
}
