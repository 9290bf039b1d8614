/* commands.c - the table of commands: their words in help, options, bounds on operands, functions. */
#include "command.h"
#include "progress.h"

#include <stddef.h>
#include <string.h>

#define OPTION_HELP                                                                                \
  { "help", 'h', NULL, "what this command does and takes" }
#define OPTION_JSON                                                                                \
  { "json", 'j', NULL, "one JSON document instead of tables" }
#define OPTION_TRUST                                                                               \
  { "trust", 't', NULL, "believe LMDB's tree pages instead of checking all of them first" }
#define OPTION_END                                                                                 \
  { NULL, 0, NULL, NULL }

static const option listing_options[] = {OPTION_JSON, OPTION_TRUST, OPTION_HELP, OPTION_END};
static const option help_options[] = {OPTION_HELP, OPTION_END};

static const option dump_options[] = {
    {"page", 'p', "N", "this page of 64 KiB alone, zeros included"},
    {"offset", 'o', "A", "from this byte on, zeros included"},
    {"length", 'l', "L", "so many bytes; the default is up to the end"},
    {"hex", 'x', NULL,
     "offset, bytes and characters in lines of 16: the default. `xxd -r` reads it"},
    {"raw", 'r', NULL, "the exact bytes"},
    {"snapshot", 's', "NAME", "as of this snapshot instead of the present"},
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};

static const option diff_options[] = {
    {"hex", 'x', NULL, "the bytes that differ, in lines of 16: - before, + after"},
    OPTION_JSON,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};

#define OPTION_UNTRUSTED                                                                           \
  { "untrusted", 'u', NULL, "look at a sealed copy in memory, in a child that can do next to nothing" }

static const option check_options[] = {
    {"deep", 'd', NULL, "read every page: all blocks against their checksums"},
    {"explain", 'e', "OFFSET", "what the byte at this offset of data.mdb belongs to"},
    OPTION_UNTRUSTED,
    OPTION_PROGRESS,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

static const option recover_options[] = {
    {"older", 'o', NULL, "where a page is lost, put the bytes of the newest older version that is kept"},
    {"zero", 'z', NULL, "where a page is lost, put zeros"},
    OPTION_UNTRUSTED,
    OPTION_PROGRESS,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

const command commands[] = {
    {"ls", "STORE", "list the instances of a store",
     "Each instance by name: its version, memory pages, what of them is stored, its module hash.\n",
     listing_options, 1, 1, command_ls},
    {"stat", "STORE [INSTANCE]", "what a store or one of its instances is made of",
     "A store: format, bytes in its file, free bytes, instances, snapshots. An instance: its\n"
     "version, module, memories, metadata keys with their sizes, and its snapshots with what\n"
     "each alone keeps from being freed.\n",
     listing_options, 1, 2, command_stat},
    {"log", "STORE INSTANCE", "the kept versions of an instance, newest first",
     "The present and each snapshot: version, time, pages, what is stored, and what a snapshot\n"
     "alone retains.\n",
     listing_options, 2, 2, command_log},
    {"dump", "STORE INSTANCE MEMORY", "print the bytes of a memory",
     "Without a range and with --hex only lines that are not all zeros are printed; --raw always\n"
     "writes every byte. Numbers may be decimal or 0x..., with K, M, G or T behind them. A\n"
     "damaged page is told on stderr, left out of --hex and written as zeros by --raw; the dump\n"
     "goes on and ends with 1.\n",
     dump_options, 3, 3, command_dump},
    {"diff", "STORE INSTANCE [FROM [TO]]", "what differs between two kept versions",
     "FROM and TO are names of snapshots; - is the present. FROM defaults to the newest snapshot,\n"
     "TO to the present. Blocks of 4 KiB whose bytes differ, sizes of memories, metadata and the\n"
     "module. Ends with 1 if anything differs.\n",
     diff_options, 2, 4, command_diff},
    {"check", "STORE", "whether a store is damaged, and where",
     "Reads the file by itself, without LMDB: both meta pages, every tree page, the free list, every\n"
     "record and page header, and whether they agree; --deep: every block. Prints a verdict, then\n"
     "findings: instance, memory, page and version where it concerns one, else the LMDB page and its\n"
     "offset, and what to do next. A note is no damage: no reader looks there. Ends with 0 if clean,\n"
     "1 if damaged, 3 if it could not look. Beside a busy writer it registers as a reader of LMDB, and\n"
     "the file grows until it is done; --untrusted wants no writer.\n"
     "JSON: store, verdict (clean, damaged), damages, notes, deep, transaction, file_bytes,\n"
     "lmdb_pages_used, lmdb_pages_free, lmdb_pages_lost, instances, snapshots, pages, findings: each\n"
     "level (damage, note), instance, memory, page, version, lmdb_page, offset, text, next.\n",
     check_options, 1, 1, command_check},
    {"recover", "STORE NEW", "a new store of all that is whole in a damaged one",
     "Reads the file by itself and writes NEW, which must not exist; STORE is not changed, and nobody\n"
     "may have it open for writing. Instances, memories, snapshots, metadata and versions are kept as\n"
     "far as they are whole; where tree pages or both meta pages are destroyed, the file is searched\n"
     "for records whose checksums hold. What is lost stays lost: reading such a page of NEW fails,\n"
     "as it did in STORE, unless --older or --zero replaces it; with both, --older goes first.\n"
     "Prints what was lost in each memory. Ends with 0 if nothing was lost, 1 if something was, 3 if\n"
     "there is nothing to save or NEW cannot be written.\n"
     "JSON: store, verdict (whole, losses), instances, pages_saved, pages_lost, pages_mended, lost:\n"
     "each instance, memory, pages_damaged, pages_replaced, pages_unknown, version_first,\n"
     "version_last; findings: as of check.\n",
     recover_options, 2, 2, command_recover},
    {"help", "[COMMAND]", "how to use the program, or a command", "", help_options, 0, 1,
     command_help},
    {"version", "", "the version of the program and its library", "", help_options, 0, 0,
     command_version},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

const command *command_find(const char *name) {
  for (const command *c = commands; c->name; c++)
    if (strcmp(c->name, name) == 0) return c;
  return NULL;
}
