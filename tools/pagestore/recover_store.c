/* recover_store.c - see recover_store.h. */
#include "recover_store.h"

#include <errno.h>
#include <pagestore.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "storage/catalog.h"
#include "storage/directory.h"

enum { ROWS_PER_COMMIT = 256, END_OF_ROWS = 255 };

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
  store_rows rows;
  void *env;
  db *db;
  db_txn *txn;
  unsigned puts;
} writing;

static int commit(writing *w) {
  db_txn *txn = w->txn;
  w->txn = NULL;
  w->puts = 0;
  return txn ? db_commit(txn) : 0;
}

static int put_row(void *env, db_table table, bytes key, bytes value) {
  writing *w = env;
  int err = w->txn ? 0 : db_begin(w->db, &w->txn);
  if (!err) err = db_put(w->txn, table, key, value);
  return err || ++w->puts < ROWS_PER_COMMIT ? err : commit(w);
}

/* The record names the transaction that writes it. Twice, so that both meta pages lead to one. */
static int put_record(writing *w, store_record *record) {
  int err = w->txn ? 0 : db_begin(w->db, &w->txn);
  if (err) return err;
  record->flush_txn_id = db_txn_id(w->txn);
  err = catalog_put_store(w->txn, record);
  return err ? err : commit(w);
}

static int make(void *env, const char *path) {
  writing *w = env;
  store_record record;
  int err = db_open(path, &(db_options){.create_tables = true}, &w->db);
  if (err) return err;
  err = w->rows(w->env, put_row, w, &record);
  for (unsigned i = 0; i < 2 && !err; i++) err = put_record(w, &record);
  if (w->txn) db_abort(w->txn);
  db_close(w->db);
  return err;
}

static void after_fork(void *env) { (void)env; }

int store_write(const char *path, store_rows rows, void *env) {
  writing w = {.rows = rows, .env = env};
  directory *made;
  struct stat st;
  if (lstat(path, &st) == 0) return fail(PAGESTORE_EEXIST, "%s exists: give a path where nothing is", path);
  directory_options options = {.create = true, .exclusive = true, .make = make, .env = &w, .after_fork = after_fork};
  int err = directory_open(path, &options, &made);
  if (!err) directory_close(made);
  return err;
}

/* ---- through a pipe -------------------------------------------------------------------------- */

typedef struct {
  uint32_t table, key_bytes, value_bytes;
} frame;

static int write_all(int fd, const void *from, size_t length) {
  const uint8_t *at = from;
  while (length) {
    ssize_t n = write(fd, at, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno(PAGESTORE_EIO, errno, "the pipe to the writing process broke");
    at += n;
    length -= (size_t)n;
  }
  return 0;
}

static int send(int fd, uint32_t table, bytes key, bytes value) {
  frame f = {table, (uint32_t)key.size, (uint32_t)value.size};
  int err = write_all(fd, &f, sizeof f);
  if (!err) err = write_all(fd, key.data, key.size);
  return err ? err : write_all(fd, value.data, value.size);
}

int rows_send(int *fd, db_table table, bytes key, bytes value) { return send(*fd, table, key, value); }

int rows_send_end(int fd, const store_record *record) {
  return send(fd, END_OF_ROWS, (bytes){0}, (bytes){record, sizeof *record});
}

static int read_all(int fd, void *to, size_t length) {
  uint8_t *at = to;
  while (length) {
    ssize_t n = read(fd, at, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(PAGESTORE_ECORRUPT, "the sandbox ended before it had sent everything");
    at += n;
    length -= (size_t)n;
  }
  return 0;
}

/* What comes out of the sandbox is not believed either: it goes into the tables as bytes, within their bounds. */
int rows_receive(void *env, salvage_put put, void *put_env, store_record *record) {
  static uint8_t key[CATALOG_KEY_BYTES_MAX], value[PAGE_RECORD_BYTES];
  int fd = *(int *)env, err;
  frame f;
  for (;;) {
    if ((err = read_all(fd, &f, sizeof f)) != 0) return err;
    bool end = f.table == END_OF_ROWS;
    bool fits = end ? f.key_bytes == 0 && f.value_bytes == sizeof *record
                    : f.table < DB_TABLES && f.key_bytes >= 1 && f.key_bytes <= sizeof key &&
                          f.value_bytes <= sizeof value;
    if (!fits) return fail(PAGESTORE_ECORRUPT, "the sandbox sent what is no row");
    if (end) return read_all(fd, record, sizeof *record);
    if ((err = read_all(fd, key, f.key_bytes)) != 0 || (err = read_all(fd, value, f.value_bytes)) != 0) return err;
    if ((err = put(put_env, (db_table)f.table, (bytes){key, f.key_bytes}, (bytes){value, f.value_bytes})) != 0)
      return err;
  }
}

bool rows_wait(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  while (poll(&p, 1, -1) < 0 && errno == EINTR) continue;
  return p.revents & POLLIN;
}
