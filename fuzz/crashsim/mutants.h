/* mutants.h - the same simulator linked with a library that was broken in one place, each of which must be caught. */
#ifndef CRASHSIM_MUTANTS_H
#define CRASHSIM_MUTANTS_H

#include <stdint.h>

/* Runs each mutant beside `own_path`; how many were caught, of *total. */
unsigned mutants_run(const char *own_path, uint64_t seed, unsigned *total);

#endif
