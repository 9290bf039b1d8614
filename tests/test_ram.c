/* test_ram.c - a memory larger than all the memory there is.
 *
 * ctest: LABELS plain
 * ctest: TIMEOUT 300
 *
 * A child in a control group of 160 MiB without swap works on a memory of 512 MiB with default options: it fills it in messages, then
 * one message reads all of it and writes a part, and it is opened again and compared. The kernel ends a process that goes over the
 * limit, so the child's exit status is the proof. Skipped where groups cannot be made (not root, not mounted).
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "base/ram.h"
#include "base/units.h"
#include "host_fixture.h"

enum { GROUP_MIB = 160, PAGES = 8192, MESSAGE_PAGES = 64, WRITTEN_EACH = 64 };

static char group[300];

static bool group_write(const char *file, const char *text) {
  char path[400];
  snprintf(path, sizeof path, "%s/%s", group, file);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  close(fd);
  return done;
}

/* Of version 1 or 2, whichever has the controller. */
static bool group_make(void) {
  char limit[32];
  snprintf(limit, sizeof limit, "%d", GROUP_MIB << 20);
  const char *const folders[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup" };
  const char *const files[] = { "memory.limit_in_bytes", "memory.max" };
  for (int i = 0; i < 2; i++) {
    snprintf(group, sizeof group, "%s/pagestore-test-%d", folders[i], (int)getpid());
    if (mkdir(group, 0755) != 0) continue;
    (void)group_write("memory.swap.max", "0");
    if (group_write(files[i], limit)) return true;
    rmdir(group);
  }
  return false;
}

static uint64_t word_of(uint64_t page, uint64_t tag) { return (page + 1) * 0x9E3779B97F4A7C15ull + tag; }

static void fill(host *h, uint64_t page, uint64_t tag) {
  for (uint64_t at = 0; at < PAGE_BYTES; at += BLOCK_BYTES) {
    uint64_t word = word_of(page, tag + at);
    memcpy(h->base + page * PAGE_BYTES + at, &word, sizeof word);
  }
}

static bool is_there(const host *h, uint64_t page, uint64_t tag) {
  uint64_t word;
  for (uint64_t at = 0; at < PAGE_BYTES; at += BLOCK_BYTES) {
    memcpy(&word, h->base + page * PAGE_BYTES + at, sizeof word);
    if (word != word_of(page, tag + at)) return false;
  }
  return true;
}

/* In the child: what differs, or 0. */
static int work_in_little(host *h) {
  char pid[32];
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  if (!group_write("cgroup.procs", pid)) return 10;
  if (ram_bytes() != (uint64_t)GROUP_MIB << 20) return 11;
  host_open(h, PAGES);
  for (uint64_t page = 0; page < PAGES; page++) {
    fill(h, page, 1);
    if (page % MESSAGE_PAGES == MESSAGE_PAGES - 1) host_commit(h);
  }
  for (uint64_t page = 0; page < PAGES; page++) {
    if (!is_there(h, page, 1)) return 12;
    if (page % WRITTEN_EACH == 5) fill(h, page, 2);
  }
  host_commit(h);
  if (host_close(h) != 0) return 13;
  host_open(h, 0);
  for (uint64_t page = 0; page < PAGES; page++)
    if (!is_there(h, page, page % WRITTEN_EACH == 5 ? 2 : 1)) return 14;
  return host_close(h) == 0 ? 0 : 15;
}

static void larger_than_all_memory(void **state) {
  (void)state;
  if (!group_make()) {
    print_message("control groups cannot be made here\n");
    skip();
  }
  host h = {0};
  folder_make(&h);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) _exit(work_in_little(&h));
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(rmdir(group), 0);
  folder_remove(&h);
  if (WIFSIGNALED(status)) fail_msg("ended by signal %d", WTERMSIG(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static void memory_is_no_more_than_the_machines(void **state) {
  (void)state;
  uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  assert_true(ram_bytes() > 0 && ram_bytes() <= machine);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(larger_than_all_memory),
    cmocka_unit_test(memory_is_no_more_than_the_machines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
