/* wasm_command.h - the two halves of `pagestore wasm`.
 *
 * Thread: the program's.
 */
#ifndef PROGRAM_WASM_COMMAND_H
#define PROGRAM_WASM_COMMAND_H

#include <pagestore/module.h>

#include "command.h"

int wasm_inspect(const invocation *, const pagestore_module *);
int wasm_native(const invocation *, const pagestore_module *);

#endif
