/* scratch.c - directories for stores of tests; see scratch.h. */
#include "scratch.h"

#include <ftw.h>
#include <unistd.h>

char *scratch_make(void) {
  const char *under = getenv("TMPDIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/pagestore.XXXXXX", under && *under ? under : "/tmp");
  if (!mkdtemp(path)) fail_msg("no directory to be had: %s", path);
  return strdup(path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)st, (void)type, (void)where;
  return remove(path);
}

void scratch_remove(char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(path);
}

uint64_t dice_roll(dice *d) {  /* splitmix64 */
  uint64_t z = (d->state += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

uint64_t dice_below(dice *d, uint64_t limit) {
  if (d->left == 0) return dice_roll(d) % limit;
  uint8_t byte = *d->tape++;
  d->left--;
  return limit <= 256 ? byte % limit : limit / 256 * byte + dice_roll(d) % (limit / 256);
}

bool dice_chance(dice *d, unsigned percent) { return dice_below(d, 100) < percent; }

uint64_t env_number(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

void check_status(int status, int wanted, const char *call, const char *file, int line) {
  if (status == wanted) return;
  print_error("%s: %s, expected %s; detail: %s\n", call, pagestore_strerror(status), pagestore_strerror(wanted),
              status ? pagestore_detail() : "-");
  _fail(file, line);
}
