/* writer.c - see writer.h. The lock of a store is an flock on its directory, which /proc/locks lists with its owner. */
#include "writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "text.h"

static int owner_of_lock(const char *store) {
  struct stat st;
  char line[256], kind[16];
  int pid = 0;
  if (stat(store, &st) != 0) return 0;
  FILE *f = fopen("/proc/locks", "re");
  while (f && fgets(line, sizeof line, f)) {
    unsigned device_major, device_minor;
    uint64_t inode;
    int owner;
    if (sscanf(line, "%*s %15s %*s WRITE %d %x:%x:%" SCNu64, kind, &owner, &device_major, &device_minor, &inode) == 5 &&
        strcmp(kind, "FLOCK") == 0 && inode == st.st_ino && device_major == major(st.st_dev) &&
        device_minor == minor(st.st_dev))
      pid = owner > 0 ? owner : 0;
  }
  if (f) fclose(f);
  return pid;
}

static FILE *open_about(int pid, const char *what) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
  return fopen(path, "re");
}

/* proc(5): behind the name in brackets, utime and stime are the 12th and 13th field, resident pages the 22nd. */
static bool read_stat(writer *w) {
  char line[1024];
  uint64_t user = 0, system = 0, pages = 0;
  FILE *f = open_about(w->pid, "stat");
  bool is_there = f && fgets(line, sizeof line, f);
  if (f) fclose(f);
  char *begin = is_there ? strchr(line, '(') : NULL, *end = begin ? strrchr(begin, ')') : NULL;
  if (!end) return false;
  text_escape(begin + 1, (size_t)(end - begin - 1), w->name, sizeof w->name);
  if (sscanf(end + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
                      " %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
             &user, &system, &pages) != 3)
    return false;
  w->cpu_ns = (uint64_t)((double)(user + system) * 1e9 / (double)sysconf(_SC_CLK_TCK));
  w->resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
  return true;
}

/* Only the same user and root may look. */
static void read_io(writer *w) {
  char line[128];
  FILE *f = open_about(w->pid, "io");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "write_bytes: %" SCNu64, &w->written_bytes) == 1) w->io_known = true;
  if (f) fclose(f);
}

void writer_find(const char *store, writer *out) {
  *out = (writer){.pid = owner_of_lock(store)};
  if (out->pid == 0) return;
  if (read_stat(out)) read_io(out);
  else *out = (writer){0};
}
