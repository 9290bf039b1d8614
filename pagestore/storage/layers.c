/* layers.c - the table of layers, their retained points, and the keep rule.
 *
 * Layers lie in an array sorted by id: ids only grow, so adding appends. A layer's points are an array sorted
 * by version, one per version with its counts: lasting (snapshots, children) and pins (open views and forks).
 * The rule is then one search: is there a point in
 * [version, next newer)?
 *
 * A pin that layers_needed found to be a row's only keeper is marked `keeping`: when it goes, that layer
 * wants a trash pass. Marks are hints: made in a transaction that is then aborted they cost a pass and
 * nothing else.
 *
 * Invariants: ids and versions strictly ascend; a point has a count above zero; each layer with a parent has
 *             its lasting point there.
 * Thread:     any; everything under `lock`, which is never held over a callback or a read of the store.
 */
#include "storage/layers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/record.h"

typedef struct {
  uint64_t version;
  uint32_t lasting, pins;
  bool keeping;             /* a row is there only because of these pins */
} point;

typedef struct {
  uint64_t id;
  layer_record record;
  point *points;
  uint32_t count, room;
  bool removed;             /* goes with its last point */
  /* trash records up to this id wait for a point to go; 0: none does. They are tried in order of ids */
  uint64_t waiting_trash;
} layer;

struct layers {
  pthread_mutex_t lock;
  layer **table;
  size_t count, room;
};

/* ---- lines ------------------------------------------------------------------------------------------------------ */

/* The steps are the caller's to fill. */
static line *line_new(uint32_t depth) {
  line *l = malloc(sizeof *l + depth * sizeof(line_step));
  if (l != NULL) *l = (line){.references = 1, .depth = depth};
  return l;
}

line *line_reference(line *l) {
  ASSERT(atomic_load_explicit(&l->references, memory_order_relaxed) != 0);
  atomic_fetch_add_explicit(&l->references, 1, memory_order_relaxed);
  return l;
}

void line_release(line *l) {
  if (l != NULL && atomic_fetch_sub_explicit(&l->references, 1, memory_order_acq_rel) == 1) free(l);
}

int line_empty(line **out) {
  line *l = line_new(0);
  if (l == NULL) return PAGESTORE_ENOMEM;
  *out = l;
  return 0;
}

int line_rebound(const line *l, uint64_t bound, line **out) {
  line *copy = line_new(l->depth);
  if (copy == NULL) return PAGESTORE_ENOMEM;
  for (uint32_t i = 0; i < l->depth; i++) copy->steps[i] = l->steps[i];
  if (copy->depth != 0) copy->steps[0].bound = bound;
  *out = copy;
  return 0;
}

int line_extend(const line *l, uint64_t layer_id, line **out) {
  line *longer = line_new(l->depth + 1);
  if (longer == NULL) return PAGESTORE_ENOMEM;
  longer->steps[0] = (line_step){layer_id, BOUND_OPEN};
  for (uint32_t i = 0; i < l->depth; i++) longer->steps[i + 1] = l->steps[i];
  *out = longer;
  return 0;
}

int line_tail(const line *l, line **out) {
  ASSERT(l->depth >= 1);
  line *tail = line_new(l->depth - 1);
  if (tail == NULL) return PAGESTORE_ENOMEM;
  for (uint32_t i = 0; i < tail->depth; i++) tail->steps[i] = l->steps[i + 1];
  *out = tail;
  return 0;
}

/* ---- points; lock held ------------------------------------------------------------------------------------------- */

/* Index of the first point >= version. */
static uint32_t point_seek(const layer *l, uint64_t version) {
  uint32_t low = 0, high = l->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (l->points[middle].version < version) low = middle + 1;
    else high = middle;
  }
  return low;
}

static point *point_find(layer *l, uint64_t version) {
  uint32_t i = point_seek(l, version);
  return i < l->count && l->points[i].version == version ? &l->points[i] : NULL;
}

/* The point at a version, made if there is none; NULL: no memory. The caller counts something up at once. */
static point *point_make(layer *l, uint64_t version) {
  point *p = point_find(l, version);
  if (p != NULL) return p;
  if (l->count == l->room) {
    uint32_t room = l->room == 0 ? 4 : l->room * 2;
    point *grown = realloc(l->points, room * sizeof *grown);
    if (grown == NULL) return NULL;
    l->points = grown;
    l->room = room;
  }
  uint32_t i = point_seek(l, version);
  memmove(&l->points[i + 1], &l->points[i], (l->count - i) * sizeof(point));
  l->points[i] = (point){.version = version};
  l->count++;
  return &l->points[i];
}

static void point_drop_if_unused(layer *l, point *p) {
  if (p->lasting != 0 || p->pins != 0) return;
  size_t i = (size_t)(p - l->points);
  l->count--;
  memmove(p, p + 1, (l->count - i) * sizeof(point));
}

static int add_lasting(layer *l, uint64_t version) {
  point *p = point_make(l, version);
  if (p == NULL) return PAGESTORE_ENOMEM;
  p->lasting++;
  return 0;
}

static void remove_lasting(layer *l, uint64_t version) {
  point *p = point_find(l, version);
  ASSERT(p != NULL && p->lasting != 0);
  p->lasting--;
  l->waiting_trash = 0;
  point_drop_if_unused(l, p);
}

/* True: the last pin of a point that kept rows is gone. */
static bool remove_pin(layer *l, uint64_t version) {
  point *p = point_find(l, version);
  ASSERT(p != NULL && p->pins != 0);
  if (--p->pins != 0) return false;
  /* With a lasting point in its place the rows stay; whoever drops that puts a trash record. */
  bool orphaned = p->keeping && p->lasting == 0;
  p->keeping = false;
  point_drop_if_unused(l, p);
  if (orphaned) l->waiting_trash = 0;
  return orphaned;
}

/* ---- the table; lock held ---------------------------------------------------------------------------------------- */

static size_t layer_seek(const layers *t, uint64_t id) {
  if (t->count == 0 || t->table[t->count - 1]->id < id) return t->count;
  size_t low = 0, high = t->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (t->table[middle]->id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

static layer *layer_find(const layers *t, uint64_t id) {
  size_t i = layer_seek(t, id);
  return i < t->count && t->table[i]->id == id ? t->table[i] : NULL;
}

static int table_insert(layers *t, uint64_t id, const layer_record *record) {
  size_t i = layer_seek(t, id);
  ASSERT(i == t->count || t->table[i]->id != id);
  if (t->count == t->room) {
    size_t room = t->room == 0 ? 16 : t->room * 2;
    layer **grown = realloc(t->table, room * sizeof *grown);
    if (grown == NULL) return PAGESTORE_ENOMEM;
    t->table = grown;
    t->room = room;
  }
  layer *l = malloc(sizeof *l);
  if (l == NULL) return PAGESTORE_ENOMEM;
  *l = (layer){.id = id, .record = *record};
  memmove(&t->table[i + 1], &t->table[i], (t->count - i) * sizeof *t->table);
  t->table[i] = l;
  t->count++;
  return 0;
}

static void layer_free(layer *l) {
  free(l->points);
  free(l);
}

static void table_remove(layers *t, size_t i) {
  layer_free(t->table[i]);
  t->count--;
  memmove(&t->table[i], &t->table[i + 1], (t->count - i) * sizeof *t->table);
}

/* ---- loading ----------------------------------------------------------------------------------------------------- */

static int load_records(db_reader reader, layers *t) {
  uint64_t id = 0;
  layer_record record;
  int err;
  while ((err = record_next_layer(reader, id, &id, &record)) == 0) {
    if (table_insert(t, id, &record) != 0) return fail(PAGESTORE_ENOMEM, "no memory for the table of layers");
    if (id++ == UINT64_MAX) return 0;
  }
  return err == PAGESTORE_ENOTFOUND ? 0 : err;
}

/* Counted, not read: re-rooting a layer makes its descendants' records say more than it is. 0: a loop, or a
 * parent is missing. */
static uint32_t depth_of(const layers *t, const layer *l) {
  for (uint32_t depth = 1; l != NULL && depth <= t->count; depth++) {
    if (l->record.parent == 0) return depth;
    l = layer_find(t, l->record.parent);
  }
  return 0;
}

static int load_child_points(layers *t) {
  for (size_t i = 0; i < t->count; i++) {
    layer *l = t->table[i];
    layer *parent = layer_find(t, l->record.parent);
    if (l->record.parent != 0 && parent == NULL)
      return fail(PAGESTORE_ECORRUPT, "layer %llu stands on layer %llu, which is missing: run `pagestore check`",
                  (unsigned long long)l->id, (unsigned long long)l->record.parent);
    l->record.depth = depth_of(t, l);
    if (l->record.depth == 0 || l->record.depth > LAYER_DEPTH_MAX)
      return fail(PAGESTORE_ECORRUPT, "layer %llu stands on too many others, or on itself: run `pagestore check`",
                  (unsigned long long)l->id);
    if (parent != NULL && add_lasting(parent, l->record.parent_version) != 0)
      return fail(PAGESTORE_ENOMEM, "no memory for the table of layers");
  }
  return 0;
}

int layers_load(db_reader reader, layers **out) {
  layers *t = calloc(1, sizeof *t);
  if (t == NULL) return fail(PAGESTORE_ENOMEM, "no memory for the table of layers");
  pthread_mutex_init(&t->lock, NULL);
  int err = load_records(reader, t);
  if (err == 0) err = load_child_points(t);
  if (err != 0) {
    layers_free(t);
    return err;
  }
  *out = t;
  return 0;
}

void layers_free(layers *t) {
  if (t == NULL) return;
  for (size_t i = 0; i < t->count; i++) layer_free(t->table[i]);
  free(t->table);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static int line_locked(const layers *t, uint64_t id, uint64_t bound, line **out) {
  const layer *l = layer_find(t, id);
  if (l == NULL) return PAGESTORE_ENOTFOUND;
  line *made = line_new(l->record.depth);
  if (made == NULL) return PAGESTORE_ENOMEM;
  for (uint32_t i = 0; i < made->depth; i++) {
    ASSERT(l != NULL);
    made->steps[i] = (line_step){l->id, bound};
    bound = l->record.parent_version;
    l = layer_find(t, l->record.parent);
  }
  ASSERT(l == NULL);
  *out = made;
  return 0;
}

int layers_line(layers *t, uint64_t id, uint64_t bound, line **out) {
  pthread_mutex_lock(&t->lock);
  int err = line_locked(t, id, bound, out);
  pthread_mutex_unlock(&t->lock);
  return err;
}

static int add_locked(layers *t, uint64_t id, const layer_record *record) {
  layer *parent = layer_find(t, record->parent);
  ASSERT(record->parent == 0 || parent != NULL);
  layer_record counted = *record;
  counted.depth = parent == NULL ? 1 : parent->record.depth + 1;
  if (parent != NULL && add_lasting(parent, record->parent_version) != 0) return PAGESTORE_ENOMEM;
  int err = table_insert(t, id, &counted);
  if (err != 0 && parent != NULL) remove_lasting(parent, record->parent_version);
  return err;
}

int layers_add(layers *t, uint64_t id, const layer_record *record) {
  ASSERT(id != 0);
  pthread_mutex_lock(&t->lock);
  int err = add_locked(t, id, record);
  pthread_mutex_unlock(&t->lock);
  return err;
}

/* A layer that was removed goes once nothing points at it, and takes the point at its parent along. */
static void drop_if_removed(layers *t, layer *l) {
  while (l != NULL && l->removed && l->count == 0) {
    layer *parent = layer_find(t, l->record.parent);
    uint64_t version = l->record.parent_version;
    table_remove(t, layer_seek(t, l->id));
    if (parent != NULL) remove_lasting(parent, version);
    l = parent;
  }
}

void layers_remove(layers *t, uint64_t id) {
  pthread_mutex_lock(&t->lock);
  layer *l = layer_find(t, id);
  if (l != NULL) l->removed = true;
  drop_if_removed(t, l);
  pthread_mutex_unlock(&t->lock);
}

void layers_reroot(layers *t, uint64_t id) {
  pthread_mutex_lock(&t->lock);
  layer *l = layer_find(t, id);
  ASSERT(l != NULL);
  layer *parent = layer_find(t, l->record.parent);
  if (parent != NULL) remove_lasting(parent, l->record.parent_version);
  l->record.parent = l->record.parent_version = 0;
  l->waiting_trash = 0;
  for (size_t i = 0; i < t->count; i++) t->table[i]->record.depth = depth_of(t, t->table[i]);
  pthread_mutex_unlock(&t->lock);
}

bool layers_get(layers *t, uint64_t id, layer_record *out) {
  pthread_mutex_lock(&t->lock);
  const layer *l = layer_find(t, id);
  bool found = l != NULL && !l->removed;
  if (found) *out = l->record;
  pthread_mutex_unlock(&t->lock);
  return found;
}

/* ---- points and pins ------------------------------------------------------------------------- */

int layers_retain(layers *t, uint64_t id, uint64_t version) {
  pthread_mutex_lock(&t->lock);
  layer *l = layer_find(t, id);
  int err = l == NULL ? PAGESTORE_ENOTFOUND : add_lasting(l, version);
  pthread_mutex_unlock(&t->lock);
  return err;
}

void layers_unretain(layers *t, uint64_t id, uint64_t version) {
  pthread_mutex_lock(&t->lock);
  layer *l = layer_find(t, id);
  ASSERT(l != NULL);
  remove_lasting(l, version);
  drop_if_removed(t, l);
  pthread_mutex_unlock(&t->lock);
}

static int add_pin(layers *t, const line_step *s) {
  if (s->bound == BOUND_OPEN) return 0;
  layer *l = layer_find(t, s->layer);
  ASSERT(l != NULL);
  point *p = point_make(l, s->bound);
  if (p == NULL) return PAGESTORE_ENOMEM;
  p->pins++;
  return 0;
}

int layers_pin(layers *t, const line *line) {
  pthread_mutex_lock(&t->lock);
  int err = 0;
  uint32_t i = 0;
  while (i < line->depth && (err = add_pin(t, &line->steps[i])) == 0) i++;
  while (err != 0 && i > 0) {
    const line_step *s = &line->steps[--i];
    if (s->bound != BOUND_OPEN) remove_pin(layer_find(t, s->layer), s->bound);
  }
  pthread_mutex_unlock(&t->lock);
  return err;
}

void layers_unpin(layers *t, const line *line, void (*orphaned)(void *env, uint64_t layer), void *env) {
  for (uint32_t i = 0; i < line->depth; i++) {
    const line_step *s = &line->steps[i];
    if (s->bound == BOUND_OPEN) continue;
    pthread_mutex_lock(&t->lock);
    layer *l = layer_find(t, s->layer);
    ASSERT(l != NULL);
    bool wanted = remove_pin(l, s->bound);
    drop_if_removed(t, l);
    pthread_mutex_unlock(&t->lock);
    if (wanted && orphaned != NULL) orphaned(env, s->layer);
  }
}

/* ---- the keep rule --------------------------------------------------------------------------- */

static row_need needed_locked(layer *l, uint64_t version, uint64_t next_newer) {
  uint32_t first = point_seek(l, version), end = first;
  for (; end < l->count && l->points[end].version < next_newer; end++)
    if (l->points[end].lasting != 0) return ROW_RETAINED;
  for (uint32_t i = first; i < end; i++) l->points[i].keeping = true;
  return end > first ? ROW_PINNED : ROW_UNNEEDED;
}

row_need layers_needed(layers *t, uint64_t id, uint64_t version, uint64_t next_newer) {
  pthread_mutex_lock(&t->lock);
  layer *l = layer_find(t, id);
  row_need need = l == NULL ? ROW_UNNEEDED : needed_locked(l, version, next_newer);
  pthread_mutex_unlock(&t->lock);
  return need;
}

bool layers_has_points(layers *t, uint64_t id, bool *only_pins) {
  pthread_mutex_lock(&t->lock);
  const layer *l = layer_find(t, id);
  uint32_t count = l == NULL ? 0 : l->count;
  *only_pins = count != 0;
  for (uint32_t i = 0; i < count; i++)
    if (l->points[i].lasting != 0) *only_pins = false;
  pthread_mutex_unlock(&t->lock);
  return count != 0;
}

static bool has_keeping_pin(const layer *l) {
  for (uint32_t i = 0; i < l->count; i++)
    if (l->points[i].keeping && l->points[i].lasting == 0) return true;
  return false;
}

bool layers_wait(layers *t, uint64_t id, uint64_t trash, wait_for what) {
  pthread_mutex_lock(&t->lock);
  layer *l = layer_find(t, id);
  bool wait = l != NULL && (what == WAIT_PINS ? has_keeping_pin(l) : what == WAIT_REROOT || l->count != 0);
  if (wait) l->waiting_trash = max_u64(l->waiting_trash, trash);
  pthread_mutex_unlock(&t->lock);
  return wait;
}

bool layers_waits(layers *t, uint64_t id, uint64_t trash) {
  pthread_mutex_lock(&t->lock);
  const layer *l = layer_find(t, id);
  bool waits = l != NULL && trash <= l->waiting_trash;
  pthread_mutex_unlock(&t->lock);
  return waits;
}

/* ---- validity -------------------------------------------------------------------------------- */

static bool layer_is_valid(const layers *t, const layer *l) {
  for (uint32_t i = 0; i < l->count; i++) {
    const point *p = &l->points[i];
    if (p->lasting == 0 && p->pins == 0) return false;
    if (p->keeping && p->pins == 0) return false;
    if (i > 0 && p[-1].version >= p->version) return false;
  }
  if (l->record.depth != depth_of(t, l)) return false;
  if (l->record.parent == 0) return true;
  layer *parent = layer_find(t, l->record.parent);
  const point *p = point_find(parent, l->record.parent_version);
  return p != NULL && p->lasting != 0;
}

bool layers_is_valid(layers *t) {
  bool valid = true;
  pthread_mutex_lock(&t->lock);
  for (size_t i = 0; i < t->count && valid; i++) {
    valid = layer_is_valid(t, t->table[i]);
    if (i > 0 && t->table[i - 1]->id >= t->table[i]->id) valid = false;
  }
  pthread_mutex_unlock(&t->lock);
  return valid;
}
