/* What one line of outputs adds to a row of taps of the gradient of depthwise weights, of channels that are neighbours
 * in memory: see ck_weight_line.
 *
 * Lanes are channels. Each tap's sums are a chain; those of up to three taps and four vectors are in registers while
 * the line runs by, so that a vector of the gradient serves three products, and no product waits for the one before. */
#ifndef CK_WEIGHT_LINE_KERNELS_H
#define CK_WEIGHT_LINE_KERNELS_H

#include "ahead.h"
#include "math.h"

enum { BESIDE_TAPS = 3, BESIDE_VECTORS = 4 };

CK_INLINE void weight_tile(const ck_weight_line *p, int64_t beside, int64_t column, int64_t columns, int64_t tap,
                           int taps, int vectors) {
  vreal acc[BESIDE_TAPS * BESIDE_VECTORS];
  REAL *chain = (REAL *)p->chain + beside * p->chain_apart + tap * VL;
  const char *g = p->g + column * p->g_step + beside * VBYTES;
  const char *x = p->x + column * p->x_step + tap * p->apart + beside * VBYTES;
  const int64_t g_step = p->g_step, x_step = p->x_step, apart = p->apart;
  CK_UNROLL
  for (int v = 0; v < vectors; v++)
    CK_UNROLL
  for (int t = 0; t < taps; t++)
    acc[v * BESIDE_TAPS + t] = v_load(chain + v * p->chain_apart + t * VL);
  for (int64_t i = 0; i < columns; i++, g += g_step, x += x_step) {
    CK_UNROLL
    for (int v = 0; v < vectors; v++) {
      const vreal gradient = v_loadu(g + v * VBYTES);
      CK_UNROLL
      for (int t = 0; t < taps; t++)
        acc[v * BESIDE_TAPS + t] += gradient * v_loadu(x + t * apart + v * VBYTES);
    }
  }
  CK_UNROLL
  for (int v = 0; v < vectors; v++)
    CK_UNROLL
  for (int t = 0; t < taps; t++)
    v_store(chain + v * p->chain_apart + t * VL, acc[v * BESIDE_TAPS + t]);
}

#define FOR_EACH_BESIDE(X)                                                                                             \
  X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(3, 1) X(3, 2) X(3, 3) X(3, 4)
#define WEIGHT_TILE(taps, vectors)                                                                                     \
  static __attribute__((noinline)) void CK_NAME(weight_tile_##taps##x##vectors)(                                       \
      const ck_weight_line *p, int64_t beside, int64_t column, int64_t columns, int64_t tap) {                         \
    weight_tile(p, beside, column, columns, tap, taps, vectors);                                                       \
  }
FOR_EACH_BESIDE(WEIGHT_TILE)
#define WEIGHT_TILE_ENTRY(taps, vectors) [taps][vectors] = CK_NAME(weight_tile_##taps##x##vectors),

/* Columns from `column` on, of taps first..end-1. */
static void CK_NAME(weight_columns)(const ck_weight_line *p, int64_t column, int64_t columns, int64_t first,
                                    int64_t end) {
  static void (*const tiles[BESIDE_TAPS + 1][BESIDE_VECTORS + 1])(const ck_weight_line *, int64_t, int64_t, int64_t,
                                                                  int64_t) = {FOR_EACH_BESIDE(WEIGHT_TILE_ENTRY)};
  for (int64_t v = 0, vectors; v < p->vectors; v += vectors) {
    vectors = p->vectors - v < BESIDE_VECTORS ? p->vectors - v : BESIDE_VECTORS;
    for (int64_t t = first, taps; t < end; t += taps) {
      taps = end - t < BESIDE_TAPS ? end - t : BESIDE_TAPS;
      tiles[taps][vectors](p, v, column, columns, t);
    }
    if (p->ahead) {
      CK_NAME(fetch_ahead)(p->ahead, columns * vectors);
      CK_NAME(fetch_ahead)(p->ahead + 1, columns * vectors);
    }
  }
}

static void CK_NAME(weight_line)(const ck_weight_line *p) {
  const int64_t (*taken)[2] = p->taken;
  for (int64_t column = 0, columns; column < p->columns; column += columns) {
    columns = 1;
    if (column < p->inner || column >= p->inner_end) {
      CK_NAME(weight_columns)(p, column, 1, (*taken)[0], (*taken)[1]);
      taken++;
    } else {
      columns = p->inner_end - column;
      CK_NAME(weight_columns)(p, column, columns, 0, p->taps);
    }
  }
}

#endif
