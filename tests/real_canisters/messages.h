/* messages.h - the canisters of this test, and what each of their messages is: it follows from its number alone, so that
 * another process knows it, too.
 *
 * Thread: any.
 */
#ifndef PAGESTORE_TESTS_REAL_CANISTERS_MESSAGES_H
#define PAGESTORE_TESTS_REAL_CANISTERS_MESSAGES_H

#include "host.h"

const canister *canister_named(const char *name); /* NULL: there is none */
void message_make(const canister *, uint64_t number, message *);
/* A query: its changes vanish. */
bool message_asks(const message *);

#endif
