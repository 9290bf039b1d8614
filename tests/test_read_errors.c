/* test_read_errors.c - a page of the store's file that the disk does not give, met through LMDB's mapping.
 *
 * ctest: TIMEOUT 200
 *
 * One 4 KiB page of the mapping of data.mdb is replaced by one that raises SIGBUS, as an unreadable disk block does; each page of the
 * file in turn. (The same by copy: test_sweep_calls.c, pread.) Proven:
 * - reading: every public function that reads gives what it should or EIO with a text; guest loads are right or trap as SIGSEGV; some of
 *   them do meet the page; with the page back, after a rollback, all is right again and commits go on;
 * - writing: a commit that meets it is refused or FAILED; what was durable is there when the store is opened again, and a commit that
 *   returned 0 is, too;
 * - merging: a log that meets it is merged or is told not to be, and loses nothing.
 */
#include "fault_rows.h"
#include "host_fixture.h"
#include "support/text.h"
#include "support/upkeep.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGES = 10, LMDB_PAGE = 4096, WRITE_STRIDE = 2 };

/* ---- the mapping ---------------------------------------------------------------------------------------------------------------------- */

typedef struct { uint8_t *base; uint64_t pages; int file, nothing; } mapping;

/* LMDB's mapping of the file is the one that begins at offset 0; pages of it are the file's. */
static mapping find_mapping(const host *h) {
  char line[600];
  unsigned long start, offset;
  struct stat st;
  mapping m = { .nothing = memfd_create("nothing", MFD_CLOEXEC), .file = open(h->file, O_RDONLY | O_CLOEXEC) };
  FILE *f = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, f))
    if (strstr(line, h->file) && sscanf(line, "%lx-%*x %*s %lx", &start, &offset) == 2 && offset == 0 && !m.base) m.base = (uint8_t *)start;
  fclose(f);
  assert_non_null(m.base);
  assert_int_equal(fstat(m.file, &st), 0);
  m.pages = (uint64_t)st.st_size / LMDB_PAGE;
  return m;
}

static void forget_mapping(const mapping *m) {
  close(m->file);
  close(m->nothing);
}

static void lose(const mapping *m, uint64_t page) {
  void *at = mmap(m->base + page * LMDB_PAGE, LMDB_PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, m->nothing, 0); /* beyond its end: SIGBUS */
  assert_ptr_equal(at, m->base + page * LMDB_PAGE);
}

static void give_back(const mapping *m, uint64_t page) {
  void *at = mmap(m->base + page * LMDB_PAGE, LMDB_PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, m->file, (off_t)(page * LMDB_PAGE));
  assert_ptr_equal(at, m->base + page * LMDB_PAGE);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------------- */

static uint64_t tag_of(uint64_t page) { return page % 3 ? 1 : 2; }

/* One block of a page, of another tag than the others. */
static void put_block(const host *h, uint64_t page, unsigned block, uint64_t tag) {
  static uint8_t bytes[PAGESTORE_PAGE];
  fill_page(bytes, page, tag);
  memcpy(h->base + page * PAGESTORE_PAGE + block * PAGESTORE_BLOCK, bytes + block * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
}

static uint64_t another_tag(uint64_t page) { return tag_of(page) + 8; }

static void log_blocks(host *h, uint64_t (*tag)(uint64_t page)) {
  for (uint64_t p = 1; p < PAGES; p += 3) put_block(h, p, 5, tag(p));
  host_commit(h);
}

/* Branch and leaf pages, some history, a snapshot, a fork, large metadata; blocks of pages 1, 4 and 7 in the log. */
static void make_store(host *h) {
  static uint8_t large[3000];
  pagestore_instance *fork;
  h->options.map_bytes = 64 * MIB;
  folder_make(h);
  host_open(h, PAGES);
  engine_install();
  for (uint64_t p = 0; p < PAGES; p++) put(h, p, 1);
  for (uint64_t p = 1; p < PAGES; p += 3) put_block(h, p, 5, another_tag(p));
  assert_ok(pagestore_metadata_set(h->instance, "large", large, sizeof large));
  host_commit(h);
  assert_ok(pagestore_snapshot_create(h->instance, "s", 0));
  for (uint64_t p = 0; p < PAGES; p += 3) put(h, p, 2);
  host_commit(h);
  assert_ok(pagestore_fork(h->instance, "fork", NULL, &fork));
  assert_ok(pagestore_metadata_set(fork, "key", "value", 5));
  assert_ok(pagestore_commit(fork, 0, NULL));
  pagestore_instance_close(fork);
  log_blocks(h, tag_of);
  assert_true(host_stats(h).log_bytes > 0);
}

static unsigned errors, traps;

/* 0 or EIO with a text. */
static bool worked(int status) {
  if (status == 0) return true;
  if (status != PAGESTORE_EIO) fail_msg("%d (%s), expected 0 or %d", status, pagestore_detail(), PAGESTORE_EIO);
  assert_true(strlen(pagestore_detail()) > 10);
  text_forget();
  errors++;
  return false;
}

static int any_instance(void *env, const pagestore_instance_info *info) { return (void)env, (void)info, 0; }
static int any_history(void *env, const pagestore_history_info *info) { return (void)env, (void)info, 0; }
static int any_snapshot(void *env, const char *name, uint64_t version, uint64_t bytes) { return (void)env, (void)name, (void)version, (void)bytes, 0; }
static int any_range(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) { return (void)env, (void)m, (void)offset, (void)length, 0; }
static int any_bytes(void *env, const void *bytes, size_t length) { return (void)env, (void)bytes, (void)length, 0; }

static void read_by_calls(host *h) {
  static uint8_t have[PAGESTORE_PAGE];
  pagestore_store_info info = { .size = sizeof info };
  pagestore_instance *now = NULL, *then = NULL;
  pagestore_memory *m;
  pagestore_instance_options options = { .size = sizeof options, .flags = PAGESTORE_READ };
  worked(pagestore_instance_each(h->store, NULL, any_instance, NULL));
  worked(pagestore_history_each(h->store, "i", any_history, NULL));
  worked(pagestore_snapshot_each(h->store, "i", any_snapshot, NULL));
  worked(pagestore_store_stat(h->store, &info));
  worked(pagestore_memory_blocks(h->memory, PAGESTORE_BLOCKS_STORED, any_range, NULL));
  if (!worked(pagestore_instance_open(h->store, "i", &options, &now))) return;
  options.snapshot = "s";
  if (worked(pagestore_instance_open(h->store, "i", &options, &then))) {
    worked(pagestore_diff(then, now, any_range, NULL));
    worked(pagestore_send(then, now, any_bytes, NULL));
    pagestore_instance_close(then);
  }
  if (worked(pagestore_memory_open(now, "m", NULL, &m)))
    for (uint64_t p = 0; p < PAGES; p++)
      if (worked(pagestore_memory_read(m, p * PAGESTORE_PAGE, have, sizeof have))) assert_true(page_is(have, p, tag_of(p)));
  pagestore_instance_close(now);
}

static void read_by_guest(host *h) {
  uint8_t have;
  for (uint64_t p = 0; p < PAGES; p++)
    for (uint64_t b = 0; b < 16; b += 5) {
      const uint8_t *at = h->base + p * PAGESTORE_PAGE + b * PAGESTORE_BLOCK;
      if (guest_load(at, &have)) {
        assert_int_equal(have, page_word(p, tag_of(p), b * PAGESTORE_BLOCK / 8) & 255);
        continue;
      }
      assert_int_equal(guest_signal, SIGSEGV);
      traps++;
    }
}

static void reading(void **state) {
  (void)state;
  host h = {0};
  make_store(&h);
  /* The flusher would find the lost page while it writes, and that ends a store. */
  upkeep_wait(h.store);
  mapping m = find_mapping(&h);
  unsigned met = 0;
  for (uint64_t page = 0; page < m.pages; page++) {
    unsigned before = errors + traps;
    assert_ok(pagestore_instance_trim(h.instance, 0));
    lose(&m, page);
    read_by_guest(&h);
    read_by_calls(&h);
    give_back(&m, page);
    assert_ok(pagestore_rollback(h.instance));
    met += errors + traps > before;
    for (uint64_t p = 0; p < PAGES; p++) assert_page(&h, p, tag_of(p));
    if (page % 8 == 0) {
      assert_ok(pagestore_metadata_set(h.instance, "page", &page, sizeof page));
      host_commit(&h);
      upkeep_wait(h.store);
    }
  }
  print_message("%llu pages of the file: %u were met, %u errors, %u traps\n", (unsigned long long)m.pages, met, errors, traps);
  assert_true(met > m.pages / 2 && errors > 100 && traps > 100);
  fault_row_count(ROW_READ, met);
  forget_mapping(&m);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* ---- writing --------------------------------------------------------------------------------------------------------------------------- */

enum { COMMITTED = 10, REFUSED, UNKNOWN };

/* In a child, which is left without a word: an environment that a jump has left in mid-change is not closed. */
static void commit_without(host *h, uint64_t page) {
  uint64_t version = 0;
  for (int signal = 1; signal < 32; signal++) sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
  h->options.tracker = page % 4 ? PAGESTORE_TRACK_AUTO : PAGESTORE_TRACK_FAULT; /* which compares with what is stored */
  if (host_open_store(h) != 0) {
    h->options.tracker = PAGESTORE_TRACK_AUTO;
    if (host_open_store(h) != 0) _exit(1);
  }
  engine_install();
  host_open_instance(h, 0);
  mapping m = find_mapping(h);
  if (page >= m.pages) _exit(0);
  for (uint64_t p = 0; p < PAGES; p += 2) put(h, p, 3);
  lose(&m, page);
  int status = pagestore_commit(h->instance, 0, &version);
  if (status && strlen(pagestore_detail()) < 10) _exit(2);
  if (status == PAGESTORE_EFAILED) _exit(UNKNOWN);
  if (status == 0) _exit(COMMITTED);
  if (status != PAGESTORE_EIO) _exit(3);
  /* Refused: the blocks are kept; what comes later is refused, too, or right. */
  if (dirty_blocks(h->memory) != PAGES / 2 * 16) _exit(4);
  give_back(&m, page);
  status = pagestore_commit(h->instance, 0, &version);
  _exit(status == 0 ? COMMITTED : status == PAGESTORE_EFAILED || status == PAGESTORE_EIO ? REFUSED : 5);
}

static void check_reopened(host *h, uint64_t before, int outcome) {
  host_open(h, 0);
  uint64_t version = pagestore_committed_version(h->instance);
  if (outcome == COMMITTED) assert_int_equal(version, before + 1);
  else if (outcome == REFUSED) assert_int_equal(version, before);
  else assert_in_range(version, before, before + 1);
  for (uint64_t p = 0; p < PAGES; p++) assert_page(h, p, version > before && p % 2 == 0 ? 3 : tag_of(p));
  /* as it was, for the next child */
  for (uint64_t p = 0; p < PAGES; p += 2) put(h, p, tag_of(p));
  host_commit(h);
  assert_ok(host_close(h));
}

static void writing(void **state) {
  (void)state;
  host h = {0};
  unsigned outcomes[UNKNOWN + 1] = {0};
  make_store(&h);
  uint64_t page = 0;
  for (bool more = true; more; page += WRITE_STRIDE) {
    int status;
    uint64_t before = pagestore_committed_version(h.instance);
    assert_ok(host_close(&h));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) commit_without(&h, page);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status)) fail_msg("page %llu: the child ended with %#x", (unsigned long long)page, status);
    int outcome = WEXITSTATUS(status);
    if (outcome != 0 && (outcome < COMMITTED || outcome > UNKNOWN)) fail_msg("page %llu: the child ended with %d", (unsigned long long)page, outcome);
    more = outcome != 0;
    if (more) {
      outcomes[outcome]++;
      check_reopened(&h, before, outcome);
    }
    host_open(&h, 0);
  }
  print_message("%llu pages of the file: %u commits went well, %u were refused, %u were unknown\n", (unsigned long long)page, outcomes[COMMITTED], outcomes[REFUSED],
                outcomes[UNKNOWN]);
  assert_true(outcomes[COMMITTED] > 0 && outcomes[REFUSED] + outcomes[UNKNOWN] > 0);
  fault_row_count(ROW_READ, outcomes[REFUSED] + outcomes[UNKNOWN]);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* ---- merging -------------------------------------------------------------------------------------------------------------------------- */

static void drain_without(host *h, uint64_t page) {
  for (int signal = 1; signal < 32; signal++) sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
  if (host_open_store(h) != 0) _exit(1);
  mapping m = find_mapping(h);
  if (page >= m.pages) _exit(0);
  lose(&m, page);
  int status = pagestore_drain(h->store, 20000);
  if (status && strlen(pagestore_detail()) < 10) _exit(2);
  _exit(status == 0 ? COMMITTED : status == PAGESTORE_EIO ? REFUSED : status == PAGESTORE_EFAILED ? UNKNOWN : 3);
}

/* What is in the log is merged into pages, or told that it cannot be; nothing of it is lost or changed. */
static void merging(void **state) {
  (void)state;
  host h = {0};
  unsigned outcomes[UNKNOWN + 1] = {0};
  make_store(&h);
  for (uint64_t page = 0;; page++) {
    int status;
    assert_ok(host_close(&h));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) drain_without(&h, page);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status)) fail_msg("page %llu: the child ended with %#x", (unsigned long long)page, status);
    int outcome = WEXITSTATUS(status);
    host_open(&h, 0);
    for (uint64_t p = 0; p < PAGES; p++) assert_page(&h, p, tag_of(p));
    if (outcome == 0) break;
    if (outcome < COMMITTED || outcome > UNKNOWN) fail_msg("page %llu: the child ended with %d", (unsigned long long)page, outcome);
    outcomes[outcome]++;
    if (host_stats(&h).log_bytes > 0) continue;
    log_blocks(&h, another_tag);
    log_blocks(&h, tag_of);
  }
  print_message("%u logs were merged, %u were refused, %u were unknown\n", outcomes[COMMITTED], outcomes[REFUSED], outcomes[UNKNOWN]);
  assert_true(outcomes[COMMITTED] > 0 && outcomes[REFUSED] + outcomes[UNKNOWN] > 0);
  fault_row_count(ROW_READ, outcomes[REFUSED] + outcomes[UNKNOWN]);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(reading), cmocka_unit_test(writing), cmocka_unit_test(merging) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
