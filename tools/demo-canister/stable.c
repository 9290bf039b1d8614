/* stable.c - see stable.h. */
#include "stable.h"

static const uint64_t magic = 0x3152415453454350; /* "PCESTAR1" */

header top;

void stable_get(void *to, uint64_t offset, uint64_t bytes) {
  ic0_stable64_read((uintptr_t)to, offset, bytes);
}

void stable_put(uint64_t offset, const void *from, uint64_t bytes) {
  ic0_stable64_write(offset, (uintptr_t)from, bytes);
}

void header_load(void) {
  if (ic0_stable64_size() == 0) {
    REQUIRE(ic0_stable64_grow(1) == 0);
    top = (header){.magic = magic, .version = 1, .used_bytes = NODE_BYTES};
    header_store();
    return;
  }
  stable_get(&top, 0, sizeof top);
  REQUIRE(top.magic == magic);
}

void header_store(void) { stable_put(0, &top, sizeof top); }

unsigned stable_class(uint64_t bytes) {
  unsigned size_class = CLASS_MIN;
  while (((uint64_t)1 << size_class) < bytes) size_class++;
  REQUIRE(size_class <= CLASS_MAX);
  return size_class;
}

static uint64_t take_unused(uint64_t bytes) {
  uint64_t pages = ic0_stable64_size();
  uint64_t align = bytes < NODE_BYTES ? bytes : NODE_BYTES;
  uint64_t offset = (top.used_bytes + align - 1) & ~(align - 1);
  uint64_t needed = (offset + bytes + 65535) / 65536;
  if (needed > pages) REQUIRE(ic0_stable64_grow(needed - pages) == pages);
  top.used_bytes = offset + bytes;
  return offset;
}

uint64_t stable_take(unsigned size_class) {
  uint64_t offset = top.free_at[size_class];
  if (offset == 0) return take_unused((uint64_t)1 << size_class);
  stable_get(&top.free_at[size_class], offset, sizeof offset);
  return offset;
}

void stable_give(uint64_t offset, unsigned size_class) {
  stable_put(offset, &top.free_at[size_class], sizeof offset);
  top.free_at[size_class] = offset;
}
