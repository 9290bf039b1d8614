/* check_report.h - the verdict and the findings of an audit, as text or JSON. Thread: the program's. */
#ifndef PROGRAM_CHECK_REPORT_H
#define PROGRAM_CHECK_REPORT_H

#include "check_audit.h"
#include "command.h"
#include "report.h"

/* The exit code: EXIT_OK, or EXIT_FOUND for damage. */
int check_print(const invocation *, const audit *, const walker_metas *);
/* One finding, a line; all of them, a sheet. */
void check_print_finding(const finding *);
void check_report_findings(report *, const findings *);

#endif
