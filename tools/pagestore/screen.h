/* screen.h - a terminal taken over for a while: another screen, no cursor, keys without a return.
 *
 * States: closed -> open (screen_open) -> closed (screen_close). SIGINT, SIGTERM and SIGHUP do not end the program but
 *         are told by screen_wait; stopped and continued (SIGTSTP, SIGCONT) the terminal is given back, and taken again.
 * Invariant: what a name contains does not steer it: lines are clipped to its width and escaped.
 * Thread:    the program's; one screen.
 */
#ifndef PROGRAM_SCREEN_H
#define PROGRAM_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { SCREEN_TIME_IS_UP, SCREEN_DRAW, SCREEN_LOOK, SCREEN_QUIT } screen_event;

void screen_signals(void); /* from now on the three signals are events; also without a screen */
void screen_open(void);
void screen_close(void);
unsigned screen_rows(void);
unsigned screen_columns(void);

/* A frame: begin, lines, end. Lines beyond the rows are left out. */
void screen_begin(void);
typedef enum { SCREEN_PLAIN, SCREEN_BOLD, SCREEN_REVERSE } screen_style;
void screen_line(screen_style, const char *format, ...) __attribute__((format(printf, 2, 3)));
void screen_end(void);

/* Waits for a key, a signal or the time. */
screen_event screen_wait(unsigned milliseconds);

#endif
