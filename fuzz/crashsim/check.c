/* check.c - opening, looking, going on; see check.h. */
#include "check.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "dice.h"
#include "record.h"
#include "totals.h"
#include "workload.h"

enum { VERIFY_PERCENT = 10, MPROTECT_PERCENT = 10, READER_PERCENT = 5 };

/* Directories of creations that were cut off, in the one that holds the store or in its own: the next creation,
 * or writing open of a store that was made inside, has removed them. */
static bool has_leftovers(const char *path) {
  bool found = false;
  DIR *d = opendir(path);
  for (struct dirent *e; d && (e = readdir(d)) != NULL;) found |= strstr(e->d_name, ".new-") != NULL;
  if (d) closedir(d);
  return found;
}

static bool no_leftovers(const char *path, bool created) {
  char above[512];
  snprintf(above, sizeof above, "%s/..", path);
  if (!has_leftovers(path) && (!created || !has_leftovers(above))) return true;
  violation("what a creation left behind that was cut off is still there");
  return false;
}

static pagestore_options options_for(dice *d) {
  pagestore_options o = {.size = sizeof o, .log_bytes = dice_log_bytes(d)};
  if (dice_chance(d, VERIFY_PERCENT)) o.flags |= PAGESTORE_VERIFY;
  if (dice_chance(d, MPROTECT_PERCENT)) o.tracker = PAGESTORE_TRACK_MPROTECT;
  return o;
}

/* Where nothing was acknowledged there may be no store, but one can be made. */
static pagestore_store *open_store(const char *path, const expectation *e, dice *d, bool *created) {
  pagestore_store *store = NULL;
  pagestore_options o = options_for(d);
  int status = pagestore_open(path, &o, &store);
  *created = e->acknowledged == NO_STORE && (status == PAGESTORE_ENOTFOUND || status == PAGESTORE_EFORMAT);
  if (*created) {
    o.flags = PAGESTORE_CREATE;
    status = pagestore_open(path, &o, &store);
  }
  if (status == 0) return store;
  violation("the store cannot be %s: %s: %s", *created ? "made anew" : "opened", pagestore_strerror(status),
            pagestore_detail());
  return NULL;
}

static const moment *find_moment(pagestore_store *store, uint32_t flags, const expectation *e) {
  const char *text = "no such moment";
  char newest[512] = "";
  for (int64_t at = e->begun; at >= 0 && at >= e->acknowledged; at--) {
    const moment *m = &e->chronicle->list[at];
    if (m->refused) continue;
    if (!(text = compare_store(store, flags, m))) {
      if (at > e->acknowledged) totals_saw(SAW_LATER);
      return m;
    }
    if (!newest[0]) snprintf(newest, sizeof newest, "%s", text);
  }
  violation("at none of the moments %lld to %lld; the newest: %s; the oldest: %s", (long long)e->acknowledged,
            (long long)e->begun, newest, text);
  return NULL;
}

/* A reader that comes first sees the same, and changes nothing. */
static bool look_as_reader(const char *path, const expectation *e) {
  pagestore_store *store;
  int status = pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_READ), &store);
  if (e->acknowledged == NO_STORE && (status == PAGESTORE_ENOTFOUND || status == PAGESTORE_EFORMAT)) return true;
  if (status) violation("a reader cannot open it: %s: %s", pagestore_strerror(status), pagestore_detail());
  return status == 0 && find_moment(store, PAGESTORE_READ, e) && pagestore_close(store) == 0;
}

static bool close_store(pagestore_store *store) {
  int status = pagestore_close(store);
  if (status) violation("close after a crash: %s: %s", pagestore_strerror(status), pagestore_detail());
  return status == 0;
}

static bool look_again(const char *path, const moment *must, dice *d) {
  pagestore_store *store;
  pagestore_options o = options_for(d);
  int status = pagestore_open(path, &o, &store);
  if (status) {
    violation("the store cannot be opened after two more commits: %s: %s", pagestore_strerror(status),
              pagestore_detail());
    return false;
  }
  const char *text = compare_store(store, 0, must);
  if (text) violation("after two more commits: %s", text);
  return close_store(store) && !text;
}

bool check_store(const char *path, const expectation *e, check_options *options) {
  dice d = {options->seed};
  chronicle own, *recovery = options->recovery ? options->recovery : &own;
  uint64_t before = violations();
  *recovery = (chronicle){0};
  if (dice_chance(&d, READER_PERCENT) && !look_as_reader(path, e)) return false;
  pagestore_store *store = open_store(path, e, &d, &options->created);
  if (!store) return false;
  if (options->created) record_mark(EVENT_ACK, 0), totals_saw(SAW_NO_STORE);
  const moment *found = no_leftovers(path, options->created) ? find_moment(store, 0, e) : NULL;
  bool go_on = found && options->go_on;
  if (go_on) workload_go_on(store, dice_roll(&d), found, recovery);
  bool good = close_store(store) && found && violations() == before;
  if (good && go_on) good = look_again(path, chronicle_last(recovery), &d);
  if (!options->recovery) chronicle_free(recovery);
  return good;
}
