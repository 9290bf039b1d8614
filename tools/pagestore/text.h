/* text.h - values as text: names without control characters, bytes with units, times, hashes; and
 * whether there is somebody to please.
 *
 * Invariant: what text_* functions return lives in a buffer that the caller gives; bytes printed
 * never steer a terminal.
 * Thread:    the program's.
 */
#ifndef PROGRAM_TEXT_H
#define PROGRAM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { TEXT_SIZE = 64, TEXT_ESCAPED_SIZE = 255 * 4 + 1 };

bool text_terminal(void); /* stdout is a terminal: units beside numbers */
bool text_colour(void);   /* and wants colour: NO_COLOR is not set, TERM is not dumb */

/* Control characters, backslashes and what is not UTF-8 as \xNN. Returns `to`. */
const char *text_escape(const char *name, size_t length, char *to, size_t room);
/* The same, but backslashes stay. */
const char *text_visible(const char *line, char *to, size_t room);
bool text_is_clean(const char *name, size_t length); /* UTF-8 without control characters */
void text_print(FILE *, const char *line);           /* escaped; backslashes stay */

const char *text_units(uint64_t bytes, char to[TEXT_SIZE]); /* "68 KiB" */
const char *text_bytes(uint64_t bytes,
                       char to[TEXT_SIZE]); /* "69632", on a terminal "69632 (68 KiB)" */
const char *text_time(uint64_t ns, char to[TEXT_SIZE]); /* UTC, ISO 8601, milliseconds; "-" for 0 */
const char *text_hash(const uint8_t *bytes, size_t count, char *to,
                      size_t room); /* hex; "-" if all are zero */

#endif
