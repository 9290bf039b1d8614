/* view.h - a memory of a view, by name. Failures have been complained about. Thread: the program's. */
#ifndef PROGRAM_VIEW_H
#define PROGRAM_VIEW_H

#include <pagestore.h>

/* With no more address space than it has pages: a 64-bit memory's maximum may be far more. EXIT_OK or EXIT_FAILED */
int view_memory(pagestore_instance *view, const char *name, pagestore_memory **memory, uint64_t *pages);

#endif
