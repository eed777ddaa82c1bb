/* The micro-kernel: one register tile, two orientations, and its lane-by-lane form for depthwise convolution.
 *
 * Every accumulator is one chain of multiply-adds from +0 in the order of k, so that tile shape, orientation, thread
 * count and (where there is a fused multiply-add) instruction set leave the bits alone.  A height is a compile-time
 * constant: the compiler keeps the whole tile in registers, and no height has an edge path. */
#ifndef CK_MICRO_H
#define CK_MICRO_H

#include "transpose.h"

/* Registers less the panel's vectors and a broadcast, over two vectors a row: 14 with 32 registers, 6 with 16. */
#define MAX_HEIGHT ((REGISTERS - 4) / 2)

CK_INLINE void add_tile(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS], REAL *c, int64_t ldc,
                        int accumulate) {
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++) {
      REAL *p = c + i * ldc + j * VL;
      v_storeu(p, accumulate ? v_loadu(p) + acc[i][j] : acc[i][j]);
    }
  }
}

CK_INLINE void clear_tile(int rows, int vectors, vreal (*acc)[CK_MAX_LANE_VECTORS]) {
  CK_UNROLL
  for (int i = 0; i < rows; i++) {
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      acc[i][j] = (vreal){0};
  }
}

CK_INLINE void rows_tile(int height, int vectors, int64_t k, const REAL *restrict s, const int32_t *restrict ko,
                         const int32_t *restrict ro, const REAL *restrict panel, REAL *restrict c, int accumulate) {
  vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
  int64_t row[CK_MAX_HEIGHT];
  clear_tile(height, vectors, acc);
  CK_UNROLL
  for (int i = 0; i < height; i++)
    row[i] = ro[i];
  for (int64_t q = 0; q < k; q++, panel += vectors * VL) {
    const REAL *at = s + ko[q];
    vreal b[2];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      b[j] = v_load(panel + j * VL);
    CK_UNROLL
    for (int i = 0; i < height; i++) {
      REAL a = at[row[i]];
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[i][j] += a * b[j];
    }
  }
  add_tile(height, vectors, acc, c, vectors * VL, accumulate);
}

CK_INLINE void depth_tile(int height, int64_t k, const REAL *restrict s, const int32_t *restrict ko,
                          const int32_t *restrict ro, const REAL *restrict panel, REAL *restrict c, int accumulate) {
  vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
  int64_t row[CK_MAX_HEIGHT];
  clear_tile(height, 1, acc);
  CK_UNROLL
  for (int i = 0; i < height; i++)
    row[i] = ro[i];
  for (int64_t q = 0; q < k; q++, panel += VL) {
    const REAL *at = s + ko[q];
    vreal b = v_load(panel);
    CK_UNROLL
    for (int i = 0; i < height; i++)
      acc[i][0] += v_load(at + row[i]) * b;
  }
  add_tile(height, 1, acc, c, VL, accumulate);
}

CK_INLINE void lanes_tile(int height, int vectors, int64_t k, const REAL *restrict s, const int32_t *restrict ko,
                          const REAL *restrict panel, REAL *restrict c, int64_t ldc, int64_t lanes, int accumulate) {
  vreal acc[CK_MAX_HEIGHT][CK_MAX_LANE_VECTORS];
  clear_tile(height, vectors, acc);
  for (int64_t q = 0; q < k; q++, panel += height) {
    const REAL *at = s + ko[q];
    vreal b[CK_MAX_LANE_VECTORS];
    CK_UNROLL
    for (int j = 0; j < vectors; j++)
      b[j] = v_loadu(at + j * VL);
    CK_UNROLL
    for (int i = 0; i < height; i++) {
      REAL a = panel[i];
      CK_UNROLL
      for (int j = 0; j < vectors; j++)
        acc[i][j] += a * b[j];
    }
  }
  if (lanes == vectors * VL) {
    add_tile(height, vectors, acc, c, ldc, accumulate);
    return;
  }
  for (int i = 0; i < height; i++) {
    for (int j = 0; j * VL < lanes; j++) {
      char *p = (char *)(c + i * ldc + j * VL);
      int64_t n = lanes - j * VL < VL ? lanes - j * VL : VL;
      vreal v = acc[i][j];
      store_part(p, accumulate ? load_part(p, n) + v : v, n);
    }
  }
}

static void CK_NAME(plain)(const ck_plain *p) {
  const REAL *s = p->s, *panel = p->panel;
  for (int64_t i = 0; i < p->height; i++) {
    for (int64_t j = 0; j < p->lanes; j++) {
      REAL sum = 0, *out = (REAL *)p->c + i * p->ldc + j;
      for (int64_t q = 0; q < p->k; q++) {
        int64_t at = p->ro[i] + p->ko[q] + j * p->s_lane;
        if (p->valid[at / p->position_stride % p->plane % p->positions])
          sum += s[at] * panel[q * p->ld + i * p->panel_row + j * p->panel_lane];
      }
      *out = p->accumulate ? *out + sum : sum;
    }
  }
}

/* One function for each height; LANE_VECTORS(h) is as many as the registers hold beside the tile. */
#define LANE_VECTORS(h)                                                                                                \
  ((REGISTERS - 1) / ((h) + 1) < CK_MAX_LANE_VECTORS ? (REGISTERS - 1) / ((h) + 1) : CK_MAX_LANE_VECTORS)
#define ROWS_ARGUMENTS                                                                                                 \
  int64_t k, const void *s, const int32_t *ko, const int32_t *ro, const void *panel, void *c, int accumulate
#define LANES_ARGUMENTS                                                                                                \
  int64_t k, const void *s, const int32_t *ko, const void *panel, void *c, int64_t ldc, int64_t lanes, int accumulate
#define HEIGHT(h)                                                                                                      \
  static void CK_NAME(rows_##h##x1)(ROWS_ARGUMENTS) { rows_tile(h, 1, k, s, ko, ro, panel, c, accumulate); }           \
  static void CK_NAME(rows_##h##x2)(ROWS_ARGUMENTS) { rows_tile(h, 2, k, s, ko, ro, panel, c, accumulate); }           \
  static void CK_NAME(depth_##h)(ROWS_ARGUMENTS) { depth_tile(h, k, s, ko, ro, panel, c, accumulate); }                \
  static void CK_NAME(lanes_##h)(LANES_ARGUMENTS) {                                                                    \
    lanes_tile(h, LANE_VECTORS(h), k, s, ko, panel, c, ldc, lanes, accumulate);                                        \
  }

#define FOR_EACH_HEIGHT_TO_6(X) X(1) X(2) X(3) X(4) X(5) X(6)
#if REGISTERS == 32
#define FOR_EACH_HEIGHT(X) FOR_EACH_HEIGHT_TO_6(X) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define FOR_EACH_HEIGHT(X) FOR_EACH_HEIGHT_TO_6(X)
#endif
FOR_EACH_HEIGHT(HEIGHT)

#endif
