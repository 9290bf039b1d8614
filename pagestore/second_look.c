/* second_look.c - see second_look.h. */
#include "second_look.h"

#if PAGESTORE_ASSERT >= 2
#include <stdio.h>
#include <string.h>

#include "memory.h"

/* Pages given back to the kernel since then would be loaded, and prove nothing. */
static bool is_resident(const pagestore_memory *m, uint64_t page) {
  uint64_t next;
  return page < region_pages(m->region) && region_resident_next(m->region, page, &next) && next == page;
}

static void stop(const pagestore_memory *m, uint64_t page, unsigned block) {
  char text[200 + 2 * NAME_BYTES_MAX];
  snprintf(
      text, sizeof text,
      "instance '%s', memory '%s', page %llu, block %u was written during the commit: the engine must not run then",
      m->instance->core->name, m->name, (unsigned long long)page, block);
  store_log(m->instance->store, 2, text);
  ASSERT(!"the guest ran during its boundary");
}

static void look_at_page(const pagestore_memory *m, const delta_page *copied) {
  if (!is_resident(m, copied->page)) return;
  const uint8_t *now = region_base(m->region) + copied->page * PAGE_BYTES;
  for (unsigned block = 0; block < PAGE_BLOCKS; block++)
    if (copied->block[block] && memcmp(now + block * BLOCK_BYTES, copied->block[block], BLOCK_BYTES) != 0)
      stop(m, copied->page, block);
}

void second_look(pagestore_instance *i, const delta *copied) {
  delta_page page;
  for (uint64_t at = 0; copied && delta_next(copied, &at, &page);)
    for (const pagestore_memory *m = i->memories; m; m = m->next)
      if (m->id == page.memory) look_at_page(m, &page);
}
#endif
