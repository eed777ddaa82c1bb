/* Plans that were made: each thread remembers its latest ones, by the numbers that they follow from. */
#ifndef CK_MEMO_H
#define CK_MEMO_H

#include <stdint.h>

enum { CK_MEMO_WORDS = 96, CK_MEMO_BYTES = 1280 };

typedef struct ck_memo_key {
  int count;
  int64_t word[CK_MEMO_WORDS];
} ck_memo_key;

static inline void ck_key_add(ck_memo_key *key, int64_t word) { key->word[key->count++] = word; }
static inline void ck_key_add_all(ck_memo_key *key, const int64_t *words, int count) {
  for (int i = 0; i < count; i++)
    key->word[key->count++] = words[i];
}

/* The value of this key, or room for it with *found = 0, to be filled at once; CK_MEMO_BYTES of it. It stays until the
 * thread's next call. */
void *ck_memo(const ck_memo_key *key, int *found);

#endif
