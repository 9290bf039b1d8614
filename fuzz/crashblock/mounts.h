/* mounts.h - ext4 on a loop device on a file, in a world where nothing of it can be left behind.
 *
 * The world: a mount namespace and a process namespace of their own. When its first process ends, by whatever
 * signal, the kernel ends the others, drops the mounts, and with them the loop devices, which are made to go with
 * their last user.
 *
 * Thread: one.
 */
#ifndef PAGESTORE_FUZZ_CRASHBLOCK_MOUNTS_H
#define PAGESTORE_FUZZ_CRASHBLOCK_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

/* Why nothing of this can be done here (no root, no FUSE, no loop devices, no mkfs.ext4); NULL: it can. */
const char *mounts_refused(void);

/* Runs `inside` in such a world. Its result, or 77 if the kernel refuses one. */
int mounts_world(int (*inside)(void *env), void *env);

bool mounts_format(const char *image, size_t bytes); /* a new ext4 file system in a new file */
/* The text of a failure goes into `why`. */
bool mounts_ext4(const char *file, int file_fd, const char *folder, const char *options, char why[128]);
bool mounts_leave(const char *folder); /* once nobody uses it any more */

#endif
