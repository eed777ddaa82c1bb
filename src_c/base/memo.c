#include "memo.h"

#include <stdatomic.h>
#include <string.h>

/* Networks have up to some hundred kinds of layer, each with up to three plans: with fewer places than it has, a
 * network that is run again and again finds none of them. Memory is taken as places are, 2 KiB each. */
enum { SETS = 256, WAYS = 4 };

/* A copy takes well under a microsecond; and in a forked child whoever has a place may be a thread that is not
 * there, so that nobody waits for ever. */
enum { PATIENCE = 200 };

typedef struct entry {
  atomic_int taken;
  ck_memo_key key;
  _Alignas(16) char value[CK_MEMO_BYTES];
} entry;

static entry entries[SETS][WAYS];
static atomic_uint oldest[SETS];

static int take(entry *e) {
  for (int i = 0; i < PATIENCE; i++)
    if (!atomic_exchange_explicit(&e->taken, 1, memory_order_acquire))
      return 1;
  return 0;
}

static void give_back(entry *e) { atomic_store_explicit(&e->taken, 0, memory_order_release); }

/* Words side by side do not wait for each other's products: in one chain, the hash took a fifth of finding a plan. */
static int set_of(const ck_memo_key *key) {
  uint64_t hash[4] = {(uint64_t)key->count, 1, 2, 3};
  const uint64_t times[4] = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu, 0xff51afd7ed558ccdu, 0xc4ceb9fe1a85ec53u};
  for (int i = 0; i < key->count; i++) {
    const int j = i % 4;
    hash[j] = (hash[j] ^ (uint64_t)key->word[i]) * times[j];
    hash[j] ^= hash[j] >> 32;
  }
  uint64_t all = hash[0];
  for (int j = 1; j < 4; j++)
    all = (all ^ all >> 32 ^ hash[j]) * times[0];
  all ^= all >> 32;
  return (int)(all % SETS);
}

static int same(const ck_memo_key *a, const ck_memo_key *b) {
  return a->count == b->count && memcmp(a->word, b->word, (size_t)a->count * sizeof *a->word) == 0;
}

int ck_memo_find(const ck_memo_key *key, void *value, int64_t bytes) {
  entry *set = entries[set_of(key)];
  int found = 0;
  for (int i = 0; i < WAYS && !found; i++) {
    if (!take(&set[i]))
      continue;
    found = same(&set[i].key, key);
    if (found)
      memcpy(value, set[i].value, (size_t)bytes);
    give_back(&set[i]);
  }
  return found;
}

void ck_memo_keep(const ck_memo_key *key, const void *value, int64_t bytes) {
  const int set = set_of(key);
  entry *e = &entries[set][atomic_fetch_add_explicit(&oldest[set], 1, memory_order_relaxed) % WAYS];
  if (!take(e))
    return;
  e->key.count = key->count;
  memcpy(e->key.word, key->word, (size_t)key->count * sizeof *key->word);
  memcpy(e->value, value, (size_t)bytes);
  give_back(e);
}
