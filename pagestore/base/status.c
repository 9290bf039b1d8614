/* status.c - the last failure of each thread: code, text, errno; and the constant texts of the public header.
 *
 * Invariant: the text is always terminated and free of control characters, so that a log line or a terminal may
 *            show names that came from a guest or from a foreign file.
 * Thread:    any; everything here is thread-local, in initial-exec storage, so reading it never allocates.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Small on purpose: initial-exec storage of a library that is loaded late comes from a fixed surplus. */
enum { DETAIL_BYTES = 480 };

static _Thread_local char detail_text[DETAIL_BYTES] __attribute__((tls_model("initial-exec")));
static _Thread_local int detail_errno __attribute__((tls_model("initial-exec")));

/* ASCII controls, and U+0080 to U+009F, which some terminals obey (CSI is U+009B). */
static void replace_controls(char *text) {
  for (unsigned char *c = (unsigned char *)text; *c != 0; c++) {
    if (*c < 0x20 || *c == 0x7f) *c = '?';
    if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) c[0] = c[1] = '?';
  }
}

static void note(int errnum, const char *format, va_list arguments) {
  int length = vsnprintf(detail_text, sizeof detail_text, format, arguments);
  if (length < 0) detail_text[0] = 0;
  detail_errno = errnum;
}

int fail(int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note(0, format, arguments);
  va_end(arguments);
  replace_controls(detail_text);
  return status;
}

int fail_errno(int status, int errnum, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note(errnum, format, arguments);
  va_end(arguments);
  char buffer[96];
  size_t used = strlen(detail_text);
  snprintf(detail_text + used, sizeof detail_text - used, ": %s", strerror_r(errnum, buffer, sizeof buffer));
  replace_controls(detail_text);
  return status;
}

const char *pagestore_detail(void) { return detail_text; }
int pagestore_errno(void) { return detail_errno; }
const char *pagestore_version(void) { return "0.1.0"; }

const char *pagestore_strerror(int status) {
  switch (status) {
  case PAGESTORE_OK: return "no error";
  case PAGESTORE_EINVAL: return "invalid argument";
  case PAGESTORE_ENOTFOUND: return "not found";
  case PAGESTORE_EEXIST: return "exists already";
  case PAGESTORE_EBUSY: return "in use";
  case PAGESTORE_EREADONLY: return "read-only";
  case PAGESTORE_EMODULE: return "the instance belongs to another module";
  case PAGESTORE_ETYPE: return "the memory has another type or size";
  case PAGESTORE_EBOUNDS: return "out of bounds";
  case PAGESTORE_EQUOTA: return "over a limit of the message";
  case PAGESTORE_EAGAIN: return "no room in the flush queue now";
  case PAGESTORE_ETIMEDOUT: return "not durable yet";
  case PAGESTORE_ENOSPC: return "no space on the disk";
  case PAGESTORE_ENOMEM: return "out of memory, address space or mappings";
  case PAGESTORE_EIO: return "input/output error";
  case PAGESTORE_ECORRUPT: return "damaged data";
  case PAGESTORE_EFAILED: return "a sync failed: durability unknown, close and reopen the store";
  case PAGESTORE_EFORMAT: return "not a pagestore, or of an unknown format";
  case PAGESTORE_EACCES: return "permission denied";
  case PAGESTORE_EUNSUPPORTED: return "not supported by this system";
  case PAGESTORE_EFORKED: return "handle used in a forked child";
  case PAGESTORE_EABORTED: return "stopped by a callback";
  case PAGESTORE_EFULL: return "the store's map is full";
  default: return "unknown status";
  }
}
