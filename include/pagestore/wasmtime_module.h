/* wasmtime_module.h - looks into a module's bytes for what Wasmtime's C API does not tell; included by
 * wasmtime_runtime.h only.
 *
 * Which export is which memory, whether a mutable global is not exported, whether code changes a table.
 *
 * Always true: the engine has validated the bytes before; still every read is held against their end, and an
 *              instruction that is not known ends the search with "cannot be examined".
 * Thread:      any. Owner: the names are the module's. */
#ifndef PAGESTORE_WASMTIME_MODULE_H
#define PAGESTORE_WASMTIME_MODULE_H

typedef struct {
  const uint8_t *at, *end;
  bool bad;
} pagestore_wasmtime_reader;

typedef struct {
  pagestore_wasmtime_module *module;
  uint8_t *global_kinds; /* 1: mutable, 2: exported */
  uint32_t global_count;
  uint32_t imported_memories, memories;
  bool is_shared, changes_tables;
} pagestore_wasmtime_search;

static void pagestore_wasmtime_skip(pagestore_wasmtime_reader *r, uint64_t bytes) {
  if (bytes > (uint64_t)(r->end - r->at)) {
    r->bad = true;
    r->at = r->end;
  } else {
    r->at += bytes;
  }
}

static uint8_t pagestore_wasmtime_byte(pagestore_wasmtime_reader *r) {
  if (r->at == r->end) {
    r->bad = true;
    return 0;
  }
  return *r->at++;
}

/* LEB128; of signed numbers only the place of the next one is of interest. */
static uint64_t pagestore_wasmtime_number(pagestore_wasmtime_reader *r) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    uint8_t byte = pagestore_wasmtime_byte(r);
    if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  r->bad = true;
  return 0;
}

static void pagestore_wasmtime_numbers(pagestore_wasmtime_reader *r, unsigned count) {
  while (count--) pagestore_wasmtime_number(r);
}

/* A value type, or a block's: (ref null? heap) is two numbers. */
static void pagestore_wasmtime_type(pagestore_wasmtime_reader *r) {
  if (r->at < r->end && (*r->at == 0x63 || *r->at == 0x64)) r->at++;
  pagestore_wasmtime_number(r);
}

static uint8_t pagestore_wasmtime_limits(pagestore_wasmtime_reader *r) {
  uint8_t flags = pagestore_wasmtime_byte(r);
  pagestore_wasmtime_numbers(r, flags & 1 ? 2 : 1);
  if (flags & 8) pagestore_wasmtime_number(r); /* page size */
  return flags;
}

/* ---- code -------------------------------------------------------------------------------------------------------- */

static void pagestore_wasmtime_memarg(pagestore_wasmtime_reader *r) {
  uint64_t align = pagestore_wasmtime_number(r);
  pagestore_wasmtime_numbers(r, align & 0x40 ? 2 : 1);
}

/* Prefix 0xFC: true for one that changes a table. */
static bool pagestore_wasmtime_bulk(pagestore_wasmtime_reader *r) {
  uint64_t code = pagestore_wasmtime_number(r);
  if (code == 12 || code == 14 || code == 15 || code == 17) return true;
  if (code == 8 || code == 10) pagestore_wasmtime_numbers(r, 2);
  else if (code == 9 || code == 11 || code == 13 || code == 16) pagestore_wasmtime_numbers(r, 1);
  else if (code > 22) r->bad = true;
  return false;
}

static void pagestore_wasmtime_vector(pagestore_wasmtime_reader *r) {
  uint64_t code = pagestore_wasmtime_number(r);
  if (code <= 11 || (code >= 84 && code <= 93)) pagestore_wasmtime_memarg(r);
  if (code == 12 || code == 13) pagestore_wasmtime_skip(r, 16);
  if ((code >= 21 && code <= 34) || (code >= 84 && code <= 91)) pagestore_wasmtime_skip(r, 1);
}

static void pagestore_wasmtime_try_table(pagestore_wasmtime_reader *r) {
  pagestore_wasmtime_type(r);
  for (uint64_t n = pagestore_wasmtime_number(r); n && !r->bad; n--)
    pagestore_wasmtime_numbers(r, pagestore_wasmtime_byte(r) < 2 ? 2 : 1);
}

/* The immediates of one instruction; true: it changes a table. */
static bool pagestore_wasmtime_instruction(pagestore_wasmtime_reader *r, uint8_t code) {
  if (code == 0x26) return true;
  if (code == 0xfc) return pagestore_wasmtime_bulk(r);
  if (code >= 0x28 && code <= 0x3e) pagestore_wasmtime_memarg(r);
  else if ((code >= 0x02 && code <= 0x04) || code == 0x06 || code == 0xd0) pagestore_wasmtime_type(r);
  else if (code == 0x0e) /* br_table */
    for (uint64_t n = pagestore_wasmtime_number(r) + 1; n && !r->bad; n--) pagestore_wasmtime_number(r);
  else if (code == 0x1c) /* select with types */
    for (uint64_t n = pagestore_wasmtime_number(r); n && !r->bad; n--) pagestore_wasmtime_type(r);
  else if (code == 0x1f) pagestore_wasmtime_try_table(r);
  else if (code == 0x11 || code == 0x13) pagestore_wasmtime_numbers(r, 2);
  else if ((code >= 0x07 && code <= 0x09) || code == 0x0c || code == 0x0d || code == 0x10 || code == 0x12 ||
           code == 0x14 || code == 0x15 || code == 0x18 || (code >= 0x20 && code <= 0x25) ||
           (code >= 0x3f && code <= 0x42) || code == 0xd2 || code == 0xd5 || code == 0xd6)
    pagestore_wasmtime_number(r);
  else if (code == 0x43) pagestore_wasmtime_skip(r, 4);
  else if (code == 0x44) pagestore_wasmtime_skip(r, 8);
  else if (code == 0xfd) pagestore_wasmtime_vector(r);
  else if (code == 0xfe) {
    if (pagestore_wasmtime_number(r) == 3) pagestore_wasmtime_skip(r, 1);
    else pagestore_wasmtime_memarg(r);
  } else if (!(code <= 0x01 || code == 0x05 || code == 0x0a || code == 0x0b || code == 0x0f || code == 0x19 ||
               code == 0x1a || code == 0x1b || (code >= 0x45 && code <= 0xc4) || code == 0xd1 || code == 0xd3 ||
               code == 0xd4))
    r->bad = true;
  return false;
}

static void pagestore_wasmtime_bodies(pagestore_wasmtime_search *s, pagestore_wasmtime_reader *r) {
  for (uint64_t n = pagestore_wasmtime_number(r); n && !r->bad; n--) {
    uint64_t bytes = pagestore_wasmtime_number(r);
    pagestore_wasmtime_reader body = *r;
    pagestore_wasmtime_skip(r, bytes);
    if (r->bad) return;
    body.end = r->at;
    for (uint64_t locals = pagestore_wasmtime_number(&body); locals && !body.bad; locals--) {
      pagestore_wasmtime_number(&body);
      pagestore_wasmtime_type(&body);
    }
    while (body.at < body.end && !body.bad)
      if (pagestore_wasmtime_instruction(&body, pagestore_wasmtime_byte(&body))) {
        s->changes_tables = true;
        break; /* the immediates were not read; one such instruction is enough */
      }
    r->bad |= body.bad;
  }
}

/* ---- sections ---------------------------------------------------------------------------------------------------- */

static void pagestore_wasmtime_count_global(pagestore_wasmtime_search *s, pagestore_wasmtime_reader *r) {
  pagestore_wasmtime_type(r);
  uint8_t kind = pagestore_wasmtime_byte(r) & 1;
  uint8_t *kinds = (uint8_t *)realloc(s->global_kinds, (size_t)s->global_count + 1);
  if (!kinds) {
    r->bad = true;
    return;
  }
  s->global_kinds = kinds;
  kinds[s->global_count++] = kind;
}

static void pagestore_wasmtime_imports(pagestore_wasmtime_search *s, pagestore_wasmtime_reader *r) {
  for (uint64_t n = pagestore_wasmtime_number(r); n && !r->bad; n--) {
    pagestore_wasmtime_skip(r, pagestore_wasmtime_number(r));
    pagestore_wasmtime_skip(r, pagestore_wasmtime_number(r));
    uint8_t kind = pagestore_wasmtime_byte(r);
    if (kind == 0) pagestore_wasmtime_number(r);
    else if (kind == 1) {
      pagestore_wasmtime_type(r);
      pagestore_wasmtime_limits(r);
    } else if (kind == 2) {
      s->imported_memories++;
      s->is_shared |= (pagestore_wasmtime_limits(r) & 2) != 0;
    } else if (kind == 3) pagestore_wasmtime_count_global(s, r);
    else if (kind == 4) pagestore_wasmtime_numbers(r, 2);
    else r->bad = true;
  }
}

static void pagestore_wasmtime_globals(pagestore_wasmtime_search *s, pagestore_wasmtime_reader *r) {
  for (uint64_t n = pagestore_wasmtime_number(r); n && !r->bad; n--) {
    pagestore_wasmtime_count_global(s, r);
    for (uint8_t code = 0; code != 0x0b && !r->bad;) {
      code = pagestore_wasmtime_byte(r);
      pagestore_wasmtime_instruction(r, code);
    }
  }
}

static bool pagestore_wasmtime_has_name(const char *names, const char *name) {
  for (; names && *names; names += strlen(names) + 1)
    if (strcmp(names, name) == 0) return true;
  return false;
}

/* Left out: an empty name, and one with a zero byte inside. */
static bool pagestore_wasmtime_add_name(pagestore_wasmtime_module *module, uint64_t index, const uint8_t *name,
                                        size_t bytes) {
  char *names = module->memory_names[index];
  size_t used = 0;
  if (!bytes || memchr(name, 0, bytes)) return true;
  while (names && names[used]) used += strlen(names + used) + 1;
  names = (char *)realloc(names, used + bytes + 2);
  if (!names) return false;
  memcpy(names + used, name, bytes);
  names[used + bytes] = names[used + bytes + 1] = 0;
  module->memory_names[index] = names;
  return true;
}

static void pagestore_wasmtime_exports(pagestore_wasmtime_search *s, pagestore_wasmtime_reader *r) {
  for (uint64_t n = pagestore_wasmtime_number(r); n && !r->bad; n--) {
    uint64_t bytes = pagestore_wasmtime_number(r);
    const uint8_t *name = r->at;
    pagestore_wasmtime_skip(r, bytes);
    uint8_t kind = pagestore_wasmtime_byte(r);
    uint64_t index = pagestore_wasmtime_number(r);
    if (r->bad) return;
    if (kind == 3 && index < s->global_count) s->global_kinds[index] |= 2;
    if (kind != 2 || index < s->imported_memories) continue;
    index -= s->imported_memories;
    if (index < PAGESTORE_WASMTIME_MEMORIES && !pagestore_wasmtime_add_name(s->module, index, name, (size_t)bytes)) {
      r->bad = true;
      return;
    }
  }
}

static void pagestore_wasmtime_section(pagestore_wasmtime_search *s, uint8_t id, pagestore_wasmtime_reader *r) {
  if (id == 2) pagestore_wasmtime_imports(s, r);
  if (id == 6) pagestore_wasmtime_globals(s, r);
  if (id == 7) pagestore_wasmtime_exports(s, r);
  if (id == 10) pagestore_wasmtime_bodies(s, r);
  if (id != 5) return;
  s->memories = (uint32_t)pagestore_wasmtime_number(r);
  for (uint32_t i = 0; i < s->memories && !r->bad; i++) s->is_shared |= (pagestore_wasmtime_limits(r) & 2) != 0;
}

static int pagestore_wasmtime_judge(const pagestore_wasmtime_search *s, bool bad, unsigned flags, char *detail,
                                    size_t room) {
  const pagestore_wasmtime_module *m = s->module;
  const char *why = NULL;
  if (s->is_shared) why = "the module has a shared memory: several threads of one instance have no boundary";
  else if (s->memories > PAGESTORE_WASMTIME_MEMORIES)
    why = "the module defines more memories than PAGESTORE_WASMTIME_MEMORIES";
  else if (bad && (flags & 3) != 3)
    why = "the module cannot be examined (an instruction that is not known): answer for its tables and globals by "
          "PAGESTORE_WASMTIME_TABLES and PAGESTORE_WASMTIME_HIDDEN";
  else if (m->changes_tables && !(flags & PAGESTORE_WASMTIME_TABLES))
    why = "the module's code changes a table, which is not part of a memory: neither durable nor rolled back";
  if (!why && m->hidden_globals && !(flags & PAGESTORE_WASMTIME_HIDDEN)) {
    snprintf(detail, room, "%u mutable globals of the module are not exported, so they cannot be saved: export them",
             (unsigned)m->hidden_globals);
    return PAGESTORE_EUNSUPPORTED;
  }
  if (why) snprintf(detail, room, "%s", why);
  return why ? PAGESTORE_EUNSUPPORTED : 0;
}

static int pagestore_wasmtime_examine(pagestore_wasmtime_module *m, const uint8_t *wasm, size_t length,
                                      unsigned flags) {
  pagestore_wasmtime_search s;
  pagestore_wasmtime_reader r = {wasm + 8, wasm + length, false};
  memset(&s, 0, sizeof s);
  s.module = m;
  while (r.at < r.end && !r.bad) {
    uint8_t id = pagestore_wasmtime_byte(&r);
    uint64_t bytes = pagestore_wasmtime_number(&r);
    pagestore_wasmtime_reader section = r;
    pagestore_wasmtime_skip(&r, bytes);
    section.end = r.at;
    if (!r.bad) pagestore_wasmtime_section(&s, id, &section);
    r.bad |= section.bad;
  }
  m->memory_count = s.memories;
  m->changes_tables = s.changes_tables;
  for (uint32_t i = 0; i < s.global_count; i++) m->hidden_globals += s.global_kinds[i] == 1;
  free(s.global_kinds);
  return pagestore_wasmtime_judge(&s, r.bad, flags, m->detail, sizeof m->detail);
}

#endif
