/* copy.c - whole stores: backup, copy, compact. */
#include <inttypes.h>
#include <time.h>

#include "change.h"
#include "complain.h"
#include "look.h"
#include "text.h"

enum { TRASH_WAIT_MS = 60000, TRASH_POLL_MS = 20 };

static int file_bytes(pagestore_store *s, uint64_t *bytes, bool *trash) {
  pagestore_store_info info = {.size = sizeof info};
  int status = pagestore_store_stat(s, &info);
  if (status) return complain_status(status, NULL);
  *bytes = info.file_bytes;
  if (trash) *trash = info.trash;
  return EXIT_OK;
}

/* What was made is opened and walked: a copy that cannot be read is none. */
static int tell_copy(const char *path) {
  pagestore_store *copy;
  uint64_t bytes = 0;
  char text[TEXT_SIZE];
  int status =
      pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ | PAGESTORE_VERIFY), &copy);
  if (status) return look_open_failed(status);
  int code = file_bytes(copy, &bytes, NULL);
  pagestore_close(copy);
  if (code == EXIT_OK) change_done("%s is there, %s bytes, verified", path, text_bytes(bytes, text));
  return code;
}

static int copy(const invocation *v, unsigned flags) {
  pagestore_store *store;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  int status = pagestore_copy(store, v->operand[1], flags);
  pagestore_close(store);
  return status ? complain_status(status, NULL) : tell_copy(v->operand[1]);
}

int command_backup(const invocation *v) { return copy(v, 0); }
int command_copy(const invocation *v) { return copy(v, option_given(v, "compact") ? PAGESTORE_COMPACT : 0); }

/* What was dropped but not given back yet would be copied: the writer's work, so it is let to do it, as long as it
 * gets on. */
static int work_off_trash(const invocation *v, uint64_t *bytes) {
  pagestore_store *store;
  bool trash = true;
  int code = change_open(v, &store);
  if (code != EXIT_OK) return code;
  for (int waited = 0; code == EXIT_OK && trash && waited < TRASH_WAIT_MS; waited += TRASH_POLL_MS) {
    code = file_bytes(store, bytes, &trash);
    if (trash) nanosleep(&(struct timespec){.tv_nsec = TRASH_POLL_MS * 1000000}, NULL);
  }
  return change_close(store, code);
}

int command_compact(const invocation *v) {
  uint64_t before = 0, after = 0;
  char from[TEXT_SIZE], to[TEXT_SIZE];
  int code = work_off_trash(v, &before);
  if (code != EXIT_OK) return code;
  int status = pagestore_compact(v->operand[0]);
  if (status) return look_open_failed(status);
  pagestore_store *store;
  if ((code = look_open(v, &store)) != EXIT_OK) return code;
  code = file_bytes(store, &after, NULL);
  pagestore_close(store);
  if (code == EXIT_OK) change_done("%s bytes before, %s now", text_bytes(before, from), text_bytes(after, to));
  return code;
}
