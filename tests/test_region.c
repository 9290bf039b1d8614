/* test_region.c - the life of blocks in a region, once per tracker; then with userfaultfd refused.
 *
 * What is shown is written in each test's name; the model test runs random operations from a printed seed against plain
 * arrays, and a commit there fails when a single dirty block was missed.
 */
#include <seccomp.h> /* also tells the build what to link */

#include "region_trackers.h"

/* ---- one region ------------------------------------------------------------------------------------------------- */

static void loads_what_the_source_has(void **unused) {
  (void)unused;
  fixture f = { .options.guard_bytes = 1 << 20 };
  assert_int_equal(fixture_open(&f, tracker, 20, 64), 0);
  assert_int_equal(region_pages(f.r), 20);
  assert_int_equal(region_max(f.r), 64);
  fixture_check(&f);
  assert_int_equal(region_resident_bytes(f.r), 20 * PAGE_BYTES);
  assert_true(f.budget.faults_load < 12); /* in growing steps */
  assert_int_equal(fixture_commit(&f), 0);
  region_dirty d;
  assert_int_equal(region_collect(f.r), 0);
  assert_false(region_dirty_next(f.r, 0, &d)); /* reading alone makes nothing dirty, zero pages included */
  fixture_close(&f);
}

static void beyond_the_size_is_a_plain_segv(void **unused) {
  (void)unused;
  fixture f = { .options.guard_bytes = 1 << 20 };
  uint8_t value;
  assert_int_equal(fixture_open(&f, tracker, 3, 16), 0);
  const uint64_t outside[] = { 3 * PAGE_BYTES, 16 * PAGE_BYTES - 1, 16 * PAGE_BYTES, 16 * PAGE_BYTES + 5000 };
  for (unsigned i = 0; i < 4; i++) {
    assert_false(guest_load(&f, outside[i], &value));
    assert_int_equal(guest_signal, SIGSEGV);
  }
  assert_int_equal(region_resize(f.r, 16), 0);
  assert_int_equal(peek(&f, 16 * PAGE_BYTES - 1), 0);
  assert_int_equal(region_resize(f.r, 2), 0);
  assert_false(guest_load(&f, 2 * PAGE_BYTES, &value));
  assert_int_equal(region_resize(f.r, 0), 0);
  assert_false(guest_load(&f, 0, &value));
  assert_int_equal(region_failure(f.r, NULL), 0);
  fixture_close(&f);
}

static void two_mappings(void **unused) {
  (void)unused;
  fixture f = { .options.guard_bytes = 1 << 20 };
  assert_int_equal(fixture_open(&f, tracker, 3, 64), 0);
  const uint8_t *end = region_base(f.r) + 64 * PAGE_BYTES + (1 << 20);
  for (uint64_t p = 0; p < 3; p++) guest_store(&f, p * PAGE_BYTES, 9);
  for (uint64_t size = 4; size < 40; size += 5) {
    assert_int_equal(region_resize(f.r, size), 0);
    assert_true(guest_store(&f, (size - 1) * PAGE_BYTES, 1));
  }
  fixture_check(&f);
  if (region_tracker_now(f.r, NULL) != REGION_MPROTECT) assert_true(mappings_in(region_base(f.r), end) <= 2);
  fixture_commit(&f);
  fixture_check(&f);
  assert_true(mappings_in(region_base(f.r), end) <= 2);
  assert_int_equal(f.budget.mappings, 2);
  fixture_close(&f);
}

static void writes_are_found_and_forgotten(void **unused) {
  (void)unused;
  fixture f = { 0 };
  assert_int_equal(fixture_open(&f, tracker, 16, 16), 0);
  for (int message = 0; message < 3; message++) {
    assert_true(guest_store(&f, 2 * PAGE_BYTES + 4096, (uint8_t)(200 + message)));     /* loads and writes */
    peek(&f, 3 * PAGE_BYTES);
    assert_true(guest_store(&f, 3 * PAGE_BYTES + 40000, (uint8_t)(200 + message)));    /* a zero page that was read */
    assert_int_equal(fixture_commit(&f), 2);
    fixture_check(&f);
    assert_int_equal(fixture_commit(&f), 0);
  }
  assert_true(guest_store(&f, 2 * PAGE_BYTES + 4096, 1));
  assert_true(guest_store(&f, 15 * PAGE_BYTES, 1));
  fixture_rollback(&f);
  fixture_check(&f);
  assert_int_equal(fixture_commit(&f), 0);
  assert_true(guest_store(&f, 2 * PAGE_BYTES + 4096, 2)); /* tracked again after a rollback */
  assert_int_equal(fixture_commit(&f), 1);
  fixture_close(&f);
}

/* The owner narrows, the commit is refused, the guest goes on and writes what had been narrowed away. */
static void a_refused_commit_loses_nothing(void **unused) {
  (void)unused;
  fixture f = { 0 };
  region_dirty d;
  assert_int_equal(fixture_open(&f, tracker, 4, 4), 0);
  uint8_t *kept = malloc(4 * PAGE_BYTES);
  memcpy(kept, f.committed, 4 * PAGE_BYTES);
  assert_true(guest_store(&f, PAGE_BYTES + 100, 250));
  assert_int_equal(region_collect(f.r), 0);
  assert_int_equal(fixture_seal(&f), 1);
  memcpy(f.committed, kept, 4 * PAGE_BYTES); /* refused */
  assert_true(region_dirty_next(f.r, 0, &d));
  assert_true(d.page == 1 && d.blocks == 1 && d.exact);
  assert_true(guest_store(&f, PAGE_BYTES + 5 * BLOCK_BYTES, 251));
  assert_true(guest_store(&f, PAGE_BYTES + 100, 252));
  assert_int_equal(fixture_commit(&f), 2);
  region_mark(f.r, 1, 1u << 5); /* a delta taken back */
  assert_true(guest_store(&f, PAGE_BYTES + 6 * BLOCK_BYTES, 253));
  assert_int_equal(region_collect(f.r), 0);
  assert_true(region_dirty_next(f.r, 0, &d));
  assert_int_equal(d.blocks & (1u << 5 | 1u << 6), 1u << 5 | 1u << 6);
  region_rollback(f.r);
  memcpy(f.expected, f.committed, 4 * PAGE_BYTES);
  fixture_check(&f);
  free(kept);
  fixture_close(&f);
}

static void a_partly_present_page_keeps_its_blocks(void **unused) {
  (void)unused;
  fixture f = { 0 };
  assert_int_equal(fixture_open(&f, tracker, 4, 4), 0);
  assert_true(guest_store(&f, BLOCK_BYTES * 3, 77));
  peek(&f, 100);
  fixture_rollback(&f);
  f.served = 0;
  assert_int_equal(peek(&f, 0), f.expected[0]); /* present, or loaded again where pages are dropped whole */
  fixture_check(&f);
  for (uint64_t b = 0; b < 16; b += 2) assert_true(guest_store(&f, b * BLOCK_BYTES + 1, 78));
  fixture_rollback(&f);
  for (uint64_t b = 1; b < 16; b += 2) assert_true(guest_store(&f, b * BLOCK_BYTES + 1, 79));
  fixture_check(&f);
  assert_int_equal(fixture_commit(&f), 8);
  fixture_close(&f);
}

static void a_damaged_page_breaks_alone(void **unused) {
  (void)unused;
  fixture f = { 0 };
  uint64_t page = 99;
  uint8_t value;
  assert_int_equal(fixture_open(&f, tracker, 16, 16), 0);
  f.bad_page = 5;
  f.bad_status = PAGESTORE_ECORRUPT;
  assert_false(guest_load(&f, 5 * PAGE_BYTES, &value)); /* what is read ahead stops before it */
  for (uint64_t p = 0; p < 16; p++) assert_int_equal(guest_load(&f, p * PAGE_BYTES + 9, &value), p != 5);
  assert_int_equal(guest_signal, SIGSEGV);
  assert_int_equal(region_failure(f.r, &page), PAGESTORE_ECORRUPT);
  assert_int_equal(page, 5);
  assert_false(guest_store(&f, 5 * PAGE_BYTES + 70, 1));
  assert_int_equal(region_load(f.r, 5, 1), PAGESTORE_ECORRUPT);
  assert_true(guest_store(&f, 6 * PAGE_BYTES, 1));
  fixture_rollback(&f);
  assert_int_equal(region_failure(f.r, &page), 0);
  assert_int_equal(region_load(f.r, 4, 4), PAGESTORE_ECORRUPT); /* told, and not held against the message */
  assert_int_equal(region_failure(f.r, &page), 0);
  f.bad_page = UINT64_MAX;
  fixture_check(&f);
  assert_true(mappings_in(region_base(f.r), region_base(f.r) + 16 * PAGE_BYTES) <= 2);
  f.begin_status = PAGESTORE_ENOMEM;
  region_forget_all(f.r);
  assert_false(guest_load(&f, 0, &value));
  assert_int_equal(region_failure(f.r, NULL), PAGESTORE_ENOMEM);
  f.begin_status = 0;
  fixture_rollback(&f);
  fixture_check(&f);
  fixture_close(&f);
}

static int hook_calls, hook_status;
static bool hook_jumps;
static fixture *hook_fixture;

static bool hook(void *env, int status, void *address, void *ucontext) {
  assert_ptr_equal(env, &hook_calls);
  assert_non_null(ucontext);
  assert_int_equal(hook_fixture->open_cursors, 0);
  assert_ptr_equal(address, region_base(hook_fixture->r) + 2 * PAGE_BYTES + 10);
  hook_calls++;
  hook_status = status;
  if (hook_jumps) siglongjmp(guest_trap, 1);
  return false;
}

static void a_hook_decides(void **unused) {
  (void)unused;
  fixture f = { .options.trap = hook, .options.trap_env = &hook_calls };
  uint8_t value = 1;
  assert_int_equal(fixture_open(&f, tracker, 4, 4), 0);
  hook_fixture = &f;
  f.bad_page = 2;
  f.bad_status = PAGESTORE_ECORRUPT;
  hook_calls = 0;
  hook_jumps = true;
  for (int i = 1; i <= 3; i++) {
    assert_false(guest_load(&f, 2 * PAGE_BYTES + 10, &value));
    assert_int_equal(hook_calls, i);
  }
  assert_int_equal(hook_status, PAGESTORE_ECORRUPT);
  hook_jumps = false; /* zeros stand in */
  assert_true(guest_load(&f, 2 * PAGE_BYTES + 10, &value));
  assert_int_equal(value, 0);
  assert_true(guest_store(&f, 2 * PAGE_BYTES + 10, 5));
  assert_int_equal(hook_calls, 4);
  assert_int_equal(region_failure(f.r, NULL), PAGESTORE_ECORRUPT);
  f.bad_page = UINT64_MAX;
  fixture_rollback(&f);
  assert_int_equal(region_failure(f.r, NULL), 0);
  fixture_check(&f);
  fixture_close(&f);
}

static bool is_engine_code;

static bool engine_hook(void *env, int status, void *address, void *ucontext) {
  (void)address, (void)ucontext;
  hook_calls++;
  hook_status = status;
  assert_ptr_equal(env, &hook_calls);
  return is_engine_code;
}

/* True with nothing arranged: the plain SIGSEGV, however often. Host code comes through the same page afterwards. */
static void a_hook_leaves_it_to_the_engine(void **unused) {
  (void)unused;
  fixture f = { .options.trap = engine_hook, .options.trap_env = &hook_calls };
  uint8_t value = 1;
  assert_int_equal(fixture_open(&f, tracker, 4, 4), 0);
  f.bad_page = 2;
  f.bad_status = PAGESTORE_ECORRUPT;
  is_engine_code = true;
  for (int i = 0; i < 3; i++) {
    assert_false(guest_load(&f, 2 * PAGE_BYTES + 10, &value));
    assert_int_equal(guest_signal, SIGSEGV);
  }
  assert_int_equal(hook_status, PAGESTORE_ECORRUPT);
  is_engine_code = false;
  assert_true(guest_load(&f, 2 * PAGE_BYTES + 10, &value));
  assert_int_equal(value, 0);
  is_engine_code = true; /* the zeros stay, whoever looks */
  assert_true(guest_store(&f, 2 * PAGE_BYTES + 10, 5));
  assert_int_equal(region_failure(f.r, NULL), PAGESTORE_ECORRUPT);
  f.bad_page = UINT64_MAX;
  fixture_rollback(&f);
  fixture_check(&f);
  assert_true(region_is_valid(f.r));
  fixture_close(&f);
}

/* A read-only region: the engine's write is a SIGSEGV, host code writes to a copy that rollback takes back. */
static void host_writes_to_a_view_are_taken_back(void **unused) {
  (void)unused;
  fixture f = { .options.trap = engine_hook, .options.trap_env = &hook_calls, .options.read_only = true };
  uint8_t value, before;
  assert_int_equal(fixture_open(&f, tracker, 4, 4), 0);
  before = f.expected[PAGE_BYTES + 10];
  for (int round = 0; round < 2; round++) { /* an absent page, then a present one */
    is_engine_code = true;
    if (round) assert_int_equal(peek(&f, PAGE_BYTES + 11), f.expected[PAGE_BYTES + 11]);
    assert_false(guest_store(&f, PAGE_BYTES + 10, 99));
    assert_int_equal(guest_signal, SIGSEGV);
    assert_int_equal(hook_status, PAGESTORE_EREADONLY);
    assert_int_equal(region_failure(f.r, NULL), 0);
    is_engine_code = false;
    assert_true(guest_store(&f, PAGE_BYTES + 10, (uint8_t)(before + 1)));
    assert_true(guest_store(&f, PAGE_BYTES + 20, f.expected[PAGE_BYTES + 20]));
    assert_true(guest_load(&f, PAGE_BYTES + 10, &value));
    assert_int_equal(value, (uint8_t)(before + 1));
    assert_int_equal(region_failure(f.r, NULL), PAGESTORE_EREADONLY);
    f.expected[PAGE_BYTES + 10] = before;
    fixture_rollback(&f);
    fixture_check(&f);
  }
  is_engine_code = true;
  assert_false(guest_store(&f, PAGE_BYTES + 10, 99)); /* protected again */
  assert_true(region_is_valid(f.r));
  fixture_close(&f);
}

/* What a message has grown may be loaded otherwise than what was there: zeros, clean until written, block by block. */
static void grown_pages_are_zero_and_clean(void **unused) {
  (void)unused;
  fixture f = {0};
  assert_int_equal(fixture_open(&f, tracker, 4, 12), 0);
  assert_int_equal(region_resize(f.r, 10), 0);
  for (uint64_t at = 4 * PAGE_BYTES; at < 10 * PAGE_BYTES; at += BLOCK_BYTES / 2) assert_int_equal(peek(&f, at), 0);
  region_dirty d;
  assert_int_equal(region_collect(f.r), 0);
  for (uint64_t p = 4; region_dirty_next(f.r, p, &d); p = d.page + 1) /* per-page trackers may not know better */
    if (d.exact) fail_msg("page %llu was only read", (unsigned long long)d.page);
  for (uint64_t p = 5; p < 9; p += 2) assert_true(guest_store(&f, p * PAGE_BYTES + 5 * BLOCK_BYTES + 1, 7));
  assert_int_equal(region_collect(f.r), 0);
  for (uint64_t p = 4; region_dirty_next(f.r, p, &d); p = d.page + 1)
    if (d.exact) assert_true((d.page == 5 || d.page == 7) && d.blocks == 1 << 5);
  assert_int_equal(fixture_commit(&f), 2);
  fixture_check(&f);
  assert_int_equal(region_resize(f.r, 12), 0);
  assert_true(guest_store(&f, 11 * PAGE_BYTES, 9));
  fixture_rollback(&f);
  assert_int_equal(region_resize(f.r, 12), 0);
  assert_int_equal(peek(&f, 11 * PAGE_BYTES), 0);
  fixture_rollback(&f);
  fixture_check(&f);
  fixture_close(&f);
}

static void the_load_limit_counts_pages_touched(void **unused) {
  (void)unused;
  fixture f = { .options.load_limit = 10 };
  uint8_t value;
  assert_int_equal(fixture_open(&f, tracker, 64, 64), 0);
  for (uint64_t p = 0; p < 10; p++) peek(&f, p * PAGE_BYTES); /* with read-ahead, yet not stopped early */
  assert_true(region_resident_bytes(f.r) <= 20 * PAGE_BYTES);
  for (uint64_t p = 63; region_failure(f.r, NULL) == 0; p--) guest_load(&f, p * PAGE_BYTES, &value);
  assert_int_equal(region_failure(f.r, NULL), PAGESTORE_EQUOTA);
  assert_true(region_resident_bytes(f.r) <= 20 * PAGE_BYTES);
  assert_int_equal(region_load(f.r, 40, 1), PAGESTORE_EQUOTA);
  fixture_rollback(&f);
  assert_int_equal(region_load(f.r, 40, 10), 0);
  assert_int_equal(region_load(f.r, 50, 1), PAGESTORE_EQUOTA);
  assert_non_null(strstr(pagestore_detail(), "load_limit"));
  fixture_rollback(&f);
  region_limits(f.r, 0, NULL, NULL);
  fixture_check(&f);
  fixture_close(&f);
}

static void clean_pages_are_given_back_and_dirty_ones_stay(void **unused) {
  (void)unused;
  fixture f = { .budget.limit_bytes = 16 * PAGE_BYTES };
  assert_int_equal(fixture_open(&f, tracker, 128, 128), 0);
  for (uint64_t p = 0; p < 128; p += 16) assert_true(guest_store(&f, p * PAGE_BYTES + 1, 99));
  for (int round = 0; round < 3; round++)
    for (uint64_t p = 0; p < 128; p++) assert_int_equal(peek(&f, p * PAGE_BYTES + 1), f.expected[p * PAGE_BYTES + 1]);
  assert_true(region_resident_bytes(f.r) <= 40 * PAGE_BYTES);
  assert_int_equal(fixture_commit(&f), 8);
  assert_true(f.budget.resident_bytes <= f.budget.limit_bytes);
  fixture_check(&f);
  assert_true(guest_store(&f, 77 * PAGE_BYTES, 98));
  region_trim(f.r, 0);
  assert_int_equal(region_resident_bytes(f.r), PAGE_BYTES);
  assert_int_equal(fixture_commit(&f), 1);
  region_trim(f.r, 0);
  assert_int_equal(region_resident_bytes(f.r), 0);
  fixture_check(&f);
  fixture_close(&f);
  /* A limit of one page and an instruction that needs two: must not go on for ever. */
  f.budget.limit_bytes = PAGE_BYTES;
  assert_int_equal(fixture_open(&f, tracker, 8, 8), 0);
  memcpy(region_base(f.r) + PAGE_BYTES - 8, region_base(f.r) + 3 * PAGE_BYTES - 8, 16);
  memcpy(f.expected + PAGE_BYTES - 8, f.expected + 3 * PAGE_BYTES - 8, 16);
  fixture_check(&f);
  fixture_commit(&f);
  fixture_close(&f);
}

static void system_calls_after_prepare(void **unused) {
  (void)unused;
  fixture f = { .budget.limit_bytes = 2 * PAGE_BYTES };
  assert_int_equal(fixture_open(&f, tracker, 64, 64), 0);
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  assert_int_equal(region_load(f.r, 0, 4), 0);
  assert_int_equal(region_open_write(f.r, 8, 5), 0);
  for (uint64_t p = 20; p < 64; p++) peek(&f, p * PAGE_BYTES); /* over the limit: what was promised stays */
  assert_int_equal(write(null, region_base(f.r), 4 * PAGE_BYTES), 4 * PAGE_BYTES);
  assert_int_equal(read(zero, region_base(f.r) + 8 * PAGE_BYTES + 5, 4 * PAGE_BYTES), 4 * PAGE_BYTES);
  memset(f.expected + 8 * PAGE_BYTES + 5, 0, 4 * PAGE_BYTES);
  assert_true(fixture_commit(&f) >= 48);
  fixture_check(&f);
  close(zero);
  close(null);
  fixture_close(&f);
}

static void forgotten_pages_load_again(void **unused) {
  (void)unused;
  fixture f = { 0 };
  assert_int_equal(fixture_open(&f, tracker, 8, 8), 0);
  fixture_check(&f);
  assert_true(guest_store(&f, PAGE_BYTES, 44));
  memset(f.committed + PAGE_BYTES, 55, PAGE_BYTES);
  memcpy(f.expected + PAGE_BYTES, f.committed + PAGE_BYTES, PAGE_BYTES);
  region_forget(f.r, (region_blocks[]){ { 1, ALL_BLOCKS }, { 1, ALL_BLOCKS } }, 2);
  region_forget(f.r, (region_blocks[]){ { 1, ALL_BLOCKS } }, 1);
  fixture_check(&f);
  for (unsigned block = 2; block < 5; block += 2) {
    uint64_t at = 3 * PAGE_BYTES + block * BLOCK_BYTES;
    memset(f.committed + at, 57, BLOCK_BYTES);
    memcpy(f.expected + at, f.committed + at, BLOCK_BYTES);
  }
  region_forget(f.r, (region_blocks[]){ { 3, 1u << 4 }, { 9999, 1 }, { 3, 1u << 2 }, { 4, 0 } }, 4);
  fixture_check(&f);
  memset(f.committed, 56, 8 * PAGE_BYTES);
  memset(f.expected, 56, 8 * PAGE_BYTES);
  region_forget_all(f.r);
  assert_int_equal(region_resident_bytes(f.r), 0);
  fixture_check(&f);
  assert_int_equal(fixture_commit(&f), 0);
  fixture_close(&f);
}

static void the_reservation_can_grow_in_place(void **unused) {
  (void)unused;
  fixture f = { .options.guard_bytes = PAGE_BYTES };
  assert_int_equal(fixture_open(&f, tracker, 4, 64), 0);
  uint8_t *base = region_base(f.r);
  assert_true(guest_store(&f, 5, 5));
  region_close(f.r);
  /* Room behind it: a region opened at the start of a hole of known size is not to be had, so the hole is made. */
  uint8_t *hole = mmap(NULL, 256 * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  munmap(hole, 256 * PAGE_BYTES);
  f.options.max_pages = 4;
  assert_int_equal(region_open(&f.options, &f.r), 0);
  memcpy(f.expected, f.committed, 4 * PAGE_BYTES);
  base = region_base(f.r);
  int status = region_extend(f.r, 64, 2 * PAGE_BYTES);
  if (status == 0) {
    assert_int_equal(region_max(f.r), 64);
    assert_int_equal(region_resize(f.r, 64), 0);
    assert_true(guest_store(&f, 63 * PAGE_BYTES + 9, 5));
    assert_true(mappings_in(base, base + 66 * PAGE_BYTES) <= (region_tracker_now(f.r, NULL) == REGION_MPROTECT ? 8 : 2));
    assert_int_equal(fixture_commit(&f), 1);
    fixture_check(&f);
  } else {
    assert_int_equal(status, PAGESTORE_ENOMEM);
    assert_int_equal(region_max(f.r), 4);
  }
  assert_ptr_equal(base, region_base(f.r));
  fixture_close(&f);
}

static void explicit_marks_alone_make_dirty(void **unused) {
  (void)unused;
  fixture f = { .options.marks_only = true };
  region_dirty d;
  assert_int_equal(fixture_open(&f, tracker, 8, 8), 0);
  assert_int_equal(region_tracker_now(f.r, NULL), REGION_EXPLICIT);
  region_mark(f.r, 2, 1u << 3); /* before it is loaded */
  assert_true(guest_store(&f, 2 * PAGE_BYTES + 3 * BLOCK_BYTES, 31));
  peek(&f, 3 * PAGE_BYTES);
  region_mark(f.r, 3, 1);
  assert_true(guest_store(&f, 3 * PAGE_BYTES, 32));
  assert_int_equal(f.budget.faults_write, 0);
  assert_int_equal(fixture_commit(&f), 2);
  region_mark(f.r, 3, 1);
  assert_true(guest_store(&f, 3 * PAGE_BYTES, 33));
  fixture_rollback(&f);
  fixture_check(&f);
  assert_int_equal(region_collect(f.r), 0);
  assert_false(region_dirty_next(f.r, 0, &d));
  assert_int_equal(region_open_write(f.r, 0, 8), 0);
  fixture_close(&f);
}

static void a_view_cannot_be_written(void **unused) {
  (void)unused;
  fixture f = { .options.read_only = true };
  assert_int_equal(fixture_open(&f, tracker, 8, 8), 0);
  assert_int_equal(region_tracker_now(f.r, NULL), REGION_NONE);
  assert_int_equal(peek(&f, PAGE_BYTES), f.expected[PAGE_BYTES]);
  assert_false(guest_store(&f, PAGE_BYTES, 1));
  assert_int_equal(guest_signal, SIGSEGV);
  fixture_check(&f);
  assert_false(guest_store(&f, 3 * PAGE_BYTES, 1));
  assert_int_equal(region_failure(f.r, NULL), 0);
  assert_int_equal(region_open_write(f.r, 0, 1), PAGESTORE_EREADONLY);
  assert_int_equal(region_touch(f.r, 0, 1, true), PAGESTORE_EREADONLY);
  region_trim(f.r, 0);
  fixture_check(&f);
  fixture_close(&f);
}

/* The source's bytes in a mapping that ends too early, as LMDB's in a truncated file. */
static const uint8_t *torn;

static int torn_page(void *env, void *cursor, uint64_t page, const uint8_t **bytes) {
  int status = fixture_page(env, cursor, page, bytes);
  if (page == 1) *bytes = torn;
  return status;
}

static void an_unreadable_source_is_an_io_error(void **unused) {
  (void)unused;
  fixture f = { 0 };
  FILE *file = tmpfile();
  uint8_t value;
  assert_int_equal(ftruncate(fileno(file), PAGE_BYTES / 2), 0);
  torn = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fileno(file), 0);
  assert_int_equal(fixture_open(&f, tracker, 4, 4), 0);
  region_close(f.r);
  f.options.source.page = torn_page;
  assert_int_equal(region_open(&f.options, &f.r), 0);
  assert_int_equal(peek(&f, 0), f.expected[0]);
  assert_false(guest_load(&f, PAGE_BYTES + 5, &value));
  assert_int_equal(region_failure(f.r, NULL), PAGESTORE_EIO);
  fixture_rollback(&f);
  assert_int_equal(region_load(f.r, 1, 1), PAGESTORE_EIO);
  assert_int_equal(ftruncate(fileno(file), PAGE_BYTES), 0);
  memset(f.expected + PAGE_BYTES, 0, PAGE_BYTES);
  fixture_check(&f);
  fixture_close(&f);
  munmap((void *)torn, PAGE_BYTES);
  fclose(file);
}

/* ---- against a model -------------------------------------------------------------------------------------------- */

static void model_write(fixture *f) {
  uint64_t pages = region_pages(f->r);
  if (pages == 0) return;
  uint64_t at = random_below(pages * PAGE_BYTES), length = 1 + random_below(random_below(4) ? 64 : 3 * PAGE_BYTES);
  length = min_u64(length, pages * PAGE_BYTES - at);
  memset(f->expected + at, (int)random_below(256), length);
  memcpy(region_base(f->r) + at, f->expected + at, length);
}

static void model_read(fixture *f) {
  uint64_t pages = region_pages(f->r);
  if (pages == 0) return;
  uint64_t at = random_below(pages * PAGE_BYTES), length = min_u64(1 + random_below(20000), pages * PAGE_BYTES - at);
  assert_memory_equal(region_base(f->r) + at, f->expected + at, length);
}

static void model_resize(fixture *f) {
  uint64_t pages = random_below(f->room_pages + 1), before = region_pages(f->r);
  assert_int_equal(region_resize(f->r, pages), 0);
  if (pages < before) memset(f->expected + pages * PAGE_BYTES, 0, (before - pages) * PAGE_BYTES);
  /* As the owner does: beyond the smallest size of a message the source has zeros. */
  if (pages < f->committed_pages) {
    memset(f->committed + pages * PAGE_BYTES, 0, (f->committed_pages - pages) * PAGE_BYTES);
    f->committed_pages = pages;
  }
}

static void model_prepare(fixture *f) {
  uint64_t pages = region_pages(f->r);
  if (pages == 0) return;
  uint64_t first = random_below(pages), count = random_below(pages - first) + 1;
  int status = random_below(2) ? region_load(f->r, first, count) : region_open_write(f->r, first, count);
  assert_int_equal(status, 0);
}

static void as_the_model(void **unused) {
  (void)unused;
  printf("seed %llu\n", (unsigned long long)seed);
  fixture f = { .budget.limit_bytes = random_below(2) ? 0 : 20 * PAGE_BYTES };
  assert_int_equal(fixture_open(&f, tracker, 24, 48), 0);
  for (int step = 0; step < 1500; step++) {
    switch (random_below(24)) {
    case 0: fixture_commit(&f); break;
    case 1: fixture_rollback(&f); break;
    case 2: if (random_below(4) == 0) model_resize(&f); break;
    case 3: region_trim(f.r, random_below(20) * PAGE_BYTES); break;
    case 4: if (random_below(4) == 0) model_prepare(&f); break;
    case 5: /* refused */
      assert_int_equal(region_collect(f.r), 0);
      break;
    case 6: if (random_below(8) == 0) fixture_check(&f); break;
    case 7: case 8: case 9: case 10: case 11: case 12: model_read(&f); break;
    default: model_write(&f);
    }
  }
  fixture_commit(&f);
  fixture_check(&f);
  fixture_close(&f);
}
static int run_all(const char *name) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(loads_what_the_source_has),
    cmocka_unit_test(beyond_the_size_is_a_plain_segv),
    cmocka_unit_test(two_mappings),
    cmocka_unit_test(writes_are_found_and_forgotten),
    cmocka_unit_test(a_refused_commit_loses_nothing),
    cmocka_unit_test(a_partly_present_page_keeps_its_blocks),
    cmocka_unit_test(a_damaged_page_breaks_alone),
    cmocka_unit_test(a_hook_decides),
    cmocka_unit_test(grown_pages_are_zero_and_clean),
    cmocka_unit_test(a_hook_leaves_it_to_the_engine),
    cmocka_unit_test(host_writes_to_a_view_are_taken_back),
    cmocka_unit_test(the_load_limit_counts_pages_touched),
    cmocka_unit_test(clean_pages_are_given_back_and_dirty_ones_stay),
    cmocka_unit_test(system_calls_after_prepare),
    cmocka_unit_test(forgotten_pages_load_again),
    cmocka_unit_test(the_reservation_can_grow_in_place),
    cmocka_unit_test(explicit_marks_alone_make_dirty),
    cmocka_unit_test(a_view_cannot_be_written),
    cmocka_unit_test(an_unreadable_source_is_an_io_error),
    cmocka_unit_test(as_the_model),
  };
  return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_with_every_tracker(run_all); }
