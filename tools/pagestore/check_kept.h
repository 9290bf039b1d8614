/* check_kept.h - what a store's file holds, in memory: the catalog decoded, the page rows by key and place.
 *
 * For check and recover, which read the file by themselves: no LMDB, no library handle. 56 bytes a row, and 1.2 KiB a
 * record of the log, which has 68 KiB in the file.
 *
 * Invariants: layers and states are sorted once kept_sort has run, rows by key; a lookup goes through a line as
 *             a reader's does (storage/pagemap.h). Nothing decoded is trusted beyond its own checksum: layers may
 *             be missing or stand on themselves, and lines end there.
 * Thread:     the program's.
 */
#ifndef PROGRAM_CHECK_KEPT_H
#define PROGRAM_CHECK_KEPT_H

#include "storage/format.h"
#include "storage/layers.h"

enum { KEPT_TEXT = 200 };

typedef enum { KEPT_ROW_GOOD, KEPT_ROW_DAMAGED, KEPT_ROW_UNREADABLE } kept_health;

typedef struct {
  page_key key;
  uint64_t at;      /* of the value in the file */
  uint32_t size;    /* PAGE_RECORD_BYTES or ZERO_MARKER_BYTES */
  uint16_t damaged; /* blocks */
  uint8_t health;
  uint8_t origin; /* recover's own */
} kept_row;

/* A record of the log: its row, or what the catalog says of it. */
typedef struct {
  uint64_t sequence;
  uint64_t at;      /* of the row's value in the file */
  uint8_t health;   /* UNREADABLE: the row is not of a record's size, or cannot be found */
  uint16_t damaged; /* slots */
  uint16_t counts;  /* the catalog's, by kept_resolve_log: slots whose block a reader takes from here */
  bool strayed; /* recover's own: no tree led to it, so it may be an older copy */
  log_addresses addresses; /* count 0: it is damaged */
} kept_log;
/* A block of the log. */
typedef struct {
  log_address at;
  uint64_t sequence;
  uint32_t record; /* of kept.log_catalog */
  uint8_t slot;
  bool counts;
} kept_block;

typedef struct {
  uint64_t id;
  layer_record record;
  uint64_t logged_from; /* by kept_resolve_log: the least version of a block that counts; 0: none does */
} kept_layer;
typedef struct {
  uint64_t id;
  trash_record record;
} kept_trash;
typedef struct {
  uint64_t instance;
  char name[256];
} kept_name;
typedef struct {
  uint64_t instance;
  char snapshot[256]; /* "": the present */
  state_record record;
  bool guessed;               /* recover's: put together from rows, no count is to be believed */
  bool whole; /* nothing is paged, or it has been loaded */
} kept_state;

#define KEPT_LIST(type)                                                                                                \
  struct {                                                                                                             \
    type *at;                                                                                                          \
    size_t count, room;                                                                                                \
  }
/* Room for one more; NULL: no memory. */
void *kept_grow(void *at, size_t count, size_t *room, size_t size);
#define KEPT_APPEND(list, value)                                                                                       \
  __extension__({                                                                                                      \
    void *grown_ = kept_grow((list).at, (list).count, &(list).room, sizeof *(list).at);                                \
    if (grown_) (list).at = grown_, (list).at[(list).count++] = (value);                                               \
    grown_ ? 0 : PAGESTORE_ENOMEM;                                                                                     \
  })
typedef struct {
  bool has_store;
  store_record store;
  KEPT_LIST(kept_name) names;
  KEPT_LIST(kept_state) states;
  KEPT_LIST(kept_layer) layers;
  KEPT_LIST(kept_trash) trash;
  KEPT_LIST(kept_row) rows;
  KEPT_LIST(kept_log) log_rows;
  KEPT_LIST(kept_log) log_catalog;
  KEPT_LIST(kept_block) blocks; /* by kept_resolve_log, by address; of one address the one that may count comes last */
  uint64_t log_beginning;       /* 0: no record, so all of it counts */
  bool log_unsure;              /* a record of the log is damaged such that blocks may be missing from `blocks` */
} kept;

void kept_free(kept *);

/* A row of the catalog as it is on disk. 0; ENOMEM; ECORRUPT: `text` says what it is, and it is not kept. */
int kept_add_catalog(kept *, bytes key, bytes value, char text[KEPT_TEXT]);
int kept_add_row(kept *, kept_row); /* ENOMEM */
int kept_add_log_row(kept *, kept_log); /* ENOMEM */
void kept_sort(kept *);             /* rows of one key stay in the order they came */

const kept_name *kept_name_of(const kept *, uint64_t instance);                   /* or NULL */
kept_state *kept_state_of(const kept *, uint64_t instance, const char *snapshot); /* or NULL */
kept_layer *kept_layer_of(const kept *, uint64_t id);                             /* or NULL */
const kept_state *kept_present_in(const kept *,
                                  uint64_t layer);              /* of the instance whose present layer it is; or NULL */
kept_log *kept_log_row_of(const kept *, uint64_t sequence);     /* or NULL */
kept_log *kept_log_of(const kept *, uint64_t sequence);         /* what the catalog says; or NULL */

typedef struct {
  unsigned depth;
  line_step steps[LAYER_DEPTH_MAX + 1];
} kept_line;
/* false: a layer is missing, or they stand on each other; the line is as long as it was good for. */
bool kept_line_of(const kept *, uint64_t layer, uint64_t bound, kept_line *);
/* What a reader finds; NULL: zeros. */
kept_row *kept_lookup(const kept *, const kept_line *, uint32_t memory, uint64_t page);
/* The next page >= from with a row; false: no more. */
bool kept_next(const kept *, const kept_line *, uint32_t memory, uint64_t from, uint64_t *page);
/* Which blocks of the log a reader takes from there: the rule is in storage/format.h. After kept_sort, and once what the
 * instances have in memory 0 has been loaded. ENOMEM */
int kept_resolve_log(kept *);
/* The next page >= from of that layer and memory with a block that counts; false: no more. */
bool kept_next_logged(const kept *, uint64_t layer, uint32_t memory, uint64_t from, uint64_t *page);
/* The next page >= from that the state shows something of: a row, or for a present a block in the log. */
bool kept_next_shown(const kept *, const kept_state *, const kept_line *, uint32_t memory, uint64_t from,
                     uint64_t *page, bool *logged);
/* Loads what lies in memory 0. ECORRUPT with *damage the row (NULL: a row is missing); ENOMEM EIO. */
int kept_load(const kept *, int fd, kept_state *, const kept_row **damage);
/* An instance's or snapshot's version that shows the row; NULL: none does. */
const kept_state *kept_seen_by(const kept *, const kept_row *);

#endif
