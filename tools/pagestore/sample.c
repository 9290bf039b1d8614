/* sample.c - see sample.h. */
#include "sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"
#include "look.h"

/* ---- one ------------------------------------------------------------------------------------- */

static int add(void *env, const pagestore_instance_info *i) {
  sample *s = env;
  if (s->count == s->room) {
    size_t room = s->room ? s->room * 2 : 64;
    sample_instance *items = realloc(s->items, room * sizeof *items);
    if (!items) return 1;
    s->items = items;
    s->room = room;
  }
  sample_instance *to = &s->items[s->count++];
  *to = (sample_instance){
      .version = i->durable, .pages = i->pages, .stored_pages = i->stored_pages, .versions_per_second = -1};
  snprintf(to->name, sizeof to->name, "%s", i->name);
  return 0;
}

static uint64_t wall_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int sample_take(pagestore_store *store, const char *path, sample *out) {
  *out = (sample){.info.size = sizeof out->info, .wall_ns = wall_ns()};
  clock_gettime(CLOCK_MONOTONIC, &out->at);
  int status = pagestore_transaction(store, &out->transaction);
  if (!status) status = pagestore_instance_each(store, NULL, add, out);
  if (!status) status = pagestore_store_stat(store, &out->info);
  if (!status) writer_find(path, &out->writer);
  if (!status) return EXIT_OK;
  sample_free(out);
  return status == PAGESTORE_EABORTED ? complain_memory() : look_failed(status);
}

void sample_free(sample *s) {
  free(s->items);
  s->items = NULL;
  s->count = s->room = 0;
}

/* ---- two ------------------------------------------------------------------------------------- */

static double seconds_between(const struct timespec *a, const struct timespec *b) {
  return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

/* Both lists ascend. An instance that is new since, or was made anew, began with version 0; one that is gone counts
 * for nothing. */
static uint64_t compare_items(const sample *before, sample *now, double seconds) {
  uint64_t versions = 0;
  size_t j = 0;
  for (size_t i = 0; i < now->count; i++) {
    sample_instance *item = &now->items[i];
    while (j < before->count && strcmp(before->items[j].name, item->name) < 0) j++;
    bool known = j < before->count && strcmp(before->items[j].name, item->name) == 0;
    uint64_t from = known && before->items[j].version <= item->version ? before->items[j].version : 0;
    versions += item->version - from;
    item->versions_per_second = (double)(item->version - from) / seconds;
  }
  return versions;
}

sample_change sample_compare(const sample *before, sample *now) {
  double seconds = seconds_between(&before->at, &now->at);
  if (seconds <= 0) seconds = 1e-9;
  uint64_t versions = compare_items(before, now, seconds), flushes = now->transaction - before->transaction;
  bool same = now->writer.pid && now->writer.pid == before->writer.pid;
  return (sample_change){
      .seconds = seconds,
      .versions_per_second = (double)versions / seconds,
      .flushes_per_second = (double)flushes / seconds,
      .versions_per_flush = flushes ? (double)versions / (double)flushes : -1,
      .file_bytes_per_second = ((double)now->info.file_bytes - (double)before->info.file_bytes) / seconds,
      .writer_cpu_percent = same ? (double)(now->writer.cpu_ns - before->writer.cpu_ns) / seconds / 1e7 : -1,
      .writer_bytes_per_second = same && now->writer.io_known && before->writer.io_known
                                     ? (double)(now->writer.written_bytes - before->writer.written_bytes) / seconds
                                     : -1,
  };
}

const sample_instance *sample_busiest(const sample *s) {
  const sample_instance *most = s->count ? &s->items[0] : NULL;
  for (size_t i = 1; i < s->count; i++)
    if (s->items[i].versions_per_second > most->versions_per_second) most = &s->items[i];
  return most;
}

/* ---- flushes --------------------------------------------------------------------------------- */

static int note_present(void *env, const pagestore_history_info *i) {
  if (!i->snapshot) *(pagestore_history_info *)env = *i;
  return 0;
}

void sample_poll(pagestore_store *store, uint64_t *transaction, sample_flushes *f) {
  uint64_t newest;
  pagestore_history_info present = {0};
  if (pagestore_transaction(store, &newest) != 0 || newest == *transaction) return;
  *transaction = newest;
  if (!f->instance[0] || pagestore_history_each(store, f->instance, note_present, &present) != 0) return;
  uint64_t now = wall_ns(); /* behind the read: what it found is durable by now */
  if (present.version <= f->version || present.time_ns > now) return; /* the wall clock may have been set */
  f->version = present.version;
  double ms = (double)(now - present.time_ns) / 1e6;
  f->count++;
  f->sum_ms += ms;
  if (ms > f->max_ms) f->max_ms = ms;
}
