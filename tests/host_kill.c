/* host_kill.c - a host in few lines, to be killed: commits for ever and prints each version that was acknowledged as durable.
 * usage: host_kill STORE run|check. Version v has its own number in every page and in the metadata; sizes grow with it.
 * run: the printed versions were durable. check: prints the version that is there, fails if it is not whole. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pagestore.h>

static pagestore_memory *memory;
static int failed(const char *what) { return fprintf(stderr, "%s: %s\n", what, pagestore_detail()), 1; }
static uint64_t pages_at(uint64_t version) { return 4 + version % 61; }

static void acknowledged(void *env, void *user, uint64_t version, int status) {
  char line[32];
  (void)env, (void)user;
  int length = snprintf(line, sizeof line, "%llu\n", (unsigned long long)version);
  if (status == 0 && write(1, line, (size_t)length) != length) _exit(3);
}

static void write_version(pagestore_instance *instance, uint64_t version) {
  uint64_t now = pagestore_memory_pages(memory);
  if (pages_at(version) > now) pagestore_memory_grow(memory, pages_at(version) - now, NULL);
  uint8_t *base = pagestore_memory_base(memory);
  for (uint64_t p = 0; p < pagestore_memory_pages(memory); p++) memcpy(base + p * PAGESTORE_PAGE + version % 16 * PAGESTORE_BLOCK, &version, 8);
  pagestore_metadata_set(instance, "version", &version, 8);
}

/* Each page has the last sixteen versions in its sixteen blocks, or 0 where it was not there yet. */
static int check(pagestore_instance *instance, uint64_t version) {
  uint64_t noted = 0, found;
  if (version && (pagestore_metadata_get(instance, "version", &noted, 8, NULL) || noted != version)) return failed("metadata of another version");
  for (uint64_t p = 0; version && p < pagestore_memory_pages(memory); p++)
    for (uint64_t v = version > 15 ? version - 15 : 1; v <= version; v++) {
      memcpy(&found, pagestore_memory_base(memory) + p * PAGESTORE_PAGE + v % 16 * PAGESTORE_BLOCK, 8);
      if (found != v && !(found == 0 && p >= 4)) return failed("a page of another version");
      if (v == version && found != v) return failed("a page was missed");
    }
  return printf("%llu\n", (unsigned long long)version) < 0;
}

int main(int count, char **argument) {
  pagestore_store *store;
  pagestore_instance *instance;
  if (count != 3) return 2;
  int run = strcmp(argument[2], "run") == 0;
  if (pagestore_open(argument[1], PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE, .on_durable = acknowledged), &store)) return failed("open");
  if (pagestore_instance_open(store, "host", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &instance)) return failed("instance");
  if (pagestore_memory_open(instance, "memory", PAGESTORE_WITH(pagestore_memory_options, .pages = 4), &memory)) return failed("memory");
  for (uint64_t version = pagestore_committed_version(instance); run;) {
    write_version(instance, ++version);
    if (pagestore_commit(instance, version % 8 ? PAGESTORE_ASYNC : 0, NULL)) return failed("commit");
  }
  int status = check(instance, pagestore_committed_version(instance));
  pagestore_instance_close(instance);
  return pagestore_close(store) ? failed("close") : status;
}
