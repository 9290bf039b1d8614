/* disk.c - the FUSE file system with one file; see disk.h. */
#define FUSE_USE_VERSION 34
#include <fuse_lowlevel.h>

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODE_DISK = 2 };
static const double FOREVER_S = 1e9;

typedef struct {
  uint8_t *bytes; /* private to the server: the image's file stays as it is */
  uint64_t size;
  int written_fd;
  disk_log *log;
  const ledger *ledger;
} disk;
static disk served;

/* ---- the log ----------------------------------------------------------------------------------------------------- */

disk_log *disk_log_new(void) {
  disk_log *log = mmap(NULL, sizeof *log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return log == MAP_FAILED ? NULL : log;
}

/* 0 or an errno, which the writer sees as its own. */
static int note(disk *d, disk_kind kind, uint64_t at, const void *bytes, size_t length) {
  uint64_t n = atomic_load(&d->log->count), data_at = atomic_load(&d->log->written);
  disk_event e = {.kind = kind, .at = at, .bytes = length, .data_at = data_at};
  e.acknowledged = atomic_load(&d->ledger->acknowledged);
  e.begun = atomic_load(&d->ledger->begun);
  e.made = atomic_load(&d->ledger->made);
  int failure = n == DISK_EVENTS_MAX ? ENOSPC : 0;
  if (!failure && length && pwrite(d->written_fd, bytes, length, (off_t)data_at) != (ssize_t)length) failure = EIO;
  if (failure) {
    atomic_store(&d->log->failure, failure);
    return failure;
  }
  d->log->event[n] = e;
  atomic_store(&d->log->written, data_at + length);
  atomic_store(&d->log->count, n + 1);
  return 0;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static struct stat attributes(fuse_ino_t node) {
  bool root = node == FUSE_ROOT_ID;
  return (struct stat){
      .st_ino = node,
      .st_mode = root ? S_IFDIR | 0700 : S_IFREG | 0600,
      .st_nlink = root ? 2 : 1,
      .st_size = root ? 0 : (off_t)served.size,
  };
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
  if (parent != FUSE_ROOT_ID || strcmp(name, "disk") != 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  struct fuse_entry_param e = {.ino = NODE_DISK, .attr_timeout = FOREVER_S, .entry_timeout = FOREVER_S};
  e.attr = attributes(NODE_DISK);
  fuse_reply_entry(request, &e);
}

static void on_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
  (void)file;
  struct stat st = attributes(node);
  fuse_reply_attr(request, &st, FOREVER_S);
}

static void on_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
  if (node != NODE_DISK) {
    fuse_reply_err(request, EISDIR);
    return;
  }
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

static void on_read(fuse_req_t request, fuse_ino_t node, size_t length, off_t at, struct fuse_file_info *file) {
  (void)node, (void)file;
  uint64_t left = (uint64_t)at < served.size ? served.size - (uint64_t)at : 0;
  fuse_reply_buf(request, (const char *)served.bytes + at, length < left ? length : left);
}

static void on_write(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t length, off_t at,
                     struct fuse_file_info *file) {
  (void)node, (void)file;
  int failure = (uint64_t)at + length > served.size ? EFBIG : note(&served, DISK_WRITE, (uint64_t)at, bytes, length);
  if (failure) {
    fuse_reply_err(request, failure);
    return;
  }
  memcpy(served.bytes + at, bytes, length);
  fuse_reply_write(request, length);
}

static void on_fsync(fuse_req_t request, fuse_ino_t node, int data_only, struct fuse_file_info *file) {
  (void)node, (void)data_only, (void)file;
  fuse_reply_err(request, note(&served, DISK_FLUSH, 0, NULL, 0));
}

static const struct fuse_lowlevel_ops requests = {
    .lookup = on_lookup,
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
};

/* ---- the process ------------------------------------------------------------------------------------------------- */

static bool load(const char *image) {
  struct stat st;
  int fd = open(image, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0) return false;
  served.size = (uint64_t)st.st_size;
  served.bytes = mmap(NULL, served.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  close(fd);
  return served.bytes != MAP_FAILED;
}

/* Tells `ready` by a byte that requests will be answered. */
static int serve(const char *folder, const char *image, int ready) {
  char *words[] = {"crashblock", "-o", "fsname=crashblock", NULL};
  struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
  if (!load(image)) return 1;
  struct fuse_session *session = fuse_session_new(&arguments, &requests, sizeof requests, NULL);
  if (!session || fuse_session_mount(session, folder) != 0) return 1;
  if (write(ready, "", 1) != 1) return 1;
  int status = fuse_session_loop(session);
  note(&served, DISK_END, 0, NULL, 0);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return status != 0;
}

const char *disk_serve(const char *folder, const char *image, int written_fd, disk_log *log, const ledger *ledger,
                       pid_t *server) {
  int ready[2];
  char byte;
  served = (disk){.written_fd = written_fd, .log = log, .ledger = ledger};
  if (pipe(ready) < 0) return "no pipe";
  fflush(NULL);
  *server = fork();
  if (*server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ready[0]);
    _exit(serve(folder, image, ready[1]));
  }
  close(ready[1]);
  bool serves = *server > 0 && read(ready[0], &byte, 1) == 1;
  close(ready[0]);
  return serves ? NULL : "the FUSE file system could not be mounted";
}
