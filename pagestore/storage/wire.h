/* wire.h - integers as bytes, in either order, at any alignment. Thread: any; no state. */
#ifndef PAGESTORE_STORAGE_WIRE_H
#define PAGESTORE_STORAGE_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t get_le16(const void *at) {
  uint16_t v;
  memcpy(&v, at, sizeof v);
  return le16toh(v);
}

static inline uint32_t get_le32(const void *at) {
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return le32toh(v);
}

static inline uint64_t get_le64(const void *at) {
  uint64_t v;
  memcpy(&v, at, sizeof v);
  return le64toh(v);
}

static inline uint32_t get_be32(const void *at) {
  uint32_t v;
  memcpy(&v, at, sizeof v);
  return be32toh(v);
}

static inline uint64_t get_be64(const void *at) {
  uint64_t v;
  memcpy(&v, at, sizeof v);
  return be64toh(v);
}

static inline void put_le16(void *at, uint16_t v) {
  v = htole16(v);
  memcpy(at, &v, sizeof v);
}

static inline void put_le32(void *at, uint32_t v) {
  v = htole32(v);
  memcpy(at, &v, sizeof v);
}

static inline void put_le64(void *at, uint64_t v) {
  v = htole64(v);
  memcpy(at, &v, sizeof v);
}

static inline void put_be32(void *at, uint32_t v) {
  v = htobe32(v);
  memcpy(at, &v, sizeof v);
}

static inline void put_be64(void *at, uint64_t v) {
  v = htobe64(v);
  memcpy(at, &v, sizeof v);
}

#endif
