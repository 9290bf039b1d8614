/* baseline.c - raw system calls to compare with. The contract is in baseline.h. */
#include "baseline.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pagestore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Debian 12's headers are older than the kernels that have them. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define FEATURE_SIGBUS         (1u << 7)
#define FEATURE_WP_UNPOPULATED (1u << 13)
#define FEATURE_WP_ASYNC       (1u << 15)

region region_new(uint64_t bytes, uint64_t blocks_max) {
  region r = {.bytes = bytes, .uffd = -1};
  r.base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  need_os(r.base != MAP_FAILED, "mmap");
  madvise(r.base, bytes, MADV_NOHUGEPAGE);
  for (uint64_t at = 0; at < bytes; at += PAGESTORE_BLOCK) r.base[at] = 1;
  r.copies = need_memory(blocks_max * PAGESTORE_BLOCK);
  memset(r.copies, 1, blocks_max * PAGESTORE_BLOCK);
  r.noted = need_memory(blocks_max * sizeof *r.noted);
  return r;
}

/* ---- the replica's way ------------------------------------------------------------------------------------------- */

static region *armed;
static struct sigaction before;
static bool is_installed;
static volatile sig_atomic_t refused;

static void pass_on(int sig, siginfo_t *info, void *context) {
  if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(sig, info, context);
  else signal(sig, SIG_DFL);
}

static void note_write(int sig, siginfo_t *info, void *context) {
  region *r = armed;
  uint64_t at = (uint64_t)((uintptr_t)info->si_addr - (uintptr_t)(r ? r->base : NULL));
  if (!r || at >= r->bytes) {
    pass_on(sig, info, context);
    return;
  }
  uint64_t block = at / PAGESTORE_BLOCK;
  int saved = errno;
  if (mprotect(r->base + block * PAGESTORE_BLOCK, PAGESTORE_BLOCK, PROT_READ | PROT_WRITE)) {
    /* Too many mappings: the message goes on with all of the range open, and is told as refused. */
    refused = errno;
    if (mprotect(r->base, r->bytes, PROT_READ | PROT_WRITE)) _exit(EXIT_FAILED);
  }
  r->noted[r->noted_count++] = block;
  errno = saved;
}

void ic_begin(region *r) {
  if (armed != r) {
    struct sigaction act = {.sa_sigaction = note_write, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static char stack[65536];
    need_os(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL) == 0, "sigaltstack");
    if (!is_installed) need_os(sigaction(SIGSEGV, &act, &before) == 0, "sigaction");
    is_installed = true;
    armed = r;
  }
  r->noted_count = 0;
  refused = 0;
  need_os(mprotect(r->base, r->bytes, PROT_READ) == 0, "mprotect");
}

bool ic_write(region *r, const uint64_t *blocks, uint64_t count) {
  for (uint64_t i = 0; i < count && !refused; i++)
    ++*(volatile uint64_t *)(r->base + blocks[i] * PAGESTORE_BLOCK + 128);
  errno = refused;
  return !refused;
}

void ic_commit(region *r) {
  for (uint64_t i = 0; i < r->noted_count; i++)
    memcpy(r->copies + i * PAGESTORE_BLOCK, r->base + r->noted[i] * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
}

void ic_rollback(region *r) {
  for (uint64_t i = 0; i < r->noted_count; i++)
    memcpy(r->base + r->noted[i] * PAGESTORE_BLOCK, r->copies + i * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
}

void region_free(region *r) {
  if (armed == r) armed = NULL;
  munmap(r->base, r->bytes);
  free(r->copies);
  free(r->noted);
  if (r->uffd >= 0) close(r->uffd);
}

/* ---- the kernel's way, without a library ------------------------------------------------------------------------- */

int uffd_open(void) {
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_SIGBUS | FEATURE_WP_UNPOPULATED | FEATURE_WP_ASYNC};
  if (fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0) return fd;
  close(fd);
  return -1;
}

bool floor_register(region *r) {
  r->uffd = uffd_open();
  if (r->uffd < 0) return false;
  struct uffdio_register asked = {.range = {(uintptr_t)r->base, r->bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
  return ioctl(r->uffd, UFFDIO_REGISTER, &asked) == 0;
}

void floor_arm(region *r, const uint64_t *blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    struct uffdio_writeprotect asked = {.range = {(uintptr_t)r->base + blocks[i] * PAGESTORE_BLOCK, PAGESTORE_BLOCK},
                                        .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    need_os(ioctl(r->uffd, UFFDIO_WRITEPROTECT, &asked) == 0, "UFFDIO_WRITEPROTECT");
  }
}

void floor_copy(region *r, const uint64_t *blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i++)
    memcpy(r->copies + i * PAGESTORE_BLOCK, r->base + blocks[i] * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
}

void map_once(uint64_t reserved_bytes, uint64_t bytes, int uffd) {
  uint8_t *base = mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  need_os(base != MAP_FAILED, "mmap");
  need_os(mprotect(base, bytes, PROT_READ | PROT_WRITE) == 0, "mprotect");
  if (uffd >= 0) {
    struct uffdio_register asked = {.range = {(uintptr_t)base, bytes},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP};
    need_os(ioctl(uffd, UFFDIO_REGISTER, &asked) == 0, "UFFDIO_REGISTER");
  }
  need_os(munmap(base, reserved_bytes) == 0, "munmap");
}
