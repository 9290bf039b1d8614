/* mounts.c - namespaces, loop devices, mounts; see mounts.h. */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SKIPPED = 77, LEAVE_TRIES = 400, ATTACH_TRIES = 50 };
static const char *const formatters[] = {"/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4"};

static const char *formatter(void) {
  for (size_t n = 0; n < sizeof formatters / sizeof *formatters; n++)
    if (access(formatters[n], X_OK) == 0) return formatters[n];
  return NULL;
}

const char *mounts_refused(void) {
  if (geteuid() != 0) return "only root can mount: run it as root";
  if (access("/dev/fuse", R_OK | W_OK) != 0) return "there is no /dev/fuse: load the module fuse";
  if (access("/dev/loop-control", R_OK | W_OK) != 0) return "there is no /dev/loop-control: load the module loop";
  if (!formatter()) return "there is no mkfs.ext4: install e2fsprogs";
  return NULL;
}

/* ---- the world --------------------------------------------------------------------------------------------------- */

static pid_t first_process;

static void on_end(int number) {
  (void)number;
  kill(first_process, SIGKILL); /* the wait below returns, and all is gone */
}

static int refused(void) {
  printf("crashblock: not run: no namespaces: %s\n", strerror(errno));
  return SKIPPED;
}

int mounts_world(int (*inside)(void *env), void *env) {
  int status;
  if (unshare(CLONE_NEWPID) != 0) return refused();
  fflush(NULL);
  first_process = fork();
  if (first_process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool alone = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    int result = alone ? inside(env) : refused();
    fflush(NULL);
    _exit(result);
  }
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
  for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
    sigaction(numbers[n], &(struct sigaction){.sa_handler = on_end, .sa_flags = SA_RESTART}, NULL);
  if (first_process < 0 || waitpid(first_process, &status, 0) != first_process) return 2;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* ---- file systems ------------------------------------------------------------------------------------------------ */

static bool run(const char *program, const char *const words[]) {
  int status;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    execv(program, (char *const *)words);
    _exit(127);
  }
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

bool mounts_format(const char *image, size_t bytes) {
  int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool sized = ftruncate(fd, (off_t)bytes) == 0;
  close(fd);
  const char *const words[] = {"mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0",
                               image,       NULL};
  return sized && run(formatter(), words);
}

static void pause_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

/* The loop device's descriptor; it goes with its last user. Another process may take a free number first: once more. */
static int attach(int file_fd, const char *file, char device[32]) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;
  for (int tries = 0; control >= 0 && fd < 0 && tries < ATTACH_TRIES; tries++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) break;
    snprintf(device, 32, "/dev/loop%d", number);
    mknod(device, S_IFBLK | 0600, makedev(LOOP_MAJOR, (unsigned)number)); /* EEXIST is the rule */
    fd = open(device, O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (unsigned)file_fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    snprintf((char *)config.info.lo_file_name, sizeof config.info.lo_file_name, "%.60s", file);
    if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) == 0) continue;
    int error = errno;
    close(fd);
    fd = -1;
    errno = error;
    if (error != EBUSY) break;
    pause_ms(5);
  }
  if (control >= 0) close(control);
  return fd;
}

bool mounts_ext4(const char *file, int file_fd, const char *folder, const char *options, char why[128]) {
  char device[32];
  int fd = attach(file_fd, file, device);
  if (fd < 0) {
    snprintf(why, 128, "no loop device: %s", strerror(errno));
    return false;
  }
  bool mounted = mount(device, folder, "ext4", MS_NOATIME, options) == 0;
  if (!mounted) snprintf(why, 128, "ext4 on %s: %s", device, strerror(errno));
  close(fd);
  return mounted;
}

/* A process that was just reaped may hold its last file for a moment. */
bool mounts_leave(const char *folder) {
  for (int tries = 0; tries < LEAVE_TRIES; tries++) {
    if (umount2(folder, 0) == 0) return true;
    if (errno != EBUSY) return false;
    pause_ms(5);
  }
  return false;
}
