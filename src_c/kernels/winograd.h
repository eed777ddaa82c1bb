/* Winograd's minimal filtering F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016), a vector of channels at a time: 16
 * outputs of a 3x3 kernel out of 36 products instead of 144; and F(3x3, 4x4), the gradient of the weight, whose steps
 * but for the data's are the adjoints of those.
 *
 * Interpolation points 0, 1, -1, 2, -2 and infinity; each step is a multiply-add. */
#ifndef CK_WINOGRAD_KERNELS_H
#define CK_WINOGRAD_KERNELS_H

#include "pack.h"

CK_INLINE vreal times_add(REAL a, vreal b, vreal c) { return a * b + c; }

/* B'd of six elements. */
CK_INLINE void winograd_data(const vreal *d, vreal *out, int out_step) {
  const vreal d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5];
  const vreal even = times_add(-4, d2, d4), odd = times_add(-4, d1, d3), near = d4 - d2, far = d3 - d1;
  out[0] = times_add(4, d0, times_add(-5, d2, d4));
  out[out_step] = even + odd;
  out[2 * out_step] = even - odd;
  out[3 * out_step] = times_add(2, far, near);
  out[4 * out_step] = times_add(-2, far, near);
  out[5 * out_step] = times_add(4, d1, times_add(-5, d3, d5));
}

/* Gg of three weights. */
CK_INLINE void winograd_weights(const vreal *g, vreal *out, int out_step) {
  const vreal g0 = g[0], g1 = g[1], g2 = g[2];
  const vreal ends = g0 + g2, far = times_add(4, g2, g0), twice = g1 + g1;
  out[0] = g0 * (REAL)0.25;
  out[out_step] = (ends + g1) * (REAL)(-1.0 / 6);
  out[2 * out_step] = (ends - g1) * (REAL)(-1.0 / 6);
  out[3 * out_step] = (far + twice) * (REAL)(1.0 / 24);
  out[4 * out_step] = (far - twice) * (REAL)(1.0 / 24);
  out[5 * out_step] = g2;
}

/* A'm of six sums. */
CK_INLINE void winograd_sums(const vreal *m, vreal *out, int out_step) {
  const vreal near = m[1] + m[2], odd = m[1] - m[2];
  const vreal far = m[3] + m[4], far_odd = m[3] - m[4];
  out[0] = m[0] + (near + far);
  out[out_step] = times_add(2, far_odd, odd);
  out[2 * out_step] = times_add(4, far, near);
  out[3 * out_step] = times_add(8, far_odd, odd) + m[5];
}

/* Am of four gradients: the adjoint of winograd_sums. */
CK_INLINE void winograd_spread(const vreal *g, vreal *out, int out_step) {
  const vreal g0 = g[0], g1 = g[1], g2 = g[2], g3 = g[3];
  const vreal even = g0 + g2, odd = g1 + g3, far = times_add(4, g2, g0), far_odd = times_add(4, g3, g1);
  out[0] = g0;
  out[out_step] = even + odd;
  out[2 * out_step] = even - odd;
  out[3 * out_step] = times_add(2, far_odd, far);
  out[4 * out_step] = times_add(-2, far_odd, far);
  out[5 * out_step] = g3;
}

/* G'm of six sums: the adjoint of winograd_weights. */
CK_INLINE void winograd_gather(const vreal *m, vreal *out, int out_step) {
  const vreal near = m[1] + m[2], odd = m[1] - m[2];
  const vreal far = m[3] + m[4], far_odd = m[3] - m[4];
  out[0] = times_add((REAL)0.25, m[0], times_add((REAL)(1.0 / 24), far, v_pinned(near * (REAL)(-1.0 / 6))));
  out[out_step] = times_add((REAL)(1.0 / 12), far_odd, v_pinned(odd * (REAL)(-1.0 / 6)));
  out[2 * out_step] = times_add((REAL)(1.0 / 6), far - near, m[5]);
}

static void CK_NAME(winograd_in)(const ck_winograd_tiles *p) {
  const REAL *from = p->from;
  REAL *to = p->to;
  for (int64_t t = 0; t < p->tiles; t++, from += 4 * VL, to += p->to_tile) {
    vreal column[36], row[6], out[6];
    CK_UNROLL
    for (int x = 0; x < 6; x++) {
      CK_UNROLL
      for (int y = 0; y < 6; y++)
        row[y] = v_load(from + y * p->from_row + x * VL);
      winograd_data(row, column + x, 6);
    }
    CK_UNROLL
    for (int y = 0; y < 6; y++) {
      winograd_data(column + 6 * y, out, 1);
      CK_UNROLL
      for (int x = 0; x < 6; x++)
        v_storeu(to + (6 * y + x) * p->to_point, out[x]);
    }
  }
}

/* 4x4 gradients of each tile, their 36 points. */
static void CK_NAME(winograd_grad)(const ck_winograd_tiles *p) {
  const REAL *from = p->from;
  REAL *to = p->to;
  for (int64_t t = 0; t < p->tiles; t++, from += 4 * VL, to += p->to_tile) {
    vreal column[24], row[4], out[6];
    CK_UNROLL
    for (int x = 0; x < 4; x++) {
      CK_UNROLL
      for (int y = 0; y < 4; y++)
        row[y] = v_load(from + y * p->from_row + x * VL);
      winograd_spread(row, column + x, 4);
    }
    CK_UNROLL
    for (int y = 0; y < 6; y++) {
      winograd_spread(column + 4 * y, out, 1);
      CK_UNROLL
      for (int x = 0; x < 6; x++)
        v_storeu(to + (6 * y + x) * p->to_point, out[x]);
    }
  }
}

/* Nine gradients of weights out of their points' sums, added to what is there. Returns whether any is not finite. */
static int CK_NAME(winograd_taps)(const ck_winograd_taps *p) {
  vreal seen = {0};
  for (int64_t r = 0; r < p->rows; r++) {
    for (int64_t j = 0; j < p->ld; j += VL) {
      const REAL *from = (const REAL *)p->from + r * p->ld + j;
      REAL *to = (REAL *)p->to + r * p->to_row + j;
      vreal column[18], m[6], out[3];
      CK_UNROLL
      for (int x = 0; x < 6; x++) {
        CK_UNROLL
        for (int y = 0; y < 6; y++)
          m[y] = v_load(from + (6 * y + x) * p->from_point);
        winograd_gather(m, column + x, 6);
      }
      CK_UNROLL
      for (int y = 0; y < 3; y++) {
        winograd_gather(column + 6 * y, out, 1);
        CK_UNROLL
        for (int x = 0; x < 3; x++) {
          REAL *at = to + (3 * y + x) * p->ld;
          const vreal sum = v_load(at) + out[x];
          seen = note_nonfinite(seen, sum);
          v_store(at, sum);
        }
      }
    }
  }
  return any_nonfinite(seen);
}

/* Of each channel's nine weights, [tap][ld] in scratch, their 36 points. */
static void CK_NAME(winograd_panel)(const ck_winograd_weights *p) {
  const int64_t ld = p->ld, point = p->to_point;
  const int64_t across = p->flip_x ? -ld : ld, down = p->flip_y ? -3 * ld : 3 * ld;
  const REAL *first = (const REAL *)p->from + (p->flip_x ? 2 * ld : 0) + (p->flip_y ? 6 * ld : 0);
  REAL *to = p->to;
  for (int64_t c = 0; c < p->channels; c++, first += 9 * ld, to += ld) {
    for (int64_t j = 0; j < ld; j += VL) {
      const REAL *from = first + j;
      REAL *at = to + j;
      vreal column[18], out[6];
      CK_UNROLL
      for (int x = 0; x < 3; x++, from += across) {
        for (int y = 0; y < 3; y++)
          __builtin_prefetch(from + y * down + 36 * ld);
        const vreal g[3] = {v_load(from), v_load(from + down), v_load(from + 2 * down)};
        winograd_weights(g, column + x, 3);
      }
      CK_UNROLL
      for (int y = 0; y < 6; y++, at += 6 * point) {
        winograd_weights(column + 3 * y, out, 1);
        CK_UNROLL
        for (int x = 0; x < 6; x++)
          v_store(at + x * point, out[x]);
      }
    }
  }
}

/* One vector of lanes of a row of tiles: 4 rows of outputs. Returns whether any is not finite. */
static int CK_NAME(winograd_out)(const ck_winograd_tiles *p) {
  const REAL *from = p->from;
  REAL *to = p->to;
  vreal seen = {0};
  for (int64_t t = 0; t < p->tiles; t++, from += p->from_tile, to += 4 * VL) {
    vreal column[24], m[6], out[4];
    CK_UNROLL
    for (int x = 0; x < 6; x++) {
      CK_UNROLL
      for (int y = 0; y < 6; y++)
        m[y] = v_load(from + (6 * y + x) * p->from_point);
      winograd_sums(m, column + x, 6);
    }
    CK_UNROLL
    for (int y = 0; y < 4; y++) {
      winograd_sums(column + 6 * y, out, 1);
      CK_UNROLL
      for (int x = 0; x < 4; x++) {
        seen = note_nonfinite(seen, out[x]);
        v_store(to + y * p->to_row + x * VL, out[x]);
      }
    }
  }
  return any_nonfinite(seen);
}

#endif
