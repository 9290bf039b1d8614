/* canister.c - the demo's module: a map from names to texts in stable memory; version 2 also knows
 * them by section.
 *
 * Every export is one message, or a query. The host writes the key at exchange(), the value 256
 * bytes behind it, and finds answers there. What cannot be done traps; the host rolls back. The
 * heap holds nothing that matters but `messages`, which counts the changing messages since
 * installation or upgrade and shows that the heap is durable too.
 * Thread: one message at a time.
 */
#include "tree.h"

#define EXPORT(name) __attribute__((export_name(#name)))
enum { VALUE_AT = 256, VALUE_MAX = 1 << 20 };

static uint8_t exchange_area[VALUE_AT + VALUE_MAX];
static uint64_t messages;

static uint8_t *const exchanged_key = exchange_area;
static uint8_t *const exchanged_value = exchange_area + VALUE_AT;

static key key_given(uint32_t bytes) {
  REQUIRE(bytes <= KEY_MAX);
  return (key){exchanged_key, bytes};
}

/* Key length in the upper half, value length in the lower; the value follows when it is asked for.
 */
static uint64_t answer(const entry *e) {
  __builtin_memcpy(exchanged_key, e->key, e->key_bytes);
  if (e->value_bytes) tree_value(e, exchanged_value);
  return (uint64_t)e->key_bytes << 32 | e->value_bytes;
}

static const uint64_t nothing = UINT64_MAX;

/* ---- the second index: section, a zero byte, name -> nothing --------------------------------- */

#if CANISTER_VERSION >= 2
enum { SECTION_MAX = 100 };

/* Where "Section: " begins a line, what follows it; without one, "none". */
static uint32_t section_of(const uint8_t *text, uint32_t bytes, uint8_t *to) {
  static const char field[] = "Section: ";
  const uint32_t length = sizeof field - 1;
  for (uint32_t at = 0; at + length <= bytes; at++) {
    uint32_t same = 0, found = 0;
    if (at > 0 && text[at - 1] != '\n') continue;
    while (same < length && text[at + same] == (uint8_t)field[same]) same++;
    if (same < length) continue;
    for (at += length; at < bytes && text[at] != '\n' && found < SECTION_MAX; at++)
      to[found++] = text[at];
    if (found) return found;
  }
  __builtin_memcpy(to, "none", 4);
  return 4;
}

static void section_index(key name, const uint8_t *text, uint32_t bytes, bool add) {
  static uint8_t composed[KEY_MAX];
  uint32_t length = section_of(text, bytes, composed);
  REQUIRE(length + 1 + name.bytes <= KEY_MAX);
  composed[length++] = 0;
  __builtin_memcpy(composed + length, name.at, name.bytes);
  key whole = {composed, length + name.bytes};
  if (add) REQUIRE(tree_put(&top.sections, whole, NULL, 0));
  else REQUIRE(tree_remove(&top.sections, whole));
}

/* The entry's value goes to an area of its own: the exchange area holds the message's. */
static void section_forget(key name) {
  static uint8_t text[VALUE_MAX];
  static entry e;
  if (!tree_get(&top.names, name, &e)) return;
  tree_value(&e, text);
  section_index(name, text, e.value_bytes, false);
}
#endif

/* ---- messages -------------------------------------------------------------------------------- */

static bool put(key k, const uint8_t *value, uint32_t bytes) {
#if CANISTER_VERSION >= 2
  section_forget(k);
  section_index(k, value, bytes, true);
#endif
  return tree_put(&top.names, k, value, bytes);
}

/* 1: new; 0: replaced. */
EXPORT(put) uint32_t message_put(uint32_t key_bytes, uint32_t value_bytes) {
  REQUIRE(value_bytes <= VALUE_MAX);
  header_load();
  bool is_new = put(key_given(key_bytes), exchanged_value, value_bytes);
  header_store();
  messages++;
  return is_new;
}

/* 1: removed; 0: was not there. */
EXPORT(remove) uint32_t message_remove(uint32_t key_bytes) {
  header_load();
#if CANISTER_VERSION >= 2
  section_forget(key_given(key_bytes));
#endif
  bool was_there = tree_remove(&top.names, key_given(key_bytes));
  header_store();
  messages++;
  return was_there;
}

/* Many changes, all half done, then a trap: nothing of it may stay. */
EXPORT(poison) void message_poison(uint32_t count) {
  static uint8_t text[512];
  uint8_t name[] = "poison-00000";
  for (uint32_t i = 0; i < sizeof text; i++) text[i] = 'x';
  header_load();
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t digit = 11, rest = i; digit > 6; digit--, rest /= 10)
      name[digit] = (uint8_t)('0' + rest % 10);
    put((key){name, sizeof name - 1}, text, sizeof text);
    header_store();
  }
  messages += count;
  __builtin_trap();
}

/* Version 2 builds its index over what version 1 left; an upgrade from version 2 finds it there. */
#if CANISTER_VERSION >= 2
EXPORT(upgraded) uint64_t message_upgraded(void) {
  static entry e;
  static uint8_t name[KEY_MAX];
  key k = {name, 0};
  header_load();
  while (top.version == 1 && tree_next(&top.names, k, &e)) {
    __builtin_memcpy(name, e.key, e.key_bytes);
    k.bytes = e.key_bytes;
    tree_value(&e, exchanged_value);
    section_index(k, exchanged_value, e.value_bytes, true);
  }
  top.version = 2;
  header_store();
  messages++;
  return top.sections.count;
}
#endif

/* ---- queries --------------------------------------------------------------------------------- */

EXPORT(exchange) uint32_t query_exchange(void) { return (uint32_t)(uintptr_t)exchange_area; }
EXPORT(messages) uint64_t query_messages(void) { return messages; }

EXPORT(count) uint64_t query_count(void) {
  header_load();
  return top.names.count;
}

EXPORT(get) uint64_t query_get(uint32_t key_bytes) {
  static entry e;
  header_load();
  return tree_get(&top.names, key_given(key_bytes), &e) ? answer(&e) : nothing;
}

/* The entry after this key; key_bytes 0: the first. */
EXPORT(next) uint64_t query_next(uint32_t key_bytes) {
  static entry e;
  header_load();
  return tree_next(&top.names, key_given(key_bytes), &e) ? answer(&e) : nothing;
}

#if CANISTER_VERSION >= 2
EXPORT(section_next) uint64_t query_section_next(uint32_t key_bytes) {
  static entry e;
  header_load();
  return tree_next(&top.sections, key_given(key_bytes), &e) ? answer(&e) : nothing;
}
#endif

/* Walks everything; traps where an invariant does not hold. Entries found. */
EXPORT(check) uint64_t query_check(void) {
  header_load();
  uint64_t count = tree_check(&top.names);
#if CANISTER_VERSION >= 2
  REQUIRE(top.version == 2 && tree_check(&top.sections) == count);
#endif
  return count;
}
