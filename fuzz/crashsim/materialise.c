/* materialise.c - see materialise.h. */
#include "materialise.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "choices.h"
#include "dice.h"
#include "prove.h"
#include "totals.h"
#include "workload.h"

enum {
  BATCH_STATES = 500,
  QUIET_STATES = 2,    /* of a moment with nothing pending */
  BARRIER_WEIGHT = 12, /* a moment just before a barrier has most to lose */
  GO_ON_PERCENT = 25,
  RECOVERY_EVERY = 150,
  RECOVERY_STATES = 24,
  HANG_SECONDS = 300,
  SAVED_MAX = 3,
};

typedef struct {
  const materialise_task *task;
  uint32_t *quota; /* states of each moment of the log */
  uint64_t total;
  bool save_only;
  image image;
} materialiser;

/* ---- how many, and where ------------------------------------------------------------------------------------------
 * */

static unsigned weight_of(const disk *d) {
  bool pending = false;
  for (uint32_t i = 0; i < d->pending_count && !pending; i++)
    pending = !d->log->file[d->log->events[d->pending[i].event].file].is_lock;
  if (!pending) return 0;
  bool before_barrier = d->at < d->log->count &&
                        (d->log->events[d->at].kind == EVENT_SYNC || d->log->events[d->at].kind == EVENT_DONE);
  return before_barrier ? BARRIER_WEIGHT : 1;
}

static void share_out(materialiser *m) {
  const materialise_task *t = m->task;
  disk d;
  uint64_t weights = 0, quiet = 0, seen = 0, share;
  m->quota = calloc(t->log->count + 1, sizeof *m->quota);
  if (!m->quota) give_up("no memory for a plan");
  disk_begin(&d, t->log, false, t->acknowledged, t->begun);
  for (uint64_t at = 0; at <= t->log->count; at++) {
    m->quota[at] = weight_of(&d);
    weights += m->quota[at];
    quiet += m->quota[at] == 0;
    if (at < t->log->count) disk_step(&d);
  }
  disk_end(&d);
  share = t->states > quiet * QUIET_STATES ? t->states - quiet * QUIET_STATES : 0;
  for (uint64_t at = 0; at <= t->log->count; at++) {
    uint64_t weight = m->quota[at], before = weights ? seen * share / weights : 0;
    seen += weight;
    m->quota[at] = weight ? (uint32_t)(seen * share / weights - before) : QUIET_STATES;
    m->total += m->quota[at];
  }
}

/* ---- a failing state ------------------------------------------------------------------------- */

static void save(const materialiser *m, disk *d, const crash_state *s, const expectation *e, uint64_t seed) {
  char path[PATH_MAX], below[PATH_MAX + 16];
  if (atomic_fetch_add(&totals->saved, 1) >= SAVED_MAX) return;
  snprintf(path, sizeof path, "%s/crashsim-failure.XXXXXX", m->task->keep);
  if (!mkdtemp(path)) give_up("%s cannot be made", path);
  image left;
  snprintf(below, sizeof below, "%s/image", path);
  image_begin(&left, below);
  image_set(&left, d, s);
  image_leave(&left);
  snprintf(below, sizeof below, "%s/expected", path);
  chronicle_save(e->chronicle, e->acknowledged, e->begun, below);
  snprintf(below, sizeof below, "%s/how", path);
  FILE *f = fopen(below, "w");
  if (!f || fprintf(f, "%" PRIu64 "\n%s\n", seed, totals->context) < 0 || fclose(f) != 0)
    give_up("%s cannot be written", below);
  printf("  it is left in %s: look again with crashsim --replay %s\n", path, path);
}

/* ---- one state ------------------------------------------------------------------------------- */

/* What the library did after the crash is a log as well. */
static void cut_recovery(const materialiser *m, const record_log *log, const chronicle *recovery, bool created,
                         uint64_t seed) {
  char scratch[PATH_MAX], context[sizeof totals->context + 16];
  snprintf(scratch, sizeof scratch, "%s/recovery", m->task->scratch);
  snprintf(context, sizeof context, "%s recovery", totals->context);
  if (mkdir(scratch, 0777) != 0 && errno != EEXIST) give_up("%s cannot be made", scratch);
  const materialise_task task = {.log = log,
                                 .chronicle = recovery,
                                 .acknowledged = created ? NO_STORE : 0,
                                 .begun = 0,
                                 .seed = seed,
                                 .states = RECOVERY_STATES,
                                 .scratch = scratch,
                                 .keep = m->task->keep,
                                 .context = context,
                                 .is_recovery = true};
  prove_log(log, recovery, task.acknowledged, task.begun);
  if (!enough_violations()) materialise(&task);
}

static void look_at(materialiser *m, disk *d, const crash_state *s, uint64_t seed) {
  char path[PATH_MAX];
  dice dice = {seed};
  bool cut = !m->task->is_recovery && dice_below(&dice, RECOVERY_EVERY) == 0;
  chronicle recovery;
  record_log log;
  const expectation e = {m->task->chronicle, d->acknowledged, d->begun};
  check_options options = {.go_on = cut || dice_chance(&dice, GO_ON_PERCENT),
                           .seed = seed,
                           .recovery = cut ? &recovery : NULL};
  snprintf(path, sizeof path, "%s/" STORE_NAME, m->image.root);
  if (m->save_only) {
    save(m, d, s, &e, seed);
    return;
  }
  image_set(&m->image, d, s);
  record_start(&log, m->image.root, !cut);
  bool good = check_store(path, &e, &options);
  record_stop();
  atomic_fetch_add(m->task->is_recovery ? &totals->recovery_states : &totals->states, 1);
  image_wrote(&m->image, &log);
  if (!good) save(m, d, s, &e, seed);
  else if (cut) cut_recovery(m, &log, &recovery, options.created, seed);
  if (cut) chronicle_free(&recovery);
  record_free(&log);
}

static void look_at_moment(materialiser *m, disk *d, uint64_t number, uint64_t first, uint64_t end) {
  choices c;
  choices_begin(&c, d, seed_of(m->task->seed, d->at));
  for (uint64_t i = 0; i < m->quota[d->at] && number + i < end && !enough_violations(); i++) {
    crash_state s;
    if (number + i < first) continue;
    choices_make(&c, i, &s);
    if (!m->task->is_recovery) {
      atomic_store(&totals->state, number + i);
      alarm(HANG_SECONDS);
    }
    violation_context("%s event %" PRIu64 " state %" PRIu64, m->task->context, d->at, i);
    look_at(m, d, &s, seed_of(c.seed, i + 1000000));
  }
  choices_end(&c);
}

static void look_at_states(materialiser *m, uint64_t first, uint64_t end) {
  char root[400];
  const materialise_task *t = m->task;
  disk d;
  snprintf(root, sizeof root, "%s/image", t->scratch);
  remove_all(root);
  image_begin(&m->image, root);
  disk_begin(&d, t->log, false, t->acknowledged, t->begun);
  for (uint64_t number = 0; number < end && !enough_violations(); disk_step(&d)) {
    if (number + m->quota[d.at] > first) look_at_moment(m, &d, number, first, end);
    number += m->quota[d.at];
    if (d.at == t->log->count) break;
  }
  disk_end(&d);
  image_end(&m->image);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int in_a_child(materialiser *m, uint64_t first, uint64_t end) {
  int status;
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) give_up("no process to be had");
  if (child == 0) {
    look_at_states(m, first, end);
    fflush(stdout);
    _exit(0);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

static void look_at_all(materialiser *m) {
  for (uint64_t first = 0; first < m->total && !enough_violations();) {
    uint64_t end = first + BATCH_STATES < m->total ? first + BATCH_STATES : m->total;
    int status = in_a_child(m, first, end);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      first = end;
      continue;
    }
    if (WIFEXITED(status)) exit(WEXITSTATUS(status)); /* it could not go on and has said why */
    first = atomic_load(&totals->state);
    violation("the library ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    m->save_only = true;
    in_a_child(m, first, first + 1);
    m->save_only = false;
    first++;
  }
}

void materialise(const materialise_task *t) {
  materialiser m = {.task = t};
  share_out(&m);
  if (t->is_recovery) look_at_states(&m, 0, m.total);
  else look_at_all(&m);
  free(m.quota);
}

void materialise_replay(const char *path, const char *scratch) {
  char from[PATH_MAX], to[PATH_MAX], context[200] = "";
  uint64_t seed;
  chronicle c;
  expectation e = {.chronicle = &c};
  snprintf(from, sizeof from, "%s/how", path);
  FILE *f = fopen(from, "r");
  if (!f || fscanf(f, "%" SCNu64 " %199[^\n]", &seed, context) != 2)
    give_up("%s cannot be read: is it what a failing state left?", from);
  fclose(f);
  violation_context("replay of %s", context);
  snprintf(from, sizeof from, "%s/expected", path);
  chronicle_load(&c, &e.acknowledged, &e.begun, from);
  snprintf(from, sizeof from, "%s/image", path);
  snprintf(to, sizeof to, "%s/image", scratch);
  image_copy(from, to);
  snprintf(to, sizeof to, "%s/image/" STORE_NAME, scratch);
  atomic_fetch_add(&totals->states, 1);
  bool good = check_store(to, &e, &(check_options){.go_on = true, .seed = seed});
  printf("%s: %s\n", context, good ? "as it must be" : "fails again");
  chronicle_free(&c);
}
