/* metrics.c - a store as OpenMetrics text, and its changes watched: what can be seen of it from outside its writer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "complain.h"
#include "look.h"
#include "metrics.h"
#include "text.h"

/* ---- OpenMetrics ----------------------------------------------------------------------------- */

/* A label's value: backslash, quote and newline are escaped (OpenMetrics 1.0), other control characters cannot be in
 * a name. */
static void print_label(const char *name) {
  for (; *name; name++) {
    if (*name == '\\' || *name == '"') putchar('\\');
    putchar(*name);
  }
}

static void print_head(const char *name, const char *unit, const char *help) {
  printf("# TYPE pagestore_%s gauge\n", name);
  if (unit) printf("# UNIT pagestore_%s %s\n", name, unit);
  printf("# HELP pagestore_%s %s\n", name, help);
}

static void print_gauge(const char *name, const char *unit, const char *help, uint64_t value) {
  print_head(name, unit, help);
  printf("pagestore_%s %" PRIu64 "\n", name, value);
}

typedef enum { OF_VERSION, OF_PAGES, OF_STORED } instance_value;

static int print_instance(void *env, const pagestore_instance_info *i) {
  static const char *const names[] = {"version", "pages", "stored_pages"};
  instance_value which = *(instance_value *)env;
  printf("pagestore_instance_%s{instance=\"", names[which]);
  print_label(i->name);
  printf("\"} %" PRIu64 "\n", which == OF_VERSION ? i->durable : which == OF_PAGES ? i->pages : i->stored_pages);
  return 0;
}

int metrics_print(pagestore_store *store) {
  static const char *const heads[][2] = {{"instance_version", "Durable version of an instance."},
                                         {"instance_pages", "Pages of 64 KiB in its memories."},
                                         {"instance_stored_pages", "Pages of them that are stored."}};
  pagestore_store_info info = {.size = sizeof info};
  int status = pagestore_store_stat(store, &info);
  if (status) return complain_status(status, NULL);
  print_gauge("file_bytes", "bytes", "Size of data.mdb.", info.file_bytes);
  print_gauge("free_bytes", "bytes", "Free in it.", info.free_bytes);
  print_gauge("free_largest_run_bytes", "bytes", "Largest run of free pages in it.", info.free_largest_run);
  print_gauge("log_bytes", "bytes", "Block records in it, which are merged into pages in time.", info.log_bytes);
  print_gauge("log_budget_bytes", "bytes", "What they may take, unless the writer has set it.", info.log_budget_bytes);
  print_gauge("instances", NULL, "Instances in the store.", info.instances);
  print_gauge("snapshots", NULL, "Snapshots of all instances.", info.snapshots);
  print_gauge("layers", NULL, "Layers that hold the rows of instances and forks.", info.layers);
  print_gauge("trash_pending", NULL, "Whether dropped storage is still to be given back.", info.trash);
  for (instance_value which = OF_VERSION; which <= OF_STORED; which++) {
    print_head(heads[which][0], NULL, heads[which][1]);
    if ((status = pagestore_instance_each(store, NULL, print_instance, &which)) != 0) return look_failed(status);
  }
  puts("# EOF");
  return EXIT_OK;
}

/* ---- watching -------------------------------------------------------------------------------- */

static int add_version(void *env, const pagestore_instance_info *i) {
  *(uint64_t *)env += i->durable;
  return 0;
}

typedef struct {
  uint64_t versions, file_bytes, free_bytes, instances;
  struct timespec at;
} sample;

static int take(pagestore_store *store, sample *out) {
  pagestore_store_info info = {.size = sizeof info};
  *out = (sample){0};
  int status = pagestore_store_stat(store, &info);
  if (!status) status = pagestore_instance_each(store, NULL, add_version, &out->versions);
  clock_gettime(CLOCK_MONOTONIC, &out->at);
  out->file_bytes = info.file_bytes;
  out->free_bytes = info.free_bytes;
  out->instances = info.instances;
  return status ? look_failed(status) : EXIT_OK;
}

static double seconds_between(const struct timespec *a, const struct timespec *b) {
  return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

/* Each line is of its own: a pipe's reader gets it at once. Deleted instances take their versions along: then nothing
 * is said. */
int metrics_watch(pagestore_store *store, uint64_t seconds, uint64_t count) {
  sample last, now;
  char text[TEXT_SIZE], file[TEXT_SIZE], free_text[TEXT_SIZE];
  int code = take(store, &last);
  printf("%-24s %12s %10s %12s %12s\n", "TIME", "VERSIONS/S", "INSTANCES", "FILE", "FREE");
  for (uint64_t i = 0; code == EXIT_OK && (count == 0 || i < count) && fflush(stdout) == 0; i++) {
    nanosleep(&(struct timespec){.tv_sec = (time_t)seconds}, NULL);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    if ((code = take(store, &now)) != EXIT_OK) break;
    printf("%-24s ", text_time((uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec, text));
    if (now.versions < last.versions) printf("%12s ", "-");
    else printf("%12.1f ", (double)(now.versions - last.versions) / seconds_between(&last.at, &now.at));
    printf("%10" PRIu64 " %12s %12s\n", now.instances, text_units(now.file_bytes, file),
           text_units(now.free_bytes, free_text));
    last = now;
  }
  return code;
}
