/* clock.h - the two clocks: one for durations, one for records. Thread: any; async-signal-safe. */
#ifndef PAGESTORE_BASE_CLOCK_H
#define PAGESTORE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
static inline uint64_t wall_ns(void) { return clock_ns(CLOCK_REALTIME); }
static inline struct timespec timespec_of(uint64_t ns) {
  return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

#endif
