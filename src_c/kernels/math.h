/* Elementary functions of vectors, within 4 units in the last place and without the C library: saturating, NaN passing
 * through, numbers below the normal range as exact as their spacing lets them be.
 *
 * Every sum has one product at most, so that there is one way only to fuse them: with a fused multiply-add the bits are
 * the same for every vector. Where the polynomials come from: math_coefficients.py. */
#ifndef CK_MATH_H
#define CK_MATH_H

#include "vector.h"

CK_INLINE vreal square_root(vreal x) {
  vreal root;
  CK_UNROLL
  for (int i = 0; i < VL; i++)
    root[i] = REAL_IS_FLOAT ? (REAL)__builtin_sqrtf((float)x[i]) : (REAL)__builtin_sqrt(x[i]);
  return root;
}

CK_INLINE vreal v_select(vmask where, vreal yes, vreal no) {
  return (vreal)((where & (vmask)yes) | (~where & (vmask)no));
}

/* The larger and the smaller of a bound and a number; a number that is NaN stays. By the instruction's name: a
 * comparison and a selection are two, and a loop over the elements, inlined into much else, may become one for each of
 * them. */
#ifdef V_NAMED
CK_INLINE vreal v_at_least(vreal bound, vreal v) { return V_NAMED(max)(bound, v); }
CK_INLINE vreal v_at_most(vreal bound, vreal v) { return V_NAMED(min)(bound, v); }
#else
CK_INLINE vreal v_at_least(vreal bound, vreal v) { return v_select(bound > v, bound, v); }
CK_INLINE vreal v_at_most(vreal bound, vreal v) { return v_select(bound < v, bound, v); }
#endif
CK_INLINE vreal v_within(vreal low, vreal high, vreal v) { return v_at_most(high, v_at_least(low, v)); }

#if REAL_IS_FLOAT
enum { MANTISSA = 23, BIAS = 127, RAISED = 64, HALF_MANTISSA = 12 };
#define ROUNDS 0x1.8p23f /* added and taken off again: rounds; the sum's low bits are then the integer's */
#define RAISE 0x1p64f
#define LOG2_E 0x1.715476p0f
#define LN2_HIGH 0x1.62e4p-1f /* times an integer of 8 bits: exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define ROOT_2PI 0x1.40d932p1f
#define LEAST_EXP -112.f /* times itself, exp rounds to zero here, and is normal when raised */
#define TANH_IS_ONE 10.f
#define TAIL_IS_ZERO 15.f /* a * Phi(-a) rounds to zero */
static const REAL EXP_TAIL[] = {0x1p-1f, 0x1.5554dcp-3f, 0x1.555518p-5f, 0x1.120b74p-7f, 0x1.6d1238p-10f};
static const REAL LOG_TAIL[] = {0x1.555556p-4f, 0x1.9998d4p-7f, 0x1.24c926p-9f, 0x1.bc8cf8p-12f, 0x1.dba26p-14f};
static const REAL PHI_ABOVE[] = {0x1.d25c22p-1f, 0x1.56c0aap-1f, 0x1.e5a0acp-3f, 0x1.6e864cp-5f, 0x1.f803cap-9f};
static const REAL PHI_BELOW[] = {0x1p0f, 0x1.08f16p0f, 0x1.094a94p-1f, 0x1.325118p-3f, 0x1.9609e8p-6f, 0x1.f8016p-10f};
#else
enum { MANTISSA = 52, BIAS = 1023, RAISED = 256, HALF_MANTISSA = 27 };
#define ROUNDS 0x1.8p52 /* added and taken off again: rounds; the sum's low bits are then the integer's */
#define RAISE 0x1p256
#define LOG2_E 0x1.71547652b82fep0
#define LN2_HIGH 0x1.62e42fefa38p-1 /* times an integer of 11 bits: exact */
#define LN2_LOW 0x1.ef35793c7673p-45
#define ROOT_2PI 0x1.40d931ff62706p1
#define LEAST_EXP -760. /* times itself, exp rounds to zero here, and is normal when raised */
#define TANH_IS_ONE 20.
#define TAIL_IS_ZERO 40. /* a * Phi(-a) rounds to zero */
static const REAL EXP_TAIL[] = {
    0x1.0000000000001p-1,  0x1.5555555555556p-3,  0x1.5555555553d6p-5,   0x1.1111111110941p-7,  0x1.6c16c1788cd49p-10,
    0x1.a01a01a80290ep-13, 0x1.a019b90959ebfp-16, 0x1.71de0ce7f2714p-19, 0x1.289189eae2846p-22, 0x1.af3a474bcc17ap-26};
static const REAL LOG_TAIL[] = {
    0x1.5555555555555p-4,  0x1.999999999a3ddp-7,  0x1.24924923d44c6p-9,  0x1.c71c727143318p-12, 0x1.745cf0b0e03bdp-14,
    0x1.3b18b294bebf9p-16, 0x1.10ac75dc602b1p-18, 0x1.eb905e8575054p-21, 0x1.687a6e7c95176p-23, 0x1.4b0a26c5f2aefp-24};
static const REAL PHI_ABOVE[] = {
    0x1.d25c218302f77p-1, 0x1.3f0d08a288feap0,  0x1.b1e86af2ed3dp-1,   0x1.78ce9348853afp-2,  0x1.c7f6d16e3af48p-4,
    0x1.8cd47d012b354p-6, 0x1.f05c9d494943bp-9, 0x1.af45a4fcbe361p-12, 0x1.db5a5a4e058a8p-16, 0x1.0051cc58d2a9ep-20};
static const REAL PHI_BELOW[] = {0x1p0,
                                 0x1.ab11d0089c9bbp0,
                                 0x1.60d28d4a71d47p0,
                                 0x1.754c56af43cccp-1,
                                 0x1.15892059fd549p-2,
                                 0x1.2daaa77f5a633p-4,
                                 0x1.e4de2787fcddep-7,
                                 0x1.1cd8ae8ea9b3ap-9,
                                 0x1.d6148905cd0ffp-13,
                                 0x1.ef6e55bb01a1p-17,
                                 0x1.0051cc58d85c3p-21};
#endif
#define SIGN_BIT ((lane_bits)1 << (8 * (int)sizeof(REAL) - 1))

/* Even and odd powers by themselves: half of the waiting. */
#define POLYNOMIAL(x, square, c) polynomial(x, square, c, sizeof(c) / sizeof(REAL))
CK_INLINE vreal polynomial(vreal x, vreal square, const REAL *c, const int count) {
  vreal last = v_set1(c[count - 1]), before = v_set1(c[count - 2]);
  CK_UNROLL
  for (int i = count - 3; i >= 0; i--) {
    vreal sum = last * square + c[i];
    last = before;
    before = sum;
  }
  return last * x + before;
}

CK_INLINE vreal v_magnitude(vreal v) { return (vreal)((vbits)v & ~SIGN_BIT); }
CK_INLINE vreal v_below_zero(vreal v) { return (vreal)((vbits)v | SIGN_BIT); } /* -|v| */
CK_INLINE vreal v_with_sign_of(vreal v, vreal sign) { return (vreal)((vbits)v | ((vbits)sign & SIGN_BIT)); }

/* x + rest = n * ln(2) + r, r near zero; n + BIAS + raised are the low bits of `exponent`. rest may be NULL. */
CK_INLINE vreal reduced(vreal x, const vreal *rest, int raised, vbits *exponent) {
  const REAL rounds = ROUNDS + (REAL)(BIAS + raised);
  vreal rounded = x * LOG2_E + rounds, whole = rounded - rounds;
  *exponent = (vbits)rounded;
  x = x - whole * LN2_HIGH;
  return rest ? x + (*rest - whole * LN2_LOW) : x - whole * LN2_LOW;
}

/* exp(r) - 1 */
CK_INLINE vreal near_expm1(vreal r) {
  vreal square = r * r;
  return square * POLYNOMIAL(r, square, EXP_TAIL) + r;
}

/* v * exp(x + rest) * 2^RAISED for x <= 0, which is a normal number: what is below the normal range must be rounded
 * only once, after all that it is multiplied by. */
CK_INLINE vreal raised_exp(vreal x, const vreal *rest, vreal v) {
  vbits exponent;
  vreal tail = near_expm1(reduced(v_at_least(v_set1(LEAST_EXP), x), rest, RAISED, &exponent));
  v *= (vreal)(exponent << MANTISSA);
  return v * tail + v;
}

/* exp(x) */
CK_INLINE vreal v_exp(vreal x) {
  vbits exponent, down = (vbits)(x > 0) & (lane_bits)(2 * RAISED);
  x = v_within(v_set1(LEAST_EXP), v_set1(-LEAST_EXP), x);
  vreal tail = near_expm1(reduced(x, NULL, RAISED, &exponent)), power = (vreal)((exponent - down) << MANTISSA);
  return (power * tail + power) * v_select((vmask)(down > 0), v_set1(RAISE), v_set1(1 / RAISE));
}

/* exp(x) - 1, -80 <= x <= 80 */
CK_INLINE vreal v_expm1(vreal x) {
  vbits exponent;
  vreal tail = near_expm1(reduced(x, NULL, 0, &exponent)), power = (vreal)(exponent << MANTISSA);
  return power * tail + (power - 1);
}

CK_INLINE vreal v_tanh(vreal x) {
  vreal t = v_expm1(v_at_most(v_set1(2 * TANH_IS_ONE), 2 * v_magnitude(x)));
  return v_with_sign_of(t / (t + 2), x);
}

/* 1 / (1 + exp(-x)) */
CK_INLINE vreal v_sigmoid(vreal x) {
  vreal e = raised_exp(v_below_zero(x), NULL, v_set1(1)) / RAISE;
  return v_select(x < 0, e, v_set1(1)) / (1 + e);
}

/* The same, and what it is short of 1. */
CK_INLINE vreal v_both_sigmoids(vreal x, vreal *rest) {
  vreal e = raised_exp(v_below_zero(x), NULL, v_set1(1)) / RAISE, larger = 1 / (1 + e), smaller = e * larger;
  *rest = v_select(x < 0, larger, smaller);
  return v_select(x < 0, smaller, larger);
}

/* x * sigmoid(u), u of the same sign */
CK_INLINE vreal v_gated(vreal x, vreal u) {
  vmask below = u < 0;
  x = v_at_least(v_set1(LEAST_EXP), x); /* times zero, infinity would be NaN */
  vreal e = raised_exp(v_below_zero(u), NULL, v_set1(1));
  return v_select(below, x * e, x) / (1 + e / RAISE) * v_select(below, v_set1(1 / RAISE), v_set1(1));
}

/* log(1 + exp(x)) */
CK_INLINE vreal v_softplus(vreal x) {
  vreal e = raised_exp(v_below_zero(x), NULL, v_set1(1)) / RAISE;
  vreal u = 2 * e / (2 + e), square = u * u; /* log1p(e) = 2 artanh(u / 2) */
  return v_at_least((vreal){0}, x) + (u * square * POLYNOMIAL(square, square * square, LOG_TAIL) + u);
}

/* v * exp(-a^2 / 2) * 2^RAISED, and by what to divide it to have v * Phi(-a) instead, Phi being the distribution
 * function of the normal distribution; 0 <= a <= TAIL_IS_ZERO. */
CK_INLINE vreal v_phi_tail(vreal a, vreal v, vreal *divisor) {
  vreal head = (vreal)((vbits)a & ~(((lane_bits)1 << HALF_MANTISSA) - 1)); /* its square is exact */
  vreal rest = (a - head) * (a + head) / -2;
  vreal steep = ROOT_2PI - POLYNOMIAL(a, a * a, PHI_ABOVE) / POLYNOMIAL(a, a * a, PHI_BELOW);
  *divisor = a * steep + 2;
  return raised_exp(head * head / -2, &rest, v);
}

/* x * Phi(x) */
CK_INLINE vreal v_gelu(vreal x) {
  vmask below = x < 0;
  vreal divisor, v = v_select(below, v_at_least(v_set1(-TAIL_IS_ZERO), x), v_set1(1)); /* no infinity times zero */
  vreal raised = v_phi_tail(v_at_most(v_set1(TAIL_IS_ZERO), v_magnitude(x)), v, &divisor);
  vreal tail = raised / divisor / RAISE;
  return v_select(below, tail, x * (1 - tail));
}

/* Phi(x) + x * Phi'(x) */
CK_INLINE vreal v_gelu_slope(vreal x) {
  vreal divisor, a = v_at_most(v_set1(TAIL_IS_ZERO), v_magnitude(x));
  vreal raised = v_phi_tail(a, v_set1(1), &divisor);
  vreal tail = (1 / divisor - a * (1 / ROOT_2PI)) * raised / RAISE;
  return v_select(x < 0, tail, 1 - tail);
}

#endif
