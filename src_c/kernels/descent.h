/* One step of gradient descent, see ck_descent. The last elements, short of a vector, go the same way as all others
 * through copies: a loop of their own might be contracted otherwise, and bits would depend on where an element lies. */
#ifndef CK_KERNEL_DESCENT_H
#define CK_KERNEL_DESCENT_H

#include "math.h"
#include "transpose.h"

/* A power of two whose square fits, four times over: what a larger gradient counts as. */
#if REAL_IS_FLOAT
#define SQUARABLE 0x1p63f
#define REAL_MAX __FLT_MAX__
#else
#define SQUARABLE 0x1p511
#define REAL_MAX __DBL_MAX__
#endif

typedef struct CK_NAME(descent_vector) {
  vreal w, g, m, s;
} CK_NAME(descent_vector);

/* The gradient with its penalty. */
CK_INLINE vreal slope(const ck_descent *p, vreal w, vreal g) { return p->l2 != 0 ? g + (REAL)p->l2 * w : g; }

/* Infinity itself stays, and shows. */
CK_INLINE vreal squarable(vreal d) {
  d = v_select((d > SQUARABLE) & (d <= REAL_MAX), v_set1(SQUARABLE), d);
  return v_select((d < -SQUARABLE) & (d >= -REAL_MAX), v_set1(-SQUARABLE), d);
}

/* Inlined for every combination, so that the loop asks next to nothing. */
CK_INLINE void descend_vector(const ck_descent *p, CK_NAME(descent_vector) * v, int has_m, int has_s, int s_first,
                              int huge) {
  vreal d = slope(p, v->w, v->g), root = v_set1(1);
  if (has_s) {
    d = huge ? squarable(d) : d;
    v->s = (REAL)p->s_keep * v->s + v_pinned((REAL)p->s_take * (d * d));
    root = (REAL)p->s_scale * square_root(v->s) + (REAL)p->eps;
    if ((REAL)p->eps == 0)
      root = v_select(root == 0, v_set1(1 / SQUARABLE), root);
  }
  if (has_s && s_first)
    d /= root;
  if (has_m) {
    v->m = (REAL)p->m_keep * v->m + v_pinned((REAL)p->m_take * d);
    d = p->ahead != 0 ? (REAL)p->look * v->m + v_pinned((REAL)p->ahead * d) : (REAL)p->look * v->m;
  }
  if (has_s && !s_first)
    d /= root;
  v->w = (REAL)p->keep * v->w - v_pinned((REAL)p->rate * d);
}

/* Lanes that `squarable` would change, and some that it would not, infinity and NaN. */
CK_INLINE vmask is_huge(const ck_descent *p, vreal w, vreal g) {
  const vreal d = slope(p, w, g);
  return ~(d * d <= SQUARABLE * SQUARABLE);
}

/* Whether there are any: a root that overflowed would be infinite, and the element stand still for ever. */
CK_INLINE int any_huge(const ck_descent *p, const char *w, const char *g, int64_t count) {
  const int64_t item = sizeof(REAL);
  vmask huge = {0}, none = {0};
  int64_t i = 0;
  for (; i + VL <= count; i += VL)
    huge |= is_huge(p, v_loadu(w + i * item), v_loadu(g + i * item));
  if (i < count)
    huge |= is_huge(p, load_part(w + i * item, count - i), load_part(g + i * item, count - i));
  return memcmp(&huge, &none, sizeof(none)) != 0;
}

CK_INLINE void descend_with(const ck_descent *p, int64_t first, int64_t count, int has_m, int has_s, int s_first,
                            int huge) {
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
    descend_vector(p, &v, has_m, has_s, s_first, huge);
    store_first(w + at, v.w, n);
    if (has_m)
      store_first(m + at, v.m, n);
    if (has_s)
      store_first(s + at, v.s, n);
  }
}

/* Huge gradients are looked for in pieces that stay in the nearest cache: to ask of each vector costs a quarter more.
 */
CK_INLINE void descend_by_root(const ck_descent *p, int64_t first, int64_t count, int has_m, int s_first) {
  enum { LOOK = 256 };
  const int64_t item = sizeof(REAL);
  for (int64_t end = first + count; first < end; first += LOOK) {
    const int64_t n = end - first < LOOK ? end - first : LOOK;
    if (any_huge(p, (const char *)p->w + first * item, (const char *)p->g + first * item, n))
      descend_with(p, first, n, has_m, 1, s_first, 1);
    else
      descend_with(p, first, n, has_m, 1, s_first, 0);
  }
}

static void CK_NAME(descend)(const ck_descent *call, int64_t first, int64_t count) {
  const ck_descent here = *call, *p = &here; /* no store can change it: coefficients stay in registers */
  if (p->m && p->s && p->s_first)
    descend_by_root(p, first, count, 1, 1);
  else if (p->m && p->s)
    descend_by_root(p, first, count, 1, 0);
  else if (p->s)
    descend_by_root(p, first, count, 0, 1);
  else if (p->m)
    descend_with(p, first, count, 1, 0, 0, 0);
  else
    descend_with(p, first, count, 0, 0, 0, 0);
}

#endif
