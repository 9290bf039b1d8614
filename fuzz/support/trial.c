/* trial.c - processes for one store, and what became of them; see trial.h. */
#include "fuzz/support/trial.h"

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

bool trial_begin(trial *t, const char *path, uint64_t seed) {
  snprintf(t->path, sizeof t->path, "%s", path);
  t->base = malloc(sizeof *t->base);
  t->ledger = ledger_new();
  if (!t->base || !t->ledger) return false;
  script_begin(t->base, seed);
  return true;
}

void trial_end(trial *t) {
  free(t->base);
  munmap(t->ledger, sizeof *t->ledger);
}

pid_t trial_start(void) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return child;
}

bool trial_failed(trial *t, const char *who, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == LEDGER_BROKEN)
    snprintf(t->text, sizeof t->text, "%s: %s", who, t->ledger->text);
  else if (WIFSIGNALED(status))
    snprintf(t->text, sizeof t->text, "%s ended by signal %d (%s)", who, WTERMSIG(status), strsignal(WTERMSIG(status)));
  else snprintf(t->text, sizeof t->text, "%s ended with status %d", who, WEXITSTATUS(status));
  return false;
}

bool trial_finished(trial *t, const char *who, pid_t child) {
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    snprintf(t->text, sizeof t->text, "%s could not be started: %s", who, strerror(errno));
    return false;
  }
  return status == 0 || trial_failed(t, who, status);
}

bool trial_witness(trial *t, uint32_t flags) {
  pid_t child = trial_start();
  if (child == 0) {
    witness_look(t->path, t->base, t->ledger, flags);
    _exit(0);
  }
  if (!trial_finished(t, "witness", child)) return false;
  script_plan plan;
  while (t->base->step < t->ledger->found) script_step(t->base, &plan);
  atomic_store(&t->ledger->begun, t->base->step);
  atomic_store(&t->ledger->acknowledged, t->base->step);
  return true;
}

bool trial_go_on(trial *t, uint32_t steps) {
  pid_t child = trial_start();
  if (child == 0) {
    actor *a = actor_start(t->path, t->base, t->ledger, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_VERIFY));
    while (steps--) actor_step(a);
    actor_end(a);
    _exit(0);
  }
  return trial_finished(t, "writer", child) && trial_witness(t, PAGESTORE_VERIFY);
}

/* The first process ends without closing the store: what it left of the trash is the second one's. */
bool trial_empty(trial *t) {
  const pagestore_options *defaults = PAGESTORE_WITH(pagestore_options, .flags = 0);
  pid_t child = trial_start();
  if (child == 0) {
    actor_delete_all(actor_start(t->path, t->base, t->ledger, defaults));
    _exit(0);
  }
  if (!trial_finished(t, "deleter", child)) return false;
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++) t->base->instance[i].exists = false;
  if ((child = trial_start()) == 0) {
    actor *a = actor_start(t->path, t->base, t->ledger, defaults);
    actor_wait_for_trash(a);
    actor_end(a);
    _exit(0);
  }
  if (!trial_finished(t, "successor of the deleter", child)) return false;
  if ((child = trial_start()) == 0) {
    witness_look_empty(t->path, t->ledger);
    _exit(0);
  }
  return trial_finished(t, "witness", child);
}
