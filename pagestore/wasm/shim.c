/* shim.c - the stable-memory calls as a Wasm module of their own: direct access to both memories.
 *
 *   memory 0  the heap        memory 1  the stable memory
 *
 * What the calls do is told in stable.h; here it is instructions. Addresses are 64 bits wide until the access, where
 * they become what the memory's index type wants: the checks have shown by then that nothing is lost.
 *
 * Canisters ask for a few bytes at a time, so the lengths of the number types come first: one or two loads and stores,
 * whose own bounds are the check. Any other length is checked on both sides before the first byte, then moved eight
 * bytes at a time, the last ones once more where it is no multiple: the two memories cannot overlap.
 *
 * Always true: a call that goes out of bounds has written nothing. Of 16 bytes the upper half is moved first, which is
 * inside only if the lower one is.
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

/* Parameters and the one local of the copying functions. */
enum { TO, FROM, LENGTH, SIZE_BYTES };

/* Functions, in the order of the table below. */
enum { SIZE64, GROW64, READ64, WRITE64, SIZE32, GROW32, READ32, WRITE32, READ_ANY, WRITE_ANY, REQUIRE32, FUNCTIONS };
enum { EXPORTED = READ_ANY };
static const struct {
  const char *name;
  uint8_t type;
} functions[FUNCTIONS] = {
    {"stable64_size", 0}, {"stable64_grow", 1}, {"stable64_read", 2}, {"stable64_write", 2},
    {"stable_size", 3},   {"stable_grow", 4},   {"stable_read", 5},   {"stable_write", 5},
    {NULL, 2},            {NULL, 2},            {NULL, 6},
};

/* ---- instructions ---------------------------------------------------------------------------- */

enum {
  UNREACHABLE = 0x00,
  LOOP = 0x03,
  IF = 0x04,
  ELSE = 0x05,
  END = 0x0b,
  BR = 0x0c,
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
  EQ64 = 0x51,
  LT64_U = 0x54,
  GT64_U = 0x56,
  GE64_U = 0x5a,
  OR32 = 0x72,
  ADD64 = 0x7c,
  SUB64 = 0x7d,
  OR64 = 0x84,
  SHL64 = 0x86,
  SHR64_U = 0x88,
  WRAP = 0xa7,
  EXTEND_S = 0xac,
  EXTEND_U = 0xad,
  LOAD64 = 0x29,
  LOAD8_64 = 0x31,
  LOAD32_64 = 0x35,
  STORE64 = 0x37,
  STORE8_64 = 0x3c,
  STORE32_64 = 0x3e,
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

/* The address in a local, or so many bytes of the end of the range that begins there. */
static void put_address(shim *s, uint8_t local, uint8_t memory, uint8_t from_end) {
  PUT(&s->code, GET, local);
  if (from_end) {
    PUT(&s->code, GET, LENGTH, ADD64);
    constant(&s->code, from_end);
    put_byte(&s->code, SUB64);
  }
  if (s->bits[memory] == 32) put_byte(&s->code, WRAP);
}

/* An access to memory 1 names it: bit 6 of the alignment. */
static void put_access(shim *s, uint8_t opcode, uint8_t memory, uint8_t offset) {
  if (memory == HEAP) PUT(&s->code, opcode, 0, offset);
  else PUT(&s->code, opcode, 0x40, memory, offset);
}

/* 1, 4 or 8 bytes at an offset from where the range begins, or that lie `from_end` bytes in front of its end. */
static void put_move(shim *s, uint8_t to_memory, uint8_t bytes_each, uint8_t offset, uint8_t from_end) {
  uint8_t from_memory = to_memory == HEAP ? STABLE : HEAP;
  uint8_t load = bytes_each == 8 ? LOAD64 : bytes_each == 4 ? LOAD32_64 : LOAD8_64;
  uint8_t store = bytes_each == 8 ? STORE64 : bytes_each == 4 ? STORE32_64 : STORE8_64;
  put_address(s, TO, to_memory, from_end);
  put_address(s, FROM, from_memory, from_end);
  put_access(s, load, from_memory, offset);
  put_access(s, store, to_memory, offset);
}

/* if (length compares so) { */
static void put_if_length(shim *s, uint8_t compare, int64_t than) {
  PUT(&s->code, GET, LENGTH);
  constant(&s->code, than);
  PUT(&s->code, compare, IF, NOTHING);
}

static void put_step(shim *s, uint8_t local, uint8_t operation) {
  PUT(&s->code, GET, local);
  constant(&s->code, 8);
  PUT(&s->code, operation, SET, local);
}

/* while (length > 8) { move 8; to += 8; from += 8; length -= 8; } */
static void put_loop(shim *s, uint8_t to_memory) {
  PUT(&s->code, LOOP, NOTHING);
  put_if_length(s, GT64_U, 8);
  put_move(s, to_memory, 8, 0, 0);
  put_step(s, TO, ADD64);
  put_step(s, FROM, ADD64);
  put_step(s, LENGTH, SUB64);
  PUT(&s->code, BR, 1, END, END);
}

static void put_bulk(shim *s, uint8_t to_memory) {
  uint8_t from_memory = to_memory == HEAP ? STABLE : HEAP;
  put_if_length(s, GE64_U, BULK_BYTES_MIN);
  put_address(s, TO, to_memory, 0);
  put_address(s, FROM, from_memory, 0);
  put_address(s, LENGTH, s->bits[HEAP] == 32 ? HEAP : STABLE, 0); /* the length is as wide as the narrower one */
  PUT(&s->code, 0xfc, 0x0a, to_memory, from_memory, RETURN, END);
}

/* ---- functions ------------------------------------------------------------------------------- */

/* Traps where an address has more bits than its memory's index type. */
static void put_fits_index(shim *s, const uint8_t *address) {
  if (s->bits[HEAP] == 64 && s->bits[STABLE] == 64) return;
  uint8_t first = s->bits[HEAP] == 32 ? HEAP : STABLE;
  PUT(&s->code, GET, address[first]);
  if (s->bits[HEAP] == s->bits[STABLE]) PUT(&s->code, GET, address[STABLE], OR64);
  constant(&s->code, 32);
  PUT(&s->code, SHR64_U, WRAP, IF, NOTHING, UNREACHABLE, END);
}

/* Traps unless the range lies inside the memory; its size is shifted into bytes, which cannot wrap. */
static void put_inside(shim *s, uint8_t address, uint8_t memory) {
  bytes *b = &s->code;
  put_pages(s, memory);
  constant(b, 16);
  PUT(b, SHL64, TEE, SIZE_BYTES, GET, LENGTH, LT64_U, GET, address, GET, SIZE_BYTES, GET, LENGTH, SUB64, GT64_U, OR32);
  PUT(b, IF, NOTHING, UNREACHABLE, END);
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
static void put_copy(shim *s, uint8_t to_memory, uint8_t any) {
  static const uint8_t lengths[] = {8, 16, 4, 1};
  const uint8_t address[] = {to_memory == HEAP ? TO : FROM, to_memory == HEAP ? FROM : TO};
  for (unsigned i = 0; i < sizeof lengths; i++) {
    put_if_length(s, EQ64, lengths[i]);
    put_fits_index(s, address);
    if (lengths[i] == 16) put_move(s, to_memory, 8, 8, 0);
    put_move(s, to_memory, lengths[i] == 16 ? 8 : lengths[i], 0, 0);
    PUT(&s->code, RETURN, END);
  }
  PUT(&s->code, GET, TO, GET, FROM, GET, LENGTH, CALL, any);
}

/* The same of any length, with its check. */
static void put_copy_any(shim *s, uint8_t to_memory) {
  bytes *b = &s->code;
  PUT(b, GET, LENGTH, EQZ64, IF, NOTHING, RETURN, END);
  put_inside(s, to_memory == HEAP ? FROM : TO, STABLE);
  put_inside(s, to_memory == HEAP ? TO : FROM, HEAP);
  if (s->bulk) put_bulk(s, to_memory);
  put_if_length(s, GE64_U, 8);
  put_loop(s, to_memory);
  put_move(s, to_memory, 8, 0, 8);
  PUT(b, RETURN, END);
  put_if_length(s, GE64_U, 4);
  put_move(s, to_memory, 4, 0, 0);
  put_move(s, to_memory, 4, 0, 4);
  PUT(b, RETURN, END);
  put_move(s, to_memory, 1, 0, 0);
  put_if_length(s, GE64_U, 2);
  put_move(s, to_memory, 1, 0, 2);
  put_move(s, to_memory, 1, 0, 1);
  put_byte(b, END);
}

static void put_copy32(shim *s, uint8_t wide) {
  PUT(&s->code, GET, 2, EQZ32, IF, NOTHING, RETURN, END, CALL, REQUIRE32, GET, 0, EXTEND_U, GET, 1, EXTEND_U, GET, 2,
      EXTEND_U, CALL, wide);
}

static void put_function(shim *s, unsigned which) {
  if (which == READ_ANY || which == WRITE_ANY) PUT(&s->code, 1, 1, I64); /* SIZE_BYTES */
  else put_byte(&s->code, 0);
  switch (which) {
  case SIZE64: put_pages(s, STABLE); break;
  case GROW64: put_grow64(s); break;
  case READ64: put_copy(s, HEAP, READ_ANY); break;
  case WRITE64: put_copy(s, STABLE, WRITE_ANY); break;
  case SIZE32:
    PUT(&s->code, CALL, REQUIRE32);
    put_pages(s, STABLE);
    put_byte(&s->code, WRAP);
    break;
  case GROW32: put_grow32(s); break;
  case READ32: put_copy32(s, READ64); break;
  case WRITE32: put_copy32(s, WRITE64); break;
  case READ_ANY: put_copy_any(s, HEAP); break;
  case WRITE_ANY: put_copy_any(s, STABLE); break;
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
  put_byte(&b, memories ? EXPORTED + 2 : EXPORTED);
  for (uint8_t i = 0; i < EXPORTED; i++) {
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
