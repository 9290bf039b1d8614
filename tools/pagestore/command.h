/* command.h - what a command of the program is, and what it gets.
 *
 * One table, `commands`, drives dispatch, option parsing, `help` and completion. A command is a
 * name, operands, options and a function; it prints to stdout, complains through complain.h, and
 * returns an exit code.
 *
 * Invariant: operands are counted and options known before `run` is called; only commands whose
 * options have `yes`, or whose name says that something new is made, change a store.
 * Thread:    the program has one, besides those of the library.
 */
#ifndef PROGRAM_COMMAND_H
#define PROGRAM_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

/* Exit codes, for all commands; `help` tells them. */
enum { EXIT_OK = 0, EXIT_FOUND = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

enum { OPTIONS_MAX = 16, OPERANDS_MAX = 8 };
/* As operands_max: the command takes its words as they are, but for --help in the first place. */
enum { OPERANDS_RAW = 255 };

typedef struct {
  const char *name;     /* long, without dashes; NULL ends a list */
  char letter;          /* short, or 0 */
  const char *argument; /* its name in help, or NULL: takes none */
  const char *help;
} option;

typedef struct command command;

typedef struct {
  const command *command;
  const char *operand[OPERANDS_MAX];
  unsigned operands;
  const char *value[OPTIONS_MAX]; /* by place in command->options: NULL: not given; "" for those
                                     without argument */
  char **words;                   /* of a raw command: all behind its name, then NULL */
  int word_count;
} invocation;

struct command {
  const char *name;
  const char *operands; /* as in usage; "" for none */
  const char *summary;
  const char *text; /* what help says beyond summary and options; may be "" */
  const option *options;
  unsigned operands_min, operands_max;
  int (*run)(const invocation *);
};

extern const command commands[]; /* ends with name NULL */
const command *command_find(const char *name);
/* EXIT_USAGE: there is none of this name, complained, with the one that was meant if there is one like it. */
int command_unknown(const char *name);

/* The option's value, or NULL. The name must be one of the command's. */
const char *option_value(const invocation *, const char *name);
bool option_given(const invocation *, const char *name);
/* Decimal or 0x..., with K, M, G or T behind it for powers of 1,024. false: complained. Not given:
 * *out stays. */
bool option_number(const invocation *, const char *name, uint64_t *out);

int command_ls(const invocation *);
int command_stat(const invocation *);
int command_top(const invocation *);
int command_log(const invocation *);
int command_dump(const invocation *);
int command_diff(const invocation *);
int command_snapshot(const invocation *);
int command_restore(const invocation *);
int command_fork(const invocation *);
int command_delete(const invocation *);
int command_prune(const invocation *);
int command_backup(const invocation *);
int command_copy(const invocation *);
int command_compact(const invocation *);
int command_export(const invocation *);
int command_import(const invocation *);
int command_send(const invocation *);
int command_receive(const invocation *);
int command_doctor(const invocation *);
int command_show(const invocation *);
int command_completion(const invocation *);
int command_new_example(const invocation *);
int command_plot(const invocation *);
int command_wasm(const invocation *);
int command_check(const invocation *);
int command_recover(const invocation *);
int command_debug(const invocation *);
int command_upgrade_format(const invocation *);
int command_bench(const invocation *);
int command_help(const invocation *);
int command_version(const invocation *);

void help_usage(const command *);  /* one command's help, to stdout */
void help_manual(const command *); /* its manual page, in scdoc's language */

#endif
