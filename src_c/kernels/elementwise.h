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

CK_INLINE void combine_run(REAL *dst, const REAL *a, const REAL *b, int64_t count, const int op) {
  for (int64_t i = 0; i < count; i += VL)
    v_storeu(dst + i, combine(v_loadu(a + i), v_loadu(b + i), op));
}

static void CK_NAME(combine_vectors)(REAL *dst, const REAL *a, const REAL *b, int64_t count, int op) {
#define CASE(o)                                                                                                        \
  case o:                                                                                                              \
    combine_run(dst, a, b, count, o);                                                                                  \
    break;
  switch (op) { CASE(CK_PLUS) CASE(CK_MINUS) CASE(CK_TIMES) CASE(CK_OVER) CASE(CK_LARGER) CASE(CK_SMALLER) }
#undef CASE
}

static void CK_NAME(combine)(void *dst, const void *a, const void *b, int64_t count, int op) {
  const int64_t whole = count / VL * VL, rest = count - whole;
  CK_NAME(combine_vectors)(dst, a, b, whole, op);
  if (rest) {
    REAL part[VL] = {0}, other[VL] = {0};
    memcpy(part, (const REAL *)a + whole, (size_t)rest * sizeof(REAL));
    memcpy(other, (const REAL *)b + whole, (size_t)rest * sizeof(REAL));
    CK_NAME(combine_vectors)(part, part, other, VL, op);
    memcpy((REAL *)dst + whole, part, (size_t)rest * sizeof(REAL));
  }
}

#endif
