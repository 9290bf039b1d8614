/* driver.c - runs a fuzz target without a fuzzer: for any compiler, for ctest, for what crashed.
 *
 *   fuzz_NAME [--random N | --seconds T] [--seed S] [--write FOLDER] [--must-crash] [FILE | FOLDER]...
 *
 * Runs the target's own seeds, every file, and then N mutations of these, or as many as begin within T seconds; files alone: just
 * these. An input that takes longer than two minutes counts as a crash.
 * Mutations follow from the seed alone; without one PAGESTORE_SEED counts, or the clock. The last line is
 * "seed=S executions=N". A crash leaves its input in ./crash-S-N and names it: run that file to see
 * it again.
 *
 *   --write        puts the target's seeds into the folder
 *   --must-crash   ends with 0 if the target crashes, with 1 if it does not: for the canary
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { INPUT_BYTES_MAX = 4 << 20, GROW_BYTES_MAX = 512, HANG_SECONDS = 120 };

typedef struct {
  uint8_t *bytes;
  size_t size;
  char name[64];
} input;
static input *corpus;
static size_t corpus_count;

static uint64_t seed, random_state, executions, seconds;
static uint8_t *current; /* what runs now, for the crash */
static size_t current_size;

/* ---- crashes ------------------------------------------------------------------------------- */

void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

static void keep_input(void) {
  static bool kept;
  if (kept || !current) return;
  kept = true;
  char path[96], text[256];
  snprintf(path, sizeof path, "crash-%llu-%llu", (unsigned long long)seed,
           (unsigned long long)executions);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ssize_t done = fd < 0 ? -1 : write(fd, current, current_size);
  int length = snprintf(text, sizeof text,
                        "seed=%llu executions=%llu: crashed; the input is %s%s\n",
                        (unsigned long long)seed, (unsigned long long)executions, path,
                        done == (ssize_t)current_size ? "" : " (incomplete)");
  if (write(2, text, (size_t)length) < 0) return;
}

static void on_crash(int number) {
  keep_input();
  signal(number, SIG_DFL);
  raise(number);
}

static void watch(void) {
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_input);
  static const int numbers[] = {SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGALRM, SIGSEGV, SIGBUS};
  size_t count = sizeof numbers / sizeof *numbers -
                 (__sanitizer_set_death_callback ? 2
                                                 : 0); /* a sanitizer takes the last two itself */
  for (size_t i = 0; i < count; i++) signal(numbers[i], on_crash);
}

/* ---- corpus -------------------------------------------------------------------------------- */

static void add(void *env, const char *name, const uint8_t *bytes, size_t size) {
  (void)env;
  input *moved = realloc(corpus, (corpus_count + 1) * sizeof *corpus);
  uint8_t *copy = malloc(size + 1);
  if (!moved || !copy) exit(2);
  memcpy(copy, bytes, size);
  corpus = moved;
  corpus[corpus_count] = (input){.bytes = copy, .size = size};
  snprintf(corpus[corpus_count++].name, sizeof corpus->name, "%s", name);
}

static void add_file(const char *path) {
  FILE *f = fopen(path, "rb");
  uint8_t *bytes = malloc(INPUT_BYTES_MAX);
  if (!f || !bytes) {
    fprintf(stderr, "%s cannot be read\n", path);
    exit(2);
  }
  size_t size = fread(bytes, 1, INPUT_BYTES_MAX, f);
  fclose(f);
  add(NULL, path, bytes, size);
  free(bytes);
}

static void add_path(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
    add_file(path);
    return;
  }
  struct dirent **entries;
  int count = scandir(path, &entries, NULL,
                      alphasort); /* in order, so that a seed means the same everywhere */
  for (int i = 0; i < count; i++) {
    char inner[4096];
    snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.') add_file(inner);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
}

static int write_corpus(const char *folder) {
  for (size_t i = 0; i < corpus_count; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, corpus[i].name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(corpus[i].bytes, 1, corpus[i].size, f) != corpus[i].size || fclose(f) != 0) {
      fprintf(stderr, "%s cannot be written\n", path);
      return 2;
    }
  }
  return 0;
}

/* ---- mutation ------------------------------------------------------------------------------ */

static uint64_t next_random(void) { /* splitmix64 */
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static uint64_t below(uint64_t limit) { return limit ? next_random() % limit : 0; }

/* Half of all places lie in the first 256 bytes: that is where heads are. */
static size_t place(size_t size) {
  return (size_t)(next_random() & 1 ? below(size) : below(size < 256 ? size : 256));
}

static void put_number(uint8_t *bytes, size_t size) {
  static const uint64_t values[] = {0,          1,         2,          15,
                                    16,         127,       128,        255,
                                    256,        4095,      4096,       32767,
                                    65535,      65536,     UINT32_MAX, UINT32_MAX - 1,
                                    1ull << 48, UINT64_MAX};
  size_t width = (size_t)1 << below(4), at = place(size);
  if (width > size - at) return;
  uint64_t value = values[below(sizeof values / sizeof *values)];
  if (next_random() & 1) value = __builtin_bswap64(value) >> (64 - 8 * width);
  memcpy(bytes + at, &value, width);
}

static void copy_within(uint8_t *bytes, size_t size) {
  size_t from = (size_t)below(size), to = (size_t)below(size),
         most = size - (from > to ? from : to);
  memmove(bytes + to, bytes + from, (size_t)below(most < 8192 ? most + 1 : 8192));
}

static void take_from(uint8_t *bytes, size_t size, const input *other) {
  if (other->size == 0) return;
  size_t from = (size_t)below(other->size), to = (size_t)below(size),
         most = other->size - from < size - to ? other->size - from : size - to;
  memcpy(bytes + to, other->bytes + from, (size_t)below(most + 1));
}

static size_t insert(uint8_t *bytes, size_t size) {
  size_t at = (size_t)below(size + 1), length = (size_t)below(64) + 1;
  memmove(bytes + at + length, bytes + at, size - at);
  for (size_t i = 0; i < length; i++) bytes[at + i] = (uint8_t)next_random();
  return size + length;
}

static size_t cut(uint8_t *bytes, size_t size) {
  size_t at = (size_t)below(size), length = (size_t)below(size - at < 5000 ? size - at + 1 : 5000);
  memmove(bytes + at, bytes + at + length, size - at - length);
  return size - length;
}

static size_t mutate_once(uint8_t *bytes, size_t size) {
  if (size == 0) return insert(bytes, size);
  switch (below(12)) {
  case 0:
  case 1: bytes[place(size)] ^= (uint8_t)(1u << below(8)); return size;
  case 2:
  case 3: bytes[place(size)] = (uint8_t)next_random(); return size;
  case 4: bytes[place(size)] += (uint8_t)(below(9) - 4); return size;
  case 5:
  case 6:
  case 7: put_number(bytes, size); return size;
  case 8: copy_within(bytes, size); return size;
  case 9: take_from(bytes, size, &corpus[below(corpus_count)]); return size;
  case 10: return insert(bytes, size);
  default: return below(4) ? cut(bytes, size) : (size_t)below(size + 1);
  }
}

/* ---- running ------------------------------------------------------------------------------- */

/* A copy of exactly this size: a read behind it is seen. */
static void run(const uint8_t *bytes, size_t size) {
  current = malloc(size ? size : 1);
  if (!current) exit(2);
  memcpy(current, bytes, size);
  current_size = size;
  executions++;
  alarm(HANG_SECONDS);
  LLVMFuzzerTestOneInput(current, size);
  free(current);
  current = NULL;
}

static bool goes_on(uint64_t done, uint64_t count) {
  static time_t end;
  if (!seconds) return done < count;
  if (!end) end = time(NULL) + (time_t)seconds;
  return time(NULL) < end;
}

static void run_random(uint64_t count) {
  for (uint64_t i = 0; goes_on(i, count); i++) {
    const input *from = &corpus[below(corpus_count)];
    unsigned times = 1 + (unsigned)below(below(2) ? 3 : 12);
    uint8_t *bytes = malloc(from->size + times * 64 + GROW_BYTES_MAX);
    if (!bytes) exit(2);
    size_t size = from->size;
    memcpy(bytes, from->bytes, size);
    while (times--)
      size = fuzz_mutate && below(2)
                 ? fuzz_mutate(bytes, size, size + 64, (unsigned)next_random())
                 : mutate_once(bytes, size);
    run(bytes, size);
    free(bytes);
  }
}

static int run_all(uint64_t count) {
  watch();
  for (size_t i = 0; i < corpus_count; i++) run(corpus[i].bytes, corpus[i].size);
  if (corpus_count == 0) add(NULL, "empty", (const uint8_t *)"", 0);
  run_random(count);
  printf("seed=%llu executions=%llu\n", (unsigned long long)seed, (unsigned long long)executions);
  return 0;
}

static int run_that_must_crash(uint64_t count) {
  pid_t child = fork();
  if (child == 0) {
    if (chdir("/tmp") != 0 || !freopen("/dev/null", "w", stderr)) _exit(0);
    exit(run_all(count));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return 2;
  bool crashed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  printf("seed=%llu: %s\n", (unsigned long long)seed,
         crashed ? "it crashed, as it must" : "it did not crash: this fuzzer finds nothing");
  return crashed ? 0 : 1;
}

int main(int argc, char **argv) {
  uint64_t count = 0;
  const char *folder = NULL;
  bool must_crash = false;
  const char *given = getenv("PAGESTORE_SEED");
  seed = given && *given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003u ^ (uint64_t)getpid();
  for (int i = 1; i < argc; i++) {
    bool more = i + 1 < argc;
    if (strcmp(argv[i], "--random") == 0 && more) count = strtoull(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--seconds") == 0 && more) seconds = strtoull(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--seed") == 0 && more) seed = strtoull(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--write") == 0 && more) folder = argv[++i];
    else if (strcmp(argv[i], "--must-crash") == 0) must_crash = true;
    else add_path(argv[i]);
  }
  if (corpus_count == 0 || count || seconds || folder) fuzz_seeds(add, NULL); /* files alone: just these */
  random_state = seed;
  int status = folder       ? write_corpus(folder)
               : must_crash ? run_that_must_crash(count)
                            : run_all(count);
  for (size_t i = 0; i < corpus_count; i++) free(corpus[i].bytes);
  free(corpus);
  return status;
}
