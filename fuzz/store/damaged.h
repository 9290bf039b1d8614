/* damaged.h - a scratch folder with one damaged store in it, and the seeds and mutations that make them.
 *
 * The folder is in memory where /dev/shm is, else under TMPDIR; it goes with the process.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_DAMAGED_H
#define PAGESTORE_FUZZ_DAMAGED_H

#include "edit.h"

const char *damaged_folder(void); /* made at the first call */
const char *damaged_store(void);  /* FOLDER/store */
/* Writes the store that the input describes; how many edits it had. The input is not empty. */
size_t damaged_write(const uint8_t *data, size_t size);

#endif
