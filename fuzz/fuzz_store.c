/* fuzz_store.c - damaged stores, looked at as the tools do, and written to.
 *
 *   input: see fuzz/store/edit.h: edits of a whole store's file. Half of the mutations ask for checksums to be repaired behind them
 *
 * Whatever is in the file: each call is served or refuses with a text; no crash, no hang. Without an edit everything is served.
 *
 * With FUZZ_PROGRAMS in the environment the programs of the same build look at each store, too; with FUZZ_COUNTS the last line says how
 * far all came.
 *
 * ctest: runs=500, bytes=257, programs=25
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/store/edit.h"
#include "fuzz/store/look.h"
#include "fuzz/store/programs.h"

static char folder[200], store[220], data_file[240], lock_file[240];
static look_counts total;
static uint64_t runs;

/* ---- the scratch folder: in memory where there is one --------------------------------------------- */

static void remove_all(void) {
  unlink(data_file);
  unlink(lock_file);
  rmdir(store);
  rmdir(folder);
  if (!getenv("FUZZ_COUNTS")) return;
  printf("stores=%llu opened=%llu views=%llu pages=%llu damaged=%llu diffs=%llu commits=%llu programs=%llu\n",
         (unsigned long long)runs, (unsigned long long)total.opened, (unsigned long long)total.views,
         (unsigned long long)total.pages, (unsigned long long)total.damaged, (unsigned long long)total.diffs,
         (unsigned long long)total.commits, (unsigned long long)total.programs);
}

static void make_folder(void) {
  const char *temporary = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "/dev/shm/pagestore-fuzz-XXXXXX");
  if (!mkdtemp(folder)) {
    snprintf(folder, sizeof folder, "%s/pagestore-fuzz-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    MUST(mkdtemp(folder));
  }
  snprintf(store, sizeof store, "%s/store", folder);
  snprintf(data_file, sizeof data_file, "%s/data.mdb", store);
  snprintf(lock_file, sizeof lock_file, "%s/lock.mdb", store);
  MUST(base_get(BASE_RICH, folder) && base_get(BASE_MANY, folder) && mkdir(store, 0755) == 0);
  atexit(remove_all);
}

/* ---- seeds, mutations ------------------------------------------------------------------------------ */

void fuzz_seeds(fuzz_add add, void *env) {
  static const char *const names[] = {"rich", "many", "rich-repaired", "many-repaired", "rich-written", "many-written"};
  for (uint8_t mode = 0; mode < 6; mode++) add(env, names[mode], &mode, 1);
}

static uint64_t next(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Whole edits come, go and change; the mode is thrown anew now and then. */
size_t fuzz_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  uint64_t state = seed;
  size_t edits = size ? (size - 1) / EDIT_BYTES : 0, most = max_size ? (max_size - 1) / EDIT_BYTES : 0;
  if (max_size == 0) return 0;
  if (size == 0 || next(&state) % 4 == 0) data[0] = (uint8_t)(next(&state) % 8);
  if (next(&state) % 2) data[0] ^= MODE_REPAIR;
  if (most > EDITS_COUNT_MAX) most = EDITS_COUNT_MAX;
  for (uint64_t times = 1 + next(&state) % 3; times > 0; times--) {
    uint64_t edit = next(&state), choice = next(&state) % 4;
    size_t at = edits ? next(&state) % edits : 0;
    if (choice == 0 && edits > 1) memmove(data + 1 + at * EDIT_BYTES, data + 1 + --edits * EDIT_BYTES, EDIT_BYTES);
    else if (choice == 1 && edits) data[1 + at * EDIT_BYTES + next(&state) % EDIT_BYTES] = (uint8_t)edit;
    else if (edits < most) memcpy(data + 1 + edits++ * EDIT_BYTES, &edit, EDIT_BYTES);
  }
  return 1 + edits * EDIT_BYTES;
}

/* ---- one store ------------------------------------------------------------------------------------- */

static void write_store(const base *b, uint8_t mode, const uint8_t *edits, size_t count) {
  static uint8_t *image;
  static size_t room;
  size_t size = b->size;
  if (room < size + (GROW_PAGES_MAX + 1) * (size_t)4096) {
    room = size + (GROW_PAGES_MAX + 1) * (size_t)4096;
    MUST((image = realloc(image, room)));
  }
  memcpy(image, b->bytes, size);
  for (size_t i = 0; i < count; i++) edit_apply(b, edits + i * EDIT_BYTES, image, &size);
  unlink(lock_file);
  int fd = open(data_file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  MUST(fd >= 0 && write(fd, image, size) == (ssize_t)size);
  if (mode & MODE_REPAIR) edit_repair(fd);
  close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!folder[0]) make_folder();
  if (size == 0) return 0;
  uint8_t mode = data[0];
  size_t count = (size - 1) / EDIT_BYTES;
  if (count > EDITS_COUNT_MAX) count = EDITS_COUNT_MAX;
  look_counts counts = {0};
  write_store(base_get(mode & MODE_MANY ? BASE_MANY : BASE_RICH, folder), mode, data + 1, count);
  look_read(store, &counts);
  if (getenv("FUZZ_PROGRAMS")) total.programs += programs_run(folder, mode & MODE_MANY);
  if (mode & MODE_WRITE) look_write(store, &counts);
  if (count == 0) {
    MUST(counts.opened && counts.views && counts.damaged == 0 && (!(mode & MODE_WRITE) || counts.commits));
  }
  runs++;
  total.opened += counts.opened, total.views += counts.views, total.pages += counts.pages;
  total.damaged += counts.damaged, total.diffs += counts.diffs, total.commits += counts.commits;
  return 0;
}
