/* second_look.h - a guest that ran during its boundary, noticed: only with PAGESTORE_ASSERT=full.
 *
 * The engine must not run inside commit. A store that comes between the copy of its block and the protection of it
 * reaches the memory and no delta: the next boundary does not know of it, and a restart loses it. At price full,
 * commit keeps its delta until the regions are clean and compares every copied block once more. One that differs was
 * written meanwhile: the log says where (level 2), and the program stops, as at a failed assertion. Stores into blocks
 * that were clean belong to the next message and are not noticed. Volatile memories are not looked at.
 *
 * Thread: the instance's rule. At the other prices nothing is done.
 */
#ifndef PAGESTORE_SECOND_LOOK_H
#define PAGESTORE_SECOND_LOOK_H

#include "base/check.h"
#include "instance.h"
#include "storage/delta.h"

#if PAGESTORE_ASSERT >= 2
static inline delta *second_look_keep(delta *copied) { return delta_reference(copied); }
void second_look(pagestore_instance *, const delta *copied); /* regions clean; NULL: nothing was copied */
#else
static inline delta *second_look_keep(delta *copied) { return (void)copied, NULL; }
static inline void second_look(pagestore_instance *i, const delta *copied) { (void)i, (void)copied; }
#endif

#endif
