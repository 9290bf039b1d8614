/* check_explain.h - inside check_audit.h: what the byte at audit.explain belongs to, into audit.explained.
 *
 * Called by the walk in its order, so that the narrower word comes last. Thread: the audit's.
 */
#ifndef PROGRAM_CHECK_EXPLAIN_H
#define PROGRAM_CHECK_EXPLAIN_H

#include "check_audit.h"

void explain_begin(audit *);
void explain_page(audit *, const char *table, walker_page_kind, uint64_t first, uint64_t count);
void explain_row(audit *, const char *table, bytes key, walker_place);
void explain_freed(audit *, uint64_t txn_id, uint64_t page);
void explain_lost(audit *, uint64_t first, uint64_t count);
void explain_end(audit *); /* names the instance of a page's row */

#endif
