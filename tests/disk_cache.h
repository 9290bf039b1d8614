/* disk_cache.h - what of a file has reached the disk: the writes since the last good sync, and what a failed sync loses of them.
 *
 *   writes --good sync--> on the disk          writes --failed sync--> the plan's share is lost, the rest is on the disk
 *
 * What was lost is still to be read (the kernel calls its copy clean) until cache_power_cut(), or, where the plan says that the cache
 * reverts, shows at once what the disk has. Lost is lost: a later sync, even a good one, does not write it. A write through O_DSYNC is
 * on the disk when it returns, and never comes here. One file at a time; pages of 4 KiB reach the disk whole or not at all.
 *
 * Thread: the caller holds io_lock. Its own calls go past the wrappers.
 */
#ifndef PAGESTORE_TESTS_DISK_CACHE_H
#define PAGESTORE_TESTS_DISK_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum { CACHE_REACHED_ALL, CACHE_REACHED_SOME, CACHE_REACHED_NOTHING } cache_share;
enum { CACHE_PAGE = 4096 };

typedef struct { off_t page, size_before; uint8_t before[CACHE_PAGE]; } cache_undo;

static struct {
  bool on, reverts;
  cache_share share;
  uint64_t seed;
  int fd;              /* of the last write */
  cache_undo *undo;    /* since the last good sync */
  size_t count, room;
  cache_undo *lost;    /* by the first failed sync */
  size_t lost_count;
  uint64_t reverted;   /* pages, since the program began */
} cache;

static inline void cache_begin(bool on, cache_share share, bool reverts, uint64_t seed) {
  free(cache.lost);
  cache.lost = NULL;
  cache.lost_count = cache.count = 0;
  cache.on = on;
  cache.share = share;
  cache.reverts = reverts;
  cache.seed = seed;
}

static void cache_note_page(int fd, off_t page, off_t size) {
  if (cache.count == cache.room) {
    cache.room = cache.room ? cache.room * 2 : 64;
    cache.undo = realloc(cache.undo, cache.room * sizeof *cache.undo);
    if (!cache.undo) abort();
  }
  cache_undo *u = &cache.undo[cache.count++];
  *u = (cache_undo){ .page = page, .size_before = size };
  if (pread(fd, u->before, CACHE_PAGE, page * CACHE_PAGE) < 0) abort();
}

/* Before it is done. */
static inline void cache_write(int fd, off_t at, size_t length) {
  struct stat st;
  if (!cache.on || cache.lost || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
  cache.fd = fd;
  for (off_t page = at / CACHE_PAGE; page * CACHE_PAGE < at + (off_t)length; page++) cache_note_page(fd, page, st.st_size);
}

static inline void cache_synced(void) { cache.count = 0; }

/* The last write of a page first, so that the oldest bytes are what stays. */
static void cache_revert(int fd) {
  off_t size = -1;
  for (size_t i = cache.lost_count; i-- > 0;) {
    const cache_undo *u = &cache.lost[i];
    if (u->page * CACHE_PAGE >= u->size_before && cache.share == CACHE_REACHED_NOTHING) size = u->size_before;
    else if (syscall(SYS_pwrite64, fd, u->before, CACHE_PAGE, u->page * CACHE_PAGE) != CACHE_PAGE) abort();
    cache.reverted++;
  }
  if (size >= 0 && syscall(SYS_ftruncate, fd, size) != 0) abort();
  cache.lost_count = 0;
}

static bool cache_is_lost(off_t page) {
  if (cache.share != CACHE_REACHED_SOME) return cache.share == CACHE_REACHED_NOTHING;
  uint64_t dice = ((uint64_t)page + 1) * 0x9e3779b97f4a7c15u ^ (cache.seed + 1) * 0xbf58476d1ce4e5b9u;
  return (dice ^ dice >> 29) >> 7 & 1;
}

static inline void cache_sync_failed(void) {
  if (!cache.on || cache.lost) return;
  cache.lost = calloc(cache.count + 1, sizeof *cache.lost);
  if (!cache.lost) abort();
  for (size_t i = 0; i < cache.count; i++)
    if (cache_is_lost(cache.undo[i].page)) cache.lost[cache.lost_count++] = cache.undo[i];
  cache.count = 0;
  if (cache.reverts && cache.lost_count) cache_revert(cache.fd);
}

/* The file as the disk has it; nobody has it open. */
static inline void cache_power_cut(const char *path) {
  if (!cache.on || !cache.lost_count) return;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) abort();
  cache_revert(fd);
  close(fd);
}

#endif
