/* check.h - assertions at three prices: off, cheap, full (CMake option PAGESTORE_ASSERT).
 *
 * ASSERT      a constant number of instructions; on unless the price is off.
 * ASSERT_FULL may walk whole structures; on only at price full.
 * Rule:       a bug of ours stops at once; bytes from disk, guest or kernel become an error code instead.
 */
#ifndef PAGESTORE_BASE_CHECK_H
#define PAGESTORE_BASE_CHECK_H

#include <stdlib.h>

#ifndef PAGESTORE_ASSERT
#define PAGESTORE_ASSERT 1
#endif

/* No text: the core file or the debugger names the line, and nothing here may print. */
#if PAGESTORE_ASSERT >= 1
#define ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#define ASSERT(condition) ((void)sizeof(condition))
#endif

#if PAGESTORE_ASSERT >= 2
#define ASSERT_FULL(condition) ASSERT(condition)
#else
#define ASSERT_FULL(condition) ((void)sizeof(condition))
#endif

#endif
