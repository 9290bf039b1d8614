/* check_report.c - see check_report.h. */
#include "check_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "complain.h"
#include "text.h"

static cell of_none(void) { return (cell){.none = true}; }
static cell of_maybe(bool given, uint64_t number) { return given ? of_number(number) : of_none(); }

static void print_name(const char *word, const char *name) {
  char escaped[TEXT_ESCAPED_SIZE];
  if (name[0]) printf(" %s '%s',", word, text_escape(name, strlen(name), escaped, sizeof escaped));
}

void check_print_finding(const finding *f) {
  printf("%s:", f->level == FINDING_DAMAGE ? "damage" : "note");
  print_name("instance", f->instance);
  print_name("memory", f->memory);
  if (f->has_page) printf(" page %" PRIu64 ",", f->page);
  if (f->has_version) printf(" version %" PRIu64 ",", f->version);
  putchar(' ');
  text_print(stdout, f->text);
  if (f->lmdb_page != LMDB_NO_PAGE) printf(" (LMDB page %" PRIu64 ", offset %" PRIu64 ")", f->lmdb_page, f->offset);
  printf("; next: %s\n", f->next);
}

static void print_counts(const audit *a) {
  size_t snapshots = 0;
  for (size_t i = 0; i < a->kept.states.count; i++) snapshots += a->kept.states.at[i].snapshot[0] != 0;
  printf("%zu instances, %zu snapshots, %" PRIu64 " pages, ", a->kept.states.count - snapshots, snapshots,
         a->pages_checked);
  if (a->log_checked) printf("%" PRIu64 " records of the log, ", a->log_checked);
  printf("%s", a->deep ? "every block against its checksum" : "headers only: --deep reads the blocks");
}

static void print_text(const invocation *v, const audit *a) {
  char escaped[TEXT_ESCAPED_SIZE];
  printf("%s: ", text_escape(v->operand[0], strlen(v->operand[0]), escaped, sizeof escaped));
  if (a->found.damages) printf("DAMAGED: %" PRIu64 " findings, %" PRIu64 " notes\n", a->found.damages, a->found.notes);
  else {
    printf("clean: ");
    print_counts(a);
    if (a->found.notes) printf("; %" PRIu64 " notes", a->found.notes);
    putchar('\n');
  }
  for (size_t i = 0; i < a->found.count; i++) check_print_finding(&a->found.at[i]);
  uint64_t more = a->found.damages + a->found.notes - a->found.count;
  if (more) printf("and %" PRIu64 " more findings\n", more);
  if (a->explain == NO_OFFSET) return;
  printf("offset %" PRIu64 ": ", a->explain);
  text_print(stdout, a->explained[0] ? a->explained : "no meta page is usable, so nobody knows");
  putchar('\n');
}

static const column finding_columns[] = {
    {"level", CELL_TEXT},    {"instance", CELL_TEXT},  {"memory", CELL_TEXT},
    {"page", CELL_NUMBER},   {"version", CELL_NUMBER}, {"lmdb_page", CELL_NUMBER},
    {"offset", CELL_NUMBER}, {"text", CELL_TEXT},      {"next", CELL_TEXT},
};

static void add_finding(report *r, const finding *f) {
  bool placed = f->lmdb_page != LMDB_NO_PAGE;
  report_row(r, (cell[]){
                    of_text(f->level == FINDING_DAMAGE ? "damage" : "note"),
                    of_text(f->instance[0] ? f->instance : NULL),
                    of_text(f->memory[0] ? f->memory : NULL),
                    of_maybe(f->has_page, f->page),
                    of_maybe(f->has_version, f->version),
                    of_maybe(placed, f->lmdb_page),
                    of_maybe(placed, f->offset),
                    of_text(f->text),
                    of_text(f->next),
                });
}

void check_report_findings(report *r, const findings *f) {
  report_sheet(r, "findings", finding_columns, sizeof finding_columns / sizeof *finding_columns);
  for (size_t i = 0; i < f->count; i++) add_finding(r, &f->at[i]);
}

static int print_json(const invocation *v, const audit *a, const walker_metas *m, int code) {
  report *r = report_new(true);
  if (!r) return EXIT_FAILED;
  size_t snapshots = 0;
  for (size_t i = 0; i < a->kept.states.count; i++) snapshots += a->kept.states.at[i].snapshot[0] != 0;
  report_fact(r, (column){"store", CELL_TEXT}, of_text(v->operand[0]));
  report_fact(r, (column){"verdict", CELL_TEXT}, of_text(a->found.damages ? "damaged" : "clean"));
  report_fact(r, (column){"damages", CELL_NUMBER}, of_number(a->found.damages));
  report_fact(r, (column){"notes", CELL_NUMBER}, of_number(a->found.notes));
  report_fact(r, (column){"deep", CELL_FLAG}, of_number(a->deep));
  report_fact(r, (column){"transaction", CELL_NUMBER}, of_number(m->meta[a->meta].txn_id));
  report_fact(r, (column){"file_bytes", CELL_NUMBER}, of_number(m->file_bytes));
  report_fact(r, (column){"lmdb_pages_used", CELL_NUMBER}, of_number(a->summary.pages_reachable));
  report_fact(r, (column){"lmdb_pages_free", CELL_NUMBER}, of_number(a->summary.pages_free));
  report_fact(r, (column){"lmdb_pages_lost", CELL_NUMBER}, of_number(a->lost_pages));
  report_fact(r, (column){"instances", CELL_NUMBER}, of_number(a->kept.states.count - snapshots));
  report_fact(r, (column){"snapshots", CELL_NUMBER}, of_number(snapshots));
  report_fact(r, (column){"pages", CELL_NUMBER}, of_number(a->pages_checked));
  report_fact(r, (column){"log_records", CELL_NUMBER}, of_number(a->log_checked));
  if (a->explain != NO_OFFSET) report_fact(r, (column){"explained", CELL_TEXT}, of_text(a->explained));
  check_report_findings(r, &a->found);
  return report_finish(r, code);
}

int check_print(const invocation *v, const audit *a, const walker_metas *m) {
  int code = a->found.damages ? EXIT_FOUND : EXIT_OK;
  if (option_given(v, "json")) return print_json(v, a, m, code);
  print_text(v, a);
  return code;
}
