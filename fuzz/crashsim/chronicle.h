/* chronicle.h - what the store must hold after each seal: one `moment` per commit, snapshot, drop or deletion, in the
 * order in which they were sealed.
 *
 * A store that comes back after a crash is at exactly one moment: at or behind the last one that was acknowledged,
 * and at or before the last one that was begun. Moments share what they have in common: versions, and in them pages
 * (tests/support/model.h).
 *
 * Invariants: moment 0 is the new store, without an instance; a moment is not changed once the next one was added; a
 *             refused seal is marked, and nothing may ever be found at it.
 * Thread:     one adds; others read what was added before they were started.
 */
#ifndef CRASHSIM_CHRONICLE_H
#define CRASHSIM_CHRONICLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/model.h"

enum { INSTANCES = 3, SNAPSHOTS = 2, MEMORIES = 4, MEMORY_BULK = 3, NAME_BYTES = 24 };

/* Memories: 0 32-bit KEEP, 1 32-bit, 2 64-bit, 3 for more rows than one step of trash takes. */
typedef struct {
  const char *name;
  uint32_t flags;
  uint64_t pages, pages_most, max_pages;
} memory_spec;
extern const memory_spec memory_specs[MEMORIES];

typedef struct {
  char name[NAME_BYTES];
  version *of;
} moment_snapshot;

typedef struct {
  char name[NAME_BYTES];
  version *of; /* NULL: there is no such instance */
  moment_snapshot snapshot[SNAPSHOTS];
  uint32_t snapshots;
} moment_instance;

typedef struct {
  moment_instance instance[INSTANCES];
  bool refused;
} moment;

typedef struct {
  moment *list;
  uint64_t count, room;
} chronicle;

#define NO_STORE (-1) /* as a seal: not even the creation was acknowledged */

void chronicle_begin(chronicle *, const moment *first); /* NULL: a new store */
moment *chronicle_add(chronicle *); /* a copy of the last that was not refused, to be changed at once */
void chronicle_refuse(chronicle *); /* the last one did not come to be */
const moment *chronicle_last(const chronicle *);
void chronicle_free(chronicle *);

void moment_set(moment_instance *, version *); /* takes a reference of its own; NULL: none */
void moment_remove_instance(moment_instance *);
void moment_add_snapshot(moment_instance *, const char *name, version *);
void moment_drop_snapshot(moment_instance *, uint32_t number);
moment moment_copy(const moment *);
void moment_free(moment *);

/* For a replay: what is needed to judge an image, in a file. */
void chronicle_save(const chronicle *, int64_t acknowledged, int64_t begun, const char *path);
void chronicle_load(chronicle *, int64_t *acknowledged, int64_t *begun, const char *path);

#endif
