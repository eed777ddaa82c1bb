/* What will be wanted next is fetched while the machine multiplies: see ck_ahead. */
#ifndef CK_AHEAD_KERNELS_H
#define CK_AHEAD_KERNELS_H

#include "vector.h"

static __attribute__((noinline)) void CK_NAME(fetch_ahead)(ck_ahead *a, int64_t vectors) {
  for (a->owed += vectors * a->rate; a->owed >= 16; a->owed -= 16) {
    __builtin_prefetch(a->at, 0, 2);
    a->at += 64;
    if (a->at >= a->end) {
      a->end += a->apart;
      a->at = a->end - a->bytes;
    }
  }
}

#endif
