/* wasm_inspect.c - `pagestore wasm inspect`: what a module is made of, as a report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "report.h"
#include "text.h"
#include "wasm_command.h"

static cell of_flag(bool flag) { return (cell){.number = flag}; }
static cell of_max(const pagestore_wasm_limits *l) { return (cell){.number = l->max, .none = !l->has_max}; }

/* A copy with an end, shortened to what a line takes. */
static const char *text_of(pagestore_wasm_name name, char to[TEXT_ESCAPED_SIZE]) {
  size_t length = name.bytes < 255 ? name.bytes : 255;
  return text_escape(name.at, length, to, TEXT_ESCAPED_SIZE);
}

static const char *type_name(uint8_t type) {
  switch (type) {
  case 0x7f: return "i32";
  case 0x7e: return "i64";
  case 0x7d: return "f32";
  case 0x7c: return "f64";
  case 0x7b: return "v128";
  case 0x70: return "funcref";
  case 0x6f: return "externref";
  default: return "reference";
  }
}

static void add_types(const pagestore_module *m, uint64_t at, uint64_t end, char *to, size_t room) {
  size_t length = strlen(to);
  const char *gap = "";
  for (; at < end && length < room; at++, gap = " ")
    length += (size_t)snprintf(to + length, room - length, "%s%s", gap, type_name(m->bytes[at]));
}

static const char *signature(const pagestore_module *m, uint32_t function, char *to, size_t room) {
  const pagestore_wasm_type *t = &m->types.list[m->functions.list[function]];
  snprintf(to, room, "(");
  add_types(m, t->params_at, t->params_end, to, room);
  size_t length = strlen(to);
  snprintf(to + length, room - length, ") -> (");
  add_types(m, t->results_at, t->results_end, to, room);
  length = strlen(to);
  snprintf(to + length, room - length, ")");
  return to;
}

/* ---- sheets ---------------------------------------------------------------------------------- */

static void show_facts(report *r, const pagestore_module *m) {
  uint8_t *copy;
  size_t size;
  int status = pagestore_module_native(m, NULL, &copy, &size);
  report_fact(r, (column){"bytes", CELL_BYTES}, of_number(m->size));
  report_fact(r, (column){"types", CELL_NUMBER}, of_number(m->types.count));
  report_fact(r, (column){"functions", CELL_NUMBER}, of_number(m->functions.count));
  report_fact(r, (column){"imported_functions", CELL_NUMBER}, of_number(m->imported_functions));
  report_fact(r, (column){"element_segments", CELL_NUMBER}, of_number(m->element_segments));
  report_fact(r, (column){"start", CELL_NUMBER}, (cell){.number = m->start, .none = !m->has_start});
  report_fact(r, (column){"data_count", CELL_NUMBER}, (cell){.number = m->data_count, .none = !m->has_data_count});
  report_fact(r, (column){"native", CELL_FLAG}, of_flag(status == 0));
  if (status) report_fact(r, (column){"native_reason", CELL_TEXT}, of_text(pagestore_detail()));
  else free(copy);
}

static void show_memories(report *r, const pagestore_module *m) {
  static const column columns[] = {{"index", CELL_NUMBER}, {"imported", CELL_FLAG},    {"index_bits", CELL_NUMBER},
                                   {"pages", CELL_NUMBER}, {"max_pages", CELL_NUMBER}, {"shared", CELL_FLAG}};
  report_sheet(r, "memories", columns, 6);
  for (uint32_t i = 0; i < m->memories.count; i++) {
    const pagestore_wasm_memory *memory = &m->memories.list[i];
    const pagestore_wasm_limits *l = &memory->limits;
    report_row(r, (cell[]){of_number(i), of_flag(memory->imported), of_number(l->is64 ? 64 : 32), of_number(l->min),
                           of_max(l), of_flag(l->shared)});
  }
}

static void show_ic0(report *r, const pagestore_module *m) {
  static const column columns[] = {{"name", CELL_TEXT}, {"type", CELL_TEXT}, {"at", CELL_NUMBER}};
  report_sheet(r, "ic0", columns, 3);
  for (uint32_t i = 0; i < m->imports.count; i++) {
    const pagestore_wasm_import *import = &m->imports.list[i];
    char name[TEXT_ESCAPED_SIZE], type[256];
    if (import->module.bytes != 3 || memcmp(import->module.at, "ic0", 3) != 0) continue;
    bool function = import->kind == PAGESTORE_WASM_FUNCTION;
    report_row(r, (cell[]){of_text(text_of(import->name, name)),
                           of_text(function ? signature(m, import->index, type, sizeof type) : NULL),
                           of_number(import->at)});
  }
}

static void show_data(report *r, const pagestore_module *m) {
  static const column columns[] = {{"index", CELL_NUMBER},
                                   {"active", CELL_FLAG},
                                   {"bytes", CELL_NUMBER},
                                   {"at", CELL_NUMBER}};
  report_sheet(r, "data", columns, 4);
  for (uint32_t i = 0; i < m->data.count; i++) {
    const pagestore_wasm_data *d = &m->data.list[i];
    report_row(r, (cell[]){of_number(i), of_flag(d->active), of_number(d->bytes_end - d->bytes_at), of_number(d->at)});
  }
}

static const char *exported_as(const pagestore_module *m, uint32_t global, char to[TEXT_ESCAPED_SIZE]) {
  for (uint32_t i = 0; i < m->exports.count; i++) {
    const pagestore_wasm_export *e = &m->exports.list[i];
    if (e->kind == PAGESTORE_WASM_GLOBAL && e->index == global) return text_of(e->name, to);
  }
  return NULL;
}

/* Mutable ones, and those that are exported: the others are part of the code. */
static void show_globals(report *r, const pagestore_module *m) {
  static const column columns[] = {{"index", CELL_NUMBER},
                                   {"type", CELL_TEXT},
                                   {"mutable", CELL_FLAG},
                                   {"imported", CELL_FLAG},
                                   {"exported", CELL_TEXT}};
  report_sheet(r, "globals", columns, 5);
  for (uint32_t i = 0; i < m->globals.count; i++) {
    const pagestore_wasm_global *g = &m->globals.list[i];
    char name[TEXT_ESCAPED_SIZE];
    const char *exported = exported_as(m, i, name);
    if (g->is_mutable || exported)
      report_row(r, (cell[]){of_number(i), of_text(type_name(g->type)), of_flag(g->is_mutable), of_flag(g->imported),
                             of_text(exported)});
  }
}

static void show_tables(report *r, const pagestore_module *m) {
  static const column columns[] = {{"index", CELL_NUMBER},    {"type", CELL_TEXT},
                                   {"imported", CELL_FLAG},   {"index_bits", CELL_NUMBER},
                                   {"elements", CELL_NUMBER}, {"max_elements", CELL_NUMBER}};
  report_sheet(r, "tables", columns, 6);
  for (uint32_t i = 0; i < m->tables.count; i++) {
    const pagestore_wasm_table *t = &m->tables.list[i];
    report_row(r, (cell[]){of_number(i), of_text(type_name(t->type)), of_flag(t->imported),
                           of_number(t->limits.is64 ? 64 : 32), of_number(t->limits.min), of_max(&t->limits)});
  }
}

static void show_sections(report *r, const pagestore_module *m) {
  static const char *const names[] = {"custom", "type",  "import",  "function", "table", "memory",     "global",
                                      "export", "start", "element", "code",     "data",  "data count", "tag"};
  static const column columns[] = {{"section", CELL_TEXT},
                                   {"name", CELL_TEXT},
                                   {"at", CELL_NUMBER},
                                   {"bytes", CELL_NUMBER}};
  report_sheet(r, "sections", columns, 4);
  for (uint32_t i = 0; i < m->sections.count; i++) {
    const pagestore_wasm_section *s = &m->sections.list[i];
    char name[TEXT_ESCAPED_SIZE];
    report_row(r, (cell[]){of_text(names[s->id]), of_text(s->id ? NULL : text_of(s->custom_name, name)),
                           of_number(s->at), of_number(s->end - s->body)});
  }
}

int wasm_inspect(const invocation *v, const pagestore_module *m) {
  report *r = report_new(option_given(v, "json"));
  if (!r) return EXIT_FAILED;
  show_facts(r, m);
  show_memories(r, m);
  show_ic0(r, m);
  show_data(r, m);
  show_globals(r, m);
  show_tables(r, m);
  show_sections(r, m);
  return report_finish(r, EXIT_OK);
}
