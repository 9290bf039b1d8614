/* upgrade.c - a store of an older format becomes one of the newest that this program knows. So far there is one: what
 * is here is the frame. A store of a newer format is refused when it is opened, with its version. */
#include <inttypes.h>

#include "change.h"
#include "complain.h"
#include "look.h"

int command_upgrade_format(const invocation *v) {
  pagestore_store *store;
  pagestore_store_info info = {.size = sizeof info};
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  int status = pagestore_store_stat(store, &info);
  pagestore_close(store);
  if (status) return complain_status(status, NULL);
  change_done("format %" PRIu32 " is the newest: nothing to do", info.format_version);
  return EXIT_OK;
}
