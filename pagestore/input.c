/* input.c - option structs, names and pointers from outside. The contract is in input.h. */
#include "input.h"

#include <stdint.h>
#include <string.h>

#include "base/status.h"

int input_null(const char *what) {
  return fail(PAGESTORE_EINVAL, "%s is NULL: pass a valid pointer", what);
}

int input_options(const void *given, void *ours, size_t our_size, const char *what) {
  memset(ours, 0, our_size);
  if (!given) return 0;
  size_t size;
  memcpy(&size, given, sizeof size);  /* every option struct begins with it */
  if (size < sizeof size || size > 4096)
    return fail(PAGESTORE_EINVAL, "%s.size is %zu: set it to sizeof the struct", what, size);
  const uint8_t *bytes = given;
  for (size_t at = our_size; at < size; at++)
    if (bytes[at])
      return fail(PAGESTORE_EINVAL, "%s sets an option that this library does not know: update it", what);
  memcpy(ours, given, size < our_size ? size : our_size);
  return 0;
}

/* Length of the UTF-8 sequence at s, which is terminated; 0 if it is not one (RFC 3629). */
static size_t utf8_sequence(const uint8_t *s) {
  static const struct { uint8_t first_low, first_high, second_low, second_high, length; } forms[] = {
    { 0x00, 0x7f, 0, 0, 1 },          { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
    { 0xe1, 0xec, 0x80, 0xbf, 3 },    { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
    { 0xf0, 0xf0, 0x90, 0xbf, 4 },    { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
  };
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    if (s[0] < forms[i].first_low || s[0] > forms[i].first_high) continue;
    if (forms[i].length == 1) return 1;
    if (s[1] < forms[i].second_low || s[1] > forms[i].second_high) return 0;
    for (size_t at = 2; at < forms[i].length; at++)
      if ((s[at] & 0xc0) != 0x80) return 0;
    return forms[i].length;
  }
  return 0;
}

/* C0, DEL, and C1 (U+0080 to U+009F). */
static bool is_control(const uint8_t *s) {
  return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

int input_name(const char *name, const char *what) {
  if (!name) return input_null(what);
  size_t length = strnlen(name, NAME_BYTES_MAX + 1);
  if (length == 0) return fail(PAGESTORE_EINVAL, "%s is empty: names have 1 to 255 bytes", what);
  if (length > NAME_BYTES_MAX)
    return fail(PAGESTORE_EINVAL, "%s is longer than 255 bytes: shorten it", what);
  for (const uint8_t *s = (const uint8_t *)name; *s;) {
    size_t step = utf8_sequence(s);
    if (step == 0) return fail(PAGESTORE_EINVAL, "%s is not UTF-8: encode it", what);
    if (is_control(s)) return fail(PAGESTORE_EINVAL, "%s holds a control character: remove it", what);
    s += step;
  }
  return 0;
}

int input_result(void *out, const void *ours, size_t our_size, const char *what) {
  size_t size;
  memcpy(&size, out, sizeof size);
  if (size < sizeof size || size > 4096)
    return fail(PAGESTORE_EINVAL, "%s.size is %zu: set it to sizeof the struct", what, size);
  if (size > our_size) memset((uint8_t *)out + our_size, 0, size - our_size);
  memcpy(out, ours, size < our_size ? size : our_size);
  memcpy(out, &size, sizeof size);
  return 0;
}

int input_commit_flags(unsigned flags) {
  return flags & ~(unsigned)(PAGESTORE_ASYNC | PAGESTORE_NOWAIT)
             ? fail(PAGESTORE_EINVAL, "unknown commit flags 0x%x", flags)
             : 0;
}
