/* wasmtime_binding.h - from a list of memories to a running instance; included by wasmtime_runtime.h only.
 *
 * The engine has asked the creator for memories; here the exports tell which is which, the probe shows that guest code
 * reaches them, and what data segments and the start function did over a stored state is taken back.
 *
 * Invariant: an instance that the host gets has all its memories checked and its globals listed.
 * Thread:    the guest's. Owner: the guest. */
#ifndef PAGESTORE_WASMTIME_BINDING_H
#define PAGESTORE_WASMTIME_BINDING_H

/* ---- exports ----------------------------------------------------------------------------------------------------- */

static int pagestore_wasmtime_room_for_global(pagestore_wasmtime *guest) {
  if (guest->global_count < guest->global_room) return 0;
  size_t room = guest->global_room ? guest->global_room * 2 : 16;
  pagestore_wasmtime_global *globals = (pagestore_wasmtime_global *)realloc(guest->globals,
                                                                            room * sizeof *guest->globals);
  if (!globals) return pagestore_wasmtime_say(guest, PAGESTORE_ENOMEM, "no memory for the list of globals");
  guest->globals = globals;
  guest->global_room = room;
  return 0;
}

static int pagestore_wasmtime_add_global(pagestore_wasmtime *guest, const char *name, size_t length,
                                         const wasmtime_global_t *handle) {
  static const char prefix[] = "module.global.";
  wasm_globaltype_t *type = wasmtime_global_type(guest->context, handle);
  bool is_mutable = wasm_globaltype_mutability(type) == WASM_VAR;
  wasm_globaltype_delete(type);
  if (!is_mutable) return 0;
  wasmtime_val_t value;
  wasmtime_global_get(guest->context, handle, &value);
  wasmtime_valkind_t kind = value.kind;
  wasmtime_val_unroot(&value);
  if (!pagestore_wasmtime_bytes_of(kind))
    return pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED,
                                  "the mutable global '%.*s' is a reference, which means "
                                  "nothing after a restart",
                                  (int)length, name);
  if (length > 241) return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "a global's name has more than 241 bytes");
  int status = pagestore_wasmtime_room_for_global(guest);
  char *key = status ? NULL : (char *)malloc(sizeof prefix + length);
  if (!key) return status ? status : pagestore_wasmtime_say(guest, PAGESTORE_ENOMEM, "no memory for a global's name");
  memcpy(key, prefix, sizeof prefix - 1);
  memcpy(key + sizeof prefix - 1, name, length);
  key[sizeof prefix - 1 + length] = 0;
  for (size_t i = 0; i < guest->global_count; i++)
    if (strcmp(guest->globals[i].key, key) == 0) {
      free(key);
      return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "two modules export a mutable global '%.*s'", (int)length,
                                    name);
    }
  pagestore_wasmtime_global *global = &guest->globals[guest->global_count++];
  memset(global, 0, sizeof *global);
  global->key = key;
  global->handle = *handle;
  global->kind = kind;
  return 0;
}

/* Under which export the engine shows which memory. */
static int pagestore_wasmtime_note_memory(pagestore_wasmtime *guest, const char *name, size_t length,
                                          const wasmtime_memory_t *handle) {
  const uint8_t *base = wasmtime_memory_data(guest->context, handle);
  for (size_t i = 0; i < guest->count; i++) {
    pagestore_wasmtime_bound *bound = &guest->memories[i];
    const char *wanted = bound->export_name;
    bool is_named = wanted && strlen(wanted) == length && memcmp(wanted, name, length) == 0;
    if (bound->base != base) {
      if (is_named && !bound->found)
        return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL,
                                      "the module's export '%s' is another memory than '%s': list them "
                                      "in the order of its definitions",
                                      wanted, pagestore_memory_name(bound->memory));
      continue;
    }
    bound->handle = *handle;
    bound->found = true;
  }
  return 0;
}

static int pagestore_wasmtime_walk_exports(pagestore_wasmtime *guest, const wasmtime_instance_t *instance) {
  int status = 0;
  char *name;
  size_t length;
  wasmtime_extern_t item;
  for (size_t i = 0; !status && wasmtime_instance_export_nth(guest->context, instance, i, &name, &length, &item); i++) {
    if (item.kind == WASMTIME_EXTERN_MEMORY)
      status = pagestore_wasmtime_note_memory(guest, name, length, &item.of.memory);
    if (item.kind == WASMTIME_EXTERN_GLOBAL)
      status = pagestore_wasmtime_add_global(guest, name, length, &item.of.global);
    wasmtime_extern_delete(&item);
  }
  for (size_t i = 0; i < guest->count && !status; i++)
    if (!guest->memories[i].found)
      status = pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED,
                                      "memory '%s': the module does not export it, so the engine "
                                      "could not be told of its size again",
                                      pagestore_memory_name(guest->memories[i].memory));
  return status;
}

/* ---- the probe --------------------------------------------------------------------------------------------------- */

/* One call of the probe: a store (value >= 0) or a load, in guest code. */
static int pagestore_wasmtime_probe_call(pagestore_wasmtime *guest, const wasmtime_instance_t *probe, bool is64,
                                         uint64_t at, int value) {
  wasmtime_extern_t item;
  wasmtime_val_t arguments[2], result;
  wasm_trap_t *trap = NULL;
  if (!wasmtime_instance_export_get(guest->context, probe, value >= 0 ? "s" : "l", 1, &item))
    return PAGESTORE_EUNSUPPORTED;
  memset(arguments, 0, sizeof arguments);
  memset(&result, 0, sizeof result);
  arguments[0].kind = is64 ? WASMTIME_I64 : WASMTIME_I32;
  if (is64) arguments[0].of.i64 = (int64_t)at;
  else arguments[0].of.i32 = (int32_t)(uint32_t)at;
  arguments[1].kind = WASMTIME_I32;
  arguments[1].of.i32 = value;
  wasmtime_error_t *error = value >= 0
                                ? wasmtime_func_call(guest->context, &item.of.func, arguments, 2, NULL, 0, &trap)
                                : wasmtime_func_call(guest->context, &item.of.func, arguments, 1, &result, 1, &trap);
  bool ended = !error && !trap;
  if (error) wasmtime_error_delete(error);
  if (trap) wasm_trap_delete(trap);
  wasmtime_extern_delete(&item);
  return ended ? result.of.i32 & 0xff : PAGESTORE_EUNSUPPORTED;
}

/* A byte that guest code writes must be what the library reads; where nothing may be written, the other way round. */
static int pagestore_wasmtime_try_byte(pagestore_wasmtime *guest, pagestore_wasmtime_bound *bound,
                                       const wasmtime_instance_t *probe, uint64_t at, bool writes) {
  uint8_t before, after = 0;
  bool is64 = (bound->flags & PAGESTORE_MEMORY64) != 0;
  if (writes && bound->flags & PAGESTORE_EXPLICIT) pagestore_memory_mark(bound->memory, at, 1);
  int status = pagestore_memory_read(bound->memory, at, &before, 1);
  if (status) return status;
  int seen = pagestore_wasmtime_probe_call(guest, probe, is64, at, -1);
  bool arrives = seen == before;
  if (writes && arrives) {
    int wrote = pagestore_wasmtime_probe_call(guest, probe, is64, at, before ^ 0x5a);
    status = pagestore_memory_read(bound->memory, at, &after, 1);
    arrives = wrote >= 0 && !status && after == (before ^ 0x5a) &&
              pagestore_wasmtime_probe_call(guest, probe, is64, at, before) >= 0;
  }
  if (arrives) return 0;
  return pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED,
                                "memory '%s': what the guest writes does not arrive in it. This "
                                "Wasmtime does not go with <pagestore/wasmtime.h>",
                                pagestore_memory_name(bound->memory));
}

static int pagestore_wasmtime_check(pagestore_wasmtime *guest, pagestore_wasmtime_bound *bound, bool may_write) {
  uint64_t pages = pagestore_memory_pages(bound->memory);
  wasmtime_instance_t probe;
  wasmtime_extern_t import;
  wasm_trap_t *trap = NULL;
  if (wasmtime_memory_data_size(guest->context, &bound->handle) != pages * PAGESTORE_PAGE)
    return pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED, "memory '%s': the engine shows another size",
                                  pagestore_memory_name(bound->memory));
  import.kind = WASMTIME_EXTERN_MEMORY;
  import.of.memory = bound->handle;
  wasmtime_error_t *error = wasmtime_instance_new(guest->context,
                                                  guest->engine->probe[(bound->flags & PAGESTORE_MEMORY64) != 0],
                                                  &import, 1, &probe, &trap);
  if (trap) wasm_trap_delete(trap);
  if (error) {
    pagestore_wasmtime_take_error(error, guest->detail, sizeof guest->detail);
    return PAGESTORE_EUNSUPPORTED;
  }
  /* A damaged page keeps nobody from using the others. */
  for (uint64_t page = 0; page < pages; page = page ? pages : pages > 1 ? pages - 1 : pages) {
    int status = pagestore_memory_prepare(bound->memory, page * PAGESTORE_PAGE, 1, may_write);
    if (status == PAGESTORE_ECORRUPT) continue;
    bool writes = may_write && status != PAGESTORE_EREADONLY;
    if (status && status != PAGESTORE_EREADONLY) return pagestore_wasmtime_said(guest, status);
    return pagestore_wasmtime_try_byte(guest, bound, &probe, page * PAGESTORE_PAGE, writes);
  }
  return 0;
}

/* ---- instantiation ----------------------------------------------------------------------------------------------- */

static int pagestore_wasmtime_mark_range(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)env;
  return pagestore_memory_mark(memory, offset, length);
}

static int pagestore_wasmtime_found_dirty(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  (void)memory, (void)offset, (void)length;
  *(bool *)env = true;
  return 1;
}

/* Data segments and the start function have run over what was stored. A volatile memory is rebuilt by them, and a
 * rollback would empty it again: then they must have left the others alone, and a commit keeps what they made. */
static int pagestore_wasmtime_settle(pagestore_wasmtime *guest, bool has_volatile) {
  if (!guest->stored) return 0;
  if (!has_volatile) return pagestore_wasmtime_rollback(guest);
  for (size_t i = 0; i < guest->count; i++) {
    pagestore_wasmtime_bound *bound = &guest->memories[i];
    bool dirty = false;
    if (bound->flags & PAGESTORE_VOLATILE) continue;
    pagestore_memory_blocks(bound->memory, PAGESTORE_BLOCKS_DIRTY, pagestore_wasmtime_found_dirty, &dirty);
    if (dirty)
      return pagestore_wasmtime_say(guest, PAGESTORE_EUNSUPPORTED,
                                    "the module's start writes to '%s', which is stored, beside a "
                                    "VOLATILE memory",
                                    pagestore_memory_name(bound->memory));
  }
  int status = pagestore_wasmtime_refresh(guest);
  return status ? status : pagestore_wasmtime_said(guest, pagestore_commit(guest->instance, PAGESTORE_ASYNC, NULL));
}

/* A new state gets what the module would have written at instantiation. */
static int pagestore_wasmtime_install(pagestore_wasmtime *guest, const wasmtime_instance_t *instance) {
  static const char name[] = PAGESTORE_WASMTIME_INSTALL;
  wasmtime_extern_t item;
  if (guest->stored || !wasmtime_instance_export_get(guest->context, instance, name, sizeof name - 1, &item)) return 0;
  int status = item.kind != WASMTIME_EXTERN_FUNC
                   ? pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "the module's '%s' is no function", name)
                   : pagestore_wasmtime_call(guest, &item.of.func, NULL, 0, NULL, 0);
  wasmtime_extern_delete(&item);
  return status;
}

/* The new instance's memories and globals, checked. */
static int pagestore_wasmtime_adopt(pagestore_wasmtime *guest, const wasmtime_instance_t *instance, size_t old_count) {
  bool has_volatile = false;
  int status = pagestore_wasmtime_walk_exports(guest, instance);
  if (!status) status = pagestore_wasmtime_install(guest, instance);
  for (size_t i = 0; i < guest->count && !status; i++) {
    pagestore_wasmtime_bound *bound = &guest->memories[i];
    /* Segments do not mark. */
    if (bound->flags & PAGESTORE_EXPLICIT)
      pagestore_memory_blocks(bound->memory, PAGESTORE_BLOCKS_RESIDENT, pagestore_wasmtime_mark_range, NULL);
    has_volatile |= (bound->flags & PAGESTORE_VOLATILE) != 0;
  }
  for (size_t i = old_count; i < guest->count && !status; i++) {
    bool may_write = !(guest->stored && has_volatile) || guest->memories[i].flags & PAGESTORE_VOLATILE;
    status = pagestore_wasmtime_check(guest, &guest->memories[i], may_write);
  }
  return status ? status : pagestore_wasmtime_settle(guest, has_volatile);
}

/* 0, TRAP, PAGE, GROW or an error, from what the engine returned. */
static int pagestore_wasmtime_outcome(pagestore_wasmtime *guest, wasmtime_error_t *error, wasm_trap_t *trap,
                                      int status) {
  wasm_byte_vec_t text;
  if (trap) {
    wasm_trap_message(trap, &text);
    pagestore_wasmtime_say(guest, 0, "%.*s", (int)text.size, text.data);
    wasm_byte_vec_delete(&text);
    wasm_trap_delete(trap);
  } else if (error) {
    pagestore_wasmtime_take_error(error, guest->detail, sizeof guest->detail);
  }
  if (guest->failure) return guest->grow_failed ? PAGESTORE_WASMTIME_GROW : PAGESTORE_WASMTIME_PAGE;
  return trap ? (int)PAGESTORE_WASMTIME_TRAP : error ? status : 0;
}

static int pagestore_wasmtime_refused(pagestore_wasmtime *guest, const pagestore_wasmtime_module *module) {
  size_t left = 0;
  for (size_t i = 0; i < guest->count; i++) left += !guest->memories[i].taken;
  if (!guest->store || guest->failure || guest->module_count == PAGESTORE_WASMTIME_MODULES + 2)
    return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "not started, after a failure, or more than %d modules",
                                  PAGESTORE_WASMTIME_MODULES);
  if (module->memory_count == UINT32_MAX || module->memory_count == left) return 0;
  return pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "the module defines %u memories, %zu are listed for it",
                                (unsigned)module->memory_count, left);
}

int pagestore_wasmtime_instantiate(pagestore_wasmtime *guest, const pagestore_wasmtime_module *module,
                                   wasmtime_linker_t *linker, wasmtime_instance_t *instance) {
  wasm_trap_t *trap = NULL;
  size_t old_count = 0;
  int status = pagestore_wasmtime_refused(guest, module);
  if (!status) status = pagestore_wasmtime_said(guest, pagestore_handlers());
  if (!status) status = pagestore_wasmtime_said(guest, pagestore_thread_prepare());
  if (status) return status;
  while (old_count < guest->count && guest->memories[old_count].taken) old_count++;
  pagestore_wasmtime_add_image(guest, module->module);
  pagestore_wasmtime *outer = pagestore_wasmtime_binding;
  guest->serving = module;
  guest->served = 0;
  pagestore_wasmtime_binding = guest;
  wasmtime_error_t *error = linker
                                ? wasmtime_linker_instantiate(linker, guest->context, module->module, instance, &trap)
                                : wasmtime_instance_new(guest->context, module->module, NULL, 0, instance, &trap);
  pagestore_wasmtime_binding = outer;
  guest->serving = NULL;
  bool is_refused = guest->failure && error && !trap && !guest->grow_failed;
  for (size_t i = old_count; i < guest->count && error && is_refused; i++)
    if (!guest->memories[i].taken) { /* the creator has said why */
      wasmtime_error_delete(error);
      return guest->failure;
    }
  if (guest->failure == PAGESTORE_EREADONLY) guest->failure = 0; /* segments, in a view: taken back below */
  status = pagestore_wasmtime_outcome(guest, error, trap, PAGESTORE_EINVAL);
  for (size_t i = old_count; i < guest->count && !status; i++)
    if (!guest->memories[i].taken)
      status = pagestore_wasmtime_say(guest, PAGESTORE_EINVAL, "the module did not take memory '%s'",
                                      pagestore_memory_name(guest->memories[i].memory));
  if (status) return status;
  return pagestore_wasmtime_adopt(guest, instance, old_count);
}

int pagestore_wasmtime_function(pagestore_wasmtime *guest, const wasmtime_instance_t *instance, const char *name,
                                wasmtime_func_t *out) {
  wasmtime_extern_t item;
  if (!wasmtime_instance_export_get(guest->context, instance, name, strlen(name), &item))
    return pagestore_wasmtime_say(guest, PAGESTORE_ENOTFOUND, "the module exports no '%s'", name);
  bool is_function = item.kind == WASMTIME_EXTERN_FUNC;
  if (is_function) *out = item.of.func;
  wasmtime_extern_delete(&item);
  return is_function ? 0 : pagestore_wasmtime_say(guest, PAGESTORE_ENOTFOUND, "the module's '%s' is no function", name);
}

#endif
