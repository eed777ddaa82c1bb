/* What is kept is a list, the newest first, under one lock; what convkit.h says of it is all that callers see. */
#if defined(__linux__)
#define _GNU_SOURCE /* madvise */
#endif
#include "convkit.h"

#include <pthread.h>
#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* HEADER: bytes before each block, for what is known of it. MOST_KEPT: more would take long to look through. HUGE:
 * where the system grants large pages, blocks from HUGE_FROM on lie at their boundaries and ask for them, as NumPy
 * does. */
enum { HEADER = 64, MOST_KEPT = 256, HUGE = 2 << 20, HUGE_FROM = 4 << 20 };

typedef struct header {
  size_t bytes;         /* of the block that follows */
  struct header *older; /* while it is kept */
} header;

static struct {
  pthread_mutex_t lock;
  header *newest;
  int count;
  int64_t bytes, limit;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static header *header_of(const void *block) { return (header *)((char *)block - HEADER); }

static void *fresh(size_t bytes) {
  void *memory = NULL;
  if (bytes > SIZE_MAX / 2 || posix_memalign(&memory, bytes < HUGE_FROM ? HEADER : HUGE, HEADER + bytes) != 0)
    return NULL;
#if defined(__linux__)
  if (bytes >= HUGE_FROM)
    madvise(memory, HEADER + bytes, MADV_HUGEPAGE); /* a wish: refused, all is as it was */
#endif
  ((header *)memory)->bytes = bytes;
  return (char *)memory + HEADER;
}

/* ------------------------------------------------------------------ under the lock */

static void lock(void) { pthread_mutex_lock(&kept.lock); }
static void unlock(void) { pthread_mutex_unlock(&kept.lock); }

static header *take_out(header **link) {
  header *head = *link;
  *link = head->older;
  kept.bytes -= (int64_t)head->bytes;
  kept.count--;
  return head;
}

/* Frees the oldest until no more than `limit` bytes are left, outside of the lock: the system takes its time. */
static void shrink(int64_t limit) {
  while (kept.bytes > limit || kept.count > MOST_KEPT) {
    header **link = &kept.newest;
    while ((*link)->older)
      link = &(*link)->older;
    header *oldest = take_out(link);
    unlock();
    free(oldest);
    lock();
  }
}

/* The smallest that fits and, of equals, the newest, which is the likeliest to be in a CPU's cache; or NULL. */
static header *find(size_t bytes) {
  header **best = NULL;
  for (header **link = &kept.newest; *link; link = &(*link)->older) {
    size_t here = (*link)->bytes;
    if (here >= bytes && here - bytes <= here / 8 && (!best || here < (*best)->bytes))
      best = link;
  }
  return best ? take_out(best) : NULL;
}

/* A forked child begins with nothing: what is kept would have to be copied, page by page, when it is written to. */
static void begin_anew(void) {
  shrink(0);
  unlock();
}

static void watch_for_fork(void) { pthread_atfork(lock, unlock, begin_anew); }

static void enter(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_for_fork);
  lock();
}

/* ------------------------------------------------------------------ what is called */

void *ck_block_take(size_t bytes) {
  enter();
  header *head = find(bytes);
  unlock();
  void *block = head ? (char *)head + HEADER : fresh(bytes);
  if (!block) {
    ck_blocks_clear();
    block = fresh(bytes);
  }
  return block;
}

void ck_block_give(void *block) {
  if (!block)
    return;
  header *head = header_of(block);
  enter();
  if (head->bytes >= CK_BLOCK_LEAST && (int64_t)head->bytes <= kept.limit) {
    head->older = kept.newest;
    kept.newest = head;
    kept.bytes += (int64_t)head->bytes;
    kept.count++;
    shrink(kept.limit);
    head = NULL;
  }
  unlock();
  free(head);
}

size_t ck_block_bytes(const void *block) { return header_of(block)->bytes; }

void ck_blocks_limit(int64_t bytes) {
  enter();
  kept.limit = bytes;
  shrink(bytes);
  unlock();
}

void ck_blocks_clear(void) {
  enter();
  shrink(0);
  unlock();
}

int64_t ck_blocks_kept(void) {
  enter();
  int64_t bytes = kept.bytes;
  unlock();
  return bytes;
}
