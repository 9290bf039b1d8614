/* check_log.h - inside check_audit.h: the log, as records by themselves and against each other and the catalog.
 *
 *   walk      log_take_row: a row against its key, its header's checksum and the store; `deep`: its blocks
 *   agree     log_check: each row has its record in the catalog and the other way round, both name the same places; a
 *             damaged block is told with the page that a reader misses it in, or as a note where none looks for it
 *
 * Thread: the audit's.
 */
#ifndef PROGRAM_CHECK_LOG_H
#define PROGRAM_CHECK_LOG_H

#include "check_audit.h"

int log_take_row(audit *, bytes key, walker_place); /* ENOMEM */
int log_take_lost(audit *, bytes key);              /* the row's value cannot be found. ENOMEM */
void log_check(audit *);                            /* after kept_resolve_log */

#endif
