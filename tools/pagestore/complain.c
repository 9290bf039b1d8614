/* complain.c - complaints go to stderr, behind what stdout holds; nothing a name contains steers
 * the terminal. */
#include "complain.h"

#include <errno.h>
#include <pagestore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

bool complain_on_bar;

static void say(const char *format, va_list arguments) {
  char line[8192];
  vsnprintf(line, sizeof line, format, arguments);
  fflush(stdout);
  if (complain_on_bar) fputs(CLEAR_LINE, stderr);
  complain_on_bar = false;
  fputs("pagestore: ", stderr);
  text_print(stderr, line);
  fputc('\n', stderr);
}

void complain(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
}

int complain_usage(const command *c, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
  if (c)
    fprintf(stderr, "usage: pagestore %s%s%s [OPTION...]; `pagestore help %s` tells more\n", c->name,
            c->operands[0] ? " " : "", c->operands, c->name);
  else fputs("`pagestore help` lists the commands\n", stderr);
  return EXIT_USAGE;
}

int complain_status(int status, const char *next) {
  const char *detail = pagestore_detail();
  if (!detail || !detail[0]) detail = pagestore_strerror(status);
  if (next) complain("%s; %s", detail, next);
  else complain("%s", detail);
  return EXIT_FAILED;
}

int complain_memory(void) {
  complain("no memory: free some and try again");
  return EXIT_FAILED;
}

int finish_output(int code) {
  errno = 0;
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  if (errno != EPIPE)
    complain("the output could not be written: %s: make room and try again",
             errno ? strerror(errno) : "an earlier write failed");
  return EXIT_FAILED;
}
