/* guest.h - the canister as the host runs it: module, memories, calls, messages.
 *
 *   open:     heap and stable memory bound; the module instantiated, which writes over the heap;
 *   then committed where the instance
 *             is new, and rolled back where it is not, so that the heap is again that of the last
 *             commit
 *   message:  arguments into the heap, the call, the message's number into the metadata, commit;
 *   after a trap rollback query:    the same without an end of its own: guest_forget() drops what
 *   it wrote
 *
 * Always true: a guest has an instance handle of its own; version 1 or 2 of the module as the
 *              handle's module hash says.
 * Thread:      one per guest.
 */
#ifndef DEMO_GUEST_H
#define DEMO_GUEST_H

#include <pagestore.h>
#include <pagestore/wasm2c.h>

#include "canister_v1.h"
#include "canister_v2.h"
#include "records.h"

/* What the modules import: their memory, and the Internet Computer's calls over the two memories.
 */
struct Z_env_instance_t {
  wasm_rt_memory_t heap;
};
struct Z_ic0_instance_t {
  pagestore_memory *stable;
  const wasm_rt_memory_t *heap;
  /* when this comes to 0, `stop` is called in the middle of the write; 0: never */
  uint64_t writes_left;
  void (*stop)(void *env);
  void *env;
};

typedef struct {
  uint64_t messages, guest_ns, boundary_ns;
} guest_times;

typedef struct {
  pagestore_instance *instance;
  pagestore_memory *heap, *stable;
  pagestore_wasm2c wasm2c;
  pagestore_wasm2c_global globals[1];
  struct Z_env_instance_t env;
  struct Z_ic0_instance_t ic0;
  int module; /* 1 or 2 */
  Z_canister_v1_instance_t v1;
  Z_canister_v2_instance_t v2;
  guest_times *times;
  uint64_t last_message; /* as in the metadata */
} guest;

typedef enum {
  GUEST_PUT,
  GUEST_REMOVE,
  GUEST_POISON,
  GUEST_UPGRADED,
  GUEST_GET,
  GUEST_NEXT,
  GUEST_SECTION_NEXT,
  GUEST_COUNT,
  GUEST_CHECK,
  GUEST_MESSAGES
} guest_export;

/* Opens the instance with the module that it holds (a new one: version 1). flags and snapshot as in
 * pagestore_instance_options. These and the rest: 0, or not, with a line on stderr. */
int guest_open(guest *, pagestore_store *, const char *name, uint32_t flags, const char *snapshot,
               guest_times *);
/* an open handle, a fork's */
int guest_adopt(guest *, pagestore_instance *, int module, guest_times *);
void guest_close(guest *);
int guest_upgrade(guest *); /* to version 2, as one message */

/* A trap is a result here: *code. Otherwise *result is what the export returned. The message stays
 * open. */
int guest_call(guest *, guest_export, const char *name, const void *text, uint32_t bytes, int *code,
               uint64_t *result);
/* Message number last_message + 1, committed with these flags; fails on a trap and when the result
 * is not the expected one. */
int guest_message(guest *, guest_export, const char *name, const void *text, uint32_t bytes,
                  uint64_t expected, unsigned flags, uint64_t *version);
int guest_forget(guest *); /* rollback */
/* after pagestore_restore: sizes, globals and number as they are now */
int guest_reload(guest *);

/* every name and text, byte for byte, and the trees' own check */
int guest_matches(guest *, const model *, const char *when);
int guest_sections_match(guest *, const model *, size_t *sections);
int guest_read(guest *, model *out); /* everything, copied */

/* prints pagestore_detail(); always 1 */
int demo_failed(const char *what);
uint64_t demo_ns(void);

#endif
