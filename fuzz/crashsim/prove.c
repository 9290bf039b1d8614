/* prove.c - see prove.h. */
#include "prove.h"

#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "prove_log.h"
#include "storage/format.h"
#include "storage/walker.h"
#include "totals.h"
#include "workload.h"

enum { SECTOR = 512 };

/* What a durable catalog says: who is there, at which version, with which snapshots. */
typedef struct {
  uint64_t id, version;
  char name[256];
  bool named, recorded;
} found_instance;
typedef struct {
  uint64_t instance, version;
  char name[256];
} found_snapshot;

enum { FOUND_MAX = 16 };

typedef struct {
  found_instance instance[FOUND_MAX];
  found_snapshot snapshot[FOUND_MAX];
  uint32_t instances, snapshots;
} found_catalog;

typedef struct {
  const chronicle *chronicle;
  disk disk;
  int data; /* the data file looked at; -1: none has a whole meta page yet */
  walker_metas metas;
  uint64_t *reachable; /* a bit per page, of the durable meta page */
  uint64_t pages;      /* how many bits */
  uint64_t txn_id;     /* of the durable meta page */
  uint32_t of;         /* the file that reachable and before are of */
  uint64_t *before;    /* the same of the meta page that was durable before it; NULL: none yet */
  uint64_t before_pages;
  int64_t durable;      /* the newest moment that the durable meta page can be; NO_STORE: none */
  const uint8_t *bytes; /* during a walk */
  found_catalog catalog;
  found_log log;        /* of the meta page looked at last */
  bool is_deep; /* a line of layers was as long as it may be: the next restore copies */
  bool is_half_way;   /* trash was worked off in part, to be gone on with */
  char damage[256];
} proof;

/* ---- what the durable meta page reaches ------------------------------------------------------ */

static int note_finding(void *env, uint64_t page, const char *text) {
  proof *p = env;
  if (!p->damage[0]) snprintf(p->damage, sizeof p->damage, "page %lld: %s", (long long)page, text);
  return 0;
}

static int note_page(void *env, const char *table, walker_page_kind kind, uint64_t first, uint64_t count) {
  proof *p = env;
  (void)table, (void)kind;
  for (uint64_t page = first; page < first + count && page < p->pages; page++)
    p->reachable[page / 64] |= 1ull << page % 64;
  return 0;
}

static found_instance *instance_with(found_catalog *c, uint64_t id) {
  for (uint32_t i = 0; i < c->instances; i++)
    if (c->instance[i].id == id) return &c->instance[i];
  if (c->instances == FOUND_MAX) give_up("more instances than there were");
  c->instance[c->instances] = (found_instance){.id = id};
  return &c->instance[c->instances++];
}

static int note_layer(proof *p, bytes value) {
  layer_record layer;
  int status = layer_record_decode(value, &layer);
  if (status) return status;
  if (layer.depth > LAYER_DEPTH_MAX) return note_finding(p, 0, "a layer is deeper than layers may be");
  if (layer.depth == LAYER_DEPTH_MAX) p->is_deep = true;
  return 0;
}

static int note_trash(proof *p, bytes value) {
  static const uint8_t beginning[PAGE_KEY_BYTES];
  trash_record trash;
  int status = trash_record_decode(value, &trash);
  if (!status && memcmp(trash.resume, beginning, sizeof beginning) != 0) p->is_half_way = true;
  return status;
}

static int note_record(proof *p, catalog_kind kind, uint64_t id, const char *name, bytes value) {
  found_catalog *c = &p->catalog;
  state_record record;
  if (kind == CATALOG_NAME) {
    int status = name_record_decode(value, &id);
    if (status) return status;
    found_instance *i = instance_with(c, id);
    i->named = true;
    snprintf(i->name, sizeof i->name, "%s", name);
    return 0;
  }
  int status = state_record_decode(value, &record);
  if (status) return status;
  state_release(record.state);
  if (kind == CATALOG_INSTANCE) {
    found_instance *i = instance_with(c, id);
    i->recorded = true;
    i->version = record.version;
  } else {
    if (c->snapshots == FOUND_MAX) give_up("more snapshots than there were");
    found_snapshot *s = &c->snapshot[c->snapshots++];
    *s = (found_snapshot){.instance = id, .version = record.version};
    snprintf(s->name, sizeof s->name, "%s", name);
  }
  return 0;
}

static int note_row(void *env, const char *table, bytes key, walker_place value) {
  proof *p = env;
  catalog_kind kind;
  uint64_t id;
  char name[256];
  if (strcmp(table, "log") == 0) prove_log_row(&p->log, key, (bytes){p->bytes + value.at, value.size});
  if (strcmp(table, "catalog") != 0) return 0;
  if (catalog_key_decode(key, &kind, &id, name) != 0) return note_finding(env, 0, pagestore_detail());
  catalog_record copy = {.size = value.size};
  if (copy.size > sizeof copy.byte) return note_finding(env, value.at / DISK_PAGE, "a catalog record too large for one");
  memcpy(copy.byte, p->bytes + value.at, copy.size);
  catalog_record_bind(&copy, key);
  bytes record = {copy.byte, copy.size};
  int status = 0;
  if (kind == CATALOG_STORE) prove_log_store(&p->log, record);
  if (kind == CATALOG_LOG) prove_log_catalog(&p->log, id, record);
  if (kind == CATALOG_TRASH) status = note_trash(p, record);
  else if (kind == CATALOG_LAYER) status = note_layer(p, record);
  else if (kind == CATALOG_NAME || kind == CATALOG_INSTANCE || kind == CATALOG_SNAPSHOT)
    status = note_record(p, kind, id, name, record);
  return status ? note_finding(env, value.at / DISK_PAGE, pagestore_detail()) : 0;
}

/* ---- which moment that is -------------------------------------------------------------------- */

static bool has_snapshot(const found_catalog *c, uint64_t instance, const moment_snapshot *s) {
  for (uint32_t i = 0; i < c->snapshots; i++)
    if (c->snapshot[i].instance == instance && c->snapshot[i].version == s->of->number &&
        !strcmp(c->snapshot[i].name, s->name))
      return true;
  return false;
}

static bool has_instance(const found_catalog *c, const moment_instance *must) {
  for (uint32_t i = 0; i < c->instances; i++) {
    const found_instance *is = &c->instance[i];
    if (strcmp(is->name, must->name) != 0) continue;
    if (is->version != must->of->number) return false;
    for (uint32_t s = 0; s < must->snapshots; s++)
      if (!has_snapshot(c, is->id, &must->snapshot[s])) return false;
    return true;
  }
  return false;
}

static bool catalog_is(const found_catalog *c, const moment *m) {
  uint32_t instances = 0, snapshots = 0;
  for (int i = 0; i < INSTANCES; i++) {
    const moment_instance *must = &m->instance[i];
    if (!must->of) continue;
    if (!has_instance(c, must)) return false;
    instances++;
    snapshots += must->snapshots;
  }
  for (uint32_t i = 0; i < c->instances; i++)
    if (!c->instance[i].named || !c->instance[i].recorded) return false;
  return instances == c->instances && snapshots == c->snapshots;
}

/* The newest of those that may be there; NO_STORE: none. */
static int64_t moment_of_catalog(const proof *p) {
  for (int64_t at = p->disk.begun; at >= 0 && at >= p->disk.acknowledged; at--)
    if (!p->chronicle->list[at].refused && catalog_is(&p->catalog, &p->chronicle->list[at])) return at;
  return NO_STORE;
}

static bool reject(const proof *p, const char *rule, const char *text) {
  violation("%s at event %llu: %s", rule, (unsigned long long)p->disk.at, text);
  return false;
}

/* What the meta page of this file reached that was durable until now, if it is another. */
static void keep_before(proof *p, uint32_t file) {
  bool goes_on = p->reachable && p->of == file;
  bool is_next = goes_on && p->txn_id != p->metas.meta[p->metas.newest].txn_id;
  if (is_next || !goes_on) {
    free(p->before);
    p->before = NULL;
  }
  if (!goes_on) prove_log_forget(&p->log);
  if (is_next) {
    p->before = p->reachable;
    p->before_pages = p->pages;
  } else {
    free(p->reachable);
  }
  p->reachable = NULL;
  p->of = file;
  p->txn_id = p->metas.meta[p->metas.newest].txn_id;
}

/* After a barrier. Before the first whole transaction there is nothing that a write could harm. */
static bool look_at_durable(proof *p, uint32_t file) {
  disk_file *f = &p->disk.file[file];
  walker_summary summary;
  const walker_callbacks callbacks = {.env = p, .finding = note_finding, .page = note_page, .row = note_row};
  p->data = -1;
  if (f->size < LMDB_METAS * DISK_PAGE) return true;
  if (walker_check_meta(f->mirror, "the durable file", &p->metas) != 0) return reject(p, "I1", pagestore_detail());
  if (p->metas.meta[p->metas.newest].txn_id == 0) return true;
  bool is_next = p->txn_id != p->metas.meta[p->metas.newest].txn_id;
  p->data = (int)file;
  p->bytes = f->bytes;
  keep_before(p, file);
  p->pages = p->metas.meta[p->metas.newest].last_page + 1;
  p->reachable = calloc(p->pages / 64 + 1, sizeof *p->reachable);
  if (!p->reachable) give_up("no memory for a proof");
  p->catalog = (found_catalog){0};
  p->damage[0] = 0;
  prove_log_begin(&p->log);
  if (walker_walk(f->mirror, &p->metas, p->metas.newest, &callbacks, &summary) != 0)
    return reject(p, "I1", pagestore_detail());
  if (p->damage[0]) return reject(p, "I1", p->damage);
  const char *text = prove_log_end(&p->log);
  if (text) return reject(p, "I6", text);
  /* The first transaction makes the tables, the second the store's record: until it is acknowledged nothing needs to
   * be there. */
  int64_t before = p->durable;
  p->durable = moment_of_catalog(p);
  if (before != NO_STORE && p->durable > before + 1) totals_saw(SAW_GROUP);
  if (before != NO_STORE && p->durable == before && is_next) totals_saw(SAW_TRASH);
  if (p->durable == NO_STORE && p->disk.acknowledged != NO_STORE)
    return reject(p, "I3", "what the durable meta page reaches is none of the sealed moments");
  return true;
}

/* ---- single events --------------------------------------------------------------------------- */

static bool has_page(const uint64_t *set, uint64_t pages, uint64_t page) {
  return page < pages && set[page / 64] >> page % 64 & 1;
}

static bool is_reachable(const proof *p, uint64_t page) {
  return page == p->metas.newest || has_page(p->reachable, p->pages, page);
}

static bool was_reachable(const proof *p, uint64_t page) {
  return p->before && page >= LMDB_METAS && has_page(p->before, p->before_pages, page);
}

static bool meta_write(const proof *p, const event *e) {
  if (disk_has_pending(&p->disk, e->file, PENDING_WRITE))
    return reject(p, "I2", "a meta page is written while data is pending");
  if (!e->at_once) return reject(p, "I2", "a meta page is written without O_DSYNC");
  if (e->offset / SECTOR != (e->offset + e->size - 1) / SECTOR)
    return reject(p, "I2", "a meta page is written across sectors");
  return true;
}

/* Before the event is applied: pending are those that came before. */
static bool data_write(const proof *p, const event *e) {
  if (p->data != (int)e->file) return true;
  if (e->offset < LMDB_METAS * DISK_PAGE && !meta_write(p, e)) return false;
  for (uint64_t page = e->offset / DISK_PAGE; page * DISK_PAGE < e->offset + e->size; page++) {
    char text[160];
    if (!is_reachable(p, page) && !was_reachable(p, page)) continue;
    snprintf(text, sizeof text, "page %llu is written, which the durable meta page%s reaches", (unsigned long long)page,
             is_reachable(p, page) ? "" : " before the last");
    return reject(p, is_reachable(p, page) ? "I1" : "I5", text);
  }
  return true;
}

static bool acknowledgement(const proof *p, const event *e) {
  char text[160];
  for (uint32_t i = 0; i < p->disk.pending_count; i++) {
    const disk_pending *at = &p->disk.pending[i];
    const event *of = &p->disk.log->events[at->event];
    if (at->kind != PENDING_COMES || p->disk.log->file[of->file].is_lock) continue;
    snprintf(text, sizeof text, "acknowledged, but the name '%s' is not durable",
             of->kind == EVENT_RENAME ? of->to_name : of->name);
    return reject(p, "I4", text);
  }
  if (p->durable >= (int64_t)e->seal) return true;
  snprintf(text, sizeof text, "seal %llu is acknowledged, but %lld is durable", (unsigned long long)e->seal,
           (long long)p->durable);
  return reject(p, "I3", text);
}

static bool prove_event(proof *p) {
  const event *e = &p->disk.log->events[p->disk.at];
  bool is_data = !p->disk.log->file[e->file].is_directory, good;
  switch (e->kind) {
  case EVENT_WRITE:
    good = data_write(p, e);
    disk_step(&p->disk);
    return good;
  case EVENT_DONE:
  case EVENT_SYNC:
    atomic_fetch_add(&totals->barriers, 1);
    disk_step(&p->disk);
    return is_data ? look_at_durable(p, e->file) : true;
  case EVENT_ACK:
    good = acknowledgement(p, e);
    disk_step(&p->disk);
    return good;
  default: disk_step(&p->disk); return true;
  }
}

void prove_log(const record_log *log, const chronicle *c, int64_t acknowledged, int64_t begun) {
  proof *p = calloc(1, sizeof *p);
  if (!p) give_up("no memory for a proof");
  p->chronicle = c;
  p->data = -1;
  p->durable = NO_STORE;
  disk_begin(&p->disk, log, true, acknowledged, begun);
  /* What lies elsewhere is left of a creation that was cut off, and may be anything. */
  int store = tree_find(&p->disk.tree, 0, STORE_NAME),
      data = store < 0 ? -1 : tree_find(&p->disk.tree, (uint32_t)store, "data.mdb");
  bool good = data < 0 || look_at_durable(p, (uint32_t)data);
  while (good && p->disk.at < log->count) {
    event_kind kind = log->events[p->disk.at].kind;
    good = prove_event(p);
    if (good && (kind == EVENT_WRITE || kind == EVENT_DONE || kind == EVENT_SYNC)) atomic_fetch_add(&totals->proved, 1);
  }
  if (p->is_deep) totals_saw(SAW_DEEPEST);
  if (p->is_half_way) totals_saw(SAW_HALF_TRASH);
  disk_end(&p->disk);
  free(p->reachable);
  free(p->before);
  prove_log_forget(&p->log);
  free(p);
}
