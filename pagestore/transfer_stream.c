/* transfer_stream.c - see transfer_stream.h, which has the layout. */
#include "transfer_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/status.h"
#include "compare.h"
#include "memory.h"
#include "storage/wire.h"

enum {
  BUFFER_BYTES = STREAM_ENTRY_BYTES + PAGE_BYTES + STREAM_CHECKSUM_BYTES,
  GROW_BYTES = 64 << 10
};

static const char head_magic[8] = {'P', 'G', 'S', 'T', 'S', 'E', 'N', 'D'};
static const char page_magic[4] = {'P', 'A', 'G', 'E'};
static const char end_magic[4] = {'D', 'O', 'N', 'E'};

typedef struct {
  uint8_t magic[8], version[4], zero[4], incompatible[8], compatible[8], snapshot[16], base[16],
      module_hash[32], sender_version[8];
  uint8_t snapshot_name[4], base_name[4], table[4], metadata[4];
} stream_head;

typedef struct {
  uint8_t magic[4], memory[4], page[8], mask[2], zeros[2], zero[4];
} page_head;
typedef struct {
  uint8_t magic[4], zero[4], pages[8], blocks[8];
} end_head;

#define AT(layout, field, at)                                                                      \
  _Static_assert(offsetof(layout, field) == (at), "the layout has a hole")
AT(stream_head, version, 8);
AT(stream_head, incompatible, 16);
AT(stream_head, snapshot, 32);
AT(stream_head, base, 48);
AT(stream_head, module_hash, 64);
AT(stream_head, sender_version, 96);
AT(stream_head, snapshot_name, 104);
AT(stream_head, table, 112);
AT(stream_head, metadata, 116);
_Static_assert(sizeof(stream_head) == STREAM_HEAD_BYTES, "the header has no hole");
AT(page_head, page, 8);
AT(page_head, mask, 16);
AT(page_head, zeros, 18);
_Static_assert(sizeof(page_head) == STREAM_ENTRY_BYTES, "a page has no hole");
AT(end_head, pages, 8);
AT(end_head, blocks, 16);
_Static_assert(sizeof(end_head) == STREAM_ENTRY_BYTES, "the end has no hole");

bool id_is_zero(id128 id) {
  static const id128 zero;
  return memcmp(&id, &zero, sizeof id) == 0;
}

static int compare_ids(const void *a, const void *b, void *env) {
  const memory_entry *memories = env;
  uint32_t x = memories[*(const uint32_t *)a].id, y = memories[*(const uint32_t *)b].id;
  return (x > y) - (x < y);
}

int stream_order(const state *s, uint32_t **out) {
  uint32_t *by_id = malloc((s->memory_count + 1) * sizeof *by_id);
  if (!by_id) return fail(PAGESTORE_ENOMEM, "no memory for a stream: free some and try again");
  for (uint32_t i = 0; i < s->memory_count; i++) by_id[i] = i;
  if (s->memory_count) qsort_r(by_id, s->memory_count, sizeof *by_id, compare_ids, s->memories);
  *out = by_id;
  return 0;
}

static int open_common(XXH3_state_t **all, uint8_t **buffer) {
  *all = XXH3_createState();
  *buffer = malloc(BUFFER_BYTES);
  if (*all && *buffer) {
    XXH3_64bits_reset(*all);
    return 0;
  }
  XXH3_freeState(*all);
  free(*buffer);
  return fail(PAGESTORE_ENOMEM, "no memory for a stream: free some and try again");
}

/* ---- writing ------------------------------------------------------------------------------- */

int stream_writer_open(stream_writer *w, pagestore_write_fn write, void *env) {
  *w = (stream_writer){.write = write, .env = env};
  return open_common(&w->all, &w->buffer);
}

void stream_writer_close(stream_writer *w) {
  XXH3_freeState(w->all);
  free(w->buffer);
}

static int put(stream_writer *w, const void *from, size_t length) {
  XXH3_64bits_update(w->all, from, length);
  int stop = w->write(w->env, from, length);
  return stop ? fail(PAGESTORE_EABORTED, "the callback returned %d", stop) : 0;
}

/* The checksum goes behind what is there; then all of it leaves. */
static int put_checked(stream_writer *w, uint8_t *bytes, size_t length) {
  put_le64(bytes + length, XXH3_64bits(bytes, length));
  return put(w, bytes, length + STREAM_CHECKSUM_BYTES);
}

int stream_put_header(stream_writer *w, const stream_header *h) {
  const state *s = h->state;
  size_t name = strlen(h->snapshot_name), base_name = strlen(h->base_name),
         table = state_table_bytes(s);
  if (table > STREAM_TABLE_BYTES_MAX)
    return fail(PAGESTORE_EQUOTA, "the table of memories has %zu bytes: too many for a stream",
                table);
  size_t length = sizeof(stream_head) + name + base_name + table + s->memory_count +
                  s->metadata_bytes;
  uint8_t *bytes = calloc(1, length + STREAM_CHECKSUM_BYTES);
  if (!bytes)
    return fail(PAGESTORE_ENOMEM, "no memory for a stream's header: free some and send again");
  stream_head *head = (stream_head *)bytes;
  memcpy(head->magic, head_magic, sizeof head_magic);
  put_le32(head->version, STREAM_VERSION);
  memcpy(head->snapshot, h->snapshot.byte, sizeof head->snapshot);
  memcpy(head->base, h->base.byte, sizeof head->base);
  memcpy(head->module_hash, s->module_hash, sizeof head->module_hash);
  put_le64(head->sender_version, h->version);
  put_le32(head->snapshot_name, (uint32_t)name);
  put_le32(head->base_name, (uint32_t)base_name);
  put_le32(head->table, (uint32_t)table);
  put_le32(head->metadata, s->metadata_bytes);
  uint8_t *to = bytes + sizeof *head;
  memcpy(to, h->snapshot_name, name);
  memcpy(to += name, h->base_name, base_name);
  state_table_encode(s, to += base_name);
  if (s->memory_count) memcpy(to + table, h->marks, s->memory_count);
  to += table + s->memory_count;
  if (s->metadata_bytes) memcpy(to, s->metadata, s->metadata_bytes);
  int status = put_checked(w, bytes, length);
  free(bytes);
  return status;
}

int stream_put_page(stream_writer *w, uint32_t memory, uint64_t page, uint16_t mask,
                    const uint8_t *page_bytes) {
  ASSERT(mask != 0);
  uint16_t carried = mask & blocks_not_zero(page_bytes);
  page_head *head = (page_head *)w->buffer;
  memset(head, 0, sizeof *head);
  memcpy(head->magic, page_magic, sizeof page_magic);
  put_le32(head->memory, memory);
  put_le64(head->page, page);
  put_le16(head->mask, mask);
  put_le16(head->zeros, mask & (uint16_t)~carried);
  uint8_t *to = w->buffer + sizeof *head;
  for (unsigned b = 0; b < PAGE_BLOCKS; b++) {
    if (!(carried >> b & 1)) continue;
    memcpy(to, page_bytes + b * BLOCK_BYTES, BLOCK_BYTES);
    to += BLOCK_BYTES;
  }
  w->pages++;
  w->blocks += mask_count(mask);
  return put_checked(w, w->buffer, (size_t)(to - w->buffer));
}

int stream_put_end(stream_writer *w) {
  end_head *head = (end_head *)w->buffer;
  memset(head, 0, sizeof *head);
  memcpy(head->magic, end_magic, sizeof end_magic);
  put_le64(head->pages, w->pages);
  put_le64(head->blocks, w->blocks);
  int status = put(w, head, sizeof *head);
  if (status) return status;
  put_le64(w->buffer, XXH3_64bits_digest(w->all));
  return put(w, w->buffer, STREAM_CHECKSUM_BYTES);
}

/* ---- reading ------------------------------------------------------------------------------- */

int stream_reader_open(stream_reader *r, pagestore_read_fn read, void *env) {
  *r = (stream_reader){.read = read, .env = env};
  return open_common(&r->all, &r->buffer);
}

void stream_reader_close(stream_reader *r) {
  XXH3_freeState(r->all);
  free(r->buffer);
}

int stream_refuse(uint64_t at, const char *reason) {
  return fail(PAGESTORE_EFORMAT,
              "the stream is refused at byte %llu: %s; nothing was received, send it again",
              (unsigned long long)at, reason);
}

/* Exactly `length` bytes, not yet counted into the checksum over all. */
static int get(stream_reader *r, void *to, size_t length) {
  for (size_t have = 0; have < length;) {
    size_t got = 0;
    int stop = r->read(r->env, (uint8_t *)to + have, length - have, &got);
    if (stop) return fail(PAGESTORE_EABORTED, "the callback returned %d", stop);
    if (got > length - have)
      return fail(PAGESTORE_EINVAL,
                  "the callback gave %zu bytes where %zu fit: give at most `room`", got,
                  length - have);
    if (got == 0) return stream_refuse(r->at, "it ends early");
    have += got;
    r->at += got;
  }
  return 0;
}

static void count(stream_reader *r, const void *bytes, size_t length) {
  XXH3_64bits_update(r->all, bytes, length);
}

/* Appends `length` bytes to *bytes, which holds `have`: in steps, so that a length that lies costs
 * nothing. */
static int get_more(stream_reader *r, uint8_t **bytes, size_t have, size_t length) {
  size_t end = have + length, room = have;
  while (have < end) {
    room = (size_t)min_u64(end, max_u64(2 * room, GROW_BYTES));
    uint8_t *moved = realloc(*bytes, room);
    if (!moved)
      return fail(PAGESTORE_ENOMEM, "no memory for a stream's header: free some and receive again");
    *bytes = moved;
    int status = get(r, moved + have, room - have);
    if (status) return status;
    have = room;
  }
  return 0;
}

static int get_head(stream_reader *r, uint8_t *bytes) {
  const stream_head *head = (const stream_head *)bytes;
  int status = get(r, bytes, sizeof head->magic);
  if (status) return status;
  if (memcmp(head->magic, head_magic, sizeof head_magic) != 0)
    return fail(PAGESTORE_EFORMAT, "this is no stream of pagestore_send: look what was given");
  status = get(r, bytes + sizeof head->magic, sizeof head->version);
  if (status) return status;
  if (get_le32(head->version) != STREAM_VERSION)
    return fail(PAGESTORE_EFORMAT, "the stream is of version %u, this library knows %d: update it",
                get_le32(head->version), STREAM_VERSION);
  size_t have = offsetof(stream_head, zero);
  if ((status = get(r, bytes + have, sizeof *head - have)) != 0) return status;
  if (get_le32(head->snapshot_name) > NAME_BYTES_MAX ||
      get_le32(head->base_name) > NAME_BYTES_MAX ||
      get_le32(head->table) > STREAM_TABLE_BYTES_MAX ||
      get_le32(head->metadata) > METADATA_BYTES_MAX)
    return stream_refuse(offsetof(stream_head, snapshot_name),
                         "a length in the header is beyond its limit");
  return 0;
}

/* A name that goes with an id: both or none. */
static int take_name(const uint8_t *from, size_t length, id128 id, const char *what,
                     char to[NAME_BYTES_MAX + 1]) {
  memcpy(to, from, length);
  to[length] = 0;
  if (id_is_zero(id))
    return length == 0 ? 0 : stream_refuse(STREAM_HEAD_BYTES, "a name without an identity");
  if (strlen(to) != length || input_name(to, what) != 0)
    return stream_refuse(STREAM_HEAD_BYTES, "the name of a snapshot is none");
  return 0;
}

static int check_memory(const memory_entry *m, uint64_t at) {
  char reason[96 + NAME_BYTES_MAX];
  if (input_name(m->name, "memory name") != 0)
    return stream_refuse(at, "the name of a memory is none");
  uint64_t most = memory_pages_most(m->flags);
  if (!(m->flags & ~(uint32_t)(PAGESTORE_MEMORY64 | PAGESTORE_KEEP)) && m->max_pages <= most &&
      m->pages <= (m->max_pages ? m->max_pages : most))
    return 0;
  snprintf(reason, sizeof reason, "memory '%s' has flags or sizes that none can have", m->name);
  return stream_refuse(at, reason);
}

static int check_metadata(const state *s, uint64_t at_stream) {
  const char *key;
  const void *value;
  size_t at = 0, key_length, length;
  while (state_metadata_next(s, &at, &key, &key_length, &value, &length)) {
    char name[NAME_BYTES_MAX + 1];
    if (key_length > NAME_BYTES_MAX) return stream_refuse(at_stream, "a metadata key is too long");
    memcpy(name, key, key_length);
    name[key_length] = 0;
    if (input_name(name, "metadata key") != 0)
      return stream_refuse(at_stream, "a metadata key is none");
  }
  return 0;
}

/* What stands behind the names: `marks_at` is where the marks begin. */
static int check_content(const stream_header *h, const uint8_t *bytes, size_t table_at,
                         size_t marks_at) {
  const state *s = h->state;
  int status = 0;
  for (uint32_t i = 0; i < s->memory_count && !status; i++)
    status = check_memory(&s->memories[i], table_at);
  for (uint32_t i = 0; i < s->memory_count && !status; i++) {
    uint8_t mark = bytes[marks_at + i];
    if (mark != STREAM_WHOLE && (mark != STREAM_GOES_ON || id_is_zero(h->base)))
      status = stream_refuse(marks_at + i, "the mark of a memory is none");
  }
  return status ? status : check_metadata(s, marks_at + s->memory_count);
}

static int decode(const uint8_t *bytes, size_t table_count, stream_header *h) {
  const stream_head *head = (const stream_head *)bytes;
  size_t name = get_le32(head->snapshot_name), base_name = get_le32(head->base_name),
         table = get_le32(head->table);
  size_t table_at = sizeof *head + name + base_name, marks_at = table_at + table,
         metadata_at = marks_at + table_count;
  memcpy(h->snapshot.byte, head->snapshot, sizeof h->snapshot);
  memcpy(h->base.byte, head->base, sizeof h->base);
  h->version = get_le64(head->sender_version);
  int status = take_name(bytes + sizeof *head, name, h->snapshot, "snapshot name",
                         h->snapshot_name);
  if (!status)
    status = take_name(bytes + sizeof *head + name, base_name, h->base, "base name", h->base_name);
  if (status) return status;
  if (state_new(&h->state) != 0)
    return fail(PAGESTORE_ENOMEM, "no memory for a stream's header: free some and receive again");
  memcpy(h->state->module_hash, head->module_hash, sizeof h->state->module_hash);
  status = state_table_decode(h->state, bytes + table_at, table);
  if (!status)
    status = state_metadata_decode(h->state, bytes + metadata_at, get_le32(head->metadata));
  if (status == PAGESTORE_ENOMEM)
    return fail(status, "no memory for a stream's header: free some and receive again");
  if (status) return stream_refuse(table_at, "the table of memories or the metadata are wrong");
  if ((status = check_content(h, bytes, table_at, marks_at)) != 0) return status;
  h->marks = malloc(table_count + 1);
  if (!h->marks)
    return fail(PAGESTORE_ENOMEM, "no memory for a stream's header: free some and receive again");
  memcpy(h->marks, bytes + marks_at, table_count);
  return stream_order(h->state, &h->by_id);
}

/* Where the table says how many memories it has, it also says how many marks follow it. */
static int get_content(stream_reader *r, uint8_t **bytes, size_t *length, size_t *table_count) {
  const stream_head *head = (const stream_head *)*bytes;
  size_t table = get_le32(head->table), metadata = get_le32(head->metadata), have = sizeof *head;
  size_t names = get_le32(head->snapshot_name) + get_le32(head->base_name);
  int status = get_more(r, bytes, have, names + table);
  if (status) return status;
  have += names + table;
  *table_count = table >= 4 ? get_le32(*bytes + have - table) : 0;
  if (*table_count > table) return stream_refuse(have - table, "the table of memories is wrong");
  *length = have + *table_count + metadata;
  return get_more(r, bytes, have, *table_count + metadata + STREAM_CHECKSUM_BYTES);
}

static int check_head(const stream_head *head) {
  uint64_t unknown = get_le64(head->incompatible) & ~STREAM_INCOMPATIBLE;
  if (unknown)
    return fail(PAGESTORE_EFORMAT,
                "the stream uses features 0x%llx that this library does not know: update it",
                (unsigned long long)unknown);
  return get_le32(head->zero) == 0
             ? 0
             : stream_refuse(offsetof(stream_head, zero), "a reserved byte is not zero");
}

int stream_get_header(stream_reader *r, stream_header *out) {
  *out = (stream_header){.state = NULL};
  size_t length = 0, table_count = 0;
  uint8_t *bytes = malloc(STREAM_HEAD_BYTES);
  int status = bytes ? get_head(r, bytes)
                     : fail(PAGESTORE_ENOMEM,
                            "no memory for a stream's header: free some and receive again");
  if (!status) status = get_content(r, &bytes, &length, &table_count);
  if (!status && get_le64(bytes + length) != XXH3_64bits(bytes, length))
    status = stream_refuse(length, "the header's checksum does not fit");
  if (!status) status = check_head((const stream_head *)bytes);
  if (!status) status = decode(bytes, table_count, out);
  if (!status) count(r, bytes, length + STREAM_CHECKSUM_BYTES);
  else stream_header_free(out);
  free(bytes);
  return status;
}

void stream_header_free(stream_header *h) {
  state_release(h->state);
  free(h->marks);
  free(h->by_id);
  *h = (stream_header){.state = NULL};
}

static int get_end(stream_reader *r, uint64_t at) {
  const end_head *head = (const end_head *)r->buffer;
  uint8_t *checksum = r->buffer + sizeof *head;
  int status = get(r, checksum, STREAM_CHECKSUM_BYTES);
  if (status) return status;
  count(r, head, sizeof *head);
  if (get_le64(checksum) != XXH3_64bits_digest(r->all))
    return stream_refuse(at, "the checksum over the whole does not fit");
  if (get_le32(head->zero) != 0 || get_le64(head->pages) != r->pages ||
      get_le64(head->blocks) != r->blocks)
    return stream_refuse(at, "it counts other pages than there were");
  return PAGESTORE_ENOTFOUND;
}

/* Where the table has the memory. */
static bool find_memory(const stream_header *h, uint32_t id, uint32_t *place) {
  uint32_t low = 0, high = h->state->memory_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (h->state->memories[h->by_id[middle]].id < id) low = middle + 1;
    else high = middle;
  }
  if (low == h->state->memory_count || h->state->memories[h->by_id[low]].id != id) return false;
  *place = h->by_id[low];
  return true;
}

static int check_page(stream_reader *r, const stream_header *h, uint32_t memory, stream_page *p) {
  const page_head *head = (const page_head *)r->buffer;
  if (p->mask == 0 || p->zeros & ~p->mask || get_le32(head->zero) != 0)
    return stream_refuse(p->at, "a mask of blocks is wrong");
  if (!find_memory(h, memory, &p->place))
    return stream_refuse(p->at, "a page of a memory that is not in the table");
  if (memory < r->last_memory || (memory == r->last_memory && p->page <= r->last_page))
    return stream_refuse(p->at, "pages do not ascend");
  return 0;
}

int stream_get_page(stream_reader *r, const stream_header *h, stream_page *out) {
  const page_head *head = (const page_head *)r->buffer;
  uint64_t at = r->at;
  int status = get(r, r->buffer, STREAM_ENTRY_BYTES);
  if (status) return status;
  if (memcmp(head->magic, end_magic, sizeof end_magic) == 0) return get_end(r, at);
  if (memcmp(head->magic, page_magic, sizeof page_magic) != 0)
    return stream_refuse(at, "neither a page nor the end begins here");
  uint32_t memory = get_le32(head->memory);
  stream_page page = {
      .at = at,
      .page = get_le64(head->page),
      .mask = get_le16(head->mask),
      .zeros = get_le16(head->zeros),
      .blocks = r->buffer + STREAM_ENTRY_BYTES,
  };
  size_t length = STREAM_ENTRY_BYTES +
                  mask_count(page.mask & (uint16_t)~page.zeros) * (size_t)BLOCK_BYTES;
  status = get(r, r->buffer + STREAM_ENTRY_BYTES,
               length + STREAM_CHECKSUM_BYTES - STREAM_ENTRY_BYTES);
  if (status) return status;
  if (get_le64(r->buffer + length) != XXH3_64bits(r->buffer, length))
    return stream_refuse(at, "the checksum of a page does not fit");
  if ((status = check_page(r, h, memory, &page)) != 0) return status;
  count(r, r->buffer, length + STREAM_CHECKSUM_BYTES);
  r->last_memory = memory;
  r->last_page = page.page;
  r->pages++;
  r->blocks += mask_count(page.mask);
  *out = page;
  return 0;
}
