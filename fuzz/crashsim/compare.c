/* compare.c - an open store against a moment, byte for byte; see check.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

static char difference[512];

static const char *differs(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *differs(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(difference, sizeof difference, format, arguments);
  va_end(arguments);
  return difference;
}

static const char *failed(const char *call, const char *of, int status) {
  return differs("%s of '%s': %s: %s", call, of, pagestore_strerror(status), pagestore_detail());
}

/* ---- memories -------------------------------------------------------------------------------- */

static const char *compare_bytes(const uint8_t *is, const uint8_t *must, const char *memory, uint64_t page) {
  if (memcmp(is, must, PAGESTORE_PAGE) == 0) return NULL;
  size_t at = 0;
  while (is[at] == must[at]) at++;
  return differs("memory '%s' page %llu byte %zu is %02x, must be %02x", memory, (unsigned long long)page, at, is[at],
                 must[at]);
}

static const char *compare_memory(pagestore_instance *handle, int number, const model_memory *must) {
  const memory_spec *spec = &memory_specs[number];
  const pagestore_memory_options *options = PAGESTORE_WITH(pagestore_memory_options, .flags = spec->flags,
                                                           .max_pages = spec->max_pages, .guard_bytes = PAGESTORE_PAGE);
  pagestore_memory *memory;
  int status = pagestore_memory_open(handle, spec->name, options, &memory);
  if (status) return failed("memory_open", spec->name, status);
  uint64_t pages = pagestore_memory_pages(memory);
  if (pages != must->pages)
    return differs("memory '%s' has %llu pages, must have %llu", spec->name, (unsigned long long)pages,
                   (unsigned long long)must->pages);
  status = pages ? pagestore_memory_prepare(memory, 0, pages * PAGESTORE_PAGE, false) : 0;
  if (status) return failed("reading", spec->name, status);
  const uint8_t *base = pagestore_memory_base(memory);
  for (uint64_t p = 0; p < pages; p++) {
    const char *text = compare_bytes(base + p * PAGESTORE_PAGE, model_page(must, p), spec->name, p);
    if (text) return text;
  }
  return NULL;
}

typedef struct {
  const version *must;
  const char *text;
  int seen;
} memory_walk;

static int meet_memory(void *env, const pagestore_memory_info *info) {
  memory_walk *walk = env;
  for (int m = 0; m < MEMORIES; m++)
    if (strcmp(memory_specs[m].name, info->name) == 0 && walk->must->memory[m].present) return walk->seen++, 0;
  walk->text = differs("there is a memory '%s', which should not be there", info->name);
  return 1;
}

static const char *compare_memories(pagestore_instance *handle, const version *must) {
  memory_walk walk = {.must = must};
  int status = pagestore_memory_each(handle, meet_memory, &walk), wanted = 0;
  if (walk.text) return walk.text;
  if (status) return failed("memory_each", "", status);
  for (int m = 0; m < MEMORIES; m++) {
    if (!must->memory[m].present) continue;
    wanted++;
    const char *text = compare_memory(handle, m, &must->memory[m]);
    if (text) return text;
  }
  return walk.seen == wanted ? NULL : differs("%d memories, must be %d", walk.seen, wanted);
}

/* ---- metadata -------------------------------------------------------------------------------- */

typedef struct {
  const version *must;
  const char *text;
  int next;
} key_walk;

static int meet_key(void *env, const char *key, const void *value, size_t length) {
  key_walk *walk = env;
  while (walk->next < MODEL_KEYS && !walk->must->value[walk->next]) walk->next++;
  const model_value *must = walk->next < MODEL_KEYS ? walk->must->value[walk->next] : NULL;
  if (!must || strcmp(key, model_key[walk->next]) != 0) walk->text = differs("key '%s' should not be there", key);
  else if (length != must->length || memcmp(value, must->bytes, length) != 0)
    walk->text = differs("the value of key '%s' differs", key);
  walk->next++;
  return walk->text != NULL;
}

static const char *compare_metadata(pagestore_instance *handle, const version *must) {
  key_walk walk = {.must = must};
  int status = pagestore_metadata_each(handle, meet_key, &walk);
  if (walk.text) return walk.text;
  if (status) return failed("metadata_each", "", status);
  while (walk.next < MODEL_KEYS)
    if (must->value[walk.next++]) return differs("key '%s' is missing", model_key[walk.next - 1]);
  return NULL;
}

/* ---- instances ----------------------------------------------------------------------------------------------------
 * */

static const char *compare_counts(pagestore_instance *handle, const version *must) {
  pagestore_instance_info info = {.size = sizeof info};
  int status = pagestore_instance_stat(handle, &info);
  if (status) return failed("stat", "", status);
  uint64_t stored = 0;
  for (int m = 0; m < MEMORIES; m++) stored += model_stored(&must->memory[m]);
  if (info.committed != must->number)
    return differs("version %llu, must be %llu", (unsigned long long)info.committed, (unsigned long long)must->number);
  if (info.stored_pages != stored)
    return differs("%llu stored pages, must be %llu", (unsigned long long)info.stored_pages,
                   (unsigned long long)stored);
  for (size_t i = 0; i < sizeof info.module_hash; i++)
    if (info.module_hash[i] != must->module) return differs("another module hash");
  return NULL;
}

static const char *compare_instance(pagestore_store *store, uint32_t flags, const char *name, const char *snapshot,
                                    const version *must) {
  pagestore_instance *handle;
  const pagestore_instance_options *options = PAGESTORE_WITH(pagestore_instance_options,
                                                             .flags = snapshot ? PAGESTORE_READ : flags,
                                                             .snapshot = snapshot);
  int status = pagestore_instance_open(store, name, options, &handle);
  if (status) return failed("instance_open", snapshot ? snapshot : name, status);
  const char *text = compare_counts(handle, must);
  if (!text) text = compare_memories(handle, must);
  if (!text) text = compare_metadata(handle, must);
  pagestore_instance_close(handle);
  if (!text) return NULL;
  char inside[400];
  snprintf(inside, sizeof inside, "%s", text);
  return differs("'%s'%s%s: %s", name, snapshot ? ", snapshot " : "", snapshot ? snapshot : "", inside);
}

const char *compare_view(pagestore_instance *view, const version *must) {
  const char *text = compare_memories(view, must);
  return text ? text : compare_metadata(view, must);
}

typedef struct {
  const moment_instance *must;
  const char *text;
  uint32_t seen;
} snapshot_walk;

static int meet_snapshot(void *env, const char *name, uint64_t number, uint64_t retained_bytes) {
  snapshot_walk *walk = env;
  (void)retained_bytes;
  walk->seen++;
  for (uint32_t s = 0; s < walk->must->snapshots; s++)
    if (strcmp(walk->must->snapshot[s].name, name) == 0 && walk->must->snapshot[s].of->number == number) return 0;
  walk->text = differs("'%s' has a snapshot '%s' of version %llu, which should not be there", walk->must->name, name,
                       (unsigned long long)number);
  return 1;
}

static const char *compare_snapshots(pagestore_store *store, const moment_instance *must) {
  snapshot_walk walk = {.must = must};
  int status = pagestore_snapshot_each(store, must->name, meet_snapshot, &walk);
  if (walk.text) return walk.text;
  if (status) return failed("snapshot_each", must->name, status);
  if (walk.seen != must->snapshots)
    return differs("'%s' has %u snapshots, must have %u", must->name, walk.seen, must->snapshots);
  for (uint32_t s = 0; s < must->snapshots; s++) {
    const char *text = compare_instance(store, 0, must->name, must->snapshot[s].name, must->snapshot[s].of);
    if (text) return text;
  }
  return NULL;
}

typedef struct {
  const moment *must;
  const char *text;
  int seen;
} instance_walk;

static int meet_instance(void *env, const pagestore_instance_info *info) {
  instance_walk *walk = env;
  for (int i = 0; i < INSTANCES; i++) {
    const moment_instance *must = &walk->must->instance[i];
    if (!must->of || strcmp(must->name, info->name) != 0) continue;
    walk->seen++;
    if (info->committed == must->of->number && info->durable == must->of->number) return 0;
    walk->text = differs("'%s' is at version %llu, must be at %llu", info->name, (unsigned long long)info->committed,
                         (unsigned long long)must->of->number);
    return 1;
  }
  walk->text = differs("there is an instance '%s', which should not be there", info->name);
  return 1;
}

const char *compare_store(pagestore_store *store, uint32_t flags, const moment *must) {
  instance_walk walk = {.must = must};
  int status = pagestore_instance_each(store, NULL, meet_instance, &walk), wanted = 0;
  if (walk.text) return walk.text;
  if (status) return failed("instance_each", "", status);
  for (int i = 0; i < INSTANCES; i++) wanted += must->instance[i].of != NULL;
  if (walk.seen != wanted) return differs("%d instances, must be %d", walk.seen, wanted);
  for (int i = 0; i < INSTANCES; i++) {
    const moment_instance *at = &must->instance[i];
    const char *text = at->of ? compare_snapshots(store, at) : NULL;
    if (!text && at->of) text = compare_instance(store, flags, at->name, NULL, at->of);
    if (text) return text;
  }
  return NULL;
}
