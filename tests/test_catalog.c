/* test_catalog.c - the small records, and states that do not fit into theirs. */
#include "storage_fixture.h"

typedef struct {
  fixture f;
  layers *layers;
  line *line;
  writer w;
} bench;

static int setup(void **env) {
  bench *b = calloc(1, sizeof *b);
  fixture_open(&b->f);
  db_txn *txn = begin(&b->f);
  layer_record first = {.depth = 1, .instance = 1};
  assert_int_equal(catalog_put_layer(txn, 1, &first), 0);
  commit(txn);
  db_slot *slot = reading(&b->f);
  assert_int_equal(layers_load((db_reader){.slot = slot}, &b->layers), 0);
  db_slot_release(slot);
  assert_int_equal(layers_line(b->layers, 1, BOUND_OPEN, &b->line), 0);
  b->w = (writer){.layers = b->layers, .store = store_id, .scratch = malloc(PAGE_RECORD_BYTES)};
  *env = b;
  return 0;
}

static int teardown(void **env) {
  bench *b = *env;
  fixture_close(&b->f);
  line_release(b->line);
  layers_free(b->layers);
  free(b->w.scratch);
  free(b);
  return 0;
}

static void the_store_record_comes_back(void **env) {
  bench *b = *env;
  store_record r;
  db_slot *slot = reading(&b->f);
  assert_int_equal(catalog_store((db_reader){.slot = slot}, &r), 0);
  assert_memory_equal(&r.id, &store_id, sizeof r.id);
  db_slot_release(slot);
  catalog_key key = catalog_key_store();
  db_txn *txn = begin(&b->f);
  assert_int_equal(db_put(txn, DB_CATALOG, (bytes){key.byte, key.size}, (bytes){"not a record", 12}), 0);
  assert_int_equal(catalog_store((db_reader){.txn = txn}, &r), PAGESTORE_EFORMAT);
  assert_int_equal(db_delete(txn, DB_CATALOG, (bytes){key.byte, key.size}), 0);
  assert_int_equal(catalog_store((db_reader){.txn = txn}, &r), PAGESTORE_EFORMAT);
  db_abort(txn);
}

static void names_are_found_and_walked_in_order(void **env) {
  bench *b = *env;
  static const char *const names[] = {"a", "a/b", "b"};
  char name[256] = "";
  uint64_t id;
  db_txn *txn = begin(&b->f);
  for (unsigned i = 3; i-- > 0;) assert_int_equal(catalog_put_name(txn, names[i], i + 1), 0);
  assert_int_equal(catalog_put_name(txn, "gone", 9), 0);
  assert_int_equal(catalog_delete_name(txn, "gone"), 0);
  commit(txn);
  db_slot *slot = reading(&b->f);
  db_reader reader = {.slot = slot};
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(catalog_next_name(reader, name, name, &id), 0);
    assert_string_equal(name, names[i]);
    assert_int_equal(id, i + 1);
    assert_int_equal(catalog_find(reader, names[i], &id), 0);
    assert_int_equal(id, i + 1);
  }
  assert_int_equal(catalog_next_name(reader, name, name, &id), PAGESTORE_ENOTFOUND);
  assert_string_equal(name, "b");
  assert_int_equal(catalog_next_name(reader, "a0", name, &id), 0);
  assert_string_equal(name, "b");
  assert_int_equal(catalog_find(reader, "gone", &id), PAGESTORE_ENOTFOUND);
  assert_non_null(strstr(pagestore_detail(), "gone"));
  db_slot_release(slot);
}

/* ---- states ------------------------------------------------------------------------------------------------------------- */

static state *make_state(unsigned memories, size_t metadata_bytes, uint8_t byte) {
  state *s;
  memory_entry *m;
  char name[256];
  assert_int_equal(state_new(&s), 0);
  for (unsigned i = 0; i < memories; i++) {
    snprintf(name, sizeof name, "a memory with quite a long name, so that its table soon needs pages, %u", i);
    assert_int_equal(state_memory_add(s, name, &m), 0);
    m->pages = m->max_pages = i;
  }
  uint8_t *value = malloc(metadata_bytes + 1);
  memset(value, byte, metadata_bytes);
  if (metadata_bytes != 0) assert_int_equal(state_metadata_set(s, "key", value, metadata_bytes), 0);
  free(value);
  return s;
}

static void put_state(bench *b, const char *snapshot, uint64_t version, state *s) {
  state_record r = {.layer = 1, .version = version, .state = s};
  if (snapshot != NULL) r.snapshot = store_id;
  b->w.txn = begin(&b->f);
  assert_int_equal(catalog_put_state(&b->w, b->line, 1, snapshot, &r), 0);
  commit(b->w.txn);
}

static void assert_got(bench *b, const char *snapshot, uint64_t version, const state *expected) {
  state_record r;
  db_slot *slot = reading(&b->f);
  db_reader reader = {.slot = slot};
  if (snapshot == NULL) assert_int_equal(catalog_instance(reader, b->layers, store_id, 1, &r), 0);
  else assert_int_equal(catalog_snapshot(reader, b->layers, store_id, 1, snapshot, &r), 0);
  db_slot_release(slot);
  assert_int_equal(r.version, version);
  assert_true(state_is_valid(r.state));
  assert_int_equal(r.state->memory_count, expected->memory_count);
  assert_int_equal(r.state->next_memory, expected->next_memory);
  for (unsigned i = 0; i < expected->memory_count; i++) {
    assert_string_equal(r.state->memories[i].name, expected->memories[i].name);
    assert_int_equal(r.state->memories[i].pages, expected->memories[i].pages);
  }
  assert_int_equal(r.state->metadata_bytes, expected->metadata_bytes);
  if (expected->metadata_bytes != 0) assert_memory_equal(r.state->metadata, expected->metadata, expected->metadata_bytes);
  state_release(r.state);
}

static void states_come_back_whatever_their_size(void **env) {
  bench *b = *env;
  static const struct { unsigned memories; size_t metadata; uint64_t rows; } cases[] = {
      {0, 0, 0}, {2, 900, 0}, {2, 2000, 1}, {30, 10, 1}, {900, 200000, 6}, {30, 70000, 3}, {1, 10, 0},
  };
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    state *s = make_state(cases[i].memories, cases[i].metadata, (uint8_t)(i + 1));
    put_state(b, NULL, i + 1, s);
    assert_got(b, NULL, i + 1, s);
    assert_int_equal(count_rows(&b->f, 0), cases[i].rows);  /* what shrinks gives its pages back */
    state_release(s);
  }
}

static void a_snapshot_keeps_its_paged_parts(void **env) {
  bench *b = *env;
  state *old = make_state(30, 100000, 1), *new = make_state(1, 80000, 2);
  put_state(b, NULL, 1, old);
  assert_int_equal(layers_retain(b->layers, 1, 1), 0);
  uint64_t before = count_rows(&b->f, 0);
  put_state(b, "s", 1, old);
  assert_int_equal(count_rows(&b->f, 0), before);   /* the same pages: nothing is written */
  put_state(b, NULL, 2, new);
  assert_got(b, "s", 1, old);
  assert_got(b, NULL, 2, new);
  uint64_t puts = b->w.rows_put;
  put_state(b, "late", 1, old);                     /* of a version that is no longer the newest, but there */
  assert_int_equal(b->w.rows_put, puts);
  assert_got(b, "late", 1, old);
  assert_got(b, NULL, 2, new);
  state_release(old);
  state_release(new);
}

static int count_each(void *env, uint64_t instance, const char *name, const state_record *r) {
  unsigned *count = env;
  ++*count;
  assert_true(instance >= 1 && instance <= 2 && name[0] == 's' && r->version == 7);
  return *count == 4 ? PAGESTORE_EABORTED : 0;
}

static void snapshots_are_walked_by_instance_and_all(void **env) {
  bench *b = *env;
  state *s = make_state(1, 10, 1);
  state_record r = {.layer = 1, .version = 7, .snapshot = store_id, .state = s};
  char name[256];
  b->w.txn = begin(&b->f);
  assert_int_equal(catalog_put_state(&b->w, b->line, 1, "s1", &r), 0);
  assert_int_equal(catalog_put_state(&b->w, b->line, 1, "s2", &r), 0);
  assert_int_equal(catalog_put_state(&b->w, b->line, 2, "s0", &r), 0);
  commit(b->w.txn);
  db_slot *slot = reading(&b->f);
  db_reader reader = {.slot = slot};
  assert_int_equal(catalog_next_snapshot(reader, 1, "", name, &r), 0);
  assert_string_equal(name, "s1");
  state_release(r.state);
  assert_int_equal(catalog_next_snapshot(reader, 1, name, name, &r), 0);
  assert_string_equal(name, "s2");
  state_release(r.state);
  assert_int_equal(catalog_next_snapshot(reader, 1, name, name, &r), PAGESTORE_ENOTFOUND);
  assert_int_equal(catalog_next_snapshot(reader, 3, "", name, &r), PAGESTORE_ENOTFOUND);
  unsigned count = 0;
  assert_int_equal(catalog_each_snapshot(reader, count_each, &count), 0);
  assert_int_equal(count, 3);
  assert_int_equal(catalog_each_snapshot(reader, count_each, &count), PAGESTORE_EABORTED);
  db_slot_release(slot);
  db_txn *txn = begin(&b->f);
  assert_int_equal(catalog_delete_snapshot(txn, 1, "s1"), 0);
  assert_int_equal(catalog_delete_snapshot(txn, 1, "s1"), PAGESTORE_ENOTFOUND);
  assert_int_equal(catalog_snapshot((db_reader){.txn = txn}, b->layers, store_id, 1, "s1", &r), PAGESTORE_ENOTFOUND);
  assert_int_equal(catalog_delete_instance(txn, 1), PAGESTORE_ENOTFOUND);
  assert_int_equal(catalog_delete_layer(txn, 1), 0);
  db_abort(txn);
  state_release(s);
}

static void damage_is_told_by_name(void **env) {
  bench *b = *env;
  state *s = make_state(1, 80000, 1);
  state_record r;
  put_state(b, NULL, 1, s);
  damage_row(&b->f, (page_key){1, SYSTEM_MEMORY, 1, 1}, PAGE_HEADER_BYTES);
  db_slot *slot = reading(&b->f);
  assert_int_equal(catalog_instance((db_reader){.slot = slot}, b->layers, store_id, 1, &r), PAGESTORE_ECORRUPT);
  assert_non_null(strstr(pagestore_detail(), "page 1 of memory 0"));
  db_slot_release(slot);
  catalog_key key = catalog_key_id(CATALOG_INSTANCE, 1);
  db_txn *txn = begin(&b->f);
  assert_int_equal(db_put(txn, DB_CATALOG, (bytes){key.byte, key.size}, (bytes){"damaged", 7}), 0);
  assert_int_equal(catalog_instance((db_reader){.txn = txn}, b->layers, store_id, 1, &r), PAGESTORE_ECORRUPT);
  assert_non_null(strstr(pagestore_detail(), "instance 1"));
  db_abort(txn);
  state_release(s);
}

/* Names are in keys alone: one that became another name must not pass for it. */
static void a_record_under_another_key_is_damage(void **env) {
  bench *b = *env;
  bytes value;
  uint64_t id;
  char name[256] = "";
  catalog_key alpha = catalog_key_name("alpha"), alpla = catalog_key_name("alpla");
  db_txn *txn = begin(&b->f);
  assert_int_equal(catalog_put_name(txn, "alpha", 1), 0);
  assert_int_equal(db_get(txn, DB_CATALOG, (bytes){alpha.byte, alpha.size}, &value), 0);
  catalog_record copy = {.size = value.size};
  memcpy(copy.byte, value.data, value.size);
  assert_int_equal(db_delete(txn, DB_CATALOG, (bytes){alpha.byte, alpha.size}), 0);
  assert_int_equal(db_put(txn, DB_CATALOG, (bytes){alpla.byte, alpla.size}, (bytes){copy.byte, copy.size}), 0);
  assert_int_equal(catalog_find((db_reader){.txn = txn}, "alpla", &id), PAGESTORE_ECORRUPT);
  assert_int_equal(catalog_next_name((db_reader){.txn = txn}, "", name, &id), PAGESTORE_ECORRUPT);
  db_abort(txn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_store_record_comes_back),
      TEST(names_are_found_and_walked_in_order),
      TEST(states_come_back_whatever_their_size),
      TEST(a_snapshot_keeps_its_paged_parts),
      TEST(snapshots_are_walked_by_instance_and_all),
      TEST(damage_is_told_by_name),
      TEST(a_record_under_another_key_is_damage),
  };
  return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
