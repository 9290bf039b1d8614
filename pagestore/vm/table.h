/* table.h - which region holds an address: a sorted array that is replaced, never edited.
 *
 * Invariants: the array that `current` points to never changes; a replaced one is freed once no search is under way
 *             that began before it was replaced; ranges do not overlap.
 * Thread:     any. table_find is lock-free and async-signal-safe; the others take the table's lock.
 */
#ifndef PAGESTORE_VM_TABLE_H
#define PAGESTORE_VM_TABLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct region region;

int table_add(uintptr_t start, uintptr_t end, region *);   /* 0 or PAGESTORE_ENOMEM */
int table_widen(uintptr_t start, uintptr_t end, region *); /* the range that begins there now ends at `end` */
void table_remove(uintptr_t start);                        /* never fails */
region *table_find(uintptr_t address);                     /* or NULL */
void table_after_fork(void);

#endif
