/* test_large.c - memory in use and work done follow what is touched, not what is reserved.
 *
 * ctest: LABELS plain
 * ctest: TIMEOUT 120
 *
 * Proven:
 * - a 64-bit memory of 300 GiB with 1,000 scattered pages written: committed, reopened, found right, on every tracker; resident size,
 *   page tables, heap (VmRSS, VmPTE) and the file stay within a small multiple of what was touched, and a boundary takes milliseconds;
 * - a memory eight times as large as the limit on resident pages: one message reads all of it several times over and writes a part;
 *   resident_bytes and VmRSS stay bounded during the message, nothing that was written is given back, the contents are right, now and
 *   reopened.
 */
#include "host_fixture.h"

enum { TOUCHED = 1000 };
#define HUGE_PAGES (300ull << 30 >> 16)

static const char *const tracker_names[] = { "auto", "scan", "fault", "mprotect" };

/* A line of /proc/self/status, in KiB. */
static uint64_t vm_kib(const char *what) {
  char line[200];
  unsigned long long value = 0;
  FILE *f = fopen("/proc/self/status", "r");
  assert_non_null(f);
  while (fgets(line, sizeof line, f))
    if (strncmp(line, what, strlen(what)) == 0) sscanf(line + strlen(what) + 1, "%llu", &value);
  fclose(f);
  return value;
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* of the processor: others may use the machine, too */
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool tracker_is_there(pagestore_tracker tracker) {
  host h = { .options.tracker = tracker };
  folder_make(&h);
  int status = host_open_store(&h);
  if (status == 0) pagestore_close(h.store);
  folder_remove(&h);
  return status == 0;
}

static uint64_t scattered(uint64_t i) { return i * 2654435761u % 65536 * (HUGE_PAGES / 65536) + i % 3; }

static void open_huge(host *h) {
  assert_ok(host_open_store(h));
  assert_ok(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance));
  assert_ok(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .flags = PAGESTORE_MEMORY64, .pages = HUGE_PAGES, .max_pages = HUGE_PAGES),
                                  &h->memory));
  h->base = pagestore_memory_base(h->memory);
  assert_int_equal(pagestore_memory_pages(h->memory), HUGE_PAGES);
}

static void huge(pagestore_tracker tracker) {
  host h = { .options.tracker = tracker };
  folder_make(&h);
  uint64_t rss = vm_kib("VmRSS"), pte = vm_kib("VmPTE"), began = now_ms();
  open_huge(&h);
  uint64_t opened = now_ms() - began;
  for (uint64_t i = 0; i < TOUCHED; i++) memcpy(h.base + scattered(i) * PAGESTORE_PAGE + i % 16 * PAGESTORE_BLOCK + 8, &i, sizeof i);
  began = now_ms();
  assert_int_equal(host_commit(&h), 1);
  uint64_t first = now_ms() - began;
  h.base[scattered(5) * PAGESTORE_PAGE]++;
  began = now_ms();
  assert_int_equal(host_commit(&h), 2);
  uint64_t second = now_ms() - began;
  /* Under a scan whole pages are present: 64 KiB and a page table of their own for each. */
  uint64_t rss_more = vm_kib("VmRSS") - rss, pte_more = vm_kib("VmPTE") - pte;
  print_message("300 GiB, %s: opened in %d ms, committed in %d and %d ms of processor time, VmRSS +%d MiB, VmPTE +%d MiB\n", tracker_names[tracker], (int)opened, (int)first,
                (int)second, (int)(rss_more >> 10), (int)(pte_more >> 10));
  assert_true(rss_more < TOUCHED * 64 * 4); /* the region, the file's pages in LMDB's mapping, the records */
  assert_true(pte_more < 32 * 1024);
  assert_true(opened < 1000 && second < 1000);
  assert_ok(host_close(&h));

  struct stat st;
  assert_int_equal(stat(h.file, &st), 0);
  assert_true((uint64_t)st.st_size < TOUCHED * 69632ull * 2);
  open_huge(&h);
  assert_int_equal(pagestore_committed_version(h.instance), 2);
  for (uint64_t i = 0, found; i < TOUCHED; i++) {
    memcpy(&found, h.base + scattered(i) * PAGESTORE_PAGE + i % 16 * PAGESTORE_BLOCK + 8, sizeof found);
    assert_int_equal(found, i);
    assert_int_equal(h.base[(scattered(i) + 1500) * PAGESTORE_PAGE], 0);
  }
  assert_int_equal(h.base[scattered(5) * PAGESTORE_PAGE], 1);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

static void three_hundred_gib(void **state) {
  (void)state;
  for (pagestore_tracker t = PAGESTORE_TRACK_AUTO; t <= PAGESTORE_TRACK_MPROTECT; t++)
    if (tracker_is_there(t)) huge(t);
    else print_message("300 GiB, %s: not available here\n", tracker_names[t]);
}

/* ---- more than the limit ------------------------------------------------------------------------------------------------------- */

enum { LARGE_PAGES = 4096, RESIDENT_MIB = 32, ROUNDS = 2, WRITTEN_EACH = 16 };

/* A word in each block, so that reading a page is quick and still sees all of it. */
static void large_put(host *h, uint64_t page, uint64_t tag) {
  for (uint64_t b = 0; b < 16; b++) {
    uint64_t word = tag << 32 | page << 4 | b;
    memcpy(h->base + page * PAGESTORE_PAGE + b * PAGESTORE_BLOCK + page % 4000, &word, sizeof word);
  }
}

static void large_expect(const host *h, uint64_t page, uint64_t tag) {
  for (uint64_t b = 0, word; b < 16; b++) {
    memcpy(&word, h->base + page * PAGESTORE_PAGE + b * PAGESTORE_BLOCK + page % 4000, sizeof word);
    if (word != (tag << 32 | page << 4 | b)) fail_msg("page %d, block %d", (int)page, (int)b);
  }
}

static uint64_t large_store(host *h) {
  folder_make(h);
  host_open(h, LARGE_PAGES);
  for (uint64_t page = 0; page < LARGE_PAGES; page++) {
    large_put(h, page, 1);
    if (page % 512 == 511) host_commit(h);
  }
  uint64_t version = pagestore_committed_version(h->instance);
  assert_ok(host_close(h));
  return version;
}

static void bounded(host *h, uint64_t rss_before, uint64_t *most) {
  pagestore_statistics stats = host_stats(h);
  assert_true(stats.resident_bytes <= (RESIDENT_MIB + 16) * MIB);
  uint64_t rss = vm_kib("RssAnon") - rss_before;
  if (rss > *most) *most = rss;
  assert_true(rss < (RESIDENT_MIB + 48) * 1024);
}

static void more_than_resident(pagestore_tracker tracker, host *h, uint64_t tag, uint64_t version) {
  h->options.tracker = tracker;
  h->options.resident_bytes = RESIDENT_MIB * MIB;
  host_open(h, 0);
  uint64_t rss = vm_kib("RssAnon"), most = 0, began = now_ms();
  for (uint64_t round = 0; round < ROUNDS; round++)
    for (uint64_t page = 0; page < LARGE_PAGES; page++) {
      large_expect(h, page, page % WRITTEN_EACH == 3 && round > 0 ? tag : page % WRITTEN_EACH == 3 ? tag - 1 : 1);
      if (page % WRITTEN_EACH == 3 && round == 0) large_put(h, page, tag);
      if (page % 1024 == 0) bounded(h, rss, &most);
    }
  pagestore_statistics stats = host_stats(h);
  assert_true(stats.faults_load > LARGE_PAGES / 16 * ROUNDS);
  assert_int_equal(dirty_blocks(h->memory), LARGE_PAGES / WRITTEN_EACH * 16);
  assert_int_equal(host_commit(h), version);
  bounded(h, rss, &most);
  print_message("256 MiB within 32 MiB, %s: %d ms of processor time, RssAnon +%d MiB at most, %d loads\n", tracker_names[tracker], (int)(now_ms() - began), (int)(most >> 10),
                (int)stats.faults_load);
  assert_ok(host_close(h));
  h->options.resident_bytes = 0;
  host_open(h, 0);
  for (uint64_t page = 0; page < LARGE_PAGES; page += 1 + page % 3) large_expect(h, page, page % WRITTEN_EACH == 3 ? tag : 1);
  assert_ok(host_close(h));
}

static void larger_than_resident(void **state) {
  (void)state;
  host h = {0};
  uint64_t version = large_store(&h), tag = 1;
  for (pagestore_tracker t = PAGESTORE_TRACK_AUTO; t <= PAGESTORE_TRACK_MPROTECT; t++)
    if (tracker_is_there(t)) more_than_resident(t, &h, ++tag, ++version);
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(three_hundred_gib), cmocka_unit_test(larger_than_resident) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
