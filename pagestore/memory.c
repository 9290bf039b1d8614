/* memory.c - the meeting: what a region loads comes from the page map, what it collects goes into a delta. */
#include "memory.h"

#include <string.h>

#include "base/check.h"
#include "base/status.h"

bool memory_is_volatile(const pagestore_memory *m) { return m->flags & PAGESTORE_VOLATILE; }

int memory_check(const pagestore_memory *m, bool to_write) {
  if (!m) return input_null("memory");
  int status = instance_check(m->instance, to_write ? NEEDS_PRIVATE : NEEDS_NOTHING);
  if (status) return status;
  if (m->id == 0)
    return fail(PAGESTORE_ENOTFOUND,
                "memory '%s' is not there any more (rolled back, deleted or restored away): open it again", m->name);
  return 0;
}

/* ---- the source of the region ---------------------------------------------------------------- */

/* The indexes first, the reader last: a block that a flush or a merge moves from one to the other in between is found
 * at least once. */
int memory_source_begin(void *env, void **cursor) {
  pagestore_memory *m = env;
  pagestore_instance *i = m->instance;
  *cursor = NULL;
  if (memory_is_volatile(m)) return 0;
  db_slot *slot = i->slot ? i->slot : db_slot_take(i->store->db);
  m->map = (pagemap){ .reader = { .slot = slot }, .store = i->store->record.id };
  if (i->message.restored) {
    m->map.line = i->message.restored;
  } else if (i->kind == INSTANCE_WRITABLE) {
    m->map.line = i->core->line;
    m->map.unflushed = atomic_load(&i->core->unflushed);
    const log_line *log = atomic_load(&i->core->log);
    if (log) m->map.logged = atomic_load(&log->blocks);
    if (log) m->map.logged_layer = log->layer;
  } else {
    m->map.line = i->view.line;
    m->map.unflushed = i->view.unflushed;
    m->map.logged = i->view.logged;
    m->map.logged_layer = i->view.logged_layer;
  }
  *cursor = slot;
  if (i->slot) return 0;
  int status = db_slot_renew(slot);
  if (status) db_slot_release(slot);
  return status;
}

static int source_page(void *env, void *cursor, uint64_t page, const uint8_t **bytes) {
  pagestore_memory *m = env;
  if (memory_is_volatile(m)) {
    *bytes = page < m->shadow_pages ? shadow_page(&m->shadow, page) : NULL;
    return 0;
  }
  return pagemap_read(&m->map, m->id, page, db_slot_page(cursor), bytes, &m->damage);
}

void memory_source_end(void *env, void *cursor) {
  pagestore_memory *m = env;
  if (cursor && !m->instance->slot) db_slot_release(cursor);
}

/* The text of a load that failed in the handler or in a call. */
int memory_describe(const pagestore_memory *m, int status, uint64_t page) {
  const char *instance = m->instance->core->name;
  switch (status) {
  case PAGESTORE_ECORRUPT:
    return fail(
        status,
        "instance '%s', memory '%s', page %llu, version %llu is damaged: roll back; restore a snapshot or a backup",
        instance, m->name, (unsigned long long)page, (unsigned long long)m->damage.version);
  case PAGESTORE_EQUOTA:
    return fail(status, "instance '%s', memory '%s': the message loaded more pages than its limit: roll back", instance,
                m->name);
  case PAGESTORE_ENOMEM:
    return fail(status, "instance '%s', memory '%s', page %llu: no memory to load it: free some, roll back", instance,
                m->name, (unsigned long long)page);
  default:
    return fail(status, "instance '%s', memory '%s', page %llu could not be read: check the disk, roll back", instance,
                m->name, (unsigned long long)page);
  }
}

region_source memory_source(pagestore_memory *m) {
  return (region_source){ memory_source_begin, source_page, memory_source_end, m };
}

/* ---- boundaries ------------------------------------------------------------------------------ */

typedef struct {
  const uint8_t *now, *committed;   /* committed: in LMDB's mapping, perhaps; NULL: zeros */
  uint16_t differ;
} page_comparison;

static int compare_page(void *env) {
  static const uint8_t zeros[BLOCK_BYTES];
  page_comparison *c = env;
  c->differ = 0;
  for (unsigned block = 0; block < PAGE_BLOCKS; block++) {
    const uint8_t *committed = c->committed ? c->committed + block * BLOCK_BYTES : zeros;
    if (memcmp(c->now + block * BLOCK_BYTES, committed, BLOCK_BYTES) != 0) c->differ |= (uint16_t)(1u << block);
  }
  return 0;
}

/* A committed page that cannot be read now leaves all its blocks dirty. */
static void narrow_page(pagestore_memory *m, void *cursor, uint64_t page) {
  page_comparison c = { .now = region_base(m->region) + page * PAGE_BYTES };
  row_place damage;
  if (memory_is_volatile(m)) c.committed = shadow_page(&m->shadow, page);
  else if (pagemap_read(&m->map, m->id, page, db_slot_page(cursor), &c.committed, &damage) != 0) return;
  if ((cursor ? db_read_guarded(m->map.reader, compare_page, &c) : compare_page(&c)) == 0)
    region_narrow(m->region, page, c.differ);
}

/* Where the tracker saw only that pages were written to, they are compared with what is committed. */
int memory_collect_blocks(pagestore_memory *m) {
  int status = region_collect(m->region);
  if (status)
    return fail(status, "memory '%s': the kernel did not tell its dirty pages: commit again or roll back", m->name);
  void *cursor = NULL;
  bool reading = false;
  region_dirty d;
  for (uint64_t at = 0; region_dirty_next(m->region, at, &d); at = d.page + 1) {
    if (d.exact) continue;
    if (!reading && memory_source_begin(m, &cursor) != 0) return 0;
    reading = true;
    narrow_page(m, cursor, d.page);
  }
  if (reading) memory_source_end(m, cursor);
  return 0;
}

int memory_collect(pagestore_memory *m, uint64_t *pages, uint64_t *blocks) {
  uint64_t failed;
  int status = region_failure(m->region, &failed);
  if (status) return memory_describe(m, status, failed);
  if ((status = memory_collect_blocks(m)) != 0) return status;
  *pages = *blocks = 0;
  region_dirty d;
  for (uint64_t at = 0; region_dirty_next(m->region, at, &d); at = d.page + 1) {
    *pages += 1;
    *blocks += mask_count(d.blocks);
  }
  if (m->dirty_limit && *blocks > m->dirty_limit)
    return fail(PAGESTORE_EQUOTA, "memory '%s': the message dirtied %llu blocks, its limit is %llu: roll back", m->name,
                (unsigned long long)*blocks, (unsigned long long)m->dirty_limit);
  return 0;
}

int memory_prepare_boundary(pagestore_memory *m) {
  if (!memory_is_volatile(m)) return 0;
  region_dirty d;
  int status = 0;
  for (uint64_t at = 0; !status && region_dirty_next(m->region, at, &d); at = d.page + 1)
    status = shadow_prepare(&m->shadow, d.page);
  return status;
}

void memory_add_to(pagestore_memory *m, delta *out) {
  region_dirty d;
  for (uint64_t at = 0; region_dirty_next(m->region, at, &d); at = d.page + 1)
    if (d.blocks) delta_add(out, m->id, d.page, d.blocks, region_base(m->region) + d.page * PAGE_BYTES);
}

void memory_mark_delta(pagestore_instance *i, const delta *taken_back) {
  delta_page changed;
  for (uint64_t at = 0; delta_next(taken_back, &at, &changed);)
    for (pagestore_memory *m = i->memories; m; m = m->next)
      if (m->id == changed.memory) region_mark(m->region, changed.page, changed.mask);
}

void memory_boundary(pagestore_memory *m) {
  if (memory_is_volatile(m)) {
    region_dirty d;
    shadow_zero(&m->shadow, m->shadow_pages);
    for (uint64_t at = 0; region_dirty_next(m->region, at, &d); at = d.page + 1)
      shadow_commit(&m->shadow, d.page, d.blocks, region_base(m->region) + d.page * PAGE_BYTES);
    m->committed_pages = m->shadow_pages = region_pages(m->region);
    shadow_truncate(&m->shadow, m->committed_pages);
  }
  region_clean(m->region);
}

enum { FORGET_AT_ONCE = 32 };

typedef struct {
  region *region;
  unsigned count;
  region_blocks changed[FORGET_AT_ONCE];
} forget_list;

static void forget_listed(forget_list *list) {
  if (list->count) region_forget(list->region, list->changed, list->count);
  list->count = 0;
}

static void forget_blocks(void *env, uint64_t page, uint16_t blocks) {
  forget_list *list = env;
  list->changed[list->count++] = (region_blocks){ page, blocks };
  if (list->count == FORGET_AT_ONCE) forget_listed(list);
}

/* The message's changes go first: a dropped page must not be dirty. */
static int follow(pagestore_memory *m, memory_drift drift) {
  pagestore_instance *i = m->instance;
  region_rollback(m->region);
  if (memory_is_volatile(m)) {
    if (m->committed_pages) m->id = MEMORY_VOLATILE_ID;  /* also when the message deleted it */
    /* Pages that came after shrinking go as well, clean ones too. */
    if (m->shadow_pages < m->committed_pages) region_forget_all(m->region);
    m->shadow_pages = m->committed_pages;
    return region_resize(m->region, m->committed_pages);
  }
  memory_entry *entry = state_memory(instance_state(i), m->name);
  if (!entry) {
    m->id = 0;
    return region_resize(m->region, 0);
  }
  if (entry->id != m->id || !drift.covered) {
    region_forget_all(m->region);
  } else if (drift.after != drift.through) {
    forget_list list = { .region = m->region };
    pthread_mutex_lock(&i->core->lock);
    history_each(&i->core->history, drift.after, drift.through, m->id, forget_blocks, &list);
    pthread_mutex_unlock(&i->core->lock);
    forget_listed(&list);
  }
  m->id = entry->id;
  m->flags = entry->flags | (m->flags & PAGESTORE_EXPLICIT);
  return region_pages(m->region) == entry->pages ? 0 : region_resize(m->region, entry->pages);
}

int memory_follow(pagestore_memory *m, memory_drift drift) {
  int status = follow(m, drift);
  if (status || !region_failure(m->region, NULL)) return status;
  return fail(PAGESTORE_EIO, "memory '%s': the kernel refused to drop pages: close the handle and open it again",
              m->name);
}

int memory_can_follow(pagestore_memory *m, const state *to) {
  if (memory_is_volatile(m)) return 0;
  const memory_entry *entry = state_memory(to, m->name);
  if (!entry || entry->pages <= region_max(m->region)) return 0;
  uint64_t max = memory_max_of(entry);
  return region_extend(m->region, max, memory_default_guard(entry->flags, max));
}
