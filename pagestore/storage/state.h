/* state.h - what a version of an instance is besides its pages: the table of memories, metadata, module hash.
 *
 * A state is built by one owner (a message), then sealed and shared: immutable, counted. Versions that change
 * none of it share one.
 *
 * Invariants: memory names are unique, table sorted by name; metadata keys are unique and sorted as bytes;
 *             ids are unique, below next_memory, and never used again.
 * Thread:     unsealed: its owner. Sealed: any.
 */
#ifndef PAGESTORE_STORAGE_STATE_H
#define PAGESTORE_STORAGE_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint32_t id;              /* never 0 */
  uint32_t flags;           /* PAGESTORE_MEMORY64, PAGESTORE_KEEP */
  uint64_t pages, max_pages;
  /* page records a reader of this version finds, shared ones too; kept by the flusher, exact in records */
  uint64_t stored_pages;
  char name[256];
} memory_entry;

typedef struct state {
  _Atomic uint32_t references;
  bool sealed;
  uint8_t module_hash[32];  /* zero: none */
  uint32_t next_memory;
  uint32_t memory_count, memory_room;
  memory_entry *memories;
  uint8_t *metadata;        /* entries: key length u16, value length u32 (little-endian), key, value; ascending */
  uint32_t metadata_bytes, metadata_room;
} state;

int state_new(state **);                          /* empty: version 0. ENOMEM */
int state_clone(const state *, state **);         /* an unsealed copy. ENOMEM */
state *state_reference(state *);
void state_release(state *);                      /* NULL allowed */
state *state_seal(state *);                       /* no change from here on; returns it */

memory_entry *state_memory(const state *, const char *name);         /* or NULL */
memory_entry *state_memory_by_id(const state *, uint32_t id);
/* takes the next id; the name must be new. ENOMEM. Pointers to other entries move */
int state_memory_add(state *, const char *name, memory_entry **);
void state_memory_remove(state *, uint32_t id);
/* a new id: the memory is empty for every lookup */
uint32_t state_memory_renew(state *, memory_entry *);

/* value NULL removes. EQUOTA: beyond METADATA_BYTES_MAX. ENOMEM */
int state_metadata_set(state *, const char *key, const void *value, size_t length);
bool state_metadata_get(const state *, const char *key, const void **value, size_t *length);
/* Walks: at = 0 first; false at the end. The key is not terminated. */
bool state_metadata_next(const state *, size_t *at, const char **key, size_t *key_length, const void **value,
                         size_t *length);
void state_metadata_remove_prefix(state *, const char *prefix);

/* The table and the metadata as bytes: for records and for memory 0. decode checks everything: ECORRUPT. */
size_t state_table_bytes(const state *);
void state_table_encode(const state *, uint8_t *out);
int state_table_decode(state *, const uint8_t *, size_t length);
int state_metadata_decode(state *, const uint8_t *, size_t length);
bool state_is_valid(const state *);

#endif
