/* test_made_anew.c - an instance that is deleted and made anew under its name, while the old one is still remembered.
 *
 * Whoever waited for the deletion lets go of what it was told by when it gets to run: the old one may outlive all handles
 * and works of the new one. Proven: until the deletion is durable it hides what the disk still has, and not any longer.
 */
#include "host_fixture.h"
#include "instance.h"

static pagestore_instance *other;

static int open_other(const host *h, unsigned flags) {
  return pagestore_instance_open(h->store, "other", PAGESTORE_WITH(pagestore_instance_options, .flags = flags), &other);
}

static void commit_other(const host *h, unsigned flags, const char *value) {
  assert_ok(open_other(h, flags));
  assert_ok(pagestore_metadata_set(other, "key", value, strlen(value)));
  assert_ok(pagestore_commit(other, 0, NULL));
  pagestore_instance_close(other);
}

static void check_other(const host *h, const char *value) {
  char found[16] = "";
  size_t length;
  assert_ok(open_other(h, 0));
  assert_ok(pagestore_metadata_get(other, "key", found, sizeof found, &length));
  assert_string_equal(found, value);
  pagestore_instance_close(other);
}

static int count_it(void *env, const pagestore_instance_info *info) {
  *(int *)env += strcmp(info->name, "other") == 0;
  return 0;
}

static int listed(const host *h) {
  int count = 0;
  assert_ok(pagestore_instance_each(h->store, NULL, count_it, &count));
  return count;
}

static void the_old_one_is_still_remembered(void **state) {
  (void)state;
  host h = {0};
  core *old;
  folder_make(&h);
  host_open(&h, 1);
  commit_other(&h, PAGESTORE_CREATE, "old");
  assert_ok(core_acquire(h.store, "other", 0, &old));
  assert_ok(pagestore_instance_delete(h.store, "other", 0));
  assert_status(open_other(&h, 0), PAGESTORE_ENOTFOUND);
  assert_int_equal(listed(&h), 0);
  commit_other(&h, PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE, "new");
  check_other(&h, "new");
  assert_int_equal(listed(&h), 1);
  assert_status(open_other(&h, PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE), PAGESTORE_EEXIST);
  assert_ok(pagestore_instance_delete(h.store, "other", 0));
  assert_status(open_other(&h, 0), PAGESTORE_ENOTFOUND);
  core_drop(h.store, old);
  assert_ok(host_close(&h));
  folder_remove(&h);
}

/* All of it in one flush, and no handle left: found on the disk, each time. */
static void all_at_once(void **state) {
  (void)state;
  host h = {0};
  char value[16] = "0";
  folder_make(&h);
  host_open(&h, 1);
  commit_other(&h, PAGESTORE_CREATE, value);
  for (int n = 1; n < 300; n++) {
    assert_ok(pagestore_instance_delete(h.store, "other", PAGESTORE_ASYNC));
    snprintf(value, sizeof value, "%d", n);
    assert_ok(open_other(&h, PAGESTORE_CREATE | PAGESTORE_EXCLUSIVE));
    assert_ok(pagestore_metadata_set(other, "key", value, strlen(value)));
    assert_ok(pagestore_commit(other, PAGESTORE_ASYNC, NULL));
    pagestore_instance_close(other);
    if (n % 3 == 0) host_commit(&h);
    if (n % 2 == 0) assert_ok(pagestore_sync(h.store, PAGESTORE_FOREVER));
    check_other(&h, value);
  }
  assert_ok(host_close(&h));
  folder_remove(&h);
}

int main(void) {
  const struct CMUnitTest tests[] = { cmocka_unit_test(the_old_one_is_still_remembered), cmocka_unit_test(all_at_once) };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
