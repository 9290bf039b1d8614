/* restore.c - the present of an instance becomes what a snapshot is; what would change is shown before. */
#include <inttypes.h>
#include <stdlib.h>

#include "change.h"
#include "complain.h"
#include "diff.h"
#include "look.h"

typedef struct {
  comparison views; /* from the present to the snapshot */
  uint64_t blocks, before, after;
  bool same, damaged;
} plan;

static int count(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory, (void)offset;
  *(uint64_t *)env += length / PAGESTORE_BLOCK;
  return 0;
}

/* What is damaged cannot be compared; a restore away from it is just what is wanted then. */
static int compare(plan *p) {
  int status = pagestore_diff(p->views.from, p->views.to, count, &p->blocks);
  if (status && status != PAGESTORE_ECORRUPT) return complain_status(status, NULL);
  if (status) complain("%s; blocks were compared up to there only", pagestore_detail());
  p->damaged = status != 0;
  p->same = p->blocks == 0 && status == 0;
  p->before = pagestore_committed_version(p->views.from);
  p->after = pagestore_committed_version(p->views.to);
  return EXIT_OK;
}

static int show(const invocation *v, plan *p) {
  report *r = report_new(option_given(v, "json"));
  if (!r) return EXIT_FAILED;
  report_fact(r, (column){"instance", CELL_TEXT}, of_text(v->operand[1]));
  report_fact(r, (column){"version", CELL_NUMBER}, of_number(p->before));
  report_fact(r, (column){"snapshot", CELL_TEXT}, of_text(v->operand[2]));
  report_fact(r, (column){"snapshot_version", CELL_NUMBER}, of_number(p->after));
  report_fact(r, (column){"blocks", CELL_NUMBER}, of_number(p->blocks));
  report_fact(r, (column){"bytes", CELL_BYTES}, of_number(p->blocks * PAGESTORE_BLOCK));
  int status = diff_state(&p->views, r, &p->same);
  int code = report_finish(r, EXIT_OK);
  return status ? complain_status(status, NULL) : code;
}

static int make_plan(const invocation *v, pagestore_store *store, plan *p) {
  int code = look_view(store, v->operand[1], NULL, &p->views.from);
  if (code == EXIT_OK) code = look_view(store, v->operand[1], v->operand[2], &p->views.to);
  if (code == EXIT_OK) code = compare(p);
  if (code == EXIT_OK) code = show(v, p);
  if (p->views.to) pagestore_instance_close(p->views.to);
  if (p->views.from) pagestore_instance_close(p->views.from);
  return code;
}

static int carry_out(const invocation *v, pagestore_store *store) {
  pagestore_instance *instance;
  uint64_t version = 0;
  int status = pagestore_instance_open(store, v->operand[1], NULL, &instance);
  if (status) return look_failed(status);
  status = pagestore_restore(instance, v->operand[2]);
  if (!status) status = pagestore_commit(instance, 0, &version);
  if (status) complain_status(status, NULL);
  pagestore_instance_close(instance);
  if (status) return EXIT_FAILED;
  if (!option_given(v, "json")) change_done("restored as version %" PRIu64, version);
  return EXIT_OK;
}

/* Looked at as a reader first: an unanswered question changes nothing. *wanted: somebody said yes. */
static int ask(const invocation *v, bool *wanted, bool *damaged) {
  plan p = {0};
  pagestore_store *store;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = make_plan(v, store, &p);
  pagestore_close(store);
  *damaged = p.damaged;
  if (code != EXIT_OK || option_given(v, "dry-run")) return code;
  if (p.same) {
    change_done("nothing differs: version %" PRIu64 " stays", p.before);
    return EXIT_OK;
  }
  code = change_confirm(v,
                        "version %" PRIu64
                        " of '%s' will be replaced by snapshot '%s'; `pagestore snapshot create` keeps it first",
                        p.before, v->operand[1], v->operand[2]);
  *wanted = code == EXIT_OK;
  return code;
}

int command_restore(const invocation *v) {
  pagestore_store *store;
  bool wanted = false, damaged = false;
  int code = ask(v, &wanted, &damaged);
  if (wanted && (code = change_open(v, &store)) == EXIT_OK) code = change_close(store, carry_out(v, store));
  return code == EXIT_OK && damaged ? EXIT_FOUND : code;
}
