/* damaged.c - see damaged.h. */
#include "damaged.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

static char folder[200], store[220], data_file[240], lock_file[240];
static pid_t owner;

/* ---- the folder ---------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static void remove_all(void) {
  if (getpid() == owner) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *damaged_folder(void) {
  const char *temporary = getenv("TMPDIR"), *memory = "/dev/shm";
  if (folder[0]) return folder;
  if (temporary && strncmp(temporary, memory, strlen(memory)) == 0) memory = temporary;
  snprintf(folder, sizeof folder, "%s/pagestore-fuzz-XXXXXX", memory);
  if (!mkdtemp(folder)) {
    snprintf(folder, sizeof folder, "%s/pagestore-fuzz-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    MUST(mkdtemp(folder));
  }
  snprintf(store, sizeof store, "%s/store", folder);
  snprintf(data_file, sizeof data_file, "%s/data.mdb", store);
  snprintf(lock_file, sizeof lock_file, "%s/lock.mdb", store);
  for (base_kind kind = BASE_RICH; kind < BASES; kind++) MUST(base_get(kind, folder));
  MUST(mkdir(store, 0755) == 0);
  owner = getpid();
  atexit(remove_all);
  return folder;
}

const char *damaged_store(void) {
  damaged_folder();
  return store;
}

/* ---- seeds, mutations ------------------------------------------------------------------------------ */

void fuzz_seeds(fuzz_add add, void *env) {
  static const struct {
    const char *name;
    uint8_t mode;
  } seeds[] = {{"rich", 0},
               {"many", MODE_MANY},
               {"log", MODE_LOG},
               {"rich-repaired", MODE_REPAIR},
               {"many-repaired", MODE_MANY | MODE_REPAIR},
               {"log-repaired", MODE_LOG | MODE_REPAIR},
               {"rich-written", MODE_WRITE},
               {"many-written", MODE_MANY | MODE_WRITE},
               {"log-written", MODE_LOG | MODE_WRITE}};
  for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) add(env, seeds[i].name, &seeds[i].mode, 1);
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
  if (size == 0 || next(&state) % 4 == 0) data[0] = (uint8_t)(next(&state) % MODES);
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

static uint8_t *image_for(size_t size) {
  static uint8_t *image;
  static size_t room;
  if (room < size) {
    room = size;
    MUST((image = realloc(image, room)));
  }
  return image;
}

size_t damaged_write(const uint8_t *data, size_t size) {
  uint8_t mode = data[0];
  const base *b = base_get(mode & MODE_LOG ? BASE_LOG : mode & MODE_MANY ? BASE_MANY : BASE_RICH, damaged_folder());
  size_t count = (size - 1) / EDIT_BYTES, bytes = b->size;
  uint8_t *image = image_for(bytes + (GROW_PAGES_MAX + 1) * (size_t)4096);
  if (count > EDITS_COUNT_MAX) count = EDITS_COUNT_MAX;
  memcpy(image, b->bytes, bytes);
  for (size_t i = 0; i < count; i++) edit_apply(b, data + 1 + i * EDIT_BYTES, image, &bytes);
  unlink(lock_file);
  int fd = open(data_file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  MUST(fd >= 0 && write(fd, image, bytes) == (ssize_t)bytes);
  if (mode & MODE_REPAIR) edit_repair(fd);
  close(fd);
  return count;
}
