/* diff_hex.c - the bytes that differ, a line of sixteen before and after. */
#include <inttypes.h>
#include <string.h>

#include "complain.h"
#include "diff.h"
#include "hex.h"
#include "text.h"

enum { TRIM_EVERY_RUNS = 256 };

/* ---- lines ----------------------------------------------------------------------------------- */

static void print_line(char sign, uint64_t offset, const uint8_t *bytes, unsigned count) {
  char line[HEX_LINE_ROOM];
  hex_line(line, offset, bytes, count);
  const char *colour = !text_colour() ? "" : sign == '-' ? "\033[31m" : "\033[32m";
  printf("%s%c%s%s\n", colour, sign, line, colour[0] ? "\033[0m" : "");
}

/* A block at a time; `had` says how many of its bytes were there before. */
static void print_block(uint64_t offset, const uint8_t *before, uint64_t had,
                        const uint8_t *after) {
  for (unsigned at = 0; at < PAGESTORE_BLOCK; at += HEX_LINE_BYTES) {
    if (memcmp(before + at, after + at, HEX_LINE_BYTES) == 0) continue;
    if (at < had) print_line('-', offset + at, before + at, HEX_LINE_BYTES);
    print_line('+', offset + at, after + at, HEX_LINE_BYTES);
  }
}

static int print_run(const run *r, pagestore_memory *old) {
  uint64_t old_bytes = old ? pagestore_memory_pages(old) * PAGESTORE_PAGE : 0;
  for (uint64_t at = r->offset; at < r->offset + r->length; at += PAGESTORE_BLOCK) {
    uint8_t before[PAGESTORE_BLOCK] = {0}, after[PAGESTORE_BLOCK];
    uint64_t had = at < old_bytes ? PAGESTORE_BLOCK : 0;
    int status = pagestore_memory_read(r->memory, at, after, sizeof after);
    if (!status && had) status = pagestore_memory_read(old, at, before, sizeof before);
    if (status) return status;
    print_block(at, before, had, after);
  }
  return 0;
}

int diff_hex(comparison *c, int code) {
  for (size_t i = 0; i < c->run_count && !ferror(stdout); i++) {
    if (!hold_goes_on(&c->hold)) return EXIT_FAILED;
    const run *r = &c->runs[i];
    const char *name = pagestore_memory_name(r->memory);
    char escaped[TEXT_ESCAPED_SIZE];
    pagestore_memory *old = NULL;
    int status = pagestore_memory_open(c->from, name, NULL, &old);
    if (status && status != PAGESTORE_ENOTFOUND) return complain_status(status, NULL);
    printf("@@ %s, page %" PRIu64 ", %" PRIu64 " bytes at %" PRIu64 " @@\n",
           text_escape(name, strlen(name), escaped, sizeof escaped), r->offset / PAGESTORE_PAGE,
           r->length, r->offset);
    if ((status = print_run(r, old)) != 0) return complain_status(status, NULL);
    if (i % TRIM_EVERY_RUNS) continue;
    pagestore_instance_trim(c->from, 0);
    pagestore_instance_trim(c->to, 0);
  }
  return code;
}
