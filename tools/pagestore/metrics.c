/* metrics.c - a store as OpenMetrics text: what can be seen of it from outside its writer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "complain.h"
#include "look.h"
#include "metrics.h"

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
  uint64_t transaction = 0;
  int status = pagestore_transaction(store, &transaction);
  if (!status) status = pagestore_store_stat(store, &info);
  if (status) return complain_status(status, NULL);
  print_gauge("file_bytes", "bytes", "Size of data.mdb.", info.file_bytes);
  print_gauge("free_bytes", "bytes", "Free in it.", info.free_bytes);
  print_gauge("free_largest_run_bytes", "bytes", "Largest run of free pages in it.", info.free_largest_run);
  print_gauge("log_bytes", "bytes", "Block records in it, which are merged into pages in time.", info.log_bytes);
  print_gauge("log_budget_bytes", "bytes", "What they may take, unless the writer has set it.", info.log_budget_bytes);
  print_gauge("transaction", NULL, "LMDB's newest durable transaction: one more for each flush.", transaction);
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
