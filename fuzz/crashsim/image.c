/* image.c - see image.h. */
#include "image.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "totals.h"
#include "workload.h"

enum { LOCK_BYTES = 8192, PATH_BYTES = 900 };

/* ---- files ----------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

void remove_all(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static void make_directory(const char *path) {
  if (mkdir(path, 0777) != 0) give_up("%s cannot be made", path);
}

static void write_file(const char *path, const uint8_t *bytes, uint64_t size) {
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  while (fd >= 0 && size > 0) {
    ssize_t done = write(fd, bytes, size);
    if (done <= 0) give_up("%s cannot be written: no room?", path);
    bytes += done, size -= (uint64_t)done;
  }
  if (fd < 0) give_up("%s cannot be written", path);
  close(fd);
}

/* ---- names ----------------------------------------------------------------------------------- */

uint32_t image_entries(const disk *d) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < d->pending_count; i++) count += d->pending[i].kind != PENDING_WRITE;
  return count;
}

/* Both halves of a rename in one directory, or a new name at least where the old one is gone. */
static bool entry_happened(const disk *d, uint32_t i, uint64_t chosen, uint32_t number) {
  const event *e = &d->log->events[d->pending[i].event];
  bool comes = d->pending[i].kind == PENDING_COMES, this_one = chosen >> number % 64 & 1;
  if (e->kind != EVENT_RENAME) return this_one;
  bool has_other = comes ? i + 1 < d->pending_count && d->pending[i + 1].event == d->pending[i].event
                         : i > 0 && d->pending[i - 1].event == d->pending[i].event;
  if (!has_other) return this_one;
  if (e->directory == e->to_directory) return comes ? this_one : chosen >> (number - 1) % 64 & 1;
  bool other = chosen >> (comes ? number + 1 : number - 1) % 64 & 1;
  return comes ? this_one || other : this_one;
}

static void choose_tree(const disk *d, const crash_state *s, disk_tree *out) {
  uint32_t number = 0;
  *out = d->tree;
  for (uint32_t i = 0; i < d->pending_count; i++) {
    if (d->pending[i].kind == PENDING_WRITE) continue;
    if (entry_happened(d, i, s->entries, number))
      tree_apply(out, &d->log->events[d->pending[i].event], d->pending[i].kind);
    number++;
  }
}

/* The lock file comes and goes by another choice. */
static bool trees_are_equal(const record_log *log, const disk_tree *a, const disk_tree *b) {
  uint32_t others[2] = {0};
  for (uint32_t i = 0; i < a->count; i++) {
    if (log->file[a->entry[i].file].is_lock) continue;
    others[0]++;
    if (tree_find(b, a->entry[i].directory, a->entry[i].name) != (int)a->entry[i].file) return false;
  }
  for (uint32_t i = 0; i < b->count; i++) others[1] += !log->file[b->entry[i].file].is_lock;
  return others[0] == others[1];
}

/* The number of the only data file, if it is STORE_NAME/data.mdb; else -1. */
static int only_data(const record_log *log, const disk_tree *t) {
  int found = -1;
  for (uint32_t i = 0; i < t->count; i++) {
    const record_file *f = &log->file[t->entry[i].file];
    if (f->is_directory || f->is_lock) continue;
    int store = tree_find(t, 0, STORE_NAME);
    if (found >= 0 || store < 0 || (int)t->entry[i].directory != store) return -1;
    found = (int)t->entry[i].file;
  }
  return found;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool is_kept(const crash_state *s, uint32_t i) { return s->kept[i / 64] >> i % 64 & 1; }

static uint64_t size_of(const disk *d, const crash_state *s, uint32_t file) {
  uint64_t written = d->file[file].size, all = written;
  for (uint32_t i = 0; i < s->count; i++) {
    const piece *p = &s->pieces[i];
    if (d->log->events[p->event].file != file) continue;
    uint64_t end = p->offset + p->size;
    if (end > all) all = end;
    if (end > written && is_kept(s, i)) written = end;
  }
  return s->size == SIZE_OLD ? d->file[file].size : s->size == SIZE_NEW ? all : written;
}

static void put_pieces(const disk *d, const crash_state *s, uint32_t file, uint8_t *to, uint64_t size) {
  for (uint32_t i = 0; i < s->count; i++) {
    const piece *p = &s->pieces[i];
    const event *e = &d->log->events[p->event];
    if (!is_kept(s, i) || e->file != file || p->offset + p->size > size) continue;
    memcpy(to + p->offset, e->bytes + (p->offset - e->offset), p->size);
  }
}

/* ---- building anew --------------------------------------------------------------------------- */

static void make_file(const image *m, const disk *d, const crash_state *s, uint32_t file, const char *path) {
  uint64_t size = size_of(d, s, file), durable = d->file[file].size < size ? d->file[file].size : size;
  uint8_t *bytes = calloc(1, size + 1);
  (void)m;
  if (!bytes) give_up("no memory for an image");
  memcpy(bytes, d->file[file].bytes, durable);
  put_pieces(d, s, file, bytes, size);
  write_file(path, bytes, size);
  free(bytes);
}

/* `made`: where a file lies already, for a second name of it. */
static void make_entries(image *m, const disk *d, const crash_state *s, uint32_t directory, const char *path,
                         char made[RECORD_FILES_MAX][PATH_BYTES]) {
  for (uint32_t i = 0; i < m->tree.count; i++) {
    const disk_entry *e = &m->tree.entry[i];
    const record_file *f = &d->log->file[e->file];
    char below[PATH_BYTES];
    if (e->directory != directory || f->is_lock) continue;
    if (snprintf(below, sizeof below, "%s/%s", path, e->name) >= (int)sizeof below) give_up("a path is too long");
    if (f->is_directory) {
      make_directory(below);
      make_entries(m, d, s, e->file, below, made);
    } else if (made[e->file][0]) {
      if (link(made[e->file], below) != 0) give_up("%s cannot be linked", below);
    } else {
      make_file(m, d, s, e->file, below);
      strcpy(made[e->file], below);
    }
  }
}

static void forget_data(image *m) {
  if (m->data < 0) return;
  munmap(m->map, IMAGE_BYTES_MAX);
  close(m->fd);
  m->data = -1;
}

static void keep_data_open(image *m, const disk *d) {
  char path[PATH_BYTES];
  m->data = only_data(d->log, &m->tree);
  if (m->data < 0) return;
  snprintf(path, sizeof path, "%s/" STORE_NAME "/data.mdb", m->root);
  m->fd = open(path, O_RDWR | O_CLOEXEC);
  m->map = m->fd < 0 ? MAP_FAILED : mmap(NULL, IMAGE_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
  if (m->map == MAP_FAILED) give_up("%s cannot be mapped", path);
  m->size = (uint64_t)lseek(m->fd, 0, SEEK_END);
  memset(m->dirty, 0xff, IMAGE_BYTES_MAX / DISK_PAGE / 8);
}

static void build_anew(image *m, const disk *d, const crash_state *s, const disk_tree *tree) {
  static char made[RECORD_FILES_MAX][PATH_BYTES];
  memset(made, 0, sizeof made);
  forget_data(m);
  remove_all(m->root);
  make_directory(m->root);
  m->tree = *tree;
  make_entries(m, d, s, 0, m->root, made);
  keep_data_open(m, d);
  m->intact = true;
}

/* ---- only the differences -------------------------------------------------------------------- */

static void mark_dirty(image *m, uint64_t offset, uint64_t size) {
  if (offset + size > IMAGE_BYTES_MAX) give_up("a data file beyond %llu bytes", IMAGE_BYTES_MAX);
  for (uint64_t page = offset / DISK_PAGE; page * DISK_PAGE < offset + size; page++)
    m->dirty[page / 64] |= 1ull << page % 64;
}

static void resize(image *m, uint64_t size) {
  if (m->size != size && ftruncate(m->fd, (off_t)size) != 0) give_up("no room for an image");
  m->size = size;
}

static void put_back_page(image *m, const disk_file *f, uint64_t page) {
  uint64_t at = page * DISK_PAGE;
  if (at >= f->size) return; /* cut off by the caller: zeros */
  memcpy(m->map + at, f->bytes + at, f->size - at < DISK_PAGE ? f->size - at : DISK_PAGE);
}

static void change_data(image *m, disk *d, const crash_state *s) {
  disk_file *f = &d->file[m->data];
  uint64_t size = size_of(d, s, (uint32_t)m->data);
  if (size > IMAGE_BYTES_MAX) give_up("a data file beyond %llu bytes", IMAGE_BYTES_MAX);
  for (uint64_t word = 0; word < f->room / DISK_PAGE / 64; word++) {
    m->dirty[word] |= f->touched[word];
    f->touched[word] = 0;
  }
  resize(m, m->size < f->size ? m->size : f->size);
  resize(m, f->size);
  for (uint64_t word = 0; word * 64 * DISK_PAGE < f->size; word++) {
    for (uint64_t bits = m->dirty[word]; bits; bits &= bits - 1)
      put_back_page(m, f, word * 64 + (uint64_t)__builtin_ctzll(bits));
  }
  memset(m->dirty, 0, IMAGE_BYTES_MAX / DISK_PAGE / 8);
  resize(m, size);
  put_pieces(d, s, (uint32_t)m->data, m->map, size);
  for (uint32_t i = 0; i < s->count; i++)
    if (is_kept(s, i)) mark_dirty(m, s->pieces[i].offset, s->pieces[i].size);
}

/* Whether the store can have a lock file by then. */
static bool has_lock(const disk *d, const disk_tree *t) {
  int store = tree_find(t, 0, STORE_NAME);
  bool has = store >= 0 && tree_find(t, (uint32_t)store, "lock.mdb") >= 0;
  for (uint32_t i = 0; i < d->pending_count && store >= 0; i++) {
    const event *e = &d->log->events[d->pending[i].event];
    has |= e->kind == EVENT_MAKE && (int)e->directory == store && d->log->file[e->file].is_lock;
  }
  return has;
}

static void change_lock(image *m, lock_choice lock) {
  char path[PATH_BYTES];
  uint8_t garbage[LOCK_BYTES];
  struct stat st;
  snprintf(path, sizeof path, "%s/" STORE_NAME, m->root);
  if (lock == LOCK_AS_IT_IS || stat(path, &st) != 0) return;
  snprintf(path, sizeof path, "%s/" STORE_NAME "/lock.mdb", m->root);
  memset(garbage, 0xa5, sizeof garbage);
  if (lock == LOCK_NONE) unlink(path);
  else write_file(path, garbage, lock == LOCK_EMPTY ? 0 : LOCK_BYTES);
}

void image_set(image *m, disk *d, const crash_state *s) {
  disk_tree tree;
  choose_tree(d, s, &tree);
  if (m->intact && m->data >= 0 && trees_are_equal(d->log, &tree, &m->tree)) change_data(m, d, s);
  else build_anew(m, d, s, &tree);
  change_lock(m, has_lock(d, &tree) ? s->lock : LOCK_NONE);
}

void image_wrote(image *m, const record_log *log) {
  for (uint64_t i = 0; i < log->count; i++) {
    const event *e = &log->events[i];
    bool is_data = !strcmp(log->file[e->file].path, STORE_NAME "/data.mdb");
    bool is_name = e->kind == EVENT_MAKE || e->kind == EVENT_RENAME || e->kind == EVENT_REMOVE;
    if (e->kind == EVENT_WRITE && is_data && m->data >= 0) mark_dirty(m, e->offset, e->size);
    else if (e->kind == EVENT_WRITE || (is_name && !log->file[e->file].is_lock)) m->intact = false;
  }
  if (m->data >= 0) m->size = (uint64_t)lseek(m->fd, 0, SEEK_END);
}

/* ---- life ------------------------------------------------------------------------------------ */

void image_begin(image *m, const char *root) {
  *m = (image){.data = -1, .dirty = calloc(IMAGE_BYTES_MAX / DISK_PAGE / 64, 8)};
  if (!m->dirty) give_up("no memory for an image");
  snprintf(m->root, sizeof m->root, "%s", root);
}

void image_leave(image *m) {
  forget_data(m);
  free(m->dirty);
}

void image_end(image *m) {
  image_leave(m);
  remove_all(m->root);
}

static const char *copy_to;
static size_t copy_from_length;

static int copy_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  char to[PATH_BYTES];
  (void)where;
  snprintf(to, sizeof to, "%s%s", copy_to, path + copy_from_length);
  if (type == FTW_D) {
    make_directory(to);
    return 0;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  uint8_t *bytes = malloc((size_t)st->st_size + 1);
  if (fd < 0 || !bytes || read(fd, bytes, (size_t)st->st_size) != st->st_size) give_up("%s cannot be read", path);
  write_file(to, bytes, (uint64_t)st->st_size);
  free(bytes);
  close(fd);
  return 0;
}

void image_copy(const char *from, const char *to) {
  copy_to = to;
  copy_from_length = strlen(from);
  if (nftw(from, copy_one, 16, FTW_PHYS) != 0) give_up("%s cannot be copied", from);
}

/* ---- the whole log against the files --------------------------------------------------------- */

static bool file_is(const char *path, const disk_file *f) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0) give_up("%s cannot be read", path);
  uint8_t *bytes = malloc((size_t)st.st_size + 1);
  if (!bytes || read(fd, bytes, (size_t)st.st_size) != st.st_size) give_up("%s cannot be read", path);
  bool same = (uint64_t)st.st_size == f->size && memcmp(bytes, f->bytes, f->size) == 0;
  free(bytes);
  close(fd);
  return same;
}

static bool directory_is(const disk *d, uint32_t directory, const char *path) {
  uint32_t must = 0, is = 0;
  bool same = true;
  DIR *dir = opendir(path);
  if (!dir) give_up("%s cannot be read", path);
  for (uint32_t i = 0; i < d->tree.count; i++) must += d->tree.entry[i].directory == directory;
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    char below[PATH_BYTES];
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    int file = tree_find(&d->tree, directory, e->d_name);
    is++;
    if (file < 0) {
      same = false;
      continue;
    }
    snprintf(below, sizeof below, "%s/%s", path, e->d_name);
    if (d->log->file[file].is_directory) same &= directory_is(d, (uint32_t)file, below);
    else if (!d->log->file[file].is_lock) same &= file_is(below, &d->file[file]);
  }
  closedir(dir);
  return same && is == must;
}

bool image_is_log(const record_log *log, const char *root) {
  disk d;
  disk_begin(&d, log, false, NO_STORE, NO_STORE);
  while (d.at < log->count) disk_step(&d);
  disk_settle_all(&d);
  bool same = directory_is(&d, 0, root);
  disk_end(&d);
  return same;
}
