/* trash.c - one bounded step on rows that may have lost their last need.
 *
 *   record:  layer, memory or all, died_at, resume = key of the last row judged (zeros: none yet)
 *
 *   step:    judge rows behind resume -> delete -> end of the layer (or memory)?
 *              no   move resume                        128 deleted or 2,048 seen
 *              yes  rows kept by pins alone, or        resume to the beginning; the record waits for a point to go
 *                   rows left of a memory that died else the record goes; and the layer, if nothing is left
 *                   of it: a record for its parent
 *
 * The record of a memory that died is also its tombstone: it alone knows that the newest row's life has
 * ended, which a later pass over the whole layer (a snapshot dropped) cannot see. So it stays while rows of
 * the memory do.
 *
 * The row before the one judged gives its next newer version, also when that row has just been deleted or was
 * in an earlier step: a row goes only if no point lies between it and its own next newer one, so leaving it
 * out changes no judgement. Nothing in memory changes but hints (which pins keep rows, which records wait),
 * so an aborted step can be done again. That a record
 * waits counts only while its resume is at the beginning, and is noted only by a step whose abort could not
 * be taken for its commit: one that deleted nothing, or that moved the resume.
 * Thread: the flusher.
 */
#include "storage/trash.h"

#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/status.h"
#include "storage/record.h"
#include "storage/rows.h"

static const uint8_t from_beginning[PAGE_KEY_BYTES];

typedef struct {
  db_txn *txn;
  layers *layers;
  trash_outcome *outcome;
  uint64_t id;
  trash_record record;
  bool layer_known, current;  /* the layer has a record; it is its instance's present */
  layer_record layer;
  bool resumed;               /* began behind the beginning */
  bool at_end;                /* every row was judged */
} step;

static db_reader reader_of(const step *s) { return (db_reader){.txn = s->txn}; }

/* ---- records --------------------------------------------------------------------------------- */

int trash_put(db_txn *txn, uint64_t id, const trash_record *record) {
  ASSERT(id != 0);
  catalog_key key = catalog_key_id(CATALOG_TRASH, id);
  catalog_record bytes_of;
  trash_record_encode(record, &bytes_of);
  return record_put(txn, &key, &bytes_of);
}

int trash_delete(db_txn *txn, uint64_t id) {
  catalog_key key = catalog_key_id(CATALOG_TRASH, id);
  int err = db_delete(txn, DB_CATALOG, (bytes){key.byte, key.size});
  return err == PAGESTORE_ENOTFOUND ? 0 : err;
}

/* The first record with id >= from. ENOTFOUND: no more. */
static int next_record(db_reader reader, uint64_t from, uint64_t *id, trash_record *out) {
  catalog_key key = catalog_key_id(CATALOG_TRASH, from), found;
  catalog_record copy;
  catalog_kind kind;
  char name[256];
  int err = record_seek(reader, &key, RECORD_AT, &found, &copy);
  if (err != 0) return err;
  if (catalog_key_decode((bytes){found.byte, found.size}, &kind, id, name) != 0)
    return fail(PAGESTORE_ECORRUPT, "the catalog has a key that is none: run `pagestore check`");
  if (kind != CATALOG_TRASH) return PAGESTORE_ENOTFOUND;
  if (trash_record_decode(record_bytes(&copy), out) != 0)
    return fail(PAGESTORE_ECORRUPT, "trash record %llu is damaged: run `pagestore check`", (unsigned long long)*id);
  return 0;
}

static bool is_at_beginning(const trash_record *r) { return memcmp(r->resume, from_beginning, PAGE_KEY_BYTES) == 0; }

/* The first record with id >= from that does not wait. *waiting: some do. */
static int next_workable(db_reader reader, layers *layers, uint64_t from, uint64_t *id, trash_record *out,
                         bool *waiting) {
  for (;; from = *id + 1) {
    int err = next_record(reader, from, id, out);
    if (err != 0 || !is_at_beginning(out) || !layers_waits(layers, out->layer, *id)) return err;
    *waiting = true;
    if (*id == UINT64_MAX) return PAGESTORE_ENOTFOUND;
  }
}

bool trash_pending(db_reader reader) {
  uint64_t id;
  trash_record record;
  return next_record(reader, 0, &id, &record) != PAGESTORE_ENOTFOUND;
}

/* ---- the layer ------------------------------------------------------------------------------- */

static int load_layer(step *s) {
  catalog_key key = catalog_key_id(CATALOG_LAYER, s->record.layer);
  catalog_record copy;
  int err = record_get(reader_of(s), &key, &copy);
  if (err == PAGESTORE_ENOTFOUND) return 0;
  if (err == 0) err = layer_record_decode(record_bytes(&copy), &s->layer);
  if (err != 0)
    return fail(err, "the record of layer %llu is damaged: run `pagestore check`", (unsigned long long)s->record.layer);
  s->layer_known = true;
  return 0;
}

/* Whether the layer is its instance's present; an instance that is gone has none. */
static int load_present(step *s) {
  catalog_key key = catalog_key_id(CATALOG_INSTANCE, s->layer.instance);
  catalog_record copy;
  state_record present;
  int err = record_get(reader_of(s), &key, &copy);
  if (err == PAGESTORE_ENOTFOUND) return 0;
  if (err == 0) err = state_record_decode(record_bytes(&copy), &present);
  if (err != 0)
    return fail(err, "the record of instance %llu is damaged: run `pagestore check`",
                (unsigned long long)s->layer.instance);
  s->current = present.layer == s->record.layer;
  state_release(present.state);
  return 0;
}

/* ---- judging rows ---------------------------------------------------------------------------- */

/* Where a page's newest row ends its life: never, unless its memory died. */
static bool is_needed(const step *s, uint64_t version, uint64_t next_newer) {
  bool newest = next_newer == BOUND_OPEN;
  bool dead = s->record.died_at != UINT64_MAX;
  if (newest && s->current && !dead) return true;
  uint64_t life_end = newest && dead ? s->record.died_at : next_newer;
  return layers_needed(s->layers, s->record.layer, version, life_end) != ROW_UNNEEDED;
}

static page_key first_key(const trash_record *r) {
  uint32_t memory = r->memory == TRASH_ALL_MEMORIES ? 0 : r->memory;
  return (page_key){.layer = r->layer, .memory = memory, .version = UINT64_MAX};
}

static bool in_record(const trash_record *r, page_key k) {
  return k.layer == r->layer && (r->memory == TRASH_ALL_MEMORIES || k.memory == r->memory);
}

static int has_rows(const step *s, trash_record of, bool *rows) {
  page_key found;
  bytes value;
  int err = row_seek(reader_of(s), first_key(&of), &found, &value);
  *rows = err == 0 && in_record(&of, found);
  return err == PAGESTORE_ENOTFOUND ? 0 : err;
}

/* The row behind the resume key; *last becomes that key, for the next newer version of the first row's page. */
static int seek_resume(const step *s, page_key *last, page_key *found) {
  const trash_record *r = &s->record;
  bytes value;
  if (is_at_beginning(r)) {
    *last = (page_key){.layer = 0};  /* no page's: layer ids begin at 1 */
    return row_seek(reader_of(s), first_key(r), found, &value);
  }
  if (page_key_decode((bytes){r->resume, PAGE_KEY_BYTES}, last) != 0 || !in_record(r, *last))
    return fail(PAGESTORE_ECORRUPT, "trash record %llu goes on outside its layer: run `pagestore check`",
                (unsigned long long)s->id);
  int err = row_seek(reader_of(s), *last, found, &value);
  if (err == 0 && row_same_page(*found, *last) && found->version == last->version)
    err = row_next(reader_of(s), found, &value);
  return err;
}

/* Judges rows within the bounds of a step, collects those to delete and moves the resume key. */
static int judge(step *s, page_key unneeded[TRASH_ROWS_DELETED_MAX], unsigned *count) {
  page_key last, found;
  bytes value;
  *count = 0;
  int err = seek_resume(s, &last, &found);
  for (; err == 0 && in_record(&s->record, found); err = row_next(reader_of(s), &found, &value)) {
    if (*count == TRASH_ROWS_DELETED_MAX || s->outcome->rows_seen == TRASH_ROWS_SEEN_MAX) {
      page_key_encode(last, s->record.resume);
      return 0;
    }
    uint64_t next_newer = row_same_page(found, last) ? last.version : BOUND_OPEN;
    if (!is_needed(s, found.version, next_newer)) unneeded[(*count)++] = found;
    s->outcome->rows_seen++;
    last = found;
  }
  if (err != 0 && err != PAGESTORE_ENOTFOUND) return err;
  s->at_end = true;
  return 0;
}

static int delete_unneeded(step *s) {
  page_key unneeded[TRASH_ROWS_DELETED_MAX];
  unsigned count;
  int err = judge(s, unneeded, &count);
  for (unsigned i = 0; err == 0 && i < count; i++) err = row_delete(s->txn, unneeded[i]);
  if (err == 0) s->outcome->rows_deleted += count;
  return err;
}

/* ---- the end of a record --------------------------------------------------------------------- */

/* A layer that is no present, has no rows and no points goes, and with it a point of its parent. One that
 * only pins keep waits: asking for a row at version 0 marks them as what keeps it. */
static int remove_layer_if_unused(step *s, uint64_t *next_trash) {
  bool rows;
  int err = has_rows(s, (trash_record){.layer = s->record.layer, .memory = TRASH_ALL_MEMORIES}, &rows);
  if (err != 0 || rows || s->current || !s->layer_known) return err;
  if (layers_needed(s->layers, s->record.layer, 0, BOUND_OPEN) != ROW_UNNEEDED) return 0;
  catalog_key key = catalog_key_id(CATALOG_LAYER, s->record.layer);
  if ((err = db_delete(s->txn, DB_CATALOG, (bytes){key.byte, key.size})) != 0) return err;
  s->outcome->layer_removed = s->record.layer;
  if (s->layer.parent == 0) return 0;
  trash_record parent = {.layer = s->layer.parent, .memory = TRASH_ALL_MEMORIES, .died_at = UINT64_MAX};
  return trash_put(s->txn, (*next_trash)++, &parent);
}

static int end_record(step *s, uint64_t *next_trash) {
  bool rows;
  int err = remove_layer_if_unused(s, next_trash);
  if (err == 0) err = has_rows(s, s->record, &rows);
  if (err != 0) return err;
  bool tombstone = rows && s->record.died_at != UINT64_MAX;
  bool may_wait = s->resumed || s->outcome->rows_deleted == 0;
  bool kept = layers_wait(s->layers, s->record.layer, may_wait ? s->id : 0, tombstone ? WAIT_POINTS : WAIT_PINS);
  if (!kept && !tombstone) return trash_delete(s->txn, s->id);
  memcpy(s->record.resume, from_beginning, PAGE_KEY_BYTES);
  return trash_put(s->txn, s->id, &s->record);
}

/* Re-rooting fills a layer whose record on disk stands on nothing while the table still has its parent: its
 * trash record is for a crash in between, and its rows are about to be somebody's present. */
static bool is_being_rerooted(const step *s) {
  layer_record now;
  return layers_get(s->layers, s->record.layer, &now) && now.parent != s->layer.parent;
}

/* A record whose layer has gone already has nothing to do; rows without a layer record would be damage, and
 * are left for `check`. */
static int work_on(step *s, uint64_t *next_trash) {
  int err = load_layer(s);
  if (err != 0) return err;
  if (!s->layer_known) return trash_delete(s->txn, s->id);
  if (is_being_rerooted(s) && layers_wait(s->layers, s->record.layer, s->id, WAIT_REROOT)) return 0;
  if ((err = load_present(s)) != 0) return err;
  if ((err = delete_unneeded(s)) != 0) return err;
  return s->at_end ? end_record(s, next_trash) : trash_put(s->txn, s->id, &s->record);
}

int trash_step(db_txn *txn, layers *layers, uint64_t *next_trash, trash_outcome *out) {
  *out = (trash_outcome){0};
  step s = {.txn = txn, .layers = layers, .outcome = out};
  bool waiting = false;
  int err = next_workable(reader_of(&s), layers, 0, &s.id, &s.record, &waiting);
  if (err == PAGESTORE_ENOTFOUND) {
    out->pinned = waiting;
    return 0;
  }
  if (err != 0) return err;
  out->worked = true;
  s.resumed = !is_at_beginning(&s.record);
  if ((err = work_on(&s, next_trash)) != 0) return err;
  /* With records left that need not wait, the caller is to come again. */
  trash_record other;
  err = next_workable(reader_of(&s), layers, 0, &s.id, &other, &waiting);
  out->pinned = err == PAGESTORE_ENOTFOUND && waiting;
  return err == PAGESTORE_ENOTFOUND ? 0 : err;
}
