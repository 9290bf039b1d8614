/* ram.c - the machine's memory and the limits of the groups above us. The contract is in ram.h. */
#include "base/ram.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"

/* The file's beginning as a text; false: it cannot be read. */
static bool read_text(const char *path, char *to, size_t room) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t got = read(fd, to, room - 1);
  close(fd);
  to[got > 0 ? got : 0] = 0;
  return got > 0;
}

/* A number of bytes; UINT64_MAX where the file has none ("max") or is not there. */
static uint64_t limit_in(const char *folder, const char *group, const char *file) {
  char path[PATH_MAX], text[32];
  if (snprintf(path, sizeof path, "%s%s/%s", folder, group, file) >= (int)sizeof path) return UINT64_MAX;
  if (!read_text(path, text, sizeof text) || text[0] < '0' || text[0] > '9') return UINT64_MAX;
  return strtoull(text, NULL, 10);
}

/* The least of the group's limit and of those above it. Cuts `group` short. */
static uint64_t limit_of(const char *folder, char *group, const char *file) {
  uint64_t least = limit_in(folder, "", file);
  for (char *slash; (slash = strrchr(group, '/')) != NULL; *slash = 0)
    least = min_u64(least, limit_in(folder, group, file));
  return least;
}

/* A line of /proc/self/cgroup: "0::GROUP" of version 2, "ID:CONTROLLERS:GROUP" of version 1. */
static uint64_t limit_by(char *line) {
  char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
  if (!group) return UINT64_MAX;
  *controllers++ = *group++ = 0;
  if (!*controllers) return limit_of("/sys/fs/cgroup", group, "memory.max");
  for (char *rest = controllers, *name; (name = strtok_r(rest, ",", &rest)) != NULL;)
    if (strcmp(name, "memory") == 0) return limit_of("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
  return UINT64_MAX;
}

uint64_t ram_bytes(void) {
  uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  char lines[8192];
  if (!read_text("/proc/self/cgroup", lines, sizeof lines)) return least;
  for (char *rest = lines, *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) least = min_u64(least, limit_by(line));
  return least;
}
