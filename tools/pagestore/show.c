/* show.c - the metadata of an instance, with its values: text as text, other bytes as hex. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "look.h"
#include "report.h"
#include "text.h"
#include "versions.h"

enum { VALUE_SHOWN_MAX = 80 };

static const column columns[] = {{"key", CELL_TEXT}, {"bytes", CELL_BYTES}, {"kind", CELL_TEXT}, {"value", CELL_TEXT}};

/* What is cut ends in "..."; with --json nothing is. */
static int add(void *env, const char *key, const void *value, size_t length) {
  struct {
    report *report;
    bool whole;
  } *to = env;
  bool is_text = text_is_clean(value, length);
  size_t shown = to->whole || length <= VALUE_SHOWN_MAX ? length : VALUE_SHOWN_MAX, used = 0;
  char *text = malloc(2 * shown + 4);
  if (!text) return 1;
  if (is_text) memcpy(text, value, used = shown);
  else
    for (size_t i = 0; i < shown; i++) used += (size_t)sprintf(text + used, "%02x", ((const uint8_t *)value)[i]);
  strcpy(text + used, shown < length ? "..." : "");
  report_row(to->report, (cell[]){of_text(key), of_number(length), of_text(is_text ? "text" : "hex"), of_text(text)});
  free(text);
  return 0;
}

static int show_all(const invocation *v, pagestore_instance *view) {
  bool json = option_given(v, "json");
  struct {
    report *report;
    bool whole;
  } to = {report_new(json), json};
  if (!to.report) return EXIT_FAILED;
  report_sheet(to.report, "metadata", columns, sizeof columns / sizeof *columns);
  int status = pagestore_metadata_each(view, add, &to);
  int code = report_finish(to.report, EXIT_OK);
  if (status == PAGESTORE_EABORTED) return complain_memory();
  return status ? look_failed(status) : code;
}

/* The exact bytes, nothing behind them; on a terminal a line with what would steer it escaped. */
static void print_value(const uint8_t *value, size_t length) {
  char piece[4 * 64 + 1];
  if (!text_terminal()) {
    fwrite(value, 1, length, stdout);
    return;
  }
  for (size_t at = 0, step; at < length; at += step) {
    for (step = length - at < 64 ? length - at : 64; step > 60 && at + step < length;) {
      if ((value[at + step] & 0xc0) != 0x80) break;
      step--; /* not inside a character */
    }
    fputs(text_escape((const char *)value + at, step, piece, sizeof piece), stdout);
  }
  putchar('\n');
}

static int show_value(const invocation *v, pagestore_instance *view) {
  size_t length = 0;
  const char *key = v->operand[2];
  int status = pagestore_metadata_get(view, key, NULL, 0, &length);
  if (status && status != PAGESTORE_EBOUNDS)
    return complain_status(status, "`pagestore show STORE INSTANCE` lists the keys");
  uint8_t *value = malloc(length ? length : 1);
  if (!value) return complain_memory();
  status = pagestore_metadata_get(view, key, value, length, &length);
  if (!status) print_value(value, length);
  free(value);
  return status ? complain_status(status, NULL) : EXIT_OK;
}

int command_show(const invocation *v) {
  pagestore_store *store;
  pagestore_instance *view;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  char room[256] = "";
  const char *snapshot;
  code = versions_chosen(v, store, room, &snapshot);
  if (code == EXIT_OK && (code = look_view(store, v->operand[1], snapshot, &view)) == EXIT_OK) {
    code = v->operands == 3 ? show_value(v, view) : show_all(v, view);
    pagestore_instance_close(view);
  }
  pagestore_close(store);
  return code;
}
