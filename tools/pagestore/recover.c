/* recover.c - a new store of all that is whole in a damaged one; the damaged one is only read. */
#include <errno.h>
#include <inttypes.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_file.h"
#include "check_report.h"
#include "complain.h"
#include "progress.h"
#include "recover_store.h"
#include "report.h"
#include "sandbox.h"
#include "text.h"

typedef struct {
  const invocation *v;
  store_file file;
  salvage salvage;
  progress progress;
  int pipe[2];
} recover;

static void step(void *env, uint64_t bytes) { progress_step(&((recover *)env)->progress, bytes); }

static int failed(recover *r, int status) {
  progress_end(&r->progress);
  if (status == PAGESTORE_ENOMEM) return complain_memory();
  if (status == PAGESTORE_EUNSUPPORTED) {
    complain(
        "a memory is so large that what is lost in it cannot be marked: --zero leaves its unmarked pages as zeros");
    return EXIT_FAILED;
  }
  if (status != PAGESTORE_EFORMAT) return complain_status(status, NULL);
  complain("%s holds nothing of a store that this program knows: restore a backup", r->v->operand[0]);
  return EXIT_FAILED;
}

/* ---- what came of it --------------------------------------------------------------------------- */

static void print_loss(const salvage_loss *l) {
  char escaped[TEXT_ESCAPED_SIZE];
  printf("lost: instance '%s', ", text_escape(l->instance, strlen(l->instance), escaped, sizeof escaped));
  printf("memory '%s': ", text_escape(l->memory, strlen(l->memory), escaped, sizeof escaped));
  printf("%" PRIu64 " pages damaged, %" PRIu64 " replaced, %" PRIu64 " unknown; versions %" PRIu64 " to %" PRIu64 "\n",
         l->pages, l->replaced, l->unknown, l->version_min, l->version_max);
}

static int print_text(const recover *r, int code) {
  const salvage *s = &r->salvage;
  char escaped[TEXT_ESCAPED_SIZE];
  printf("%s: ", text_escape(r->v->operand[1], strlen(r->v->operand[1]), escaped, sizeof escaped));
  printf(code == EXIT_OK ? "recovered whole: " : "recovered with LOSSES: ");
  printf("%zu instances, %" PRIu64 " pages saved, %" PRIu64 " lost, %" PRIu64 " mended\n", s->audit.kept.names.count,
         s->pages_saved, s->pages_lost, s->pages_mended);
  for (size_t i = 0; i < s->losses.count; i++) print_loss(&s->losses.at[i]);
  for (size_t i = 0; i < s->lost.count; i++) check_print_finding(&s->lost.at[i]);
  uint64_t more = s->lost.damages + s->lost.notes - s->lost.count;
  if (more) printf("and %" PRIu64 " more findings\n", more);
  return code;
}

static const column loss_columns[] = {
    {"instance", CELL_TEXT},         {"memory", CELL_TEXT},          {"pages_damaged", CELL_NUMBER},
    {"pages_replaced", CELL_NUMBER}, {"pages_unknown", CELL_NUMBER}, {"version_first", CELL_NUMBER},
    {"version_last", CELL_NUMBER},
};

static int print_json(const recover *r, int code) {
  const salvage *s = &r->salvage;
  report *out = report_new(true);
  if (!out) return EXIT_FAILED;
  report_fact(out, (column){"store", CELL_TEXT}, of_text(r->v->operand[1]));
  report_fact(out, (column){"verdict", CELL_TEXT}, of_text(code == EXIT_OK ? "whole" : "losses"));
  report_fact(out, (column){"instances", CELL_NUMBER}, of_number(s->audit.kept.names.count));
  report_fact(out, (column){"pages_saved", CELL_NUMBER}, of_number(s->pages_saved));
  report_fact(out, (column){"pages_lost", CELL_NUMBER}, of_number(s->pages_lost));
  report_fact(out, (column){"pages_mended", CELL_NUMBER}, of_number(s->pages_mended));
  report_sheet(out, "lost", loss_columns, sizeof loss_columns / sizeof *loss_columns);
  for (size_t i = 0; i < s->losses.count; i++) {
    const salvage_loss *l = &s->losses.at[i];
    report_row(out, (cell[]){of_text(l->instance), of_text(l->memory), of_number(l->pages), of_number(l->replaced),
                             of_number(l->unknown), of_number(l->version_min), of_number(l->version_max)});
  }
  check_report_findings(out, &s->lost);
  return report_finish(out, code);
}

static int print(recover *r) {
  int code = r->salvage.lost.damages ? EXIT_FOUND : EXIT_OK;
  progress_end(&r->progress);
  return option_given(r->v, "json") ? print_json(r, code) : print_text(r, code);
}

/* ---- in one process -------------------------------------------------------------------------- */

static int emit(void *env, salvage_put put, void *put_env, store_record *record) {
  salvage *s = env;
  *record = s->audit.kept.store;
  return salvage_emit(s, put, put_env);
}

static int recover_here(recover *r) {
  int status = salvage_run(&r->salvage);
  if (!status) status = store_write(r->v->operand[1], emit, &r->salvage);
  return status ? failed(r, status) : print(r);
}

/* ---- in two: one that reads the file and can do nothing else, one that writes and does not see it ------ */

static int send_row(void *env, db_table table, bytes key, bytes value) { return rows_send(env, table, key, value); }

static int salvage_and_send(void *env) {
  recover *r = env;
  int status = salvage_run(&r->salvage);
  if (!status) status = salvage_emit(&r->salvage, send_row, &r->pipe[1]);
  if (!status) status = rows_send_end(r->pipe[1], &r->salvage.audit.kept.store);
  return status ? failed(r, status) : print(r);
}

static int recover_untrusted(recover *r) {
  int copy = sandbox_copy(r->file.fd);
  if (copy < 0) return EXIT_FAILED;
  r->salvage.fd = copy;
  if (pipe(r->pipe) != 0) {
    complain("no pipe can be made: %s: try again", strerror(errno));
    return EXIT_FAILED;
  }
  int child = sandbox_begin(salvage_and_send, r);
  close(r->pipe[1]);
  int status = 0;
  bool comes = child >= 0 && rows_wait(r->pipe[0]);
  if (comes) status = store_write(r->v->operand[1], rows_receive, &r->pipe[0]);
  if (status) complain_status(status, NULL);
  close(r->pipe[0]);
  int code = child < 0 ? EXIT_FAILED : sandbox_end(child);
  return status ? EXIT_FAILED : code;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int prepare(recover *r) {
  struct stat st;
  const char *to = r->v->operand[1];
  if (option_given(r->v, "older")) r->salvage.flags |= RECOVER_OLDER;
  if (option_given(r->v, "zero")) r->salvage.flags |= RECOVER_ZERO;
  int code = progress_begin(&r->progress, r->v, "recover", 0);
  if (code != EXIT_OK) return code;
  if (lstat(to, &st) == 0) return complain_usage(r->v->command, "%s exists: give a path where nothing is", to);
  if ((code = file_open(r->v->operand[0], &r->file)) != EXIT_OK) return code;
  if ((code = file_lock(&r->file)) != EXIT_OK) return code;
  if (fstat(r->file.fd, &st) == 0) r->progress.total = 2 * (uint64_t)st.st_size;
  r->salvage.fd = r->file.fd;
  r->salvage.progress = step;
  r->salvage.progress_env = r;
  return EXIT_OK;
}

int command_recover(const invocation *v) {
  static recover r;
  r.v = v;
  int code = prepare(&r);
  if (code == EXIT_OK) code = option_given(v, "untrusted") ? recover_untrusted(&r) : recover_here(&r);
  salvage_free(&r.salvage);
  file_close(&r.file);
  return code;
}
