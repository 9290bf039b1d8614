/* fuzz_walker.c - bytes as a data.mdb: both meta pages are looked at, then the trees of each that
 * passed are walked and their values read.
 *
 * The seed is a small store made at run time with LMDB: branches, leaves, overflow runs, a free
 * list. It must walk without a finding; nothing that is made of it may crash the walker or keep it
 * busy.
 *
 * ctest: runs=2000
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagestore.h>

#include "fuzz/fuzz.h"
#include "storage/db.h"
#include "storage/format.h"
#include "storage/walker.h"

enum { ROWS = 220, VERSIONS = 4, FILE_BYTES_MAX = 4 << 20, VALUE_BYTES_MAX = 1 << 20 };

/* ---- the seed ------------------------------------------------------------------------------ */

static int put_row(db_txn *txn, page_key key) {
  static uint8_t run[6000]; /* two pages */
  uint8_t encoded[PAGE_KEY_BYTES], marker[ZERO_MARKER_BYTES];
  page_key_encode(key, encoded);
  zero_marker_encode(key, marker);
  bool large = key.page % 128 == 0;
  return db_put(txn, DB_PAGES, (bytes){encoded, sizeof encoded},
                large ? (bytes){run, sizeof run} : (bytes){marker, sizeof marker});
}

static void fill(const char *folder) {
  db *d;
  db_txn *txn;
  MUST(db_open(folder, &(db_options){.create_tables = true}, &d) == 0);
  for (uint64_t version = 1; version <= VERSIONS; version++) {
    MUST(db_begin(d, &txn) == 0);
    for (uint64_t page = 0; page < ROWS; page++) {
      uint8_t old[PAGE_KEY_BYTES];
      MUST(put_row(txn, (page_key){1, 1, page, version}) == 0);
      page_key_encode((page_key){1, 1, page, version - 2}, old);
      if (version > 2) MUST(db_delete(txn, DB_PAGES, (bytes){old, sizeof old}) == 0);
    }
    catalog_key layer = catalog_key_id(CATALOG_LAYER, version);
    MUST(db_put(txn, DB_CATALOG, (bytes){layer.byte, layer.size}, (bytes){"record", 6}) == 0);
    MUST(db_commit(txn) == 0);
  }
  db_close(d);
}

static uint8_t *read_whole(const char *path, size_t *size) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  MUST(fd >= 0 && fstat(fd, &st) == 0 && st.st_size <= FILE_BYTES_MAX);
  uint8_t *bytes = malloc((size_t)st.st_size);
  MUST(bytes && read(fd, bytes, (size_t)st.st_size) == st.st_size);
  close(fd);
  *size = (size_t)st.st_size;
  return bytes;
}

static uint64_t findings;

void fuzz_seeds(fuzz_add add, void *env) {
  static uint8_t *image;
  static size_t size;
  const char *temporary = getenv("TMPDIR");
  char folder[200], file[220];
  if (!image) {
    snprintf(folder, sizeof folder, "%s/pagestore-fuzz-XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    MUST(mkdtemp(folder));
    fill(folder);
    snprintf(file, sizeof file, "%s/data.mdb", folder);
    image = read_whole(file, &size);
    unlink(file);
    snprintf(file, sizeof file, "%s/lock.mdb", folder);
    unlink(file);
    rmdir(folder);
    findings = 0;
    LLVMFuzzerTestOneInput(image, size);
    MUST(findings == 0);
  }
  add(env, "store", image, size);
}

/* ---- walking ------------------------------------------------------------------------------- */

typedef struct {
  int fd;
  uint8_t *value;
  uint8_t key[LMDB_PAGE_BYTES];
} walk;

static int note_finding(void *env, uint64_t page, const char *text) {
  (void)env, (void)page;
  MUST(strlen(text) > 3);
  findings++;
  return 0;
}

static int read_row(void *env, const char *table, bytes key, walker_place value) {
  walk *w = env;
  MUST(strlen(table) <= LMDB_TABLE_NAME_MAX);
  MUST(key.size <= sizeof w->key);
  memcpy(w->key, key.data, key.size); /* it is all there */
  if (value.size <= VALUE_BYTES_MAX) (void)walker_read(w->fd, value, w->value);
  return 0;
}

static int note_page(void *env, const char *table, walker_page_kind kind, uint64_t first,
                     uint64_t count) {
  (void)env, (void)table, (void)kind;
  MUST(count > 0 && first >= LMDB_METAS);
  return 0;
}

static int note_freed(void *env, uint64_t txn_id, uint64_t page) {
  (void)env, (void)txn_id, (void)page;
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static uint8_t value[VALUE_BYTES_MAX];
  if (size > FILE_BYTES_MAX) return 0;
  int fd = memfd_create("data.mdb", MFD_CLOEXEC);
  MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  walk w = {.fd = fd, .value = value};
  walker_callbacks callbacks = {
      .env = &w, .finding = note_finding, .row = read_row, .page = note_page, .freed = note_freed};
  walker_metas metas;
  int status = walker_check_meta(fd, "data.mdb", &metas);
  MUST(status <= 0 && (status || metas.meta[metas.newest].usable));
  for (unsigned i = 0; i < LMDB_METAS; i++) {
    walker_summary summary;
    if (!metas.meta[i].usable) continue;
    if (status == 0 && i != metas.newest) continue; /* the older one's pages may be in use again */
    uint64_t before = findings;
    int walked = walker_walk(fd, &metas, i, &callbacks, &summary);
    MUST(walked || summary.findings == findings - before);
  }
  close(fd);
  return 0;
}
