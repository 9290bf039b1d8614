/* test_byteflip.c - any single byte of a store changed, or the store cut off anywhere: check says so, or the library reads
 * the same as before; and recover saves every page whose bytes are there, and invents none.
 *
 *   test_byteflip [--all] [--seed N] [--from AT] [--to AT] [--random STEPS]
 *
 *   --all          every byte; else those of the meta pages and of the main tree's page, and others in steps
 *   --from, --to   the single bytes from there on, up to there
 *   --random       a store that so many random steps from the seed and the time make, alone; else one of 30 steps from the
 *                  seed alone, after the known one; with --all from the time, too
 *   --deep         a store whose table of pages has three levels, alone; in wide steps
 *
 * In one process, on a copy in memory: a flip costs a millisecond. Three judges that know nothing of each other: what the
 * library reads (asked where check says "clean"), the rows of the whole store, and a lookup of each page of each version.
 *
 * ctest: PROGRAM_OF_ITS_OWN TIMEOUT 900
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "byteflip_random.h"
#include "byteflip_rows.h"
#include "byteflip_store.h"
#include "check_audit.h"
#include "recover_salvage.h"
#include "storage/walker_page.h"

static bool every_byte, explores; /* explores: random stores depend on time, too */
static uint64_t seed = 20240607, only = UINT64_MAX, until = UINT64_MAX, random_steps;
static bool deep;
static uint64_t sparse = 1; /* so many times as far from one change to the next */
static char path[4096], data_path[4200];
static uint8_t *image;
static uint64_t image_bytes;
static int memory_fd, data_fd;

/* ---- second and third: rows and lookups ------------------------------------------------------------------------------ */

static salvage whole; /* of the store as it is */
static rows whole_rows;
static uint64_t whole_digest;

static int recover_image(salvage *s, rows *r) {
  *s = (salvage){.fd = memory_fd};
  *r = (rows){0};
  int status = salvage_run(s);
  if (status) return status;
  r->store = s->audit.kept.store.id;
  status = salvage_emit(s, take_row, r);
  if (r->count) qsort(r->at, r->count, sizeof *r->at, order_rows);
  return status;
}

/* The blocks of a row that the file still has as they were. */
typedef struct {
  uint64_t at, length;
} hole;

static bool overlaps(hole a, hole b) { return a.at < b.at + b.length && b.at < a.at + a.length; }

/* The row of the log's record that the block of the page comes from; NULL: it comes from the row under it. */
static const kept_log *logged_block(const salvage_merge *m, unsigned block) {
  if (!(m->blocks >> block & 1)) return NULL;
  return kept_log_row_of(&whole.audit.kept, whole.audit.kept.log_catalog.at[m->from[block].record].sequence);
}

/* Where a block of the row lies in the file; length 0: nowhere, it is of zeros. */
static hole block_place(const kept_row *k, unsigned block) {
  const salvage_merge *m = k->origin == ORIGIN_LOG ? salvage_merge_of(&whole, &k->key) : NULL;
  const kept_log *l = m ? logged_block(m, block) : NULL;
  if (l) return (hole){l->at + PAGE_HEADER_BYTES + m->from[block].slot * (uint64_t)BLOCK_BYTES, BLOCK_BYTES};
  if (m && (!m->has_under || m->under.size != PAGE_RECORD_BYTES)) return (hole){0};
  return (hole){(m ? m->under.at : k->at) + PAGE_HEADER_BYTES + block * (uint64_t)BLOCK_BYTES, BLOCK_BYTES};
}

static uint16_t blocks_hit(const kept_row *k, hole h) {
  uint16_t hit = 0;
  if (k->size != PAGE_RECORD_BYTES) return 0;
  for (unsigned b = 0; b < PAGE_BLOCKS; b++)
    if (overlaps(block_place(k, b), h)) hit |= (uint16_t)(1u << b);
  return hit;
}

/* Any row that it is made of. */
static bool touches(const kept_row *k, hole h) {
  const salvage_merge *m = k->origin == ORIGIN_LOG ? salvage_merge_of(&whole, &k->key) : NULL;
  if (!m) return overlaps((hole){k->at, k->size}, h);
  if (m->has_under && overlaps((hole){m->under.at, m->under.size}, h)) return true;
  for (unsigned b = 0; b < PAGE_BLOCKS; b++) {
    const kept_log *l = logged_block(m, b);
    if (l && overlaps((hole){l->at, PAGE_RECORD_BYTES}, h)) return true;
  }
  return false;
}

static void fail_row(const char *what, const kept_row *k, hole h) {
  fail_msg("seed %llu, hole %llu+%llu: %s: layer %llu memory %u page %llu version %llu (at %llu)",
           (unsigned long long)seed, (unsigned long long)h.at, (unsigned long long)h.length, what,
           (unsigned long long)k->key.layer, k->key.memory, (unsigned long long)k->key.page,
           (unsigned long long)k->key.version, (unsigned long long)k->at);
}

/* A block of zeros beside logged ones, which is stored nowhere: there is no row under them. Where a page of the tree is
 * gone, and that was told, nobody can know that there was none. */
static bool may_be_under(const salvage *s, const kept_row *k, unsigned block, bool all) {
  return !all && s->lost.damages && k->origin == ORIGIN_LOG && block_place(k, block).length == 0;
}

/* Every page whose bytes are there is there; no block that differs can be read. all: of a single byte, zero markers too. */
static void compare_rows(const salvage *s, const rows *r, hole h, bool all) {
  for (size_t i = 0; i < whole.audit.kept.rows.count; i++) {
    const kept_row *k = &whole.audit.kept.rows.at[i];
    const row *was = row_of(&whole_rows, k->key), *is = row_of(r, k->key);
    uint16_t hit = blocks_hit(k, h);
    bool header_gone = h.length > 1 && touches(k, h);
    bool may_be_lost = k->origin == ORIGIN_LOG && !all && s->lost.damages; /* told: of the row under it, or the log */
    if (k->key.memory == SYSTEM_MEMORY && hit) continue; /* metadata: its instance goes on without */
    if (may_be_lost && (!is || !is->good)) continue;
    if (!is && (all || (k->size == PAGE_RECORD_BYTES && !touches(k, h)))) fail_row("a row is lost", k, h);
    if (!is) continue;
    if (k->size == ZERO_MARKER_BYTES && !is->good && all) fail_row("a marker is lost", k, h);
    if (k->size == ZERO_MARKER_BYTES || !is->good) {
      if (k->size == PAGE_RECORD_BYTES && !is->good && !touches(k, h)) fail_row("a whole page cannot be read", k, h);
      continue;
    }
    for (unsigned b = 0; b < PAGE_BLOCKS; b++) {
      bool readable = !(is->bad >> b & 1), same = is->hash[b] == was->hash[b];
      if (readable && !same && !s->log_missing) fail_row("a block reads as something else", k, h);
      if (!readable && !(hit >> b & 1) && !header_gone && !may_be_under(s, k, b, all))
        fail_row("a whole block cannot be read", k, h);
    }
  }
}

/* What a reader of each version finds is the row that was there, or cannot be read; where the free list is gone, too, it
 * may be another one, but recover does not call that whole. */
static void compare_lookups(const salvage *s, const rows *r, hole h) {
  const kept *a = &whole.audit.kept, *b = &s->audit.kept;
  for (size_t i = 0; i < a->states.count; i++) {
    const kept_state *was = &a->states.at[i], *is = kept_state_of(b, was->instance, was->snapshot);
    kept_line line, now;
    if (!is || is->record.version != was->record.version) continue;
    kept_line_of(a, was->record.layer, was->record.version, &line);
    kept_line_of(b, is->record.layer, is->record.version, &now);
    for (uint32_t m = 0; m < was->record.state->memory_count; m++) {
      const memory_entry *e = &was->record.state->memories[m];
      const memory_entry *f = state_memory_by_id(is->record.state, e->id);
      for (uint64_t page = 0; f && page < e->pages && page < f->pages; page++) {
        const kept_row *x = kept_lookup(a, &line, e->id, page), *y = kept_lookup(b, &now, e->id, page);
        const row *found = y ? row_of(r, y->key) : NULL;
        bool unreadable = found && (!found->good || found->bad);
        bool zeros = !x || x->size == ZERO_MARKER_BYTES,
             zeros_now = !y || (y->size == ZERO_MARKER_BYTES && !unreadable);
        if (unreadable || (zeros && zeros_now)) continue;
        if (s->log_missing && s->lost.damages) continue; /* told: pages of unknown place may be older */
        if (!s->exact && s->lost.damages) continue; /* told: what was found may be older than what is lost */
        if (!x || !y || zeros != zeros_now || order_rows(&(row){.key = x->key}, &(row){.key = y->key}) != 0)
          fail_row("a reader finds another page", x ? x : y, h);
      }
    }
  }
}

static bool has_record(const salvage *s, const salvage_record *r) {
  for (size_t i = 0; i < s->records.count; i++) {
    const salvage_record *b = &s->records.at[i];
    if (r->key.size == b->key.size && memcmp(r->key.byte, b->key.byte, r->key.size) == 0)
      return r->value.size == b->value.size && memcmp(r->value.byte, b->value.byte, r->value.size) == 0;
  }
  return false;
}

static bool hits_metadata(hole h) {
  for (size_t i = 0; i < whole.audit.kept.rows.count; i++) {
    const kept_row *k = &whole.audit.kept.rows.at[i];
    if (k->key.memory == SYSTEM_MEMORY && blocks_hit(k, h)) return true;
  }
  return false;
}

static void compare_records(const salvage *s, hole h) {
  if (hits_metadata(h)) {
    assert_true(s->lost.damages > 0 && s->records.count == whole.records.count);
    return;
  }
  for (size_t i = 0; i < whole.records.count; i++) {
    const catalog_key *key = &whole.records.at[i].key;
    if (has_record(s, &whole.records.at[i])) continue;
    fail_msg("hole at %llu: the record of kind %u, id %u (%.20s) is not as it was", (unsigned long long)h.at,
             key->byte[0], key->size > 8 ? key->byte[8] : 0, key->byte + 1);
  }
  /* A count of nodes, or their beginning, changed so that it is right for a row that was deleted, is no different from the
   * other being wrong. A record of trash, which is the last key and thus may lie so, has nothing left to work off. */
  for (size_t i = 0; i < s->records.count; i++) {
    const catalog_key *key = &s->records.at[i].key;
    if (key->byte[0] != CATALOG_TRASH && !has_record(&whole, &s->records.at[i]))
      fail_msg("hole at %llu: a record of kind %u, id %u that was not there", (unsigned long long)h.at, key->byte[0],
               key->size > 8 ? key->byte[8] : 0);
  }
}

/* ---- one change ------------------------------------------------------------------------------------------------------ */

static uint64_t flips, clean, damaged, losses;

static bool check_says_damaged(void) {
  walker_metas metas;
  int status = walker_check_meta(memory_fd, "store", &metas);
  unsigned meta = metas.newest;
  if (!metas.meta[meta].usable) meta = !meta;
  if (status || !metas.meta[meta].usable) return true;
  audit a = {.fd = memory_fd, .metas = &metas, .meta = meta, .deep = true, .other = true, .explain = NO_OFFSET};
  int err = audit_run(&a);
  bool said = err != 0 || a.found.damages != 0;
  audit_free(&a);
  return said;
}

static void judge(hole h, bool single) {
  salvage s;
  rows r;
  flips++;
  if (!check_says_damaged()) {
    clean++;
    if (read_everything(path) != whole_digest)
      fail_msg("hole %llu+%llu: check says clean, but the library reads something else: %s", (unsigned long long)h.at,
               (unsigned long long)h.length, pagestore_detail());
    return;
  }
  damaged++;
  int status = recover_image(&s, &r);
  if (status && single) fail_msg("byte %llu: recover: %d", (unsigned long long)h.at, status);
  if (!status) {
    compare_rows(&s, &r, h, single);
    compare_lookups(&s, &r, h);
    if (single) compare_records(&s, h);
    losses += s.lost.damages != 0;
  }
  free(r.at);
  salvage_free(&s);
}

static void flip(uint64_t at, uint8_t with) {
  uint8_t byte = image[at] ^ with;
  assert_int_equal(pwrite(memory_fd, &byte, 1, (off_t)at), 1);
  assert_int_equal(pwrite(data_fd, &byte, 1, (off_t)at), 1);
  judge((hole){at, 1}, true);
  assert_int_equal(pwrite(memory_fd, image + at, 1, (off_t)at), 1);
  assert_int_equal(pwrite(data_fd, image + at, 1, (off_t)at), 1);
}

/* Where a test that failed left a change. */
static void put_image(void) {
  assert_int_equal(pwrite(memory_fd, image, image_bytes, 0), image_bytes);
  assert_int_equal(pwrite(data_fd, image, image_bytes, 0), image_bytes);
}

/* ---- tests ----------------------------------------------------------------------------------------------------------- */

static int setup(void **state) {
  (void)state;
  struct stat st;
  const char *folder = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/byteflip-XXXXXX", folder && *folder ? folder : "/tmp");
  assert_non_null(mkdtemp(path));
  if (random_steps) make_random_store(path, seed, (unsigned)random_steps, deep, !explores);
  else make_store(path);
  snprintf(data_path, sizeof data_path, "%s/data.mdb", path);
  data_fd = open(data_path, O_RDWR | O_CLOEXEC);
  assert_int_equal(fstat(data_fd, &st), 0);
  image_bytes = (uint64_t)st.st_size;
  image = malloc(image_bytes);
  assert_int_equal(pread(data_fd, image, image_bytes, 0), image_bytes);
  memory_fd = memfd_create("data.mdb", MFD_CLOEXEC);
  assert_int_equal(write(memory_fd, image, image_bytes), image_bytes);
  assert_int_equal(recover_image(&whole, &whole_rows), 0);
  whole_digest = read_everything(path);
  print_message("seed %llu; %llu LMDB pages, %zu rows, %zu of them with blocks of %zu records of the log, %zu records\n", (unsigned long long)seed,
                (unsigned long long)image_bytes / LMDB_PAGE_BYTES, whole.audit.kept.rows.count, whole.merges.count,
                whole.audit.kept.log_rows.count, whole.records.count);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  char lock[4200];
  snprintf(lock, sizeof lock, "%s/lock.mdb", path);
  close(data_fd);
  close(memory_fd);
  unlink(data_path);
  unlink(lock);
  rmdir(path);
  salvage_free(&whole);
  free(whole_rows.at);
  free(image);
  return 0;
}

static void the_store_is_whole(void **state) {
  (void)state;
  assert_false(check_says_damaged());
  assert_true(whole_digest != 0 && whole.lost.damages == 0);
  if (random_steps) return;
  assert_true(whole.merges.count > 4 && whole.audit.kept.log_rows.count > 3);
  assert_true(whole.audit.kept.rows.count > 60 && whole.records.count > 180);
  assert_true(image_bytes / LMDB_PAGE_BYTES > 200);
}

static bool is_in_use(uint64_t page) { return page < LMDB_METAS || whole.reached[page / 64] >> page % 64 & 1; }

static bool is_tree(uint64_t page) {
  const uint8_t *head = image + page * LMDB_PAGE_BYTES;
  uint16_t kind = get_le16(head + LMDB_FLAGS_AT);
  return is_in_use(page) && get_le64(head) == page && (kind == LMDB_BRANCH || kind == LMDB_LEAF);
}

/* Of which nearly every one is looked at: heads of meta pages and of trees' pages, and all of the main tree's page, which
 * names the tables. */
static bool is_dense(uint64_t at) {
  uint64_t page = at / LMDB_PAGE_BYTES, in_page = at % LMDB_PAGE_BYTES, used = 2 * LMDB_PAGE_HEADER_BYTES;
  if (page < LMDB_METAS) return in_page < 160;
  if (page == whole.metas.meta[whole.meta].main.root)
    return in_page < used || in_page >= LMDB_PAGE_BYTES - DB_TABLES * 64;
  return is_tree(page) && in_page < LMDB_PAGE_HEADER_BYTES && (!deep || page % 8 == 0);
}

static void every_kind_of_byte(void **state) {
  (void)state;
  uint64_t random = seed;
  flips = clean = damaged = losses = 0;
  for (uint64_t at = only == UINT64_MAX ? 0 : only; at < image_bytes && at < until;) {
    uint64_t here = seed ^ at << 20;
    unsigned bit = (unsigned)next_random(&here) % 8;
    flip(at, (uint8_t)(1 + next_random(&here) % 255));
    for (unsigned i = 0; i < 8 && is_dense(at); i++)
      if (every_byte || i == bit) flip(at, (uint8_t)(1u << i));
    uint64_t page = at / LMDB_PAGE_BYTES, step = is_tree(page) ? 260 : is_in_use(page) ? 4000 : 20000;
    uint64_t next = at + 1 + next_random(&random) % (step * sparse);
    for (at++; at < next && at < image_bytes && !every_byte && !is_dense(at);) at++;
  }
  print_message("%llu bytes changed: %llu not noticed, and the library reads as before; %llu damaged, of which recover "
                "lost something in %llu\n",
                (unsigned long long)flips, (unsigned long long)clean, (unsigned long long)damaged,
                (unsigned long long)losses);
  assert_true(only != UINT64_MAX || until != UINT64_MAX || (flips > 900 && damaged > 500 && clean > 0));
}

/* One wrong byte that is no nonsense: where a leaf's nodes begin, another node's place; or another count of them. */
static void bounds_of_other_nodes(void **state) {
  (void)state;
  put_image();
  flips = clean = damaged = 0;
  for (uint64_t p = LMDB_METAS; p < image_bytes / LMDB_PAGE_BYTES; p++) {
    const uint8_t *page = image + p * LMDB_PAGE_BYTES;
    if (!is_tree(p) || get_le16(page + LMDB_FLAGS_AT) != LMDB_LEAF || (deep && p % 16)) continue;
    unsigned upper = get_le16(page + LMDB_UPPER_AT), lower = get_le16(page + LMDB_LOWER_AT);
    unsigned nodes = walker_page_nodes(page);
    for (unsigned i = 0; i < nodes; i++) {
      unsigned differ = upper ^ get_le16(page + LMDB_PAGE_HEADER_BYTES + 2 * i);
      bool is_high = differ > 0xff;
      if (differ && (!is_high || (differ & 0xff) == 0))
        flip(p * LMDB_PAGE_BYTES + LMDB_UPPER_AT + is_high, (uint8_t)(is_high ? differ >> 8 : differ));
    }
    for (unsigned i = 1; i < nodes + 6; i += i + 6 < nodes ? (unsigned)(3 * sparse) : 1) {
      unsigned differ = lower ^ (LMDB_PAGE_HEADER_BYTES + 2 * i);
      if (differ && differ <= 0xff) flip(p * LMDB_PAGE_BYTES + LMDB_LOWER_AT, (uint8_t)differ);
    }
  }
  print_message("%llu times other bounds of nodes\n", (unsigned long long)flips);
}

static void cut_off_anywhere(void **state) {
  (void)state;
  put_image();
  uint64_t random = seed + 1;
  flips = clean = damaged = 0;
  for (uint64_t length = image_bytes - 1; length > 0;) {
    assert_int_equal(ftruncate(memory_fd, (off_t)length), 0);
    assert_int_equal(ftruncate(data_fd, (off_t)length), 0);
    judge((hole){length, image_bytes - length}, false);
    assert_int_equal(pwrite(memory_fd, image + length, image_bytes - length, (off_t)length), image_bytes - length);
    assert_int_equal(pwrite(data_fd, image + length, image_bytes - length, (off_t)length), image_bytes - length);
    uint64_t step = every_byte ? 64 : 1 + next_random(&random) % (16000 * sparse);
    length -= step < length ? step : length;
  }
  print_message("%llu lengths: %llu not noticed, %llu damaged\n", (unsigned long long)flips, (unsigned long long)clean,
                (unsigned long long)damaged);
  assert_true(damaged > 50 / sparse);
}

static void put_page(uint64_t page, const uint8_t *bytes) {
  assert_int_equal(pwrite(memory_fd, bytes, LMDB_PAGE_BYTES, (off_t)(page * LMDB_PAGE_BYTES)), LMDB_PAGE_BYTES);
  assert_int_equal(pwrite(data_fd, bytes, LMDB_PAGE_BYTES, (off_t)(page * LMDB_PAGE_BYTES)), LMDB_PAGE_BYTES);
}

/* Each LMDB page by itself: what lay elsewhere comes back, and what is unsure cannot be read. */
static void any_lmdb_page_destroyed(void **state) {
  (void)state;
  put_image();
  uint64_t random = seed + 2;
  uint8_t noise[LMDB_PAGE_BYTES];
  flips = clean = damaged = losses = 0;
  for (uint64_t page = 0; page < image_bytes / LMDB_PAGE_BYTES; page += page < 20 ? 1 : sparse) {
    for (unsigned i = 0; i < sizeof noise; i++) noise[i] = page % 2 ? (uint8_t)next_random(&random) : 0;
    put_page(page, noise);
    judge((hole){page * LMDB_PAGE_BYTES, LMDB_PAGE_BYTES}, false);
    put_page(page, image + page * LMDB_PAGE_BYTES);
  }
  print_message("%llu pages: %llu not noticed, %llu damaged, of which recover lost something in %llu\n",
                (unsigned long long)flips, (unsigned long long)clean, (unsigned long long)damaged,
                (unsigned long long)losses);
  assert_true(damaged > 100 / sparse);
}

/* Without any meta page everything is found again, but for which pages are free. */
static void both_meta_pages_destroyed(void **state) {
  (void)state;
  put_image();
  static const uint8_t nothing[LMDB_PAGE_BYTES];
  hole h = {0, 2 * LMDB_PAGE_BYTES};
  salvage s;
  rows r;
  put_page(0, nothing);
  put_page(1, nothing);
  assert_true(check_says_damaged());
  assert_int_equal(pwrite(memory_fd, image + 16, 136, 16), 136); /* not foreign: LMDB's magic is in one of them */
  assert_true(check_says_damaged());
  uint64_t far = UINT64_MAX - 2;
  assert_int_equal(pwrite(memory_fd, &far, sizeof far, 88 + 40), sizeof far);
  assert_int_equal(recover_image(&s, &r), 0);
  compare_rows(&s, &r, h, true);
  compare_lookups(&s, &r, h);
  compare_records(&s, h);
  assert_int_equal(s.lost.damages, 0);
  free(r.at);
  salvage_free(&s);
  put_page(0, image);
  put_page(1, image + LMDB_PAGE_BYTES);
}

/* What is left where a process ended between a transaction's pages and its meta page: it was never committed, and as long
 * as any byte of its meta page tells that, the one before is the newest. */
static void a_transaction_without_its_meta_page(void **state) {
  (void)state;
  put_image();
  enum { TXN_ID_AT = 144 };
  const walker_metas *m = &whole.given;
  uint64_t before = m->newest ? 0 : LMDB_PAGE_BYTES, last = LMDB_PAGE_BYTES - before;
  uint64_t older = m->meta[m->newest].txn_id - 2;
  put_page(last / LMDB_PAGE_BYTES, image + before);
  uint8_t number = last != 0;
  assert_int_equal(pwrite(memory_fd, &number, 1, (off_t)last), 1);
  assert_int_equal(pwrite(memory_fd, &older, sizeof older, (off_t)last + TXN_ID_AT), sizeof older);
  for (uint64_t at = 0; at < 2 * TXN_ID_AT + 16; at++) {
    salvage s;
    rows r;
    uint64_t place = at % 2 ? before + at / 2 : last + at / 2;
    uint8_t was, wrong;
    assert_int_equal(pread(memory_fd, &was, 1, (off_t)place), 1);
    wrong = was ^ 0x55;
    assert_int_equal(pwrite(memory_fd, &wrong, 1, (off_t)place), 1);
    assert_int_equal(recover_image(&s, &r), 0);
    if (s.audit.kept.store.flush_txn_id != older + 1)
      fail_msg("byte %llu: transaction %llu was taken instead of %llu", (unsigned long long)place,
               (unsigned long long)s.audit.kept.store.flush_txn_id, (unsigned long long)older + 1);
    assert_int_equal(s.lost.damages, 0);
    free(r.at);
    salvage_free(&s);
    assert_int_equal(pwrite(memory_fd, &was, 1, (off_t)place), 1);
  }
  put_image();
}

static void destroy_page(uint64_t page) {
  static const uint8_t nothing[LMDB_PAGE_BYTES];
  put_page(page, nothing);
}

/* The last record of the log was gone on with, so what it was before may lie in the file, too, with what the catalog said
 * of it then: without the newest ones, and without the free list, they are not taken for all that there was. */
static void the_newest_copy_of_a_log_record_destroyed(void **state) {
  (void)state;
  put_image();
  const kept *k = &whole.audit.kept;
  if (!k->log_rows.count) skip();
  const kept_log *last = &k->log_rows.at[k->log_rows.count - 1];
  if (last->sequence < k->log_beginning) skip(); /* its blocks are nobody's */
  catalog_key key = catalog_key_id(CATALOG_LOG, last->sequence);
  const catalog_record *said = NULL;
  for (size_t i = 0; i < whole.records.count; i++) {
    const salvage_record *r = &whole.records.at[i];
    if (r->key.size == key.size && memcmp(r->key.byte, key.byte, key.size) == 0) said = &r->value;
  }
  assert_non_null(said);
  destroy_page(last->at / LMDB_PAGE_BYTES);
  for (uint64_t page = LMDB_METAS; page < image_bytes / LMDB_PAGE_BYTES; page++)
    if (memmem(image + page * LMDB_PAGE_BYTES, LMDB_PAGE_BYTES, said->byte, said->size)) destroy_page(page);
  for (unsigned i = 0; i < LMDB_METAS; i++)
    if (whole.given.meta[i].free.root != LMDB_NO_PAGE) destroy_page(whole.given.meta[i].free.root);
  salvage s;
  rows r;
  assert_int_equal(recover_image(&s, &r), 0);
  assert_true(s.log_missing && s.lost.damages > 0);
  free(r.at);
  salvage_free(&s);
  put_image();
}

/* Many bytes at once, and pages in each other's place: it ends, and no block reads as something else. */
static void many_changes_at_once(void **state) {
  (void)state;
  put_image();
  uint64_t random = seed + 3, pages = image_bytes / LMDB_PAGE_BYTES, saved = 0;
  uint64_t rounds = every_byte ? 5000 : 150 / sparse;
  for (uint64_t round = 0; round < rounds; round++) {
    salvage s;
    rows r;
    for (unsigned i = 0; i < 1 + round % 40; i++) {
      uint64_t page = next_random(&random) % pages, from = next_random(&random) % pages;
      uint8_t byte = (uint8_t)next_random(&random), *with = i % 5 ? &byte : image + from * LMDB_PAGE_BYTES;
      uint64_t at = page * LMDB_PAGE_BYTES + (i % 5 ? next_random(&random) % LMDB_PAGE_BYTES : 0);
      size_t size = i % 5 ? 1 : LMDB_PAGE_BYTES;
      assert_int_equal(pwrite(memory_fd, with, size, (off_t)at), size);
    }
    (void)check_says_damaged();
    if (recover_image(&s, &r) == 0) {
      saved++;
      for (size_t i = 0; i < r.count; i++) {
        const row *is = &r.at[i], *was = row_of(&whole_rows, is->key);
        for (unsigned b = 0;
             was && is->good && was->size == is->size && is->size == PAGE_RECORD_BYTES && b < PAGE_BLOCKS; b++)
          assert_true(is->bad >> b & 1 || is->hash[b] == was->hash[b] || s.log_missing); /* told: pages may be older */
      }
    }
    free(r.at);
    salvage_free(&s);
    assert_int_equal(pwrite(memory_fd, image, image_bytes, 0), image_bytes);
  }
  print_message("%llu of %llu saved\n", (unsigned long long)saved, (unsigned long long)rounds);
  assert_true(saved > rounds / 2);
}

int main(int count, char **words) {
  for (int i = 1; i < count; i++) {
    if (strcmp(words[i], "--all") == 0) every_byte = explores = true;
    if (strcmp(words[i], "--deep") == 0) deep = true, random_steps = 3, sparse = 16;
    if (strcmp(words[i], "--from") == 0 && i + 1 < count) only = strtoull(words[i + 1], NULL, 10);
    if (strcmp(words[i], "--random") == 0 && i + 1 < count) explores = true, random_steps = strtoull(words[i + 1], NULL, 10);
    if (strcmp(words[i], "--to") == 0 && i + 1 < count) until = strtoull(words[i + 1], NULL, 10);
    if (strcmp(words[i], "--seed") == 0 && i + 1 < count) seed = strtoull(words[i + 1], NULL, 10);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_store_is_whole),
      cmocka_unit_test(every_kind_of_byte),
      cmocka_unit_test(bounds_of_other_nodes),
      cmocka_unit_test(any_lmdb_page_destroyed),
      cmocka_unit_test(both_meta_pages_destroyed),
      cmocka_unit_test(a_transaction_without_its_meta_page),
      cmocka_unit_test(the_newest_copy_of_a_log_record_destroyed),
      cmocka_unit_test(many_changes_at_once),
      cmocka_unit_test(cut_off_anywhere),
  };
  if (random_steps) return cmocka_run_group_tests_name("byteflip_random", tests, setup, teardown);
  int failed = cmocka_run_group_tests_name("byteflip", tests, setup, teardown);
  random_steps = 30;
  every_byte = false;
  sparse = 8;
  return failed + cmocka_run_group_tests_name("byteflip_random", tests, setup, teardown);
}
