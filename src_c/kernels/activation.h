/* Activations and their derivatives, over runs of adjacent elements at any address.  NaN passes through all
 * activations, and a gradient's NaN through their derivatives but where they are zero.
 *
 * The last elements, short of a vector, go the same way as all others through copies. */
#ifndef CK_ACTIVATION_H
#define CK_ACTIVATION_H

#include "math.h"
#include "transpose.h"

#define GELU_TANH_CAP 40 /* beyond it the gate is 0 or 1, and nothing overflows before */

/* 2 * sqrt(2 / pi) * (x + 0.044715 * x^3), of which the sigmoid stands for Phi(x); and its slope */
CK_INLINE vreal gelu_gate(vreal x, vreal *slope) {
  const REAL rate = (REAL)1.5957691216057307118, cubic = (REAL)(0.044715 * 1.5957691216057307118);
  x = v_within(v_set1(-GELU_TANH_CAP), v_set1(GELU_TANH_CAP), x);
  vreal square = x * x;
  *slope = square * (3 * cubic) + rate;
  return x * (square * cubic + rate);
}

CK_INLINE vreal activate(vreal v, int kind, REAL a, REAL b) {
  vreal slope;
  switch (kind) {
  case CK_RELU:
    return v_at_least((vreal){0}, v);
  case CK_LEAKY_RELU: /* no slope times minus infinity is nothing */
    return a == 0 ? v_at_least((vreal){0}, v) : v_select(v < 0, v * a, v);
  case CK_SIGMOID:
    return v_sigmoid(v);
  case CK_TANH:
    return v_tanh(v);
  case CK_CLIP:
    return v_within(v_set1(a), v_set1(b), v);
  case CK_SILU:
    return v_gated(v, v);
  case CK_GELU:
    return v_gelu(v);
  case CK_HARD_SWISH: /* not v * 0 far below: infinity would be NaN */
    return v_at_least(v_set1(-3), v) * (v_within((vreal){0}, v_set1(6), v + 3) / 6);
  case CK_HARD_SIGMOID:
    return v_within((vreal){0}, v_set1(6), v + 3) / 6;
  case CK_ELU:
  case CK_ELU_OF_X:
    return v_select(v < 0, v_expm1(v_at_least(v_set1(-80), v_at_most((vreal){0}, v))) * a, v) * b;
  case CK_GELU_TANH:
    return v_gated(v, gelu_gate(v, &slope));
  case CK_SOFTPLUS:
    return v_select(v * a > b, v, v_softplus(v * a) / a);
  default:
    return v;
  }
}

/* g times the derivative, by ck_activation's account of what it is a function of. Where the derivative of a piece is
 * zero the result is, also of an infinite gradient. */
CK_INLINE vreal activation_gradient(vreal g, vreal v, int kind, REAL a, REAL b) {
  const vreal zero = {0};
  vreal rest, slope, gate;
  switch (kind) {
  case CK_RELU:
    return v_select(v > 0, g, zero);
  case CK_LEAKY_RELU:
    return v_select(v > 0, g, a == 0 ? zero : g * a);
  case CK_SIGMOID:
    return g * (v * (1 - v));
  case CK_TANH:
    return g * (1 - v * v);
  case CK_CLIP:
    return v_select((v > a) & (v < b), g, zero);
  case CK_HARD_SIGMOID:
    return v_select((v > 0) & (v < 1), g / 6, zero);
  case CK_ELU:
    return g * v_select(v > 0, v_set1(b), v + a * b);
  case CK_ELU_OF_X:
    return g * v_select(v > 0, v_set1(b), v_exp(v_at_most((vreal){0}, v)) * (a * b));
  case CK_HARD_SWISH:
    return v_select(v < -3, zero, v_select(v > 3, g, g * ((v + (REAL)1.5) / 3)));
  case CK_SILU:
    gate = v_both_sigmoids(v, &rest);
    v = v_within(v_set1(LEAST_EXP), v_set1(-LEAST_EXP), v);
    return g * (gate * (v * rest + 1));
  case CK_GELU:
    return g * v_gelu_slope(v);
  case CK_GELU_TANH:
    gate = v_both_sigmoids(gelu_gate(v, &slope), &rest);
    v = v_within(v_set1(-GELU_TANH_CAP), v_set1(GELU_TANH_CAP), v);
    return g * (gate * (v * slope * rest + 1));
  case CK_SOFTPLUS:
    return v_select(v * a > b, g, g * v_sigmoid(v * a));
  default:
    return g;
  }
}

/* Inlined for every kind, so that the loop asks nothing. Whole vectors. No zero is stored as -0: sums are not, and that
 * some have met a bias of zero before, and others have not, makes no difference then. */
CK_INLINE void activate_run(REAL *dst, const REAL *src, int64_t count, int kind, REAL a, REAL b) {
  for (int64_t i = 0; i < count; i += VL) {
    const vreal v = v_pinned(activate(v_loadu(src + i), kind, a, b)); /* its last product must not vanish in the sum */
    v_storeu(dst + i, v + (vreal){0});
  }
}

CK_INLINE void gradient_run(REAL *dst, const REAL *g, const REAL *src, int64_t count, int kind, REAL a, REAL b) {
  for (int64_t i = 0; i < count; i += VL)
    v_storeu(dst + i, activation_gradient(v_loadu(g + i), v_loadu(src + i), kind, a, b));
}

/* clang-format off */
#define FOR_EACH_ACTIVATION(X)                                                                                         \
  X(CK_RELU) X(CK_LEAKY_RELU) X(CK_SIGMOID) X(CK_TANH) X(CK_CLIP) X(CK_SILU) X(CK_GELU) X(CK_HARD_SWISH)               \
  X(CK_HARD_SIGMOID) X(CK_ELU) X(CK_GELU_TANH) X(CK_SOFTPLUS) X(CK_ELU_OF_X)
/* clang-format on */

static void CK_NAME(activate_vectors)(REAL *dst, const REAL *src, int64_t count, int kind, REAL a, REAL b) {
#define CASE(k)                                                                                                        \
  case k:                                                                                                              \
    activate_run(dst, src, count, k, a, b);                                                                            \
    break;
  switch (kind) { FOR_EACH_ACTIVATION(CASE) }
#undef CASE
}

static void CK_NAME(gradient_vectors)(REAL *dst, const REAL *g, const REAL *src, int64_t count, int kind, REAL a,
                                      REAL b) {
#define CASE(k)                                                                                                        \
  case k:                                                                                                              \
    gradient_run(dst, g, src, count, k, a, b);                                                                         \
    break;
  switch (kind) { FOR_EACH_ACTIVATION(CASE) }
#undef CASE
}

static void CK_NAME(activate)(void *dst, const void *src, int64_t count, int kind, double a, double b) {
  const int64_t whole = count / VL * VL, rest = count - whole;
  CK_NAME(activate_vectors)(dst, src, whole, kind, (REAL)a, (REAL)b);
  if (rest) {
    REAL part[VL] = {0};
    memcpy(part, (const REAL *)src + whole, (size_t)rest * sizeof(REAL));
    CK_NAME(activate_vectors)(part, part, VL, kind, (REAL)a, (REAL)b);
    memcpy((REAL *)dst + whole, part, (size_t)rest * sizeof(REAL));
  }
}

static void CK_NAME(activation_gradient)(void *dst, const void *g, const void *src, int64_t count, int kind, double a,
                                         double b) {
  const int64_t whole = count / VL * VL, rest = count - whole;
  CK_NAME(gradient_vectors)(dst, g, src, whole, kind, (REAL)a, (REAL)b);
  if (rest) {
    REAL part[VL] = {0}, g_part[VL] = {0};
    memcpy(part, (const REAL *)src + whole, (size_t)rest * sizeof(REAL));
    memcpy(g_part, (const REAL *)g + whole, (size_t)rest * sizeof(REAL));
    CK_NAME(gradient_vectors)(part, g_part, part, VL, kind, (REAL)a, (REAL)b);
    memcpy((REAL *)dst + whole, part, (size_t)rest * sizeof(REAL));
  }
}

#endif
