/* grid_sample's own loops: from a grid's coordinates to offsets, weights and their derivatives, and the gradient of the
 * grid.  Reading and adding through the tables that result are resize.h's gather and scatter. */
#ifndef CK_KERNELS_GRID_H
#define CK_KERNELS_GRID_H

#include "math.h"
#include "resize.h"

#if REAL_IS_FLOAT
#define REAL_FMOD fmodf
#define WHOLE_FROM ((REAL)0x1p23) /* from here on every real is whole */
#else
#define REAL_FMOD fmod
#define WHOLE_FROM ((REAL)0x1p52)
#endif

/* What every coordinate is clamped to, so that it fits an integer. */
#define FARTHEST ((REAL)0x1p62)
#define CUBIC_A ((REAL) - 0.75)

enum { LOCATED = 256 }; /* positions located at once: a multiple of every vector */

/* ---------------------------------------------------------------- coordinates */

/* To the nearest whole number, halves to the even one. */
CK_INLINE vreal v_rint(vreal v) {
  vreal push = v_select(v < 0, v_set1(-WHOLE_FROM), v_set1(WHOLE_FROM));
  return v_select((v < WHOLE_FROM) & (v > -WHOLE_FROM), v + push - push, v);
}

CK_INLINE vreal v_floor(vreal v) {
  vreal near = v_rint(v);
  return v_select(near > v, near - 1, near);
}

/* Mirrored at the middle of the first and last element (align_corners) or at their outer edges, until it lies between;
 * every mirror turns the slope round. */
CK_INLINE vreal reflected(const ck_locate *p, vreal c, vreal *slope) {
  const REAL low = p->align_corners ? 0 : (REAL)-0.5;
  const REAL span = (REAL)(p->align_corners ? p->size - 1 : p->size), period = 2 * span;
  if (span == 0)
    return (vreal){0};
  vreal d = c - low;
  vmask before = d < 0;
  d = v_select(before, -d, d);
  for (int j = 0; j < VL; j++) {
    if (d[j] >= period)
      d[j] = REAL_FMOD(d[j], period);
  }
  vmask odd = d >= span;
  *slope = v_select(before ^ odd, -*slope, *slope);
  return v_select(odd, period - d, d) + low;
}

/* The coordinate in elements of a grid's -1..1, and its derivative. What is mirrored or moved to the border has passed
 * the first or last element: there, and on those elements themselves, the derivative is zero. */
CK_INLINE vreal coordinate(const ck_locate *p, vreal g, vreal *slope) {
  const REAL half = (REAL)(0.5 * (double)(p->align_corners ? p->size - 1 : p->size)), last = (REAL)(p->size - 1);
  vreal c = v_pinned((g + 1) * half); /* rounded, not fused with what follows */
  if (!p->align_corners)
    c = c - (REAL)0.5;
  c = v_select(c > -FARTHEST, c, v_set1(-FARTHEST)); /* a NaN too */
  c = v_select(c < FARTHEST, c, v_set1(FARTHEST));
  *slope = v_set1(half);
  if (p->sampling == CK_CUBIC || p->border == CK_BORDER_ZEROS)
    return c;
  if (p->border == CK_BORDER_REFLECTION)
    c = reflected(p, c, slope);
  *slope = v_select((c > 0) & (c < last), *slope, (vreal){0});
  c = v_select(c > 0, c, (vreal){0});
  return v_select(c < last, c, v_set1(last));
}

/* ---------------------------------------------------------------- taps */

/* Keys' cubic, in factors, so that a weight near zero is as exact as the others. */
CK_INLINE void cubic_weights(vreal t, vreal weight[4]) {
  vreal s = 1 - t;
  weight[0] = CUBIC_A * t * s * s;
  weight[1] = s * (1 + t - (CUBIC_A + 2) * t * t);
  weight[2] = t * (1 + s - (CUBIC_A + 2) * s * s);
  weight[3] = CUBIC_A * s * t * t;
}

CK_INLINE void cubic_slopes(vreal t, vreal slope[4]) {
  const vreal s = 1 - t, thrice = v_pinned(3 * t);
  const vreal sum = v_set1(-2 * (CUBIC_A + 3)), by = v_set1(3 * (CUBIC_A + 2));
  slope[0] = CUBIC_A * s * (1 - thrice);
  slope[1] = t * v_add_product(sum, by, t);
  slope[2] = -s * v_add_product(sum, by, s);
  slope[3] = CUBIC_A * t * (2 - thrice);
}

/* One vector of positions, whose fraction past the lower element is t. */
CK_INLINE void store_weights(const ck_locate *p, int64_t x, vreal t, vreal turn, const int taps) {
  vreal weight[4] = {1 - t, t}, slope[4] = {v_set1(-1), v_set1(1)};
  if (taps == 4) {
    cubic_weights(t, weight);
    cubic_slopes(t, slope);
  }
  CK_UNROLL
  for (int k = 0; k < taps; k++) {
    v_storeu((REAL *)p->weight + k * p->ld + x, weight[k]);
    if (p->slope)
      v_storeu((REAL *)p->slope + k * p->ld + x, slope[k] * turn);
  }
}

/* The element that a cubic's tap i reads; elsewhere coordinates are moved, and taps are not. */
CK_INLINE int64_t bordered(int64_t i, int64_t size, int border, int align_corners) {
  const int64_t last = size - 1, period = align_corners ? 2 * last : 2 * size;
  if (border == CK_BORDER_EDGE)
    return i < 0 ? 0 : i > last ? last : i;
  if (period == 0)
    return 0;
  i = (i >= 0 ? i : align_corners ? -i : -1 - i) % period;
  return i <= last ? i : align_corners ? period - i : period - 1 - i;
}

/* The offsets of tap k, and the least and greatest element of the image that any of them names. */
CK_INLINE void store_offsets(ck_locate *p, int64_t x, int64_t count, const REAL *lower, int64_t k) {
  const int64_t first = p->first, last = p->last, unit = p->unit, step = p->sampling == CK_CUBIC ? k - 1 : k;
  int64_t *offset = p->offset + k * p->ld + x, least = p->least, most = p->most;
  const int moved = p->sampling == CK_CUBIC && p->border != CK_BORDER_ZEROS;
  for (int64_t j = 0; j < count && moved; j++)
    offset[j] = bordered((int64_t)lower[j] + step, p->size, p->border, p->align_corners);
  /* Where coordinates are moved the last element may have been rounded up to one past it. */
  const int64_t edge = p->border == CK_BORDER_ZEROS ? INT64_MAX : p->size - 1;
  for (int64_t j = 0; j < count && !moved; j++)
    offset[j] = ((int64_t)lower[j] < edge ? (int64_t)lower[j] : edge) + step;
  for (int64_t j = 0; j < count; j++) { /* without branches: vectors */
    const int64_t i = offset[j], inside = -(int64_t)((i >= first) & (i < last));
    const int64_t low = (i & inside) | (INT64_MAX & ~inside), high = (i & inside) | ~inside;
    least = low < least ? low : least;
    most = high > most ? high : most;
    offset[j] = ((int64_t)((uint64_t)i * (uint64_t)unit) & inside) | (CK_NOWHERE & ~inside);
  }
  p->least = least;
  p->most = most;
}

static void CK_NAME(grid_locate)(ck_locate *p) {
  const int taps = p->sampling == CK_NEAREST ? 1 : p->sampling == CK_LINEAR ? 2 : 4;
  REAL lower[LOCATED];
  for (int64_t base = 0; base < p->count; base += LOCATED) {
    const int64_t count = p->count - base < LOCATED ? p->count - base : LOCATED;
    for (int64_t x = 0; x < count; x += VL) {
      const char *grid = p->grid + (base + x) * p->step;
      vreal g = elements_apart(grid, p->step, count - x), turn;
      vreal c = coordinate(p, g, &turn), at = taps == 1 ? v_rint(c) : v_floor(c);
      if (taps == 2)
        store_weights(p, base + x, c - at, turn, 2);
      else if (taps == 4)
        store_weights(p, base + x, c - at, turn, 4);
      v_storeu(lower + x, at);
    }
    for (int k = 0; k < taps; k++)
      store_offsets(p, base, count, lower, k);
  }
}

static void CK_NAME(multiply)(void *dst, const void *a, const void *b, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    ((REAL *)dst)[i] = ((const REAL *)a)[i] * ((const REAL *)b)[i];
}

/* ---------------------------------------------------------------- gradient of the grid */

CK_INLINE void add_slopes(const ck_lookup *p, const int axes, const REAL *slope, REAL *sum, const int adjacent) {
  const vmask used = lanes_below(p->lanes);
  for (int64_t x = 0; x < p->count; x++) {
    vreal e[3] = {{0}};
    for (int64_t k = 0; k < p->taps; k++) {
      int64_t offset = p->offset[k * p->ld + x];
      if (is_outside(offset))
        continue;
      vreal v = load_lanes(p, p->src + offset, p->lanes, adjacent);
      CK_UNROLL
      for (int a = 0; a < axes; a++)
        e[a] = v_add_product(e[a], v_set1(slope[(a * p->taps + k) * p->ld + x]), v);
    }
    vreal g = v_select(used, v_load((const REAL *)p->dst + x * VL), (vreal){0});
    CK_UNROLL
    for (int a = 0; a < axes; a++) {
      REAL *at = sum + (a * p->ld + x) * VL;
      v_store(at, v_add_product(v_load(at), g, v_select(used, e[a], (vreal){0})));
    }
  }
}

/* One lane: vectors of positions. */
CK_INLINE void add_plane_slopes(const ck_lookup *p, const int axes, const REAL *slope, REAL *sum) {
  for (int64_t x = 0; x < p->count; x += VL) {
    const int64_t n = p->count - x;
    vreal e[3] = {{0}}, g = elements_apart(p->dst + x * p->dst_pixel, p->dst_pixel, n);
    for (int64_t k = 0; k < p->taps; k++) {
      const int64_t at = k * p->ld + x;
      vreal v = n >= VL ? elements(p->src, p->offset + at, 1) : elements_part(p->src, p->offset + at, n);
      CK_UNROLL
      for (int a = 0; a < axes; a++)
        e[a] = v_add_product(e[a], load_first((const char *)(slope + a * p->taps * p->ld + at), n), v);
    }
    CK_UNROLL
    for (int a = 0; a < axes; a++) {
      REAL *to = sum + a * p->ld + x;
      store_lanes((char *)to, sizeof(REAL), v_add_product(load_first((const char *)to, n), g, e[a]), n, 0);
    }
  }
}

static void CK_NAME(grid_slopes)(const ck_lookup *sample, int axes, const void *slope, void *sum) {
  const ck_lookup own = *sample, *p = &own;
  const int adjacent = p->src_lane == sizeof(REAL);
  if (adjacent && axes == 2)
    add_slopes(p, 2, slope, sum, 1);
  else if (adjacent)
    add_slopes(p, 3, slope, sum, 1);
  else if (axes == 2)
    add_slopes(p, 2, slope, sum, 0);
  else
    add_slopes(p, 3, slope, sum, 0);
}

static void CK_NAME(grid_plane_slopes)(const ck_lookup *sample, int axes, const void *slope, void *sum) {
  const ck_lookup own = *sample, *p = &own;
  if (axes == 2)
    add_plane_slopes(p, 2, slope, sum);
  else
    add_plane_slopes(p, 3, slope, sum);
}

/* Lanes in order. */
static void CK_NAME(grid_lane_sums)(const void *sum, int64_t lanes, int64_t count, char *dst, int64_t step) {
  const REAL *from = sum;
  for (int64_t x = 0; x < count; x++) {
    REAL total = 0;
    for (int64_t j = 0; j < lanes; j++)
      total += from[x * lanes + j];
    *(real_u *)(dst + x * step) = total;
  }
}

#endif
