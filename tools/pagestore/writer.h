/* writer.h - the process that has a store open for writing, as the kernel tells of it.
 *
 * Invariant: what the kernel does not tell, or not to this user, is unknown, never zero.
 * Thread:    the program's.
 */
#ifndef PROGRAM_WRITER_H
#define PROGRAM_WRITER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int pid; /* 0: nobody has it open for writing, or the kernel does not tell (another PID namespace) */
  char name[64];
  bool io_known;
  uint64_t cpu_ns, resident_bytes, written_bytes; /* written_bytes: to the disk, by everything it does */
} writer;

void writer_find(const char *store, writer *out);

#endif
