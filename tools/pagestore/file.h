/* file.h - files that commands read and write: "-" is stdin or stdout; a new file is whole under its name, or not
 * there.
 *
 * Failures have been complained about when these return. Thread: the program's.
 */
#ifndef PROGRAM_FILE_H
#define PROGRAM_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *path; /* "-": stdin or stdout */
  int fd;
  bool seekable;
  uint64_t bytes; /* of one that is read: its size, 0 if that is not known */
  char *partial;  /* the name until it is finished; NULL: none */
} file;

/* Nothing is overwritten: false if the path is taken. A terminal takes no binary output. */
/* false: stdout is a terminal, complained. */
bool file_stdout_takes_bytes(void);
bool file_create(file *, const char *path);
bool file_open_in(file *, const char *path);
bool file_put(file *, const void *bytes, size_t length);
/* Zeros, or a hole where the file may have one. */
bool file_put_zeros(file *, uint64_t length);
/* As much as there is room for, less at the end alone. */
bool file_get(file *, void *to, size_t room, size_t *length);
/* `whole`: synced and put under its name; else removed. EXIT_OK or EXIT_FAILED */
int file_finish(file *, bool whole);

#endif
