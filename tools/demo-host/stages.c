/* stages.c - the second half of the demo: traps, upgrade, snapshots, forks, the summary. See
 * stages.h. */
#include "stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long version_of(const guest *g) {
  return (unsigned long long)pagestore_committed_version(g->instance);
}

static int count_range(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory, (void)offset;
  *(uint64_t *)env += length / PAGESTORE_BLOCK;
  return 0;
}

static int dirty_blocks(guest *g, uint64_t *count) {
  *count = 0;
  if (pagestore_memory_blocks(g->heap, PAGESTORE_BLOCKS_DIRTY, count_range, count) ||
      pagestore_memory_blocks(g->stable, PAGESTORE_BLOCKS_DIRTY, count_range, count))
    return demo_failed("dirty blocks");
  return 0;
}

/* ---- a message that traps half-way ----------------------------------------------------------- */

int stage_trap(demo *d) {
  guest *g = &d->guest;
  int code;
  uint64_t result, blocks;
  uint64_t pages = pagestore_memory_pages(g->stable);
  unsigned long long version = version_of(g);
  if (guest_call(g, GUEST_POISON, NULL, NULL, 0, &code, &result) || dirty_blocks(g, &blocks))
    return 1;
  uint64_t grown = pagestore_memory_pages(g->stable);
  if (code != WASM_RT_TRAP_UNREACHABLE || blocks < 10 || grown < pages) {
    fprintf(stderr, "demo: poison ended with %d, %llu blocks dirty\n", code,
            (unsigned long long)blocks);
    return 1;
  }
  if (guest_forget(g) || guest_matches(g, &d->now, "after the trap")) return 1;
  if (version_of(g) != version || pagestore_memory_pages(g->stable) != pages)
    return fprintf(stderr, "demo: the trap left something\n"), 1;
  demo_say("trap", "a message of 500 inserts trapped (%s): %llu dirty blocks, %llu pages grown;",
           wasm_rt_strerror((wasm_rt_trap_t)code), (unsigned long long)blocks,
           (unsigned long long)(grown - pages));
  demo_say("", "rolled back: version %llu, %llu pages, every record as before", version,
           (unsigned long long)pages);
  return 0;
}

/* ---- the new module -------------------------------------------------------------------------- */

int stage_upgrade(demo *d) {
  size_t sections;
  int from = d->guest.module;
  if (guest_upgrade(&d->guest) || guest_matches(&d->guest, &d->now, "after the upgrade")) return 1;
  if (guest_sections_match(&d->guest, &d->now, &sections)) return 1;
  demo_say("upgrade",
           "module %d to 2 as version %llu: heap new, stable memory kept, "
           "an index of %zu sections over %zu records",
           from, version_of(&d->guest), sections, d->now.count);
  return 0;
}

/* ---- snapshot, view, restore ----------------------------------------------------------------- */

/* Removes a third, changes a third; a name that no file has comes in. */
static int change_things(demo *d, model *to) {
  static const char text[] = "Package: demo-change\nSection: demo\n";
  const unsigned flags = PAGESTORE_ASYNC;
  model_copy(to, &d->now);
  for (size_t i = 0; i < d->now.count; i++) {
    const record *r = &d->now.at[i];
    if (i % 3 == 0) {
      if (guest_message(&d->guest, GUEST_REMOVE, r->name, NULL, 0, 1, flags, NULL)) return 1;
      model_remove(to, r->name);
    } else if (i % 3 == 1) {
      if (guest_message(&d->guest, GUEST_PUT, r->name, text, sizeof text - 1, 0, flags, NULL))
        return 1;
      model_put(to, r->name, text, sizeof text - 1);
    }
  }
  if (guest_message(&d->guest, GUEST_PUT, "demo-change", text, sizeof text - 1,
                    !model_find(to, "demo-change"), flags, NULL))
    return 1;
  model_put(to, "demo-change", text, sizeof text - 1);
  return 0;
}

/* The view runs the module too, on private pages. */
static int compare_view(demo *d, const char *snapshot, uint64_t *differing) {
  guest view = {0};
  pagestore_instance *present = NULL, *past = NULL;
  int failed = guest_open(&view, d->store, "demo", PAGESTORE_PRIVATE, snapshot, &d->times) ||
               guest_matches(&view, &d->now, "in the view");
  *differing = 0;
  if (!failed &&
      (pagestore_instance_open(d->store, "demo",
                               PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                               &present) ||
       pagestore_instance_open(d->store, "demo",
                               PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ,
                                              .snapshot = snapshot),
                               &past) ||
       pagestore_diff(past, present, count_range, differing)))
    failed = demo_failed("view");
  if (past) pagestore_instance_close(past);
  if (present) pagestore_instance_close(present);
  guest_close(&view);
  return failed;
}

static int restore(demo *d, const char *snapshot) {
  uint64_t version;
  if (pagestore_restore(d->guest.instance, snapshot)) return demo_failed("restore");
  if (guest_reload(&d->guest)) return 1;
  if (pagestore_wasm2c_commit(&d->guest.wasm2c, 0, &version)) return demo_failed("commit");
  return guest_matches(&d->guest, &d->now, "after the restore");
}

int stage_snapshot(demo *d) {
  char name[32];
  model changed;
  uint64_t differing, microseconds;
  size_t sections;
  snprintf(name, sizeof name, "run-%u", d->run);
  unsigned long long version = version_of(&d->guest);
  if (pagestore_snapshot_create(d->guest.instance, name, 0)) return demo_failed("snapshot");
  if (change_things(d, &changed) || guest_matches(&d->guest, &changed, "after changes")) return 1;
  if (compare_view(d, name, &differing)) return 1;
  demo_say("snapshot",
           "%s names version %llu; then two thirds of the records removed or changed: version %llu",
           name, version, version_of(&d->guest));
  demo_say("",
           "a view of the snapshot shows the old bytes, the present the new; %llu blocks differ",
           (unsigned long long)differing);
  uint64_t before = demo_ns();
  if (restore(d, name)) return 1;
  microseconds = (demo_ns() - before) / 1000;
  if (guest_sections_match(&d->guest, &d->now, &sections)) return 1;
  demo_say("restore",
           "as version %llu in %.1f ms, comparing included: "
           "every record and all %zu sections as in the snapshot",
           version_of(&d->guest), (double)microseconds / 1000, sections);
  model_free(&changed);
  return differing == 0 ? fprintf(stderr, "demo: the view equals the present\n"), 1 : 0;
}

/* ---- fork ------------------------------------------------------------------------------------ */

/* Both handles change the same name and one of their own; neither sees the other's. */
static int go_own_ways(demo *d, guest *other, model *theirs) {
  static const char here[] = "Section: here\n", there[] = "Section: there\n";
  guest *g = &d->guest;
  model_copy(theirs, &d->now);
  for (size_t i = 0; i < d->now.count; i += 2) {
    if (guest_message(other, GUEST_REMOVE, d->now.at[i].name, NULL, 0, 1, PAGESTORE_ASYNC, NULL))
      return 1;
    model_remove(theirs, d->now.at[i].name);
  }
  if (guest_message(g, GUEST_PUT, "own-way", here, sizeof here - 1, 1, 0, NULL)) return 1;
  if (guest_message(other, GUEST_PUT, "own-way", there, sizeof there - 1, 1, 0, NULL)) return 1;
  model_put(&d->now, "own-way", here, sizeof here - 1);
  model_put(theirs, "own-way", there, sizeof there - 1);
  return guest_matches(g, &d->now, "the original beside its fork") ||
         guest_matches(other, theirs, "the fork");
}

int stage_fork_ways(demo *d) {
  char name[32];
  guest other = {0};
  model theirs = {0};
  pagestore_instance *instance;
  snprintf(name, sizeof name, "demo-fork-%u", d->run);
  if (pagestore_fork(d->guest.instance, name, NULL, &instance)) return demo_failed("fork");
  int failed = guest_adopt(&other, instance, d->guest.module, &d->times) ||
               go_own_ways(d, &other, &theirs);
  if (!failed)
    demo_say(
        "fork",
        "%s at version %llu with %zu records, demo at version %llu with %zu: each as it must be",
        name, version_of(&other), theirs.count, version_of(&d->guest), d->now.count);
  guest_close(&other);
  model_free(&theirs);
  if (failed) return 1;
  model_remove(&d->now, "own-way");
  return guest_message(&d->guest, GUEST_REMOVE, "own-way", NULL, 0, 1, 0, NULL);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Once more from the disk, then the sums. */
int stage_finish(demo *d) {
  if (demo_close(d) || demo_open(d, NULL, NULL)) return 1;
  if (guest_matches(&d->guest, &d->now, "after reopening")) return 1;
  uint64_t pages = pagestore_memory_pages(d->guest.heap) + pagestore_memory_pages(d->guest.stable);
  unsigned long long version = version_of(&d->guest), file;
  if (demo_close(d)) return 1;
  const pagestore_statistics *s = &d->stats;
  static const char *const trackers[] = {"auto", "scan", "fault", "mprotect"};
  double messages = d->times.messages ? (double)d->times.messages : 1;
  file = (unsigned long long)s->file_bytes;
  demo_say("summary",
           "%zu records, %llu bytes; %llu pages in the memories; file %llu KiB; tracker %s",
           d->file.count, (unsigned long long)d->input_bytes, (unsigned long long)pages, file >> 10,
           trackers[s->tracker & 3]);
  demo_say("", "%llu messages here and %zu in the killed process; %.1f dirty blocks a message",
           (unsigned long long)d->times.messages,
           (size_t)(d->interrupted_message - 1 - d->found_message),
           (double)s->blocks_dirty / messages);
  demo_say("",
           "time in the guest %.0f ms, at boundaries %.0f ms, "
           "in the flusher %.0f ms (%llu flushes, %llu KiB)",
           (double)d->times.guest_ns / 1e6, (double)d->times.boundary_ns / 1e6,
           (double)s->flush_ns / 1e6, (unsigned long long)s->flushes,
           (unsigned long long)(s->bytes_flushed >> 10));
  printf("demo: %zu records, %llu bytes, version %llu; "
         "killed, restarted, trapped, upgraded, restored, forked: all as it must be\n",
         d->file.count, (unsigned long long)d->input_bytes, version);
  return 0;
}
