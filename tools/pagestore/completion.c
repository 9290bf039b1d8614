/* completion.c - what a shell needs to complete our words, out of the table of commands.
 *
 * Commands and options are completed; operands are files.
 */
#include <stdio.h>
#include <string.h>

#include "complain.h"

static void print_options(const command *c) {
  for (const option *o = c->options; o->name; o++) printf("--%s%s", o->name, o[1].name ? " " : "");
}

static void print_bash(void) {
  printf("# bash completion for pagestore; made by `pagestore completion bash`\n"
         "_pagestore() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} words\n"
         "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
         "    words='");
  for (const command *c = commands; c->name; c++) printf("%s%s", c == commands ? "" : " ", c->name);
  printf("'\n"
         "  else case ${COMP_WORDS[1]} in\n");
  for (const command *c = commands; c->name; c++) {
    printf("    %s) words='", c->name);
    print_options(c);
    printf("' ;;\n");
  }
  printf("  esac; fi\n"
         "  case $COMP_CWORD:$word in\n"
         "    1:* | *:-*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n"
         "    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -o filenames -F _pagestore pagestore\n");
}

/* Inside single quotes and brackets, where a colon divides. */
static void print_zsh_text(const char *text) {
  for (; *text; text++) {
    if (*text == '\'') printf("'\\'");
    if (strchr("[]:", *text)) putchar('\\');
    putchar(*text);
  }
}

static void print_zsh(void) {
  printf("#compdef pagestore\n"
         "# zsh completion for pagestore; made by `pagestore completion zsh`\n"
         "_pagestore() {\n"
         "  local -a commands\n"
         "  commands=(\n");
  for (const command *c = commands; c->name; c++) {
    printf("    '%s:", c->name);
    print_zsh_text(c->summary);
    printf("'\n");
  }
  printf("  )\n"
         "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
         "  case $words[2] in\n");
  for (const command *c = commands; c->name; c++) {
    printf("    %s) _arguments", c->name);
    for (const option *o = c->options; o->name; o++) {
      printf(" '(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter, o->argument ? "+" : "", o->name,
             o->argument ? "=" : "");
      print_zsh_text(o->help);
      printf("]%s%s'", o->argument ? ":" : "", o->argument ? o->argument : "");
    }
    printf(" '*:file:_files' ;;\n");
  }
  printf("  esac\n"
         "}\n"
         "_pagestore \"$@\"\n");
}

int command_completion(const invocation *v) {
  if (strcmp(v->operand[0], "bash") == 0) print_bash();
  else if (strcmp(v->operand[0], "zsh") == 0) print_zsh();
  else return complain_usage(v->command, "'%s' is neither bash nor zsh", v->operand[0]);
  return EXIT_OK;
}
