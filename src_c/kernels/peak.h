/* The loops that machine_peak() and ck_fma_per_cycle() time.  The table takes them as CK_PEAK_KERNELS. */
#ifndef CK_KERNELS_PEAK_H
#define CK_KERNELS_PEAK_H

#include "base/dispatch.h"
#include "vector.h"

/* Enough independent chains to fill two pipes of latency 4 to 6; the rest of the registers hold the two constants. */
#define CHAINS (REGISTERS == 32 ? 24 : 12)

/* a <- a*m + s settles at 1 from any start: never infinite, never subnormal.  The chains start from memory that the
 * compiler knows nothing of, or it would see that they are all the same. */
static void CK_NAME(fma_burst)(int64_t iterations, void *sink) {
  const vreal m = v_set1((REAL)0.9990234375), s = v_set1((REAL)0.0009765625);
  vreal a[CHAINS];
  CK_UNROLL
  for (int i = 0; i < CHAINS; i++)
    a[i] = v_load((vreal *)sink + i);
  for (int64_t n = 0; n < iterations; n++) {
    CK_UNROLL
    for (int i = 0; i < CHAINS; i++)
      a[i] = a[i] * m + s;
  }
  CK_UNROLL
  for (int i = 0; i < CHAINS; i++)
    v_store((vreal *)sink + i, a[i]);
}

/* As many multiply-adds, one after the other. */
static void CK_NAME(fma_chain)(int64_t iterations, void *sink) {
  const vreal m = v_set1((REAL)0.9990234375), s = v_set1((REAL)0.0009765625);
  vreal a = v_load((vreal *)sink);
  for (int64_t n = 0; n < iterations; n++) {
    CK_UNROLL
    for (int i = 0; i < CHAINS; i++)
      a = a * m + s;
  }
  v_store((vreal *)sink, a);
}

static void CK_NAME(triad)(void *restrict a, const void *restrict b, const void *restrict c, int64_t bytes) {
  const vreal s = v_set1((REAL)0.5);
  for (int64_t i = 0; i < bytes / VBYTES; i++)
    v_store((vreal *)a + i, v_load((const vreal *)b + i) + s * v_load((const vreal *)c + i));
}

#define CK_PEAK_KERNELS                                                                                                \
  {.fma = CK_NAME(fma_burst), .fma_chain = CK_NAME(fma_chain), .fma_flops = 2 * CHAINS * VL, .triad = CK_NAME(triad)}

#endif
