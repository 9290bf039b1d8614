/* top.c - a store watched while it is in use. */
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "look.h"
#include "text.h"
#include "watch.h"

static bool can_draw(void) {
  const char *terminal = getenv("TERM");
  return text_terminal() && terminal && strcmp(terminal, "dumb") != 0;
}

int command_top(const invocation *v) {
  pagestore_store *store;
  watch_options options = {.path = v->operand[0], .seconds = 2};
  if (!option_number(v, "interval", &options.seconds) || !option_number(v, "count", &options.count)) return EXIT_USAGE;
  if (options.seconds == 0 || options.seconds > 86400)
    return complain_usage(v->command, "--interval takes 1 to 86400 seconds");
  if (option_given(v, "json")) options.how = WATCH_JSON;
  else if (can_draw()) options.how = WATCH_SCREEN;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = watch(store, &options);
  pagestore_close(store);
  return code;
}
