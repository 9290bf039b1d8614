/* dump.c - the bytes of a memory.
 *
 * Only pages that have storage are read; what lies between them is zeros. Page by page, so that a
 * damaged one costs just itself.
 *
 * Invariant: what is written ascends, and with --raw is without a hole.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "complain.h"
#include "file.h"
#include "hex.h"
#include "hold.h"
#include "look.h"
#include "progress.h"
#include "text.h"
#include "versions.h"
#include "view.h"

enum { TRIM_EVERY_PAGES = 1024 };

typedef struct {
  pagestore_instance *view;
  pagestore_memory *memory;
  bool raw;
  bool zeros;       /* lines of zeros too */
  uint64_t at, end; /* what is still to be written */
  uint64_t pages_read, pages_damaged;
  bool failed; /* and has complained */
  hold hold;
  progress progress; /* over the range */
  uint8_t page[PAGESTORE_PAGE];
} dump;

/* ---- the range ------------------------------------------------------------------------------- */

static int beyond(uint64_t bytes) {
  complain("the range is not inside the memory's %" PRIu64 " bytes (%" PRIu64 " pages of 64 KiB): give a smaller one",
           bytes, bytes / PAGESTORE_PAGE);
  return EXIT_FAILED;
}

static int take_range(const invocation *v, uint64_t bytes, dump *d) {
  bool by_block = option_given(v, "block"), by_page = option_given(v, "page") || by_block;
  bool by_offset = option_given(v, "offset"), by_length = option_given(v, "length");
  uint64_t page = 0, block = 0, offset = 0, length;
  if (by_page && (by_offset || by_length))
    return complain_usage(v->command, "--page and --block exclude --offset and --length");
  if (option_given(v, "raw") && option_given(v, "hex"))
    return complain_usage(v->command, "--raw and --hex exclude each other");
  if (!option_number(v, "page", &page) || !option_number(v, "block", &block) || !option_number(v, "offset", &offset))
    return EXIT_USAGE;
  if (by_block && option_given(v, "page") && block >= PAGESTORE_PAGE / PAGESTORE_BLOCK)
    return complain_usage(v->command, "a page has blocks 0 to 15");
  if (page > bytes / PAGESTORE_PAGE || block > bytes / PAGESTORE_BLOCK) return beyond(bytes);
  if (by_page) offset = page * PAGESTORE_PAGE + block * PAGESTORE_BLOCK;
  if (offset > bytes || (by_page && offset == bytes)) return beyond(bytes);
  length = by_block ? PAGESTORE_BLOCK : by_page ? PAGESTORE_PAGE : bytes - offset;
  if (!option_number(v, "length", &length)) return EXIT_USAGE;
  if (length > bytes - offset) return beyond(bytes);
  d->raw = option_given(v, "raw");
  if (d->raw && !file_stdout_takes_bytes()) return EXIT_FAILED;
  d->zeros = by_page || by_offset || by_length;
  d->at = offset;
  d->end = offset + length;
  int code = progress_begin(&d->progress, v, "dump", length);
  if (text_terminal() && d->progress.how == PROGRESS_BAR) d->progress.how = PROGRESS_NEVER; /* the lines show it */
  return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void go_to(dump *d, uint64_t at) {
  progress_step(&d->progress, at - d->at);
  d->at = at;
}

static void put(dump *d, const uint8_t *bytes, size_t length) {
  if (d->raw) fwrite(bytes, 1, length, stdout);
  else hex_print(d->at, bytes, length, d->zeros);
  go_to(d, d->at + length);
}

/* What has no storage. Non-zero: the output takes no more. */
static int put_zeros_until(dump *d, uint64_t until) {
  static const uint8_t zeros[PAGESTORE_PAGE];
  if (until > d->end) until = d->end;
  if (!d->raw && !d->zeros && d->at < until) go_to(d, until);
  while (d->at < until && !ferror(stdout)) {
    uint64_t step = PAGESTORE_PAGE - d->at % PAGESTORE_PAGE, left = until - d->at;
    put(d, zeros, (size_t)(step < left ? step : left));
  }
  return ferror(stdout);
}

static void tell_damage(dump *d) {
  d->pages_damaged++;
  complain("%s; the dump goes on %s", pagestore_detail(), d->raw ? "with zeros in its place" : "behind it");
}

/* From d->at to the end of its page. Non-zero stops. */
static int put_page(dump *d) {
  uint64_t length = PAGESTORE_PAGE - d->at % PAGESTORE_PAGE;
  if (length > d->end - d->at) length = d->end - d->at;
  if ((d->failed = !hold_goes_on(&d->hold))) return 1;
  int status = pagestore_memory_read(d->memory, d->at, d->page, (size_t)length);
  if (status && status != PAGESTORE_ECORRUPT) {
    complain_status(status, NULL);
    d->failed = true;
    return 1;
  }
  if (status) {
    tell_damage(d);
    memset(d->page, 0, sizeof d->page);
  }
  if (status && !d->raw) go_to(d, d->at + length);
  else put(d, d->page, (size_t)length);
  if (++d->pages_read % TRIM_EVERY_PAGES == 0) pagestore_instance_trim(d->view, 0);
  return ferror(stdout);
}

static int put_stored(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory;
  dump *d = env;
  uint64_t until = offset + length;
  if (until > d->end) until = d->end;
  if (until <= d->at) return d->at >= d->end;
  if (offset > d->at && put_zeros_until(d, offset)) return 1;
  while (d->at < until)
    if (put_page(d)) return 1;
  return 0;
}

static int write_all(dump *d) {
  int status = pagestore_memory_blocks(d->memory, PAGESTORE_BLOCKS_STORED, put_stored, d);
  bool written = !d->failed && (!status || status == PAGESTORE_EABORTED); /* aborted: the output takes no more */
  if (written) put_zeros_until(d, d->end);
  progress_end(&d->progress);
  if (d->failed) return EXIT_FAILED;
  if (!written) return look_failed(status);
  return d->pages_damaged ? EXIT_FOUND : EXIT_OK;
}

int command_dump(const invocation *v) {
  static dump d;
  pagestore_store *store;
  uint64_t pages = 0;
  char room[256] = "";
  const char *snapshot;
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = versions_chosen(v, store, room, &snapshot);
  if (code == EXIT_OK) code = look_view(store, v->operand[1], snapshot, &d.view);
  if (code == EXIT_OK) {
    hold_begin(&d.hold, v, !snapshot);
    code = view_memory(d.view, v->operand[2], &d.memory, &pages);
    if (code == EXIT_OK) code = take_range(v, pages * PAGESTORE_PAGE, &d);
    if (code == EXIT_OK) code = write_all(&d);
    pagestore_instance_close(d.view);
  }
  pagestore_close(store);
  return code;
}
