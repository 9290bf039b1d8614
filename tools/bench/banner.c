/* banner.c - under what a benchmark ran: processor, kernel, memory, file system, libraries. */
#include <errno.h>
#include <lmdb.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "harness.h"
#include "peers.h"

enum { VALUE_BYTES = 400 };

static void processor(char *value) {
  char line[512], model[200] = "unknown";
  FILE *f = fopen("/proc/cpuinfo", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "model name : %199[^\n]", model) == 1) break;
  if (f) fclose(f);
  snprintf(value, VALUE_BYTES, "%s, %ld online", model, sysconf(_SC_NPROCESSORS_ONLN));
}

static void kernel(char *value) {
  struct utsname name;
  double load[3] = {0};
  need_os(uname(&name) == 0, "uname");
  if (getloadavg(load, 3) < 1) load[0] = 0;
  snprintf(value, VALUE_BYTES, "%.60s %.60s, load %.1f", name.sysname, name.release, load[0]);
}

/* The line of the mount that the folder's device is on; of several the last. */
static void file_system(const bench *b, char *value) {
  char line[4096], type[64], source[200], where[PATH_MAX];
  struct stat s;
  unsigned first, second;
  snprintf(value, VALUE_BYTES, "unknown");
  if (stat(b->folder, &s)) return;
  FILE *f = fopen("/proc/self/mountinfo", "re");
  while (f && fgets(line, sizeof line, f)) {
    const char *rest = strstr(line, " - ");
    if (!rest || sscanf(line, "%*d %*d %u:%u %*s %4095s", &first, &second, where) != 3) continue;
    if (makedev(first, second) != s.st_dev || sscanf(rest, " - %63s %199s", type, source) != 2) continue;
    snprintf(value, VALUE_BYTES, "%s on %s (%u:%u)%s", type, source, first, second,
             strcmp(type, "tmpfs") ? "" : ": no disk, so nothing here is durable");
  }
  if (f) fclose(f);
}

static void memory(const pagestore_platform *p, char *value) {
  char thp[100] = "unknown";
  FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
  if (f && !fgets(thp, sizeof thp, f)) thp[0] = 0;
  if (f) fclose(f);
  thp[strcspn(thp, "\n")] = 0;
  snprintf(value, VALUE_BYTES, "%.1f GiB; transparent huge pages %s", (double)p->memory_bytes / (double)GIB, thp);
}

static void libraries(char *value) {
  size_t length = (size_t)snprintf(value, VALUE_BYTES, "pagestore %s, %d.%d.%d of LMDB", pagestore_version(),
                                   MDB_VERSION_MAJOR, MDB_VERSION_MINOR, MDB_VERSION_PATCH);
  for (size_t i = 0; i < peers_count && length < VALUE_BYTES; i++)
    length += (size_t)snprintf(value + length, VALUE_BYTES - length, ", %s", peers_versions[i]());
}

void banner_each(const bench *b, banner_fn tell, void *env) {
  char value[VALUE_BYTES];
  pagestore_platform p = {.size = sizeof p};
  need(pagestore_probe(&p), "probe");
  processor(value);
  tell(env, "processor", value);
  kernel(value);
  tell(env, "kernel", value);
  memory(&p, value);
  tell(env, "memory", value);
  file_system(b, value);
  tell(env, "file system", value);
  libraries(value);
  tell(env, "libraries", value);
  tell(env, "auto takes", p.tracker_reason);
  tell(env, "userfaultfd", p.userfaultfd);
}
