/* probes.c - see probes.h. */
#include "probes.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image.h"

#define GUARD_BYTES (1ull << 20)
enum { HANG_SECONDS = 300 };

/* ---- children -------------------------------------------------------------------------------------- */

static char scratch[160]; /* of the probe that runs, with everything it makes */

/* In memory where there is such a file system: nothing here is about the disk. */
static bool make_scratch(void) {
  const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%s/crashsim-probe-XXXXXX", where && *where ? where : "/tmp");
  return mkdtemp(scratch) != NULL;
}

static void run_probe(const char *name, void (*probe)(dice *), uint64_t seed) {
  int status = 0;
  violation_context("probe %s, seed %llu", name, (unsigned long long)seed);
  if (!make_scratch()) give_up("no directory for the probes in %s", scratch);
  fflush(stdout);
  uint64_t before = violations();
  pid_t child = fork();
  if (child == 0) {
    dice d = {seed};
    alarm(HANG_SECONDS);
    probe(&d);
    _exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) give_up("no process for a probe");
  if (WIFSIGNALED(status)) violation("ended by signal %d", WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0 && violations() == before) violation("ended with status %d", WEXITSTATUS(status));
  remove_all(scratch);
}

uint64_t probes_run(uint64_t seed) {
  static const struct {
    const char *name;
    void (*probe)(dice *);
  } all[] = {
      {"rewriting", probe_rewriting},
      {"damage", probe_damage},
      {"acknowledgements", probe_acknowledgements},
      {"loads during a flush", probe_loads_during_flush},
      {"refused commits", probe_refused_commits},
      {"merging", probe_merging},
      {"keep rule", probe_keep_rule},
  };
  uint64_t before = violations();
  /* What comes after a probe rests on what it has shown. */
  for (size_t i = 0; i < sizeof all / sizeof *all && violations() == before; i++)
    run_probe(all[i].name, all[i].probe, seed_of(seed, 1000 + i));
  violation_context("%s", "");
  return violations() - before;
}

void probe_failed(const char *file, int line, const char *format, ...) {
  char text[700];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char *name = strrchr(file, '/');
  violation("%s:%d: %s", name ? name + 1 : file, line, text);
  _exit(1);
}

void probe_status(const char *file, int line, const char *call, int status, int wanted) {
  if (status == wanted) return;
  const char *said = status ? pagestore_detail() : "it worked";
  if (wanted == 0) probe_failed(file, line, "%s: %s", call, said);
  else probe_failed(file, line, "%s must say '%s': %s", call, pagestore_strerror(wanted), said);
}

/* ---- stores ------------------------------------------------------------------------------------------- */

void probe_folder(probe_host *h) {
  snprintf(h->folder, sizeof h->folder, "%s/XXXXXX", scratch);
  if (!mkdtemp(h->folder)) give_up("no directory in %s", scratch);
  snprintf(h->path, sizeof h->path, "%s/store", h->folder);
  snprintf(h->file, sizeof h->file, "%s/data.mdb", h->path);
}

void probe_open_store(probe_host *h) {
  h->options.size = sizeof h->options;
  h->options.flags = PAGESTORE_CREATE;
  h->options.map_bytes = 1ull << 32;
  PROBE_OK(pagestore_open(h->path, &h->options, &h->store));
}

void probe_open_memory(pagestore_instance *i, pagestore_memory **m, uint8_t **base) {
  const pagestore_memory_options *options = PAGESTORE_WITH(pagestore_memory_options, .pages = PROBE_PAGES,
                                                           .max_pages = 2 * PROBE_PAGES, .guard_bytes = GUARD_BYTES);
  PROBE_OK(pagestore_memory_open(i, "m", options, m));
  *base = pagestore_memory_base(*m);
}

void probe_open(probe_host *h) {
  probe_open_store(h);
  PROBE_OK(pagestore_instance_open(h->store, "i", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                                   &h->instance));
  probe_open_memory(h->instance, &h->memory, &h->base);
}

void probe_close(probe_host *h) {
  if (h->instance) pagestore_instance_close(h->instance);
  PROBE_OK(pagestore_close(h->store));
  h->instance = NULL;
  h->store = NULL;
}

/* ---- bytes -------------------------------------------------------------------------------------------- */

static uint64_t word_of(uint64_t tag, uint64_t number) { return tag ? seed_of(tag, number / 64) + number : 0; }

void probe_fill(uint8_t *to, uint64_t length, uint64_t tag) {
  for (uint64_t i = 0; i < length / 8; i++) {
    uint64_t word = word_of(tag, i);
    memcpy(to + i * 8, &word, 8);
  }
}

bool probe_is(const uint8_t *at, uint64_t length, uint64_t tag) {
  for (uint64_t i = 0; i < length / 8; i++) {
    uint64_t word = word_of(tag, i);
    if (memcmp(at + i * 8, &word, 8) != 0) return false;
  }
  return true;
}

/* ---- damage: one bit of a stored block -------------------------------------------------------------------------------------------- */

/* Where the file has a block with these bytes: the row's, and what older rows left behind. */
typedef struct {
  uint64_t at[64];
  unsigned count;
} copies;

static copies find_copies(const char *path, uint64_t tag) {
  uint8_t block[PROBE_BLOCK], wanted[PROBE_BLOCK];
  copies found = {0};
  probe_fill(wanted, sizeof wanted, tag);
  int fd = open(path, O_RDONLY);
  for (uint64_t at = 0; fd >= 0 && pread(fd, block, sizeof block, (off_t)at) == sizeof block; at += sizeof block)
    if (memcmp(block, wanted, sizeof block) == 0 && found.count < sizeof found.at / sizeof *found.at)
      found.at[found.count++] = at;
  if (fd >= 0) close(fd);
  PROBE(found.count > 0, "a committed block is not in the file");
  return found;
}

static void flip(const char *path, const copies *where, uint64_t byte_at, uint8_t bit) {
  int fd = open(path, O_RDWR);
  for (unsigned i = 0; i < where->count; i++) {
    uint8_t byte;
    off_t at = (off_t)(where->at[i] + byte_at);
    if (fd < 0 || pread(fd, &byte, 1, at) != 1) give_up("%s could not be read", path);
    byte ^= bit;
    if (pwrite(fd, &byte, 1, at) != 1) give_up("%s could not be changed", path);
  }
  close(fd);
}

static uint64_t block_tag(uint64_t number) { return 7000 + number; }

static void check_blocks(probe_host *h, uint64_t damaged, bool is_damaged) {
  uint8_t page[PAGESTORE_PAGE];
  for (uint64_t p = 0; p < PROBE_PAGES; p++) {
    bool hit = is_damaged && p == damaged / 16;
    int status = pagestore_memory_read(h->memory, p * PAGESTORE_PAGE, page, sizeof page);
    PROBE(status == (hit ? PAGESTORE_ECORRUPT : 0), "page %llu, block %llu of the memory %s: reading says %d (%s)",
          (unsigned long long)p, (unsigned long long)damaged, hit ? "damaged" : "not damaged here", status,
          status ? pagestore_detail() : "it worked");
    for (uint64_t b = 0; !hit && b < 16; b++)
      PROBE(probe_is(page + b * PROBE_BLOCK, PROBE_BLOCK, block_tag(p * 16 + b)), "page %llu block %llu differs",
            (unsigned long long)p, (unsigned long long)b);
  }
}

typedef struct {
  uint64_t block, byte_at;
  uint8_t bit;
  copies where;
} damage;

/* The neighbour of the damaged block is not flushed yet while the page is read: the index gives it, the row the others. */
static void check_beside(probe_host *h, damage *d) {
  uint8_t *beside = h->base + (d->block ^ 1) * PROBE_BLOCK, byte;
  beside[0] ^= 1;
  gate_set(GATE_HELD);
  PROBE_OK(pagestore_commit(h->instance, PAGESTORE_ASYNC, NULL));
  PROBE(gate_reached(), "no flush began");
  PROBE_OK(pagestore_instance_trim(h->instance, 0));
  flip(h->file, &d->where, d->byte_at, d->bit);
  PROBE_STATUS(pagestore_memory_read(h->memory, d->block * PROBE_BLOCK, &byte, 1), PAGESTORE_ECORRUPT);
  flip(h->file, &d->where, d->byte_at, d->bit);
  gate_set(GATE_OPEN);
  PROBE_OK(pagestore_sync(h->store, PROBE_WAIT_MS));
  PROBE_OK(pagestore_rollback(h->instance));
  beside[0] ^= 1;
  PROBE_OK(pagestore_commit(h->instance, 0, NULL));
}

/* Each flipped bit is told when its page is read, whole or beside an unflushed block; the other pages are as they were. */
void probe_damage(dice *d) {
  probe_host h = {0};
  probe_folder(&h);
  probe_open(&h);
  for (uint64_t b = 0; b < PROBE_PAGES * 16; b++) probe_fill(h.base + b * PROBE_BLOCK, PROBE_BLOCK, block_tag(b));
  PROBE_OK(pagestore_commit(h.instance, 0, NULL));
  probe_close(&h);
  for (int round = 0; round < 6; round++) {
    damage hurt = {.block = dice_below(d, PROBE_PAGES * 16),
                   .byte_at = dice_below(d, PROBE_BLOCK),
                   .bit = (uint8_t)(1u << dice_below(d, 8))};
    hurt.where = find_copies(h.file, block_tag(hurt.block));
    flip(h.file, &hurt.where, hurt.byte_at, hurt.bit);
    probe_open(&h);
    check_blocks(&h, hurt.block, true);
    probe_close(&h);
    flip(h.file, &hurt.where, hurt.byte_at, hurt.bit);
    probe_open(&h);
    check_beside(&h, &hurt);
    check_blocks(&h, 0, false);
    probe_close(&h);
  }
}
