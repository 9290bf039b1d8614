/* sandbox.h - work on a file from elsewhere: on a sealed copy in memory, in a child that can do next to nothing.
 *
 * The child may read the copy, write to descriptors that were open before, and allocate memory; any other system call
 * ends it. Nothing is tried without: where the copy or the filter cannot be had, the work is not done.
 * Thread: the program's, before it has any other.
 */
#ifndef PROGRAM_SANDBOX_H
#define PROGRAM_SANDBOX_H

/* A sealed copy in memory, or -1: complained. */
int sandbox_copy(int fd);
/* What `work` returns, an exit code, in a child under the filter; its stdout is flushed. EXIT_FAILED: complained. */
int sandbox_run(int (*work)(void *env), void *env);

/* The same in two steps, for a parent that reads a pipe meanwhile: sandbox_begin returns the child's id, or -1. */
int sandbox_begin(int (*work)(void *env), void *env);
int sandbox_end(int child);

#endif
