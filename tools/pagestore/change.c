/* change.c - a store for writing; and a question that only a person or --yes answers. */
#include "change.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "complain.h"
#include "look.h"
#include "text.h"

static int open_with(const invocation *v, const char *path, uint32_t flags, pagestore_store **out) {
  if (!option_given(v, "trust")) flags |= PAGESTORE_VERIFY;
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = flags), out);
  return status ? look_open_failed(status) : EXIT_OK;
}

int change_open(const invocation *v, pagestore_store **out) { return open_with(v, v->operand[0], 0, out); }

int change_open_or_make(const invocation *v, const char *path, pagestore_store **out) {
  return open_with(v, path, PAGESTORE_CREATE, out);
}

int change_close(pagestore_store *s, int code) {
  int status = pagestore_close(s);
  return status ? complain_status(status, NULL) : code;
}

static void say(FILE *to, const char *begin, const char *format, va_list arguments, const char *end) {
  char line[4096];
  vsnprintf(line, sizeof line, format, arguments);
  fputs(begin, to);
  text_print(to, line);
  fputs(end, to);
}

/* The rest of the line does not answer a later question. */
static bool said_yes(void) {
  char answer[64];
  if (!fgets(answer, sizeof answer, stdin)) return false;
  for (size_t last = strlen(answer); last && answer[last - 1] != '\n'; last = strlen(answer)) {
    char rest[64];
    if (!fgets(rest, sizeof rest, stdin) || strchr(rest, '\n')) break;
  }
  return answer[0] == 'y' || answer[0] == 'Y';
}

int change_confirm(const invocation *v, const char *format, ...) {
  if (option_given(v, "yes")) return EXIT_OK;
  fflush(stdout);
  bool can_ask = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
  va_list arguments;
  va_start(arguments, format);
  say(stderr, "pagestore: ", format, arguments, can_ask ? "\nGo on? [y/N] " : "; give --yes to have it done\n");
  va_end(arguments);
  if (!can_ask) return EXIT_USAGE;
  if (said_yes()) return EXIT_OK;
  fputs("Nothing was changed.\n", stderr);
  return EXIT_FAILED;
}

void change_done(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(stdout, "", format, arguments, "\n");
  va_end(arguments);
}
