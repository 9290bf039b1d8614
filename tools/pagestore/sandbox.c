/* sandbox.c - see sandbox.h. The filter is written out: a library for it would be one more thing to trust. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "complain.h"

enum { COPY_BYTES = 1 << 20, NO_FILTER = 125 };

/* ---- the copy -------------------------------------------------------------------------------- */

static int write_all(int to, const char *bytes, size_t length) {
  while (length) {
    ssize_t n = write(to, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    bytes += n;
    length -= (size_t)n;
  }
  return 0;
}

static int copy_all(int from, int to) {
  static char bytes[COPY_BYTES];
  for (off_t at = 0;;) {
    ssize_t n = pread(from, bytes, sizeof bytes, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) return 0;
    if (write_all(to, bytes, (size_t)n) != 0) return -1;
    at += n;
  }
}

int sandbox_copy(int fd) {
  int copy = memfd_create("data.mdb", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (copy >= 0 && copy_all(fd, copy) == 0 &&
      fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) == 0)
    return copy;
  complain("the file cannot be copied into memory: %s: make room, or trust it and leave --untrusted away",
           strerror(errno));
  if (copy >= 0) close(copy);
  return -1;
}

/* ---- the filter ------------------------------------------------------------------------------ */

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(name)                                                                                                   \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define ARGUMENT(i) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[i]))

/* Refused, not fatal: what libc tries and can do without (its own files, its random seed, the terminal's size). fstat
 * of a descriptor is newfstatat; mmap never with PROT_EXEC. */
static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    ALLOW(read),
    ALLOW(pread64),
    ALLOW(write),
    ALLOW(writev),
    ALLOW(fstat),
    ALLOW(lseek),
    ALLOW(brk),
    ALLOW(munmap),
    ALLOW(mremap),
    ALLOW(madvise),
    ALLOW(futex),
    ALLOW(clock_nanosleep),
    ALLOW(clock_gettime),
    ALLOW(gettimeofday),
    ALLOW(sysinfo),  /* qsort asks how much memory there is */
    ALLOW(getpid),
    ALLOW(rt_sigreturn),
    ALLOW(exit),
    ALLOW(exit_group),
    REFUSE(open),
    REFUSE(openat),
    REFUSE(ioctl),
    REFUSE(getrandom),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 4),
    ARGUMENT(3),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AT_EMPTY_PATH, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
    ARGUMENT(2),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

static int install_filter(void) {
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* ---- the child ------------------------------------------------------------------------------- */

int sandbox_begin(int (*work)(void *env), void *env) {
  fflush(NULL);
  int child = fork();
  if (child < 0) complain("no child can be started: %s: try again when there is room", strerror(errno));
  if (child != 0) return child;
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  if (install_filter() != 0) _exit(NO_FILTER);
  _exit(finish_output(work(env)));
}

int sandbox_end(int child) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return complain_status(0, "the sandbox is gone");
  if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTER) {
    complain("seccomp cannot be had here: run where it is allowed, or trust the file and leave --untrusted away");
    return EXIT_FAILED;
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  complain("the sandbox was ended by signal %d: do not trust this file; report it as a fault of pagestore",
           WTERMSIG(status));
  return EXIT_FAILED;
}

int sandbox_run(int (*work)(void *env), void *env) {
  int child = sandbox_begin(work, env);
  return child < 0 ? EXIT_FAILED : sandbox_end(child);
}
