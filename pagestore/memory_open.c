/* memory_open.c - memories come and go, and change their size: opening, creating, reviving, deleting, growing. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "memory.h"


/* ---- opening --------------------------------------------------------------------------------- */

static pagestore_memory *find_open(const pagestore_instance *i, const char *name) {
  for (pagestore_memory *m = i->memories; m; m = m->next)
    if (strcmp(m->name, name) == 0) return m;
  return NULL;
}

#define PAGES_MAX_32 65536ull
#define PAGES_MAX_64 (500ull << 30 >> 16)   /* 500 GiB */

uint64_t memory_max_of(const memory_entry *e) {
  return e->max_pages ? e->max_pages : max_u64(e->pages, PAGES_MAX_32);
}

/* Unchecked 32-bit code adds a constant offset to its address, both below 4 GiB, and accesses up to 16 bytes
 * from there on. */
uint64_t memory_default_guard(uint32_t flags, uint64_t max_pages) {
  if (flags & PAGESTORE_MEMORY64) return 32ull << 20;
  return (8ull << 30) + PAGE_BYTES - min_u64(max_pages, PAGES_MAX_32) * PAGE_BYTES;
}

uint64_t memory_pages_most(uint32_t flags) { return flags & PAGESTORE_MEMORY64 ? PAGES_MAX_64 : PAGES_MAX_32; }

static int check_limits(const pagestore_memory_options *o) {
  uint64_t most = memory_pages_most(o->flags);
  if (o->flags & ~(uint32_t)(PAGESTORE_MEMORY64 | PAGESTORE_KEEP | PAGESTORE_EXPLICIT | PAGESTORE_VOLATILE))
    return fail(PAGESTORE_EINVAL, "unknown memory flags 0x%x", o->flags);
  if (o->max_pages > most)
    return fail(PAGESTORE_EINVAL, "max_pages %llu is beyond %llu", (unsigned long long)o->max_pages,
                (unsigned long long)most);
  uint64_t max = o->max_pages ? o->max_pages : most;
  if (o->pages > max)
    return fail(PAGESTORE_EINVAL, "pages %llu is beyond max_pages %llu", (unsigned long long)o->pages,
                (unsigned long long)max);
  if (o->guard_bytes > 1ull << 40 || o->guard_bytes % PAGE_BYTES)
    return fail(PAGESTORE_EINVAL, "guard_bytes must be a multiple of 65,536, at most 1 TiB");
  return 0;
}

static int open_region(pagestore_memory *m, const pagestore_memory_options *o, uint64_t pages, uint64_t max_pages) {
  pagestore_instance *i = m->instance;
  region_options options = {
    .pages = pages, .max_pages = max_u64(max_pages, 1),
    .guard_bytes = o->guard_bytes ? o->guard_bytes : memory_default_guard(m->flags, max_u64(max_pages, 1)),
    .tracker = i->store->options.tracker,
    .marks_only = o->flags & PAGESTORE_EXPLICIT && i->kind != INSTANCE_READ,
    .read_only = i->kind == INSTANCE_READ,
    .load_limit = o->load_limit,
    .source = memory_source(m),
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
    return fail(PAGESTORE_ETYPE, "memory '%s' has %llu pages: give max_pages at least that", entry->name,
                (unsigned long long)entry->pages);
  return 0;
}

static uint64_t max_pages_of(const pagestore_memory_options *o) {
  return o->max_pages ? o->max_pages : PAGES_MAX_32;
}

/* A new memory comes into being in the open message. */
static int create_entry(pagestore_instance *i, const char *name, const pagestore_memory_options *o,
                        memory_entry **out) {
  if (i->kind == INSTANCE_READ)
    return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in this version of '%s'", name, i->core->name);
  state *pending;
  int status = instance_change(i, &pending);
  if (status) return status;
  if ((status = state_memory_add(pending, name, out)) != 0)
    return fail(status, "no memory for one more memory of '%s': free some and open it again", i->core->name);
  (*out)->flags = o->flags & (PAGESTORE_MEMORY64 | PAGESTORE_KEEP);
  (*out)->pages = o->pages;
  (*out)->max_pages = max_pages_of(o);
  return 0;
}

/* The handle of a memory that is in the state, or of a volatile one (entry NULL). */
static int open_handle(pagestore_instance *i, const char *name, const memory_entry *entry,
                       const pagestore_memory_options *o, pagestore_memory **out) {
  pagestore_memory *m = calloc(1, sizeof *m);
  if (!m) return fail(PAGESTORE_ENOMEM, "no memory for a handle: free some and try again");
  m->instance = i;
  m->dirty_limit = o->dirty_limit;
  m->id = entry ? entry->id : MEMORY_VOLATILE_ID;
  m->flags = entry ? entry->flags | (o->flags & PAGESTORE_EXPLICIT) : o->flags;
  memcpy(m->name, name, strlen(name) + 1);
  uint64_t pages = entry ? entry->pages : o->pages;
  uint64_t max = o->max_pages ? o->max_pages : entry ? memory_max_of(entry) : PAGES_MAX_32;
  int status = open_region(m, o, pages, max);
  if (status) {
    free(m);
    return status;
  }
  m->committed_pages = m->shadow_pages = pages;
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

/* A handle that notices writes is no help to a host that marks them, and a host that does not mark loses writes on one
 * that does not notice them. Nothing is noticed in a read-only view. */
static int check_flags(const pagestore_memory *m, const pagestore_memory_options *o) {
  if (m->instance->kind == INSTANCE_READ || !((m->flags ^ o->flags) & PAGESTORE_EXPLICIT)) return 0;
  return fail(PAGESTORE_ETYPE, "memory '%s' is open %s EXPLICIT: open it so, or close the instance to change that",
              m->name, m->flags & PAGESTORE_EXPLICIT ? "as" : "without");
}

static int reopen_volatile(pagestore_memory *m, const pagestore_memory_options *o, bool given) {
  if (given && !(o->flags & PAGESTORE_VOLATILE)) return fail(PAGESTORE_ETYPE, "memory '%s' is VOLATILE", m->name);
  int status = given ? check_flags(m, o) : 0;
  if (status || m->id) return status;
  if (!given)
    return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in '%s': give options to create it", m->name,
                m->instance->core->name);
  status = region_resize(m->region, o->pages);
  if (!status) m->id = MEMORY_VOLATILE_ID;
  return status;
}

static int fail_durable(const char *name) {
  return fail(PAGESTORE_ETYPE, "memory '%s' is durable: open it without VOLATILE", name);
}

/* A handle that exists: the same again, or in an upgraded message with another type and limits, or revived. */
static int reopen(pagestore_memory *m, const pagestore_memory_options *o, bool given) {
  pagestore_instance *i = m->instance;
  if (memory_is_volatile(m)) return reopen_volatile(m, o, given);
  memory_entry *entry = state_memory(instance_state(i), m->name);
  bool anew = !entry || opens_anew(i, entry, given);
  if (!anew) {
    int status = given && o->flags & PAGESTORE_VOLATILE ? fail_durable(m->name) : check_existing(entry, o, given);
    if (!status && given) status = check_flags(m, o);
    if (status || m->id) return status;
  } else if (!given) {
    return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in '%s': give options to create it", m->name, i->core->name);
  } else if ((m->flags ^ o->flags) & (PAGESTORE_EXPLICIT | PAGESTORE_VOLATILE)) {
    return fail(PAGESTORE_ETYPE,
                "memory '%s' is open with other flags: close the instance to change EXPLICIT or VOLATILE", m->name);
  }
  uint64_t max = given ? max_pages_of(o) : memory_max_of(entry);
  if (max > region_max(m->region)) {
    int status = region_extend(m->region, max, o->guard_bytes ? o->guard_bytes : memory_default_guard(o->flags, max));
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

int pagestore_memory_open(pagestore_instance *i, const char *name, const pagestore_memory_options *given,
                          pagestore_memory **out) {
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
  if (!entry && !given)
    return fail(PAGESTORE_ENOTFOUND, "no memory '%s' in '%s': give options to create it", name, i->core->name);
  bool anew = entry && opens_anew(i, entry, given);
  if ((!entry || anew) && !o.max_pages) {
    if (o.flags & PAGESTORE_MEMORY64)
      return fail(PAGESTORE_EINVAL, "a 64-bit memory needs max_pages: it is the reservation");
    o.max_pages = PAGES_MAX_32;
  }
  if (entry && o.flags & PAGESTORE_VOLATILE) return fail_durable(name);
  if (entry && !anew && (status = check_existing(entry, &o, given)) != 0) return status;
  if (!entry && (o.flags & PAGESTORE_VOLATILE)) {
    if (i->kind == INSTANCE_READ) return fail(PAGESTORE_EREADONLY, "a read-only view has no volatile memories");
    return open_handle(i, name, NULL, &o, out);
  }
  const state *before = i->message.pending;
  bool added = !entry;
  if (added) status = create_entry(i, name, &o, &entry);
  else if (anew) status = renew_entry(i, name, &o, &entry);
  if (!status && (status = open_handle(i, name, entry, &o, out)) != 0 && added)
    state_memory_remove(i->message.pending, entry->id);
  if (status && added) instance_unchange(i, before);
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
  m->shadow_pages = 0;
  return region_resize(m->region, 0);
}

/* ---- size ------------------------------------------------------------------------------------ */

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
    return fail(PAGESTORE_EBOUNDS, "memory '%s' cannot grow from %llu by %llu pages: its maximum is %llu", m->name,
                (unsigned long long)old, (unsigned long long)pages, (unsigned long long)region_max(m->region));
  if (pages && (status = resize_entry(m, grown)) != 0) return status;
  if (old_pages) *old_pages = old;
  return 0;
}
