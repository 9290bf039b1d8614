/* fuzz_receive.c - bytes into pagestore_receive.
 *
 *   input: one byte of bits, then the stream
 *          1: checksums are repaired first
 *          2: into the instance that has the base, else into one that is not there
 *
 * A stream that is refused changes nothing; one that is accepted can be sent and received again.
 *
 * ctest: runs=600
 */
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <pagestore.h>

#include "fuzz/fuzz.h"
#include "storage/wire.h"
#include "transfer_stream.h"

enum { REPAIR = 1, ONTO_BASE = 2 };

typedef struct {
  uint8_t *bytes;
  size_t size, at;
} buffer;

static int append(void *env, const void *bytes, size_t length) {
  buffer *b = env;
  b->bytes = realloc(b->bytes, b->size + length);
  MUST(b->bytes);
  memcpy(b->bytes + b->size, bytes, length);
  b->size += length;
  return 0;
}

static int consume(void *env, void *bytes, size_t room, size_t *length) {
  buffer *b = env;
  *length = room < b->size - b->at ? room : b->size - b->at;
  if (*length) memcpy(bytes, b->bytes + b->at, *length);
  b->at += *length;
  return 0;
}

/* ---- seeds: two streams with fixed identities ---------------------------------------------- */

static const id128 first_id = {{1, 1}}, second_id = {{2, 2}};

static void describe(stream_header *h, bool whole) {
  memory_entry *m;
  *h = (stream_header){.snapshot = whole ? first_id : second_id,
                       .version = 1,
                       .marks = calloc(4, 1)};
  strcpy(h->snapshot_name, whole ? "first" : "second");
  if (!whole) {
    h->base = first_id;
    strcpy(h->base_name, "first");
  }
  MUST(h->marks && state_new(&h->state) == 0 && state_memory_add(h->state, "heap", &m) == 0);
  m->pages = whole ? 6 : 5;
  m->max_pages = 65536;
  if (!whole) state_memory_renew(h->state, m); /* an id between: it goes on below */
  m->id = 1;
  MUST(state_memory_add(h->state, "stable", &m) == 0);
  m->flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP;
  m->pages = 4;
  m->max_pages = 1 << 20;
  h->marks[0] = whole ? STREAM_WHOLE : STREAM_GOES_ON;
  h->marks[1] = STREAM_WHOLE;
  MUST(state_metadata_set(h->state, "counter", whole ? "1" : "22", whole ? 1 : 2) == 0);
}

static buffer make_stream(bool whole) {
  static uint8_t page[PAGE_BYTES];
  buffer b = {.size = 0};
  stream_header h;
  stream_writer w;
  describe(&h, whole);
  memset(page, whole ? 7 : 8, BLOCK_BYTES);
  MUST(stream_writer_open(&w, append, &b) == 0 && stream_put_header(&w, &h) == 0);
  MUST(stream_put_page(&w, 1, 0, 1, page) == 0 && stream_put_page(&w, 1, 3, 0x8001, NULL) == 0);
  if (!whole) MUST(stream_put_page(&w, 1, 5, ALL_BLOCKS, NULL) == 0);
  MUST(stream_put_page(&w, h.state->memories[1].id, 3, 0xf0, NULL) == 0 && stream_put_end(&w) == 0);
  stream_writer_close(&w);
  stream_header_free(&h);
  return b;
}

static void add_stream(fuzz_add add, void *env, const char *name, bool whole, uint8_t mode) {
  buffer b = {.size = 0}, stream = make_stream(whole);
  append(&b, &mode, 1);
  append(&b, stream.bytes, stream.size);
  add(env, name, b.bytes, b.size);
  free(stream.bytes);
  free(b.bytes);
}

void fuzz_seeds(fuzz_add add, void *env) {
  add_stream(add, env, "whole", true, REPAIR);
  add_stream(add, env, "increment", false, REPAIR | ONTO_BASE);
  add_stream(add, env, "whole-as-is", true, 0);
  add_stream(add, env, "increment-as-is", false, ONTO_BASE);
}

/* ---- repairing: as far as the stream can be followed --------------------------------------- */

/* Puts the checksum behind [from, from + length) if there is room for it; whether there was. */
static bool seal(uint8_t *bytes, size_t size, size_t from, size_t length) {
  if (from > size || size - from < 8 || length > size - from - 8) return false;
  put_le64(bytes + from + length, XXH3_64bits(bytes + from, length));
  return true;
}

static void repair(uint8_t *bytes, size_t size) {
  if (size < STREAM_HEAD_BYTES) return;
  size_t names = (size_t)get_le32(bytes + 104) + get_le32(bytes + 108),
         table = get_le32(bytes + 112), metadata = get_le32(bytes + 116);
  size_t table_at = STREAM_HEAD_BYTES + names;
  if (names > size || table > size || metadata > size || table < 4 || table_at + 4 > size) return;
  size_t at = table_at + table + get_le32(bytes + table_at) + metadata;
  if (!seal(bytes, size, 0, at)) return;
  at += 8;
  uint64_t pages = 0, blocks = 0;
  for (; size - at >= STREAM_ENTRY_BYTES && memcmp(bytes + at, "DONE", 4) != 0; pages++) {
    uint16_t mask = get_le16(bytes + at + 16),
             carried = mask & (uint16_t)~get_le16(bytes + at + 18);
    size_t length = STREAM_ENTRY_BYTES + mask_count(carried) * (size_t)BLOCK_BYTES;
    if (!seal(bytes, size, at, length)) return;
    blocks += mask_count(mask);
    at += length + 8;
  }
  if (size - at < STREAM_ENTRY_BYTES + 8) return;
  put_le64(bytes + at + 8, pages);
  put_le64(bytes + at + 16, blocks);
  put_le64(bytes + at + STREAM_ENTRY_BYTES, XXH3_64bits(bytes, at + STREAM_ENTRY_BYTES));
}

/* ---- the store ----------------------------------------------------------------------------- */

static pagestore_store *store;
static char folder[200];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static void close_store(void) {
  MUST(pagestore_close(store) == 0);
  nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static int receive(const char *name, const uint8_t *bytes, size_t size) {
  buffer b = {.bytes = (uint8_t *)(uintptr_t)bytes, .size = size};
  return pagestore_receive(store, name, consume, &b);
}

static void receive_base(void) {
  buffer whole = make_stream(true);
  MUST(receive("base", whole.bytes, whole.size) == 0);
  free(whole.bytes);
}

static void open_store(void) {
  const char *temporary = getenv("TMPDIR");
  char path[220];
  snprintf(folder, sizeof folder, "%s/pagestore-fuzz-XXXXXX",
           temporary && *temporary ? temporary : "/tmp");
  MUST(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/store", folder);
  MUST(pagestore_open(path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store) ==
       0);
  atexit(close_store);
  receive_base();
}

static int look_for(void *env, const pagestore_instance_info *info) {
  return strcmp(info->name, env) == 0;
}
static bool is_there(const char *name) {
  return pagestore_instance_each(store, NULL, look_for, (void *)(uintptr_t)name) != 0;
}

/* What was accepted is whole: it can be read, sent and received. */
static void send_again(const char *name) {
  pagestore_instance *view;
  buffer b = {.size = 0};
  MUST(pagestore_instance_open(store, name,
                               PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_READ),
                               &view) == 0);
  MUST(pagestore_send(NULL, view, append, &b) == 0);
  pagestore_instance_close(view);
  MUST(receive("again", b.bytes, b.size) == 0 && pagestore_instance_delete(store, "again", 0) == 0);
  free(b.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!store) open_store();
  if (size == 0) return 0;
  uint8_t *stream = malloc(size > 1 ? size - 1 : 1);
  MUST(stream);
  memcpy(stream, data + 1, size - 1);
  if (data[0] & REPAIR) repair(stream, size - 1);
  const char *name = data[0] & ONTO_BASE ? "base" : "new";
  int status = receive(name, stream, size - 1);
  free(stream);
  MUST(status == 0 || status == PAGESTORE_EFORMAT || status == PAGESTORE_EEXIST ||
       status == PAGESTORE_ENOMEM || status == PAGESTORE_EQUOTA);
  if (status) {
    MUST(is_there("base") && !is_there("new"));
    return 0;
  }
  send_again(name);
  MUST(pagestore_instance_delete(store, name, 0) == 0);
  if (data[0] & ONTO_BASE) receive_base();
  return 0;
}
