/* platform.h - what this kernel and process allow. Thread: any. */
#ifndef PAGESTORE_PLATFORM_H
#define PAGESTORE_PLATFORM_H

#include <pagestore.h>

/* What `auto` begins with, and why: constant text. */
pagestore_tracker platform_tracker(const char **reason);

#endif
