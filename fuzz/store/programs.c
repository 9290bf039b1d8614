/* programs.c - running the real program; see programs.h. */
#include "programs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { WORDS_MAX = 8, SANITIZER_CODE = 99, EXIT_CODE_MAX = 3, ALARM_SECONDS = 120 };

/* STORE, OUT: replaced by the store and by a name that is free. */
typedef const char *words[WORDS_MAX];
static const words for_rich[] = {
    {"ls", "STORE"},
    {"ls", "--json", "STORE"},
    {"stat", "STORE"},
    {"stat", "STORE", "one"},
    {"stat", "--json", "STORE", "two"},
    {"log", "STORE", "one"},
    {"dump", "STORE", "one", "heap"},
    {"dump", "--raw", "--snapshot", "second", "STORE", "one", "heap"},
    {"dump", "--page", "0", "STORE", "two", "wide"},
    {"diff", "STORE", "one", "first", "second"},
    {"diff", "--hex", "STORE", "one"},
};
static const words for_many[] = {
    {"ls", "STORE"},
    {"stat", "STORE"},
    {"stat", "STORE", "instance number 7"},
    {"log", "STORE", "instance number 3"},
    {"dump", "STORE", "instance number 9", "heap"},
    {"diff", "--json", "STORE", "instance number 3"},
};

static void find_program(char *to, size_t room) {
  ssize_t length = readlink("/proc/self/exe", to, room - 1);
  MUST(length > 0);
  to[length] = 0;
  *strrchr(to, '/') = 0;
  MUST(strrchr(to, '/') && strlen(to) + 32 < room);
  strcpy(strrchr(to, '/'), "/tools/pagestore");
}

static void add_option(const char *variable) {
  char text[1024];
  const char *before = getenv(variable);
  snprintf(text, sizeof text, "%s%sexitcode=%d", before ? before : "", before ? ":" : "", SANITIZER_CODE);
  setenv(variable, text, 1);
}

/* In the child. */
static void execute(const char *program, const words what, const char *store, const char *out, int errors) {
  char *arguments[WORDS_MAX + 2] = {(char *)(uintptr_t)program};
  int nothing = open("/dev/null", O_RDWR);
  for (int i = 0; i < WORDS_MAX && what[i]; i++) {
    const char *word = strcmp(what[i], "STORE") == 0 ? store : strcmp(what[i], "OUT") == 0 ? out : what[i];
    arguments[i + 1] = (char *)(uintptr_t)word;
  }
  add_option("ASAN_OPTIONS");
  add_option("UBSAN_OPTIONS");
  dup2(nothing, 0);
  dup2(nothing, 1);
  dup2(errors, 2);
  alarm(ALARM_SECONDS);
  execv(program, arguments);
  _exit(127);
}

static void show(int errors, const words what, int status) {
  char text[4096];
  ssize_t length = pread(errors, text, sizeof text - 1, 0);
  text[length > 0 ? length : 0] = 0;
  fprintf(stderr, "pagestore %s %s... ended with wait status 0x%x:\n%s\n", what[0], what[1], (unsigned)status, text);
}

static void run_one(const char *program, const words what, const char *folder) {
  char store[300], out[300], name[300];
  snprintf(store, sizeof store, "%s/store", folder);
  snprintf(out, sizeof out, "%s/out", folder);
  snprintf(name, sizeof name, "%s/errors", folder);
  int status = 0, errors = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  MUST(errors >= 0);
  unlink(name);
  pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) execute(program, what, store, out, errors);
  MUST(waitpid(child, &status, 0) == child);
  bool ended = WIFEXITED(status) && WEXITSTATUS(status) <= EXIT_CODE_MAX;
  if (!ended) show(errors, what, status);
  MUST(ended);
  close(errors);
}

unsigned programs_run(const char *folder, bool many) {
  char program[4096];
  const words *list = many ? for_many : for_rich;
  unsigned count = many ? sizeof for_many / sizeof *for_many : sizeof for_rich / sizeof *for_rich;
  find_program(program, sizeof program);
  for (unsigned i = 0; i < count; i++) run_one(program, list[i], folder);
  return count;
}
