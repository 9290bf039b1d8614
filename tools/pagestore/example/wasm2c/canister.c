/* canister.c - the guest: C for wasm32. Its memory is what lasts; there is nothing of pagestore in here. */
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(#name)))

/* Zeros at first. A variable with a value at its definition would get it again at each start of the host. */
static u64 count, history[1000];

EXPORT(bump) u64 bump(u64 by) {
  if (by > 100) __builtin_trap(); /* nothing of a message that traps stays */
  count += by;
  history[count % 1000] = by;
  return count;
}
