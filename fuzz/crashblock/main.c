/* main.c - crashblock: power cuts below the file system. A store on ext4 on a loop device on a disk that remembers
 * each write and each flush; afterwards the disk is made as a cut would have left it, ext4 replays its journal, and
 * the store must hold what was acknowledged, and nothing in part.
 *
 *   crashblock [--steps N] [--states N] [--seed S] [--verbose]
 *   crashblock --ignore-flushes ...       the disk lies about its flushes: violations must be found
 *
 * Needs root, FUSE and loop devices; leaves no mount and no device, however it ends. A state that is not as it must
 * be is kept as an image, which can be mounted by hand (not with --ignore-flushes).
 *
 * The last line:
 *   crashblock: writes=W flushes=F states=N violations=0 seed=S
 * Exit: 0 no violations; 1 some; 77 it cannot be done here, the reason is the last line; 2 usage, or the
 * disk itself failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cuts.h"
#include "fuzz/support/actor.h"
#include "fuzz/support/trial.h"
#include "mounts.h"

enum { DISK_BYTES = 160 << 20, STEPS_DEFAULT = 150, STATES_DEFAULT = 240, STEPS_A_SESSION = 30, STEPS_AFTER = 3 };
enum { SKIPPED = 77, BROKEN = 2, VIOLATIONS_MAX = 5 };

typedef struct {
  char folder[FOLDER_PATH_MAX];
  char image[FOLDER_PATH_MAX], disk[FOLDER_PATH_MAX], work[FOLDER_PATH_MAX], check[FOLDER_PATH_MAX];
  char store[FOLDER_PATH_MAX], checked_store[FOLDER_PATH_MAX];
  uint64_t seed, steps, states_wanted;
  bool ignores_flushes, verbose;
  disk_log *log;
  int written_fd;
  uint64_t states, violations, by_kind[CUT_KINDS], newer, pending_max;
} run;

static int broken(const char *what, const char *why) {
  printf("crashblock: %s: %s\n", what, why);
  return BROKEN;
}

/* Before anything was tried: the machine lacks it. */
static int not_run(const char *what, const char *why) {
  printf("crashblock: not run: %s: %s\n", what, why);
  return SKIPPED;
}

/* ---- recording --------------------------------------------------------------------------------------------------- */

/* Processes that write one after the other, each to a clean end. */
static bool work(run *r, trial *t) {
  script_plan plan;
  while (t->base->step < r->steps) {
    pid_t child = trial_start();
    if (child == 0) {
      actor *a = actor_start(t->path, t->base, t->ledger, PAGESTORE_WITH(pagestore_options, .queue_bytes = 8 << 20));
      for (int n = 0; n < STEPS_A_SESSION; n++) actor_step(a);
      actor_end(a);
      _exit(0);
    }
    if (!trial_finished(t, "writer", child)) return false;
    while (t->base->step < atomic_load(&t->ledger->acknowledged)) script_step(t->base, &plan);
  }
  return true;
}

static int work_on_disk(run *r, trial *t) {
  char file[FOLDER_PATH_MAX + 8], why[128];
  snprintf(file, sizeof file, "%s/disk", r->disk);
  int fd = open(file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return broken(file, strerror(errno));
  bool mounted = mounts_ext4("disk", fd, r->work, "", why);
  close(fd);
  if (!mounted) return not_run("the disk cannot be mounted", why);
  bool worked = work(r, t);
  if (!mounts_leave(r->work)) return broken("leaving ext4", strerror(errno));
  return worked ? 0 : broken("the workload", t->text);
}

static int record(run *r) {
  trial t;
  pid_t server;
  int status;
  if (!mounts_format(r->image, DISK_BYTES)) return broken(r->image, "mkfs.ext4 failed");
  r->log = disk_log_new();
  r->written_fd = open(r->folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
  if (!r->log || r->written_fd < 0 || !trial_begin(&t, r->store, r->seed)) return broken("the log", strerror(errno));
  const char *refused = disk_serve(r->disk, r->image, r->written_fd, r->log, t.ledger, &server);
  if (refused) return not_run(r->disk, refused);
  int result = work_on_disk(r, &t);
  if (!mounts_leave(r->disk) && !result) result = broken("leaving the disk", strerror(errno));
  if (waitpid(server, &status, 0) != server || status != 0) result = broken("the disk", "its server failed");
  if (atomic_load(&r->log->failure)) result = broken("the log", strerror(atomic_load(&r->log->failure)));
  trial_end(&t);
  return result;
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

typedef struct {
  cuts cuts;
  trial trial;
  script *floor; /* at the step that was acknowledged at the cut */
  int state_fd;
  uint8_t *state; /* the image that is mounted: memory, as large as the disk */
} judge;

static bool judge_begin(run *r, judge *j) {
  j->state_fd = memfd_create("crashblock", MFD_CLOEXEC);
  j->floor = malloc(sizeof *j->floor);
  if (j->state_fd < 0 || !j->floor || ftruncate(j->state_fd, DISK_BYTES) != 0) return false;
  j->state = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, j->state_fd, 0);
  if (j->state == MAP_FAILED || !trial_begin(&j->trial, r->checked_store, r->seed)) return false;
  script_begin(j->floor, r->seed);
  return cuts_begin(&j->cuts, r->log, r->written_fd, r->image, r->ignores_flushes);
}

static void judge_end(judge *j) {
  cuts_end(&j->cuts);
  trial_end(&j->trial);
  free(j->floor);
  munmap(j->state, DISK_BYTES);
  close(j->state_fd);
}

static void set_ledger(judge *j, const disk_event *e) {
  script_plan plan;
  while (j->floor->step < e->acknowledged) script_step(j->floor, &plan);
  *j->trial.base = *j->floor;
  atomic_store(&j->trial.ledger->acknowledged, e->acknowledged);
  atomic_store(&j->trial.ledger->begun, e->begun);
  atomic_store(&j->trial.ledger->made, e->made);
}

/* Looks, goes on, looks again. */
static bool look(run *r, judge *j, const disk_event *e) {
  char why[128];
  set_ledger(j, e);
  if (!mounts_ext4("state", j->state_fd, r->check, "", why)) {
    snprintf(j->trial.text, sizeof j->trial.text, "%s", why);
    return false;
  }
  bool well = trial_witness(&j->trial, PAGESTORE_VERIFY);
  r->newer += well && j->trial.base->step > e->acknowledged;
  well = well && trial_go_on(&j->trial, STEPS_AFTER);
  if (!mounts_leave(r->check)) exit(broken("leaving a state", strerror(errno)));
  return well;
}

/* Made once more, since the look has changed it. Without its zeros: a hole reads as they do. */
static bool write_image(const char *path, const uint8_t *bytes) {
  static const uint8_t zeros[4096];
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool well = fd >= 0 && ftruncate(fd, DISK_BYTES) == 0;
  for (size_t at = 0; well && at < DISK_BYTES; at += sizeof zeros)
    if (memcmp(bytes + at, zeros, sizeof zeros) != 0)
      well = pwrite(fd, bytes + at, sizeof zeros, (off_t)at) == (ssize_t)sizeof zeros;
  if (fd >= 0) well = close(fd) == 0 && well;
  return well;
}

static void keep(run *r, judge *j, cut_kind kind, script_dice again) {
  char path[FOLDER_PATH_MAX + 32];
  snprintf(path, sizeof path, "%s/violation-%llu.ext4", r->folder, (unsigned long long)r->violations);
  cuts_make(&j->cuts, kind, &again, j->state);
  printf("  the disk %s %s\n", write_image(path, j->state) ? "is left in" : "could not be kept in", path);
}

static void judge_state(run *r, judge *j, uint64_t number, uint64_t event) {
  const disk_event *e = &r->log->event[event];
  script_dice d = script_dice_for(r->seed, number), again;
  cut_kind kind = (cut_kind)(number % CUT_KINDS);
  cuts_move(&j->cuts, event);
  uint64_t pending = cuts_pending_blocks(&j->cuts);
  if (pending > r->pending_max) r->pending_max = pending;
  again = d;
  cuts_make(&j->cuts, kind, &d, j->state);
  bool well = look(r, j, e);
  r->states++;
  r->by_kind[kind]++;
  if (r->verbose || !well)
    printf("state %llu: cut before event %llu, %s of %llu blocks; acknowledged %llu, begun %llu%s%s\n",
           (unsigned long long)number, (unsigned long long)event, cut_name[kind], (unsigned long long)pending,
           (unsigned long long)e->acknowledged, (unsigned long long)e->begun, well ? "" : ": ",
           well ? "" : j->trial.text);
  if (well) return;
  r->violations++;
  if (!r->ignores_flushes) keep(r, j, kind, again);
}

/* Cuts are spread evenly over the events; two of three are moved on to the next flush, where most is pending. */
static int judge_states(run *r) {
  static judge j;
  script_dice d = script_dice_for(r->seed, ~0ull);
  uint64_t events = atomic_load(&r->log->count), event = 0;
  if (events == 0 || !judge_begin(r, &j)) return broken("the states", strerror(errno));
  for (uint64_t n = 0; n < r->states_wanted && r->violations < VIOLATIONS_MAX; n++) {
    uint64_t share = n * events / r->states_wanted;
    if (event < share) event = share;
    if (script_chance(&d, 67))
      while (r->log->event[event].kind == DISK_WRITE) event++;
    judge_state(r, &j, n, event);
  }
  judge_end(&j);
  return 0;
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

/* A log without writes or flushes proves nothing. */
static int verdict(const run *r) {
  uint64_t of_kind[DISK_END + 1] = {0}, events = atomic_load(&r->log->count);
  for (uint64_t n = 0; n < events; n++) of_kind[r->log->event[n].kind]++;
  printf("steps=%llu, bytes written=%llu, pending blocks at most %llu, found newer than acknowledged: %llu; states:",
         (unsigned long long)r->steps, (unsigned long long)atomic_load(&r->log->written),
         (unsigned long long)r->pending_max, (unsigned long long)r->newer);
  for (int k = 0; k < CUT_KINDS; k++) printf(" %s=%llu", cut_name[k], (unsigned long long)r->by_kind[k]);
  printf("\ncrashblock: writes=%llu flushes=%llu states=%llu violations=%llu seed=%llu\n",
         (unsigned long long)of_kind[DISK_WRITE], (unsigned long long)of_kind[DISK_FLUSH],
         (unsigned long long)r->states, (unsigned long long)r->violations, (unsigned long long)r->seed);
  return r->violations || r->states == 0 || of_kind[DISK_WRITE] == 0 || of_kind[DISK_FLUSH] == 0;
}

static int inside(void *env) {
  run *r = env;
  int result = record(r);
  if (!result) result = judge_states(r);
  return result ? result : verdict(r);
}

static void name_folders(run *r) {
  static const char *const names[] = {"disk", "work", "check"};
  char *const paths[] = {r->disk, r->work, r->check};
  folder_new(r->folder, "crashblock");
  for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
    snprintf(paths[n], FOLDER_PATH_MAX, "%.4000s/%s", r->folder, names[n]);
    mkdir(paths[n], 0700);
  }
  snprintf(r->image, sizeof r->image, "%.4000s/image", r->folder);
  snprintf(r->store, sizeof r->store, "%.4000s/store", r->work);
  snprintf(r->checked_store, sizeof r->checked_store, "%.4000s/store", r->check);
}

int main(int argc, char **argv) {
  static run r = {.steps = STEPS_DEFAULT, .states_wanted = STATES_DEFAULT};
  r.seed = (uint64_t)time(NULL) % 1000000 * 1000 + (uint64_t)getpid() % 1000;
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strcmp(argv[i], "--ignore-flushes") == 0) r.ignores_flushes = true;
    else if (strcmp(argv[i], "--verbose") == 0) r.verbose = true;
    else if (value && strcmp(argv[i], "--steps") == 0) r.steps = strtoull(argv[++i], NULL, 10);
    else if (value && strcmp(argv[i], "--states") == 0) r.states_wanted = strtoull(argv[++i], NULL, 10);
    else if (value && strcmp(argv[i], "--seed") == 0) r.seed = strtoull(argv[++i], NULL, 10);
    else
      return fprintf(stderr, "usage: crashblock [--steps N] [--states N] [--seed S] [--ignore-flushes] [--verbose]\n"),
             2;
  }
  const char *refused = mounts_refused();
  if (refused) return not_run("this machine", refused);
  name_folders(&r);
  printf("crashblock: seed=%llu steps=%llu states=%llu\n", (unsigned long long)r.seed, (unsigned long long)r.steps,
         (unsigned long long)r.states_wanted);
  int result = mounts_world(inside, &r);
  if (result != 1 || r.ignores_flushes) folder_remove(r.folder);
  return result;
}
