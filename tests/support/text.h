/* text.h - the calling thread's text of the last failure, for tests that ask whether the next one has a text of its own. */
#ifndef PAGESTORE_TESTS_TEXT_H
#define PAGESTORE_TESTS_TEXT_H

void text_forget(void);

#endif
