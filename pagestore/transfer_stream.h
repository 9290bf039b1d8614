/* transfer_stream.h - the bytes of what pagestore_send writes and pagestore_receive reads.
 *
 *   header | page | page | ... | end        little-endian
 *
 *   header
 *   at   bytes what                         at   bytes what
 *   0    8     magic "PGSTSEND"             48   16    id of the base, zero: the stream is whole
 *   8    4     stream version               64   32    module hash
 *   12   4     zero                         96   8     version at the sender
 *   16   8     incompatible features        104  4     length of the snapshot's name
 *   24   8     compatible features          108  4     length of the base's name
 *   32   16    id of the snapshot that      112  4     length of the table of memories
 *              is sent, zero: it is none    116  4     length of the metadata
 *   120  ..    snapshot's name, base's name, table, a mark for each memory of the table (0: it goes
 *              on from the base, 1: it is sent whole), metadata
 *   end  8     XXH3-64 of all before it
 *
 *   page                                    end
 *   at   bytes what                         at   bytes what
 *   0    4     magic "PAGE"                 0    4     magic "DONE"
 *   4    4     memory id                    4    4     zero
 *   8    8     page index                   8    8     pages before it
 *   16   2     mask of blocks               16   8     blocks in their masks
 *   18   2     those of the mask that       24   8     XXH3-64 of the stream before it, from the
 *              are zeros: not carried                  first byte of the header on
 *   20   4     zero
 *   24   ..    the other blocks, ascending
 *   end  8     XXH3-64 of all before it in the entry
 *
 * Table and metadata are as in state.h. Pages ascend by (memory id, page). Ids are the sender's:
 * names of memories within one stream. Reading never asks for a byte behind the end entry, so that
 * streams may follow one another in a file or pipe.
 *
 * Invariants: nothing of a header or a page is handed out before its checksum held; memory is taken
 *             as bytes arrive, never by a length alone; pages are worth nothing before the end
 *             entry was read.
 * Thread:     one at a time per reader or writer.
 */
#ifndef PAGESTORE_TRANSFER_STREAM_H
#define PAGESTORE_TRANSFER_STREAM_H

#include <pagestore.h>

#include "input.h"
#include "storage/format.h"
#include "storage/state.h"

enum {
  STREAM_VERSION = 1,
  STREAM_HEAD_BYTES = 120, /* of the header, before names, table, marks and metadata */
  STREAM_ENTRY_BYTES = 24, /* of a page before its blocks; of the end before its checksum */
  STREAM_CHECKSUM_BYTES = 8,
  STREAM_TABLE_BYTES_MAX = 1 << 20,
};
#define STREAM_INCOMPATIBLE 0ull /* the features that this library knows */

typedef enum { STREAM_GOES_ON, STREAM_WHOLE } stream_mark;

typedef struct {
  id128 snapshot, base; /* zero: what is sent is no snapshot; the stream is whole */
  char snapshot_name[NAME_BYTES_MAX + 1],
      base_name[NAME_BYTES_MAX + 1]; /* "" with a zero id, and only then */
  uint64_t version;
  state *state;    /* table, metadata, module hash. Read: a reference of the header's */
  uint8_t *marks;  /* a stream_mark for each memory of the table. Read: the header's */
  uint32_t *by_id; /* places in the table, ids ascending: stream_order(). Read: the header's */
} stream_header;

typedef struct {
  uint64_t at;    /* where in the stream the entry begins */
  uint32_t place; /* of its memory in the table */
  uint16_t mask, zeros;
  uint64_t page;
  const uint8_t *blocks; /* those of the mask that are not in zeros; good until the next call */
} stream_page;

bool id_is_zero(id128);
int stream_order(const state *, uint32_t **by_id); /* to be freed. ENOMEM */

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct {
  pagestore_write_fn write;
  void *env;
  struct XXH3_state_s *all; /* over every byte so far */
  uint8_t *buffer;          /* one entry */
  uint64_t pages, blocks;
} stream_writer;

int stream_writer_open(stream_writer *, pagestore_write_fn, void *env); /* ENOMEM */
void stream_writer_close(stream_writer *);
/* EABORTED: the callback said stop. ENOMEM. EQUOTA: the table is too long. */
int stream_put_header(stream_writer *, const stream_header *);
int stream_put_page(stream_writer *, uint32_t memory, uint64_t page, uint16_t mask,
                    const uint8_t *page_bytes); /* NULL: zeros */
int stream_put_end(stream_writer *);

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct {
  pagestore_read_fn read;
  void *env;
  struct XXH3_state_s *all;
  uint8_t *buffer;
  uint64_t at; /* bytes read */
  uint64_t pages, blocks;
  uint32_t last_memory; /* of the last page entry; 0: none yet */
  uint64_t last_page;
} stream_reader;

int stream_reader_open(stream_reader *, pagestore_read_fn, void *env); /* ENOMEM */
void stream_reader_close(stream_reader *);
/* EFORMAT with place and reason; EABORTED; ENOMEM. Checks all that the stream alone can tell:
 * checksums, lengths, names, limits of memories, order. */
int stream_get_header(stream_reader *, stream_header *);
void stream_header_free(stream_header *);
int stream_get_page(stream_reader *, const stream_header *,
                    stream_page *); /* ENOTFOUND, without text: the end was reached, and is right */
/* For whoever finds more wrong with what was read at `at`: EFORMAT. */
int stream_refuse(uint64_t at, const char *reason);

#endif
