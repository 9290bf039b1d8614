/* kill.h - ends a process with SIGKILL at a chosen point of its life.
 *
 *   RANDOM    after so many microseconds
 *   SYSCALL   at its n-th system call, of any thread, before or after the kernel did it
 *   HANDLER   inside its handler of the n-th SIGSEGV or SIGBUS: so many instructions or system calls after the kernel
 *             delivered it, at the latest at the handler's last instruction (rt_sigreturn)
 *   FLUSHER   at the n-th system call of the flusher's thread, before or after the kernel did it
 *
 * All but RANDOM trace the process (ptrace). Counting begins when the ledger says ready, or with the process. The
 * victim waits at a gate, a pipe, until it is traced.
 *
 * Thread: one, which has no other children.
 */
#ifndef PAGESTORE_FUZZ_CRASHKILL_KILL_H
#define PAGESTORE_FUZZ_CRASHKILL_KILL_H

#include <sys/types.h>

#include "fuzz/support/ledger.h"

typedef enum { KILL_RANDOM, KILL_SYSCALL, KILL_HANDLER, KILL_FLUSHER, KILL_KINDS } kill_kind;
extern const char *const kill_name[KILL_KINDS];

typedef struct {
  kill_kind kind;
  bool from_start;       /* not from ready on */
  bool disk_calls;       /* SYSCALL, FLUSHER: only what changes files counts */
  bool after;            /* SYSCALL, FLUSHER: when the call was done. Else before */
  uint64_t nth;          /* from 1. RANDOM: microseconds */
  uint32_t instructions; /* HANDLER: so many later. 0: at a system call */
  uint32_t calls;        /* HANDLER: at so many stops at calls, each has two */
} kill_plan;

typedef struct {
  bool killed;    /* by us. Else: ended by itself, or hung */
  int status;     /* of waitpid */
  char where[96]; /* for people */
} kill_outcome;

/* Opens the gate by a byte, kills, and reaps. */
kill_outcome kill_run(const kill_plan *, pid_t victim, int gate, const ledger *);
/* Why no process can be traced here; NULL: it can. */
const char *kill_refused(void);

#endif
