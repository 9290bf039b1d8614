/* group.c - segments, transactions, and what becomes visible after them. The contract is in group.h. */
#include "group.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/probe.h"
#include "base/status.h"
#include "reroot.h"
#include "snapshot.h"
#include "storage/trash.h"

enum {
  DRAIN_PAGES = 512,              /* in one transaction, when a snapshot waits for all of an instance */
  AHEAD_PAGES = 64,               /* along with one group */
  PAGE_RECORD_LMDB_PAGES = 17,    /* most rows are page records */
};

/* ---- cores of the group ---------------------------------------------------------------------- */

/* NULL: no memory. Good until the next call. */
static group_core *group_core_of(group *g, core *c) {
  if (c->group_at < g->core_count && g->cores[c->group_at].core == c) return &g->cores[c->group_at];
  if (g->core_count == g->core_room) {
    uint32_t room = g->core_room ? g->core_room * 2 : 8;
    group_core *cores = realloc(g->cores, room * sizeof *cores);
    if (!cores) return NULL;
    g->cores = cores;
    g->core_room = room;
  }
  c->group_at = g->core_count;
  g->cores[g->core_count] = (group_core){ .core = c };
  return &g->cores[g->core_count++];
}

/* Stored pages as of what this group has written of the instance, or what was durable before it. */
static const state *counts_before(const group_core *gc) {
  return gc->counts ? gc->counts : gc->core->counts;
}

static void copy_counts(state *to, const state *from) {
  for (uint32_t i = 0; i < to->memory_count; i++) {
    memory_entry *entry = &to->memories[i];
    const memory_entry *before = from ? state_memory_by_id(from, entry->id) : NULL;
    entry->stored_pages = before ? before->stored_pages : 0;
  }
}

static int count_pages(group *g, const work *w, memory_entry *entry) {
  pagemap map = { .reader = { .txn = g->writer.txn }, .line = w->line, .store = g->writer.store,
                  .logged = w->inherited_logged, .logged_layer = w->inherited_layer };
  entry->stored_pages = 0;
  uint64_t page = 0;
  int status;
  for (; (status = pagemap_next(&map, entry->id, page, &page)) == 0; page++) {
    row_place place;
    bytes value;
    logged_page logged;
    if ((status = pagemap_row(&map, entry->id, page, &place, &value)) != 0) return status;
    pagemap_logged(&map, entry->id, page, place, &logged);
    entry->stored_pages += (place.version && value.size == PAGE_RECORD_BYTES) || logged.mask;
  }
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

/* A state of its own for writing, stored_pages as they are under `line` before this work's blocks. */
static int counted_state(group *g, const work *w, const state *before, const state *of, state **out) {
  state *counted;
  int status = state_clone(of, &counted);
  if (status) return status;
  copy_counts(counted, w->counts_from == COUNTS_CORE ? before : w->counts);
  for (uint32_t i = 0; w->counts_from == COUNTS_UNKNOWN && !status && i < counted->memory_count; i++)
    status = count_pages(g, w, &counted->memories[i]);
  if (status) state_release(counted);
  else *out = counted;
  return status;
}

/* ---- segments -------------------------------------------------------------------------------- */

static int put_trash(group *g, uint64_t layer, uint32_t memory, uint64_t died_at) {
  pthread_mutex_lock(&g->store->lock);
  uint64_t id = store_new_id(&g->store->record.next_trash);
  pthread_mutex_unlock(&g->store->lock);
  trash_record record = { .layer = layer, .memory = memory, .died_at = died_at };
  g->trash = true;
  return trash_put(g->writer.txn, id, &record);
}

/* Memories that were there before and are no more: cleared, deleted, emptied by an upgrade. */
static int trash_dead_memories(group *g, const work *w, const state *before, const state *after) {
  int status = 0;
  for (uint32_t i = 0; before && !status && i < before->memory_count; i++)
    if (!state_memory_by_id(after, before->memories[i].id))
      status = put_trash(g, w->line->steps[0].layer, before->memories[i].id, w->version);
  return status;
}

static int put_new_layer(group *g, const work *w) {
  uint64_t id = w->line->steps[0].layer;
  int status = w->rerooted_trash ? reroot_finish(g->writer.txn, w) : catalog_put_layer(g->writer.txn, id, &w->layer);
  if (!status && w->left_layer) status = put_trash(g, w->left_layer, TRASH_ALL_MEMORIES, UINT64_MAX);
  return status;
}

static int write_state(group *g, const work *w, const char *snapshot_name, const snapshot *s, state *counted) {
  state_record record = {
    .layer = s ? s->layer : w->line->steps[0].layer,
    .version = s ? s->version : w->version,
    .time_ns = s ? s->time_ns : wall_ns(),
    .state = counted,
  };
  if (s) record.snapshot = s->id;
  return catalog_put_state(&g->writer, w->line, w->core->id, snapshot_name, &record);
}

/* What lies in the log under a new layer. Nothing where all was copied: what was logged, too. */
static void inherit_logged(writer_changes *c, const work *w) {
  if (w->rerooted_trash) return;
  c->logged = w->inherited_logged;
  c->logged_layer = w->inherited_layer;
  c->carry = c->logged != NULL;
}

/* What the commits of a segment changed, and what lies in the log under it. */
static writer_changes changes_of(const group_core *gc, const work *first, const work *last) {
  writer_changes c = { .blocks = gc->changes, .as_rows = gc->as_rows || first->rerooted_trash };
  if (first->new_layer) {
    inherit_logged(&c, first);
  } else {
    c.logged = block_log_sees(last->log);
    c.logged_layer = last->log->layer;
  }
  return c;
}

static int write_changes(group *g, const group_core *gc, const work *first, const work *last, state *counted) {
  writer_changes changes = changes_of(gc, first, last);
  int status = writer_apply(&g->writer, last->line, last->version, &changes, counted);
  return status || !g->writer.packer ? status : block_log_note(g->store->log, last->log, &g->packer);
}

/* Writes what the commits of the open segment changed, as of the last of them. */
static int close_segment(group *g, group_core *gc) {
  work *first = gc->first, *last = gc->last;
  if (!first) return 0;
  const state *before = counts_before(gc);
  state *counted;
  int status = counted_state(g, first, before, last->state, &counted);
  if (status) return status;
  if (first->new_layer) status = put_new_layer(g, first);
  else status = trash_dead_memories(g, last, before, counted);
  if (!status) status = write_changes(g, gc, first, last, counted);
  if (!status) status = write_state(g, last, NULL, NULL, counted);
  if (!status && !gc->core->stored) status = catalog_put_name(g->writer.txn, gc->core->name, gc->core->id);
  if (status) {
    state_release(counted);
    return status;
  }
  state_release(gc->counts);
  gc->counts = state_seal(counted);
  unflushed_release(gc->changes);
  gc->changes = NULL;
  gc->first = gc->last = NULL;
  return 0;
}

static int add_commit(group *g, group_core *gc, work *w) {
  int status = w->new_layer ? close_segment(g, gc) : 0;
  if (status) return status;
  if (!gc->first) {
    gc->first = w;
    gc->changes = w->inherited ? unflushed_reference(w->inherited) : NULL;
  }
  if (w->delta) {
    unflushed *changes;
    if ((status = unflushed_push(gc->changes, w->delta, w->serial, 0, &changes)) != 0) return status;
    unflushed_release(gc->changes);
    gc->changes = changes;
  }
  gc->last = w;
  gc->version = w->version;
  gc->serial = w->serial;
  gc->line = w->line;
  gc->log = w->log;
  gc->wrote = true;
  gc->user = w->user;
  return 0;
}

/* ---- other works ----------------------------------------------------------------------------- */

static int add_snapshot(group *g, group_core *gc, work *w) {
  int status = close_segment(g, gc);
  if (status) return status;
  state *counted;
  if ((status = counted_state(g, w, counts_before(gc), w->state, &counted)) != 0) return status;
  if (w->new_layer) {
    status = put_new_layer(g, w);
    writer_changes inherited = { .blocks = w->inherited, .as_rows = true };
    inherit_logged(&inherited, w);
    if (!status) status = writer_apply(&g->writer, w->line, w->version, &inherited, counted);
  }
  if (!status) status = write_state(g, w, w->snapshot->name, w->snapshot, counted);
  state_release(counted);
  return status;
}

static int add_drop(group *g, group_core *gc, work *w) {
  int status = close_segment(g, gc);
  if (!status) status = catalog_delete_snapshot(g->writer.txn, w->core->id, w->snapshot->name);
  if (!status) status = put_trash(g, w->snapshot->layer, TRASH_ALL_MEMORIES, UINT64_MAX);
  return status;
}

static int delete_snapshots(group *g, uint64_t instance, uint64_t present_layer) {
  char name[NAME_BYTES_MAX + 1] = "";
  state_record record;
  uint64_t trashed = present_layer;
  int status;
  while ((status = catalog_next_snapshot((db_reader){ .txn = g->writer.txn }, instance, "", name, &record)) == 0) {
    state_release(record.state);
    if ((status = catalog_delete_snapshot(g->writer.txn, instance, name)) != 0) return status;
    if (record.layer == trashed) continue;
    trashed = record.layer;
    if ((status = put_trash(g, record.layer, TRASH_ALL_MEMORIES, UINT64_MAX)) != 0) return status;
  }
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int add_delete(group *g, group_core *gc, work *w) {
  int status = close_segment(g, gc);
  if (status) return status;
  gc->deleted = true;
  state_record record;
  db_reader reader = { .txn = g->writer.txn };
  status = catalog_instance(reader, g->store->layers, g->writer.store, w->core->id, &record);
  if (status == PAGESTORE_ENOTFOUND) return 0;  /* it was never stored */
  if (status) return status;
  state_release(record.state);
  status = delete_snapshots(g, w->core->id, record.layer);
  if (!status) status = catalog_delete_instance(g->writer.txn, w->core->id);
  if (!status) status = catalog_delete_name(g->writer.txn, w->core->name);
  if (!status) status = put_trash(g, record.layer, TRASH_ALL_MEMORIES, UINT64_MAX);
  return status;
}

static int add_work(group *g, work *w) {
  group_core *gc = group_core_of(g, w->core);
  if (!gc) return fail(PAGESTORE_ENOMEM, "no memory to flush: it is tried again");
  switch (w->kind) {
  case WORK_COMMIT: return add_commit(g, gc, w);
  case WORK_SNAPSHOT: return add_snapshot(g, gc, w);
  case WORK_DROP: return add_drop(g, gc, w);
  case WORK_DELETE: return add_delete(g, gc, w);
  }
  ASSERT(false);
  return PAGESTORE_EINVAL;
}

/* ---- the transaction ------------------------------------------------------------------------- */

/* A library that does not know block records must not open a store that has some. */
static int put_store_record(pagestore_store *s, db_txn *txn, bool logs) {
  pthread_mutex_lock(&s->lock);
  if (logs || !block_log_ends_empty(s->log)) s->record.incompatible |= FEATURE_INCOMPATIBLE_LOG;
  else s->record.incompatible &= ~FEATURE_INCOMPATIBLE_LOG;
  store_record record = s->record;
  pthread_mutex_unlock(&s->lock);
  record.flush_txn_id = db_txn_id(txn);
  return catalog_put_store(txn, &record);
}

static writer merger(pagestore_store *s, uint8_t *scratch) {
  return (writer){ .layers = s->layers, .store = s->record.id, .scratch = scratch };
}

/* Everything of one line into rows: a snapshot of its instance is about to rely on them. */
static int drain(group *g, log_line *line) {
  pagestore_store *s = g->store;
  writer w = merger(s, g->writer.scratch);
  int status = 0;
  if (block_log_is_drained(s->log, line)) return 0;
  for (merge_at at = {0}; !status && !at.done;) {
    if ((status = db_begin(s->db, &w.txn)) != 0) return status;
    status = block_log_drain(s->log, &w, line, DRAIN_PAGES, &at);
    if (!status) status = put_store_record(s, w.txn, false);
    if (!status) status = db_commit(w.txn);
    else db_abort(w.txn);
  }
  if (!status) block_log_drained(s->log, line, w.rows_put);
  atomic_fetch_add(&s->counters.pages_merged, w.rows_put);
  return status;
}

/* What needs transactions of its own before the group's. */
static int prepare_work(group *g, work *w) {
  if (w->new_layer && w->line->depth > LAYER_DEPTH_MAX) return reroot_prepare(g->store, g->writer.scratch, w);
  if (w->kind != WORK_SNAPSHOT || w->new_layer) return 0;
  group_core *gc = group_core_of(g, w->core);
  if (!gc) return fail(PAGESTORE_ENOMEM, "no memory to flush: it is tried again");
  gc->as_rows = true;
  return w->log ? drain(g, w->log) : 0;
}

static void count_merged(group *g, const writer *w) {
  atomic_fetch_add(&g->store->counters.pages_merged, w->rows_put);
  g->writer.bytes_put += w->bytes_put;
}

static int merge_along(group *g) {
  if (!g->merge_pages) return 0;
  writer w = merger(g->store, g->writer.scratch);
  w.txn = g->writer.txn;
  w.packer = g->writer.packer;
  int status = block_log_step(g->store->log, &w, LOG_EARLY, g->merge_pages);
  count_merged(g, &w);
  return status;
}

/* What snapshots would have to wait for. */
static int merge_ahead(group *g) {
  writer w = merger(g->store, g->writer.scratch);
  w.txn = g->writer.txn;
  uint64_t pages = AHEAD_PAGES;
  int status = 0;
  for (work *at = g->works; at && !status; at = at->next)
    if (at->kind == WORK_COMMIT && !at->new_layer)
      status = block_log_merge_ahead(g->store->log, &w, at->log, &pages);
  count_merged(g, &w);
  return status;
}

static free_room room_of(db_txn *txn) { return (free_room){ db_pages_free(txn), db_pages_added(txn) }; }

static int write_works(group *g) {
  int status = merge_along(g);
  if (!status && g->merges) status = merge_ahead(g);
  for (work *w = g->works; w && !status; w = w->next) status = add_work(g, w);
  for (uint32_t i = 0; i < g->core_count && !status; i++) status = close_segment(g, &g->cores[i]);
  if (!status && g->writer.packer) status = packer_end(&g->packer);
  if (!status) status = block_log_reserve(g->store->log, g->packer.record_count);
  if (!status) status = put_store_record(g->store, g->writer.txn, g->packer.record_count > 0);
  if (!status) g->page_rows = db_entries(g->writer.txn, DB_PAGES);
  if (!status) g->room = room_of(g->writer.txn);
  return status;
}

static void give_up(group *g) {
  block_log_discard(g->store->log);
  if (g->merge_pages) block_log_stepped(g->store->log, g->store->db, false);
}

static uint64_t blocks_of(const work *w) {
  uint64_t blocks = 0;
  for (; w; w = w->next) blocks += w->delta ? delta_blocks(w->delta) : 0;
  return blocks;
}

int group_write(group *g) {
  pagestore_store *s = g->store;
  int status = 0;
  for (work *w = g->works; w && !status; w = w->next) status = prepare_work(g, w);
  if (status) return status;
  PROBE1(flush_begin, s);
  if ((status = db_begin(s->db, &g->writer.txn)) != 0) return status;
  if (s->options.log_bytes != PAGESTORE_NO_LOG && !g->as_rows) {
    block_log_pack(s->log, &g->packer, g->writer.txn, blocks_of(g->works));
    g->writer.packer = &g->packer;
  }
  if ((status = write_works(g)) != 0) {
    db_abort(g->writer.txn);
    give_up(g);
    return status;
  }
  status = db_commit(g->writer.txn);
  if (status) give_up(g);
  PROBE3(flush_end, s, g->writer.bytes_put, status);
  return status;
}

/* Nothing is logged anew here: a slice for a few blocks would leave a record for a few blocks, and never end. */
int group_merge(pagestore_store *s, uint8_t *scratch, log_goal goal, uint64_t pages) {
  writer w = merger(s, scratch);
  int status = db_begin(s->db, &w.txn);
  if (status) return status;
  status = block_log_step(s->log, &w, goal, pages);
  if (!status) status = put_store_record(s, w.txn, false);
  if (!status) status = db_commit(w.txn);
  else db_abort(w.txn);
  block_log_stepped(s->log, s->db, status == 0);
  atomic_fetch_add(&s->counters.pages_merged, status ? 0 : w.rows_put);
  atomic_store(&s->counters.log_bytes, block_log_bytes(s->log));
  return status;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

/* The rows are there: the index lets go of what they hold. Readers that took the old index may still be
 * looking at it, so it is handed back, to be released once they are done. */
static unflushed *publish_core(group_core *gc) {
  core *c = gc->core;
  unflushed *old = NULL, *shorter;
  pthread_mutex_lock(&c->lock);
  if (gc->wrote) {
    ASSERT(gc->version > c->durable && gc->version <= c->committed);
    c->durable = gc->version;
    line_release(c->line_durable);
    c->line_durable = line_reference(gc->line);
    log_line *log = atomic_load(&c->log);
    if (log != gc->log && c->line->steps[0].layer == gc->log->layer) {
      atomic_store(&c->log, log_line_reference(gc->log));
      gc->left = log;
    }
    state_release(c->counts);
    c->counts = state_reference(gc->counts);
    old = atomic_load(&c->unflushed);
    if (unflushed_drop(old, gc->serial, &shorter) == 0) atomic_store(&c->unflushed, shorter);
    else old = NULL;
  }
  c->flushing = c->flushing_serial = 0;
  c->flushing_refusable = false;
  c->told_status = 0;
  pthread_mutex_unlock(&c->lock);
  return old;
}

static void publish_life(pagestore_store *s, group_core *gc) {
  pthread_mutex_lock(&s->lock);
  if (gc->wrote) gc->core->stored = true;
  if (gc->wrote && gc->core->life == CORE_FRESH) core_move(gc->core, CORE_STORED);
  pthread_mutex_unlock(&s->lock);
}

static void forget_snapshots_of(pagestore_store *s, uint64_t instance) {
  for (uint32_t i = s->snapshots.count; i-- > 0;)
    if (s->snapshots.items[i]->instance == instance) snapshot_remove(s, s->snapshots.items[i]);
}

static void publish_work(pagestore_store *s, work *w) {
  pthread_mutex_lock(&s->lock);
  if (w->kind == WORK_SNAPSHOT && w->snapshot->life == SNAPSHOT_QUEUED) w->snapshot->life = SNAPSHOT_KEPT;
  if (w->kind == WORK_DROP) snapshot_remove(s, w->snapshot);
  if (w->kind == WORK_DELETE) {
    forget_snapshots_of(s, w->core->id);
    core_move(w->core, CORE_GONE);
  }
  pthread_mutex_unlock(&s->lock);
  if (w->rerooted_trash) reroot_publish(s, w);
}

void group_publish(group *g) {
  block_log_publish(g->store->log, &g->packer);
  for (uint32_t i = 0; i < g->core_count; i++) {
    publish_life(g->store, &g->cores[i]);  /* first: what has a durable version is not fresh */
    g->cores[i].replaced = publish_core(&g->cores[i]);
  }
  db_slots_settle(g->store->db);
  block_log_settled(g->store->log);
  for (uint32_t i = 0; i < g->core_count; i++) {
    unflushed_release(g->cores[i].replaced);
    log_line_release(g->store->log, g->cores[i].left);
  }
  if (g->merge_pages) block_log_stepped(g->store->log, g->store->db, true);
  for (work *w = g->works; w; w = w->next) publish_work(g->store, w);
}

/* Once per instance and flush: its newest commit among works up to end. */
void group_tell(const group *g) {
  const pagestore_options *options = &g->store->options;
  if (!options->on_durable) return;
  for (uint32_t i = 0; i < g->core_count; i++)
    if (g->cores[i].wrote) options->on_durable(options->env, g->cores[i].user, g->cores[i].version, 0);
}

void group_free(group *g) {
  for (uint32_t i = 0; i < g->core_count; i++) {
    state_release(g->cores[i].counts);
    unflushed_release(g->cores[i].changes);
  }
  packer_free(&g->packer);
  free(g->cores);
  g->cores = NULL;
  g->core_count = g->core_room = 0;
}

int group_age_free_pages(pagestore_store *s) {
  db_txn *txn;
  int status = db_begin(s->db, &txn);
  if (status) return status;
  if ((status = put_store_record(s, txn, false)) == 0) return db_commit(txn);
  db_abort(txn);
  return status;
}

static int put_orphans(pagestore_store *s, db_txn *txn, const uint64_t *layers, uint32_t count) {
  group g = { .store = s, .writer = { .txn = txn } };
  int status = 0;
  layer_record known;
  for (uint32_t i = 0; i < count && !status; i++)
    if (layers_get(s->layers, layers[i], &known)) status = put_trash(&g, layers[i], TRASH_ALL_MEMORIES, UINT64_MAX);
  return status;
}

int group_work_off_trash(pagestore_store *s, const uint64_t *layers, uint32_t count, trash_step_outcome *out) {
  *out = (trash_step_outcome){0};
  db_txn *txn;
  int status = db_begin(s->db, &txn);
  if (status) return status;
  status = put_orphans(s, txn, layers, count);
  pthread_mutex_lock(&s->lock);
  uint64_t next_trash = s->record.next_trash++;  /* for the record of a parent, if the step puts one */
  pthread_mutex_unlock(&s->lock);
  trash_outcome outcome = {0};
  if (!status) status = trash_step(txn, s->layers, &next_trash, &outcome);
  if (!status && !outcome.worked) {
    db_abort(txn);
    return 0;
  }
  if (!status) status = put_store_record(s, txn, false);
  if (status) {
    db_abort(txn);
    return status;
  }
  out->room = room_of(txn);
  if ((status = db_commit(txn)) != 0) return status;
  if (outcome.layer_removed) layers_remove(s->layers, outcome.layer_removed);
  out->more = !outcome.pinned;
  out->pages_freed = outcome.rows_deleted * PAGE_RECORD_LMDB_PAGES;
  return 0;
}
