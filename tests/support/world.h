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

/* What a test may hang in, all NULL in most:
 *   enter, leave   around each call of the library that is checked here: a plan of faults concerns nothing else
 *   again          the call failed with this status because of such a plan: it has changed nothing, and is made once more
 *   sealed         what was sealed just now makes a new state of the store; `durable`: it is there for good. The outcome of a call may
 *                  be unknown (EFAILED): it is taken for sealed, and `lost` called, which does not return */
typedef struct world world;
typedef struct {
  void (*enter)(void), (*leave)(void);
  bool (*again)(int status);
  void (*sealed)(world *, bool durable);
  void (*lost)(world *);
} world_hooks;

/* What must have happened, counted. */
typedef enum {
  DID_RESTORE_TWICE, DID_RESTORE_ROLLED_BACK, DID_FORK_OF_FORK, DID_FORK_UNFLUSHED, DID_FORK_OF_VIEW, DID_DROP_UNDER_FORK,
  DID_DELETE_PARENT, DID_REOPEN_IN_TRASH, DID_CLEAR_ROLLED_BACK, DID_CLEAR_COMMITTED, DID_SNAPSHOT_UNFLUSHED, DID_VIEW_UNFLUSHED,
  DID_ADVANCE_UNFLUSHED, DID_DEEP, DID_QUEUE_FULL, DID_LARGE_METADATA, DID_MEMORY_DELETED, DID_COMMIT_ALL, DID_PRIVATE_ROLLED_BACK,
  DID_DURABLE_BEHIND, DID_COUNT
} world_event;
extern const char *const world_event_name[DID_COUNT];

struct world {
  char *path;
  pagestore_tracker tracker;
  pagestore_store *store;
  world_hooks hooks;
  dice dice;                        /* what is done */
  dice samples;                     /* what is looked at: may depend on time */
  uint64_t step, serial;
  world_instance instance[WORLD_INSTANCES];
  world_view view[WORLD_VIEWS];
  uint64_t did[DID_COUNT];
};

/* ---- world.c: life and checks -------------------------------------------------------------------- */

void world_open(world *, const char *path, pagestore_tracker, uint64_t seed);
void world_reopen(world *, bool trash);   /* trash: a deletion is still worked off */
void world_close(world *);
void world_abandon(world *);              /* closes everything, whatever the store says, and forgets all; then: */
void world_open_store(world *);
uint64_t world_export(world *);           /* everything that is stored, as one hash; checks it on the way */

/* Fails the test with the seed's step. */
#define WORLD_CHECK(w, condition, ...) \
  do { if (!(condition)) world_fail(w, __FILE__, __LINE__, #condition, __VA_ARGS__); } while (0)
void world_fail(const world *, const char *file, int line, const char *condition, const char *format, ...)
  __attribute__((format(printf, 5, 6)));
/* `status` is what the call gave, or gave when it was made again. */
#define WORLD_STATUS(w, status, call) \
  do { world_enter(w); (status) = (call); } while (world_left(w, (status)))
#define WORLD_OK(w, call) \
  do { \
    int status_; \
    WORLD_STATUS(w, status_, call); \
    if (status_ == PAGESTORE_EFAILED && (w)->hooks.lost) (w)->hooks.lost(w); \
    WORLD_CHECK(w, status_ == 0, "%s: %s: %s", #call, pagestore_strerror(status_), pagestore_detail()); \
  } while (0)
void world_enter(world *);
bool world_left(world *, int status);     /* whether to make the call again */
/* For calls that seal: the outcome may be unknown where a test knows what to do then. */
#define WORLD_CHECK_SEALED(w, status, what) \
  WORLD_CHECK(w, (status) == 0 || ((status) == PAGESTORE_EFAILED && (w)->hooks.lost), what ": %s: %s", \
              pagestore_strerror(status), pagestore_detail())
/* After a call that seals: what the model has become is a state of the store now. */
void world_sealed(world *, int status, bool durable);

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

typedef enum {
  WORLD_WRITE, WORLD_GROW, WORLD_METADATA, WORLD_MEMORY_DELETE, WORLD_COMMIT, WORLD_COMMIT_ALL, WORLD_ROLLBACK, WORLD_UPGRADE,
  WORLD_SNAPSHOT, WORLD_DROP, WORLD_RESTORE, WORLD_VIEW, WORLD_ADVANCE, WORLD_END_VIEW, WORLD_FORK, WORLD_FORK_OF_SNAPSHOT, WORLD_FLOOD,
  WORLD_CREATE, WORLD_OPEN, WORLD_CLOSE, WORLD_DELETE, WORLD_TRIM, WORLD_SYNC, WORLD_REOPEN, WORLD_LOOK, WORLD_DIFF,
  WORLD_OPERATIONS
} world_operation;

void world_do(world *, world_operation);
void world_step(world *);                 /* one random operation */
void world_deep(world *);                 /* forty restores, each of a snapshot of the one before */

#endif
