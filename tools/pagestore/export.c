/* export.c - a memory's bytes as a file, with holes where nothing is stored. */
#include <string.h>

#include "complain.h"
#include "file.h"
#include "hold.h"
#include "look.h"
#include "progress.h"
#include "versions.h"
#include "view.h"

enum { TRIM_EVERY_PAGES = 1024 };

typedef struct {
  pagestore_instance *view;
  pagestore_memory *memory;
  file out;
  uint64_t at, pages_read;
  progress progress; /* over what is stored */
  int code;          /* why it stopped, complained about */
  hold hold;
  uint8_t page[PAGESTORE_PAGE];
} export;

/* Complained at once: what stops a walk has its own text afterwards. An image with a hole where a page is damaged would
 * pass for a whole one: so none is made. */
static int stop(export *e, int status) {
  complain_status(status, status == PAGESTORE_ECORRUPT ? "`pagestore dump --raw` writes zeros in its place" : NULL);
  e->code = status == PAGESTORE_ECORRUPT ? EXIT_FOUND : EXIT_FAILED;
  return 1;
}

static int put_page(export *e) {
  int status = pagestore_memory_read(e->memory, e->at, e->page, sizeof e->page);
  if (status) return stop(e, status);
  if (!hold_goes_on(&e->hold) || !file_put(&e->out, e->page, sizeof e->page)) return 1;
  e->at += sizeof e->page;
  progress_step(&e->progress, sizeof e->page);
  if (++e->pages_read % TRIM_EVERY_PAGES == 0) pagestore_instance_trim(e->view, 0);
  return 0;
}

static int put_stored(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory;
  export *e = env;
  if (offset > e->at && !file_put_zeros(&e->out, offset - e->at)) return 1;
  for (e->at = offset; e->at < offset + length;)
    if (put_page(e)) return 1;
  return 0;
}

static int count_stored(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory, (void)offset;
  export *e = env;
  e->progress.total += length;
  return 0;
}

static int write_image(export *e, uint64_t bytes) {
  int status = 0;
  if (progress_shown(&e->progress))
    status = pagestore_memory_blocks(e->memory, PAGESTORE_BLOCKS_STORED, count_stored, e);
  if (!status) status = pagestore_memory_blocks(e->memory, PAGESTORE_BLOCKS_STORED, put_stored, e);
  if (status == PAGESTORE_EABORTED) return e->code ? e->code : EXIT_FAILED; /* complained about */
  if (status) return look_failed(status);
  return e->at == bytes || file_put_zeros(&e->out, bytes - e->at) ? EXIT_OK : EXIT_FAILED;
}

static int to_file(const invocation *v, export *e) {
  uint64_t pages;
  int code = view_memory(e->view, v->operand[2], &e->memory, &pages);
  if (code != EXIT_OK) return code;
  if (!file_create(&e->out, v->operand[3])) return EXIT_FAILED;
  code = write_image(e, pages * PAGESTORE_PAGE);
  progress_end(&e->progress);
  int closed = file_finish(&e->out, code == EXIT_OK);
  return code == EXIT_OK ? closed : code;
}

int command_export(const invocation *v) {
  static export e;
  pagestore_store *store;
  int code = progress_begin(&e.progress, v, "export", 0);
  if (code != EXIT_OK || (code = look_open(v, &store)) != EXIT_OK) return code;
  char room[256] = "";
  const char *snapshot;
  code = versions_chosen(v, store, room, &snapshot);
  if (code == EXIT_OK && (code = look_view(store, v->operand[1], snapshot, &e.view)) == EXIT_OK) {
    hold_begin(&e.hold, v, !snapshot);
    code = to_file(v, &e);
    pagestore_instance_close(e.view);
  }
  pagestore_close(store);
  return code;
}
