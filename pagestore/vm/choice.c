/* choice.c - which tracker a region gets, and for `auto` when it changes.
 *
 * A scan costs time for what is resident, faults cost time for what a message writes; which is less depends on the
 * guest. At each boundary the cost of the message under the tracker in use is compared with the predicted cost under
 * the other one, and the regret is summed up. Once it has passed a part of what switching costs, the region
 * switches, and the part is doubled: a guest that alternates pays ever more rarely.
 *
 * The figures are those of DESIGN.md section 6; only their ratios matter.
 * Invariant: no switch while a block is dirty; a switch leaves every present block protected, or known as dirty.
 * Thread:    the region's, at open and at boundaries; not in the handler.
 */
#include "base/check.h"
#include "base/status.h"
#include "vm/tracker.h"

#define SCAN_NS_PER_BLOCK 2.0        /* resident */
#define SCAN_NS_PER_STRETCH 800.0    /* of pages near each other: a call */
#define SCAN_NS_PER_DIRTY 1300.0     /* block: the kernel's own write fault */
#define FAULT_NS_PER_SIGNAL 10000.0  /* signal, ioctl, return: one for a page with one dirty block, else two */
#define SWITCH_NS_PER_MIB 25000.0    /* resident: the page table is walked and protected */
#define NOISE_NS 50000.0             /* a difference that no boundary would notice: a stored page costs 45 us */
#define FIRST_FACTOR 0.125           /* of the switch cost */

static bool is_supported(const os_support *have, const tracker *t) {
  if (t == &tracker_scan) return have->async;
  if (t == &tracker_fault) return have->sync;
  return t != &tracker_plain || have->async || have->sync;
}

static int attach(region *r, const tracker *t, const char *reason) {
  r->tracker = t;
  r->choice.reason = reason;
  return t->attach(r);
}

static int attach_asked(region *r, const tracker *t, const os_support *have, const char *name) {
  if (!is_supported(have, t))
    return fail(PAGESTORE_EUNSUPPORTED, "tracker '%s' is not available here (userfaultfd: %s; scan needs Linux 6.7 and "
                "/proc); use 'auto' or 'mprotect'", name, have->userfaultfd);
  int status = attach(r, t, "asked for");
  if (status != PAGESTORE_OK) return fail(status, "the kernel refused to register the memory with tracker '%s'", name);
  return status;
}

/* The first that works: support may be there and registering be refused. mprotect always works. */
static int attach_auto(region *r, const os_support *have) {
  r->choice.on = true;
  r->choice.factor = FIRST_FACTOR;
  if (is_supported(have, &tracker_scan) &&
      attach(r, &tracker_scan, "auto: the scan; per-page faults have not been the cheaper so far") == PAGESTORE_OK)
    return PAGESTORE_OK;
  if (is_supported(have, &tracker_fault) &&
      attach(r, &tracker_fault, "auto: per-page faults; the scan needs Linux 6.7 and /proc") == PAGESTORE_OK)
    return PAGESTORE_OK;
  r->choice.on = false;
  return attach(r, &tracker_mprotect, "auto: mprotect; userfaultfd is missing or refused (see region_probe)");
}

static int attach_untracked(region *r, pagestore_tracker asked, const os_support *have) {
  const char *why = r->read_only ? "nothing can be written" : "the host marks what it writes";
  if (asked != PAGESTORE_TRACK_MPROTECT && is_supported(have, &tracker_plain) &&
      attach(r, &tracker_plain, why) == PAGESTORE_OK)
    return PAGESTORE_OK;
  return attach(r, &tracker_mprotect, why);
}

int choose_tracker(region *r, pagestore_tracker asked) {
  os_support have = os_support_now();
  if (r->read_only || r->marks_only) return attach_untracked(r, asked, &have);
  switch (asked) {
  case PAGESTORE_TRACK_SCAN: return attach_asked(r, &tracker_scan, &have, "scan");
  case PAGESTORE_TRACK_FAULT: return attach_asked(r, &tracker_fault, &have, "fault");
  case PAGESTORE_TRACK_MPROTECT: return attach_asked(r, &tracker_mprotect, &have, "mprotect");
  case PAGESTORE_TRACK_AUTO: break;
  }
  return attach_auto(r, &have);
}

/* ---- switching -------------------------------------------------------------------------------------------------- */

static double cost_ns(const region *r, const tracker *t, dirty_count d) {
  if (t == &tracker_fault) return FAULT_NS_PER_SIGNAL * (double)min_u64(d.blocks, 2 * d.pages);
  return SCAN_NS_PER_BLOCK * (double)(r->resident.count * PAGE_BLOCKS) + SCAN_NS_PER_DIRTY * (double)d.blocks +
         SCAN_NS_PER_STRETCH * (double)r->choice.stretches;
}

static double switch_cost_ns(const region *r) {
  return SWITCH_NS_PER_MIB * (double)r->resident.count * PAGE_BYTES / (1024 * 1024);
}

/* What could not be protected counts as written to, message after message, until protecting it works. */
static void suspect_present(region *r) {
  for (uint64_t p = pageset_next(&r->resident, 0); p != PAGESET_END; p = pageset_next(&r->resident, p + 1)) {
    region_move(r, p, r->blocks[p].present, MOVE_OPEN);
    pageset_add(&r->inexact, p);
  }
}

static void switch_to(region *r, const tracker *next, const char *reason) {
  const tracker *before = r->tracker;
  const char *reason_before = r->choice.reason;
  if (before->detach(r) != PAGESTORE_OK) return;
  if (attach(r, next, reason) != PAGESTORE_OK && attach(r, before, reason_before) != PAGESTORE_OK) {
    /* Registered with neither, absent blocks would read as zeros. */
    note_failure(r, 0, PAGESTORE_EIO);
    wall(r);
    return;
  }
  if (userfault_protect_present(r) != PAGESTORE_OK) suspect_present(r);
}

void reconsider_tracker(region *r, dirty_count d) {
  if (!r->choice.on || r->walled || r->dirty.count != 0 || r->broken.count != 0) return;
  bool is_scan = r->tracker == &tracker_scan;
  const tracker *other = is_scan ? &tracker_fault : &tracker_scan;
  double regret = cost_ns(r, r->tracker, d) - cost_ns(r, other, d);
  if (regret > -NOISE_NS && regret < NOISE_NS) return;
  r->choice.regret_ns += regret;
  if (r->choice.regret_ns < 0) r->choice.regret_ns = 0;
  if (r->choice.regret_ns <= r->choice.factor * switch_cost_ns(r)) return;
  os_support have = os_support_now();
  r->choice.regret_ns = 0;
  r->choice.factor *= 2;
  if (!is_supported(&have, other)) return;
  /* A write since the owner collected would be lost: the other descriptor does not know of it. */
  if (r->tracker->collect(r) != PAGESTORE_OK || r->dirty.count != 0) return;
  switch_to(r, other,
            is_scan ? "auto: per-page faults; scanning what is resident cost more than faulting what messages write"
                    : "auto: the scan; messages write so many pages that faulting each cost more than scanning");
}
