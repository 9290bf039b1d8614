/* test_status.c - codes and texts of failures: every code has a text of its own; text and errno belong to the thread's last failure. */
#include <errno.h>
#include <pagestore.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#undef fail /* ours; cmocka has a macro of that name */

#include "base/status.h"

static void every_code_has_its_text(void **unused) {
  (void)unused;
  for (int code = 0; code >= PAGESTORE_EFULL; code--) {
    assert_true(strlen(pagestore_strerror(code)) > 1);
    for (int other = 0; other > code; other--) assert_string_not_equal(pagestore_strerror(code), pagestore_strerror(other));
  }
  assert_non_null(pagestore_strerror(PAGESTORE_EFULL - 1));
  assert_string_equal(pagestore_version(), "0.1.0");
}

static void a_failure_leaves_text_and_errno(void **unused) {
  (void)unused;
  assert_int_equal(fail(PAGESTORE_EINVAL, "size %d", 3), PAGESTORE_EINVAL);
  assert_string_equal(pagestore_detail(), "size 3");
  assert_int_equal(pagestore_errno(), 0);
  assert_int_equal(fail_errno(PAGESTORE_EIO, ENOENT, "opening a\nb"), PAGESTORE_EIO);
  assert_non_null(strstr(pagestore_detail(), "opening a?b"));
  assert_non_null(strstr(pagestore_detail(), strerror(ENOENT)));
  assert_int_equal(pagestore_errno(), ENOENT);
}

/* Control characters of both kinds are replaced, other bytes and letters beyond ASCII stay. */
static void a_text_fits_on_a_line(void **unused) {
  (void)unused;
  fail(PAGESTORE_EINVAL, "%s", "a\tb\x7f" "c\xc2\x85" "d\xc2\xa9 \xc3\xa9 \xc2");
  assert_string_equal(pagestore_detail(), "a?b?c??d\xc2\xa9 \xc3\xa9 \xc2");
}

static void *in_a_thread(void *env) {
  (void)env;
  fail(PAGESTORE_EINVAL, "theirs");
  return NULL;
}

static void texts_belong_to_their_thread(void **unused) {
  (void)unused;
  pthread_t thread;
  fail(PAGESTORE_EINVAL, "ours");
  assert_int_equal(pthread_create(&thread, NULL, in_a_thread, NULL), 0);
  pthread_join(thread, NULL);
  assert_string_equal(pagestore_detail(), "ours");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_code_has_its_text),
    cmocka_unit_test(a_failure_leaves_text_and_errno),
    cmocka_unit_test(a_text_fits_on_a_line),
    cmocka_unit_test(texts_belong_to_their_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
