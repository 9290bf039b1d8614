/* test_pressure.c - memory that is swapped out, dirty and clean: no dirty block is missed, none is lost.
 *
 * ctest: LABELS plain
 *
 * Where the process has no swap and may not add any (not root, or no file system that takes a swap file), the test says so and is
 * skipped. A small swap file in the scratch folder is used while it runs; a child takes it away again, whatever becomes of the test.
 * For each tracker, messages write scattered blocks, all of the memory is paged out (MADV_PAGEOUT; /proc tells how much went), more is
 * written into blocks that are out, clean and dirty, and all goes out once more. Proven: what commit finds, what rollback brings
 * back, and what is there after reopening is what plain arrays hold; dirty blocks of those that were out are counted.
 */
#include "fault_rows.h"
#include "host_fixture.h"

#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>

enum { PAGES = 192, ROUNDS = 6, SWAP_MIB = 96 };
#define MEMORY_BYTES ((size_t)PAGES * PAGESTORE_PAGE)
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

/* ---- swap ------------------------------------------------------------------------------------------------------------------------------ */

static int guard_end = -1; /* closed by exiting, too: the guardian then ends the swap */
static pid_t guardian;

/* The kernel's header: version 1, the last page, the magic at the end of the first page. */
static bool make_swap_file(const char *path) {
  static uint8_t bytes[1 << 20];
  uint32_t header[] = { 1, (uint32_t)(SWAP_MIB * (MIB / 4096) - 1), 0 };
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool good = true;
  for (int i = 0; i < SWAP_MIB && good; i++) good = write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes;
  good = good && pwrite(fd, header, sizeof header, 1024) == (ssize_t)sizeof header && pwrite(fd, "SWAPSPACE2", 10, 4086) == 10 && fsync(fd) == 0;
  close(fd);
  return good;
}

static void guard(const char *path, int from) {
  char byte;
  while (read(from, &byte, 1) > 0) continue;
  swapoff(path);
  unlink(path);
  _exit(0);
}

static bool swap_begin(const char *folder) {
  static char path[300];
  int ends[2];
  snprintf(path, sizeof path, "%s/swap", folder);
  if (geteuid() != 0 || !make_swap_file(path) || pipe(ends) != 0) return false;
  if ((guardian = fork()) == 0) {
    close(ends[1]);
    guard(path, ends[0]);
  }
  close(ends[0]);
  guard_end = ends[1];
  return swapon(path, 0) == 0;
}

static void swap_end(void) {
  if (guard_end < 0) return;
  close(guard_end);
  waitpid(guardian, NULL, 0);
  guard_end = -1;
}

static uint64_t swapped_kib(void) {
  char line[200];
  unsigned long long kib = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f)) sscanf(line, "VmSwap: %llu", &kib);
  fclose(f);
  return kib;
}

/* ---- messages -------------------------------------------------------------------------------------------------------------------------- */

/* sparse: long stretches are never touched, not even by loading ahead, so that the scan meets absent blocks. */
typedef struct { host h; uint8_t *now, *committed; uint64_t dice, written_out; bool sparse; } bench;

static bool is_used(const bench *b, uint64_t page) { return !b->sparse || page % 36 < 12; }

static uint64_t roll(bench *b, uint64_t below) {
  b->dice = b->dice * 6364136223846793005u + 1442695040888963407u;
  return (b->dice >> 33) % below;
}

static void write_scattered(bench *b, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    size_t at;
    do at = roll(b, MEMORY_BYTES);
    while (!is_used(b, at / PAGESTORE_PAGE));
    uint8_t value = (uint8_t)roll(b, 256);
    b->h.base[at] = b->now[at] = value;
  }
}

static void check_now(bench *b) {
  for (uint64_t p = 0; p < PAGES; p++)
    if (is_used(b, p)) assert_memory_equal(b->h.base + p * PAGESTORE_PAGE, b->now + p * PAGESTORE_PAGE, PAGESTORE_PAGE);
}

/* Pages that are still being written to the swap file do not go at once. */
static void page_out(bench *b) {
  for (int tries = 0; tries < 200; tries++, pause_ms(5)) {
    assert_int_equal(madvise(b->h.base, MEMORY_BYTES, MADV_PAGEOUT), 0);
    if (swapped_kib() * 1024 > MEMORY_BYTES / 4) return;
  }
  fail_msg("only %llu KiB could be paged out", (unsigned long long)swapped_kib());
}

static void message(bench *b, unsigned round) {
  write_scattered(b, 300);
  page_out(b);
  write_scattered(b, 300); /* into what is out, clean and dirty */
  page_out(b);
  if (round % 3 == 2) {
    assert_ok(pagestore_rollback(b->h.instance));
    memcpy(b->now, b->committed, MEMORY_BYTES);
  } else {
    b->written_out += dirty_blocks(b->h.memory);
    assert_ok(pagestore_commit(b->h.instance, round % 2 ? PAGESTORE_ASYNC : 0, NULL));
    memcpy(b->committed, b->now, MEMORY_BYTES);
    page_out(b);
  }
  check_now(b);
}

static uint64_t with_tracker(pagestore_tracker tracker, bool sparse) {
  bench b = { .h.options = { .tracker = tracker, .resident_bytes = UINT64_MAX }, .dice = 7, .sparse = sparse };
  folder_make(&b.h);
  if (host_open_store(&b.h) != 0) {
    folder_remove(&b.h);
    return 0;
  }
  b.now = calloc(1, MEMORY_BYTES);
  b.committed = calloc(1, MEMORY_BYTES);
  host_open_instance(&b.h, PAGES);
  for (uint64_t p = 0; p < PAGES; p++) {
    if (!is_used(&b, p)) continue;
    put(&b.h, p, 1);
    fill_page(b.now + p * PAGESTORE_PAGE, p, 1);
  }
  host_commit(&b.h);
  memcpy(b.committed, b.now, MEMORY_BYTES);
  for (unsigned round = 0; round < ROUNDS; round++) message(&b, round);
  memcpy(b.now, b.committed, MEMORY_BYTES);
  assert_ok(host_close(&b.h));
  host_open(&b.h, 0);
  check_now(&b);
  assert_ok(host_close(&b.h));
  folder_remove(&b.h);
  free(b.now);
  free(b.committed);
  return b.written_out;
}

static void swapped_out(void **state) {
  (void)state;
  host scratch;
  folder_make(&scratch);
  if (!swap_begin(scratch.folder)) {
    print_message("no swap, and none could be added (%s): not run\n", geteuid() ? "not root" : strerror(errno));
    swap_end();
    folder_remove(&scratch);
    skip();
  }
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++) {
    uint64_t blocks = with_tracker(t, false) + with_tracker(t, true);
    print_message("tracker %d: %llu dirty blocks were committed out of swap\n", (int)t, (unsigned long long)blocks);
    fault_row_count(ROW_SWAP, blocks);
  }
  swap_end();
  folder_remove(&scratch);
}

static int end_swap(void **state) {
  (void)state;
  swap_end();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(swapped_out, end_swap) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
