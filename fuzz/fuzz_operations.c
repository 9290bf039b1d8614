/* fuzz_operations.c - sequences of operations on a store and on plain arrays, on every tracker.
 *
 *   input: records of 8 bytes: the operation, then its choices, one byte each (the rest follows from the record); at most 64
 *
 * The operations are those of tests/support/world.h and, behind them:
 *
 *   HOLD n       the flusher stops before its n-th next writing call; it goes on where somebody waits for it
 *   LET_GO
 *   KILL s       the store's file as it is, copied, is all that is left (s odd: after a sync): the copy is opened
 *   FAULT k n e t  the n-th allocation or writing call from now on fails with error e, and t more behind it
 *
 * A call that a fault lets fail has changed nothing and succeeds when it is made again; or the store is FAILED, and opening it anew
 * shows one of the states in its queue's order, not before what was durable. So does a killed one. Every tracker stores the same bytes.
 * Each seed must reach the case that it is named after. With FUZZ_PRINT in the environment each input is printed as a script.
 *
 * ctest: runs=60, support, bytes=512
 * wraps: malloc calloc realloc pwrite write writev fdatasync
 * wraps: pthread_cond_wait pthread_cond_timedwait pthread_cond_signal pthread_create pthread_join
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/operations/script.h"
#include "fuzz/operations/stage.h"
#include "fuzz/operations/timeline.h"

enum { KILLS_MAX = 6 };

/* What a seed must reach beside the events of the world. */
typedef enum { NOTHING_MORE, KILLED, KILLED_IN_TRASH, LOST, MADE_AGAIN, EVENTS } event;

typedef struct {
  world w;
  timeline t;
  char *folder;
  unsigned kills;
  bool by_chance; /* what was found after a crash hangs on when it came: other trackers may find other states */
  uint64_t did[EVENTS];
  jmp_buf lost;
} run;

static run *now; /* for the hooks */

/* ---- seeds ---------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  world_event did;
  event more;
  const char *script;
} seed;

/* 99 says no to a chance; commit,0,2 is asynchronous. */
static const seed seeds[] = {
    {"restore-twice", DID_RESTORE_TWICE, 0, "create write commit snapshot write commit restore reopen"},
    {"restore-rolled-back", DID_RESTORE_ROLLED_BACK, 0, "create write commit snapshot restore,0,0,99,99,0"},
    {"fork-of-fork", DID_FORK_OF_FORK, 0, "create write commit fork write,0,1 commit,1 fork,1 reopen"},
    {"fork-unflushed", DID_FORK_UNFLUSHED, 0, "create write commit hold write commit,0,2 fork let-go reopen"},
    {"drop-under-fork", DID_DROP_UNDER_FORK, 0, "create write commit snapshot write commit fork-of-snapshot reopen"},
    {"delete-parent", DID_DELETE_PARENT, 0, "create write commit fork commit,1 delete sync look"},
    {"reopen-in-trash", DID_REOPEN_IN_TRASH, 0, "create write commit fork reopen"},
    {"killed-in-trash", 0, KILLED_IN_TRASH, "create write commit sync hold,5 delete kill"},
    {"clear-rolled-back", DID_CLEAR_ROLLED_BACK, 0, "create write,0,0,1 commit upgrade,0,0,99,99,99,0 look reopen"},
    {"clear-committed", DID_CLEAR_COMMITTED, 0, "create write,0,0,1 commit upgrade,0,0,99,99,99,99,0 look reopen"},
    {"snapshot-in-group", DID_SNAPSHOT_UNFLUSHED, 0,
     "create write commit hold,1 write commit,0,2 write commit,0,2 snapshot write commit,0,2 let-go reopen"},
    {"view-in-flush", DID_VIEW_UNFLUSHED, 0, "create write commit hold,1 write commit,0,2 view,0,0,0,99,0,99 diff"},
    {"advance-in-flush", DID_ADVANCE_UNFLUSHED, 0,
     "create write commit view,0,0,0,99,99,99 hold,1 write commit,0,2 advance,0,99 write commit,0,2 advance,0,99 diff "
     "end-view"},
    {"killed-in-flush", 0, KILLED, "create write commit hold,2 write commit,0,2 kill open look"},
    {"sync-failed", 0, LOST, "create write commit write fault,2,0,1 commit open"},
    {"meta-failed", 0, LOST, "create write commit write fault,3,0,1 commit open"},
    {"write-failed", 0, LOST, "create write commit write fault,1,0,1 commit open"},
    {"no-room", 0, MADE_AGAIN, "create write commit write fault,1,0,0,1 commit reopen"},
    {"no-memory", 0, MADE_AGAIN, "create write commit write fault commit fork reopen"},
    {"commit-all", DID_COMMIT_ALL, 0, "create write commit fork write,0,0 write,0,1 commit-all reopen"},
    {"private", DID_PRIVATE_ROLLED_BACK, 0, "create write commit view,0,0,0,99,0,99 write rollback diff"},
};
enum { SEEDS = sizeof seeds / sizeof *seeds };

void fuzz_seeds(fuzz_add add, void *env) {
  uint8_t records[RECORDS_MAX * RECORD_BYTES];
  for (const seed *s = seeds; s < seeds + SEEDS; s++) add(env, s->name, records, script_encode(s->script, records));
}

/* ---- a fault, a crash ------------------------------------------------------------------------ */

static bool made_again(int status) {
  bool may = status == PAGESTORE_ENOMEM || status == PAGESTORE_ENOSPC || status == PAGESTORE_EIO;
  if (!may || !stage_fired()) return false;
  now->did[MADE_AGAIN]++;
  return true;
}

static void sealed(world *w, bool durable) { timeline_note(&now->t, w, durable); }

static void give_up(world *w) {
  (void)w;
  longjmp(now->lost, 1);
}

static void open_again(run *r, const durable_floor *floor) {
  world_open_store(&r->w);
  timeline_find(&r->t, &r->w, floor);
  world_export(&r->w);
}

/* A sync failed: what was queued may be there or not. */
static void recover(run *r) {
  durable_floor floor;
  stage_no_plan();
  stage_open();
  timeline_floor(&r->w, &floor);
  world_abandon(&r->w);
  open_again(r, &floor);
  r->did[LOST]++;
  r->by_chance = true;
}

static void copy_file(const char *from, const char *to) {
  static uint8_t piece[1 << 18];
  int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  MUST(in >= 0 && out >= 0);
  for (ssize_t n; (n = read(in, piece, sizeof piece)) > 0;) MUST(write(out, piece, (size_t)n) == n);
  close(in);
  close(out);
}

static bool trash_is_left(pagestore_store *s) {
  pagestore_store_info info = {.size = sizeof info};
  MUST(pagestore_store_stat(s, &info) == 0);
  return info.trash;
}

static void kill_process(run *r, bool after_sync) {
  char path[4200], from[4300], to[4300];
  durable_floor floor;
  if (r->kills == KILLS_MAX) return;
  if (after_sync) WORLD_OK(&r->w, pagestore_sync(r->w.store, PAGESTORE_FOREVER));
  else r->by_chance = true;
  stage_no_plan();
  stage_rest();
  stage_close(0);
  bool trash = trash_is_left(r->w.store);
  timeline_floor(&r->w, &floor);
  snprintf(path, sizeof path, "%s/store-%u", r->folder, ++r->kills);
  snprintf(from, sizeof from, "%s/data.mdb", r->w.path);
  snprintf(to, sizeof to, "%s/data.mdb", path);
  MUST(mkdir(path, 0755) == 0);
  copy_file(from, to);
  stage_open();
  world_abandon(&r->w);
  free(r->w.path);
  r->w.path = strdup(path);
  open_again(r, &floor);
  r->did[KILLED]++;
  r->did[KILLED_IN_TRASH] += trash;
}

/* ---- playing --------------------------------------------------------------------------------- */

static void plan_fault(const uint8_t choice[RECORD_BYTES - 1]) {
  static const int write_errors[] = {ENOSPC, EIO};
  stage_fault kind = choice[0] % STAGE_FAULTS;
  stage_plan(kind, 1 + choice[1] % (kind == STAGE_ALLOCATION ? 64 : 8), 1 + choice[3] % 4,
             kind == STAGE_ALLOCATION ? ENOMEM
             : kind == STAGE_DATA     ? write_errors[choice[2] % 2]
                                      : EIO);
}

static void reopen(run *r) {
  stage_no_plan();
  stage_open();
  WORLD_OK(&r->w, pagestore_sync(r->w.store, PAGESTORE_FOREVER));
  world_do(&r->w, WORLD_REOPEN);
}

static uint64_t number_of(const uint8_t *record) {
  uint64_t n;
  memcpy(&n, record, sizeof n);
  return n;
}

static void play_record(run *r, const uint8_t *record) {
  unsigned operation = record[0] % OPERATIONS;
  r->w.dice = (dice){.state = number_of(record) ^ r->w.step << 56, .tape = record + 1, .left = RECORD_BYTES - 1};
  switch (operation) {
  case HOLD: stage_close(record[1] % 8); break;
  case LET_GO: stage_open(); break;
  case KILL: kill_process(r, record[1] & 1); break;
  case FAULT: plan_fault(record + 1); break;
  case WORLD_REOPEN: reopen(r); break;
  default: world_do(&r->w, operation);
  }
  r->w.dice.left = 0;
  stage_rest();
}

/* Ends with what is stored, seen twice. */
static uint64_t finish(run *r) {
  stage_no_plan();
  stage_open();
  uint64_t hash = world_export(&r->w);
  world_reopen(&r->w, false);
  WORLD_CHECK(&r->w, world_export(&r->w) == hash, "reopened, the store shows something else");
  return hash;
}

/* The last choice of the first record: where in the row of sizes that the log has from opening to opening it begins. */
static uint64_t first_log(const uint8_t *data, size_t size) { return 1 + (size < RECORD_BYTES ? 0 : data[RECORD_BYTES - 1]); }

static uint64_t play(run *r, pagestore_tracker tracker, const uint8_t *data, size_t size) {
  char path[4200];
  volatile size_t at = 0;
  r->folder = scratch_make();
  snprintf(path, sizeof path, "%s/store", r->folder);
  now = r;
  stage_begin();
  world_open(&r->w, path, tracker, first_log(data, size));
  r->w.hooks = (world_hooks){stage_enter, stage_leave, made_again, sealed, give_up};
  timeline_note(&r->t, &r->w, true);
  if (setjmp(r->lost)) recover(r);
  while (at < size) {
    at += RECORD_BYTES;
    play_record(r, data + at - RECORD_BYTES);
  }
  uint64_t hash = finish(r);
  world_close(&r->w);
  stage_end();
  timeline_free(&r->t);
  scratch_remove(r->folder);
  return hash;
}

static bool is_supported(pagestore_tracker tracker) {
  static signed char known[PAGESTORE_TRACK_MPROTECT + 1];
  if (known[tracker]) return known[tracker] > 0;
  pagestore_store *store;
  char *folder = scratch_make(), path[4200];
  snprintf(path, sizeof path, "%s/store", folder);
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .tracker = tracker),
                              &store);
  MUST(status == 0 || status == PAGESTORE_EUNSUPPORTED);
  if (!status) MUST(pagestore_close(store) == 0);
  scratch_remove(folder);
  known[tracker] = status ? -1 : 1;
  return !status;
}

/* The seed that this is, if it has not come to what it is named after. */
static const seed *missed_seed(const run *r, const uint8_t *data, size_t size) {
  uint8_t records[RECORDS_MAX * RECORD_BYTES];
  for (const seed *s = seeds; s < seeds + SEEDS; s++) {
    if (script_encode(s->script, records) != size || memcmp(records, data, size) != 0) continue;
    return (s->more ? r->did[s->more] : r->w.did[s->did]) > 0 ? NULL : s;
  }
  return NULL;
}

/* Where the flusher is when it is killed hangs on time: such a seed that misses its name is played again a few times. */
static uint64_t play_seed(run *r, pagestore_tracker tracker, const uint8_t *data, size_t size) {
  enum { TRIES_MAX = 10 };
  const seed *missed = NULL;
  for (unsigned tries = 0; tries < TRIES_MAX && (!missed || missed->more == KILLED_IN_TRASH); tries++) {
    *r = (run){0};
    uint64_t hash = play(r, tracker, data, size);
    if (!(missed = missed_seed(r, data, size))) return hash;
  }
  fprintf(stderr, "the seed %s does not reach what it is named after\n", missed->name);
  MUST(missed == NULL);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint64_t first = 0;
  setenv("CMOCKA_TEST_ABORT", "1", 1); /* what fails a test crashes here */
  size -= size % RECORD_BYTES;
  if (size > RECORDS_MAX * RECORD_BYTES) size = RECORDS_MAX * RECORD_BYTES;
  if (getenv("FUZZ_PRINT")) script_print(data, size);
  for (pagestore_tracker tracker = PAGESTORE_TRACK_SCAN; tracker <= PAGESTORE_TRACK_MPROTECT; tracker++) {
    if (!is_supported(tracker)) continue;
    run *r = malloc(sizeof *r);
    MUST(r);
    uint64_t hash = play_seed(r, tracker, data, size);
    if (first == 0 && !r->by_chance) first = hash;
    MUST(r->by_chance || hash == first);
    free(r);
  }
  return 0;
}
