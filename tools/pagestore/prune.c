/* prune.c - drops snapshots that are too many or too old: of one instance, or of all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "change.h"
#include "complain.h"
#include "look.h"
#include "versions.h"

typedef struct {
  char instance[256], name[256];
  uint64_t version, time_ns;
} victim;

typedef struct {
  pagestore_store *store;
  uint64_t keep;          /* so many newest of an instance stay; UINT64_MAX: no rule */
  uint64_t older_than_ns; /* wall clock; 0: no rule */
  victim *items;
  size_t count, room;
  int code;
} prune;

/* ---- rules ----------------------------------------------------------------------------------- */

/* 90m, 36h, 30d, 8w: seconds in *out. */
static bool read_age(const char *text, uint64_t *out) {
  static const struct {
    char letter;
    uint64_t seconds;
  } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
  char *end;
  if (text[0] < '0' || text[0] > '9') return false;
  unsigned long long number = strtoull(text, &end, 10);
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (end[0] == units[i].letter && end[1] == 0) return !__builtin_mul_overflow(number, units[i].seconds, out);
  return false;
}

static int read_rules(const invocation *v, prune *p) {
  const char *age = option_value(v, "older-than");
  uint64_t seconds = 0, age_ns;
  struct timespec t;
  p->keep = UINT64_MAX;
  if (!age && !option_given(v, "keep"))
    return complain_usage(v->command, "which snapshots? give --keep, --older-than, or both");
  if (!option_number(v, "keep", &p->keep)) return EXIT_USAGE;
  if (!age) return EXIT_OK;
  if (!read_age(age, &seconds))
    return complain_usage(v->command, "--older-than %s is no age: give 90m, 36h, 30d or 8w", age);
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t now_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
  if (__builtin_mul_overflow(seconds, (uint64_t)1000000000u, &age_ns) || age_ns > now_ns) age_ns = now_ns;
  p->older_than_ns = now_ns - age_ns + 1;
  return EXIT_OK;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static int choose(prune *p, const char *instance, const kept_version *k) {
  if (p->count == p->room) {
    size_t room = p->room ? p->room * 2 : 64;
    victim *items = realloc(p->items, room * sizeof *items);
    if (!items) return complain_memory();
    p->items = items;
    p->room = room;
  }
  victim *x = &p->items[p->count++];
  *x = (victim){.version = k->version, .time_ns = k->time_ns};
  snprintf(x->instance, sizeof x->instance, "%s", instance);
  memcpy(x->name, k->name, sizeof x->name);
  return EXIT_OK;
}

/* With both rules a snapshot goes that breaks both: what is among the newest stays however old it is. */
static int choose_of(prune *p, const char *instance) {
  kept_versions kept;
  int code = versions_load(p->store, instance, false, &kept);
  for (uint32_t i = 0; code == EXIT_OK && i + 1 < kept.count; i++) {
    uint64_t newer = kept.count - 2 - i;
    bool too_many = p->keep == UINT64_MAX || newer >= p->keep;
    bool too_old = p->older_than_ns == 0 || kept.items[i].time_ns < p->older_than_ns;
    if (too_many && too_old) code = choose(p, instance, &kept.items[i]);
  }
  if (kept.items) free(kept.items);
  return code;
}

static int choose_each(void *env, const pagestore_instance_info *info) {
  prune *p = env;
  p->code = choose_of(p, info->name);
  return p->code != EXIT_OK;
}

static int choose_all(const invocation *v, prune *p) {
  if (v->operands == 2) return choose_of(p, v->operand[1]);
  int status = pagestore_instance_each(p->store, NULL, choose_each, p);
  if (status && status != PAGESTORE_EABORTED) return complain_status(status, NULL);
  return p->code;
}

/* ---- doing ----------------------------------------------------------------------------------- */

static int show(const invocation *v, const prune *p) {
  static const column columns[] = {{"instance", CELL_TEXT},
                                   {"snapshot", CELL_TEXT},
                                   {"version", CELL_NUMBER},
                                   {"time", CELL_TIME}};
  report *r = report_new(option_given(v, "json"));
  if (!r) return EXIT_FAILED;
  report_sheet(r, "dropped", columns, sizeof columns / sizeof *columns);
  for (size_t i = 0; i < p->count; i++)
    report_row(r, (cell[]){of_text(p->items[i].instance), of_text(p->items[i].name), of_number(p->items[i].version),
                           of_number(p->items[i].time_ns)});
  return report_finish(r, EXIT_OK);
}

static int drop_all(const prune *p) {
  for (size_t i = 0; i < p->count; i++) {
    int status = pagestore_snapshot_drop(p->store, p->items[i].instance, p->items[i].name, PAGESTORE_ASYNC);
    if (status) return complain_status(status, NULL);
  }
  int status = pagestore_sync(p->store, PAGESTORE_FOREVER);
  return status ? complain_status(status, NULL) : EXIT_OK;
}

/* Looked at as a reader first: an unanswered question changes nothing. */
static int ask(const invocation *v, prune *p) {
  int code = look_open(v, &p->store);
  if (code != EXIT_OK) return code;
  code = choose_all(v, p);
  pagestore_close(p->store);
  if (code == EXIT_OK) code = show(v, p);
  if (code != EXIT_OK || option_given(v, "dry-run") || p->count == 0) return code;
  return change_confirm(v, "%zu snapshot%s will be dropped for good", p->count, plural(p->count));
}

int command_prune(const invocation *v) {
  prune p = {0};
  int code = read_rules(v, &p);
  if (code == EXIT_OK) code = ask(v, &p);
  if (code == EXIT_OK && p.count > 0 && !option_given(v, "dry-run") && (code = change_open(v, &p.store)) == EXIT_OK)
    code = change_close(p.store, drop_all(&p));
  free(p.items);
  return code;
}
