/* hex.h - bytes as lines that people read and `xxd -r` turns back: offset, sixteen bytes,
 * characters.
 *
 * Invariant: a line ends where the offset is a multiple of 16, or the bytes end. Thread: the
 * program's.
 */
#ifndef PROGRAM_HEX_H
#define PROGRAM_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEX_LINE_BYTES = 16, HEX_LINE_ROOM = 96 };

/* How many of `left` bytes at this offset belong into its line. */
unsigned hex_line_bytes(uint64_t offset, uint64_t left);
/* One line without its end; its length. */
size_t hex_line(char to[HEX_LINE_ROOM], uint64_t offset, const uint8_t *bytes, unsigned count);
bool hex_is_zero(const uint8_t *bytes, size_t count);
/* To stdout. zeros: lines of zeros too. */
void hex_print(uint64_t offset, const uint8_t *bytes, size_t length, bool zeros);

#endif
