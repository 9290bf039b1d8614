/* seeds.c - small modules of every shape that the reader knows, one that was made native among them; in front of each the byte of
 * options that fuzz_module.c and fuzz_wasm.c share.
 */
#include <stdlib.h>

#include <pagestore/module.h>

#include "fuzz/fuzz.h"
#include "tests/sample_modules.h"

static void add_module(fuzz_add add, void *env, const char *name, uint8_t options, void (*make)(bytes *, unsigned),
                       unsigned bits) {
  bytes b = {0};
  put_byte(&b, options);
  make(&b, bits);
  MUST(!b.failed);
  add(env, name, b.at, b.count);
  bytes_free(&b);
}

static void make_native(bytes *out, unsigned bits) {
  bytes b = {0};
  pagestore_module *m;
  uint8_t *native;
  size_t size;
  sample_full(&b, bits);
  MUST(pagestore_module_read(b.at, b.count, &m) == 0);
  MUST(pagestore_module_native(m, NULL, &native, &size) == 0);
  put_bytes(out, native, size);
  free(native);
  pagestore_module_free(m);
  bytes_free(&b);
}

void fuzz_seeds(fuzz_add add, void *env) {
  add_module(add, env, "full-32", 0, sample_full, 32);
  add_module(add, env, "full-64", 1, sample_full, 64);
  add_module(add, env, "small", 2, sample_small, 32);
  add_module(add, env, "importing-32", 0, sample_importing, 32);
  add_module(add, env, "importing-64", 14, sample_importing, 64);
  add_module(add, env, "native", 0, make_native, 32);
}
