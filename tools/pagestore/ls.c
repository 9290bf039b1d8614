/* ls.c - the instances of a store. */
#include <stdio.h>

#include "complain.h"
#include "look.h"
#include "report.h"
#include "text.h"

static const column columns[] = {
    {"name", CELL_TEXT},           {"version", CELL_NUMBER},     {"pages", CELL_NUMBER},
    {"stored_pages", CELL_NUMBER}, {"stored_bytes", CELL_BYTES}, {"module", CELL_HASH},
};

static int add(void *env, const pagestore_instance_info *i) {
  char hash[65];
  report_row(env, (cell[]){
                      of_text(i->name),
                      of_number(i->committed),
                      of_number(i->pages),
                      of_number(i->stored_pages),
                      of_number(i->stored_pages * PAGESTORE_PAGE),
                      of_text(text_hash(i->module_hash, 32, hash, sizeof hash)),
                  });
  return 0;
}

static int add_name(void *env, const pagestore_instance_info *i) {
  (void)env;
  puts(i->name); /* without control characters, as all names */
  return ferror(stdout);
}

static int list_names(pagestore_store *store) {
  int status = pagestore_instance_each(store, NULL, add_name, NULL);
  return status && status != PAGESTORE_EABORTED ? look_failed(status) : EXIT_OK;
}

int command_ls(const invocation *v) {
  pagestore_store *store;
  if (option_given(v, "names") && option_given(v, "json"))
    return complain_usage(v->command, "--names and --json exclude each other");
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  if (option_given(v, "names")) {
    code = list_names(store);
    pagestore_close(store);
    return code;
  }
  report *r = report_new(option_given(v, "json"));
  if (r) {
    report_sheet(r, "instances", columns, sizeof columns / sizeof *columns);
    int status = pagestore_instance_each(store, NULL, add, r);
    code = report_finish(r, EXIT_OK);
    if (status) code = look_failed(status);
  }
  pagestore_close(store);
  return r ? code : EXIT_FAILED;
}
