/* bench.c - `pagestore bench`: executes the benchmark of that name, a program bench-NAME beside this one, or, where
 * this one is installed in PREFIX/bin, in PREFIX/libexec/pagestore.
 *
 * They are programs of their own because they need what `pagestore` must not: engines, translated modules, other stores
 * to compare with. Theirs are the options, the output and the exit code.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "complain.h"

static const char prefix[] = "bench-";

/* The folder of this program; false: complained. */
static bool own_folder(char *folder) {
  ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);
  if (length < 0) {
    complain("cannot tell where this program is: %s", strerror(errno));
    return false;
  }
  folder[length] = 0;
  *strrchr(folder, '/') = 0;
  return true;
}

/* false: the folder cannot be read, as when nothing is installed there. */
static bool list_folder(const char *folder, int *shown) {
  struct dirent **found;
  int count = scandir(folder, &found, NULL, alphasort);
  if (count < 0) return false;
  for (int i = 0; i < count; i++) {
    if (strncmp(found[i]->d_name, prefix, sizeof prefix - 1) == 0)
      *shown += puts(found[i]->d_name + sizeof prefix - 1) >= 0;
    free(found[i]);
  }
  free(found);
  return true;
}

static int list_all(const char *folder, const char *installed) {
  int shown = 0;
  if (!list_folder(folder, &shown)) {
    complain("%s: cannot be read: %s", folder, strerror(errno));
    return EXIT_FAILED;
  }
  (void)list_folder(installed, &shown);
  if (shown) return EXIT_OK;
  complain("no benchmarks are here: neither %s nor %s has a program %sNAME", folder, installed, prefix);
  return EXIT_FAILED;
}

int command_bench(const invocation *v) {
  char folder[PATH_MAX], installed[PATH_MAX + 32], path[PATH_MAX + 350];
  if (!own_folder(folder)) return EXIT_FAILED;
  snprintf(installed, sizeof installed, "%s/../libexec/pagestore", folder);
  if (v->word_count == 0) return list_all(folder, installed);
  const char *name = v->words[0];
  if (strchr(name, '/') || strlen(name) > 255) return complain_usage(v->command, "'%s' is no benchmark's name", name);
  snprintf(path, sizeof path, "%s/%s%s", installed, prefix, name);
  execv(path, v->words);
  snprintf(path, sizeof path, "%s/%s%s", folder, prefix, name);
  execv(path, v->words);
  complain("%s: %s; `pagestore bench` lists what is built", path, strerror(errno));
  return EXIT_FAILED;
}
