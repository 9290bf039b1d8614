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

/* Names come out of stores, which may be anybody's: a name is never a word for compgen -W, which would run what is in
 * $(...) of it, and what is inserted is quoted. */
static const char bash_begin[] =
    "# bash completion for pagestore; made by `pagestore completion bash`\n"
    "# plain: the word without quotes and backslashes; nothing of it is expanded but ~/\n"
    "_pagestore_plain() {\n"
    "  local rest=$1 quote='' c\n"
    "  plain=''\n"
    "  case $rest in '~/'*) plain=$HOME rest=${rest:1} ;; esac\n"
    "  while [ -n \"$rest\" ]; do\n"
    "    c=${rest:0:1} rest=${rest:1}\n"
    "    case $quote$c in\n"
    "      '\\' | '\"\\') plain+=${rest:0:1} rest=${rest:1} ;;\n"
    "      \"'\" | '\"') quote=$c ;;\n"
    "      \"''\" | '\"\"') quote='' ;;\n"
    "      *) plain+=$c ;;\n"
    "    esac\n"
    "  done\n"
    "}\n"
    "# Of the names on stdin those that begin as the word does, quoted; behind an open quote the plain ones.\n"
    "_pagestore_offer() {\n"
    "  local name plain\n"
    "  compopt +o filenames 2> /dev/null\n"
    "  _pagestore_plain \"$word\"\n"
    "  while IFS= read -r name; do\n"
    "    [[ $name == \"$plain\"* ]] || continue\n"
    "    case $word in\n"
    "      [\\'\\\"]*) [[ $name != *[\\'\\\"\\\\\\$\\`\\!]* ]] || continue ;;\n"
    "      *) printf -v name %q \"$name\" ;;\n"
    "    esac\n"
    "    COMPREPLY+=(\"$name\")\n"
    "  done\n"
    "}\n"
    "_pagestore() {\n"
    "  # The line editor cuts words at = and :, too. Here they are whole again; glued is what it cut off the last.\n"
    "  local rest=$COMP_LINE part glued='' i\n"
    "  local -a line=()\n"
    "  for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "    part=${COMP_WORDS[i]}\n"
    "    if [[ $i -gt 0 && $rest != [[:blank:]]* ]]; then\n"
    "      glued=${line[-1]}\n"
    "      line[-1]+=$part\n"
    "    else\n"
    "      glued=''\n"
    "      line+=(\"$part\")\n"
    "    fi\n"
    "    rest=${rest#\"${rest%%[![:blank:]]*}\"}\n"
    "    rest=${rest#\"$part\"}\n"
    "  done\n"
    "  local word=${line[-1]}\n"
    "  case $part in = | :) glued=$word ;; esac\n"
    "  _pagestore_words\n"
    "  COMPREPLY=(\"${COMPREPLY[@]#\"$glued\"}\")\n"
    "}\n"
    "_pagestore_words() {\n";

static const char bash_end[] =
    "  *) return ;;\n"
    "  esac\n"
    "  # which operand this is: words before it that are neither options nor arguments of such\n"
    "  local given=0 last=$((${#line[@]} - 1)) store='' instance='' plain kind\n"
    "  local -a kinds=($operands)\n"
    "  for ((i = 2; i < last; i++)); do\n"
    "    case ${line[i]} in\n"
    "      -?*) case \" $takers \" in *\" ${line[i]} \"*) i=$((i + 1)) ;; esac; continue ;;\n"
    "    esac\n"
    "    _pagestore_plain \"${line[i]}\"\n"
    "    case ${kinds[given]} in STORE) store=$plain ;; INSTANCE) instance=$plain ;; esac\n"
    "    given=$((given + 1))\n"
    "  done\n"
    "  kind=${kinds[given]}\n"
    "  if [ \"$i\" -gt \"$last\" ]; then kind=ARGUMENT; fi\n"
    "  case $word in -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\"); return ;; esac\n"
    "  case $kind in\n"
    "    '') case $operands in *...*) ;; *) return ;; esac; mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
    "    *'|'*) _pagestore_offer <<< \"${kind//|/$'\\n'}\" ;;\n"
    "    COMMAND) _pagestore_offer <<< \"${commands// /$'\\n'}\" ;;\n"
    "    INSTANCE) _pagestore_offer < <(pagestore ls --names -- \"$store\" 2> /dev/null) ;;\n"
    "    SNAPSHOT | FROM | TO)\n"
    "      _pagestore_offer < <(pagestore snapshot list --names -- \"$store\" \"$instance\" 2> /dev/null) ;;\n"
    "    STORE) mapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;\n"
    "    *) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
    "  esac\n"
    "}\n"
    "complete -o filenames -F _pagestore pagestore\n";

static void print_bash(void) {
  fputs(bash_begin, stdout);
  printf("  local options operands takers commands='");
  for (const command *c = commands; c->name; c++) printf("%s%s", c == commands ? "" : " ", c->name);
  printf("'\n"
         "  if [ ${#line[@]} = 2 ]; then _pagestore_offer <<< \"${commands// /$'\\n'}\"; return; fi\n"
         "  case ${line[1]} in\n");
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

/* Of an option: words to choose from, a file, or what only the user knows. */
static void print_zsh_argument(const char *name) {
  static const char *const files[] = {"FILE", "OUT", "SHIM"};
  printf(":%s", name);
  if (strchr(name, '|')) {
    printf(":(");
    for (; *name; name++) putchar(*name == '|' ? ' ' : *name);
    putchar(')');
  }
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    if (strcmp(name, files[i]) == 0) printf(":_files");
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
    else if (strstr(name, "...")) printf(" '*:file:_files'");
    else printf(" '%u:file:_files'", place);
  }
}

/* The store is the first word that is a directory, the instance the one behind it. */
static const char zsh_begin[] =
    "#compdef pagestore\n"
    "# zsh completion for pagestore; made by `pagestore completion zsh`\n"
    "_pagestore_operands() {\n"
    "  local place\n"
    "  for (( place = 3; place < CURRENT; place++ )); do\n"
    "    store=${(Q)words[place]} instance=${(Q)words[place+1]}\n"
    "    store=${store/#\\~\\//$HOME/}\n"
    "    [[ -d $store ]] && return\n"
    "  done\n"
    "}\n"
    "_pagestore_instances() {\n"
    "  local store instance; local -a names; _pagestore_operands\n"
    "  names=(${(f)\"$(pagestore ls --names -- $store 2> /dev/null)\"})\n"
    "  compadd -a names\n"
    "}\n"
    "_pagestore_snapshots() {\n"
    "  local store instance; local -a names; _pagestore_operands\n"
    "  names=(${(f)\"$(pagestore snapshot list --names -- $store $instance 2> /dev/null)\"})\n"
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
      putchar(']');
      if (o->argument) print_zsh_argument(o->argument);
      putchar('\'');
    }
    print_zsh_operands(c);
    printf(" ;;\n");
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
