/* fuzz_canary.c - crashes on one short input, one bit away from its seed: a run of any fuzzer that
 * does not find it is worth nothing.
 *
 * ctest: runs=100000, must crash
 */
#include <string.h>

#include "fuzz/fuzz.h"

void fuzz_seeds(fuzz_add add, void *env) { add(env, "seed", (const uint8_t *)"canarx", 6); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  MUST(size < 6 || memcmp(data, "canary", 6) != 0);
  return 0;
}
