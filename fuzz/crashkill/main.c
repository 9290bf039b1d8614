/* main.c - crashkill: processes that write a store are killed by SIGKILL, again and again; nothing that was
 * acknowledged may be lost, nothing may be there in part.
 *
 *   crashkill [--kills N] [--seed S]    1,000 kills; a seed from the clock. --verbose: a line for each
 *   crashkill --replay FOLDER           looks again at a store that a failing round has left
 *
 * Expected is not what the store says but what the script says (support/script.h); what was begun and acknowledged
 * lies in memory that the victim shares with its parent (support/ledger.h). Each store takes many kills: while it
 * is made, while it is opened, and at work; after each a fresh process compares every byte, and the next victim
 * goes on. In the end the store must give back all that it holds.
 *
 * The last line:
 *   crashkill: kills=N (random=A syscall=B handler=C flusher=D) acknowledged=STEPS losses=0 seed=S
 * losses counts every round in which anything was not as it must be.
 * Exit: 0 no losses, and every kind of kill happened; 1 else; 77 no losses, but a kind cannot be done here; 2 usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "round.h"

enum { KILLS_DEFAULT = 1000, KILLS_A_STORE = 25, MAKING_KILLS = 2, LOSSES_MAX = 5, STEPS_AFTER = 15 };

typedef struct {
  const char *program;
  char folder[FOLDER_PATH_MAX];
  uint64_t seed, kills_wanted;
  const char *refused; /* why nothing can be traced */
  pagestore_tracker trackers[4];
  uint32_t tracker_count;

  uint64_t kills, by_kind[KILL_KINDS], by_tracker[4];
  uint64_t acknowledged, newer, trash, making, opening, stores, losses;
  uint64_t undone[STEP_SORTS]; /* begun, and nothing of it there: the first such step of each kill */
  bool verbose;
} run;

static const char *const tracker_name[] = {"auto", "scan", "fault", "mprotect"};

/* ---- what a kill is ---------------------------------------------------------------------------------------------- */

/* Between 1 and most; small numbers as often as large ones. */
static uint64_t spread(script_dice *d, uint32_t bits_max) {
  uint64_t bits = script_below(d, bits_max) + 1;
  return 1 + script_below(d, 1ull << bits);
}

/* What happened least so far. */
static kill_kind next_kind(const run *r, bool from_start) {
  kill_kind least = KILL_RANDOM;
  for (int k = 0; k < KILL_KINDS && !r->refused; k++) {
    if (from_start && k >= KILL_HANDLER) break;
    if (r->by_kind[k] < r->by_kind[least]) least = (kill_kind)k;
  }
  return least;
}

static kill_plan new_plan(const run *r, script_dice *d, bool making) {
  kill_plan p = {.from_start = making || script_chance(d, 10)};
  p.kind = next_kind(r, p.from_start);
  p.after = script_chance(d, 50);
  p.disk_calls = script_chance(d, 50);
  switch (p.kind) {
  case KILL_RANDOM: p.nth = p.from_start ? script_below(d, 12000) : spread(d, 18); break;
  case KILL_SYSCALL:
    p.nth = making ? 1 + script_below(d, p.disk_calls ? 45 : 160) : spread(d, p.disk_calls ? 9 : 12);
    break;
  case KILL_FLUSHER: p.nth = spread(d, p.disk_calls ? 9 : 11); break;
  default:
    p.nth = spread(d, 6);
    if (script_chance(d, 60)) p.instructions = (uint32_t)spread(d, 13);
    else p.calls = 1 + (uint32_t)script_below(d, 10);
  }
  return p;
}

static pagestore_options new_options(const run *r, script_dice *d) {
  return (pagestore_options){
      .tracker = r->trackers[script_below(d, r->tracker_count)],
      .queue_bytes = script_chance(d, 50) ? 1 << 20 : 0,
      .resident_bytes = script_chance(d, 50) ? 1 << 20 : 0,
      .log_bytes = script_chance(d, 50) ? script_below(d, 2) << 20 | 1 : script_chance(d, 30) ? PAGESTORE_NO_LOG : 0,
  };
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static bool report(run *r, const victim_store *v, const char *what) {
  r->losses++;
  printf("%s\n  %s\n  the store is left in %s; again: %s --replay %s\n  the whole run: %s --seed %llu --kills %llu\n",
         what, v->trial.text, v->folder, r->program, v->folder, r->program, (unsigned long long)r->seed,
         (unsigned long long)r->kills_wanted);
  return false;
}

static void count(run *r, const victim_store *v, const kill_plan *plan, const pagestore_options *options, bool made) {
  uint64_t acknowledged = atomic_load(&v->trial.ledger->acknowledged);
  r->kills++;
  r->by_kind[plan->kind]++;
  r->by_tracker[options->tracker]++;
  r->making += !made;
  r->opening += made && !atomic_load(&v->trial.ledger->ready);
  r->acknowledged += acknowledged - v->trial.base->step;
}

static void count_undone(run *r, const script *found) {
  static script s;
  script_plan plan;
  s = *found;
  script_step(&s, &plan);
  r->undone[script_sort_of(&plan)]++;
}

static bool one_kill(run *r, victim_store *v) {
  script_dice d = script_dice_for(r->seed, r->kills + 1);
  bool made = atomic_load(&v->trial.ledger->made);
  kill_plan plan = new_plan(r, &d, !made && r->kills % KILLS_A_STORE < MAKING_KILLS);
  pagestore_options options = new_options(r, &d);
  kill_outcome out;
  char what[300];
  bool killed = round_kill(v, &plan, &options, &out);
  snprintf(what, sizeof what, "kill %llu (%s, %s; tracker %s)", (unsigned long long)r->kills + 1, kill_name[plan.kind],
           out.where, tracker_name[options.tracker]);
  if (!killed) return report(r, v, what);
  count(r, v, &plan, &options, made || atomic_load(&v->trial.ledger->made));
  uint64_t acknowledged = atomic_load(&v->trial.ledger->acknowledged), begun = atomic_load(&v->trial.ledger->begun);
  if (!round_witness(v)) return report(r, v, what);
  r->newer += v->trial.base->step > acknowledged;
  r->trash += v->trial.ledger->trash;
  if (v->trial.base->step < begun) count_undone(r, v->trial.base);
  if (r->verbose)
    printf("%s: acknowledged %llu, begun %llu, found %llu\n", what, (unsigned long long)acknowledged,
           (unsigned long long)begun, (unsigned long long)v->trial.base->step);
  return true;
}

static void one_store(run *r) {
  char folder[FOLDER_PATH_MAX];
  victim_store v;
  snprintf(folder, sizeof folder, "%.4000s/%llu", r->folder, (unsigned long long)++r->stores);
  if (mkdir(folder, 0777) < 0 || !round_open(&v, folder, r->seed * 1000003 + r->stores)) {
    perror(folder);
    exit(2);
  }
  uint64_t losses = r->losses, until = r->kills + KILLS_A_STORE;
  bool well = true;
  while (well && r->kills < until && r->kills < r->kills_wanted) well = one_kill(r, &v);
  if (well && !trial_go_on(&v.trial, STEPS_AFTER)) well = report(r, &v, "going on after the last kill");
  if (well && !trial_empty(&v.trial)) well = report(r, &v, "deleting everything");
  round_close(&v, r->losses > losses);
}

static void find_trackers(run *r) {
  for (int t = PAGESTORE_TRACK_AUTO; t <= PAGESTORE_TRACK_MPROTECT; t++) {
    char folder[FOLDER_PATH_MAX];
    victim_store v;
    snprintf(folder, sizeof folder, "%.4000s/trial", r->folder);
    if (mkdir(folder, 0777) < 0 || !round_open(&v, folder, 0)) exit(2);
    if (round_supports(&v, (pagestore_tracker)t)) r->trackers[r->tracker_count++] = (pagestore_tracker)t;
    else printf("tracker %s is left out: %s\n", tracker_name[t], v.trial.text);
    round_close(&v, false);
  }
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static int verdict(const run *r) {
  printf(
      "stores=%llu, killed while making one: %llu, while opening: %llu; found newer than acknowledged: %llu; trackers:",
      (unsigned long long)r->stores, (unsigned long long)r->making, (unsigned long long)r->opening,
      (unsigned long long)r->newer);
  for (uint32_t n = 0; n < r->tracker_count; n++)
    printf(" %s=%llu", tracker_name[r->trackers[n]], (unsigned long long)r->by_tracker[r->trackers[n]]);
  printf("\ntrash to be worked off: %llu; begun, and nothing of it there:", (unsigned long long)r->trash);
  for (int s = 0; s < STEP_SORTS; s++) printf(" %s=%llu", script_sort_name[s], (unsigned long long)r->undone[s]);
  if (r->refused)
    printf("\nskipped: syscall, handler and flusher, since no process can be traced here (%s)", r->refused);
  printf("\ncrashkill: kills=%llu (", (unsigned long long)r->kills);
  bool each = true;
  for (int k = 0; k < KILL_KINDS; k++) {
    each = each && r->by_kind[k] > 0;
    if (r->refused && k != KILL_RANDOM) printf(" %s=skipped", kill_name[k]);
    else printf("%s%s=%llu", k ? " " : "", kill_name[k], (unsigned long long)r->by_kind[k]);
  }
  printf(") acknowledged=%llu losses=%llu seed=%llu\n", (unsigned long long)r->acknowledged,
         (unsigned long long)r->losses, (unsigned long long)r->seed);
  return r->losses ? 1 : each ? 0 : r->refused ? 77 : 1;
}

static int replay(const char *folder) {
  victim_store v;
  if (!round_load(&v, folder)) {
    fprintf(stderr, "%s has no file of facts: give the folder that a failing round named\n", folder);
    return 2;
  }
  bool well = round_witness(&v);
  if (well) printf("the store is at step %llu, as it may be; going on\n", (unsigned long long)v.trial.base->step);
  well = well && trial_go_on(&v.trial, STEPS_AFTER);
  printf("%s\n", well ? "nothing is wrong" : v.trial.text);
  round_close(&v, true);
  return well ? 0 : 1;
}

int main(int argc, char **argv) {
  run r = {.program = argv[0], .kills_wanted = KILLS_DEFAULT};
  r.seed = (uint64_t)time(NULL) % 1000000 * 1000 + (uint64_t)getpid() % 1000;
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (strcmp(argv[i], "--verbose") == 0) {
      r.verbose = true;
      continue;
    }
    if (value && strcmp(argv[i], "--kills") == 0) r.kills_wanted = strtoull(value, NULL, 10);
    else if (value && strcmp(argv[i], "--seed") == 0) r.seed = strtoull(value, NULL, 10);
    else if (value && strcmp(argv[i], "--replay") == 0) return replay(value);
    else return fprintf(stderr, "usage: crashkill [--kills N] [--seed S] [--verbose] | --replay FOLDER\n"), 2;
    i++;
  }
  folder_new(r.folder, "crashkill");
  printf("crashkill: seed=%llu kills=%llu\n", (unsigned long long)r.seed, (unsigned long long)r.kills_wanted);
  r.refused = kill_refused();
  find_trackers(&r);
  while (r.kills < r.kills_wanted && r.losses < LOSSES_MAX) one_store(&r);
  if (r.losses == 0) folder_remove(r.folder);
  return verdict(&r);
}
