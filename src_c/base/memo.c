#include "memo.h"

#include <string.h>

/* A layer takes up to three of them, and a network has about as many kinds of layer; 32 KiB a thread. */
enum { ENTRIES = 16 };

typedef struct entry {
  ck_memo_key key;
  _Alignas(16) char value[CK_MEMO_BYTES];
} entry;

static _Thread_local entry entries[ENTRIES];
static _Thread_local unsigned oldest;

static int same(const ck_memo_key *a, const ck_memo_key *b) {
  return a->count == b->count && memcmp(a->word, b->word, (size_t)a->count * sizeof *a->word) == 0;
}

void *ck_memo(const ck_memo_key *key, int *found) {
  for (int i = 0; i < ENTRIES; i++) {
    if (same(&entries[i].key, key)) {
      *found = 1;
      return entries[i].value;
    }
  }
  entry *fresh = &entries[oldest++ % ENTRIES];
  fresh->key.count = key->count;
  memcpy(fresh->key.word, key->word, (size_t)key->count * sizeof *key->word);
  *found = 0;
  return fresh->value;
}
