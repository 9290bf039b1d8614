/* view.c - see view.h. */
#include "view.h"

#include <string.h>

#include "complain.h"
#include "look.h"

typedef struct {
  const char *name;
  uint32_t flags;
  uint64_t pages;
  bool found;
} wanted;

static int match(void *env, const pagestore_memory_info *m) {
  wanted *w = env;
  if (strcmp(m->name, w->name) != 0) return 0;
  w->flags = m->flags;
  w->pages = m->pages;
  w->found = true;
  return 1;
}

int view_memory(pagestore_instance *view, const char *name, pagestore_memory **memory, uint64_t *pages) {
  wanted w = {.name = name};
  pagestore_instance_info info = {.size = sizeof info};
  int status = pagestore_memory_each(view, match, &w);
  if (status && status != PAGESTORE_EABORTED) return look_failed(status);
  if (!w.found) {
    pagestore_instance_stat(view, &info);
    complain("no memory '%s' in '%s'; `pagestore stat STORE INSTANCE` lists the memories", name, info.name);
    return EXIT_FAILED;
  }
  status = pagestore_memory_open(view, name,
                                 PAGESTORE_WITH(pagestore_memory_options, .flags = w.flags,
                                                .max_pages = w.pages ? w.pages : 1, .guard_bytes = PAGESTORE_PAGE),
                                 memory);
  if (status) return look_failed(status);
  *pages = w.pages;
  return EXIT_OK;
}
