/* ic0.c - the Internet Computer's calls as a canister on one machine needs them: argument, reply, caller, time, stable
 * memory. There are no other canisters: call_perform says that it could not. What is not in the table traps with its name.
 *
 * Addresses and sizes are 32 or 64 bits wide, as the module's import is; here they are 64.
 *
 * Thread: the host's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

static const uint8_t anonymous[] = {4}, self[] = {0, 0, 0, 0, 0, 0, 0, 7, 1, 1};
static const char timer_key[] = "host.timer";

typedef uint64_t (*ic0_call)(host *, const uint64_t *given);
typedef struct {
  const char *name;
  ic0_call call;
} entry;
typedef struct {
  host *host;
  const entry *entry; /* NULL: a trap with this text */
  char name[64];
  bool wide; /* the result */
} binding;

/* The first reason stays. */
static uint64_t trapped(host *h, const char *why) {
  if (!h->said[0]) snprintf(h->said, sizeof h->said, "%s", why);
  return 0;
}

/* ---- argument, reply, caller ------------------------------------------------------------------------------------- */

static uint64_t copied(host *h, const void *from, uint64_t size, const uint64_t *g) {
  if (g[1] > size || g[2] > size - g[1]) return trapped(h, "a copy beyond what there is");
  if (!host_heap(h, g[0], (uint8_t *)(uintptr_t)from + g[1], g[2], true)) trapped(h, "a copy beyond the heap");
  return 0;
}

static uint64_t arg_size(host *h, const uint64_t *g) { return (void)g, h->message->length; }
static uint64_t arg_copy(host *h, const uint64_t *g) { return copied(h, h->message->argument, h->message->length, g); }
static uint64_t caller_size(host *h, const uint64_t *g) { return (void)h, (void)g, sizeof anonymous; }
static uint64_t caller_copy(host *h, const uint64_t *g) { return copied(h, anonymous, sizeof anonymous, g); }
static uint64_t self_size(host *h, const uint64_t *g) { return (void)h, (void)g, sizeof self; }
static uint64_t self_copy(host *h, const uint64_t *g) { return copied(h, self, sizeof self, g); }

static uint64_t reply_append(host *h, const uint64_t *g) {
  if (h->replied) return trapped(h, "replied already");
  if (g[1] > REPLY_MAX - h->reply->length) return trapped(h, "the reply is too long for this host");
  if (!host_heap(h, g[0], h->reply->bytes + h->reply->length, g[1], false))
    return trapped(h, "a reply beyond the heap");
  h->reply->length += (uint32_t)g[1];
  return 0;
}

static uint64_t reply_done(host *h, const uint64_t *g) {
  (void)g;
  if (h->replied) return trapped(h, "replied already");
  h->replied = true;
  return 0;
}

/* Told apart from a reply by its first byte. */
static uint64_t reject(host *h, const uint64_t *g) {
  h->reply->length = 0;
  h->reply->bytes[h->reply->length++] = '!';
  reply_append(h, g);
  return reply_done(h, g);
}

static uint64_t trap(host *h, const uint64_t *g) {
  char text[200];
  uint64_t length = g[1] < sizeof text ? g[1] : sizeof text - 1;
  if (!host_heap(h, g[0], text, length, false)) length = 0;
  text[length] = 0;
  return trapped(h, text[0] ? text : "ic0.trap");
}

static uint64_t debug_print(host *h, const uint64_t *g) {
  char text[400];
  uint64_t length = g[1] < sizeof text ? g[1] : sizeof text;
  if (!host_heap(h, g[0], text, length, false)) return trapped(h, "a text beyond the heap");
  if (getenv("CANISTER_PRINTS")) fprintf(stderr, "%s: %.*s\n", h->canister->name, (int)length, text);
  return 0;
}

/* ---- time and place ---------------------------------------------------------------------------------------------- */

static uint64_t now(host *h, const uint64_t *g) {
  (void)g;
  return UINT64_C(1700000000000000000) + h->message->number * 1000000000;
}

static uint64_t version(host *h, const uint64_t *g) { return (void)g, h->message->number; }
static uint64_t zero(host *h, const uint64_t *g) { return (void)h, (void)g, 0; }
static uint64_t one(host *h, const uint64_t *g) { return (void)h, (void)g, 1; }

/* Part of the message like everything else. */
static uint64_t timer_set(host *h, const uint64_t *g) {
  uint64_t old = 0;
  size_t length;
  if (h->kind == PLAIN) {
    old = h->plain_timer;
    h->plain_timer = g[0];
    return old;
  }
  int status = pagestore_metadata_get(h->state, timer_key, &old, sizeof old, &length);
  if (status && status != PAGESTORE_ENOTFOUND) return trapped(h, pagestore_detail());
  if (pagestore_metadata_set(h->state, timer_key, g, sizeof *g)) return trapped(h, pagestore_detail());
  return old;
}

/* No cycles are counted. */
static uint64_t no_cycles(host *h, uint64_t to) {
  uint8_t amount[16] = {0};
  if (!host_heap(h, to, amount, sizeof amount, true)) trapped(h, "an amount beyond the heap");
  return 0;
}
static uint64_t cycles(host *h, const uint64_t *g) { return no_cycles(h, g[0]); }
static uint64_t cycles_taken(host *h, const uint64_t *g) { return no_cycles(h, g[2]); }

enum { CALL_REFUSED = 2 };
static uint64_t call_perform(host *h, const uint64_t *g) { return (void)h, (void)g, CALL_REFUSED; }
static uint64_t no_reject(host *h, const uint64_t *g) { return (void)g, trapped(h, "this message is no answer"); }

/* ---- stable memory ----------------------------------------------------------------------------------------------- */

static uint64_t stable_ended(host *h, int status) { return status ? trapped(h, pagestore_stable_strerror(status)) : 0; }

static uint64_t stable_size(host *h, const uint64_t *g) {
  uint64_t pages = h->plain_stable.pages;
  (void)g;
  if (h->kind == CALLS) stable_ended(h, pagestore_stable64_size(h->calls, &pages));
  return pages;
}

static uint64_t stable_grow(host *h, const uint64_t *g) {
  uint64_t old = h->plain_stable.pages;
  if (h->kind == CALLS) {
    stable_ended(h, pagestore_stable64_grow(h->calls, g[0], &old));
    return old;
  }
  if (g[0] > 65536 - old) return UINT64_MAX;
  h->plain_stable.pages += g[0];
  return old;
}

static uint64_t stable_copy(host *h, uint64_t address, uint64_t offset, uint64_t bytes, bool write) {
  uint64_t size = h->plain_stable.pages * PAGESTORE_PAGE;
  if (h->kind == CALLS)
    return stable_ended(h, write ? pagestore_stable64_write(h->calls, offset, address, bytes)
                                 : pagestore_stable64_read(h->calls, address, offset, bytes));
  if (!bytes) return 0;
  if (offset > size || bytes > size - offset) return trapped(h, "stable memory out of bounds");
  if (!host_heap(h, address, h->plain_stable.base + offset, bytes, !write)) return trapped(h, "heap out of bounds");
  return 0;
}

static uint64_t stable_read(host *h, const uint64_t *g) { return stable_copy(h, g[0], g[1], g[2], false); }
static uint64_t stable_write(host *h, const uint64_t *g) { return stable_copy(h, g[1], g[0], g[2], true); }

/* ---- the table --------------------------------------------------------------------------------------------------- */

static const entry entries[] = {
    {"msg_arg_data_size", arg_size},
    {"msg_arg_data_copy", arg_copy},
    {"msg_caller_size", caller_size},
    {"msg_caller_copy", caller_copy},
    {"canister_self_size", self_size},
    {"canister_self_copy", self_copy},
    {"msg_reply_data_append", reply_append},
    {"msg_reply", reply_done},
    {"msg_reject", reject},
    {"msg_reject_code", zero},
    {"msg_reject_msg_size", no_reject},
    {"msg_reject_msg_copy", no_reject},
    {"trap", trap},
    {"debug_print", debug_print},
    {"time", now},
    {"canister_version", version},
    {"performance_counter", zero},
    {"canister_status", one},
    {"is_controller", one},
    {"in_replicated_execution", one},
    {"accept_message", zero},
    {"certified_data_set", zero},
    {"data_certificate_present", zero},
    {"global_timer_set", timer_set},
    {"canister_cycle_balance128", cycles},
    {"canister_liquid_cycle_balance128", cycles},
    {"msg_cycles_available128", cycles},
    {"msg_cycles_refunded128", cycles},
    {"msg_cycles_accept128", cycles_taken},
    {"cycles_burn128", cycles_taken},
    {"call_new", zero},
    {"call_data_append", zero},
    {"call_cycles_add128", zero},
    {"call_with_best_effort_response", zero},
    {"call_on_cleanup", zero},
    {"call_perform", call_perform},
    {"stable64_size", stable_size},
    {"stable64_grow", stable_grow},
    {"stable64_read", stable_read},
    {"stable64_write", stable_write},
    {"stable_size", stable_size},
    {"stable_grow", stable_grow},
    {"stable_read", stable_read},
    {"stable_write", stable_write},
};

enum { PARAMS_MAX = 8 };
static wasm_trap_t *dispatch(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *given, size_t count,
                             wasmtime_val_t *results, size_t result_count) {
  binding *b = env;
  host *h = b->host;
  uint64_t values[PARAMS_MAX] = {0}, result = 0;
  (void)caller;
  for (size_t i = 0; i < count; i++)
    values[i] = given[i].kind == WASMTIME_I64 ? (uint64_t)given[i].of.i64 : (uint32_t)given[i].of.i32;
  if (b->entry) result = b->entry->call(h, values);
  else trapped(h, b->name);
  if (h->said[0]) return wasmtime_trap_new(h->said, strlen(h->said));
  if (result_count) results[0].kind = b->wide ? WASMTIME_I64 : WASMTIME_I32;
  if (result_count && b->wide) results[0].of.i64 = (int64_t)result;
  else if (result_count) results[0].of.i32 = (int32_t)(uint32_t)result;
  return NULL;
}

static bool is_name(const wasm_name_t *name, const char *text) {
  return name->size == strlen(text) && memcmp(name->data, text, name->size) == 0;
}

static void define(host *h, const wasm_importtype_t *import) {
  const wasm_name_t *name = wasm_importtype_name(import);
  const wasm_functype_t *type = wasm_externtype_as_functype_const(wasm_importtype_type(import));
  binding *b = calloc(1, sizeof *b);
  if (!b || !type || wasm_functype_params(type)->size > PARAMS_MAX) die("an import of ic0 that cannot be served");
  const wasm_valtype_vec_t *results = wasm_functype_results(type);
  b->host = h;
  b->wide = results->size && wasm_valtype_kind(results->data[0]) == WASM_I64;
  snprintf(b->name, sizeof b->name, "no ic0.%.*s here", (int)(name->size < 40 ? name->size : 40), name->data);
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
    if (is_name(name, entries[i].name)) b->entry = &entries[i];
  wasmtime_error_t *error = wasmtime_linker_define_func(h->linker, "ic0", 3, name->data, name->size, type, dispatch, b,
                                                        free);
  if (error) die("ic0.%.*s cannot be defined", (int)name->size, name->data);
}

void ic0_define(host *h, const wasmtime_module_t *module) {
  wasm_importtype_vec_t imports;
  wasmtime_module_imports(module, &imports);
  for (size_t i = 0; i < imports.size; i++) {
    const wasm_name_t *name = wasm_importtype_name(imports.data[i]);
    if (!is_name(wasm_importtype_module(imports.data[i]), "ic0")) continue;
    if (h->kind == SHIM && name->size > 6 && memcmp(name->data, "stable", 6) == 0) continue;
    define(h, imports.data[i]);
  }
  wasm_importtype_vec_delete(&imports);
}
