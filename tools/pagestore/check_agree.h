/* check_agree.h - inside check_audit.h: whether the records of a store agree with each other. Thread: the audit's. */
#ifndef PROGRAM_CHECK_AGREE_H
#define PROGRAM_CHECK_AGREE_H

#include "check_audit.h"

/* After the walk, with everything sorted; also names instance and memory in the findings about pages. ENOMEM EFORMAT */
int agree_check(audit *);
/* Instance and memory of a finding about a page. */
void agree_name(const kept *, finding *);
/* The superseded meta page. */
void agree_check_other(audit *);
/* The store record that a usable meta page leads to; false: none. */
bool agree_store(int fd, const walker_metas *, unsigned meta, store_record *);

#endif
