/* complain.h - how the program fails: one line on stderr, "pagestore: what; what to do next", and
 * an exit code.
 *
 * Control characters of names and paths are escaped. Thread: the program's.
 */
#ifndef PROGRAM_COMPLAIN_H
#define PROGRAM_COMPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

/* A bar is on the terminal's last line: a complaint clears it first. */
#define CLEAR_LINE "\r\033[K"
extern bool complain_on_bar;
/* One line on stderr, after what stdout holds. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Wrong use: the line, and where help is. EXIT_USAGE */
int complain_usage(const command *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A call of the library failed with this status: its text, and `next` (may be NULL) as what to do.
 * EXIT_FAILED */
int complain_status(int status, const char *next);
int complain_memory(void); /* EXIT_FAILED */
/* Flushes stdout. EXIT_FAILED if something could not be written, else `code`. */
int finish_output(int code);

#endif
