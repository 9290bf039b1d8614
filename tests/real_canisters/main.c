/* real_canisters - canisters of other people's compilers run durably on Wasmtime, killed, upgraded and restored, beside the
 * compiler's own modules on throw-away memories.
 *
 *   real_canisters FOLDER NAME calls|shim     FOLDER has the modules (tests/real_canisters.sh makes them) and gets a store
 *
 * The durable host is another process, which does what it is told over a pipe and acknowledges what is durable. After every
 * phase both sides must show the same bytes of heap and stable memory, and every reply must have been the same. A message that
 * traps is never given to the plain side, so there it cannot have left anything.
 *
 * Thread: one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "messages.h"

extern char **environ;

enum { HISTORY_MAX = 2000, PHASE = 60, KILLS = 5, IN_FLIGHT = 30 };
typedef enum { RUN, UPGRADE, SNAPSHOT, RESTORE, LOOK, LAST, CLOSE } order_kind;
typedef struct {
  order_kind kind;
  int version;
  uint64_t number;
  int64_t argument;
} order;

/* ---- the durable side -------------------------------------------------------------------------------------------- */

static void answer(const reply *r) {
  size_t length = offsetof(reply, bytes) + r->length;
  if (write(1, r, length) != (ssize_t)length) exit(2);
}

static void answer_with(const void *bytes, size_t length) {
  static reply r;
  r.length = (uint32_t)length;
  memcpy(r.bytes, bytes, length);
  answer(&r);
}

/* What only asks, and what trapped, leaves nothing but its number. */
static void run(host *h, uint64_t number) {
  static reply r;
  message m;
  message_make(h->canister, number, &m);
  host_run(h, &m, &r);
  if (!r.code != !m.traps)
    die("%s: message %llu, %s: %d %s", h->canister->name, (unsigned long long)number, m.method, r.code,
        h->guest.detail);
  host_end(h, number, r.code == 0 && !message_asks(&m));
  answer(&r);
}

static int serve(const char *folder, const canister *c, backend kind) {
  static host h;
  static reply r;
  char store[4096];
  order o;
  snprintf(store, sizeof store, "%s/%s.%d.store", folder, c->name, (int)kind);
  host_open(&h, kind, c, folder, store);
  while (read(0, &o, sizeof o) == sizeof o) {
    r = (reply){.code = 0};
    fingerprint f = {0};
    uint64_t last = 0;
    switch (o.kind) {
    case RUN: run(&h, o.number); continue;
    case UPGRADE: r.code = host_upgrade(&h, o.number, o.version, o.argument); break;
    case SNAPSHOT: host_snapshot(&h, "kept"); break;
    case RESTORE: host_restore(&h, "kept"); break;
    case LOOK:
      f = host_fingerprint(&h);
      answer_with(&f, sizeof f);
      continue;
    case LAST:
      last = host_last(&h);
      answer_with(&last, sizeof last);
      continue;
    case CLOSE: host_close(&h); break;
    }
    answer(&r);
    if (o.kind == CLOSE) return 0;
  }
  return 1;
}

/* ---- the two of them --------------------------------------------------------------------------------------------- */

typedef struct {
  const canister *canister;
  const char *folder, *kind;
  host plain;
  order history[HISTORY_MAX]; /* what made the plain side what it is */
  size_t done, kept;          /* kept: at the snapshot */
  pid_t pid;
  int to, from;
  unsigned compared, traps, unacknowledged;
} pair;

static void child_start(pair *p) {
  int orders[2], answers[2];
  char *words[] = {"real_canisters", (char *)p->folder, (char *)p->canister->name, (char *)p->kind, "serve", NULL};
  posix_spawn_file_actions_t actions;
  if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC)) die("no pipe");
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, orders[0], 0);
  posix_spawn_file_actions_adddup2(&actions, answers[1], 1);
  if (posix_spawn(&p->pid, "/proc/self/exe", &actions, NULL, words, environ)) die("no process");
  posix_spawn_file_actions_destroy(&actions);
  close(orders[0]);
  close(answers[1]);
  p->to = orders[1];
  p->from = answers[0];
}

static void child_wait(pair *p, int signal) {
  int status;
  close(p->to);
  close(p->from);
  if (waitpid(p->pid, &status, 0) != p->pid) die("no such process");
  bool right = signal ? WIFSIGNALED(status) && WTERMSIG(status) == signal : WIFEXITED(status) && !WEXITSTATUS(status);
  if (!right) die("%s: the durable host ended with %#x", p->canister->name, status);
}

static void tell(pair *p, order o) {
  if (write(p->to, &o, sizeof o) != sizeof o) die("%s: the durable host is gone", p->canister->name);
}

static bool read_whole(int from, void *to, size_t length) {
  for (size_t got = 0; got < length;) {
    ssize_t n = read(from, (uint8_t *)to + got, length - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    got += (size_t)n;
  }
  return true;
}

static bool hear(pair *p, reply *r) {
  return read_whole(p->from, r, offsetof(reply, bytes)) && read_whole(p->from, r->bytes, r->length);
}

static reply *ask(pair *p, order o) {
  static reply r;
  tell(p, o);
  if (!hear(p, &r)) die("%s: the durable host ended by itself", p->canister->name);
  return &r;
}

/* On a copy of the process, so that nothing of it stays. */
static void plain_ask(pair *p, const message *m, reply *r) {
  int answers[2];
  if (pipe(answers)) die("no pipe");
  pid_t pid = fork();
  if (pid == 0) {
    host_run(&p->plain, m, r);
    _exit(write(answers[1], r, sizeof *r) == sizeof *r ? 0 : 1);
  }
  close(answers[1]);
  if (pid < 0 || !read_whole(answers[0], r, sizeof *r)) die("%s: no answer to %s", p->canister->name, m->method);
  close(answers[0]);
  waitpid(pid, NULL, 0);
}

/* The plain side takes one more step; the reply. */
static const reply *plain_step(pair *p, order o) {
  static reply r;
  message m;
  r = (reply){.code = 0};
  message_make(p->canister, o.number, &m);
  if (o.kind == UPGRADE) host_upgrade(&p->plain, o.number, o.version, o.argument);
  else if (message_asks(&m)) plain_ask(p, &m, &r);
  else host_run(&p->plain, &m, &r);
  return &r;
}

static bool is_trap(const pair *p, uint64_t number) {
  message m;
  message_make(p->canister, number, &m);
  return m.traps;
}

/* durable NULL: its answer was lost with the process. */
static void follow(pair *p, order o, const reply *durable) {
  if (o.kind == RUN && is_trap(p, o.number)) {
    if (durable && !durable->code) die("message %llu did not trap", (unsigned long long)o.number);
    p->traps++;
    return;
  }
  if (p->done == HISTORY_MAX) die("too many messages");
  p->history[p->done++] = o;
  const reply *plain = plain_step(p, o);
  if (!durable) return;
  if (durable->code != plain->code || durable->length != plain->length ||
      memcmp(durable->bytes, plain->bytes, plain->length) != 0)
    die("%s: message %llu: another reply, %u and %u bytes", p->canister->name, (unsigned long long)o.number,
        durable->length, plain->length);
  p->compared++;
}

static void same_state(pair *p) {
  fingerprint plain = host_fingerprint(&p->plain), durable;
  const reply *r = ask(p, (order){.kind = LOOK});
  memcpy(&durable, r->bytes, sizeof durable);
  if (r->length != sizeof durable || memcmp(&plain, &durable, sizeof plain) != 0)
    die("%s, %s, after %zu steps: heap %llu and %llu pages, %s; stable %llu and %llu pages, %s", p->canister->name,
        p->kind, p->done, (unsigned long long)plain.heap_pages, (unsigned long long)durable.heap_pages,
        plain.heap_hash == durable.heap_hash ? "same" : "other bytes", (unsigned long long)plain.stable_pages,
        (unsigned long long)durable.stable_pages, plain.stable_hash == durable.stable_hash ? "same" : "other bytes");
}

static void messages(pair *p, uint64_t first, unsigned count) {
  for (uint64_t number = first; number < first + count; number++) {
    order o = {.kind = RUN, .number = number};
    follow(p, o, ask(p, o));
  }
  same_state(p);
}

/* Killed with messages in flight, after so many acknowledgements. The number that follows the last durable message. */
static uint64_t killed(pair *p, uint64_t first, unsigned acknowledgements) {
  static reply r;
  uint64_t next = first, last;
  for (uint64_t number = first; number < first + IN_FLIGHT; number++) tell(p, (order){.kind = RUN, .number = number});
  while (hear(p, &r)) {
    follow(p, (order){.kind = RUN, .number = next++}, &r);
    if (next - first == acknowledgements && kill(p->pid, SIGKILL)) die("it cannot be killed");
  }
  child_wait(p, SIGKILL);
  child_start(p);
  memcpy(&last, ask(p, (order){.kind = LAST})->bytes, sizeof last);
  if (last + 1 != next && last != next)
    die("acknowledged up to %llu, found %llu", (unsigned long long)next - 1, (unsigned long long)last);
  if (last == next) {
    follow(p, (order){.kind = RUN, .number = next++}, NULL);
    p->unacknowledged++;
  }
  same_state(p);
  return next;
}

static void upgraded(pair *p, uint64_t number) {
  /* what is no upgrade of it: trapped, and nothing has changed */
  order bad = {.kind = UPGRADE, .version = p->canister->is_raw ? 2 : 3, .number = number, .argument = 1};
  if (!ask(p, bad)->code) die("%s: an upgrade that must trap did not", p->canister->name);
  p->traps++;
  same_state(p);
  order good = {.kind = UPGRADE, .version = 2, .number = number};
  follow(p, good, ask(p, good));
  same_state(p);
}

/* The plain side once more from its beginning up to the snapshot. */
static void restored(pair *p) {
  const reply *r = ask(p, (order){.kind = RESTORE});
  if (r->code) die("restore: %d", r->code);
  host_close(&p->plain);
  host_open(&p->plain, PLAIN, p->canister, p->folder, NULL);
  p->done = p->kept;
  for (size_t i = 0; i < p->done; i++) plain_step(p, p->history[i]);
  same_state(p);
}

static void snapshot(pair *p) {
  ask(p, (order){.kind = SNAPSHOT});
  p->kept = p->done;
}

static void restarted(pair *p) {
  ask(p, (order){.kind = CLOSE});
  child_wait(p, 0);
  child_start(p);
  same_state(p);
}

static void whole_life(pair *p) {
  host_open(&p->plain, PLAIN, p->canister, p->folder, NULL);
  child_start(p);
  same_state(p);
  messages(p, 1, PHASE);
  restarted(p);
  uint64_t next = 1 + PHASE;
  for (unsigned i = 0; i < KILLS; i++) next = killed(p, next, 3 + 5 * i);
  snapshot(p);
  messages(p, 1000, PHASE);
  restored(p); /* to the same module */
  messages(p, 2000, PHASE);
  upgraded(p, 3000);
  messages(p, 3001, PHASE);
  next = killed(p, 3001 + PHASE, 11);
  messages(p, next, PHASE / 2); /* the new module, from the store */
  restored(p);                  /* from the new module to the old one */
  messages(p, 4000, PHASE);
  upgraded(p, 5000);
  messages(p, 5001, PHASE);
  restarted(p);
  messages(p, 6000, PHASE / 2);
  ask(p, (order){.kind = CLOSE});
  child_wait(p, 0);
  fingerprint end = host_fingerprint(&p->plain);
  printf("%s, %s: %u replies compared, %u traps undone, %u kills (%u messages durable, not acknowledged); heap %llu, "
         "stable %llu pages\n",
         p->canister->name, p->kind, p->compared, p->traps, KILLS + 1, p->unacknowledged,
         (unsigned long long)end.heap_pages, (unsigned long long)end.stable_pages);
  host_close(&p->plain);
}

int main(int count, char **words) {
  static pair p;
  const canister *c = count > 3 ? canister_named(words[2]) : NULL;
  if (!c || (strcmp(words[3], "calls") && strcmp(words[3], "shim")))
    die("usage: real_canisters FOLDER NAME calls|shim");
  if (count > 4) return serve(words[1], c, strcmp(words[3], "shim") == 0 ? SHIM : CALLS);
  signal(SIGPIPE, SIG_IGN);
  p = (pair){.canister = c, .folder = words[1], .kind = words[3]};
  whole_life(&p);
  return 0;
}
