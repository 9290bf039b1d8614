/* script.h - a history of a store that one seed decides: what is done at step n, and what every byte is after it.
 *
 * A step is what becomes durable as one: a commit, a commit of several instances, a snapshot, a drop, a deletion.
 * Commits of a store become durable in the order in which they were sealed, so what a crash leaves is the state
 * after some step: one number, not below the last acknowledged step and not above the last begun one. Whoever has
 * the seed can make that state without the store, and a process that was killed is followed by one that goes on at
 * the next step.
 *
 * Bytes: a memory is cells of 512 bytes, an eighth of a block. The state keeps one stamp per cell: who wrote it
 * last. Seed, stamp and place give the bytes; stamp 0 is zeros.
 *
 * Invariants: cells beyond a memory's size have stamp 0. The next state depends on seed and state alone, never on
 *             what the library did.
 * Thread:     one. Knows nothing of the library but the flags of a memory.
 */
#ifndef PAGESTORE_FUZZ_SUPPORT_SCRIPT_H
#define PAGESTORE_FUZZ_SUPPORT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  SCRIPT_INSTANCES = 6,
  SCRIPT_SNAPSHOTS = 3,
  SCRIPT_MEMORIES = 4,
  SCRIPT_KEYS = 3,
  SCRIPT_PAGES = 226, /* of all memories at their largest */
  CELL_BYTES = 512,
  PAGE_CELLS = 65536 / CELL_BYTES,
  VALUE_BYTES_MAX = 60000,
  ACTIONS_MAX = 32
};

typedef struct {
  const char *name;
  uint32_t flags;
  uint32_t pages, max_pages;
  uint32_t cell_first; /* in script_state.cell */
} script_memory;
extern const script_memory script_memories[SCRIPT_MEMORIES];
extern const char *const script_keys[SCRIPT_KEYS]; /* ascending */
/* Every commit sets the last one to so many bytes: no two steps leave the same. */
enum { KEY_LARGE, KEY_MODULE, KEY_STEP, STEP_BYTES = 16 };

typedef struct {
  uint64_t version;
  uint8_t module; /* every byte of the module hash */
  struct {
    bool present;
    uint32_t pages;
  } memory[SCRIPT_MEMORIES];
  struct {
    uint32_t stamp, length; /* stamp 0: the key is not set */
  } value[SCRIPT_KEYS];
  uint32_t cell[SCRIPT_PAGES * PAGE_CELLS];
} script_state;

typedef struct {
  uint64_t name; /* the step that made it; 0: free */
  script_state of;
} script_snapshot;

typedef struct {
  bool exists;
  script_state now;
  script_snapshot snapshot[SCRIPT_SNAPSHOTS];
} script_instance;

typedef struct {
  uint64_t seed, step;
  script_instance instance[SCRIPT_INSTANCES];
} script;

/* ---- what is done ------------------------------------------------------------------------------------------------ */

typedef enum {
  DO_CREATE,  /* the instance */
  DO_FORK,    /* the instance, from the present of `from`, or from its snapshot */
  DO_RESTORE, /* the snapshot */
  DO_UPGRADE, /* to the module `count` */
  DO_JUNK,    /* writes `count` cells from `first` on, then rolls back */
  DO_OPEN,    /* the memory: new, emptied, or there already */
  DO_GROW,    /* by `count` pages */
  DO_WRITE,   /* `count` cells, `stride` apart */
  DO_ZERO,    /* `count` cells */
  DO_SET,     /* the key `memory` to `count` bytes; stamp 0 removes it */
  DO_DELETE_MEMORY
} script_verb;

typedef struct {
  script_verb verb;
  uint8_t instance, from, memory;
  uint32_t first, count, stride, stamp;
  uint64_t snapshot;
} script_action;

typedef enum { SEAL_COMMIT, SEAL_SNAPSHOT, SEAL_DROP, SEAL_DELETE } script_seal;

/* A snapshot's name is the step that made it. */
typedef struct {
  uint64_t step;
  script_action action[ACTIONS_MAX];
  uint32_t actions;
  script_seal seal;
  uint32_t instances; /* one bit each: what is sealed; several: commit_all */
  uint32_t reshaped;  /* one bit each: its memories are others than before */
  uint64_t snapshot;
  bool waits; /* until durable */
} script_plan;

/* What a step is, for statistics. */
typedef enum {
  STEP_COMMIT,
  STEP_COMMIT_ALL,
  STEP_CREATE,
  STEP_FORK,
  STEP_RESTORE,
  STEP_UPGRADE,
  STEP_SNAPSHOT,
  STEP_DROP,
  STEP_DELETE,
  STEP_SORTS
} script_sort;
extern const char *const script_sort_name[STEP_SORTS];
script_sort script_sort_of(const script_plan *);

void script_begin(script *, uint64_t seed); /* step 0: an empty store */
void script_step(script *, script_plan *);  /* the state after the next step, and the way there */

/* ---- bytes and names --------------------------------------------------------------------------------------------- */

/* `cell` counts from the memory's begin. */
void script_cell(const script *, uint32_t stamp, uint32_t cell, uint8_t to[CELL_BYTES]);
void script_value(const script *, uint32_t stamp, uint32_t length, uint8_t *to);
void script_name(char to[32], uint32_t instance);
void script_snapshot_name(char to[32], uint64_t snapshot);
uint32_t script_pages(const script *); /* of all states together: what a whole comparison reads */

typedef struct {
  uint64_t state;
} script_dice;
script_dice script_dice_for(uint64_t seed, uint64_t what);
uint64_t script_roll(script_dice *);
uint64_t script_below(script_dice *, uint64_t limit);
bool script_chance(script_dice *, uint32_t percent);

#endif
