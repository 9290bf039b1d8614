/* worker.c - contestants in processes of their own. The contract is in worker.h. */
#include "worker.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { HOT_SHARE = 100, HOT_PAGES_MIN = 16, QUIET_MS = 100, SETTLING_MS_MAX = 10000 };

/* ---- the account ------------------------------------------------------------------------------------------------- */

/* Bytes that this process gave to write calls. (What the kernel counts as sent to storage is no use: it counts the
 * whole folio, up to 2 MiB, in which a block was changed.) NaN: not told. */
static double written_bytes(void) {
  char line[100];
  unsigned long long bytes;
  double found = NAN;
  FILE *f = fopen("/proc/self/io", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "wchar: %llu", &bytes) == 1) found = (double)bytes;
  if (f) fclose(f);
  return found;
}

static bool all(int fd, void *bytes, size_t length, bool is_write) {
  uint8_t *at = bytes;
  while (length) {
    ssize_t done = is_write ? write(fd, at, length) : read(fd, at, length);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    length -= (size_t)done;
  }
  return true;
}

/* ---- in the child ------------------------------------------------------------------------------------------------ */

/* Until nothing is written any more, so that nobody's background work is in the turn of the next one. */
static void settle(void) {
  double written = written_bytes(), before = NAN;
  for (int waited = 0; waited < SETTLING_MS_MAX && !isnan(written) && written != before; waited += QUIET_MS) {
    before = written;
    usleep(QUIET_MS * 1000);
    written = written_bytes();
  }
}

static _Noreturn void serve(const worker_role *role, int asked, int answer) {
  turn t;
  outcome o = {0};
  void *contestant = role->open(role->env);
  settle();
  double written = written_bytes();
  uint64_t cpu = cpu_ns();
  if (!all(answer, &o, sizeof o, true)) _exit(EXIT_FAILED);
  while (all(asked, &t, sizeof t, false) && t.messages > 0) {
    double *latencies = need_memory(t.messages * sizeof *latencies);
    uint64_t begin = now_ns();
    role->run(contestant, &t, latencies);
    o.seconds = (double)(now_ns() - begin) / 1e9;
    o.p50_ms = quantile_of(latencies, t.messages, 0.5);
    o.p99_ms = quantile_of(latencies, t.messages, 0.99);
    settle();
    o.written_bytes = written_bytes() - written;
    o.cpu_seconds = (double)(cpu_ns() - cpu) / 1e9;
    written = written_bytes();
    cpu = cpu_ns();
    free(latencies);
    if (!all(answer, &o, sizeof o, true)) _exit(EXIT_FAILED);
  }
  role->close(contestant);
  _exit(0);
}

/* ---- in the parent ----------------------------------------------------------------------------------------------- */

static outcome answered(worker *w) {
  outcome o;
  if (!all(w->answer, &o, sizeof o, false)) die("a contestant has ended");
  return o;
}

worker worker_start(const worker_role *role) {
  int ask[2], answer[2];
  need_os(pipe(ask) == 0 && pipe(answer) == 0, "pipe");
  pid_t child = fork();
  need_os(child >= 0, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ask[1]);
    close(answer[0]);
    serve(role, ask[0], answer[1]);
  }
  close(ask[0]);
  close(answer[1]);
  worker w = {ask[1], answer[0]};
  answered(&w);
  return w;
}

outcome worker_turn(worker *w, const turn *t) {
  if (!all(w->ask, (void *)(uintptr_t)t, sizeof *t, true)) die("a contestant has ended");
  return answered(w);
}

/* Returns once the other end is closed, by the worker's exit. */
void worker_stop(worker *w) {
  static const turn last = {0};
  char byte;
  if (!all(w->ask, (void *)(uintptr_t)&last, sizeof last, true)) die("a contestant has ended");
  close(w->ask);
  while (read(w->answer, &byte, 1) > 0) continue;
  close(w->answer);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

void worker_blocks(uint64_t blocks[MESSAGE_BLOCKS], uint64_t pages, bool skewed, dice *d) {
  uint64_t hot = pages / HOT_SHARE < HOT_PAGES_MIN ? HOT_PAGES_MIN : pages / HOT_SHARE;
  for (unsigned i = 0; i < MESSAGE_BLOCKS; i++) {
    bool is_new = false;
    while (!is_new) {
      uint64_t page = dice_below(d, skewed && dice_below(d, 10) < 9 ? hot : pages);
      blocks[i] = page * 16 + dice_below(d, 16);
      is_new = true;
      for (unsigned k = 0; k < i; k++) is_new &= blocks[k] / 16 != page;
    }
  }
}
