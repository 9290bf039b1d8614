/* wasmtime_runtime.h - the other half of wasmtime.h, included by it where PAGESTORE_WASMTIME_IMPLEMENTATION is defined;
 * never by itself.
 *
 *   1 creator    what the engine is told of a memory, growth
 *   2 engine     configuration, modules
 *   3 guest      which memories and globals, faults
 *   4 messages   calls, commit, rollback, upgrade; binding is in wasmtime_binding.h
 *
 * Invariants: a bound memory is in the list of one started guest, once; the engine is given a memory only between begin
 *             and end of an instantiate on the same thread, each listed one at most once; what the engine holds of a
 *             memory (base, size) is read from the library each time it asks.
 * Thread:     the list of guests under its lock; the fault hook takes no lock. */
#ifndef PAGESTORE_WASMTIME_RUNTIME_H
#define PAGESTORE_WASMTIME_RUNTIME_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first include where PAGESTORE_WASMTIME_IMPLEMENTATION is defined"
#endif
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#ifdef __cplusplus
extern "C" {
#endif

#include <pagestore/wasmtime_module.h>

static pthread_mutex_t pagestore_wasmtime_lock = PTHREAD_MUTEX_INITIALIZER;
static pagestore_wasmtime *pagestore_wasmtime_started;
/* whose memories the engine is given on this thread */
static __thread pagestore_wasmtime *pagestore_wasmtime_binding;

static int pagestore_wasmtime_say(pagestore_wasmtime *guest, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int pagestore_wasmtime_say(pagestore_wasmtime *guest, int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(guest->detail, sizeof guest->detail, format, arguments);
  va_end(arguments);
  return status;
}

/* The library's own text goes where the adapter's texts are. */
static int pagestore_wasmtime_said(pagestore_wasmtime *guest, int status) {
  if (status) snprintf(guest->detail, sizeof guest->detail, "%s", pagestore_detail());
  return status;
}

/* ---- 1 creator --------------------------------------------------------------------------------------------------- */

/* Called often, by any thread that looks: no work. */
static uint8_t *pagestore_wasmtime_look(void *env, size_t *bytes, size_t *capacity) {
  const pagestore_wasmtime_bound *bound = (const pagestore_wasmtime_bound *)env;
  *bytes = (size_t)(pagestore_memory_pages(bound->memory) * PAGESTORE_PAGE);
  *capacity = (size_t)(pagestore_memory_max(bound->memory) * PAGESTORE_PAGE);
  return bound->base;
}

/* Any error is -1 for the guest, who must see that only beyond the maximum: the others are noted, and end the call. */
static wasmtime_error_t *pagestore_wasmtime_grow(void *env, size_t bytes) {
  pagestore_wasmtime_bound *bound = (pagestore_wasmtime_bound *)env;
  uint64_t pages = pagestore_memory_pages(bound->memory), wanted = bytes / PAGESTORE_PAGE;
  int status = wanted <= pages ? 0 : pagestore_memory_grow(bound->memory, wanted - pages, NULL);
  if (status && status != PAGESTORE_EBOUNDS) {
    pagestore_wasmtime_said(bound->guest, status);
    bound->guest->failure = status;
    bound->guest->grow_failed = true;
  }
  return status ? wasmtime_error_new(pagestore_strerror(status)) : NULL;
}

/* The next listed memory that the module's definition number `served` is. */
static pagestore_wasmtime_bound *pagestore_wasmtime_next(pagestore_wasmtime *guest) {
  const pagestore_wasmtime_module *module = guest->serving;
  const char *names = module->memory_count == UINT32_MAX ? NULL : module->memory_names[guest->served];
  for (int named = 1; named >= 0; named--)
    for (size_t i = 0; i < guest->count; i++) {
      pagestore_wasmtime_bound *bound = &guest->memories[i];
      if (bound->taken) continue;
      if (module->memory_count == UINT32_MAX) return bound;
      if (named ? bound->export_name && pagestore_wasmtime_has_name(names, bound->export_name) : !bound->export_name)
        return bound;
    }
  return NULL;
}

/* How the memory and the module's type do not fit, or 0. */
static int pagestore_wasmtime_fit(pagestore_wasmtime *guest, pagestore_wasmtime_bound *bound,
                                  const wasm_memorytype_t *type, uint64_t reserved, uint64_t guard) {
  uint64_t pages = pagestore_memory_pages(bound->memory), max_pages = pagestore_memory_max(bound->memory), most;
  uint64_t least = wasmtime_memorytype_minimum(type), span = max_pages * PAGESTORE_PAGE;
  const char *name = pagestore_memory_name(bound->memory);
  if (wasmtime_memorytype_isshared(type))
    return pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED, "memory '%s': the module's is shared", name);
  if (wasmtime_memorytype_page_size(type) != PAGESTORE_PAGE)
    return pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED, "memory '%s': the module's pages are not of 64 KiB",
                                  name);
  if (wasmtime_memorytype_is64(type) != ((bound->flags & PAGESTORE_MEMORY64) != 0))
    return pagestore_wasmtime_say(guest, PAGESTORE_ETYPE, "memory '%s': the module's has %d-bit indexes", name,
                                  wasmtime_memorytype_is64(type) ? 64 : 32);
  if (wasmtime_memorytype_maximum(type, &most) && pages > most)
    return pagestore_wasmtime_say(guest, PAGESTORE_ETYPE, "memory '%s' has %llu pages, the module's maximum is %llu",
                                  name, (unsigned long long)pages, (unsigned long long)most);
  if (bound->reserved_bytes < (span > reserved ? span : reserved) + guard)
    return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL,
                                  "memory '%s' is reserved for less than the engine relies on: "
                                  "give its first opening to pagestore_wasmtime_memory",
                                  name);
  int status = pages >= least ? 0 : pagestore_memory_grow(bound->memory, least - pages, NULL);
  return pagestore_wasmtime_said(guest, status);
}

static wasmtime_error_t *pagestore_wasmtime_create(void *env, const wasm_memorytype_t *type, size_t minimum,
                                                   size_t maximum, size_t reserved, size_t guard,
                                                   wasmtime_linear_memory_t *out) {
  pagestore_wasmtime *guest = pagestore_wasmtime_binding;
  (void)env, (void)minimum, (void)maximum;
  if (!guest)
    return wasmtime_error_new("a memory outside of pagestore_wasmtime_instantiate: where would its bytes live?");
  pagestore_wasmtime_bound *bound = pagestore_wasmtime_next(guest);
  if (!bound) {
    guest->failure = pagestore_wasmtime_say(guest, PAGESTORE_EINVAL,
                                            "the module defines a memory that is not listed, or is "
                                            "bound already: number %u of its definitions",
                                            (unsigned)guest->served);
  } else {
    guest->failure = pagestore_wasmtime_fit(guest, bound, type, reserved, guard);
  }
  if (guest->failure) return wasmtime_error_new(guest->detail);
  bound->taken = true;
  guest->served++;
  out->env = bound;
  out->get_memory = pagestore_wasmtime_look;
  out->grow_memory = pagestore_wasmtime_grow;
  out->finalizer = NULL;
  return NULL;
}

/* ---- 2 engine, modules ------------------------------------------------------------------------------------------- */

static uint64_t pagestore_wasmtime_reservation(const pagestore_wasmtime_engine *engine) {
  return engine->reservation_bytes ? engine->reservation_bytes : UINT64_C(4) << 30;
}

static uint64_t pagestore_wasmtime_guard(const pagestore_wasmtime_engine *engine) {
  return engine->guard_bytes ? engine->guard_bytes : UINT64_C(32) << 20;
}

void pagestore_wasmtime_config(wasm_config_t *config, const pagestore_wasmtime_engine *engine) {
  wasmtime_memory_creator_t creator;
  memset(&creator, 0, sizeof creator);
  creator.new_memory = pagestore_wasmtime_create;
  wasmtime_config_wasm_multi_memory_set(config, true);
  wasmtime_config_wasm_memory64_set(config, true);
  /* An image would have to be mapped over the region; with a creator and data segments the engine panics. */
  wasmtime_config_memory_init_cow_set(config, false);
  /* They never do; but forbidden to, compiled code takes a 64-bit memory to end at the reservation. */
  wasmtime_config_memory_may_move_set(config, true);
  wasmtime_config_memory_reservation_set(config, pagestore_wasmtime_reservation(engine));
  wasmtime_config_memory_guard_size_set(config, pagestore_wasmtime_guard(engine));
  /* Its heap would be asked from the creator, too, and could not be told from a memory. */
  wasmtime_config_gc_support_set(config, false);
  /* They live in that heap; without it, but not forbidden, the engine panics. */
#ifdef WASMTIME_FEATURE_GC
  wasmtime_config_wasm_exceptions_set(config, false);
#endif
  wasmtime_config_host_memory_creator_set(config, &creator);
}

/* A module that imports a memory, and stores and loads a byte of it; index type and limits by the two marks. */
static wasmtime_error_t *pagestore_wasmtime_probe(wasm_engine_t *engine, int is64, wasmtime_module_t **out) {
  uint8_t type = is64 ? 0x7e : 0x7f, limits = is64 ? 4 : 0;
  const uint8_t wasm[] =
      {
          0, 'a',  's',  'm',  1,    0,    0,    0,    1,      11,  2,    0x60, 2, type, 0x7f,
          0, 0x60, 1,    type, 1,    0x7f,                        /* (index, i32) -> (), (index) -> i32 */
          2, 8,    1,    1,    'm',  1,    'm',  2,    limits, 0, /* the memory */
          3, 3,    2,    0,    1,    7,    9,    2,    1,      's', 0,    0,    1, 'l',  0,
          1, 10,   19,   2,    9,    0,    0x20, 0,    0x20,   1,   0x3a, 0,    0, 0x0b, /* i32.store8 */
          7, 0,    0x20, 0,    0x2d, 0,    0,    0x0b,                                   /* i32.load8_u */
      };
  return wasmtime_module_new(engine, wasm, sizeof wasm, out);
}

static void pagestore_wasmtime_take_error(wasmtime_error_t *error, char *to, size_t room) {
  wasm_byte_vec_t text;
  wasmtime_error_message(error, &text);
  snprintf(to, room, "%.*s", (int)text.size, text.data);
  wasm_byte_vec_delete(&text);
  wasmtime_error_delete(error);
}

int pagestore_wasmtime_engine_new(pagestore_wasmtime_engine *engine, wasm_config_t *config) {
  if (pagestore_wasmtime_reservation(engine) % PAGESTORE_PAGE || pagestore_wasmtime_guard(engine) % PAGESTORE_PAGE) {
    snprintf(engine->detail, sizeof engine->detail, "reservation and guard must be multiples of 64 KiB");
    return PAGESTORE_EINVAL;
  }
  if (!config && !(config = wasm_config_new())) return PAGESTORE_ENOMEM;
  pagestore_wasmtime_config(config, engine);
  engine->engine = wasm_engine_new_with_config(config);
  if (!engine->engine) return PAGESTORE_ENOMEM;
  wasmtime_error_t *error = NULL;
  for (int is64 = 0; is64 <= 1 && !error; is64++)
    error = pagestore_wasmtime_probe(engine->engine, is64, &engine->probe[is64]);
  int status = error ? PAGESTORE_EUNSUPPORTED : pagestore_handlers();
  if (error) pagestore_wasmtime_take_error(error, engine->detail, sizeof engine->detail);
  else if (status) snprintf(engine->detail, sizeof engine->detail, "%s", pagestore_detail());
  if (status) pagestore_wasmtime_engine_delete(engine);
  return status;
}

void pagestore_wasmtime_engine_delete(pagestore_wasmtime_engine *engine) {
  for (int is64 = 0; is64 <= 1; is64++)
    if (engine->probe[is64]) wasmtime_module_delete(engine->probe[is64]);
  if (engine->engine) wasm_engine_delete(engine->engine);
  engine->probe[0] = engine->probe[1] = NULL;
  engine->engine = NULL;
}

int pagestore_wasmtime_module_new(pagestore_wasmtime_engine *engine, const uint8_t *wasm, size_t length, unsigned flags,
                                  pagestore_wasmtime_module *out) {
  memset(out, 0, sizeof *out);
  wasmtime_error_t *error = wasmtime_module_new(engine->engine, wasm, length, &out->module);
  if (error) {
    pagestore_wasmtime_take_error(error, out->detail, sizeof out->detail);
    return PAGESTORE_EINVAL;
  }
  int status = pagestore_wasmtime_examine(out, wasm, length, flags);
  if (status) pagestore_wasmtime_module_delete(out);
  return status;
}

void pagestore_wasmtime_module_adopt(wasmtime_module_t *module, pagestore_wasmtime_module *out) {
  memset(out, 0, sizeof *out);
  out->module = module;
  out->memory_count = UINT32_MAX;
}

void pagestore_wasmtime_module_delete(pagestore_wasmtime_module *module) {
  for (int i = 0; i < PAGESTORE_WASMTIME_MEMORIES; i++) {
    free(module->memory_names[i]);
    module->memory_names[i] = NULL;
  }
  if (module->module) wasmtime_module_delete(module->module);
  module->module = NULL;
}

/* ---- 3 guest ----------------------------------------------------------------------------------------------------- */

#define PAGESTORE_WASMTIME_STORED "module.wasmtime" /* metadata: a module was committed; upgrade drops it */

static uintptr_t pagestore_wasmtime_place(const void *ucontext) {
  const ucontext_t *context = (const ucontext_t *)ucontext;
#if defined(__x86_64__)
  return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#else
  return (uintptr_t)context->uc_mcontext.pc;
#endif
}

/* Compiled code: left to the engine's handler, which finds a trap at that instruction. Others: come through, and be
 * told. */
static bool pagestore_wasmtime_hook(void *env, int status, void *address, void *ucontext) {
  pagestore_wasmtime *guest = (pagestore_wasmtime *)env;
  uintptr_t place = pagestore_wasmtime_place(ucontext);
  (void)address;
  if (!guest->failure) guest->failure = status;
  for (size_t i = 0; i < guest->module_count; i++)
    if (place >= guest->images[i].start && place < guest->images[i].end) return true;
  return false;
}

static void pagestore_wasmtime_add_image(pagestore_wasmtime *guest, const wasmtime_module_t *module) {
  void *start, *end;
  wasmtime_module_image_range(module, &start, &end);
  guest->images[guest->module_count].start = (uintptr_t)start;
  guest->images[guest->module_count++].end = (uintptr_t)end;
}

static int pagestore_wasmtime_new_store(pagestore_wasmtime *guest) {
  guest->store = wasmtime_store_new(guest->engine->engine, guest, NULL);
  if (!guest->store) return pagestore_wasmtime_say(guest, PAGESTORE_ENOMEM, "no memory for a Wasmtime store");
  guest->context = wasmtime_store_context(guest->store);
  pagestore_wasmtime_add_image(guest, guest->engine->probe[0]);
  pagestore_wasmtime_add_image(guest, guest->engine->probe[1]);
  return 0;
}

/* The engine's side of a guest; what remains is as after start but for the store. */
static void pagestore_wasmtime_clear(pagestore_wasmtime *guest) {
  if (guest->store) wasmtime_store_delete(guest->store);
  guest->store = NULL;
  guest->context = NULL;
  for (size_t i = 0; i < guest->global_count; i++) free(guest->globals[i].key);
  free(guest->globals);
  guest->globals = NULL;
  guest->global_count = guest->global_room = 0;
  pthread_mutex_lock(&pagestore_wasmtime_lock);
  guest->count = 0;
  pthread_mutex_unlock(&pagestore_wasmtime_lock);
  guest->module_count = 0;
}

int pagestore_wasmtime_start(pagestore_wasmtime *guest, pagestore_wasmtime_engine *engine,
                             pagestore_instance *instance) {
  size_t length;
  uint8_t value;
  if (guest->store || !engine->engine || !instance)
    return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "started already, or no engine, or no instance");
  memset(guest, 0, sizeof *guest);
  guest->engine = engine;
  guest->instance = instance;
  int status = pagestore_wasmtime_said(guest, pagestore_thread_prepare());
  if (!status) {
    int found = pagestore_metadata_get(instance, PAGESTORE_WASMTIME_STORED, &value, 1, &length);
    guest->stored = found == 0;
    if (found && found != PAGESTORE_ENOTFOUND) status = pagestore_wasmtime_said(guest, found);
  }
  if (!status) status = pagestore_wasmtime_new_store(guest);
  if (status) return status;
  pthread_mutex_lock(&pagestore_wasmtime_lock);
  guest->next = pagestore_wasmtime_started;
  pagestore_wasmtime_started = guest;
  pthread_mutex_unlock(&pagestore_wasmtime_lock);
  return 0;
}

void pagestore_wasmtime_stop(pagestore_wasmtime *guest) {
  pagestore_wasmtime_clear(guest);
  pthread_mutex_lock(&pagestore_wasmtime_lock);
  pagestore_wasmtime **at = &pagestore_wasmtime_started;
  while (*at && *at != guest) at = &(*at)->next;
  if (*at) *at = guest->next;
  pthread_mutex_unlock(&pagestore_wasmtime_lock);
}

/* A base is in one list, once. */
static bool pagestore_wasmtime_is_listed(const uint8_t *base) {
  bool found = false;
  for (pagestore_wasmtime *other = pagestore_wasmtime_started; other && !found; other = other->next)
    for (size_t i = 0; i < other->count && !found; i++) found = other->memories[i].base == base;
  return found;
}

static int pagestore_wasmtime_list(pagestore_wasmtime *guest, const pagestore_wasmtime_bound *bound) {
  pthread_mutex_lock(&pagestore_wasmtime_lock);
  bool listed = pagestore_wasmtime_is_listed(bound->base);
  if (!listed) guest->memories[guest->count++] = *bound;
  pthread_mutex_unlock(&pagestore_wasmtime_lock);
  if (!listed) return 0;
  return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "memory '%s' is listed or bound already",
                                pagestore_memory_name(bound->memory));
}

int pagestore_wasmtime_memory(pagestore_wasmtime *guest, const char *name, const pagestore_memory_options *given,
                              const char *export_name, pagestore_memory **out) {
  pagestore_memory_options options;
  pagestore_wasmtime_bound bound;
  memset(&options, 0, sizeof options);
  memset(&bound, 0, sizeof bound);
  if (given) options = *given;
  if (!guest->store || guest->count == PAGESTORE_WASMTIME_MEMORIES)
    return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "not started, or more than %d memories",
                                  PAGESTORE_WASMTIME_MEMORIES);
  options.size = sizeof options;
  uint64_t reservation = pagestore_wasmtime_reservation(guest->engine), guard = pagestore_wasmtime_guard(guest->engine);
  /* 0: not known before it is open, an existing one keeps its own */
  uint64_t max_bytes = options.max_pages * PAGESTORE_PAGE;
  if (max_bytes < reservation) guard += reservation - max_bytes;
  if (options.guard_bytes < guard) options.guard_bytes = guard;
  if (!options.trap) {
    options.trap = pagestore_wasmtime_hook;
    options.env = guest;
  }
  int status = pagestore_memory_open(guest->instance, name, &options, &bound.memory);
  if (status) return pagestore_wasmtime_said(guest, status);
  bound.guest = guest;
  bound.export_name = export_name;
  bound.base = pagestore_memory_base(bound.memory);
  bound.reserved_bytes = pagestore_memory_max(bound.memory) * PAGESTORE_PAGE + options.guard_bytes;
  bound.flags = options.flags;
  status = pagestore_wasmtime_list(guest, &bound);
  if (!status && out) *out = bound.memory;
  return status;
}

/* ---- globals ----------------------------------------------------------------------------------------------------- */

static size_t pagestore_wasmtime_bytes_of(wasmtime_valkind_t kind) {
  if (kind == WASMTIME_I32 || kind == WASMTIME_F32) return 4;
  if (kind == WASMTIME_I64 || kind == WASMTIME_F64) return 8;
  return kind == WASMTIME_V128 ? 16 : 0;
}

int pagestore_wasmtime_save_globals(pagestore_wasmtime *guest) {
  for (size_t i = 0; i < guest->global_count; i++) {
    pagestore_wasmtime_global *global = &guest->globals[i];
    size_t bytes = pagestore_wasmtime_bytes_of(global->kind);
    wasmtime_val_t value;
    wasmtime_global_get(guest->context, &global->handle, &value);
    if (global->is_saved && memcmp(global->saved, &value.of, bytes) == 0) continue;
    int status = pagestore_metadata_set(guest->instance, global->key, &value.of, bytes);
    if (status) return pagestore_wasmtime_said(guest, status);
    memcpy(global->saved, &value.of, bytes);
    global->is_saved = true;
  }
  return 0;
}

static int pagestore_wasmtime_load_global(pagestore_wasmtime *guest, pagestore_wasmtime_global *global) {
  size_t length, bytes = pagestore_wasmtime_bytes_of(global->kind);
  wasmtime_val_t value;
  memset(&value, 0, sizeof value);
  global->is_saved = false;
  int status = pagestore_metadata_get(guest->instance, global->key, global->saved, sizeof global->saved, &length);
  if (status && status != PAGESTORE_EBOUNDS) return pagestore_wasmtime_said(guest, status);
  if (status || length != bytes)
    return pagestore_wasmtime_say(guest, PAGESTORE_ETYPE, "'%s' was stored with %zu bytes, the module's has %zu",
                                  global->key, length, bytes);
  value.kind = global->kind;
  memcpy(&value.of, global->saved, bytes);
  wasmtime_error_t *error = wasmtime_global_set(guest->context, &global->handle, &value);
  if (error) {
    pagestore_wasmtime_take_error(error, guest->detail, sizeof guest->detail);
    return PAGESTORE_ETYPE;
  }
  global->is_saved = true;
  return 0;
}

static int pagestore_wasmtime_load_globals(pagestore_wasmtime *guest) {
  int result = 0;
  for (size_t i = 0; i < guest->global_count; i++) {
    int status = pagestore_wasmtime_load_global(guest, &guest->globals[i]);
    if (status && !result) result = status;
  }
  return result;
}

#include <pagestore/wasmtime_binding.h>

/* ---- 4 messages -------------------------------------------------------------------------------------------------- */

int pagestore_wasmtime_call(pagestore_wasmtime *guest, const wasmtime_func_t *function, const wasmtime_val_t *arguments,
                            size_t argument_count, wasmtime_val_t *results, size_t result_count) {
  wasm_trap_t *trap = NULL;
  int status = pagestore_wasmtime_said(guest, pagestore_thread_check() ? pagestore_thread_prepare() : 0);
  if (status) return status;
  wasmtime_error_t *error = wasmtime_func_call(guest->context, function, arguments, argument_count, results,
                                               result_count, &trap);
  return pagestore_wasmtime_outcome(guest, error, trap, PAGESTORE_EINVAL);
}

/* Growing by nothing makes the engine read base and size. */
static int pagestore_wasmtime_tell(pagestore_wasmtime *guest) {
  for (size_t i = 0; i < guest->count; i++) {
    uint64_t before;
    if (!guest->memories[i].found) continue;
    wasmtime_error_t *error = wasmtime_memory_grow(guest->context, &guest->memories[i].handle, 0, &before);
    if (!error) continue;
    pagestore_wasmtime_take_error(error, guest->detail, sizeof guest->detail);
    return PAGESTORE_EUNSUPPORTED;
  }
  return 0;
}

int pagestore_wasmtime_refresh(pagestore_wasmtime *guest) {
  int status = pagestore_wasmtime_tell(guest);
  return status ? status : pagestore_wasmtime_load_globals(guest);
}

int pagestore_wasmtime_commit(pagestore_wasmtime *guest, unsigned flags, uint64_t *version) {
  static const uint8_t one = 1;
  if (guest->grow_failed) return guest->failure;
  int status = pagestore_wasmtime_save_globals(guest);
  if (!status && !guest->stored)
    status = pagestore_wasmtime_said(guest,
                                     pagestore_metadata_set(guest->instance, PAGESTORE_WASMTIME_STORED, &one, 1));
  if (!status) status = pagestore_wasmtime_said(guest, pagestore_commit(guest->instance, flags, version));
  if (!status) guest->stored = true;
  return status;
}

int pagestore_wasmtime_rollback(pagestore_wasmtime *guest) {
  int status = pagestore_wasmtime_said(guest, pagestore_rollback(guest->instance));
  if (status) return status;
  guest->failure = 0;
  guest->grow_failed = false;
  return pagestore_wasmtime_refresh(guest);
}

int pagestore_wasmtime_upgrade(pagestore_wasmtime *guest, const uint8_t module_hash[32]) {
  pagestore_wasmtime_clear(guest);
  int status = pagestore_wasmtime_said(guest, pagestore_upgrade(guest->instance, module_hash));
  if (status) return status;
  guest->stored = false;
  return pagestore_wasmtime_new_store(guest);
}

#ifdef __cplusplus
}
#endif
#endif
