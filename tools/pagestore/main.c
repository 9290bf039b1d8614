/* main.c - pagestore: looks into stores. Finds the command, takes its options apart, runs it.
 *
 *   pagestore COMMAND [OPTION...] OPERAND...
 *
 * Every store is opened for reading: it may be in use by a writer, and nothing here changes it.
 */
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"

/* ---- options --------------------------------------------------------------------------------- */

static unsigned option_place(const command *c, const char *name) {
  unsigned i = 0;
  while (strcmp(c->options[i].name, name) != 0) i++;
  return i;
}

const char *option_value(const invocation *v, const char *name) {
  return v->value[option_place(v->command, name)];
}
bool option_given(const invocation *v, const char *name) { return option_value(v, name) != NULL; }

bool option_number(const invocation *v, const char *name, uint64_t *out) {
  const char *text = option_value(v, name);
  if (!text) return true;
  static const char units[] = "KMGT";
  bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  const char *digits = hex ? text + 2 : text;
  char *end;
  unsigned long long value = strtoull(digits, &end, hex ? 16 : 10);
  bool first_is_digit = strchr(hex ? "0123456789abcdefABCDEF" : "0123456789", digits[0]) &&
                        digits[0];
  const char *unit = *end ? strchr(units, *end) : NULL;
  uint64_t factor = unit ? 1ull << (10 * (unit - units + 1)) : 1, product;
  bool whole = first_is_digit && (*end == 0 || (unit && end[1] == 0)) && !(value == UINT64_MAX);
  if (!whole || __builtin_mul_overflow((uint64_t)value, factor, &product)) {
    complain_usage(v->command,
                   "--%s %s is not a number: give decimal digits or 0x and hexadecimal ones, then "
                   "K, M, G or T if wanted",
                   name, text);
    return false;
  }
  *out = product;
  return true;
}

/* What getopt_long wants, from the command's list. */
typedef struct {
  struct option list[OPTIONS_MAX + 1];
  char letters[2 * OPTIONS_MAX + 2];
} getopt_words;

static void translate(const command *c, getopt_words *out) {
  unsigned count = 0, used = 0;
  out->letters[used++] = ':';
  for (const option *o = c->options; o->name; o++) {
    out->list[count++] = (struct option){o->name, o->argument ? required_argument : no_argument,
                                         NULL, o->letter};
    out->letters[used++] = o->letter;
    if (o->argument) out->letters[used++] = ':';
  }
  out->list[count] = (struct option){0};
  out->letters[used] = 0;
}

static void note(invocation *v, int letter) {
  for (unsigned i = 0; v->command->options[i].name; i++)
    if (v->command->options[i].letter == letter) v->value[i] = optarg ? optarg : "";
}

/* EXIT_OK, or complained. */
static int parse(invocation *v, int count, char **words) {
  if (v->command->operands_max == OPERANDS_RAW) {
    v->words = words + 1;
    v->word_count = count - 1;
    if (count > 1 && strcmp(words[1], "--help") == 0) v->value[option_place(v->command, "help")] = "";
    return EXIT_OK;
  }
  getopt_words known;
  translate(v->command, &known);
  opterr = 0;
  for (int letter; (letter = getopt_long(count, words, known.letters, known.list, NULL)) != -1;
       note(v, letter)) {
    const char *word = words[optind - 1];
    if (letter == ':') return complain_usage(v->command, "%s needs an argument", word);
    if (letter == '?' && optopt && word[0] == '-' && word[1] != '-')
      return complain_usage(v->command, "-%c is not an option of %s", optopt, v->command->name);
    if (letter == '?')
      return complain_usage(v->command, "%s is not an option of %s, or not like this", word,
                            v->command->name);
  }
  if (option_given(v, "help")) return EXIT_OK;
  for (; optind < count; optind++) {
    if (v->operands == v->command->operands_max)
      return complain_usage(v->command, "'%s' is one operand too many", words[optind]);
    v->operand[v->operands++] = words[optind];
  }
  if (v->operands < v->command->operands_min)
    return complain_usage(v->command, "operands are missing");
  return EXIT_OK;
}

/* ---- the program ----------------------------------------------------------------------------- */

static const char *command_word(int count, char **words) {
  if (count < 2) return NULL;
  if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0) return "help";
  if (strcmp(words[1], "--version") == 0) return "version";
  return words[1];
}

int main(int count, char **words) {
  setlocale(LC_ALL, "");
  signal(SIGPIPE, SIG_DFL); /* whoever started us may have it ignored: a reader that has enough ends
                               us quietly */
  const char *word = command_word(count, words);
  if (!word) return complain_usage(NULL, "which command?");
  invocation v = {.command = command_find(word)};
  if (!v.command) return command_unknown(word);
  int code = parse(&v, count - 1, words + 1);
  if (code != EXIT_OK) return code;
  if (option_given(&v, "help")) {
    help_usage(v.command);
    return finish_output(EXIT_OK);
  }
  return finish_output(v.command->run(&v));
}
