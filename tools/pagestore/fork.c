/* fork.c - a new instance that begins as another one is now, or was at a snapshot. */
#include "change.h"
#include "complain.h"
#include "look.h"

static const char touched[] = "pagestore.fork";

/* A fork stores nothing before its first commit, and a message without a change makes no version: so one that sets a
 * key and removes it again. */
static int commit_first(pagestore_instance *fork, uint64_t *version) {
  int status = pagestore_metadata_set(fork, touched, "", 0);
  if (!status) status = pagestore_metadata_set(fork, touched, NULL, 0);
  return status ? status : pagestore_commit(fork, 0, version);
}

static int fork_view(pagestore_instance *view, const char *name) {
  pagestore_instance *fork;
  uint64_t version = 0;
  int status = pagestore_fork(
      view, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE), &fork);
  if (status) return complain_status(status, "give a name that `pagestore ls STORE` does not list");
  status = commit_first(fork, &version);
  if (status) complain_status(status, NULL);
  pagestore_instance_close(fork);
  if (status) return EXIT_FAILED;
  change_done("instance '%s' is there, at version %llu", name, (unsigned long long)version);
  return EXIT_OK;
}

int command_fork(const invocation *v) {
  pagestore_store *store;
  pagestore_instance *view;
  int code = change_open(v, &store);
  if (code != EXIT_OK) return code;
  if ((code = look_view(store, v->operand[1], option_value(v, "snapshot"), &view)) == EXIT_OK) {
    code = fork_view(view, v->operand[2]);
    pagestore_instance_close(view);
  }
  return change_close(store, code);
}
