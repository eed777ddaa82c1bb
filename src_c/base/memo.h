/* Plans that were made, by the numbers that they follow from: all threads share them. */
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

/* Whether there is a value of this key, which is copied if so; and remembers one, of at most CK_MEMO_BYTES. */
int ck_memo_find(const ck_memo_key *key, void *value, int64_t bytes);
void ck_memo_keep(const ck_memo_key *key, const void *value, int64_t bytes);

#endif
