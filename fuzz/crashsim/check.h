/* check.h - opens a store with the shipped library and says whether it is at one of the moments where it may be.
 *
 * The look is byte for byte: the list of instances, their versions, module hashes, sizes, bytes, metadata and counts
 * of stored pages, and the same for every snapshot. Then, if asked for, it goes on as a host would: two commits, each
 * of some instances, closing and opening anew, and the same look again: that finds a damaged free list.
 *
 * Thread: one.
 */
#ifndef CRASHSIM_CHECK_H
#define CRASHSIM_CHECK_H

#include <pagestore.h>

#include "chronicle.h"

typedef struct {
  const chronicle *chronicle;
  int64_t acknowledged, begun; /* seals; NO_STORE: a store need not be there */
} expectation;

typedef struct {
  bool go_on;          /* the two commits, and the second look */
  uint64_t seed;       /* what is written in them, and how the store is opened */
  chronicle *recovery; /* what the two commits made, over the moment that was found; NULL: not wanted */
  bool created;        /* out: there was no store, and one was made */
} check_options;

/* The store at `path`; false: a violation, which was reported. */
bool check_store(const char *path, const expectation *, check_options *);

/* An open store against one moment: NULL, or what differs. flags: of the instances' handles, PAGESTORE_READ or 0. */
const char *compare_store(pagestore_store *, uint32_t flags, const moment *);
/* A view that was opened when this was committed. */
const char *compare_view(pagestore_instance *, const version *);

#endif
