/* round.c - victims, witnesses and what is kept for a replay; see round.h. */
#include "round.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/support/actor.h"
#include "fuzz/support/witness.h"

enum { STEPS_MAX = 100000, UNSUPPORTED = 71 };

static bool failed(victim_store *v, const char *who, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == LEDGER_BROKEN)
    snprintf(v->text, sizeof v->text, "%s: %s", who, v->ledger->text);
  else if (WIFSIGNALED(status))
    snprintf(v->text, sizeof v->text, "%s ended by signal %d (%s)", who, WTERMSIG(status), strsignal(WTERMSIG(status)));
  else snprintf(v->text, sizeof v->text, "%s ended with status %d", who, WEXITSTATUS(status));
  return false;
}

static pid_t start(void) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return child;
}

static bool finished(victim_store *v, const char *who, pid_t child) {
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    snprintf(v->text, sizeof v->text, "%s could not be started: %s", who, strerror(errno));
    return false;
  }
  return status == 0 || failed(v, who, status);
}

/* ---- a store and its file of facts ------------------------------------------------------------------------------- */

static bool new_facts(victim_store *v, const char *folder) {
  snprintf(v->folder, sizeof v->folder, "%s", folder);
  if (snprintf(v->path, sizeof v->path, "%s/store", folder) >= (int)sizeof v->path) return false;
  v->base = malloc(sizeof *v->base);
  v->ledger = ledger_new();
  return v->base && v->ledger;
}

bool round_open(victim_store *v, const char *folder, uint64_t seed) {
  if (!new_facts(v, folder)) return false;
  script_begin(v->base, seed);
  return true;
}

void round_close(victim_store *v, bool keep) {
  if (!keep) folder_remove(v->folder);
  free(v->base);
  munmap(v->ledger, sizeof *v->ledger);
}

static void save(const victim_store *v) {
  char path[FOLDER_PATH_MAX + 8];
  snprintf(path, sizeof path, "%s/facts", v->folder);
  FILE *f = fopen(path, "w");
  if (!f) return;
  fprintf(f, "seed=%llu base=%llu acknowledged=%llu begun=%llu made=%d\n", (unsigned long long)v->base->seed,
          (unsigned long long)v->base->step, (unsigned long long)atomic_load(&v->ledger->acknowledged),
          (unsigned long long)atomic_load(&v->ledger->begun), atomic_load(&v->ledger->made));
  fclose(f);
}

bool round_load(victim_store *v, const char *folder) {
  char path[FOLDER_PATH_MAX + 8];
  unsigned long long seed, base, acknowledged, begun;
  int made;
  snprintf(path, sizeof path, "%s/facts", folder);
  FILE *f = fopen(path, "r");
  int got = f ? fscanf(f, "seed=%llu base=%llu acknowledged=%llu begun=%llu made=%d", &seed, &base, &acknowledged,
                       &begun, &made)
              : 0;
  if (f) fclose(f);
  if (got != 5 || !new_facts(v, folder)) return false;
  script_begin(v->base, seed);
  script_plan plan;
  while (v->base->step < base) script_step(v->base, &plan);
  atomic_store(&v->ledger->acknowledged, acknowledged);
  atomic_store(&v->ledger->begun, begun);
  atomic_store(&v->ledger->made, made != 0);
  return true;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

_Noreturn static void victim(victim_store *v, int gate, const pagestore_options *options) {
  char byte;
  if (read(gate, &byte, 1) != 1) _exit(2);
  actor *a = actor_start(v->path, v->base, v->ledger, options);
  atomic_store(&v->ledger->ready, true);
  for (int n = 0; n < STEPS_MAX; n++) actor_step(a);
  ledger_broken(v->ledger, "%d steps and no kill", STEPS_MAX);
}

bool round_kill(victim_store *v, const kill_plan *plan, const pagestore_options *options, kill_outcome *out) {
  int gate[2];
  atomic_store(&v->ledger->ready, false);
  if (pipe(gate) < 0) return false;
  pid_t child = start();
  if (child == 0) {
    close(gate[1]);
    victim(v, gate[0], options);
  }
  close(gate[0]);
  *out = kill_run(plan, child, gate[1], v->ledger);
  close(gate[1]);
  return out->killed || failed(v, "victim", out->status);
}

bool round_witness(victim_store *v, uint32_t flags) {
  save(v);
  pid_t child = start();
  if (child == 0) {
    witness_look(v->path, v->base, v->ledger, flags);
    _exit(0);
  }
  if (!finished(v, "witness", child)) return false;
  script_plan plan;
  while (v->base->step < v->ledger->found) script_step(v->base, &plan);
  atomic_store(&v->ledger->begun, v->base->step);
  atomic_store(&v->ledger->acknowledged, v->base->step);
  return true;
}

bool round_go_on(victim_store *v, uint32_t steps) {
  pid_t child = start();
  if (child == 0) {
    actor *a = actor_start(v->path, v->base, v->ledger, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_VERIFY));
    while (steps--) actor_step(a);
    actor_end(a);
    _exit(0);
  }
  return finished(v, "writer", child) && round_witness(v, PAGESTORE_VERIFY);
}

bool round_empty(victim_store *v) {
  pid_t child = start();
  if (child == 0) {
    actor_empty(actor_start(v->path, v->base, v->ledger, PAGESTORE_WITH(pagestore_options, .flags = 0)));
    _exit(0);
  }
  if (!finished(v, "deleter", child)) return false;
  if ((child = start()) == 0) {
    witness_look_empty(v->path, v->ledger);
    _exit(0);
  }
  return finished(v, "witness", child);
}

bool round_supports(victim_store *v, pagestore_tracker tracker) {
  pid_t child = start();
  if (child == 0) {
    pagestore_store *store;
    const pagestore_options *options = PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .tracker = tracker);
    int status = pagestore_open(v->path, options, &store);
    _exit(status == 0 ? 0 : status == PAGESTORE_EUNSUPPORTED ? UNSUPPORTED : 1);
  }
  return finished(v, "trial", child);
}
