/* world_diff.c - two views compared by the library and by the model. */
#include "world_ops.h"

typedef struct {
  world *w;
  const holder *from, *to;
  bool differs[MODEL_MEMORIES][MODEL_PAGES_MAX * (PAGE / BLOCK)];
} comparison_of_views;

/* Beyond its size a memory is zeros. */
static const uint8_t *block_of(const version *v, int memory, uint64_t block) {
  static const uint8_t zeros[BLOCK];
  const model_memory *m = &v->memory[memory];
  uint64_t page = block / (PAGE / BLOCK);
  return m->present && page < m->pages ? model_page(m, page) + block % (PAGE / BLOCK) * BLOCK : zeros;
}

static int note_range(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  comparison_of_views *c = env;
  int m = 0;
  while (m < MODEL_MEMORIES && strcmp(world_memory[m].name, pagestore_memory_name(memory)) != 0) m++;
  WORLD_CHECK(c->w, m < MODEL_MEMORIES && m != MEMORY_VOLATILE, "diff of '%s'", pagestore_memory_name(memory));
  WORLD_CHECK(c->w, length > 0 && offset % BLOCK == 0 && length % BLOCK == 0, "range %llu", (unsigned long long)offset);
  uint64_t blocks = c->to->committed->memory[m].pages * (PAGE / BLOCK);
  WORLD_CHECK(c->w, offset / BLOCK + length / BLOCK <= blocks, "a difference behind the end of '%s'", world_memory[m].name);
  for (uint64_t b = offset / BLOCK; length > 0; b++, length -= BLOCK) {
    WORLD_CHECK(c->w, !c->differs[m][b], "block %llu of '%s' is told twice", (unsigned long long)b, world_memory[m].name);
    c->differs[m][b] = true;
  }
  return 0;
}

static void check_differences(comparison_of_views *c) {
  for (int m = 0; m < MEMORY_VOLATILE; m++) {
    uint64_t blocks = c->to->committed->memory[m].present ? c->to->committed->memory[m].pages * (PAGE / BLOCK) : 0;
    for (uint64_t b = 0; b < blocks; b++) {
      bool must = memcmp(block_of(c->from->committed, m, b), block_of(c->to->committed, m, b), BLOCK) != 0;
      WORLD_CHECK(c->w, c->differs[m][b] == must, "block %llu of '%s' %s", (unsigned long long)b, world_memory[m].name,
                  must ? "differs and is not told" : "is told and does not differ");
    }
  }
}

void world_diff(world *w) {
  holder *open[WORLD_VIEWS];
  size_t count = 0;
  for (int v = 0; v < WORLD_VIEWS; v++)
    if (w->view[v].h.handle) open[count++] = &w->view[v].h;
  if (count == 0) return;
  comparison_of_views *c = calloc(1, sizeof *c);
  c->w = w;
  holder *to = open[dice_below(&w->dice, count)];
  c->from = open[dice_below(&w->dice, count)];
  c->to = to;
  /* Else diff opens it, and without EXPLICIT. */
  if (to->work->memory[MEMORY_EXPLICIT].present) world_use(w, to, MEMORY_EXPLICIT);
  WORLD_OK(w, pagestore_diff(c->from->handle, c->to->handle, note_range, c));
  check_differences(c);
  free(c);
}
