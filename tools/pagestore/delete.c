/* delete.c - an instance goes, with its snapshots. */
#include <inttypes.h>
#include <stdlib.h>

#include "change.h"
#include "complain.h"
#include "look.h"
#include "versions.h"

/* Looked at as a reader first: an unanswered question changes nothing. */
static int ask(const invocation *v) {
  const char *name = v->operand[1];
  pagestore_store *store;
  kept_versions kept;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = versions_load(store, name, false, &kept);
  pagestore_close(store);
  if (code != EXIT_OK) return code;
  const kept_version *present = &kept.items[kept.count - 1];
  uint32_t snapshots = kept.count - 1;
  code = change_confirm(v,
                        "instance '%s' (version %" PRIu64 ", %" PRIu64 " page%s stored, %" PRIu32
                        " snapshot%s) will be deleted for good; its forks stay",
                        name, present->version, present->stored_pages, plural(present->stored_pages), snapshots,
                        plural(snapshots));
  free(kept.items);
  return code;
}

int command_delete(const invocation *v) {
  pagestore_store *store;
  int code = ask(v);
  if (code == EXIT_OK) code = change_open(v, &store);
  if (code != EXIT_OK) return code;
  int status = pagestore_instance_delete(store, v->operand[1], 0);
  if (status) code = complain_status(status, NULL);
  else change_done("instance '%s' is deleted; a writer gives its storage back bit by bit", v->operand[1]);
  return change_close(store, code);
}
