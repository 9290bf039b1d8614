/* folder.h - a folder of one's own under TMPDIR or /tmp.
 *
 * Thread: any.
 */
#ifndef PAGESTORE_FUZZ_SUPPORT_FOLDER_H
#define PAGESTORE_FUZZ_SUPPORT_FOLDER_H

enum { FOLDER_PATH_MAX = 4096 };

/* Ends the program with 2 if it cannot be made. */
void folder_new(char path[FOLDER_PATH_MAX], const char *name);
void folder_remove(const char *path); /* with all that is in it */

#endif
