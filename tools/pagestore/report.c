/* report.c - libsmartcols draws the tables, jansson writes the document: the only file that knows
 * either. */
#include "report.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "text.h"

enum { HASH_SHORT = 16 };

struct report {
  bool json, line, failed, printed;
  json_t *document, *rows;      /* JSON: rows of the open sheet, owned by the document */
  struct libscols_table *table; /* text: the open sheet, or the open facts */
  bool table_is_facts;
  const column *columns;
  unsigned count;
};

report *report_new(bool json) {
  report *r = calloc(1, sizeof *r);
  if (r && json && !(r->document = json_object())) {
    free(r);
    r = NULL;
  }
  if (!r) {
    complain_memory();
    return NULL;
  }
  r->json = json;
  scols_init_debug(0);
  return r;
}

report *report_new_line(void) {
  report *r = report_new(true);
  if (r) r->line = true;
  return r;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *json_text(const char *text) {
  size_t length = strlen(text);
  if (text_is_clean(text, length)) return json_string(text);
  char escaped[TEXT_ESCAPED_SIZE];
  return json_string(text_escape(text, length, escaped, sizeof escaped));
}

static json_t *json_of(cell_kind kind, cell c) {
  char time[TEXT_SIZE];
  if (c.none) return json_null();
  switch (kind) {
  case CELL_TEXT:
  case CELL_PROSE: return json_text(c.text);
  case CELL_HASH: return strcmp(c.text, "-") == 0 ? json_null() : json_string(c.text);
  case CELL_TIME: return c.number ? json_string(text_time(c.number, time)) : json_null();
  case CELL_FLAG: return json_boolean(c.number);
  case CELL_REAL: return json_real(c.real);
  default: return json_integer((json_int_t)c.number);
  }
}

/* ---- text ------------------------------------------------------------------------------------ */

static const char *heading(const char *key, bool capitals, char to[TEXT_SIZE]) {
  size_t i = 0;
  for (; key[i] && i + 1 < TEXT_SIZE; i++)
    to[i] = key[i] == '_' ? ' ' : capitals ? (char)toupper((unsigned char)key[i]) : key[i];
  to[i] = 0;
  return to;
}

static const char *text_of(cell_kind kind, cell c, char to[TEXT_ESCAPED_SIZE]) {
  if (c.none) return "-";
  switch (kind) {
  case CELL_TEXT:
  case CELL_PROSE: return c.text; /* libsmartcols escapes what is not printable */
  case CELL_HASH:
    snprintf(to, TEXT_ESCAPED_SIZE, "%.*s", text_terminal() ? HASH_SHORT : 64, c.text);
    return to;
  case CELL_TIME: return text_time(c.number, to);
  case CELL_BYTES: return text_bytes(c.number, to);
  case CELL_FLAG: return c.number ? "yes" : "no";
  case CELL_REAL: snprintf(to, TEXT_ESCAPED_SIZE, "%.2f", c.real); return to;
  default: snprintf(to, TEXT_ESCAPED_SIZE, "%" PRIu64, c.number); return to;
  }
}

static void close_table(report *r) {
  if (!r->table) return;
  if (scols_table_get_nlines(r->table) > 0) {
    if (r->printed) putchar('\n');
    if (scols_print_table(r->table) != 0) r->failed = true;
    r->printed = true;
  }
  scols_unref_table(r->table);
  r->table = NULL;
}

static void open_table(report *r, bool facts) {
  close_table(r);
  r->table = scols_new_table();
  if (!r->table) {
    r->failed = true;
    return;
  }
  r->table_is_facts = facts;
  scols_table_enable_noheadings(r->table, facts);
  scols_table_enable_colors(r->table, text_colour());
}

static void add_column(report *r, const char *title, cell_kind kind) {
  bool right = kind == CELL_NUMBER || kind == CELL_BYTES || kind == CELL_REAL;
  int flags = right ? SCOLS_FL_RIGHT : kind == CELL_PROSE ? SCOLS_FL_WRAP : 0;
  struct libscols_column *c = r->table ? scols_table_new_column(r->table, title, 0, flags) : NULL;
  if (!c) r->failed = true;
  else if (text_colour()) scols_cell_set_color(scols_column_get_header(c), "\033[1m");
}

static struct libscols_line *add_line(report *r) {
  struct libscols_line *line = r->table ? scols_table_new_line(r->table, NULL) : NULL;
  if (!line) r->failed = true;
  return line;
}

static void set(report *r, struct libscols_line *line, unsigned at, const char *text) {
  if (line && scols_line_set_data(line, at, text) != 0) r->failed = true;
}

/* ---- both ------------------------------------------------------------------------------------ */

void report_fact(report *r, column what, cell value) {
  if (r->json) {
    if (json_object_set_new(r->document, what.key, json_of(what.kind, value)) != 0)
      r->failed = true;
    return;
  }
  if (!r->table || !r->table_is_facts) {
    open_table(r, true);
    add_column(r, "what", CELL_TEXT);
    add_column(r, "value", CELL_PROSE);
  }
  char label[TEXT_SIZE], text[TEXT_ESCAPED_SIZE];
  struct libscols_line *line = add_line(r);
  set(r, line, 0, heading(what.key, false, label));
  set(r, line, 1, text_of(what.kind, value, text));
}

void report_sheet(report *r, const char *key, const column *columns, unsigned count) {
  r->columns = columns;
  r->count = count;
  if (r->json) {
    r->rows = json_array();
    if (json_object_set_new(r->document, key, r->rows) != 0) r->failed = true;
    return;
  }
  open_table(r, false);
  for (unsigned i = 0; i < count; i++) {
    char title[TEXT_SIZE];
    add_column(r, heading(columns[i].key, true, title), columns[i].kind);
  }
}

void report_row(report *r, const cell *cells) {
  if (r->failed) return;
  if (r->json) {
    json_t *row = json_object();
    for (unsigned i = 0; i < r->count; i++)
      if (json_object_set_new(row, r->columns[i].key, json_of(r->columns[i].kind, cells[i])) != 0)
        r->failed = true;
    if (json_array_append_new(r->rows, row) != 0) r->failed = true;
    return;
  }
  struct libscols_line *line = add_line(r);
  for (unsigned i = 0; i < r->count; i++) {
    char text[TEXT_ESCAPED_SIZE];
    set(r, line, i, text_of(r->columns[i].kind, cells[i], text));
  }
}

int report_finish(report *r, int code) {
  if (r->json && !r->failed) {
    size_t layout = (r->line ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(6);
    if (json_dumpf(r->document, stdout, layout) != 0 && !ferror(stdout)) r->failed = true;
    putchar('\n');
  }
  if (!r->failed) close_table(r);
  if (r->failed) code = complain_memory();
  if (r->table) scols_unref_table(r->table);
  json_decref(r->document);
  free(r);
  return code;
}
