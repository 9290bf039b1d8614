/* native.h - what the rewritten module and the shim agree on: names, options, the type of the stable memory.
 *
 * Thread: any.
 */
#ifndef PAGESTORE_WASM_NATIVE_H
#define PAGESTORE_WASM_NATIVE_H

#include "bytes.h"
#include "module.h"

#define NATIVE_MODULE   "pagestore"
#define NATIVE_HEAP     "heap"
#define NATIVE_STABLE   "stable"
#define NATIVE_RESERVED "pagestore_"
#define NATIVE_INSTALL  NATIVE_RESERVED "install"
#define NATIVE_GLOBAL   NATIVE_RESERVED "global_"

/* Checked and with defaults filled in. EINVAL */
int native_options(const pagestore_native_options *given, pagestore_native_options *out);
/* Whether this module can be made native at all. EUNSUPPORTED, with the place */
int native_check(const pagestore_module *, const pagestore_native_options *);
void put_stable_limits(bytes *, const pagestore_native_options *);
void put_heap_limits(bytes *, const pagestore_module *);

#endif
