/* store.c - opening and closing a store: a directory that is whole, a file that was looked at before LMDB
 * sees it, one flusher. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/faults.h"
#include "base/ram.h"
#include "base/status.h"
#include "platform.h"
#include "snapshot.h"
#include "storage/walker.h"

#define QUEUE_BYTES_DEFAULT (256ull << 20)
enum { WALKS_MAX = 3, GATHER_MS_DEFAULT = 20 };

int store_check(pagestore_store *s, bool to_write) {
  if (!s) return input_null("store");
  if (directory_forked(s->directory))
    return fail(PAGESTORE_EFORKED,
                "the store was opened before fork(): open it anew in this process, after the parent closed it");
  if (to_write && s->read_only)
    return fail(PAGESTORE_EREADONLY, "the store is open for reading: open it without PAGESTORE_READ");
  return 0;
}

void store_log(pagestore_store *s, int level, const char *text) {
  if (s->options.on_log) s->options.on_log(s->options.env, level, text);
}

uint64_t store_new_id(uint64_t *next) { return (*next)++; }

int store_read(pagestore_store *s, int (*read)(void *env, db_reader), void *env) {
  db_slot *slot = db_slot_take(s->db);
  int status = db_slot_renew(slot);
  if (status) fail(status, "the store cannot be read: check the disk and the memory");
  else status = read(env, (db_reader){ .slot = slot });
  db_slot_release(slot);
  return status;
}

enum { LOG_BYTES_MIN = 4 << 20, LOG_BYTES_MAX = 256 << 20 };

/* Half the bytes that the pages take: then a page that is written anywhere has about eight blocks in the log when it
 * is merged. */
uint64_t log_budget(const pagestore_store *s, uint64_t page_rows) {
  if (s->options.log_bytes == PAGESTORE_NO_LOG) return 0;
  if (s->options.log_bytes != 0) return s->options.log_bytes;
  if (page_rows == 0) return LOG_BYTES_MAX;  /* not known before the first flush */
  return min_u64(max_u64(page_rows * PAGE_BYTES / 2, LOG_BYTES_MIN), LOG_BYTES_MAX);
}

/* ---- making one ------------------------------------------------------------------------------ */

static int first_record(db *db) {
  store_record record = {
    .format_version = FORMAT_VERSION, .next_layer = 1, .next_instance = 1, .next_trash = 1, .created_ns = wall_ns(),
  };
  if (getrandom(&record.id, sizeof record.id, 0) != sizeof record.id)
    return fail_errno(PAGESTORE_EIO, errno, "getrandom failed: try again");
  db_txn *txn;
  int status = db_begin(db, &txn);
  if (status) return status;
  record.flush_txn_id = db_txn_id(txn);
  status = catalog_put_store(txn, &record);
  if (status) {
    db_abort(txn);
    return status;
  }
  return db_commit(txn);
}

static int make(void *env, const char *path) {
  const pagestore_options *o = env;
  db *db;
  int status = db_open(path, &(db_options){ .create_tables = true, .map_bytes = o->map_bytes }, &db);
  if (status) return status;
  status = first_record(db);
  db_close(db);
  return status;
}

/* ---- looking at one -------------------------------------------------------------------------- */

static int note_finding(void *env, uint64_t page, const char *text) {
  (void)page;
  char *first = env;
  size_t length = strnlen(text, 199);
  memcpy(first, text, length);
  first[length] = 0;
  return 1;
}

/* A page of the newest state is written again only when two later transactions began, so behind a finding the
 * newest state is another one, or the finding is true. A writer that commits faster than the walk goes keeps
 * the store from being verified by a reader: it is then
 * believed, as its writer believes it. */
static int walk(int fd, const char *path, walker_metas *metas) {
  for (unsigned try = 0; try < WALKS_MAX; try++) {
    char first[200] = "";
    walker_summary summary;
    walker_callbacks callbacks = { .env = first, .finding = note_finding };
    uint64_t txn_id = metas->meta[metas->newest].txn_id;
    int status = walker_walk(fd, metas, metas->newest, &callbacks, &summary);
    if (!first[0]) return status;
    if ((status = walker_check_meta(fd, path, metas)) != 0) return status;
    if (metas->meta[metas->newest].txn_id == txn_id)
      return fail(PAGESTORE_ECORRUPT, "%s is damaged: %s; run recover, or restore a backup", path, first);
  }
  return 0;
}

static int file_failed(int errnum, const char *path) {
  switch (errnum) {
  case ENOENT: return fail_errno(PAGESTORE_ENOTFOUND, errnum, "%s cannot be opened: check the path", path);
  case EACCES: return fail_errno(PAGESTORE_EACCES, errnum, "%s cannot be opened: change the permissions", path);
  case EMFILE:
  case ENFILE: return fail_errno(PAGESTORE_ENOMEM, errnum, "%s: no descriptor left: raise the limit (ulimit -n)", path);
  default: return fail_errno(PAGESTORE_EIO, errnum, "%s cannot be opened: check the disk", path);
  }
}

/* Before LMDB maps the file: it trusts what it finds there. */
static int look_at_file(const char *directory, bool verify) {
  char path[4096];
  int length = snprintf(path, sizeof path, "%s/data.mdb", directory);
  if (length < 0 || (size_t)length >= sizeof path)
    return fail(PAGESTORE_EINVAL, "the store's path is too long: move it");
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe there would wait for a writer */
  if (fd < 0) return file_failed(errno, path);
  walker_metas metas;
  int status = walker_check_meta(fd, path, &metas);
  if (!status && verify) status = walk(fd, path, &metas);
  close(fd);
  return status;
}

static int check_features(pagestore_store *s) {
  const store_record *r = &s->record;
  uint64_t unknown = r->incompatible & ~FEATURE_INCOMPATIBLE_LOG;
  if (unknown)
    return fail(PAGESTORE_EFORMAT, "the store uses features 0x%llx that this library does not know: update it",
                (unsigned long long)unknown);
  if (r->read_only && !s->read_only)
    return fail(
        PAGESTORE_EFORMAT,
        "the store uses features 0x%llx that this library can only read: open it with PAGESTORE_READ, or update",
        (unsigned long long)r->read_only);
  return 0;
}

static int load(void *env, db_reader reader) {
  pagestore_store *s = env;
  int status = catalog_store(reader, &s->record);
  if (status) return status;
  if ((status = check_features(s)) != 0) return status;
  if (s->record.flush_txn_id != db_slot_txn_id(reader.slot))
    return fail(PAGESTORE_ECORRUPT,
                "LMDB chose the meta page of transaction %llu, the store's last flush was %llu: a meta page is "
                "damaged; run recover",
                (unsigned long long)db_slot_txn_id(reader.slot), (unsigned long long)s->record.flush_txn_id);
  if (s->read_only) return 0;  /* its views load what they need, as of their own moment */
  if ((status = catalog_check_ids(reader, &s->record)) != 0) return status;
  if ((status = layers_load(reader, &s->layers)) != 0) return status;
  if ((status = block_log_load(reader, s->record.id, &s->log)) != 0) return status;
  block_log_budget(s->log, log_budget(s, 0));
  atomic_store(&s->counters.log_bytes, block_log_bytes(s->log));
  atomic_store(&s->counters.log_budget_bytes, log_budget(s, 0));
  return snapshot_table_load(s, reader);
}

/* ---- open ------------------------------------------------------------------------------------ */

static void after_fork(void *env) {
  pagestore_store *s = env;
  db_after_fork(s->db);
  region_after_fork();
}

static int check_options(const pagestore_options *o) {
  unsigned known = PAGESTORE_CREATE | PAGESTORE_READ | PAGESTORE_EXCLUSIVE | PAGESTORE_VERIFY;
  if (o->flags & ~known) return fail(PAGESTORE_EINVAL, "unknown store flags 0x%x", o->flags);
  if ((o->flags & PAGESTORE_READ) && (o->flags & PAGESTORE_CREATE))
    return fail(PAGESTORE_EINVAL, "READ and CREATE exclude each other");
  if ((o->flags & PAGESTORE_EXCLUSIVE) && !(o->flags & PAGESTORE_CREATE))
    return fail(PAGESTORE_EINVAL, "EXCLUSIVE goes with CREATE");
  if ((unsigned)o->tracker > PAGESTORE_TRACK_MPROTECT)
    return fail(PAGESTORE_EINVAL, "unknown tracker %d", (int)o->tracker);
  region_support support = region_probe();
  if ((o->tracker == PAGESTORE_TRACK_SCAN && !support.scan) || (o->tracker == PAGESTORE_TRACK_FAULT && !support.fault))
    return fail(PAGESTORE_EUNSUPPORTED,
                "this kernel or process has no such userfaultfd (%s): take PAGESTORE_TRACK_AUTO", support.userfaultfd);
  return 0;
}

static int open_directory(pagestore_store *s, const char *path) {
  directory_options options = {
      .create = s->options.flags & PAGESTORE_CREATE,
      .exclusive = s->options.flags & PAGESTORE_EXCLUSIVE,
      .read_only = s->read_only,
      .make = make,
      .env = &s->options,
      .after_fork = after_fork,
      .store = s,
  };
  return directory_open(path, &options, &s->directory);
}

static int open_database(pagestore_store *s) {
  int status = look_at_file(directory_path(s->directory), s->options.flags & PAGESTORE_VERIFY);
  if (status) return status;
  return db_open(directory_path(s->directory),
                 &(db_options){.read_only = s->read_only,
                               .map_bytes = s->options.map_bytes,
                               .disk_bytes = s->options.disk_bytes},
                 &s->db);
}

static int allocate(const pagestore_options *o, pagestore_store **out) {
  pagestore_store *s = calloc(1, sizeof *s);
  if (!s) return fail(PAGESTORE_ENOMEM, "no memory for a store: free some and open again");
  s->options = *o;
  s->read_only = o->flags & PAGESTORE_READ;
  if (s->options.queue_bytes == 0) s->options.queue_bytes = QUEUE_BYTES_DEFAULT;
  if (s->options.gather_ms == 0) s->options.gather_ms = GATHER_MS_DEFAULT;
  s->budget.limit_bytes = o->resident_bytes ? o->resident_bytes : ram_bytes() / 4 * 3;
  pthread_mutex_init(&s->lock, NULL);
  *out = s;
  return 0;
}

static void release(pagestore_store *s) {
  snapshot_table_free(s);
  block_log_free(s->log);
  layers_free(s->layers);
  pthread_mutex_destroy(&s->lock);
  free(s);
}

int pagestore_open(const char *path, const pagestore_options *given, pagestore_store **out) {
  pagestore_options o;
  if (!path) return input_null("path");
  if (!out) return input_null("store");
  int status = input_options(given, &o, sizeof o, "pagestore_options");
  if (!status) status = check_options(&o);
  if (!status) status = faults_install();
  if (status) return status;
  pagestore_store *s = NULL;
  if ((status = allocate(&o, &s)) != 0) return status;
  if ((status = open_directory(s, path)) != 0) goto free_store;
  if ((status = open_database(s)) != 0) goto close_directory;
  if ((status = store_read(s, load, s)) != 0) goto close_database;
  if (!s->read_only && (status = flusher_start(s, &s->flusher)) != 0) goto close_database;
  atomic_store(&s->counters.file_bytes, db_file_bytes(s->db));
  if (!s->read_only && db_hazard()) store_log(s, 1, db_hazard());
  *out = s;
  return 0;
close_database:  db_close(s->db);
close_directory: directory_close(s->directory);
free_store:      release(s);
  return status;
}

int pagestore_close(pagestore_store *s) {
  if (!s) return 0;
  int status = store_check(s, false);
  if (status) return status;
  pthread_mutex_lock(&s->lock);
  uint32_t handles = s->handles;
  pthread_mutex_unlock(&s->lock);
  if (handles) return fail(PAGESTORE_EBUSY, "%u instances are open: close them first", handles);
  if (s->flusher) {
    status = flusher_stop(s->flusher);
    s->flusher = NULL;
  }
  db_close(s->db);
  directory_close(s->directory);
  release(s);
  return status;
}

int pagestore_sync(pagestore_store *s, int timeout_ms) {
  int status = store_check(s, true);
  return status ? status : flusher_wait_all(s->flusher, timeout_ms);
}

int pagestore_drain(pagestore_store *s, int timeout_ms) {
  int status = store_check(s, true);
  return status ? status : flusher_drain(s->flusher, timeout_ms);
}

int pagestore_handlers(void) { return faults_reinstall(); }
int pagestore_thread_check(void) { return faults_thread_check(); }
int pagestore_thread_prepare(void) { return faults_thread_prepare(); }

/* ---- statistics ------------------------------------------------------------------------------ */

static void fill_trackers(pagestore_store *s, pagestore_statistics *out) {
  out->tracker = s->options.tracker;
  out->tracker_reason = "asked for";
  if (s->options.tracker == PAGESTORE_TRACK_AUTO) out->tracker = platform_tracker(&out->tracker_reason);
}

int pagestore_stats(pagestore_store *s, pagestore_statistics *out) {
  int status = store_check(s, false);
  if (!status && !out) status = input_null("statistics");
  if (status) return status;
  store_counters *c = &s->counters;
  pagestore_statistics now = {
      .size = sizeof now,
      .instances_open = c->instances_open,
      .memories_open = c->memories_open,
      .mappings = s->budget.mappings,
      .resident_bytes = s->budget.resident_bytes,
      .commits = c->commits,
      .rollbacks = c->rollbacks,
      .faults_load = s->budget.faults_load,
      .faults_write = s->budget.faults_write,
      .blocks_dirty = c->blocks_dirty,
      .blocks_unchanged = c->blocks_unchanged,
      .bytes_flushed = c->bytes_flushed,
      .flushes = c->flushes,
      .flush_ns = c->flush_ns,
      .file_bytes = c->file_bytes,
      .free_bytes = c->free_bytes,
      .free_largest_run = c->free_largest_run,
      .log_bytes = c->log_bytes,
      .log_budget_bytes = c->log_budget_bytes,
      .pages_merged = c->pages_merged,
  };
  fill_trackers(s, &now);
  if (s->flusher) {
    flusher_load load = flusher_queue(s->flusher);
    now.queue_bytes = load.queue_bytes;
    now.queue_commits = load.queue_works;
    now.failure = flusher_failure(s->flusher);
  }
  size_t size = out->size;
  if (size < sizeof size || size > 4096)
    return fail(PAGESTORE_EINVAL, "pagestore_statistics.size is %zu: set it to sizeof the struct", size);
  if (size > sizeof now) memset((uint8_t *)out + sizeof now, 0, size - sizeof now);
  memcpy(out, &now, min_u64(size, sizeof now));
  out->size = size;
  return 0;
}
