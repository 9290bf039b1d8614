/* versions.c - two walks of the library joined by name and version; a live writer may come between
 * them. */
#include "versions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "look.h"

enum { STOP_MEMORY = 1 };

static int add(void *env, const pagestore_history_info *i) {
  kept_versions *l = env;
  if (l->count == l->room) {
    uint32_t room = l->room ? l->room * 2 : 16;
    kept_version *items = realloc(l->items, room * sizeof *items);
    if (!items) return STOP_MEMORY;
    l->items = items;
    l->room = room;
  }
  kept_version *k = &l->items[l->count++];
  *k = (kept_version){
      .present = !i->snapshot,
      .version = i->version,
      .time_ns = i->time_ns,
      .pages = i->pages,
      .stored_pages = i->stored_pages,
  };
  if (i->snapshot) snprintf(k->name, sizeof k->name, "%s", i->snapshot);
  memcpy(k->module_hash, i->module_hash, sizeof k->module_hash);
  return 0;
}

/* A snapshot that a writer took or dropped between the two walks stays as it was found first. */
static int add_retained(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  kept_versions *l = env;
  for (uint32_t i = 0; i < l->count; i++) {
    kept_version *k = &l->items[i];
    if (!k->present && k->version == version && strcmp(k->name, name) == 0)
      k->retained_bytes = retained_bytes;
  }
  return 0;
}

int versions_load(pagestore_store *s, const char *instance, bool retained, kept_versions *out) {
  *out = (kept_versions){0};
  int status = pagestore_history_each(s, instance, add, out);
  if (!status && retained) status = pagestore_snapshot_each(s, instance, add_retained, out);
  if (!status) return EXIT_OK;
  free(out->items);
  *out = (kept_versions){0};
  return status == PAGESTORE_EABORTED ? complain_memory() : look_failed(status);
}

int versions_chosen(const invocation *v, pagestore_store *store, char room[256], const char **snapshot) {
  kept_versions kept;
  uint64_t version = 0;
  *snapshot = option_value(v, "snapshot");
  if (!option_given(v, "version")) return EXIT_OK;
  if (*snapshot) return complain_usage(v->command, "--snapshot and --version exclude each other");
  if (!option_number(v, "version", &version)) return EXIT_USAGE;
  int code = versions_load(store, v->operand[1], false, &kept);
  if (code != EXIT_OK) return code;
  bool found = false;
  for (uint32_t i = kept.count; i > 0 && !found; i--) {
    const kept_version *k = &kept.items[i - 1];
    if (!(found = k->version == version) || k->present) continue;
    snprintf(room, 256, "%s", k->name);
    *snapshot = room;
  }
  free(kept.items);
  if (found) return EXIT_OK;
  complain("version %llu of '%s' is not kept; `pagestore log STORE INSTANCE` lists those that are",
           (unsigned long long)version, v->operand[1]);
  return EXIT_FAILED;
}
