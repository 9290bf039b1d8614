/* stat.c - what a store, or one of its instances, is made of. */
#include <inttypes.h>
#include <stdlib.h>

#include "complain.h"
#include "look.h"
#include "metrics.h"
#include "text.h"
#include "versions.h"
#include "watch.h"

/* ---- a store --------------------------------------------------------------------------------- */

static void feature(report *r, const char *key, uint64_t word) {
  if (word) report_fact(r, (column){key, CELL_NUMBER}, of_number(word));
}

static int add_stored(void *env, const pagestore_instance_info *i) {
  *(uint64_t *)env += i->stored_pages * PAGESTORE_PAGE;
  return 0;
}

/* Bytes of the file for each that an instance shows: snapshots, LMDB's own pages and free ones are what is above 1,
 * pages that forks share what is below. */
static void print_amplification(report *r, const pagestore_store_info *i, uint64_t stored_bytes) {
  report_fact(r, (column){"stored_bytes", CELL_BYTES}, of_number(stored_bytes));
  cell amplification = {.none = stored_bytes == 0};
  if (stored_bytes) amplification.real = (double)i->file_bytes / (double)stored_bytes;
  report_fact(r, (column){"amplification", CELL_REAL}, amplification);
}

static void print_store(report *r, const pagestore_store_info *i, uint64_t transaction, uint64_t stored_bytes) {
  char id[33];
  report_fact(r, (column){"format", CELL_NUMBER}, of_number(i->format_version));
  report_fact(r, (column){"id", CELL_TEXT}, of_text(text_hash(i->id, sizeof i->id, id, sizeof id)));
  report_fact(r, (column){"created", CELL_TIME}, of_number(i->created_ns));
  feature(r, "features_incompatible", i->incompatible);
  feature(r, "features_read_only", i->read_only);
  feature(r, "features_compatible", i->compatible);
  report_fact(r, (column){"file_bytes", CELL_BYTES}, of_number(i->file_bytes));
  report_fact(r, (column){"free_bytes", CELL_BYTES}, of_number(i->free_bytes));
  report_fact(r, (column){"free_largest_run_bytes", CELL_BYTES}, of_number(i->free_largest_run));
  print_amplification(r, i, stored_bytes);
  report_fact(r, (column){"map_bytes", CELL_BYTES}, of_number(i->map_bytes));
  report_fact(r, (column){"log_bytes", CELL_BYTES}, of_number(i->log_bytes));
  report_fact(r, (column){"log_budget_bytes", CELL_BYTES}, of_number(i->log_budget_bytes));
  report_fact(r, (column){"log_records", CELL_NUMBER}, of_number(i->log_records));
  report_fact(r, (column){"transaction", CELL_NUMBER}, of_number(transaction));
  report_fact(r, (column){"instances", CELL_NUMBER}, of_number(i->instances));
  report_fact(r, (column){"snapshots", CELL_NUMBER}, of_number(i->snapshots));
  report_fact(r, (column){"layers", CELL_NUMBER}, of_number(i->layers));
  report_fact(r, (column){"trash_pending", CELL_FLAG}, of_number(i->trash));
}

static int stat_store(pagestore_store *store, bool json) {
  pagestore_store_info info = {.size = sizeof info};
  uint64_t transaction = 0, stored_bytes = 0;
  int status = pagestore_transaction(store, &transaction);
  if (!status) status = pagestore_instance_each(store, NULL, add_stored, &stored_bytes);
  if (!status) status = pagestore_store_stat(store, &info);
  if (status) return look_failed(status);
  report *r = report_new(json);
  if (!r) return EXIT_FAILED;
  print_store(r, &info, transaction, stored_bytes);
  return report_finish(r, EXIT_OK);
}

/* ---- an instance ----------------------------------------------------------------------------- */

static const column memory_columns[] = {
    {"memory", CELL_TEXT},      {"index_bits", CELL_NUMBER},   {"keep", CELL_FLAG},          {"pages", CELL_NUMBER},
    {"max_pages", CELL_NUMBER}, {"stored_pages", CELL_NUMBER}, {"stored_bytes", CELL_BYTES},
};

static int add_memory(void *env, const pagestore_memory_info *m) {
  report_row(env, (cell[]){
                      of_text(m->name),
                      of_number(m->flags & PAGESTORE_MEMORY64 ? 64 : 32),
                      of_number(!!(m->flags & PAGESTORE_KEEP)),
                      of_number(m->pages),
                      of_number(m->max_pages),
                      of_number(m->stored_pages),
                      of_number(m->stored_pages * PAGESTORE_PAGE),
                  });
  return 0;
}

static const column metadata_columns[] = {{"metadata", CELL_TEXT}, {"bytes", CELL_BYTES}};

static int add_metadata(void *env, const char *key, const void *value, size_t length) {
  (void)value;
  report_row(env, (cell[]){of_text(key), of_number(length)});
  return 0;
}

static const column snapshot_columns[] = {
    {"snapshot", CELL_TEXT},
    {"version", CELL_NUMBER},
    {"time", CELL_TIME},
    {"retained_bytes", CELL_BYTES},
};

static void add_snapshots(report *r, const kept_versions *kept) {
  report_sheet(r, "snapshots", snapshot_columns, sizeof snapshot_columns / sizeof *snapshot_columns);
  for (uint32_t i = 0; i < kept->count; i++) {
    const kept_version *k = &kept->items[i];
    if (!k->present)
      report_row(r, (cell[]){of_text(k->name), of_number(k->version), of_number(k->time_ns),
                             of_number(k->retained_bytes)});
  }
}

static int print_instance(report *r, pagestore_instance *view, const kept_versions *kept) {
  pagestore_instance_info info = {.size = sizeof info};
  char hash[65];
  int status = pagestore_instance_stat(view, &info);
  if (status) return status;
  report_fact(r, (column){"instance", CELL_TEXT}, of_text(info.name));
  report_fact(r, (column){"version", CELL_NUMBER}, of_number(info.committed));
  report_fact(r, (column){"committed", CELL_TIME}, of_number(kept->items[kept->count - 1].time_ns));
  report_fact(r, (column){"versions_kept", CELL_NUMBER}, of_number(kept->count));
  report_fact(r, (column){"module", CELL_TEXT}, of_text(text_hash(info.module_hash, 32, hash, sizeof hash)));
  report_fact(r, (column){"pages", CELL_NUMBER}, of_number(info.pages));
  report_fact(r, (column){"stored_pages", CELL_NUMBER}, of_number(info.stored_pages));
  report_fact(r, (column){"zero_pages", CELL_NUMBER}, of_number(info.pages - info.stored_pages));
  report_fact(r, (column){"stored_bytes", CELL_BYTES}, of_number(info.stored_pages * PAGESTORE_PAGE));
  report_sheet(r, "memories", memory_columns, sizeof memory_columns / sizeof *memory_columns);
  if ((status = pagestore_memory_each(view, add_memory, r)) != 0) return status;
  report_sheet(r, "metadata", metadata_columns, sizeof metadata_columns / sizeof *metadata_columns);
  if ((status = pagestore_metadata_each(view, add_metadata, r)) != 0) return status;
  add_snapshots(r, kept);
  return 0;
}

static int stat_instance(pagestore_store *store, const char *name, bool json) {
  pagestore_instance *view;
  int code = look_view(store, name, NULL, &view);
  if (code != EXIT_OK) return code;
  kept_versions kept;
  code = versions_load(store, name, true, &kept);
  report *r = code == EXIT_OK ? report_new(json) : NULL;
  if (r) {
    int status = print_instance(r, view, &kept);
    code = report_finish(r, EXIT_OK);
    if (status) code = look_failed(status);
  } else if (code == EXIT_OK) {
    code = EXIT_FAILED;
  }
  free(kept.items);
  pagestore_instance_close(view);
  return code;
}

/* What excludes what; *seconds is 0 without --watch. */
static int check_options(const invocation *v, uint64_t *seconds, uint64_t *count) {
  bool watch = option_given(v, "watch"), metrics = option_given(v, "openmetrics"), json = option_given(v, "json");
  if (metrics + (watch || json) > 1)
    return complain_usage(v->command, "--openmetrics and --json or --watch exclude each other");
  if ((watch || metrics) && v->operands > 1)
    return complain_usage(v->command, "--watch and --openmetrics are of a whole store");
  if (option_given(v, "count") && !watch) return complain_usage(v->command, "--count goes with --watch");
  if (!option_number(v, "watch", seconds) || !option_number(v, "count", count)) return EXIT_USAGE;
  if (watch && (*seconds == 0 || *seconds > 86400))
    return complain_usage(v->command, "--watch takes 1 to 86400 seconds");
  return EXIT_OK;
}

int command_stat(const invocation *v) {
  pagestore_store *store;
  uint64_t seconds = 0, count = 0;
  int code = check_options(v, &seconds, &count);
  if (code == EXIT_OK) code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  bool json = option_given(v, "json");
  if (seconds)
    code = watch(store, &(watch_options){.path = v->operand[0], .seconds = seconds, .count = count,
                                         .how = json ? WATCH_JSON : WATCH_LINES});
  else if (option_given(v, "openmetrics")) code = metrics_print(store);
  else code = v->operands == 1 ? stat_store(store, json) : stat_instance(store, v->operand[1], json);
  pagestore_close(store);
  return code;
}
