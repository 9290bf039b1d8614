/* timeline.h - the states in which a store has been, in the order of its queue: what a crash leaves is one of them.
 *
 * Invariants: the first state is there for good; a later one is there only if all between are. Versions are shared with the world, not
 *             copied.
 * Thread:     one.
 */
#ifndef PAGESTORE_FUZZ_TIMELINE_H
#define PAGESTORE_FUZZ_TIMELINE_H

#include "support/world.h"

/* The durable part of a world: of each instance its committed version and its snapshots, no handle. */
typedef struct {
  world_instance instance[WORLD_INSTANCES];
} moment;
typedef struct {
  moment *moments;
  size_t count;
} timeline;

/* What a handle said to be durable: no state before that is right. */
typedef struct {
  uint64_t serial[WORLD_INSTANCES], version[WORLD_INSTANCES];
} durable_floor;

void timeline_note(timeline *, const world *, bool durable); /* what the world has sealed by now */
void timeline_floor(const world *, durable_floor *);
/* The store has been opened again: fails the test unless it shows one of the states, which then is the world's. */
void timeline_find(timeline *, world *, const durable_floor *);
void timeline_free(timeline *);

#endif
