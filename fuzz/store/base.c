/* base.c - making whole stores through the public API; see base.h. */
#include "base.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <pagestore.h>

#include "fuzz/fuzz.h"
#include "storage/walker.h"
#include "storage/wire.h"

#define OK(call) MUST((call) == 0)

typedef struct {
  pagestore_store *store;
  pagestore_instance *instance;
} maker;

static void commit(maker *m) { OK(pagestore_commit(m->instance, 0, NULL)); }

static pagestore_memory *memory(maker *m, const char *name, uint32_t flags, uint64_t pages) {
  pagestore_memory *out;
  OK(pagestore_memory_open(m->instance, name,
                           PAGESTORE_WITH(pagestore_memory_options, .flags = flags, .pages = pages, .max_pages = 64,
                                          .guard_bytes = PAGESTORE_PAGE),
                           &out));
  return out;
}

static void put(pagestore_memory *m, uint64_t page, uint8_t byte) {
  OK(pagestore_memory_fill(m, page * PAGESTORE_PAGE + 100, byte, 5000));
}

static void metadata(maker *m, const char *key, size_t length) {
  static uint8_t value[20000];
  memset(value, key[0], sizeof value);
  OK(pagestore_metadata_set(m->instance, key, value, length));
}

static void open_instance(maker *m, const char *name) {
  OK(pagestore_instance_open(m->store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                             &m->instance));
}

/* ---- the three -------------------------------------------------------------------------------- */

static void make_one(maker *m) {
  open_instance(m, "one");
  pagestore_memory *heap = memory(m, "heap", PAGESTORE_KEEP, 3), *wide = memory(m, "wide", PAGESTORE_MEMORY64, 5);
  put(heap, 0, 1), put(heap, 1, 2), put(wide, 4, 3);
  metadata(m, "counter", 8);
  commit(m);
  OK(pagestore_snapshot_create(m->instance, "first", 0));
  put(heap, 0, 4);
  OK(pagestore_memory_fill(heap, PAGESTORE_PAGE, 0, PAGESTORE_PAGE));
  commit(m);
  OK(pagestore_snapshot_create(m->instance, "second", 0));
  OK(pagestore_restore(m->instance, "first"));
  put(heap, 2, 5);
  commit(m);
}

static void make_fork(maker *m) {
  pagestore_instance *fork;
  uint8_t hash[32] = {7};
  OK(pagestore_fork(m->instance, "two", NULL, &fork));
  pagestore_instance_close(m->instance);
  m->instance = fork;
  OK(pagestore_upgrade(fork, hash));
  metadata(m, "large", 9000);
  for (int i = 0; i < 40; i++) {
    char name[64];
    snprintf(name, sizeof name, "a memory with a name of some length, number %d", i);
    memory(m, name, 0, 1);
  }
  commit(m);
  pagestore_instance_close(fork);
}

/* Closing does not wait for trash. */
static void make_trash(maker *m) {
  open_instance(m, "three");
  put(memory(m, "heap", 0, 2), 1, 6);
  commit(m);
  pagestore_instance_close(m->instance);
  OK(pagestore_instance_delete(m->store, "three", PAGESTORE_ASYNC));
}

static void make_rich(maker *m) {
  make_one(m);
  make_fork(m);
  make_trash(m);
}

/* What stood in the log before is in rows, so that it has a beginning; then several records, of several instances. */
static void make_log(maker *m) {
  make_rich(m);
  OK(pagestore_drain(m->store, PAGESTORE_FOREVER));
  for (int i = 0; i < 12; i++) {
    open_instance(m, i % 3 ? "one" : "two");
    pagestore_memory *heap = memory(m, "heap", PAGESTORE_KEEP, 3);
    put(heap, (uint64_t)i % 3, (uint8_t)(20 + i));
    commit(m);
    if (i == 5) OK(pagestore_snapshot_create(m->instance, "drained", 0));
    pagestore_instance_close(m->instance);
  }
}

static void make_many(maker *m) {
  for (int i = 0; i < 30; i++) {
    char name[64];
    snprintf(name, sizeof name, "instance number %d", i);
    open_instance(m, name);
    memory(m, "heap", 0, 2);
    metadata(m, "value", (size_t)(30 * i));
    commit(m);
    for (int s = 0; s < i % 4; s++) {
      snprintf(name, sizeof name, "snapshot %d", s);
      OK(pagestore_snapshot_create(m->instance, name, 0));
    }
    pagestore_instance_close(m->instance);
  }
}

/* ---- as bytes ----------------------------------------------------------------------------------- */

static int ignore_finding(void *env, uint64_t page, const char *text) {
  (void)env, (void)page;
  fprintf(stderr, "a whole store has a finding: %s\n", text);
  MUST(false);
  return 0;
}

static int note_page(void *env, const char *table, walker_page_kind kind, uint64_t first, uint64_t count) {
  base *b = env;
  (void)table, (void)count;
  if (kind == WALKER_OVERFLOW) b->overflow[b->overflow_count++] = (uint32_t)first;
  else b->tree[b->tree_count++] = (uint32_t)first;
  return 0;
}

/* Whether the checksum takes in the record's key: seen, since the whole stores are right. */
static bool binds_key;

uint64_t base_record_checksum(const void *key, size_t key_bytes, const uint8_t *record, size_t covered_bytes) {
  return XXH3_64bits(record, covered_bytes) ^ (binds_key ? XXH3_64bits(key, key_bytes) : 0);
}

static void look_at_checksum(bytes key, const uint8_t *record, size_t size) {
  binds_key = false;
  binds_key = base_record_checksum(key.data, key.size, record, size - 8) != get_le64(record + size - 8);
  MUST(base_record_checksum(key.data, key.size, record, size - 8) == get_le64(record + size - 8));
}

static int note_row(void *env, const char *table, bytes key, walker_place value) {
  base *b = env;
  if (strcmp(table, "catalog") != 0) return 0;
  look_at_checksum(key, b->bytes + value.at, value.size);
  b->records = realloc(b->records, (b->record_count + 1) * sizeof *b->records);
  b->record_bytes = realloc(b->record_bytes, (b->record_count + 1) * sizeof *b->record_bytes);
  MUST(b->records && b->record_bytes);
  b->records[b->record_count] = value.at;
  b->record_bytes[b->record_count++] = (uint32_t)value.size;
  return 0;
}

static void load(const char *path, base *out) {
  struct stat st;
  walker_metas metas;
  walker_summary summary;
  walker_callbacks callbacks = {.env = out, .finding = ignore_finding, .page = note_page, .row = note_row};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  MUST(fd >= 0 && fstat(fd, &st) == 0);
  out->size = (size_t)st.st_size;
  out->pages = out->size / LMDB_PAGE_BYTES;
  out->bytes = malloc(out->size);
  out->tree = calloc(out->pages, sizeof *out->tree);
  out->overflow = calloc(out->pages, sizeof *out->overflow);
  MUST(out->bytes && out->tree && out->overflow && read(fd, out->bytes, out->size) == st.st_size);
  for (; out->tree_count < LMDB_METAS; out->tree_count++) out->tree[out->tree_count] = (uint32_t)out->tree_count;
  OK(walker_check_meta(fd, path, &metas));
  OK(walker_walk(fd, &metas, metas.newest, &callbacks, &summary));
  close(fd);
}

const base *base_get(base_kind kind, const char *folder) {
  static base made[BASES];
  char store[300], file[320];
  maker m;
  if (made[kind].bytes) return &made[kind];
  snprintf(store, sizeof store, "%s/base", folder);
  OK(pagestore_open(store, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .map_bytes = 1 << 30),
                    &m.store));
  static void (*const make[BASES])(maker *) = {make_rich, make_many, make_log};
  make[kind](&m);
  OK(pagestore_close(m.store));
  snprintf(file, sizeof file, "%s/lock.mdb", store);
  unlink(file);
  snprintf(file, sizeof file, "%s/data.mdb", store);
  load(file, &made[kind]);
  unlink(file);
  rmdir(store);
  return &made[kind];
}
