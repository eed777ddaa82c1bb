/* One step of gradient descent, see ck_descent: plain loops, which the compiler turns into vectors. */
#ifndef CK_KERNEL_DESCENT_H
#define CK_KERNEL_DESCENT_H

#include "vector.h"

CK_INLINE REAL square_root(REAL x) { return REAL_IS_FLOAT ? (REAL)__builtin_sqrtf((float)x) : (REAL)__builtin_sqrt(x); }

/* Inlined for every combination, so that the loop asks nothing. */
CK_INLINE void descend_with(const ck_descent *p, int64_t first, int64_t count, int has_m, int has_s, int s_first) {
  REAL *restrict w = (REAL *)p->w + first, *restrict m = has_m ? (REAL *)p->m + first : NULL;
  REAL *restrict s = has_s ? (REAL *)p->s + first : NULL;
  const REAL *restrict g = (const REAL *)p->g + first;
  const REAL rate = (REAL)p->rate, keep = (REAL)p->keep, l2 = (REAL)p->l2, m_keep = (REAL)p->m_keep;
  const REAL m_take = (REAL)p->m_take, look = (REAL)p->look, ahead = (REAL)p->ahead, s_keep = (REAL)p->s_keep;
  const REAL s_take = (REAL)p->s_take, s_scale = (REAL)p->s_scale, eps = (REAL)p->eps;
  for (int64_t i = 0; i < count; i++) {
    REAL d = g[i] + l2 * w[i], root = 1;
    if (has_s) {
      s[i] = s_keep * s[i] + s_take * (d * d);
      root = s_scale * square_root(s[i]) + eps;
    }
    if (has_s && s_first)
      d /= root;
    if (has_m) {
      m[i] = m_keep * m[i] + m_take * d;
      d = look * m[i] + ahead * d;
    }
    if (has_s && !s_first)
      d /= root;
    w[i] = keep * w[i] - rate * d;
  }
}

static void CK_NAME(descend)(const ck_descent *p, int64_t first, int64_t count) {
  if (p->m && p->s && p->s_first)
    descend_with(p, first, count, 1, 1, 1);
  else if (p->m && p->s)
    descend_with(p, first, count, 1, 1, 0);
  else if (p->m)
    descend_with(p, first, count, 1, 0, 0);
  else if (p->s)
    descend_with(p, first, count, 0, 1, 1);
  else
    descend_with(p, first, count, 0, 0, 0);
}

#endif
