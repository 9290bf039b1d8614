/* diff.c - what differs between two kept versions of an instance: blocks, sizes, metadata, module.
 *
 * Blocks come from pagestore_diff and are gathered into runs; the rest is compared here. Both
 * versions are views of one open store.
 */
#include "diff.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "look.h"
#include "text.h"
#include "versions.h"

/* ---- runs of blocks -------------------------------------------------------------------------- */

enum { STOP_MEMORY = 1, STOP_HOLD = 2 };

static int add_size(void *env, const pagestore_memory_info *info) {
  progress *p = env;
  p->total += info->pages * PAGESTORE_PAGE;
  return 0;
}

static void tell_progress(comparison *c, pagestore_memory *memory, uint64_t end) {
  if (c->at && c->at != memory) c->before += pagestore_memory_pages(c->at) * PAGESTORE_PAGE;
  c->at = memory;
  progress_step(&c->progress, c->before + end - c->progress.done);
}

static int add_run(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  comparison *c = env;
  if (!hold_goes_on(&c->hold)) return c->stopped = STOP_HOLD;
  tell_progress(c, memory, offset + length);
  run *last = c->run_count ? &c->runs[c->run_count - 1] : NULL;
  if (last && last->memory == memory && last->offset + last->length == offset) {
    last->length += length;
    return 0;
  }
  if (c->run_count == c->run_room) {
    size_t room = c->run_room ? c->run_room * 2 : 64;
    run *runs = realloc(c->runs, room * sizeof *runs);
    if (!runs) return c->stopped = STOP_MEMORY;
    c->runs = runs;
    c->run_room = room;
  }
  c->runs[c->run_count++] = (run){memory, offset, length};
  return 0;
}

static void show_runs(const comparison *c, report *r) {
  static const column columns[] = {
      {"memory", CELL_TEXT},       {"offset", CELL_NUMBER},    {"bytes", CELL_BYTES},
      {"page_first", CELL_NUMBER}, {"page_last", CELL_NUMBER}, {"block_first", CELL_NUMBER},
      {"blocks", CELL_NUMBER},
  };
  report_sheet(r, "blocks", columns, sizeof columns / sizeof *columns);
  for (size_t i = 0; i < c->run_count; i++) {
    const run *x = &c->runs[i];
    report_row(r, (cell[]){
                      of_text(pagestore_memory_name(x->memory)),
                      of_number(x->offset),
                      of_number(x->length),
                      of_number(x->offset / PAGESTORE_PAGE),
                      of_number((x->offset + x->length - 1) / PAGESTORE_PAGE),
                      of_number(x->offset % PAGESTORE_PAGE / PAGESTORE_BLOCK),
                      of_number(x->length / PAGESTORE_BLOCK),
                  });
  }
}

/* ---- which versions -------------------------------------------------------------------------- */

/* NULL is the present; sets *code if there is no default. */
static const char *side(const invocation *v, unsigned operand, const kept_versions *kept,
                        int *code) {
  if (v->operands > operand)
    return strcmp(v->operand[operand], "-") == 0 ? NULL : v->operand[operand];
  if (operand == 3 || option_given(v, "with")) return NULL;
  for (uint32_t i = kept->count; i > 0; i--)
    if (!kept->items[i - 1].present) return kept->items[i - 1].name;
  complain("'%s' has no snapshot to compare with: take one with pagestore_snapshot_create",
           v->operand[1]);
  *code = EXIT_FAILED;
  return NULL;
}

static void show_side(report *r, const char *key, const char *key_version, const char *name,
                      pagestore_instance *view) {
  report_fact(r, (column){key, CELL_TEXT}, of_text(name));
  report_fact(r, (column){key_version, CELL_NUMBER}, of_number(pagestore_committed_version(view)));
}

/* ---- comparing ------------------------------------------------------------------------------- */

static int compare(const invocation *v, comparison *c, const char *from, const char *to) {
  pagestore_memory_each(c->to, add_size, &c->progress);
  int status = pagestore_diff(c->from, c->to, add_run, c);
  if (!status) progress_step(&c->progress, c->progress.total - c->progress.done);
  progress_end(&c->progress);
  bool damaged = status == PAGESTORE_ECORRUPT, hex = option_given(v, "hex");
  if (status == PAGESTORE_EABORTED) return c->stopped == STOP_MEMORY ? complain_memory() : EXIT_FAILED;
  if (status && !damaged) return complain_status(status, NULL);
  if (damaged)
    complain("%s; blocks are compared up to there only, `pagestore dump` reads on",
             pagestore_detail());
  report *r = report_new(option_given(v, "json"));
  if (!r) return EXIT_FAILED;
  show_side(r, "from", "from_version", from, c->from);
  show_side(r, "to", "to_version", to, c->to);
  if (damaged) report_fact(r, (column){"complete", CELL_FLAG}, of_number(false));
  bool same = c->run_count == 0;
  if (!hex) show_runs(c, r);
  int failed = diff_state(c, r, &same);
  int code = report_finish(r, same && !damaged ? EXIT_OK : EXIT_FOUND);
  if (failed) return complain_status(failed, NULL);
  return hex ? diff_hex(c, code) : code;
}

static int open_and_compare(const invocation *v, pagestore_store *store) {
  comparison c = {0};
  kept_versions kept;
  int code = versions_load(store, v->operand[1], false, &kept);
  if (code != EXIT_OK) return code;
  const char *from = side(v, 2, &kept, &code), *to = side(v, 3, &kept, &code);
  if (code == EXIT_OK) code = look_view(store, v->operand[1], from, &c.from);
  const char *other = option_given(v, "with") ? option_value(v, "with") : v->operand[1];
  hold_begin(&c.hold, v, !from || !to);
  if (code == EXIT_OK) code = progress_begin(&c.progress, v, "diff", 0);
  if (code == EXIT_OK && (code = look_view(store, other, to, &c.to)) == EXIT_OK) {
    code = compare(v, &c, from, to);
    pagestore_instance_close(c.to);
  }
  if (c.from) pagestore_instance_close(c.from);
  free(c.runs);
  free(kept.items);
  return code;
}

int command_diff(const invocation *v) {
  if (option_given(v, "hex") && option_given(v, "json"))
    return complain_usage(v->command, "--hex and --json exclude each other");
  pagestore_store *store;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = open_and_compare(v, store);
  pagestore_close(store);
  return code;
}
