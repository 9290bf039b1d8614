/* test_log_goes_on.c - a record of the log that is gone on with by later transactions: it moves, and what was in it stays what it was, for
 * whoever holds an index that names it; where it ends it is left alone.
 *
 * ctest: WRAP malloc calloc realloc
 */
#include <fcntl.h>
#include <unistd.h>

#include "block_log_bench.h"

static int setup_going_on(void **env) {
  int status = setup(env);
  ((bench *)*env)->goes_on = true;
  return status;
}

/* Three blocks a flush, no two of one address. */
static void flush_three(bench *b) {
  uint64_t n = b->version;
  assert_int_equal(flush_page(b, n * 7 % PAGES, (uint16_t)(7u << n % 13), n + 1), 0);
}

static void few_blocks_share_a_record(void **env) {
  bench *b = *env;
  for (unsigned n = 0; n < 5; n++) {
    flush_three(b);
    assert_int_equal(count_records(b), 1);
    assert_int_equal(block_log_sequence(b->log), 2);
    assert_all(b);
  }
  flush_three(b); /* fifteen are in it: another one would have to be written as well */
  assert_int_equal(count_records(b), 2);
  assert_int_equal(flush_page(b, 60, 0x007f, 500), 0);
  assert_int_equal(flush_page(b, 61, 0x003f, 501), 0); /* just full: 3 + 7 + 6 */
  assert_int_equal(count_records(b), 2);
  assert_all_lasts(b);
  flush_three(b);
  assert_int_equal(count_records(b), 3);
  assert_int_equal(b->state->memories[0].stored_pages, stored_pages(b));
  while (!block_log_is_empty(b->log)) step(b, LOG_EVERYTHING, 10, true);
  assert_int_equal(count_rows(&b->f, 0), stored_pages(b));
  assert_all(b);
}

/* The same block again and again: the record holds the old ones, too, and the newest counts. */
static void the_newest_of_a_record_counts(void **env) {
  bench *b = *env;
  for (uint64_t n = 0; n < 16; n++) {
    assert_int_equal(flush_page(b, 5, 0x0010, n + 1), 0);
    assert_all(b);
  }
  assert_int_equal(count_records(b), 1);
  assert_all_lasts(b);
  while (!block_log_is_empty(b->log)) step(b, LOG_EVERYTHING, 10, true);
  assert_int_equal(count_rows(&b->f, 0), 1);
  assert_all(b);
}

/* Views hold the index of each state, while the record moves, is deleted, and its room is used again. */
static void old_indexes_follow_it(void **env) {
  enum { VIEWS = 5 };
  bench *b = *env;
  static uint64_t then[VIEWS][PAGES][PAGE_BLOCKS];
  unflushed *index[VIEWS];
  for (unsigned v = 0; v < VIEWS; v++) {
    flush_three(b);
    index[v] = log_line_capture(b->log, b->of);
    memcpy(then[v], b->tags, sizeof then[v]);
    assert_int_equal(layers_retain(b->layers, 1, b->version), 0);
  }
  for (unsigned n = 0; n < 40; n++) {
    flush_three(b);
    for (unsigned v = 0; v < VIEWS; v++) assert_reads(b, index[v], v + 1, then[v]);
  }
  for (unsigned n = 0; n < 200 && !block_log_is_empty(b->log); n++) {
    step(b, LOG_EVERYTHING, 3, true);
    for (unsigned v = 0; v < VIEWS; v++) assert_reads(b, index[v], v + 1, then[v]);
  }
  for (unsigned n = 0; n < 60; n++) flush_three(b);
  for (unsigned v = 0; v < VIEWS; v++) {
    assert_reads(b, index[v], v + 1, then[v]);
    unflushed_release(index[v]);
    layers_unretain(b->layers, 1, v + 1);
  }
  assert_all(b);
}

/* A transaction that is not durable leaves the record where it was. */
static void an_abandoned_flush_moves_nothing(void **env) {
  bench *b = *env;
  flush_three(b);
  flush_three(b);
  for (uint64_t at = 1;; at++) {
    fail_in = at;
    int err = flush_page(b, 50, 0x0003, 1000 + at);
    fail_in = 0;
    if (err == 0) break;
    assert_int_equal(err, PAGESTORE_ENOMEM);
    assert_int_equal(block_log_sequence(b->log), 2);
    assert_all(b);
    assert_true(at < 1000);
  }
  assert_int_equal(count_records(b), 1);
  assert_all_lasts(b);
}

/* Segments of one transaction that compare with blocks which the record had, and with such as it has just got. */
static void it_is_read_while_it_is_filled(void **env) {
  bench *b = *env;
  assert_int_equal(flush_page(b, 5, 0x0003, 7), 0);
  b->w.txn = begin(&b->f);
  block_log_pack(b->log, &b->packer, b->w.txn, 6);
  b->w.packer = &b->packer;
  for (uint64_t n = 0; n < 3; n++) { /* 5: block 1 as it was; block 2 new, then as it was */
    unflushed *u;
    delta *d = one_page_delta(1, 5, 0x0006, 7);
    assert_int_equal(unflushed_push(NULL, d, 1, 0, &u), 0);
    writer_changes changes = {.blocks = u, .logged = block_log_sees(b->of), .logged_layer = 1};
    assert_int_equal(writer_apply(&b->w, b->line, ++b->version, &changes, b->state), 0);
    assert_int_equal(block_log_note(b->log, b->of, &b->packer), 0);
    unflushed_release(u);
    delta_release(d);
  }
  b->tags[5][2] = 7;
  assert_int_equal(packer_end(&b->packer), 0);
  assert_int_equal(block_log_reserve(b->log, b->packer.record_count), 0);
  assert_int_equal(put_present(b, b->version), 0);
  commit(b->w.txn);
  settle(b);
  assert_int_equal(b->w.blocks_unchanged, 5);
  assert_int_equal(count_records(b), 1);
  assert_all(b);
}

/* ---- where it ends ---------------------------------------------------------------------------------------------------------------------- */

/* A line that was drained counts nothing up to the last record. */
static void not_after_draining(void **env) {
  bench *b = *env;
  merge_at at = {0};
  flush_three(b);
  b->w.txn = begin(&b->f);
  assert_int_equal(block_log_drain(b->log, &b->w, b->of, 100, &at), 0);
  commit(b->w.txn);
  block_log_drained(b->log, b->of, 0);
  flush_three(b);
  assert_int_equal(count_records(b), 2);
  assert_all(b);
  while (!block_log_is_empty(b->log)) step(b, LOG_EVERYTHING, 10, true);
  assert_all(b);
}

/* A generation that is being merged gets nothing any more: closed by the slice of an earlier transaction, and by one of the same. */
static void not_beyond_its_generation(void **env) {
  bench *b = *env;
  flush_three(b);
  step(b, LOG_EVERYTHING, 1, true);
  flush_three(b);
  assert_int_equal(count_records(b), 2);
  assert_all(b);
  while (!block_log_is_empty(b->log)) step(b, LOG_EVERYTHING, 10, true);
  flush_three(b);
  assert_int_equal(count_records(b), 1);
  b->w.txn = begin(&b->f);
  block_log_pack(b->log, &b->packer, b->w.txn, 1);
  b->w.packer = &b->packer;
  assert_int_equal(block_log_step(b->log, &b->w, LOG_EVERYTHING, 100), 0);
  uint8_t block[BLOCK_BYTES];
  fill_block(block, 9);
  log_address at = {.layer = 1, .memory = 1, .page = 40, .version = b->version + 1};
  assert_int_equal(packer_add(&b->packer, &at, block, block_checksum(block, 40, 0)), 0);
  assert_int_equal(block_log_note(b->log, b->of, &b->packer), 0);
  assert_int_equal(packer_end(&b->packer), 0);
  assert_int_equal(block_log_reserve(b->log, b->packer.record_count), 0);
  assert_int_equal(put_present(b, ++b->version), 0);
  b->tags[40][0] = 9;
  commit(b->w.txn);
  settle(b);
  block_log_stepped(b->log, b->f.db, true);
  assert_int_equal(count_records(b), 2);
  assert_all(b);
  while (!block_log_is_empty(b->log)) step(b, LOG_EVERYTHING, 10, true);
  assert_all(b);
}

/* ---- damage ----------------------------------------------------------------------------------------------------------------------------- */

/* A byte of the record, wherever it lies or lay in the file. */
static void damage_record(bench *b, uint64_t sequence, off_t byte) {
  char file[300];
  uint8_t head[24], wanted[24] = {'P', 'G', 'S', 'T', 'B', 'L', 'K', 'S'}, was;
  unsigned found = 0;
  snprintf(file, sizeof file, "%s/data.mdb", b->f.path);
  int fd = open(file, O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0);
  memcpy(wanted + 16, &sequence, sizeof sequence);
  for (off_t at = 16; pread(fd, head, sizeof head, at) == sizeof head; at += 4096) {
    memcpy(wanted + 8, head + 8, 8);
    if (memcmp(head, wanted, sizeof head) != 0) continue;
    found++;
    assert_int_equal(pread(fd, &was, 1, at + byte), 1);
    was ^= 4;
    assert_int_equal(pwrite(fd, &was, 1, at + byte), 1);
  }
  assert_true(found > 0);
  close(fd);
}

static int read_page(bench *b, uint64_t page, const uint8_t **got) {
  row_place damage;
  db_slot *slot = reading(&b->f);
  pagemap map = {.reader = {.slot = slot}, .line = b->line, .logged = atomic_load(&b->of->blocks), .logged_layer = 1, .store = store_id};
  int err = pagemap_read(&map, 1, page, db_slot_page(slot), got, &damage);
  db_slot_release(slot);
  return err;
}

/* What is in it stays damaged, and nothing is added to it. */
static void a_damaged_record_is_left_alone(void **env) {
  bench *b = *env;
  const uint8_t *got;
  flush_three(b);
  damage_record(b, 1, 70);
  flush_three(b);
  assert_int_equal(count_records(b), 2);
  assert_int_equal(read_page(b, 0, &got), PAGESTORE_ECORRUPT);
  assert_int_equal(read_page(b, 7, &got), 0);
  assert_page(got, b->tags[7]);
  flush_three(b);
  assert_int_equal(count_records(b), 2);
  assert_int_equal(read_page(b, 14, &got), 0);
}

/* A damaged block goes along as damaged. */
static void damage_is_not_laundered(void **env) {
  bench *b = *env;
  const uint8_t *got;
  flush_three(b);
  damage_record(b, 1, PAGE_HEADER_BYTES + 2 * BLOCK_BYTES + 100);
  flush_three(b);
  assert_int_equal(count_records(b), 1);
  assert_int_equal(read_page(b, 0, &got), PAGESTORE_ECORRUPT);
  assert_int_equal(read_page(b, 7, &got), 0);
  assert_page(got, b->tags[7]);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_going_on, teardown)
  const struct CMUnitTest tests[] = {
      TEST(few_blocks_share_a_record),
      TEST(the_newest_of_a_record_counts),
      TEST(old_indexes_follow_it),
      TEST(an_abandoned_flush_moves_nothing),
      TEST(it_is_read_while_it_is_filled),
      TEST(not_after_draining),
      TEST(not_beyond_its_generation),
      TEST(a_damaged_record_is_left_alone),
      TEST(damage_is_not_laundered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
