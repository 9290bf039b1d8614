/* test_refused_commit.c - a commit that fails behind the scan: the next one still holds every block.
 *
 * ctest: WRAP malloc calloc realloc strdup strndup posix_memalign aligned_alloc mmap mprotect madvise ioctl syscall fdatasync
 * ctest: LIBS -l:liblmdb.a
 * ctest: TIMEOUT 120
 *
 * Collecting protects the written blocks again before anything else can fail. For each tracker, a message of scattered, dense and grown
 * blocks meets one failure after another: no memory at the N-th allocation, the kernel's refusal at the N-th ioctl, mprotect or madvise,
 * the dirty limit, a load that cannot be served (by the load limit: rolled back), a full queue, a full disk budget (sealed and taken back). Between
 * them it goes on writing, into blocks that were collected and into new ones. Proven: each time the text says why and nothing was sealed;
 * the commit that goes through holds every byte, now and reopened, and what rollback brings back is the version before.
 */
#include "fault_rows.h"
#include "host_fixture.h"
#include "memory_faults.h"
#include "pagestore/memory.h"

enum { PAGES = 40, GROWN = 4, QUEUED = 60, BYTES = (PAGES + GROWN) * PAGESTORE_PAGE };

typedef struct {
  host h;
  uint8_t *now, *committed;
  uint64_t dice, version;
  unsigned refused;
  bool grown;
} bench;

/* While it stands still, the flusher waits in its sync. */
static _Atomic bool disk_stands_still;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd) {
  while (disk_stands_still) pause_ms(1);
  return __real_fdatasync(fd);
}

static uint64_t roll(bench *b, uint64_t below) {
  b->dice = b->dice * 6364136223846793005u + 1442695040888963407u;
  return (b->dice >> 33) % below;
}

static void write_byte(bench *b, size_t at) {
  uint8_t value = (uint8_t)roll(b, 256);
  b->h.base[at] = b->now[at] = value;
}

static void write_more(bench *b) {
  size_t size = b->grown ? BYTES : PAGES * PAGESTORE_PAGE;
  size_t dense = roll(b, PAGES) * PAGESTORE_PAGE;
  for (int i = 0; i < 40; i++) write_byte(b, roll(b, size));
  for (size_t at = dense; at < dense + PAGESTORE_PAGE; at += PAGESTORE_BLOCK) write_byte(b, at + roll(b, PAGESTORE_BLOCK));
}

static void grow(bench *b) {
  if (!b->grown) assert_ok(pagestore_memory_grow(b->h.memory, GROWN, NULL));
  b->grown = true;
}

static bool start(bench *b, pagestore_tracker tracker, uint64_t queue_bytes, uint64_t disk_bytes) {
  *b = (bench){ .h.options = { .tracker = tracker, .queue_bytes = queue_bytes, .disk_bytes = disk_bytes }, .dice = 11 };
  folder_make(&b->h);
  if (host_open_store(&b->h) != 0) {
    folder_remove(&b->h);
    return false;
  }
  engine_install();
  host_open_instance(&b->h, PAGES);
  b->now = __real_calloc(1, BYTES);
  b->committed = __real_calloc(1, BYTES);
  for (uint64_t p = 0; p < PAGES; p += 2) {
    put(&b->h, p, 1);
    fill_page(b->now + p * PAGESTORE_PAGE, p, 1);
  }
  b->version = host_commit(&b->h);
  memcpy(b->committed, b->now, BYTES);
  return true;
}

static void refused(bench *b, int status) {
  b->refused++;
  assert_true(status < 0 && strlen(pagestore_detail()) > 10);
  assert_int_equal(pagestore_committed_version(b->h.instance), b->version);
}

static void check_now(bench *b) {
  assert_int_equal(pagestore_memory_pages(b->h.memory), b->grown ? PAGES + GROWN : PAGES);
  assert_memory_equal(b->h.base, b->now, b->grown ? BYTES : PAGES * PAGESTORE_PAGE);
}

static void check_committed(bench *b) {
  memcpy(b->committed, b->now, BYTES);
  b->version++;
  assert_int_equal(pagestore_committed_version(b->h.instance), b->version);
  check_now(b);
}

/* Reopened, byte for byte. */
static unsigned finish(bench *b) {
  unsigned count = b->refused;
  assert_ok(host_close(&b->h));
  b->h.options.disk_bytes = 0;
  host_open(&b->h, 0);
  assert_int_equal(pagestore_committed_version(b->h.instance), b->version);
  check_now(b);
  assert_ok(host_close(&b->h));
  folder_remove(&b->h);
  free(b->now);
  free(b->committed);
  return count;
}

/* The message is refused at the first, the second, the third call of that kind, until it gets through. */
static bool commit_through(bench *b, fault_kind kind) {
  for (uint64_t at = 1; at < 500; at++) {
    write_more(b);
    faults_arm(kind, at, false);
    int status = pagestore_commit(b->h.instance, 0, NULL);
    faults_disarm();
    if (status == 0) return true;
    assert_true(fault_plan.failed > 0);
    refused(b, status);
    if (status == PAGESTORE_EFAILED) return false;
  }
  fail_msg("kind %d: more calls than a commit makes", (int)kind);
  return false;
}

static unsigned calls_that_fail(pagestore_tracker tracker, fault_kind kind) {
  bench b;
  if (!start(&b, tracker, 0, 0)) return 0;
  for (int message = 0; message < 4; message++) {
    if (message == 1) grow(&b);
    assert_true(commit_through(&b, kind));
    check_committed(&b);
  }
  /* Refused, then given up: the version before. */
  write_more(&b);
  faults_arm(kind, 1, false);
  int status = pagestore_commit(b.h.instance, 0, NULL);
  faults_disarm();
  if (status == 0) {
    check_committed(&b);
  } else {
    refused(&b, status);
    write_more(&b);
    assert_ok(pagestore_rollback(b.h.instance));
    memcpy(b.now, b.committed, BYTES);
    check_now(&b);
  }
  return finish(&b);
}

/* They are given once, at open: lifted from inside, so that the same message can go on. */
static void set_limits(bench *b, uint64_t dirty, uint64_t load) {
  b->h.memory->dirty_limit = dirty;
  region_limits(b->h.memory->region, load, NULL, NULL);
}

static unsigned limits(pagestore_tracker tracker) {
  bench b;
  if (!start(&b, tracker, 0, 0)) return 0;
  for (int message = 0; message < 3; message++) {
    set_limits(&b, 5, 0);
    for (int i = 0; i < 3; i++) {
      write_more(&b);
      assert_status(pagestore_commit(b.h.instance, 0, NULL), PAGESTORE_EQUOTA);
      refused(&b, PAGESTORE_EQUOTA);
    }
    set_limits(&b, 0, 0);
    if (message == 1) grow(&b);
    write_more(&b);
    host_commit(&b.h);
    check_committed(&b);
  }
  /* A load that fails is the message's end: all of it goes. */
  write_more(&b);
  uint8_t byte;
  bool trapped = false;
  assert_ok(pagestore_instance_trim(b.h.instance, 0));
  set_limits(&b, 0, 1);
  for (uint64_t p = 0; p < PAGES; p++) trapped |= !guest_load(b.h.base + p * PAGESTORE_PAGE, &byte);
  if (trapped) {
    assert_status(pagestore_commit(b.h.instance, 0, NULL), PAGESTORE_EQUOTA);
    refused(&b, PAGESTORE_EQUOTA);
  }
  set_limits(&b, 0, 0);
  assert_ok(pagestore_rollback(b.h.instance));
  memcpy(b.now, b.committed, BYTES);
  check_now(&b);
  return finish(&b);
}

/* Asynchronous commits, of which the queue holds one, to a disk that stands still at every third. */
static unsigned full_queue(pagestore_tracker tracker) {
  bench b;
  if (!start(&b, tracker, 1 << 18, 0)) return 0;
  for (unsigned message = 0; message < QUEUED; message++) {
    if (message % 3 == 0) {
      assert_ok(pagestore_sync(b.h.store, 20000));
      disk_stands_still = true;
    }
    write_more(&b);
    int status;
    while ((status = pagestore_commit(b.h.instance, PAGESTORE_ASYNC | PAGESTORE_NOWAIT, NULL)) == PAGESTORE_EAGAIN) {
      refused(&b, status);
      write_more(&b);
      if (b.refused % 3 != 0) continue;
      disk_stands_still = false;
      assert_ok(pagestore_sync(b.h.store, 20000));
    }
    assert_ok(status);
    check_committed(&b);
  }
  assert_ok(pagestore_sync(b.h.store, 20000));
  return finish(&b);
}

/* Sealed, and taken back when there is no room. Deleting another instance makes some: the same message goes through then. */
static unsigned full_disk(pagestore_tracker tracker) {
  bench b;
  struct stat st;
  host ballast;
  if (!start(&b, tracker, 0, 0)) return 0;
  ballast = b.h;
  assert_ok(pagestore_instance_open(b.h.store, "ballast", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &ballast.instance));
  assert_ok(pagestore_memory_open(ballast.instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = 4 * PAGES, .guard_bytes = MIB), &ballast.memory));
  ballast.base = pagestore_memory_base(ballast.memory);
  for (uint64_t p = 0; p < 4 * PAGES; p++) put(&ballast, p, 3);
  host_commit(&ballast);
  pagestore_instance_close(ballast.instance);
  assert_ok(host_close(&b.h));
  assert_int_equal(stat(b.h.file, &st), 0);
  b.h.options.disk_bytes = (uint64_t)st.st_size; /* no room for all pages once more */
  host_open(&b.h, 0);
  for (int i = 0; i < 3; i++) {
    for (uint64_t p = 0; p < PAGES; p++) write_byte(&b, p * PAGESTORE_PAGE + roll(&b, PAGESTORE_PAGE));
    write_more(&b);
    assert_status(pagestore_commit(b.h.instance, 0, NULL), PAGESTORE_ENOSPC);
    refused(&b, PAGESTORE_ENOSPC);
  }
  assert_ok(pagestore_instance_delete(b.h.store, "ballast", 0));
  int status = PAGESTORE_ENOSPC;
  for (int tries = 0; tries < 500 && status == PAGESTORE_ENOSPC; tries++, pause_ms(10)) status = pagestore_commit(b.h.instance, 0, NULL);
  assert_ok(status);
  check_committed(&b);
  return finish(&b);
}

static void each_tracker(void **state) {
  (void)state;
  static const fault_kind kinds[] = { FAULT_ALLOCATION, FAULT_MPROTECT, FAULT_MADVISE, FAULT_IOCTL };
  for (pagestore_tracker t = PAGESTORE_TRACK_SCAN; t <= PAGESTORE_TRACK_MPROTECT; t++) {
    unsigned calls = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) calls += calls_that_fail(t, kinds[i]);
    unsigned limited = limits(t), queue = full_queue(t), disk = full_disk(t);
    print_message("tracker %d: %u commits refused by a failed call, %u by a limit, %u by the queue, %u by the disk\n", (int)t, calls, limited, queue, disk);
    assert_true(limited == 0 || (calls > 20 && limited >= 9 && queue >= QUEUED / 3 && disk == 3));
    fault_row_count(ROW_REPROTECTED, calls + limited + queue + disk);
  }
}

static int disarm(void **state) {
  (void)state;
  faults_disarm();
  disk_stands_still = false;
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(each_tracker, disarm) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
