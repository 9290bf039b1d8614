/* report.h - what a command found, as tables or as one JSON document.
 *
 * A report is a row of facts and sheets. As text, facts are two columns and each sheet a table, in
 * the order in which they came; as JSON it is one object: facts are its members, sheets are arrays
 * of objects. Keys are JSON's names, with the unit last; text makes its headings of them.
 *
 * Invariant: what is not printable is escaped in text, and in JSON what is not clean UTF-8; a
 * failure for want of memory is kept until the finish.
 * Thread:    the program's.
 */
#ifndef PROGRAM_REPORT_H
#define PROGRAM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct report report;

typedef enum { CELL_TEXT, CELL_NUMBER, CELL_BYTES, CELL_TIME, CELL_HASH, CELL_FLAG, CELL_REAL, CELL_PROSE } cell_kind;
typedef struct {
  const char *key;
  cell_kind kind;
} column;
/* text for TEXT, PROSE (goes on in the next line where a terminal is too narrow) and HASH (hex), real for REAL, number for the others; none: "-", in JSON null. */
typedef struct {
  const char *text;
  uint64_t number;
  double real;
  bool none;
} cell;

report *report_new(bool json); /* NULL: complained */
report *report_new_line(void); /* JSON of one line, for a stream of documents. NULL: complained */
void report_fact(report *, column, cell);
void report_sheet(report *, const char *key, const column *,
                  unsigned count);            /* rows go into it until the next one, or a fact */
void report_row(report *, const cell *cells); /* one per column */
int report_finish(report *, int code);        /* prints the rest, frees. `code`, or EXIT_FAILED */

static inline cell of_text(const char *text) { return (cell){.text = text, .none = !text}; }
static inline cell of_number(uint64_t number) { return (cell){.number = number}; }

#endif
