/* records.h - the demo's input and what the demo expects to find: names with texts, in order.
 *
 * A record is a paragraph of the file, ended by an empty line; its name is its "Package: " field,
 * with the architecture or a number behind it where a name comes twice. A model is the same as the
 * canister's map, kept in plain memory: the two are compared.
 *
 * Always true: names in a model ascend as bytes and are there once; texts point into the file or
 *              into memory of the model's own.
 * Thread:      one.
 */
#ifndef DEMO_RECORDS_H
#define DEMO_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NAME_MAX_BYTES = 119, TEXT_MAX_BYTES = 1 << 20 };

typedef struct {
  char name[NAME_MAX_BYTES + 1];
  const char *text;
  uint32_t bytes;
} record;

typedef struct {
  record *at;
  size_t count, room;
} model;

/* Reads the whole file; false with a line on stderr. The text stays for the process's life. */
bool records_read(const char *path, model *in_file_order, uint64_t *bytes);

void model_put(model *, const char *name, const char *text, uint32_t bytes);
bool model_remove(model *, const char *name);
const record *model_find(const model *, const char *name);
void model_copy(model *to, const model *from); /* the texts are shared */
void model_free(model *);

void *demo_alloc(size_t bytes); /* or the process ends with a word */

#endif
