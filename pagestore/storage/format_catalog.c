/* format_catalog.c - catalog records as bytes. All little-endian.
 *
 *   every record            store (kind 1)             name (2)            layer (5)             trash (6)
 *   at  bytes what          8   4  format version      8  8 instance       8   8 parent          8   8  layer
 *   0   4  magic "PGSR"     12  4  zero                                    16  8 parent version  16  4  memory
 *   4   1  kind             16  8  incompatible                            24  4 depth           20  4  zero
 *   5   1  record version   24  8  read-only                               28  4 zero            24  8  died at
 *   6   2  whole length     32  8  compatible                              32  8 instance        32  28 resume key
 *   8   .. body             40  16 store id                                                      60  4  zero
 *   end 8  XXH3-64 of all   56  8  next layer
 *          before it, xor   64  8  next instance
 *          XXH3-64 of key   72  8  next trash
 *                           80  8  flush transaction
 *                           88  8  created
 *
 *   log (7): where the blocks of a block record belong
 *   8   4  count, 1 to 16   12  4  zero                16  .. 32 each: layer 8, page 8, version 8, memory 4, block 4
 *   under number 0:         8   8  first sequence number that counts
 *
 *   state: instance (3), snapshot (4)
 *   8   8  layer            32  16 snapshot id         84  4  metadata bytes
 *   16  8  version          48  32 module hash         88  4  table bytes
 *   24  8  time             80  4  paged: 1 metadata,  92  4  zero
 *                                  2 table             96  .. the table, then the metadata, each unless paged
 *
 * The bytes of table and metadata are in state.c. A future format keeps the frame (first eight bytes, checksum),
 * so that an older library can tell "newer" from "damaged".
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include <pagestore.h>

#include "base/check.h"
#include "storage/format.h"
#include "storage/wire.h"

enum { RECORD_VERSION = 1, RECORD_MAGIC_BYTES = 4, CHECKSUM_BYTES = 8 };
enum { PAGED_METADATA = 1, PAGED_TABLE = 2 };
static const char record_magic[RECORD_MAGIC_BYTES] = {'P', 'G', 'S', 'R'};
static const uint8_t no_snapshot[16];

typedef struct {
  uint8_t magic[4], kind[1], record_version[1], length[2];
} record_frame;

typedef struct {
  uint8_t format_version[4], zero[4], incompatible[8], read_only[8], compatible[8], id[16];
  uint8_t next_layer[8], next_instance[8], next_trash[8], flush_txn_id[8], created_ns[8];
} store_body;

typedef struct {
  uint8_t instance[8];
} name_body;

typedef struct {
  uint8_t sequence[8];
} log_beginning_body;

typedef struct {
  uint8_t parent[8], parent_version[8], depth[4], zero[4], instance[8];
} layer_body;

typedef struct {
  uint8_t layer[8], memory[4], zero[4], died_at[8], resume[PAGE_KEY_BYTES], zero_end[4];
} trash_body;

typedef struct {
  uint8_t count[4], zero[4];
} log_body;

typedef struct {
  uint8_t layer[8], page[8], version[8], memory[4], number[4];
} log_body_address;

typedef struct {
  uint8_t layer[8], version[8], time_ns[8], snapshot[16], module_hash[32];
  uint8_t paged[4], metadata_bytes[4], table_bytes[4], zero[4];
} state_body;

/* Offsets as the table above has them, counted from the record's start. */
#define AT(body, field, at) \
  _Static_assert(sizeof(record_frame) + offsetof(body, field) == (at), "the layout has a hole")
#define ENDS(body, at) _Static_assert(sizeof(record_frame) + sizeof(body) == (at), "the layout has a hole")
_Static_assert(sizeof(record_frame) == 8, "the frame has no hole");
AT(store_body, incompatible, 16);
AT(store_body, id, 40);
AT(store_body, next_layer, 56);
AT(store_body, flush_txn_id, 80);
ENDS(store_body, 96);
ENDS(name_body, 16);
AT(layer_body, depth, 24);
AT(layer_body, instance, 32);
ENDS(layer_body, 40);
AT(trash_body, memory, 16);
AT(trash_body, died_at, 24);
AT(trash_body, resume, 32);
ENDS(trash_body, 64);
ENDS(log_body, 16);
_Static_assert(sizeof(log_body_address) == 32, "the layout has a hole");
AT(state_body, snapshot, 32);
AT(state_body, module_hash, 48);
AT(state_body, paged, 80);
AT(state_body, table_bytes, 88);
ENDS(state_body, 96);

enum { INLINE_BYTES_MAX = CATALOG_RECORD_BYTES_MAX - 96 - CHECKSUM_BYTES };
_Static_assert((int)INLINE_BYTES_MAX > (int)METADATA_INLINE_BYTES_MAX, "inline metadata leaves room for a table");

/* ---- the frame ------------------------------------------------------------------------------- */

/* Returns where the body goes, zeroed. */
static void *record_begin(catalog_record *out, catalog_kind kind, size_t body_bytes) {
  out->size = sizeof(record_frame) + body_bytes + CHECKSUM_BYTES;
  ASSERT(out->size <= CATALOG_RECORD_BYTES_MAX);
  memset(out->byte, 0, sizeof out->byte);
  record_frame *frame = (record_frame *)out->byte;
  memcpy(frame->magic, record_magic, sizeof record_magic);
  frame->kind[0] = (uint8_t)kind;
  frame->record_version[0] = RECORD_VERSION;
  put_le16(frame->length, (uint16_t)out->size);
  return frame + 1;
}

static void record_end(catalog_record *out) {
  size_t covered = out->size - CHECKSUM_BYTES;
  put_le64(out->byte + covered, XXH3_64bits(out->byte, covered));
}

void catalog_record_bind(catalog_record *r, bytes key) {
  if (r->size < CHECKSUM_BYTES) return;
  uint8_t *checksum = r->byte + r->size - CHECKSUM_BYTES;
  put_le64(checksum, get_le64(checksum) ^ XXH3_64bits(key.data, key.size));
}

static bool record_is(bytes from, catalog_kind kind) {
  const record_frame *frame = from.data;
  return from.size >= sizeof *frame + CHECKSUM_BYTES &&
         memcmp(frame->magic, record_magic, sizeof record_magic) == 0 && frame->kind[0] == kind;
}

/* Length and checksum of a record of whatever version: the body, or an empty one if either is wrong. */
static bytes record_body(bytes from) {
  const record_frame *frame = from.data;
  if (from.size > CATALOG_RECORD_BYTES_MAX || get_le16(frame->length) != from.size) return (bytes){0};
  size_t covered = from.size - CHECKSUM_BYTES;
  if (get_le64((const uint8_t *)from.data + covered) != XXH3_64bits(from.data, covered)) return (bytes){0};
  return (bytes){frame + 1, covered - sizeof *frame};
}

bool catalog_record_begins(const uint8_t *at, size_t room, size_t *size) {
  const record_frame *frame = (const record_frame *)at;
  if (room < sizeof *frame + CHECKSUM_BYTES) return false;
  if (memcmp(frame->magic, record_magic, sizeof record_magic) != 0) return false;
  *size = get_le16(frame->length);
  return *size >= sizeof *frame + CHECKSUM_BYTES && *size <= min_u64(room, CATALOG_RECORD_BYTES_MAX);
}

static const void *record_open(bytes from, catalog_kind kind, size_t body_bytes) {
  if (!record_is(from, kind)) return NULL;
  const record_frame *frame = from.data;
  bytes body = record_body(from);
  if (!body.data || body.size != body_bytes || frame->record_version[0] != RECORD_VERSION) return NULL;
  return body.data;
}

/* ---- store ----------------------------------------------------------------------------------- */

void store_record_encode(const store_record *from, catalog_record *out) {
  store_body *b = record_begin(out, CATALOG_STORE, sizeof *b);
  put_le32(b->format_version, from->format_version);
  put_le64(b->incompatible, from->incompatible);
  put_le64(b->read_only, from->read_only);
  put_le64(b->compatible, from->compatible);
  memcpy(b->id, from->id.byte, sizeof b->id);
  put_le64(b->next_layer, from->next_layer);
  put_le64(b->next_instance, from->next_instance);
  put_le64(b->next_trash, from->next_trash);
  put_le64(b->flush_txn_id, from->flush_txn_id);
  put_le64(b->created_ns, from->created_ns);
  record_end(out);
}

int store_record_decode(bytes from, store_record *out) {
  if (!record_is(from, CATALOG_STORE)) return PAGESTORE_EFORMAT;
  bytes body = record_body(from);
  const store_body *b = body.data;
  if (body.size < sizeof b->format_version) return PAGESTORE_ECORRUPT;
  if (get_le32(b->format_version) != FORMAT_VERSION) return PAGESTORE_EFORMAT;
  if (!record_open(from, CATALOG_STORE, sizeof *b) || get_le32(b->zero) != 0) return PAGESTORE_ECORRUPT;
  store_record found = {
      .format_version = get_le32(b->format_version),
      .incompatible = get_le64(b->incompatible),
      .read_only = get_le64(b->read_only),
      .compatible = get_le64(b->compatible),
      .next_layer = get_le64(b->next_layer),
      .next_instance = get_le64(b->next_instance),
      .next_trash = get_le64(b->next_trash),
      .flush_txn_id = get_le64(b->flush_txn_id),
      .created_ns = get_le64(b->created_ns),
  };
  memcpy(found.id.byte, b->id, sizeof b->id);
  *out = found;
  return 0;
}

/* ---- name, layer, trash ---------------------------------------------------------------------- */

void name_record_encode(uint64_t instance, catalog_record *out) {
  name_body *b = record_begin(out, CATALOG_NAME, sizeof *b);
  put_le64(b->instance, instance);
  record_end(out);
}

int name_record_decode(bytes from, uint64_t *instance) {
  const name_body *b = record_open(from, CATALOG_NAME, sizeof *b);
  if (!b) return PAGESTORE_ECORRUPT;
  *instance = get_le64(b->instance);
  return 0;
}

void layer_record_encode(const layer_record *from, catalog_record *out) {
  layer_body *b = record_begin(out, CATALOG_LAYER, sizeof *b);
  put_le64(b->parent, from->parent);
  put_le64(b->parent_version, from->parent_version);
  put_le32(b->depth, from->depth);
  put_le64(b->instance, from->instance);
  record_end(out);
}

int layer_record_decode(bytes from, layer_record *out) {
  const layer_body *b = record_open(from, CATALOG_LAYER, sizeof *b);
  if (!b || get_le32(b->zero) != 0) return PAGESTORE_ECORRUPT;
  layer_record found = {
      .parent = get_le64(b->parent),
      .parent_version = get_le64(b->parent_version),
      .depth = get_le32(b->depth),
      .instance = get_le64(b->instance),
  };
  /* One more than the rule allows: a line may be extended before it is re-rooted. */
  if (found.depth < 1 || found.depth > LAYER_DEPTH_MAX + 1) return PAGESTORE_ECORRUPT;
  if ((found.parent == 0) != (found.depth == 1)) return PAGESTORE_ECORRUPT;
  *out = found;
  return 0;
}

void trash_record_encode(const trash_record *from, catalog_record *out) {
  trash_body *b = record_begin(out, CATALOG_TRASH, sizeof *b);
  put_le64(b->layer, from->layer);
  put_le32(b->memory, from->memory);
  put_le64(b->died_at, from->died_at);
  memcpy(b->resume, from->resume, sizeof b->resume);
  record_end(out);
}

int trash_record_decode(bytes from, trash_record *out) {
  const trash_body *b = record_open(from, CATALOG_TRASH, sizeof *b);
  if (!b || get_le32(b->zero) != 0 || get_le32(b->zero_end) != 0) return PAGESTORE_ECORRUPT;
  out->layer = get_le64(b->layer);
  out->memory = get_le32(b->memory);
  out->died_at = get_le64(b->died_at);
  memcpy(out->resume, b->resume, sizeof b->resume);
  return 0;
}

/* ---- log ------------------------------------------------------------------------------------- */

void log_addresses_encode(const log_addresses *from, catalog_record *out) {
  ASSERT(from->count >= 1 && from->count <= PAGE_BLOCKS);
  log_body *b = record_begin(out, CATALOG_LOG, sizeof *b + from->count * sizeof(log_body_address));
  put_le32(b->count, from->count);
  log_body_address *to = (log_body_address *)(b + 1);
  for (uint32_t i = 0; i < from->count; i++) {
    put_le64(to[i].layer, from->at[i].layer);
    put_le64(to[i].page, from->at[i].page);
    put_le64(to[i].version, from->at[i].version);
    put_le32(to[i].memory, from->at[i].memory);
    put_le32(to[i].number, from->at[i].number);
  }
  record_end(out);
}

int log_addresses_decode(bytes from, log_addresses *out) {
  if (!record_is(from, CATALOG_LOG)) return PAGESTORE_ECORRUPT;
  bytes body = record_body(from);
  const log_body *b = body.data;
  if (body.size < sizeof *b || !record_open(from, CATALOG_LOG, body.size)) return PAGESTORE_ECORRUPT;
  uint32_t count = get_le32(b->count);
  if (count < 1 || count > PAGE_BLOCKS || get_le32(b->zero) != 0) return PAGESTORE_ECORRUPT;
  const log_body_address *at = (const log_body_address *)(b + 1);
  if (body.size != sizeof *b + count * sizeof *at) return PAGESTORE_ECORRUPT;
  for (uint32_t i = 0; i < count; i++) {
    if (get_le32(at[i].number) >= PAGE_BLOCKS) return PAGESTORE_ECORRUPT;
    out->at[i] = (log_address){.layer = get_le64(at[i].layer),
                               .page = get_le64(at[i].page),
                               .version = get_le64(at[i].version),
                               .memory = get_le32(at[i].memory),
                               .number = (uint8_t)get_le32(at[i].number)};
    if (!log_address_is_possible(&out->at[i])) return PAGESTORE_ECORRUPT;
  }
  out->count = count;
  return 0;
}

void log_beginning_encode(uint64_t sequence, catalog_record *out) {
  log_beginning_body *b = record_begin(out, CATALOG_LOG, sizeof *b);
  put_le64(b->sequence, sequence);
  record_end(out);
}

int log_beginning_decode(bytes from, uint64_t *sequence) {
  const log_beginning_body *b = record_open(from, CATALOG_LOG, sizeof *b);
  if (!b) return PAGESTORE_ECORRUPT;
  *sequence = get_le64(b->sequence);
  return *sequence == LOG_BEGINNING ? PAGESTORE_ECORRUPT : 0;  /* no record has that number */
}

/* ---- state ----------------------------------------------------------------------------------- */

static catalog_kind state_kind(const uint8_t snapshot[16]) {
  return memcmp(snapshot, no_snapshot, sizeof no_snapshot) == 0 ? CATALOG_INSTANCE : CATALOG_SNAPSHOT;
}

static void state_record_place(state_record *from) {
  from->metadata_bytes = from->state->metadata_bytes;
  from->table_bytes = (uint32_t)state_table_bytes(from->state);
  from->metadata_paged = from->metadata_bytes > METADATA_INLINE_BYTES_MAX;
  size_t metadata_inline = from->metadata_paged ? 0 : from->metadata_bytes;
  from->table_paged = from->table_bytes > INLINE_BYTES_MAX - metadata_inline;
}

void state_record_encode(state_record *from, catalog_record *out) {
  state_record_place(from);
  size_t table_bytes = from->table_paged ? 0 : from->table_bytes;
  size_t metadata_bytes = from->metadata_paged ? 0 : from->metadata_bytes;
  state_body *b = record_begin(out, state_kind(from->snapshot.byte), sizeof *b + table_bytes + metadata_bytes);
  put_le64(b->layer, from->layer);
  put_le64(b->version, from->version);
  put_le64(b->time_ns, from->time_ns);
  memcpy(b->snapshot, from->snapshot.byte, sizeof b->snapshot);
  memcpy(b->module_hash, from->state->module_hash, sizeof b->module_hash);
  put_le32(b->paged, (from->metadata_paged ? PAGED_METADATA : 0) | (from->table_paged ? PAGED_TABLE : 0));
  put_le32(b->metadata_bytes, from->metadata_bytes);
  put_le32(b->table_bytes, from->table_bytes);
  uint8_t *rest = (uint8_t *)(b + 1);
  if (table_bytes) state_table_encode(from->state, rest);
  if (metadata_bytes) memcpy(rest + table_bytes, from->state->metadata, metadata_bytes);
  record_end(out);
}

/* Lengths against the record's: inline parts fill it exactly, paged ones are not here and keep their limit. */
static int state_record_measure(const state_body *b, size_t rest_bytes, state_record *out) {
  uint32_t paged = get_le32(b->paged);
  if (paged & ~(uint32_t)(PAGED_METADATA | PAGED_TABLE) || get_le32(b->zero) != 0) return PAGESTORE_ECORRUPT;
  out->metadata_paged = paged & PAGED_METADATA;
  out->table_paged = paged & PAGED_TABLE;
  out->metadata_bytes = get_le32(b->metadata_bytes);
  out->table_bytes = get_le32(b->table_bytes);
  if (out->metadata_bytes > METADATA_BYTES_MAX) return PAGESTORE_ECORRUPT;
  uint64_t inline_bytes = (out->table_paged ? 0 : (uint64_t)out->table_bytes) +
                          (out->metadata_paged ? 0 : (uint64_t)out->metadata_bytes);
  return inline_bytes == rest_bytes ? 0 : PAGESTORE_ECORRUPT;
}

static int state_record_load(const state_body *b, const state_record *record, state *into) {
  const uint8_t *rest = (const uint8_t *)(b + 1);
  memcpy(into->module_hash, b->module_hash, sizeof into->module_hash);
  if (!record->table_paged) {
    int err = state_table_decode(into, rest, record->table_bytes);
    if (err) return err;
    rest += record->table_bytes;
  }
  return record->metadata_paged ? 0 : state_metadata_decode(into, rest, record->metadata_bytes);
}

int state_record_decode(bytes from, state_record *out) {
  catalog_kind kind = record_is(from, CATALOG_SNAPSHOT) ? CATALOG_SNAPSHOT : CATALOG_INSTANCE;
  if (!record_is(from, kind)) return PAGESTORE_ECORRUPT;
  bytes body = record_body(from);
  const state_body *b = body.data;
  if (body.size < sizeof *b || !record_open(from, kind, body.size)) return PAGESTORE_ECORRUPT;
  if (state_kind(b->snapshot) != kind) return PAGESTORE_ECORRUPT;
  state_record found = {
      .layer = get_le64(b->layer),
      .version = get_le64(b->version),
      .time_ns = get_le64(b->time_ns),
  };
  memcpy(found.snapshot.byte, b->snapshot, sizeof b->snapshot);
  int err = state_record_measure(b, body.size - sizeof *b, &found);
  if (err) return err;
  if ((err = state_new(&found.state)) != 0) return err;
  if ((err = state_record_load(b, &found, found.state)) != 0) goto release_state;
  *out = found;
  return 0;
release_state:
  state_release(found.state);
  return err;
}
