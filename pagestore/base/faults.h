/* faults.h - the process's SIGSEGV and SIGBUS: who answers, and what happens to signals that are not ours.
 *
 * A fault is offered, by its address, first to the calling thread's guard (a read of LMDB's mapping that may end in
 * SIGBUS), then to the responder (the regions). What nobody takes goes on to the handler found at installation,
 * called as the kernel would have called it (default action restored and the fault taken again where it was SIG_DFL).
 *
 * Always true: no lock, no allocation, errno as before, SA_SIGINFO | SA_ONSTACK | SA_NODEFER; decided by
 *              address, never by program counter or si_code.
 * Thread:      any. Global state: the chain.
 */
#ifndef PAGESTORE_BASE_FAULTS_H
#define PAGESTORE_BASE_FAULTS_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returns true when the access may be taken again. Runs in the handler. */
typedef bool (*faults_responder)(int signal, uintptr_t address, void *ucontext);

int faults_install(void);    /* idempotent; 0 or PAGESTORE_EIO */
int faults_reinstall(void);  /* in front again, after somebody else's installation; chains to what it finds */
void faults_respond(faults_responder);  /* one responder a process; set before the first region exists */

/* Alternate stack and signal mask of the calling thread: what pagestore_thread_check and _prepare promise. */
int faults_thread_check(void);
int faults_thread_prepare(void);

/* A guard protects reads of [start, start + bytes): SIGBUS (or SIGSEGV) there comes back through the jump.
 *
 *   guard g;
 *   if (guard_enter(&g, map, map_bytes)) return PAGESTORE_EIO;   // came back from a fault; the guard is left already
 *   ... read ...
 *   guard_leave(&g);
 *
 * Guards nest (a fault handler may read under its own guard while the thread was inside one); each thread has its own
 * chain, in initial-exec thread-local storage. */
typedef struct guard {
  struct guard *outer;
  uintptr_t start, end;
  uintptr_t address;  /* after the jump: where the fault was */
  jmp_buf back;
} guard;

void guard_push(guard *, const void *start, size_t bytes);
void guard_leave(guard *);
/* _setjmp: the mask is not saved, since SA_NODEFER never changed it. */
#define guard_enter(g, start, bytes) (guard_push((g), (start), (bytes)), _setjmp((g)->back))

#endif
