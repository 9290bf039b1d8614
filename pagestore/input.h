/* input.h - what callers hand in: option structs of other sizes, names, handles of a forked child.
 *
 * Everything that crosses the public border is checked here once; the code below asserts.
 * Thread: any; no state.
 */
#ifndef PAGESTORE_INPUT_H
#define PAGESTORE_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_BYTES_MAX 255

/* Copies a versioned option struct over a zeroed one of ours: shorter ones (an older header) leave the rest
 * zero; of longer ones (a newer header) the unknown rest must be zero. given NULL: all defaults. EINVAL. */
int input_options(const void *given, void *ours, size_t our_size, const char *what);

/* 1 to 255 bytes of UTF-8 without control characters. EINVAL; `what` names the argument in the text. */
int input_name(const char *name, const char *what);

/* The other way: what the caller's struct has room for, zeros in what only it knows. EINVAL */
int input_result(void *out, const void *ours, size_t our_size, const char *what);

int input_commit_flags(unsigned flags);   /* ASYNC, NOWAIT, nothing else. EINVAL */
int input_null(const char *what);   /* EINVAL: a required pointer is NULL */

#endif
