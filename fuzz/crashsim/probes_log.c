/* probes_log.c - see probes.h: every commit rewrites every page, so that what each transaction frees is what the next ones want.
 *
 * The log is proved as that of the workloads is, but without moments: what LMDB writes where, and in which order. Nothing is
 * acknowledged in it.
 */
#include "chronicle.h"
#include "disk.h"
#include "probes.h"
#include "prove.h"
#include "record.h"

enum { REWRITES = 10 };

static void rewrite(probe_host *h, dice *d) {
  for (uint64_t page = 0; page < PROBE_PAGES; page++)
    probe_fill(h->base + page * PAGESTORE_PAGE, PAGESTORE_PAGE, 1 + dice_roll(d) % 1000000);
  PROBE_OK(pagestore_commit(h->instance, 0, NULL));
}

void probe_rewriting(dice *d) {
  probe_host h = {0};
  record_log log;
  chronicle none;
  probe_folder(&h);
  chronicle_begin(&none, NULL);
  record_start(&log, h.folder, false);
  probe_open(&h);
  for (int round = 0; round < REWRITES; round++) {
    rewrite(&h, d);
    if (round == REWRITES / 2) PROBE_OK(pagestore_snapshot_create(h.instance, "s", 0));
    if (round == REWRITES - 2) PROBE_OK(pagestore_snapshot_drop(h.store, "i", "s", 0));
  }
  probe_close(&h);
  record_stop();
  prove_log(&log, &none, NO_STORE, NO_STORE);
  chronicle_free(&none);
  record_free(&log);
}
