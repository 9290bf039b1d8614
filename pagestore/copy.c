/* copy.c - a store as another one: a copy beside it, or one in its own place without what is free.
 *
 *   pagestore_copy      a reader of LMDB's is held while the file is read: what a writer frees meanwhile is not used
 *                       again before the end, so its file may grow
 *   pagestore_compact   the writer's lock and LMDB's own are held: nobody has the file open when it is replaced
 *
 * A compact copy counts its transactions anew; the store record says which was the last, so it is put once more. Both
 * are made under another name, synced and renamed (directory.h): a crash leaves the old state or the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/status.h"
#include "input.h"
#include "store.h"

typedef struct {
  db *from;
  bool compact;
} copying;

static int put_record_again(const char *path) {
  db *copy;
  db_txn *txn;
  store_record record;
  int status = db_open(path, &(db_options){0}, &copy);
  if (status) return status;
  if ((status = db_begin(copy, &txn)) != 0) goto close;
  status = catalog_store((db_reader){.txn = txn}, &record);
  record.flush_txn_id = db_txn_id(txn);
  if (!status) status = catalog_put_store(txn, &record);
  if (!status) status = db_commit(txn);
  else db_abort(txn);
close:
  db_close(copy);
  return status;
}

static int fill(void *env, const char *path) {
  const copying *c = env;
  char file[4096];
  if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file)
    return fail(PAGESTORE_EINVAL, "the path of the copy is too long: choose a shorter one");
  int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return fail_errno(PAGESTORE_EACCES, errno, "%s cannot be made", file);
  int status = db_copy(c->from, fd, c->compact);
  if (close(fd) != 0 && !status) status = fail_errno(PAGESTORE_EIO, errno, "%s: the copy could not be written", file);
  return status || !c->compact ? status : put_record_again(path);
}

int pagestore_copy(pagestore_store *s, const char *to, unsigned flags) {
  int status = store_check(s, false);
  if (!status && !to) status = input_null("path");
  if (!status && (flags & ~(unsigned)PAGESTORE_COMPACT))
    status = fail(PAGESTORE_EINVAL, "unknown copy flags 0x%x", flags);
  if (status) return status;
  /* What is logged or dropped would take room in the copy, too. A store that cannot be drained is copied as it is. */
  if (flags & PAGESTORE_COMPACT && s->flusher) (void)flusher_drain(s->flusher, PAGESTORE_FOREVER);
  copying c = {s->db, flags & PAGESTORE_COMPACT};
  return directory_make(to, &(directory_options){.make = fill, .env = &c});
}

static int compact_locked(directory *d) {
  copying c = {.compact = true};
  int lock = -1, status = db_open(directory_path(d), &(db_options){0}, &c.from);
  if (status) return status;
  if ((status = db_lock_out(c.from, &lock)) == 0)
    status = directory_replace(d, &(directory_options){.make = fill, .env = &c});
  db_close(c.from);
  if (lock >= 0) close(lock);
  return status;
}

int pagestore_compact(const char *path) {
  if (!path) return input_null("path");
  pagestore_options o = {.size = sizeof o, .flags = PAGESTORE_VERIFY};
  pagestore_store *s;
  directory *d;
  int status = pagestore_open(path, &o, &s); /* whether it is a store, and whole */
  if (status) return status;
  status = pagestore_drain(s, PAGESTORE_FOREVER); /* blocks in the log take room beside the pages that they belong to */
  int closed = pagestore_close(s);
  if (!status) status = closed;
  if (!status) status = directory_open(path, &(directory_options){0}, &d);
  if (status) return status;
  status = compact_locked(d);
  directory_close(d);
  return status;
}
