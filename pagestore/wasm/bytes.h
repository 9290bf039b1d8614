/* bytes.h - a growing run of bytes, and Wasm's encodings into it.
 *
 * Invariant: once memory was refused `failed` is set and nothing more is written: it is asked once, at the end.
 * Owner:     who has the struct; bytes_take hands the bytes out for free().
 * Thread:    any.
 */
#ifndef PAGESTORE_WASM_BYTES_H
#define PAGESTORE_WASM_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *at;
  size_t count, room;
  bool failed;
} bytes;

void put_byte(bytes *, uint8_t);
void put_bytes(bytes *, const void *, size_t count);
void put_u64(bytes *, uint64_t); /* unsigned LEB128; u32 numbers too */
void put_s64(bytes *, int64_t);  /* signed LEB128 */
void put_name(bytes *, const char *);
/* id, size and body of a section, or size and body of a function; the body is freed. */
void put_section(bytes *, uint8_t id, bytes *body);
void put_body(bytes *, bytes *body);

void bytes_free(bytes *);
/* 0, or ENOMEM with its text (all freed) */
int bytes_take(bytes *, uint8_t **out, size_t *size);

/* Literal bytes: PUT(out, 0x41, 0). */
#define PUT(out, ...) put_bytes((out), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
