/* snapshot.c - names for versions: create, list, drop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "complain.h"
#include "look.h"
#include "versions.h"

/* ---- create ---------------------------------------------------------------------------------- */

static int create(const invocation *v) {
  const char *instance = v->operand[1], *name = v->operand[2];
  pagestore_store *store;
  pagestore_instance *view;
  int code = change_open(v, &store);
  if (code != EXIT_OK) return code;
  if ((code = look_view(store, instance, NULL, &view)) == EXIT_OK) {
    int status = pagestore_snapshot_create(view, name, 0);
    if (status) code = complain_status(status, NULL);
    else
      change_done("snapshot '%s' of '%s' is version %llu", name, instance,
                  (unsigned long long)pagestore_committed_version(view));
    pagestore_instance_close(view);
  }
  return change_close(store, code);
}

/* ---- list ------------------------------------------------------------------------------------ */

static const column columns[] = {
    {"snapshot", CELL_TEXT}, {"version", CELL_NUMBER},      {"time", CELL_TIME},
    {"pages", CELL_NUMBER},  {"stored_pages", CELL_NUMBER}, {"retained_bytes", CELL_BYTES},
};

static int list(const invocation *v) {
  pagestore_store *store;
  kept_versions kept;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  bool names = option_given(v, "names");
  code = versions_load(store, v->operand[1], !names, &kept);
  pagestore_close(store);
  if (code != EXIT_OK) return code;
  for (uint32_t i = 0; names && i < kept.count; i++)
    if (!kept.items[i].present) puts(kept.items[i].name);
  if (names) {
    free(kept.items);
    return EXIT_OK;
  }
  report *r = report_new(option_given(v, "json"));
  if (r) report_sheet(r, "snapshots", columns, sizeof columns / sizeof *columns);
  for (uint32_t i = 0; r && i < kept.count; i++) {
    const kept_version *k = &kept.items[i];
    if (!k->present)
      report_row(r, (cell[]){of_text(k->name), of_number(k->version), of_number(k->time_ns), of_number(k->pages),
                             of_number(k->stored_pages), of_number(k->retained_bytes)});
  }
  free(kept.items);
  return r ? report_finish(r, EXIT_OK) : EXIT_FAILED;
}

/* ---- drop ------------------------------------------------------------------------------------ */

/* Looked at as a reader first: a writer gives storage back, and a question that is not answered changes nothing. */
static int ask(const invocation *v) {
  const char *instance = v->operand[1], *name = v->operand[2];
  pagestore_store *store;
  pagestore_instance *view;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  if ((code = look_view(store, instance, name, &view)) == EXIT_OK) {
    unsigned long long version = pagestore_committed_version(view);
    pagestore_instance_close(view);
    code = change_confirm(v, "snapshot '%s' of '%s' (version %llu) will be dropped for good", name, instance, version);
  }
  pagestore_close(store);
  return code;
}

static int drop(const invocation *v) {
  const char *instance = v->operand[1], *name = v->operand[2];
  pagestore_store *store;
  int code = ask(v);
  if (code == EXIT_OK) code = change_open(v, &store);
  if (code != EXIT_OK) return code;
  int status = pagestore_snapshot_drop(store, instance, name, 0);
  if (status) code = complain_status(status, NULL);
  else change_done("snapshot '%s' of '%s' is dropped; a writer gives its storage back bit by bit", name, instance);
  return change_close(store, code);
}

/* ---- the command ----------------------------------------------------------------------------- */

int command_snapshot(const invocation *v) {
  invocation inner = *v;
  memmove(inner.operand, v->operand + 1, (OPERANDS_MAX - 1) * sizeof *inner.operand);
  const char *what = v->operand[0];
  if (strcmp(what, "list") == 0)
    return v->operands == 3 ? list(&inner) : complain_usage(v->command, "list takes a store and an instance");
  if (strcmp(what, "create") != 0 && strcmp(what, "drop") != 0)
    return complain_usage(v->command, "'%s' is none of create, list and drop", what);
  if (v->operands != 4) return complain_usage(v->command, "%s takes a store, an instance and a snapshot", what);
  return strcmp(what, "create") == 0 ? create(&inner) : drop(&inner);
}
