/* completion.c - what a shell needs to complete our words, out of the table of commands.
 *
 * Commands and options are completed, and operands by what usage calls them: words as they are, instances and snapshots
 * by asking the program, all else as files.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "complain.h"

/* The next operand's name, without brackets; NULL: no more. "a X | b Y", two ways to go on, is taken as "a|b X". */
static const char *next_operand(const char **at, char name[80]) {
  size_t used = 0;
  *at += strspn(*at, " []");
  if (!**at || **at == '|') return NULL;
  while (**at && !strchr(" []", **at) && used + 1 < 80) name[used++] = *(*at)++;
  const char *other = strstr(*at, " | ");
  if (islower((unsigned char)name[0]) && other) {
    size_t length = strcspn(other + 3, " ");
    used += (size_t)snprintf(name + used, 80 - used, "|%.*s", (int)length, other + 3);
  }
  name[used < 79 ? used : 79] = 0;
  return name;
}

/* ---- bash ------------------------------------------------------------------------------------ */

static void print_options(const command *c) {
  for (const option *o = c->options; o->name; o++) printf("--%s%s", o->name, o[1].name ? " " : "");
}

static void print_operands(const command *c) {
  char name[80];
  for (const char *at = c->operands; next_operand(&at, name);) printf("%s ", name);
}

/* Of options whose argument is a word of its own. */
static void print_takers(const command *c) {
  for (const option *o = c->options; o->name; o++)
    if (o->argument) printf("--%s -%c ", o->name, o->letter);
}

static const char bash_end[] =
    "  *) return ;;\n"
    "  esac\n"
    "  # which operand this is: words before it that are neither options nor arguments of such\n"
    "  local i given=0 store='' instance='' kind\n"
    "  local -a kinds=($operands)\n"
    "  for ((i = 2; i < COMP_CWORD; i++)); do\n"
    "    case ${COMP_WORDS[i]} in\n"
    "      --?*=*) continue ;;\n"
    "      -?*) case \" $takers \" in *\" ${COMP_WORDS[i]} \"*) i=$((i + 1)) ;; esac; continue ;;\n"
    "    esac\n"
    "    case ${kinds[given]} in STORE) store=${COMP_WORDS[i]} ;; INSTANCE) instance=${COMP_WORDS[i]} ;; esac\n"
    "    given=$((given + 1))\n"
    "  done\n"
    "  kind=${kinds[given]}\n"
    "  case $word in -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")); return ;; esac\n"
    "  local IFS=$'\\n'\n"
    "  case $kind in\n"
    "    '') case $operands in *...*) ;; *) return ;; esac; COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
    "    *'|'*) words=${kind//|/$'\\n'} ;;\n"
    "    COMMAND) words=${commands// /$'\\n'} ;;\n"
    "    INSTANCE) words=$(pagestore ls --names -- \"$store\" 2> /dev/null) ;;\n"
    "    SNAPSHOT | FROM | TO) words=$(pagestore snapshot list --names -- \"$store\" \"$instance\" 2> /dev/null) ;;\n"
    "    STORE) COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
    "    *) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
    "  esac\n"
    "  compopt +o filenames 2> /dev/null\n"
    "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
    "}\n"
    "complete -o filenames -F _pagestore pagestore\n";

static void print_bash(void) {
  printf("# bash completion for pagestore; made by `pagestore completion bash`\n"
         "_pagestore() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} words options operands takers\n"
         "  local commands='");
  for (const command *c = commands; c->name; c++) printf("%s%s", c == commands ? "" : " ", c->name);
  printf("'\n"
         "  if [ \"$COMP_CWORD\" = 1 ]; then COMPREPLY=($(compgen -W \"$commands\" -- \"$word\")); return; fi\n"
         "  case ${COMP_WORDS[1]} in\n");
  for (const command *c = commands; c->name; c++) {
    printf("  %s) options='", c->name);
    print_options(c);
    printf("' operands='");
    print_operands(c);
    printf("' takers='");
    print_takers(c);
    printf("' ;;\n");
  }
  fputs(bash_end, stdout);
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Inside single quotes and brackets, where a colon divides. */
static void print_zsh_text(const char *text) {
  for (; *text; text++) {
    if (*text == '\'') printf("'\\'");
    if (strchr("[]:", *text)) putchar('\\');
    putchar(*text);
  }
}

/* Operands by place, behind the program and the command. */
static void print_zsh_operands(const command *c) {
  char name[80];
  unsigned place = 2;
  for (const char *at = c->operands; next_operand(&at, name); place++) {
    if (strchr(name, '|')) {
      for (char *bar = name; (bar = strchr(bar, '|')) != NULL;) *bar = ' ';
      printf(" '%u:word:(%s)'", place, name);
    } else if (strcmp(name, "STORE") == 0) printf(" '%u:store:_files -/'", place);
    else if (strcmp(name, "INSTANCE") == 0) printf(" '%u:instance:_pagestore_instances'", place);
    else if (strcmp(name, "SNAPSHOT") == 0 || strcmp(name, "FROM") == 0 || strcmp(name, "TO") == 0)
      printf(" '%u:snapshot:_pagestore_snapshots'", place);
    else if (strcmp(name, "COMMAND") == 0) printf(" '%u:command:(($commands))'", place);
  }
}

/* The store is the first word that is a directory, the instance the one behind it. */
static const char zsh_begin[] =
    "#compdef pagestore\n"
    "# zsh completion for pagestore; made by `pagestore completion zsh`\n"
    "_pagestore_place() { for (( place = 3; place < CURRENT; place++ )); do [[ -d $words[place] ]] && return; done; }\n"
    "_pagestore_instances() {\n"
    "  local place; local -a names; _pagestore_place\n"
    "  names=(${(f)\"$(pagestore ls --names -- $words[place] 2> /dev/null)\"}); compadd -a names\n"
    "}\n"
    "_pagestore_snapshots() {\n"
    "  local place; local -a names; _pagestore_place\n"
    "  names=(${(f)\"$(pagestore snapshot list --names -- $words[place] $words[place+1] 2> /dev/null)\"})\n"
    "  compadd -a names\n"
    "}\n";

static void print_zsh(void) {
  fputs(zsh_begin, stdout);
  printf("_pagestore() {\n"
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
    print_zsh_operands(c);
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
