/* A thread's scratch, handed out. */
#ifndef CK_ARENA_H
#define CK_ARENA_H

#include "geometry.h"

/* A bump allocator over scratch, in steps of 64 bytes. Without a base it only counts. */
typedef struct ck_arena {
  char *base;
  int64_t used;
} ck_arena;

static inline void *ck_take(ck_arena *arena, int64_t bytes) {
  void *p = arena->base ? arena->base + arena->used : NULL;
  arena->used += ck_round_up(bytes, 64);
  return p;
}

#endif
