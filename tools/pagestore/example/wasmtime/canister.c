/* canister.c - the guest: C for wasm32. Its memory is what lasts; there is nothing of pagestore in here. */
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(#name)))

static u64 count = 0, history[1000];

EXPORT(bump) u64 bump(u64 by) {
  count += by;
  history[count % 1000] = by;
  if (by > 100) __builtin_trap(); /* nothing of a message that traps stays */
  return count;
}
