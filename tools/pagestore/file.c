/* file.c - see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complain.h"

static bool fail_file(const file *f, const char *what, const char *next) {
  if (errno != EPIPE)
    complain("%s: %s: %s; %s", strcmp(f->path, "-") == 0 ? "stdin or stdout" : f->path, what, strerror(errno), next);
  return false;
}

bool file_stdout_takes_bytes(void) {
  if (!isatty(STDOUT_FILENO)) return true;
  complain("the bytes are not for a terminal: name a file, or send the output into one");
  return false;
}

bool file_create(file *f, const char *path) {
  struct stat st;
  *f = (file){.path = path, .fd = STDOUT_FILENO};
  if (strcmp(path, "-") == 0) return file_stdout_takes_bytes();
  if (lstat(path, &st) == 0) {
    complain("%s is there already: remove it, or name another file", path);
    return false;
  }
  if (asprintf(&f->partial, "%s.partial-%ld", path, (long)getpid()) < 0) {
    f->partial = NULL;
    complain_memory();
    return false;
  }
  f->fd = open(f->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  f->seekable = true;
  if (f->fd >= 0) return true;
  fail_file(f, "cannot be made", "name a file in a directory that you may write to");
  free(f->partial);
  return false;
}

bool file_open_in(file *f, const char *path) {
  *f = (file){.path = path, .fd = STDIN_FILENO};
  if (strcmp(path, "-") != 0) f->fd = open(path, O_RDONLY | O_CLOEXEC);
  if (f->fd < 0) return fail_file(f, "cannot be opened", "check the name and the permissions");
  if (f->fd == STDIN_FILENO && isatty(STDIN_FILENO)) {
    complain("the bytes do not come from a terminal: name a file, or send one into the input");
    return false;
  }
  struct stat st;
  f->seekable = fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode);
  f->bytes = f->seekable ? (uint64_t)st.st_size : 0;
  return true;
}

bool file_put(file *f, const void *bytes, size_t length) {
  for (const char *at = bytes; length > 0;) {
    ssize_t done = write(f->fd, at, length);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail_file(f, "cannot be written", "make room and try again");
    at += done;
    length -= (size_t)done;
  }
  return true;
}

bool file_put_zeros(file *f, uint64_t length) {
  static const char zeros[1 << 16];
  if (f->seekable) {
    off_t at = lseek(f->fd, (off_t)length, SEEK_CUR);
    if (at < 0 || ftruncate(f->fd, at) != 0)
      return fail_file(f, "cannot be made longer", "the file system's limit is lower");
    return true;
  }
  for (; length > 0; length -= length < sizeof zeros ? length : sizeof zeros)
    if (!file_put(f, zeros, length < sizeof zeros ? (size_t)length : sizeof zeros)) return false;
  return true;
}

bool file_get(file *f, void *to, size_t room, size_t *length) {
  *length = 0;
  while (*length < room) {
    ssize_t done = read(f->fd, (char *)to + *length, room - *length);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail_file(f, "cannot be read", "check the disk and try again");
    if (done == 0) break;
    *length += (size_t)done;
  }
  return true;
}

/* A name that appeared meanwhile is not overwritten. */
static bool put_under_name(file *f) {
  if (fsync(f->fd) != 0) return fail_file(f, "cannot be synced", "check the disk and try again");
  if (renameat2(AT_FDCWD, f->partial, AT_FDCWD, f->path, RENAME_NOREPLACE) == 0) return true;
  if (errno == EINVAL && access(f->path, F_OK) != 0 && rename(f->partial, f->path) == 0) return true;
  return fail_file(f, "cannot be put under its name", "name another file");
}

int file_finish(file *f, bool whole) {
  if (f->partial) {
    if (whole) whole = put_under_name(f);
    if (!whole) unlink(f->partial);
    free(f->partial);
  }
  if (f->fd > STDERR_FILENO && close(f->fd) != 0 && whole) whole = fail_file(f, "cannot be closed", "check the disk");
  return whole ? EXIT_OK : EXIT_FAILED;
}
