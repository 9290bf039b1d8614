/* byteflip_random.h - stores that a seed makes, for test_byteflip.c: instances that fork, go back, are deleted; snapshots
 * taken and dropped; metadata and tables of memories beyond a record; pages written over, zeroed. A settled store is the
 * same each time; else what is flushed together, and how much trash is left, depends on time. In one test program.
 */
#ifndef TESTS_BYTEFLIP_RANDOM_H
#define TESTS_BYTEFLIP_RANDOM_H

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "byteflip_store.h"
#include "support/upkeep.h"

enum { RANDOM_INSTANCES = 12, RANDOM_PAGES = 40 };

typedef struct {
  pagestore_store *store;
  uint64_t random;
  bool settled;
  bool there[RANDOM_INSTANCES];
  unsigned taken[RANDOM_INSTANCES]; /* snapshots: s0, s1 .. */
} random_store;

static void commit(random_store *r, pagestore_instance *i, unsigned flags) {
  OK(pagestore_commit(i, flags, NULL));
  if (r->settled) upkeep_wait(r->store);
}

static unsigned draw(random_store *r, unsigned below) { return (unsigned)(next_random(&r->random) % below); }

static const char *name_of(unsigned i) {
  static char name[32];
  snprintf(name, sizeof name, "instance-%02u", i);
  return name;
}

static void change_memories(random_store *r, pagestore_instance *i) {
  static const char *const names[] = {"main", "heap", "other"};
  pagestore_memory *m = open_memory(i, names[draw(r, 3)], 0, RANDOM_PAGES / 2);
  if (pagestore_memory_pages(m) == 0) OK(pagestore_memory_grow(m, 2, NULL)); /* an upgrade emptied it */
  for (unsigned n = draw(r, 6) + 1; n > 0; n--) {
    uint64_t page = draw(r, (unsigned)pagestore_memory_pages(m));
    if (draw(r, 3)) write_noise(m, page, &r->random);
    else OK(pagestore_memory_fill(m, page * PAGESTORE_PAGE, 0, PAGESTORE_PAGE));
  }
  if (draw(r, 8) == 0) OK(pagestore_memory_grow(m, pagestore_memory_pages(m) < RANDOM_PAGES ? 3 : 0, NULL));
  if (draw(r, 20) == 0) OK(pagestore_memory_delete(m));
}

static void change_metadata(random_store *r, pagestore_instance *i) {
  static uint8_t value[70000];
  char key[32];
  size_t size = draw(r, 3) ? draw(r, 300) + 1 : draw(r, sizeof value) + 1;
  for (size_t at = 0; at < size; at++) value[at] = (uint8_t)next_random(&r->random);
  snprintf(key, sizeof key, draw(r, 2) ? "module.%u" : "key-%u", draw(r, 4));
  OK(pagestore_metadata_set(i, key, draw(r, 4) ? value : NULL, size));
}

/* So many memories that their table does not fit into a record. */
static void add_memories_to(pagestore_instance *i) {
  for (unsigned n = 0; n < 40; n++) {
    char name[64];
    snprintf(name, sizeof name, "one-of-many-memories-with-a-long-name-%02u", n);
    open_memory(i, name, 0, 1);
  }
}

static void go_back(random_store *r, pagestore_instance *i, unsigned which) {
  char name[32];
  uint8_t hash[32] = {(uint8_t)draw(r, 255)};
  snprintf(name, sizeof name, "s%u", draw(r, r->taken[which] + 1));
  if (draw(r, 3) == 0) OK(pagestore_upgrade(i, hash));
  else if (r->taken[which]) (void)pagestore_restore(i, name); /* it may be dropped */
}

static void fork_from(random_store *r, pagestore_instance *i, unsigned from) {
  unsigned to = draw(r, RANDOM_INSTANCES);
  pagestore_instance *made;
  if (r->there[to] || pagestore_committed_version(i) == 0 || to == from) return;
  OK(pagestore_fork(i, name_of(to), NULL, &made));
  change_memories(r, made);
  commit(r, made, draw(r, 2) ? PAGESTORE_ASYNC : 0);
  r->there[to] = true;
  r->taken[to] = 0;
  pagestore_instance_close(made);
}

static void take_or_drop(random_store *r, pagestore_instance *i, unsigned which) {
  char name[32];
  if (pagestore_committed_version(i) == 0) return;
  snprintf(name, sizeof name, "s%u", draw(r, r->taken[which] + 1));
  if (r->taken[which] && draw(r, 2)) {
    (void)pagestore_snapshot_drop(r->store, name_of(which), name, 0);
    return;
  }
  snprintf(name, sizeof name, "s%u", r->taken[which]++);
  OK(pagestore_snapshot_create(i, name, 0));
}

static void random_step(random_store *r) {
  unsigned which = draw(r, RANDOM_INSTANCES);
  if (r->there[which] && draw(r, 15) == 0) {
    OK(pagestore_instance_delete(r->store, name_of(which), 0));
    r->there[which] = false;
    return;
  }
  pagestore_instance *i = open_instance(r->store, name_of(which));
  if (!r->there[which]) r->taken[which] = 0;
  for (unsigned n = draw(r, 4) + 1; n > 0; n--) {
    if (draw(r, 3)) change_memories(r, i);
    if (draw(r, 6) == 0) change_metadata(r, i);
    if (draw(r, 30) == 0) add_memories_to(i);
    if (draw(r, 10) == 0) go_back(r, i, which);
    commit(r, i, draw(r, 2) ? PAGESTORE_ASYNC : 0);
    if (draw(r, 4) == 0) take_or_drop(r, i, which);
    if (draw(r, 5) == 0) fork_from(r, i, which);
  }
  r->there[which] = pagestore_committed_version(i) > 0;
  pagestore_instance_close(i);
}

/* Forks whose pages became zeros: enough markers for a third level of the tree. */
static void make_deep(random_store *r) {
  enum { FORKED = 60, PAGES = 100 };
  pagestore_instance *base = open_instance(r->store, "deep"), *i;
  pagestore_memory *m;
  const pagestore_memory_options *o = PAGESTORE_WITH(pagestore_memory_options, .pages = PAGES, .max_pages = PAGES);
  OK(pagestore_memory_open(base, "m", o, &m));
  for (unsigned page = 0; page < PAGES; page++) write_noise(m, page, &r->random);
  OK(pagestore_commit(base, 0, NULL));
  for (unsigned n = 0; n < FORKED; n++) {
    char name[32];
    snprintf(name, sizeof name, "deep-fork-%02u", n);
    OK(pagestore_fork(base, name, NULL, &i));
    OK(pagestore_memory_open(i, "m", NULL, &m));
    OK(pagestore_memory_fill(m, 0, 0, PAGES * PAGESTORE_PAGE));
    commit(r, i, PAGESTORE_ASYNC);
    pagestore_instance_close(i);
  }
  pagestore_instance_close(base);
}

static void make_random_here(const char *path, uint64_t seed, unsigned steps, bool deep, bool settled) {
  random_store r = {.random = seed, .settled = settled};
  OK(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &r.store));
  if (deep) make_deep(&r);
  for (unsigned n = 0; n < steps; n++) {
    random_step(&r);
    if (settled) upkeep_wait(r.store);
  }
  OK(pagestore_close(r.store));
}

/* Trash may be left for the next one that opens it. In a process of its own, as each step leaves threads and mappings. */
static void make_random_store(const char *path, uint64_t seed, unsigned steps, bool deep, bool settled) {
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    make_random_here(path, seed, steps, deep, settled);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

#endif
