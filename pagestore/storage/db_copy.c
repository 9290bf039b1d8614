/* db_copy.c - the environment copied to another file, and others kept out of it meanwhile. The contract is in db.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pagestore.h>

#include "base/status.h"
#include "storage/lmdb_env.h"

typedef struct {
  MDB_env *env;
  int fd;
  unsigned flags;
} copy_call;

static int call_copy(void *env) {
  copy_call *c = env;
  return mdb_env_copyfd2(c->env, c->fd, c->flags);
}

static int copy_failed(db *d, int rc) {
  switch (rc) {
  case ENOSPC:
  case EDQUOT: return fail_errno(PAGESTORE_ENOSPC, rc, "%s: no room for the copy: free some", d->path);
  case MDB_INCOMPATIBLE:
    return fail(PAGESTORE_ECORRUPT, "%s: pages of the file are neither used nor free: copy it whole", d->path);
  case JUMPED:
  case EFAULT:
    return fail(PAGESTORE_EIO, "%s: data.mdb could not be read: check the disk, run pagestore check", d->path);
  default: break;
  }
  if (rc < 0)
    return fail(status_of(d, rc), "%s: could not be copied (%s): run pagestore check", d->path, mdb_strerror(rc));
  return fail_errno(PAGESTORE_EIO, rc, "%s: the copy could not be written: check the disk", d->path);
}

/* A compact copy is written by a thread of LMDB's; a jump out of reading leaves that thread waiting, with its two
 * buffers. */
int db_copy(db *d, int fd, bool compact) {
  copy_call c = {.env = d->main.env, .fd = fd, .flags = compact ? MDB_CP_COMPACT : 0};
  int rc = guarded(&d->main, call_copy, &c);
  return rc ? copy_failed(d, rc) : 0;
}

/* Every process that has the environment open holds a shared POSIX lock on the first byte of lock.mdb, and takes it
 * before it opens data.mdb (LMDB 0.9, mdb_env_setup_locks). Such a lock is the process's, whichever descriptor asks;
 * closing any of them gives it up. */
int db_lock_out(db *d, int *fd) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/lock.mdb", d->path) >= (int)sizeof path)
    return fail(PAGESTORE_EINVAL, "the store's path is too long: move it");
  int lock = open(path, O_RDWR | O_CLOEXEC);
  if (lock < 0) return fail_errno(PAGESTORE_EACCES, errno, "%s: lock.mdb cannot be opened", d->path);
  struct flock exclusive = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  if (fcntl(lock, F_SETLK, &exclusive) == 0) {
    *fd = lock;
    return 0;
  }
  int errnum = errno;
  close(lock);
  if (errnum == EACCES || errnum == EAGAIN)
    return fail(PAGESTORE_EBUSY, "%s: another process reads it: end that process and try again", d->path);
  return fail_errno(PAGESTORE_EIO, errnum, "%s: lock.mdb cannot be locked", d->path);
}
