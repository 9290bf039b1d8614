/* prove.h - shows on a log, without opening anything, that no crash can harm.
 *
 *   I1  between barriers no write touches a page that the durable meta page reaches, nor that meta page
 *   I2  a meta page is written by itself, through O_DSYNC, only while no other write is pending, within one sector
 *   I3  a seal is acknowledged only when the durable meta page reaches it, and what that reaches is always one sealed
 *       moment
 *   I4  a name that a store needs is durable, by fsync of its directory, before anything in it is acknowledged
 *   I5  nor does a write touch a page that the meta page reaches which was durable before it: a freed page rests for
 *       one transaction, and while a commit is written both meta pages can be opened
 *   I6  the log is whole (prove_log.h)
 *
 * I1 and I2 make each of the 2^n subsets of pending writes the same as none of them: complete, not sampled. What the
 * meta page reaches is read by pagestore/storage/walker.h, which knows LMDB's format but not its code.
 *
 * Thread: one.
 */
#ifndef CRASHSIM_PROVE_H
#define CRASHSIM_PROVE_H

#include "chronicle.h"
#include "record.h"

/* Each breach is a violation; what was shown is counted in the totals. acknowledged, begun: as the log began. */
void prove_log(const record_log *, const chronicle *, int64_t acknowledged, int64_t begun);

#endif
