/* choices.c - see choices.h. */
#include "choices.h"

#include <stdlib.h>
#include <string.h>

#include "dice.h"
#include "totals.h"

static const uint32_t unit_bytes[UNITS] = {[UNIT_BLOCK] = DISK_PAGE, [UNIT_SECTOR] = 512};

static uint32_t cut(const disk *d, uint32_t unit, piece *out) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < d->pending_count; i++) {
    const event *e = &d->log->events[d->pending[i].event];
    if (d->pending[i].kind != PENDING_WRITE) continue;
    for (uint64_t at = e->offset, end = e->offset + e->size; at < end; count++) {
      uint64_t next = (at / unit + 1) * unit;
      if (next > end) next = end;
      if (out) out[count] = (piece){.event = d->pending[i].event, .offset = at, .size = (uint32_t)(next - at)};
      at = next;
    }
  }
  return count;
}

static uint64_t divisor(uint64_t a, uint64_t b) { return b ? divisor(b, a % b) : a; }

void choices_begin(choices *c, const disk *d, uint64_t seed) {
  *c = (choices){.disk = d, .seed = seed, .entries = image_entries(d)};
  dice dice = {seed};
  for (int u = 0; u < UNITS; u++) {
    c->count[u] = cut(d, unit_bytes[u], NULL);
    c->pieces[u] = malloc((c->count[u] + 1) * sizeof *c->pieces[u]);
    if (!c->pieces[u]) give_up("no memory for crash states");
    cut(d, unit_bytes[u], c->pieces[u]);
    c->walk_count += 3ull * c->count[u];
  }
  for (uint32_t i = 0; i < d->pending_count; i++) c->calls += d->pending[i].kind == PENDING_WRITE;
  c->kept = malloc((c->count[UNIT_SECTOR] / 64 + 1) * sizeof *c->kept);
  if (!c->kept) give_up("no memory for crash states");
  if (!c->walk_count) return;
  c->walk_first = dice_below(&dice, c->walk_count);
  do c->walk_step = 1 + dice_below(&dice, c->walk_count);
  while (divisor(c->walk_step, c->walk_count) != 1);
}

void choices_end(choices *c) {
  for (int u = 0; u < UNITS; u++) free(c->pieces[u]);
  free(c->kept);
}

/* ---- one choice ---------------------------------------------------------------------------------------------------
 * */

static void keep_all(choices *c, bool all) {
  memset(c->kept, all ? 0xff : 0, (c->count[UNIT_SECTOR] / 64 + 1) * sizeof *c->kept);
}
static void keep(choices *c, uint32_t i) { c->kept[i / 64] |= 1ull << i % 64; }
static void drop(choices *c, uint32_t i) { c->kept[i / 64] &= ~(1ull << i % 64); }

static void choose_call(choices *c, uint64_t number, bool alone, const piece *pieces, uint32_t count) {
  uint64_t event = 0;
  for (uint32_t i = 0, call = 0; i < c->disk->pending_count; i++)
    if (c->disk->pending[i].kind == PENDING_WRITE && call++ == number) event = c->disk->pending[i].event;
  keep_all(c, !alone);
  for (uint32_t i = 0; i < count; i++) {
    if (pieces[i].event != event) continue;
    if (alone) keep(c, i);
    else drop(c, i);
  }
}

/* Prefixes, drops and keeps by blocks, then by sectors. Returns the unit. */
static int choose_walked(choices *c, uint64_t step) {
  uint64_t at = (c->walk_first + step % c->walk_count * c->walk_step) % c->walk_count;
  int unit = at < 3ull * c->count[UNIT_BLOCK] ? UNIT_BLOCK : UNIT_SECTOR;
  if (unit == UNIT_SECTOR) at -= 3ull * c->count[UNIT_BLOCK];
  uint32_t i = (uint32_t)(at / 3);
  keep_all(c, at % 3 == 1);
  if (at % 3 == 0)
    for (uint32_t k = 0; k <= i; k++) keep(c, k);
  else if (at % 3 == 1) drop(c, i);
  else keep(c, i);
  return unit;
}

static int choose_random(choices *c, dice *d) {
  static const unsigned percents[] = {2, 10, 30, 50, 70, 90, 98};
  int unit = dice_chance(d, 60) ? UNIT_BLOCK : UNIT_SECTOR;
  unsigned percent = percents[dice_below(d, sizeof percents / sizeof *percents)];
  keep_all(c, false);
  for (uint32_t i = 0; i < c->count[unit]; i++)
    if (dice_chance(d, percent)) keep(c, i);
  return unit;
}

void choices_make(choices *c, uint64_t number, crash_state *s) {
  dice d = {seed_of(c->seed, number)};
  int unit = UNIT_BLOCK;
  uint64_t rest = number - 2 - 2ull * c->calls, entries = dice_roll(&d);
  s->size = (size_choice)dice_below(&d, 3);
  s->lock = (lock_choice)dice_below(&d, LOCK_CHOICES);
  s->entries = dice_chance(&d, 33) ? 0 : dice_chance(&d, 50) ? UINT64_MAX : entries;
  if (number == 0) s->entries = 0, keep_all(c, false);
  else if (number == 1) s->entries = UINT64_MAX, keep_all(c, true);
  else if (number < 2 + 2ull * c->calls)
    choose_call(c, (number - 2) / 2, number % 2, c->pieces[UNIT_BLOCK], c->count[UNIT_BLOCK]);
  else if (!c->walk_count || rest % 4 == 3 || rest / 4 * 3 + rest % 4 >= c->walk_count) unit = choose_random(c, &d);
  else unit = choose_walked(c, rest / 4 * 3 + rest % 4);
  if (number == 0) s->size = SIZE_OLD;
  if (number == 1) s->size = SIZE_AS_WRITTEN;
  s->pieces = c->pieces[unit];
  s->count = c->count[unit];
  s->kept = c->kept;
}
