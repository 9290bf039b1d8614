/* versions.h - what is kept of an instance, joined: its history with what each snapshot alone
 * retains.
 *
 * Invariant: oldest first; the present is last. Names are copies. Thread: the program's.
 */
#ifndef PROGRAM_VERSIONS_H
#define PROGRAM_VERSIONS_H

#include <pagestore.h>

#include "command.h"
#include "report.h"

typedef struct {
  bool present;   /* not a snapshot */
  char name[256]; /* "" for the present */
  uint64_t version, time_ns, pages, stored_pages, retained_bytes;
  uint8_t module_hash[32];
} kept_version;

typedef struct {
  kept_version *items;
  uint32_t count, room;
} kept_versions;

/* EXIT_OK, or complained. `retained`: measured too, which reads every key of the layers. items: to
 * be freed */
int versions_load(pagestore_store *, const char *instance, bool retained, kept_versions *);

/* Of a command with the options snapshot and version: the name of the snapshot to look at, NULL for the present, which
 * may be asked for by its version, too. EXIT_OK, or complained */
int versions_chosen(const invocation *, pagestore_store *, char room[256], const char **snapshot);

#define OPTION_VERSION                                                                                                 \
  { "version", 'V', "N", "as of the kept version with this number, as `log` lists them" }

#endif
