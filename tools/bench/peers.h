/* peers.h - other stores that keep the same memory: what a message costs there.
 *
 * A peer holds a memory of `pages` pages as rows of 4 or 64 KiB. A message gives it changed blocks, and returns
 * when they are durable. Each is set up as its documentation advises for such rows; peer_*.c say how. Thread: one.
 */
#ifndef BENCH_PEERS_H
#define BENCH_PEERS_H

#include "harness.h"

typedef struct peer peer;

typedef struct {
  const char *name;
  bool only_asked;                                   /* with --peers alone */
  peer *(*open)(const char *folder, uint64_t pages); /* filled with random bytes, at rest */
  /* Each of these blocks gets 4 KiB new bytes; durable on return. */
  void (*message)(peer *, const uint64_t *blocks, uint64_t count, const uint8_t *bytes);
  void (*close)(peer *);
} peer_kind;

extern const peer_kind *const peers_all[];
extern const size_t peers_kinds;
typedef const char *(*peer_version)(void);
extern const peer_version peers_versions[];
extern const size_t peers_count;

extern const peer_kind peer_floor, peer_lmdb, peer_sqlite_4, peer_sqlite_64, peer_rocksdb_4, peer_rocksdb_64;
/* The whole memory, page by page, into memory that is there. */
void peer_lmdb_load(peer *, uint64_t pages, uint8_t *to);
const char *sqlite_version_text(void);
const char *rocksdb_version_text(void);

#endif
