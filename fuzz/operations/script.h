/* script.h - the input of fuzz_operations, and a way to write it by hand.
 *
 *   record    8 bytes: operation, seven choices
 *   script    words, parted by spaces: NAME[,CHOICE]...   choices are numbers; those left out are 0, which says yes to every chance
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_SCRIPT_H
#define PAGESTORE_FUZZ_SCRIPT_H

#include "support/world.h"

enum { RECORD_BYTES = 8, RECORDS_MAX = 64 };
enum { HOLD = WORLD_OPERATIONS, LET_GO, KILL, FAULT, OPERATIONS };

size_t script_encode(const char *script, uint8_t to[RECORDS_MAX * RECORD_BYTES]); /* bytes; a wrong word crashes */
void script_print(const uint8_t *records, size_t size);                           /* on stderr */

#endif
