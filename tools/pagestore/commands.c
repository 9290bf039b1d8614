/* commands.c - the table of commands: their words in help, options, bounds on operands, functions. */
#include "command.h"

#include <stddef.h>
#include <string.h>

#include "hold.h"
#include "progress.h"
#include "versions.h"

#define OPTION_HELP                                                                                \
  { "help", 'h', NULL, "what this command does and takes" }
#define OPTION_JSON                                                                                \
  { "json", 'j', NULL, "one JSON document instead of tables" }
#define OPTION_TRUST                                                                               \
  { "trust", 't', NULL, "believe LMDB's tree pages instead of checking all of them first" }
#define OPTION_YES                                                                                 \
  { "yes", 'y', NULL, "do it without a question" }
#define OPTION_DRY                                                                                 \
  { "dry-run", 'n', NULL, "show what would be done, and change nothing" }
#define OPTION_UNTRUSTED                                                                           \
  { "untrusted", 'u', NULL, "look at a sealed copy in memory, in a child that can do next to nothing" }
#define OPTION_NAMES                                                                                               \
  { "names", '1', NULL, "names alone, one a line" }
#define OPTION_END                                                                                 \
  { NULL, 0, NULL, NULL }

static const option listing_options[] = {OPTION_JSON, OPTION_TRUST, OPTION_HELP, OPTION_END};
static const option ls_options[] = {
    OPTION_NAMES, OPTION_JSON, OPTION_TRUST, OPTION_HELP, OPTION_END,
};
static const option help_options[] = {OPTION_HELP, OPTION_END};

static const option manual_options[] = {
    {"manual", 'm', NULL, "a command's manual page as scdoc; without a command their names"},
    OPTION_HELP,
    OPTION_END,
};

static const option dump_options[] = {
    {"page", 'p', "N", "this page of 64 KiB alone, zeros included"},
    {"block", 'b', "N", "this block of 4 KiB alone: of the page, or without --page of the memory"},
    {"offset", 'o', "A", "from this byte on, zeros included"},
    {"length", 'l', "L", "so many bytes; the default is up to the end"},
    {"hex", 'x', NULL,
     "offset, bytes and characters in lines of 16: the default. `xxd -r` reads it"},
    {"raw", 'r', NULL, "the exact bytes"},
    {"snapshot", 's', "NAME", "as of this snapshot instead of the present"},
    OPTION_VERSION,
    OPTION_HOLD,
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};

static const option diff_options[] = {
    {"hex", 'x', NULL, "the bytes that differ, in lines of 16: - before, + after"},
    {"with", 'w', "OTHER", "TO is of this instance, a fork or what it was forked from"},
    OPTION_HOLD,
    OPTION_PROGRESS,
    OPTION_JSON,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};

static const option snapshot_options[] = {OPTION_YES,   OPTION_NAMES, OPTION_JSON,
                                          OPTION_TRUST, OPTION_HELP,  OPTION_END};
static const option delete_options[] = {OPTION_YES, OPTION_TRUST, OPTION_HELP, OPTION_END};
static const option restore_options[] = {OPTION_DRY,   OPTION_YES,  OPTION_JSON,
                                         OPTION_TRUST, OPTION_HELP, OPTION_END};
static const option fork_options[] = {
    {"snapshot", 's', "NAME", "begin as this snapshot instead of the present"},
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option prune_options[] = {
    {"keep", 'k', "N", "the N newest snapshots of an instance stay"},
    {"older-than", 'o', "AGE", "only what is older goes: 90m, 36h, 30d, 8w"},
    OPTION_DRY,
    OPTION_YES,
    OPTION_JSON,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};

static const option stat_options[] = {
    {"watch", 'w', "SECONDS", "a line about the store every so many seconds"},
    {"count", 'c', "N", "with --watch: so many lines, then end"},
    {"openmetrics", 'm', NULL, "the store and its instances as OpenMetrics text"},
    OPTION_JSON,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option top_options[] = {
    {"interval", 'i', "SECONDS", "between looks; 2 is the default"},
    {"count", 'c', "N", "so many looks, then end"},
    OPTION_JSON,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option show_options[] = {
    {"snapshot", 's', "NAME", "as of this snapshot instead of the present"},
    OPTION_VERSION,
    OPTION_JSON,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option plot_options[] = {
    {"output", 'o', "FILE", "a picture, .svg or .png; or .gp, or -: what gnuplot is to draw"},
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option export_options[] = {
    {"snapshot", 's', "NAME", "as of this snapshot instead of the present"},
    OPTION_VERSION,
    OPTION_HOLD,
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option import_options[] = {
    {"create", 'c', NULL, "make the store if it is not there"},
    {"max-pages", 'm', "N", "of a new memory: it may grow to so many pages of 64 KiB"},
    {"memory64", '6', NULL, "a new memory has 64-bit addresses"},
    {"keep", 'k', NULL, "a new memory survives upgrades"},
    OPTION_YES,
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option send_options[] = {
    {"since", 's', "SNAPSHOT", "only what differs from this snapshot of the instance"},
    {"output", 'o', "FILE", "into a new file instead of stdout"},
    {"level", 'l', "N", "of zstd, 1 to 19; 0: not compressed; 3 is the default"},
    {"skip", 'k', "BYTES", "leave out the first bytes of the stream: they arrived before"},
    OPTION_HOLD,
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option receive_options[] = {
    {"spool", 's', "FILE", "keep what arrives in this file, behind what it has; it goes when all is received"},
    {"where", 'w', NULL, "print how many bytes are in the spool, and end"},
    {"create", 'c', NULL, "make the store if it is not there"},
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};
static const option trust_options[] = {OPTION_TRUST, OPTION_HELP, OPTION_END};
static const option backup_options[] = {OPTION_PROGRESS, OPTION_TRUST, OPTION_HELP, OPTION_END};
static const option copy_options[] = {
    {"compact", 'c', NULL, "leave out the free pages"},
    OPTION_PROGRESS,
    OPTION_TRUST,
    OPTION_HELP,
    OPTION_END,
};

static const option wasm_options[] = {
    {"output", 'o', "OUT", "native: where the rewritten module goes"},
    {"shim", 's', "SHIM", "native: write the shim that serves the stable-memory calls, too"},
    {"memories", 'm', "WHO", "native: who defines the memories: host (the default), shim or module"},
    {"copy", 'c', "HOW", "native: how the shim copies: loop (the default) or bulk"},
    {"stable-bits", 'b', "32|64", "native: index type of the stable memory; the default is 64"},
    {"stable-max", 'x', "PAGES", "native: its maximum; the default is 65536 of 32 bits, 8192000 of 64"},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

/* Longer than the others: it is all that the author of a host needs to know of a rewritten module. */
static const char wasm_text[] =
    "inspect MODULE shows memories, imports of ic0, segments, globals, tables and start function,\n"
    "and whether native would take the module.\n"
    "\n"
    "native IN -o OUT writes a copy whose whole state the host can keep. No instruction changes, all\n"
    "indexes stay:\n"
    "  memory 0  imported as \"pagestore\" \"heap\"; memory 1 is new, \"pagestore\" \"stable\"\n"
    "  exported  pagestore_install: what instantiation did before (active data segments, the start\n"
    "            function). To be called once where the heap is new: a new instance, an upgrade, a\n"
    "            reinstallation; before any other export and in that message. Not after a restart\n"
    "  exported  pagestore_global_N: mutable global N, to be saved with each commit and put back\n"
    "            after instantiating, rollback and restore\n"
    "Tables are not kept: they are as after instantiation.\n"
    "\n"
    "--shim SHIM writes a module that exports stable_size, stable_grow, stable_read, stable_write and\n"
    "the stable64_ ones over the two memories, to be linked as \"ic0\"; the host adds what else the\n"
    "module wants of ic0. --memories says who defines the two memories:\n"
    "  host      module and shim import both (wasm2c, engines with host memories)\n"
    "  shim      the shim defines and exports both as \"heap\" and \"stable\", the module imports them\n"
    "            from it (Wasmtime with a memory creator)\n"
    "  module    the module goes on defining them and exports both as pagestore_heap and\n"
    "            pagestore_stable; no shim, host functions serve the calls\n"
    "wabt 1.0.32 needs --stable-bits 32 and --copy loop: it knows no 64-bit memories and swaps the\n"
    "memories of memory.copy.\n"
    "\n"
    "--json of inspect is one object: bytes, types, functions, imported_functions, element_segments,\n"
    "start (null: none), data_count, native (true, or false with native_reason); and arrays:\n"
    "  memories  index, imported, index_bits, pages, max_pages, shared\n"
    "  ic0       name, type, at\n"
    "  data      index, active, bytes, at\n"
    "  globals   index, type, mutable, imported, exported (its first name)\n"
    "  tables    index, type, imported, index_bits, elements, max_elements\n"
    "  sections  section, name, at, bytes\n"
    "`at` is an offset in the file.\n";

/* What each number is, and how it is known: the writing process is another one. */
static const char top_text[] =
    "On a terminal a screen that is drawn anew, the busiest instances first; space looks at once, q or\n"
    "Ctrl-C ends. Else a line a look. Nothing is asked of the writing process: all is seen in the store\n"
    "and in /proc.\n"
    "\n"
    "  VERSIONS/S  versions that became durable in a second, over all instances: messages that changed\n"
    "              something. Messages rolled back or without a change are not seen\n"
    "  FLUSHES/S   transactions of LMDB: flushes, and steps of giving dropped storage back\n"
    "  PER-FLUSH   versions of one flush: what the flush found waiting in the queue. 1 or less: nobody\n"
    "              waits behind another\n"
    "  FLUSH-MS    from when the flusher wrote the record of a version to when it could be read here:\n"
    "              LMDB's write and sync. The mean, at most 1 ms too much, of the flushes of the busiest\n"
    "              instance in the first two seconds of an interval. MAX-MS: the longest of them\n"
    "  MS EACH     time between two versions of an instance: a message with its boundary took no longer\n"
    "              in the mean; about as long where its host is never idle and commits wait\n"
    "  FILE, FREE  size of data.mdb, and free pages in it\n"
    "  WRITTEN/S   what the writing process sends to the disk, if the kernel tells this user\n"
    "\n"
    "The queue, and the boundary alone, are known to the writing process only: pagestore_stats() there,\n"
    "or its USDT probes. JSON, an object a line: time, seconds, versions_per_second, flushes_per_second,\n"
    "versions_per_flush, flush_mean_milliseconds, flush_max_milliseconds, flushes_measured, file_bytes,\n"
    "free_bytes, trash_pending, snapshots, writer_pid, writer, writer_cpu_percent, writer_resident_bytes,\n"
    "writer_bytes_per_second (null: not known); instances: each instance, version, versions_per_second,\n"
    "milliseconds_per_version, pages, stored_pages.\n";

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

static const option debug_options[] = {
    {"page", 'p', "N", "with page: this LMDB page of 4 KiB"},
    {"hex", 'x', NULL, "with page: its bytes"},
    {"layer", 'l', "N", "with rows and log: of this layer alone"},
    OPTION_JSON,
    OPTION_HELP,
    OPTION_END,
};

const command commands[] = {
    {"ls", "STORE", "list the instances of a store",
     "Each instance by name: its version, memory pages, what of them is stored, its module hash.\n"
     "JSON: instances: each name, version, pages, stored_pages, stored_bytes, module (null: none).\n",
     ls_options, 1, 1, command_ls},
    {"stat", "STORE [INSTANCE]", "what a store or one of its instances is made of",
     "A store: format, bytes in its file, free bytes, instances, snapshots; stored bytes are those of\n"
     "all instances' present versions, amplification is the file's for each of them. An instance: its\n"
     "durable version (others are not seen from outside the writing process), module, memories, pages\n"
     "without storage (zeros), metadata keys with their sizes, and its snapshots with what\n"
     "each alone keeps from being freed. --watch prints what `top` does in a pipe, under the same\n"
     "headings, and --watch --json its objects.\n"
     "JSON of a store: format, id, created, file_bytes, free_bytes, free_largest_run_bytes, stored_bytes,\n"
     "amplification (null: nothing is stored), map_bytes, log_bytes, log_budget_bytes (by default; its\n"
     "writer may have set it), log_records, transaction, instances, snapshots, layers, trash_pending;\n"
     "features_incompatible, features_read_only and features_compatible where not 0. Of an instance:\n"
     "instance, version, committed, versions_kept, module, pages, stored_pages, zero_pages,\n"
     "stored_bytes; memories: each memory, index_bits, keep, pages, max_pages, stored_pages,\n"
     "stored_bytes; metadata: each metadata (its key), bytes; snapshots: each snapshot, version, time,\n"
     "retained_bytes.\n",
     stat_options, 1, 2, command_stat},
    {"top", "STORE", "a store watched while it is in use", top_text, top_options, 1, 1, command_top},
    {"log", "STORE INSTANCE", "the kept versions of an instance, newest first",
     "The present and each snapshot: version, time, pages, what is stored, and what a snapshot\n"
     "alone retains.\n"
     "JSON: versions: each version, time, snapshot (null: the present), pages, stored_pages,\n"
     "retained_bytes, module.\n",
     listing_options, 2, 2, command_log},
    {"show", "STORE INSTANCE [KEY]", "the metadata of an instance, or one value of it",
     "Values that are text as text, others in hex, long ones cut; --json cuts nothing. With KEY the\n"
     "exact bytes of its value, on a terminal with control characters escaped.\n"
     "JSON: metadata: each key, bytes, kind (text, hex), value.\n",
     show_options, 2, 3, command_show},
    {"dump", "STORE INSTANCE MEMORY", "print the bytes of a memory",
     "Without a range and with --hex only lines that are not all zeros are printed; --raw always\n"
     "writes every byte. Numbers may be decimal or 0x..., with K, M, G or T behind them. A\n"
     "damaged page is told on stderr, left out of --hex and written as zeros by --raw; the dump\n"
     "goes on and ends with 1.\n",
     dump_options, 3, 3, command_dump},
    {"diff", "STORE INSTANCE [FROM [TO]]", "what differs between two kept versions",
     "FROM and TO are names of snapshots; - is the present. FROM defaults to the newest snapshot, with\n"
     "--with to the present; TO to the present. Blocks of 4 KiB whose bytes differ, sizes of memories,\n"
     "metadata and the module. Ends with 1 if anything differs.\n"
     "JSON: from, from_version, to, to_version (null: the present); complete: false if damage ended the\n"
     "comparison; blocks: runs, each memory, offset, bytes, page_first, page_last, block_first (in its\n"
     "page), blocks; state: each what (memory, metadata, module), name, from, to.\n",
     diff_options, 2, 4, command_diff},
    {"snapshot", "create|list|drop STORE INSTANCE [SNAPSHOT]", "name, list or drop versions of an instance",
     "create names the present version. drop is for good, so it asks, or wants --yes; the storage\n"
     "that only this snapshot kept is given back while a writer is at work. No runtime may have\n"
     "the store open, but for list.\n"
     "JSON: snapshots: each snapshot, version, time, pages, stored_pages, retained_bytes.\n",
     snapshot_options, 3, 4, command_snapshot},
    {"restore", "STORE INSTANCE SNAPSHOT", "make the present what a snapshot is",
     "Shows what differs, asks, and commits memories, metadata and module hash of the snapshot as\n"
     "one new version. The snapshot stays. No runtime may have the store open, but for --dry-run.\n"
     "Ends with 1 if something that was compared is damaged; it is restored nevertheless.\n"
     "JSON: instance, version, snapshot, snapshot_version, blocks and bytes that differ; state: each\n"
     "what, name, from, to, as of diff.\n",
     restore_options, 3, 3, command_restore},
    {"fork", "STORE INSTANCE NEW", "a new instance that begins as this one",
     "Both share what is stored until one of them changes it.\n", fork_options, 3, 3, command_fork},
    {"delete", "STORE INSTANCE", "delete an instance with its snapshots",
     "Forks of it keep what they share. Asks, or wants --yes. The storage is given back while a\n"
     "writer is at work.\n",
     delete_options, 2, 2, command_delete},
    {"prune", "STORE [INSTANCE]", "drop snapshots that are too many or too old",
     "Of one instance, or of each. With --keep and --older-than both, a snapshot goes only if\n"
     "both say so. Lists them, asks, and drops them.\n"
     "JSON: dropped: each instance, snapshot, version, time.\n",
     prune_options, 1, 2, command_prune},
    {"plot", "STORE INSTANCE [MEMORY]", "draw where an instance has been writing",
     "A map of the memory's pages by the kept version before which they changed last, and what is\n"
     "stored at each kept version. As fine as the snapshots are. Needs gnuplot.\n",
     plot_options, 2, 3, command_plot},
    {"export", "STORE INSTANCE MEMORY FILE", "the bytes of a memory as a file",
     "FILE must be new; - is stdout. It has a hole where nothing is stored. With a damaged page no\n"
     "file is made, and it ends with 1.\n",
     export_options, 4, 4, command_export},
    {"import", "STORE INSTANCE MEMORY FILE", "a file becomes a memory",
     "- is stdin. Instance and memory are made if they are not there; what the memory held goes. Up\n"
     "to 1 GiB it is one version; a larger file is committed in steps of that size.\n",
     import_options, 4, 4, command_import},
    {"send", "STORE INSTANCE [SNAPSHOT]", "an instance as a stream, whole or since a snapshot",
     "Without SNAPSHOT the present, on top of which nothing can be sent later. The stream is\n"
     "checksummed and compressed by zstd.\n"
     "Between snapshots it is the same bytes each time, with the same program, zstd and --level: where a\n"
     "connection broke, --skip leaves out what arrived, and `receive --spool FILE` puts it together.\n",
     send_options, 2, 3, command_send},
    {"receive", "STORE INSTANCE [FILE]", "a stream becomes an instance, or its next version",
     "From stdin without FILE. A whole stream makes a new instance; one since a snapshot needs an\n"
     "instance that has this snapshot and nothing after it. All of it is one transaction.\n"
     "For long streams over connections that break: `receive --spool FILE STORE INSTANCE`, and again,\n"
     "fed by `send --skip N`, N being what `receive --spool FILE --where STORE INSTANCE` prints. If the\n"
     "stream is refused as damaged, remove FILE and send all of it.\n",
     receive_options, 2, 3, command_receive},
    {"backup", "STORE NEW", "a consistent copy of a store, also while a runtime writes it",
     "NEW is a path that is not there, or an empty directory. The copy is what was durable when it\n"
     "began; it is opened and its tree pages are checked at the end. Pages that the writer frees\n"
     "meanwhile are not used again before the end, so its file may grow.\n",
     backup_options, 2, 2, command_backup},
    {"copy", "STORE NEW", "a copy of a store, with or without its free pages",
     "As backup; with --compact the new file is as small as it can be.\n", copy_options, 2, 2, command_copy},
    {"compact", "STORE", "make the file of a store smaller",
     "Gives back what was dropped, then replaces data.mdb by a copy without free pages, for which\n"
     "there must be room beside it. Nobody else may have the store open. A crash leaves the old\n"
     "file or the new one.\n",
     backup_options, 1, 1, command_compact},
    {"doctor", "[STORE]", "what this machine means for pagestore, and for a store on it",
     "Kernel, trackers and which one auto takes, memory, limits, LMDB, engines; of a store its file\n"
     "system and file. Ends with 1 if there is any advice.\n"
     "JSON: findings: each what, found, advice (null: none).\n",
     listing_options, 0, 1, command_doctor},
    {"new-example", "wasm2c|wasmtime DIRECTORY", "a small host and canister to begin with",
     "A new directory with a canister in C, a host that keeps its memory in a store, and a Makefile. Its\n"
     "README.md says what to install, and what to try.\n",
     help_options, 2, 2, command_new_example},
    {"completion", "bash|zsh", "a script that completes the program's words",
     "For bash: `source <(pagestore completion bash)`; installed packages bring it along.\n", help_options, 1, 1,
     command_completion},
    {"wasm", "inspect MODULE | native IN", "look into a Wasm module, or make its memory the host's", wasm_text,
     wasm_options, 2, 2, command_wasm},
    {"check", "STORE", "whether a store is damaged, and where",
     "Reads the file by itself, without LMDB: both meta pages, every tree page, the free list, every\n"
     "record and page header, and whether they agree; --deep: every block. Prints a verdict, then\n"
     "findings: instance, memory, page and version where it concerns one, else the LMDB page and its\n"
     "offset, and what to do next. A note is no damage: no reader looks there. Ends with 0 if clean,\n"
     "1 if damaged, 3 if it could not look. Beside a busy writer it registers as a reader of LMDB, and\n"
     "the file grows until it is done; --untrusted wants no writer.\n"
     "JSON: store, verdict (clean, damaged), damages, notes, deep, transaction, file_bytes,\n"
     "lmdb_pages_used, lmdb_pages_free, lmdb_pages_lost, instances, snapshots, pages, log_records,\n"
     "findings: each level (damage, note), instance, memory, page, version, lmdb_page, offset, text, next.\n",
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
    {"debug", "STORE metas|tables|records|rows|log|free|page", "raw views of a store's file",
     "Both meta pages; the tables of the newest; the catalog's records; the keys of page rows; the\n"
     "blocks in records of the log; the free list; one LMDB page with its nodes. Read without LMDB, whatever state the "
     "file is in:\n"
     "pagestore-format(5) tells what is there, `pagestore check` judges it. JSON: what the tables show,\n"
     "under the name of the view; it follows the format, so other versions may have other keys.\n",
     debug_options, 2, 2, command_debug},
    {"upgrade-format", "STORE", "bring a store to the newest format",
     "There is one format so far. A store of a newer one is refused, with its version.\n", trust_options, 1, 1,
     command_upgrade_format},
    {"bench", "[NAME [ARGUMENT...]]", "run a benchmark, or list them",
     "Executes the program bench-NAME beside this one with the arguments, which are its own.\n"
     "track: first writes to clean blocks, and collecting them, by tracker and pattern.\n"
     "boundary: pauses of commit and rollback, by dirty blocks and resident memory; wants 12 GiB\n"
     "of memory and as much disk.\n"
     "commit: durable messages a second, latencies, bytes written, against LMDB; --peers: against\n"
     "SQLite and RocksDB, too, where they were there when this was built.\n"
     "restore: from a closed store to the first byte, and to all of them.\n"
     "views: views, snapshots, forks, restores, deletions, against an empty commit or a mapping.\n"
     "endurance: 200,000 commits of mixed sizes, snapshots coming and going, 4 GiB deleted halfway: the\n"
     "file over what lives in it, the slowest commit; wants 13 GiB of disk and up to a quarter of an\n"
     "hour. --commits N for fewer or more.\n"
     "many: 10,000 instances of 16 pages in one store, all open: making, opening, a message each, what\n"
     "an idle one takes; wants 14 GiB of disk.\n"
     "scale: a message's cost from 1 MiB to 32 GiB of memory, and from 1 to 10,000 instances.\n"
     "These take --json, --plot FILE.png or FILE.svg, --store FOLDER (where they make their scratch\n"
     "folder, else $TMPDIR or /var/tmp: name a real disk), --repetitions N, and --quick, which only\n"
     "shows that they run. Cases take turns; ratios are within repetitions; the last line has the figures.\n"
     "seed: what it costs a canister to keep its data here, by calls or directly, on wasm2c and\n"
     "Wasmtime. --repetitions N, --only WORKLOAD, --json, --plot FILE.png, --store FOLDER.\n",
     help_options, 0, OPERANDS_RAW, command_bench},
    {"help", "[COMMAND]", "how to use the program, or a command", "", manual_options, 0, 1, command_help},
    {"version", "", "the version of the program and its library", "", help_options, 0, 0, command_version},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

const command *command_find(const char *name) {
  for (const command *c = commands; c->name; c++)
    if (strcmp(c->name, name) == 0) return c;
  return NULL;
}
