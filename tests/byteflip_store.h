/* byteflip_store.h - the store of test_byteflip.c, and what the library reads of it: made and read through the public API
 * alone. In one test program.
 */
#ifndef TESTS_BYTEFLIP_STORE_H
#define TESTS_BYTEFLIP_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pagestore.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define OK(call)                                                                                                       \
  do {                                                                                                                 \
    if ((call) != 0) fail_msg("%s: %s", #call, pagestore_detail());                                                    \
  } while (0)

/* ---- the store ------------------------------------------------------------------------------------------------------- */

enum { FORKS = 60 };

static uint64_t next_random(uint64_t *state) {
  *state += 0x9e3779b97f4a7c15u;
  uint64_t z = *state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static pagestore_instance *open_instance(pagestore_store *s, const char *name) {
  pagestore_instance *i;
  OK(pagestore_instance_open(s, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &i));
  return i;
}

static pagestore_memory *open_memory(pagestore_instance *i, const char *name, uint32_t flags, uint64_t pages) {
  pagestore_memory *m;
  const pagestore_memory_options *o = PAGESTORE_WITH(pagestore_memory_options, .flags = flags, .pages = pages,
                                                     .max_pages = 64);
  OK(pagestore_memory_open(i, name, o, &m));
  return m;
}

static void write_noise(pagestore_memory *m, uint64_t page, uint64_t *state) {
  uint64_t words[1500];
  for (unsigned i = 0; i < 1500; i++) words[i] = next_random(state);
  OK(pagestore_memory_write(m, page * PAGESTORE_PAGE + 5000, words, sizeof words));
}

/* Three memories, a restored line, metadata beyond a record, pages that became zeros. */
static void make_first(pagestore_store *s, uint64_t *state) {
  static uint8_t large[3000];
  for (unsigned i = 0; i < sizeof large; i++) large[i] = (uint8_t)next_random(state);
  pagestore_instance *i = open_instance(s, "first");
  pagestore_memory *m = open_memory(i, "main", 0, 20),
                   *heap = open_memory(i, "heap", PAGESTORE_MEMORY64 | PAGESTORE_KEEP, 3);
  for (uint64_t page = 0; page < 12; page += 3) write_noise(m, page, state);
  write_noise(heap, 1, state);
  OK(pagestore_metadata_set(i, "small", "value", 5));
  OK(pagestore_commit(i, 0, NULL));
  OK(pagestore_snapshot_create(i, "one", 0));
  write_noise(m, 3, state);
  OK(pagestore_memory_fill(m, 6 * PAGESTORE_PAGE, 0, PAGESTORE_PAGE));
  OK(pagestore_metadata_set(i, "large", large, sizeof large));
  OK(pagestore_commit(i, 0, NULL));
  OK(pagestore_snapshot_create(i, "two", 0));
  write_noise(m, 19, state);
  OK(pagestore_commit(i, 0, NULL));
  OK(pagestore_restore(i, "one"));
  OK(pagestore_commit(i, 0, NULL));
  write_noise(m, 0, state);
  OK(pagestore_commit(i, 0, NULL));
  pagestore_instance_close(i);
}

/* Forks whose only page became zeros: a marker each, enough for two leaves; the catalog has several. */
static void make_forks(pagestore_store *s, uint64_t *state) {
  pagestore_instance *base = open_instance(s, "base"), *i;
  pagestore_memory *m = open_memory(base, "m", 0, 2);
  write_noise(m, 0, state);
  write_noise(m, 1, state);
  OK(pagestore_commit(base, 0, NULL));
  for (unsigned n = 0; n < FORKS; n++) {
    char name[32];
    snprintf(name, sizeof name, "fork-%02u", n);
    OK(pagestore_fork(base, name, NULL, &i));
    OK(pagestore_memory_open(i, "m", NULL, &m));
    OK(pagestore_memory_fill(m, 0, 0, PAGESTORE_PAGE));
    OK(pagestore_commit(i, PAGESTORE_ASYNC, NULL));
    if (n % 20 == 0) OK(pagestore_snapshot_create(i, "kept", PAGESTORE_ASYNC));
    pagestore_instance_close(i);
  }
  pagestore_instance_close(base);
}

/* Blocks in the log: that count, superseded, of a page without a row; what was merged, as a snapshot relies on it. */
static void make_logged(pagestore_store *s, uint64_t *state) {
  pagestore_instance *i = open_instance(s, "logged");
  pagestore_memory *m = open_memory(i, "m", 0, 6);
  for (uint64_t page = 0; page < 3; page++) write_noise(m, page, state);
  OK(pagestore_commit(i, 0, NULL));
  OK(pagestore_snapshot_create(i, "kept", 0));
  for (unsigned n = 0; n < 4; n++) {
    uint64_t word = next_random(state);
    OK(pagestore_memory_write(m, (n % 3) * PAGESTORE_PAGE + n / 2 * PAGESTORE_BLOCK, &word, sizeof word));
    OK(pagestore_memory_write(m, 5 * PAGESTORE_PAGE + n * PAGESTORE_BLOCK, &word, sizeof word));
    OK(pagestore_commit(i, 0, NULL));
  }
  pagestore_instance_close(i);
}

static void make_store(const char *path) {
  uint64_t state = 1;
  pagestore_store *s;
  OK(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &s));
  make_first(s, &state);
  make_forks(s, &state);
  pagestore_instance *i = open_instance(s, "gone");
  write_noise(open_memory(i, "m", 0, 3), 2, &state);
  OK(pagestore_commit(i, 0, NULL));
  pagestore_instance_close(i);
  OK(pagestore_instance_delete(s, "gone", 0));
  make_logged(s, &state);
  i = open_instance(s, "last");
  write_noise(open_memory(i, "m", 0, 4), 1, &state);
  OK(pagestore_commit(i, 0, NULL));
  pagestore_instance_close(i);
  /* At rest: rows that are about to be given back, and the transactions that do it, come and go with time. */
  pagestore_store_info info = {.size = sizeof info, .trash = true};
  for (int tries = 0; info.trash && tries < 2000; tries++, usleep(5000)) OK(pagestore_store_stat(s, &info));
  if (info.trash) fail_msg("trash was not worked off");
  OK(pagestore_close(s));
}

/* ---- first judge: what the library reads ----------------------------------------------------------------------------- */

typedef struct {
  XXH3_state_t hash;
  pagestore_store *store;
  pagestore_instance *view;
  int status;
} reading;

static void add(reading *r, const void *bytes, size_t length) {
  XXH3_64bits_update(&r->hash, &length, sizeof length);
  XXH3_64bits_update(&r->hash, bytes, length);
}

static int read_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  static uint8_t page[PAGESTORE_PAGE];
  reading *r = env;
  for (uint64_t at = offset; at < offset + length && !r->status; at += sizeof page) {
    r->status = pagestore_memory_read(m, at, page, sizeof page);
    add(r, &at, sizeof at);
    if (!r->status) add(r, page, sizeof page);
  }
  return r->status;
}

static int read_memory(void *env, const pagestore_memory_info *info) {
  reading *r = env;
  uint64_t facts[] = {info->flags, info->pages, info->max_pages, info->stored_pages};
  pagestore_memory *m;
  add(r, info->name, strlen(info->name));
  add(r, facts, sizeof facts);
  const pagestore_memory_options *o = PAGESTORE_WITH(pagestore_memory_options, .flags = info->flags,
                                                     .max_pages = info->max_pages, .guard_bytes = PAGESTORE_PAGE);
  r->status = pagestore_memory_open(r->view, info->name, o, &m);
  if (!r->status) r->status = pagestore_memory_blocks(m, PAGESTORE_BLOCKS_STORED, read_range, r);
  return r->status;
}

static int read_metadata(void *env, const char *key, const void *value, size_t length) {
  add(env, key, strlen(key));
  add(env, value, length);
  return 0;
}

static char instance_name[256];

static int read_version(void *env, const pagestore_history_info *info) {
  reading *r = env;
  uint64_t facts[] = {info->version, info->time_ns, info->memories, info->pages, info->stored_pages};
  add(r, info->snapshot ? info->snapshot : "", info->snapshot ? strlen(info->snapshot) : 0);
  add(r, facts, sizeof facts);
  add(r, info->module_hash, 32);
  const pagestore_instance_options *o = PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ,
                                                       .snapshot = info->snapshot);
  r->status = pagestore_instance_open(r->store, instance_name, o, &r->view);
  if (r->status) return r->status;
  r->status = pagestore_memory_each(r->view, read_memory, r);
  if (!r->status) r->status = pagestore_metadata_each(r->view, read_metadata, r);
  pagestore_instance_close(r->view);
  return r->status;
}

static int read_instance(void *env, const pagestore_instance_info *info) {
  reading *r = env;
  snprintf(instance_name, sizeof instance_name, "%s", info->name);
  add(r, info->name, strlen(info->name));
  r->status = pagestore_history_each(r->store, instance_name, read_version, r);
  return r->status;
}

/* 0: something could not be read. */
static uint64_t read_everything(const char *path) {
  reading r = {0};
  XXH3_64bits_reset(&r.hash);
  if (pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &r.store) != 0) return 0;
  int status = pagestore_instance_each(r.store, NULL, read_instance, &r);
  OK(pagestore_close(r.store));
  return status || r.status ? 0 : XXH3_64bits_digest(&r.hash);
}

#endif
