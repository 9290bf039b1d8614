/* peer_sqlite.c - SQLite: a table of blocks by number, one transaction a message, write-ahead log, synchronous=FULL.
 *
 * Its documentation advises larger database pages for large blobs: 8 KiB, in which a row of 4 KiB fits whole, and
 * 16 KiB for rows of 64 KiB. Statements are prepared once; the log is checkpointed by the default of 1,000 pages.
 */
#ifdef BENCH_SQLITE
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers.h"
#include "subject.h"

struct peer {
  sqlite3 *db;
  sqlite3_stmt *insert, *update, *select, *begin, *commit;
  uint64_t row_bytes;
  uint8_t row[PAGESTORE_PAGE];
};

static void expect(peer *p, int status, int wanted) {
  if (status != wanted) die("SQLite: %s", sqlite3_errmsg(p->db));
}

static void run(peer *p, const char *sql) { expect(p, sqlite3_exec(p->db, sql, NULL, NULL, NULL), SQLITE_OK); }

static sqlite3_stmt *prepared(peer *p, const char *sql) {
  sqlite3_stmt *statement;
  expect(p, sqlite3_prepare_v2(p->db, sql, -1, &statement, NULL), SQLITE_OK);
  return statement;
}

static void step(peer *p, sqlite3_stmt *statement) {
  expect(p, sqlite3_step(statement), SQLITE_DONE);
  sqlite3_reset(statement);
}

static void put(peer *p, sqlite3_stmt *statement, uint64_t row, const uint8_t *bytes) {
  expect(p, sqlite3_bind_blob64(statement, 1, bytes, p->row_bytes, SQLITE_STATIC), SQLITE_OK);
  expect(p, sqlite3_bind_int64(statement, 2, (sqlite3_int64)row), SQLITE_OK);
  step(p, statement);
}

static void fill(peer *p, uint64_t rows) {
  dice d = {17};
  for (uint64_t row = 0; row < rows; row++) {
    if (row % 4096 == 0) step(p, p->begin);
    dice_fill(&d, p->row, p->row_bytes);
    put(p, p->insert, row, p->row);
    if (row % 4096 == 4095 || row + 1 == rows) step(p, p->commit);
  }
  run(p, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static peer *open_sqlite(const char *path, uint64_t pages, uint64_t row_bytes, const char *page_size) {
  peer *p = need_memory(sizeof *p);
  p->row_bytes = row_bytes;
  if (sqlite3_open(path, &p->db)) die("SQLite: %s: %s", path, sqlite3_errmsg(p->db));
  run(p, page_size);
  run(p, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
         "CREATE TABLE memory (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL)");
  p->insert = prepared(p, "INSERT INTO memory (bytes, number) VALUES (?1, ?2)");
  p->update = prepared(p, "UPDATE memory SET bytes = ?1 WHERE number = ?2");
  p->select = prepared(p, "SELECT bytes FROM memory WHERE number = ?1");
  p->begin = prepared(p, "BEGIN IMMEDIATE");
  p->commit = prepared(p, "COMMIT");
  fill(p, pages * PAGESTORE_PAGE / row_bytes);
  return p;
}

static peer *open_4(const char *path, uint64_t pages) {
  return open_sqlite(path, pages, PAGESTORE_BLOCK, "PRAGMA page_size=8192");
}

static peer *open_64(const char *path, uint64_t pages) {
  return open_sqlite(path, pages, PAGESTORE_PAGE, "PRAGMA page_size=16384");
}

static void change_page(peer *p, uint64_t block, const uint8_t *bytes) {
  expect(p, sqlite3_bind_int64(p->select, 1, (sqlite3_int64)(block / 16)), SQLITE_OK);
  expect(p, sqlite3_step(p->select), SQLITE_ROW);
  if (sqlite3_column_bytes(p->select, 0) != PAGESTORE_PAGE) die("SQLite: a row of another size");
  memcpy(p->row, sqlite3_column_blob(p->select, 0), PAGESTORE_PAGE);
  sqlite3_reset(p->select);
  memcpy(p->row + block % 16 * PAGESTORE_BLOCK, bytes, PAGESTORE_BLOCK);
  put(p, p->update, block / 16, p->row);
}

static void message(peer *p, const uint64_t *blocks, uint64_t count, const uint8_t *bytes) {
  step(p, p->begin);
  for (uint64_t i = 0; i < count; i++) {
    if (p->row_bytes == PAGESTORE_PAGE) change_page(p, blocks[i], bytes + i * PAGESTORE_BLOCK);
    else put(p, p->update, blocks[i], bytes + i * PAGESTORE_BLOCK);
  }
  step(p, p->commit);
}

static void close_sqlite(peer *p) {
  sqlite3_stmt *all[] = {p->insert, p->update, p->select, p->begin, p->commit};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) sqlite3_finalize(all[i]);
  sqlite3_close(p->db);
  free(p);
}

const char *sqlite_version_text(void) {
  static char text[40];
  snprintf(text, sizeof text, "SQLite %s", sqlite3_libversion());
  return text;
}

const peer_kind peer_sqlite_4 = {"SQLite, rows of 4 KiB", true, open_4, message, close_sqlite};
const peer_kind peer_sqlite_64 = {"SQLite, rows of 64 KiB", true, open_64, message, close_sqlite};
#endif
