/* directory.h - a store's directory: made so that a crash leaves a whole store or none, locked by one writer,
 * known once per process.
 *
 *   <store>/data.mdb   <store>/lock.mdb (LMDB's reader table; its loss is harmless)
 *
 * Creation: everything in <store>.new-<random> beside it, sync, rename, sync the parent. An existing empty
 *           directory (which may be a mount
 * point, or lie in a parent that is not ours) keeps its inode: everything in <store>/.new-<random>, sync,
 * rename of data.mdb, sync. Left-over .new- directories of dead creators are removed at the next creation;
 * living ones hold an flock on theirs. The writer's lock is an flock on the directory itself; it goes with
 * the process and is closed in a forked child.
 *
 * Invariants: a directory (device, inode) is open at most once in this process, for writing or reading; a
 *             second writer anywhere gets
 * EBUSY at once.
 * Thread: any. Global state: the registry of open stores, the fork handler.
 */
#ifndef PAGESTORE_STORAGE_DIRECTORY_H
#define PAGESTORE_STORAGE_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct directory directory;

typedef struct {
  bool create, exclusive, read_only;
  /* Makes the store's files in `path`, an empty directory, and syncs them. */
  int (*make)(void *env, const char *path);
  void *env;
  void (*after_fork)(void *store);   /* called in a forked child for each open store */
  void *store;
} directory_options;

/* ENOTFOUND EEXIST EBUSY EACCES EFORMAT (not a directory, no data.mdb) EIO. Symbolic links to directories are
 * followed once, at open. */
int directory_open(const char *path, const directory_options *, directory **);
/* Makes a store's files at `path`, which must not be there or be an empty directory, and opens nothing: only `make`
 * and `env` of the options count. Holds no lock of the process meanwhile, so `make` may take its time. EEXIST and as
 * above. */
int directory_make(const char *path, const directory_options *);
/* Has `make` fill a directory inside this one, which is open for writing, and puts its data.mdb in the place of ours,
 * so that a crash leaves one or the other. */
int directory_replace(directory *, const directory_options *);
void directory_close(directory *);
const char *directory_path(const directory *);  /* absolute, resolved */
/* this process is a child of the one that opened it. Any thread, never blocks */
bool directory_forked(const directory *);

#endif
