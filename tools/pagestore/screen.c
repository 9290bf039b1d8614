/* screen.c - see screen.h. */
#include "screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "text.h"

static volatile sig_atomic_t ended, resized, continued, stopped;
static struct {
  bool open, keys; /* keys: stdin is a terminal, and was changed */
  struct termios before;
  unsigned line;
} screen;

/* ---- signals --------------------------------------------------------------------------------- */

static void note_signal(int number) {
  if (number == SIGWINCH) resized = 1;
  else if (number == SIGCONT) continued = 1;
  else if (number == SIGTSTP) stopped = 1;
  else ended = 1;
}

static void on(int number) {
  struct sigaction action = {.sa_handler = note_signal}; /* no SA_RESTART: poll is to return */
  sigaction(number, &action, NULL);
}

void screen_signals(void) { on(SIGINT), on(SIGTERM), on(SIGHUP); }

/* ---- taking and giving back ------------------------------------------------------------------ */

static void take(void) {
  screen.keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &screen.before) == 0;
  if (screen.keys) {
    struct termios raw = screen.before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  fputs("\033[?1049h\033[?25l", stdout);
}

static void give_back(void) {
  fputs("\033[?25h\033[?1049l", stdout);
  fflush(stdout);
  if (screen.keys) tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
}

void screen_open(void) {
  screen_signals();
  on(SIGWINCH), on(SIGCONT), on(SIGTSTP);
  take();
  screen.open = true;
}

void screen_close(void) {
  if (screen.open) give_back();
  screen.open = false;
}

/* Stops as if nothing had been caught, and goes on here when continued. */
static void stop(void) {
  stopped = 0;
  give_back();
  signal(SIGTSTP, SIG_DFL);
  raise(SIGTSTP);
  on(SIGTSTP);
}

/* ---- size ------------------------------------------------------------------------------------ */

static struct winsize size_of(void) {
  struct winsize size = {0};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) size.ws_row = 0;
  return size;
}

unsigned screen_rows(void) {
  unsigned rows = size_of().ws_row;
  return rows ? rows : 24;
}

unsigned screen_columns(void) {
  unsigned columns = size_of().ws_col;
  return columns ? columns : 80;
}

/* ---- drawing --------------------------------------------------------------------------------- */

void screen_begin(void) {
  screen.line = 0;
  fputs("\033[H", stdout);
}

/* As much of the text as is not wider than the screen. */
static void print_clipped(const char *text, unsigned columns) {
  mbstate_t state = {0};
  unsigned used = 0;
  for (size_t step; *text; text += step) {
    wchar_t letter;
    step = mbrtowc(&letter, text, strlen(text), &state);
    if (step == (size_t)-1 || step == (size_t)-2 || step == 0) step = 1, letter = L'?', state = (mbstate_t){0};
    int width = wcwidth(letter);
    unsigned needs = width < 0 ? 1 : (unsigned)width;
    if (used + needs > columns) return;
    used += needs;
    if (letter == L'?' || width < 0) putchar('?');
    else fwrite(text, 1, step, stdout);
  }
}

void screen_line(screen_style style, const char *format, ...) {
  static const char *const begins[] = {"", "\033[1m", "\033[7m"};
  if (screen.line >= screen_rows()) return;
  char raw[1024], clean[4 * sizeof raw];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(raw, sizeof raw, format, arguments);
  va_end(arguments);
  if (screen.line++) fputs("\r\n", stdout);
  if (text_colour()) fputs(begins[style], stdout);
  print_clipped(text_visible(raw, clean, sizeof clean), screen_columns());
  if (text_colour()) fputs("\033[m", stdout);
  fputs("\033[K", stdout);
}

void screen_end(void) {
  fputs("\033[J", stdout);
  fflush(stdout);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static screen_event key_event(void) {
  char key;
  if (read(STDIN_FILENO, &key, 1) != 1) return SCREEN_TIME_IS_UP;
  if (key == 'q' || key == 'Q' || key == 4) return SCREEN_QUIT;
  return key == ' ' || key == '\n' ? SCREEN_LOOK : SCREEN_TIME_IS_UP;
}

screen_event screen_wait(unsigned milliseconds) {
  struct pollfd keys = {.fd = screen.open && screen.keys ? STDIN_FILENO : -1, .events = POLLIN};
  if (ended) return SCREEN_QUIT;
  int ready = poll(&keys, 1, (int)milliseconds);
  if (ended || (keys.revents & (POLLHUP | POLLERR))) return SCREEN_QUIT;
  if (stopped) stop();
  if (continued) {
    continued = resized = 0;
    take();
    return SCREEN_DRAW;
  }
  if (resized) {
    resized = 0;
    return SCREEN_DRAW;
  }
  return ready > 0 ? key_event() : SCREEN_TIME_IS_UP;
}
