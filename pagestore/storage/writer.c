/* writer.c - page records and block records out of changed blocks; see writer.h for the rules.
 *
 * One page goes: look up the row under it and the logged blocks over that, tell what changed; then either pack what
 * changed, or build the new record in scratch (the base is copied before any put, which may move what lies in the
 * mapping), put it, judge the older rows of that page in that layer.
 *
 *   base of a page    carried blocks get            a fresh block is unchanged if
 *   ZERO  no row, or  zeros, with their checksum    it is all zeros
 *         a marker
 *   PAGE  a record    its bytes and checksums       bytes and checksum are the record's: a write over damage mends it
 *   DAMAGED header    its bytes, checksums that     never
 *                     cannot match
 *   over it, logged   theirs, likewise              bytes and checksum are the logged block's
 *
 * Lookups are bounded by the version that is written, so rows newer than it (a snapshot put late) are not seen.
 * Thread: the flusher.
 */
#include "storage/writer.h"

#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/rows.h"

enum {
  PRUNE_BATCH = 64,
  RELOCATED_BLOCKS_MAX = 3,   /* of one page, when they are due: with more, a page record is worth it */
  LOGGED_BLOCKS_MAX = 7,      /* of one page in one flush: with more, the record at once is cheaper */
};

static const uint8_t zero_block[BLOCK_BYTES];

/* ---- building a record ----------------------------------------------------------------------- */

typedef enum { BASE_UNKNOWN, BASE_ZERO, BASE_PAGE, BASE_DAMAGED } base_kind;

typedef struct {
  bytes row;                  /* in the mapping; empty: none */
  page_key row_key, key;      /* of that row; of the one to be put */
  id128 store;
  const delta_page *fresh;
  const logged_page *logged;  /* mask: those that count over the row */
  uint64_t logged_layer;
  uint8_t *record;            /* out, of build_guarded */
  base_kind base;             /* by base_of */
  uint16_t changed;           /* out, of compare_guarded: of the fresh blocks */
  bool zeros;                 /* out, likewise: one of them is all zeros */
} build_job;

static bool is_page_record(bytes row) { return row.size == PAGE_RECORD_BYTES; }

/* Looked at once, if at all: most pages of which a block is logged need it not. */
static base_kind base_of(build_job *j) {
  row_kind kind;
  if (j->base != BASE_UNKNOWN) return j->base;
  if (j->row.data == NULL) j->base = BASE_ZERO;
  else if (row_check(j->row, j->row_key, j->store, &kind) != 0) j->base = BASE_DAMAGED;
  else j->base = kind == ROW_ZERO ? BASE_ZERO : BASE_PAGE;
  return j->base;
}

/* Whether the log has that block, undamaged. */
static bool logged_is_whole(const build_job *j, unsigned i) {
  log_address at = {j->logged_layer, j->key.page, j->logged->version[i], j->key.memory, (uint8_t)i};
  return logged_block_check(j->logged, i, j->store, &at) == 0;
}

static bool is_unchanged(build_job *j, unsigned i) {
  const uint8_t *fresh = j->fresh->block[i];
  if (j->logged->mask >> i & 1) {
    const uint8_t *logged = log_record_block(j->logged->record[i], j->logged->slot[i]);
    return memcmp(fresh, logged, BLOCK_BYTES) == 0 && logged_is_whole(j, i);
  }
  const uint8_t *stored = is_page_record(j->row) ? page_record_bytes(j->row) + (size_t)i * BLOCK_BYTES : zero_block;
  if (memcmp(fresh, stored, BLOCK_BYTES) != 0) return false;
  if (base_of(j) != BASE_PAGE) return base_of(j) == BASE_ZERO;
  return block_checksum(fresh, j->key.page, i) == page_header_checksum(j->row.data, i);
}

static void put_block(uint8_t *record, unsigned i, const uint8_t *from, uint64_t checksum) {
  memcpy(record + PAGE_HEADER_BYTES + (size_t)i * BLOCK_BYTES, from, BLOCK_BYTES);
  page_header_set_checksum(record, i, checksum);
}

/* A block of the base goes along with the checksum it had. */
static void carry_block(uint8_t *record, unsigned i, bytes row, base_kind base, uint64_t page) {
  bool has_bytes = base != BASE_ZERO && is_page_record(row);
  const uint8_t *from = has_bytes ? page_record_bytes(row) + (size_t)i * BLOCK_BYTES : zero_block;
  uint64_t checksum = base == BASE_PAGE ? page_header_checksum(row.data, i) : block_checksum(from, page, i);
  put_block(record, i, from, base == BASE_DAMAGED ? ~checksum : checksum);
}

/* A logged block as it was logged: damaged, if it is. */
static uint64_t logged_checksum(const build_job *j, unsigned i) {
  const uint8_t *record = j->logged->record[i];
  unsigned slot = j->logged->slot[i];
  if (logged_is_whole(j, i)) return log_record_checksum(record, slot);
  return ~block_checksum(log_record_block(record, slot), j->key.page, i);
}

static int compare_guarded(void *env) {
  build_job *j = env;
  j->changed = 0;
  j->zeros = false;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    if (!(j->fresh->mask >> i & 1) || is_unchanged(j, i)) continue;
    j->changed |= (uint16_t)(1u << i);
    j->zeros |= memcmp(j->fresh->block[i], zero_block, BLOCK_BYTES) == 0;
  }
  return 0;
}

static int build_guarded(void *env) {
  build_job *j = env;
  const logged_page *l = j->logged;
  base_kind base = base_of(j);
  page_header_init(j->record, j->key, j->store);
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    const uint8_t *fresh = j->fresh->block[i];
    if (j->fresh->mask >> i & 1) put_block(j->record, i, fresh, block_checksum(fresh, j->key.page, i));
    else if (l->mask >> i & 1)
      put_block(j->record, i, log_record_block(l->record[i], l->slot[i]), logged_checksum(j, i));
    else carry_block(j->record, i, j->row, base, j->key.page);
  }
  page_header_seal(j->record);
  return 0;
}

/* Whether the page can give its storage back. A carried block of zeros whose checksum is not theirs is
 * damage, and stays. */
static bool is_zero_page(const build_job *j) {
  const uint8_t *page = j->record + PAGE_HEADER_BYTES;
  for (unsigned i = 0; i < PAGE_BLOCKS; i++)
    if (memcmp(page + (size_t)i * BLOCK_BYTES, zero_block, BLOCK_BYTES) != 0) return false;
  return page_damaged_blocks((bytes){j->record, PAGE_RECORD_BYTES}, j->key.page, ALL_BLOCKS) == 0;
}

/* ---- putting and pruning --------------------------------------------------------------------- */

/* One call of the writer: where it writes, and what it sees. */
typedef struct {
  writer *w;
  pagemap map;                /* in the transaction, bounded by the version */
  line *line;                 /* the map's, owned */
  uint64_t version;
  bool carry;                 /* logged blocks count as changes, of pages with one in records up to this: */
  uint64_t carry_through;
  bool as_rows;
} pass;

static int pass_begin(pass *p, writer *w, const line *l, uint64_t version) {
  ASSERT(l->depth >= 1 && version != 0 && version != BOUND_OPEN);
  *p = (pass){.w = w, .version = version, .as_rows = w->packer == NULL};
  if (line_rebound(l, min_u64(l->steps[0].bound, version), &p->line) != 0)
    return fail(PAGESTORE_ENOMEM, "no memory to write a version: free some and commit again");
  p->map = (pagemap){.reader = {.txn = w->txn}, .line = p->line, .store = w->store};
  return 0;
}

static void pass_end(pass *p) { line_release(p->line); }

static int put_row(writer *w, page_key k, const uint8_t *value, size_t size) {
  uint8_t key[PAGE_KEY_BYTES];
  void *room;
  page_key_encode(k, key);
  int err = db_put_reserve(w->txn, DB_PAGES, (bytes){key, sizeof key}, size, &room);
  if (err != 0) return err;
  memcpy(room, value, size);
  w->rows_put++;
  w->bytes_put += size;
  return 0;
}

/* Older rows of the page in its layer, newest first, that nothing needs: at most a batch. *newer moves on;
 * ends at 0. */
static int collect_unneeded(writer *w, page_key key, uint64_t *newer, uint64_t versions[PRUNE_BATCH], unsigned *count) {
  db_reader reader = {.txn = w->txn};
  page_key from = key, found;
  bytes value;
  from.version = *newer - 1;
  *count = 0;
  int err = row_seek(reader, from, &found, &value);
  for (; err == 0 && row_same_page(found, key); err = row_next(reader, &found, &value)) {
    if (*count == PRUNE_BATCH) return 0;
    if (layers_needed(w->layers, key.layer, found.version, *newer) == ROW_UNNEEDED)
      versions[(*count)++] = found.version;
    *newer = found.version;
  }
  if (err != 0 && err != PAGESTORE_ENOTFOUND) return err;
  *newer = 0;
  return 0;
}

static int prune_older(writer *w, page_key key) {
  uint64_t newer = key.version;
  while (newer > 1) {
    uint64_t versions[PRUNE_BATCH];
    unsigned count;
    int err = collect_unneeded(w, key, &newer, versions, &count);
    for (unsigned i = 0; err == 0 && i < count; i++) {
      key.version = versions[i];
      err = row_delete(w->txn, key);
      w->rows_deleted++;
    }
    if (err != 0) return err;
  }
  return 0;
}

static int put_page(pass *p, page_key key) {
  int err = put_row(p->w, key, p->w->scratch, PAGE_RECORD_BYTES);
  return err != 0 ? err : prune_older(p->w, key);
}

/* What is in the log of the layers below may be merged into rows of versions that this line shows. */
static bool is_logged_below(const pass *p, page_key key) {
  for (uint32_t i = 1; p->w->is_logged != NULL && i < p->line->depth; i++)
    if (p->w->is_logged(p->w->log, p->line->steps[i].layer, key.memory, key.page)) return true;
  return false;
}

/* The row of this version goes, if there was one; a marker comes only if a lookup would now find an older page, or
 * logged blocks, such that count no more included: the rows that they were merged into are gone. */
static int put_zeros(pass *p, page_key key) {
  int err = row_delete(p->w->txn, key);
  if (err == 0) p->w->rows_deleted++;
  else if (err != PAGESTORE_ENOTFOUND) return err;
  if ((err = prune_older(p->w, key)) != 0) return err;
  row_place place;
  bytes row;
  if ((err = pagemap_row(&p->map, key.memory, key.page, &place, &row)) != 0) return err;
  bool is_logged = unflushed_has(p->map.logged, key.memory, key.page) || is_logged_below(p, key);
  if (!is_page_record(row) && !is_logged) return 0;
  uint8_t marker[ZERO_MARKER_BYTES];
  zero_marker_encode(key, marker);
  return put_row(p->w, key, marker, sizeof marker);
}

/* The changed blocks of a page, and those of `carried`, which are logged. */
typedef enum { AS_THIS_VERSION, AS_THEIR_OWN } pack_version;
static int pack_page(pass *p, const build_job *j, uint16_t carried, pack_version as) {
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    bool changed = j->changed >> i & 1;
    if (!changed && !(carried >> i & 1)) continue;
    const uint8_t *block = changed ? j->fresh->block[i] : log_record_block(j->logged->record[i], j->logged->slot[i]);
    uint64_t checksum = changed ? block_checksum(block, j->key.page, i) : logged_checksum(j, i);
    uint64_t version = as == AS_THEIR_OWN ? j->logged->version[i] : p->version;
    log_address at = {j->key.layer, j->key.page, version, j->key.memory, (uint8_t)i};
    int err = packer_add(p->w->packer, &at, block, checksum);
    if (err != 0) return err;
  }
  return 0;
}

static int put_record(pass *p, build_job *j, bool *stored) {
  int err = db_read_guarded(p->map.reader, build_guarded, j);
  if (err != 0) return err;
  *stored = !is_zero_page(j);
  return *stored ? put_page(p, j->key) : put_zeros(p, j->key);
}

/* The logged blocks that have to be written anew. */
static uint16_t due_blocks(const pass *p, const logged_page *logged) {
  uint16_t due = 0;
  for (unsigned i = 0; p->carry && i < PAGE_BLOCKS; i++)
    if (logged->mask >> i & 1 && logged->sequence[i] <= p->carry_through) due |= (uint16_t)(1u << i);
  return due;
}

static bool may_relocate(const pass *p, const logged_page *logged, uint16_t due) {
  return due != 0 && p->carry_through != UINT64_MAX && p->w->packer != NULL &&
         mask_count(logged->mask) <= RELOCATED_BLOCKS_MAX && p->w->relocate_blocks >= mask_count(due);
}

/* One page. *stored_change: -1, 0 or 1, what becomes of the pages that a reader finds something of. */
static int apply_page(pass *p, const delta_page *fresh, int *stored_change) {
  row_place place;
  logged_page logged;
  build_job j = {.store = p->w->store, .fresh = fresh, .logged = &logged, .logged_layer = p->map.logged_layer,
                 .record = p->w->scratch};
  j.key = (page_key){p->line->steps[0].layer, fresh->memory, fresh->page, p->version};
  *stored_change = 0;
  int err = pagemap_row(&p->map, fresh->memory, fresh->page, &place, &j.row);
  if (err != 0) return err;
  j.row_key = (page_key){place.layer, fresh->memory, fresh->page, place.version};
  pagemap_logged(&p->map, fresh->memory, fresh->page, place, &logged);
  if ((err = db_read_guarded(p->map.reader, compare_guarded, &j)) != 0) return err;
  p->w->blocks_written += mask_count(j.changed);
  p->w->blocks_unchanged += mask_count(fresh->mask) - mask_count(j.changed);
  /* A page whose oldest blocks are not due yet gathers more of them. */
  uint16_t due = due_blocks(p, &logged), carried = due != 0 ? logged.mask & (uint16_t)~j.changed : 0;
  if ((j.changed | carried) == 0) return 0;
  if (may_relocate(p, &logged, due)) {
    p->w->relocate_blocks -= mask_count(due);
    return pack_page(p, &j, due, AS_THEIR_OWN);
  }
  bool was_stored = is_page_record(j.row) || logged.mask != 0, stored = true;
  bool pack = !p->as_rows && !j.zeros && mask_count(j.changed | carried) <= LOGGED_BLOCKS_MAX;
  err = pack ? pack_page(p, &j, carried, AS_THIS_VERSION) : put_record(p, &j, &stored);
  *stored_change = (int)stored - (int)was_stored;
  return err;
}

/* ---- a version ------------------------------------------------------------------------------- */

/* The next place that has something to be written, with its fresh blocks. */
static bool next_change(const writer_changes *c, uint32_t memory, uint64_t page, delta_page *out) {
  uint32_t logged_memory;
  uint64_t logged_at;
  bool fresh = unflushed_next(c->blocks, memory, page, out);
  if (!c->carry || !unflushed_next_in(c->logged, 0, UINT64_MAX, memory, page, &logged_memory, &logged_at)) return fresh;
  bool before = !fresh || logged_memory < out->memory || (logged_memory == out->memory && logged_at < out->page);
  if (before) *out = (delta_page){.memory = logged_memory, .page = logged_at};
  return true;
}

static int apply_changes(pass *p, const writer_changes *c, state *s) {
  delta_page fresh;
  uint32_t memory = 0;
  uint64_t page = 0;
  memory_entry *entry = NULL;
  while (next_change(c, memory, page, &fresh)) {
    if (entry == NULL || entry->id != fresh.memory) entry = state_memory_by_id(s, fresh.memory);
    memory = fresh.memory;
    page = fresh.page + 1;
    if (entry == NULL) {  /* cleared or deleted since: on to the next memory */
      if (memory++ == UINT32_MAX) return 0;
      page = 0;
      continue;
    }
    int change, err = apply_page(p, &fresh, &change);
    if (err != 0) return err;
    ASSERT(change >= 0 || entry->stored_pages > 0);
    entry->stored_pages += (uint64_t)(int64_t)change;
  }
  return 0;
}

int writer_apply(writer *w, const line *l, uint64_t version, const writer_changes *changes, state *s) {
  ASSERT(!s->sealed);
  pass p;
  int err = pass_begin(&p, w, l, version);
  if (err != 0) return err;
  p.map.logged = changes->logged;
  p.map.logged_layer = changes->logged_layer;
  p.carry = changes->carry;
  p.carry_through = UINT64_MAX;
  p.as_rows |= changes->as_rows;
  err = apply_changes(&p, changes, s);
  pass_end(&p);
  return err;
}

/* ---- merging --------------------------------------------------------------------------------- */

static int merge_pages(pass *p, const merge_range *r, const state *s, uint64_t *pages, merge_at *at) {
  for (; *pages > 0; --*pages) {
    delta_page page = {0};
    if (!unflushed_next_in(r->logged, r->after, r->through, at->memory, at->page, &page.memory, &page.page)) {
      at->done = true;
      return 0;
    }
    bool dead = state_memory_by_id(s, page.memory) == NULL;
    int change, err = dead ? 0 : apply_page(p, &page, &change);
    if (err != 0) return err;
    *at = (merge_at){.memory = page.memory + dead, .page = dead ? 0 : page.page + 1};
  }
  return 0;
}

int writer_merge(writer *w, const line *l, uint64_t version, const merge_range *r, const state *s, uint64_t *pages,
                 merge_at *at) {
  pass p;
  int err = pass_begin(&p, w, l, version);
  if (err != 0) return err;
  p.map.logged = r->logged;
  p.map.logged_layer = l->steps[0].layer;
  p.carry = p.as_rows = true;
  p.carry_through = r->through;
  err = merge_pages(&p, r, s, pages, at);
  pass_end(&p);
  return err;
}

/* ---- system pages ---------------------------------------------------------------------------- */

/* length: of what is left, may be more than a page or 0. */
static int put_system_page(pass *p, uint64_t page, const uint8_t *from, size_t length) {
  uint8_t tail[BLOCK_BYTES] = {0};
  delta_page fresh = {.memory = SYSTEM_MEMORY, .mask = ALL_BLOCKS, .page = page};
  for (unsigned i = 0; i < PAGE_BLOCKS; i++) {
    size_t at = (size_t)i * BLOCK_BYTES;
    fresh.block[i] = at >= length ? zero_block : length - at >= BLOCK_BYTES ? from + at : tail;
    if (fresh.block[i] == tail) memcpy(tail, from + at, length - at);
  }
  int ignored;
  p->as_rows = true;
  return apply_page(p, &fresh, &ignored);
}

/* What an older, longer value left behind. */
static int clear_system_pages(pass *p, uint64_t from, uint64_t end) {
  int err;
  while ((err = pagemap_next(&p->map, SYSTEM_MEMORY, from, &from)) == 0 && from < end)
    if ((err = put_system_page(p, from++, NULL, 0)) != 0) return err;
  return err == PAGESTORE_ENOTFOUND ? 0 : err;
}

int writer_system_pages(writer *w, const line *l, uint64_t version, uint64_t first_page, const uint8_t *from,
                        size_t length) {
  pass p;
  int err = pass_begin(&p, w, l, version);
  if (err != 0) return err;
  uint64_t page = first_page;
  for (size_t at = 0; err == 0 && at < length; at += PAGE_BYTES)
    err = put_system_page(&p, page++, from + at, length - at);
  uint64_t end = first_page < SYSTEM_TABLE_PAGE ? SYSTEM_TABLE_PAGE : UINT64_MAX;
  if (err == 0) err = clear_system_pages(&p, page, end);
  pass_end(&p);
  return err;
}

/* ---- re-rooting ------------------------------------------------------------------------------ */

static bool is_nothing(build_job *j) { return base_of(j) == BASE_ZERO && j->logged->mask == 0; }

static int copy_guarded(void *env) {
  build_job *j = env;
  return is_nothing(j) ? 0 : build_guarded(j);
}

static int copy_page(writer *w, const pagemap *from, page_key key) {
  row_place place;
  logged_page logged;
  build_job j = {.key = key, .store = w->store, .fresh = &(delta_page){0}, .logged = &logged,
                 .logged_layer = from->logged_layer, .record = w->scratch};
  int err = pagemap_row(from, key.memory, key.page, &place, &j.row);
  if (err != 0) return err;
  j.row_key = (page_key){place.layer, key.memory, key.page, place.version};
  pagemap_logged(from, key.memory, key.page, place, &logged);
  if ((err = db_read_guarded(from->reader, copy_guarded, &j)) != 0 || is_nothing(&j)) return err;
  return put_row(w, key, w->scratch, PAGE_RECORD_BYTES);
}

/* The smallest id >= memory that has pages to copy: memory 0, then those of the state. The table is sorted by name. */
static bool next_memory(const state *s, uint32_t memory, uint32_t *next) {
  bool found = memory == SYSTEM_MEMORY;
  if (found) *next = SYSTEM_MEMORY;
  for (uint32_t i = 0; memory != SYSTEM_MEMORY && i < s->memory_count; i++) {
    uint32_t id = s->memories[i].id;
    if (id < memory || (found && id >= *next)) continue;
    *next = id;
    found = true;
  }
  return found;
}

int writer_reroot(writer *w, const reroot_source *from, const state *s, uint64_t to, uint64_t version,
                  uint64_t rows_max, reroot_at *at, bool *done) {
  ASSERT(rows_max != 0 && version != 0);
  pagemap map = {.reader = {.txn = w->txn}, .line = from->line, .logged = from->logged,
                 .logged_layer = from->logged_layer, .store = w->store};
  *done = false;
  while (rows_max > 0) {
    uint32_t memory;
    if (!next_memory(s, at->memory, &memory)) {
      *done = true;
      return 0;
    }
    if (memory != at->memory) *at = (reroot_at){.memory = memory};
    int err = pagemap_next(&map, memory, at->page, &at->page);
    if (err == PAGESTORE_ENOTFOUND) {
      ASSERT(memory != UINT32_MAX);
      *at = (reroot_at){.memory = memory + 1};
      continue;
    }
    if (err == 0) err = copy_page(w, &map, (page_key){to, memory, at->page, version});
    if (err != 0) return err;
    at->page++;
    rows_max--;  /* looked at, copied or not: markers cost time too */
  }
  return 0;
}
