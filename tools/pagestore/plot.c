/* plot.c - where an instance has been writing: a picture drawn by gnuplot.
 *
 * Left: a memory's pages in rows, coloured by the newest kept version at which they changed. Right: what is stored at
 * each kept version. A page's age is seen by comparing each kept version with the one before it, so it is as fine as
 * the snapshots are.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "complain.h"
#include "look.h"
#include "progress.h"
#include "text.h"
#include "versions.h"
#include "view.h"

enum { ROW_PAGES_MIN = 16, CELLS_MAX = 1 << 16 };

typedef struct {
  const char *memory;
  uint64_t pages, cell_pages; /* a cell of the picture is so many pages */
  uint32_t cells, row;
  uint32_t *changed; /* per cell: 1 + the place of the kept version; 0: never stored */
  uint32_t now;
  progress progress; /* over the memory at each kept version */
} map;

/* ---- ages ------------------------------------------------------------------------------------ */

static int note(void *env, pagestore_memory *memory, uint64_t offset, uint64_t length) {
  map *m = env;
  if (strcmp(pagestore_memory_name(memory), m->memory) != 0) return 0;
  for (uint64_t page = offset / PAGESTORE_PAGE; page <= (offset + length - 1) / PAGESTORE_PAGE && page < m->pages;
       page++)
    m->changed[page / m->cell_pages] = m->now + 1;
  return 0;
}

static int compare(map *m, pagestore_store *store, const char *instance, const kept_versions *kept, uint32_t i) {
  pagestore_instance *from = NULL, *to = NULL;
  const kept_version *before = &kept->items[i - 1], *after = &kept->items[i];
  int code = look_view(store, instance, before->name, &from);
  if (code == EXIT_OK) code = look_view(store, instance, after->present ? NULL : after->name, &to);
  m->now = i;
  int status = code == EXIT_OK ? pagestore_diff(from, to, note, m) : 0;
  if (from) pagestore_instance_close(from);
  if (to) pagestore_instance_close(to);
  return status ? look_failed(status) : code;
}

static int find_ages(map *m, pagestore_store *store, const char *instance, const kept_versions *kept) {
  pagestore_instance *oldest;
  pagestore_memory *memory;
  const kept_version *first = &kept->items[0];
  int code = look_view(store, instance, first->present ? NULL : first->name, &oldest);
  if (code != EXIT_OK) return code;
  int status = pagestore_memory_open(oldest, m->memory, NULL, &memory);
  /* what the oldest kept version stores is as old as that, or older */
  m->now = 0;
  if (!status) status = pagestore_memory_blocks(memory, PAGESTORE_BLOCKS_STORED, note, m);
  pagestore_instance_close(oldest);
  if (status && status != PAGESTORE_ENOTFOUND) return look_failed(status); /* it came later: no page is that old */
  progress_step(&m->progress, m->pages * PAGESTORE_PAGE);
  for (uint32_t i = 1; i < kept->count && code == EXIT_OK; i++) {
    code = compare(m, store, instance, kept, i);
    progress_step(&m->progress, m->pages * PAGESTORE_PAGE);
  }
  return code;
}

/* ---- the picture ----------------------------------------------------------------------------- */

/* Inside a gnuplot string in double quotes. */
static void print_text(FILE *out, const char *text) {
  for (; *text; text++) {
    if (strchr("\"\\`", *text)) fputc('\\', out);
    fputc(strchr("\n\t", *text) ? ' ' : *text, out);
  }
}

static const char *version_name(const kept_version *k) { return k->present ? "present" : k->name; }

static void draw_map(FILE *out, const map *m, const kept_versions *kept) {
  fprintf(out, "set title \"");
  print_text(out, m->memory);
  fprintf(out, ": %" PRIu64 " pages, a cell is %" PRIu64 "\" noenhanced\n", m->pages, m->cell_pages);
  fprintf(out,
          "set rmargin 18\nset yrange [%u-0.5:-0.5]\nset xrange [-0.5:%u-0.5]\nset xlabel 'cell'\nset ylabel 'row of "
          "%u cells'\n",
          (m->cells + m->row - 1) / m->row, m->row, m->row);
  fprintf(out, "set palette maxcolors %u\nset cbrange [-0.5:%u.5]\nset cbtics (\"never\" 0", kept->count + 1,
          kept->count);
  uint32_t step = kept->count / 12 + 1;
  for (uint32_t i = 0; i < kept->count; i += step) {
    fprintf(out, ", \"");
    print_text(out, version_name(&kept->items[i]));
    fprintf(out, "\" %u", i + 1);
  }
  fprintf(out, ") noenhanced\nset cblabel 'changed last before'\nplot '-' using 2:1:3 with image notitle\n");
  for (uint32_t cell = 0; cell < (m->cells + m->row - 1) / m->row * m->row; cell++)
    fprintf(out, "%u %u %u\n", cell / m->row, cell % m->row, cell < m->cells ? m->changed[cell] : 0);
  fprintf(out, "e\n");
}

static void draw_sizes(FILE *out, const kept_versions *kept) {
  fprintf(out, "unset cblabel\nset rmargin\nset title 'stored'\nset autoscale xy\nset yrange [0:*]\nset xlabel "
               "'version'\nset ylabel 'MiB'\n"
               "plot '-' using 1:2 with linespoints pointtype 7 notitle\n");
  for (uint32_t i = 0; i < kept->count; i++)
    fprintf(out, "%" PRIu64 " %.4f\n", kept->items[i].version, (double)kept->items[i].stored_pages / 16);
  fprintf(out, "e\n");
}

static void draw(FILE *out, const char *file, const map *m, const kept_versions *kept) {
  size_t length = strlen(file);
  const char *terminal = length > 4 && strcmp(file + length - 4, ".png") == 0 ? "png" : "svg";
  fprintf(out, "set terminal %s size 1200,600\nset output \"", terminal);
  print_text(out, file);
  fprintf(out, "\"\nset multiplot layout 1,2\n");
  draw_map(out, m, kept);
  draw_sizes(out, kept);
  fprintf(out, "unset multiplot\n");
}

/* gnuplot on a pipe, without a shell: names come from the store. */
static FILE *start_gnuplot(pid_t *child) {
  int ends[2];
  if (pipe(ends) != 0) return NULL;
  *child = fork();
  if (*child == 0) {
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]), close(ends[1]);
    execlp("gnuplot", "gnuplot", (char *)NULL);
    _exit(127);
  }
  close(ends[0]);
  if (*child < 0) close(ends[1]);
  return *child < 0 ? NULL : fdopen(ends[1], "w");
}

static int draw_into(const char *file, const map *m, const kept_versions *kept) {
  int status = 0;
  pid_t child;
  FILE *out = start_gnuplot(&child);
  if (!out) {
    complain("gnuplot: %s: free memory and try again", strerror(errno));
    return EXIT_FAILED;
  }
  signal(SIGPIPE, SIG_IGN);
  draw(out, file, m, kept);
  fclose(out);
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    complain("gnuplot is not there: install gnuplot-nox, or name a file that ends in .gp");
  else if (status != 0) complain("gnuplot failed: it says why above; name a file that you may write");
  return status ? EXIT_FAILED : EXIT_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int first_memory(void *env, const pagestore_memory_info *info) {
  char **name = env;
  *name = strdup(info->name);
  return 1;
}

/* How many pages the memory has now, and its name if none was given. */
static int measure(const invocation *v, pagestore_store *store, map *m, char **name) {
  pagestore_instance *view;
  pagestore_memory *memory;
  int code = look_view(store, v->operand[1], NULL, &view);
  if (code != EXIT_OK) return code;
  if (v->operands > 2) *name = strdup(v->operand[2]);
  else pagestore_memory_each(view, first_memory, name);
  if (!*name) complain("'%s' has no memory to draw", v->operand[1]);
  code = *name ? view_memory(view, *name, &memory, &m->pages) : EXIT_FAILED;
  pagestore_instance_close(view);
  m->memory = *name;
  m->cell_pages = m->pages / CELLS_MAX + 1;
  m->cells = (uint32_t)((m->pages + m->cell_pages - 1) / m->cell_pages);
  for (m->row = ROW_PAGES_MIN; (uint64_t)m->row * m->row < m->cells;) m->row *= 2;
  m->changed = calloc(m->cells ? m->cells : 1, sizeof *m->changed);
  return code == EXIT_OK && !m->changed ? complain_memory() : code;
}

static int plot(const invocation *v, pagestore_store *store) {
  map m = {0};
  char *name = NULL;
  kept_versions kept = {0};
  const char *file = option_value(v, "output");
  size_t length = strlen(file);
  int code = measure(v, store, &m, &name);
  if (code == EXIT_OK) code = versions_load(store, v->operand[1], false, &kept);
  if (code == EXIT_OK) code = progress_begin(&m.progress, v, "plot", kept.count * m.pages * PAGESTORE_PAGE);
  if (code == EXIT_OK) code = find_ages(&m, store, v->operand[1], &kept);
  progress_end(&m.progress);
  if (code == EXIT_OK && (strcmp(file, "-") == 0 || (length > 3 && strcmp(file + length - 3, ".gp") == 0))) {
    FILE *out = strcmp(file, "-") == 0 ? stdout : fopen(file, "we");
    if (out) draw(out, "plot.svg", &m, &kept);
    if (!out || (out != stdout && fclose(out) != 0)) {
      complain("%s: %s: name a file that you may write", file, strerror(errno));
      code = EXIT_FAILED;
    }
  } else if (code == EXIT_OK) {
    code = draw_into(file, &m, &kept);
  }
  free(kept.items);
  free(m.changed);
  free(name);
  return code;
}

int command_plot(const invocation *v) {
  pagestore_store *store;
  if (!option_given(v, "output")) return complain_usage(v->command, "where to? give --output FILE.svg, .png or .gp");
  int code = look_open(v, &store);
  if (code != EXIT_OK) return code;
  code = plot(v, store);
  pagestore_close(store);
  return code;
}
