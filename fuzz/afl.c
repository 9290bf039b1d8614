/* afl.c - a fuzz target under AFL++, in persistent mode: compiled by afl-clang-fast or afl-gcc-fast.
 *
 *   fuzz_NAME                    under afl-fuzz: a thousand inputs a process
 *   fuzz_NAME --write FOLDER     puts the target's seeds into the folder, for afl-fuzz -i
 *   fuzz_NAME FILE...            runs these
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { INPUT_BYTES_MAX = 4 << 20, INPUTS_A_PROCESS = 1000 };

__AFL_FUZZ_INIT();

static void write_seed(void *env, const char *name, const uint8_t *bytes, size_t size) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", (const char *)env, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0) {
    fprintf(stderr, "%s cannot be written\n", path);
    exit(2);
  }
}

static void run_file(const char *path) {
  uint8_t *bytes = malloc(INPUT_BYTES_MAX);
  FILE *f = fopen(path, "rb");
  if (!f || !bytes) {
    fprintf(stderr, "%s cannot be read\n", path);
    exit(2);
  }
  size_t size = fread(bytes, 1, INPUT_BYTES_MAX, f);
  fclose(f);
  LLVMFuzzerTestOneInput(bytes, size);
  free(bytes);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--write") == 0) {
    fuzz_seeds(write_seed, argv[2]);
    return 0;
  }
  for (int i = 1; i < argc; i++) run_file(argv[i]);
  if (argc > 1) return 0;
  __AFL_INIT();
  const uint8_t *input = __AFL_FUZZ_TESTCASE_BUF;
  while (__AFL_LOOP(INPUTS_A_PROCESS)) LLVMFuzzerTestOneInput(input, (size_t)__AFL_FUZZ_TESTCASE_LEN);
  return 0;
}
