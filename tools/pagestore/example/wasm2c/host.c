/* host.c - runs one message on the canister: ./host STORE NUMBER */
#define PAGESTORE_WASM2C_IMPLEMENTATION
#include <pagestore/wasm2c.h>

#include <stdio.h>
#include <stdlib.h>

#include "counter.h" /* made by wasm2c from canister.c */

/* What the module imports: env.memory. */
struct Z_env_instance_t {
  wasm_rt_memory_t memory;
};
wasm_rt_memory_t *Z_envZ_memory(struct Z_env_instance_t *env) { return &env->memory; }

typedef struct {
  Z_counter_instance_t module;
  struct Z_env_instance_t env;
  u64 argument, result;
} guest;

static void instantiate(void *env) {
  guest *g = env;
  Z_counter_instantiate(&g->module, &g->env);
}

static void bump(void *env) {
  guest *g = env;
  g->result = Z_counterZ_bump(&g->module, g->argument);
}

static void check(int status, const char *what) {
  if (status == 0) return;
  fprintf(stderr, "%s: %s\n", what, status < 0 ? pagestore_detail() : pagestore_wasm2c_strerror(status));
  exit(1);
}

int main(int count, char **words) {
  static guest g;
  pagestore_wasm2c wasm2c = {0};
  pagestore_store *store;
  pagestore_instance *instance;
  uint64_t version;
  if (count != 3) return fprintf(stderr, "usage: host STORE NUMBER\n"), 2;
  g.argument = strtoull(words[2], NULL, 0);

  check(pagestore_open(words[1], PAGESTORE_WITH(pagestore_options, .flags = PAGESTORE_CREATE), &store), "store");
  check(pagestore_instance_open(store, "counter", PAGESTORE_WITH(pagestore_instance_options, .flags = PAGESTORE_CREATE),
                                &instance),
        "instance");
  check(pagestore_wasm2c_start(&wasm2c, instance), "wasm2c");
  check(pagestore_wasm2c_memory(&wasm2c, "heap",
                                PAGESTORE_WITH(pagestore_memory_options, .pages = 2, .max_pages = 1024), &g.env.memory,
                                NULL),
        "memory");

  /* The engine's own start may write into the memory: it is made the first version once, and forgotten ever after. */
  Z_counter_init_module();
  check(pagestore_wasm2c_call(&wasm2c, instantiate, &g), "instantiate");
  if (pagestore_committed_version(instance) == 0) check(pagestore_wasm2c_commit(&wasm2c, 0, NULL), "install");
  else check(pagestore_wasm2c_rollback(&wasm2c), "rollback");

  /* A message: run it, then make what it did durable, or forget it. */
  int trap = pagestore_wasm2c_call(&wasm2c, bump, &g);
  if (trap) check(pagestore_wasm2c_rollback(&wasm2c), "rollback");
  check(trap, "the message trapped, and nothing of it stays");
  check(pagestore_wasm2c_commit(&wasm2c, 0, &version), "commit");
  printf("%llu, version %llu\n", (unsigned long long)g.result, (unsigned long long)version);

  Z_counter_free(&g.module);
  pagestore_wasm2c_stop(&wasm2c);
  pagestore_instance_close(instance);
  check(pagestore_close(store), "close");
  return 0;
}
