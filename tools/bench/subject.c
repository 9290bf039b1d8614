/* subject.c - stores, instances and bytes to measure. The contract is in subject.h. */
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_BYTES = 32 << 20, PAGE_BLOCK_COUNT = PAGESTORE_PAGE / PAGESTORE_BLOCK };

const char *const pattern_names[PATTERNS] = {"sequential", "scattered", "dense"};

uint64_t dice_next(dice *d) {
  uint64_t x = d->state += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t dice_below(dice *d, uint64_t limit) { return (uint64_t)(((unsigned __int128)dice_next(d) * limit) >> 64); }

void dice_fill(dice *d, void *to, size_t bytes) {
  uint8_t *at = to;
  for (size_t done = 0; done < bytes; done += 8) {
    uint64_t word = dice_next(d);
    memcpy(at + done, &word, bytes - done < 8 ? bytes - done : 8);
  }
}

pagestore_store *subject_store(const bench *b, const char *name, const pagestore_options *given) {
  char path[PATH_MAX];
  pagestore_store *store;
  pagestore_options options = given ? *given : (pagestore_options){0};
  options.size = sizeof options;
  options.flags |= PAGESTORE_CREATE;
  if ((size_t)snprintf(path, sizeof path, "%s/%s", b->folder, name) >= sizeof path) die("%s: too long", b->folder);
  need(pagestore_open(path, &options, &store), path);
  return store;
}

subject subject_open(pagestore_store *store, const char *name, uint64_t pages, uint32_t memory_flags) {
  subject s = {.store = store, .pages = pages, .is_marked = (memory_flags & PAGESTORE_EXPLICIT) != 0};
  pagestore_memory_options o = {.size = sizeof o,
                                .flags = memory_flags,
                                .pages = pages,
                                .max_pages = pages > 65536 ? pages : 0};
  if (pages > 65536) o.flags |= PAGESTORE_MEMORY64;
  need(pagestore_instance_open(store, name, PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                               &s.instance),
       "instance_open");
  need(pagestore_memory_open(s.instance, "main", &o, &s.memory), "memory_open");
  s.base = pagestore_memory_base(s.memory);
  return s;
}

void subject_close(subject *s) {
  if (s->instance) pagestore_instance_close(s->instance);
  s->instance = NULL;
}

void subject_fill(subject *s, uint64_t step, bool keep, dice *d) {
  uint64_t written = 0;
  for (uint64_t page = 0; page < s->pages; page += step) {
    if (s->is_marked)
      need(pagestore_memory_mark(s->memory, page * PAGESTORE_PAGE, PAGESTORE_PAGE), "memory_mark");
    dice_fill(d, s->base + page * PAGESTORE_PAGE, PAGESTORE_PAGE);
    written += PAGESTORE_PAGE;
    if (written < STEP_BYTES) continue;
    need(pagestore_commit(s->instance, PAGESTORE_ASYNC, NULL), "commit");
    if (!keep) need(pagestore_instance_trim(s->instance, 0), "trim");
    written = 0;
  }
  need(pagestore_commit(s->instance, 0, NULL), "commit");
  if (!keep) need(pagestore_instance_trim(s->instance, 0), "trim");
}

static void shuffle(uint64_t *numbers, uint64_t count, dice *d) {
  for (uint64_t i = count; i > 1; i--) {
    uint64_t k = dice_below(d, i), kept = numbers[i - 1];
    numbers[i - 1] = numbers[k];
    numbers[k] = kept;
  }
}

/* One in each of count equal stretches of [0, of), in random order. */
static void scatter(uint64_t *numbers, uint64_t count, uint64_t of, dice *d) {
  for (uint64_t i = 0; i < count; i++) {
    uint64_t first = i * of / count, end = (i + 1) * of / count;
    numbers[i] = first + dice_below(d, end - first);
  }
  shuffle(numbers, count, d);
}

void pattern_make(pattern p, uint64_t *blocks, uint64_t count, uint64_t of, dice *d) {
  if (count > of) die("a pattern of %llu blocks in %llu", (unsigned long long)count, (unsigned long long)of);
  if (p == PATTERN_SCATTERED) {
    scatter(blocks, count, of, d);
  } else if (p == PATTERN_SEQUENTIAL) {
    uint64_t first = dice_below(d, of - count + 1);
    for (uint64_t i = 0; i < count; i++) blocks[i] = first + i;
  } else {
    uint64_t pages = (count + PAGE_BLOCK_COUNT - 1) / PAGE_BLOCK_COUNT;
    uint64_t *page = need_memory(pages * sizeof *page);
    scatter(page, pages, of / PAGE_BLOCK_COUNT, d);
    for (uint64_t i = 0; i < count; i++)
      blocks[i] = page[i / PAGE_BLOCK_COUNT] * PAGE_BLOCK_COUNT + i % PAGE_BLOCK_COUNT;
    free(page);
  }
}

void pattern_write(uint8_t *base, const uint64_t *blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) ++*(volatile uint64_t *)(base + blocks[i] * PAGESTORE_BLOCK + 128);
}
