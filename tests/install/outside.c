/* outside.c - a host as its author would write it; argument: a directory for a new store. See tests/install.sh. */
#include <pagestore.h>
#include <stdio.h>
#include <string.h>

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, pagestore_detail());
  return 1;
}

int main(int argc, char **argv) {
  pagestore_store *store;
  pagestore_instance *instance;
  pagestore_memory *memory;
  uint64_t version;
  char found[6];
  if (argc != 2) return 2;
  if (pagestore_open(argv[1], PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store)) return failed("open");
  if (pagestore_instance_open(store, "outside", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &instance))
    return failed("instance");
  if (pagestore_memory_open(instance, "main", PAGESTORE_WITH(pagestore_memory_options, .pages = 1, .max_pages = 16), &memory))
    return failed("memory");
  memcpy(pagestore_memory_base(memory) + 100, "hello", 6);
  if (pagestore_commit(instance, 0, &version) || version != 1) return failed("commit");
  memcpy(pagestore_memory_base(memory) + 100, "world", 6);
  if (pagestore_rollback(instance)) return failed("rollback");
  memcpy(found, pagestore_memory_base(memory) + 100, 6);
  pagestore_instance_close(instance);
  if (pagestore_close(store)) return failed("close");
  return strcmp(found, "hello") != 0;
}
