/* block_log_drain.c - a line whose blocks have to be in rows: all at once, for somebody waits, or ahead of that.
 *
 * A snapshot drains its instance's line, and commits behind it wait meanwhile. Where that happens again and again, each
 * time for many pages, they are merged ahead, along with the commits that log them: twice as many at most as the last
 * time took, so that it ends when the snapshots do. The contract is in block_log.h.
 */
#include "base/check.h"
#include "storage/block_log_inside.h"

enum { AHEAD_KEPT = 32 };  /* pages of a line that are not merged ahead */

int block_log_drain(block_log *l, writer *w, log_line *line, uint64_t pages, merge_at *at) {
  return block_log_merge_line(l, w, line, UINT64_MAX, &pages, at);
}

/* What comes to the line later must be in later records. */
void block_log_drained(block_log *l, log_line *line, uint64_t pages_merged) {
  uint64_t needed = pages_merged + line->ahead.merged;
  line->merged_through = l->sequence_next - 1;
  line->ahead = (log_ahead){.left = needed >= 2 * AHEAD_KEPT ? 2 * needed : 0};
  l->last.count = 0;
}

/* Goes round the line's pages, as many at a time as were added, and leaves a few: they may get more blocks. */
int block_log_merge_ahead(block_log *l, writer *w, log_line *line, uint64_t *pages) {
  log_ahead *a = &line->ahead;
  if (a->left == 0 || a->logged <= AHEAD_KEPT || *pages == 0) return 0;
  uint64_t wanted = min_u64(a->logged - AHEAD_KEPT, *pages), left = wanted, before = w->rows_put;
  int err = block_log_merge_line(l, w, line, UINT64_MAX, &left, &a->at);
  uint64_t merged = w->rows_put - before;
  *pages -= wanted - left;
  a->merged += merged;
  a->left -= min_u64(a->left, merged);
  a->logged -= min_u64(a->logged, merged);
  if (err != 0 || !a->at.done) return err;
  a->at = (merge_at){0};
  a->logged = a->logged_in_pass;
  a->logged_in_pass = 0;
  return 0;
}

bool block_log_is_drained(const block_log *l, const log_line *line) {
  return atomic_load(&line->blocks) == NULL || line->merged_through == l->sequence_next - 1;
}
