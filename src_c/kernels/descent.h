/* One step of gradient descent, see ck_descent. The last elements, short of a vector, go the same way as all others
 * through copies: a loop of their own might be contracted otherwise, and bits would depend on where an element lies. */
#ifndef CK_KERNEL_DESCENT_H
#define CK_KERNEL_DESCENT_H

#include "transpose.h"

CK_INLINE vreal load_first(const char *src, int64_t n) { return n >= VL ? v_loadu(src) : load_part(src, n); }

CK_INLINE void store_first(char *dst, vreal v, int64_t n) {
  if (n >= VL)
    v_storeu(dst, v);
  else
    store_part(dst, v, n);
}

CK_INLINE vreal square_root(vreal x) {
  vreal root;
  CK_UNROLL
  for (int i = 0; i < VL; i++)
    root[i] = REAL_IS_FLOAT ? (REAL)__builtin_sqrtf((float)x[i]) : (REAL)__builtin_sqrt(x[i]);
  return root;
}

typedef struct CK_NAME(descent_vector) {
  vreal w, g, m, s;
} CK_NAME(descent_vector);

/* Inlined for every combination, so that the loop asks nothing. */
CK_INLINE void descend_vector(const ck_descent *p, CK_NAME(descent_vector) * v, int has_m, int has_s, int s_first) {
  vreal d = v->g + (REAL)p->l2 * v->w, root = v_set1(1);
  if (has_s) {
    v->s = (REAL)p->s_keep * v->s + (REAL)p->s_take * (d * d);
    root = (REAL)p->s_scale * square_root(v->s) + (REAL)p->eps;
  }
  if (has_s && s_first)
    d /= root;
  if (has_m) {
    v->m = (REAL)p->m_keep * v->m + (REAL)p->m_take * d;
    d = (REAL)p->look * v->m + (REAL)p->ahead * d;
  }
  if (has_s && !s_first)
    d /= root;
  v->w = (REAL)p->keep * v->w - (REAL)p->rate * d;
}

CK_INLINE void descend_with(const ck_descent *p, int64_t first, int64_t count, int has_m, int has_s, int s_first) {
  const int64_t item = sizeof(REAL);
  char *w = (char *)p->w + first * item, *m = has_m ? (char *)p->m + first * item : NULL;
  char *s = has_s ? (char *)p->s + first * item : NULL;
  const char *g = (const char *)p->g + first * item;
  for (int64_t i = 0; i < count; i += VL) {
    const int64_t n = count - i, at = i * item;
    CK_NAME(descent_vector) v = {.w = load_first(w + at, n), .g = load_first(g + at, n)};
    if (has_m)
      v.m = load_first(m + at, n);
    if (has_s)
      v.s = load_first(s + at, n);
    descend_vector(p, &v, has_m, has_s, s_first);
    store_first(w + at, v.w, n);
    if (has_m)
      store_first(m + at, v.m, n);
    if (has_s)
      store_first(s + at, v.s, n);
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
