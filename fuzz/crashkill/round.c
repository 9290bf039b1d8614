/* round.c - a victim, its end, and what is kept for a replay; see round.h. */
#include "round.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/support/actor.h"

enum { STEPS_MAX = 100000, UNSUPPORTED = 71 };

/* ---- a store and its facts -------------------------------------------------------------------------------------- */

bool round_open(victim_store *v, const char *folder, uint64_t seed) {
  char path[FOLDER_PATH_MAX];
  snprintf(v->folder, sizeof v->folder, "%s", folder);
  return snprintf(path, sizeof path, "%s/store", folder) < (int)sizeof path && trial_begin(&v->trial, path, seed);
}

void round_close(victim_store *v, bool keep) {
  if (!keep) folder_remove(v->folder);
  trial_end(&v->trial);
}

static void save(const victim_store *v) {
  char path[FOLDER_PATH_MAX + 8];
  const ledger *l = v->trial.ledger;
  snprintf(path, sizeof path, "%s/facts", v->folder);
  FILE *f = fopen(path, "w");
  if (!f) return;
  fprintf(f, "seed=%llu base=%llu acknowledged=%llu begun=%llu made=%d\n", (unsigned long long)v->trial.base->seed,
          (unsigned long long)v->trial.base->step, (unsigned long long)atomic_load(&l->acknowledged),
          (unsigned long long)atomic_load(&l->begun), atomic_load(&l->made));
  fclose(f);
}

bool round_load(victim_store *v, const char *folder) {
  char path[FOLDER_PATH_MAX + 8];
  unsigned long long seed, base, acknowledged, begun;
  int made;
  snprintf(path, sizeof path, "%s/facts", folder);
  FILE *f = fopen(path, "r");
  if (!f) return false;
  int got = fscanf(f, "seed=%llu base=%llu acknowledged=%llu begun=%llu made=%d", &seed, &base, &acknowledged, &begun,
                   &made);
  fclose(f);
  if (got != 5 || !round_open(v, folder, seed)) return false;
  script_plan plan;
  while (v->trial.base->step < base) script_step(v->trial.base, &plan);
  atomic_store(&v->trial.ledger->acknowledged, acknowledged);
  atomic_store(&v->trial.ledger->begun, begun);
  atomic_store(&v->trial.ledger->made, made != 0);
  return true;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

_Noreturn static void victim(trial *t, int gate, const pagestore_options *options) {
  char byte;
  if (read(gate, &byte, 1) != 1) _exit(2);
  actor *a = actor_start(t->path, t->base, t->ledger, options);
  atomic_store(&t->ledger->ready, true);
  for (int n = 0; n < STEPS_MAX; n++) actor_step(a);
  ledger_broken(t->ledger, "%d steps and no kill", STEPS_MAX);
}

bool round_kill(victim_store *v, const kill_plan *plan, const pagestore_options *options, kill_outcome *out) {
  int gate[2];
  atomic_store(&v->trial.ledger->ready, false);
  if (pipe(gate) < 0) return false;
  pid_t child = trial_start();
  if (child == 0) {
    close(gate[1]);
    victim(&v->trial, gate[0], options);
  }
  close(gate[0]);
  *out = kill_run(plan, child, gate[1], v->trial.ledger);
  close(gate[1]);
  return out->killed || trial_failed(&v->trial, "victim", out->status);
}

bool round_witness(victim_store *v) {
  save(v);
  return trial_witness(&v->trial, 0);
}

bool round_supports(victim_store *v, pagestore_tracker tracker) {
  pid_t child = trial_start();
  if (child == 0) {
    pagestore_store *store;
    const pagestore_options *options = PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .tracker = tracker);
    int status = pagestore_open(v->trial.path, options, &store);
    _exit(status == 0 ? 0 : status == PAGESTORE_EUNSUPPORTED ? UNSUPPORTED : 1);
  }
  return trial_finished(&v->trial, "trial", child);
}
