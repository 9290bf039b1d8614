/* record.c - the log. See record.h and, for the way from the wrapped calls, record_internal.h. */
#include "record.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record_internal.h"
#include "totals.h"

enum { FDS_MAX = 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static record_log *active; /* NULL: nothing is recorded. Changes only while no library call runs */
static bool held;
static _Thread_local bool paused;   /* the log's own calls */
static struct {
  uint16_t file_plus_1;
  bool at_once;
} fds[FDS_MAX];

bool record_enter(void) {
  if (!active || paused) return false;
  pthread_mutex_lock(&lock);
  return true;
}

void record_leave(void) { pthread_mutex_unlock(&lock); }

/* ---- files ----------------------------------------------------------------------------------- */

static int file_at(const char *path) {
  for (uint32_t f = 0; f < active->files; f++)
    if (active->file[f].inode && strcmp(active->file[f].path, path) == 0) return (int)f;
  return NOT_RECORDED;
}

static int file_with(const record_log *log, uint64_t inode) {
  for (uint32_t f = 0; f < log->files; f++)
    if (log->file[f].inode == inode) return (int)f;
  return NOT_RECORDED;
}

static bool is_lock_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return strcmp(slash ? slash + 1 : path, "lock.mdb") == 0;
}

static int file_add(record_log *log, const char *path, const struct stat *st) {
  if (log->files == RECORD_FILES_MAX || strlen(path) >= sizeof log->file[0].path) give_up("too many files to record");
  record_file *f = &log->file[log->files];
  *f = (record_file){.inode = st->st_ino, .is_directory = S_ISDIR(st->st_mode), .is_lock = is_lock_name(path)};
  strcpy(f->path, path);
  return (int)log->files++;
}

/* The path below the root of what an open descriptor names; false: it is elsewhere. */
static bool path_below(int fd, char path[PATH_MAX]) {
  char link[64], target[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, target, sizeof target - 1);
  size_t root = strlen(active->root);
  if (length < (ssize_t)root) return false;
  target[length] = 0;
  if (memcmp(target, active->root, root) != 0 || (target[root] && target[root] != '/')) return false;
  strcpy(path, target + root + (target[root] == '/'));
  return true;
}

static int directory_of(const char *path, char name[64]) {
  char above[PATH_MAX];
  const char *slash = strrchr(path, '/');
  snprintf(name, 64, "%s", slash ? slash + 1 : path);
  snprintf(above, sizeof above, "%.*s", slash ? (int)(slash - path) : 0, path);
  return file_at(above);
}

int record_file_of(int fd) {
  if (fd < 0 || fd >= FDS_MAX || !fds[fd].file_plus_1) return NOT_RECORDED;
  int file = fds[fd].file_plus_1 - 1;
  return active->file[file].is_lock ? NOT_RECORDED : file;
}

bool record_is_at_once(int fd) { return fds[fd].at_once; }

/* ---- events ---------------------------------------------------------------------------------- */

static event *event_add(event_kind kind) {
  record_log *log = active;
  if (log->count == log->room) {
    log->room = log->room ? log->room * 2 : 256;
    log->events = realloc(log->events, log->room * sizeof *log->events);
    if (!log->events) give_up("no memory for the log");
  }
  event *e = &log->events[log->count++];
  memset(e, 0, sizeof *e);
  e->kind = kind;
  return e;
}

static void made(int directory, const char *name, int file) {
  if (directory == NOT_RECORDED) give_up("an entry in a directory that is not known: %s", name);
  event *e = event_add(EVENT_MAKE);
  e->directory = (uint32_t)directory;
  e->file = (uint32_t)file;
  snprintf(e->name, sizeof e->name, "%s", name);
}

void record_opened(int fd, int flags) {
  char path[PATH_MAX], name[64];
  struct stat st;
  if (fd >= FDS_MAX) give_up("a descriptor of %d", fd);
  fds[fd].file_plus_1 = 0;
  if (fstat(fd, &st) != 0 || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) || !path_below(fd, path)) return;
  int file = file_with(active, st.st_ino);
  if (file == NOT_RECORDED) {
    if (!(flags & O_CREAT)) give_up("a file that nobody made: %s", path);
    file = file_add(active, path, &st);
    made(directory_of(path, name), name, file);
  } else {
    strcpy(active->file[file].path, path); /* of several, the name in use */
    if (flags & O_TRUNC && !active->file[file].is_lock) record_unmodelled("O_TRUNC", file);
  }
  fds[fd].file_plus_1 = (uint16_t)(file + 1);
  fds[fd].at_once = flags & O_DSYNC;
}

void record_closed(int fd) {
  if (fd >= 0 && fd < FDS_MAX) fds[fd].file_plus_1 = 0;
}

void record_wrote(int fd, uint64_t offset, const void *bytes, uint64_t size) {
  int file = record_file_of(fd);
  if (file == NOT_RECORDED) return;
  event *e = event_add(EVENT_WRITE);
  e->file = (uint32_t)file;
  e->at_once = record_is_at_once(fd);
  e->offset = offset;
  e->size = size;
  if (!active->brief) {
    e->bytes = malloc(size);
    if (!e->bytes) give_up("no memory for the log");
    memcpy(e->bytes, bytes, size);
  }
  if (!e->at_once) return;
  uint64_t write = active->count - 1;
  e = event_add(EVENT_DONE);
  e->file = (uint32_t)file;
  e->write = write;
}

void record_synced(int file) {
  if (file != NOT_RECORDED) event_add(EVENT_SYNC)->file = (uint32_t)file;
}

void record_mark(event_kind kind, uint64_t seal) {
  if (!record_enter()) return;
  event_add(kind)->seal = seal;
  record_leave();
}

void record_unmodelled(const char *call, int file) {
  violation("%s of '%s': not modelled", call, active->file[file].path);
}

/* ---- entries --------------------------------------------------------------------------------- */

/* What the name names at this moment: one look for the directory, one for the entry. */
static int look(int dirfd, const char *path, char below[PATH_MAX], struct stat *st) {
  paused = true;
  int fd = openat(dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC), file = NOT_RECORDED;
  if (fd >= 0 && fstat(fd, st) == 0 && path_below(fd, below)) file = file_with(active, st->st_ino);
  if (fd >= 0) close(fd);
  paused = false;
  return file;
}

record_entry record_entry_at(int dirfd, const char *path) {
  char below[PATH_MAX];
  struct stat st;
  record_entry entry = {.directory = NOT_RECORDED, .file = look(dirfd, path, below, &st)};
  if (entry.file == NOT_RECORDED) return entry;
  entry.directory = directory_of(below, entry.name);
  entry.is_last = S_ISDIR(st.st_mode) || st.st_nlink == 1;
  return entry;
}

void record_made(int dirfd, const char *path) {
  char below[PATH_MAX] = "", name[64];
  struct stat st;
  int file = look(dirfd, path, below, &st);
  if (file != NOT_RECORDED || !below[0]) return;
  file = file_add(active, below, &st);
  made(directory_of(below, name), name, file);
}

void record_removed(const record_entry *entry) {
  if (entry->file == NOT_RECORDED) return;
  event *e = event_add(EVENT_REMOVE);
  e->directory = (uint32_t)entry->directory;
  e->file = (uint32_t)entry->file;
  strcpy(e->name, entry->name);
  if (entry->is_last) active->file[entry->file].inode = 0;
}

/* Of the entry itself and of all below it. */
static void change_paths(const char *from, const char *to) {
  size_t length = strlen(from);
  for (uint32_t f = 0; f < active->files; f++) {
    char *path = active->file[f].path, below[sizeof active->file[0].path];
    if (strncmp(path, from, length) != 0 || (path[length] && path[length] != '/')) continue;
    strcpy(below, path + length);
    if (snprintf(path, sizeof active->file[f].path, "%s%s", to, below) >= (int)sizeof active->file[f].path)
      give_up("a path is too long");
  }
}

void record_renamed(const record_entry *from, int dirfd, const char *to) {
  char below[PATH_MAX], name[64], old[sizeof active->file[0].path];
  struct stat st;
  if (from->file == NOT_RECORDED) return;
  if (look(dirfd, to, below, &st) != from->file) give_up("renamed out of sight: %s", to);
  strcpy(old, active->file[from->file].path);
  event *e = event_add(EVENT_RENAME);
  e->directory = (uint32_t)from->directory;
  e->file = (uint32_t)from->file;
  strcpy(e->name, from->name);
  e->to_directory = (uint32_t)directory_of(below, name);
  strcpy(e->to_name, name);
  change_paths(old, below);
}

/* ---- holding --------------------------------------------------------------------------------- */

void record_wait_while_held(int file) {
  if (file == NOT_RECORDED || active->file[file].is_directory) return;
  while (held) pthread_cond_wait(&released, &lock);
}

void record_hold(void) {
  pthread_mutex_lock(&lock);
  held = true;
  pthread_mutex_unlock(&lock);
}

void record_release(void) {
  pthread_mutex_lock(&lock);
  held = false;
  pthread_cond_broadcast(&released);
  pthread_mutex_unlock(&lock);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void load_bytes(record_log *log, record_file *f) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", log->root, f->path);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) give_up("%s cannot be read", path);
  f->initial_bytes = (uint64_t)st.st_size;
  f->initial = malloc(f->initial_bytes + 1);
  if (!f->initial || read(fd, f->initial, f->initial_bytes) != st.st_size) give_up("%s cannot be read", path);
  close(fd);
}

static void take_down(record_log *log, uint32_t directory);

static void take_down_entry(record_log *log, uint32_t directory, const char *name) {
  char below[PATH_MAX], path[PATH_MAX];
  const char *above = log->file[directory].path;
  struct stat st;
  snprintf(below, sizeof below, "%s%s%s", above, *above ? "/" : "", name);
  if (snprintf(path, sizeof path, "%s/%s", log->root, below) >= (int)sizeof path || stat(path, &st) != 0)
    give_up("%s is not there", path);
  int file = file_with(log, st.st_ino);
  bool is_new = file == NOT_RECORDED;
  if (is_new) file = file_add(log, below, &st);
  if (log->initial_count == RECORD_FILES_MAX || strlen(name) >= sizeof log->initial[0].name)
    give_up("too many or too long names");
  record_name *n = &log->initial[log->initial_count++];
  *n = (record_name){.directory = directory, .file = (uint32_t)file};
  strcpy(n->name, name);
  if (log->file[file].is_directory) take_down(log, (uint32_t)file);
  else if (is_new && !log->file[file].is_lock && !log->brief) load_bytes(log, &log->file[file]);
}

/* What is there already, directories before what is in them. */
static void take_down(record_log *log, uint32_t directory) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", log->root, log->file[directory].path);
  DIR *d = opendir(path);
  if (!d) give_up("%s cannot be read", path);
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) take_down_entry(log, directory, e->d_name);
  closedir(d);
}

void record_start(record_log *log, const char *root, bool brief) {
  char resolved[PATH_MAX];
  *log = (record_log){.brief = brief};
  if (!realpath(root, resolved) || strlen(resolved) >= sizeof log->root) give_up("%s: no such directory", root);
  strcpy(log->root, resolved);
  struct stat st;
  if (stat(resolved, &st) != 0) give_up("%s: no such directory", root);
  take_down(log, (uint32_t)file_add(log, "", &st));
  memset(fds, 0, sizeof fds);
  active = log;
}

void record_stop(void) {
  active = NULL;
  held = false;
}

void record_free(record_log *log) {
  for (uint64_t i = 0; i < log->count; i++) free(log->events[i].bytes);
  for (uint32_t f = 0; f < log->files; f++) free(log->file[f].initial);
  free(log->events);
  *log = (record_log){0};
}
