/* Pooling: sums over whole planes. */
#ifndef CK_POOL_WHOLE_KERNEL_H
#define CK_POOL_WHOLE_KERNEL_H

#include "pool.h"

#define PARTIAL_VECTORS (CK_POOL_PARTIALS / VL)

static void CK_NAME(pool_planes)(void *partial, const char *src, int64_t plane_step, int64_t planes, int64_t count,
                                 const char *end) {
  const int64_t size = sizeof(REAL);
  REAL *sums = partial;
  for (int64_t q = 0; q < planes; q++, src += plane_step, sums += CK_POOL_PARTIALS) {
    vreal v[PARTIAL_VECTORS];
    int64_t p = 0;
    CK_UNROLL
    for (int b = 0; b < PARTIAL_VECTORS; b++)
      v[b] = v_load(sums + b * VL);
    for (; p + CK_POOL_PARTIALS <= count; p += CK_POOL_PARTIALS) {
      CK_UNROLL
      for (int b = 0; b < PARTIAL_VECTORS; b++)
        v[b] += v_loadu(src + p * size + b * VBYTES);
    }
    CK_UNROLL
    for (int b = 0; b < PARTIAL_VECTORS; b++) {
      int64_t left = count - p - b * VL;
      if (left > 0)
        v[b] += v_select(lanes_below(left), load_upto(src + p * size + b * VBYTES, left, end), (vreal){0});
      v_store(sums + b * VL, v[b]);
    }
  }
}

/* Sums stay in memory: all lanes of a position are read together, which is what the machine's prefetching follows. */
static void CK_NAME(pool_lane_planes)(void *partial, const char *src, int64_t step, int64_t count, int64_t phase,
                                      int64_t lanes, const char *end) {
  enum { NEXT = CK_POOL_PARTIALS * VL };
  const int64_t whole = lanes / VL;
  for (int64_t p = 0; p < count; p++, src += step) {
    REAL *sum = (REAL *)partial + (phase + p) % CK_POOL_PARTIALS * VL;
    for (int64_t v = 0; v < whole; v++)
      v_store(sum + v * NEXT, v_load(sum + v * NEXT) + v_loadu(src + v * VBYTES));
    if (lanes % VL) {
      sum += whole * NEXT;
      v_store(sum, v_load(sum) + load_upto(src + whole * VBYTES, lanes % VL, end));
    }
  }
}

static void CK_NAME(pool_whole)(void *average, const void *partial, int lanes, double count) {
  const REAL *sums = partial;
  vreal v[CK_POOL_PARTIALS];
  for (int j = 0; lanes && j < CK_POOL_PARTIALS; j++)
    v[j] = v_load(sums + j * VL);
  for (int b = 0; !lanes && b < PARTIAL_VECTORS; b++) {
    CK_UNROLL
    for (int q = 0; q < VL; q++)
      v[b * VL + q] = v_load(sums + q * CK_POOL_PARTIALS + b * VL);
    transpose(v + b * VL);
  }
  CK_UNROLL
  for (int half = CK_POOL_PARTIALS / 2; half > 0; half /= 2) {
    CK_UNROLL
    for (int j = 0; j < half; j++)
      v[j] += v[j + half];
  }
  v_store(average, v[0] / (REAL)count);
}

#endif
