/* Activations, fused into the store, and their derivatives in terms of the output.  NaN passes through all of them. */
#ifndef CK_ACTIVATION_H
#define CK_ACTIVATION_H

#include <math.h>

#include "vector.h"

#if REAL_IS_FLOAT
typedef int32_t vmask __attribute__((vector_size(VBYTES)));
#define REAL_EXP expf
#define REAL_TANH tanhf
#else
typedef int64_t vmask __attribute__((vector_size(VBYTES)));
#define REAL_EXP exp
#define REAL_TANH tanh
#endif

CK_INLINE vreal v_select(vmask where, vreal yes, vreal no) {
  return (vreal)((where & (vmask)yes) | (~where & (vmask)no));
}

CK_INLINE vreal activate(vreal v, int kind, REAL a, REAL b) {
  switch (kind) {
  case CK_RELU:
    return v_select(v < 0, (vreal){0}, v);
  case CK_LEAKY_RELU:
    return v_select(v < 0, v * a, v);
  case CK_CLIP:
    v = v_select(v < a, v_set1(a), v);
    return v_select(v > b, v_set1(b), v);
  case CK_SIGMOID:
    for (int i = 0; i < VL; i++)
      v[i] = 1 / (1 + REAL_EXP(-v[i]));
    return v;
  case CK_TANH:
    for (int i = 0; i < VL; i++)
      v[i] = REAL_TANH(v[i]);
    return v;
  default:
    return v;
  }
}

CK_INLINE vreal activation_gradient(vreal g, vreal y, int kind, REAL a, REAL b) {
  switch (kind) {
  case CK_RELU:
    return v_select(y > 0, g, (vreal){0});
  case CK_LEAKY_RELU:
    return v_select(y > 0, g, g * a);
  case CK_CLIP:
    return v_select((y > a) & (y < b), g, (vreal){0});
  case CK_SIGMOID:
    return g * (y * (1 - y));
  case CK_TANH:
    return g * (1 - y * y);
  default:
    return g;
  }
}

static void CK_NAME(activation_gradient)(void *g, const void *y, int64_t count, int kind, double a, double b) {
  for (int64_t i = 0; i < count; i += VL) {
    REAL *at = (REAL *)g + i;
    v_store(at, activation_gradient(v_load(at), v_load((const REAL *)y + i), kind, (REAL)a, (REAL)b));
  }
}

#endif
