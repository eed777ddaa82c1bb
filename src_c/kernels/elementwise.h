/* Two numbers into one, over runs of adjacent elements at any address.  The last elements, short of a vector, go the
 * same way as all others through copies. */
#ifndef CK_KERNEL_ELEMENTWISE_H
#define CK_KERNEL_ELEMENTWISE_H

#include "math.h"

/* The larger and the smaller are NaN where either is. */
CK_INLINE vreal combine(vreal a, vreal b, const int op) {
  switch (op) {
  case CK_PLUS:
    return a + b;
  case CK_MINUS:
    return a - b;
  case CK_TIMES:
    return a * b;
  case CK_OVER:
    return a / b;
  case CK_LARGER:
    return v_select((a > b) | (a != a), a, b);
  default:
    return v_select((a < b) | (a != a), a, b);
  }
}

/* With `one` all elements are combined with b's first. */
CK_INLINE void combine_run(REAL *dst, const REAL *a, const REAL *b, int64_t count, const int op, const int one) {
  const vreal first = one ? v_set1(b[0]) : (vreal){0};
  for (int64_t i = 0; i < count; i += VL)
    v_storeu(dst + i, combine(v_loadu(a + i), one ? first : v_loadu(b + i), op));
}

static void CK_NAME(combine_vectors)(REAL *dst, const REAL *a, const REAL *b, int64_t count, int op, int one) {
#define CASE(o)                                                                                                        \
  case o:                                                                                                              \
    if (one)                                                                                                           \
      combine_run(dst, a, b, count, o, 1);                                                                             \
    else                                                                                                               \
      combine_run(dst, a, b, count, o, 0);                                                                             \
    break;
  switch (op) { CASE(CK_PLUS) CASE(CK_MINUS) CASE(CK_TIMES) CASE(CK_OVER) CASE(CK_LARGER) CASE(CK_SMALLER) }
#undef CASE
}

static void CK_NAME(combine)(void *dst, const void *a, const void *b, int64_t count, int op, int one) {
  const int64_t whole = count / VL * VL, rest = count - whole;
  REAL part[VL] = {0}, other[VL] = {0};
  memcpy(other, (const REAL *)b + (one ? 0 : whole), (size_t)(one ? 1 : rest) * sizeof(REAL)); /* dst may be b */
  CK_NAME(combine_vectors)(dst, a, one ? other : b, whole, op, one);
  if (rest) {
    memcpy(part, (const REAL *)a + whole, (size_t)rest * sizeof(REAL));
    CK_NAME(combine_vectors)(part, part, other, VL, op, one);
    memcpy((REAL *)dst + whole, part, (size_t)rest * sizeof(REAL));
  }
}

#endif
