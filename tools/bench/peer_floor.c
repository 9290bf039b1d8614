/* peer_floor.c - the floor: 36 KiB (a header and eight blocks) over the same place of a file that is there,
 * and one fdatasync. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peers.h"
#include "subject.h"

enum { PLACES = 64 };

struct peer {
  int file;
  uint64_t next;
  uint8_t record[PAGESTORE_BLOCK * 9];
};

static peer *open_floor(const char *folder, uint64_t pages) {
  (void)pages;
  peer *p = need_memory(sizeof *p);
  dice d = {13};
  p->file = open(folder, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  need_os(p->file >= 0, folder);
  for (unsigned i = 0; i < PLACES; i++) {
    dice_fill(&d, p->record, sizeof p->record);
    need_os(pwrite(p->file, p->record, sizeof p->record, (off_t)(i * sizeof p->record)) == sizeof p->record, "pwrite");
  }
  need_os(fsync(p->file) == 0, "fsync");
  return p;
}

static void message(peer *p, const uint64_t *blocks, uint64_t count, const uint8_t *bytes) {
  if (count > 8) die("the floor knows messages of up to 8 blocks");
  memcpy(p->record, blocks, count * sizeof *blocks);
  memcpy(p->record + PAGESTORE_BLOCK, bytes, count * PAGESTORE_BLOCK);
  off_t at = (off_t)(p->next++ % PLACES * sizeof p->record);
  need_os(pwrite(p->file, p->record, sizeof p->record, at) == sizeof p->record, "pwrite");
  need_os(fdatasync(p->file) == 0, "fdatasync");
}

static void close_floor(peer *p) {
  close(p->file);
  free(p);
}

const peer_kind peer_floor = {"raw 36 KiB and fdatasync", false, open_floor, message, close_floor};
