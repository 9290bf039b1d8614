/* flat.c - the structures beside the tree: a vector, chunks of 4 KiB, single bytes, a blob.
 *
 * Each function is one message. Offset 0 of the store holds a count of eight bytes; elements follow at FIRST.
 * Invariant: what is returned depends on all that was read, so that no way of access can leave work out. */
#include "store.h"

enum { FIRST = 64, CHUNK_BYTES = 4096, PIECE_BYTES = 1 << 20 };

static uint8_t piece[PIECE_BYTES];
static uint64_t pages;

void store_reserve(uint64_t bytes) {
  uint64_t wanted = (bytes + STORE_PAGE - 1) / STORE_PAGE;
  if (wanted <= pages) return;
  if (store_grow((uint32_t)(wanted - pages)) < 0) __builtin_trap();
  pages = wanted;
}

/* A vector that keeps its length in the store, as the elements: a read and two writes for each. */
__attribute__((export_name("vector_push"))) uint64_t vector_push(uint64_t count, uint64_t seed) {
  if (seed == 0) store_reserve(FIRST);
  for (uint64_t i = 0; i < count; i++) {
    uint64_t length = store_u64(0);
    if (length % 1024 == 0) store_reserve(FIRST + 8 * (length + 1024));
    store_set_u64(FIRST + 8 * length, length * 3 + seed);
    store_set_u64(0, length + 1);
  }
  return store_u64(0);
}

/* Each chunk is written, and its predecessor read. */
__attribute__((export_name("chunks_4k"))) uint64_t chunks_4k(uint64_t count, uint64_t seed) {
  uint64_t sum = 0;
  store_reserve((seed + 1) * count * CHUNK_BYTES);
  for (uint64_t i = seed * count; i < (seed + 1) * count; i++) {
    for (uint32_t b = 0; b < CHUNK_BYTES; b += 64) piece[b] = (uint8_t)(i + b);
    store_write(i * CHUNK_BYTES, piece, CHUNK_BYTES);
    if (i == 0) continue;
    store_read((i - 1) * CHUNK_BYTES, piece + CHUNK_BYTES, CHUNK_BYTES);
    sum += piece[CHUNK_BYTES + 64] + piece[2 * CHUNK_BYTES - 64];
  }
  return sum;
}

/* Random single bytes of 1 MiB, which the first message fills. */
__attribute__((export_name("byte_reads"))) uint64_t byte_reads(uint64_t count, uint64_t seed) {
  uint64_t sum = 0, x = seed * 2 + 1;
  if (seed == 0) {
    for (uint32_t b = 0; b < PIECE_BYTES; b++) piece[b] = (uint8_t)(b * 7);
    store_reserve(PIECE_BYTES);
    store_write(0, piece, PIECE_BYTES);
  }
  for (uint64_t i = 0; i < count; i++) {
    uint8_t byte;
    x = x * 6364136223846793005u + 1442695040888963407u;
    store_read((x >> 40) % PIECE_BYTES, &byte, 1);
    sum += byte;
  }
  return sum;
}

/* `count` pieces of 1 MiB are written and then read. */
__attribute__((export_name("blob"))) uint64_t blob(uint64_t count, uint64_t seed) {
  uint64_t sum = 0;
  store_reserve(count * PIECE_BYTES);
  for (uint32_t b = 0; b < PIECE_BYTES; b += 8) *(uint64_t *)(piece + b) = b + seed;
  for (uint64_t i = 0; i < count; i++) store_write(i * PIECE_BYTES, piece, PIECE_BYTES);
  for (uint64_t i = 0; i < count; i++) {
    store_read(i * PIECE_BYTES, piece, PIECE_BYTES);
    sum += *(uint64_t *)(piece + i * 8 + 800);
  }
  return sum;
}
