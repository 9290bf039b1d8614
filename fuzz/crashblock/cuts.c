/* cuts.c - the durable image, and blocks on top of it; see cuts.h. */
#include "cuts.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096 };

const char *const cut_name[CUT_KINDS] = {"nothing", "everything", "prefix", "random", "drop one", "keep one"};

bool cuts_begin(cuts *c, const disk_log *log, int written_fd, const char *image, bool ignores_flushes) {
  struct stat st;
  *c = (cuts){.log = log, .ignores_flushes = ignores_flushes};
  int fd = open(image, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0) return false;
  c->size = (uint64_t)st.st_size;
  c->durable = mmap(NULL, c->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  close(fd);
  c->written = mmap(NULL, atomic_load(&log->written) + 1, PROT_READ, MAP_SHARED, written_fd, 0);
  return c->durable != MAP_FAILED && c->written != MAP_FAILED;
}

void cuts_end(cuts *c) {
  munmap(c->durable, c->size);
  munmap((void *)c->written, atomic_load(&c->log->written) + 1);
}

void cuts_move(cuts *c, uint64_t event) {
  for (; c->next < event; c->next++) {
    if (c->log->event[c->next].kind != DISK_FLUSH || c->ignores_flushes) continue;
    for (; c->pending_first < c->next; c->pending_first++) {
      const disk_event *e = &c->log->event[c->pending_first];
      if (e->kind == DISK_WRITE) memcpy(c->durable + e->at, c->written + e->data_at, e->bytes);
    }
  }
}

/* Bytes of an event up to the next block border of the disk. */
static uint64_t piece(const disk_event *e, uint64_t done) {
  uint64_t to_border = BLOCK_BYTES - (e->at + done) % BLOCK_BYTES, left = e->bytes - done;
  return left < to_border ? left : to_border;
}

uint64_t cuts_pending_blocks(const cuts *c) {
  uint64_t blocks = 0;
  for (uint64_t n = c->pending_first; n < c->next; n++) {
    const disk_event *e = &c->log->event[n];
    for (uint64_t done = 0; e->kind == DISK_WRITE && done < e->bytes; done += piece(e, done)) blocks++;
  }
  return blocks;
}

static bool arrives(cut_kind kind, uint64_t block, uint64_t chosen, uint32_t percent, script_dice *d) {
  switch (kind) {
  case CUT_NOTHING: return false;
  case CUT_PREFIX: return block < chosen;
  case CUT_RANDOM: return script_chance(d, percent);
  case CUT_DROP_ONE: return block != chosen;
  case CUT_KEEP_ONE: return block == chosen;
  default: return true;
  }
}

void cuts_make(const cuts *c, cut_kind kind, script_dice *d, uint8_t *to) {
  static const uint32_t percents[] = {3, 20, 50, 80, 97};
  uint64_t block = 0, chosen = script_below(d, cuts_pending_blocks(c));
  uint32_t percent = percents[script_below(d, sizeof percents / sizeof *percents)];
  memcpy(to, c->durable, c->size);
  for (uint64_t n = c->pending_first; n < c->next; n++) {
    const disk_event *e = &c->log->event[n];
    if (e->kind != DISK_WRITE) continue;
    for (uint64_t done = 0, length; done < e->bytes; done += length) {
      length = piece(e, done);
      if (arrives(kind, block++, chosen, percent, d)) memcpy(to + e->at + done, c->written + e->data_at + done, length);
    }
  }
}
