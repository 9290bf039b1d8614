/* fault_rows.h - the fault matrix: its rows, what each demands, and how many faults of each the tests have tried.
 *
 * A test that has injected n faults of a row says fault_row_count(ROW, n). Where PAGESTORE_FAULT_ROWS names a file, that appends
 * "ROW n program" to it in one write, so that many programs may share it; else nothing happens. A script appends such a line itself.
 * tests/run names the file, build/fuzz/report makes the table of it. A fault is counted where it was injected and what had to happen
 * was asserted, never from a plan.
 */
#ifndef PAGESTORE_TESTS_FAULT_ROWS_H
#define PAGESTORE_TESTS_FAULT_ROWS_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* name, fault, what must happen, why a run may have tried none ("": each run of all tests does) */
#define FAULT_ROWS(ROW)                                                                                                              \
  ROW(WRITE, "ENOSPC, EIO or short write on the N-th write",                                                                         \
      "refused, durable version intact, deltas kept, goes on with room (EIO with room: FAILED)", "")                                 \
  ROW(META, "the same on the meta page", "FAILED until reopened; reopening tells which version is there", "")                        \
  ROW(SYNC, "EIO on fdatasync: nothing, a part, all reached the disk", "FAILED, never retried, never acknowledged", "")              \
  ROW(READ, "EIO on read, by copy and through LMDB's mapping", "an error or a trap, no crash of the host", "")                       \
  ROW(REPROTECTED, "failure after the scan has re-protected", "the next commit still holds every block", "")                         \
  ROW(TORN, "torn or reordered data writes", "invisible", "counted by the crash simulation")                                         \
  ROW(PAGE_BITS, "flipped bit in a page, in its header", "error naming it; other pages readable", "")                                \
  ROW(TREE_BITS, "flipped bit in LMDB's tree or meta pages", "error, never a crash or a hang", "")                                   \
  ROW(OTHER_FILE, "truncated, grown, empty, foreign, other version, other page size", "its own error each (grown: opens, and is right)", "")                      \
  ROW(LOCK_FILE, "lock file deleted, read-only, garbage", "second writer still refused", "")                                         \
  ROW(NOT_WRITABLE, "read-only, no permission, symbolic link, not a directory", "clean error, nothing created", "")                  \
  ROW(CALLS, "N-th allocation or system call fails, once and from then on", "error, nothing leaked, the region still right", "")     \
  ROW(LMDB, "N-th call of LMDB returns each code that it can", "error, nothing leaked, the region still right", "")                  \
  ROW(KILL, "SIGKILL", "acknowledged versions there, the rest all or nothing", "")                                                   \
  ROW(HANDLERS, "signal handler replaced by another library", "noticed or chained; no wrong result", "")                             \
  ROW(FORK, "fork in the embedder; exec", "the child is refused, inherits nothing; the lock is the parent's", "")                    \
  ROW(SIGNALS, "thread with SIGBUS blocked or a small alternate stack", "told by thread_check, mended by thread_prepare", "")        \
  ROW(WRITERS, "two writers, two opens in one process", "the second is refused", "")                                                 \
  ROW(READERS, "leftover and long readers", "cleared; growth bounded and reported", "")                                              \
  ROW(TRACKERS, "userfaultfd refused, no async write-protect", "next tracker, same bytes", "skipped where a filter cannot be set")   \
  ROW(SPACE, "address space, mapping count exhausted", "clean error", "")                                                            \
  ROW(SWAP, "swap and memory pressure", "no dirty block missed", "needs swap, or root and a file system to swap on")                 \
  ROW(RACE, "a guest that writes while its boundary runs", "excluded; detected in debug builds", "needs PAGESTORE_ASSERT=full")

typedef enum {
#define FAULT_ROW_NAME(name, fault, must, why_not) ROW_##name,
  FAULT_ROWS(FAULT_ROW_NAME)
#undef FAULT_ROW_NAME
  FAULT_ROW_COUNT
} fault_row;

typedef struct { const char *name, *fault, *must, *why_not; } fault_row_text;

static const fault_row_text fault_row_texts[] = {
#define FAULT_ROW_TEXT(name, fault, must, why_not) { #name, fault, must, why_not },
  FAULT_ROWS(FAULT_ROW_TEXT)
#undef FAULT_ROW_TEXT
};

static inline void fault_row_count(fault_row row, uint64_t n) {
  const char *path = getenv("PAGESTORE_FAULT_ROWS");
  if (!path || !*path || n == 0) return;
  char line[160];
  int length = snprintf(line, sizeof line, "%s %llu %.60s\n", fault_row_texts[row].name, (unsigned long long)n,
                        program_invocation_short_name);
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || write(fd, line, (size_t)length) != length) {
    fprintf(stderr, "%s: not written\n", path); /* the report must not show less than was tried */
    abort();
  }
  close(fd);
}

#endif
