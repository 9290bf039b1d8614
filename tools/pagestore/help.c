/* help.c - help and version, out of the table of commands. */
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

static void list_commands(void) {
  printf("usage: pagestore COMMAND [OPTION...] OPERAND...\n\n"
         "Looks into stores of durable WebAssembly memories, moves and changes them.\n\nCommands:\n");
  for (const command *c = commands; c->name; c++) {
    char words[64];
    snprintf(words, sizeof words, "%s %s", c->name, c->operands);
    if (strlen(words) > 32) printf("  %s\n  %-32s %s\n", words, "", c->summary);
    else printf("  %-32s %s\n", words, c->summary);
  }
  printf(
      "\n`pagestore help COMMAND` tells more. -- ends the options: names may begin with a dash.\n"
      "NO_COLOR in the environment turns colours off.\n%s",
      exit_codes);
}

int command_help(const invocation *v) {
  if (v->operands == 0) {
    list_commands();
    return EXIT_OK;
  }
  const command *c = command_find(v->operand[0]);
  if (!c) return complain_usage(NULL, "'%s' is no command", v->operand[0]);
  help_usage(c);
  return EXIT_OK;
}

int command_version(const invocation *v) {
  (void)v;
  printf("pagestore %s\n", pagestore_version());
  return EXIT_OK;
}
