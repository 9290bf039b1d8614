/* host.c - the life of a canister: modules, instantiation, messages, upgrade, snapshots; see host.h.
 *
 * What the host must know again after a restart is metadata: the last message's number and the module's version.
 */
#define PAGESTORE_WASMTIME_IMPLEMENTATION
#include "host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY_MAX = 65536 };
static const uint64_t plain_bytes = (UINT64_C(4) << 30), plain_guard = UINT64_C(32) << 20;
static const char last_key[] = "host.last", version_key[] = "host.version";

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, "\n");
  exit(1);
}

#define OK(h, call)                                                                                                    \
  do {                                                                                                                 \
    int status_ = (call);                                                                                              \
    if (status_) die("%s: %s: %d %s; %s", (h)->canister->name, #call, status_, (h)->guest.detail, pagestore_detail()); \
  } while (0)

static void no_error(host *h, wasmtime_error_t *error, wasm_trap_t *trap, const char *what) {
  wasm_byte_vec_t text = {0};
  if (!error && !trap) return;
  if (error) wasmtime_error_message(error, &text);
  else wasm_trap_message(trap, &text);
  die("%s: %s: %.*s; %s", h->canister->name, what, (int)text.size, text.data, h->said);
}

/* ---- PLAIN memories ---------------------------------------------------------------------------------------------- */

static plain_memory *plain_next; /* what the engine is given when it asks */

static void plain_reserve(plain_memory *m) {
  m->pages = 0;
  m->base = mmap(NULL, plain_bytes + plain_guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m->base == MAP_FAILED) die("4 GiB of addresses cannot be had: %s", strerror(errno));
}

static void plain_release(plain_memory *m) {
  if (m->base) munmap(m->base, plain_bytes + plain_guard);
  m->base = NULL;
}

static wasmtime_error_t *plain_grow(void *env, size_t bytes) {
  plain_memory *m = env;
  if (bytes > plain_bytes || mprotect(m->base, bytes, PROT_READ | PROT_WRITE)) return wasmtime_error_new("no memory");
  m->pages = bytes / PAGESTORE_PAGE;
  return NULL;
}

static uint8_t *plain_look(void *env, size_t *bytes, size_t *capacity) {
  const plain_memory *m = env;
  *bytes = m->pages * PAGESTORE_PAGE;
  *capacity = plain_bytes;
  return m->base;
}

static wasmtime_error_t *plain_create(void *env, const wasm_memorytype_t *type, size_t minimum, size_t maximum,
                                      size_t reserved, size_t guard, wasmtime_linear_memory_t *out) {
  (void)env, (void)type, (void)maximum;
  if (reserved > plain_bytes || guard > plain_guard) return wasmtime_error_new("more addresses than are reserved");
  *out = (wasmtime_linear_memory_t){.env = plain_next, .get_memory = plain_look, .grow_memory = plain_grow};
  return plain_next->pages * PAGESTORE_PAGE < minimum ? plain_grow(plain_next, minimum) : NULL;
}

/* ---- modules ----------------------------------------------------------------------------------------------------- */

static uint8_t *file_read(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) die("%s: %s", path, strerror(errno));
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*size + 1);
  if (!bytes || fread(bytes, 1, *size, file) != *size) die("%s cannot be read", path);
  fclose(file);
  return bytes;
}

static void compiled_write(const wasmtime_module_t *module, const char *path) {
  wasm_byte_vec_t bytes;
  char draft[4200];
  if (wasmtime_module_serialize((wasmtime_module_t *)module, &bytes)) die("%s cannot be made", path);
  snprintf(draft, sizeof draft, "%s.draft", path);
  FILE *file = fopen(draft, "wb");
  if (!file || fwrite(bytes.data, 1, bytes.size, file) != bytes.size || fclose(file) || rename(draft, path))
    die("%s: %s", path, strerror(errno));
  wasm_byte_vec_delete(&bytes);
}

/* Compiled and examined once; the hosts that follow find the machine code beside the module. */
static const pagestore_wasmtime_module *module_of(host *h, pagestore_wasmtime_module *slot, const char *suffix) {
  char path[4096], compiled[4110];
  wasmtime_module_t *module;
  size_t size;
  if (slot->module) return slot;
  snprintf(path, sizeof path, "%s/%s_v%d%s.wasm", h->folder, h->canister->name, h->version, suffix);
  snprintf(compiled, sizeof compiled, "%s.compiled", path);
  if (access(compiled, R_OK) == 0) {
    if (wasmtime_module_deserialize_file(h->engine.engine, compiled, &module)) die("%s cannot be used", compiled);
    pagestore_wasmtime_module_adopt(module, slot);
    return slot;
  }
  uint8_t *bytes = file_read(path, &size);
  /* PLAIN needs none of the adapter's promises. */
  unsigned flags = h->kind == PLAIN ? PAGESTORE_WASMTIME_HIDDEN | PAGESTORE_WASMTIME_TABLES : 0;
  if (pagestore_wasmtime_module_new(&h->engine, bytes, size, flags, slot)) die("%s: %s", path, slot->detail);
  free(bytes);
  compiled_write(slot->module, compiled);
  return slot;
}

static void engine_new(host *h) {
  wasm_config_t *config = wasm_config_new();
  if (h->kind != PLAIN) {
    if (pagestore_wasmtime_engine_new(&h->engine, config)) die("no engine: %s", h->engine.detail);
    return;
  }
  wasmtime_memory_creator_t creator = {.new_memory = plain_create};
  wasmtime_config_wasm_multi_memory_set(config, true);
  wasmtime_config_wasm_memory64_set(config, true);
  wasmtime_config_memory_init_cow_set(config, false);
  wasmtime_config_memory_may_move_set(config, true);
  wasmtime_config_gc_support_set(config, false);
  wasmtime_config_host_memory_creator_set(config, &creator);
  h->engine.engine = wasm_engine_new_with_config(config);
}

/* ---- instances --------------------------------------------------------------------------------------------------- */

static wasmtime_context_t *context_of(host *h) {
  return h->kind == PLAIN ? wasmtime_store_context(h->plain_store) : h->guest.context;
}

static bool export_of(host *h, const wasmtime_instance_t *instance, const char *name, wasmtime_extern_t *out) {
  return wasmtime_instance_export_get(context_of(h), instance, name, strlen(name), out);
}

static void plain_instantiate(host *h) {
  wasm_trap_t *trap = NULL;
  const pagestore_wasmtime_module *module = module_of(h, &h->modules[h->version], "");
  if (h->plain_store) wasmtime_store_delete(h->plain_store);
  h->plain_store = wasmtime_store_new(h->engine.engine, NULL, NULL);
  h->linker = wasmtime_linker_new(h->engine.engine);
  ic0_define(h, module->module);
  plain_next = &h->plain_heap;
  wasmtime_error_t *error = wasmtime_linker_instantiate(h->linker, context_of(h), module->module, &h->instance, &trap);
  no_error(h, error, trap, "instantiation");
}

/* The shim's exports are the module's imports. */
static void shim_link(host *h, const wasmtime_instance_t *shim) {
  char *name;
  size_t length;
  wasmtime_extern_t item;
  for (size_t i = 0; wasmtime_instance_export_nth(h->guest.context, shim, i, &name, &length, &item); i++) {
    const char *module = item.kind == WASMTIME_EXTERN_MEMORY ? "pagestore" : "ic0";
    wasmtime_error_t *error = wasmtime_linker_define(h->linker, h->guest.context, module, strlen(module), name, length,
                                                     &item);
    no_error(h, error, NULL, "linking the shim");
    wasmtime_extern_delete(&item);
  }
}

static void memories_list(host *h) {
  uint32_t heap64 = h->canister->is64 ? PAGESTORE_MEMORY64 : 0, keep = h->canister->keeps_heap ? PAGESTORE_KEEP : 0;
  pagestore_memory_options heap = {.size = sizeof heap, .max_pages = MEMORY_MAX, .flags = heap64 | keep};
  /* stable.h marks what it writes, the shim does not */
  pagestore_memory_options stable = {.size = sizeof stable,
                                     .max_pages = 8192000,
                                     .flags = PAGESTORE_MEMORY64 | PAGESTORE_KEEP |
                                              (h->kind == CALLS ? (uint32_t)PAGESTORE_EXPLICIT : 0)};
  const char *names[] = {h->kind == SHIM ? "heap" : "pagestore_heap", h->kind == SHIM ? "stable" : "pagestore_stable"};
  OK(h, pagestore_wasmtime_memory(&h->guest, "heap", &heap, names[0], &h->heap));
  OK(h, pagestore_wasmtime_memory(&h->guest, "stable", &stable, names[1], &h->stable));
  if (h->kind == CALLS) OK(h, pagestore_stable_open(h->heap, h->stable, NULL, &h->calls));
}

/* The guest is started; a trap of the module's start comes back. */
static int durable_instantiate(host *h) {
  const pagestore_wasmtime_module *module = module_of(h, &h->modules[h->version],
                                                      h->kind == SHIM ? ".shimmed" : ".own");
  memories_list(h);
  h->linker = wasmtime_linker_new(h->engine.engine);
  ic0_define(h, module->module);
  if (h->kind == SHIM) {
    wasmtime_instance_t shim;
    const pagestore_wasmtime_module *calls = module_of(h, &h->shims[h->version], ".shim");
    OK(h, pagestore_wasmtime_instantiate(&h->guest, calls, NULL, &shim));
    shim_link(h, &shim);
  }
  return pagestore_wasmtime_instantiate(&h->guest, module, h->linker, &h->instance);
}

static void guest_drop(host *h) {
  if (h->linker) wasmtime_linker_delete(h->linker);
  h->linker = NULL;
  pagestore_stable_close(h->calls);
  h->calls = NULL;
}

static uint64_t remembered(host *h, const char *key) {
  uint64_t value = 0;
  size_t length;
  int status = pagestore_metadata_get(h->state, key, &value, sizeof value, &length);
  if (status && status != PAGESTORE_ENOTFOUND) die("%s: %s", key, pagestore_detail());
  return value;
}

static void remember(host *h, const char *key, uint64_t value) {
  OK(h, pagestore_metadata_set(h->state, key, &value, sizeof value));
}

/* As of the last commit; true: nothing was ever committed. */
static bool guest_open(host *h) {
  h->version = (int)remembered(h, version_key);
  if (!h->version) h->version = 1;
  OK(h, pagestore_wasmtime_start(&h->guest, &h->engine, h->state));
  OK(h, durable_instantiate(h));
  return !h->guest.stored;
}

static void guest_close(host *h) {
  guest_drop(h);
  pagestore_wasmtime_stop(&h->guest);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

bool host_heap(host *h, uint64_t at, void *bytes, uint64_t length, bool write) {
  uint64_t size = h->plain_heap.pages * PAGESTORE_PAGE;
  if (h->kind != PLAIN)
    return (write ? pagestore_memory_write(h->heap, at, bytes, length)
                  : pagestore_memory_read(h->heap, at, bytes, length)) == 0;
  if (at > size || length > size - at) return false;
  if (length) memcpy(write ? h->plain_heap.base + at : bytes, write ? bytes : h->plain_heap.base + at, length);
  return true;
}

static int function_call(host *h, const wasmtime_func_t *function, const wasmtime_val_t *given, size_t count,
                         wasmtime_val_t *results, size_t result_count) {
  wasm_trap_t *trap = NULL;
  if (h->kind != PLAIN) return pagestore_wasmtime_call(&h->guest, function, given, count, results, result_count);
  no_error(h, wasmtime_func_call(context_of(h), function, given, count, results, result_count, &trap), trap,
           h->message->method);
  return 0;
}

void host_run(host *h, const message *m, reply *r) {
  wasmtime_extern_t item;
  wasmtime_val_t given[RAW_MAX], result = {0};
  r->code = 0;
  r->length = 0;
  h->message = m;
  h->reply = r;
  h->replied = false;
  h->said[0] = 0;
  if (!export_of(h, &h->instance, m->method, &item)) die("%s exports no %s", h->canister->name, m->method);
  wasm_functype_t *type = wasmtime_func_type(context_of(h), &item.of.func);
  const wasm_valtype_vec_t *params = wasm_functype_params(type);
  size_t results = wasm_functype_results(type)->size;
  if (params->size > RAW_MAX || results > 1) die("%s takes or returns too much", m->method);
  for (size_t i = 0; i < params->size; i++) {
    bool wide = wasm_valtype_kind(params->data[i]) == WASM_I64;
    int64_t value = i < m->raw_count ? m->raw[i] : 0;
    given[i].kind = wide ? WASMTIME_I64 : WASMTIME_I32;
    if (wide) given[i].of.i64 = value;
    else given[i].of.i32 = (int32_t)value;
  }
  r->code = function_call(h, &item.of.func, given, params->size, &result, results);
  if (results) {
    uint64_t value = result.kind == WASMTIME_I64 ? (uint64_t)result.of.i64 : (uint32_t)result.of.i32;
    r->length = sizeof value;
    memcpy(r->bytes, &value, sizeof value);
  }
  if (r->code) r->length = 0;
  wasm_functype_delete(type);
  wasmtime_extern_delete(&item);
}

void host_end(host *h, uint64_t number, bool keep) {
  if (h->kind == PLAIN) return;
  if (!keep) OK(h, pagestore_wasmtime_rollback(&h->guest));
  if (!number) return;
  remember(h, last_key, number);
  OK(h, pagestore_wasmtime_commit(&h->guest, 0, NULL));
}

uint64_t host_last(host *h) { return remembered(h, last_key); }

/* ---- upgrade, snapshots ------------------------------------------------------------------------------------------ */

/* One of the canister's own hooks, where it has it. */
static int hook(host *h, uint64_t number, const char *name, int64_t argument) {
  static reply ignored;
  message m = {.number = number, .length = 6, .argument = "DIDL\0\0", .raw = {argument}, .raw_count = 1};
  wasmtime_extern_t item;
  snprintf(m.method, sizeof m.method, "%s%s", h->canister->is_raw ? "" : "canister_", name);
  if (!export_of(h, &h->instance, m.method, &item)) return 0;
  wasmtime_extern_delete(&item);
  host_run(h, &m, &ignored);
  return ignored.code;
}

static void plain_upgrade(host *h, uint64_t number, int version, int64_t argument) {
  hook(h, number, "pre_upgrade", 0);
  h->version = version;
  wasmtime_linker_delete(h->linker);
  wasmtime_store_delete(h->plain_store);
  h->plain_store = NULL;
  if (!h->canister->keeps_heap) {
    plain_release(&h->plain_heap);
    plain_reserve(&h->plain_heap);
  }
  plain_instantiate(h);
  hook(h, number, "post_upgrade", argument);
}

int host_upgrade(host *h, uint64_t number, int version, int64_t argument) {
  uint8_t hash[32] = {(uint8_t)version, 1};
  if (h->kind == PLAIN) {
    plain_upgrade(h, number, version, argument);
    return 0;
  }
  int code = hook(h, number, "pre_upgrade", 0);
  if (!code) {
    guest_drop(h);
    OK(h, pagestore_wasmtime_upgrade(&h->guest, hash));
    h->version = version;
    code = durable_instantiate(h);
    if (!code) code = hook(h, number, "post_upgrade", argument);
  }
  if (code) { /* the old module, as before */
    guest_close(h);
    OK(h, pagestore_rollback(h->state));
    guest_open(h);
    return code;
  }
  remember(h, version_key, (uint64_t)version);
  host_end(h, number, true);
  return 0;
}

void host_snapshot(host *h, const char *name) { OK(h, pagestore_snapshot_create(h->state, name, 0)); }

/* Another module may have run then. */
void host_restore(host *h, const char *name) {
  OK(h, pagestore_restore(h->state, name));
  if ((int)remembered(h, version_key) == h->version) {
    OK(h, pagestore_wasmtime_refresh(&h->guest));
    OK(h, pagestore_wasmtime_commit(&h->guest, 0, NULL));
    return;
  }
  OK(h, pagestore_commit(h->state, 0, NULL));
  guest_close(h);
  guest_open(h);
}

/* ---- fingerprints ------------------------------------------------------------------------------------------------ */

static uint64_t hashed(uint64_t hash, const uint8_t *page) {
  for (size_t i = 0; i < PAGESTORE_PAGE; i += 8) {
    uint64_t word;
    memcpy(&word, page + i, 8);
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
  }
  return hash;
}

static uint64_t durable_hash(host *h, pagestore_memory *memory) {
  static uint8_t page[PAGESTORE_PAGE];
  uint64_t hash = 1;
  for (uint64_t i = 0; i < pagestore_memory_pages(memory); i++) {
    OK(h, pagestore_memory_read(memory, i * PAGESTORE_PAGE, page, sizeof page));
    hash = hashed(hash, page);
  }
  return hash;
}

static uint64_t plain_hash(const plain_memory *memory) {
  uint64_t hash = 1;
  for (uint64_t i = 0; i < memory->pages; i++) hash = hashed(hash, memory->base + i * PAGESTORE_PAGE);
  return hash;
}

fingerprint host_fingerprint(host *h) {
  if (h->kind == PLAIN)
    return (fingerprint){h->plain_heap.pages, plain_hash(&h->plain_heap), h->plain_stable.pages,
                         plain_hash(&h->plain_stable)};
  return (fingerprint){pagestore_memory_pages(h->heap), durable_hash(h, h->heap), pagestore_memory_pages(h->stable),
                       durable_hash(h, h->stable)};
}

/* ---- begin, end -------------------------------------------------------------------------------------------------- */

void host_open(host *h, backend kind, const canister *c, const char *folder, const char *store_path) {
  memset(h, 0, sizeof *h);
  h->kind = kind;
  h->canister = c;
  h->folder = folder;
  engine_new(h);
  if (kind == PLAIN) {
    h->version = 1;
    plain_reserve(&h->plain_heap);
    plain_reserve(&h->plain_stable);
    if (mprotect(h->plain_stable.base, plain_bytes, PROT_READ | PROT_WRITE)) die("no stable memory");
    plain_instantiate(h);
    hook(h, 0, "init", 0);
    return;
  }
  OK(h, pagestore_open(store_path, PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &h->store));
  OK(h, pagestore_instance_open(h->store, c->name,
                                PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE), &h->state));
  if (!guest_open(h)) return;
  if (hook(h, 0, "init", 0)) die("%s: init: %s", c->name, h->guest.detail);
  remember(h, version_key, 1);
  OK(h, pagestore_wasmtime_commit(&h->guest, 0, NULL));
}

void host_close(host *h) {
  if (h->kind == PLAIN) {
    wasmtime_linker_delete(h->linker);
    wasmtime_store_delete(h->plain_store);
    plain_release(&h->plain_heap);
    plain_release(&h->plain_stable);
  } else {
    guest_close(h);
    pagestore_instance_close(h->state);
    OK(h, pagestore_close(h->store));
  }
  for (int i = 0; i <= VERSIONS; i++) {
    pagestore_wasmtime_module_delete(&h->modules[i]);
    pagestore_wasmtime_module_delete(&h->shims[i]);
  }
  pagestore_wasmtime_engine_delete(&h->engine);
}
