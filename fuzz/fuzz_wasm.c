/* fuzz_wasm.c - modules under `pagestore wasm inspect`, with and without --json, and `pagestore wasm native`.
 *
 *   input: one byte of options (as in fuzz_module.c), then a module
 *
 * Each command ends with 0 or, refusing, with 3; inspect and its document agree; native makes nothing of what inspect
 * refuses, and an output is there if and only if it ended with 0. What native wrote, inspect reads. The program is linked in and runs in this process. With
 * FUZZ_COUNTS the last line says how many modules ended how.
 *
 * ctest: runs=20000, parts=wasm, commands
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

int pagestore_main(int count, char **words); /* main of tools/pagestore */

enum { DONE = 0, REFUSED = 3, OPTIONS_MAX = 16 };

static struct {
  unsigned long long modules, inspected, native;
} counts;
static char folder[200], in[240], out[240], shim[240];

static void remove_all(void) {
  unlink(in);
  unlink(out);
  unlink(shim);
  rmdir(folder);
}

static void show_counts(void) {
  printf("modules=%llu inspected=%llu native=%llu refused=%llu\n", counts.modules, counts.inspected, counts.native,
         counts.modules - counts.inspected);
}

static void begin(void) {
  const char *temporary = getenv("TMPDIR");
  if (!temporary || !*temporary) temporary = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
  snprintf(folder, sizeof folder, "%s/pagestore-fuzz-XXXXXX", temporary);
  MUST(mkdtemp(folder));
  snprintf(in, sizeof in, "%s/in.wasm", folder);
  snprintf(out, sizeof out, "%s/out.wasm", folder);
  snprintf(shim, sizeof shim, "%s/shim.wasm", folder);
  atexit(remove_all);
  if (getenv("FUZZ_COUNTS")) atexit(show_counts);
}

/* ---- the program ----------------------------------------------------------------------------- */

/* Its words are on /dev/null while it runs. */
static int program(const char *const *words) {
  char *arguments[OPTIONS_MAX];
  int count = 0, kept[2], nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
  while (words[count]) {
    arguments[count] = (char *)(uintptr_t)words[count];
    count++;
  }
  arguments[count] = NULL;
  fflush(NULL);
  for (int i = 0; i < 2; i++) {
    kept[i] = dup(i + 1);
    dup2(nothing, i + 1);
  }
  optind = 0;
  int code = pagestore_main(count, arguments);
  fflush(NULL);
  for (int i = 0; i < 2; i++) {
    dup2(kept[i], i + 1);
    close(kept[i]);
  }
  close(nothing);
  return code;
}

#define PROGRAM(...) program((const char *const[]){"pagestore", "wasm", __VA_ARGS__, NULL})

static void write_input(const uint8_t *bytes, size_t size) {
  FILE *f = fopen(in, "wb");
  MUST(f && fwrite(bytes, 1, size, f) == size && fclose(f) == 0);
}

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

static bool make_native(uint8_t options) {
  static const char *const owners[] = {"host", "shim", "module"};
  bool has_shim = options % 3 != 2;
  const char *bits = options & 8 ? "32" : "64", *how = options & 4 ? "bulk" : "loop";
  int code = has_shim ? PROGRAM("native", in, "-o", out, "--shim", shim, "--memories", owners[options % 3],
                                "--stable-bits", bits, "--copy", how)
                      : PROGRAM("native", in, "-o", out, "--memories", owners[2], "--stable-bits", bits);
  MUST(code == DONE || code == REFUSED);
  MUST(is_there(out) == (code == DONE) && is_there(shim) == (code == DONE && has_shim));
  if (code == REFUSED) return false;
  counts.native++;
  MUST(PROGRAM("inspect", "--json", out) == DONE);
  MUST(unlink(out) == 0);
  if (!has_shim) return true;
  MUST(PROGRAM("inspect", shim) == DONE);
  MUST(unlink(shim) == 0);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  if (!folder[0]) begin();
  counts.modules++;
  write_input(data + 1, size - 1);
  int code = PROGRAM("inspect", in);
  MUST(code == DONE || code == REFUSED);
  MUST(PROGRAM("inspect", "--json", in) == code);
  counts.inspected += code == DONE;
  MUST(!make_native(data[0]) || code == DONE);
  return 0;
}
