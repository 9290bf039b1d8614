/* sample_modules.h - small Wasm modules, byte by byte, for tests and fuzz targets of the reader and the rewriter.
 *
 * All are valid; with `bits` 64 the memory has 64-bit addresses. Thread: any.
 */
#ifndef PAGESTORE_TESTS_SAMPLE_MODULES_H
#define PAGESTORE_TESTS_SAMPLE_MODULES_H

#include <string.h>

#include "wasm/bytes.h"

enum { SAMPLE_I32 = 0x7f, SAMPLE_I64 = 0x7e, SAMPLE_F64 = 0x7c, SAMPLE_FUNCREF = 0x70 };

static inline void sample_head(bytes *b) { PUT(b, 0, 'a', 's', 'm', 1, 0, 0, 0); }

#define SAMPLE_SECTION(b, id, ...)                                                                                     \
  do {                                                                                                                 \
    bytes body_ = {0};                                                                                                 \
    PUT(&body_, __VA_ARGS__);                                                                                          \
    put_section((b), (id), &body_);                                                                                    \
  } while (0)

static inline void sample_custom(bytes *b, const char *name, const char *content) {
  bytes body = {0};
  put_name(&body, name);
  put_bytes(&body, content, strlen(content));
  put_section(b, 0, &body);
}

/* Nothing but a memory. */
static inline void sample_small(bytes *b, unsigned bits) {
  sample_head(b);
  SAMPLE_SECTION(b, 5, 1, bits == 64 ? 4 : 0, 1);
}

static inline void sample_import(bytes *b, const char *module, const char *name, uint8_t kind) {
  put_name(b, module);
  put_name(b, name);
  put_byte(b, kind);
}

/* ic0.stable64_read, ic0.stable64_size, ic0.stable_grow, a table, an immutable and a mutable global. */
static inline void sample_imports(bytes *b) {
  bytes body = {0};
  put_byte(&body, 6);
  sample_import(&body, "ic0", "stable64_read", 0);
  put_byte(&body, 0);
  sample_import(&body, "ic0", "stable64_size", 0);
  put_byte(&body, 2);
  sample_import(&body, "ic0", "stable_grow", 0);
  put_byte(&body, 3);
  sample_import(&body, "env", "table", 1);
  PUT(&body, SAMPLE_FUNCREF, 1, 1, 5);
  sample_import(&body, "env", "base", 3);
  PUT(&body, SAMPLE_I32, 0);
  sample_import(&body, "env", "counter", 3);
  PUT(&body, SAMPLE_I64, 1);
  put_section(b, 2, &body);
}

static inline void sample_exports(bytes *b) {
  bytes body = {0};
  put_byte(&body, 3);
  put_name(&body, "run");
  PUT(&body, 0, 4);
  put_name(&body, "memory");
  PUT(&body, 2, 0);
  put_name(&body, "sp");
  PUT(&body, 3, 2);
  put_section(b, 7, &body);
}

/* A constant address as the memory wants it. */
static inline void sample_address(bytes *b, unsigned bits, int64_t address) {
  put_byte(b, bits == 64 ? 0x42 : 0x41);
  put_s64(b, address);
  put_byte(b, 0x0b);
}

/* Active "hello" at 16, passive "later", active in a long form "there" at 70,000, active "" at 8. */
static inline void sample_data(bytes *b, unsigned bits) {
  bytes body = {0};
  PUT(&body, 4, 0);
  sample_address(&body, bits, 16);
  put_name(&body, "hello");
  put_byte(&body, 1);
  put_name(&body, "later");
  PUT(&body, 2, 0);
  sample_address(&body, bits, 70000);
  put_name(&body, "there");
  put_byte(&body, 0);
  sample_address(&body, bits, 8);
  put_name(&body, "");
  put_section(b, 11, &body);
}

/* Every section that the reader knows but tags. Functions: 0 to 2 imported, 3 the start function, 4 "run". */
static inline void sample_full(bytes *b, unsigned bits) {
  sample_head(b);
  sample_custom(b, "first", "stands in front");
  SAMPLE_SECTION(b, 1, 4, 0x60, 3, SAMPLE_I64, SAMPLE_I64, SAMPLE_I64, 0, 0x60, 0, 0, 0x60, 0, 1, SAMPLE_I64, 0x60, 1,
                 SAMPLE_I32, 1, SAMPLE_I32);
  sample_imports(b);
  SAMPLE_SECTION(b, 3, 2, 1, 3);
  sample_custom(b, "between", "stands in between");
  SAMPLE_SECTION(b, 4, 1, SAMPLE_FUNCREF, 0, 2);
  SAMPLE_SECTION(b, 5, 1, bits == 64 ? 5 : 1, 2, 100);
  SAMPLE_SECTION(b, 6, 3, SAMPLE_I32, 1, 0x41, 7, 0x0b, SAMPLE_I64, 0, 0x42, 0x7f, 0x0b, SAMPLE_F64, 1, 0x44, 0, 0, 0,
                 0, 0, 0, 0, 0, 0x0b);
  sample_exports(b);
  SAMPLE_SECTION(b, 8, 3);
  SAMPLE_SECTION(b, 9, 1, 2, 1, 0x41, 0, 0x0b, 0, 1, 4);
  SAMPLE_SECTION(b, 12, 4);
  /* 3: global.get 2; i32.const 1; i32.add; global.set 2. 4: local.get 0; global.get 2; i32.add */
  SAMPLE_SECTION(b, 10, 2, 9, 0, 0x23, 2, 0x41, 1, 0x6a, 0x24, 2, 0x0b, 7, 0, 0x20, 0, 0x23, 2, 0x6a, 0x0b);
  sample_data(b, bits);
  sample_custom(b, "last", "stands at the end");
}

/* Its memory is imported, no type () -> (), no functions, an active segment without data count. */
static inline void sample_importing(bytes *b, unsigned bits) {
  bytes imports = {0};
  sample_head(b);
  SAMPLE_SECTION(b, 1, 1, 0x60, 1, SAMPLE_I32, 0);
  put_byte(&imports, 2);
  sample_import(&imports, "env", "memory", 2);
  PUT(&imports, bits == 64 ? 4 : 0, 3);
  sample_import(&imports, "env", "print", 0);
  put_byte(&imports, 0);
  put_section(b, 2, &imports);
  sample_data(b, bits);
}

#endif
