/* coverage_flush.h - included before every source of a coverage build: a forked child that ends by _exit() leaves its counts, too.
 * What a signal ends leaves none, nor does a child in the sandbox, which must not open files. Includes nothing: names of the C library
 * must stay free where a source does not ask for them.
 */
#ifndef PAGESTORE_TESTS_COVERAGE_FLUSH_H
#define PAGESTORE_TESTS_COVERAGE_FLUSH_H

#define _exit coverage_exit

extern void __gcov_dump(void);
extern void _Exit(int status) __attribute__((noreturn));
extern int open64(const char *path, int flags, ...);

void coverage_exit(int status) __attribute__((weak, noreturn));
void coverage_exit(int status) {
  if (open64("/", 0) >= 0) __gcov_dump();
  _Exit(status);
}

#endif
