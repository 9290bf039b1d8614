/* commands.c - running commands; see commands.h. */
#include "commands.h"

#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

enum { WORDS_MAX = 8, REPORT_CODE = 99, EXIT_CODE_MAX = 3, ALARM_SECONDS = 120 };

/* STORE, OUT: replaced by the store and by a name that is free. */
typedef const char *words[WORDS_MAX];
static const words for_rich[] = {
    {"ls", "STORE"},
    {"stat", "STORE"},
    {"stat", "--json", "STORE", "one"},
    {"log", "STORE", "one"},
    {"dump", "STORE", "one", "heap"},
    {"dump", "--raw", "--snapshot", "second", "STORE", "one", "heap"},
    {"dump", "--page", "0", "STORE", "two", "wide"},
    {"diff", "STORE", "one", "first", "second"},
    {"diff", "--hex", "STORE", "one"},
    {"check", "STORE"},
    {"check", "--deep", "--json", "STORE"},
    {"recover", "STORE", "OUT"},
    {"recover", "--older", "--zero", "STORE", "OUT"},
};
static const words for_many[] = {
    {"ls", "--json", "STORE"},
    {"stat", "STORE", "instance number 7"},
    {"log", "STORE", "instance number 3"},
    {"dump", "STORE", "instance number 9", "heap"},
    {"diff", "--json", "STORE", "instance number 3"},
    {"check", "--deep", "STORE"},
    {"recover", "STORE", "OUT"},
};

void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

/* ---- in the child ------------------------------------------------------------------------------------ */

static void report_code(void) { _exit(REPORT_CODE); }

static void add_option(const char *variable) {
  char text[1024];
  const char *before = getenv(variable);
  snprintf(text, sizeof text, "%s%sexitcode=%d", before ? before : "", before ? ":" : "", REPORT_CODE);
  setenv(variable, text, 1);
}

static void built_program(char *to, size_t room) {
  ssize_t length = readlink("/proc/self/exe", to, room - 1);
  MUST(length > 0);
  to[length] = 0;
  *strrchr(to, '/') = 0;
  MUST(strrchr(to, '/') && strlen(to) + 32 < room);
  strcpy(strrchr(to, '/'), "/tools/pagestore");
}

static void run_linked(commands_main linked, int count, char **arguments) {
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(report_code);
  optind = 0;
  _exit(linked(count, arguments));
}

static void run_built(char **arguments) {
  static char program[4096];
  built_program(program, sizeof program);
  add_option("ASAN_OPTIONS");
  add_option("UBSAN_OPTIONS");
  execv(program, arguments);
  _exit(127);
}

static void child(const words what, const char *folder, commands_main linked, int errors) {
  static char store[300], out[300], name[] = "pagestore";
  char *arguments[WORDS_MAX + 2] = {name};
  int nothing = open("/dev/null", O_RDWR), count = 1;
  snprintf(store, sizeof store, "%s/store", folder);
  snprintf(out, sizeof out, "%s/out", folder);
  for (int i = 0; i < WORDS_MAX && what[i]; i++) {
    const char *word = strcmp(what[i], "STORE") == 0 ? store : strcmp(what[i], "OUT") == 0 ? out : what[i];
    arguments[count++] = (char *)(uintptr_t)word;
  }
  dup2(nothing, 0);
  dup2(nothing, 1);
  dup2(errors, 2);
  alarm(ALARM_SECONDS);
  for (int signal_ = SIGILL; signal_ <= SIGSEGV; signal_++)
    if (!__sanitizer_set_death_callback) signal(signal_, SIG_DFL); /* the driver's would keep the input a second time */
  if (linked) run_linked(linked, count, arguments);
  else run_built(arguments);
}

/* ---- in the caller ----------------------------------------------------------------------------------- */

static void show(int errors, const words what, int status) {
  char text[4096];
  ssize_t length = pread(errors, text, sizeof text - 1, 0);
  text[length > 0 ? length : 0] = 0;
  fprintf(stderr, "pagestore %s %s... ended with wait status 0x%x:\n%s\n", what[0], what[1], (unsigned)status, text);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static void run_one(const words what, const char *folder, commands_main linked, command_counts *counts) {
  char name[300];
  int status = 0;
  snprintf(name, sizeof name, "%s/errors", folder);
  int errors = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  MUST(errors >= 0 && unlink(name) == 0);
  fflush(NULL);
  pid_t pid = fork();
  MUST(pid >= 0);
  if (pid == 0) child(what, folder, linked, errors);
  MUST(waitpid(pid, &status, 0) == pid);
  bool ended = WIFEXITED(status) && WEXITSTATUS(status) <= EXIT_CODE_MAX;
  if (!ended) show(errors, what, status);
  MUST(ended);
  uint64_t *const by_code[] = {&counts->done, &counts->found, &counts->wrong, &counts->failed};
  ++*by_code[WEXITSTATUS(status)];
  counts->run++;
  close(errors);
  snprintf(name, sizeof name, "%s/out", folder);
  nftw(name, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void commands_run(const char *folder, bool many, commands_main linked, command_counts *counts) {
  const words *list = many ? for_many : for_rich;
  size_t count = many ? sizeof for_many / sizeof *for_many : sizeof for_rich / sizeof *for_rich;
  for (size_t i = 0; i < count; i++) run_one(list[i], folder, linked, counts);
}
