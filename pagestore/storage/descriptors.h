/* descriptors.h - the descriptors that another library opened on files of ours.
 *
 * LMDB keeps its descriptors to itself and one of them without FD_CLOEXEC; they are found by device and inode.
 * Thread: any.
 */
#ifndef PAGESTORE_STORAGE_DESCRIPTORS_H
#define PAGESTORE_STORAGE_DESCRIPTORS_H

#include <stddef.h>

enum { DESCRIPTORS_MAX = 16 };
typedef struct {
  size_t count;
  int fd[DESCRIPTORS_MAX];
} descriptors;

/* Adds the open descriptors of the file `name` in directory `path`; none where either cannot be read. */
void descriptors_find(const char *path, const char *name, descriptors *);
/* Those of `after` that are not in `before`, marked close-on-exec. */
void descriptors_claim(const descriptors *before, const descriptors *after, descriptors *claimed);

#endif
