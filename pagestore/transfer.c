/* transfer.c - sending a version, or what changed since a snapshot; receiving it in another store.
 *
 *   sender     snapshot A --- B --- C     sends A whole, then the increments A to B, B to C
 *   receiver   snapshot A --- B --- C     each one commit; names and ids of snapshots as there
 *
 * Invariants:
 * - nothing of a stream reaches the store before its end entry was read and right; then all of it
 *   does, in one flush;
 * - a memory goes on from the base if it has the same id in both versions: then the blocks that
 *   differ are sent. Any other is sent whole and gets a new id in the receiver, so that nothing of
 *   what lay under its old one shows. Ids are each store's own: names tie memories together.
 *
 * Thread: as said in the public header. Callbacks run without locks and without a reader.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/status.h"
#include "compare.h"
#include "memory.h"
#include "transfer_stream.h"

/* ---- sending ------------------------------------------------------------------------------- */

/* The same memory in the base: 0 if it is new, or was emptied since. */
static uint32_t id_in_base(const core_version *base, const memory_entry *m) {
  const memory_entry *before = base ? state_memory(base->state, m->name) : NULL;
  return before && before->id == m->id ? m->id : 0;
}

/* Pages behind the end are zeros: those that the base still had are sent as such. */
static int send_memory(stream_writer *w, comparison *c, const memory_entry *m) {
  uint32_t base = id_in_base(c->from_version, m);
  uint16_t mask;
  const uint8_t *bytes;
  int status = 0;
  for (uint64_t page = 0; !status && (status = compare_next(c, base, m, &page, &mask, &bytes)) == 0;
       page++)
    if (base || page < m->pages)
      status = stream_put_page(w, m->id, page, mask, page < m->pages ? bytes : NULL);
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int describe_version(const core_version *from, const core_version *to, stream_header *h) {
  state *s = to->state;
  *h = (stream_header){.snapshot = to->snapshot,
                       .version = to->version,
                       .state = state_reference(s)};
  memcpy(h->snapshot_name, to->snapshot_name, sizeof h->snapshot_name);
  if (from) {
    h->base = from->snapshot;
    memcpy(h->base_name, from->snapshot_name, sizeof h->base_name);
  }
  h->marks = malloc(s->memory_count + 1);
  if (!h->marks) return fail(PAGESTORE_ENOMEM, "no memory to send: free some and try again");
  for (uint32_t i = 0; i < s->memory_count; i++)
    h->marks[i] = id_in_base(from, &s->memories[i]) ? STREAM_GOES_ON : STREAM_WHOLE;
  return stream_order(s, &h->by_id);
}

static int send_version(comparison *c, pagestore_write_fn write, void *env) {
  stream_header h;
  stream_writer w;
  int status = describe_version(c->from_version, c->to_version, &h);
  if (status) goto free_header;
  if ((status = stream_writer_open(&w, write, env)) != 0) goto free_header;
  status = stream_put_header(&w, &h);
  for (uint32_t i = 0; i < h.state->memory_count && !status; i++)
    status = send_memory(&w, c, &h.state->memories[h.by_id[i]]);
  if (!status) status = stream_put_end(&w);
  stream_writer_close(&w);
free_header:
  stream_header_free(&h);
  return status;
}

static int check_send(pagestore_instance *from, pagestore_instance *to, pagestore_write_fn write) {
  int status = instance_check(to, NEEDS_NOTHING);
  if (!status && from) status = instance_check(from, NEEDS_NOTHING);
  if (!status && !write) status = input_null("callback");
  if (status) return status;
  if (instance_version(to) == 0)
    return fail(PAGESTORE_ENOTFOUND, "instance '%s' was never committed: there is nothing to send",
                to->core->name);
  if (!from) return 0;
  if (from->store != to->store)
    return fail(PAGESTORE_EINVAL, "send compares versions of one store: open both there");
  if (from->kind == INSTANCE_WRITABLE || id_is_zero(from->view.snapshot))
    return fail(PAGESTORE_EINVAL, "the base to send from must be a view of a snapshot: the "
                                  "receiver knows it by that snapshot's identity");
  return 0;
}

int pagestore_send(pagestore_instance *from, pagestore_instance *to, pagestore_write_fn write,
                   void *env) {
  int status = check_send(from, to, write);
  if (status) return status;
  core_version present = {.version = 0};
  bool capture = to->kind == INSTANCE_WRITABLE;
  if (capture && (status = instance_capture(to, &present)) != 0) return status;
  comparison c;
  status = compare_open(&c, from, from ? &from->view : NULL, to, capture ? &present : &to->view);
  if (!status) {
    status = send_version(&c, write, env);
    compare_close(&c);
  }
  if (capture) core_version_release(to->store, &present);
  return status;
}

/* ---- receiving: what the stream is to be applied to ---------------------------------------- */

typedef struct {
  uint32_t memory;
  uint16_t mask, zeros;
  uint64_t page;
  uint8_t *blocks;
} received_page;

typedef struct {
  uint32_t id;
  uint64_t pages, pages_before;
} target; /* pages_before: 0 for one that begins here */

typedef struct {
  stream_header header;
  pagestore_instance *instance;
  state *state;    /* what the commit makes current: the stream's, with our ids */
  target *targets; /* by place in the table */
  received_page *pages;
  uint64_t count, room, blocks;
} reception;

/* Our snapshot of that identity. The lock is held. */
static const snapshot *find_by_id(pagestore_store *s, uint64_t instance, id128 id) {
  for (const snapshot *at = snapshot_next(s, instance, ""); at;
       at = snapshot_next(s, instance, at->name))
    if (memcmp(&at->id, &id, sizeof id) == 0) return at;
  return NULL;
}

static int check_base(const reception *r, const char *name) {
  pagestore_store *s = r->instance->store;
  const core *c = r->instance->core;
  const stream_header *h = &r->header;
  snapshot base = {.version = 0};
  pthread_mutex_lock(&s->lock);
  bool again = find_by_id(s, c->id, h->snapshot), taken = snapshot_find(s, c->id, h->snapshot_name);
  const snapshot *found = find_by_id(s, c->id, h->base);
  if (found) base = *found;
  pthread_mutex_unlock(&s->lock);
  if (again)
    return fail(PAGESTORE_EEXIST,
                "snapshot '%s' of '%s' was received before: go on with the next stream",
                h->snapshot_name, name);
  if (!found)
    return fail(PAGESTORE_EFORMAT,
                "the stream goes on from snapshot '%s', which '%s' does not have: receive the "
                "streams before it first",
                h->base_name, name);
  if (c->committed != base.version)
    return fail(PAGESTORE_EFORMAT,
                "'%s' is at version %llu, snapshot '%s', from which the stream goes on, is version "
                "%llu: it has diverged; receive whole under another name",
                name, (unsigned long long)c->committed, base.name,
                (unsigned long long)base.version);
  if (taken)
    return fail(PAGESTORE_EEXIST,
                "another snapshot of '%s' is called '%s': drop it and receive again", name,
                h->snapshot_name);
  return 0;
}

static int open_instance(reception *r, pagestore_store *s, const char *name) {
  bool whole = id_is_zero(r->header.base);
  int status = pagestore_instance_open(
      s, name,
      PAGESTORE_WITH(pagestore_instance_options,
                     .flags = whole ? PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE : 0),
      &r->instance);
  if (status == PAGESTORE_EEXIST)
    return fail(
        status,
        "instance '%s' exists and the stream is whole: delete it, or receive under another name",
        name);
  if (status == PAGESTORE_ENOTFOUND && !whole)
    return fail(PAGESTORE_EFORMAT,
                "the stream goes on from snapshot '%s', and there is no instance '%s': receive the "
                "whole first",
                r->header.base_name, name);
  return status || whole ? status : check_base(r, name);
}

/* The stream's state with ids of ours: the base's for memories that go on, new ones for others. */
static int make_state(reception *r) {
  const state *base = instance_committed_state(r->instance);
  const stream_header *h = &r->header;
  uint32_t count = h->state->memory_count, next = base->next_memory;
  if (UINT32_MAX - next <= count)
    return fail(PAGESTORE_EQUOTA,
                "no ids for memories are left in '%s': receive under another name",
                r->instance->core->name);
  r->targets = calloc(count + 1, sizeof *r->targets);
  if (!r->targets || state_clone(h->state, &r->state) != 0)
    return fail(PAGESTORE_ENOMEM, "no memory to receive: free some and try again");
  for (uint32_t i = 0; i < count; i++) {
    memory_entry *m = &r->state->memories[h->by_id[i]];
    const memory_entry *before = h->marks[h->by_id[i]] == STREAM_GOES_ON
                                     ? state_memory(base, m->name)
                                     : NULL;
    if (!before && h->marks[h->by_id[i]] == STREAM_GOES_ON)
      return fail(PAGESTORE_EFORMAT,
                  "the stream goes on with memory '%s', which snapshot '%s' does not have: receive "
                  "whole under another name",
                  m->name, h->base_name);
    m->id = before ? before->id : next++;
    r->targets[h->by_id[i]] = (target){.id = m->id,
                                       .pages = m->pages,
                                       .pages_before = before ? before->pages : 0};
  }
  r->state->next_memory = next;
  return 0;
}

/* ---- receiving: pages ---------------------------------------------------------------------- */

static int add_page(reception *r, const stream_page *p) {
  const target *t = &r->targets[p->place];
  if (p->page >= max_u64(t->pages, t->pages_before))
    return stream_refuse(p->at, "a page behind the end of its memory");
  if (p->page >= t->pages && p->zeros != p->mask)
    return stream_refuse(p->at, "bytes behind the end of a memory");
  if (r->count == r->room) {
    uint64_t room = r->room ? r->room * 2 : 64;
    received_page *pages = realloc(r->pages, room * sizeof *pages);
    if (!pages)
      return fail(PAGESTORE_ENOMEM, "no memory to receive %llu pages: free some and try again",
                  (unsigned long long)room);
    r->pages = pages;
    r->room = room;
  }
  received_page *to = &r->pages[r->count];
  size_t size = mask_count(p->mask & (uint16_t)~p->zeros) * (size_t)BLOCK_BYTES;
  *to = (received_page){.memory = t->id,
                        .mask = p->mask,
                        .zeros = p->zeros,
                        .page = p->page,
                        .blocks = size ? malloc(size) : NULL};
  if (size && !to->blocks)
    return fail(PAGESTORE_ENOMEM,
                "no memory to receive: %llu pages are held; free some and try again",
                (unsigned long long)r->count);
  if (size) memcpy(to->blocks, p->blocks, size);
  r->count++;
  r->blocks += mask_count(p->mask);
  return 0;
}

static int get_pages(reception *r, stream_reader *from) {
  stream_page page;
  int status;
  while ((status = stream_get_page(from, &r->header, &page)) == 0)
    if ((status = add_page(r, &page)) != 0) return status;
  return status == PAGESTORE_ENOTFOUND ? 0 : status;
}

static int by_place(const void *a, const void *b) {
  const received_page *x = a, *y = b;
  if (x->memory != y->memory) return x->memory < y->memory ? -1 : 1;
  return (x->page > y->page) - (x->page < y->page);
}

/* The pages become a delta; each one's blocks go as they are copied. */
static int make_delta(reception *r, delta **out) {
  *out = NULL;
  if (r->count == 0) return 0;
  uint8_t *page = malloc(PAGE_BYTES);
  int status = page ? delta_new(r->count, r->blocks, out) : PAGESTORE_ENOMEM;
  if (status) {
    free(page);
    return fail(status, "no memory to receive %llu blocks: free some and try again",
                (unsigned long long)r->blocks);
  }
  qsort(r->pages, r->count, sizeof *r->pages, by_place);
  for (uint64_t i = 0; i < r->count; i++) {
    received_page *from = &r->pages[i];
    const uint8_t *block = from->blocks;
    for (unsigned b = 0; b < PAGE_BLOCKS; b++) {
      if (from->zeros >> b & 1) memset(page + b * BLOCK_BYTES, 0, BLOCK_BYTES);
      if (!((from->mask & ~from->zeros) >> b & 1)) continue;
      memcpy(page + b * BLOCK_BYTES, block, BLOCK_BYTES);
      block += BLOCK_BYTES;
    }
    delta_add(*out, from->memory, from->page, from->mask, page);
    free(from->blocks);
    from->blocks = NULL;
  }
  free(page);
  return 0;
}

/* ---- receiving ----------------------------------------------------------------------------- */

static int apply(reception *r) {
  delta *changes;
  int status = make_delta(r, &changes);
  if (status) return status;
  instance_content content = {.state = r->state, .changes = changes};
  if (!id_is_zero(r->header.snapshot)) {
    content.snapshot = r->header.snapshot_name;
    content.snapshot_id = r->header.snapshot;
  }
  r->state = NULL;
  return instance_apply(r->instance, content);
}

static void reception_free(reception *r) {
  for (uint64_t i = 0; i < r->count; i++) free(r->pages[i].blocks);
  free(r->pages);
  free(r->targets);
  state_release(r->state);
  stream_header_free(&r->header);
  if (r->instance) pagestore_instance_close(r->instance);
}

int pagestore_receive(pagestore_store *s, const char *name, pagestore_read_fn read, void *env) {
  int status = store_check(s, true);
  if (!status) status = input_name(name, "instance name");
  if (!status && !read) status = input_null("callback");
  if (status) return status;
  stream_reader from;
  if ((status = stream_reader_open(&from, read, env)) != 0) return status;
  reception r = {.count = 0};
  status = stream_get_header(&from, &r.header);
  if (!status) status = open_instance(&r, s, name);
  if (!status) status = make_state(&r);
  if (!status) status = get_pages(&r, &from);
  if (!status) status = apply(&r);
  reception_free(&r);
  stream_reader_close(&from);
  return status;
}
