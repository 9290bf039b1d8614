/* peer_lmdb.c - LMDB used plainly: pages of 64 KiB by number, one synced transaction a message, default flags. */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "peers.h"
#include "subject.h"

struct peer {
  MDB_env *env;
  MDB_dbi pages;
  uint8_t page[PAGESTORE_PAGE];
};

static void need_lmdb(int status) {
  if (status) die("LMDB: %s", mdb_strerror(status));
}

static void put(peer *p, MDB_txn *txn, uint64_t page) {
  MDB_val key = {sizeof page, &page}, value = {sizeof p->page, p->page};
  need_lmdb(mdb_put(txn, p->pages, &key, &value, 0));
}

static void fill(peer *p, uint64_t pages) {
  dice d = {11};
  MDB_txn *txn = NULL;
  for (uint64_t page = 0; page < pages; page++) {
    if (!txn) need_lmdb(mdb_txn_begin(p->env, NULL, 0, &txn));
    dice_fill(&d, p->page, sizeof p->page);
    put(p, txn, page);
    if (page % 512 != 511 && page + 1 != pages) continue;
    need_lmdb(mdb_txn_commit(txn));
    txn = NULL;
  }
}

static peer *open_lmdb(const char *folder, uint64_t pages) {
  peer *p = need_memory(sizeof *p);
  MDB_txn *txn;
  need_os(mkdir(folder, 0700) == 0, folder);
  need_lmdb(mdb_env_create(&p->env));
  need_lmdb(mdb_env_set_mapsize(p->env, pages * PAGESTORE_PAGE * 3 + GIB));
  need_lmdb(mdb_env_open(p->env, folder, 0, 0600));
  need_lmdb(mdb_txn_begin(p->env, NULL, 0, &txn));
  need_lmdb(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &p->pages));
  need_lmdb(mdb_txn_commit(txn));
  fill(p, pages);
  return p;
}

/* Reads a page, changes the block, writes the page. */
static void message(peer *p, const uint64_t *blocks, uint64_t count, const uint8_t *bytes) {
  MDB_txn *txn;
  need_lmdb(mdb_txn_begin(p->env, NULL, 0, &txn));
  for (uint64_t i = 0; i < count; i++) {
    uint64_t page = blocks[i] / 16;
    MDB_val key = {sizeof page, &page}, value;
    need_lmdb(mdb_get(txn, p->pages, &key, &value));
    memcpy(p->page, value.mv_data, sizeof p->page);
    memcpy(p->page + blocks[i] % 16 * PAGESTORE_BLOCK, bytes + i * PAGESTORE_BLOCK, PAGESTORE_BLOCK);
    put(p, txn, page);
  }
  need_lmdb(mdb_txn_commit(txn));
}

void peer_lmdb_load(peer *p, uint64_t pages, uint8_t *to) {
  MDB_txn *txn;
  need_lmdb(mdb_txn_begin(p->env, NULL, MDB_RDONLY, &txn));
  for (uint64_t page = 0; page < pages; page++) {
    MDB_val key = {sizeof page, &page}, value;
    need_lmdb(mdb_get(txn, p->pages, &key, &value));
    memcpy(to + page * PAGESTORE_PAGE, value.mv_data, PAGESTORE_PAGE);
  }
  mdb_txn_abort(txn);
}

static void close_lmdb(peer *p) {
  mdb_env_close(p->env);
  free(p);
}

const peer_kind peer_lmdb = {"LMDB, rows of 64 KiB", false, open_lmdb, message, close_lmdb};
