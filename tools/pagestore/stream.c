/* stream.c - an instance as a stream, compressed by zstd; and back.
 *
 * A stream of snapshots is the same bytes each time, from one program and zstd at one level: so what of it has arrived
 * can be kept in a spool file, and the next send leaves it out. Joined wrongly, its checksums refuse it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "change.h"
#include "complain.h"
#include "file.h"
#include "hold.h"
#include "look.h"
#include "progress.h"

enum { BUFFER_BYTES = 1 << 20, LEVEL_DEFAULT = 3, LEVEL_MAX = 19 };

/* ---- send ------------------------------------------------------------------------------------ */

typedef struct {
  file out;
  ZSTD_CCtx *zstd;   /* NULL: as it is */
  progress progress; /* over what is stored, before it is compressed; of an increment the whole is not known */
  uint64_t skip;     /* so many bytes are left out yet */
  bool failed;
  hold hold;
  uint8_t buffer[BUFFER_BYTES];
} sending;

static bool put_out(sending *s, const void *bytes, size_t length) {
  size_t skipped = s->skip < length ? (size_t)s->skip : length;
  s->skip -= skipped;
  return file_put(&s->out, (const uint8_t *)bytes + skipped, length - skipped);
}

static bool compress(sending *s, ZSTD_inBuffer in, ZSTD_EndDirective how) {
  size_t left;
  do {
    ZSTD_outBuffer out = {s->buffer, sizeof s->buffer, 0};
    left = ZSTD_compressStream2(s->zstd, &out, &in, how);
    if (ZSTD_isError(left)) {
      complain("zstd: %s: try --level 0", ZSTD_getErrorName(left));
      return false;
    }
    if (!put_out(s, s->buffer, out.pos)) return false;
  } while (how == ZSTD_e_end ? left != 0 : in.pos < in.size);
  return true;
}

static int put(void *env, const void *bytes, size_t length) {
  sending *s = env;
  s->failed = !hold_goes_on(&s->hold);
  if (s->failed) return 1;
  s->failed = s->zstd ? !compress(s, (ZSTD_inBuffer){bytes, length, 0}, ZSTD_e_continue) : !put_out(s, bytes, length);
  progress_step(&s->progress, length);
  return s->failed;
}

static int send_views(sending *s, pagestore_instance *from, pagestore_instance *to) {
  int status = pagestore_send(from, to, put, s);
  if (s->failed) return EXIT_FAILED;
  if (status) {
    complain_status(status, NULL);
    return status == PAGESTORE_ECORRUPT ? EXIT_FOUND : EXIT_FAILED;
  }
  if (s->zstd && !compress(s, (ZSTD_inBuffer){0}, ZSTD_e_end)) return EXIT_FAILED;
  if (s->skip == 0) return EXIT_OK;
  complain("the stream ends %" PRIu64 " bytes before what was to be skipped: it is another one, begin anew", s->skip);
  return EXIT_FAILED;
}

static int send_to_file(const invocation *v, sending *s, pagestore_instance *from, pagestore_instance *to) {
  const char *path = option_value(v, "output");
  if (!file_create(&s->out, path ? path : "-")) return EXIT_FAILED;
  pagestore_instance_info info = {.size = sizeof info};
  pagestore_instance_stat(to, &info);
  s->progress.total = from ? 0 : info.stored_pages * PAGESTORE_PAGE;
  int code = send_views(s, from, to);
  if (code == EXIT_OK) progress_whole(&s->progress);
  progress_end(&s->progress);
  int closed = file_finish(&s->out, code == EXIT_OK);
  return code == EXIT_OK ? closed : code;
}

static int send_from(const invocation *v, sending *s, pagestore_store *store) {
  pagestore_instance *from = NULL, *to = NULL;
  const char *since = option_value(v, "since"), *snapshot = v->operands > 2 ? v->operand[2] : NULL;
  int code = look_view(store, v->operand[1], snapshot, &to);
  hold_begin(&s->hold, v, !snapshot);
  if (code == EXIT_OK && since) code = look_view(store, v->operand[1], since, &from);
  if (code == EXIT_OK) code = send_to_file(v, s, from, to);
  if (from) pagestore_instance_close(from);
  if (to) pagestore_instance_close(to);
  return code;
}

int command_send(const invocation *v) {
  static sending s;
  pagestore_store *store;
  uint64_t level = LEVEL_DEFAULT;
  if (!option_number(v, "level", &level)) return EXIT_USAGE;
  if (!option_number(v, "skip", &s.skip)) return EXIT_USAGE;
  if (s.skip && v->operands < 3)
    return complain_usage(v->command, "--skip needs a SNAPSHOT: the present may be another one than the last time");
  if (level > LEVEL_MAX) return complain_usage(v->command, "--level goes from 0 (as it is) to %d", LEVEL_MAX);
  if (level && !(s.zstd = ZSTD_createCCtx())) return complain_memory();
  if (level) {
    ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_compressionLevel, (int)level);
    ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_checksumFlag, 1);
  }
  int code = progress_begin(&s.progress, v, "send", 0);
  if (code == EXIT_OK) code = look_open(v, &store);
  if (code == EXIT_OK) {
    code = send_from(v, &s, store);
    pagestore_close(store);
  }
  ZSTD_freeCCtx(s.zstd);
  return code;
}

/* ---- receive --------------------------------------------------------------------------------- */

typedef struct {
  file in;
  ZSTD_DCtx *zstd; /* NULL: the stream is not compressed */
  ZSTD_inBuffer have;
  size_t frame_left; /* 0: between frames */
  progress progress; /* over the file's size; of a pipe the whole is not known */
  bool failed, spooled;
  uint8_t buffer[BUFFER_BYTES];
} receiving;

static bool refill(receiving *r) {
  size_t length;
  if (!file_get(&r->in, r->buffer, sizeof r->buffer, &length)) return false;
  r->have = (ZSTD_inBuffer){r->buffer, length, 0};
  progress_step(&r->progress, length);
  return true;
}

static bool decompress(receiving *r, ZSTD_outBuffer *out) {
  while (out->pos == 0) {
    if (r->have.pos == r->have.size && !refill(r)) return false;
    if (r->have.size == 0 && r->frame_left == 0) return true;
    if (r->have.size == 0) {
      complain("the stream ends inside its compressed data: it is incomplete, send it again%s",
               r->spooled ? ", with --skip of what `receive --spool FILE --where` says" : "");
      return false;
    }
    r->frame_left = ZSTD_decompressStream(r->zstd, out, &r->have);
    if (ZSTD_isError(r->frame_left)) {
      complain("zstd: %s: the stream is damaged, send it again", ZSTD_getErrorName(r->frame_left));
      return false;
    }
  }
  return true;
}

static int get(void *env, void *bytes, size_t room, size_t *length) {
  receiving *r = env;
  ZSTD_outBuffer out = {bytes, room, 0};
  if (r->zstd) {
    r->failed = !decompress(r, &out);
    *length = out.pos;
    return r->failed;
  }
  if (r->have.pos == r->have.size && !refill(r)) return r->failed = true;
  size_t left = r->have.size - r->have.pos;
  *length = left < room ? left : room;
  memcpy(bytes, r->buffer + r->have.pos, *length);
  r->have.pos += *length;
  return 0;
}

static bool begin(receiving *r) {
  static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd}; /* a zstd frame's, RFC 8878 */
  if (!refill(r)) return false;
  if (r->have.size < sizeof magic || memcmp(r->buffer, magic, sizeof magic) != 0) return true;
  r->zstd = ZSTD_createDCtx();
  if (!r->zstd) complain_memory();
  return r->zstd != NULL;
}

/* ---- a spool ------------------------------------------------------------------------------------ */

static int spool_failed(const char *path, const char *next) {
  complain("%s: %s; %s", path, strerror(errno), next);
  return EXIT_FAILED;
}

static int tell_where(const char *path) {
  struct stat st = {.st_size = 0};
  if (stat(path, &st) != 0 && errno != ENOENT) return spool_failed(path, "name another file");
  printf("%" PRIu64 "\n", (uint64_t)st.st_size);
  return EXIT_OK;
}

/* All that comes goes behind what the file has; it is then read instead. */
static int fill_spool(receiving *r, const char *path, file *spool) {
  size_t length = 1;
  *spool = (file){.path = path, .fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)};
  if (spool->fd < 0) return spool_failed(path, "name a file in a directory that you may write to");
  if (flock(spool->fd, LOCK_EX | LOCK_NB) != 0) return spool_failed(path, "another receive has it: wait for its end");
  while (length > 0) {
    if (!file_get(&r->in, r->buffer, sizeof r->buffer, &length)) return EXIT_FAILED;
    if (!file_put(spool, r->buffer, length)) return EXIT_FAILED;
    progress_step(&r->progress, length);
  }
  if (lseek(spool->fd, 0, SEEK_SET) != 0) return spool_failed(path, "name a file on a disk");
  struct stat st;
  r->progress.done = 0;
  r->progress.total = fstat(spool->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
  return EXIT_OK;
}

/* Whole: not needed any more. Else the bytes stay; the complaint about why has been made. */
static int end_spool(file *spool, int code) {
  if (code == EXIT_OK && unlink(spool->path) != 0) code = spool_failed(spool->path, "remove it");
  close(spool->fd);
  return code;
}

/* ---- the command ------------------------------------------------------------------------------ */

static int receive_into(const invocation *v, receiving *r, pagestore_store *store) {
  const char *name = v->operand[1];
  int status = pagestore_receive(store, name, get, r);
  if (!status) progress_whole(&r->progress);
  progress_end(&r->progress);
  if (r->failed) return EXIT_FAILED;
  if (status == PAGESTORE_EEXIST || status == PAGESTORE_EFORMAT) return complain_status(status, "nothing was changed");
  if (status) return complain_status(status, NULL);
  change_done("instance '%s' is received", name);
  return EXIT_OK;
}

static int receive_from(const invocation *v, receiving *r) {
  pagestore_store *store;
  int code = begin(r) ? EXIT_OK : EXIT_FAILED;
  if (code == EXIT_OK)
    code = option_given(v, "create") ? change_open_or_make(v, v->operand[0], &store) : change_open(v, &store);
  if (code == EXIT_OK) code = change_close(store, receive_into(v, r, store));
  ZSTD_freeDCtx(r->zstd);
  return code;
}

static int receive_spooled(const invocation *v, receiving *r) {
  file spool, in = r->in;
  int code = fill_spool(r, option_value(v, "spool"), &spool);
  r->spooled = true;
  r->in = spool;
  if (code == EXIT_OK) code = receive_from(v, r);
  r->in = in;
  return spool.fd < 0 ? code : end_spool(&spool, code);
}

int command_receive(const invocation *v) {
  static receiving r;
  const char *spool = option_value(v, "spool");
  if (option_given(v, "where") && !spool) return complain_usage(v->command, "--where needs --spool FILE");
  if (option_given(v, "where")) return tell_where(spool);
  int code = progress_begin(&r.progress, v, "receive", 0);
  if (code != EXIT_OK) return code;
  if (!file_open_in(&r.in, v->operands > 2 ? v->operand[2] : "-")) return EXIT_FAILED;
  r.progress.total = r.in.bytes;
  code = spool ? receive_spooled(v, &r) : receive_from(v, &r);
  progress_end(&r.progress);
  file_finish(&r.in, true);
  return code;
}
