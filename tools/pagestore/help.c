/* help.c - help and version, out of the table of commands. */
#include <limits.h>
#include <pagestore.h>
#include <stdio.h>
#include <string.h>

#include "complain.h"

static const char exit_codes[] =
    "Exit codes: 0 done; 1 differences or damage found; 2 wrong usage; 3 could not be done.\n";

void help_usage(const command *c) {
  printf("usage: pagestore %s%s%s%s\n\n%s\n", c->name, c->operands[0] ? " " : "", c->operands,
         c->options[0].name ? " [OPTION...]" : "", c->summary);
  if (c->text[0]) printf("\n%s", c->text);
  printf("\nOptions:\n");
  for (const option *o = c->options; o->name; o++) {
    char words[64];
    snprintf(words, sizeof words, "-%c, --%s%s%s", o->letter, o->name, o->argument ? " " : "",
             o->argument ? o->argument : "");
    printf("  %-20s %s\n", words, o->help);
  }
  printf("\n%s", exit_codes);
}

/* ---- a manual page, in scdoc's language ------------------------------------------------------- */

/* What scdoc takes for markup: `_`, `*`, backslashes, and `#`, `-`, `.` and such where a line begins. */
static void print_scdoc(const char *text, size_t length) {
  for (const char *at = text; at < text + length; at++) {
    if (strchr("_*\\<>|[]~.#", *at) || (*at == '-' && (at == text || at[-1] == '\n'))) putchar('\\');
    putchar(*at);
  }
}

static void print_scdoc_text(const char *text) { print_scdoc(text, strlen(text)); }

void help_manual(const command *c) {
  printf("pagestore-%s(1)\n\n# NAME\n\npagestore-%s - ", c->name, c->name);
  print_scdoc_text(c->summary);
  printf("\n\n# SYNOPSIS\n\n*pagestore %s* \\[OPTION...\\] ", c->name);
  print_scdoc_text(c->operands);
  printf("\n\n# DESCRIPTION\n\n");
  if (strstr(c->text, "\n  ")) printf("```\n%s```", c->text); /* laid out by hand */
  else print_scdoc_text(c->text[0] ? c->text : c->summary);
  printf("\n\n# OPTIONS\n\n");
  for (const option *o = c->options; o->name; o++) {
    printf("*-%c*, *--%s*%s%s\n\t", o->letter, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
    print_scdoc_text(o->help);
    printf("\n\n");
  }
  printf("*--* ends the options.\n\n# EXIT STATUS\n\n*0*\n\tdone\n\n*1*\n\tdifferences or damage found, or advice "
         "given\n\n"
         "*2*\n\twrong usage, or not confirmed\n\n*3*\n\tcould not be done; stderr says why and what to do next\n\n"
         "# SEE ALSO\n\n*pagestore*(1), *pagestore*(3), *pagestore-format*(5)\n");
}

/* ---- no such command --------------------------------------------------------------------------- */

/* How many letters must be put in, left out, exchanged, or changed with their neighbour, to make one of the other. */
static unsigned distance(const char *a, const char *b) {
  enum { WORD_MAX = 31 };
  unsigned row[3][WORD_MAX + 1];
  size_t rows = strlen(a), columns = strlen(b);
  if (rows > WORD_MAX || columns > WORD_MAX) return UINT_MAX;
  for (unsigned j = 0; j <= columns; j++) row[0][j] = j;
  for (unsigned i = 1; i <= rows; i++) {
    unsigned *now = row[i % 3], *above = row[(i + 2) % 3], *two_above = row[(i + 1) % 3];
    now[0] = i;
    for (unsigned j = 1; j <= columns; j++) {
      unsigned least = above[j - 1] + (a[i - 1] != b[j - 1]);
      if (above[j] + 1 < least) least = above[j] + 1;
      if (now[j - 1] + 1 < least) least = now[j - 1] + 1;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && two_above[j - 2] + 1 < least) least = two_above[j - 2] + 1;
      now[j] = least;
    }
  }
  return row[rows % 3][columns];
}

int command_unknown(const char *name) {
  const command *nearest = NULL;
  unsigned least = UINT_MAX;
  for (const command *c = commands; c->name; c++) {
    unsigned d = distance(name, c->name);
    if (d < least) least = d, nearest = c;
  }
  if (nearest && least <= (strlen(nearest->name) > 4 ? 2 : 1))
    return complain_usage(NULL, "'%s' is no command; did you mean '%s'?", name, nearest->name);
  return complain_usage(NULL, "'%s' is no command", name);
}

/* ---- help ------------------------------------------------------------------------------------ */

static void list_commands(void) {
  printf("usage: pagestore COMMAND [OPTION...] OPERAND...\n\n"
         "Looks into stores of durable WebAssembly memories, moves and changes them.\n\nCommands:\n");
  for (const command *c = commands; c->name; c++) {
    char words[64];
    snprintf(words, sizeof words, "%s %s", c->name, c->operands);
    if (strlen(words) > 32) printf("  %s\n  %-32s %s\n", words, "", c->summary);
    else printf("  %-32s %s\n", words, c->summary);
  }
  printf("\n`pagestore help COMMAND` tells more. -- ends the options: names may begin with a dash.\n"
         "NO_COLOR in the environment turns colours off.\n%s",
         exit_codes);
}

static void list_names(void) {
  for (const command *c = commands; c->name; c++) puts(c->name);
}

int command_help(const invocation *v) {
  if (v->operands == 0) {
    if (option_given(v, "manual")) list_names();
    else list_commands();
    return EXIT_OK;
  }
  const command *c = command_find(v->operand[0]);
  if (!c) return command_unknown(v->operand[0]);
  if (option_given(v, "manual")) help_manual(c);
  else help_usage(c);
  return EXIT_OK;
}

int command_version(const invocation *v) {
  (void)v;
  printf("pagestore %s\n", pagestore_version());
  return EXIT_OK;
}
