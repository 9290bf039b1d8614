/* check_agree.h - inside check_audit.h: whether the records of a store agree with each other. Thread: the audit's. */
#ifndef PROGRAM_CHECK_AGREE_H
#define PROGRAM_CHECK_AGREE_H

#include "check_audit.h"

/* After the walk, with everything sorted; also names instance and memory in the findings about pages. ENOMEM EFORMAT */
int agree_check(audit *);
/* The superseded meta page. */
int agree_check_other(audit *);

#endif
