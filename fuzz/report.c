/* report.c - the fault matrix and how often each row was tried: the table of the file that PAGESTORE_FAULT_ROWS named.
 *
 *   report [FILE]        FILE: build/log/fault-rows.txt, written by the last tests/run
 *
 * A line of the file is "ROW count program". Rows are those of tests/fault_rows.h; a row that nothing has tried says why. The last
 * line sums up. Ends with 1 if the file cannot be read or has a line that is none, else with 0.
 */
#include <stdbool.h>
#include <string.h>

#include "../tests/fault_rows.h"

enum { PROGRAMS_MAX = 24, LINE_BYTES_MAX = 256 };

typedef struct {
  uint64_t count;
  unsigned program_count;
  char programs[PROGRAMS_MAX][64];
} tally;
static tally tallies[FAULT_ROW_COUNT];

static int row_of(const char *name) {
  int row = 0;
  while (row < FAULT_ROW_COUNT && strcmp(fault_row_texts[row].name, name) != 0) row++;
  return row;
}

static void add(tally *t, uint64_t count, const char *program) {
  t->count += count;
  for (unsigned i = 0; i < t->program_count; i++)
    if (strcmp(t->programs[i], program) == 0) return;
  if (t->program_count == PROGRAMS_MAX) return;
  snprintf(t->programs[t->program_count++], sizeof t->programs[0], "%s", program);
}

static bool read_counts(FILE *in, const char *path) {
  char line[LINE_BYTES_MAX], name[64], program[64];
  unsigned long long count;
  for (unsigned number = 1; fgets(line, sizeof line, in); number++) {
    int row = FAULT_ROW_COUNT;
    if (sscanf(line, "%63s %llu %63s", name, &count, program) == 3) row = row_of(name);
    if (row == FAULT_ROW_COUNT) {
      fprintf(stderr, "%s:%u: not \"ROW count program\" of a known row: run tests/run again\n", path, number);
      return false;
    }
    add(&tallies[row], count, program);
  }
  return true;
}

static void print_row(const fault_row_text *text, const tally *t) {
  printf("%8llu  %-66s  %s\n          ", (unsigned long long)t->count, text->fault, text->must);
  for (unsigned i = 0; i < t->program_count; i++) printf("%s ", t->programs[i]);
  if (t->count == 0) printf(*text->why_not ? "not tried in this run: %s" : "not tried in this run", text->why_not);
  printf("\n");
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "build/log/fault-rows.txt";
  if (argc > 2 || *path == '-') return fprintf(stderr, "usage: report [FILE]\n"), 2;
  FILE *in = fopen(path, "r");
  if (!in) return fprintf(stderr, "%s: %s: run tests/run first\n", path, strerror(errno)), 1;
  bool good = read_counts(in, path);
  fclose(in);
  if (!good) return 1;
  uint64_t faults = 0;
  unsigned tried = 0;
  printf("   tried  %-66s  what must happen\n", "fault");
  for (int row = 0; row < FAULT_ROW_COUNT; row++) {
    print_row(&fault_row_texts[row], &tallies[row]);
    faults += tallies[row].count;
    tried += tallies[row].count > 0;
  }
  printf("fault matrix: %u of %d rows tried, %llu faults\n", tried, (int)FAULT_ROW_COUNT, (unsigned long long)faults);
  return 0;
}
