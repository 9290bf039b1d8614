/* actor.c - a script's steps as calls of the library; see actor.h. */
#include "fuzz/support/actor.h"

#include <stdlib.h>
#include <string.h>

enum { VERSIONS_KNOWN = 8192, LOOKS = 6, TRASH_WAIT_MS = 60000 };

/* One life of a name: which step made a version. */
typedef struct {
  actor *a;
  _Atomic uint64_t step_of[VERSIONS_KNOWN];
} life;

typedef struct {
  life *life;
  pagestore_instance *handle; /* NULL: closed */
  pagestore_memory *memory[SCRIPT_MEMORIES];
} actor_instance;

struct actor {
  script *s;
  ledger *ledger;
  pagestore_store *store;
  actor_instance instance[SCRIPT_INSTANCES];
  script_plan plan;
  script_dice dice; /* of what is done beside the step */
  uint8_t bytes[VALUE_BYTES_MAX > 300 * CELL_BYTES ? VALUE_BYTES_MAX : 300 * CELL_BYTES];
};

#define BROKEN(a, ...) ledger_broken((a)->ledger, __VA_ARGS__)
#define OK(a, call)    ok((a), (call), #call)

static void ok(actor *a, int status, const char *call) {
  if (status)
    BROKEN(a, "step %llu: %s: %s: %s", (unsigned long long)a->s->step, call, pagestore_strerror(status),
           pagestore_detail());
}

static script_state *state_of(actor *a, uint32_t instance) { return &a->s->instance[instance].now; }

/* ---- what is durable --------------------------------------------------------------------------------------------- */

static void note_durable(life *l, uint64_t version) {
  ledger_acknowledge(l->a->ledger, atomic_load(&l->step_of[version % VERSIONS_KNOWN]));
}

static void on_durable(void *env, void *user, uint64_t version, int status) {
  (void)env;
  life *l = user;
  if (status)
    BROKEN(l->a, "version %llu cannot become durable: %s", (unsigned long long)version, pagestore_strerror(status));
  note_durable(l, version);
}

/* ---- life of instances ------------------------------------------------------------------------------------------- */

static life *new_life(actor *a) {
  life *l = calloc(1, sizeof *l);
  if (!l) BROKEN(a, "no memory");
  l->a = a;
  return l;
}

static void close_instance(actor *a, uint32_t instance) {
  actor_instance *i = &a->instance[instance];
  pagestore_instance_close(i->handle);
  i->handle = NULL;
  memset(i->memory, 0, sizeof i->memory);
}

static void open_memory(actor *a, uint32_t instance, uint32_t memory) {
  const script_memory *spec = &script_memories[memory];
  const pagestore_memory_options *options = PAGESTORE_WITH(pagestore_memory_options, .flags = spec->flags,
                                                           .pages = spec->pages, .max_pages = spec->max_pages,
                                                           .guard_bytes = PAGESTORE_PAGE);
  OK(a,
     pagestore_memory_open(a->instance[instance].handle, spec->name, options, &a->instance[instance].memory[memory]));
}

static void open_instance(actor *a, uint32_t instance) {
  actor_instance *i = &a->instance[instance];
  char name[32];
  script_name(name, instance);
  if (!i->life) i->life = new_life(a);
  OK(a,
     pagestore_instance_open(a->store, name, PAGESTORE_WITH(pagestore_instance_options, .user = i->life), &i->handle));
  uint64_t is = pagestore_committed_version(i->handle), must = state_of(a, instance)->version;
  if (is != must)
    BROKEN(a, "'%s' opened at version %llu, not %llu", name, (unsigned long long)is, (unsigned long long)must);
  for (uint32_t m = 0; m < SCRIPT_MEMORIES; m++)
    if (state_of(a, instance)->memory[m].present) open_memory(a, instance, m);
}

static void open_instances(actor *a) {
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++)
    if (a->s->instance[i].exists && !a->instance[i].handle) open_instance(a, i);
}

static void create_instance(actor *a, uint32_t instance) {
  actor_instance *i = &a->instance[instance];
  char name[32];
  uint8_t hash[32];
  script_name(name, instance);
  memset(hash, state_of(a, instance)->module, sizeof hash);
  i->life = new_life(a);
  OK(a,
     pagestore_instance_open(a->store, name,
                             PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE,
                                            .module_hash = hash, .user = i->life),
                             &i->handle));
}

static pagestore_instance *open_view(actor *a, uint32_t instance, uint64_t snapshot, uint32_t kind) {
  char name[32], of[32];
  pagestore_instance *view;
  script_name(name, instance);
  script_snapshot_name(of, snapshot);
  OK(a, pagestore_instance_open(a->store, name,
                                PAGESTORE_WITH(pagestore_instance_options, .flags = kind,
                                               .snapshot = snapshot ? of : NULL),
                                &view));
  return view;
}

static void fork_instance(actor *a, const script_action *act) {
  actor_instance *i = &a->instance[act->instance];
  char name[32];
  script_name(name, act->instance);
  i->life = new_life(a);
  pagestore_instance *view = act->snapshot ? open_view(a, act->from, act->snapshot, PAGESTORE_READ) : NULL;
  OK(a, pagestore_fork(view ? view : a->instance[act->from].handle, name,
                       PAGESTORE_WITH(pagestore_instance_options, .user = i->life), &i->handle));
  if (view) pagestore_instance_close(view);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static void look(actor *a, pagestore_memory *m, const script_state *state, uint32_t memory, uint32_t cell) {
  uint8_t must[CELL_BYTES];
  script_cell(a->s, state->cell[script_memories[memory].cell_first + cell], cell, must);
  if (memcmp(pagestore_memory_base(m) + (size_t)cell * CELL_BYTES, must, CELL_BYTES) != 0)
    BROKEN(a, "after step %llu memory '%s' is wrong at %llu", (unsigned long long)a->s->step,
           script_memories[memory].name, (unsigned long long)cell * CELL_BYTES);
}

/* Some cells, through the base: each may load a page. */
static void look_around(actor *a, pagestore_memory *const memories[], const script_state *state) {
  for (int n = 0; n < LOOKS; n++) {
    uint32_t m = (uint32_t)script_below(&a->dice, SCRIPT_MEMORIES), pages = state->memory[m].pages;
    if (!memories[m]) continue;
    if (pagestore_memory_pages(memories[m]) != pages)
      BROKEN(a, "after step %llu memory '%s' has %llu pages, not %u", (unsigned long long)a->s->step,
             script_memories[m].name, (unsigned long long)pagestore_memory_pages(memories[m]), pages);
    if (pages) look(a, memories[m], state, m, (uint32_t)script_below(&a->dice, pages * PAGE_CELLS));
  }
}

/* A view shows the same; what is written in a private one is nobody else's. */
static void look_through_view(actor *a, uint32_t instance) {
  const script_state *state = state_of(a, instance);
  bool private = script_chance(&a->dice, 40);
  pagestore_instance *view = open_view(a, instance, 0, private ? PAGESTORE_PRIVATE : PAGESTORE_READ);
  pagestore_memory *memories[SCRIPT_MEMORIES] = {0};
  for (uint32_t m = 0; m < SCRIPT_MEMORIES; m++)
    if (state->memory[m].present) OK(a, pagestore_memory_open(view, script_memories[m].name, NULL, &memories[m]));
  look_around(a, memories, state);
  for (uint32_t m = 0; private && m < SCRIPT_MEMORIES; m++)
    if (state->memory[m].pages) OK(a, pagestore_memory_fill(memories[m], 100, 7, 5000));
  pagestore_instance_close(view);
}

/* ---- actions ----------------------------------------------------------------------------------------------------- */

static void write_run(actor *a, pagestore_memory *m, const script_action *act) {
  size_t offset = (size_t)act->first * CELL_BYTES, length = (size_t)act->count * CELL_BYTES;
  for (uint32_t n = 0; n < act->count; n++) script_cell(a->s, act->stamp, act->first + n, a->bytes + n * CELL_BYTES);
  switch (script_below(&a->dice, 4)) {
  case 0: OK(a, pagestore_memory_write(m, offset, a->bytes, length)); return;
  case 1: OK(a, pagestore_memory_prepare(m, offset, length, true)); break;
  default: break;
  }
  if (script_memories[act->memory].flags & PAGESTORE_EXPLICIT) OK(a, pagestore_memory_mark(m, offset, length));
  memcpy(pagestore_memory_base(m) + offset, a->bytes, length);
}

static void write_strided(actor *a, pagestore_memory *m, const script_action *act) {
  for (uint32_t n = 0; n < act->count; n++) {
    uint32_t cell = act->first + n * act->stride;
    size_t offset = (size_t)cell * CELL_BYTES;
    if (script_memories[act->memory].flags & PAGESTORE_EXPLICIT) OK(a, pagestore_memory_mark(m, offset, CELL_BYTES));
    script_cell(a->s, act->stamp, cell, pagestore_memory_base(m) + offset);
  }
}

static void junk(actor *a, pagestore_instance *handle, pagestore_memory *m, const script_action *act) {
  size_t offset = (size_t)act->first * CELL_BYTES, length = (size_t)act->count * CELL_BYTES;
  if (script_memories[act->memory].flags & PAGESTORE_EXPLICIT) OK(a, pagestore_memory_mark(m, offset, length));
  memset(pagestore_memory_base(m) + offset, 0xee, length);
  OK(a, pagestore_metadata_set(handle, "junk", "junk", 4));
  OK(a, pagestore_rollback(handle));
}

static void set_value(actor *a, pagestore_instance *handle, const script_action *act) {
  script_value(a->s, act->stamp, act->count, a->bytes);
  OK(a, pagestore_metadata_set(handle, script_keys[act->memory], act->stamp ? a->bytes : NULL, act->count));
}

static void upgrade(actor *a, pagestore_instance *handle, const script_action *act) {
  uint8_t hash[32];
  memset(hash, (int)act->count, sizeof hash);
  OK(a, pagestore_upgrade(handle, hash));
}

static void restore(actor *a, pagestore_instance *handle, const script_action *act) {
  char name[32];
  script_snapshot_name(name, act->snapshot);
  OK(a, pagestore_restore(handle, name));
}

static void zero(actor *a, pagestore_memory *m, const script_action *act) {
  OK(a, pagestore_memory_fill(m, (uint64_t)act->first * CELL_BYTES, 0, (uint64_t)act->count * CELL_BYTES));
}

static void perform(actor *a, const script_action *act) {
  pagestore_instance *handle = a->instance[act->instance].handle;
  pagestore_memory *m = act->verb == DO_SET ? NULL : a->instance[act->instance].memory[act->memory];
  switch (act->verb) {
  case DO_CREATE: create_instance(a, act->instance); break;
  case DO_FORK: fork_instance(a, act); break;
  case DO_RESTORE: restore(a, handle, act); break;
  case DO_UPGRADE: upgrade(a, handle, act); break;
  case DO_JUNK: junk(a, handle, m, act); break;
  case DO_OPEN: open_memory(a, act->instance, act->memory); break;
  case DO_GROW: OK(a, pagestore_memory_grow(m, act->count, NULL)); break;
  case DO_WRITE: act->stride == 1 ? write_run(a, m, act) : write_strided(a, m, act); break;
  case DO_ZERO: zero(a, m, act); break;
  case DO_SET: set_value(a, handle, act); break;
  case DO_DELETE_MEMORY:
    OK(a, pagestore_memory_delete(m));
    a->instance[act->instance].memory[act->memory] = NULL;
    break;
  }
}

/* ---- sealing ----------------------------------------------------------------------------------------------------- */

static void note_version(actor *a, uint32_t instance) {
  uint64_t version = state_of(a, instance)->version;
  atomic_store(&a->instance[instance].life->step_of[version % VERSIONS_KNOWN], a->plan.step);
}

static void check_version(actor *a, uint32_t instance) {
  uint64_t is = pagestore_committed_version(a->instance[instance].handle), must = state_of(a, instance)->version;
  if (is != must)
    BROKEN(a, "step %llu made version %llu, not %llu", (unsigned long long)a->plan.step, (unsigned long long)is,
           (unsigned long long)must);
}

static void commit(actor *a, unsigned flags) {
  pagestore_instance *handles[SCRIPT_INSTANCES];
  size_t count = 0;
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++) {
    if (!(a->plan.instances & 1u << i)) continue;
    note_version(a, i);
    handles[count++] = a->instance[i].handle;
  }
  if (count > 1) {
    OK(a, pagestore_commit_all(handles, count, flags));
  } else {
    bool polls = flags && script_chance(&a->dice, 30);
    int status = pagestore_commit(handles[0], flags | (polls ? PAGESTORE_NOWAIT : 0), NULL);
    if (status == PAGESTORE_EAGAIN && polls) status = pagestore_commit(handles[0], flags, NULL);
    ok(a, status, "pagestore_commit");
  }
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++)
    if (a->plan.instances & 1u << i) check_version(a, i);
}

static void seal(actor *a) {
  uint32_t instance = (uint32_t)__builtin_ctz(a->plan.instances);
  unsigned flags = a->plan.waits ? 0 : PAGESTORE_ASYNC;
  char name[32], snapshot[32];
  script_name(name, instance);
  script_snapshot_name(snapshot, a->plan.snapshot);
  if (a->plan.seal == SEAL_DELETE) close_instance(a, instance);
  atomic_store(&a->ledger->begun, a->plan.step);
  switch (a->plan.seal) {
  case SEAL_COMMIT: commit(a, flags); break;
  case SEAL_SNAPSHOT: OK(a, pagestore_snapshot_create(a->instance[instance].handle, snapshot, flags)); break;
  case SEAL_DROP: OK(a, pagestore_snapshot_drop(a->store, name, snapshot, flags)); break;
  case SEAL_DELETE: OK(a, pagestore_instance_delete(a->store, name, flags)); break;
  }
  if (a->plan.waits) ledger_acknowledge(a->ledger, a->plan.step);
  if (a->plan.seal == SEAL_DELETE) a->instance[instance].life = NULL; /* callbacks may still come for it */
}

/* ---- beside the steps -------------------------------------------------------------------------------------------- */

static void beside(actor *a) {
  uint32_t i = (uint32_t)__builtin_ctz(a->plan.instances);
  actor_instance *at = &a->instance[i];
  if (!at->handle) return;
  look_around(a, at->memory, state_of(a, i));
  if (script_chance(&a->dice, 30))
    OK(a, pagestore_instance_trim(at->handle, script_below(&a->dice, 4) * PAGESTORE_PAGE));
  if (script_chance(&a->dice, 10)) look_through_view(a, i);
  if (script_chance(&a->dice, 10)) note_durable(at->life, pagestore_durable_version(at->handle));
  if (script_chance(&a->dice, 4)) {
    OK(a, pagestore_wait(at->handle, state_of(a, i)->version, PAGESTORE_FOREVER));
    note_durable(at->life, state_of(a, i)->version);
  }
  if (script_chance(&a->dice, 3)) {
    OK(a, pagestore_sync(a->store, PAGESTORE_FOREVER));
    ledger_acknowledge(a->ledger, a->plan.step);
  }
  if (script_chance(&a->dice, 5)) close_instance(a, i);
}

void actor_step(actor *a) {
  open_instances(a);
  script_step(a->s, &a->plan);
  a->dice = script_dice_for(~a->s->seed, a->s->step);
  for (uint32_t n = 0; n < a->plan.actions; n++) perform(a, &a->plan.action[n]);
  seal(a);
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++)
    if (a->plan.reshaped & 1u << i) close_instance(a, i);
  beside(a);
}

/* ---- begin and end ----------------------------------------------------------------------------------------------- */

actor *actor_start(const char *path, script *s, ledger *ledger, const pagestore_options *options) {
  static actor a;
  a = (actor){.s = s, .ledger = ledger};
  pagestore_options given = *options;
  given.size = sizeof given;
  if (s->step % 2) given.on_durable = on_durable; /* else who waits for a commit may flush it */
  if (!atomic_load(&ledger->made)) given.flags |= PAGESTORE_CREATE;
  OK(&a, pagestore_open(path, &given, &a.store));
  atomic_store(&ledger->made, true);
  OK(&a, pagestore_thread_prepare());
  open_instances(&a);
  return &a;
}

void actor_end(actor *a) {
  OK(a, pagestore_sync(a->store, PAGESTORE_FOREVER));
  ledger_acknowledge(a->ledger, a->s->step);
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++)
    if (a->instance[i].handle) close_instance(a, i);
  OK(a, pagestore_close(a->store));
}

void actor_delete_all(actor *a) {
  for (uint32_t i = 0; i < SCRIPT_INSTANCES; i++) {
    if (!a->s->instance[i].exists) continue;
    char name[32];
    script_name(name, i);
    close_instance(a, i);
    OK(a, pagestore_instance_delete(a->store, name, PAGESTORE_ASYNC));
    a->s->instance[i].exists = false;
  }
  OK(a, pagestore_sync(a->store, PAGESTORE_FOREVER));
}

void actor_wait_for_trash(actor *a) {
  pagestore_store_info info = {.size = sizeof info};
  OK(a, pagestore_drain(a->store, TRASH_WAIT_MS));
  OK(a, pagestore_store_stat(a->store, &info));
  if (info.trash) BROKEN(a, "the trash is not worked off");
  if (info.instances || info.snapshots || info.layers)
    BROKEN(a, "%llu instances, %llu snapshots, %llu layers are left of nothing", (unsigned long long)info.instances,
           (unsigned long long)info.snapshots, (unsigned long long)info.layers);
}
