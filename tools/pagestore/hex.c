/* hex.c - lines of sixteen bytes, in the layout of xxd. */
#include "hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

unsigned hex_line_bytes(uint64_t offset, uint64_t left) {
  uint64_t room = HEX_LINE_BYTES - offset % HEX_LINE_BYTES;
  return (unsigned)(left < room ? left : room);
}

size_t hex_line(char to[HEX_LINE_ROOM], uint64_t offset, const uint8_t *bytes, unsigned count) {
  static const char digits[] = "0123456789abcdef";
  size_t at = (size_t)snprintf(to, HEX_LINE_ROOM, "%08" PRIx64 ":", offset);
  for (unsigned i = 0; i < HEX_LINE_BYTES; i++) {
    if (i % 2 == 0) to[at++] = ' ';
    to[at++] = i < count ? digits[bytes[i] >> 4] : ' ';
    to[at++] = i < count ? digits[bytes[i] & 15] : ' ';
  }
  to[at++] = ' ';
  to[at++] = ' ';
  for (unsigned i = 0; i < count; i++)
    to[at++] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '.';
  to[at] = 0;
  return at;
}

bool hex_is_zero(const uint8_t *bytes, size_t count) {
  return count == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0);
}

void hex_print(uint64_t offset, const uint8_t *bytes, size_t length, bool zeros) {
  for (size_t done = 0; done < length;) {
    unsigned count = hex_line_bytes(offset + done, length - done);
    if (zeros || !hex_is_zero(bytes + done, count)) {
      char line[HEX_LINE_ROOM];
      size_t size = hex_line(line, offset + done, bytes + done, count);
      line[size++] = '\n';
      fwrite(line, 1, size, stdout);
    }
    done += count;
  }
}
