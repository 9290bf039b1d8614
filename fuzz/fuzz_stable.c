/* fuzz_stable.c - the stable-memory calls against the model of tests/stable_model.h.
 *
 *   input: limits (two bytes), then operations: a byte that chooses, then its numbers (number() below)
 *
 * Each input begins with an empty stable memory and a heap of zeros; both live as long as the input.
 *
 * ctest: runs=3000
 */
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "tests/stable_model.h"

enum { HEAP_PAGES = 4, MAX_PAGES = 65540, OPERATIONS_MAX = 400 };
enum { READ64, WRITE64, READ32, WRITE32, GROW64, GROW32, SIZES, STORE, COMMIT, ROLLBACK, OPERATIONS };

static pagestore_store *store;
static char folder[64];

/* ---- the store: one for all inputs, nothing is ever written to it --------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static void close_store(void) {
  pagestore_close(store);
  nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_store(void) {
  const char *where = getenv("TMPDIR");
  char path[80];
  if (store) return;
  snprintf(folder, sizeof folder, "%s/fuzz-stable-XXXXXX", where && strlen(where) < 40 ? where : "/tmp");
  MUST(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/store", folder);
  MUST(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store) == 0);
  atexit(close_store);
}

/* ---- inputs -------------------------------------------------------------------------------- */

typedef struct {
  const uint8_t *at;
  size_t left;
} input;

static uint8_t take(input *in) {
  if (in->left == 0) return 0;
  in->left--;
  return *in->at++;
}

/* A number near an edge, or any: which edge, how far from it. */
static uint64_t number(input *in, const model *m) {
  const uint64_t edges[] = {0,
                            16,
                            4096,
                            PAGESTORE_PAGE,
                            m->heap_bytes,
                            m->pages * PAGESTORE_PAGE,
                            m->pages,
                            65536,
                            MAX_PAGES,
                            1ull << 31,
                            1ull << 32,
                            65536ull * PAGESTORE_PAGE,
                            1ull << 48,
                            1ull << 63,
                            UINT64_MAX,
                            0};
  uint8_t edge = take(in);
  if (edge & 0x80) {
    uint64_t any = 0;
    for (int i = 0; i < 4; i++) any = any << 8 | take(in);
    return edge & 0x40 ? any * 0x100000001u : any % (PAGESTORE_PAGE * 8);
  }
  return edges[edge % 16] + (uint64_t)(int8_t)take(in);
}

/* ---- operations ---------------------------------------------------------------------------- */

typedef struct {
  pagestore_instance *instance;
  pagestore_memory *heap, *stable;
  pagestore_stable *calls;
  model *model;
} guest;

static void copy(guest *g, input *in, uint8_t kind) {
  model_copy c = {.write = kind == WRITE64 || kind == WRITE32, .small = kind >= READ32};
  c.address = number(in, g->model);
  c.offset = number(in, g->model);
  c.bytes = number(in, g->model);
  if (c.small) {
    c.address = (uint32_t)c.address;
    c.offset = (uint32_t)c.offset;
    c.bytes = (uint32_t)c.bytes;
  }
  uint32_t address = (uint32_t)c.address, offset = (uint32_t)c.offset, bytes = (uint32_t)c.bytes;
  int trap;
  if (c.small && c.write) trap = pagestore_stable_write(g->calls, offset, address, bytes);
  else if (c.small) trap = pagestore_stable_read(g->calls, address, offset, bytes);
  else if (c.write) trap = pagestore_stable64_write(g->calls, c.offset, c.address, c.bytes);
  else trap = pagestore_stable64_read(g->calls, c.address, c.offset, c.bytes);
  MUST(trap == model_run(g->model, c));
}

static void grow(guest *g, input *in, bool small) {
  uint64_t more = number(in, g->model), old = 7, expected = 7;
  uint32_t old32 = 7;
  int trap = model_grow(g->model, small ? (uint32_t)more : more, small, &expected);
  if (small) MUST((int)pagestore_stable_grow(g->calls, (uint32_t)more, &old32) == trap);
  else MUST((int)pagestore_stable64_grow(g->calls, more, &old) == trap);
  MUST((small ? old32 : old) == expected);
}

static void sizes(guest *g) {
  uint64_t pages = 0;
  uint32_t pages32 = 0;
  bool large = g->model->pages > 65536;
  MUST(pagestore_stable64_size(g->calls, &pages) == 0 && pages == g->model->pages);
  MUST((int)pagestore_stable_size(g->calls, &pages32) == (large ? PAGESTORE_STABLE_LARGE : 0));
  MUST(large || pages32 == pages);
}

/* The guest's own. */
static void write_heap(guest *g, input *in) {
  uint64_t at = number(in, g->model) % (g->model->heap_bytes - 16);
  uint8_t byte = take(in);
  memset(pagestore_memory_base(g->heap) + at, byte, 16);
  memset(g->model->heap + at, byte, 16);
}

static void compare(guest *g) {
  const model *m = g->model;
  uint64_t accessed, dirtied;
  pagestore_stable_counts(g->calls, &accessed, &dirtied);
  MUST(accessed == m->accessed && dirtied == m->dirtied);
  MUST(memcmp(pagestore_memory_base(g->heap), m->heap, m->heap_bytes) == 0);
  for (uint64_t i = 0; i < m->listed; i++) {
    uint64_t at = m->list[i] * 4096;
    if (at < m->pages * PAGESTORE_PAGE) MUST(memcmp(pagestore_memory_base(g->stable) + at, m->stable + at, 4096) == 0);
  }
}

static void operate(guest *g, input *in) {
  uint8_t kind = take(in) % OPERATIONS;
  switch (kind) {
  case READ64:
  case WRITE64:
  case READ32:
  case WRITE32: copy(g, in, kind); break;
  case GROW64:
  case GROW32: grow(g, in, kind == GROW32); break;
  case SIZES: sizes(g); break;
  case STORE: write_heap(g, in); break;
  default:
    compare(g);
    MUST((kind == COMMIT ? pagestore_commit(g->instance, 0, NULL) : pagestore_rollback(g->instance)) == 0);
    model_end(g->model, kind == COMMIT);
  }
}

/* The model becomes empty again: what was ever committed is zeroed. */
static void model_reset(model *m, const uint64_t *blocks, size_t count) {
  for (size_t i = 0; i < count; i++) {
    memset(m->stable + blocks[i] * 4096, 0, 4096);
    memset(m->committed + blocks[i] * 4096, 0, 4096);
  }
  memset(m->heap, 0, m->heap_bytes);
  memset(m->committed_heap, 0, m->heap_bytes);
  m->pages = m->committed_pages = 0;
}

static void open_guest(guest *g, model *m) {
  pagestore_memory_options heap = {.size = sizeof heap,
                                   .flags = PAGESTORE_VOLATILE,
                                   .pages = HEAP_PAGES,
                                   .max_pages = HEAP_PAGES,
                                   .guard_bytes = 1 << 20};
  pagestore_memory_options stable = {.size = sizeof stable,
                                     .flags = PAGESTORE_VOLATILE | PAGESTORE_MEMORY64,
                                     .max_pages = MAX_PAGES,
                                     .guard_bytes = 1 << 20};
  pagestore_stable_options limits = {.size = sizeof limits,
                                     .accessed_limit = m->accessed_limit,
                                     .dirtied_limit = m->dirtied_limit};
  *g = (guest){.model = m};
  open_store();
  MUST(pagestore_instance_open(store, "fuzz", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                               &g->instance) == 0);
  MUST(pagestore_memory_open(g->instance, "heap", &heap, &g->heap) == 0);
  MUST(pagestore_memory_open(g->instance, "stable", &stable, &g->stable) == 0);
  MUST(pagestore_stable_open(g->heap, g->stable, &limits, &g->calls) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static model m;
  static uint64_t blocks[1 << 16];
  size_t count = 0;
  guest g;
  input in = {data, size};
  if (!m.heap) model_open(&m, HEAP_PAGES, MAX_PAGES);
  m.accessed_limit = take(&in) % 128;
  m.dirtied_limit = take(&in) % 64;
  open_guest(&g, &m);
  for (unsigned i = 0; i < OPERATIONS_MAX && in.left; i++) {
    uint64_t before = m.listed;
    operate(&g, &in);
    for (uint64_t at = before; at < m.listed && count < sizeof blocks / sizeof *blocks; at++)
      blocks[count++] = m.list[at];
  }
  compare(&g);
  pagestore_stable_close(g.calls);
  pagestore_instance_close(g.instance);
  model_end(&m, false);
  model_reset(&m, blocks, count);
  return 0;
}

/* ---- seeds --------------------------------------------------------------------------------- */

void fuzz_seeds(fuzz_add add, void *env) {
  /* grow 3; store; write 32 bytes at 65,530; read them; commit; sizes; out of bounds; rollback */
  static const uint8_t plain[] = {0, 0,  GROW64, 0, 3,       STORE, 1,    0, 0xa5, WRITE64, 1,     0,        3,    0xfa,
                                  1, 16, READ32, 4, 0xc0,    3,     0xfa, 1, 16,   COMMIT,  SIZES, READ64,   0,    0,
                                  5, 0,  0,      1, WRITE32, 4,     0,    0, 0,    0,       1,     ROLLBACK, SIZES};
  /* grow to 65,536 with the 32-bit call, write the last byte, grow beyond, try the 32-bit calls */
  static const uint8_t large[] = {0, 0,       GROW32, 7, 0,  STORE,  0, 0, 7,      WRITE32, 0, 3,  11,    0xff,
                                  0, 1,       GROW32, 0, 1,  GROW64, 0, 1, READ32, 0,       0, 11, 0xff,  0,
                                  1, WRITE64, 0,      0, 11, 3,      0, 9, SIZES,  GROW64,  8, 0,  COMMIT};
  /* limits of 5 and 2 blocks */
  static const uint8_t limits[] = {5,        2,      GROW64, 0, 2,      WRITE64, 0,       0, 0, 0, 2, 4, READ64,
                                   0,        0,      2,      0, 3,      0,       WRITE64, 0, 0, 3, 0, 0, 1,
                                   ROLLBACK, GROW64, 0,      2, READ64, 0,       0,       0, 0, 3, 0};
  add(env, "plain", plain, sizeof plain);
  add(env, "large", large, sizeof large);
  add(env, "limits", limits, sizeof limits);
}
