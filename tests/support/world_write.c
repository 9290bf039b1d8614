/* world_write.c - changes of an open message, on both sides; see world_ops.h. */
#include "world_ops.h"

static void write_direct(holder *h, int memory, pagestore_memory *m, uint64_t offset, const uint8_t *bytes, size_t length) {
  if (world_memory[memory].flags & PAGESTORE_EXPLICIT) assert_ok(pagestore_memory_mark(m, offset, length));
  memcpy(h->base[memory] + offset, bytes, length);
}

static void write_scattered(world *w, holder *h, int memory, pagestore_memory *m) {
  model_memory *model = &h->work->memory[memory];
  uint64_t count = 1 + dice_below(&w->dice, 8);
  while (count--) {
    uint8_t bytes[64];
    size_t length = 1 + dice_below(&w->dice, sizeof bytes);
    uint64_t offset = dice_below(&w->dice, model->pages * PAGE - length + 1);
    for (size_t i = 0; i < length; i++) bytes[i] = (uint8_t)dice_roll(&w->dice);
    write_direct(h, memory, m, offset, bytes, length);
    model_write(model, offset, bytes, length);
  }
}

/* Up to three pages: through the pointer, a call, or a prepared range. */
void world_write_dense(world *w, holder *h, int memory, pagestore_memory *m) {
  model_memory *model = &h->work->memory[memory];
  uint64_t size = model->pages * PAGE, offset = dice_below(&w->dice, size), length = 1 + dice_below(&w->dice, 3 * PAGE);
  if (dice_chance(&w->dice, 30)) offset -= offset % BLOCK;
  if (length > size - offset) length = size - offset;
  uint8_t *bytes = malloc(length);
  uint64_t word = dice_roll(&w->dice);
  for (uint64_t i = 0; i < length; i++) bytes[i] = (uint8_t)((word >> i % 57) + i / 4096);
  switch (dice_below(&w->dice, 3)) {
  case 0: write_direct(h, memory, m, offset, bytes, length); break;
  case 1: WORLD_OK(w, pagestore_memory_write(m, offset, bytes, length)); break;
  default:
    WORLD_OK(w, pagestore_memory_prepare(m, offset, length, true));
    memcpy(h->base[memory] + offset, bytes, length);
  }
  model_write(model, offset, bytes, length);
  free(bytes);
}

static void write_same(world *w, holder *h, int memory, pagestore_memory *m) {
  model_memory *model = &h->work->memory[memory];
  uint64_t offset = dice_below(&w->dice, model->pages * PAGE - 8);
  uint8_t bytes[8];
  memcpy(bytes, model_page(model, offset / PAGE) + offset % PAGE, offset % PAGE > PAGE - 8 ? 1 : 8);
  write_direct(h, memory, m, offset, bytes, offset % PAGE > PAGE - 8 ? 1 : 8);
}

static void fill(world *w, holder *h, int memory, pagestore_memory *m) {
  model_memory *model = &h->work->memory[memory];
  uint64_t offset = dice_below(&w->dice, model->pages) * PAGE, length = (1 + dice_below(&w->dice, 2)) * PAGE;
  int byte = dice_chance(&w->dice, 70) ? 0 : (int)dice_below(&w->dice, 256);
  if (dice_chance(&w->dice, 30)) offset += 5000, length -= 7000;
  if (offset + length > model->pages * PAGE) length = model->pages * PAGE - offset;
  WORLD_OK(w, pagestore_memory_fill(m, offset, byte, length));
  model_fill(model, offset, byte, length);
}

void world_write(world *w) {
  holder *h = world_some_writer(w);
  if (!h) return;
  int memory = (int)dice_below(&w->dice, MODEL_MEMORIES);
  pagestore_memory *m = world_use(w, h, memory);
  if (h->work->memory[memory].pages == 0) return;
  switch (dice_below(&w->dice, 5)) {
  case 0: world_write_dense(w, h, memory, m); break;
  case 1: write_same(w, h, memory, m); break;
  case 2: fill(w, h, memory, m); break;
  default: write_scattered(w, h, memory, m);
  }
  if (memory != MEMORY_VOLATILE) h->changed = true;
}

void world_grow(world *w) {
  holder *h = world_some_writer(w);
  if (!h) return;
  int memory = (int)dice_below(&w->dice, MODEL_MEMORIES);
  pagestore_memory *m = world_use(w, h, memory);
  model_memory *model = &h->work->memory[memory];
  uint64_t by = dice_below(&w->dice, 4), old = UINT64_MAX;
  int status;
  WORLD_STATUS(w, status, pagestore_memory_grow(m, by, &old));
  if (model->pages + by > pagestore_memory_max(m)) {
    WORLD_CHECK(w, status == PAGESTORE_EBOUNDS && old == UINT64_MAX, "grown beyond the maximum: %d", status);
    return;
  }
  WORLD_CHECK(w, status == 0 && old == model->pages, "grow: %s", pagestore_detail());
  model_resize(model, model->pages + by);
  if (by && memory != MEMORY_VOLATILE) h->changed = true;
}

void world_metadata(world *w) {
  holder *h = world_some_writer(w);
  if (!h) return;
  int key = (int)dice_below(&w->dice, MODEL_KEYS);
  size_t length = dice_below(&w->dice, 200);
  if (dice_chance(&w->dice, 15)) length = 1000 + dice_below(&w->dice, 100 << 10);
  uint8_t *bytes = malloc(length + 1);
  memset(bytes, (int)dice_roll(&w->dice), length + 1);
  if (length) bytes[dice_below(&w->dice, length)] ^= 0x55;
  bool remove = dice_chance(&w->dice, 20);
  WORLD_OK(w, pagestore_metadata_set(h->handle, model_key[key], remove ? NULL : bytes, remove ? 0 : length));
  version_set(h->work, key, remove ? NULL : bytes, length);
  if (length > 1000 && !remove) w->did[DID_LARGE_METADATA]++;
  free(bytes);
  h->changed = true;
}

void world_memory_delete(world *w) {
  holder *h = world_some_writer(w);
  if (!h) return;
  int memory = (int)dice_below(&w->dice, MEMORY_VOLATILE);
  if (!h->work->memory[memory].present) return;
  pagestore_memory *m = world_use(w, h, memory);
  WORLD_OK(w, pagestore_memory_delete(m));
  model_resize(&h->work->memory[memory], 0);
  h->work->memory[memory].present = false;
  h->changed = true;
  w->did[DID_MEMORY_DELETED]++;
  if (dice_chance(&w->dice, 50)) world_use(w, h, memory);
}
