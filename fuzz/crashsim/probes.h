/* probes.h - short fixed programs for faults that need a certain moment rather than a crash. */
#ifndef CRASHSIM_PROBES_H
#define CRASHSIM_PROBES_H

#include <stdint.h>

/* Returns how many violations there were; each was reported. */
uint64_t probes_run(uint64_t seed);

#endif
