/* world_ops.h - operations for world_ops.c: those that only change an open message, and diff: all by the dice.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_TESTS_WORLD_OPS_H
#define PAGESTORE_TESTS_WORLD_OPS_H

#include "world.h"

/* A handle that takes writes, mostly an instance's. NULL: none is open. */
holder *world_some_writer(world *);

void world_write(world *);
void world_write_dense(world *, holder *, int memory, pagestore_memory *);   /* up to three pages */
void world_grow(world *);
void world_metadata(world *);
void world_memory_delete(world *);
void world_diff(world *);                 /* two open views */

#endif
