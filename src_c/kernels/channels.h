/* Normalisation's loops: sums over the values of a channel, and affine maps of them; see ck_channels.  Sums are formed
 * in double precision whatever the values are, 16 at a time, so that vectors of any width give the same bits. */
#ifndef CK_KERNEL_CHANNELS_H
#define CK_KERNEL_CHANNELS_H

#include "math.h"

enum { WIDE = VBYTES / (int)sizeof(double), WIDES = CK_SUM_PARTS / WIDE };
typedef double vwide __attribute__((vector_size(VBYTES)));
typedef double vwide_u __attribute__((vector_size(VBYTES), may_alias, aligned(1)));
/* As many reals as doubles make a vector. */
typedef REAL vnarrow __attribute__((vector_size(WIDE * sizeof(REAL))));
typedef REAL vnarrow_u __attribute__((vector_size(WIDE * sizeof(REAL)), may_alias, aligned(1)));

/* By the instruction's name where there is one: compilers make pairs out of __builtin_convertvector. */
CK_INLINE vwide widened(vnarrow v) {
#if REAL_IS_FLOAT && defined(V_NAMED) && defined(__aarch64__)
  return vcvt_f64_f32(v);
#elif REAL_IS_FLOAT && VBYTES == 64
  return _mm512_cvtps_pd(v);
#elif REAL_IS_FLOAT && VBYTES == 32
  return _mm256_cvtps_pd(v);
#else
  return __builtin_convertvector(v, vwide);
#endif
}

/* 16 reals, and the first four numbers of ck_channels as many times. */
typedef struct group {
  vnarrow of[WIDES];
} group;

CK_INLINE group group_at(const void *p) {
  group g;
  CK_UNROLL
  for (int q = 0; q < WIDES; q++)
    g.of[q] = ((const vnarrow_u *)p)[q];
  return g;
}

CK_INLINE group group_of(REAL a) {
  group g;
  CK_UNROLL
  for (int q = 0; q < WIDES; q++)
    g.of[q] = a - (vnarrow){0};
  return g;
}

/* Of run r; of `lanes` those of 16 channels. */
CK_INLINE group number_group(const REAL *of, int64_t r, const int lanes) {
  return lanes ? group_at(of) : group_of(of[r]);
}

/* The last `rest` of them, and nothing. */
CK_INLINE group last_of(group g, int64_t rest) {
  typedef lane_bits bits __attribute__((vector_size(sizeof(vnarrow)), may_alias, aligned(1)));
  static const lane_bits mask[2 * CK_SUM_PARTS] = {[CK_SUM_PARTS... 2 * CK_SUM_PARTS - 1] = ~(lane_bits)0};
  CK_UNROLL
  for (int q = 0; q < WIDES; q++)
    g.of[q] = (vnarrow)((bits)g.of[q] & *(const bits *)(mask + rest + q * WIDE));
  return g;
}

/* Bytes: what sums read, and maps write, is seldom in level 2, and the machine's own fetching ends where a page does. A
 * step of MobileNetV2 takes 0.96 to 0.98 of the time that it takes without; 2048 measured alike (Zen 4). */
enum { FETCHED_AHEAD = 1024 };

/* How a gradient comes in: not at all, as it is, or through an activation. */
enum { NO_GRADIENT, GRADIENT, SLOPED };

/* g times the derivative, which is 0 or 1, of an activation of x. Its argument is formed as forward forms it, bit by
 * bit, which takes less time than to read its result: that is seldom in level 2 any more (map_run's). */
CK_INLINE group sloped(group x, group g, const group number[CK_SUM_NUMBERS], const group of[CK_SLOPE_NUMBERS],
                       const ck_bounds *slope) {
  typedef lane_bits bits __attribute__((vector_size(sizeof(vnarrow))));
  const REAL low = (REAL)slope->low, high = (REAL)slope->high;
  CK_UNROLL
  for (int q = 0; q < WIDES; q++) {
    vnarrow product = (x.of[q] * number[0].of[q] - number[1].of[q]) * of[0].of[q];
    CK_PIN(product);
    const vnarrow v = product + of[1].of[q];
    g.of[q] = (vnarrow)((bits)g.of[q] & (bits)(v > low) & ~(bits)(v >= high));
  }
  return g;
}

/* What values add to the two sums: d and d^2, d = x * scale - shift, exact where it matters; or g and g * xhat. */
CK_INLINE void add_terms(group x, group g, const group number[CK_SUM_NUMBERS], vwide *sums, const int of_gradient) {
  CK_UNROLL
  for (int q = 0; q < WIDES; q++) {
    vnarrow v = x.of[q] * number[0].of[q];
    vwide first, second;
    if (of_gradient) {
      first = widened(g.of[q]);
      second = widened((v - number[1].of[q]) * number[2].of[q] + number[3].of[q]);
    } else {
      first = second = widened(v) - widened(number[1].of[q]);
    }
    sums[q] += first;
    sums[WIDES + q] += first * second;
  }
}

CK_INLINE void channel_run_sums(const ck_channel_sums *p, int64_t r, const int lanes, const int of_gradient) {
  const char *x = p->x + r * p->x_run, *g = of_gradient ? p->g + r * p->g_run : x;
  double *to = p->sums + r * 2 * CK_SUM_PARTS;
  group number[CK_SUM_NUMBERS], of[CK_SLOPE_NUMBERS];
  vwide sums[2 * WIDES];
  CK_UNROLL
  for (int k = 0; k < CK_SUM_NUMBERS; k++)
    number[k] = number_group(p->numbers[k < 2 || of_gradient ? k : 0], r, lanes);
  CK_UNROLL
  for (int k = 0; k < CK_SLOPE_NUMBERS; k++)
    of[k] = number_group(p->numbers[of_gradient == SLOPED ? CK_MAP_NUMBERS + k : 0], r, lanes);
  CK_UNROLL
  for (int q = 0; q < 2 * WIDES; q++)
    sums[q] = *(const vwide_u *)(to + q * WIDE);
  for (int64_t i = 0; i < p->groups; i++, x += p->x_step, g += p->g_step) {
    if (!lanes) {
      __builtin_prefetch(x + FETCHED_AHEAD);
      if (of_gradient)
        __builtin_prefetch(g + FETCHED_AHEAD);
    }
    const group values = group_at(x), grads = group_at(g);
    const group through = of_gradient == SLOPED ? sloped(values, grads, number, of, &p->slope) : grads;
    add_terms(values, through, number, sums, of_gradient);
  }
  if (!lanes && p->rest) { /* the end of the run once more, of which what is new counts */
    const int64_t back = (p->rest - CK_SUM_PARTS) * (int64_t)sizeof(REAL);
    const group values = group_at(x + back), grads = group_at(g + back);
    const group through = of_gradient == SLOPED ? sloped(values, grads, number, of, &p->slope) : grads;
    number[1] = last_of(number[1], p->rest);
    add_terms(last_of(values, p->rest), last_of(through, p->rest), number, sums, of_gradient);
  }
  CK_UNROLL
  for (int q = 0; q < 2 * WIDES; q++)
    *(vwide_u *)(to + q * WIDE) = sums[q];
}

CK_INLINE void channel_runs_sums(const ck_channel_sums *p, const int lanes, const int of_gradient) {
  for (int64_t r = 0; r < p->runs; r++)
    channel_run_sums(p, r, lanes, of_gradient);
}

static void CK_NAME(channel_sums)(const ck_channel_sums *p) {
  if (p->lanes && p->sloped)
    channel_runs_sums(p, 1, SLOPED);
  else if (p->lanes && p->g)
    channel_runs_sums(p, 1, GRADIENT);
  else if (p->lanes)
    channel_runs_sums(p, 1, NO_GRADIENT);
  else if (p->sloped)
    channel_runs_sums(p, 0, SLOPED);
  else if (p->g)
    channel_runs_sums(p, 0, GRADIENT);
  else
    channel_runs_sums(p, 0, NO_GRADIENT);
}

/* A channel's number, or those of a vector of channels. */
CK_INLINE vreal number_at(const void *of, int64_t i, const int lanes) {
  return lanes ? v_loadu((const REAL *)of + i) : v_set1(*(const REAL *)of);
}

/* At least a vector: the last one overlaps the one before. A product is rounded before it is added to, as by two passes
 * element by element, which a network takes where memory has another order. */
CK_INLINE void map_run(const REAL *x, const REAL *g, REAL *y, int64_t count,
                       const REAL *const number[CK_CHANNEL_NUMBERS], const ck_channel_map *p, const int lanes,
                       const int of_gradient) {
  const ck_bounds *bounds = of_gradient ? &p->slope : &p->bounds;
  const int numbers = of_gradient == SLOPED ? CK_CHANNEL_NUMBERS : of_gradient ? CK_MAP_NUMBERS : CK_SUM_NUMBERS;
  const vreal low = v_set1((REAL)bounds->low), high = v_set1((REAL)bounds->high);
  /* An activation gives 0 for -0, whether or not it is by itself; x alone keeps its sign. */
  const vreal zero = v_set1(bounds->low > -INFINITY || bounds->high < INFINITY ? 0 : (REAL)-0.0);
  vreal n[CK_CHANNEL_NUMBERS], *of = n + CK_MAP_NUMBERS; /* of the activation's argument */
  for (int k = 0; k < CK_CHANNEL_NUMBERS; k++)
    n[k] = number_at(number[k < numbers ? k : 0], 0, lanes);
  for (int64_t next = 0; next < count; next += VL) {
    const int64_t i = next + VL > count ? count - VL : next;
    for (int k = 0; k < numbers && lanes; k++)
      n[k] = number_at(number[k], i, 1);
    __builtin_prefetch((const void *)((uintptr_t)(y + i) + FETCHED_AHEAD), 1);
    const vreal d = v_loadu(x + i) * n[0] - n[1], xhat = v_pinned(d * n[2]) + n[3], v = v_pinned(d * of[0]) + of[1];
    vreal through = v_loadu(g + i);
    if (of_gradient == SLOPED)
      through = (vreal)((vmask)through & (v > low) & ~(v >= high));
    v_storeu(y + i, of_gradient ? through * n[4] + (xhat * n[5] + n[6]) : v_within(low, high, xhat + zero));
  }
}

CK_INLINE void map_runs(const ck_channel_map *p, const int lanes, const int of_gradient) {
  const REAL *number[CK_CHANNEL_NUMBERS];
  for (int64_t r = 0; r < p->runs; r++) {
    const REAL *x = (const REAL *)(p->x + r * p->x_step), *g = of_gradient ? (const REAL *)(p->g + r * p->g_step) : x;
    REAL *y = (REAL *)(p->y + r * p->y_step), part[3][VL];
    for (int k = 0; k < CK_CHANNEL_NUMBERS; k++)
      number[k] = p->numbers[k] ? (const REAL *)p->numbers[k] + (lanes ? 0 : r) : NULL;
    if (p->count >= VL) {
      map_run(x, g, y, p->count, number, p, lanes, of_gradient);
    } else if (!lanes) {
      memset(part, 0, sizeof(part));
      memcpy(part[0], x, (size_t)p->count * sizeof(REAL));
      memcpy(part[1], g, (size_t)p->count * sizeof(REAL));
      map_run(part[0], part[1], part[2], VL, number, p, 0, of_gradient);
      memcpy(y, part[2], (size_t)p->count * sizeof(REAL));
    }
  }
}

static void CK_NAME(channel_map)(const ck_channel_map *p) {
  if (p->lanes && p->sloped)
    map_runs(p, 1, SLOPED);
  else if (p->lanes && p->g)
    map_runs(p, 1, GRADIENT);
  else if (p->lanes)
    map_runs(p, 1, NO_GRADIENT);
  else if (p->sloped)
    map_runs(p, 0, SLOPED);
  else if (p->g)
    map_runs(p, 0, GRADIENT);
  else
    map_runs(p, 0, NO_GRADIENT);
}

#endif
