/* test_state.c - the table of memories and the metadata, against a model and against hostile bytes. */
#include "storage_support.h"

#include "storage/state.h"

static memory_entry *add(state *s, const char *name) {
  memory_entry *m;
  assert_ok(state_memory_add(s, name, &m));
  return m;
}

static void test_memories(void **unused) {
  (void)unused;
  state *s;
  assert_ok(state_new(&s));
  assert_int_equal(add(s, "stable")->id, 1);
  assert_int_equal(add(s, "heap")->id, 2);
  assert_int_equal(add(s, "a")->id, 3);
  assert_string_equal(s->memories[0].name, "a");
  assert_string_equal(s->memories[2].name, "stable");
  assert_int_equal(state_memory(s, "heap")->id, 2);
  assert_null(state_memory(s, "hea"));
  assert_null(state_memory(s, "zzz"));
  assert_string_equal(state_memory_by_id(s, 1)->name, "stable");
  assert_null(state_memory_by_id(s, 9));
  state_memory(s, "heap")->stored_pages = 5;
  assert_int_equal(state_memory_renew(s, state_memory(s, "heap")), 4);
  assert_int_equal(state_memory(s, "heap")->stored_pages, 0);
  state_memory_remove(s, 3);
  state_memory_remove(s, 3);
  assert_null(state_memory(s, "a"));
  assert_int_equal(add(s, "a")->id, 5); /* ids are never used again */
  assert_true(state_is_valid(s));
  state_release(s);
}

static void test_clone_is_separate(void **unused) {
  (void)unused;
  state *s, *c;
  assert_ok(state_new(&s));
  add(s, "m");
  assert_ok(state_metadata_set(s, "k", "v", 1));
  state_seal(s);
  assert_ok(state_clone(s, &c));
  assert_false(c->sealed);
  add(c, "n");
  assert_ok(state_metadata_set(c, "k", "w", 1));
  const void *value;
  size_t length;
  assert_true(state_metadata_get(s, "k", &value, &length));
  assert_memory_equal(value, "v", 1);
  assert_int_equal(s->memory_count, 1);
  assert_ptr_equal(state_reference(s), s);
  state_release(s);
  state_release(s);
  state_release(c);
  state_release(NULL);
}

static void assert_value(state *s, const char *key, const char *expected) {
  const void *value;
  size_t length;
  bool found = state_metadata_get(s, key, &value, &length);
  assert_int_equal(found, expected != NULL);
  if (!expected) return;
  assert_int_equal(length, strlen(expected));
  assert_memory_equal(value, expected, length);
}

static void test_metadata(void **unused) {
  (void)unused;
  state *s;
  assert_ok(state_new(&s));
  assert_ok(state_metadata_set(s, "none", NULL, 0));
  assert_ok(state_metadata_set(s, "b", "two", 3));
  assert_ok(state_metadata_set(s, "a", "one", 3));
  assert_ok(state_metadata_set(s, "ab", "", 0));
  assert_ok(state_metadata_set(s, "b", "longer than before", 18));
  assert_value(s, "a", "one");
  assert_value(s, "ab", "");
  assert_value(s, "b", "longer than before");
  assert_value(s, "abc", NULL);
  assert_ok(state_metadata_set(s, "a", NULL, 0));
  assert_value(s, "a", NULL);
  const char *key;
  const void *value;
  size_t at = 0, key_length, length;
  assert_true(state_metadata_next(s, &at, &key, &key_length, &value, &length));
  assert_int_equal(key_length, 2);
  assert_true(state_metadata_next(s, &at, &key, &key_length, &value, &length));
  assert_false(state_metadata_next(s, &at, &key, &key_length, &value, &length));
  assert_true(state_is_valid(s));
  state_release(s);
}

static void test_metadata_prefix(void **unused) {
  (void)unused;
  const char *keys[] = {"m", "module", "module.", "module.a", "module.b", "modulf", "n", "nothing of a module"};
  state *s;
  assert_ok(state_new(&s));
  for (int i = 0; i < 8; i++) assert_ok(state_metadata_set(s, keys[i], keys[i], strlen(keys[i])));
  state_metadata_remove_prefix(s, "module.a");
  assert_value(s, "module.b", "module.b");
  state_metadata_remove_prefix(s, "module.");
  for (int i = 0; i < 8; i++) assert_value(s, keys[i], i >= 2 && i <= 4 ? NULL : keys[i]);
  state_metadata_remove_prefix(s, "zz");
  state_metadata_remove_prefix(s, "");
  assert_int_equal(s->metadata_bytes, 0);
  state_release(s);
}

static void test_metadata_quota(void **unused) {
  (void)unused;
  state *s;
  uint8_t *value = calloc(1, METADATA_BYTES_MAX + 1);
  assert_ok(state_new(&s));
  assert_int_equal(state_metadata_set(s, "k", value, METADATA_BYTES_MAX + 1), PAGESTORE_EQUOTA);
  assert_int_equal(state_metadata_set(s, "k", value, METADATA_BYTES_MAX - 6), PAGESTORE_EQUOTA);
  assert_ok(state_metadata_set(s, "k", value, METADATA_BYTES_MAX - 7));
  assert_int_equal(state_metadata_set(s, "l", value, 0), PAGESTORE_EQUOTA);
  assert_ok(state_metadata_set(s, "k", value, METADATA_BYTES_MAX - 7));
  assert_true(state_is_valid(s));
  free(value);
  state_release(s);
}

enum { MODEL_KEYS = 40 };

/* Random sets and removals, compared with an array of strings after each. */
static void test_metadata_model(void **unused) {
  (void)unused;
  uint64_t seed = 42;
  print_message("seed %llu\n", (unsigned long long)seed);
  char model[MODEL_KEYS][64] = {{0}};
  bool has[MODEL_KEYS] = {false};
  state *s;
  assert_ok(state_new(&s));
  for (int step = 0; step < 3000; step++) {
    unsigned k = next_random(&seed) % MODEL_KEYS;
    char key[16];
    snprintf(key, sizeof key, "%u", k * k);
    has[k] = next_random(&seed) % 3 != 0;
    snprintf(model[k], sizeof model[k], "%.*s", (int)(next_random(&seed) % 50), "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
    assert_ok(state_metadata_set(s, key, has[k] ? model[k] : NULL, strlen(model[k])));
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
      snprintf(key, sizeof key, "%u", i * i);
      assert_value(s, key, has[i] ? model[i] : NULL);
    }
    assert_true(state_is_valid(s));
  }
  state_release(s);
}

static void test_round_trip(void **unused) {
  (void)unused;
  state *s, *t;
  assert_ok(state_new(&s));
  for (unsigned i = 0; i < 50; i++) {
    char name[32];
    snprintf(name, sizeof name, "memory%u", i);
    memory_entry *m = add(s, name);
    m->pages = i;
    m->max_pages = 1ull << 48;
    m->flags = PAGESTORE_MEMORY64;
  }
  size_t size = state_table_bytes(s);
  uint8_t *table = malloc(size);
  state_table_encode(s, table);
  assert_ok(state_new(&t));
  assert_ok(state_table_decode(t, table, size));
  assert_int_equal(t->memory_count, 50);
  assert_int_equal(t->next_memory, 51);
  assert_memory_equal(t->memories, s->memories, 50 * sizeof *s->memories);
  for (size_t cut = 0; cut < size; cut++) assert_int_equal(state_table_decode(t, table, cut), PAGESTORE_ECORRUPT);
  assert_int_equal(t->memory_count, 50); /* a failed decode changes nothing */
  free(table);
  state_release(s);
  state_release(t);
}

/* Each flip is refused or leaves a valid state: without a checksum over it, nothing more can be asked. */
static void test_hostile_bytes(void **unused) {
  (void)unused;
  state *s, *t;
  assert_ok(state_new(&s));
  add(s, "one")->max_pages = 10;
  add(s, "two")->pages = 4;
  assert_ok(state_metadata_set(s, "k1", "abc", 3));
  assert_ok(state_metadata_set(s, "k2", "def", 3));
  size_t size = state_table_bytes(s);
  uint8_t *table = malloc(size), *metadata = malloc(s->metadata_bytes);
  for (size_t bit = 0; bit < 8 * size; bit++) {
    state_table_encode(s, table);
    table[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_ok(state_new(&t));
    if (state_table_decode(t, table, size) == 0) assert_true(state_is_valid(t));
    state_release(t);
  }
  for (size_t bit = 0; bit < 8 * (size_t)s->metadata_bytes; bit++) {
    memcpy(metadata, s->metadata, s->metadata_bytes);
    metadata[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_ok(state_new(&t));
    if (state_metadata_decode(t, metadata, s->metadata_bytes) == 0) assert_true(state_is_valid(t));
    state_release(t);
  }
  free(table);
  free(metadata);
  state_release(s);
}

static void assert_table_refused(state *s) {
  state *t;
  size_t size = state_table_bytes(s);
  uint8_t *table = malloc(size);
  state_table_encode(s, table);
  assert_ok(state_new(&t));
  assert_int_equal(state_table_decode(t, table, size), PAGESTORE_ECORRUPT);
  state_release(t);
  free(table);
}

static void test_contradictions(void **unused) {
  (void)unused;
  state *s;
  assert_ok(state_new(&s));
  add(s, "a");
  add(s, "b");
  s->memories[1].id = 1;
  assert_table_refused(s); /* one id twice */
  s->memories[1].id = 3;
  assert_table_refused(s); /* an id that was not given out */
  s->memories[1].id = 0;
  assert_table_refused(s);
  s->memories[1].id = 2;
  strcpy(s->memories[1].name, "a");
  assert_table_refused(s); /* one name twice */
  strcpy(s->memories[1].name, "b");
  s->memories[1].flags = 1u << 31;
  assert_table_refused(s);
  s->memories[1].flags = 0;
  s->memories[1].max_pages = 5;
  s->memories[1].pages = 6;
  assert_table_refused(s);
  s->memories[1].pages = 0;
  s->memories[1].max_pages = UINT64_MAX;
  assert_table_refused(s);
  state_release(s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_memories),
      cmocka_unit_test(test_clone_is_separate),
      cmocka_unit_test(test_metadata),
      cmocka_unit_test(test_metadata_prefix),
      cmocka_unit_test(test_metadata_quota),
      cmocka_unit_test(test_metadata_model),
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_hostile_bytes),
      cmocka_unit_test(test_contradictions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
