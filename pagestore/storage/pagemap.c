/* pagemap.c - lookups: the indexes first, then the rows of the line's layers, each under its bound.
 *
 *   key order:  layer | memory | page | version inverted     so the first key >= (layer, memory, page, bound)
 *                                                            is the newest row of that page with version
 *                                                            <= bound, or belongs to another page
 *
 * Whatever touches bytes of the mapping after a seek runs in a callback of db_read_guarded: a fault there
 * comes back as EIO.
 * Thread: any, in a fault handler too. Everything here is on the stack.
 */
#include "storage/pagemap.h"

#include <string.h>

#include <pagestore.h>

#include "storage/rows.h"

static const uint8_t zero_block[BLOCK_BYTES];

/* ---- rows ------------------------------------------------------------------------------------ */

int pagemap_row(const pagemap *m, uint32_t memory, uint64_t page, row_place *place, bytes *value) {
  for (uint32_t i = 0; i < m->line->depth; i++) {
    const line_step *s = &m->line->steps[i];
    page_key found;
    bytes row;
    int err = row_seek(m->reader, (page_key){s->layer, memory, page, s->bound}, &found, &row);
    if (err == PAGESTORE_ENOTFOUND) continue;
    if (err != 0) return err;
    if (!row_same_page(found, (page_key){.layer = s->layer, .memory = memory, .page = page})) continue;
    *place = (row_place){s->layer, found.version};
    *value = row;
    return 0;
  }
  *place = (row_place){0, 0};
  *value = (bytes){NULL, 0};
  return 0;
}

/* ---- logged blocks --------------------------------------------------------------------------- */

/* How far down the line a layer is; depth: not in it. */
static uint32_t step_of(const line *l, uint64_t layer) {
  uint32_t i = 0;
  while (i < l->depth && l->steps[i].layer != layer) i++;
  return i;
}

uint16_t pagemap_logged(const pagemap *m, uint32_t memory, uint64_t page, row_place row, logged_page *out) {
  out->mask = 0;
  if (m->logged == NULL || unflushed_find_logged(m->logged, memory, page, out) == 0 || row.version == 0)
    return out->mask;
  uint32_t row_step = step_of(m->line, row.layer), log_step = step_of(m->line, m->logged_layer);
  if (row_step > log_step) return out->mask;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    if (row_step < log_step || out->version[i] <= row.version) out->mask &= (uint16_t) ~(1u << i);
  return out->mask;
}

typedef struct {
  const pagemap *map;
  uint32_t memory;
  uint64_t page;
  uint16_t wanted;
  const logged_page *found;
  uint8_t *scratch;
  uint64_t damaged;       /* out: the version of a damaged block */
} log_job;

static int load_logged_guarded(void *env) {
  log_job *job = env;
  const logged_page *f = job->found;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(job->wanted >> i & 1)) continue;
    log_address at = {job->map->logged_layer, job->page, f->version[i], job->memory, (uint8_t)i};
    job->damaged = at.version;
    int err = logged_block_check(f, i, job->map->store, &at);
    if (err != 0) return err;
    memcpy(job->scratch + (size_t)i * BLOCK_BYTES, log_record_block(f->record[i], f->slot[i]), BLOCK_BYTES);
  }
  return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
  bytes row;
  page_key key;
  id128 store;
  uint16_t wanted;        /* the blocks that no index overrides */
  uint8_t *scratch;       /* gets the wanted blocks, unless all are wanted */
  bool zeros;             /* out: it is a zero marker */
} row_job;

static int load_row_guarded(void *env) {
  row_job *job = env;
  row_kind kind;
  int err = row_check(job->row, job->key, job->store, &kind);
  if (err != 0) return err;
  job->zeros = kind == ROW_ZERO;
  if (job->zeros) return 0;
  if (page_damaged_blocks(job->row, job->key.page, job->wanted) != 0) return PAGESTORE_ECORRUPT;
  if (job->wanted == ALL_BLOCKS) return 0;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    size_t at = (size_t)i * BLOCK_BYTES;
    if (job->wanted >> i & 1) memcpy(job->scratch + at, page_record_bytes(job->row) + at, BLOCK_BYTES);
  }
  return 0;
}

static void put_blocks(uint8_t *to, uint16_t mask, const uint8_t *const block[PAGE_BLOCKS]) {
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    if (mask >> i & 1) memcpy(to + (size_t)i * BLOCK_BYTES, block[i], BLOCK_BYTES);
}

static void put_zeros(uint8_t *to, uint16_t mask) {
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    if (mask >> i & 1) memset(to + (size_t)i * BLOCK_BYTES, 0, BLOCK_BYTES);
}

/* Logged blocks into scratch; what is left to be had from the row stays in job->wanted. */
static int read_logged(const pagemap *m, uint32_t memory, uint64_t page, row_place place, row_job *job,
                       row_place *damage) {
  logged_page logged;
  uint16_t use = pagemap_logged(m, memory, page, place, &logged) & job->wanted;
  if (use == 0) return 0;
  log_job copy = {.map = m, .memory = memory, .page = page, .wanted = use, .found = &logged, .scratch = job->scratch};
  int err = db_read_guarded(m->reader, load_logged_guarded, &copy);
  if (err != 0) *damage = (row_place){m->logged_layer, copy.damaged};
  job->wanted &= (uint16_t)~use;
  return err;
}

static int read_row(const pagemap *m, row_place place, row_job *job, row_place *damage) {
  if (place.version == 0 || job->wanted == 0) return 0;
  job->key = (page_key){place.layer, job->key.memory, job->key.page, place.version};
  int err = db_read_guarded(m->reader, load_row_guarded, job);
  if (err != 0) *damage = place;
  return err;
}

int pagemap_read(const pagemap *m, uint32_t memory, uint64_t page, uint8_t *scratch, const uint8_t **out,
                 row_place *damage) {
  const uint8_t *block[PAGE_BLOCKS];
  uint16_t fresh = unflushed_find(m->unflushed, memory, page, block);
  row_job job = {.key = {.memory = memory, .page = page}, .store = m->store, .wanted = (uint16_t)~fresh,
                 .scratch = scratch, .zeros = true};
  if (job.wanted != 0) {
    row_place place;
    int err = pagemap_row(m, memory, page, &place, &job.row);
    if (err != 0) *damage = (row_place){0, 0};
    else err = read_logged(m, memory, page, place, &job, damage);
    if (err == 0) err = read_row(m, place, &job, damage);
    if (err != 0) return err;
  }
  if (job.wanted == ALL_BLOCKS) {
    *out = job.zeros ? NULL : page_record_bytes(job.row);
    return 0;
  }
  if (job.zeros) put_zeros(scratch, job.wanted);
  put_blocks(scratch, fresh, block);
  *out = scratch;
  return 0;
}

/* ---- walking --------------------------------------------------------------------------------- */

/* First page in [from, before) with a row that this step shows; `before` if none. A page whose rows are all
 * newer than the bound costs one more seek. */
static int step_next(const pagemap *m, const line_step *s, uint32_t memory, uint64_t from, uint64_t before,
                     uint64_t *page) {
  while (from < before) {
    page_key found;
    bytes row;
    int err = row_seek(m->reader, (page_key){s->layer, memory, from, s->bound}, &found, &row);
    if (err == PAGESTORE_ENOTFOUND) break;
    if (err != 0) return err;
    if (found.layer != s->layer || found.memory != memory || found.page >= before) break;
    if (found.version <= s->bound) {
      *page = found.page;
      return 0;
    }
    from = found.page;
  }
  *page = before;
  return 0;
}

/* UINT64_MAX is no page: the largest memory ends far below it. */
int pagemap_next(const pagemap *m, uint32_t memory, uint64_t from, uint64_t *page) {
  uint64_t nearest = UINT64_MAX;
  delta_page fresh;
  if (unflushed_next(m->unflushed, memory, from, &fresh) && fresh.memory == memory) nearest = fresh.page;
  if (unflushed_next(m->logged, memory, from, &fresh) && fresh.memory == memory) nearest = min_u64(nearest, fresh.page);
  for (uint32_t i = 0; i < m->line->depth; i++) {
    int err = step_next(m, &m->line->steps[i], memory, from, nearest, &nearest);
    if (err != 0) return err;
  }
  if (nearest == UINT64_MAX) return PAGESTORE_ENOTFOUND;
  *page = nearest;
  return 0;
}

/* ---- comparing ------------------------------------------------------------------------------- */

typedef struct {
  const uint8_t *a, *b;   /* 64 KiB, or NULL: zeros */
  uint16_t among;
  uint16_t differ;        /* out */
} compare_job;

static int compare_guarded(void *env) {
  compare_job *job = env;
  job->differ = 0;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(job->among >> i & 1)) continue;
    const uint8_t *a = job->a == NULL ? zero_block : job->a + (size_t)i * BLOCK_BYTES;
    const uint8_t *b = job->b == NULL ? zero_block : job->b + (size_t)i * BLOCK_BYTES;
    if (memcmp(a, b, BLOCK_BYTES) != 0) job->differ |= (uint16_t)(1u << i);
  }
  return 0;
}

/* The blocks that do not come from the row, NULL for those that do: where their bytes lie. */
static void blocks_over(const pagemap *m, uint32_t memory, uint64_t page, row_place row,
                        const uint8_t *block[PAGE_BLOCKS]) {
  logged_page logged;
  pagemap_logged(m, memory, page, row, &logged);
  unflushed_find(m->unflushed, memory, page, block);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    if (block[i] == NULL && logged.mask >> i & 1) block[i] = log_record_block(logged.record[i], logged.slot[i]);
}

/* Blocks that may differ: all, or, over the same row, those that lie over it and are not the very same bytes. */
static int suspect_blocks(const pagemap *a, const pagemap *b, uint32_t memory_a, uint32_t memory_b, uint64_t page,
                          uint16_t *suspect) {
  row_place place_a, place_b;
  bytes row;
  int err = pagemap_row(a, memory_a, page, &place_a, &row);
  if (err == 0) err = pagemap_row(b, memory_b, page, &place_b, &row);
  if (err != 0) return err;
  *suspect = ALL_BLOCKS;
  bool same_row = memory_a == memory_b && place_a.layer == place_b.layer && place_a.version == place_b.version;
  if (!same_row) return 0;
  const uint8_t *block_a[PAGE_BLOCKS], *block_b[PAGE_BLOCKS];
  blocks_over(a, memory_a, page, place_a, block_a);
  blocks_over(b, memory_b, page, place_b, block_b);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    if (block_a[i] == block_b[i]) *suspect &= (uint16_t) ~(1u << i);
  return 0;
}

int pagemap_diff(const pagemap *a, const pagemap *b, uint32_t memory_a, uint32_t memory_b, uint64_t page,
                 uint8_t *scratch_a, uint8_t *scratch_b, uint16_t *mask, row_place *damage) {
  compare_job job;
  int err = suspect_blocks(a, b, memory_a, memory_b, page, &job.among);
  if (err == 0 && job.among == 0) {
    *mask = 0;
    return 0;
  }
  if (err == 0) err = pagemap_read(a, memory_a, page, scratch_a, &job.a, damage);
  if (err == 0) err = pagemap_read(b, memory_b, page, scratch_b, &job.b, damage);
  if (err == 0) err = db_read_guarded(a->reader, compare_guarded, &job);
  if (err == 0) *mask = job.differ;
  return err;
}
