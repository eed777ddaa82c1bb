/* Bilinear sampling (linear in 1-D, trilinear in 3-D) at deformed positions, and its gradients.
 *
 * Coordinates, corner places and corner weights are worked out once for each point; then lanes are channels, and a
 * point costs 2^nd vector loads.  Corner q takes the upper neighbour along axis d where bit nd-1-d of q is set.
 * Tables are [corner][point], so that they are filled a vector of points at a time. */
#ifndef CK_KERNELS_DEFORM_H
#define CK_KERNELS_DEFORM_H

#include "math.h"
#include "pack.h"

#if REAL_IS_FLOAT
#define REAL_FLOOR __builtin_floorf
#else
#define REAL_FLOOR __builtin_floor
#endif

static void CK_NAME(deform_locate)(ck_points *p) {
  for (int d = 0; d < p->nd; d++) {
    const REAL size = (REAL)p->size[d];
    REAL least = size, most = CK_OUTSIDE;
    for (int64_t t = 0; t < p->taps; t++) {
      const REAL *offset = (const REAL *)p->offset + (t * p->nd + d) * p->pixels;
      const int64_t tap = p->tap[d][t], *base = p->base[d];
      REAL *restrict low = (REAL *)p->low[d] + t * p->pixels;
      REAL *restrict fraction = (REAL *)p->fraction[d] + t * p->pixels;
      for (int64_t x = 0; x < p->pixels; x++) {
        REAL at = (REAL)(base[x] + tap) + offset[x];
        int inside = (at >= -1) & (at < size);
        REAL floor = REAL_FLOOR(inside ? at : 0);
        low[x] = inside ? floor : CK_OUTSIDE;
        fraction[x] = (inside | (at != at)) ? at - floor : 0;
      }
    }
    const REAL *low = p->low[d];
    vreal lowest = v_set1(least), highest = v_set1(most);
    int64_t x = 0;
    for (; x + VL <= p->taps * p->pixels; x += VL) {
      vreal v = v_load(low + x);
      lowest = v_select((v != CK_OUTSIDE) & (v < lowest), v, lowest);
      highest = v_select(v > highest, v, highest);
    }
    for (int j = 0; j < VL; j++) {
      least = lowest[j] < least ? lowest[j] : least;
      most = highest[j] > most ? highest[j] : most;
    }
    for (; x < p->taps * p->pixels; x++) {
      least = low[x] != CK_OUTSIDE && low[x] < least ? low[x] : least;
      most = low[x] > most ? low[x] : most;
    }
    p->least[d] = least < 0 ? 0 : (int64_t)least;
    p->most[d] = (int64_t)most + 1 < p->size[d] ? (int64_t)most + 1 : p->size[d] - 1;
    if (most == CK_OUTSIDE)
      p->most[d] = p->least[d] - 1; /* nothing is read */
  }
}

/* Corner q of one tap's points. The places count from first[], step[] apart, and fit 32 bits where the image is staged;
 * else none is looked at. */
CK_INLINE void corner_row(ck_points *p, const int nd, const int q, const int64_t first) {
  const int32_t nowhere = (int32_t)p->nowhere, *image = p->image;
  const uint32_t image_step = (uint32_t)p->image_step;
  int32_t *restrict at = p->at + q * p->taps * p->pixels + first;
  REAL *restrict weight = (REAL *)p->weight + q * p->taps * p->pixels + first;
  for (int64_t x = 0; x < p->pixels; x++) {
    REAL share = 1, poison = 0;                       /* NaN where a coordinate is NaN: what it samples must be, too */
    uint32_t place = (uint32_t)image[x] * image_step; /* wraps for a point outside, which is nowhere */
    int inside = 1;
    CK_UNROLL
    for (int d = 0; d < nd; d++) {
      const int upper = q >> (nd - 1 - d) & 1;
      const REAL fraction = ((const REAL *)p->fraction[d] + first)[x];
      const int64_t coordinate = (int64_t)((const REAL *)p->low[d] + first)[x] + upper; /* < 0 for a point outside */
      inside &= (coordinate >= 0) & (coordinate < p->size[d]);
      share *= upper ? fraction : 1 - fraction;
      poison += fraction * 0;
      place += (uint32_t)(coordinate - p->first[d]) * (uint32_t)p->step[d];
    }
    at[x] = inside ? (int32_t)place : nowhere;
    weight[x] = inside ? share : poison;
  }
}

CK_INLINE void corner_tables(ck_points *p, const int nd) {
  for (int q = 0; q < 1 << nd; q++)
    for (int64_t t = 0; t < p->taps; t++)
      corner_row(p, nd, q, t * p->pixels);
}

static void CK_NAME(deform_corners)(ck_points *p) {
  if (p->nd == 1)
    corner_tables(p, 1);
  else if (p->nd == 2)
    corner_tables(p, 2);
  else
    corner_tables(p, 3);
}

/* Where a corner lies in images that are not staged, or NULL outside of them. */
CK_INLINE char *place_of(const ck_view *view, const ck_points *p, int64_t e, int q) {
  char *at = view->data + p->image[e % p->pixels] * view->image_stride;
  for (int d = 0; d < p->nd; d++) {
    int64_t coordinate = (int64_t)((const REAL *)p->low[d])[e] + (q >> (p->nd - 1 - d) & 1);
    if (coordinate < 0 || coordinate >= p->size[d])
      return NULL;
    at += coordinate * view->stride[d];
  }
  return at;
}

/* Vector j of one corner's channels, lane by lane. Only this differs between an image that is staged and one that is
 * not, and it is out of line: the multiply-adds around it are the same, and so the bits. */
static __attribute__((noinline)) void CK_NAME(read_corner)(const ck_view *view, const ck_points *p, int64_t e, int q,
                                                           int j, REAL *to) {
  const char *at = place_of(view, p, e, q);
  for (int64_t i = 0; i < VL; i++)
    to[i] = at && i + j * VL < view->lanes ? *(const real_u *)(at + (j * VL + i) * view->lane_stride) : 0;
}

static __attribute__((noinline)) void CK_NAME(write_corner)(const ck_view *view, const ck_points *p, int64_t e, int q,
                                                            int j, const REAL *from) {
  char *at = place_of(view, p, e, q);
  for (int64_t i = 0; i < VL && i + j * VL < view->lanes && at; i++)
    *(real_u *)(at + (j * VL + i) * view->lane_stride) = from[i];
}

/* Vector j of one corner's channels. */
CK_INLINE vreal corner(const ck_view *view, const ck_points *p, int64_t e, int q, int j, const int in_place) {
  if (!in_place)
    return v_load((const REAL *)view->data + p->at[q * p->taps * p->pixels + e] + j * VL);
  REAL lanes[VL] __attribute__((aligned(VBYTES)));
  CK_NAME(read_corner)(view, p, e, q, j, lanes);
  return v_load(lanes);
}

CK_INLINE void add_corner(const ck_view *view, const ck_points *p, int64_t e, int q, int j, REAL share, vreal v,
                          const int in_place) {
  const vreal sum = v_add_product(corner(view, p, e, q, j, in_place), v_set1(share), v);
  if (!in_place) {
    v_store((REAL *)view->data + p->at[q * p->taps * p->pixels + e] + j * VL, sum);
    return;
  }
  REAL lanes[VL] __attribute__((aligned(VBYTES)));
  v_store(lanes, sum);
  CK_NAME(write_corner)(view, p, e, q, j, lanes);
}

/* Corners' places, and the vectors there, of an image that is staged; of one that is not, as above. What the loop reads
 * is named beforehand: a store might change the tables, and all of it would be read again for each point. */
CK_INLINE void sample_points(const ck_sample *s, const int nd, const int vectors, const int in_place) {
  const ck_points *p = s->points;
  const int64_t points = p->taps * p->pixels, count = s->pixels, step = s->pixel_step;
  const REAL *image = (const REAL *)s->image.data;
  for (int64_t t = s->tap; t < s->tap + s->taps; t++) {
    REAL *restrict out = (REAL *)s->out + (t - s->tap) * s->tap_step;
    const int64_t first = t * p->pixels + s->pixel;
    const REAL *mask = p->mask ? (const REAL *)p->mask + first : NULL, *weight = (const REAL *)p->weight + first;
    const int32_t *at = p->at + first;
    for (int64_t x = 0; x < count; x++, out += step) {
      vreal v[2];
      CK_UNROLL
      for (int i = 0; i < 1 << nd; i++) {
        const int q = i < 2 ? 1 - i : i; /* from the second corner on, whose product alone is rounded */
        const REAL share = weight[q * points + x];
        const REAL *from = in_place ? NULL : image + at[q * points + x];
        CK_UNROLL
        for (int j = 0; j < vectors; j++) {
          const vreal c = in_place ? corner(&s->image, p, first + x, q, j, 1) : v_load(from + j * VL);
          v[j] = i == 0 ? v_pinned(share * c) : v[j] + share * c;
        }
      }
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        v_storeu(out + j * VL, mask ? mask[x] * v[j] : v[j]);
    }
  }
}

CK_INLINE void sample_nd(const ck_sample *s, const int nd) {
  const int wide = s->image.lanes > VL;
  if (s->in_place && wide)
    sample_points(s, nd, 2, 1);
  else if (s->in_place)
    sample_points(s, nd, 1, 1);
  else if (wide)
    sample_points(s, nd, 2, 0);
  else
    sample_points(s, nd, 1, 0);
}

static void CK_NAME(sample)(const ck_sample *s) {
  if (s->points->nd == 1)
    sample_nd(s, 1);
  else if (s->points->nd == 2)
    sample_nd(s, 2);
  else
    sample_nd(s, 3);
}

/* sums[i] (+)= the lanes of dots[i], for count <= VL of them. Not inlined: all kinds share it. */
static __attribute__((noinline)) void CK_NAME(sum_lanes)(vreal *dots, REAL *sums, int64_t count, int add) {
  transpose(dots);
  CK_UNROLL
  for (int width = VL / 2; width > 0; width /= 2) {
    CK_UNROLL
    for (int j = 0; j < width; j++)
      dots[j] += dots[j + width];
  }
  char *to = (char *)sums;
  store_first(to, add ? load_first(to, count) + dots[0] : dots[0], count);
}

CK_INLINE void sample_points_back(const ck_sample_back *b, const int nd, const int vectors, const int in_place) {
  enum { DOTS = VL > 8 ? VL : 8 }; /* of a whole number of points */
  const ck_points *p = b->points;
  const int64_t points = p->taps * p->pixels, first = b->tap * p->pixels + b->pixel;
  const int corners = 1 << nd;
  REAL *sums = b->sums;
  vreal dots[DOTS];
  int filled = 0;
  for (int64_t x = 0; x < b->pixels; x++) {
    const int64_t e = first + x;
    const REAL *weight = (const REAL *)p->weight + e;
    vreal g[2], masked[2];
    CK_UNROLL
    for (int j = 0; j < vectors; j++) {
      g[j] = v_load((const REAL *)b->g + (x * vectors + j) * VL);
      masked[j] = p->mask ? ((const REAL *)p->mask)[e] * g[j] : g[j];
    }
    if (b->dx.data) {
      CK_UNROLL
      for (int q = 0; q < corners; q++) {
        CK_UNROLL
        for (int j = 0; j < vectors; j++)
          add_corner(&b->dx, p, e, q, j, weight[q * points], masked[j], in_place);
      }
    }
    if (!sums)
      continue;
    CK_UNROLL
    for (int q = 0; q < corners; q++) {
      const vreal c = corner(&b->image, p, e, q, 0, in_place);
      if (vectors == 2)
        dots[filled++] = v_add_product(v_pinned(g[1] * corner(&b->image, p, e, q, 1, in_place)), g[0], c);
      else
        dots[filled++] = g[0] * c;
    }
    if (filled < DOTS && x + 1 < b->pixels)
      continue;
    for (int i = filled; i < DOTS; i++)
      dots[i] = (vreal){0};
    for (int i = 0; i < filled; i += VL)
      CK_NAME(sum_lanes)(dots + i, sums + i, filled - i, b->add);
    sums += filled;
    filled = 0;
  }
}

CK_INLINE void sample_back_nd(const ck_sample_back *b, const int nd) {
  const int wide = b->lanes > VL;
  if (b->in_place && wide)
    sample_points_back(b, nd, 2, 1);
  else if (b->in_place)
    sample_points_back(b, nd, 1, 1);
  else if (wide)
    sample_points_back(b, nd, 2, 0);
  else
    sample_points_back(b, nd, 1, 0);
}

static void CK_NAME(sample_back)(const ck_sample_back *b) {
  if (b->points->nd == 1)
    sample_back_nd(b, 1);
  else if (b->points->nd == 2)
    sample_back_nd(b, 2);
  else
    sample_back_nd(b, 3);
}

CK_INLINE void slopes_of(const ck_points *p, int64_t tap, const REAL *sums, REAL *slopes, const int nd) {
  const int64_t first = tap * p->pixels;
  for (int64_t x = 0; x < p->pixels; x++) {
    const REAL *dot = sums + (x << nd), mask = p->mask ? ((const REAL *)p->mask)[first + x] : 1;
    REAL slope[3] = {0}, fraction[3], value = 0, poison = 0; /* NaN where a coordinate is */
    CK_UNROLL
    for (int d = 0; d < nd; d++) {
      fraction[d] = ((const REAL *)p->fraction[d])[first + x];
      poison += fraction[d] * 0;
    }
    CK_UNROLL
    for (int q = 0; q < 1 << nd; q++) {
      REAL part[3] = {dot[q], dot[q], dot[q]}, share = dot[q];
      CK_UNROLL
      for (int d = 0; d < nd; d++) {
        const int upper = q >> (nd - 1 - d) & 1;
        const REAL along = upper ? fraction[d] : 1 - fraction[d];
        share *= along;
        CK_UNROLL
        for (int i = 0; i < nd; i++)
          part[i] *= i != d ? along : upper ? 1 : -1;
      }
      value += share;
      CK_UNROLL
      for (int d = 0; d < nd; d++)
        slope[d] += part[d];
    }
    CK_UNROLL
    for (int d = 0; d < nd; d++)
      slopes[d * p->pixels + x] = mask * slope[d] + poison;
    slopes[nd * p->pixels + x] = value;
  }
}

static void CK_NAME(sample_slopes)(const ck_points *p, int64_t tap, const void *sums, void *slopes) {
  if (p->nd == 1)
    slopes_of(p, tap, sums, slopes, 1);
  else if (p->nd == 2)
    slopes_of(p, tap, sums, slopes, 2);
  else
    slopes_of(p, tap, sums, slopes, 3);
}

#endif
