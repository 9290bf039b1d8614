/* kill.c - kills at a point of time, and through ptrace at a call, an instruction, a thread; see kill.h. */
#include "kill.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANG_SECONDS = 180, POLL_US = 200, SYSCALL_STOP = SIGTRAP | 0x80 };

const char *const kill_name[KILL_KINDS] = {"random", "syscall", "handler", "flusher"};

typedef struct {
  const kill_plan *plan;
  const ledger *ledger;
  pid_t victim;
  uint64_t count;        /* of what the plan counts */
  pid_t inside;          /* the thread in the chosen handler; 0: not yet */
  uint32_t steps, stops; /* inside it */
  kill_outcome out;
} hunt;

static volatile sig_atomic_t hung;

static void on_alarm(int number) {
  (void)number;
  hung = 1;
}

static void say(hunt *h, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(hunt *h, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(h->out.where, sizeof h->out.where, format, arguments);
  va_end(arguments);
}

/* ---- system calls by name ---------------------------------------------------------------------------------------- */

typedef struct {
  long number;
  const char *name;
  bool disk;
} call_name;
static const call_name call_names[] = {
    {SYS_write, "write", true},
    {SYS_pwrite64, "pwrite64", true},
    {SYS_writev, "writev", true},
    {SYS_pwritev, "pwritev", true},
    {SYS_fdatasync, "fdatasync", true},
    {SYS_fsync, "fsync", true},
    {SYS_ftruncate, "ftruncate", true},
    {SYS_fallocate, "fallocate", true},
    {SYS_rename, "rename", true},
    {SYS_renameat, "renameat", true},
    {SYS_renameat2, "renameat2", true},
    {SYS_unlink, "unlink", true},
    {SYS_unlinkat, "unlinkat", true},
    {SYS_mkdir, "mkdir", true},
    {SYS_mkdirat, "mkdirat", true},
    {SYS_rmdir, "rmdir", true},
    {SYS_open, "open", true},
    {SYS_openat, "openat", true},
    {SYS_ioctl, "ioctl", false},
    {SYS_madvise, "madvise", false},
    {SYS_mprotect, "mprotect", false},
    {SYS_mmap, "mmap", false},
    {SYS_munmap, "munmap", false},
    {SYS_futex, "futex", false},
    {SYS_rt_sigreturn, "rt_sigreturn", false},
};

static const call_name *call_find(long number) {
  for (size_t n = 0; n < sizeof call_names / sizeof *call_names; n++)
    if (call_names[n].number == number) return &call_names[n];
  return NULL;
}

/* ---- a point of time --------------------------------------------------------------------------------------------- */

static void sleep_us(uint64_t us) {
  nanosleep(&(struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000}, NULL);
}

static void hunt_by_time(hunt *h) {
  while (!h->plan->from_start && !atomic_load(&h->ledger->ready) && !hung) {
    if (waitpid(h->victim, &h->out.status, WNOHANG) == h->victim) return;
    sleep_us(POLL_US);
  }
  sleep_us(h->plan->nth);
  kill(h->victim, SIGKILL);
  say(h, "%llu us after %s", (unsigned long long)h->plan->nth, h->plan->from_start ? "its begin" : "it was ready");
  waitpid(h->victim, &h->out.status, 0);
}

/* ---- traced: what a stop means ----------------------------------------------------------------------------------- */

static bool counting(const hunt *h) { return h->plan->from_start || atomic_load(&h->ledger->ready); }

static bool call_counts(const hunt *h, bool entry, long number) {
  if (!counting(h) || entry == h->plan->after) return false;
  const call_name *name = call_find(number);
  return !h->plan->disk_calls || (name && name->disk);
}

static void say_call(hunt *h, bool entry, long number, uint64_t count) {
  const call_name *name = call_find(number);
  char text[32];
  snprintf(text, sizeof text, "call %ld", number);
  say(h, "%s %s, %s %llu", entry ? "before" : "after", name ? name->name : text,
      h->inside             ? "stop"
      : h->plan->disk_calls ? "file call"
                            : "call",
      (unsigned long long)count);
}

/* Whether this is the point. An exit has no number in what ptrace tells: orig_rax has it. */
static bool at_call(hunt *h, pid_t thread) {
  struct user_regs_struct regs;
  struct __ptrace_syscall_info info;
  if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) < 0 || ptrace(PTRACE_GETREGS, thread, 0, &regs) < 0)
    return false;
  bool entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
  long number = (long)regs.orig_rax;
  if (h->inside == thread) {
    bool last = entry && number == SYS_rt_sigreturn;
    if (++h->stops < h->plan->calls && !last) return false;
    say_call(h, entry, number, h->stops);
    return true;
  }
  if (h->plan->kind == KILL_HANDLER || (h->plan->kind == KILL_FLUSHER && thread == h->victim)) return false;
  if (!call_counts(h, entry, number) || ++h->count < h->plan->nth) return false;
  say_call(h, entry, number, h->count);
  return true;
}

static bool at_sigreturn(pid_t thread) {
  struct user_regs_struct regs;
  if (ptrace(PTRACE_GETREGS, thread, 0, &regs) < 0 || regs.rax != SYS_rt_sigreturn) return false;
  errno = 0;
  long word = ptrace(PTRACE_PEEKTEXT, thread, regs.rip, 0);
  return errno == 0 && (word & 0xffff) == 0x050f; /* syscall */
}

static bool at_instruction(hunt *h, pid_t thread) {
  bool last = at_sigreturn(thread);
  if (h->steps++ < h->plan->instructions && !last) return false;
  say(h, "%u instructions inside it%s", h->steps - 1, last ? ", its last" : "");
  return true;
}

/* The signal is given to the thread; from the chosen one on it is followed. */
static void at_signal(hunt *h, pid_t thread, int number) {
  if (h->plan->kind != KILL_HANDLER || h->inside || !counting(h)) return;
  if (number != SIGSEGV && number != SIGBUS) return;
  if (++h->count == h->plan->nth) h->inside = thread;
}

static void go_on(const hunt *h, pid_t thread, int signal) {
  bool follows = h->inside == thread && h->plan->kind == KILL_HANDLER;
  bool calls = h->plan->kind == KILL_SYSCALL || (h->plan->kind == KILL_FLUSHER && thread != h->victim);
  int request = follows && h->plan->instructions ? PTRACE_SINGLESTEP : follows || calls ? PTRACE_SYSCALL : PTRACE_CONT;
  ptrace(request, thread, 0, signal); /* ESRCH: it has died in the meantime, which waitpid tells */
}

/* True: this is the point. Else the thread goes on. */
static bool handle_stop(hunt *h, pid_t thread, int status) {
  int number = WSTOPSIG(status), event = status >> 16, deliver = 0;
  if (number == SYSCALL_STOP) {
    if (at_call(h, thread)) return true;
  } else if (event == 0 && number == SIGTRAP && h->inside == thread) {
    if (at_instruction(h, thread)) return true;
  } else if (event == 0) {
    deliver = number;
    at_signal(h, thread, number);
  }
  go_on(h, thread, deliver);
  return false;
}

/* ---- traced: from the gate to the end ---------------------------------------------------------------------------- */

static bool seize(pid_t victim) {
  int status;
  long options = PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  if (ptrace(PTRACE_SEIZE, victim, 0, options) < 0 || ptrace(PTRACE_INTERRUPT, victim, 0, 0) < 0) return false;
  return waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status);
}

/* Whoever is traced reports its end, the victim's own comes last. */
static void reap(hunt *h) {
  int status;
  for (;;) {
    pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0 && errno == EINTR && !hung) continue;
    if (thread < 0) return;
    if (thread == h->victim && !WIFSTOPPED(status)) break;
  }
  h->out.status = status;
}

static void hunt_by_trace(hunt *h) {
  for (;;) {
    int status;
    pid_t thread = waitpid(-1, &status, __WALL);
    if (thread < 0) break;
    if (WIFSTOPPED(status)) {
      if (handle_stop(h, thread, status)) break;
    } else if (thread == h->victim) {
      h->out.status = status;
      return;
    }
  }
  kill(h->victim, SIGKILL);
  reap(h);
}

kill_outcome kill_run(const kill_plan *plan, pid_t victim, int gate, const ledger *ledger) {
  hunt h = {.plan = plan, .ledger = ledger, .victim = victim};
  bool traced = plan->kind != KILL_RANDOM, seized = !traced || seize(victim);
  hung = 0;
  sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL); /* no SA_RESTART: it ends waitpid */
  alarm(HANG_SECONDS);
  if (traced && seized) go_on(&h, victim, 0);
  if (!seized || write(gate, "", 1) != 1) {
    kill(victim, SIGKILL);
    reap(&h);
    say(&h, "it could not be traced");
    return h.out;
  }
  traced ? hunt_by_trace(&h) : hunt_by_time(&h);
  alarm(0);
  if (hung) say(&h, "hung: no end in %d s", HANG_SECONDS);
  h.out.killed = !hung && WIFSIGNALED(h.out.status) && WTERMSIG(h.out.status) == SIGKILL;
  return h.out;
}

const char *kill_refused(void) {
  static char why[128];
  int gate[2];
  if (pipe(gate) < 0) return "no pipe";
  pid_t child = fork();
  if (child == 0) {
    char byte;
    close(gate[1]);
    _exit(read(gate[0], &byte, 1) != 0);
  }
  bool seized = child > 0 && seize(child);
  snprintf(why, sizeof why, "ptrace: %s", strerror(errno));
  struct __ptrace_syscall_info info;
  if (seized && ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) < 0) {
    snprintf(why, sizeof why, "PTRACE_GET_SYSCALL_INFO: %s", strerror(errno));
    seized = false;
  }
  close(gate[0]), close(gate[1]);
  if (child > 0) kill(child, SIGKILL), waitpid(child, NULL, 0);
  return seized ? NULL : why;
}
