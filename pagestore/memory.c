#include "memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"

#define VOLATILE_ID UINT32_MAX

enum { READ_STEP_PAGES = 16 };

bool memory_is_volatile(const pagestore_memory *m) { return m->flags & PAGESTORE_VOLATILE; }

int memory_check(const pagestore_memory *m, bool to_write) {
  if (!m) return input_null("memory");
  int status = instance_check(m->instance, to_write ? NEEDS_PRIVATE : NEEDS_NOTHING);
  if (status) return status;
  if (m->id == 0)
    return fail(PAGESTORE_ENOTFOUND, "memory '%s' is not there any more (rolled back, deleted or restored away): open it again", m->name);
  return 0;
}

/* ---- the source of the region ------------------------------------------------------------------------------------------ */

/* The index first, the reader second: a block that a flush moves from one to the other in between is found at least once. */
static int source_begin(void *env, void **cursor) {
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
  } else {
    m->map.line = i->view.line;
    m->map.unflushed = i->view.unflushed;
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
    *bytes = shadow_page(&m->shadow, page);
    return 0;
  }
  return pagemap_read(&m->map, m->id, page, db_slot_page(cursor), bytes, &m->damage);
}

static void source_end(void *env, void *cursor) {
  pagestore_memory *m = env;
  if (cursor && !m->instance->slot) db_slot_release(cursor);
}

/* The text of a load that failed in the handler or in a call. */
static int describe(const pagestore_memory *m, int status, uint64_t page) {
  const char *instance = m->instance->core->name;
  switch (status) {
  case PAGESTORE_ECORRUPT:
    return fail(status, "instance '%s', memory '%s', page %llu, version %llu is damaged: roll back; restore a snapshot or a backup",
                instance, m->name, (unsigned long long)page, (unsigned long long)m->damage.version);
  case PAGESTORE_EQUOTA:
    return fail(status, "instance '%s', memory '%s': the message loaded more pages than its limit: roll back", instance, m->name);
  case PAGESTORE_ENOMEM:
    return fail(status, "instance '%s', memory '%s', page %llu: no memory to load it: free some, roll back", instance, m->name,
                (unsigned long long)page);
  default:
    return fail(status, "instance '%s', memory '%s', page %llu could not be read: check the disk, roll back", instance, m->name,
                (unsigned long long)page);
  }
}

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

static pagestore_memory *find_open(const pagestore_instance *i, const char *name) {
  for (pagestore_memory *m = i->memories; m; m = m->next)
    if (strcmp(m->name, name) == 0) return m;
  return NULL;
}

static uint64_t default_guard(uint32_t flags) {
  return flags & PAGESTORE_MEMORY64 ? 32ull << 20 : 4ull << 30;
}

#define PAGES_MAX_32 65536ull
#define PAGES_MAX_64 (500ull << 30 >> 16)   /* 500 GiB */

uint64_t memory_pages_most(uint32_t flags) { return flags & PAGESTORE_MEMORY64 ? PAGES_MAX_64 : PAGES_MAX_32; }

static int check_limits(const pagestore_memory_options *o) {
  uint64_t most = memory_pages_most(o->flags);
  if (o->flags & ~(uint32_t)(PAGESTORE_MEMORY64 | PAGESTORE_KEEP | PAGESTORE_EXPLICIT | PAGESTORE_VOLATILE))
    return fail(PAGESTORE_EINVAL, "unknown memory flags 0x%x", o->flags);
  if (o->max_pages > most)
    return fail(PAGESTORE_EINVAL, "max_pages %llu is beyond %llu", (unsigned long long)o->max_pages, (unsigned long long)most);
  if (o->max_pages && o->pages > o->max_pages)
    return fail(PAGESTORE_EINVAL, "pages %llu is beyond max_pages %llu", (unsigned long long)o->pages, (unsigned long long)o->max_pages);
  if (o->guard_bytes > 1ull << 40 || o->guard_bytes % PAGE_BYTES)
    return fail(PAGESTORE_EINVAL, "guard_bytes must be a multiple of 65,536, at most 1 TiB");
  return 0;
}

static int open_region(pagestore_memory *m, const pagestore_memory_options *o, uint64_t pages, uint64_t max_pages) {
  pagestore_instance *i = m->instance;
  region_options options = {
    .pages = pages, .max_pages = max_u64(max_pages, 1),
    .guard_bytes = o->guard_bytes ? o->guard_bytes : default_guard(m->flags),
    .tracker = i->store->options.tracker,
    .marks_only = o->flags & PAGESTORE_EXPLICIT && i->kind != INSTANCE_READ,
    .read_only = i->kind == INSTANCE_READ,
    .load_limit = o->load_limit,
    .source = { source_begin, source_page, source_end, m },
    .budget = &i->store->budget,
    .trap = o->trap, .trap_env = o->env,
  };
  int status = region_open(&options, &m->region);
  if (!status) atomic_fetch_add(&i->store->counters.memories_open, 1);
  return status;
}

static int check_existing(const memory_entry *entry, const pagestore_memory_options *o, bool given) {
  if (!given) return 0;
  if ((entry->flags ^ o->flags) & PAGESTORE_MEMORY64)
    return fail(PAGESTORE_ETYPE, "memory '%s' has %s-bit indexes: open it as such", entry->name,
                entry->flags & PAGESTORE_MEMORY64 ? "64" : "32");
  if (o->max_pages && entry->pages > o->max_pages)
    return fail(PAGESTORE_ETYPE, "memory '%s' has %llu pages: give max_pages at least that", entry->name, (unsigned long long)entry->pages);
  return 0;
}

static uint64_t max_pages_of(const pagestore_memory_options *o) {
  return o->max_pages ? o->max_pages : PAGES_MAX_32;
}

/* A new memory comes into being in the open message. */
static int create_entry(pagestore_instance *i, const char *name, const pagestore_memory_options *o, memory_entry **out) {
  if (i->kind == INSTANCE_READ)
    return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in this version of '%s'", name, i->core->name);
  state *pending;
  int status = instance_change(i, &pending);
  if (!status) status = state_memory_add(pending, name, out);
  if (status) return status;
  (*out)->flags = o->flags & (PAGESTORE_MEMORY64 | PAGESTORE_KEEP);
  (*out)->pages = o->pages;
  (*out)->max_pages = max_pages_of(o);
  return 0;
}

/* The handle of a memory that is in the state, or of a volatile one (entry NULL). */
static int open_handle(pagestore_instance *i, const char *name, const memory_entry *entry, const pagestore_memory_options *o,
                       pagestore_memory **out) {
  pagestore_memory *m = calloc(1, sizeof *m);
  if (!m) return fail(PAGESTORE_ENOMEM, "no memory for a handle: free some and try again");
  m->instance = i;
  m->dirty_limit = o->dirty_limit;
  m->id = entry ? entry->id : VOLATILE_ID;
  m->flags = entry ? entry->flags | (o->flags & PAGESTORE_EXPLICIT) : o->flags;
  memcpy(m->name, name, strlen(name) + 1);
  uint64_t pages = entry ? entry->pages : o->pages;
  uint64_t max = o->max_pages ? o->max_pages : entry ? entry->max_pages : PAGES_MAX_32;
  int status = open_region(m, o, pages, max);
  if (status) {
    free(m);
    return status;
  }
  m->committed_pages = pages;
  m->next = i->memories;
  i->memories = m;
  *out = m;
  return 0;
}

/* In a message that called upgrade, opening an emptied memory gives it the new type, limits and size. */
static bool opens_anew(const pagestore_instance *i, const memory_entry *entry, bool given) {
  return i->message.upgraded && given && entry->pages == 0;
}

static int renew_entry(pagestore_instance *i, const char *name, const pagestore_memory_options *o, memory_entry **out) {
  state *pending;
  int status = instance_change(i, &pending);
  if (status) return status;
  memory_entry *entry = state_memory(pending, name);
  entry->flags = o->flags & (PAGESTORE_MEMORY64 | PAGESTORE_KEEP);
  entry->pages = o->pages;
  entry->max_pages = max_pages_of(o);
  *out = entry;
  return 0;
}

static int reopen_volatile(pagestore_memory *m, const pagestore_memory_options *o, bool given) {
  if (given && !(o->flags & PAGESTORE_VOLATILE)) return fail(PAGESTORE_ETYPE, "memory '%s' is VOLATILE", m->name);
  if (m->id) return 0;
  if (!given) return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in '%s': give options to create it", m->name, m->instance->core->name);
  int status = region_resize(m->region, o->pages);
  if (!status) m->id = VOLATILE_ID;
  return status;
}

/* A handle that exists: the same again, or in an upgraded message with another type and limits, or revived. */
static int reopen(pagestore_memory *m, const pagestore_memory_options *o, bool given) {
  pagestore_instance *i = m->instance;
  if (memory_is_volatile(m)) return reopen_volatile(m, o, given);
  memory_entry *entry = state_memory(instance_state(i), m->name);
  bool anew = !entry || opens_anew(i, entry, given);
  if (!anew) {
    int status = check_existing(entry, o, given);
    if (status || m->id) return status;
  } else if (!given) {
    return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in '%s': give options to create it", m->name, i->core->name);
  } else if ((m->flags ^ o->flags) & (PAGESTORE_EXPLICIT | PAGESTORE_VOLATILE)) {
    return fail(PAGESTORE_ETYPE, "memory '%s' is open with other flags: close the instance to change EXPLICIT or VOLATILE", m->name);
  }
  uint64_t max = given ? max_pages_of(o) : entry->max_pages;
  if (max > region_max(m->region)) {
    int status = region_extend(m->region, max, o->guard_bytes ? o->guard_bytes : default_guard(o->flags));
    if (status) return status;
  }
  if (anew) {
    int status = entry ? renew_entry(i, m->name, o, &entry) : create_entry(i, m->name, o, &entry);
    if (status) return status;
    m->flags = o->flags;
    m->dirty_limit = o->dirty_limit;
    region_limits(m->region, o->load_limit, o->trap, o->env);
  }
  m->id = entry->id;
  return region_resize(m->region, entry->pages);
}

int pagestore_memory_open(pagestore_instance *i, const char *name, const pagestore_memory_options *given, pagestore_memory **out) {
  int status = instance_check(i, NEEDS_NOTHING);
  if (!status && !out) status = input_null("memory");
  if (!status) status = input_name(name, "memory name");
  pagestore_memory_options o;
  if (!status) status = input_options(given, &o, sizeof o, "pagestore_memory_options");
  if (!status) status = check_limits(&o);
  if (status) return status;
  pagestore_memory *m = find_open(i, name);
  if (m) {
    if ((status = reopen(m, &o, given)) == 0) *out = m;
    return status;
  }
  memory_entry *entry = state_memory(instance_state(i), name);
  if (!entry && !given) return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in '%s': give options to create it", name, i->core->name);
  bool anew = entry && opens_anew(i, entry, given);
  if ((!entry || anew) && !o.max_pages) {
    if (o.flags & PAGESTORE_MEMORY64) return fail(PAGESTORE_EINVAL, "a 64-bit memory needs max_pages: it is the reservation");
    o.max_pages = PAGES_MAX_32;
  }
  if (entry && o.flags & PAGESTORE_VOLATILE) return fail(PAGESTORE_ETYPE, "memory '%s' is durable: open it without VOLATILE", name);
  if (entry && !anew && (status = check_existing(entry, &o, given)) != 0) return status;
  if (!entry && (o.flags & PAGESTORE_VOLATILE)) {
    if (i->kind == INSTANCE_READ) return fail(PAGESTORE_EREADONLY, "a read-only view has no volatile memories");
    return open_handle(i, name, NULL, &o, out);
  }
  if (!entry) {
    if ((status = create_entry(i, name, &o, &entry)) != 0) return status;
    status = open_handle(i, name, entry, &o, &m);
    if (status) state_memory_remove(i->message.pending, entry->id);
  } else {
    if (anew && (status = renew_entry(i, name, &o, &entry)) != 0) return status;
    status = open_handle(i, name, entry, &o, &m);
  }
  if (!status) *out = m;
  return status;
}

void memory_close(pagestore_memory *m) {
  region_close(m->region);
  shadow_free(&m->shadow);
  atomic_fetch_sub(&m->instance->store->counters.memories_open, 1);
  free(m);
}

int pagestore_memory_delete(pagestore_memory *m) {
  int status = memory_check(m, true);
  if (status) return status;
  if (!memory_is_volatile(m)) {
    state *pending;
    if ((status = instance_change(m->instance, &pending)) != 0) return status;
    state_memory_remove(pending, m->id);
  }
  m->id = 0;
  return region_resize(m->region, 0);
}

/* ---- size ---------------------------------------------------------------------------------------------------------------- */

uint8_t *pagestore_memory_base(const pagestore_memory *m) { return m ? region_base(m->region) : NULL; }
const char *pagestore_memory_name(const pagestore_memory *m) { return m ? m->name : ""; }
uint64_t pagestore_memory_pages(const pagestore_memory *m) { return m ? region_pages(m->region) : 0; }
uint64_t pagestore_memory_max(const pagestore_memory *m) { return m ? region_max(m->region) : 0; }

static int resize_entry(pagestore_memory *m, uint64_t pages) {
  if (memory_is_volatile(m)) return region_resize(m->region, pages);
  state *pending;
  int status = instance_change(m->instance, &pending);
  if (!status) status = region_resize(m->region, pages);
  if (status) return status;
  memory_entry *entry = state_memory_by_id(pending, m->id);
  ASSERT(entry);
  entry->pages = pages;
  entry->max_pages = max_u64(entry->max_pages, pages);
  return 0;
}

int pagestore_memory_grow(pagestore_memory *m, uint64_t pages, uint64_t *old_pages) {
  int status = memory_check(m, true);
  if (status) return status;
  uint64_t old = region_pages(m->region), grown;
  if (!checked_add(old, pages, &grown) || grown > region_max(m->region))
    return fail(PAGESTORE_EBOUNDS, "memory '%s' cannot grow from %llu by %llu pages: its maximum is %llu", m->name, (unsigned long long)old,
                (unsigned long long)pages, (unsigned long long)region_max(m->region));
  if (pages && (status = resize_entry(m, grown)) != 0) return status;
  if (old_pages) *old_pages = old;
  return 0;
}

/* ---- host access ------------------------------------------------------------------------------------------------------------ */

static int check_range(pagestore_memory *m, uint64_t offset, uint64_t length, bool to_write) {
  int status = memory_check(m, to_write);
  if (status) return status;
  uint64_t size = region_pages(m->region) * PAGE_BYTES;
  if (!range_fits(offset, length, size))
    return fail(PAGESTORE_EBOUNDS, "%llu bytes at %llu are beyond the %llu bytes of memory '%s'", (unsigned long long)length,
                (unsigned long long)offset, (unsigned long long)size, m->name);
  return 0;
}

/* Loading some pages failed: page by page, so that the text names the one, and m->damage is its own. */
static int describe_one_of(pagestore_memory *m, int status, uint64_t first, uint64_t count) {
  uint64_t page = first;
  while (page + 1 < first + count && region_load(m->region, page, 1) == 0) page++;
  return describe(m, status, page);
}

static int load_pages(pagestore_memory *m, uint64_t first, uint64_t count) {
  int status = region_load(m->region, first, count);
  return status ? describe_one_of(m, status, first, count) : 0;
}

/* Calls for pieces of at most 1 MiB whose pages are loaded, so that a limit on resident pages holds also for one long access. */
typedef void (*piece_fn)(void *env, uint8_t *bytes, size_t length, uint64_t done);

static int each_piece(pagestore_memory *m, uint64_t offset, uint64_t length, piece_fn piece, void *env) {
  for (uint64_t done = 0; done < length;) {
    uint64_t at = offset + done;
    uint64_t end = min_u64(offset + length, align_down(at, PAGE_BYTES) + READ_STEP_PAGES * PAGE_BYTES);
    int status = load_pages(m, at / PAGE_BYTES, (end - 1) / PAGE_BYTES - at / PAGE_BYTES + 1);
    if (status) return status;
    piece(env, region_base(m->region) + at, end - at, done);
    done += end - at;
  }
  return 0;
}

static void piece_read(void *env, uint8_t *bytes, size_t length, uint64_t done) { memcpy((uint8_t *)env + done, bytes, length); }
static void piece_write(void *env, uint8_t *bytes, size_t length, uint64_t done) { memcpy(bytes, (const uint8_t *)env + done, length); }
static void piece_fill(void *env, uint8_t *bytes, size_t length, uint64_t done) {
  (void)done;
  memset(bytes, *(const int *)env, length);
}

static void mark_range(pagestore_memory *m, uint64_t offset, uint64_t length) {
  if (length == 0) return;
  uint64_t block = offset / BLOCK_BYTES, last = (offset + length - 1) / BLOCK_BYTES;
  while (block <= last) {
    uint64_t page = block / PAGE_BLOCKS;
    unsigned from = (unsigned)(block % PAGE_BLOCKS);
    unsigned to = (unsigned)min_u64(PAGE_BLOCKS - 1, from + (last - block));
    region_mark(m->region, page, (uint16_t)((ALL_BLOCKS >> (PAGE_BLOCKS - 1 - to)) & (ALL_BLOCKS << from)));
    block += to - from + 1;
  }
}

int pagestore_memory_read(pagestore_memory *m, uint64_t offset, void *to, size_t length) {
  int status = check_range(m, offset, length, false);
  if (status) return status;
  return each_piece(m, offset, length, piece_read, to);
}

int pagestore_memory_write(pagestore_memory *m, uint64_t offset, const void *from, size_t length) {
  int status = check_range(m, offset, length, true);
  if (status) return status;
  if (m->flags & PAGESTORE_EXPLICIT) mark_range(m, offset, length);
  return each_piece(m, offset, length, piece_write, (void *)(uintptr_t)from);
}

int pagestore_memory_fill(pagestore_memory *m, uint64_t offset, int byte, uint64_t length) {
  int status = check_range(m, offset, length, true);
  if (status) return status;
  if (m->flags & PAGESTORE_EXPLICIT) mark_range(m, offset, length);
  return each_piece(m, offset, length, piece_fill, &byte);
}

int pagestore_memory_prepare(pagestore_memory *m, uint64_t offset, uint64_t length, bool write) {
  int status = check_range(m, offset, length, write);
  if (status || length == 0) return status;
  uint64_t first = offset / PAGE_BYTES, count = (offset + length - 1) / PAGE_BYTES - first + 1;
  if (!write) return load_pages(m, first, count);
  if (m->flags & PAGESTORE_EXPLICIT) mark_range(m, offset, length);
  status = region_open_write(m->region, first, count);
  return status ? describe_one_of(m, status, first, count) : 0;
}

int pagestore_memory_mark(pagestore_memory *m, uint64_t offset, uint64_t length) {
  int status = check_range(m, offset, length, true);
  if (status) return status;
  if (!(m->flags & PAGESTORE_EXPLICIT)) return fail(PAGESTORE_EINVAL, "memory '%s' is not EXPLICIT: its writes are tracked", m->name);
  mark_range(m, offset, length);
  return 0;
}

/* ---- walking ------------------------------------------------------------------------------------------------------------------ */

typedef struct { pagestore_memory *memory; pagestore_range_fn each; void *env; uint64_t start, end; } run;

static int run_flush(run *r) {
  int stop = r->end > r->start ? r->each(r->env, r->memory, r->start, r->end - r->start) : 0;
  r->start = r->end = 0;
  return stop ? fail(PAGESTORE_EABORTED, "the callback returned %d", stop) : 0;
}

static int run_add(run *r, uint64_t page, uint16_t blocks) {
  for (unsigned block = 0; block < PAGE_BLOCKS; block++) {
    if (!(blocks & (1u << block))) continue;
    uint64_t at = page * PAGE_BYTES + (uint64_t)block * BLOCK_BYTES;
    if (at != r->end || r->end == r->start) {
      int status = run_flush(r);
      if (status) return status;
      r->start = at;
    }
    r->end = at + BLOCK_BYTES;
  }
  return 0;
}

/* A few pages at a time: no reader is held while somebody is called. */
static int add_stored(pagestore_memory *m, run *r) {
  enum { STEP = 64 };
  uint64_t pages[STEP], from = 0;
  for (unsigned count = STEP; count == STEP;) {
    void *cursor;
    int status = source_begin(m, &cursor);
    if (status) return describe(m, status, from);
    for (count = 0; count < STEP; from = pages[count++] + 1)
      if ((status = pagemap_next(&m->map, m->id, from, &pages[count])) != 0 || pages[count] >= region_pages(m->region)) break;
    source_end(m, cursor);
    if (status && status != PAGESTORE_ENOTFOUND) return describe(m, status, from);
    for (unsigned i = 0; i < count; i++)
      if ((status = run_add(r, pages[i], ALL_BLOCKS)) != 0) return status;
  }
  return 0;
}

static int collect_and_narrow(pagestore_memory *m);

int pagestore_memory_blocks(pagestore_memory *m, int which, pagestore_range_fn each, void *env) {
  int status = memory_check(m, false);
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  run r = { .memory = m, .each = each, .env = env };
  if (which == PAGESTORE_BLOCKS_DIRTY) {
    if ((status = collect_and_narrow(m)) != 0) return status;
    region_dirty d;
    for (uint64_t at = 0; !status && region_dirty_next(m->region, at, &d); at = d.page + 1) status = run_add(&r, d.page, d.blocks);
  } else if (which == PAGESTORE_BLOCKS_RESIDENT) {
    uint64_t page;
    for (uint64_t at = 0; !status && region_resident_next(m->region, at, &page); at = page + 1) status = run_add(&r, page, ALL_BLOCKS);
  } else if (which == PAGESTORE_BLOCKS_STORED) {
    status = memory_is_volatile(m) ? 0 : add_stored(m, &r);
  } else {
    return fail(PAGESTORE_EINVAL, "which blocks: PAGESTORE_BLOCKS_DIRTY, _RESIDENT or _STORED");
  }
  return status ? status : run_flush(&r);
}

/* ---- boundaries ------------------------------------------------------------------------------------------------------------------ */

static uint16_t differing_blocks(const uint8_t *a, const uint8_t *b) {
  static const uint8_t zeros[BLOCK_BYTES];
  uint16_t mask = 0;
  for (unsigned block = 0; block < PAGE_BLOCKS; block++)
    if (memcmp(a + block * BLOCK_BYTES, b ? b + block * BLOCK_BYTES : zeros, BLOCK_BYTES) != 0) mask |= (uint16_t)(1u << block);
  return mask;
}

/* The tracker saw only that these pages were written to. A committed page that cannot be read now leaves all its blocks dirty. */
static int collect_and_narrow(pagestore_memory *m) {
  int status = region_collect(m->region);
  if (status) return fail(status, "memory '%s': the kernel did not tell its dirty pages: commit again or roll back", m->name);
  void *cursor;
  bool reading = false;
  region_dirty d;
  for (uint64_t at = 0; region_dirty_next(m->region, at, &d); at = d.page + 1) {
    const uint8_t *committed;
    if (d.exact) continue;
    if (!reading && source_begin(m, &cursor) != 0) return 0;
    reading = true;
    if (source_page(m, cursor, d.page, &committed) == 0)
      region_narrow(m->region, d.page, differing_blocks(region_base(m->region) + d.page * PAGE_BYTES, committed));
  }
  if (reading) source_end(m, cursor);
  return 0;
}

int memory_collect(pagestore_memory *m, uint64_t *pages, uint64_t *blocks) {
  uint64_t failed;
  int status = region_failure(m->region, &failed);
  if (status) return describe(m, status, failed);
  if ((status = collect_and_narrow(m)) != 0) return status;
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
  for (uint64_t at = 0; !status && region_dirty_next(m->region, at, &d); at = d.page + 1) status = shadow_prepare(&m->shadow, d.page);
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
    for (uint64_t at = 0; region_dirty_next(m->region, at, &d); at = d.page + 1)
      shadow_commit(&m->shadow, d.page, d.blocks, region_base(m->region) + d.page * PAGE_BYTES);
    m->committed_pages = region_pages(m->region);
    shadow_truncate(&m->shadow, m->committed_pages);
  }
  region_clean(m->region);
}

static void forget_page(void *env, uint64_t page) {
  pagestore_memory *m = env;
  if (page < region_pages(m->region)) region_forget(m->region, page);
}

/* The message's changes go first: a dropped page must not be dirty. */
int memory_follow(pagestore_memory *m, memory_drift drift) {
  pagestore_instance *i = m->instance;
  region_rollback(m->region);
  if (memory_is_volatile(m)) {
    if (m->committed_pages) m->id = VOLATILE_ID;  /* also when the message deleted it */
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
    pthread_mutex_lock(&i->core->lock);
    history_each(&i->core->history, drift.after, drift.through, m->id, forget_page, m);
    pthread_mutex_unlock(&i->core->lock);
  }
  m->id = entry->id;
  m->flags = entry->flags | (m->flags & PAGESTORE_EXPLICIT);
  return region_pages(m->region) == entry->pages ? 0 : region_resize(m->region, entry->pages);
}

int memory_can_follow(pagestore_memory *m, const state *to) {
  if (memory_is_volatile(m)) return 0;
  const memory_entry *entry = state_memory(to, m->name);
  if (!entry || entry->pages <= region_max(m->region)) return 0;
  return region_extend(m->region, entry->max_pages, default_guard(entry->flags));
}
