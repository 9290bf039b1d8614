/* log.c - the kept versions of an instance. */
#include <stdlib.h>

#include "complain.h"
#include "look.h"
#include "text.h"
#include "versions.h"

static const column columns[] = {
    {"version", CELL_NUMBER}, {"time", CELL_TIME},           {"snapshot", CELL_TEXT},
    {"pages", CELL_NUMBER},   {"stored_pages", CELL_NUMBER}, {"retained_bytes", CELL_BYTES},
    {"module", CELL_HASH},
};

static void add(report *r, const kept_version *k) {
  char hash[65];
  report_row(r, (cell[]){
                    of_number(k->version),
                    of_number(k->time_ns),
                    of_text(k->present ? NULL : k->name),
                    of_number(k->pages),
                    of_number(k->stored_pages),
                    {.number = k->retained_bytes, .none = k->present},
                    of_text(text_hash(k->module_hash, 32, hash, sizeof hash)),
                });
}

static int print(const invocation *v, pagestore_store *store) {
  kept_versions kept;
  int code = versions_load(store, v->operand[1], true, &kept);
  if (code != EXIT_OK) return code;
  report *r = report_new(option_given(v, "json"));
  if (r) {
    report_sheet(r, "versions", columns, sizeof columns / sizeof *columns);
    for (uint32_t i = kept.count; i > 0; i--) add(r, &kept.items[i - 1]);
    code = report_finish(r, EXIT_OK);
  }
  free(kept.items);
  return r ? code : EXIT_FAILED;
}

int command_log(const invocation *v) {
  pagestore_store *store;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = print(v, store);
  pagestore_close(store);
  return code;
}
