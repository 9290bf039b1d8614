/* peer_rocksdb.c - RocksDB: blocks by number, one synced batch a message.
 *
 * Level compaction as its tuning guide sets it for 128 MiB of memtables, two background threads, no compression
 * (the bytes are random), log files recycled, so that a synced write seldom changes the log's size; rows of 64 KiB
 * in blob files, as it advises for large values.
 */
#ifdef BENCH_ROCKSDB
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers.h"
#include "subject.h"

struct peer {
  rocksdb_t *db;
  rocksdb_options_t *options;
  rocksdb_writeoptions_t *synced, *unsynced;
  rocksdb_readoptions_t *reading;
  uint64_t row_bytes;
  uint8_t row[PAGESTORE_PAGE];
};

static void need_rocksdb(char *error) {
  if (error) die("RocksDB: %s", error);
}

/* Big-endian, so that neighbours are neighbours. */
static void key_of(uint64_t row, uint8_t key[8]) {
  for (int i = 0; i < 8; i++) key[i] = (uint8_t)(row >> (56 - 8 * i));
}

static void add(rocksdb_writebatch_t *batch, uint64_t row, const uint8_t *bytes, uint64_t length) {
  uint8_t key[8];
  key_of(row, key);
  rocksdb_writebatch_put(batch, (const char *)key, sizeof key, (const char *)bytes, length);
}

static void fill(peer *p, uint64_t rows) {
  dice d = {19};
  char *error = NULL;
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  for (uint64_t row = 0; row < rows; row++) {
    dice_fill(&d, p->row, p->row_bytes);
    add(batch, row, p->row, p->row_bytes);
    if (row % 256 != 255 && row + 1 != rows) continue;
    rocksdb_write(p->db, p->unsynced, batch, &error);
    need_rocksdb(error);
    rocksdb_writebatch_clear(batch);
  }
  rocksdb_writebatch_destroy(batch);
  rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
  rocksdb_flush(p->db, flush, &error);
  need_rocksdb(error);
  rocksdb_flushoptions_destroy(flush);
}

static peer *open_rocksdb(const char *folder, uint64_t pages, uint64_t row_bytes) {
  peer *p = need_memory(sizeof *p);
  char *error = NULL;
  p->row_bytes = row_bytes;
  p->options = rocksdb_options_create();
  rocksdb_options_set_create_if_missing(p->options, 1);
  rocksdb_options_increase_parallelism(p->options, 2);
  rocksdb_options_optimize_level_style_compaction(p->options, 128 * MIB);
  rocksdb_options_set_compression(p->options, rocksdb_no_compression);
  int levels[7] = {0};
  rocksdb_options_set_compression_per_level(p->options, levels, 7);
  rocksdb_options_set_recycle_log_file_num(p->options, 4);
  if (row_bytes == PAGESTORE_PAGE) {
    rocksdb_options_set_enable_blob_files(p->options, 1);
    rocksdb_options_set_min_blob_size(p->options, PAGESTORE_BLOCK);
    rocksdb_options_set_enable_blob_gc(p->options, 1);
  }
  p->db = rocksdb_open(p->options, folder, &error);
  need_rocksdb(error);
  p->synced = rocksdb_writeoptions_create();
  p->unsynced = rocksdb_writeoptions_create();
  p->reading = rocksdb_readoptions_create();
  rocksdb_writeoptions_set_sync(p->synced, 1);
  fill(p, pages * PAGESTORE_PAGE / row_bytes);
  return p;
}

static peer *open_4(const char *folder, uint64_t pages) { return open_rocksdb(folder, pages, PAGESTORE_BLOCK); }
static peer *open_64(const char *folder, uint64_t pages) { return open_rocksdb(folder, pages, PAGESTORE_PAGE); }

static void change_page(peer *p, rocksdb_writebatch_t *batch, uint64_t block, const uint8_t *bytes) {
  uint8_t key[8];
  char *error = NULL;
  size_t length;
  key_of(block / 16, key);
  char *row = rocksdb_get(p->db, p->reading, (const char *)key, sizeof key, &length, &error);
  need_rocksdb(error);
  if (!row || length != PAGESTORE_PAGE) die("RocksDB: a row is missing or of another size");
  memcpy(row + block % 16 * PAGESTORE_BLOCK, bytes, PAGESTORE_BLOCK);
  add(batch, block / 16, (uint8_t *)row, length);
  rocksdb_free(row);
}

static void message(peer *p, const uint64_t *blocks, uint64_t count, const uint8_t *bytes) {
  rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
  char *error = NULL;
  for (uint64_t i = 0; i < count; i++) {
    if (p->row_bytes == PAGESTORE_PAGE) change_page(p, batch, blocks[i], bytes + i * PAGESTORE_BLOCK);
    else add(batch, blocks[i], bytes + i * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
  }
  rocksdb_write(p->db, p->synced, batch, &error);
  need_rocksdb(error);
  rocksdb_writebatch_destroy(batch);
}

static void close_rocksdb(peer *p) {
  rocksdb_close(p->db);
  rocksdb_options_destroy(p->options);
  rocksdb_writeoptions_destroy(p->synced);
  rocksdb_writeoptions_destroy(p->unsynced);
  rocksdb_readoptions_destroy(p->reading);
  free(p);
}

const char *rocksdb_version_text(void) { return "RocksDB " BENCH_ROCKSDB; }

const peer_kind peer_rocksdb_4 = {"RocksDB, rows of 4 KiB", true, open_4, message, close_rocksdb};
const peer_kind peer_rocksdb_64 = {"RocksDB, rows of 64 KiB", true, open_64, message, close_rocksdb};
#endif
