/* tracker.h - how a region is loaded and how its writes are noticed: one interface, four ways.
 *
 *   tracker            absent block         first write to a clean block            dirty blocks known
 *   scan               missing: SIGBUS      the kernel notes it, no signal          by scanning the page table
 *   fault              missing: SIGBUS      protected: SIGBUS, twice per page       as faulted: one block, or the page
 *   mprotect           PROT_NONE: SIGSEGV   PROT_READ: SIGSEGV, once per block      as faulted
 *   plain              missing: SIGBUS      not noticed (EXPLICIT), forbidden (READ) by region_mark
 *
 * All run in the fault handler (no lock, no allocation, small frames) but attach, detach and collect.
 * Results: 0 or a negative PAGESTORE_E... without text.
 */
#ifndef PAGESTORE_VM_TRACKER_H
#define PAGESTORE_VM_TRACKER_H

#include "vm/internal.h"

struct tracker {
  region_tracker name;

  /* Absence is PROT_NONE, not a missing page: faults are SIGSEGV, the inside of a new region is PROT_NONE, pages are
   * present whole or not at all. */
  bool loads_by_protection;

  int (*attach)(region *);
  int (*detach)(region *);

  /* Loading: begin, then load_page for absent ones, end. ENOMEM from begin: too many mappings, widen (load_wide). */
  int (*load_begin)(region *, uint64_t first, uint64_t count);
  /* NULL: zeros. What came is moved, also on failure */
  int (*load_page)(region *, uint64_t page, const uint8_t *bytes);
  void (*load_end)(region *, uint64_t first, uint64_t count);

  /* present blocks become writable and dirty. NULL: always are */
  int (*open)(region *, uint64_t page, uint16_t blocks);
  int (*shut)(region *, uint64_t first, uint64_t count);   /* open pages are protected again */
  /* all writes so far are in the books; EIO as region_collect */
  int (*collect)(region *);
  uint16_t (*unseen)(region *, uint64_t page);             /* written, not yet in the books. NULL: none ever */
  int (*drop)(region *, const block_run *, unsigned count);  /* DROPS_MAX at most */
  int64_t (*mappings)(const region *);                     /* as the books have it. NULL: two */
};

extern const tracker tracker_scan, tracker_fault, tracker_mprotect, tracker_plain;

/* Open pages are what the trackers that open pages know. */
int collect_open(region *);

/* userfault.c: what scan, fault and plain share. */
int userfault_attach(region *, os_uffd_kind, bool write_protect);
int userfault_detach(region *);
int userfault_load_begin(region *, uint64_t first, uint64_t count);
void userfault_load_end(region *, uint64_t first, uint64_t count);
int userfault_load_page(region *, uint64_t page, const uint8_t *bytes, bool write_protect);
int userfault_drop(region *, const block_run *, unsigned count);
int userfault_protect_present(region *);  /* every present block, after a change of tracker */

#endif
