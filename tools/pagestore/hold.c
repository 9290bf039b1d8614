/* hold.c - see hold.h. */
#include "hold.h"

#include <time.h>

#include "complain.h"
#include "writer.h"

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void hold_begin(hold *h, const invocation *v, bool present) {
  *h = (hold){.store = present ? v->operand[0] : NULL, .allowed = option_given(v, "hold"), .began_ns = now_ns()};
}

bool hold_goes_on(hold *h) {
  writer w;
  if (!h->store || h->warned || now_ns() - h->began_ns < HOLD_SECONDS * 1000000000ull) return true;
  writer_find(h->store, &w);
  h->warned = h->allowed && w.pid != 0;
  if (h->warned)
    complain("the present is read for more than %d s now, and the file of %s grows meanwhile: with a snapshot it would "
             "not",
             HOLD_SECONDS, w.name);
  if (h->allowed || w.pid == 0) {
    if (w.pid == 0) h->began_ns = now_ns(); /* somebody may open it later */
    return true;
  }
  complain("the present was read for %d s, and longer makes the file of %s (process %d) grow: read a snapshot, or give "
           "--hold",
           HOLD_SECONDS, w.name, w.pid);
  return false;
}
