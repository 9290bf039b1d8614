/* diff_state.c - sizes and types of memories, metadata, module: what of them differs between two
 * views. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "diff.h"
#include "text.h"

enum { METADATA_ROOM = 1 << 20 };

static const column columns[] = {{"what", CELL_TEXT},
                                 {"name", CELL_TEXT},
                                 {"from", CELL_TEXT},
                                 {"to", CELL_TEXT}};

typedef struct {
  pagestore_instance *other;
  report *report;
  bool backwards; /* walking `to`: only what `from` has not */
  bool *same;
  uint8_t *value; /* METADATA_ROOM */
} walk;

static void row(walk *w, const char *what, const char *name, const char *from, const char *to) {
  *w->same = false;
  report_row(w->report, (cell[]){of_text(what), of_text(name), of_text(from), of_text(to)});
}

/* ---- memories -------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  pagestore_memory_info info;
  bool found;
} lookup;

static int match_name(void *env, const pagestore_memory_info *m) {
  lookup *l = env;
  if (strcmp(m->name, l->name) != 0) return 0;
  l->info = *m;
  l->found = true;
  return 1;
}

static const char *describe(const pagestore_memory_info *m, char to[TEXT_SIZE]) {
  snprintf(to, TEXT_SIZE, "%" PRIu64 " pages, %s-bit%s", m->pages,
           m->flags & PAGESTORE_MEMORY64 ? "64" : "32", m->flags & PAGESTORE_KEEP ? ", keep" : "");
  return to;
}

static int compare_memory(void *env, const pagestore_memory_info *m) {
  walk *w = env;
  lookup other = {.name = m->name};
  char here[TEXT_SIZE], there[TEXT_SIZE];
  pagestore_memory_each(w->other, match_name, &other);
  if (!other.found)
    row(w, "memory", m->name, w->backwards ? NULL : describe(m, here),
        w->backwards ? describe(m, here) : NULL);
  else if (!w->backwards && (other.info.pages != m->pages || other.info.flags != m->flags))
    row(w, "memory", m->name, describe(m, here), describe(&other.info, there));
  return 0;
}

/* ---- metadata -------------------------------------------------------------------------------- */

static const char *length_text(size_t length, const char *kind, char to[TEXT_SIZE]) {
  snprintf(to, TEXT_SIZE, "%zu %sbytes", length, kind);
  return to;
}

static int compare_metadata(void *env, const char *key, const void *value, size_t length) {
  walk *w = env;
  size_t there_length;
  char here[TEXT_SIZE], there[TEXT_SIZE];
  int status = pagestore_metadata_get(w->other, key, w->value, METADATA_ROOM, &there_length);
  length_text(length, "", here);
  if (status == PAGESTORE_ENOTFOUND)
    row(w, "metadata", key, w->backwards ? NULL : here, w->backwards ? here : NULL);
  else if (status) return 1;
  else if (!w->backwards && (there_length != length || memcmp(value, w->value, length) != 0))
    row(w, "metadata", key, here,
        length_text(there_length, there_length == length ? "other " : "", there));
  return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

static int compare_modules(walk *w, pagestore_instance *from, pagestore_instance *to) {
  pagestore_instance_info a = {.size = sizeof a}, b = {.size = sizeof b};
  char text_a[65], text_b[65];
  int status = pagestore_instance_stat(from, &a);
  if (!status) status = pagestore_instance_stat(to, &b);
  if (!status && memcmp(a.module_hash, b.module_hash, sizeof a.module_hash) != 0)
    row(w, "module", NULL, text_hash(a.module_hash, 32, text_a, sizeof text_a),
        text_hash(b.module_hash, 32, text_b, sizeof text_b));
  return status;
}

int diff_state(comparison *c, report *r, bool *same) {
  walk w = {.other = c->to, .report = r, .same = same, .value = malloc(METADATA_ROOM)};
  if (!w.value) return PAGESTORE_ENOMEM;
  report_sheet(r, "state", columns, sizeof columns / sizeof *columns);
  int status = compare_modules(&w, c->from, c->to);
  if (!status) status = pagestore_memory_each(c->from, compare_memory, &w);
  if (!status) status = pagestore_metadata_each(c->from, compare_metadata, &w);
  w.other = c->from;
  w.backwards = true;
  if (!status) status = pagestore_memory_each(c->to, compare_memory, &w);
  if (!status) status = pagestore_metadata_each(c->to, compare_metadata, &w);
  free(w.value);
  return status;
}
