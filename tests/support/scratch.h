/* scratch.h - what tests through the public API share: a directory of their own, a generator, statuses.
 *
 * Thread: a generator belongs to one thread.
 */
#ifndef PAGESTORE_TESTS_SCRATCH_H
#define PAGESTORE_TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pagestore.h>

enum { PAGE = PAGESTORE_PAGE, BLOCK = PAGESTORE_BLOCK };

/* A fresh directory under TMPDIR or /tmp; its path, to be freed. */
char *scratch_make(void);
void scratch_remove(char *path);   /* with all that is in it; frees the path */

/* Without a tape the dice follow from `state`. With one, each choice of dice_below is its next byte, until it ends: what a fuzzer
 * chooses. */
typedef struct { uint64_t state; const uint8_t *tape; size_t left; } dice;
uint64_t dice_roll(dice *);                         /* 64 bits, never from the tape */
uint64_t dice_below(dice *, uint64_t limit);        /* 0 .. limit - 1 */
bool dice_chance(dice *, unsigned percent);

/* A number from the environment, or the default. */
uint64_t env_number(const char *name, uint64_t otherwise);

/* Fails the test with the library's text unless the call gave this status. */
#define assert_status(call, wanted) check_status((call), (wanted), #call, __FILE__, __LINE__)
#define assert_ok(call) assert_status(call, 0)
void check_status(int status, int wanted, const char *call, const char *file, int line);

#endif
