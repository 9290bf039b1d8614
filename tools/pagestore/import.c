/* import.c - a file becomes a memory. What the memory held goes.
 *
 * Up to STEP_BYTES it is one version. A larger file is committed in steps, each a version: a message holds what it
 * changed in memory. Interrupted, it is begun again.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "change.h"
#include "complain.h"
#include "file.h"
#include "look.h"
#include "progress.h"

#define STEP_BYTES (1ull << 30)
enum { CHUNK_BYTES = 1 << 20 };

typedef struct {
  uint64_t from, to;
} range;

typedef struct {
  pagestore_instance *instance;
  pagestore_memory *memory;
  file in;
  uint64_t at, written;
  range *old; /* what the memory had storage for, ascending; all else is zeros already */
  size_t old_count, old_room, old_next;
  progress progress; /* over the file's size, holes included */
  uint8_t chunk[CHUNK_BYTES];
} import;

/* ---- the memory ------------------------------------------------------------------------------ */

static int find(void *env, const pagestore_memory_info *m) {
  pagestore_memory_info *wanted = env;
  if (strcmp(m->name, wanted->name) != 0) return 0;
  *wanted = *m;
  return 1;
}

static int note_old(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory;
  import *m = env;
  if (m->old_count == m->old_room) {
    size_t room = m->old_room ? m->old_room * 2 : 64;
    range *grown = realloc(m->old, room * sizeof *grown);
    if (!grown) return 1;
    m->old = grown;
    m->old_room = room;
  }
  m->old[m->old_count++] = (range){offset, offset + length};
  return 0;
}

static int open_memory(const invocation *v, import *m) {
  pagestore_memory_options o = {.size = sizeof o};
  pagestore_memory_info old = {.name = v->operand[2]};
  int status = pagestore_memory_each(m->instance, find, &old);
  if (status == PAGESTORE_EABORTED) {
    int code = change_confirm(v, "memory '%s' of '%s' has %" PRIu64 " pages, and will hold the file instead",
                              v->operand[2], v->operand[1], old.pages);
    if (code != EXIT_OK) return code;
    status = pagestore_memory_open(m->instance, v->operand[2], NULL, &m->memory);
    if (!status) status = pagestore_memory_blocks(m->memory, PAGESTORE_BLOCKS_STORED, note_old, m);
    if (status == PAGESTORE_EABORTED) return complain_memory();
  } else if (!status) {
    if (!option_number(v, "max-pages", &o.max_pages)) return EXIT_USAGE;
    if (option_given(v, "memory64")) o.flags |= PAGESTORE_MEMORY64;
    if (option_given(v, "keep")) o.flags |= PAGESTORE_KEEP;
    if (o.flags & PAGESTORE_MEMORY64 && !o.max_pages) return complain_usage(v->command, "--memory64 needs --max-pages");
    status = pagestore_memory_open(m->instance, v->operand[2], &o, &m->memory);
  }
  return status ? complain_status(status, NULL) : EXIT_OK;
}

/* ---- the bytes ------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t length) {
  return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

static int grow_to(import *m, uint64_t bytes) {
  uint64_t pages = (bytes + PAGESTORE_PAGE - 1) / PAGESTORE_PAGE, now = pagestore_memory_pages(m->memory);
  int status = pages > now ? pagestore_memory_grow(m->memory, pages - now, NULL) : 0;
  if (!status) return EXIT_OK;
  return complain_status(status, "a new memory takes --max-pages");
}

/* Between `from` and `to`, which both only rise from call to call. */
static int put_zeros(import *m, uint64_t from, uint64_t to) {
  int status = 0;
  while (!status && m->old_next < m->old_count && m->old[m->old_next].from < to) {
    range *r = &m->old[m->old_next];
    uint64_t begin = r->from > from ? r->from : from, end = r->to < to ? r->to : to;
    if (begin < end) status = pagestore_memory_fill(m->memory, begin, 0, end - begin);
    if (r->to > to) break;
    m->old_next++;
  }
  return status ? complain_status(status, NULL) : EXIT_OK;
}

static int put_chunk(import *m, size_t length) {
  if (is_zero(m->chunk, length)) return put_zeros(m, m->at, m->at + length);
  int status = pagestore_memory_write(m->memory, m->at, m->chunk, length);
  m->written += length;
  return status ? complain_status(status, NULL) : EXIT_OK;
}

static int step(import *m) {
  if (m->written < STEP_BYTES) return EXIT_OK;
  m->written = 0;
  int status = pagestore_commit(m->instance, 0, NULL);
  if (!status) pagestore_instance_trim(m->instance, 0);
  return status ? complain_status(status, NULL) : EXIT_OK;
}

/* Over what the file has as a hole, if it can tell: up to its next bytes, or its end. */
static int skip_hole(import *m) {
  if (!m->in.seekable) return EXIT_OK;
  off_t next = lseek(m->in.fd, (off_t)m->at, SEEK_DATA);
  if (next < 0) next = lseek(m->in.fd, 0, SEEK_END);
  if (next < 0) return EXIT_OK;
  uint64_t before = m->at, behind = (uint64_t)next / CHUNK_BYTES * CHUNK_BYTES;
  if (behind > m->at) m->at = behind;
  (void)lseek(m->in.fd, (off_t)m->at, SEEK_SET);
  return put_zeros(m, before, m->at);
}

static int read_all(import *m) {
  int code = EXIT_OK;
  for (size_t length = CHUNK_BYTES; code == EXIT_OK && length == CHUNK_BYTES; m->at += length) {
    if ((code = skip_hole(m)) != EXIT_OK) return code;
    if (!file_get(&m->in, m->chunk, CHUNK_BYTES, &length)) return EXIT_FAILED;
    code = grow_to(m, m->at + length);
    if (code == EXIT_OK) code = put_chunk(m, length);
    if (code == EXIT_OK) code = step(m);
    progress_step(&m->progress, m->at + length - m->progress.done);
  }
  return code != EXIT_OK ? code : put_zeros(m, m->at, UINT64_MAX);
}

static int into_memory(const invocation *v, import *m) {
  uint64_t version = 0;
  int code = open_memory(v, m);
  if (code == EXIT_OK) code = read_all(m);
  progress_end(&m->progress);
  if (code != EXIT_OK) return code;
  int status = pagestore_commit(m->instance, 0, &version);
  if (status) return complain_status(status, NULL);
  change_done("memory '%s' of '%s' has %" PRIu64 " pages at version %" PRIu64, v->operand[2], v->operand[1],
              pagestore_memory_pages(m->memory), version);
  return EXIT_OK;
}

static int into_instance(const invocation *v, pagestore_store *store, import *m) {
  int status = pagestore_instance_open(store, v->operand[1],
                                       PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                                       &m->instance);
  if (status) return complain_status(status, NULL);
  int code = into_memory(v, m);
  pagestore_instance_close(m->instance);
  return code;
}

int command_import(const invocation *v) {
  static import m;
  pagestore_store *store;
  int code = progress_begin(&m.progress, v, "import", 0);
  if (code != EXIT_OK) return code;
  if (!file_open_in(&m.in, v->operand[3])) return EXIT_FAILED;
  m.progress.total = m.in.bytes;
  code = option_given(v, "create") ? change_open_or_make(v, v->operand[0], &store) : change_open(v, &store);
  if (code == EXIT_OK) code = change_close(store, into_instance(v, store, &m));
  free(m.old);
  file_finish(&m.in, true);
  return code;
}
