/* faults.c - our SIGSEGV and SIGBUS handler, the chain of those found before it, guards, alternate stacks.
 *
 *   kernel -> ours: guard? responder? --no--> older[n-1] --it may call ours, its predecessor--> older[n-2] ...
 *
 * Invariants:
 * - older[] only grows, entries are written before the count that publishes them: the handler reads without a lock;
 * - a handler is in older[] once, so a fault goes past each at most once;
 * - an arrival from a handler that we chained to (one installed after us saved ours as its predecessor) is
 *   told from one that the kernel sent by a mark in the ucontext itself: uc_link, which the kernel writes
 *   NULL for every signal and never reads. Nothing is left set when a chained handler leaves by longjmp: the
 *   mark dies with its ucontext.
 * Thread: any. The lock is for installing only.
 */
#include "base/faults.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/check.h"
#include "base/status.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

enum { OLDER_MAX = 8, STACK_BYTES_MIN = 65536, HANDLER_BYTES = 8192 };

typedef struct {
  struct sigaction older[OLDER_MAX];
  _Atomic int count;
} signal_chain;

#define THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

static signal_chain chains[2];  /* SIGSEGV, SIGBUS */
static _Atomic(faults_responder) responder;
static THREAD_LOCAL guard *innermost;

static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static bool installed;

static int faults_unblock(void) {
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGBUS);
  sigaddset(&ours, SIGSEGV);
  return pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

static signal_chain *chain_of(int signal) { return &chains[signal == SIGBUS]; }

/* ---- guards ----------------------------------------------------------------------------------------------------- */

/* The fences keep the compiler from moving the guarded reads out: the handler runs on this very thread. */
void guard_push(guard *g, const void *start, size_t bytes) {
  g->outer = innermost;
  g->start = (uintptr_t)start;
  g->end = g->start + bytes;
  atomic_signal_fence(memory_order_seq_cst);
  innermost = g;
  atomic_signal_fence(memory_order_seq_cst);
}

void guard_leave(guard *g) {
  ASSERT(innermost == g);
  atomic_signal_fence(memory_order_seq_cst);
  innermost = g->outer;
  atomic_signal_fence(memory_order_seq_cst);
}

/* The mask as it was: a handler in front of ours, chained to without SA_NODEFER, has blocked the signal. */
static void offer_to_guards(uintptr_t address, const ucontext_t *context) {
  for (guard *g = innermost; g != NULL; g = g->outer) {
    if (address < g->start || address >= g->end) continue;
    innermost = g->outer;
    g->address = address;
    pthread_sigmask(SIG_SETMASK, &context->uc_sigmask, NULL);
    _longjmp(g->back, 1);
  }
}

/* ---- the chain -------------------------------------------------------------------------------------------------- */

/* The default action ends the process: restored, so that the fault, taken again, has it with the right core file. A
 * signal that somebody sent is not taken again by itself. */
static void take_default(int signal, const siginfo_t *info) {
  struct sigaction plain = { .sa_handler = SIG_DFL };
  sigaction(signal, &plain, NULL);
  if (info->si_code <= 0) raise(signal);
}

static void call_as_kernel_would(const struct sigaction *to, int signal, siginfo_t *info, void *context) {
  sigset_t block = to->sa_mask, before;
  if (!(to->sa_flags & SA_NODEFER)) sigaddset(&block, signal);
  pthread_sigmask(SIG_BLOCK, &block, &before);
  if (to->sa_flags & SA_SIGINFO) to->sa_sigaction(signal, info, context);
  else to->sa_handler(signal);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void hand_on(int level, int signal, siginfo_t *info, ucontext_t *context) {
  const struct sigaction *to = level >= 0 ? &chain_of(signal)->older[level] : NULL;
  bool is_plain = to == NULL || !(to->sa_flags & SA_SIGINFO);
  if (to != NULL && is_plain && to->sa_handler == SIG_IGN && info->si_code <= 0) return;
  /* Ignoring a synchronous fault would take it for ever: the kernel, too, then uses the default action. */
  if (to == NULL || (is_plain && (to->sa_handler == SIG_DFL || to->sa_handler == SIG_IGN))) {
    take_default(signal, info);
    return;
  }
  ucontext_t *link_before = context->uc_link;
  context->uc_link = (ucontext_t *)(uintptr_t)to;
  call_as_kernel_would(to, signal, info, context);
  context->uc_link = link_before;
}

/* The level that chained to whoever calls us now, or -1 when it is the kernel. */
static int chained_from(int signal, const ucontext_t *context) {
  const struct sigaction *older = chain_of(signal)->older;
  for (int level = 0; level < OLDER_MAX; level++)
    if ((uintptr_t)context->uc_link == (uintptr_t)&older[level]) return level;
  return -1;
}

static bool answer(int signal, const siginfo_t *info, ucontext_t *context) {
  if (info->si_code <= 0) return false; /* sent by kill or raise: the address means nothing */
  uintptr_t address = (uintptr_t)info->si_addr;
  offer_to_guards(address, context);
  faults_responder ask = atomic_load_explicit(&responder, memory_order_acquire);
  return ask != NULL && ask(signal, address, context);
}

static void on_fault(int signal, siginfo_t *info, void *opaque) {
  int errno_before = errno;
  ucontext_t *context = opaque;
#ifdef UNDER_TSAN /* which calls handlers with everything blocked; a fault of ours in here would kill */
  faults_unblock();
#endif
  int from = chained_from(signal, context);
  if (from >= 0) {
    hand_on(from - 1, signal, info, context);
  } else if (!answer(signal, info, context)) {
    hand_on(atomic_load_explicit(&chain_of(signal)->count, memory_order_acquire) - 1, signal, info, context);
  }
  errno = errno_before;
}

/* ---- installing ------------------------------------------------------------------------------------------------- */

static bool is_same(const struct sigaction *a, const struct sigaction *b) {
  bool a_info = (a->sa_flags & SA_SIGINFO) != 0, b_info = (b->sa_flags & SA_SIGINFO) != 0;
  return a_info == b_info && (a_info ? a->sa_sigaction == b->sa_sigaction : a->sa_handler == b->sa_handler);
}

static bool is_ours(const struct sigaction *a) {
  return (a->sa_flags & SA_SIGINFO) && a->sa_sigaction == on_fault;
}

static int remember(signal_chain *chain, const struct sigaction *found) {
  int count = atomic_load_explicit(&chain->count, memory_order_relaxed);
  for (int i = 0; i < count; i++)
    if (is_same(&chain->older[i], found)) return PAGESTORE_OK;
  if (count == OLDER_MAX)
    return fail(PAGESTORE_EIO, "more than %d fault handlers were found in front of pagestore's; install each once",
                OLDER_MAX);
  chain->older[count] = *found;
  atomic_store_explicit(&chain->count, count + 1, memory_order_release);
  return PAGESTORE_OK;
}

/* Remembered before ours is in front, so that no fault finds ours with nothing behind it. */
static int put_in_front(int signal) {
  struct sigaction found, ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
  sigemptyset(&ours.sa_mask);
  if (sigaction(signal, NULL, &found) != 0) goto refused;
  if (is_ours(&found)) return PAGESTORE_OK;
  int status = remember(chain_of(signal), &found);
  if (status != PAGESTORE_OK) return status;
  if (sigaction(signal, &ours, &found) != 0) goto refused;
  return is_ours(&found) ? PAGESTORE_OK : remember(chain_of(signal), &found);
refused:
  return fail_errno(PAGESTORE_EIO, errno, "cannot install the handler of signal %d", signal);
}

static int install(bool again) {
  int status = PAGESTORE_OK;
  pthread_mutex_lock(&install_lock);
  if (!installed || again) {
    status = put_in_front(SIGSEGV);
    if (status == PAGESTORE_OK) status = put_in_front(SIGBUS);
    if (status == PAGESTORE_OK) installed = true;
  }
  pthread_mutex_unlock(&install_lock);
  return status;
}

int faults_install(void) { return install(false); }
int faults_reinstall(void) { return install(true); }

void faults_respond(faults_responder ask) { atomic_store_explicit(&responder, ask, memory_order_release); }

/* ---- threads that the library does not own ---------------------------------------------------------------------- */

static size_t stack_bytes_needed(void) {
  long frame = sysconf(_SC_MINSIGSTKSZ); /* grows with the processor's registers: 3.6 KiB with AVX-512 */
  if (frame < 2048) frame = 2048;
  return (size_t)frame * 2 + HANDLER_BYTES;
}

static bool stack_is_enough(const stack_t *stack) {
  return !(stack->ss_flags & SS_DISABLE) && stack->ss_size >= stack_bytes_needed();
}

int faults_thread_check(void) {
  sigset_t mask;
  stack_t stack;
  if (pthread_sigmask(SIG_BLOCK, NULL, &mask) != 0 || sigaltstack(NULL, &stack) != 0)
    return fail_errno(PAGESTORE_EIO, errno, "cannot read this thread's signal mask or alternate stack");
  if (sigismember(&mask, SIGBUS) || sigismember(&mask, SIGSEGV))
    return fail(PAGESTORE_EUNSUPPORTED, "%s is blocked on this thread, so touching a memory would kill the process; "
                "call pagestore_thread_prepare() here", sigismember(&mask, SIGBUS) ? "SIGBUS" : "SIGSEGV");
  if (stack.ss_flags & SS_DISABLE)
    return fail(PAGESTORE_EUNSUPPORTED,
                "this thread has no alternate signal stack; call pagestore_thread_prepare() here");
  if (!stack_is_enough(&stack))
    return fail(PAGESTORE_EUNSUPPORTED, "this thread's alternate signal stack has %zu bytes, %zu are needed; "
                "call pagestore_thread_prepare() here", stack.ss_size, stack_bytes_needed());
  return PAGESTORE_OK;
}

/* An alternate stack of ours, and what the thread had before, which it gets back when it ends. */
typedef struct {
  stack_t ours, before;
} thread_stack;

static pthread_key_t stack_key;
static int stack_key_error;
static pthread_once_t stack_key_once = PTHREAD_ONCE_INIT;

static void release_stack(void *pointer) {
  thread_stack *s = pointer;
  stack_t now;
  if (sigaltstack(NULL, &now) == 0 && now.ss_sp == s->ours.ss_sp) sigaltstack(&s->before, NULL);
  free(s->ours.ss_sp);
  free(s);
}

static void make_stack_key(void) { stack_key_error = pthread_key_create(&stack_key, release_stack); }

static int install_stack(const stack_t *before) {
  int error = 0;
  thread_stack *s = calloc(1, sizeof *s);
  if (s == NULL) return fail(PAGESTORE_ENOMEM, "no memory for an alternate signal stack");
  s->before = *before;
  s->before.ss_flags &= SS_DISABLE;
  s->ours.ss_size = stack_bytes_needed() > STACK_BYTES_MIN ? stack_bytes_needed() : STACK_BYTES_MIN;
  s->ours.ss_sp = malloc(s->ours.ss_size);
  if (s->ours.ss_sp == NULL) error = ENOMEM;
  if (error == 0 && sigaltstack(&s->ours, NULL) != 0) error = errno;
  if (error == 0 && (error = pthread_setspecific(stack_key, s)) != 0) sigaltstack(&s->before, NULL);
  if (error == 0) return PAGESTORE_OK;
  free(s->ours.ss_sp);
  free(s);
  return fail_errno(PAGESTORE_ENOMEM, error, "cannot give this thread an alternate signal stack");
}

int faults_thread_prepare(void) {
  stack_t stack;
  int error = faults_unblock();
  if (error != 0) return fail_errno(PAGESTORE_EIO, error, "cannot unblock SIGBUS and SIGSEGV");
  if (sigaltstack(NULL, &stack) != 0) return fail_errno(PAGESTORE_EIO, errno, "cannot read the alternate signal stack");
  if (stack_is_enough(&stack)) return PAGESTORE_OK;
  pthread_once(&stack_key_once, make_stack_key);
  if (stack_key_error != 0) return fail_errno(PAGESTORE_ENOMEM, stack_key_error, "no thread-specific key left");
  thread_stack *kept = pthread_getspecific(stack_key);
  if (kept == NULL) return install_stack(&stack);
  /* Ours of an earlier call, which somebody has taken away since. */
  if (sigaltstack(&kept->ours, NULL) != 0)
    return fail_errno(PAGESTORE_EIO, errno, "cannot restore this thread's alternate signal stack");
  return PAGESTORE_OK;
}
