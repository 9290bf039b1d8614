/* example.c - new-example: a small host and its canister, to begin with. The files are those of example/ in the
 * source, put into the program when it is built. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "change.h"
#include "complain.h"
#include "example_files.h" /* made: example_file example_files[] */

static int write_file(const char *folder, const example_file *f) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s", folder, f->name) >= (int)sizeof path) {
    complain("%s: the path is too long: choose a shorter one", folder);
    return EXIT_FAILED;
  }
  FILE *out = fopen(path, "wxe");
  bool done = out && fwrite(f->bytes, 1, f->size, out) == f->size;
  int errnum = errno;
  if (out && fclose(out) != 0) done = false;
  if (!done) complain("%s: %s: make room, or choose another directory", path, strerror(errnum));
  return done ? EXIT_OK : EXIT_FAILED;
}

static bool is_engine(const char *engine) {
  for (const example_file *f = example_files; f->engine; f++)
    if (strcmp(f->engine, engine) == 0) return true;
  return false;
}

int command_new_example(const invocation *v) {
  const char *engine = v->operand[0], *folder = v->operand[1];
  if (!is_engine(engine))
    return complain_usage(v->command, "there is no example for '%s', but for wasm2c and for wasmtime", engine);
  if (mkdir(folder, 0777) != 0) {
    complain("%s: %s: give the path of a new directory", folder, strerror(errno));
    return EXIT_FAILED;
  }
  int code = EXIT_OK;
  for (const example_file *f = example_files; f->engine && code == EXIT_OK; f++)
    if (strcmp(f->engine, engine) == 0) code = write_file(folder, f);
  if (code == EXIT_OK) change_done("%s is there: read its README.md, then `make`", folder);
  return code;
}
