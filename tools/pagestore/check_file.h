/* check_file.h - the file of a store, opened for the walker.
 *
 * Beside a live writer: a page of state n is written again only once transaction n + 3 has begun, so a walk from n is
 * true if the newest meta page is at most n + 1 when it ends. A longer walk registers as a reader of LMDB first: then
 * nothing that it sees is given away, at the price of a file that grows meanwhile.
 * Failures have been complained about; the value is then an exit code. Thread: the program's.
 */
#ifndef PROGRAM_CHECK_FILE_H
#define PROGRAM_CHECK_FILE_H

#include "storage/walker.h"

typedef struct {
  int fd;
  char directory[4096], path[4120];
  db *pin;
  db_slot *slot;
} store_file;

int file_open(const char *store, store_file *);
void file_close(store_file *);
/* No writer from here on; EXIT_FAILED if there is one. */
int file_lock(store_file *);
/* Registers as a reader: *txn_id is the state that stays. */
int file_pin(store_file *, uint64_t *txn_id);
void file_unpin(store_file *);
/* Both meta pages, read twice if anything is wrong with them: a writer may have been at it. walker_check_meta's
 * status */
int file_metas(const store_file *, walker_metas *);

#endif
