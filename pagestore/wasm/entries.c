/* entries.c - what stands in the sections of a Wasm module, as far as it matters here: function bodies and element
 * segments are counted and skipped. */
#include "module.h"

typedef enum { I32 = 0x7f, I64 = 0x7e, F32 = 0x7d, F64 = 0x7c, V128 = 0x7b, REF_NULL = 0x63, REF = 0x64 } value_type;

/* ---- types ----------------------------------------------------------------------------------- */

/* Signed LEB128 of at most 64 bits; only its length matters. */
static int skip_signed(cursor *c) {
  uint64_t start = c->at;
  for (unsigned i = 0; i < 10; i++) {
    uint8_t byte;
    int status = take_byte(c, &byte);
    if (status || !(byte & 0x80)) return status;
  }
  return refuse(c, start, "a number of more than 64 bits");
}

static bool is_reference(uint8_t type) { return type >= 0x63 && type <= 0x74; }

static int take_value_type(cursor *c, uint8_t *type) {
  uint64_t start = c->at;
  int status = take_byte(c, type);
  if (status) return status;
  if (*type == REF || *type == REF_NULL) return skip_signed(c);
  if ((*type >= V128 && *type <= I32) || is_reference(*type)) return 0;
  return refuse(c, start, "0x%02x is not a known type of values", *type);
}

static int take_reference_type(cursor *c, uint8_t *type) {
  uint64_t start = c->at;
  int status = take_value_type(c, type);
  if (!status && !is_reference(*type)) return refuse(c, start, "0x%02x is not a type of references", *type);
  return status;
}

static int take_value_types(cursor *c, uint64_t *at, uint64_t *end) {
  uint32_t count;
  uint8_t type;
  int status = take_u32(c, &count);
  *at = c->at;
  for (uint32_t i = 0; !status && i < count; i++) status = take_value_type(c, &type);
  *end = c->at;
  return status;
}

static int read_type(cursor *c) {
  uint64_t start = c->at;
  uint8_t form;
  pagestore_wasm_type *t;
  int status = take_byte(c, &form);
  if (status) return status;
  if (form != 0x60)
    return refuse(c, start, "type form 0x%02x: only functions are known; compile without garbage-collected types",
                  form);
  LIST_ADD(c->module->types, t);
  status = take_value_types(c, &t->params_at, &t->params_end);
  return status ? status : take_value_types(c, &t->results_at, &t->results_end);
}

static int take_limits(cursor *c, pagestore_wasm_limits *l) {
  enum { HAS_MAX = 1, SHARED = 2, IS64 = 4 };
  uint64_t start = c->at;
  uint8_t flags;
  int status = take_byte(c, &flags);
  if (status) return status;
  if (flags > (HAS_MAX | SHARED | IS64))
    return refuse(c, start, "limits 0x%02x: not known; memories with pages of another size are not supported", flags);
  *l = (pagestore_wasm_limits){.has_max = flags & HAS_MAX, .shared = flags & SHARED, .is64 = flags & IS64};
  if ((status = take_u64(c, &l->min)) != 0 || (l->has_max && (status = take_u64(c, &l->max)) != 0)) return status;
  if (!l->is64 && (l->min > UINT32_MAX || l->max > UINT32_MAX))
    return refuse(c, start, "32-bit limits with a number of more than 32 bits");
  return l->has_max && l->min > l->max ? refuse(c, start, "the minimum is above the maximum") : 0;
}

static int take_memory(cursor *c, bool imported) {
  pagestore_wasm_memory *m;
  LIST_ADD(c->module->memories, m);
  m->imported = imported;
  m->at = c->at;
  int status = take_limits(c, &m->limits);
  if (status) return status;
  m->end = c->at;
  uint64_t most = m->limits.is64 ? UINT64_C(1) << 48 : 65536;
  if (m->limits.min > most || m->limits.max > most)
    return refuse(c, m->at, "a memory of more than %llu pages", (unsigned long long)most);
  return 0;
}

static int take_table(cursor *c, bool imported) {
  pagestore_wasm_table *t;
  LIST_ADD(c->module->tables, t);
  t->imported = imported;
  t->at = c->at;
  int status = take_reference_type(c, &t->type);
  return status ? status : take_limits(c, &t->limits);
}

static int take_global(cursor *c, bool imported) {
  pagestore_wasm_global *g;
  uint8_t mutable;
  LIST_ADD(c->module->globals, g);
  g->imported = imported;
  g->at = c->at;
  int status = take_value_type(c, &g->type);
  if (!status) status = take_byte(c, &mutable);
  if (status) return status;
  if (mutable > 1) return refuse(c, c->at - 1, "a global is mutable (1) or not (0), not %u", mutable);
  g->is_mutable = mutable;
  return 0;
}

/* ---- constant expressions -------------------------------------------------------------------- */

static int skip_vector(cursor *c, uint64_t start) {
  uint32_t opcode;
  uint64_t at;
  int status = take_u32(c, &opcode);
  if (!status && opcode != 12) return refuse(c, start, "an instruction that is not constant");
  return status ? status : take_bytes(c, 16, &at);
}

static int skip_instruction(cursor *c, uint8_t opcode, uint64_t start) {
  uint64_t at;
  uint32_t index;
  switch (opcode) {
  case 0x41:
  case 0x42:
  case 0xd0: return skip_signed(c);        /* i32.const, i64.const, ref.null */
  case 0x43: return take_bytes(c, 4, &at); /* f32.const */
  case 0x44: return take_bytes(c, 8, &at); /* f64.const */
  case 0x23:
  case 0xd2: return take_u32(c, &index); /* global.get, ref.func */
  case 0x6a:
  case 0x6b:
  case 0x6c:
  case 0x7c:
  case 0x7d:
  case 0x7e: return 0; /* add, sub, mul */
  case 0xfd: return skip_vector(c, start);
  default: return refuse(c, start, "instruction 0x%02x is not known in a constant expression", opcode);
  }
}

/* *end: in front of the closing `end`, which is taken. */
static int take_expression(cursor *c, uint64_t *at, uint64_t *end) {
  *at = c->at;
  for (;;) {
    uint8_t opcode;
    *end = c->at;
    int status = take_byte(c, &opcode);
    if (!status && opcode == 0x0b) return *end > *at ? 0 : refuse(c, *at, "an empty expression");
    if (!status) status = skip_instruction(c, opcode, *end);
    if (status) return status;
  }
}

/* ---- entries --------------------------------------------------------------------------------- */

static int take_function(cursor *c) {
  uint64_t start = c->at;
  uint32_t type, *f;
  int status = take_u32(c, &type);
  if (status) return status;
  if (type >= c->module->types.count) return refuse(c, start, "function type %u does not exist", type);
  LIST_ADD(c->module->functions, f);
  *f = type;
  return 0;
}

static int take_tag(cursor *c) {
  uint64_t start = c->at;
  uint8_t attribute;
  uint32_t type;
  int status = take_byte(c, &attribute);
  if (!status) status = take_u32(c, &type);
  if (status) return status;
  c->module->tags++;
  return type < c->module->types.count ? 0 : refuse(c, start, "tag type %u does not exist", type);
}

static int read_import(cursor *c) {
  pagestore_module *m = c->module;
  pagestore_wasm_import *i;
  uint64_t start = c->at;
  uint8_t kind;
  LIST_ADD(m->imports, i);
  i->kind = PAGESTORE_WASM_FUNCTION;
  i->at = start;
  int status = take_name(c, &i->module);
  if (!status) status = take_name(c, &i->name);
  if (!status) status = take_byte(c, &kind);
  if (status) return status;
  switch (kind) {
  case PAGESTORE_WASM_FUNCTION:
    i->index = m->functions.count;
    m->imported_functions++;
    status = take_function(c);
    break;
  case PAGESTORE_WASM_TABLE:
    i->index = m->tables.count;
    status = take_table(c, true);
    break;
  case PAGESTORE_WASM_MEMORY:
    i->index = m->memories.count;
    m->imported_memories++;
    status = take_memory(c, true);
    break;
  case PAGESTORE_WASM_GLOBAL:
    i->index = m->globals.count;
    status = take_global(c, true);
    break;
  case PAGESTORE_WASM_TAG:
    i->index = m->tags;
    status = take_tag(c);
    break;
  default: return refuse(c, start, "an import of unknown kind %u", kind);
  }
  i->kind = (pagestore_wasm_kind)kind;
  i->end = c->at;
  return status;
}

/* A table with an initial value is 0x40 0x00, the table, an expression. */
static int read_table(cursor *c) {
  uint64_t at, end;
  uint8_t zero;
  bool has_value = c->at < c->end && c->bytes[c->at] == 0x40;
  int status = has_value ? take_bytes(c, 1, &at) : 0;
  if (!status && has_value && (status = take_byte(c, &zero)) == 0 && zero)
    return refuse(c, c->at - 1, "0x%02x where 0 is expected", zero);
  if (!status) status = take_table(c, false);
  return status || !has_value ? status : take_expression(c, &at, &end);
}

static int read_global(cursor *c) {
  uint64_t at, end;
  int status = take_global(c, false);
  return status ? status : take_expression(c, &at, &end);
}

static int read_export(cursor *c) {
  pagestore_module *m = c->module;
  pagestore_wasm_export *e;
  uint8_t kind;
  LIST_ADD(m->exports, e);
  e->at = c->at;
  int status = take_name(c, &e->name);
  if (!status) status = take_byte(c, &kind);
  if (!status) status = take_u32(c, &e->index);
  if (status) return status;
  if (kind > PAGESTORE_WASM_TAG) return refuse(c, e->at, "an export of unknown kind %u", kind);
  e->kind = (pagestore_wasm_kind)kind;
  const uint32_t counts[] = {m->functions.count, m->tables.count, m->memories.count, m->globals.count, UINT32_MAX};
  return e->index < counts[kind] ? 0 : refuse(c, e->at, "exports what does not exist: index %u", e->index);
}

static int read_start(cursor *c) {
  pagestore_module *m = c->module;
  uint64_t start = c->at;
  int status = take_u32(c, &m->start);
  if (status) return status;
  if (m->start >= m->functions.count) return refuse(c, start, "function %u does not exist", m->start);
  const pagestore_wasm_type *t = &m->types.list[m->functions.list[m->start]];
  m->has_start = true;
  return t->params_at == t->params_end && t->results_at == t->results_end
             ? 0
             : refuse(c, start, "the start function takes or returns something");
}

static int read_body(cursor *c) {
  uint32_t size;
  uint64_t at;
  c->module->code_bodies++;
  int status = take_u32(c, &size);
  return status ? status : take_bytes(c, size, &at);
}

static int read_data(cursor *c) {
  pagestore_module *m = c->module;
  pagestore_wasm_data *d;
  uint32_t form, size;
  LIST_ADD(m->data, d);
  d->at = c->at;
  int status = take_u32(c, &form);
  if (status) return status;
  if (form > 2) return refuse(c, d->at, "a data segment of unknown form %u", form);
  d->active = form != 1;
  if (form == 2 && (status = take_u32(c, &d->memory)) != 0) return status;
  if (d->active && d->memory >= m->memories.count)
    return refuse(c, d->at, "a data segment for memory %u, which does not exist", d->memory);
  if (d->active) status = take_expression(c, &d->where_at, &d->where_end);
  if (!status) status = take_u32(c, &size);
  if (!status) status = take_bytes(c, size, &d->bytes_at);
  d->bytes_end = c->at;
  return status;
}

static int read_memory(cursor *c) { return take_memory(c, false); }

int read_entries(cursor *c, uint8_t id) {
  static int (*const readers[SECTION_KINDS])(cursor *) = {
      [SECTION_TYPE] = read_type,     [SECTION_IMPORT] = read_import, [SECTION_FUNCTION] = take_function,
      [SECTION_TABLE] = read_table,   [SECTION_MEMORY] = read_memory, [SECTION_GLOBAL] = read_global,
      [SECTION_EXPORT] = read_export, [SECTION_CODE] = read_body,     [SECTION_DATA] = read_data,
      [SECTION_TAG] = take_tag,
  };
  pagestore_module *m = c->module;
  uint32_t count;
  if (id == SECTION_START) return read_start(c);
  int status = take_u32(c, &count);
  if (status) return status;
  if (id == SECTION_DATA_COUNT) {
    m->has_data_count = true;
    m->data_count = count;
    return 0;
  }
  if (id == SECTION_ELEMENT) {
    m->element_segments = count;
    c->at = c->end;
    return 0;
  }
  for (uint32_t i = 0; !status && i < count; i++) status = readers[id](c);
  return status;
}
