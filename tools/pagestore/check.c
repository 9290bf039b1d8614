/* check.c - whether a store is what its writers made it: a verdict, then what was found, each with what to do. */
#include <inttypes.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_audit.h"
#include "check_file.h"
#include "check_report.h"
#include "complain.h"
#include "progress.h"
#include "sandbox.h"

enum { TRIES_MAX = 20 };

typedef struct {
  const invocation *v;
  store_file file;
  walker_metas metas;
  audit audit;
  progress progress;
} check;

static void step(void *env, uint64_t bytes) {
  check *c = env;
  c->progress.total = c->audit.total_bytes;
  progress_step(&c->progress, bytes);
}

/* ---- what cannot be audited ------------------------------------------------------------------ */

/* A file of another kind is no damaged store, but a cut-off one is. */
static bool is_foreign(int status, const walker_metas *m) {
  return status == PAGESTORE_EFORMAT && m->file_bytes >= LMDB_METAS * LMDB_PAGE_BYTES;
}

static void note_metas(check *c, int status) {
  static const char next[] = "`pagestore recover STORE DST` saves what is intact";
  if (status) findings_add(&c->audit.found, FINDING_DAMAGE, next, "%s", pagestore_detail());
}

/* ---- one look -------------------------------------------------------------------------------- */

static int run_audit(check *c, unsigned meta) {
  findings before = c->audit.found;
  c->audit = (audit){
      .fd = c->file.fd,
      .metas = &c->metas,
      .meta = meta,
      .deep = option_given(c->v, "deep"),
      .other = meta == c->metas.newest && before.damages == 0,
      .explain = c->audit.explain,
      .progress = step,
      .env = c,
      .found = before,
  };
  int status = audit_run(&c->audit);
  if (!status) return EXIT_OK;
  if (status == PAGESTORE_EFORMAT) {
    complain("the store uses features that this program does not know: take the version that wrote it");
    return EXIT_FAILED;
  }
  return status == PAGESTORE_ENOMEM ? complain_memory() : complain_status(status, NULL);
}

/* The meta pages, and from the newest usable one everything else. */
static int look(check *c) {
  int status = file_metas(&c->file, &c->metas);
  if (is_foreign(status, &c->metas) || status == PAGESTORE_EIO || status == PAGESTORE_ENOMEM)
    return complain_status(status, NULL);
  note_metas(c, status);
  unsigned meta = c->metas.newest;
  if (!c->metas.meta[meta].usable) meta = !meta;
  return c->metas.meta[meta].usable ? run_audit(c, meta) : EXIT_OK;
}

/* Pages of the state that was looked at were all in place until now. What the other meta page leads to is written over
 * one transaction sooner: something may have been found there that is none. */
static bool was_sound(const check *c, uint64_t txn_id) {
  walker_metas now;
  uint64_t later = c->audit.found.damages || c->audit.found.notes ? 0 : 1;
  (void)file_metas(&c->file, &now);
  return now.meta[now.newest].txn_id <= txn_id + later || !now.meta[now.newest].usable;
}

/* As a reader of LMDB, from the state that it has. */
static int look_pinned(check *c) {
  for (unsigned i = 0; i < TRIES_MAX; i++) {
    uint64_t txn_id;
    int code = file_pin(&c->file, &txn_id);
    if (code != EXIT_OK) return code;
    int status = file_metas(&c->file, &c->metas);
    for (unsigned m = 0; m < LMDB_METAS && !status; m++)
      if (c->metas.meta[m].usable && c->metas.meta[m].txn_id == txn_id) return run_audit(c, m);
    file_unpin(&c->file);
  }
  complain("a writer commits faster than this check can begin: try again when it is less busy");
  return EXIT_FAILED;
}

static int look_beside_writer(check *c) {
  int code = look(c);
  if (code != EXIT_OK || was_sound(c, c->metas.meta[c->metas.newest].txn_id)) return code;
  audit_free(&c->audit);
  c->progress.done = 0;
  return look_pinned(c);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int tell(check *c) {
  progress_end(&c->progress);
  return check_print(c->v, &c->audit, &c->metas);
}

static int look_and_tell(void *env) {
  check *c = env;
  int code = look(c);
  if (code == EXIT_OK) code = tell(c);
  progress_end(&c->progress);
  return code;
}

/* The copy is of one moment: no writer meanwhile. */
static int check_untrusted(check *c) {
  int code = file_lock(&c->file);
  if (code != EXIT_OK) return code;
  int copy = sandbox_copy(c->file.fd);
  if (copy < 0) return EXIT_FAILED;
  file_close(&c->file);
  c->file.fd = copy;
  return sandbox_run(look_and_tell, c);
}

int command_check(const invocation *v) {
  static check c;
  c.v = v;
  c.audit.explain = NO_OFFSET;
  if (!option_number(v, "explain", &c.audit.explain)) return EXIT_USAGE;
  int code = progress_begin(&c.progress, v, "check", 0);
  if (code != EXIT_OK) return code;
  if ((code = file_open(v->operand[0], &c.file)) != EXIT_OK) return code;
  if (option_given(v, "untrusted")) {
    code = check_untrusted(&c);
  } else {
    code = look_beside_writer(&c);
    if (code == EXIT_OK) code = tell(&c);
  }
  progress_end(&c.progress);
  audit_free(&c.audit);
  file_close(&c.file);
  return code;
}
