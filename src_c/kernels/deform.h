/* Bilinear sampling (linear in 1-D, trilinear in 3-D) at deformed positions, and its gradients.
 *
 * Coordinates, corner places and corner weights are worked out once for each point; then lanes are channels, and a
 * point costs 2^nd vector loads.  Corner q takes the upper neighbour along axis d where bit nd-1-d of q is set. */
#ifndef CK_KERNELS_DEFORM_H
#define CK_KERNELS_DEFORM_H

#include "pack.h"

#if REAL_IS_FLOAT
#define REAL_FLOOR __builtin_floorf
#else
#define REAL_FLOOR __builtin_floor
#endif

static void CK_NAME(locate)(ck_points *p) {
  for (int d = 0; d < p->nd; d++) {
    const REAL size = (REAL)p->size[d];
    int64_t least = p->size[d], most = -1;
    for (int64_t t = 0; t < p->taps; t++) {
      const REAL *offset = (const REAL *)p->offset + (t * p->nd + d) * p->pixels;
      const int64_t tap = p->tap[d][t], *base = p->base[d];
      int64_t *low = p->low[d] + t * p->pixels;
      REAL *fraction = (REAL *)p->fraction[d] + t * p->pixels;
      for (int64_t x = 0; x < p->pixels; x++) {
        REAL at = (REAL)(base[x] + tap) + offset[x];
        int inside = at >= -1 && at < size;
        REAL floor = REAL_FLOOR(inside ? at : 0);
        low[x] = inside ? (int64_t)floor : CK_OUTSIDE;
        fraction[x] = inside || at != at ? at - floor : 0;
        least = inside && (int64_t)floor < least ? (int64_t)floor : least;
        most = inside && (int64_t)floor > most ? (int64_t)floor : most;
      }
    }
    p->least[d] = least < 0 ? 0 : least;
    p->most[d] = most + 1 < p->size[d] ? most + 1 : p->size[d] - 1;
    if (most < -1 || least == p->size[d])
      p->most[d] = p->least[d] - 1; /* nothing is read */
  }
}

CK_INLINE void corner_tables(ck_points *p, const int nd) {
  const int64_t points = p->taps * p->pixels;
  for (int64_t e = 0; e < points; e++) {
    const REAL mask = p->mask ? ((const REAL *)p->mask)[e] : 1;
    REAL poison = 0; /* NaN where a coordinate is NaN: what it samples must be, too */
    for (int d = 0; d < nd; d++)
      poison += ((const REAL *)p->fraction[d])[e] * 0;
    CK_UNROLL
    for (int q = 0; q < 1 << nd; q++) {
      REAL weight = mask;
      int64_t at = 0, inside = 1;
      CK_UNROLL
      for (int d = 0; d < nd; d++) {
        const int upper = q >> (nd - 1 - d) & 1;
        const int64_t low = p->low[d][e], coordinate = low + upper;
        const REAL fraction = ((const REAL *)p->fraction[d])[e];
        inside &= low != CK_OUTSIDE && coordinate >= 0 && coordinate < p->size[d];
        weight *= upper ? fraction : 1 - fraction;
        at += (coordinate - p->first[d]) * p->step[d];
      }
      p->at[e * (1 << nd) + q] = inside ? at : p->nowhere;
      ((REAL *)p->weight)[e * (1 << nd) + q] = inside ? weight : poison;
    }
  }
}

static void CK_NAME(corners)(ck_points *p) {
  if (p->nd == 1)
    corner_tables(p, 1);
  else if (p->nd == 2)
    corner_tables(p, 2);
  else
    corner_tables(p, 3);
}

/* One corner's channels. */
CK_INLINE vreal corner(const char *image, int64_t at, int in_place, int64_t lanes, int64_t lane_stride) {
  if (!in_place)
    return v_load(image + at * (int64_t)sizeof(REAL));
  union {
    vreal v;
    REAL e[VL];
  } u = {{0}};
  for (int64_t j = 0; j < lanes && at >= 0; j++)
    u.e[j] = *(const real_u *)(image + at + j * lane_stride);
  return u.v;
}

CK_INLINE void sample_points(const ck_sample *s, const int nd, const int in_place) {
  const ck_points *p = s->points;
  const int64_t *at = p->at;
  const REAL *weight = p->weight;
  for (int64_t t = 0; t < p->taps; t++) {
    REAL *out = (REAL *)s->out + t * s->tap_step;
    for (int64_t x = 0; x < p->pixels; x++, out += s->pixel_step, at += 1 << nd, weight += 1 << nd) {
      vreal v = weight[0] * corner(s->image, at[0], in_place, s->lanes, s->lane_stride);
      CK_UNROLL
      for (int q = 1; q < 1 << nd; q++)
        v += weight[q] * corner(s->image, at[q], in_place, s->lanes, s->lane_stride);
      v_storeu(out, v);
    }
  }
}

static void CK_NAME(sample)(const ck_sample *s) {
  const int nd = s->points->nd;
  if (s->in_place)
    sample_points(s, nd, 1);
  else if (nd == 1)
    sample_points(s, 1, 0);
  else if (nd == 2)
    sample_points(s, 2, 0);
  else
    sample_points(s, 3, 0);
}

CK_INLINE REAL sum_lanes(vreal v) {
  union {
    vreal v;
    REAL e[VL];
  } u = {v};
  for (int width = VL / 2; width > 0; width /= 2)
    for (int j = 0; j < width; j++)
      u.e[j] += u.e[j + width];
  return u.e[0];
}

CK_INLINE void add_corner(const ck_sample_back *b, int64_t at, vreal v, int in_place) {
  if (!in_place) {
    char *to = b->dx + at * (int64_t)sizeof(REAL);
    v_store(to, v_load(to) + v);
    return;
  }
  for (int64_t j = 0; j < b->lanes && at >= 0; j++)
    *(real_u *)(b->dx + at + j * b->dx_lane_stride) += v[j];
}

CK_INLINE void sample_points_back(const ck_sample_back *b, const int nd, const int in_place) {
  const ck_points *p = b->points;
  const int64_t points = p->taps * p->pixels, corners = 1 << nd;
  for (int64_t e = 0; e < points; e++) {
    const vreal g = v_load((const REAL *)b->g + e * VL);
    const REAL mask = p->mask ? ((const REAL *)p->mask)[e] : 1;
    REAL high[3] = {0}, low[3] = {0}, poison = 0; /* NaN where a coordinate is */
    vreal value = {0}, slope[3] = {{0}, {0}, {0}};
    CK_UNROLL
    for (int d = 0; d < nd; d++) {
      high[d] = ((const REAL *)p->fraction[d])[e];
      low[d] = 1 - high[d];
      poison += high[d] * 0;
    }
    for (int q = 0; b->dx && q < corners; q++)
      add_corner(b, (b->dx_at ? b->dx_at : p->at)[e * corners + q], ((const REAL *)p->weight)[e * corners + q] * g,
                 in_place);
    if (!b->partial)
      continue;
    CK_UNROLL
    for (int q = 0; q < 1 << nd; q++) {
      vreal x = corner(b->image, p->at[e * corners + q], in_place, b->lanes, b->lane_stride);
      REAL weight = 1;
      CK_UNROLL
      for (int d = 0; d < nd; d++) {
        REAL others = q >> (nd - 1 - d) & 1 ? 1 : -1;
        weight *= q >> (nd - 1 - d) & 1 ? high[d] : low[d];
        CK_UNROLL
        for (int i = 0; i < nd; i++)
          others *= i == d ? 1 : q >> (nd - 1 - i) & 1 ? high[i] : low[i];
        slope[d] += others * x;
      }
      value += weight * x;
    }
    CK_UNROLL
    for (int d = 0; d < nd; d++)
      ((REAL *)b->partial)[d * points + e] = mask * sum_lanes(g * slope[d]) + poison;
    ((REAL *)b->partial)[nd * points + e] = sum_lanes(g * value);
  }
}

static void CK_NAME(sample_back)(const ck_sample_back *b) {
  const int nd = b->points->nd;
  if (b->in_place)
    sample_points_back(b, nd, 1);
  else if (nd == 1)
    sample_points_back(b, 1, 0);
  else if (nd == 2)
    sample_points_back(b, 2, 0);
  else
    sample_points_back(b, 3, 0);
}

#endif
