/* status.h - how a call fails: a code for the program, a text for the person.
 *
 * Every failure that reaches the caller of the public API goes through fail() or fail_errno(), once, at the
 * place that knows most; callers above hand the code on unchanged. The text says what happened and what to do next.
 * Thread: any; the text belongs to the calling thread. Not for signal handlers (it formats).
 */
#ifndef PAGESTORE_BASE_STATUS_H
#define PAGESTORE_BASE_STATUS_H

#include <pagestore.h>

/* Notes the text and returns status. Control characters in the text are replaced by '?'. */
int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with the errno behind it; ": strerror" is appended to the text. */
int fail_errno(int status, int errnum, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
