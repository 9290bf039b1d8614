/* wasm.c - `pagestore wasm`: reads the module, and writes the rewritten one and its shim.
 *
 * Invariant: an output is there whole or not at all: it is written beside its name and renamed.
 */
#include "wasm_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complain.h"

enum { MODULE_BYTES_MAX = 1 << 30 };

/* ---- files ----------------------------------------------------------------------------------- */

static int file_failed(const char *path, const char *what) {
  complain("%s: cannot be %s: %s", path, what, strerror(errno));
  return EXIT_FAILED;
}

/* *bytes is for free(). */
static int read_file(const char *path, uint8_t **bytes, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f) return file_failed(path, "opened");
  size_t room = 1 << 16;
  int code = EXIT_OK;
  *size = 0;
  *bytes = NULL;
  do {
    room *= 2;
    uint8_t *moved = room <= MODULE_BYTES_MAX ? realloc(*bytes, room) : NULL;
    if (!moved) {
      if (room > MODULE_BYTES_MAX) complain("%s: is larger than a module can be: give a module", path);
      code = room > MODULE_BYTES_MAX ? EXIT_FAILED : complain_memory();
      break;
    }
    *bytes = moved;
    errno = 0;
    *size += fread(*bytes + *size, 1, room - *size, f);
    if (ferror(f)) code = file_failed(path, "read");
  } while (code == EXIT_OK && *size == room);
  fclose(f);
  if (code != EXIT_OK) free(*bytes);
  return code;
}

static int write_file(const char *path, const uint8_t *bytes, size_t size) {
  char beside[4096];
  if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside) {
    errno = ENAMETOOLONG;
    return file_failed(path, "written");
  }
  FILE *f = fopen(beside, "wb");
  if (!f) return file_failed(path, "written");
  bool written = fwrite(bytes, 1, size, f) == size;
  written = fclose(f) == 0 && written;
  if (written && rename(beside, path) == 0) return EXIT_OK;
  int code = file_failed(path, "written");
  unlink(beside);
  return code;
}

/* ---- native ---------------------------------------------------------------------------------- */

/* Which of the words the option is; the first is the default. -1: complained. */
static int choice(const invocation *v, const char *name, const char *const *words) {
  const char *given = option_value(v, name);
  if (!given) return 0;
  for (int i = 0; words[i]; i++)
    if (strcmp(words[i], given) == 0) return i;
  complain_usage(v->command, "--%s %s is none of its words", name, given);
  return -1;
}

static int take_options(const invocation *v, pagestore_native_options *o) {
  static const char *const owners[] = {"host", "shim", "module", NULL}, *const ways[] = {"loop", "bulk", NULL};
  int memories = choice(v, "memories", owners), copy = memories < 0 ? -1 : choice(v, "copy", ways);
  uint64_t bits = 64;
  if (copy < 0 || !option_number(v, "stable-bits", &bits) || !option_number(v, "stable-max", &o->stable_max_pages))
    return EXIT_USAGE;
  if (bits != 32 && bits != 64) return complain_usage(v->command, "--stable-bits is 32 or 64");
  if (option_given(v, "stable-max") && !o->stable_max_pages)
    return complain_usage(v->command, "--stable-max 0 leaves no stable memory: give at least 1");
  o->memories = (pagestore_native_memories)memories;
  o->copy = (pagestore_native_copy)copy;
  o->stable_bits = (uint32_t)bits;
  return EXIT_OK;
}

typedef int (*maker)(const pagestore_module *, const pagestore_native_options *, uint8_t **, size_t *);

static int make(maker make_it, const pagestore_module *m, const pagestore_native_options *o, const char *path) {
  uint8_t *bytes;
  size_t size;
  int status = make_it(m, o, &bytes, &size);
  if (status) return complain_status(status, NULL);
  int code = write_file(path, bytes, size);
  free(bytes);
  return code;
}

int wasm_native(const invocation *v, const pagestore_module *m) {
  pagestore_native_options o = {.size = sizeof o};
  const char *out = option_value(v, "output"), *shim = option_value(v, "shim");
  if (!out) return complain_usage(v->command, "where to? Give -o OUT");
  if (option_given(v, "json")) return complain_usage(v->command, "--json is for inspect");
  int code = take_options(v, &o);
  if (code == EXIT_OK && shim && o.memories == PAGESTORE_NATIVE_MODULE)
    code = complain_usage(v->command, "--memories module excludes --shim: it could not reach the memories");
  if (code == EXIT_OK) code = make(pagestore_module_native, m, &o, out);
  if (code == EXIT_OK && shim) code = make(pagestore_module_shim, m, &o, shim);
  return code;
}

/* ---- both ------------------------------------------------------------------------------------ */

int command_wasm(const invocation *v) {
  bool native = strcmp(v->operand[0], "native") == 0;
  if (!native && strcmp(v->operand[0], "inspect") != 0)
    return complain_usage(v->command, "'%s': it is either inspect or native", v->operand[0]);
  for (const option *o = v->command->options; !native && o->name && strcmp(o->name, "json") != 0; o++)
    if (option_given(v, o->name)) return complain_usage(v->command, "--%s is for native", o->name);
  uint8_t *bytes;
  size_t size;
  int code = read_file(v->operand[1], &bytes, &size);
  if (code != EXIT_OK) return code;
  pagestore_module *m;
  int status = pagestore_module_read(bytes, size, &m);
  free(bytes);
  if (status) return complain_status(status, NULL);
  code = native ? wasm_native(v, m) : wasm_inspect(v, m);
  pagestore_module_free(m);
  return code;
}
