/* block_log.c - generations, records and lines. The contract is in block_log.h. */
#include "storage/block_log_inside.h"

#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/catalog.h"
#include "storage/log_load.h"
#include "storage/record.h"

enum {
  GENERATIONS = 8,                 /* of the budget */
  GENERATIONS_EARLY = 3,           /* before it is full */
  GENERATION_RECORDS_MIN = 8,
  DELETED_MIN = 64,                /* doomed records whose rows go in one transaction, */
  PAGES_DELETED = 8,               /* and one more for so many pages that are looked at: twice what is added */
};

/* ---- lines ----------------------------------------------------------------------------------- */

static log_line **bucket_of(block_log *l, uint64_t layer) { return &l->lines[layer % LINE_BUCKETS]; }

int log_line_apart(uint64_t layer, unflushed *blocks, log_line **out) {
  log_line *made = calloc(1, sizeof *made);
  if (made == NULL) return PAGESTORE_ENOMEM;
  made->references = 1;
  made->layer = layer;
  atomic_store(&made->blocks, blocks);
  *out = made;
  return 0;
}

/* The lock is held. */
static log_line *find_line(block_log *l, uint64_t layer) {
  log_line *at = *bucket_of(l, layer);
  while (at != NULL && at->layer != layer) at = at->next;
  return at;
}

int block_log_line(block_log *l, uint64_t layer, log_line **out) {
  pthread_mutex_lock(&l->lock);
  log_line *found = find_line(l, layer);
  int err = 0;
  if (found != NULL) {
    log_line_reference(found);
  } else if ((err = log_line_apart(layer, NULL, &found)) == 0) {
    found->next = *bucket_of(l, layer);
    *bucket_of(l, layer) = found;
  }
  pthread_mutex_unlock(&l->lock);
  if (err == 0) *out = found;
  return err;
}

log_line *log_line_reference(log_line *line) {
  atomic_fetch_add(&line->references, 1);
  return line;
}

/* A line that shows something stays in the table, whoever lets go of it. The lock is held. */
static void leave_table(block_log *l, log_line *line) {
  log_line **at = bucket_of(l, line->layer);
  while (*at != NULL && *at != line) at = &(*at)->next;
  if (*at == line) *at = line->next;
}

void log_line_release(block_log *l, log_line *line) {
  if (line == NULL) return;
  pthread_mutex_lock(&l->lock);
  bool last = atomic_fetch_sub(&line->references, 1) == 1;
  if (last) leave_table(l, line);
  pthread_mutex_unlock(&l->lock);
  if (!last) return;
  unflushed_release(atomic_load(&line->blocks));
  free(line);
}

unflushed *log_line_capture(block_log *l, log_line *line) {
  if (line == NULL) return NULL;
  pthread_mutex_lock(&l->lock);
  unflushed *blocks = atomic_load(&line->blocks);
  if (blocks != NULL) unflushed_reference(blocks);
  pthread_mutex_unlock(&l->lock);
  return blocks;
}

/* Shows other blocks from now on; what it showed is handed back, to be released when nobody looks any more. While it
 * shows something it has a reference of its own. */
static unflushed *show(block_log *l, log_line *line, unflushed *blocks) {
  pthread_mutex_lock(&l->lock);
  unflushed *before = atomic_exchange(&line->blocks, blocks);
  pthread_mutex_unlock(&l->lock);
  if (blocks != NULL && before == NULL) log_line_reference(line);
  return before;
}

static void let_go(block_log *l, log_line *line, unflushed *before) {
  bool showed = before != NULL, shows = atomic_load(&line->blocks) != NULL;
  unflushed_release(before);
  if (showed && !shows) log_line_release(l, line);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int new_log(id128 store, block_log **out) {
  block_log *l = calloc(1, sizeof *l);
  if (l == NULL) return fail(PAGESTORE_ENOMEM, "no memory for the log: free some and open again");
  l->store = store;
  l->sequence_next = 1;
  pthread_mutex_init(&l->lock, NULL);
  *out = l;
  return 0;
}

static int grow(void **items, uint64_t wanted, uint64_t *room, size_t item_bytes) {
  if (wanted <= *room) return 0;
  uint64_t more = max_u64(wanted, *room ? *room * 2 : 64);
  void *grown = realloc(*items, more * item_bytes);
  if (grown == NULL) return fail(PAGESTORE_ENOMEM, "no memory for the log: it is tried again");
  *items = grown;
  *room = more;
  return 0;
}

int block_log_reserve(block_log *l, uint64_t records) {
  uint64_t held = l->record_end - l->record_first;
  if (l->record_first > l->record_room / 2) {  /* the window has moved: back to the beginning */
    memmove(l->records, l->records + l->record_first, held * sizeof *l->records);
    l->record_first = 0;
    l->record_end = held;
  }
  int err = grow((void **)&l->records, l->record_end + records, &l->record_room, sizeof *l->records);
  return err != 0 ? err : grow((void **)&l->closed, l->closed_count + 1, &l->closed_room, sizeof *l->closed);
}

static uint64_t record_count(const block_log *l) { return l->record_end - l->record_first; }

static uint64_t last_closed(const block_log *l) {
  return l->closed_count ? l->closed[l->closed_count - 1] : l->merging.through;
}

static uint64_t generation_records(const block_log *l) {
  return max_u64(l->budget_records / GENERATIONS, GENERATION_RECORDS_MIN);
}

/* Between transactions only: records are never shared over this line. Room was reserved. */
static void close_generation(block_log *l, uint64_t records_max) {
  uint64_t open = l->sequence_next - 1 - max_u64(last_closed(l), l->doomed);
  if (record_count(l) == 0 || open < records_max) return;
  ASSERT(l->closed_count < l->closed_room);
  l->closed[l->closed_count++] = l->sequence_next - 1;
}

static int load_layer(void *env, uint64_t layer, const logged_block *blocks, uint64_t count, uint64_t first,
                      uint64_t last) {
  block_log *l = env;
  log_line *line;
  unflushed *with;
  int err = block_log_line(l, layer, &line);
  if (err != 0) return err;
  err = unflushed_push_logged(atomic_load(&line->blocks), blocks, count, first, last, last_closed(l), &with);
  if (err == 0) let_go(l, line, show(l, line, with));
  log_line_release(l, line);
  return err;
}

static void load_beginning(void *env, uint64_t sequence) {
  block_log *l = env;
  l->doomed = sequence - 1;
  l->sequence_next = sequence;
}

static int load_records(void *env, delta *const *records, uint64_t count) {
  block_log *l = env;
  int err = block_log_reserve(l, count);
  if (err != 0) return err;
  for (uint64_t i = 0; i < count; i++) l->records[l->record_end++] = delta_reference(records[i]);
  l->sequence_next = max_u64(l->sequence_next, delta_sequence(records[count - 1]) + 1);
  if (delta_sequence(records[0]) > l->doomed) close_generation(l, 1);
  return 0;
}

int block_log_load(db_reader reader, id128 store, block_log **out) {
  block_log *l = NULL;
  int err = new_log(store, &l);
  if (err != 0) return err;
  log_loading loading = {.env = l, .beginning = load_beginning, .layer = load_layer, .records = load_records};
  if ((err = log_load(reader, store, &loading)) != 0) {
    block_log_free(l);
    return err;
  }
  *out = l;
  return 0;
}

static int index_layer(void *env, uint64_t layer, const logged_block *blocks, uint64_t count, uint64_t first,
                       uint64_t last) {
  (void)layer;
  unflushed **index = env, *with;
  int err = unflushed_push_logged(*index, blocks, count, first, last, first - 1, &with);
  if (err != 0) return fail(err, "no memory for the log: free some and open again");
  unflushed_release(*index);
  *index = with;
  return 0;
}

int block_log_index(db_reader reader, id128 store, uint64_t layer, unflushed **out) {
  *out = NULL;
  log_loading loading = {.env = out, .only_layer = layer, .layer = index_layer};
  int err = log_load(reader, store, &loading);
  if (err == 0) return 0;
  unflushed_release(*out);
  *out = NULL;
  return err;
}

static void forget_merging(block_log *l) {
  for (uint64_t i = 0; i < l->merging.count; i++) log_line_release(l, l->merging.lines[i]);
  free(l->merging.lines);
  l->merging = (merging){0};
}

void block_log_free(block_log *l) {
  if (l == NULL) return;
  forget_merging(l);
  for (unsigned i = 0; i < LINE_BUCKETS; i++)
    for (log_line *line = l->lines[i], *next; line != NULL; line = next) {
      next = line->next;
      let_go(l, line, show(l, line, NULL));
    }
  for (uint64_t i = l->record_first; i < l->record_end; i++) delta_release(l->records[i]);
  pthread_mutex_destroy(&l->lock);
  free(l->records);
  free(l->closed);
  free(l);
}

/* ---- filling --------------------------------------------------------------------------------- */

void block_log_budget(block_log *l, uint64_t bytes) { l->budget_records = bytes / PAGE_RECORD_BYTES; }

uint64_t block_log_bytes(const block_log *l) { return record_count(l) * PAGE_RECORD_BYTES; }

bool block_log_is_empty(const block_log *l) { return record_count(l) == 0; }

bool block_log_ends_empty(const block_log *l) { return record_count(l) == l->deleted; }

uint64_t block_log_sequence(const block_log *l) { return l->sequence_next; }

const unflushed *block_log_sees(const log_line *line) {
  return line->is_pending ? line->pending : atomic_load(&line->blocks);
}

/* The last record, where it has room and nothing ends with it. */
static delta *unfilled(const block_log *l) {
  if (record_count(l) == 0 || l->last.count == 0 || l->last.count == PAGE_BLOCKS) return NULL;
  delta *last = l->records[l->record_end - 1];
  ASSERT(delta_sequence(last) == l->last.sequence && l->last.sequence == l->sequence_next - 1);
  bool ends = l->last.sequence <= max_u64(last_closed(l), l->doomed);
  return ends || !delta_in_mapping(last) ? NULL : last;
}

static uint64_t records_for(uint64_t blocks) { return (blocks + PAGE_BLOCKS - 1) / PAGE_BLOCKS; }

/* Where going on would cost a record more, a new one is begun: writing it is dearer than its room. What the last record
 * will have left is for the next transaction, if it is of the same size, else for whoever has something to log anew. */
void block_log_pack(const block_log *l, packer *p, db_txn *txn, uint64_t blocks) {
  packer_begin(p, txn, l->store, l->sequence_next);
  delta *last = unfilled(l);
  bool goes_on = last != NULL && records_for(l->last.count + blocks) == records_for(blocks);
  if (goes_on) packer_go_on(p, last, &l->last);
  uint64_t used = (goes_on ? l->last.count : 0) + blocks, left = records_for(used) * PAGE_BLOCKS - used;
  p->spare = blocks >= PAGE_BLOCKS ? UINT64_MAX : left < blocks ? left : 0;
}

bool block_log_has_page(const void *log, uint64_t layer, uint32_t memory, uint64_t page) {
  block_log *l = (block_log *)log;
  pthread_mutex_lock(&l->lock);
  const log_line *line = find_line(l, layer);
  bool has = line != NULL && unflushed_has(block_log_sees(line), memory, page);
  pthread_mutex_unlock(&l->lock);
  return has;
}

static uint64_t pages_in(const packer *p) {
  uint64_t pages = 1;
  for (uint64_t i = 1; i < p->block_count; i++) {
    const logged_block *a = &p->blocks[i - 1], *b = &p->blocks[i];
    pages += a->page != b->page || a->memory != b->memory;
  }
  return pages;
}

int block_log_note(block_log *l, log_line *line, packer *p) {
  if (p->block_count == 0) return 0;
  uint64_t first = delta_sequence(p->blocks[0].record), last = delta_sequence(p->blocks[p->block_count - 1].record);
  uint64_t cut = max_u64(last_closed(l), line->merged_through);
  unflushed *with;
  int err = unflushed_push_logged(block_log_sees(line), p->blocks, p->block_count, first, last, cut, &with);
  if (err != 0) return fail(err, "no memory to flush: it is tried again");
  if (line->is_pending) {
    unflushed_release(line->pending);
  } else {
    line->is_pending = true;
    line->next_pending = l->pending;
    l->pending = log_line_reference(line);
  }
  line->pending = with;
  uint64_t pages = pages_in(p);
  line->ahead.logged += pages;
  line->ahead.logged_in_pass += pages;
  packer_forget(p);
  return 0;
}

static log_line *take_pending(block_log *l, unflushed **blocks) {
  log_line *line = l->pending;
  if (line == NULL) return NULL;
  l->pending = line->next_pending;
  *blocks = line->pending;
  line->pending = NULL;
  line->next_pending = NULL;
  line->is_pending = false;
  return line;
}

void block_log_publish(block_log *l, packer *p) {
  log_line *line;
  unflushed *blocks;
  packer_land(p);
  while ((line = take_pending(l, &blocks)) != NULL) {
    line->pending = show(l, line, blocks);
    line->next_pending = l->shown;
    l->shown = line;
  }
  for (uint64_t i = p->goes_on; i < p->record_count; i++) l->records[l->record_end++] = delta_reference(p->records[i]);
  if (p->record_count > 0) {
    l->sequence_next = p->sequence_next;
    l->last = p->addresses;
  }
  close_generation(l, generation_records(l));
}

void block_log_settled(block_log *l) {
  log_line *line;
  while ((line = l->shown) != NULL) {
    l->shown = line->next_pending;
    line->next_pending = NULL;
    unflushed *before = line->pending;
    line->pending = NULL;
    let_go(l, line, before);
    log_line_release(l, line);
  }
}

void block_log_discard(block_log *l) {
  log_line *line;
  unflushed *blocks;
  while ((line = take_pending(l, &blocks)) != NULL) {
    unflushed_release(blocks);
    log_line_release(l, line);
  }
}

/* ---- emptying -------------------------------------------------------------------------------- */

/* Records up to `through` that are not doomed. */
static uint64_t counting_through(const block_log *l, uint64_t through) {
  if (record_count(l) == 0) return 0;
  return through - min_u64(through, max_u64(delta_sequence(l->records[l->record_first]) - 1, l->doomed));
}

static uint64_t counting_records(const block_log *l) { return counting_through(l, l->sequence_next - 1); }

/* Which is merged, or can be without closing one for that. */
static bool has_generation(const block_log *l) { return l->merging.through != 0 || l->closed_count > 0; }

static bool is_over(const block_log *l, log_goal goal) {
  uint64_t counting = counting_records(l), generation = l->budget_records / GENERATIONS;
  if (goal == LOG_EVERYTHING) return counting > 0;
  bool is_early = goal == LOG_EARLY && has_generation(l);
  return counting > l->budget_records - (is_early ? GENERATIONS_EARLY : 1) * generation;
}

static bool has_doomed(const block_log *l) {
  return record_count(l) > 0 && delta_sequence(l->records[l->record_first]) <= l->doomed;
}

bool block_log_has_work(const block_log *l, log_goal goal) {
  return has_doomed(l) || is_over(l, goal);
}

uint64_t block_log_pace(const block_log *l, uint64_t blocks) {
  if (!block_log_has_work(l, LOG_EARLY)) return 0;
  if (l->merging.through == 0) return blocks / 4 + 1;
  return blocks * l->merging.pages / l->merging.room_blocks + 1;
}

bool block_log_is_behind(const block_log *l) { return record_count(l) > l->budget_records + generation_records(l); }

/* The lines that have blocks in the oldest generation. */
static int begin_merging(block_log *l) {
  ASSERT(l->closed_count > 0);
  merging m = {0};
  uint64_t room = 0;
  int err = 0;
  m.through = l->closed[0];
  /* One that was closed early gives back too little to be gone on with: logged anew it would never come to an end. */
  uint64_t records = counting_through(l, m.through);
  if (records >= generation_records(l)) m.relocate_blocks = records * PAGE_BLOCKS / 2;
  uint64_t left = l->budget_records - min_u64(l->budget_records, counting_records(l));
  m.room_blocks = max_u64(left, generation_records(l)) * PAGE_BLOCKS;
  pthread_mutex_lock(&l->lock);
  for (unsigned i = 0; i < LINE_BUCKETS && err == 0; i++)
    for (log_line *line = l->lines[i]; line != NULL && err == 0; line = line->next) {
      const unflushed *blocks = atomic_load(&line->blocks);
      if (blocks == NULL || unflushed_first(blocks) > m.through) continue;
      if ((err = grow((void **)&m.lines, m.count + 1, &room, sizeof *m.lines)) == 0)
        m.lines[m.count++] = log_line_reference(line);
      m.pages += unflushed_pages(blocks, m.through);
    }
  pthread_mutex_unlock(&l->lock);
  l->merging = m;
  if (err != 0) forget_merging(l);
  else memmove(l->closed, l->closed + 1, --l->closed_count * sizeof *l->closed);
  return err;
}

static int delete_doomed(block_log *l, db_txn *txn, uint64_t records_max) {
  for (uint64_t i = l->record_first; i < l->record_end && l->deleted < records_max; i++) {
    uint64_t sequence = delta_sequence(l->records[i]);
    if (sequence > l->doomed) return 0;
    uint8_t key[LOG_KEY_BYTES];
    log_key_encode(sequence, key);
    catalog_key address = catalog_key_id(CATALOG_LOG, sequence);
    int err = db_delete(txn, DB_LOG, (bytes){key, sizeof key});
    if (err == 0) err = db_delete(txn, DB_CATALOG, (bytes){address.byte, address.size});
    if (err != 0)
      return err == PAGESTORE_ENOTFOUND ? fail(PAGESTORE_ECORRUPT, "a record of the log is gone: run check") : err;
    l->deleted++;
  }
  return 0;
}

/* A layer that is nobody's present any more (restored, deleted) has nothing that counts. */
int block_log_merge_line(block_log *l, writer *w, log_line *of, uint64_t through, uint64_t *pages, merge_at *at) {
  merge_range range = {atomic_load(&of->blocks), of->merged_through, through};
  layer_record layer;
  state_record present;
  if (through <= range.after || !layers_get(w->layers, of->layer, &layer)) {
    at->done = true;
    return 0;
  }
  int err = catalog_instance((db_reader){.txn = w->txn}, w->layers, l->store, layer.instance, &present);
  if (err == PAGESTORE_ENOTFOUND) {
    at->done = true;
    return 0;
  }
  if (err != 0) return err;
  line *line = NULL;
  if (present.layer != of->layer) at->done = true;
  else err = layers_line(w->layers, of->layer, BOUND_OPEN, &line);
  if (err != 0) err = fail(err, "no memory to merge the log: it is tried again");
  if (err == 0 && line != NULL)
    err = writer_merge(w, line, present.version, &range, present.state, pages, at);
  line_release(line);
  state_release(present.state);
  return err;
}

static int put_beginning(db_txn *txn, uint64_t sequence) {
  catalog_key key = catalog_key_id(CATALOG_LOG, LOG_BEGINNING);
  catalog_record record;
  log_beginning_encode(sequence, &record);
  return record_put(txn, &key, &record);
}

int block_log_step(block_log *l, writer *w, log_goal goal, uint64_t pages) {
  ASSERT(pages > 0);
  l->deleted = 0;
  l->merged_all = false;
  int err = delete_doomed(l, w->txn, DELETED_MIN + pages / PAGES_DELETED);
  if (err != 0) return err;
  bool merges = is_over(l, goal);
  if (l->merging.through == 0 && merges) {
    if (l->closed_count == 0) {
      close_generation(l, 1);
      if (w->packer != NULL) w->packer->last = NULL;
    }
    if ((err = begin_merging(l)) != 0) return err;
  }
  uint64_t current = l->merging.current;
  uint64_t relocate = goal != LOG_EVERYTHING && w->packer != NULL ? l->merging.relocate_blocks : 0;
  if (w->packer != NULL) relocate = min_u64(relocate, w->packer->spare);
  w->relocate_blocks = relocate;
  merge_at at = l->merging.at;
  while (merges && current < l->merging.count) {
    log_line *line = l->merging.lines[current];
    err = block_log_merge_line(l, w, line, l->merging.through, &pages, &at);
    if (err == 0 && w->packer != NULL) err = block_log_note(l, line, w->packer);
    if (err != 0) return err;
    if (!at.done) break;
    at = (merge_at){0};
    current++;
  }
  l->merged_all = l->merging.through != 0 && current == l->merging.count;
  if (l->merged_all && (err = put_beginning(w->txn, l->merging.through + 1)) != 0) return err;
  l->at_next = at;
  l->current_next = current;
  l->relocate_next = l->merging.relocate_blocks - (relocate - w->relocate_blocks);
  return 0;
}

/* A record whose row is about to go, and that an old index still shows, gets a copy of its own. Without memory for it
 * the rows stay for now. */
static bool move_shared(block_log *l, db *d, uint64_t through) {
  bool moved = false;
  for (uint64_t i = l->record_first; i < l->record_end && delta_sequence(l->records[i]) <= through; i++) {
    delta *r = l->records[i];
    if (!delta_is_shared(r) || !delta_in_mapping(r)) continue;
    uint8_t *copy = malloc(PAGE_RECORD_BYTES);
    if (copy == NULL || db_copy_mapped(d, copy, delta_record(r), PAGE_RECORD_BYTES) != 0) {
      free(copy);
      return false;
    }
    delta_move(r, copy);
    moved = true;
  }
  if (moved) db_slots_settle(d);
  return true;
}

/* Every line lets go of the generation. ENOMEM: some show it still, which is right, and keeps its records. */
static bool drop_generation(block_log *l, db *d, uint64_t through) {
  bool all = true;
  unflushed **before = calloc(l->merging.count, sizeof *before);
  if (before == NULL) return false;
  for (uint64_t i = 0; i < l->merging.count; i++) {
    log_line *line = l->merging.lines[i];
    unflushed *rest, *now = atomic_load(&line->blocks);
    if (now == NULL) continue;
    if (unflushed_drop(now, through, &rest) != 0) all = false;
    else before[i] = show(l, line, rest);
  }
  db_slots_settle(d);
  for (uint64_t i = 0; i < l->merging.count; i++)
    if (before[i] != NULL) let_go(l, l->merging.lines[i], before[i]);
  free(before);
  return all;
}

static void end_deleted(block_log *l) {
  for (; l->deleted > 0; l->deleted--) delta_release(l->records[l->record_first++]);
}

void block_log_stepped(block_log *l, db *d, bool durable) {
  if (!durable) {
    l->deleted = 0;
    return;
  }
  end_deleted(l);
  l->merging.at = l->at_next;
  l->merging.current = l->current_next;
  l->merging.relocate_blocks = l->relocate_next;
  if (!l->merged_all) return;
  uint64_t through = l->merging.through;
  if (!drop_generation(l, d, through) || !move_shared(l, d, through)) return;  /* tried again by the next step */
  forget_merging(l);
  l->doomed = through;
}
