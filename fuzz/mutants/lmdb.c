/* lmdb.c - what LMDB calls instead of the function of that name, in the mutants of fuzz/mutants/NAME.txt that say "== LMDB".
 *
 * LMDB's archive is made one object; a system call of its that a mutant names is renamed mutant_CALL there, and a function of LMDB's own
 * is overridden at the link, its original kept as original_FUNCTION. All of these functions are in each such program; those that the
 * mutant does not name are never called. What these functions call themselves goes the usual way, through the recorder.
 *
 * Thread: one write transaction at a time, as in LMDB.
 */
#include <fcntl.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LMDB_PAGE = 4096, META_PAGES = 2, RECORD_PAGES = 17 /* of a page record */ };

int mutant_fdatasync(int fd);
int mutant_open(const char *path, int flags, ...);
ssize_t mutant_pwrite(int fd, const void *bytes, size_t size, off_t at);
ssize_t mutant_writev(int fd, const struct iovec *parts, int count);
int mutant_mdb_cursor_put(MDB_cursor *, MDB_val *key, MDB_val *value, unsigned flags);
int original_mdb_cursor_put(MDB_cursor *, MDB_val *key, MDB_val *value, unsigned flags);
void mutant_mdb_env_close(MDB_env *);
void original_mdb_env_close(MDB_env *);

/* LMDB's lists of page numbers: the count, then the numbers, descending. */
typedef uint64_t *page_list;
int mutant_mdb_midl_need(page_list *list, unsigned more);
int original_mdb_midl_need(page_list *list, unsigned more);
void mutant_mdb_midl_xmerge(page_list to, page_list from);
void original_mdb_midl_xmerge(page_list to, page_list from);
int mutant_mdb_midl_append_range(page_list *list, uint64_t first, unsigned count);
int original_mdb_midl_append_range(page_list *list, uint64_t first, unsigned count);

/* ---- fdatasync-ignored, meta-without-dsync ----------------------------------------------------- */

int mutant_fdatasync(int fd) {
  (void)fd;
  return 0;
}

int mutant_open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open(path, flags & ~O_DSYNC, mode);
}

/* ---- page-held-back: the last LMDB page of a write is held back until the meta page is written ------- */

static struct {
  int fd;
  off_t at;
  bool is_held;
  uint8_t bytes[LMDB_PAGE];
} held;

/* Not where the file would be too short meanwhile, which would be seen at a glance. */
static bool may_hold(int fd, off_t end) {
  struct stat st;
  return !held.is_held && fstat(fd, &st) == 0 && st.st_size >= end;
}

static void hold(int fd, const void *bytes, off_t at) {
  held.fd = fd;
  held.at = at;
  held.is_held = true;
  memcpy(held.bytes, bytes, LMDB_PAGE);
}

static bool let_go(void) {
  held.is_held = false;
  return pwrite(held.fd, held.bytes, LMDB_PAGE, held.at) == LMDB_PAGE;
}

ssize_t mutant_pwrite(int fd, const void *bytes, size_t size, off_t at) {
  if (at < META_PAGES * LMDB_PAGE) {
    ssize_t done = pwrite(fd, bytes, size, at);
    return held.is_held && done == (ssize_t)size && !let_go() ? -1 : done;
  }
  size_t now = may_hold(fd, at + (off_t)size) ? size - LMDB_PAGE : size;
  if (now > 0 && pwrite(fd, bytes, now, at) != (ssize_t)now) return -1;
  if (now < size) hold(fd, (const uint8_t *)bytes + now, at + (off_t)now);
  return (ssize_t)size;
}

/* Where LMDB writes: it has set the position just before. */
ssize_t mutant_writev(int fd, const struct iovec *parts, int count) {
  off_t at = lseek(fd, 0, SEEK_CUR);
  ssize_t total = 0;
  for (int i = 0; i < count; i++) {
    if (i == count - 1) {
      if (mutant_pwrite(fd, parts[i].iov_base, parts[i].iov_len, at + total) < 0) return -1;
    } else if (pwrite(fd, parts[i].iov_base, parts[i].iov_len, at + total) != (ssize_t)parts[i].iov_len) {
      return -1;
    }
    total += (ssize_t)parts[i].iov_len;
  }
  return total;
}

/* ---- page-reused-early: the list of what a transaction freed goes under the number of the one before it ------- */

int mutant_mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags) {
  size_t id = 0, now = mdb_txn_id(mdb_cursor_txn(cursor));
  if (mdb_cursor_dbi(cursor) == 0 && key->mv_size == sizeof id) memcpy(&id, key->mv_data, sizeof id);
  if (id != now) return original_mdb_cursor_put(cursor, key, value, flags);
  id--;
  return original_mdb_cursor_put(cursor, &(MDB_val){sizeof id, &id}, value, flags);
}

/* ---- page-reused-at-once: freed runs go to the pages that this transaction may use ------------- */

static page_list *usable, *asked; /* LMDB's list of usable pages, known once it was merged into */

void mutant_mdb_env_close(MDB_env *env) {
  usable = asked = NULL;
  original_mdb_env_close(env);
}

int mutant_mdb_midl_need(page_list *list, unsigned more) {
  asked = list;
  return original_mdb_midl_need(list, more);
}

void mutant_mdb_midl_xmerge(page_list to, page_list from) {
  if (asked && *asked == to) usable = asked;
  original_mdb_midl_xmerge(to, from);
}

/* Runs of page records alone: the free list's own pages come and go while it is saved. */
int mutant_mdb_midl_append_range(page_list *list, uint64_t first, unsigned count) {
  if (!usable || !*usable || count != RECORD_PAGES) return original_mdb_midl_append_range(list, first, count);
  uint64_t run[1 + RECORD_PAGES] = {RECORD_PAGES};
  int err = original_mdb_midl_need(usable, count);
  if (err) return err;
  for (unsigned i = 0; i < RECORD_PAGES; i++) run[1 + i] = first + RECORD_PAGES - 1 - i;
  original_mdb_midl_xmerge(*usable, run);
  return 0;
}
