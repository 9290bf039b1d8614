/* host_fixture.h - for tests of the whole library through its public header: a store in a directory of its own, pages of
 * recognisable bytes, a guest whose traps come back, and what on_durable said.
 *
 * A page's content is named by a tag: 0 is zeros, every other tag a pattern of its own in all sixteen blocks. Tests keep tags
 * instead of bytes.
 */
#ifndef PAGESTORE_TESTS_HOST_FIXTURE_H
#define PAGESTORE_TESTS_HOST_FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <pagestore.h>

#define UNUSED __attribute__((unused))
#define MIB (1ull << 20)

/* The text of a failure is part of the contract: it goes with every status. */
#define assert_status(call, wanted)                                                                             \
  do {                                                                                                          \
    int status_ = (call);                                                                                       \
    if (status_ != (wanted))                                                                                    \
      fail_msg("%s: %d (%s), expected %d", #call, status_, status_ ? pagestore_detail() : "ok", (int)(wanted)); \
    if (status_) assert_true(strlen(pagestore_detail()) > 10);                                                  \
  } while (0)
#define assert_ok(call) assert_status(call, 0)

/* ---- what the flusher told: the last status of each instance, by its `user` ---------------------------------------------------- */

enum { TOLD_MAX = 8 };
typedef struct {
  _Atomic uint64_t version[TOLD_MAX];
  _Atomic int status[TOLD_MAX], calls[TOLD_MAX], failures[TOLD_MAX];
} told;

static UNUSED void note_durable(void *env, void *user, uint64_t version, int status) {
  told *t = env;
  size_t which = (size_t)(uintptr_t)user % TOLD_MAX;
  t->version[which] = version;
  t->status[which] = status;
  t->calls[which]++;
  if (status) t->failures[which]++;
}

static UNUSED void pause_ms(long ms) { nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL); }

/* Callbacks come from the flusher's thread, if the host listens: false if this one did not come within seconds. */
static UNUSED bool told_within(const told *t, size_t which, uint64_t version, int status) {
  for (int i = 0; i < 5000; i++, pause_ms(1))
    if (t->version[which] == version && t->status[which] == status) return true;
  return false;
}

/* ---- directories ----------------------------------------------------------------------------------------------------------- */

typedef struct {
  char folder[200], path[240], file[280];   /* a directory of its own, the store in it, its data.mdb */
  pagestore_options options;
  pagestore_store *store;
  pagestore_instance *instance;
  pagestore_memory *memory;
  uint8_t *base;
  bool listens;                             /* to on_durable: then no commit is flushed by the thread that waits for it */
  told told;
} host;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static UNUSED void folder_make_in(host *h, const char *where) {
  snprintf(h->folder, sizeof h->folder, "%s/pagestore-test-XXXXXX", where);
  if (!mkdtemp(h->folder)) abort();
  snprintf(h->path, sizeof h->path, "%s/store", h->folder);
  snprintf(h->file, sizeof h->file, "%s/data.mdb", h->path);
}

static UNUSED void folder_make(host *h) {
  const char *where = getenv("TMPDIR");
  folder_make_in(h, where && *where ? where : "/tmp");
}

static UNUSED void folder_remove(const host *h) { nftw(h->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

/* ---- pages ----------------------------------------------------------------------------------------------------------------- */

static inline uint64_t page_word(uint64_t page, uint64_t tag, size_t number) {
  return tag == 0 ? 0 : (tag * 0x9e3779b97f4a7c15u ^ page * 0xbf58476d1ce4e5b9u) + number * 0x0101010101010101u;
}

static UNUSED void fill_page(uint8_t *to, uint64_t page, uint64_t tag) {
  for (size_t i = 0; i < PAGESTORE_PAGE / 8; i++) {
    uint64_t word = page_word(page, tag, i);
    memcpy(to + i * 8, &word, 8);
  }
}

static UNUSED bool page_is(const uint8_t *at, uint64_t page, uint64_t tag) {
  for (size_t i = 0; i < PAGESTORE_PAGE / 8; i++) {
    uint64_t word;
    memcpy(&word, at + i * 8, 8);
    if (word != page_word(page, tag, i)) return false;
  }
  return true;
}

static UNUSED void put(const host *h, uint64_t page, uint64_t tag) { fill_page(h->base + page * PAGESTORE_PAGE, page, tag); }

#define assert_page(h, page, tag)                                                                   \
  do {                                                                                              \
    if (!page_is((h)->base + (uint64_t)(page)*PAGESTORE_PAGE, page, tag))                           \
      fail_msg("page %llu does not hold tag %llu", (unsigned long long)(page), (unsigned long long)(tag)); \
  } while (0)

/* ---- an open store with one instance "i" and its memory "m" ------------------------------------------------------------------ */

static UNUSED int host_open_store(host *h) {
  h->options.size = sizeof h->options;
  h->options.flags |= PAGESTORE_CREATE;
  h->options.env = &h->told;
  h->options.on_durable = h->listens ? note_durable : NULL;
  int status = pagestore_open(h->path, &h->options, &h->store);
  if (status == 0) pagestore_handlers(); /* cmocka has put its own in front */
  return status;
}

static UNUSED void host_open_instance(host *h, uint64_t pages) {
  assert_ok(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->instance));
  assert_ok(pagestore_memory_open(h->instance, "m", PAGESTORE_WITH(pagestore_memory_options, .pages = pages, .guard_bytes = MIB), &h->memory));
  h->base = pagestore_memory_base(h->memory);
}

static UNUSED void host_open(host *h, uint64_t pages) {
  assert_ok(host_open_store(h));
  host_open_instance(h, pages);
}

static UNUSED int host_close(host *h) {
  pagestore_instance_close(h->instance);
  h->instance = NULL;
  int status = pagestore_close(h->store);
  h->store = NULL;
  return status;
}

static UNUSED uint64_t host_commit(host *h) {
  uint64_t version = 0;
  assert_ok(pagestore_commit(h->instance, 0, &version));
  return version;
}

static UNUSED pagestore_statistics host_stats(const host *h) {
  pagestore_statistics now = { .size = sizeof now };
  assert_ok(pagestore_stats(h->store, &now));
  return now;
}

static UNUSED int add_length(void *env, pagestore_memory *m, uint64_t offset, uint64_t length) {
  (void)m, (void)offset;
  *(uint64_t *)env += length / PAGESTORE_BLOCK;
  return 0;
}

static UNUSED uint64_t dirty_blocks(pagestore_memory *m) {
  uint64_t blocks = 0;
  assert_ok(pagestore_memory_blocks(m, PAGESTORE_BLOCKS_DIRTY, add_length, &blocks));
  return blocks;
}

/* ---- the guest: an engine that was there first and turns SIGSEGV into a trap ---------------------------------------------------- */

static UNUSED _Thread_local sigjmp_buf guest_trap;
static UNUSED _Thread_local volatile int guest_runs, guest_signal;

static void engine_handler(int signal, siginfo_t *info, void *context) {
  (void)info, (void)context;
  if (!guest_runs) {
    static const char text[] = "a fault outside the guest\n";
    (void)!write(2, text, sizeof text - 1);
    abort();
  }
  guest_signal = signal;
  siglongjmp(guest_trap, 1);
}

static UNUSED void engine_install(void) {
  struct sigaction action = { .sa_sigaction = engine_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  pagestore_handlers();
}

/* False: it trapped. */
static UNUSED bool guest_load(const uint8_t *at, uint8_t *value) {
  if (sigsetjmp(guest_trap, 1) != 0) {
    guest_runs = 0;
    return false;
  }
  guest_runs = 1;
  *value = *(const volatile uint8_t *)at;
  guest_runs = 0;
  return true;
}

static UNUSED bool guest_store(uint8_t *at, uint8_t value) {
  if (sigsetjmp(guest_trap, 1) != 0) {
    guest_runs = 0;
    return false;
  }
  guest_runs = 1;
  *(volatile uint8_t *)at = value;
  guest_runs = 0;
  return true;
}

#endif
