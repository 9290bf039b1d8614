/* ledger.c - a canister for tests: accounts in stable memory, and state of every other kind: initialised data, zeroed data, heap grown
 * at run time, a Wasm global, a stack pointer that a trap leaves where it was.
 *
 * Every export is a message. What cannot be done traps half done; the host rolls back. Version 2 counts in another unit and takes over
 * what version 1's pre_upgrade left in stable memory.
 *
 *   stable memory: page 0: what an upgrade takes along; then 16 bytes an account: balance, deposits
 * Thread: one message at a time.
 */
#include <stddef.h>
#include <stdint.h>

#define IC0(name) __attribute__((import_module("ic0"), import_name(#name)))
IC0(stable_size) uint32_t ic0_stable_size(void);
IC0(stable_grow) uint32_t ic0_stable_grow(uint32_t more_pages);
IC0(stable_read) void ic0_stable_read(uint32_t to, uint32_t offset, uint32_t bytes);
IC0(stable_write) void ic0_stable_write(uint32_t offset, uint32_t from, uint32_t bytes);
IC0(stable64_size) uint64_t ic0_stable64_size(void);
IC0(stable64_grow) uint64_t ic0_stable64_grow(uint64_t more_pages);
IC0(stable64_read) void ic0_stable64_read(uint64_t to, uint64_t offset, uint64_t bytes);
IC0(stable64_write) void ic0_stable64_write(uint64_t offset, uint64_t from, uint64_t bytes);

#define EXPORT(name)       __attribute__((export_name(#name)))
#define REQUIRE(condition) ((condition) ? (void)0 : __builtin_trap())
enum { PAGE = 65536, ACCOUNTS_AT = PAGE, JOURNAL = 400 };

typedef struct {
  uint64_t balance, deposits;
} account;

/* A Wasm global, not memory. */
static uint64_t __attribute__((address_space(1))) total;
static uint64_t messages = 1000; /* initialised data */
static char journal[JOURNAL] = "begin;";
static uint64_t recent[4096]; /* zeroed data */

/* What goes from one version to the next. */
typedef struct {
  uint64_t messages, total;
  char journal[JOURNAL];
} kept;

static void note(char what, uint64_t number) {
  unsigned end = 0;
  while (end < JOURNAL && journal[end]) end++;
  if (end + 24 > JOURNAL) end = 6; /* behind "begin;" */
  journal[end++] = what;
  for (; number; number /= 10) journal[end++] = (char)('0' + number % 10);
  journal[end++] = ';';
  for (unsigned i = end; i < JOURNAL; i++) journal[i] = 0;
  messages++;
}

/* Every eighth message asks for a page of heap and writes into it. */
static void grow_heap(void) {
  if (messages % 8) return;
  size_t page = __builtin_wasm_memory_grow(0, 1);
  if (page != SIZE_MAX) *(volatile uint64_t *)(page * PAGE + 4 * messages) = messages;
}

static uint64_t place(uint32_t number) {
  uint64_t at = ACCOUNTS_AT + (uint64_t)number * sizeof(account), pages = (at + sizeof(account) + PAGE - 1) / PAGE;
  uint64_t have = ic0_stable64_size();
  if (have >= pages) return at;
  /* both ways to grow */
  if (number % 2) REQUIRE(ic0_stable64_grow(pages - have) == have);
  else REQUIRE(ic0_stable_grow((uint32_t)(pages - have)) == have);
  return at;
}

static account load(uint32_t number) {
  account a;
  uint64_t at = place(number);
  if (number % 3) ic0_stable64_read((uintptr_t)&a, at, sizeof a);
  else ic0_stable_read((uint32_t)(uintptr_t)&a, (uint32_t)at, sizeof a);
  return a;
}

static void store(uint32_t number, account a) {
  uint64_t at = place(number);
  if (number % 3) ic0_stable64_write(at, (uintptr_t)&a, sizeof a);
  else ic0_stable_write((uint32_t)at, (uint32_t)(uintptr_t)&a, sizeof a);
}

EXPORT(deposit) uint64_t deposit(uint32_t number, uint64_t amount) {
  account a = load(number);
  a.balance += amount * LEDGER_VERSION;
  a.deposits++;
  store(number, a);
  recent[number % 4096] += amount;
  total += amount * LEDGER_VERSION;
  note('d', amount);
  grow_heap();
  return a.balance;
}

/* Takes first, gives afterwards, looks whether there was enough last. */
EXPORT(move) uint64_t move(uint32_t from, uint32_t to, uint64_t amount) {
  account a = load(from);
  uint64_t had = a.balance;
  a.balance -= amount;
  store(from, a);
  account b = load(to);
  b.balance += amount;
  store(to, b);
  note('m', amount);
  REQUIRE(had >= amount || from == to);
  return b.balance;
}

/* A stretch of stable memory through the heap, longer than a page. */
EXPORT(shift) uint64_t shift(uint32_t bytes) {
  static uint8_t buffer[3 * PAGE];
  REQUIRE(bytes <= sizeof buffer);
  ic0_stable64_read((uintptr_t)buffer, ACCOUNTS_AT, bytes);
  uint64_t have = ic0_stable64_size();
  REQUIRE(ic0_stable64_grow(4) == have);
  ic0_stable64_write(have * PAGE + 13, (uintptr_t)buffer, bytes);
  note('s', bytes);
  return have;
}

/* Everything changes, then a trap; deep in the stack. */
static __attribute__((noinline)) uint32_t sink(volatile uint8_t *above, uint32_t depth) {
  volatile uint8_t here[256];
  here[depth % 256] = (uint8_t)(above[0] + depth);
  if (depth == 0) {
    ic0_stable64_read((uintptr_t)here, UINT64_MAX, 2); /* wraps: out of bounds */
    return 0;
  }
  return sink(here, depth - 1) + here[0];
}

EXPORT(poison) uint32_t poison(uint32_t number) {
  for (uint32_t i = 0; i < 200; i++) deposit(number + i * 37, i);
  return sink((volatile uint8_t *)journal, 20);
}

EXPORT(pre_upgrade) void pre_upgrade(void) {
  kept k = {.messages = messages, .total = total};
  __builtin_memcpy(k.journal, journal, sizeof journal);
  place(0);
  ic0_stable_write(8, (uint32_t)(uintptr_t)&k, sizeof k);
}

EXPORT(post_upgrade) uint64_t post_upgrade(uint32_t fail) {
  kept k;
  ic0_stable64_read((uintptr_t)&k, 8, sizeof k);
  messages = k.messages + 1;
  total = k.total;
  __builtin_memcpy(journal, k.journal, sizeof journal);
  note('u', LEDGER_VERSION);
  REQUIRE(!fail);
  return messages;
}

EXPORT(total) uint64_t query_total(void) { return total; }
EXPORT(messages) uint64_t query_messages(void) { return messages; }
EXPORT(size) uint64_t query_size(void) { return ic0_stable_size(); }
EXPORT(balance) uint64_t query_balance(uint32_t number) { return load(number).balance; }
