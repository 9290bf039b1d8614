/* peers.c - which peers this build has. */
#include "peers.h"

const peer_kind *const peers_all[] = {
    &peer_floor,     &peer_lmdb,
#ifdef BENCH_SQLITE
    &peer_sqlite_4,  &peer_sqlite_64,
#endif
#ifdef BENCH_ROCKSDB
    &peer_rocksdb_4, &peer_rocksdb_64,
#endif
};
const size_t peers_kinds = sizeof peers_all / sizeof *peers_all;

const peer_version peers_versions[] = {
#ifdef BENCH_SQLITE
    sqlite_version_text,
#endif
#ifdef BENCH_ROCKSDB
    rocksdb_version_text,
#endif
    NULL};
const size_t peers_count = sizeof peers_versions / sizeof *peers_versions - 1;
