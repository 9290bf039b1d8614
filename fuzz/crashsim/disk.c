/* disk.c - see disk.h. */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "totals.h"

/* ---- entries --------------------------------------------------------------------------------- */

static int entry_at(const disk_tree *t, uint32_t directory, const char *name) {
  for (uint32_t i = 0; i < t->count; i++)
    if (t->entry[i].directory == directory && strcmp(t->entry[i].name, name) == 0) return (int)i;
  return -1;
}

int tree_find(const disk_tree *t, uint32_t directory, const char *name) {
  int at = entry_at(t, directory, name);
  return at < 0 ? -1 : (int)t->entry[at].file;
}

static void tree_add(disk_tree *t, uint32_t directory, const char *name, uint32_t file) {
  if (t->count == DISK_ENTRIES_MAX) give_up("too many entries");
  disk_entry *e = &t->entry[t->count++];
  *e = (disk_entry){.directory = directory, .file = file};
  snprintf(e->name, sizeof e->name, "%s", name);
}

void tree_apply(disk_tree *t, const event *e, pending_kind kind) {
  bool comes = kind == PENDING_COMES, renamed = e->kind == EVENT_RENAME;
  uint32_t directory = comes && renamed ? e->to_directory : e->directory;
  const char *name = comes && renamed ? e->to_name : e->name;
  int at = entry_at(t, directory, name);
  if (comes && at < 0) tree_add(t, directory, name, e->file);
  else if (comes) t->entry[at].file = e->file;
  else if (at >= 0 && t->entry[at].file == e->file) t->entry[at] = t->entry[--t->count];
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void file_reserve(disk_file *f, uint64_t size) {
  if (size <= f->room) return;
  uint64_t room = f->room ? f->room : 1 << 20;
  while (room < size) room *= 2;
  f->bytes = realloc(f->bytes, room);
  f->touched = realloc(f->touched, room / DISK_PAGE / 8);
  if (!f->bytes || !f->touched) give_up("no memory for a disk");
  memset(f->bytes + f->room, 0, room - f->room);
  memset((uint8_t *)f->touched + f->room / DISK_PAGE / 8, 0, (room - f->room) / DISK_PAGE / 8);
  f->room = room;
}

static void file_write(disk_file *f, uint64_t offset, const uint8_t *bytes, uint64_t size) {
  file_reserve(f, offset + size);
  memcpy(f->bytes + offset, bytes, size);
  if (offset + size > f->size) f->size = offset + size;
  for (uint64_t page = offset / DISK_PAGE; page * DISK_PAGE < offset + size; page++)
    f->touched[page / 64] |= 1ull << page % 64;
  if (f->mirror >= 0 && pwrite(f->mirror, bytes, size, (off_t)offset) != (ssize_t)size)
    give_up("no memory for a mirror");
}

static void event_becomes_durable(disk *d, const event *e) {
  file_write(&d->file[e->file], e->offset, e->bytes, e->size);
}

/* ---- pending --------------------------------------------------------------------------------- */

static void pending_add(disk *d, pending_kind kind, uint64_t event) {
  if (d->pending_count == d->pending_room) {
    d->pending_room = d->pending_room ? d->pending_room * 2 : 64;
    d->pending = realloc(d->pending, d->pending_room * sizeof *d->pending);
    if (!d->pending) give_up("no memory for pending writes");
  }
  d->pending[d->pending_count++] = (disk_pending){kind, event};
}

bool disk_has_pending(const disk *d, uint32_t file, pending_kind kind) {
  for (uint32_t i = 0; i < d->pending_count; i++)
    if (d->pending[i].kind == kind && d->log->events[d->pending[i].event].file == file) return true;
  return false;
}

static bool is_of_directory(const event *e, pending_kind kind, uint32_t directory) {
  return (kind == PENDING_COMES && e->kind == EVENT_RENAME ? e->to_directory : e->directory) == directory;
}

/* The new name of a rename is there wherever the old one is gone. */
static bool is_settled(const disk *d, uint32_t i, uint32_t synced) {
  const disk_pending *p = &d->pending[i];
  const event *e = &d->log->events[p->event];
  if (p->kind == PENDING_WRITE) return e->file == synced;
  if (is_of_directory(e, p->kind, synced)) return true;
  return p->kind == PENDING_COMES && e->kind == EVENT_RENAME && is_of_directory(e, PENDING_GOES, synced);
}

static void settle(disk *d, uint32_t synced) {
  uint32_t left = 0;
  for (uint32_t i = 0; i < d->pending_count; i++) {
    const disk_pending *p = &d->pending[i];
    const event *e = &d->log->events[p->event];
    if (!is_settled(d, i, synced)) d->pending[left++] = *p;
    else if (p->kind == PENDING_WRITE) event_becomes_durable(d, e);
    else tree_apply(&d->tree, e, p->kind);
  }
  d->pending_count = left;
}

void disk_settle_all(disk *d) {
  for (uint32_t i = 0; i < d->pending_count; i++) {
    const event *e = &d->log->events[d->pending[i].event];
    if (d->pending[i].kind == PENDING_WRITE) event_becomes_durable(d, e);
    else tree_apply(&d->tree, e, d->pending[i].kind);
  }
  d->pending_count = 0;
}

/* The pages of an O_DSYNC write go to the disk whole, with what was pending in them. */
static bool goes_along(const event *pending, const event *written) {
  uint64_t first = written->offset / DISK_PAGE * DISK_PAGE, end = written->offset + written->size;
  return pending->file == written->file && pending->offset < (end + DISK_PAGE - 1) / DISK_PAGE * DISK_PAGE &&
         pending->offset + pending->size > first;
}

static void done(disk *d, const event *e) {
  uint32_t left = 0;
  for (uint32_t i = 0; i < d->pending_count; i++) {
    const event *of = &d->log->events[d->pending[i].event];
    if (d->pending[i].kind == PENDING_WRITE && d->pending[i].event <= e->write &&
        goes_along(of, &d->log->events[e->write]))
      event_becomes_durable(d, of);
    else d->pending[left++] = d->pending[i];
  }
  d->pending_count = left;
}

void disk_step(disk *d) {
  uint64_t at = d->at++;
  const event *e = &d->log->events[at];
  switch (e->kind) {
  case EVENT_WRITE: pending_add(d, PENDING_WRITE, at); break;
  case EVENT_DONE: done(d, e); break;
  case EVENT_SYNC: settle(d, e->file); break;
  case EVENT_MAKE: pending_add(d, PENDING_COMES, at); break;
  case EVENT_RENAME: pending_add(d, PENDING_COMES, at), pending_add(d, PENDING_GOES, at); break;
  case EVENT_REMOVE: pending_add(d, PENDING_GOES, at); break;
  case EVENT_BEGIN: d->begun = (int64_t)e->seal; break;
  case EVENT_ACK:
    if ((int64_t)e->seal > d->acknowledged) d->acknowledged = (int64_t)e->seal;
    break;
  }
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 * */

void disk_begin(disk *d, const record_log *log, bool mirrored, int64_t acknowledged, int64_t begun) {
  *d = (disk){.log = log, .acknowledged = acknowledged, .begun = begun};
  for (uint32_t f = 0; f < log->files; f++) {
    bool is_data = !log->file[f].is_directory && !log->file[f].is_lock;
    d->file[f].mirror = mirrored && is_data ? memfd_create("disk", MFD_CLOEXEC) : -1;
    if (is_data) file_reserve(&d->file[f], 1);
    if (log->file[f].initial_bytes) file_write(&d->file[f], 0, log->file[f].initial, log->file[f].initial_bytes);
  }
  for (uint32_t i = 0; i < log->initial_count; i++)
    tree_add(&d->tree, log->initial[i].directory, log->initial[i].name, log->initial[i].file);
}

void disk_end(disk *d) {
  for (uint32_t f = 0; f < d->log->files; f++) {
    free(d->file[f].bytes);
    free(d->file[f].touched);
    if (d->file[f].mirror >= 0) close(d->file[f].mirror);
  }
  free(d->pending);
}
