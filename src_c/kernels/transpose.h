/* Shuffles: every second element, and a VL x VL transpose in registers: interleave within 128 bits, then move 128-bit
 * quarters.  The shuffles are those that every x86 vector width has as one instruction, which a plain butterfly of
 * two-source permutes has not. */
#ifndef CK_TRANSPOSE_H
#define CK_TRANSPOSE_H

#include "vector.h"

#define PER_QUARTER (16 / (int)sizeof(REAL)) /* reals in 128 bits */
#define QUARTERS (VBYTES / 16)

/* Index lists: element j of the result, out of x (0..VL-1) and y (VL..2*VL-1). */
#define IN_QUARTER(j) ((j) / PER_QUARTER * PER_QUARTER)
#define LOW1(j) (IN_QUARTER(j) + (j) % PER_QUARTER / 2 + ((j) & 1) * VL)
#define HIGH1(j) (LOW1(j) + PER_QUARTER / 2)
#define LOW2(j) (IN_QUARTER(j) + ((j) & 1) + (j) % PER_QUARTER / 2 * VL)
#define HIGH2(j) (LOW2(j) + 2)
#define QUARTER(j) ((j) / PER_QUARTER)
#define EVENQ(j)                                                                                                       \
  (((2 * QUARTER(j)) % QUARTERS) * PER_QUARTER + (j) % PER_QUARTER + (2 * QUARTER(j) >= QUARTERS ? VL : 0))
#define ODDQ(j) (EVENQ(j) + PER_QUARTER)

#define INTERLEAVE(j) ((j) / 2 + ((j) & 1) * VL) /* the first halves of x and y, in turn */
#define INTERLEAVE_HIGH(j) (INTERLEAVE(j) + VL / 2)

#if VBYTES == 64 && REAL_IS_FLOAT
#define INDICES(F) F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15)
#elif VBYTES == 64 || (VBYTES == 32 && REAL_IS_FLOAT)
#define INDICES(F) F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7)
#elif VBYTES == 32 || REAL_IS_FLOAT
#define INDICES(F) F(0), F(1), F(2), F(3)
#else
#define INDICES(F) F(0), F(1)
#endif
#define IDENTITY(j) (j)
#define SHUFFLE(x, y, F) __builtin_shufflevector(x, y, INDICES(F))

/* Element j of the result out of two neighbouring vectors: every second one. */
#define EVEN(j) (2 * (j))
#define ODD(j) (2 * (j) + 1)

/* The same where the vectors' inner quarters are exchanged: then nothing crosses a quarter. */
#define HALF_QUARTER (PER_QUARTER / 2)
#define EVEN_INSIDE(j) (IN_QUARTER(j) + (j) % HALF_QUARTER * 2 + ((j) % PER_QUARTER >= HALF_QUARTER ? VL : 0))
#define ODD_INSIDE(j) (EVEN_INSIDE(j) + 1)

/* Two neighbouring vectors' elements, the even ones and the odd ones. */
CK_INLINE void split_pair(const char *src, vreal *even, vreal *odd) {
#if QUARTERS == 2 /* loads exchange quarters for nothing */
  typedef REAL quarter __attribute__((vector_size(16), may_alias, aligned(1)));
  vreal a = __builtin_shufflevector(*(const quarter *)src, *(const quarter *)(src + 32), INDICES(IDENTITY));
  vreal b = __builtin_shufflevector(*(const quarter *)(src + 16), *(const quarter *)(src + 48), INDICES(IDENTITY));
  *even = SHUFFLE(a, b, EVEN_INSIDE);
  *odd = SHUFFLE(a, b, ODD_INSIDE);
#else
  *even = SHUFFLE(v_loadu(src), v_loadu(src + VBYTES), EVEN);
  *odd = SHUFFLE(v_loadu(src), v_loadu(src + VBYTES), ODD);
#endif
}

/* r[i][j] <-> r[j][i] */
CK_INLINE void transpose(vreal *r) {
  vreal t[VL];
  CK_UNROLL
  for (int i = 0; i < VL; i += 2) {
    t[i] = SHUFFLE(r[i], r[i + 1], LOW1);
    t[i + 1] = SHUFFLE(r[i], r[i + 1], HIGH1);
  }
#if REAL_IS_FLOAT
  CK_UNROLL
  for (int i = 0; i < VL; i += 4) {
    r[i] = SHUFFLE(t[i], t[i + 2], LOW2);
    r[i + 1] = SHUFFLE(t[i], t[i + 2], HIGH2);
    r[i + 2] = SHUFFLE(t[i + 1], t[i + 3], LOW2);
    r[i + 3] = SHUFFLE(t[i + 1], t[i + 3], HIGH2);
  }
#else
  CK_UNROLL
  for (int i = 0; i < VL; i++)
    r[i] = t[i];
#endif
  /* Now r[q * PER_QUARTER + m] holds, for rows of quarter q, column (quarter, m) in each of its quarters. */
#if QUARTERS == 2
  CK_UNROLL
  for (int m = 0; m < PER_QUARTER; m++) {
    vreal a = r[m], b = r[PER_QUARTER + m];
    r[m] = SHUFFLE(a, b, EVENQ);
    r[PER_QUARTER + m] = SHUFFLE(a, b, ODDQ);
  }
#elif QUARTERS == 4
  CK_UNROLL
  for (int m = 0; m < PER_QUARTER; m++) {
    vreal e0 = SHUFFLE(r[m], r[PER_QUARTER + m], EVENQ), o0 = SHUFFLE(r[m], r[PER_QUARTER + m], ODDQ);
    vreal e1 = SHUFFLE(r[2 * PER_QUARTER + m], r[3 * PER_QUARTER + m], EVENQ);
    vreal o1 = SHUFFLE(r[2 * PER_QUARTER + m], r[3 * PER_QUARTER + m], ODDQ);
    r[m] = SHUFFLE(e0, e1, EVENQ);
    r[PER_QUARTER + m] = SHUFFLE(o0, o1, EVENQ);
    r[2 * PER_QUARTER + m] = SHUFFLE(e0, e1, ODDQ);
    r[3 * PER_QUARTER + m] = SHUFFLE(o0, o1, ODDQ);
  }
#endif
}

/* Loads the first n < VL elements at src, the rest zero; stores the first n at dst. None if n is not positive.
 * MASKED_LANES: whether both go by a mask. */
#if VBYTES == 64 && defined(__AVX512F__)
#define MASKED_LANES 1
CK_INLINE __mmask16 first_lanes(int64_t n) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32((int)n));
}

CK_INLINE vreal load_part(const char *src, int64_t n) { return V_NAMED(maskz_loadu)(first_lanes(n), src); }

CK_INLINE void store_part(char *dst, vreal v, int64_t n) { V_NAMED(mask_storeu)(dst, first_lanes(n), v); }
#else
#define MASKED_LANES 0
#if VBYTES == 32 && defined(__AVX2__)
/* Loads alone: a store with a mask is one instruction, too, but many operations on AMD's processors before Zen 4. */
CK_INLINE vreal load_part(const char *src, int64_t n) {
  return V_NAMED(maskload)((const REAL *)src, (__m256i)lanes_below(n));
}
#else
CK_INLINE vreal load_part(const char *src, int64_t n) {
  lanes u = {{0}};
  for (int64_t i = 0; i < n; i++)
    u.real[i] = *(const real_u *)(src + i * (int64_t)sizeof(REAL));
  return u.v;
}
#endif

CK_INLINE void store_part(char *dst, vreal v, int64_t n) {
  char part[VBYTES] __attribute__((aligned(VBYTES)));
  const int64_t bytes = n * (int64_t)sizeof(REAL);
  v_store(part, v);
#define PIECES(size)                                                                                                   \
  if (VBYTES > (size) && bytes >= (size)) {                                                                            \
    __builtin_memcpy(dst, part, size);                                                                                 \
    __builtin_memcpy(dst + bytes - (size), part + bytes - (size), size);                                               \
    return;                                                                                                            \
  }
  PIECES(32)
  PIECES(16)
  PIECES(8)
#undef PIECES
  if (n > 0)
    *(real_u *)dst = v[0];
}
#endif

/* The same where n may also be a vector or more. */
CK_INLINE vreal load_first(const char *src, int64_t n) { return n >= VL ? v_loadu(src) : load_part(src, n); }

CK_INLINE void store_first(char *dst, vreal v, int64_t n) {
  if (n >= VL)
    v_storeu(dst, v);
  else
    store_part(dst, v, n);
}

/* Of `step` vectors' elements, of which the last vector ends with the last that is taken: every `step`th. */
#define EVEN_ODD(j) ((j) < VL / 2 ? 2 * (j) : 2 * (j) + 1)
#define THIRD_OF_TWO(j) (3 * (j) < 2 * VL ? 3 * (j) : 0)
#define THIRD(j) (3 * (j) < 2 * VL ? (j) : VL + 3 * (j) - 2 * (VL - 1))
#define FOURTH_LOW(j) (4 * (j) < 2 * VL ? 4 * (j) : 0)
#define FOURTH_HIGH(j) (4 * (j) < 2 * VL ? 0 : 4 * (j) < 3 * VL ? 4 * (j) - 2 * VL : VL + 4 * (j) - 3 * (VL - 1))
#define FOURTH(j) (4 * (j) < 2 * VL ? (j) : VL + (j))
CK_INLINE vreal every(const char *src, const int step) {
  const vreal first = v_loadu(src), last = v_loadu(src + (step - 1) * (VL - 1) * (int64_t)sizeof(REAL));
  if (step == 2)
    return SHUFFLE(first, last, EVEN_ODD);
  const vreal low = SHUFFLE(first, v_loadu(src + VBYTES), THIRD_OF_TWO);
  if (step == 3)
    return SHUFFLE(low, last, THIRD);
  return SHUFFLE(SHUFFLE(first, v_loadu(src + VBYTES), FOURTH_LOW),
                 SHUFFLE(v_loadu(src + 2 * VBYTES), last, FOURTH_HIGH), FOURTH);
}

#endif
