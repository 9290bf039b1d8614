/* os.c - mmap, mprotect, madvise, userfaultfd, PAGEMAP_SCAN: see the header.
 *
 * Invariants: descriptors are made once per process, under the lock, and never closed but in a forked child, where
 *             they would speak of the parent's memory; what was found out about the kernel is remembered with them.
 */
#include "vm/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"

/* ---- what Linux 6.7 added and older headers lack ---------------------------------------------------------------- */

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PIDFD_SELF
#define PIDFD_SELF (-10000)
#endif

#ifndef PAGEMAP_SCAN
struct page_region {
  uint64_t start, end, categories;
};
struct pm_scan_arg {
  uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_WRITTEN (1u << 1)
#define PAGE_IS_PRESENT (1u << 3)
#define PAGE_IS_SWAPPED (1u << 4)
#define PAGE_IS_PFNZERO (1u << 5)
#define PM_SCAN_WP_MATCHING (1u << 0)
#define PM_SCAN_CHECK_WPASYNC (1u << 1)
#endif

_Static_assert(sizeof(struct pm_scan_arg) == 96, "the kernel's layout");
_Static_assert(sizeof(os_range) == sizeof(struct iovec), "os_range is the kernel's struct iovec");
_Static_assert(sizeof(os_run) == sizeof(struct page_region), "os_run is the kernel's struct page_region");

/* ---- address ranges --------------------------------------------------------------------------------------------- */

static const int access_bits[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };

static int map_range(void *hint, uint64_t bytes, int flags, uint8_t **base) {
  void *at = mmap(hint, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  if (at == MAP_FAILED) return errno;
  int error = 0;
  if (hint != NULL && at != hint) error = EEXIST; /* kernels before 4.17 take the address as a hint */
  /* A child that inherited the range would read zeros where the parent loads. */
  if (error == 0 && madvise(at, bytes, MADV_DONTFORK) != 0) error = errno;
  /* One byte written would make 2 MiB dirty. EINVAL: a kernel without huge pages. */
  if (error == 0 && madvise(at, bytes, MADV_NOHUGEPAGE) != 0 && errno != EINVAL) error = errno;
  if (error != 0) {
    munmap(at, bytes);
    return error;
  }
  *base = at;
  return 0;
}

int os_reserve(uint8_t **base, uint64_t bytes) { return map_range(NULL, bytes, 0, base); }

int os_reserve_at(uint8_t *at, uint64_t bytes) {
  uint8_t *base;
  return map_range(at, bytes, MAP_FIXED_NOREPLACE, &base);
}

void *os_zeros(uint64_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

/* Strict accounting would charge the whole range for its moment of being writable, for good. */
static bool is_overcommit_strict(void) {
  char mode = '2';
  int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  if (read(fd, &mode, 1) != 1) mode = '2';
  close(fd);
  return mode == '2';
}

/* Neighbouring mappings merge only if they have the same anon_vma or one has none. The kernel makes one at the first
 * write into a mapping, and parts split off later share it: so one write while all is one mapping. */
int os_unify(uint8_t *at, uint64_t bytes) {
  if (is_overcommit_strict() || os_protect(at, bytes, OS_WRITE) != 0) return 0; /* then they do not merge so well */
  *(volatile uint8_t *)at = 0;
  int error = os_drop(at, bytes);
  return error != 0 ? error : os_protect(at, bytes, OS_NONE);
}

void os_release(uint8_t *base, uint64_t bytes) {
  if (bytes != 0) munmap(base, bytes);
}

int os_protect(uint8_t *at, uint64_t bytes, os_access access) {
  if (bytes == 0 || mprotect(at, bytes, access_bits[access]) == 0) return 0;
  return errno;
}

int os_drop(uint8_t *at, uint64_t bytes) {
  if (bytes == 0 || madvise(at, bytes, MADV_DONTNEED) == 0) return 0;
  /* The host called mlockall(): locked memory is dropped only by the newer advice (Linux 5.18). */
  if (errno == EINVAL && madvise(at, bytes, MADV_DONTNEED_LOCKED) == 0) return 0;
  return errno;
}

/* Linux 6.14; what came before it knows neither the descriptor nor this advice for oneself. */
static bool drop_together(const os_range *ranges, unsigned count) {
  static _Atomic bool is_refused;
  if (count < 2 || atomic_load_explicit(&is_refused, memory_order_relaxed)) return false;
  uint64_t bytes = 0;
  for (unsigned i = 0; i < count; i++) bytes += ranges[i].bytes;
  long done = syscall(SYS_process_madvise, PIDFD_SELF, ranges, (unsigned long)count, MADV_DONTNEED, 0ul);
  if (done < 0 && (errno == ENOSYS || errno == EBADF || errno == EPERM))
    atomic_store_explicit(&is_refused, true, memory_order_relaxed);
  return done >= 0 && (uint64_t)done == bytes;
}

/* What one call did not do, or not wholly, is done one by one: dropping twice does no harm. */
int os_drop_each(const os_range *ranges, unsigned count) {
  if (drop_together(ranges, count)) return 0;
  int error = 0;
  for (unsigned i = 0; i < count && error == 0; i++) error = os_drop(ranges[i].at, ranges[i].bytes);
  return error;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------ */

typedef enum { UNTRIED, HAVE, REFUSED } trial;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  trial state;
  int fd, error;
} uffds[OS_UFFD_KINDS];
static trial scan_state;
static int pagemap_fd = -1;
static pid_t owner;       /* of the descriptors */
static const char *how = "not tried"; /* the userfaultfd was had, or why it was refused */

static const uint64_t features_wanted[OS_UFFD_KINDS] = {
  [OS_UFFD_ASYNC] = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
  [OS_UFFD_SYNC] = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
};

static const char *refusal(int error) {
  switch (error) {
  case EPERM:
    return "refused: EPERM (a container's seccomp filter, or vm.unprivileged_userfaultfd on a kernel before 5.11)";
  case EACCES: return "refused: EACCES (a security module)";
  case ENOSYS: return "refused: ENOSYS (the kernel was built without it, or a seccomp filter hides it)";
  case EMFILE:
  case ENFILE: return "refused: no file descriptor left (raise ulimit -n)";
  case ENOMEM: return "refused: ENOMEM";
  case EINVAL: return "refused: EINVAL (the kernel lacks write-protection by userfaultfd; 5.7 has it)";
  default: return "refused by the kernel";
  }
}

/* With the privilege first: it also serves faults that the kernel takes on our behalf where SIGBUS is not asked for. */
static int open_userfaultfd(int *fd) {
  long got = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  how = "privileged";
  if (got < 0 && errno == EPERM) {
    got = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    how = "user-mode only";
    if (got < 0 && errno == EINVAL) errno = EPERM; /* a kernel before 5.11 does not know the flag */
  }
  if (got < 0) return errno;
  *fd = (int)got;
  return 0;
}

static int try_userfaultfd(os_uffd_kind kind, int *out) {
  int fd = -1, error = open_userfaultfd(&fd);
  if (error == 0) {
    struct uffdio_api api = { .api = UFFD_API, .features = features_wanted[kind] };
    if (ioctl(fd, UFFDIO_API, &api) != 0) {
      error = errno;
      close(fd);
    }
  }
  /* A kernel with userfaultfd but without the asynchronous kind must not be called one without userfaultfd. */
  if (error != 0 && (kind == OS_UFFD_SYNC || error != EINVAL)) how = refusal(error);
  if (error == 0) *out = fd;
  return error;
}

/* A kernel that has the asynchronous kind has the scan, unless /proc is missing or a filter forbids the call. */
static bool scan_works(void) {
  if (pagemap_fd < 0) pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pagemap_fd < 0) return false;
  os_run run;
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), here = (uint64_t)(uintptr_t)&run & ~(page - 1);
  struct pm_scan_arg arg = { .size = sizeof arg, .start = here, .end = here + page, .vec = (uint64_t)(uintptr_t)&run,
                             .vec_len = 1, .category_mask = PAGE_IS_PRESENT, .return_mask = PAGE_IS_PRESENT };
  return ioctl(pagemap_fd, PAGEMAP_SCAN, &arg) >= 0;
}

static void close_descriptors(void) {
  for (int kind = 0; kind < OS_UFFD_KINDS; kind++) {
    if (uffds[kind].state == HAVE) close(uffds[kind].fd);
    uffds[kind].state = UNTRIED;
  }
  if (pagemap_fd >= 0) close(pagemap_fd);
  pagemap_fd = -1;
  scan_state = UNTRIED;
}

/* In a child of fork() that nobody told (no store was open): the descriptors act on the parent's memory. */
static void leave_parents(void) {
  pid_t now = getpid();
  if (owner == now) return;
  close_descriptors();
  owner = now;
}

static int uffd_locked(os_uffd_kind kind, int *fd) {
  leave_parents();
  if (uffds[kind].state == UNTRIED) {
    uffds[kind].error = try_userfaultfd(kind, &uffds[kind].fd);
    uffds[kind].state = uffds[kind].error == 0 ? HAVE : REFUSED;
    /* Want of descriptors or memory may pass. */
    int error = uffds[kind].error;
    if (error == EMFILE || error == ENFILE || error == ENOMEM) uffds[kind].state = UNTRIED;
  }
  if (uffds[kind].state == HAVE) *fd = uffds[kind].fd;
  return uffds[kind].error;
}

int os_uffd(os_uffd_kind kind, int *fd) {
  pthread_mutex_lock(&lock);
  int error = uffd_locked(kind, fd);
  pthread_mutex_unlock(&lock);
  return error;
}

os_support os_support_now(void) {
  int fd;
  pthread_mutex_lock(&lock);
  bool async = uffd_locked(OS_UFFD_ASYNC, &fd) == 0;
  if (async && scan_state == UNTRIED) scan_state = scan_works() ? HAVE : REFUSED;
  os_support s = { .async = async && scan_state == HAVE, .sync = uffd_locked(OS_UFFD_SYNC, &fd) == 0 };
  s.userfaultfd = how;
  pthread_mutex_unlock(&lock);
  return s;
}

/* The lock may have been held by a thread that the child does not have. */
void os_after_fork(void) {
  pthread_mutex_init(&lock, NULL);
  close_descriptors();
}

/* ---- userfaultfd ------------------------------------------------------------------------------------------------ */

static struct uffdio_range range_of(const uint8_t *at, uint64_t bytes) {
  return (struct uffdio_range){ .start = (uint64_t)(uintptr_t)at, .len = bytes };
}

int os_uffd_register(int fd, uint8_t *at, uint64_t bytes, bool write_protect) {
  struct uffdio_register arg = { .range = range_of(at, bytes), .mode = UFFDIO_REGISTER_MODE_MISSING };
  if (write_protect) arg.mode |= UFFDIO_REGISTER_MODE_WP;
  return ioctl(fd, UFFDIO_REGISTER, &arg) == 0 ? 0 : errno;
}

int os_uffd_unregister(int fd, uint8_t *at, uint64_t bytes) {
  struct uffdio_range arg = range_of(at, bytes);
  return ioctl(fd, UFFDIO_UNREGISTER, &arg) == 0 ? 0 : errno;
}

/* The kernel returns EAGAIN with the bytes it did when it stopped half-way (go on behind them and learn why), or
 * EAGAIN with nothing done while the address space changes under it (try again). */
static int settle(int error, int64_t step, uint64_t *done) {
  if (step > 0) *done += (uint64_t)step;
  return error == EAGAIN ? 0 : error;
}

int os_uffd_copy(int fd, uint8_t *to, const uint8_t *from, uint64_t bytes, bool write_protect, uint64_t *done) {
  *done = 0;
  while (*done < bytes) {
    struct uffdio_copy arg = { .dst = (uint64_t)(uintptr_t)to + *done, .src = (uint64_t)(uintptr_t)from + *done,
                               .len = bytes - *done, .mode = write_protect ? UFFDIO_COPY_MODE_WP : 0 };
    int error = ioctl(fd, UFFDIO_COPY, &arg) == 0 ? 0 : errno;
    error = settle(error, arg.copy, done);
    if (error != 0) return error;
  }
  return 0;
}

int os_uffd_zero(int fd, uint8_t *to, uint64_t bytes, uint64_t *done) {
  *done = 0;
  while (*done < bytes) {
    struct uffdio_zeropage arg = { .range = range_of(to + *done, bytes - *done) };
    int error = ioctl(fd, UFFDIO_ZEROPAGE, &arg) == 0 ? 0 : errno;
    error = settle(error, arg.zeropage, done);
    if (error != 0) return error;
  }
  return 0;
}

int os_uffd_protect(int fd, uint8_t *at, uint64_t bytes, bool write_protect) {
  struct uffdio_writeprotect arg = { .range = range_of(at, bytes),
                                     .mode = write_protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0 };
  while (ioctl(fd, UFFDIO_WRITEPROTECT, &arg) != 0)
    if (errno != EAGAIN) return errno;
  return 0;
}

/* ---- the scan --------------------------------------------------------------------------------------------------- */

int os_scan(uint8_t *at, uint64_t bytes, os_scan_kind kind, os_run *runs, unsigned runs_max, unsigned *count,
            uint8_t **end) {
  ASSERT(runs_max != 0);
  struct pm_scan_arg arg = {
    .size = sizeof arg, .flags = PM_SCAN_CHECK_WPASYNC | (kind != OS_SCAN_LOOK ? PM_SCAN_WP_MATCHING : 0),
    .start = (uint64_t)(uintptr_t)at, .end = (uint64_t)(uintptr_t)at + bytes,
    .vec = (uint64_t)(uintptr_t)runs, .vec_len = runs_max,
    .category_mask = PAGE_IS_WRITTEN, .return_mask = PAGE_IS_WRITTEN,
  };
  /* "Written" alone has a loop of its own in the kernel. But absent pages count as written, and protecting those would
   * fill the page table of a sparse reservation: hence PRESENT or SWAPPED. A zero page that was only read was perhaps
   * never protected and counts as written: hence not PFNZERO. */
  if (kind != OS_SCAN_DENSE) {
    arg.category_inverted = PAGE_IS_PFNZERO;
    arg.category_mask |= PAGE_IS_PFNZERO;
    arg.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
  }
  int got = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);
  if (got < 0) return errno;
  *count = (unsigned)got;
  *end = (uint8_t *)(uintptr_t)arg.walk_end;
  return 0;
}
