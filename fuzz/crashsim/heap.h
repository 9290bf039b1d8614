/* heap.h - spares the simulator the largest cost of opening a store: LMDB asks for two megabytes of zeros for its
 * list of dirty pages and touches a few pages of them. A fresh mapping has the zeros without writing them. What came
 * from here goes back by free, which is wrapped for it.
 *
 * Thread: any.
 */
#ifndef CRASHSIM_HEAP_H
#define CRASHSIM_HEAP_H

#include <stddef.h>

void *heap_calloc(size_t count, size_t size);

#endif
