/* doctor.c - what this machine, this process's limits and a store's file system mean for pagestore.
 *
 * A list of findings: what was looked at, what it is, and advice where something is missing or dangerous. Ends with 1
 * if there is any advice.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "complain.h"
#include "look.h"
#include "report.h"
#include "text.h"

enum { MAPPINGS_FEW = 65530, ADDRESS_SPACE_NEEDED_GIB = 1024, DESCRIPTORS_FEW = 256 };

static const column columns[] = {{"what", CELL_TEXT}, {"found", CELL_PROSE}, {"advice", CELL_PROSE}};

typedef struct {
  report *report;
  bool advised;
} doctor;

static void tell(doctor *d, const char *what, const char *found, const char *advice) {
  d->advised |= advice != NULL;
  report_row(d->report, (cell[]){of_text(what), of_text(found), of_text(advice)});
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void tell_kernel(doctor *d) {
  struct utsname name;
  char text[200];
  if (uname(&name) != 0) return;
  snprintf(text, sizeof text, "%.60s %.60s, %.40s", name.sysname, name.release, name.machine);
  tell(d, "kernel", text, NULL);
  snprintf(text, sizeof text, "%ld bytes", sysconf(_SC_PAGESIZE));
  tell(d, "page size", text,
       sysconf(_SC_PAGESIZE) == 4096 ? NULL : "pagestore needs 4,096: use a kernel with such pages");
}

static void tell_platform(doctor *d) {
  pagestore_platform p = {.size = sizeof p};
  char text[100];
  int status = pagestore_probe(&p);
  if (status) {
    tell(d, "platform", "could not be looked at", pagestore_detail());
    return;
  }
  bool some = p.tracker_scan || p.tracker_fault;
  tell(d, "userfaultfd", p.userfaultfd,
       some ? NULL : "writes are found by mprotect and signals, which costs a mapping each: allow userfaultfd");
  snprintf(text, sizeof text, "mprotect%s%s", p.tracker_fault ? ", fault" : "", p.tracker_scan ? ", scan" : "");
  tell(d, "trackers", text, NULL);
  tell(d, "auto takes", p.tracker_reason, NULL);
  snprintf(text, sizeof text, "%s", text_units(p.memory_bytes, (char[TEXT_SIZE]){0}));
  tell(d, "memory", text, NULL);
  tell(d, "LMDB", p.lmdb, p.lmdb_hazard);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static bool read_number(const char *path, uint64_t *out) {
  FILE *f = fopen(path, "re");
  bool is_there = f && fscanf(f, "%" SCNu64, out) == 1;
  if (f) fclose(f);
  return is_there;
}

static void tell_setting(doctor *d, const char *what, const char *path, bool (*bad)(uint64_t), const char *advice) {
  uint64_t value;
  char text[32];
  if (!read_number(path, &value)) return;
  snprintf(text, sizeof text, "%" PRIu64, value);
  tell(d, what, text, bad(value) ? advice : NULL);
}

static bool is_few_mappings(uint64_t value) { return value < MAPPINGS_FEW; }
static bool is_strict(uint64_t value) { return value == 2; }
static bool is_few_descriptors(uint64_t value) { return value < DESCRIPTORS_FEW; }
static bool is_little_space(uint64_t value) { return value >> 30 < ADDRESS_SPACE_NEEDED_GIB; }

static void tell_limit(doctor *d, const char *what, int resource, bool (*bad)(uint64_t), const char *advice) {
  struct rlimit limit;
  char text[32];
  if (getrlimit(resource, &limit) != 0) return;
  if (limit.rlim_cur == RLIM_INFINITY) {
    tell(d, what, "unlimited", NULL);
    return;
  }
  snprintf(text, sizeof text, "%" PRIu64, (uint64_t)limit.rlim_cur);
  tell(d, what, text, bad(limit.rlim_cur) ? advice : NULL);
}

static void tell_limits(doctor *d) {
  tell_setting(d, "vm.max_map_count", "/proc/sys/vm/max_map_count", is_few_mappings,
               "many open memories need many mappings: raise it with sysctl");
  tell_setting(d, "vm.overcommit_memory", "/proc/sys/vm/overcommit_memory", is_strict,
               "reservations of large memories count in full and may be refused: set 0 or 1");
  tell_limit(d, "address space (ulimit -v)", RLIMIT_AS, is_little_space,
             "LMDB's map and memories share it: raise it, or give map_bytes and max_pages that fit");
  tell_limit(d, "descriptors (ulimit -n)", RLIMIT_NOFILE, is_few_descriptors, "raise it for many stores");
}

/* ---- engines --------------------------------------------------------------------------------- */

static void tell_engine(doctor *d, const char *name) {
  const char *path = getenv("PATH");
  char copy[4096], file[4400];
  snprintf(copy, sizeof copy, "%s", path ? path : "");
  for (char *rest = copy, *folder; (folder = strtok_r(rest, ":", &rest)) != NULL;) {
    snprintf(file, sizeof file, "%s/%s", folder, name);
    if (access(file, X_OK) != 0) continue;
    tell(d, name, file, NULL);
    return;
  }
  tell(d, name, "not in PATH", NULL);
}

/* ---- the store ------------------------------------------------------------------------------- */

/* statfs(2) f_type; not all are in the kernel's header. */
static const struct {
  long type;
  const char *name, *advice;
} file_systems[] = {
    {EXT4_SUPER_MAGIC, "ext4", NULL},
    {XFS_SUPER_MAGIC, "xfs", NULL},
    {BTRFS_SUPER_MAGIC, "btrfs", "copy on write makes LMDB's file scattered: chattr +C on the empty directory"},
    {TMPFS_MAGIC, "tmpfs", "nothing here survives a restart of the machine"},
    {NFS_SUPER_MAGIC, "nfs", "LMDB's mapping and locks do not work over networks: use a local disk"},
    {SMB2_SUPER_MAGIC, "smb", "LMDB's mapping and locks do not work over networks: use a local disk"},
    {0xff534d42, "cifs", "LMDB's mapping and locks do not work over networks: use a local disk"},
    {0x01021997, "9p", "LMDB's mapping and locks do not work over networks: use a local disk"},
    {0x00c36400, "ceph", "LMDB's mapping and locks do not work over networks: use a local disk"},
    {OVERLAYFS_SUPER_MAGIC, "overlayfs",
     "the first write copies the whole file, and a container's layer goes with it: mount a volume"},
    {0x65735546, "fuse", "whether a sync reaches the disk is up to the program behind it: ask its documentation"},
    {0x2fc12fc1, "zfs", NULL},
    {0xf2f52010, "f2fs", NULL},
};

static void tell_file_system(doctor *d, const char *path) {
  struct statfs fs;
  char text[100], free_text[TEXT_SIZE];
  if (statfs(path, &fs) != 0) {
    tell(d, "file system", strerror(errno), "check the path");
    return;
  }
  const char *name = NULL, *advice = NULL;
  for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems && !name; i++)
    if ((unsigned long)file_systems[i].type == ((unsigned long)fs.f_type & 0xffffffff)) {
      name = file_systems[i].name;
      advice = file_systems[i].advice;
    }
  if (name) snprintf(text, sizeof text, "%s", name);
  else snprintf(text, sizeof text, "type 0x%lx", (unsigned long)fs.f_type);
  tell(d, "file system", text, advice);
  uint64_t free_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
  tell(d, "free on it", text_units(free_bytes, free_text),
       free_bytes >> 20 < 64 ? "commits will be refused soon: make room" : NULL);
}

static int tell_store(doctor *d, const invocation *v) {
  pagestore_store *store;
  pagestore_store_info info = {.size = sizeof info};
  char text[TEXT_SIZE];
  tell_file_system(d, v->operand[0]);
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  int status = pagestore_store_stat(store, &info);
  if (!status) {
    snprintf(text, sizeof text, "%" PRIu32, info.format_version);
    tell(d, "format", text, NULL);
    tell(d, "file", text_units(info.file_bytes, text), NULL);
    bool mostly_free = info.free_bytes > info.file_bytes / 2 && info.file_bytes >> 20 > 64;
    tell(d, "free in it", text_units(info.free_bytes, text),
         mostly_free ? "`pagestore compact` makes the file smaller" : NULL);
  }
  pagestore_close(store);
  return status ? complain_status(status, NULL) : EXIT_OK;
}

int command_doctor(const invocation *v) {
  doctor d = {.report = report_new(option_given(v, "json"))};
  if (!d.report) return EXIT_FAILED;
  report_sheet(d.report, "findings", columns, sizeof columns / sizeof *columns);
  tell_kernel(&d);
  tell_platform(&d);
  tell_limits(&d);
  tell_engine(&d, "wasm2c");
  tell_engine(&d, "wasmtime");
  int code = v->operands ? tell_store(&d, v) : EXIT_OK;
  if (code == EXIT_OK && d.advised) code = EXIT_FOUND;
  return report_finish(d.report, code);
}
