/* script.c - words to records and back; see script.h. */
#include "script.h"

#include "fuzz/fuzz.h"

static const char *const names[OPERATIONS] = {
    [WORLD_WRITE] = "write",
    [WORLD_GROW] = "grow",
    [WORLD_METADATA] = "metadata",
    [WORLD_MEMORY_DELETE] = "memory-delete",
    [WORLD_COMMIT] = "commit",
    [WORLD_COMMIT_ALL] = "commit-all",
    [WORLD_ROLLBACK] = "rollback",
    [WORLD_UPGRADE] = "upgrade",
    [WORLD_SNAPSHOT] = "snapshot",
    [WORLD_DROP] = "drop",
    [WORLD_RESTORE] = "restore",
    [WORLD_VIEW] = "view",
    [WORLD_ADVANCE] = "advance",
    [WORLD_END_VIEW] = "end-view",
    [WORLD_FORK] = "fork",
    [WORLD_FORK_OF_SNAPSHOT] = "fork-of-snapshot",
    [WORLD_FLOOD] = "flood",
    [WORLD_CREATE] = "create",
    [WORLD_OPEN] = "open",
    [WORLD_CLOSE] = "close",
    [WORLD_DELETE] = "delete",
    [WORLD_TRIM] = "trim",
    [WORLD_SYNC] = "sync",
    [WORLD_REOPEN] = "reopen",
    [WORLD_LOOK] = "look",
    [WORLD_DIFF] = "diff",
    [HOLD] = "hold",
    [LET_GO] = "let-go",
    [KILL] = "kill",
    [FAULT] = "fault",
};

static uint8_t operation_named(const char *word, size_t length) {
  for (uint8_t i = 0; i < OPERATIONS; i++)
    if (strlen(names[i]) == length && memcmp(names[i], word, length) == 0) return i;
  fprintf(stderr, "no operation is called %.*s\n", (int)length, word);
  MUST(false);
  return 0;
}

size_t script_encode(const char *at, uint8_t to[RECORDS_MAX * RECORD_BYTES]) {
  size_t size = 0;
  while (*(at += strspn(at, " "))) {
    size_t length = strcspn(at, " ,");
    MUST(size < RECORDS_MAX * RECORD_BYTES);
    uint8_t *record = to + size;
    memset(record, 0, RECORD_BYTES);
    record[0] = operation_named(at, length);
    at += length;
    for (int choice = 1; *at == ','; choice++) {
      MUST(choice < RECORD_BYTES);
      record[choice] = (uint8_t)strtoul(at + 1, (char **)&at, 10);
    }
    size += RECORD_BYTES;
  }
  return size;
}

void script_print(const uint8_t *records, size_t size) {
  for (size_t at = 0; at + RECORD_BYTES <= size; at += RECORD_BYTES) {
    const uint8_t *r = records + at;
    fprintf(stderr, "%s%s,%u,%u,%u,%u,%u,%u,%u", at ? " " : "", names[r[0] % OPERATIONS], r[1], r[2], r[3], r[4], r[5],
            r[6], r[7]);
  }
  fprintf(stderr, "\n");
}
