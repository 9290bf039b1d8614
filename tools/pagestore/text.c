/* text.c - no state but the environment: the terminal, NO_COLOR, TERM. */
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool text_terminal(void) { return isatty(STDOUT_FILENO); }

bool text_colour(void) {
  const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
  return text_terminal() && !(none && none[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

/* Bytes of the UTF-8 sequence at s that holds no control character; 0: none. */
static size_t clean_sequence(const uint8_t *s, size_t left) {
  if (s[0] < 0x20 || s[0] == 0x7f) return 0;
  if (s[0] < 0x80) return 1;
  size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
  if (s[0] < 0xc2 || s[0] > 0xf4 || length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
  bool surrogate = s[0] == 0xed && s[1] > 0x9f, beyond = s[0] == 0xf4 && s[1] > 0x8f;
  bool control = s[0] == 0xc2 && s[1] < 0xa0;
  return overlong || surrogate || beyond || control ? 0 : length;
}

static const char *escape(const char *name, size_t length, char *to, size_t room,
                          bool backslashes) {
  size_t used = 0;
  for (size_t at = 0; at < length;) {
    const uint8_t *s = (const uint8_t *)name + at;
    size_t step = clean_sequence(s, length - at);
    bool plain = step && !(backslashes && s[0] == '\\');
    size_t need = plain ? step : 4;
    if (used + need >= room) break;
    if (plain) memcpy(to + used, s, step);
    else snprintf(to + used, 5, "\\x%02x", s[0]);
    used += need;
    at += plain ? step : 1;
  }
  to[used] = 0;
  return to;
}

const char *text_escape(const char *name, size_t length, char *to, size_t room) {
  return escape(name, length, to, room, true);
}

const char *text_visible(const char *line, char *to, size_t room) {
  return escape(line, strlen(line), to, room, false);
}

bool text_is_clean(const char *name, size_t length) {
  for (size_t at = 0, step; at < length; at += step)
    if ((step = clean_sequence((const uint8_t *)name + at, length - at)) == 0) return false;
  return true;
}

void text_print(FILE *to, const char *line) {
  char piece[256];
  for (size_t left = strlen(line); left;) {
    size_t length = left < 60 ? left : 60;
    while (length < left && length > 50 && ((uint8_t)line[length] & 0xc0) == 0x80)
      length--; /* not inside a character */
    fputs(escape(line, length, piece, sizeof piece, false), to);
    line += length;
    left -= length;
  }
}

const char *text_units(uint64_t bytes, char to[TEXT_SIZE]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  unsigned unit = 0;
  double value = (double)bytes;
  while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) value /= 1024, unit++;
  bool whole = unit == 0 || value >= 100 || value == (double)(uint64_t)value;
  snprintf(to, TEXT_SIZE, "%.*f %s", whole ? 0 : 1, value, units[unit]);
  return to;
}

const char *text_bytes(uint64_t bytes, char to[TEXT_SIZE]) {
  char units[TEXT_SIZE];
  if (text_terminal() && bytes >= 1024)
    snprintf(to, TEXT_SIZE, "%" PRIu64 " (%s)", bytes, text_units(bytes, units));
  else snprintf(to, TEXT_SIZE, "%" PRIu64, bytes);
  return to;
}

const char *text_time(uint64_t ns, char to[TEXT_SIZE]) {
  time_t seconds = (time_t)(ns / 1000000000u);
  struct tm utc;
  char whole[32];
  if (ns == 0 || !gmtime_r(&seconds, &utc) ||
      strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
    snprintf(to, TEXT_SIZE, "-");
  else snprintf(to, TEXT_SIZE, "%s.%03uZ", whole, (unsigned)(ns / 1000000u % 1000u));
  return to;
}

const char *text_hash(const uint8_t *bytes, size_t count, char *to, size_t room) {
  bool set = false;
  for (size_t i = 0; i < count; i++) set = set || bytes[i];
  snprintf(to, room, "-");
  for (size_t i = 0; set && i < count && 2 * i + 3 <= room; i++)
    snprintf(to + 2 * i, 3, "%02x", bytes[i]);
  return to;
}
