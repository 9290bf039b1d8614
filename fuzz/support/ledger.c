/* ledger.c - shared memory between a parent and the processes that it starts; see ledger.h. */
#include "fuzz/support/ledger.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

ledger *ledger_new(void) {
  ledger *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return l == MAP_FAILED ? NULL : l;
}

void ledger_acknowledge(ledger *l, uint64_t step) {
  uint64_t now = atomic_load(&l->acknowledged);
  while (now < step && !atomic_compare_exchange_weak(&l->acknowledged, &now, step)) continue;
}

void ledger_broken(ledger *l, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(l->text, sizeof l->text, format, arguments);
  va_end(arguments);
  _exit(LEDGER_BROKEN);
}
