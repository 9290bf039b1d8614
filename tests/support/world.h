/* world.h - a store and its model side by side: instances, views and snapshots with what each must show.
 *
 * Every choice comes from the dice and from the model, never from what the library happened to do, so that one seed makes the same
 * history with every tracker.
 *
 * Invariants: `committed` of a holder is what its last boundary left; `work` is that and the open message; a holder that is not open has no
 *             handle. An instance that was never committed goes with its handle.
 * Thread:     one.
 */
#ifndef PAGESTORE_TESTS_WORLD_H
#define PAGESTORE_TESTS_WORLD_H

#include "model.h"
#include "scratch.h"

enum { WORLD_INSTANCES = 8, WORLD_VIEWS = 6, WORLD_SNAPSHOTS = 8, WORLD_HISTORY = 16 };

/* Memories: 0 32-bit KEEP, 1 32-bit, 2 64-bit, 3 EXPLICIT KEEP, 4 VOLATILE. */
enum { MEMORY_WIDE = 2, MEMORY_EXPLICIT = 3, MEMORY_VOLATILE = 4 };
typedef struct { const char *name; uint32_t flags; uint64_t pages, max_pages; } memory_spec;
extern const memory_spec world_memory[MODEL_MEMORIES];
extern const bool world_keeps[MODEL_MEMORIES];

/* An open handle: the writable one of an instance, or a view. */
typedef struct {
  pagestore_instance *handle;       /* NULL: closed */
  uint32_t kind;                    /* 0, PAGESTORE_READ, PAGESTORE_PRIVATE */
  pagestore_memory *memory[MODEL_MEMORIES];
  uint8_t *base[MODEL_MEMORIES];
  version *committed, *work;
  model_memory volatile_committed;  /* work has the other one; neither is in `committed` */
  bool changed, upgraded;
} holder;

typedef struct { char name[64]; version *of; uint64_t forks[WORLD_INSTANCES]; uint32_t fork_count; } world_snapshot;

typedef struct {
  char name[32];
  bool exists;
  uint64_t serial;                  /* of this life of the name */
  uint64_t parent;                  /* the serial it was forked from; 0: none */
  uint32_t fork_depth;
  holder h;
  version *history[WORLD_HISTORY];  /* by number */
  world_snapshot snapshot[WORLD_SNAPSHOTS];
  uint32_t snapshots;
} world_instance;

typedef struct { holder h; world_instance *of; char snapshot[64]; bool durable; } world_view;

/* What must have happened, counted. */
typedef enum {
  DID_RESTORE_TWICE, DID_RESTORE_ROLLED_BACK, DID_FORK_OF_FORK, DID_FORK_UNFLUSHED, DID_FORK_OF_VIEW, DID_DROP_UNDER_FORK,
  DID_DELETE_PARENT, DID_REOPEN_IN_TRASH, DID_CLEAR_ROLLED_BACK, DID_CLEAR_COMMITTED, DID_SNAPSHOT_UNFLUSHED, DID_VIEW_UNFLUSHED,
  DID_ADVANCE_UNFLUSHED, DID_DEEP, DID_QUEUE_FULL, DID_LARGE_METADATA, DID_MEMORY_DELETED, DID_COMMIT_ALL, DID_PRIVATE_ROLLED_BACK,
  DID_DURABLE_BEHIND, DID_COUNT
} world_event;
extern const char *const world_event_name[DID_COUNT];

typedef struct {
  char *path;
  pagestore_tracker tracker;
  pagestore_store *store;
  dice dice;                        /* what is done */
  dice samples;                     /* what is looked at: may depend on time */
  uint64_t step, serial;
  world_instance instance[WORLD_INSTANCES];
  world_view view[WORLD_VIEWS];
  uint64_t did[DID_COUNT];
} world;

/* ---- world.c: life and checks -------------------------------------------------------------------- */

void world_open(world *, const char *path, pagestore_tracker, uint64_t seed);
void world_reopen(world *, bool trash);   /* trash: a deletion is still worked off */
void world_close(world *);
uint64_t world_export(world *);           /* everything that is stored, as one hash; checks it on the way */

/* Fails the test with the seed's step. */
#define WORLD_CHECK(w, condition, ...) \
  do { if (!(condition)) world_fail(w, __FILE__, __LINE__, #condition, __VA_ARGS__); } while (0)
void world_fail(const world *, const char *file, int line, const char *condition, const char *format, ...)
  __attribute__((format(printf, 5, 6)));
#define WORLD_OK(w, call) \
  do { int status_ = (call); WORLD_CHECK(w, status_ == 0, "%s: %s: %s", #call, pagestore_strerror(status_), pagestore_detail()); } while (0)

/* The memory in the open message, created if it is not there: NULL for views that may not. */
pagestore_memory *world_use(world *, holder *, int memory);
void holder_begin(holder *, pagestore_instance *, uint32_t kind, version *committed);
void holder_end(holder *);                /* closes the handle */
void holder_rolled_back(holder *);        /* the model's side of a rollback */
void holder_committed(world_instance *, uint64_t number);   /* and of a commit that made a version */
void holder_spot_check(world *, holder *);
void holder_check(world *, holder *);     /* byte for byte */
bool instance_unflushed(const world_instance *);
void instance_forget(world_instance *);   /* it does not exist any more */

/* ---- world_ops.c ------------------------------------------------------------------------------------- */

void world_step(world *);                 /* one random operation */
void world_deep(world *);                 /* forty restores, each of a snapshot of the one before */

#endif
