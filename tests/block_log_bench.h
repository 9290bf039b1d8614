/* block_log_bench.h - the log in front of page records with one layer and one memory, a model of what it must give, and allocations that
 * fail. In test programs, one each.
 */
#ifndef TESTS_BLOCK_LOG_BENCH_H
#define TESTS_BLOCK_LOG_BENCH_H

#include "storage/block_log.h"
#include "storage/record.h"

#include "storage_fixture.h"

enum { PAGES = 64, GENERATION = 8, BUDGET_RECORDS = 8 * GENERATION };

/* ---- allocations that fail ----------------------------------------------------------------------------------------------------- */

static uint64_t fail_in; /* 0: none; 1: the next one */
static inline bool fails(void) { return fail_in != 0 && --fail_in == 0; }
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *at, size_t size) { return fails() ? NULL : __real_realloc(at, size); }

/* ---- a layer with one memory --------------------------------------------------------------------------------------------------- */

typedef struct {
  fixture f;
  layers *layers;
  line *line;
  state *state;
  writer w;
  packer packer;
  block_log *log;
  log_line *of;
  uint64_t version;
  uint64_t tags[PAGES][PAGE_BLOCKS];
  bool goes_on; /* a flush goes on with the last record, where it has room; else each begins one */
} bench;

static inline void load(bench *b) {
  db_slot *slot = reading(&b->f);
  assert_int_equal(block_log_load((db_reader){.slot = slot}, store_id, &b->log), 0);
  db_slot_release(slot);
  block_log_budget(b->log, BUDGET_RECORDS * PAGE_RECORD_BYTES);
  assert_int_equal(block_log_line(b->log, 1, &b->of), 0);
}

static inline void unload(bench *b) {
  log_line_release(b->log, b->of);
  block_log_free(b->log);
}

static inline int setup(void **env) {
  bench *b = calloc(1, sizeof *b);
  memory_entry *m;
  fixture_open(&b->f);
  commit(begin(&b->f));
  db_slot *slot = reading(&b->f);
  assert_int_equal(layers_load((db_reader){.slot = slot}, &b->layers), 0);
  db_slot_release(slot);
  assert_int_equal(layers_add(b->layers, 1, &(layer_record){.depth = 1, .instance = 1}), 0);
  assert_int_equal(layers_line(b->layers, 1, BOUND_OPEN, &b->line), 0);
  assert_int_equal(state_new(&b->state), 0);
  assert_int_equal(state_memory_add(b->state, "heap", &m), 0);
  b->w = (writer){.layers = b->layers, .store = store_id, .scratch = malloc(PAGE_RECORD_BYTES)};
  load(b);
  *env = b;
  return 0;
}

static inline int teardown(void **env) {
  bench *b = *env;
  unload(b);
  fixture_close(&b->f);
  line_release(b->line);
  layers_free(b->layers);
  state_release(b->state);
  free(b->w.scratch);
  free(b);
  return 0;
}

static inline int put_present(bench *b, uint64_t version) {
  state_record record = {.layer = 1, .version = version, .time_ns = 1, .state = b->state};
  return catalog_put_state(&b->w, b->line, 1, NULL, &record);
}

static inline void settle(bench *b) {
  block_log_publish(b->log, &b->packer);
  db_slots_settle(b->f.db);
  block_log_settled(b->log);
  packer_free(&b->packer);
  b->w.packer = NULL;
}

/* What a flush does with one page's blocks; abandoned where anything fails. */
static inline int flush_page(bench *b, uint64_t page, uint16_t mask, uint64_t tag) {
  unflushed *u = NULL;
  uint64_t armed = fail_in;
  fail_in = 0;
  delta *d = one_page_delta(1, page, mask, tag);
  assert_int_equal(unflushed_push(NULL, d, 1, 0, &u), 0);
  b->w.txn = begin(&b->f);
  fail_in = armed;
  if (b->goes_on) block_log_pack(b->log, &b->packer, b->w.txn, mask_count(mask));
  else packer_begin(&b->packer, b->w.txn, store_id, block_log_sequence(b->log));
  b->w.packer = &b->packer;
  writer_changes changes = {.blocks = u, .logged = block_log_sees(b->of), .logged_layer = 1};
  int err = writer_apply(&b->w, b->line, b->version + 1, &changes, b->state);
  if (err == 0) err = block_log_note(b->log, b->of, &b->packer);
  if (err == 0) err = packer_end(&b->packer);
  if (err == 0) err = block_log_reserve(b->log, b->packer.record_count);
  fail_in = 0;
  if (err == 0) err = put_present(b, b->version + 1);
  if (err == 0) {
    commit(b->w.txn);
    b->version++;
    for (unsigned i = 0; i < PAGE_BLOCKS; i++)
      if (mask >> i & 1) b->tags[page][i] = tag;
    settle(b);
  } else {
    db_abort(b->w.txn);
    block_log_discard(b->log);
    packer_free(&b->packer);
    b->w.packer = NULL;
  }
  unflushed_release(u);
  delta_release(d);
  return err;
}

static inline void fill_log(bench *b, unsigned records) {
  for (unsigned n = 0; n < records; n++) assert_int_equal(flush_page(b, b->version * 7 % PAGES, (uint16_t)(1u << b->version % 16), b->version + 1), 0);
}

static inline void step(bench *b, log_goal goal, uint64_t pages, bool durable) {
  b->w.txn = begin(&b->f);
  assert_int_equal(block_log_step(b->log, &b->w, goal, pages), 0);
  if (durable) commit(b->w.txn);
  else db_abort(b->w.txn);
  block_log_stepped(b->log, b->f.db, durable);
}

static inline void assert_reads(bench *b, const unflushed *logged, uint64_t bound, const uint64_t (*tags)[PAGE_BLOCKS]) {
  line *bounded;
  row_place damage;
  assert_int_equal(line_rebound(b->line, bound, &bounded), 0);
  db_slot *slot = reading(&b->f);
  pagemap map = {.reader = {.slot = slot}, .line = bounded, .logged = logged, .logged_layer = 1, .store = store_id};
  for (uint64_t page = 0; page < PAGES; page++) {
    const uint8_t *bytes_of;
    assert_int_equal(pagemap_read(&map, 1, page, db_slot_page(slot), &bytes_of, &damage), 0);
    assert_page(bytes_of, tags[page]);
  }
  db_slot_release(slot);
  line_release(bounded);
}

/* Through the line; as another process would, with an index of its own. */
static inline void assert_all(bench *b) {
  unflushed *index;
  assert_reads(b, atomic_load(&b->of->blocks), BOUND_OPEN, b->tags);
  db_slot *slot = reading(&b->f);
  assert_int_equal(block_log_index((db_reader){.slot = slot}, store_id, 1, &index), 0);
  assert_reads(b, index, BOUND_OPEN, b->tags);
  unflushed_release(index);
  db_slot_release(slot);
}

/* Now, and as loaded anew. */
static inline void assert_all_lasts(bench *b) {
  assert_all(b);
  unload(b);
  load(b);
  assert_all(b);
}

static inline uint64_t count_records(bench *b) { return block_log_bytes(b->log) / PAGE_RECORD_BYTES; }

static inline uint64_t stored_pages(const bench *b) {
  uint64_t count = 0;
  static const uint64_t zeros[PAGE_BLOCKS];
  for (unsigned p = 0; p < PAGES; p++) count += memcmp(b->tags[p], zeros, sizeof zeros) != 0;
  return count;
}

#endif
