/* Resampling's loops: positions that read elements found through a table of offsets and weights (gather), or add to
 * them (scatter, its adjoint), and weighted sums of rows (blend).  Every sum is one chain of multiply-adds from +0 in
 * the order of the table, whatever the layout, so that layouts and blocks agree to the bit. */
#ifndef CK_KERNELS_RESIZE_H
#define CK_KERNELS_RESIZE_H

#include "stage.h"

enum { AHEAD = 2048 }; /* bytes between what is summed and what is prefetched */

/* ---------------------------------------------------------------- elements */

CK_INLINE int is_outside(int64_t offset) { return offset < CK_NOWHERE / 2; }

CK_INLINE REAL element(const char *src, int64_t offset, int checked) {
  static const REAL zero = 0;
  return *(const real_u *)(checked && is_outside(offset) ? (const char *)&zero : src + offset);
}

/* VL elements from anywhere. Given as one list, or the compiler would insert them one after the other. */
CK_INLINE vreal elements(const char *src, const int64_t *offset, int checked) {
#define ELEMENT(j) element(src, offset[j], checked)
  return (vreal){INDICES(ELEMENT)};
#undef ELEMENT
}

/* Only the first n, fewer than a vector; the rest zero. */
CK_INLINE vreal elements_part(const char *src, const int64_t *offset, int64_t n) {
  lanes u = {{0}};
  for (int64_t i = 0; i < n; i++)
    u.real[i] = element(src, offset[i], 1);
  return u.v;
}

/* n elements, at most a vector of them, `step` bytes apart; the rest zero. */
CK_INLINE vreal elements_apart(const char *src, int64_t step, int64_t n) {
  if (n >= VL) {
#define ELEMENT(j) *(const real_u *)(src + (j) * step)
    return (vreal){INDICES(ELEMENT)};
#undef ELEMENT
  }
  lanes u = {{0}};
  for (int64_t i = 0; i < n; i++)
    u.real[i] = *(const real_u *)(src + i * step);
  return u.v;
}

CK_INLINE void store_apart(char *dst, int64_t step, vreal v, int64_t n) {
  lanes u = {v};
  for (int64_t i = 0; i < n; i++)
    *(real_u *)(dst + i * step) = u.real[i];
}

/* The lanes from src on, at most a vector of them; lanes past n are not used. */
CK_INLINE vreal load_lanes(const ck_lookup *p, const char *src, int64_t n, const int adjacent) {
  if (adjacent)
    return load_upto(src, n, p->src_end);
  return elements_apart(src, p->src_lane, n);
}

CK_INLINE void store_lanes(char *dst, int64_t step, vreal v, int64_t n, int whole) {
  if (step == sizeof(REAL) && (n >= VL || whole))
    v_storeu(dst, v);
  else if (step == sizeof(REAL))
    store_part(dst, v, n);
  else
    store_apart(dst, step, v, n < VL ? n : VL);
}

/* ---------------------------------------------------------------- gather */

/* One lane: vectors of positions. Never a sum in scalars, which a compiler may round otherwise. */
CK_INLINE void gather_positions(const ck_lookup *p, int checked) {
  const REAL *weight = p->weight;
  for (int64_t x = 0; x < p->count; x += VL) {
    const int64_t n = p->count - x;
    vreal sum = {0};
    for (int64_t k = 0; k < p->taps; k++) {
      const int64_t at = k * p->ld + x;
      vreal e = n >= VL ? elements(p->src, p->offset + at, checked) : elements_part(p->src, p->offset + at, n);
      sum = weight ? v_add_product(sum, load_first((const char *)(weight + at), n), e) : e;
    }
    store_lanes(p->dst + x * p->dst_pixel, p->dst_pixel, sum, n, 0);
  }
}

/* Lanes j.. of one position: n of them, in as many vectors. */
CK_INLINE void gather_at(const ck_lookup *p, int64_t x, int64_t j, int64_t n, const int vectors, const int weighted,
                         const int adjacent) {
  vreal sum[4];
  CK_UNROLL
  for (int v = 0; v < vectors; v++)
    sum[v] = (vreal){0};
  for (int64_t k = 0; k < p->taps; k++) {
    int64_t offset = p->offset[k * p->ld + x];
    if (is_outside(offset))
      continue;
    const char *src = p->src + offset + j * p->src_lane;
    const vreal weight = v_set1(weighted ? ((const REAL *)p->weight)[k * p->ld + x] : 1);
    CK_UNROLL
    for (int v = 0; v < vectors; v++) {
      vreal e = load_lanes(p, src + v * VL * p->src_lane, n - v * VL, adjacent);
      sum[v] = weighted ? v_add_product(sum[v], weight, e) : e;
    }
  }
  char *dst = p->dst + x * p->dst_pixel + j * p->dst_lane;
  CK_UNROLL
  for (int v = 0; v < vectors; v++)
    store_lanes(dst + v * VL * p->dst_lane, p->dst_lane, sum[v], n - v * VL, p->whole);
}

CK_INLINE void gather_lanes(const ck_lookup *p, const int weighted, const int adjacent) {
  const int64_t whole = p->lanes / VL * VL;
  for (int64_t x = 0; x < p->count; x++) {
    int64_t j = 0;
    for (; j + 4 * VL <= whole; j += 4 * VL)
      gather_at(p, x, j, 4 * VL, 4, weighted, adjacent);
    for (; j < whole; j += VL)
      gather_at(p, x, j, VL, 1, weighted, adjacent);
    if (j < p->lanes)
      gather_at(p, x, j, p->lanes - j, 1, weighted, adjacent);
  }
}

/* One tap of weight 1, lanes adjacent at both ends: bytes. */
CK_INLINE void gather_copies(const ck_lookup *p) {
  const int64_t bytes = p->lanes * (int64_t)sizeof(REAL);
  for (int64_t x = 0; x < p->count; x++) {
    char *dst = p->dst + x * p->dst_pixel;
    if (is_outside(p->offset[x]))
      memset(dst, 0, (size_t)bytes);
    else
      copy_bytes(dst, p->src + p->offset[x], bytes);
  }
}

static void CK_NAME(gather)(const ck_lookup *sample) {
  const ck_lookup own = *sample, *p = &own; /* out of reach of the stores, so that it stays in registers */
  const int adjacent = p->src_lane == sizeof(REAL);
  if (p->lanes > 1 && p->weight && adjacent)
    gather_lanes(p, 1, 1);
  else if (p->lanes > 1 && adjacent && p->dst_lane == sizeof(REAL))
    gather_copies(p);
  else if (p->lanes > 1)
    gather_lanes(p, p->weight != NULL, 0);
  else if (p->checked)
    gather_positions(p, 1);
  else
    gather_positions(p, 0);
}

/* ---------------------------------------------------------------- scatter */

/* n lanes of one position from src on, out of g. */
CK_INLINE void scatter_at(const ck_lookup *p, int64_t x, const char *from, char *src, int64_t n, const int weighted) {
  const vreal g = load_first(from, p->whole ? VL : n);
  for (int64_t k = 0; k < p->taps; k++) {
    int64_t offset = p->offset[k * p->ld + x];
    if (is_outside(offset))
      continue;
    vreal old = load_lanes(p, src + offset, n, 1);
    vreal sum = weighted ? v_add_product(old, v_set1(((const REAL *)p->weight)[k * p->ld + x]), g) : old + g;
    store_lanes(src + offset, sizeof(REAL), sum, n, p->whole);
  }
}

CK_INLINE void scatter_lanes(const ck_lookup *p, const int weighted) {
  const int64_t whole = p->lanes / VL * VL, size = sizeof(REAL);
  for (int64_t x = 0; x < p->count; x++) {
    const char *from = p->dst + x * p->dst_pixel;
    for (int64_t j = 0; j < whole; j += VL)
      scatter_at(p, x, from + j * size, p->src + j * size, VL, weighted);
    if (whole < p->lanes)
      scatter_at(p, x, from + whole * size, p->src + whole * size, p->lanes - whole, weighted);
  }
}

/* Lanes apart: their sums are chains of their own, so all of a position's go on at once. */
CK_INLINE void scatter_apart(const ck_lookup *p, const int weighted) {
  for (int64_t x = 0; x < p->count; x++) {
    const char *from = p->dst + x * p->dst_pixel;
    for (int64_t k = 0; k < p->taps; k++) {
      int64_t offset = p->offset[k * p->ld + x];
      if (is_outside(offset))
        continue;
      const REAL weight = weighted ? ((const REAL *)p->weight)[k * p->ld + x] : 1;
      char *src = p->src + offset;
      for (int64_t j = 0; j < p->lanes; j++) {
        const REAL g = *(const real_u *)(from + j * p->dst_lane);
        real_u *at = (real_u *)(src + j * p->src_lane);
        *at = weighted ? *at + weight * g : *at + g;
      }
    }
  }
}

static void CK_NAME(scatter)(const ck_lookup *sample) {
  const ck_lookup own = *sample, *p = &own;
  /* Fewer lanes than half a vector would be masked, which is slower than one by one (3.6 times at 3 of 16). */
  const int adjacent = p->lanes > VL / 2 && p->src_lane == sizeof(REAL) && p->dst_lane == sizeof(REAL);
  if (adjacent && p->weight)
    scatter_lanes(p, 1);
  else if (adjacent)
    scatter_lanes(p, 0);
  else if (p->weight)
    scatter_apart(p, 1);
  else
    scatter_apart(p, 0);
}

/* ---------------------------------------------------------------- blend */

/* The elements of some vectors, or the first n of one, from byte `at` of every row and `to` of the sum on. */
CK_INLINE void blend_at(const ck_blend *p, int64_t at, int64_t to, int64_t n, const int vectors) {
  vreal sum[4];
  CK_UNROLL
  for (int v = 0; v < vectors; v++)
    sum[v] = !p->add ? (vreal){0} : n >= VL ? v_loadu(p->dst + to + v * VBYTES) : load_part(p->dst + to, n);
  for (int64_t r = 0; r < p->rows; r++) {
    const char *row = p->row[r] + at;
    const vreal weight = v_set1((REAL)p->weight[r]);
    CK_UNROLL
    for (int v = 0; v < vectors; v++) {
      /* A row is short, and the next one lies after it: the machine by itself would start each anew (2.0 times). */
      __builtin_prefetch(row + v * VBYTES + AHEAD);
      sum[v] = v_add_product(sum[v], weight, n >= VL ? v_loadu(row + v * VBYTES) : load_part(row, n));
    }
  }
  CK_UNROLL
  for (int v = 0; v < vectors; v++) {
    if (n >= VL)
      v_storeu(p->dst + to + v * VBYTES, sum[v]);
    else
      store_part(p->dst + to, sum[v], n);
  }
}

/* n adjacent elements. */
CK_INLINE void blend_run(const ck_blend *p, int64_t at, int64_t to, int64_t n, int copy) {
  if (copy) {
    copy_bytes(p->dst + to, p->row[0] + at, n * (int64_t)sizeof(REAL));
    return;
  }
  for (; n >= 4 * VL; n -= 4 * VL, at += 4 * VBYTES, to += 4 * VBYTES)
    blend_at(p, at, to, VL, 4);
  for (; n >= VL; n -= VL, at += VBYTES, to += VBYTES)
    blend_at(p, at, to, VL, 1);
  if (n > 0)
    blend_at(p, at, to, n, 1);
}

/* Vectors of positions, lane by lane. */
CK_INLINE void blend_apart(const ck_blend *p, int copy) {
  for (int64_t j = 0; j < p->lanes; j++) {
    for (int64_t x = 0; x < p->count; x += VL) {
      const int64_t n = p->count - x, at = x * p->row_pixel + j * p->row_lane;
      char *dst = p->dst + x * p->dst_pixel + j * p->dst_lane;
      vreal sum = p->add ? elements_apart(dst, p->dst_pixel, n) : (vreal){0};
      for (int64_t r = 0; r < p->rows; r++) {
        vreal e = elements_apart(p->row[r] + at, p->row_pixel, n);
        sum = copy ? e : v_add_product(sum, v_set1((REAL)p->weight[r]), e);
      }
      store_lanes(dst, p->dst_pixel, sum, n, 0);
    }
  }
}

static void CK_NAME(blend)(const ck_blend *sums) {
  const ck_blend own = *sums, *p = &own;
  const int64_t size = sizeof(REAL), run = p->lanes * size;
  int copy = p->rows == 1 && !p->add && p->weight[0] == 1;
  int lanes = p->lanes == 1 || (p->dst_lane == size && (p->rows == 0 || p->row_lane == size));
  if (lanes && p->dst_pixel == run && (p->rows == 0 || p->row_pixel == run)) {
    blend_run(p, 0, 0, p->count * p->lanes, copy);
  } else if (lanes && p->lanes > 1) {
    for (int64_t x = 0; x < p->count; x++)
      blend_run(p, x * p->row_pixel, x * p->dst_pixel, p->lanes, copy);
  } else {
    blend_apart(p, copy);
  }
}

static void CK_NAME(narrow)(void *dst, const double *src, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    ((REAL *)dst)[i] = (REAL)src[i];
}

#endif
