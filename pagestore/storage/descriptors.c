/* descriptors.c - see descriptors.h. */
#include "storage/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void descriptors_find(const char *path, const char *name, descriptors *out) {
  char file[PATH_MAX];
  struct stat wanted, found;
  if (snprintf(file, sizeof file, "%s/%s", path, name) >= (int)sizeof file || stat(file, &wanted) != 0) return;
  DIR *d = opendir("/proc/self/fd");
  if (!d) return;
  for (struct dirent *e; (e = readdir(d)) != NULL && out->count < DESCRIPTORS_MAX;) {
    char *end;
    long fd = strtol(e->d_name, &end, 10);
    if (end == e->d_name || fstat((int)fd, &found) != 0) continue;
    if (found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino) out->fd[out->count++] = (int)fd;
  }
  closedir(d);
}

static bool descriptors_have(const descriptors *d, int fd) {
  for (size_t i = 0; i < d->count; i++)
    if (d->fd[i] == fd) return true;
  return false;
}

void descriptors_claim(const descriptors *before, const descriptors *after, descriptors *claimed) {
  claimed->count = 0;
  for (size_t i = 0; i < after->count; i++) {
    if (descriptors_have(before, after->fd[i])) continue;
    int flags = fcntl(after->fd[i], F_GETFD);
    if (flags >= 0) fcntl(after->fd[i], F_SETFD, flags | FD_CLOEXEC);
    claimed->fd[claimed->count++] = after->fd[i];
  }
}
