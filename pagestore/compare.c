/* compare.c - see compare.h. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

int compare_open(comparison *c, pagestore_instance *from, const core_version *from_version,
                 pagestore_instance *to, const core_version *to_version) {
  *c = (comparison){.from = from,
                    .to = to,
                    .from_version = from_version,
                    .to_version = to_version,
                    .room = malloc(3 * PAGE_BYTES)};
  return c->room ? 0 : fail(PAGESTORE_ENOMEM, "no memory to compare: free some and try again");
}

void compare_close(comparison *c) { free(c->room); }

static pagemap map_of(const pagestore_instance *i, const core_version *v, db_slot *slot) {
  return (pagemap){.reader = {.slot = i->slot ? i->slot : slot},
                   .line = v->line,
                   .unflushed = v->unflushed,
                   .logged = v->logged,
                   .logged_layer = v->logged_layer,
                   .store = i->store->record.id};
}

/* The next page, from *page on, that either side holds something of. */
static int next_candidate(const pagemap *a, const pagemap *b, uint32_t memory_a, uint32_t memory_b,
                          uint64_t *page) {
  uint64_t page_a = UINT64_MAX, page_b = UINT64_MAX;
  int status = memory_a ? pagemap_next(a, memory_a, *page, &page_a) : PAGESTORE_ENOTFOUND;
  if (!status || status == PAGESTORE_ENOTFOUND) status = pagemap_next(b, memory_b, *page, &page_b);
  if (status && status != PAGESTORE_ENOTFOUND) return status;
  *page = min_u64(page_a, page_b);
  return *page == UINT64_MAX ? PAGESTORE_ENOTFOUND : 0;
}

typedef struct {
  const uint8_t *from;
  uint8_t *to;
} copy_job;

static int copy_guarded(void *env) {
  const copy_job *job = env;
  memcpy(job->to, job->from, PAGE_BYTES);
  return 0;
}

uint16_t blocks_not_zero(const uint8_t *page_bytes) {
  static const uint8_t zeros[BLOCK_BYTES];
  uint16_t mask = 0;
  for (unsigned b = 0; page_bytes && b < PAGE_BLOCKS; b++)
    if (memcmp(page_bytes + b * BLOCK_BYTES, zeros, BLOCK_BYTES) != 0) mask |= (uint16_t)(1u << b);
  return mask;
}

/* One candidate: which blocks differ, and the bytes on our side if any do. */
static int look_at(comparison *c, const pagemap *a, const pagemap *b, uint32_t memory_a,
                   uint32_t memory_b, uint64_t page, uint16_t *mask, const uint8_t **bytes,
                   row_place *damage) {
  uint8_t *found = c->room + 2 * PAGE_BYTES;
  const uint8_t *at;
  *mask = ALL_BLOCKS;
  int status = memory_a ? pagemap_diff(a, b, memory_a, memory_b, page, c->room,
                                       c->room + PAGE_BYTES, mask, damage)
                        : 0;
  if (status || *mask == 0) return status;
  if ((status = pagemap_read(b, memory_b, page, c->room + PAGE_BYTES, &at, damage)) != 0)
    return status;
  if (at && (status = db_read_guarded(b->reader, copy_guarded, &(copy_job){at, found})) != 0)
    return status;
  *bytes = at ? found : NULL;
  if (!memory_a) *mask = blocks_not_zero(*bytes);
  return 0;
}

static int look(comparison *c, db_slot *slot, uint32_t memory_a, uint32_t memory_b, uint64_t *page,
                uint16_t *mask, const uint8_t **bytes, row_place *damage) {
  pagemap b = map_of(c->to, c->to_version, slot),
          a = c->from ? map_of(c->from, c->from_version, slot) : b;
  int status = next_candidate(&a, &b, memory_a, memory_b, page);
  return status ? status : look_at(c, &a, &b, memory_a, memory_b, *page, mask, bytes, damage);
}

int compare_next(comparison *c, uint32_t memory_from, const memory_entry *memory_to, uint64_t *page,
                 uint16_t *mask, const uint8_t **bytes) {
  row_place damage = {0, 0};
  int status;
  for (*mask = 0;; ++*page) {
    if ((status = reader_refresh(c->to)) != 0 || (c->from && (status = reader_refresh(c->from)) != 0)) return status;
    db_slot *slot = c->to->slot ? NULL : db_slot_take(c->to->store->db);
    status = slot ? db_slot_renew(slot) : 0;
    if (!status) status = look(c, slot, memory_from, memory_to->id, page, mask, bytes, &damage);
    if (slot) db_slot_release(slot);
    if (status || *mask) break;
  }
  if (!status || status == PAGESTORE_ENOTFOUND) return status;
  if (status == PAGESTORE_ECORRUPT)
    return fail(status,
                "instance '%s', memory '%s', page %llu, version %llu is damaged: restore a backup",
                c->to->core->name, memory_to->name, (unsigned long long)*page,
                (unsigned long long)damage.version);
  return fail(status, "instance '%s', memory '%s', page %llu could not be read: check the disk",
              c->to->core->name, memory_to->name, (unsigned long long)*page);
}
