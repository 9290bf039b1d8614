/* directory.c - see directory.h.
 *
 *   ABSENT --make beside, rename--> STORE        EMPTY --make inside, rename data.mdb--> STORE
 *
 * The registry's lock is held through an open, creation included, and by the fork handler, so that no child comes
 * away with a descriptor (and with it the writer's lock) that nobody closes there.
 */
#include "storage/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"

struct directory {
  directory *next;
  int fd;
  dev_t device;
  ino_t inode;
  _Atomic bool forked;
  void (*after_fork)(void *store);
  void *store;
  char path[];
};

enum { RANDOM_BYTES = 8, CREATIONS_TRIED_MAX = 8 };
#define NEW_MARK ".new-"
#define DATA_NAME "data.mdb"
#define LOCK_NAME "lock.mdb"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t registry_once = PTHREAD_ONCE_INIT;
static directory *registry;

/* ---- fork ------------------------------------------------------------------------------------ */

static void before_fork(void) { pthread_mutex_lock(&registry_lock); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&registry_lock); }

/* The child's registry begins empty: what it inherited is refused, and what it opens is its own. */
static void after_fork_in_child(void) {
  for (directory *d = registry; d; d = d->next) {
    close(d->fd);
    d->fd = -1;
    atomic_store(&d->forked, true);
    if (d->after_fork) d->after_fork(d->store);
  }
  registry = NULL;
  pthread_mutex_unlock(&registry_lock);
}

static void registry_install(void) { pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

static bool registry_has(const struct stat *st) {
  for (const directory *d = registry; d; d = d->next)
    if (d->device == st->st_dev && d->inode == st->st_ino) return true;
  return false;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int directory_failed(int errnum, const char *path, const char *doing) {
  switch (errnum) {
    case EACCES:
    case EPERM:
      return fail_errno(PAGESTORE_EACCES, errnum, "%s: no permission for %s: change the permissions, or the user",
          path, doing);
    case EROFS:
      return fail_errno(PAGESTORE_EACCES, errnum, "%s: no %s on a read-only file system: open it for reading only",
          path, doing);
    case ENOTDIR: return fail(PAGESTORE_EFORMAT, "%s: not a directory: give the path of a store's directory", path);
    case ENOENT:
      return fail(PAGESTORE_ENOTFOUND, "%s: no such directory: check the path, or create what is above it", path);
    case ELOOP: return fail(PAGESTORE_ENOTFOUND, "%s: symbolic links in a loop: check the path", path);
    case ENAMETOOLONG: return fail(PAGESTORE_EINVAL, "%s: the name is too long: choose a shorter one", path);
    case ENOSPC:
    case EDQUOT: return fail_errno(PAGESTORE_ENOSPC, errnum, "%s: no room for %s: free some", path, doing);
    case ENOMEM: return fail(PAGESTORE_ENOMEM, "%s: no memory for %s", path, doing);
    case EMFILE:
    case ENFILE:
      return fail_errno(PAGESTORE_ENOMEM, errnum, "%s: no descriptor left: raise the limit (ulimit -n)", path);
    default: return fail_errno(PAGESTORE_EIO, errnum, "%s: %s failed: check the disk", path, doing);
  }
}

static int fail_busy(const char *path) {
  return fail(PAGESTORE_EBUSY, "%s: a process is writing it: end that process, or open the store for reading", path);
}

/* ---- removing -------------------------------------------------------------------------------- */

/* Only what a creator makes: whatever else is in there stays, and the directory with it. */
static void remove_new(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  unlinkat(fd, DATA_NAME, 0);
  unlinkat(fd, LOCK_NAME, 0);
  close(fd);
  unlinkat(parent, name, AT_REMOVEDIR);
}

static bool creator_is_dead(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  bool dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
  close(fd);
  return dead;
}

static bool is_new_name(const char *name, const char *prefix) {
  size_t length = strlen(prefix);
  return strncmp(name, prefix, length) == 0 && strlen(name) == length + 2 * RANDOM_BYTES &&
         strspn(name + length, "0123456789abcdef") == 2 * RANDOM_BYTES;
}

static void remove_leftovers(int parent, const char *prefix) {
  int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (!d) {
    if (fd >= 0) close(fd);
    return;
  }
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (is_new_name(e->d_name, prefix) && creator_is_dead(parent, e->d_name)) remove_new(parent, e->d_name);
  closedir(d);
}

/* ---- creating -------------------------------------------------------------------------------- */

typedef struct {
  const char *path;          /* as the user gave it, for texts */
  char *parent_path;         /* resolved; of the directory in which the new one is made */
  int parent;
  char prefix[NAME_MAX + 1];
  char name[NAME_MAX + 1];   /* of the new directory in parent */
  int fd;                    /* of the new directory, locked */
} creation;

static int new_name(creation *c) {
  uint8_t random[RANDOM_BYTES];
  if (getrandom(random, sizeof random, 0) != sizeof random) return directory_failed(errno, c->path, "a random name");
  int at = snprintf(c->name, sizeof c->name, "%s", c->prefix);
  if (at + 2 * RANDOM_BYTES >= (int)sizeof c->name) return directory_failed(ENAMETOOLONG, c->path, "creation");
  for (int i = 0; i < RANDOM_BYTES; i++) at += snprintf(c->name + at, sizeof c->name - (size_t)at, "%02x", random[i]);
  return 0;
}

/* 0, or an error number. *unlocked: it could not be locked. */
static int lock_new(creation *c, bool *unlocked) {
  struct stat st;
  *unlocked = false;
  c->fd = openat(c->parent, c->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (c->fd < 0) return errno;
  *unlocked = flock(c->fd, LOCK_EX | LOCK_NB) != 0;
  if (*unlocked || fstat(c->fd, &st) != 0) return errno;
  return st.st_nlink > 0 ? 0 : ENOENT;
}

/* Makes and locks the new directory. Between the two another creator may take it for a leftover: then once more. */
static int creation_begin(creation *c) {
  bool unlocked = false;
  int errnum = 0;
  for (int tries = 0; tries < CREATIONS_TRIED_MAX; tries++) {
    int err = new_name(c);
    if (err) return err;
    if (mkdirat(c->parent, c->name, 0777) != 0) return directory_failed(errno, c->path, "creation");
    if ((errnum = lock_new(c, &unlocked)) == 0) return 0;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    unlinkat(c->parent, c->name, AT_REMOVEDIR);
  }
  if (!unlocked) return directory_failed(errnum, c->path, "creation");
  return fail(PAGESTORE_EUNSUPPORTED, "%s: directories cannot be locked there (flock): use another file system",
      c->path);
}

static int creation_fill(creation *c, const directory_options *o) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s/%s", c->parent_path, c->name) >= (int)sizeof path)
    return directory_failed(ENAMETOOLONG, c->path, "creation");
  int err = o->make(o->env, path);
  if (err) return err;
  int data = openat(c->fd, DATA_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (data < 0 || fsync(data) != 0 || fsync(c->fd) != 0) err = directory_failed(errno, c->path, "creation");
  if (data >= 0) close(data);
  return err;
}

static void creation_undo(creation *c) {
  remove_new(c->parent, c->name);
  close(c->fd);
}

/* ABSENT -> STORE. *fd: of the store's directory, locked since before it had its name; -1: somebody else was faster. */
static int create_beside(creation *c, const char *base, const directory_options *o, int *fd) {
  remove_leftovers(c->parent, c->prefix);
  int err = creation_begin(c);
  if (err) return err;
  if ((err = creation_fill(c, o)) != 0) goto undo;
  *fd = -1;
  if (renameat(c->parent, c->name, c->parent, base) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) err = directory_failed(errno, c->path, "creation");
    goto undo;
  }
  if (fsync(c->parent) != 0) {
    err = directory_failed(errno, c->path, "creation");
    close(c->fd);
    return err;
  }
  *fd = c->fd;
  return 0;
undo:
  creation_undo(c);
  return err;
}

/* EMPTY -> STORE. The store's directory is c->parent, locked by the caller. */
static int create_inside(creation *c, const directory_options *o) {
  remove_leftovers(c->parent, c->prefix);
  int err = creation_begin(c);
  if (err) return err;
  if ((err = creation_fill(c, o)) != 0) goto undo;
  if (renameat(c->fd, DATA_NAME, c->parent, DATA_NAME) != 0 || fsync(c->parent) != 0)
    err = directory_failed(errno, c->path, "creation");
undo:
  creation_undo(c);
  return err;
}

/* Parent and last part of a path that may not exist yet: "a/b//" is "a" and "b". Frees *parent on failure. */
static int split_path(const char *path, char **parent, char base[NAME_MAX + 1]) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  if (end - start > NAME_MAX - strlen(NEW_MARK) - 2 * RANDOM_BYTES)
    return directory_failed(ENAMETOOLONG, path, "creation");
  memcpy(base, path + start, end - start);
  base[end - start] = 0;
  char *above = start ? strndup(path, start) : strdup(".");
  *parent = above ? realpath(above, NULL) : NULL;
  int errnum = above ? errno : ENOMEM;
  free(above);
  return *parent ? 0 : directory_failed(errnum, path, "creation");
}

static int create_absent(const char *path, const directory_options *o, int *fd) {
  struct stat st;
  char base[NAME_MAX + 1];
  creation c = {.path = path, .fd = -1};
  *fd = -1;
  if (stat(path, &st) == 0) return 0; /* somebody else was faster */
  if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
    return fail(PAGESTORE_ENOTFOUND, "%s: a symbolic link to nothing: create what it points to, or remove it", path);
  int err = split_path(path, &c.parent_path, base);
  if (err) return err;
  snprintf(c.prefix, sizeof c.prefix, "%.*s%s", NAME_MAX - 5, base, NEW_MARK);
  c.parent = open(c.parent_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (c.parent < 0) err = directory_failed(errno, path, "creation");
  else err = create_beside(&c, base, o, fd);
  if (c.parent >= 0) close(c.parent);
  free(c.parent_path);
  return err;
}

static int create_in_empty(const char *path, int fd, const directory_options *o) {
  creation c = {.path = path, .parent = fd, .fd = -1, .prefix = NEW_MARK};
  c.parent_path = realpath(path, NULL);
  if (!c.parent_path) return directory_failed(errno, path, "creation");
  int err = create_inside(&c, o);
  free(c.parent_path);
  return err;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool is_empty(int fd) {
  int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
  if (!d) {
    if (copy >= 0) close(copy);
    return false;
  }
  bool empty = true;
  for (struct dirent *e; empty && (e = readdir(d)) != NULL;)
    empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, "lost+found") ||
        is_new_name(e->d_name, NEW_MARK);
  closedir(d);
  return empty;
}

static int lock_for_writing(const char *path, int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
  if (errno == EWOULDBLOCK) return fail_busy(path);
  return fail_errno(PAGESTORE_EUNSUPPORTED, errno,
      "%s: the directory cannot be locked (flock): use another file system", path);
}

/* A directory that exists: a store already, or made one. The writer's lock comes first, so that only one fills it. */
static int prepare_existing(const char *path, int fd, const directory_options *o) {
  struct stat st, data;
  if (fstat(fd, &st) != 0) return directory_failed(errno, path, "opening");
  if (registry_has(&st))
    return fail(PAGESTORE_EBUSY, "%s: open in this process already: close that handle, or use it", path);
  int err = o->read_only ? 0 : lock_for_writing(path, fd);
  if (err) return err;
  bool exists = fstatat(fd, DATA_NAME, &data, 0) == 0;
  if (!exists && errno != ENOENT) return directory_failed(errno, path, "opening");
  if (exists && o->create && o->exclusive)
    return fail(PAGESTORE_EEXIST, "%s: there is a store already: open it without EXCLUSIVE, or choose another path",
        path);
  if (!exists && (!o->create || !is_empty(fd)))
    return fail(PAGESTORE_EFORMAT, "%s: no store: the directory has no data.mdb%s", path,
        o->create ? " but other files: choose an empty or a new one" : "");
  if (!exists && (err = create_in_empty(path, fd, o)) != 0) return err;
  int wanted = o->read_only ? R_OK : R_OK | W_OK;
  if (faccessat(fd, DATA_NAME, wanted, AT_EACCESS) != 0)
    return directory_failed(errno, path, o->read_only ? "reading" : "writing");
  if (!o->read_only) remove_leftovers(fd, NEW_MARK);
  return 0;
}

/* Whether the path still names what was opened: an empty directory may have been renamed over before it was locked. */
static bool is_still_there(const char *path, int fd) {
  struct stat named, opened;
  return stat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
      named.st_ino == opened.st_ino;
}

/* The directory's descriptor, prepared. */
static int open_or_create(const char *path, const directory_options *o, int *out) {
  for (int tries = 0; tries < CREATIONS_TRIED_MAX; tries++) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && !o->create)
      return fail(PAGESTORE_ENOTFOUND, "%s: no store there: check the path, or open it with CREATE", path);
    if (fd < 0 && errno != ENOENT) return directory_failed(errno, path, "opening");
    int err = fd < 0 ? create_absent(path, o, &fd) : prepare_existing(path, fd, o);
    if (err) {
      if (fd >= 0) close(fd);
      return err;
    }
    if (fd >= 0 && is_still_there(path, fd)) {
      *out = fd;
      return 0;
    }
    if (fd >= 0) close(fd);
  }
  return fail_busy(path);
}

static int directory_new(const char *path, int fd, const directory_options *o, directory **out) {
  struct stat st;
  char *resolved = realpath(path, NULL);
  if (!resolved || fstat(fd, &st) != 0) {
    int err = directory_failed(errno, path, "opening");
    free(resolved);
    return err;
  }
  directory *d = calloc(1, sizeof *d + strlen(resolved) + 1);
  if (d) {
    strcpy(d->path, resolved);
    d->fd = fd;
    d->device = st.st_dev;
    d->inode = st.st_ino;
    d->after_fork = o->after_fork;
    d->store = o->store;
  }
  free(resolved);
  if (!d) return directory_failed(ENOMEM, path, "opening");
  *out = d;
  return 0;
}

static int open_locked(const char *path, const directory_options *o, directory **out) {
  int fd = -1;
  directory *d = NULL;
  int err = open_or_create(path, o, &fd);
  if (err) return err;
  if ((err = directory_new(path, fd, o, &d)) != 0) {
    close(fd);
    return err;
  }
  d->next = registry;
  registry = d;
  *out = d;
  return 0;
}

int directory_open(const char *path, const directory_options *o, directory **out) {
  ASSERT(!(o->create && o->read_only) && (!o->create || o->make));
  if (!path || !path[0]) return fail(PAGESTORE_EINVAL, "an empty path: give the path of a store's directory");
  if (strlen(path) >= PATH_MAX) return fail(PAGESTORE_EINVAL, "the path is too long: choose a shorter one");
  pthread_once(&registry_once, registry_install);
  pthread_mutex_lock(&registry_lock);
  int err = open_locked(path, o, out);
  pthread_mutex_unlock(&registry_lock);
  return err;
}

/* ---- making without opening ------------------------------------------------------------------ */

int directory_make(const char *path, const directory_options *o) {
  if (!path || !path[0]) return fail(PAGESTORE_EINVAL, "an empty path: give the path of a new directory");
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
  if (fd >= 0) {
    if ((err = lock_for_writing(path, fd)) == 0)
      err = is_empty(fd) ? create_in_empty(path, fd, o)
                         : fail(PAGESTORE_EEXIST, "%s: not empty: choose an empty directory or a new path", path);
  } else if (errno != ENOENT) {
    err = directory_failed(errno, path, "creation");
  } else if ((err = create_absent(path, o, &fd)) == 0 && fd < 0) {
    err = fail(PAGESTORE_EEXIST, "%s: somebody else made it meanwhile: choose another path", path);
  }
  if (fd >= 0) close(fd);
  return err;
}

int directory_replace(directory *d, const directory_options *o) { return create_in_empty(d->path, d->fd, o); }

void directory_close(directory *d) {
  if (!d) return;
  pthread_mutex_lock(&registry_lock);
  for (directory **at = &registry; *at; at = &(*at)->next)
    if (*at == d) {
      *at = d->next;
      break;
    }
  if (d->fd >= 0) close(d->fd);
  pthread_mutex_unlock(&registry_lock);
  free(d);
}

const char *directory_path(const directory *d) { return d->path; }

bool directory_forked(const directory *d) { return atomic_load_explicit(&d->forked, memory_order_relaxed); }
