/* platform.c - the kernel, the process and the libraries, as far as they matter here. */
#include "platform.h"

#include <string.h>

#include "base/ram.h"
#include "base/status.h"
#include "base/units.h"
#include "input.h"
#include "storage/db.h"
#include "vm/region.h"

pagestore_tracker platform_tracker(const char **reason) {
  region_support support = region_probe();
  if (support.scan) {
    *reason = "auto: userfaultfd with async write-protect; per memory, faults where scanning costs more";
    return PAGESTORE_TRACK_SCAN;
  }
  if (support.fault) {
    *reason = "auto: the kernel has no async write-protect";
    return PAGESTORE_TRACK_FAULT;
  }
  *reason = support.userfaultfd;
  return PAGESTORE_TRACK_MPROTECT;
}

int pagestore_probe(pagestore_platform *out) {
  if (!out) return input_null("platform");
  region_support support = region_probe();
  pagestore_platform now = {
      .size = sizeof now,
      .tracker_scan = support.scan,
      .tracker_fault = support.fault,
      .userfaultfd = support.userfaultfd,
      .memory_bytes = ram_bytes(),
      .lmdb = db_version(),
      .lmdb_hazard = db_hazard(),
  };
  now.tracker = platform_tracker(&now.tracker_reason);
  size_t size = out->size;
  if (size < sizeof size || size > 4096)
    return fail(PAGESTORE_EINVAL, "pagestore_platform.size is %zu: set it to sizeof the struct", size);
  if (size > sizeof now) memset((uint8_t *)out + sizeof now, 0, size - sizeof now);
  memcpy(out, &now, min_u64(size, sizeof now));
  out->size = size;
  return 0;
}
