/* layers.h - the layers of a store, and the one rule for which rows are kept.
 *
 * A layer is a line of versions with a parent (layer, version) or none. A lookup goes through a `line`: the
 * layer, then its parents, each bounded by a version; the first row with version <= bound is the page's, none
 * is a page of zeros.
 *
 * Keep rule. Retained points of a layer: its snapshots' versions, the parent versions of its children, the
 * bounds of pinned lines (open views and forks). A row at v whose next newer row of that page in that layer
 * is at w is needed if and only if a retained point r has
 * v <= r < w. The newest row is needed while the layer is some instance's present, or a point r >= v exists.
 *
 * Points are added when the call that makes them is sealed (too early keeps too much, which is safe), and
 * removed only after the transaction that removed their record has committed.
 * Thread: any; a short lock inside. Lines: immutable and counted.
 */
#ifndef PAGESTORE_STORAGE_LAYERS_H
#define PAGESTORE_STORAGE_LAYERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/db.h"
#include "storage/format.h"

#define BOUND_OPEN UINT64_MAX   /* the bound of a layer that is being written: its newest row */

typedef struct { uint64_t layer, bound; } line_step;
typedef struct line {
  _Atomic uint32_t references;
  /* on disk at most LAYER_DEPTH_MAX; before re-rooting more. 0: the line of an instance that was never
   * committed (all zeros) */
  uint32_t depth;
  line_step steps[];            /* the newest first */
} line;

line *line_reference(line *);
void line_release(line *);      /* NULL allowed */
int line_empty(line **);                                              /* depth 0. ENOMEM */
int line_rebound(const line *, uint64_t bound, line **);              /* the same layers, the head bounded. ENOMEM */
/* a new head over it, bound BOUND_OPEN; any depth. ENOMEM */
int line_extend(const line *, uint64_t layer, line **);
/* without its head: what line_extend made it from. ENOMEM */
int line_tail(const line *, line **);

typedef struct layers layers;
/* every layer record. ECORRUPT: a parent missing, a loop, too deep. ENOMEM EIO */
int layers_load(db_reader, layers **);
void layers_free(layers *);
int layers_line(layers *, uint64_t layer, uint64_t bound, line **);   /* ENOTFOUND ENOMEM */
int layers_add(layers *, uint64_t id, const layer_record *);          /* and the child point at its parent. ENOMEM */
/* and that point; still pinned: when the pins go. Not there: nothing */
void layers_remove(layers *, uint64_t id);
/* stands on nothing from now on; its own points stay */
void layers_reroot(layers *, uint64_t id);
bool layers_get(layers *, uint64_t id, layer_record *);

/* a snapshot's point; counted. ENOTFOUND ENOMEM */
int layers_retain(layers *, uint64_t layer, uint64_t version);
void layers_unretain(layers *, uint64_t layer, uint64_t version);
/* every bounded step; counted. ENOMEM: nothing pinned */
int layers_pin(layers *, const line *);
/* layers whose pins kept rows that nothing else keeps (layers_needed said so) are reported to the callback:
 * they want a trash pass */
void layers_unpin(layers *, const line *, void (*orphaned)(void *env, uint64_t layer), void *env);

typedef enum { ROW_UNNEEDED, ROW_PINNED, ROW_RETAINED } row_need;     /* PINNED: only open views or forks need it */
/* next_newer BOUND_OPEN: it is the newest */
row_need layers_needed(layers *, uint64_t layer, uint64_t version, uint64_t next_newer);
bool layers_has_points(layers *, uint64_t layer, bool *only_pins);
/* A trash record whose pass over the layer is over and left rows: true if it is to wait (layers_waits) until
 * a point of the layer goes.
 * WAIT_PINS: if pins keep rows that nothing else keeps; WAIT_POINTS: if there is any point; WAIT_REROOT:
 *            until layers_reroot or
 * layers_remove. Trash 0 only asks. In memory only: after a crash it is tried again. */
typedef enum { WAIT_PINS, WAIT_POINTS, WAIT_REROOT } wait_for;
bool layers_wait(layers *, uint64_t layer, uint64_t trash, wait_for);
bool layers_waits(layers *, uint64_t layer, uint64_t trash);
bool layers_is_valid(layers *);

#endif
