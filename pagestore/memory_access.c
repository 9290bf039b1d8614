/* memory_access.c - host code on a memory: reads and writes that return errors, preparing for system calls,
 * marks, walks over blocks. */
#include <string.h>

#include "base/status.h"
#include "memory.h"

enum { READ_STEP_PAGES = 16 };

/* ---- host access ----------------------------------------------------------------------------- */

static int check_range(pagestore_memory *m, uint64_t offset, uint64_t length, bool to_write) {
  int status = memory_check(m, to_write);
  if (!status) status = reader_refresh(m->instance);
  if (status) return status;
  uint64_t size = region_pages(m->region) * PAGE_BYTES;
  if (!range_fits(offset, length, size))
    return fail(PAGESTORE_EBOUNDS, "%llu bytes at %llu are beyond the %llu bytes of memory '%s'",
                (unsigned long long)length, (unsigned long long)offset, (unsigned long long)size, m->name);
  return 0;
}

/* Loading some pages failed: page by page, so that the text names the one, and m->damage is its own. */
static int describe_one_of(pagestore_memory *m, int status, uint64_t first, uint64_t count) {
  uint64_t page = first;
  while (page + 1 < first + count && region_load(m->region, page, 1) == 0) page++;
  return memory_describe(m, status, page);
}

typedef enum { TO_READ, TO_WRITE } access;

/* Afterwards our own code can touch them without a fault that the kernel may refuse to mend: that would be a
 * trap inside the host. */
static int load_pages(pagestore_memory *m, uint64_t first, uint64_t count, access to) {
  int status = to == TO_WRITE ? region_open_write(m->region, first, count) : region_load(m->region, first, count);
  return status ? describe_one_of(m, status, first, count) : 0;
}

/* Calls for pieces of at most 1 MiB whose pages are loaded, so that a limit on resident pages holds also for
 * one long access. */
typedef void (*piece_fn)(void *env, uint8_t *bytes, size_t length, uint64_t done);

static int each_piece(pagestore_memory *m, uint64_t offset, uint64_t length, access to, piece_fn piece, void *env) {
  for (uint64_t done = 0; done < length;) {
    uint64_t at = offset + done;
    uint64_t end = min_u64(offset + length, align_down(at, PAGE_BYTES) + READ_STEP_PAGES * PAGE_BYTES);
    int status = load_pages(m, at / PAGE_BYTES, (end - 1) / PAGE_BYTES - at / PAGE_BYTES + 1, to);
    if (status) return status;
    piece(env, region_base(m->region) + at, end - at, done);
    done += end - at;
  }
  return 0;
}

static void piece_read(void *env, uint8_t *bytes, size_t length, uint64_t done) {
  memcpy((uint8_t *)env + done, bytes, length);
}
static void piece_write(void *env, uint8_t *bytes, size_t length, uint64_t done) {
  memcpy(bytes, (const uint8_t *)env + done, length);
}
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

void memory_mark_range(pagestore_memory *m, uint64_t offset, uint64_t length) {
  if (m->flags & PAGESTORE_EXPLICIT) mark_range(m, offset, length);
}

/* Loaded before it is marked: a page that cannot be had must not look written. */
int memory_touch(pagestore_memory *m, uint64_t offset, uint64_t length, bool to_write) {
  int status = memory_check(m, to_write);
  if (status || length == 0) return status;
  uint64_t first = offset / PAGE_BYTES, count = (offset + length - 1) / PAGE_BYTES - first + 1;
  status = region_touch(m->region, first, count, to_write);
  if (status) return describe_one_of(m, status, first, count);
  if (to_write) memory_mark_range(m, offset, length);
  return 0;
}

bool memory_is_touched(const pagestore_memory *m, uint64_t offset, bool to_write) {
  return region_is_touched(m->region, offset / PAGE_BYTES, to_write);
}

int pagestore_memory_read(pagestore_memory *m, uint64_t offset, void *to, size_t length) {
  int status = check_range(m, offset, length, false);
  if (status) return status;
  return each_piece(m, offset, length, TO_READ, piece_read, to);
}

int pagestore_memory_write(pagestore_memory *m, uint64_t offset, const void *from, size_t length) {
  int status = check_range(m, offset, length, true);
  if (status) return status;
  memory_mark_range(m, offset, length);
  return each_piece(m, offset, length, TO_WRITE, piece_write, (void *)(uintptr_t)from);
}

int pagestore_memory_fill(pagestore_memory *m, uint64_t offset, int byte, uint64_t length) {
  int status = check_range(m, offset, length, true);
  if (status) return status;
  memory_mark_range(m, offset, length);
  return each_piece(m, offset, length, TO_WRITE, piece_fill, &byte);
}

int pagestore_memory_prepare(pagestore_memory *m, uint64_t offset, uint64_t length, bool write) {
  int status = check_range(m, offset, length, write);
  if (status || length == 0) return status;
  uint64_t first = offset / PAGE_BYTES, count = (offset + length - 1) / PAGE_BYTES - first + 1;
  if (write) memory_mark_range(m, offset, length);
  return load_pages(m, first, count, write ? TO_WRITE : TO_READ);
}

int pagestore_memory_mark(pagestore_memory *m, uint64_t offset, uint64_t length) {
  int status = check_range(m, offset, length, true);
  if (status) return status;
  if (!(m->flags & PAGESTORE_EXPLICIT))
    return fail(PAGESTORE_EINVAL, "memory '%s' is not EXPLICIT: its writes are tracked", m->name);
  mark_range(m, offset, length);
  return 0;
}

/* ---- walking --------------------------------------------------------------------------------- */

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
    int status = reader_refresh(m->instance);
    if (status) return status;
    if ((status = memory_source_begin(m, &cursor)) != 0) return memory_describe(m, status, from);
    for (count = 0; count < STEP; from = pages[count++] + 1)
      if ((status = pagemap_next(&m->map, m->id, from, &pages[count])) != 0 || pages[count] >= region_pages(m->region))
        break;
    memory_source_end(m, cursor);
    if (status && status != PAGESTORE_ENOTFOUND) return memory_describe(m, status, from);
    for (unsigned i = 0; i < count; i++)
      if ((status = run_add(r, pages[i], ALL_BLOCKS)) != 0) return status;
  }
  return 0;
}

int pagestore_memory_blocks(pagestore_memory *m, int which, pagestore_range_fn each, void *env) {
  int status = memory_check(m, false);
  if (!status && !each) status = input_null("callback");
  if (status) return status;
  run r = { .memory = m, .each = each, .env = env };
  if (which == PAGESTORE_BLOCKS_DIRTY) {
    if ((status = memory_collect_blocks(m)) != 0) return status;
    region_dirty d;
    for (uint64_t at = 0; !status && region_dirty_next(m->region, at, &d); at = d.page + 1)
      status = run_add(&r, d.page, d.blocks);
  } else if (which == PAGESTORE_BLOCKS_RESIDENT) {
    uint64_t page;
    for (uint64_t at = 0; !status && region_resident_next(m->region, at, &page); at = page + 1)
      status = run_add(&r, page, ALL_BLOCKS);
  } else if (which == PAGESTORE_BLOCKS_STORED) {
    status = memory_is_volatile(m) ? 0 : add_stored(m, &r);
  } else {
    return fail(PAGESTORE_EINVAL, "which blocks: PAGESTORE_BLOCKS_DIRTY, _RESIDENT or _STORED");
  }
  return status ? status : run_flush(&r);
}
