/* feed.c - the first half of the demo: the plan, the process that is killed, and what it left. See
 * stages.h. */
#include "stages.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char interrupted_name[] = "interrupted-message";

void demo_say(const char *stage, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%-9s ", stage);
  vprintf(format, arguments);
  printf("\n");
  fflush(stdout);
  va_end(arguments);
}

/* ---- opening and closing, with the counters kept --------------------------------------------- */

int demo_open(demo *d, void (*on_durable)(void *, void *, uint64_t, int), void *env) {
  pagestore_options options = {.size = sizeof options,
                               .flags = PAGESTORE_CREATE,
                               .on_durable = on_durable,
                               .env = env};
  if (pagestore_open(d->path, &options, &d->store)) return demo_failed(d->path);
  return guest_open(&d->guest, d->store, "demo", PAGESTORE_CREATE, NULL, &d->times);
}

int demo_close(demo *d) {
  pagestore_statistics stats = {.size = sizeof stats};
  guest_close(&d->guest);
  if (pagestore_sync(d->store, PAGESTORE_FOREVER)) return demo_failed("sync");
  if (pagestore_stats(d->store, &stats)) return demo_failed("stats");
  d->stats.commits += stats.commits;
  d->stats.blocks_dirty += stats.blocks_dirty;
  d->stats.bytes_flushed += stats.bytes_flushed;
  d->stats.flushes += stats.flushes;
  d->stats.flush_ns += stats.flush_ns;
  d->stats.tracker = stats.tracker;
  d->stats.file_bytes = stats.file_bytes;
  if (pagestore_close(d->store)) return demo_failed("close");
  d->store = NULL;
  return 0;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static void add_step(demo *d, step s) { d->steps[d->step_count++] = s; }

/* What differs between the store and the file, in the file's order; names that the file has no more
 * go last. */
static void make_steps(demo *d, const model *stored) {
  model wanted = {0};
  d->steps = demo_alloc((d->file.count + stored->count) * sizeof *d->steps);
  for (size_t i = 0; i < d->file.count; i++) {
    const record *r = &d->file.at[i], *there = model_find(stored, r->name);
    model_put(&wanted, r->name, r->text, r->bytes);
    if (there && there->bytes == r->bytes && memcmp(there->text, r->text, r->bytes) == 0) continue;
    add_step(d, (step){.name = r->name, .text = r->text, .bytes = r->bytes, .is_new = !there});
  }
  for (size_t i = 0; i < stored->count; i++)
    if (!model_find(&wanted, stored->at[i].name)) add_step(d, (step){.name = stored->at[i].name});
  d->half = d->step_count / 2;
  model_free(&wanted);
}

static void apply(model *m, const step *s) {
  if (s->text) model_put(m, s->name, s->text, s->bytes);
  else model_remove(m, s->name);
}

static unsigned count_snapshots(demo *d);

int stage_prepare(demo *d) {
  model stored; /* kept: steps that remove point to its names, and `now` will change */
  if (demo_open(d, NULL, NULL)) return 1;
  d->found_version = pagestore_committed_version(d->guest.instance);
  d->found_message = d->guest.last_message;
  d->run = count_snapshots(d) + 1;
  int module = d->guest.module;
  if (guest_read(&d->guest, &d->now) || guest_matches(&d->guest, &d->now, "before") ||
      demo_close(d))
    return 1;
  model_copy(&stored, &d->now);
  make_steps(d, &stored);
  demo_say("records", "%zu in %s, %llu bytes", d->file.count, d->input,
           (unsigned long long)d->input_bytes);
  if (d->found_message)
    demo_say(
        "store",
        "%s, of an earlier run: version %llu, message %llu, module %d, %zu records; %zu to send",
        d->path, (unsigned long long)d->found_version, (unsigned long long)d->found_message, module,
        d->now.count, d->step_count);
  else
    demo_say("store", "%s, new: module 1 installed as version %llu", d->path,
             (unsigned long long)d->found_version);
  return 0;
}

static int count_one(void *env, const char *name, uint64_t version, uint64_t retained_bytes) {
  (void)name, (void)version, (void)retained_bytes;
  ++*(unsigned *)env;
  return 0;
}

/* Each run leaves one snapshot. */
static unsigned count_snapshots(demo *d) {
  unsigned count = 0;
  pagestore_snapshot_each(d->store, "demo", count_one, &count);
  return count;
}

/* ---- feeding --------------------------------------------------------------------------------- */

static int send_step(demo *d, const step *s, unsigned flags, uint64_t *version) {
  guest_export which = s->text ? GUEST_PUT : GUEST_REMOVE;
  uint64_t expected = s->text ? s->is_new : 1;
  return guest_message(&d->guest, which, s->name, s->text, s->bytes, expected, flags, version);
}

int demo_feed(demo *d, size_t from, size_t to, unsigned flags) {
  for (size_t i = from; i < to; i++) {
    if (send_step(d, &d->steps[i], flags, NULL)) return 1;
    apply(&d->now, &d->steps[i]);
    if (d->shows_progress && i % 16 == 0) fprintf(stderr, "\r%zu of %zu ", i, to);
  }
  if (d->shows_progress) fprintf(stderr, "\r                    \r");
  return 0;
}

/* A record of 16 bytes goes into a pipe whole. The parent reads all the time, so the flusher does
 * not wait. */
static void tell_parent(int to, telling what, uint64_t number) {
  tell t = {what, number};
  while (write(to, &t, sizeof t) < 0 && errno == EINTR) {}
}

static void on_durable(void *env, void *user, uint64_t version, int status) {
  (void)user;
  if (status == 0) tell_parent(*(int *)env, TELL_DURABLE, version);
}

typedef struct {
  int to;
  uint64_t message;
} stopping;

static void stop_here(void *env) {
  stopping *s = env;
  tell_parent(s->to, TELL_INSIDE, s->message);
  for (;;) pause();
}

/* The last message stops for ever in the middle of a write to stable memory, deep in the guest: the
 * parent kills us there. */
int stage_feed_half(demo *d, int tell_to) {
  model stored;
  int code;
  uint64_t version, result;
  if (demo_open(d, on_durable, &tell_to) || guest_read(&d->guest, &stored)) return 1;
  make_steps(d, &stored);
  for (size_t i = 0; i < d->half; i++) {
    if (send_step(d, &d->steps[i], PAGESTORE_ASYNC, &version)) return 1;
    tell_parent(tell_to, TELL_SEALED, version);
  }
  stopping s = {tell_to, d->guest.last_message + 1};
  d->guest.ic0.stop = stop_here;
  d->guest.ic0.env = &s;
  d->guest.ic0.writes_left = 3;
  guest_call(&d->guest, GUEST_PUT, interrupted_name, d->file.at[0].text, d->file.at[0].bytes, &code,
             &result);
  fprintf(stderr, "demo: the message that was to be interrupted came to its end\n");
  return 1;
}

/* ---- the kill -------------------------------------------------------------------------------- */

static pid_t start_feeder(demo *d, int tell_to) {
  char descriptor[16];
  snprintf(descriptor, sizeof descriptor, "%d", tell_to);
  fflush(NULL);
  pid_t child = fork();
  if (child != 0) return child;
  execl(d->self, d->self, "--feeder", descriptor, "--store", d->path, d->input, (char *)NULL);
  perror(d->self);
  _exit(127);
}

/* Reads until the child is inside its last message, kills it, and reads what was still in the pipe.
 */
static void listen_and_kill(demo *d, int from, pid_t child) {
  tell t;
  d->durable_version = d->found_version;
  d->sealed_version = d->found_version;
  while (read(from, &t, sizeof t) == (ssize_t)sizeof t) {
    if (t.what == TELL_SEALED) d->sealed_version = t.number;
    if (t.what == TELL_DURABLE && t.number > d->durable_version) d->durable_version = t.number;
    if (t.what == TELL_INSIDE) {
      d->interrupted_message = t.number;
      kill(child, SIGKILL);
    }
  }
}

static unsigned long long message_of(const demo *d, uint64_t version) {
  return (unsigned long long)(version - d->found_version + d->found_message);
}

int stage_crash(demo *d) {
  int pipe_ends[2], status = 0;
  if (pipe(pipe_ends) != 0) return perror("pipe"), 1;
  pid_t child = start_feeder(d, pipe_ends[1]);
  close(pipe_ends[1]);
  if (child < 0) return perror("fork"), 1;
  listen_and_kill(d, pipe_ends[0], child);
  close(pipe_ends[0]);
  waitpid(child, &status, 0);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL || !d->interrupted_message) {
    fprintf(stderr, "demo: the feeding process ended by itself (status %d)\n", status);
    return 1;
  }
  demo_say("feed", "%zu messages, commits not waited for; killed with SIGKILL inside message %llu",
           d->half, (unsigned long long)d->interrupted_message);
  demo_say("", "sealed up to message %llu, acknowledged as durable up to message %llu",
           message_of(d, d->sealed_version), message_of(d, d->durable_version));
  return 0;
}

/* What is found is a prefix of what was sent: not less than acknowledged, not more than sealed, and
 * nothing in between. */
int stage_resume(demo *d) {
  if (demo_open(d, NULL, NULL)) return 1;
  uint64_t version = pagestore_committed_version(d->guest.instance),
           message = d->guest.last_message;
  if (version < d->durable_version || version > d->sealed_version ||
      message != message_of(d, version)) {
    fprintf(stderr, "demo: version %llu, message %llu found: not one that was acknowledged\n",
            (unsigned long long)version, (unsigned long long)message);
    return 1;
  }
  size_t done = (size_t)(message - d->found_message);
  for (size_t i = 0; i < done; i++) apply(&d->now, &d->steps[i]);
  if (guest_matches(&d->guest, &d->now, "after the kill")) return 1;
  if (model_find(&d->now, interrupted_name))
    return fprintf(stderr, "demo: the file has %s\n", interrupted_name), 1;
  demo_say("restart",
           "version %llu found, message %llu: all acknowledged messages are there byte for byte,",
           (unsigned long long)version, (unsigned long long)message);
  demo_say("", "and nothing of message %llu, which was inside the guest",
           (unsigned long long)d->interrupted_message);
  d->half = done;
  return 0;
}

int stage_feed_rest(demo *d) {
  uint64_t before = demo_ns();
  size_t count = d->step_count - d->half;
  if (demo_feed(d, d->half, d->step_count, PAGESTORE_ASYNC)) return 1;
  if (pagestore_wait(d->guest.instance, pagestore_committed_version(d->guest.instance),
                     PAGESTORE_FOREVER))
    return demo_failed("wait");
  double seconds = (double)(demo_ns() - before) / 1e9;
  if (guest_matches(&d->guest, &d->now, "after feeding")) return 1;
  for (size_t i = 0; i < d->file.count; i++)
    if (!model_find(&d->now, d->file.at[i].name))
      return fprintf(stderr, "demo: %s is missing\n", d->file.at[i].name), 1;
  demo_say("feed", "the other %zu messages in %.2f s, durable; %zu records, the file byte for byte",
           count, seconds, d->now.count);
  return 0;
}
