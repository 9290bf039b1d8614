/* module.h - what a Wasm module is made of, and a copy of it whose whole state pagestore can keep.
 *
 *   pagestore_module *module;
 *   pagestore_module_read(bytes, size, &module);
 *   pagestore_module_native(module, NULL, &native, &native_size);   // the copy, for the engine
 *   pagestore_module_shim(module, NULL, &shim, &shim_size);         // the stable-memory calls as Wasm, if wanted
 *   pagestore_module_free(module);
 *
 * The copy, made by changing sections only (no instruction of the module is touched, all indexes stay):
 * - its memory is index 0 and imported as "pagestore" "heap"; index 1 is the stable memory, "pagestore" "stable";
 * - its active data segments are passive and it has no start function, so that instantiating it anew leaves a restored
 *   heap as it is. Both are done by the exported function "pagestore_install", which takes and returns nothing: to be
 *   called once where the heap is new (a new instance, an upgrade, a reinstallation), before any other export, in that
 *   message;
 * - mutable global N is exported as "pagestore_global_N", so that the host can save it with each commit and put it back
 *   after instantiating, rollback and restore.
 * Not kept: tables, dropped data and element segments; they are as after instantiation.
 *
 * Results as in pagestore.h. A module that is refused is named with section and offset in pagestore_detail(): EFORMAT
 * is a malformed or unknown module, EUNSUPPORTED one that is fine but cannot be made native. What was read is not
 * validated further: that is the engine's work, before and after.
 *
 * Thread: any; a module that was read does not change. */
#ifndef PAGESTORE_MODULE_H
#define PAGESTORE_MODULE_H

#include <pagestore.h>

#ifdef __cplusplus
extern "C" {
#endif

/* UTF-8, not terminated; may hold any character, zero bytes too. */
typedef struct {
  const char *at;
  uint32_t bytes;
} pagestore_wasm_name;

/* As in Wasm's import and export sections. */
typedef enum {
  PAGESTORE_WASM_FUNCTION,
  PAGESTORE_WASM_TABLE,
  PAGESTORE_WASM_MEMORY,
  PAGESTORE_WASM_GLOBAL,
  PAGESTORE_WASM_TAG
} pagestore_wasm_kind;

/* Of memories in pages, of tables in elements. */
typedef struct {
  uint64_t min, max; /* max: only if has_max */
  bool has_max, is64, shared;
} pagestore_wasm_limits;

/* `at` is everywhere the offset of the entry's first byte in the file, `end` the one behind its last. */
typedef struct {
  uint8_t id;                      /* 0: custom */
  uint64_t at, body, end;          /* body: behind id and size */
  pagestore_wasm_name custom_name; /* custom sections only */
} pagestore_wasm_section;

typedef struct {
  uint64_t params_at, params_end, results_at, results_end; /* value types as encoded */
} pagestore_wasm_type;

typedef struct {
  pagestore_wasm_name module, name;
  pagestore_wasm_kind kind;
  uint32_t index; /* in the index space of its kind */
  uint64_t at, end;
} pagestore_wasm_import;

typedef struct {
  pagestore_wasm_limits limits;
  bool imported;
  uint64_t at, end;
} pagestore_wasm_memory;

typedef struct {
  uint8_t type; /* first byte of the reference type */
  pagestore_wasm_limits limits;
  bool imported;
  uint64_t at;
} pagestore_wasm_table;

typedef struct {
  uint8_t
      type; /* first byte of the value type: 0x7f i32, 0x7e i64, 0x7d f32, 0x7c f64, 0x7b v128, others are references */
  bool is_mutable, imported;
  uint64_t at;
} pagestore_wasm_global;

typedef struct {
  pagestore_wasm_name name;
  pagestore_wasm_kind kind;
  uint32_t index;
  uint64_t at;
} pagestore_wasm_export;

typedef struct {
  bool active;
  uint32_t memory; /* active ones */
  uint64_t at;
  uint64_t where_at, where_end; /* active ones: the offset's instructions without the closing `end` */
  uint64_t bytes_at, bytes_end;
} pagestore_wasm_data;

#define PAGESTORE_WASM_LIST(type)                                                                                      \
  struct {                                                                                                             \
    type *list;                                                                                                        \
    uint32_t count;                                                                                                    \
  }

/* Index spaces: what is imported comes first, as in Wasm. */
typedef struct pagestore_module {
  const uint8_t *bytes; /* a copy of what was read */
  uint64_t size;
  PAGESTORE_WASM_LIST(pagestore_wasm_section) sections;
  PAGESTORE_WASM_LIST(pagestore_wasm_type) types;
  PAGESTORE_WASM_LIST(pagestore_wasm_import) imports;
  PAGESTORE_WASM_LIST(uint32_t) functions; /* their types */
  PAGESTORE_WASM_LIST(pagestore_wasm_table) tables;
  PAGESTORE_WASM_LIST(pagestore_wasm_memory) memories;
  PAGESTORE_WASM_LIST(pagestore_wasm_global) globals;
  PAGESTORE_WASM_LIST(pagestore_wasm_export) exports;
  PAGESTORE_WASM_LIST(pagestore_wasm_data) data;
  uint32_t imported_functions, imported_memories, tags, element_segments, code_bodies;
  bool has_start, has_data_count;
  uint32_t start, data_count;
} pagestore_module;

/* EFORMAT ENOMEM EINVAL. Thread: any */
PAGESTORE_API int pagestore_module_read(const void *bytes, size_t size, pagestore_module **);
PAGESTORE_API void pagestore_module_free(pagestore_module *); /* NULL is fine. Thread: any */

/* Who defines the two memories. */
typedef enum {
  PAGESTORE_NATIVE_HOST, /* the host: module and shim import both */
  PAGESTORE_NATIVE_SHIM, /* the shim defines and exports both, the module imports them from it */
  /* the module goes on defining its own, and exports both as "pagestore_heap" and "pagestore_stable"; the stable-memory
   * calls are the host's then: there is no shim */
  PAGESTORE_NATIVE_MODULE
} pagestore_native_memories;

/* How the shim copies. LOOP: 8 bytes at a time; right everywhere. BULK: memory.copy from 256 bytes on; wabt
 * 1.0.32's wasm2c swaps its two memories. */
typedef enum { PAGESTORE_NATIVE_LOOP, PAGESTORE_NATIVE_BULK } pagestore_native_copy;

typedef struct {
  size_t size;
  pagestore_native_memories memories;
  pagestore_native_copy copy;
  uint32_t stable_bits;      /* index type of the stable memory, 32 or 64. 0: 64 */
  uint64_t stable_max_pages; /* its declared maximum. 0: 65,536 of 32 bits, 8,192,000 (500 GiB) of 64 */
} pagestore_native_options;

/* The copy; *out is for free(). EUNSUPPORTED: no memory, several, a shared one, a mutable global of a reference type,
 * names that are taken; EINVAL ENOMEM. Thread: any */
PAGESTORE_API int pagestore_module_native(const pagestore_module *, const pagestore_native_options *, uint8_t **out,
                                          size_t *size);
/* A module that exports stable_size, stable_grow, stable_read, stable_write and the four stable64_ ones over the two
 * memories, for the import module "ic0", with the Internet Computer's semantics. A trap is `unreachable` or an access
 * out of bounds; a call that goes out of bounds has written nothing. Writes no marks: the stable memory is not to be
 * PAGESTORE_EXPLICIT. *out is for free(). Results as above. Thread: any */
PAGESTORE_API int pagestore_module_shim(const pagestore_module *, const pagestore_native_options *, uint8_t **out,
                                        size_t *size);

#ifdef __cplusplus
}
#endif
#endif
