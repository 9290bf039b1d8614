/* probes_keep.c - see probes.h: every shape of three versions and the points that are kept of them, each row counted.
 *
 * Shape: after each version nothing, a snapshot, or a fork with a commit of its own. 27 instances have one each; page W of an instance is
 * written in version V if bit V of W is set. A row written at v whose next newer one is w is needed if a point r has v <= r < w, the newest
 * always; the probe counts these itself and compares with the number of rows in the table, before and after points go, in every order that
 * the seed gives, and after the store was opened again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "probes.h"
#include "store.h"

enum { VERSIONS = 3, SHAPES = 27, WRITTEN_PAGES = 8 /* 1 to 7 */, FORK_PAGE = 8 };

typedef enum { POINT_NONE, POINT_SNAPSHOT, POINT_FORK } point_kind;
typedef struct {
  point_kind point[VERSIONS + 1];
} shape; /* after version 1, 2, 3 */

typedef struct {
  probe_host host;
  shape shapes[SHAPES];
  unsigned flags; /* of commits and points */
} keeping;

static uint64_t tag_of(unsigned instance, uint64_t page, unsigned version) {
  return 1 + (instance * 16ull + page) * 16 + version;
}

static void name_of(char name[32], unsigned instance, unsigned fork_of) {
  if (fork_of) snprintf(name, 32, "shape-%u-fork-%u", instance, fork_of);
  else snprintf(name, 32, "shape-%u", instance);
}

/* ---- what must be there ---------------------------------------------------------------------------------- */

/* Version of the row that a reader at `version` finds; 0: none. */
static unsigned written_at(uint64_t page, unsigned version) {
  while (version > 0 && !(page >> (version - 1) & 1)) version--;
  return version;
}

static uint64_t rows_needed(const shape *s) {
  uint64_t rows = 0;
  for (uint64_t page = 1; page < WRITTEN_PAGES; page++)
    for (unsigned v = 1; v <= VERSIONS; v++) {
      if (written_at(page, v) != v) continue;
      bool needed = true; /* the newest */
      for (unsigned w = v + 1; w <= VERSIONS && needed; w++) needed = written_at(page, w) != w;
      for (unsigned r = v; r <= VERSIONS && !needed; r++) {
        if (r > v && written_at(page, r) == r) break;
        needed = s->point[r] != POINT_NONE;
      }
      rows += needed;
    }
  for (unsigned v = 1; v <= VERSIONS; v++) rows += s->point[v] == POINT_FORK; /* its own page */
  return rows;
}

/* ---- looking ---------------------------------------------------------------------------------------------- */

static void check_handle(pagestore_instance *i, unsigned instance, unsigned version, const char *what) {
  pagestore_memory *m;
  uint8_t *base;
  probe_open_memory(i, &m, &base);
  for (uint64_t page = 1; page < WRITTEN_PAGES; page++) {
    unsigned from = written_at(page, version);
    PROBE(probe_is(base + page * PAGESTORE_PAGE, PAGESTORE_PAGE, from ? tag_of(instance, page, from) : 0),
          "shape %u, %s of version %u: page %llu has not the bytes of version %u", instance, what, version,
          (unsigned long long)page, from);
  }
}

static void check_view(keeping *k, unsigned instance, unsigned fork_of, const char *snapshot, unsigned version) {
  char name[32];
  pagestore_instance *i;
  name_of(name, instance, fork_of);
  PROBE_OK(
      pagestore_instance_open(k->host.store, name,
                              PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ, .snapshot = snapshot),
                              &i));
  check_handle(i, instance, version, fork_of ? "fork" : snapshot ? "snapshot" : "present");
  pagestore_instance_close(i);
}

static uint64_t rows_stored(keeping *k) {
  db_info info;
  PROBE_OK(db_measure(k->host.store->db, &info));
  return info.entries[DB_PAGES];
}

/* Dropped storage is given back in steps: the rows are counted once none is left to do. */
static void wait_for_trash(keeping *k) {
  pagestore_store_info info = {.size = sizeof info};
  PROBE_OK(pagestore_sync(k->host.store, PROBE_WAIT_MS));
  for (int ms = 0; ms < PROBE_WAIT_MS; ms++) {
    PROBE_OK(pagestore_store_stat(k->host.store, &info));
    if (!info.trash) return;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  probe_failed(__FILE__, __LINE__, "dropped storage is not given back");
}

static void check_all(keeping *k, const char *when) {
  uint64_t must = 0;
  for (unsigned s = 0; s < SHAPES; s++) {
    check_view(k, s, 0, NULL, VERSIONS);
    for (unsigned v = 1; v <= VERSIONS; v++) {
      char snapshot[8];
      snprintf(snapshot, sizeof snapshot, "s%u", v);
      if (k->shapes[s].point[v] == POINT_SNAPSHOT) check_view(k, s, 0, snapshot, v);
      if (k->shapes[s].point[v] == POINT_FORK) check_view(k, s, v, NULL, v);
    }
    must += rows_needed(&k->shapes[s]);
  }
  wait_for_trash(k);
  uint64_t are = rows_stored(k);
  PROBE(are == must, "%s: %llu rows are kept, %llu are needed", when, (unsigned long long)are,
        (unsigned long long)must);
}

/* ---- making ------------------------------------------------------------------------------------------------ */

static void make_point(keeping *k, pagestore_instance *i, unsigned s, unsigned version) {
  char name[32], snapshot[8];
  pagestore_instance *fork;
  pagestore_memory *m;
  uint8_t *base;
  snprintf(snapshot, sizeof snapshot, "s%u", version);
  switch (k->shapes[s].point[version]) {
  case POINT_NONE: return;
  case POINT_SNAPSHOT: PROBE_OK(pagestore_snapshot_create(i, snapshot, k->flags)); return;
  case POINT_FORK:
    /* A fork takes along what of its source is not flushed, as rows of its own: not here, where they are counted. */
    PROBE_OK(pagestore_sync(k->host.store, PROBE_WAIT_MS));
    name_of(name, s, version);
    PROBE_OK(pagestore_fork(i, name, NULL, &fork));
    probe_open_memory(fork, &m, &base);
    probe_fill(base + FORK_PAGE * PAGESTORE_PAGE, PAGESTORE_PAGE, 5);
    PROBE_OK(pagestore_commit(fork, k->flags, NULL));
    pagestore_instance_close(fork);
  }
}

static void make_shape(keeping *k, unsigned s) {
  char name[32];
  pagestore_instance *i;
  pagestore_memory *m;
  uint8_t *base;
  name_of(name, s, 0);
  PROBE_OK(pagestore_instance_open(k->host.store, name,
                                   PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i));
  probe_open_memory(i, &m, &base);
  for (unsigned v = 1; v <= VERSIONS; v++) {
    for (uint64_t page = 1; page < WRITTEN_PAGES; page++)
      if (page >> (v - 1) & 1) probe_fill(base + page * PAGESTORE_PAGE, PAGESTORE_PAGE, tag_of(s, page, v));
    PROBE_OK(pagestore_commit(i, k->flags, NULL));
    make_point(k, i, s, v);
  }
  pagestore_instance_close(i);
}

static void make(keeping *k) {
  probe_folder(&k->host);
  probe_open_store(&k->host);
  for (unsigned s = 0; s < SHAPES; s++) {
    unsigned digits = s;
    for (unsigned v = 1; v <= VERSIONS; v++, digits /= 3) k->shapes[s].point[v] = (point_kind)(digits % 3);
    make_shape(k, s);
  }
  PROBE_OK(pagestore_sync(k->host.store, PROBE_WAIT_MS));
}

/* ---- letting go --------------------------------------------------------------------------------------------- */

static void drop_point(keeping *k, unsigned s, unsigned version) {
  char name[32], snapshot[8];
  snprintf(snapshot, sizeof snapshot, "s%u", version);
  name_of(name, s, k->shapes[s].point[version] == POINT_FORK ? version : 0);
  if (k->shapes[s].point[version] == POINT_FORK)
    PROBE_OK(pagestore_instance_delete(k->host.store, name, PAGESTORE_ASYNC));
  else if (k->shapes[s].point[version] == POINT_SNAPSHOT)
    PROBE_OK(pagestore_snapshot_drop(k->host.store, name, snapshot, PAGESTORE_ASYNC));
  k->shapes[s].point[version] = POINT_NONE;
}

void probe_keep_rule(dice *d) {
  for (int round = 0; round < 2; round++) {
    keeping k = {.flags = round ? PAGESTORE_ASYNC : 0};
    make(&k);
    check_all(&k, "with all points");
    probe_close(&k.host);
    probe_open_store(&k.host);
    check_all(&k, "opened again");
    for (int drops = 0; drops < 3; drops++) {
      for (unsigned s = 0; s < SHAPES; s++) drop_point(&k, s, 1 + (unsigned)dice_below(d, VERSIONS));
      check_all(&k, "after points went");
    }
    for (unsigned s = 0; s < SHAPES; s++)
      for (unsigned v = 1; v <= VERSIONS; v++) drop_point(&k, s, v);
    check_all(&k, "with no point left");
    probe_close(&k.host);
  }
}
