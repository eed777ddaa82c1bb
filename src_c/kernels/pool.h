/* Pooling: sums and maxima over the taps of a row, rows into results, and the moves by index.
 *
 * A maximum starts at -inf and gives way to what is larger or NaN: so the first of equals stays, and the last NaN. */
#ifndef CK_POOL_KERNELS_H
#define CK_POOL_KERNELS_H

#include "activation.h"
#include "pack.h"
#include "transpose.h"

typedef __typeof__(((vmask){0})[0]) lane_int; /* an integer as wide as a real */

typedef int64_t vlong __attribute__((vector_size(8 * VL))); /* indices of a vector of reals */

CK_INLINE vmask wins(vreal b, vreal a) { return (b > a) | (b != b); }

enum { POOL_SUM, POOL_MAX, POOL_MAX_INDEX, POOL_TILE = 4 };

/* `width` vectors of one group: independent chains, since one alone would wait for each comparison. */
CK_INLINE void pool_tile(const ck_pool_reduce *p, const ck_pool_taps *g, int64_t at, int64_t j, const int width,
                         const int op) {
  REAL *h = (REAL *)p->h + at + j * VL;
  lane_int *h_index = (lane_int *)p->h_index + at + j * VL;
  vreal v[POOL_TILE];
  vmask from[POOL_TILE], won[POOL_TILE];
  CK_UNROLL
  for (int q = 0; q < width; q++) {
    v[q] = p->fresh ? v_set1(op == POOL_SUM ? 0 : -(REAL)INFINITY) : v_load(h + q * VL);
    from[q] = won[q] = (vmask){0};
  }
  const char *row = p->row + j * VBYTES;
  for (int64_t t = 0; t < g->count; t++) {
    const char *src = row + (g->list ? g->list[t] : g->first + t * g->step);
    vmask index = (lane_int)(g->index + t * g->index_step) - (vmask){0};
    CK_UNROLL
    for (int q = 0; q < width; q++) {
      vreal b = v_loadu(src + q * VBYTES);
      if (op == POOL_SUM) {
        v[q] += b;
        continue;
      }
      vmask m = wins(b, v[q]);
      v[q] = v_select(m, b, v[q]);
      if (op == POOL_MAX_INDEX)
        from[q] = (index & m) | (from[q] & ~m);
    }
  }
  CK_UNROLL
  for (int q = 0; q < width; q++) {
    v_store(h + q * VL, v[q]);
    if (op == POOL_MAX_INDEX)
      memcpy(h_index + q * VL, &from[q], sizeof(vmask));
  }
}

CK_INLINE void pool_groups(const ck_pool_reduce *p, const int op) {
  for (int64_t g = 0; g < p->groups; g++) {
    int64_t j = 0, at = g * p->vectors * VL;
    for (; j + POOL_TILE <= p->vectors; j += POOL_TILE)
      pool_tile(p, &p->taps[g], at, j, POOL_TILE, op);
    for (; j + 2 <= p->vectors; j += 2)
      pool_tile(p, &p->taps[g], at, j, 2, op);
    for (; j < p->vectors; j++)
      pool_tile(p, &p->taps[g], at, j, 1, op);
    if (op == POOL_MAX_INDEX && p->lane) {
      const lane_int *lane = p->lane;
      lane_int *h_index = (lane_int *)p->h_index + at;
      for (int64_t i = 0; i < p->vectors * VL; i++)
        h_index[i] += lane[i];
    }
  }
}

static void CK_NAME(pool_reduce)(const ck_pool_reduce *p) {
  if (!p->max)
    pool_groups(p, POOL_SUM);
  else if (!p->h_index)
    pool_groups(p, POOL_MAX);
  else
    pool_groups(p, POOL_MAX_INDEX);
}

static void CK_NAME(pool_combine)(const ck_pool_combine *p) {
  REAL *acc = p->acc;
  const REAL *h = p->h;
  for (int64_t i = 0; i < p->count; i += VL) {
    vreal a = v_load(acc + i), b = v_load(h + i);
    if (!p->max) {
      v_store(acc + i, a + b);
      continue;
    }
    vmask m = wins(b, a);
    v_store(acc + i, v_select(m, b, a));
    if (!p->h_index)
      continue;
    vlong w = __builtin_convertvector(m, vlong), to, from;
    vmask narrow;
    memcpy(&narrow, (const lane_int *)p->h_index + i, sizeof(narrow));
    memcpy(&to, p->acc_index + i, sizeof(to));
    from = p->base + __builtin_convertvector(narrow, vlong);
    to = (w & from) | (~w & to);
    memcpy(p->acc_index + i, &to, sizeof(to));
  }
}

static void CK_NAME(pool_divide)(void *a, int64_t groups, int64_t lanes, const void *divisor, int each_lane,
                                 double scale) {
  REAL *x = a;
  const REAL *d = divisor;
  vreal s = v_set1((REAL)scale);
  for (int64_t g = 0; g < groups; g++, x += lanes) {
    vreal all = each_lane ? s : s * d[g];
    for (int64_t j = 0; j < lanes; j += VL)
      v_store(x + j, v_load(x + j) / (each_lane ? s * v_load(d + j) : all));
  }
}

/* Element j of the result out of two neighbouring vectors: every second one. */
#define EVEN(j) (2 * (j))
#define ODD(j) (2 * (j) + 1)

static void CK_NAME(pool_split)(void *to, const void *from, int64_t phases, int64_t ld) {
  REAL *t = to;
  const REAL *s = from;
  if (phases == 2) {
    for (int64_t i = 0; i < ld; i += VL) {
      vreal a = v_load(s + 2 * i), b = v_load(s + 2 * i + VL);
      v_store(t + i, SHUFFLE(a, b, EVEN));
      v_store(t + ld + i, SHUFFLE(a, b, ODD));
    }
    return;
  }
  for (int64_t f = 0; f < phases; f++)
    for (int64_t i = 0; i < ld; i++)
      t[f * ld + i] = s[i * phases + f];
}

static void CK_NAME(pool_join)(void *to, const void *from, int64_t phases, int64_t ld) {
  REAL *t = to;
  const REAL *s = from;
  if (phases == 2) {
    for (int64_t i = 0; i < ld; i += VL) {
      vreal a = v_load(s + i), b = v_load(s + ld + i);
      v_store(t + 2 * i, SHUFFLE(a, b, INTERLEAVE));
      v_store(t + 2 * i + VL, SHUFFLE(a, b, INTERLEAVE_HIGH));
    }
    return;
  }
  for (int64_t f = 0; f < phases; f++)
    for (int64_t i = 0; i < ld; i++)
      t[i * phases + f] = s[f * ld + i];
}

static void CK_NAME(pool_fill)(void *to, int64_t count, double value) {
  REAL *t = to;
  for (int64_t i = 0; i < count; i++)
    t[i] = (REAL)value;
}

static void CK_NAME(pool_divisors)(void *to, const int64_t *from, int64_t count) {
  REAL *t = to;
  for (int64_t i = 0; i < count; i++)
    t[i] = (REAL)from[i];
}

static void CK_NAME(pool_lanes)(void *to, int64_t count, int64_t step) {
  lane_int *t = to;
  for (int64_t i = 0; i < count; i++)
    t[i] = (lane_int)(i * step);
}

/* ---------------------------------------------------------------- whole planes */

#define PARTIAL_VECTORS (CK_POOL_PARTIALS / VL)

/* The first n lanes of v, zeros in the others. */
CK_INLINE vreal first_lanes(vreal v, int64_t n) {
  union {
    vmask v;
    lane_int e[VL];
  } lane;
  for (int i = 0; i < VL; i++)
    lane.e[i] = i;
  return v_select(lane.v < (lane_int)n, v, (vreal){0});
}

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
        v[b] += first_lanes(load_upto(src + p * size + b * VBYTES, left, end), left);
      v_store(sums + b * VL, v[b]);
    }
  }
}

/* Sums stay in memory: all lanes of a position are read together, which is what the machine's prefetching follows. */
static void CK_NAME(pool_lane_planes)(void *partial, const char *src, int64_t step, int64_t count, int64_t phase,
                                      int64_t lanes, const char *end) {
  for (int64_t p = 0; p < count; p++, src += step) {
    REAL *sum = (REAL *)partial + (phase + p) % CK_POOL_PARTIALS * VL;
    const char *from = src;
    for (int64_t left = lanes; left > 0; left -= VL, from += VBYTES, sum += CK_POOL_PARTIALS * VL)
      v_store(sum, v_load(sum) + load_upto(from, left, end));
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

/* ---------------------------------------------------------------- by index */

CK_INLINE int64_t pool_offset(const ck_pool_points *p, int64_t e) {
  if (p->step)
    return e * p->step;
  int64_t row = e / p->size[2];
  return row / p->size[1] * p->stride[0] + row % p->size[1] * p->stride[1] + e % p->size[2] * p->stride[2];
}

CK_INLINE int pool_line(const ck_pool_points *p, const int op) {
  char *plane = p->plane, *point = p->points;
  const char *at = p->index;
  for (int64_t i = 0; i < p->count; i++, plane += p->plane_step, point += p->point_step, at += p->index_step) {
    int64_t e;
    memcpy(&e, at, sizeof(e));
    if ((uint64_t)e >= (uint64_t)p->elements) {
      if (op == CK_POOL_SCATTER_ADD && e == -1)
        continue;
      return 0;
    }
    if (op == CK_POOL_CHECK)
      continue;
    real_u *element = (real_u *)(plane + pool_offset(p, e)), *value = (real_u *)point;
    if (op == CK_POOL_SCATTER_ADD)
      *element += *value;
    else if (op == CK_POOL_SCATTER)
      *element = *value;
    else
      *value = *element;
  }
  return 1;
}

static int CK_NAME(pool_points)(const ck_pool_points *p) {
  switch (p->op) {
  case CK_POOL_SCATTER_ADD:
    return pool_line(p, CK_POOL_SCATTER_ADD);
  case CK_POOL_SCATTER:
    return pool_line(p, CK_POOL_SCATTER);
  case CK_POOL_GATHER:
    return pool_line(p, CK_POOL_GATHER);
  default:
    return pool_line(p, CK_POOL_CHECK);
  }
}

#endif
