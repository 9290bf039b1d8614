/* recover_store.h - the new store that recover writes: whole or not at all, as the library makes its own.
 *
 * Rows come from a function, which may get them from another process. Thread: the program's.
 */
#ifndef PROGRAM_RECOVER_STORE_H
#define PROGRAM_RECOVER_STORE_H

#include "recover_salvage.h"

/* Calls put for every row, then tells the store record. Non-zero: the store is not made. */
typedef int (*store_rows)(void *env, salvage_put put, void *put_env, store_record *);

/* A status of the library, with its text. EEXIST: `path` exists */
int store_write(const char *path, store_rows, void *env);

/* Rows through a pipe: the sender's side is a salvage_put. */
int rows_send(int *fd, db_table, bytes key, bytes value);
int rows_send_end(int fd, const store_record *);
/* What store_write takes; env is the descriptor, an int. ECORRUPT: it ended too early, or is not like that */
int rows_receive(void *env, salvage_put put, void *put_env, store_record *);
bool rows_wait(int fd); /* until there is something to receive; false: it ended */

#endif
