/* state.c - the table of memories and the metadata of a version, in memory and as bytes; the contract is in state.h.
 *
 *   table                    entry of the table           metadata entry
 *   at  bytes what           at  bytes what               at  bytes what
 *   0   4  count             0   4  id                    0   2  key length, never 0
 *   4   4  next memory       4   4  flags                 2   4  value length
 *   8   .. entries, by name  8   8  pages                 6   .. key, then value
 *                            16  8  max pages
 *                            24  8  stored pages
 *                            32  2  name length
 *                            34  .. name
 */
#include "storage/state.h"

#include <stdlib.h>
#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/units.h"
#include "storage/format.h"
#include "storage/wire.h"

enum { TABLE_HEAD_BYTES = 8, ENTRY_HEAD_BYTES = 34, METADATA_HEAD_BYTES = 6 };
enum { FLAGS_KNOWN = PAGESTORE_MEMORY64 | PAGESTORE_KEEP | PAGESTORE_EXPLICIT | PAGESTORE_VOLATILE };

typedef struct {
  uint8_t id[4], flags[4], pages[8], max_pages[8], stored_pages[8], name_length[2];
} table_entry;
_Static_assert(sizeof(table_entry) == ENTRY_HEAD_BYTES, "an entry has no hole");
_Static_assert(offsetof(table_entry, name_length) == 32, "an entry has no hole");

/* ---- life ------------------------------------------------------------------------------------ */

int state_new(state **out) {
  state *s = calloc(1, sizeof *s);
  if (!s) return PAGESTORE_ENOMEM;
  atomic_init(&s->references, 1);
  s->next_memory = 1;
  *out = s;
  return 0;
}

/* A copy of `bytes` bytes, or NULL; NULL also for none, which is no failure. */
static void *copy_of(const void *from, size_t size) {
  void *to = size ? malloc(size) : NULL;
  if (to) memcpy(to, from, size);
  return to;
}

int state_clone(const state *from, state **out) {
  state *s;
  int err = state_new(&s);
  if (err) return err;
  memcpy(s->module_hash, from->module_hash, sizeof s->module_hash);
  s->next_memory = from->next_memory;
  s->memory_count = s->memory_room = from->memory_count;
  s->metadata_bytes = s->metadata_room = from->metadata_bytes;
  s->memories = copy_of(from->memories, from->memory_count * sizeof *from->memories);
  s->metadata = copy_of(from->metadata, from->metadata_bytes);
  if ((s->memory_count && !s->memories) || (s->metadata_bytes && !s->metadata)) goto release;
  *out = s;
  return 0;
release:
  state_release(s);
  return PAGESTORE_ENOMEM;
}

state *state_reference(state *s) {
  atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
  return s;
}

void state_release(state *s) {
  if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1) return;
  free(s->memories);
  free(s->metadata);
  free(s);
}

state *state_seal(state *s) {
  ASSERT_FULL(state_is_valid(s));
  s->sealed = true;
  return s;
}

/* ---- memories -------------------------------------------------------------------------------- */

/* First entry whose name is not below `name`. */
static uint32_t memory_position(const state *s, const char *name) {
  uint32_t low = 0, high = s->memory_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (strcmp(s->memories[middle].name, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

memory_entry *state_memory(const state *s, const char *name) {
  uint32_t at = memory_position(s, name);
  return at < s->memory_count && strcmp(s->memories[at].name, name) == 0 ? &s->memories[at] : NULL;
}

memory_entry *state_memory_by_id(const state *s, uint32_t id) {
  for (uint32_t i = 0; i < s->memory_count; i++)
    if (s->memories[i].id == id) return &s->memories[i];
  return NULL;
}

static int memories_make_room(state *s) {
  if (s->memory_count < s->memory_room) return 0;
  uint32_t room = s->memory_room ? 2 * s->memory_room : 4;
  memory_entry *moved = realloc(s->memories, room * sizeof *moved);
  if (!moved) return PAGESTORE_ENOMEM;
  s->memories = moved;
  s->memory_room = room;
  return 0;
}

int state_memory_add(state *s, const char *name, memory_entry **out) {
  ASSERT(!s->sealed && s->next_memory != 0);
  ASSERT(name[0] && strlen(name) < sizeof s->memories->name && !state_memory(s, name));
  int err = memories_make_room(s);
  if (err) return err;
  uint32_t at = memory_position(s, name);
  memory_entry *entry = &s->memories[at];
  memmove(entry + 1, entry, (s->memory_count - at) * sizeof *entry);
  memset(entry, 0, sizeof *entry);
  strcpy(entry->name, name);
  entry->id = s->next_memory++;
  s->memory_count++;
  *out = entry;
  return 0;
}

void state_memory_remove(state *s, uint32_t id) {
  ASSERT(!s->sealed);
  memory_entry *entry = state_memory_by_id(s, id);
  if (!entry) return;
  size_t behind = (size_t)(s->memories + s->memory_count - (entry + 1));
  memmove(entry, entry + 1, behind * sizeof *entry);
  s->memory_count--;
}

uint32_t state_memory_renew(state *s, memory_entry *entry) {
  ASSERT(!s->sealed && s->next_memory != 0);
  entry->id = s->next_memory++;
  entry->stored_pages = 0;
  return entry->id;
}

/* ---- metadata -------------------------------------------------------------------------------- */

typedef struct {
  const uint8_t *key, *value;
  size_t key_length, length, end; /* end: where the next entry is */
} metadata_entry;

/* The entry at `at`, if it lies in [0, size) whole. */
static bool metadata_entry_at(const uint8_t *from, size_t size, size_t at, metadata_entry *out) {
  if (!range_fits(at, METADATA_HEAD_BYTES, size)) return false;
  out->key_length = get_le16(from + at);
  out->length = get_le32(from + at + 2);
  if (!range_fits(at + METADATA_HEAD_BYTES, (uint64_t)out->key_length + out->length, size)) return false;
  out->key = from + at + METADATA_HEAD_BYTES;
  out->value = out->key + out->key_length;
  out->end = at + METADATA_HEAD_BYTES + out->key_length + out->length;
  return true;
}

static int key_compare(const void *a, size_t a_length, const void *b, size_t b_length) {
  int order = memcmp(a, b, min_u64(a_length, b_length));
  return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* Where the first entry that is not below `key` begins; *found has it, if it equals the key. */
static size_t metadata_position(const state *s, const char *key, size_t key_length, metadata_entry *found,
    bool *equal) {
  size_t at = 0;
  *equal = false;
  while (metadata_entry_at(s->metadata, s->metadata_bytes, at, found)) {
    int order = key_compare(found->key, found->key_length, key, key_length);
    *equal = order == 0;
    if (order >= 0) break;
    at = found->end;
  }
  return at;
}

/* Replaces [at, end) by a gap of `size` bytes. */
static int metadata_splice(state *s, size_t at, size_t end, size_t size) {
  size_t total = s->metadata_bytes - (end - at) + size;
  if (total > s->metadata_room) {
    size_t room = min_u64(max_u64(2 * total, 256), METADATA_BYTES_MAX);
    uint8_t *moved = realloc(s->metadata, room);
    if (!moved) return PAGESTORE_ENOMEM;
    s->metadata = moved;
    s->metadata_room = (uint32_t)room;
  }
  if (s->metadata_bytes > end) memmove(s->metadata + at + size, s->metadata + end, s->metadata_bytes - end);
  s->metadata_bytes = (uint32_t)total;
  return 0;
}

int state_metadata_set(state *s, const char *key, const void *value, size_t length) {
  ASSERT(!s->sealed && key[0]);
  size_t key_length = strlen(key);
  ASSERT(key_length <= UINT16_MAX);
  if (length > METADATA_BYTES_MAX) return PAGESTORE_EQUOTA;
  metadata_entry old;
  bool equal;
  size_t at = metadata_position(s, key, key_length, &old, &equal);
  size_t end = equal ? old.end : at;
  size_t size = value ? METADATA_HEAD_BYTES + key_length + length : 0;
  if (s->metadata_bytes - (end - at) + size > METADATA_BYTES_MAX) return PAGESTORE_EQUOTA;
  int err = metadata_splice(s, at, end, size);
  if (err || !value) return err;
  uint8_t *entry = s->metadata + at;
  put_le16(entry, (uint16_t)key_length);
  put_le32(entry + 2, (uint32_t)length);
  memcpy(entry + METADATA_HEAD_BYTES, key, key_length);
  if (length) memcpy(entry + METADATA_HEAD_BYTES + key_length, value, length);
  return 0;
}

bool state_metadata_get(const state *s, const char *key, const void **value, size_t *length) {
  metadata_entry entry;
  bool equal;
  metadata_position(s, key, strlen(key), &entry, &equal);
  if (!equal) return false;
  *value = entry.value;
  *length = entry.length;
  return true;
}

bool state_metadata_next(const state *s, size_t *at, const char **key, size_t *key_length, const void **value,
                         size_t *length) {
  metadata_entry entry;
  if (!metadata_entry_at(s->metadata, s->metadata_bytes, *at, &entry)) return false;
  *key = (const char *)entry.key;
  *key_length = entry.key_length;
  *value = entry.value;
  *length = entry.length;
  *at = entry.end;
  return true;
}

/* The keys with a prefix are neighbours, the first of them where the prefix itself would be. */
void state_metadata_remove_prefix(state *s, const char *prefix) {
  ASSERT(!s->sealed);
  size_t prefix_length = strlen(prefix);
  metadata_entry entry;
  bool equal;
  size_t at = metadata_position(s, prefix, prefix_length, &entry, &equal), end = at;
  while (metadata_entry_at(s->metadata, s->metadata_bytes, end, &entry) && entry.key_length >= prefix_length &&
         memcmp(entry.key, prefix, prefix_length) == 0)
    end = entry.end;
  if (end > at) (void)metadata_splice(s, at, end, 0); /* shrinking cannot fail */
}

/* ---- as bytes -------------------------------------------------------------------------------- */

size_t state_table_bytes(const state *s) {
  size_t total = TABLE_HEAD_BYTES;
  for (uint32_t i = 0; i < s->memory_count; i++) total += ENTRY_HEAD_BYTES + strlen(s->memories[i].name);
  return total;
}

void state_table_encode(const state *s, uint8_t *out) {
  put_le32(out, s->memory_count);
  put_le32(out + 4, s->next_memory);
  out += TABLE_HEAD_BYTES;
  for (uint32_t i = 0; i < s->memory_count; i++) {
    const memory_entry *from = &s->memories[i];
    table_entry *to = (table_entry *)out;
    size_t name_length = strlen(from->name);
    put_le32(to->id, from->id);
    put_le32(to->flags, from->flags);
    put_le64(to->pages, from->pages);
    put_le64(to->max_pages, from->max_pages);
    put_le64(to->stored_pages, from->stored_pages);
    put_le16(to->name_length, (uint16_t)name_length);
    memcpy(to + 1, from->name, name_length);
    out += sizeof *to + name_length;
  }
}

static bool memory_entry_is_valid(const memory_entry *e, uint32_t next_memory) {
  return e->id != 0 && e->id < next_memory && !(e->flags & ~(uint32_t)FLAGS_KNOWN) && e->max_pages <= PAGES_LIMIT &&
         e->pages <= (e->max_pages ? e->max_pages : PAGES_LIMIT) && e->name[0];
}

/* Returns the bytes taken, 0 if they are wrong. */
static size_t table_entry_decode(const uint8_t *from, size_t size, memory_entry *out) {
  const table_entry *e = (const table_entry *)from;
  if (size < sizeof *e) return 0;
  size_t name_length = get_le16(e->name_length);
  const char *name = (const char *)(e + 1);
  if (name_length < 1 || name_length >= sizeof out->name || size - sizeof *e < name_length) return 0;
  if (memchr(name, 0, name_length)) return 0;
  *out = (memory_entry){
      .id = get_le32(e->id),
      .flags = get_le32(e->flags),
      .pages = get_le64(e->pages),
      .max_pages = get_le64(e->max_pages),
      .stored_pages = get_le64(e->stored_pages),
  };
  memcpy(out->name, name, name_length);
  return sizeof *e + name_length;
}

static int id_compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Sorted, not compared in pairs: a table from elsewhere may be long. */
static int ids_check_unique(const memory_entry *memories, uint32_t count) {
  if (count < 2) return 0;
  uint32_t *ids = malloc(count * sizeof *ids);
  if (!ids) return PAGESTORE_ENOMEM;
  for (uint32_t i = 0; i < count; i++) ids[i] = memories[i].id;
  qsort(ids, count, sizeof *ids, id_compare);
  int err = 0;
  for (uint32_t i = 1; i < count; i++)
    if (ids[i - 1] == ids[i]) err = PAGESTORE_ECORRUPT;
  free(ids);
  return err;
}

static int table_entries_decode(memory_entry *memories, uint32_t count, uint32_t next_memory, const uint8_t *from,
                                size_t size) {
  for (uint32_t i = 0; i < count; i++) {
    size_t taken = table_entry_decode(from, size, &memories[i]);
    if (!taken || !memory_entry_is_valid(&memories[i], next_memory)) return PAGESTORE_ECORRUPT;
    if (i && strcmp(memories[i - 1].name, memories[i].name) >= 0) return PAGESTORE_ECORRUPT;
    from += taken;
    size -= taken;
  }
  return size == 0 ? ids_check_unique(memories, count) : PAGESTORE_ECORRUPT;
}

int state_table_decode(state *s, const uint8_t *from, size_t length) {
  ASSERT(!s->sealed);
  if (length < TABLE_HEAD_BYTES) return PAGESTORE_ECORRUPT;
  uint32_t count = get_le32(from), next_memory = get_le32(from + 4);
  if (count > (length - TABLE_HEAD_BYTES) / (ENTRY_HEAD_BYTES + 1) || next_memory == 0) return PAGESTORE_ECORRUPT;
  memory_entry *memories = count ? calloc(count, sizeof *memories) : NULL;
  if (count && !memories) return PAGESTORE_ENOMEM;
  int err = table_entries_decode(memories, count, next_memory, from + TABLE_HEAD_BYTES, length - TABLE_HEAD_BYTES);
  if (err) goto free_memories;
  free(s->memories);
  s->memories = memories;
  s->memory_count = s->memory_room = count;
  s->next_memory = next_memory;
  return 0;
free_memories:
  free(memories);
  return err;
}

static bool metadata_is_valid(const uint8_t *from, size_t length) {
  metadata_entry entry, before = {0};
  size_t at = 0;
  while (at < length) {
    if (!metadata_entry_at(from, length, at, &entry) || entry.key_length == 0) return false;
    if (memchr(entry.key, 0, entry.key_length)) return false;
    if (at && key_compare(before.key, before.key_length, entry.key, entry.key_length) >= 0) return false;
    before = entry;
    at = entry.end;
  }
  return true;
}

int state_metadata_decode(state *s, const uint8_t *from, size_t length) {
  ASSERT(!s->sealed);
  if (length > METADATA_BYTES_MAX || !metadata_is_valid(from, length)) return PAGESTORE_ECORRUPT;
  uint8_t *copy = copy_of(from, length);
  if (length && !copy) return PAGESTORE_ENOMEM;
  free(s->metadata);
  s->metadata = copy;
  s->metadata_bytes = s->metadata_room = (uint32_t)length;
  return 0;
}

bool state_is_valid(const state *s) {
  if (s->memory_count > s->memory_room || s->metadata_bytes > s->metadata_room) return false;
  if (s->metadata_bytes > METADATA_BYTES_MAX || s->next_memory == 0) return false;
  for (uint32_t i = 0; i < s->memory_count; i++) {
    if (!memory_entry_is_valid(&s->memories[i], s->next_memory)) return false;
    if (i && strcmp(s->memories[i - 1].name, s->memories[i].name) >= 0) return false;
    for (uint32_t j = 0; j < i; j++)
      if (s->memories[i].id == s->memories[j].id) return false;
  }
  return metadata_is_valid(s->metadata, s->metadata_bytes);
}
