/* messages.c - arguments in Candid, byte by byte: "DIDL", no type table, the types, the values. */
#include "messages.h"

#include <stdio.h>
#include <string.h>

static const canister canisters[] = {
    {.name = "variables", .is64 = true, .keeps_heap = true},
    {.name = "region", .is64 = true, .keeps_heap = true},
    {.name = "map"},
    {.name = "records"},
    {.name = "structures"},
    {.name = "timers", .is64 = true, .keeps_heap = true},
    {.name = "classes", .is64 = true, .keeps_heap = true},
    {.name = "classic_timers"},
    {.name = "classic_classes"},
    {.name = "classic_raw"},
    {.name = "ledger", .is_raw = true},
};

const canister *canister_named(const char *name) {
  for (size_t i = 0; i < sizeof canisters / sizeof *canisters; i++)
    if (strcmp(canisters[i].name, name) == 0) return &canisters[i];
  return NULL;
}

static uint64_t mix(uint64_t z) {
  z = (z + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* ---- Candid ------------------------------------------------------------------------------------------------------ */

enum { NAT64 = 0x78, TEXT = 0x71 };

static void put(message *m, const void *bytes, size_t length) {
  memcpy(m->argument + m->length, bytes, length);
  m->length += length;
}

static void put_byte(message *m, unsigned byte) { m->argument[m->length++] = (uint8_t)byte; }

static void put_types(message *m, unsigned count, unsigned first, unsigned second) {
  m->length = 0;
  put(m, "DIDL\0", 5);
  put_byte(m, count);
  if (count > 0) put_byte(m, first);
  if (count > 1) put_byte(m, second);
}

static void put_nat64(message *m, uint64_t value) {
  for (int i = 0; i < 8; i++) put_byte(m, value >> 8 * i & 0xff);
}

static void put_text(message *m, uint64_t seed, size_t length) {
  size_t rest = length;
  for (; rest > 127; rest >>= 7) put_byte(m, (rest & 0x7f) | 0x80);
  put_byte(m, (unsigned)rest);
  for (size_t i = 0; i < length; i++) put_byte(m, 'a' + mix(seed + i) % 26);
}

static void update(message *m, const char *name, bool is_query) {
  snprintf(m->method, sizeof m->method, "canister_%s %s", is_query ? "query" : "update", name);
}

/* ---- canisters --------------------------------------------------------------------------------------------------- */

static void keys(message *m, const char *name, uint64_t key) {
  update(m, name, strcmp(name, "get") == 0);
  put_types(m, 1, NAT64, 0);
  put_nat64(m, key);
}

static void variables(message *m, uint64_t r) {
  unsigned kind = r % 16;
  uint64_t key = (r >> 8) % 90;
  m->traps = kind == 15;
  if (kind >= 12) {
    keys(m, m->traps ? "poison" : "get", key);
    return;
  }
  update(m, kind < 8 ? "put" : "note", false);
  put_types(m, kind < 8 ? 2 : 1, kind < 8 ? NAT64 : TEXT, TEXT);
  if (kind < 8) put_nat64(m, key);
  put_text(m, r, kind < 8 ? (r >> 20) % 700 : (r >> 20) % 9);
}

static void region(message *m, uint64_t r) {
  unsigned kind = r % 16;
  uint64_t at = (r >> 8) % 120000;
  m->traps = kind == 15;
  if (kind >= 12) {
    keys(m, m->traps ? "poison" : "get", at);
    return;
  }
  update(m, kind < 8 ? "put" : "blob", false);
  put_types(m, 2, NAT64, kind < 8 ? NAT64 : TEXT);
  put_nat64(m, at);
  if (kind < 8) put_nat64(m, r >> 32);
  else put_text(m, r, (r >> 20) % 700);
}

/* Words by number, by name of the method alike in all that have no messages of their own. */
static void map(message *m, uint64_t r) {
  unsigned kind = r % 16;
  uint64_t key = (r >> 8) % 400;
  m->traps = kind == 15;
  if (kind >= 10) {
    keys(m, m->traps ? "poison" : kind > 12 ? "get" : "remove", key);
    return;
  }
  update(m, "put", false);
  put_types(m, 2, NAT64, TEXT);
  put_nat64(m, key);
  put_text(m, r, (r >> 20) % 300);
}

/* tests/canisters/ledger: integers, no ic0 but stable memory. */
static void ledger(message *m, uint64_t r) {
  static const char *const names[16] = {[8] = "move",      [9] = "move",  [10] = "shift",   [11] = "total",
                                        [12] = "messages", [13] = "size", [14] = "balance", [15] = "poison"};
  const char *name = names[r % 16] ? names[r % 16] : "deposit";
  int64_t account = (int64_t)(r >> 8) % 20000;
  snprintf(m->method, sizeof m->method, "%s", name);
  m->traps = r % 16 == 15;
  m->raw_count = 3;
  m->raw[0] = r % 16 == 10 ? (int64_t)((r >> 30) % 190000) : account;
  m->raw[1] = r % 16 < 8 ? (int64_t)(r >> 40 & 1023) : account;
  m->raw[2] = (int64_t)(r >> 40 & 1023);
}

void message_make(const canister *c, uint64_t number, message *m) {
  uint64_t r = mix(number) >> 1;
  *m = (message){.number = number};
  if (strcmp(c->name, "variables") == 0) variables(m, r);
  else if (strcmp(c->name, "region") == 0) region(m, r);
  else if (strcmp(c->name, "ledger") == 0) ledger(m, r);
  else map(m, r);
}

bool message_asks(const message *m) {
  static const char *const names[] = {"canister_query get", "total", "messages", "balance"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(m->method, names[i]) == 0) return true;
  return false;
}
