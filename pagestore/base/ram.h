/* ram.h - how much memory this process may fill before the kernel ends it.
 *
 * The machine's memory, or less: the limit of the control group of the process, or of one above it (version 2:
 * memory.max; version 1: memory.limit_in_bytes; Linux, Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
 * Read where the groups are usually mounted; one that cannot be read does not count.
 * Thread: any; reads files.
 */
#ifndef PAGESTORE_BASE_RAM_H
#define PAGESTORE_BASE_RAM_H

#include <stdint.h>

uint64_t ram_bytes(void);

#endif
