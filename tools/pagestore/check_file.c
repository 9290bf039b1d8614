/* check_file.c - see check_file.h. */
#include "check_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "complain.h"

enum { READS_MAX = 5 };

int file_open(const char *store, store_file *f) {
  *f = (store_file){.fd = -1};
  char *resolved = realpath(store, NULL);
  if (!resolved) {
    complain("%s: %s: give the directory that holds data.mdb", store, strerror(errno));
    return EXIT_FAILED;
  }
  bool fits = snprintf(f->directory, sizeof f->directory, "%s", resolved) < (int)sizeof f->directory;
  free(resolved);
  snprintf(f->path, sizeof f->path, "%s/data.mdb", f->directory);
  if (!fits) {
    complain("%s: the path is too long: move the store", store);
    return EXIT_FAILED;
  }
  f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (f->fd >= 0 && fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode)) return EXIT_OK;
  if (f->fd >= 0) {
    complain("%s is not a regular file: give the directory of a store", f->path);
    return EXIT_FAILED;
  }
  complain("%s: %s: %s", f->path, strerror(errno),
           errno == EACCES ? "run as a user who may read it" : "give the directory that holds data.mdb");
  return EXIT_FAILED;
}

void file_close(store_file *f) {
  file_unpin(f);
  if (f->fd >= 0) close(f->fd);
  f->fd = -1;
}

/* Held until the program ends: the descriptor stays open on purpose. */
int file_lock(store_file *f) {
  int directory = open(f->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0 && flock(directory, LOCK_SH | LOCK_NB) == 0) return EXIT_OK;
  if (errno == EWOULDBLOCK)
    complain("%s is open for writing: end the program that has it open, then try again", f->directory);
  else complain("%s cannot be locked: %s: copy the store to a file system that can", f->directory, strerror(errno));
  if (directory >= 0) close(directory);
  return EXIT_FAILED;
}

int file_pin(store_file *f, uint64_t *txn_id) {
  int status = db_open(f->directory, &(db_options){.read_only = true}, &f->pin);
  if (status) return complain_status(status, "a writer commits faster than this check; end it and try again");
  f->slot = db_slot_take(f->pin);
  status = db_slot_renew(f->slot);
  *txn_id = status ? 0 : db_slot_txn_id(f->slot);
  if (!status) return EXIT_OK;
  file_unpin(f);
  return complain_status(status, "a writer commits faster than this check; end it and try again");
}

void file_unpin(store_file *f) {
  if (!f->pin) return;
  db_slot_release(f->slot);
  db_close(f->pin);
  f->pin = NULL;
}

static bool same_metas(const walker_metas *a, const walker_metas *b) {
  for (unsigned i = 0; i < LMDB_METAS; i++)
    if (a->meta[i].txn_id != b->meta[i].txn_id || a->meta[i].usable != b->meta[i].usable) return false;
  return a->file_bytes == b->file_bytes;
}

int file_metas(const store_file *f, walker_metas *out) {
  walker_metas before;
  int status = walker_check_meta(f->fd, f->path, out);
  for (unsigned i = 1; status && i < READS_MAX; i++) {
    before = *out;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    status = walker_check_meta(f->fd, f->path, out);
    if (status && same_metas(&before, out)) break;
  }
  return status;
}
