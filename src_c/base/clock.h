/* Time, and waiting without sleep. */
#ifndef CK_CLOCK_H
#define CK_CLOCK_H

#include <stdint.h>
#include <time.h>

enum { CK_POLL_NANOSECONDS = 50 * 1000 * 1000 }; /* from one question whether to stop to the next */

static inline int64_t ck_nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Once round a loop that waits for another thread: leaves the core to its other half meanwhile. */
static inline void ck_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield" ::: "memory");
#endif
}

#endif
