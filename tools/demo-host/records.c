/* records.c - see records.h. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *demo_alloc(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  if (memory) return memory;
  fprintf(stderr, "demo: no memory\n");
  exit(1);
}

/* ---- models ---------------------------------------------------------------------------------- */

static size_t place_of(const model *m, const char *name, bool *is_here) {
  size_t low = 0, high = m->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (strcmp(m->at[middle].name, name) < 0) low = middle + 1;
    else high = middle;
  }
  *is_here = low < m->count && strcmp(m->at[low].name, name) == 0;
  return low;
}

static void insert(model *m, size_t place, const char *name) {
  if (m->count == m->room) {
    size_t room = m->room ? m->room * 2 : 256;
    record *larger = demo_alloc(room * sizeof *larger);
    if (m->count) memcpy(larger, m->at, m->count * sizeof *larger);
    free(m->at);
    m->at = larger;
    m->room = room;
  }
  memmove(m->at + place + 1, m->at + place, (m->count - place) * sizeof *m->at);
  snprintf(m->at[place].name, sizeof m->at[place].name, "%s", name);
  m->count++;
}

void model_put(model *m, const char *name, const char *text, uint32_t bytes) {
  bool is_here;
  size_t place = place_of(m, name, &is_here);
  if (!is_here) insert(m, place, name);
  m->at[place].text = text;
  m->at[place].bytes = bytes;
}

bool model_remove(model *m, const char *name) {
  bool is_here;
  size_t place = place_of(m, name, &is_here);
  if (is_here) memmove(m->at + place, m->at + place + 1, (--m->count - place) * sizeof *m->at);
  return is_here;
}

const record *model_find(const model *m, const char *name) {
  bool is_here;
  size_t place = place_of(m, name, &is_here);
  return is_here ? &m->at[place] : NULL;
}

void model_copy(model *to, const model *from) {
  *to = (model){.at = demo_alloc(from->count * sizeof *to->at),
                .count = from->count,
                .room = from->count};
  if (from->count) memcpy(to->at, from->at, from->count * sizeof *to->at);
}

void model_free(model *m) {
  free(m->at);
  *m = (model){0};
}

/* ---- the file -------------------------------------------------------------------------------- */

/* The rest of the line that begins with the field, cut to what a name may have. */
static bool field_of(const char *text, size_t bytes, const char *field, char *to, size_t room) {
  size_t length = strlen(field);
  for (const char *line = text, *end = text + bytes; line < end;) {
    const char *next = memchr(line, '\n', (size_t)(end - line));
    size_t line_bytes = (size_t)((next ? next : end) - line);
    if (line_bytes > length && memcmp(line, field, length) == 0) {
      size_t value = line_bytes - length < room - 1 ? line_bytes - length : room - 1;
      memcpy(to, line + length, value);
      to[value] = 0;
      return strlen(to) > 0;
    }
    line = next ? next + 1 : end;
  }
  return false;
}

/* `names` knows the names so far, so that each is given once. */
static void name_record(const model *names, size_t number, const char *text, size_t bytes,
                        char name[NAME_MAX_BYTES + 1]) {
  char plain[80], architecture[24] = "";
  if (!field_of(text, bytes, "Package: ", plain, sizeof plain))
    snprintf(plain, sizeof plain, "record-%06zu", number);
  snprintf(name, NAME_MAX_BYTES + 1, "%s", plain);
  if (!model_find(names, name)) return;
  field_of(text, bytes, "Architecture: ", architecture, sizeof architecture);
  snprintf(name, NAME_MAX_BYTES + 1, "%s:%s", plain, architecture);
  if (model_find(names, name)) snprintf(name, NAME_MAX_BYTES + 1, "%s:%zu", plain, number);
}

static char *slurp(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  char *text = NULL;
  long size;
  if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) goto failed;
  rewind(file);
  text = demo_alloc((size_t)size + 1);
  if (fread(text, 1, (size_t)size, file) != (size_t)size) goto failed;
  fclose(file);
  text[size] = 0;
  *bytes = (size_t)size;
  return text;
failed:
  perror(path);
  if (file) fclose(file);
  free(text);
  return NULL;
}

static void add_record(model *all, model *names, const char *text, size_t bytes) {
  char name[NAME_MAX_BYTES + 1];
  name_record(names, all->count, text, bytes, name);
  model_put(names, name, text, (uint32_t)bytes);
  insert(all, all->count, name);
  all->at[all->count - 1].text = text;
  all->at[all->count - 1].bytes = (uint32_t)bytes;
}

bool records_read(const char *path, model *in_file_order, uint64_t *bytes) {
  size_t size;
  char *text = slurp(path, &size);
  model names = {0};
  *in_file_order = (model){0};
  if (!text) return false;
  for (const char *at = text, *end = text + size; at < end;) {
    const char *stop = strstr(at, "\n\n");
    size_t record_bytes = stop ? (size_t)(stop - at) + 1 : (size_t)(end - at);
    if (record_bytes > TEXT_MAX_BYTES) {
      fprintf(stderr, "%s: a record is longer than 1 MiB\n", path);
      return false;
    }
    if (*at != '\n') add_record(in_file_order, &names, at, record_bytes);
    at = *at == '\n' ? at + 1 : at + record_bytes;
  }
  model_free(&names);
  *bytes = size;
  if (in_file_order->count == 0) fprintf(stderr, "%s: no records\n", path);
  return in_file_order->count > 0;
}
