/* shim.c - the stable-memory calls as a Wasm module of their own: direct access to both memories.
 *
 *   memory 0  the heap        memory 1  the stable memory
 *
 * What the calls do is told in stable.h; here it is instructions. Addresses are 64 bits wide until the access, where
 * they become what the memory's index type wants: the checks have shown by then that nothing is lost.
 */
#include "native.h"

#include <string.h>

#include "base/status.h"

enum { HEAP, STABLE };
enum { BULK_BYTES_MIN = 256 };

typedef struct {
  bytes code;
  unsigned bits[2]; /* index type of HEAP, STABLE */
  bool bulk;
} shim;

/* Functions, in the order of the table below. */
enum { SIZE64, GROW64, READ64, WRITE64, SIZE32, GROW32, READ32, WRITE32, CHECK, REQUIRE32, FUNCTIONS };
static const struct {
  const char *name;
  uint8_t type;
} functions[FUNCTIONS] = {
    {"stable64_size", 0},
    {"stable64_grow", 1},
    {"stable64_read", 2},
    {"stable64_write", 2},
    {"stable_size", 3},
    {"stable_grow", 4},
    {"stable_read", 5},
    {"stable_write", 5},
    {NULL, 2},
    {NULL, 6},
};

/* ---- instructions ---------------------------------------------------------------------------- */

enum {
  UNREACHABLE = 0x00,
  BLOCK = 0x02,
  LOOP = 0x03,
  IF = 0x04,
  ELSE = 0x05,
  END = 0x0b,
  BR = 0x0c,
  BR_IF = 0x0d,
  RETURN = 0x0f,
  CALL = 0x10,
  GET = 0x20,
  SET = 0x21,
  TEE = 0x22,
  SIZE = 0x3f,
  GROW = 0x40,
  CONST32 = 0x41,
  CONST64 = 0x42,
  EQZ32 = 0x45,
  EQZ64 = 0x50,
  LT64_U = 0x54,
  GT64_U = 0x56,
  GE64_U = 0x5a,
  OR32 = 0x72,
  ADD64 = 0x7c,
  SUB64 = 0x7d,
  SHL64 = 0x86,
  WRAP = 0xa7,
  EXTEND_S = 0xac,
  EXTEND_U = 0xad,
  LOAD64 = 0x29,
  LOAD8_64 = 0x31,
  STORE64 = 0x37,
  STORE8_64 = 0x3c,
  NOTHING = 0x40,
  I32 = 0x7f,
  I64 = 0x7e
};

static void constant(bytes *b, int64_t value) {
  put_byte(b, CONST64);
  put_s64(b, value);
}

static void put_pages(shim *s, uint8_t memory) {
  PUT(&s->code, SIZE, memory);
  if (s->bits[memory] == 32) put_byte(&s->code, EXTEND_U);
}

static void put_address(shim *s, uint8_t local, uint8_t memory) {
  PUT(&s->code, GET, local);
  if (s->bits[memory] == 32) put_byte(&s->code, WRAP);
}

/* An access to memory 1 names it: bit 6 of the alignment. */
static void put_access(shim *s, uint8_t opcode, uint8_t align, uint8_t memory) {
  if (memory == HEAP) PUT(&s->code, opcode, align, 0);
  else PUT(&s->code, opcode, align | 0x40, memory, 0);
}

/* while (length >= step) { store(to, load(from)); to += step; from += step; length -= step; } */
static void put_loop(shim *s, uint8_t to_memory, uint8_t to, uint8_t from, uint8_t step) {
  bytes *b = &s->code;
  const uint8_t length = 2;
  uint8_t wide = step == 8, from_memory = to_memory == HEAP ? STABLE : HEAP;
  const uint8_t moved[] = {to, from};
  PUT(b, BLOCK, NOTHING, LOOP, NOTHING, GET, length);
  constant(b, step);
  PUT(b, LT64_U, BR_IF, 1);
  put_address(s, to, to_memory);
  put_address(s, from, from_memory);
  put_access(s, wide ? LOAD64 : LOAD8_64, 0, from_memory);
  put_access(s, wide ? STORE64 : STORE8_64, 0, to_memory);
  for (unsigned i = 0; i < sizeof moved; i++) {
    PUT(b, GET, moved[i]);
    constant(b, step);
    PUT(b, ADD64, SET, moved[i]);
  }
  PUT(b, GET, length);
  constant(b, step);
  PUT(b, SUB64, SET, length, BR, 0, END, END);
}

static void put_bulk(shim *s, uint8_t to_memory, uint8_t to, uint8_t from) {
  bytes *b = &s->code;
  uint8_t from_memory = to_memory == HEAP ? STABLE : HEAP;
  PUT(b, GET, 2);
  constant(b, BULK_BYTES_MIN);
  PUT(b, GE64_U, IF, NOTHING);
  put_address(s, to, to_memory);
  put_address(s, from, from_memory);
  put_address(s, 2, s->bits[HEAP] == 32 ? HEAP : STABLE); /* the length is as wide as the narrower one */
  PUT(b, 0xfc, 0x0a, to_memory, from_memory, RETURN, END);
}

/* ---- functions ------------------------------------------------------------------------------- */

/* (offset, length, pages): traps unless the range lies inside. */
static void put_check(shim *s) {
  bytes *b = &s->code;
  PUT(b, GET, 2);
  constant(b, 16);
  PUT(b, SHL64, TEE, 2, GET, 0, LT64_U, GET, 1, GET, 2, GET, 0, SUB64, GT64_U, OR32, IF, NOTHING, UNREACHABLE, END);
}

/* Traps where the stable memory is too large for the 32-bit calls. */
static void put_require32(shim *s) {
  put_pages(s, STABLE);
  constant(&s->code, 65536);
  PUT(&s->code, GT64_U, IF, NOTHING, UNREACHABLE, END);
}

static void put_grow64(shim *s) {
  bytes *b = &s->code;
  if (s->bits[STABLE] == 64) {
    PUT(b, GET, 0, GROW, STABLE);
    return;
  }
  PUT(b, GET, 0);
  constant(b, 65536);
  PUT(b, GT64_U, IF, I64);
  constant(b, -1);
  PUT(b, ELSE, GET, 0, WRAP, GROW, STABLE, EXTEND_S, END);
}

static void put_grow32(shim *s) {
  bytes *b = &s->code;
  PUT(b, CALL, REQUIRE32, GET, 0, EXTEND_U);
  put_pages(s, STABLE);
  put_byte(b, ADD64);
  constant(b, 65536);
  PUT(b, GT64_U, IF, I32, CONST32, 0x7f, ELSE, GET, 0, EXTEND_U, CALL, GROW64, WRAP, END);
}

/* read: (to in the heap, offset, length); write: (offset, from in the heap, length). */
static void put_copy(shim *s, uint8_t to_memory) {
  bytes *b = &s->code;
  uint8_t to = 0, from = 1, offset = to_memory == STABLE ? to : from, address = to_memory == STABLE ? from : to;
  PUT(b, GET, 2, EQZ64, IF, NOTHING, RETURN, END, GET, offset, GET, 2);
  put_pages(s, STABLE);
  PUT(b, CALL, CHECK, GET, address, GET, 2);
  put_pages(s, HEAP);
  PUT(b, CALL, CHECK);
  if (s->bulk) put_bulk(s, to_memory, to, from);
  put_loop(s, to_memory, to, from, 8);
  put_loop(s, to_memory, to, from, 1);
}

static void put_copy32(shim *s, uint8_t wide) {
  PUT(&s->code, GET, 2, EQZ32, IF, NOTHING, RETURN, END, CALL, REQUIRE32, GET, 0, EXTEND_U, GET, 1, EXTEND_U, GET, 2,
      EXTEND_U, CALL, wide);
}

static void put_function(shim *s, unsigned which) {
  put_byte(&s->code, 0); /* no locals */
  switch (which) {
  case SIZE64: put_pages(s, STABLE); break;
  case GROW64: put_grow64(s); break;
  case READ64: put_copy(s, HEAP); break;
  case WRITE64: put_copy(s, STABLE); break;
  case SIZE32:
    PUT(&s->code, CALL, REQUIRE32);
    put_pages(s, STABLE);
    put_byte(&s->code, WRAP);
    break;
  case GROW32: put_grow32(s); break;
  case READ32: put_copy32(s, READ64); break;
  case WRITE32: put_copy32(s, WRITE64); break;
  case CHECK: put_check(s); break;
  case REQUIRE32: put_require32(s); break;
  }
  put_byte(&s->code, END);
}

/* ---- sections -------------------------------------------------------------------------------- */

static void put_types(bytes *out) {
  bytes b = {0};
  PUT(&b, 7, 0x60, 0, 1, I64, 0x60, 1, I64, 1, I64, 0x60, 3, I64, I64, I64, 0, 0x60, 0, 1, I32, 0x60, 1, I32, 1, I32,
      0x60, 3, I32, I32, I32, 0, 0x60, 0, 0);
  put_section(out, SECTION_TYPE, &b);
}

static void put_function_types(bytes *out) {
  bytes b = {0};
  put_byte(&b, FUNCTIONS);
  for (unsigned i = 0; i < FUNCTIONS; i++) put_byte(&b, functions[i].type);
  put_section(out, SECTION_FUNCTION, &b);
}

static void put_memories(bytes *out, const pagestore_module *m, const pagestore_native_options *o, bool imports) {
  static const char *const names[] = {NATIVE_HEAP, NATIVE_STABLE};
  bytes b = {0};
  put_byte(&b, 2);
  for (unsigned i = 0; i < 2; i++) {
    if (imports) {
      put_name(&b, NATIVE_MODULE);
      put_name(&b, names[i]);
      put_byte(&b, PAGESTORE_WASM_MEMORY);
    }
    if (i == HEAP) put_heap_limits(&b, m);
    else put_stable_limits(&b, o);
  }
  put_section(out, imports ? SECTION_IMPORT : SECTION_MEMORY, &b);
}

static void put_exports(bytes *out, bool memories) {
  bytes b = {0};
  put_byte(&b, memories ? CHECK + 2 : CHECK);
  for (uint8_t i = 0; i < CHECK; i++) {
    put_name(&b, functions[i].name);
    PUT(&b, PAGESTORE_WASM_FUNCTION, i);
  }
  if (memories) {
    put_name(&b, NATIVE_HEAP);
    PUT(&b, PAGESTORE_WASM_MEMORY, HEAP);
    put_name(&b, NATIVE_STABLE);
    PUT(&b, PAGESTORE_WASM_MEMORY, STABLE);
  }
  put_section(out, SECTION_EXPORT, &b);
}

static void put_code(bytes *out, shim s) {
  bytes b = {0};
  put_byte(&b, FUNCTIONS);
  for (unsigned i = 0; i < FUNCTIONS; i++) {
    put_function(&s, i);
    put_body(&b, &s.code);
  }
  put_section(out, SECTION_CODE, &b);
}

int pagestore_module_shim(const pagestore_module *m, const pagestore_native_options *given, uint8_t **out,
                          size_t *size) {
  pagestore_native_options o;
  if (!m || !out || !size) return fail(PAGESTORE_EINVAL, "the module or a result is NULL");
  int status = native_options(given, &o);
  if (!status) status = native_check(m, &o);
  if (status) return status;
  if (o.memories == PAGESTORE_NATIVE_MODULE)
    return fail(PAGESTORE_EUNSUPPORTED,
                "the module defines its own memories: a shim cannot reach them; let the host or the shim "
                "define them, or serve the calls by host functions");
  bool imports = o.memories == PAGESTORE_NATIVE_HOST;
  shim s = {.bits = {m->memories.list[0].limits.is64 ? 64 : 32, o.stable_bits},
            .bulk = o.copy == PAGESTORE_NATIVE_BULK};
  bytes b = {0};
  PUT(&b, 0, 'a', 's', 'm', 1, 0, 0, 0);
  put_types(&b);
  if (imports) put_memories(&b, m, &o, true);
  put_function_types(&b);
  if (!imports) put_memories(&b, m, &o, false);
  put_exports(&b, !imports);
  put_code(&b, s);
  return bytes_take(&b, out, size);
}
