/* mutate.c - one section of a module is changed, and its size with it, so that readers get further than to the first size that is
 * wrong: a byte in it, bytes more or less, the section twice, gone, or in another place.
 *
 * Always true: every read and write stays inside the buffer, whatever is in it; all follows from the seed.
 */
#include "fuzz/wasm/mutate.h"

#include <stdbool.h>
#include <string.h>

enum { HEAD_BYTES = 1 + 8, SECTIONS_MAX = 64, PIECE_MAX = 16, SIZE_BYTES_MAX = 5 };

typedef struct {
  size_t at, body, end; /* id and size, what they are of */
} section;

typedef struct {
  uint8_t *bytes;
  size_t size, room;
  uint64_t random;
  section list[SECTIONS_MAX];
  size_t count;
} editor;

static uint64_t below(editor *e, uint64_t limit) { /* splitmix64 */
  uint64_t z = e->random += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return limit ? (z ^ z >> 31) % limit : 0;
}

static bool read_size(const editor *e, size_t *at, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; shift < 35 && *at < e->size; shift += 7) {
    uint8_t byte = e->bytes[(*at)++];
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

static void find_sections(editor *e) {
  for (size_t at = HEAD_BYTES; at < e->size && e->count < SECTIONS_MAX;) {
    section s = {.at = at++};
    uint64_t bytes;
    if (!read_size(e, &at, &bytes) || bytes > e->size - at) return;
    s.body = at;
    s.end = at += bytes;
    e->list[e->count++] = s;
  }
}

/* `removed` bytes at a place become `added` ones; their content is the caller's. False: no room. */
static bool splice(editor *e, size_t at, size_t removed, size_t added) {
  if (added > removed && added - removed > e->room - e->size) return false;
  memmove(e->bytes + at + added, e->bytes + at + removed, e->size - at - removed);
  e->size = e->size - removed + added;
  return true;
}

/* Behind a change of the body's length: five bytes always do, and are as good as fewer. */
static void put_section_size(editor *e, const section *s, size_t body_bytes) {
  if (!splice(e, s->at + 1, s->body - s->at - 1, SIZE_BYTES_MAX)) return;
  for (int i = 0; i < SIZE_BYTES_MAX; i++)
    e->bytes[s->at + 1 + (size_t)i] = (uint8_t)((body_bytes >> 7 * i & 0x7f) | (i < SIZE_BYTES_MAX - 1 ? 0x80 : 0));
}

static void change_byte(editor *e, const section *s) {
  if (s->end == s->body) return;
  uint8_t *byte = e->bytes + s->body + below(e, below(e, 2) ? s->end - s->body : (s->end - s->body) / 8 + 1);
  switch (below(e, 3)) {
  case 0: *byte = (uint8_t)(*byte + below(e, 5) - 2); return;
  case 1: *byte ^= (uint8_t)(1u << below(e, 8)); return;
  default: *byte = (uint8_t)below(e, 256);
  }
}

static void insert_bytes(editor *e, const section *s) {
  size_t count = 1 + below(e, PIECE_MAX), at = s->body + below(e, s->end - s->body + 1);
  if (!splice(e, at, 0, count)) return;
  for (size_t i = 0; i < count; i++) e->bytes[at + i] = (uint8_t)below(e, below(e, 2) ? 256 : 8);
  put_section_size(e, s, s->end - s->body + count);
}

static void remove_bytes(editor *e, const section *s) {
  size_t all = s->end - s->body, at = s->body + below(e, all), count = below(e, PIECE_MAX) + 1;
  if (all == 0) return;
  if (count > s->end - at) count = s->end - at;
  splice(e, at, count, 0);
  put_section_size(e, s, all - count);
}

static void remove_section(editor *e, const section *s) { splice(e, s->at, s->end - s->at, 0); }

static void copy_section(editor *e, const section *s) {
  size_t bytes = s->end - s->at, to = e->list[below(e, e->count)].at;
  if (!splice(e, to, 0, bytes)) return;
  size_t from = s->at >= to ? s->at + bytes : s->at;
  memmove(e->bytes + to, e->bytes + from, bytes);
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  editor e = {.bytes = data, .size = size, .room = max_size, .random = seed};
  static void (*const changes[])(editor *, const section *) = {change_byte,  change_byte,    change_byte, insert_bytes,
                                                               remove_bytes, remove_section, copy_section};
  if (size) data[0] = (uint8_t)below(&e, 256);
  find_sections(&e);
  if (e.count) {
    section chosen = e.list[below(&e, e.count)];
    changes[below(&e, sizeof changes / sizeof *changes)](&e, &chosen);
  }
  return e.size;
}
