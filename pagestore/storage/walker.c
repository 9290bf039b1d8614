/* walker.c - the meta pages of an LMDB file. The contract is in walker.h, the walk over the trees is in walker_tree.c.
 *
 *   page 0 and 1       meta                         tree record
 *   at  bytes what     at   bytes what              at  bytes what
 *   0   8  number      16   4  magic                0   4  page size (of the free tree's only)
 *   8   2  -           20   4  data version         4   2  flags
 *   10  2  flags: 8    24   8  -                    6   2  depth
 *   12  4  -           32   8  size of the map      8   8  branch pages
 *                      40   48 free tree            16  8  leaf pages
 *                      88   48 main tree            24  8  overflow pages
 *                      136  8  last page            32  8  entries
 *                      144  8  transaction          40  8  root
 *
 * Transaction n is in page n & 1, over n - 2, so the two follow each other (both are 0 in a new file).
 */
#include "storage/walker.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pagestore.h>

#include "base/status.h"
#include "base/units.h"
#include "storage/walker_page.h"

enum {
  META_END = 152,
  META_FLAG = 8,
  MAGIC_AT = 16,
  VERSION_AT = 20,
  MAP_BYTES_AT = 32,
  FREE_TREE_AT = 40,
  MAIN_TREE_AT = 88,
  LAST_PAGE_AT = 136,
  TXN_ID_AT = 144,
  DATA_VERSION = 1,
  PAGE_BYTES_MIN = 256,
  PAGE_BYTES_MAX = 65536,
};
#define MAGIC 0xBEEFC0DEu

int walker_read_at(int fd, uint64_t at, void *to, size_t size, size_t *got) {
  *got = 0;
  while (*got < size) {
    if (at + *got > INT64_MAX) return 0;
    ssize_t n = pread(fd, (uint8_t *)to + *got, size - *got, (off_t)(at + *got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PAGESTORE_EIO;
    if (n == 0) return 0;
    *got += (size_t)n;
  }
  return 0;
}

int walker_read(int fd, walker_place place, void *to) {
  size_t got;
  int err = walker_read_at(fd, place.at, to, place.size, &got);
  if (err)
    return fail_errno(err, errno, "data.mdb could not be read at %llu: check the disk", (unsigned long long)place.at);
  if (got < place.size)
    return fail(PAGESTORE_ECORRUPT, "data.mdb ends before %llu: truncated",
        (unsigned long long)(place.at + place.size));
  return 0;
}

void walker_tree_decode(const uint8_t from[LMDB_TREE_BYTES], walker_tree *out) {
  *out = (walker_tree){
      .flags = get_le16(from + 4),
      .depth = get_le16(from + 6),
      .branch_pages = get_le64(from + 8),
      .leaf_pages = get_le64(from + 16),
      .overflow_pages = get_le64(from + 24),
      .entries = get_le64(from + 32),
      .root = get_le64(from + 40),
  };
}

const char *walker_tree_damage(const walker_tree *t, uint64_t last_page) {
  bool empty = t->root == LMDB_NO_PAGE;
  if (!empty && (t->root < LMDB_METAS || t->root > last_page)) return "its root is out of range";
  if (empty != (t->depth == 0) || empty != (t->entries == 0) || empty != (t->leaf_pages == 0))
    return "its root, depth and counts contradict each other";
  if (t->depth > WALKER_DEPTH_MAX) return "its depth is out of range";
  if (t->branch_pages > last_page || t->leaf_pages > last_page || t->overflow_pages > last_page)
    return "it counts more pages than there are";
  return NULL;
}

/* ---- one meta page --------------------------------------------------------------------------- */

static bool meta_has_magic(const uint8_t *page) { return get_le32(page + MAGIC_AT) == MAGIC; }

static void meta_decode(const uint8_t *page, walker_meta *out) {
  walker_tree_decode(page + FREE_TREE_AT, &out->free);
  walker_tree_decode(page + MAIN_TREE_AT, &out->main);
  out->map_bytes = get_le64(page + MAP_BYTES_AT);
  out->last_page = get_le64(page + LAST_PAGE_AT);
  out->txn_id = get_le64(page + TXN_ID_AT);
}

/* What LMDB demands of both pages. NULL, or what is wrong. */
static const char *meta_head_damage(const uint8_t *page, unsigned index, const walker_meta *m) {
  if (get_le64(page + LMDB_NUMBER_AT) != index) return "wrong page number";
  if (get_le16(page + LMDB_FLAGS_AT) != META_FLAG) return "not marked as a meta page";
  if (!meta_has_magic(page)) return "no LMDB magic";
  if (get_le32(page + VERSION_AT) != DATA_VERSION) return "wrong data version";
  if (get_le32(page + FREE_TREE_AT) != LMDB_PAGE_BYTES) return "wrong page size";
  if (m->txn_id != 0 && (m->txn_id & 1) != index) return "a transaction id of the other meta page";
  return NULL;
}

/* What is demanded of the newest only: after a failed meta write LMDB puts the old transaction id and last page
 * back, but leaves the new trees, so the older page may rightly contradict itself. It is written anew by the next
 * commit, and nobody reads it before. */
static const char *meta_trees_damage(const walker_meta *m) {
  if (m->last_page < LMDB_METAS - 1 || m->last_page > INT64_MAX / LMDB_PAGE_BYTES - 1) return "last page out of range";
  if ((m->free.flags & LMDB_TREE_FLAGS) != LMDB_TREE_INTEGER_KEY) return "wrong flags of the free list";
  if (m->main.flags & LMDB_TREE_FLAGS) return "flags of the main tree that are never used";
  const char *damage = walker_tree_damage(&m->free, m->last_page);
  return damage ? damage : walker_tree_damage(&m->main, m->last_page);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int metas_are_foreign(const uint8_t *bytes_read, size_t got, const char *path) {
  if (got == 0)
    return fail(PAGESTORE_EFORMAT,
        "%s: data.mdb is empty: not a store, or its creation was cut off: remove it, or restore a backup", path);
  if (got < META_END || (!meta_has_magic(bytes_read) && !meta_has_magic(bytes_read + LMDB_PAGE_BYTES)))
    return fail(PAGESTORE_EFORMAT, "%s: data.mdb is no LMDB file: give the path of a store", path);
  return 0;
}

/* Another format says so in its first page and has nothing of ours in the second; where only one of the two speaks
 * of another version, that one is damaged. */
static int metas_are_of_other_format(const uint8_t *pages, bool second_is_ours, const char *path) {
  uint32_t version = get_le32(pages + VERSION_AT), page_bytes = get_le32(pages + FREE_TREE_AT);
  if (!meta_has_magic(pages) || second_is_ours) return 0;
  if (version != DATA_VERSION)
    return fail(PAGESTORE_EFORMAT,
        "%s: data.mdb has LMDB data version %u, this library reads version 1: open it with the version that made it",
        path, version);
  bool is_size = page_bytes >= PAGE_BYTES_MIN && page_bytes <= PAGE_BYTES_MAX && !(page_bytes & (page_bytes - 1));
  if (is_size && page_bytes != LMDB_PAGE_BYTES)
    return fail(PAGESTORE_EFORMAT,
        "%s: data.mdb has LMDB pages of %u bytes, this library reads 4,096: copy it with mdb_dump and mdb_load", path,
        page_bytes);
  return 0;
}

typedef struct {
  uint64_t file_bytes;
  bool past_end;
} short_file;

static int ignore_finding(void *env, uint64_t page, const char *text) {
  (void)env;
  (void)page;
  (void)text;
  return 0;
}

static int note_end(void *env, const char *table, walker_page_kind kind, uint64_t first, uint64_t count) {
  short_file *s = env;
  (void)table;
  (void)kind;
  s->past_end = (first + count) * LMDB_PAGE_BYTES > s->file_bytes;
  return s->past_end;
}

/* LMDB may number pages at the end and give them back before it writes them, so a file may rightly end before the
 * last page, but not before one that is in use. */
static int metas_check_length(int fd, const char *path, const walker_metas *m) {
  const walker_meta *newest = &m->meta[m->newest];
  uint64_t wanted = (newest->last_page + 1) * LMDB_PAGE_BYTES;
  if (m->file_bytes >= wanted) return 0;
  short_file found = {.file_bytes = m->file_bytes};
  walker_callbacks callbacks = {.env = &found, .finding = ignore_finding, .page = note_end};
  walker_summary summary;
  int err = walker_walk(fd, m, m->newest, &callbacks, &summary);
  if (err && err != PAGESTORE_EABORTED) return err;
  if (!found.past_end) return 0;
  return fail(PAGESTORE_ECORRUPT,
      "%s: data.mdb is truncated: it has %llu bytes of %llu: restore a backup, or run pagestore recover", path,
              (unsigned long long)m->file_bytes, (unsigned long long)wanted);
}

static int fail_damaged(const char *path, unsigned index, const char *damage) {
  return fail(PAGESTORE_ECORRUPT, "%s: meta page %u of data.mdb is damaged (%s): run pagestore recover", path, index,
      damage);
}

static int metas_check_each(const uint8_t *pages, const char *path, walker_metas *out) {
  const char *head[LMDB_METAS], *trees[LMDB_METAS];
  for (unsigned i = 0; i < LMDB_METAS; i++) {
    meta_decode(pages + i * LMDB_PAGE_BYTES, &out->meta[i]);
    head[i] = meta_head_damage(pages + i * LMDB_PAGE_BYTES, i, &out->meta[i]);
    trees[i] = meta_trees_damage(&out->meta[i]);
    out->meta[i].usable = !head[i] && !trees[i];
  }
  out->newest = out->meta[1].txn_id > out->meta[0].txn_id;
  int err = metas_are_of_other_format(pages, meta_has_magic(pages + LMDB_PAGE_BYTES) && out->meta[1].usable, path);
  if (err) return err;
  for (unsigned i = 0; i < LMDB_METAS; i++)
    if (head[i]) return fail_damaged(path, i, head[i]);
  return trees[out->newest] ? fail_damaged(path, out->newest, trees[out->newest]) : 0;
}

static int metas_check_pair(const char *path, const walker_metas *m) {
  uint64_t newer = m->meta[m->newest].txn_id, older = m->meta[!m->newest].txn_id;
  if (newer - older == 1 || (newer == 0 && older == 0)) return 0;
  return fail(PAGESTORE_ECORRUPT,
      "%s: the meta pages of data.mdb do not follow each other (transactions %llu and %llu), one is damaged: run "
      "pagestore recover",
              path, (unsigned long long)older, (unsigned long long)newer);
}

int walker_check_meta(int fd, const char *path, walker_metas *out) {
  uint8_t pages[LMDB_METAS * LMDB_PAGE_BYTES] = {0};
  struct stat st;
  size_t got;
  memset(out, 0, sizeof *out);
  if (fstat(fd, &st) != 0) return fail_errno(PAGESTORE_EIO, errno, "%s: data.mdb could not be looked at", path);
  if (!S_ISREG(st.st_mode))
    return fail(PAGESTORE_EFORMAT, "%s: data.mdb is not a regular file: give the path of a store", path);
  out->file_bytes = (uint64_t)st.st_size;
  int err = walker_read_at(fd, 0, pages, sizeof pages, &got);
  if (err) return fail_errno(err, errno, "%s: the meta pages of data.mdb could not be read: check the disk", path);
  if ((err = metas_are_foreign(pages, got, path)) != 0) return err;
  err = metas_check_each(pages, path, out);
  if (got < sizeof pages && err != PAGESTORE_EFORMAT)
    return fail(PAGESTORE_ECORRUPT,
        "%s: data.mdb is truncated inside its meta pages: restore a backup, or run pagestore recover", path);
  if (err) return err;
  if ((err = metas_check_pair(path, out)) != 0) return err;
  return metas_check_length(fd, path, out);
}
