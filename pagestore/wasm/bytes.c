/* bytes.c - see bytes.h. */
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#include "module.h"

void put_bytes(bytes *b, const void *from, size_t count) {
  if (b->failed || count == 0) return;
  if (count > b->room - b->count) {
    size_t room = b->room * 2 > b->count + count ? b->room * 2 : b->count + count + 64;
    uint8_t *moved = realloc(b->at, room);
    if (!moved) {
      b->failed = true;
      return;
    }
    b->at = moved;
    b->room = room;
  }
  memcpy(b->at + b->count, from, count);
  b->count += count;
}

void put_byte(bytes *b, uint8_t byte) { put_bytes(b, &byte, 1); }

void put_u64(bytes *b, uint64_t value) {
  for (; value >= 0x80; value >>= 7) put_byte(b, (uint8_t)value | 0x80);
  put_byte(b, (uint8_t)value);
}

/* The last byte's bit 6 is the sign. */
void put_s64(bytes *b, int64_t value) {
  for (; value < -64 || value > 63; value >>= 7) put_byte(b, (uint8_t)((value & 0x7f) | 0x80));
  put_byte(b, value & 0x7f);
}

void put_name(bytes *b, const char *name) {
  put_u64(b, strlen(name));
  put_bytes(b, name, strlen(name));
}

void put_body(bytes *b, bytes *body) {
  put_u64(b, body->count);
  put_bytes(b, body->at, body->count);
  b->failed |= body->failed;
  bytes_free(body);
}

void put_section(bytes *b, uint8_t id, bytes *body) {
  put_byte(b, id);
  put_body(b, body);
}

void bytes_free(bytes *b) {
  free(b->at);
  *b = (bytes){0};
}

int bytes_take(bytes *b, uint8_t **out, size_t *size) {
  if (b->failed) {
    bytes_free(b);
    return no_memory();
  }
  *out = b->at;
  *size = b->count;
  return 0;
}
