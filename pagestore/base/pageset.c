/* pageset.c - the two-level bit set; see the header for the picture and the invariant. */
#include "base/pageset.h"

#include <stdlib.h>

#include <pagestore.h>

#include "base/check.h"
#include "base/units.h"

enum { WORD_BITS = 64 };

static uint64_t word_count(uint64_t capacity) { return capacity / WORD_BITS; }
static uint64_t summary_count(uint64_t capacity) {
  return (word_count(capacity) + WORD_BITS - 1) / WORD_BITS;
}
static uint64_t bit(uint64_t index) { return UINT64_C(1) << (index % WORD_BITS); }

/* The bits at or after `index` within its word. */
static uint64_t bits_from(uint64_t index) { return ~UINT64_C(0) << (index % WORD_BITS); }

static void put_word(pageset *set, uint64_t at, uint64_t word) {
  ASSERT(word != 0);
  set->words[at] = word;
  set->summary[at / WORD_BITS] |= bit(at);
  set->count += (uint64_t)__builtin_popcountll(word);
}

int pageset_resize(pageset *set, uint64_t capacity) {
  if (capacity > UINT64_MAX / 2) return PAGESTORE_ENOMEM;
  pageset next = { .capacity = align_up(capacity, WORD_BITS) };
  if (next.capacity != 0) {
    next.words = calloc(word_count(next.capacity) + summary_count(next.capacity), sizeof *next.words);
    if (next.words == NULL) return PAGESTORE_ENOMEM;
    next.summary = next.words + word_count(next.capacity);
  }
  /* Only words that hold members are written, so a large sparse set stays unpopulated memory. */
  uint64_t page = pageset_next(set, 0);
  while (page < capacity) {
    uint64_t at = page / WORD_BITS, word = set->words[at];
    if (capacity - at * WORD_BITS < WORD_BITS) word &= ~bits_from(capacity);
    put_word(&next, at, word);
    page = pageset_next(set, (at + 1) * WORD_BITS);
  }
  free(set->words);
  *set = next;
  return PAGESTORE_OK;
}

void pageset_free(pageset *set) {
  free(set->words);
  *set = (pageset){ 0 };
}

bool pageset_add(pageset *set, uint64_t page) {
  ASSERT(page < set->capacity);
  uint64_t *word = &set->words[page / WORD_BITS];
  if (*word & bit(page)) return false;
  *word |= bit(page);
  set->summary[page / WORD_BITS / WORD_BITS] |= bit(page / WORD_BITS);
  set->count++;
  return true;
}

bool pageset_remove(pageset *set, uint64_t page) {
  if (!pageset_has(set, page)) return false;
  uint64_t *word = &set->words[page / WORD_BITS];
  *word &= ~bit(page);
  if (*word == 0) set->summary[page / WORD_BITS / WORD_BITS] &= ~bit(page / WORD_BITS);
  set->count--;
  return true;
}

bool pageset_has(const pageset *set, uint64_t page) {
  return page < set->capacity && (set->words[page / WORD_BITS] & bit(page)) != 0;
}

/* First word >= from with members, or the number of words. */
static uint64_t next_word(const pageset *set, uint64_t from) {
  uint64_t words = word_count(set->capacity), summaries = summary_count(set->capacity);
  if (from >= words) return words;
  uint64_t at = from / WORD_BITS, summary = set->summary[at] & bits_from(from);
  while (summary == 0) {
    if (++at == summaries) return words;
    summary = set->summary[at];
  }
  return at * WORD_BITS + (uint64_t)__builtin_ctzll(summary);
}

uint64_t pageset_next(const pageset *set, uint64_t from) {
  if (from >= set->capacity || set->count == 0) return PAGESET_END;
  uint64_t at = from / WORD_BITS, word = set->words[at] & bits_from(from);
  if (word == 0) {
    at = next_word(set, at + 1);
    if (at == word_count(set->capacity)) return PAGESET_END;
    word = set->words[at];
  }
  ASSERT(word != 0);
  return at * WORD_BITS + (uint64_t)__builtin_ctzll(word);
}

void pageset_clear(pageset *set) {
  uint64_t words = word_count(set->capacity);
  for (uint64_t at = next_word(set, 0); at < words; at = next_word(set, at + 1)) {
    set->words[at] = 0;
    set->summary[at / WORD_BITS] &= ~bit(at);
  }
  set->count = 0;
}

bool pageset_is_valid(const pageset *set) {
  uint64_t words = word_count(set->capacity), count = 0;
  if (set->capacity % WORD_BITS != 0 || (set->words == NULL) != (set->capacity == 0)) return false;
  for (uint64_t at = 0; at < words; at++) {
    bool summarised = (set->summary[at / WORD_BITS] & bit(at)) != 0;
    if (summarised != (set->words[at] != 0)) return false;
    count += (uint64_t)__builtin_popcountll(set->words[at]);
  }
  if (words % WORD_BITS != 0 && (set->summary[words / WORD_BITS] & bits_from(words)) != 0) return false;
  return count == set->count;
}
