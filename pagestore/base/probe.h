/* probe.h - places where a tracer (bpftrace, SystemTap, perf, gdb) can look into a running library: USDT probes of the
 * provider `pagestore`. With PAGESTORE_PROBES (CMake: where sys/sdt.h is) each is one nop and a note in the ELF file;
 * without, nothing.
 *
 *   commit       name of the instance, version   sealed, perhaps not durable; also of a message without a change
 *   fault_load   page                                            a fault was answered by loading it
 *   fault_write  page, mask of the block                         a fault was answered by opening the block for writing
 *   load         first page, count of pages, status              these were to come from the store into a region
 *   flush_begin  address of the store                            its transaction begins
 *   flush_end    address of the store, bytes put into LMDB, status; none where the transaction was given up
 *
 * Invariant: arguments are values at hand: nothing is computed for a probe. Thread: any, in a fault handler too.
 */
#ifndef PAGESTORE_BASE_PROBE_H
#define PAGESTORE_BASE_PROBE_H

#if PAGESTORE_PROBES
#include <sys/sdt.h>
#define PROBE1(name, a)       DTRACE_PROBE1(pagestore, name, a)
#define PROBE2(name, a, b)    DTRACE_PROBE2(pagestore, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(pagestore, name, a, b, c)
#else
#define PROBE1(name, a)       ((void)(a))
#define PROBE2(name, a, b)    ((void)(a), (void)(b))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
