/* fuzz_commands.c - damaged stores under the commands of the pagestore program: ls, stat, log, dump, diff, check, recover.
 *
 *   input: see fuzz/store/edit.h
 *
 * Each command ends with one of its exit codes. The program is linked in and runs in a fork; with FUZZ_PROGRAMS in the environment it
 * is the built one. With FUZZ_COUNTS the last line says how many ended how.
 *
 * ctest: runs=100, bytes=257, programs=25, parts=store, commands
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz/commands/commands.h"
#include "fuzz/fuzz.h"
#include "fuzz/store/damaged.h"

int pagestore_main(int count, char **words); /* main of tools/pagestore */

static command_counts counts;
static uint64_t runs;

static void show_counts(void) {
  printf("stores=%llu commands=%llu done=%llu found=%llu wrong=%llu failed=%llu\n", (unsigned long long)runs,
         (unsigned long long)counts.run, (unsigned long long)counts.done, (unsigned long long)counts.found,
         (unsigned long long)counts.wrong, (unsigned long long)counts.failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  (void)damaged_write(data, size);
  if (runs++ == 0 && getenv("FUZZ_COUNTS")) atexit(show_counts);
  commands_run(damaged_folder(), (data[0] & (MODE_MANY | MODE_LOG)) == MODE_MANY, getenv("FUZZ_PROGRAMS") ? NULL : pagestore_main, &counts);
  return 0;
}
