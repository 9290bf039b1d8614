/* recover_emit.c - every row of the new store, by key. The contract is in recover_salvage.h. */
#include "recover_salvage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "check_agree.h"

static const char next_fails[] = "reading it fails; --older puts the older bytes there, --zero zeros";
static const char next_none[] = "nothing need be done";

static uint8_t value[PAGE_RECORD_BYTES];

static bool read_value(const salvage *s, const kept_row *r) {
  return r->health != KEPT_ROW_UNREADABLE && walker_read(s->fd, (walker_place){r->at, r->size}, value) == 0;
}

/* ---- replacing ------------------------------------------------------------------------------- */

/* The whole row that a reader would find if this one were not there. */
static const kept_row *older_row(const salvage *s, const kept_row *r) {
  const kept *k = &s->audit.kept;
  kept_line line;
  uint64_t bound = r->key.version;
  while (bound > 0) {
    if (!kept_line_of(k, r->key.layer, --bound, &line) && line.depth == 0) return NULL;
    const kept_row *found = kept_lookup(k, &line, r->key.memory, r->key.page);
    if (!found || found->health == KEPT_ROW_GOOD) return found;
    if (found->key.layer != r->key.layer) return NULL;
    bound = found->key.version;
  }
  return NULL;
}

/* Into `value`. false: nothing to replace it with. */
static bool replace(salvage *s, const kept_row *r, const char **with) {
  uint16_t blocks;
  const kept_row *older = s->flags & RECOVER_OLDER ? older_row(s, r) : NULL;
  *with = "an older version's bytes";
  if (older && older->size == PAGE_RECORD_BYTES && read_value(s, older) &&
      mend_page(older->key, s->audit.kept.store.id, value, &blocks) != MEND_DAMAGED) {
    mend_make_page(r->key, s->audit.kept.store.id, value);
    return true;
  }
  bool zeros_then = older && older->size == ZERO_MARKER_BYTES;
  if (!zeros_then && !(s->flags & RECOVER_ZERO)) return false;
  *with = "zeros";
  memset(value, 0, sizeof value);
  mend_make_page(r->key, s->audit.kept.store.id, value);
  return true;
}

/* ---- one row --------------------------------------------------------------------------------- */

static void tell(salvage *s, const kept_row *r, finding_level level, const char *next, const char *text) {
  finding *f = findings_add(&s->lost, level, next, "%s", text);
  findings_put_key(f, &r->key);
  if (f && r->origin != ORIGIN_MARK && r->origin != ORIGIN_LOG) findings_put_place(f, r->at);
  if (f) agree_name(&s->audit.kept, f);
}

static void tell_lost(salvage *s, kept_row *r, bool replaced, const char *with) {
  char text[128];
  salvage_loss *loss = salvage_loss_of(s, &r->key, r);
  s->pages_lost++;
  if (loss && replaced) loss->replaced++;
  else if (loss) loss->pages++;
  if (replaced) snprintf(text, sizeof text, "its bytes are lost, %s are in their place", with);
  else if (r->health == KEPT_ROW_UNREADABLE) snprintf(text, sizeof text, "its bytes are lost");
  else snprintf(text, sizeof text, "%u of its blocks are lost", mask_count(r->damaged));
  tell(s, r, FINDING_DAMAGE, replaced ? "compare with a backup" : next_fails, text);
}

static int put_row(const kept_row *r, size_t size, salvage_put put, void *env) {
  uint8_t key[PAGE_KEY_BYTES];
  page_key_encode(r->key, key);
  return put(env, DB_PAGES, (bytes){key, sizeof key}, (bytes){value, size});
}

static int emit_marker(salvage *s, kept_row *r, salvage_put put, void *env) {
  const char *with = "zeros";
  if (r->health == KEPT_ROW_GOOD) zero_marker_encode(r->key, value);
  else if (r->origin == ORIGIN_MARK) mend_make_unreadable(r->key, value);
  else if (s->flags & RECOVER_ZERO) zero_marker_encode(r->key, value), tell_lost(s, r, true, with);
  else mend_make_unreadable(r->key, value), tell_lost(s, r, false, NULL);
  return put_row(r, ZERO_MARKER_BYTES, put, env);
}

static int emit_page(salvage *s, kept_row *r, salvage_put put, void *env) {
  const char *with = NULL;
  uint16_t blocks = ALL_BLOCKS;
  bool is_read = read_value(s, r);
  mend_result result = is_read ? mend_page(r->key, s->audit.kept.store.id, value, &blocks) : MEND_DAMAGED;
  if (result == MEND_MENDED) {
    s->pages_mended++;
    tell(s, r, FINDING_NOTE, next_none, "its header was damaged and has been made anew; its bytes are whole");
  }
  if (result != MEND_DAMAGED) {
    s->pages_saved++;
    return put_row(r, PAGE_RECORD_BYTES, put, env);
  }
  r->damaged = blocks;
  bool replaced = replace(s, r, &with);
  tell_lost(s, r, replaced, with);
  if (replaced) return put_row(r, PAGE_RECORD_BYTES, put, env);
  if (is_read && read_value(s, r)) {
    (void)mend_page(r->key, s->audit.kept.store.id, value, &blocks);
    return put_row(r, PAGE_RECORD_BYTES, put, env);
  }
  mend_make_unreadable(r->key, value);
  return put_row(r, ZERO_MARKER_BYTES, put, env);
}

/* Of a row of the log and the one under it. */
static int emit_merged(salvage *s, kept_row *r, salvage_put put, void *env) {
  merge_result result = salvage_build(s, salvage_merge_of(s, &r->key), value);
  bool replaced = result.lost && result.lost == (uint16_t)(result.older | result.zeros);
  r->damaged = (uint16_t)(result.lost & ~result.older & ~result.zeros);
  if (result.lost) tell_lost(s, r, replaced, result.zeros ? "zeros" : "an older version's bytes");
  else s->pages_saved++;
  return put_row(r, PAGE_RECORD_BYTES, put, env);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int order_records(const void *a, const void *b) {
  const catalog_key *x = &((const salvage_record *)a)->key, *y = &((const salvage_record *)b)->key;
  int o = memcmp(x->byte, y->byte, min_u64(x->size, y->size));
  return o ? o : (x->size > y->size) - (x->size < y->size);
}

int salvage_emit(salvage *s, salvage_put put, void *env) {
  kept *k = &s->audit.kept;
  catalog_key store = catalog_key_store();
  int err = 0;
  if (s->records.count) qsort(s->records.at, s->records.count, sizeof *s->records.at, order_records);
  for (size_t i = 0; i < s->records.count && !err; i++) {
    const salvage_record *r = &s->records.at[i];
    if (r->key.size == store.size && r->key.byte[0] == store.byte[0]) continue;
    if (r->key.byte[0] == CATALOG_LOG) continue;
    err = put(env, DB_CATALOG, (bytes){r->key.byte, r->key.size}, (bytes){r->value.byte, r->value.size});
  }
  for (size_t i = 0; i < k->rows.count && !err; i++) {
    kept_row *r = &k->rows.at[i];
    if (s->progress) s->progress(s->progress_env, r->size);
    if (r->origin == ORIGIN_LOG) {
      err = emit_merged(s, r, put, env);
      continue;
    }
    err = r->size == ZERO_MARKER_BYTES ? emit_marker(s, r, put, env) : emit_page(s, r, put, env);
  }
  return err;
}
