/* folder.c - making and removing folders; see folder.h. */
#include "fuzz/support/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void folder_new(char path[FOLDER_PATH_MAX], const char *name) {
  const char *parent = getenv("TMPDIR");
  int length = snprintf(path, FOLDER_PATH_MAX, "%s/pagestore-%s.XXXXXX", parent && *parent ? parent : "/tmp", name);
  if (length < FOLDER_PATH_MAX && mkdtemp(path)) return;
  fprintf(stderr, "no folder can be made as %s: %s: set TMPDIR to one that can be written\n", path, strerror(errno));
  exit(2);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)kind, (void)at;
  return remove(path);
}

void folder_remove(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }
