/* look.c - the store for reading, and a word on what to do when that fails. */
#include "look.h"

#include <stddef.h>

#include "complain.h"

static const char *next_for_store(int status) {
  switch (status) {
  case PAGESTORE_ENOTFOUND: return "give the directory that holds data.mdb";
  case PAGESTORE_EACCES: return "run as a user who may read the directory and write lock.mdb in it";
  case PAGESTORE_EBUSY: return "stop the runtime that has it open, or let it do this through its own handle";
  default: return NULL;
  }
}

int look_open_failed(int status) {
  complain_status(status, next_for_store(status));
  return status == PAGESTORE_ECORRUPT ? EXIT_FOUND : EXIT_FAILED;
}

int look_open(const invocation *v, pagestore_store **out) {
  uint32_t flags = PAGESTORE_READ | (option_given(v, "trust") ? 0 : PAGESTORE_VERIFY);
  int status = pagestore_open(v->operand[0], PAGESTORE_WITH(pagestore_options, .flags = flags),
                              out);
  return status ? look_open_failed(status) : EXIT_OK;
}

int look_failed(int status) {
  complain_status(status, status == PAGESTORE_ENOTFOUND ? "`pagestore ls STORE` lists the instances"
                                                        : NULL);
  return status == PAGESTORE_ECORRUPT ? EXIT_FOUND : EXIT_FAILED;
}

int look_view(pagestore_store *s, const char *instance, const char *snapshot,
              pagestore_instance **view) {
  int status = pagestore_instance_open(s, instance,
                                       PAGESTORE_WITH(pagestore_instance_options,
                                                      .flags = PAGESTORE_READ,
                                                      .snapshot = snapshot),
                                       view);
  if (!status) return EXIT_OK;
  if (status != PAGESTORE_ENOTFOUND || !snapshot) return look_failed(status);
  return complain_status(
      status,
      "`pagestore log STORE INSTANCE` lists the snapshots, `pagestore ls STORE` the instances");
}
