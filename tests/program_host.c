/* program_host.c - the host whose store the tests of the program look into.
 *
 *   program_host make STORE      a store with known contents, then closes it
 *   program_host hold STORE      opens it for writing, commits, says "ready VERSION", commits again
 *                                on each line of stdin until its end
 *   program_host many STORE N    N instances of one page
 *   program_host wide STORE      a memory of 1,300 pages with gaps, a 64-bit one with a hole of 16 GiB
 *
 * "make" leaves: alpha, with main (3 pages: "first" at 0, 0x5a in block 2 of page 1, page 2 zeros)
 * and heap (64-bit, keep), metadata, snapshots one (version 1) and two (version 2), at version 3;
 * beta with an accent, its memory's name with a backslash.
 */
#include <pagestore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what, int status) {
  fprintf(stderr, "program_host: %s: %d: %s\n", what, status, pagestore_detail());
  exit(1);
}

#define OK(call)                                                                                   \
  do {                                                                                             \
    int status_ = (call);                                                                          \
    if (status_) failed(#call, status_);                                                           \
  } while (0)

static pagestore_store *open_store(const char *path, uint32_t flags) {
  pagestore_store *s;
  OK(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = flags), &s));
  return s;
}

static pagestore_instance *open_instance(pagestore_store *s, const char *name) {
  static const uint8_t hash[32] = {0xab, 0xcd, 0xef};
  pagestore_instance *i;
  OK(pagestore_instance_open(s, name,
                             PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE,
                                            .module_hash = hash),
                             &i));
  return i;
}

static pagestore_memory *open_memory(pagestore_instance *i, const char *name, uint32_t flags,
                                     uint64_t pages, uint64_t max_pages) {
  pagestore_memory *m;
  OK(pagestore_memory_open(i, name,
                           PAGESTORE_WITH(pagestore_memory_options, .flags = flags, .pages = pages,
                                          .max_pages = max_pages),
                           &m));
  return m;
}

static void make_alpha(pagestore_store *s) {
  static uint8_t large[5000];
  pagestore_instance *i = open_instance(s, "alpha");
  pagestore_memory *memory = open_memory(i, "main", 0, 2, 10);
  open_memory(i, "heap", PAGESTORE_MEMORY64 | PAGESTORE_KEEP, 1, 1000);
  OK(pagestore_memory_write(memory, 0, "first", 5));
  OK(pagestore_metadata_set(i, "module.globals", "12345678", 8));
  OK(pagestore_commit(i, 0, NULL));
  OK(pagestore_snapshot_create(i, "one", 0));
  OK(pagestore_memory_fill(memory, PAGESTORE_PAGE + 2 * PAGESTORE_BLOCK, 0x5a, 16));
  OK(pagestore_metadata_set(i, "large", large, sizeof large));
  OK(pagestore_commit(i, 0, NULL));
  OK(pagestore_snapshot_create(i, "two", 0));
  OK(pagestore_memory_grow(memory, 1, NULL));
  OK(pagestore_memory_write(memory, 16, "third", 5));
  OK(pagestore_commit(i, 0, NULL));
  pagestore_instance_close(i);
}

static int make(const char *path) {
  pagestore_store *s = open_store(path, PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE);
  make_alpha(s);
  pagestore_instance *i = open_instance(s, "b\xc3\xa9ta");
  open_memory(i, "m\\n", 0, 1, 1);
  OK(pagestore_commit(i, 0, NULL));
  pagestore_instance_close(i);
  OK(pagestore_close(s));
  return 0;
}

static int hold(const char *path) {
  pagestore_store *s = open_store(path, 0);
  pagestore_instance *i = open_instance(s, "alpha");
  pagestore_memory *m = open_memory(i, "main", 0, 2, 10);
  uint64_t version = 0;
  char line[16];
  do {
    char text[32];
    snprintf(text, sizeof text, "held %llu", (unsigned long long)version);
    OK(pagestore_memory_write(m, 32, text, strlen(text)));
    OK(pagestore_commit(i, 0, &version));
    printf("ready %llu\n", (unsigned long long)version);
    fflush(stdout);
  } while (fgets(line, sizeof line, stdin));
  pagestore_instance_close(i);
  OK(pagestore_close(s));
  return 0;
}

static int many(const char *path, unsigned count) {
  pagestore_store *s = open_store(path, PAGESTORE_CREATE);
  for (unsigned n = 0; n < count; n++) {
    char name[32];
    snprintf(name, sizeof name, "instance-%05u", n);
    pagestore_instance *i = open_instance(s, name);
    pagestore_memory *m = open_memory(i, "memory", 0, 1, 1);
    OK(pagestore_memory_write(m, 0, name, strlen(name)));
    OK(pagestore_commit(i, PAGESTORE_ASYNC, NULL));
    pagestore_instance_close(i);
  }
  OK(pagestore_close(s));
  return 0;
}

static int wide(const char *path) {
  pagestore_store *s = open_store(path, PAGESTORE_CREATE);
  pagestore_instance *i = open_instance(s, "wide");
  pagestore_memory *m = open_memory(i, "main", 0, 1300, 2000);
  for (uint64_t page = 0; page < 1300; page += page % 7 + 1)
    OK(pagestore_memory_write(m, page * PAGESTORE_PAGE + 4096 + page % 16, &page, sizeof page));
  uint64_t hole = 16ull << 30;
  m = open_memory(i, "sparse", PAGESTORE_MEMORY64, hole / PAGESTORE_PAGE + 2,
                  hole / PAGESTORE_PAGE + 2);
  OK(pagestore_memory_write(m, 100, "low", 3));
  OK(pagestore_memory_write(m, hole + 100, "high", 4));
  OK(pagestore_commit(i, 0, NULL));
  pagestore_instance_close(i);
  OK(pagestore_close(s));
  return 0;
}

int main(int count, char **words) {
  if (count == 3 && strcmp(words[1], "make") == 0) return make(words[2]);
  if (count == 3 && strcmp(words[1], "hold") == 0) return hold(words[2]);
  if (count == 3 && strcmp(words[1], "wide") == 0) return wide(words[2]);
  if (count == 4 && strcmp(words[1], "many") == 0) return many(words[2], (unsigned)atoi(words[3]));
  fputs("usage: program_host make|hold|wide STORE, program_host many STORE N\n", stderr);
  return 2;
}
